"""Whether a lake's position in a collection is behind its rows: what it says is read must be in the lake."""

import threading
import time

import bson.json_util

# Indexes into the types of ids that `cclake` names in its ranges.
NUMBERS, STRINGS = 2, 3


class Log(threading.Thread):
    """Every event of the collection, in order, as `(id, seconds, increment)`: what a row of the lake tells too."""

    def __init__(self, collection):
        super().__init__(daemon=True)
        self.events, self.places = [], {}
        self.stream = collection.watch()
        self.start()

    def run(self):
        for event in self.stream:
            self.places[key_of(event)] = len(self.events)
            self.events.append(key_of(event))

    def place(self, event):
        """Waits until the event is here; the events before it."""
        until = time.monotonic() + 30
        while event not in self.places:
            assert time.monotonic() < until, f"the event {event} never came"
            time.sleep(0.05)
        return self.places[event]


def key_of(event):
    cluster_time = event["clusterTime"]
    return str(event["documentKey"]["_id"]), cluster_time.time, cluster_time.inc


class Inspector:
    """Looks at the lake after each kill; `ahead` counts what was said to be read and was not there."""

    def __init__(self, collection, log, first_keys):
        self.collection, self.log, self.first_keys = collection, log, first_keys
        self.name = collection.full_name
        self.looks = self.ahead = 0
        # Events before the first token are in the back-fill, if at all.
        self.first_place = self.last_place = None

    def look(self, table, deleted):
        position, stream = (table and table.properties.get(f"cclake.mongodb-{part}.{self.name}") for part in ("position", "stream"))
        if not position:
            return
        position = bson.json_util.loads(position)
        rows = table.scan(selected_fields=["_id", "slug", "_cluster_ts", "_seq"]).to_arrow()
        columns = [rows[column].to_pylist() for column in ("_id", "slug", "_cluster_ts", "_seq")]
        rows = [(key, slug, time and int(time.timestamp() * 1_000_000), seq) for key, slug, time, seq in zip(*columns)]
        self.looks += 1
        if position["backfill"]:
            self.ahead += self.missing_of_ranges(position["backfill"], rows, deleted)
        elif position["marks"]:
            self.ahead += self.missing_below(position["marks"], rows)
        if stream:
            self.ahead += self.missing_before(bson.json_util.loads(stream)["at"]["token"], rows)

    def missing_of_ranges(self, backfill, rows, deleted):
        """Documents that were there from the beginning, in no range that is left, and yet not in the lake."""
        order = (backfill["order"]["cluster_ts"], backfill["order"]["sequence"])
        there = {key for key, _, time, sequence in rows if (time, sequence) == order}
        read = [key for key in self.first_keys if key not in deleted and not any(holds(left, key) for left in backfill["ranges"])]
        return sum(str(key) not in there for key in read)

    def missing_below(self, marks, rows):
        """Documents below every mark as which they are not in the lake."""
        marks = {mark["field"]: mark["value"] for mark in marks}
        if "_synced_at" not in marks:
            return 0
        below = self.collection.find({"_synced_at": {"$lt": marks["_synced_at"]}}, {"slug": 1})
        there = {(key, slug) for key, slug, _, _ in rows}
        numbers = marks.get("_id", float("inf"))
        read = [each for each in below if isinstance(each["_id"], str) or each["_id"] <= numbers]
        return sum((str(each["_id"]), each["slug"]) not in there for each in read)

    def missing_before(self, token, rows):
        """Events before the one that the token leads to, which have no row; a token that went back counts as one."""
        with self.collection.watch(start_after=token, max_await_time_ms=1000) as stream:
            place = self.log.place(key_of(next(stream)))
        if self.first_place is None:
            self.first_place = self.last_place = place
        there = {(key, time // 1_000_000, sequence >> 24) for key, _, time, sequence in rows if time}
        missing = sum(event not in there for event in self.log.events[self.first_place:place])
        went_back = place < self.last_place
        self.last_place = place
        return missing + went_back


def holds(left, key):
    """Whether a range that is left to be read holds the id."""
    if left["bracket"] != (STRINGS if isinstance(key, str) else NUMBERS):
        return False
    from_, after, below = left["from"], left["after"], left["below"]
    return (from_ is None or key >= from_) and (after is None or key > after) and (below is None or key < below)
