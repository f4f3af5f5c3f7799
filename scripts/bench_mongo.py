"""Times `cclake extract` from MongoDB beside the same job in Python (pymongo, pyarrow, pyiceberg) and beside rivet-cli.

    python scripts/bench_mongo.py CCLAKE TRANSCRIPTS SERVER [--copies N] [--times N] [--rivet PATH] [--events N]

The transcripts are inserted N times over into a server of this run's own, as claude-mongo-sync does it: automatic ids, the
record at top level, provenance beside it. Each program reads the whole collection, in turn, each into a folder of its own, --times
times; the figures are medians.
CPU seconds are the program's, not the server's. Needs Linux and the PyPI packages pymongo, pyarrow and pyiceberg.
"""

import argparse
import collections
import contextlib
import datetime
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pymongo
from pyiceberg.catalog.sql import SqlCatalog

import bench


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def started(program, folder):
    """A client of a server of our own, once it answers, and its URI; stopped at the end."""
    port = free_port()
    process = subprocess.Popen(
        [program, "--host", "127.0.0.1", "--port", str(port), "--storage-path", folder, "--log-level", "WARNING",
         "--cache-size", "2G", "--oplog-max-entries", "5000000"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = pymongo.MongoClient(f"mongodb://127.0.0.1:{port}/?directConnection=true", serverSelectionTimeoutMS=60000)
    try:
        client.admin.command("ping")
        yield client, f"mongodb://127.0.0.1:{port}/?directConnection=true"
    finally:
        process.terminate()
        process.wait()


def documents(logs):
    """Every record as claude-mongo-sync would write it."""
    root = pathlib.Path(logs)
    for path in sorted(root.rglob("*.jsonl")):
        for line in path.open("rb"):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                record["projectId"] = path.relative_to(root).parts[0]
                record["sourceFile"] = str(path)
                record["ingestedAt"] = datetime.datetime.now(datetime.timezone.utc)
                yield record


def fill(collection, logs, copies):
    for _ in range(copies):
        batch = []
        for document in documents(logs):
            batch.append(document)
            if len(batch) == 1000:
                collection.insert_many(batch, ordered=False)
                batch = []
        if batch:
            collection.insert_many(batch, ordered=False)


def row(name, figures, megabytes):
    wall, cpu, peak = figures[:3]
    print(f"| {name} | {wall:.1f} | {cpu:.1f} | {megabytes / cpu:.0f} | {peak:.0f} |", flush=True)


def listed(ratios):
    return ", ".join(f"{ratio:.1f}" for ratio in ratios)


PEER = pathlib.Path(__file__).with_name("mongo_peer.py")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cclake")
    parser.add_argument("transcripts")
    parser.add_argument("server")
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--rivet")
    parser.add_argument("--events", type=int, default=500_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, started(options.server, f"{folder}/server") as (client, uri):
        compare(options, client, uri, folder)


def compare(options, client, uri, folder):
    database = client.claude_logs
    fill(database.conversations, options.transcripts, options.copies)
    stats = database.command("collStats", "conversations")
    megabytes = stats["size"] / 1e6
    print(f"\n{stats['count']:,} documents, {megabytes:.0f} MB of BSON\n")
    print("| full extract | seconds | CPU seconds | MB of BSON per CPU second | peak MB |\n|---|---|---|---|---|", flush=True)
    env = os.environ | {"CCLAKE_SOURCE": "mongodb", "MONGO_URI": uri, "MONGO_DB": "claude_logs",
                        "MONGO_COLLECTION": "conversations", "CCLAKE_DATA_DIR": f"{folder}/data"}
    commands = {
        "`cclake extract`": [options.cclake, "extract", "--quiet"],
        "`cclake lake maintain` after it": [options.cclake, "lake", "maintain", "--quiet"],
        "pymongo + pyarrow + pyiceberg": [sys.executable, str(PEER), uri, f"{folder}/peer"],
    }
    if options.rivet:
        commands["rivet-cli, into Parquet"] = rivet(options.rivet, uri, folder)
    runs = {name: [] for name in commands}
    for _ in range(options.times):
        for output in ["data", "peer", "rivet"]:
            shutil.rmtree(f"{folder}/{output}", ignore_errors=True)
        for name, command in commands.items():
            runs[name].append(bench.run(command, env))
    for name, figures in runs.items():
        row(name, bench.median(figures), megabytes)
    most = most_files_per_day(f"{folder}/data/iceberg")
    print(f"\nafter `lake maintain`: at most {most} data files per day")
    cclake, pymongo = runs["`cclake extract`"], runs["pymongo + pyarrow + pyiceberg"]
    walls, cpus = ([theirs[which] / ours[which] for ours, theirs in zip(cclake, pymongo)] for which in (0, 1))
    print(f"pymongo + pyarrow + pyiceberg / `cclake extract`, run by run: wall {listed(walls)}; CPU {listed(cpus)}\n")
    database.drop_collection("conversations")
    sizes(options, database, env, folder)
    drain(options, database, env, folder)


def most_files_per_day(warehouse):
    """Of the current snapshot; replaced files stay on disk for a day."""
    catalog = SqlCatalog("default", uri=f"sqlite:///{warehouse}/catalog.db", warehouse=f"file://{warehouse}")
    files = catalog.load_table("analytics.conversations").inspect.files()
    days = collections.Counter(str(partition) for partition in files["partition"].to_pylist())
    return max(days.values())


def rivet(program, uri, folder):
    config = pathlib.Path(folder) / "rivet.yaml"
    config.write_text(f"""source:
  type: mongo
  url: "{uri.replace('/?', '/claude_logs?')}"
exports:
  - name: conversations
    table: conversations
    mode: full
    format: parquet
    destination:
      type: local
      path: {folder}/rivet
""")
    return [program, "run", "--config", str(config)]


# Documents, and words in each: about as large as those of transcripts, ten times as many, and as many bytes in large ones.
SIZES = [(100_000, 600), (1_000_000, 600), (1_600, 37_500)]
WORDS_PER_INSERT = 300_000


def sizes(options, database, env, folder):
    """How speed and memory go with the number of documents, and with their size."""
    words = [f"{random.Random(number).randrange(1 << 24):06x}" for number in range(20_000)]
    dice = random.Random(1)
    print("| documents | KB each | seconds | CPU seconds | MB of BSON per CPU second | peak MB |\n|---|---|---|---|---|---|", flush=True)
    for count, length in SIZES:
        step = max(1, WORDS_PER_INSERT // length)
        for first in range(0, count, step):
            some = range(first, min(first + step, count))
            database.sizes.insert_many([record(number, " ".join(dice.choices(words, k=length))) for number in some], ordered=False)
        megabytes = database.command("collStats", "sizes")["size"] / 1e6
        data = f"{folder}/sizes-{count}"
        wall, cpu, peak, _ = bench.run([options.cclake, "extract", "--quiet"],
                                       env | {"MONGO_COLLECTION": "sizes", "CCLAKE_DATA_DIR": data})
        print(f"| {count:,} | {megabytes * 1000 / count:.1f} | {wall:.1f} | {cpu:.1f} | {megabytes / cpu:.0f} | {peak:.0f} |", flush=True)
        database.drop_collection("sizes")
        shutil.rmtree(data)
    print()


def event(number):
    """A record of about 1 KB of BSON."""
    text = "lorem ipsum dolor sit amet consectetur "
    return record(number, f"{number * 7919 % 1000003} " + text[number % 37:] + text * 19) | {"_id": number}


def record(number, content):
    return {"type": "user", "sessionId": f"s{number % 97}", "uuid": f"{number:032x}",
            "timestamp": f"2026-02-{number % 28 + 1:02}T10:00:00.000Z", "message": {"role": "user", "content": content}}


def drain(options, database, env, folder):
    """A backlog of small events, read by `extract --follow`."""
    events = database.events
    events.insert_one({"_id": -1, "type": "message"})
    env = env | {"MONGO_COLLECTION": "events", "CCLAKE_DATA_DIR": f"{folder}/events", "CDC_BUFFER_SECONDS": "5"}
    follow = [options.cclake, "extract", "--follow", "--verbose"]

    def wait_for(process, wanted):
        seen = 0
        for line in process.stderr:
            seen += int(line.split()[0]) if "changes to the lake" in line else 0
            if (wanted is None and "following" in line) or (wanted and seen >= wanted):
                break
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            sys.exit(f"--follow ended with {status}")
        return usage

    start = lambda: subprocess.Popen(follow, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(start(), None)
    for first in range(0, options.events, 5000):
        events.insert_many(map(event, range(first, min(first + 5000, options.events))), ordered=False)
    began = time.perf_counter()
    usage = wait_for(start(), options.events)
    cpu = usage.ru_utime + usage.ru_stime
    print("| change stream | seconds | CPU seconds | events per CPU second | peak MB |\n|---|---|---|---|---|")
    print(f"| {options.events:,} events of 1 KB | {time.perf_counter() - began:.1f} | {cpu:.1f} | {options.events / cpu:,.0f} | {usage.ru_maxrss / 1024:.0f} |")


if __name__ == "__main__":
    main()
