"""Read a lake with PyIceberg and with DuckDB's iceberg extension, and print what each of them sees.

    python read_lake.py WAREHOUSE [--catalog default] [--table analytics.conversations]

Needs, from PyPI: pyiceberg[sql-sqlite,pyarrow]==0.12.0, duckdb==1.5.5, duckdb-extension-iceberg==1.5.5,
duckdb-extension-avro==1.5.5. (An extension loads into the DuckDB of its own version only.)

Prints one JSON object: {"pyiceberg": {...}, "duckdb": {...}} with equal values if all is well; exit status 1 if not.
"""

import argparse
import datetime
import importlib.util
import json
import pathlib
import sys

import duckdb
import pyarrow.compute as pc
from pyiceberg.catalog.sql import SqlCatalog


def open_table(warehouse, catalog_name, table_name):
    # SQLAlchemy wants four slashes before an absolute path. The catalog's name must match: another sees nothing.
    catalog = SqlCatalog(catalog_name, uri=f"sqlite:///{warehouse / 'catalog.db'}", warehouse=str(warehouse))
    return catalog.load_table(table_name)


def by_pyiceberg(table):
    columns = ("_id", "timestamp", "source_offset", "_raw_json")
    rows = table.scan(selected_fields=columns).to_arrow()
    return {
        "columns": [field.name for field in table.schema().fields],
        "rows": rows.num_rows,
        "distinct_ids": pc.count_distinct(rows["_id"]).as_py(),
        "null_timestamps": table.scan(row_filter="timestamp is null", selected_fields=("_id",)).to_arrow().num_rows,
        "sum_of_offsets": pc.sum(rows["source_offset"]).as_py() or 0,
        "raw_bytes": pc.sum(pc.binary_length(rows["_raw_json"])).as_py() or 0,
        **newest_day_by_pyiceberg(table, pc.max(rows["timestamp"]).as_py()),
    }


def newest_day_by_pyiceberg(table, newest):
    """Found by the partitions' values: a wrong one would hide rows."""
    if newest is None:
        return {"newest_day": None, "rows_of_newest_day": 0}
    day = newest.astimezone(datetime.timezone.utc).date().isoformat()
    scan = table.scan(row_filter=f"timestamp >= '{day}T00:00:00+00:00'", selected_fields=("_id",))
    return {"newest_day": day, "rows_of_newest_day": scan.to_arrow().num_rows}


def extension(name):
    """The signed extension file inside its PyPI package."""
    package = importlib.util.find_spec(f"duckdb_extension_{name}")
    for folder in package.submodule_search_locations:
        for file in pathlib.Path(folder).rglob("*.duckdb_extension"):
            return file
    raise SystemExit(f"no extension file in the package duckdb-extension-{name}")


def by_duckdb(metadata_location):
    connection = duckdb.connect()
    # Avro first: iceberg needs it and would otherwise look for it on the network.
    for name in ("avro", "iceberg"):
        connection.execute(f"LOAD '{extension(name)}'")
    connection.execute("SET TimeZone = 'UTC'")
    rows, ids, nulls, offsets, raw, day = connection.execute(
        """
        SELECT count(*), count(DISTINCT _id), count(*) FILTER (timestamp IS NULL), sum(source_offset),
               sum(strlen(_raw_json)), max(timestamp)::DATE::VARCHAR
        FROM iceberg_scan(?)
        """,
        [metadata_location],
    ).fetchone()
    (of_day,) = connection.execute(
        "SELECT count(*) FROM iceberg_scan(?) WHERE timestamp >= ?::VARCHAR::TIMESTAMPTZ", [metadata_location, day]
    ).fetchone()
    described = connection.execute("DESCRIBE SELECT * FROM iceberg_scan(?)", [metadata_location]).fetchall()
    return {
        # None more than the schema has: a reader may make one of a partition folder's name.
        "columns": [name for name, *_ in described],
        "rows": rows,
        "distinct_ids": ids,
        "null_timestamps": nulls,
        "sum_of_offsets": int(offsets or 0),
        "raw_bytes": int(raw or 0),
        "newest_day": day,
        "rows_of_newest_day": of_day,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("warehouse", type=pathlib.Path, help="the folder with catalog.db")
    parser.add_argument("--catalog", default="default")
    parser.add_argument("--table", default="analytics.conversations")
    arguments = parser.parse_args()
    if not (arguments.warehouse / "catalog.db").is_file():
        parser.error(f"no catalog.db in {arguments.warehouse}")
    table = open_table(arguments.warehouse.absolute(), arguments.catalog, arguments.table)
    seen = {"pyiceberg": by_pyiceberg(table), "duckdb": by_duckdb(table.metadata_location)}
    print(json.dumps(seen, indent=2))
    return 0 if seen["pyiceberg"] == seen["duckdb"] else 1


if __name__ == "__main__":
    sys.exit(main())
