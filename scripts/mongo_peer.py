"""The same job as a good engineer writes it in Python: a collection into an Iceberg table, by day.

    python scripts/mongo_peer.py URI FOLDER
"""

import datetime
import pathlib
import sys

import pyarrow as pa
import pymongo
from bson import json_util
from bson.json_util import RELAXED_JSON_OPTIONS
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.transforms import DayTransform

BATCH = 40_000
TEXTS = ["type", "cwd", "sessionId", "uuid", "parentUuid", "version", "gitBranch", "requestId", "slug", "agentId"]
JSONS = ["message", "toolUseResult", "data"]
SCHEMA = pa.schema(
    [pa.field("_id", pa.string(), nullable=False), pa.field("timestamp", pa.timestamp("us", tz="UTC"))]
    + [pa.field(name, pa.string()) for name in [*TEXTS, *JSONS]]
    + [pa.field("_raw_json", pa.string(), nullable=False)]
)


def text(value):
    return value if isinstance(value, str) else None


def instant(value):
    try:
        return datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None


def as_json(value):
    return None if value is None else json_util.dumps(value, json_options=RELAXED_JSON_OPTIONS)


def columns(documents):
    table = {"_id": [str(document["_id"]) for document in documents],
             "timestamp": [instant(document.get("timestamp")) for document in documents]}
    for name in TEXTS:
        table[name] = [text(document.get(name)) for document in documents]
    for name in JSONS:
        table[name] = [as_json(document.get(name)) for document in documents]
    table["_raw_json"] = [as_json(document) for document in documents]
    return pa.table(table, schema=SCHEMA)


def main():
    uri, folder = sys.argv[1:]
    pathlib.Path(folder).mkdir(parents=True)
    catalog = SqlCatalog("default", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
    catalog.create_namespace("analytics")
    table = catalog.create_table("analytics.conversations", schema=SCHEMA)
    with table.update_spec() as update:
        update.add_field("timestamp", DayTransform(), "timestamp_day")
    collection = pymongo.MongoClient(uri).claude_logs.conversations
    batch = []
    for document in collection.find({}, batch_size=10_000):
        batch.append(document)
        if len(batch) == BATCH:
            table.append(columns(batch))
            batch = []
    if batch:
        table.append(columns(batch))


if __name__ == "__main__":
    main()
