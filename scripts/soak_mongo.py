"""Follows a collection for half an hour while it is written to, and tells how late each event was in the lake and how the
memory went.

    python scripts/soak_mongo.py CCLAKE SERVER [--minutes 30] [--rate 500] [--buffer 1]

An event is in the lake when the table's current snapshot counts it: the catalog is asked twenty times a second. Events are
inserted one by one in their order, ten times a second as many as the rate asks for. Exits with 1 when an event is lost, or
later than the buffer and one second at the 95th percentile. Needs Linux and pymongo.
"""

import argparse
import json
import os
import pathlib
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from bench_mongo import event, started

class Lake:
    """How many rows the table's current snapshot has."""

    def __init__(self, warehouse):
        self.catalog = sqlite3.connect(f"file:{warehouse}/catalog.db?mode=ro", uri=True)
        self.location = None

    def rows(self):
        """None while nothing changed."""
        [location] = self.catalog.execute("select metadata_location from iceberg_tables").fetchone()
        if location == self.location:
            return None
        try:
            metadata = json.loads(pathlib.Path(location.removeprefix("file://")).read_text())
        except FileNotFoundError:  # Upkeep was faster.
            return None
        self.location = location
        current = metadata["current-snapshot-id"]
        [snapshot] = [s for s in metadata["snapshots"] if s["snapshot-id"] == current]
        return int(snapshot["summary"]["total-records"])


def insert(collection, written, rate, seconds):
    """Appends to `written` when each event was acknowledged."""
    began = time.time()
    while time.time() - began < seconds:
        wanted = int((time.time() - began) * rate)
        while len(written) < wanted:
            some = range(len(written), min(wanted, len(written) + 50))
            collection.insert_many([event(number) for number in some])
            written.extend([time.time()] * len(some))
        time.sleep(0.1)


def resident_mb(pid):
    [line] = [line for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def soak(options, client, uri, folder):
    env = os.environ | {"CCLAKE_SOURCE": "mongodb", "MONGO_URI": uri, "MONGO_DB": "soak", "MONGO_COLLECTION": "events",
                        "CCLAKE_DATA_DIR": f"{folder}/data", "CDC_BUFFER_SECONDS": str(options.buffer)}
    client.soak.events.insert_one({"_id": -1, "type": "message"})
    follower = subprocess.Popen([options.cclake, "extract", "--follow"], env=env, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True)
    try:
        while "following" not in follower.stderr.readline():
            assert follower.poll() is None, "--follow ended"
        return watch(options, client.soak.events, follower, Lake(f"{folder}/data/iceberg"))
    finally:
        follower.send_signal(signal.SIGINT)
        follower.wait()


def watch(options, collection, follower, lake):
    """Seconds from the acknowledged insert of each event to the lake, and the follower's memory once a second."""
    written, late, memory = [], [], []
    writer = threading.Thread(target=insert, args=(collection, written, options.rate, options.minutes * 60))
    before = lake.rows()
    writer.start()
    until = time.time() + options.minutes * 60 + options.buffer + 30
    sampled = 0
    while (writer.is_alive() or len(late) < len(written)) and time.time() < until:
        rows, now = lake.rows(), time.time()
        for number in range(len(late), (rows or 0) - before):
            # The commit can be seen before the insert's answer is.
            late.append(max(0.0, now - written[number]) if number < len(written) else 0.0)
        if now - sampled >= 1:
            memory.append(resident_mb(follower.pid))
            sampled = now
        time.sleep(0.05)
    writer.join()
    return len(written), late, memory


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cclake")
    parser.add_argument("server")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--buffer", type=float, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, started(options.server, f"{folder}/server") as (client, uri):
        written, late, memory = soak(options, client, uri, folder)
    cuts = statistics.quantiles(late, n=100)
    third = len(memory) // 3
    print(f"{written:,} events in {options.minutes:g} minutes, {len(late):,} in the lake; buffer {options.buffer:g} s")
    print(f"seconds to the lake: median {cuts[49]:.2f}, p95 {cuts[94]:.2f}, p99 {cuts[98]:.2f}, most {max(late):.2f}")
    print("resident MB, median of each third:", *(f"{statistics.median(memory[n * third:(n + 1) * third]):.0f}" for n in range(3)),
          f"- peak {max(memory):.0f}")
    if len(late) != written or cuts[94] > options.buffer + 1:
        sys.exit(1)


if __name__ == "__main__":
    main()
