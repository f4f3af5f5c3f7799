"""Kills `cclake extract` again and again, full and following, while the collection is written to, and then compares.

    python scripts/torture_mongo.py CCLAKE SERVER [--kills 100] [--documents 40000] [--seed N]

Each kind is killed so many times (SIGKILL), each time after a random while, and at last left to end in order. After each kill
everything that the lake's position says is read must be in the lake; at last the newest row of every document must be the
document as it is, and no row may be there twice. Needs Linux, pymongo and pyiceberg.
"""

import argparse
import collections
import datetime
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError

from bench_mongo import record, started
from torture_position import Inspector, Log

# Seconds after which a process is killed; a full extract of 40,000 documents takes about two.
WITHIN = 3.0

TEXT = "lorem ipsum dolor sit amet consectetur " * 100


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def document(key, version):
    return record(len(str(key)), f"{key} {TEXT}") | {"_id": key, "uuid": str(key), "slug": f"v{version}", "_synced_at": now()}


class Writer(threading.Thread):
    """Inserts, replaces and, if it may, deletes; `current` is what the collection holds."""

    def __init__(self, collection, dice, deletes):
        super().__init__(daemon=True)
        self.collection, self.dice, self.deletes = collection, dice, deletes
        self.current, self.deleted = {}, set()
        self.over = threading.Event()

    def fill(self, count):
        for first in range(0, count, 1000):
            self.insert([self.key(number) for number in range(first, min(first + 1000, count))])

    def key(self, number):
        """Ids of two types: what orders and ranges must keep apart."""
        return number if number % 2 else f"id {number}"

    def insert(self, keys):
        documents = [document(key, 0) for key in keys]
        self.collection.insert_many(documents)
        self.current.update(dict.fromkeys(keys, "v0"))

    def run(self):
        number, version = len(self.current), 0
        while not self.over.is_set():
            action = self.dice.random()
            if action < 0.5:
                self.insert([self.key(number + more) for more in range(20)])
                number += 20
            elif action < 0.9 or not self.deletes:
                version += 1
                for key in self.dice.sample(sorted(self.current, key=str)[:5000], 10):
                    self.collection.replace_one({"_id": key}, document(key, version))
                    self.current[key] = f"v{version}"
            else:
                key = self.dice.choice(sorted(self.current, key=str)[:5000])
                self.deleted.add(key)
                self.collection.delete_one({"_id": key})
                del self.current[key]
            time.sleep(0.05)

    def end(self):
        self.over.set()
        self.join()


class Torture:
    def __init__(self, options, uri, folder, name, writer, inspector):
        self.writer, self.inspector = writer, inspector
        self.options, self.folder = options, f"{folder}/{name}"
        self.dice = random.Random(f"{options.seed} {name}")
        self.env = os.environ | {"CCLAKE_SOURCE": "mongodb", "MONGO_URI": uri, "MONGO_DB": "torture", "MONGO_COLLECTION": name,
                                 "CCLAKE_DATA_DIR": self.folder, "CDC_BUFFER_SECONDS": "0.5"}

    def start(self, *arguments):
        return subprocess.Popen([self.options.cclake, "extract", "--quiet", *arguments], env=self.env)

    def kill(self, process):
        process.kill()
        process.wait()
        self.inspector.look(self.table(), self.writer.deleted)

    def kill_full(self):
        """How many processes were killed before they ended."""
        killed, arguments = 0, ["--full-backfill"]
        while killed < self.options.kills:
            process = self.start(*arguments)
            try:
                status = process.wait(self.dice.uniform(0, WITHIN))
                assert status == 0, f"extract ended with {status}"
                arguments = ["--full-backfill"]
            except subprocess.TimeoutExpired:
                self.kill(process)
                killed += 1
                # The next one goes on where this one was, or, now and then, begins anew.
                arguments = [] if self.dice.random() < 0.9 else ["--full-backfill"]
        return killed

    def kill_following(self):
        for _ in range(self.options.kills):
            process = self.start("--follow")
            time.sleep(self.dice.uniform(0, WITHIN))
            assert process.poll() is None, f"--follow ended with {process.poll()}"
            self.kill(process)
        return self.options.kills

    def finish_full(self):
        for _ in range(2):
            assert self.start().wait() == 0

    def finish_following(self):
        process = self.start("--follow")
        time.sleep(10)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0

    def table(self):
        """The lake's table; none as long as there is none."""
        warehouse = f"{self.folder}/iceberg"
        if not os.path.exists(f"{warehouse}/catalog.db"):
            return None
        catalog = SqlCatalog("default", uri=f"sqlite:///{warehouse}/catalog.db", warehouse=f"file://{warehouse}")
        try:
            return catalog.load_table("analytics.conversations")
        except NoSuchTableError:
            return None

    def compare(self):
        """Rows in the lake, documents that are not there as they are, and rows that are there twice."""
        columns = ["_id", "slug", "_op", "_cluster_ts", "_seq"]
        rows = self.table().scan(selected_fields=columns).to_arrow()
        ids, slugs, ops, times, sequences = (rows[column].to_pylist() for column in columns)
        orders = [(time, sequence) for time, sequence in zip(times, sequences)]
        twice = sum(count - 1 for count in collections.Counter(zip(ids, orders)).values())
        newest = {}
        for key, slug, op, order in zip(ids, slugs, ops, orders):
            if key not in newest or order > newest[key][0]:
                newest[key] = (order, None if op == "delete" else slug)
        expected = {str(key): version for key, version in self.writer.current.items()}
        there = {key: slug for key, (_, slug) in newest.items() if slug is not None}
        wrong = sum(there.get(key) != expected.get(key) for key in there.keys() | expected.keys())
        return len(ids), wrong, twice


def torture(options, client, uri, folder, name, kill, finish, deletes):
    collection = client.torture[name]
    writer = Writer(collection, random.Random(f"{options.seed} writes"), deletes)
    writer.fill(options.documents)
    inspector = Inspector(collection, Log(collection), list(writer.current))
    case = Torture(options, uri, folder, name, writer, inspector)
    writer.start()
    killed = kill(case)
    writer.end()
    finish(case)
    rows, wrong, twice = case.compare()
    print(f"| {name} | {killed} | {len(writer.current):,} | {rows:,} | {wrong} | {twice} | {inspector.ahead} of {inspector.looks} looks |",
          flush=True)
    return wrong + twice + inspector.ahead


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cclake")
    parser.add_argument("server")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--documents", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}\n\n| extract | kills | documents | rows in the lake | lost or old | doubled | position ahead |\n"
          "|---|---|---|---|---|---|---|",
          flush=True)
    with tempfile.TemporaryDirectory() as folder, started(options.server, f"{folder}/server") as (client, uri):
        bad = torture(options, client, uri, folder, "full", Torture.kill_full, Torture.finish_full, deletes=False)
        bad += torture(options, client, uri, folder, "follow", Torture.kill_following, Torture.finish_following, deletes=True)
    sys.exit(bad != 0)


if __name__ == "__main__":
    main()
