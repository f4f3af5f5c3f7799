"""Compare what several builders of the dbt project made of the same raw rows.

    python compare_builds.py REFERENCE OTHER...

Each argument is a folder with `analytics.db` and `results.json`: dbt's run_results.json, or what `cclake transform --json`
prints. Needs, from PyPI: duckdb==1.5.5.

Prints one JSON object with what was compared and every difference: relations that one side lacks, columns of another name,
type or place, rows that one side lacks, tests with another verdict or number of failures. Exit status 1 if there is one.
"""

import argparse
import json
import pathlib
import sys

import duckdb

# What the project does not build: the loader's tables, and the runner's own notes.
NOT_BUILT = ("raw", "quality", "main", "information_schema", "pg_catalog")
# A snapshot notes when it was taken. Instants of the last hour are the clock's, older ones the data's.
CLOCK = ("dbt_valid_from", "dbt_valid_to", "dbt_updated_at")
# A hash of the key and of such an instant.
HASH_OF_CLOCK = "dbt_scd_id"
ROWS_SHOWN = 3


class Build:
    """One builder's database and test results."""

    def __init__(self, folder):
        self.name = folder.name
        self.connection = duckdb.connect(str(folder / "analytics.db"), read_only=True)
        self.connection.execute("set timezone = 'UTC'")
        self.tests = tests(json.loads((folder / "results.json").read_text()))
        self.columns = {}
        for schema, relation, column, kind in self.connection.execute(
            """
            select table_schema, table_name, column_name, data_type from information_schema.columns
            where table_schema not in (select unnest(?)) order by table_schema, table_name, ordinal_position
            """,
            [list(NOT_BUILT)],
        ).fetchall():
            self.columns.setdefault(f"{schema}.{relation}", []).append((column, kind))

    def rows_sql(self, relation):
        columns = (comparable(column) for column, _ in self.columns[relation] if column != HASH_OF_CLOCK)
        return f"select {', '.join(columns)} from {relation}"

    def fingerprint(self, relation):
        """The number of rows and a hash of them all, whatever their order."""
        sql = f"select count(*), coalesce(sum(hash(r)::hugeint), 0)::varchar from ({self.rows_sql(relation)}) as r"
        return self.connection.execute(sql).fetchone()

    def rows(self, relation):
        """Every row as text. Slow; for relations that are known to differ."""
        return {repr(row) for row in self.connection.execute(self.rows_sql(relation)).fetchall()}


def comparable(column):
    quoted = '"' + column.replace('"', '""') + '"'
    if column not in CLOCK:
        return quoted
    instant = f"cast({quoted} as timestamp)"
    return f"case when {instant} > current_localtimestamp() - interval 1 hour then 'now' else {instant}::varchar end"


def tests(results):
    """Node id -> (verdict, failing rows) of every test."""
    if "tests" in results:
        return {test["node"]: (test["verdict"], test["failures"]) for test in results["tests"]}
    nodes = (node for node in results["results"] if node["unique_id"].startswith("test."))
    return {node["unique_id"]: (node["status"], node.get("failures")) for node in nodes}


def differences(a, b):
    for relation in sorted(a.columns.keys() | b.columns.keys()):
        if a.columns.get(relation) != b.columns.get(relation):
            ours, theirs = a.columns.get(relation, []), b.columns.get(relation, [])
            yield f"{relation}: columns only in {a.name} {minus(ours, theirs)}, only in {b.name} {minus(theirs, ours)}, or in another order"
        elif a.fingerprint(relation) != b.fingerprint(relation):
            ours, theirs = a.rows(relation), b.rows(relation)
            yield f"{relation}: rows only in {a.name} {sample(ours - theirs)}, only in {b.name} {sample(theirs - ours)}"
    for test in sorted(a.tests.keys() | b.tests.keys()):
        if a.tests.get(test) != b.tests.get(test):
            yield f"{test}: {a.tests.get(test)} in {a.name}, {b.tests.get(test)} in {b.name}"


def minus(some, others):
    return [column for column in some if column not in others]


def sample(rows):
    return f"{len(rows)}: {[row[:2000] for row in sorted(rows)[:ROWS_SHOWN]]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference", type=pathlib.Path)
    parser.add_argument("others", type=pathlib.Path, nargs="+")
    arguments = parser.parse_args()
    reference = Build(arguments.reference)
    found = []
    for folder in arguments.others:
        found.extend(differences(reference, Build(folder)))
    print(
        json.dumps(
            {
                "relations": sorted(reference.columns),
                "rows": sum(reference.fingerprint(relation)[0] for relation in reference.columns),
                "tests": {node: verdict for node, (verdict, _) in sorted(reference.tests.items())},
                "differences": found,
            },
            indent=2,
        )
    )
    for difference in found:
        print(difference, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
