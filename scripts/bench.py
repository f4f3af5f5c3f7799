"""Times cclake beside its peers on one machine in one go, and prints a Markdown table.

    python scripts/bench.py CCLAKE TRANSCRIPTS [--ccusage PATH] [--sizes]

Each figure is the median of several runs; peers run in turn with us, so that a drifting machine drifts for all. With
--sizes it also runs 200 MB and 2 GB of demo data. Needs Linux (resource usage of children) and the PyPI package duckdb-cli.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

DUCKDB_SQL = """copy (
    select * from read_ndjson_auto('{logs}/**/*.jsonl', filename=true, union_by_name=true, maximum_object_size=268435456, ignore_errors=true)
) to '{out}' (format parquet, compression zstd)"""


def duckdb_cli():
    """The command-line program inside the PyPI package duckdb-cli."""
    folder = importlib.util.find_spec("duckdb_cli").submodule_search_locations[0]
    program = pathlib.Path(folder) / "duckdb"
    program.chmod(0o755)
    return str(program)


def run(command, env=None):
    """Wall seconds, CPU seconds and peak MB of a command that must succeed; its standard output.

    Linux counts the peak of whoever starts a process as that process's own: this one has to stay small.
    """
    # What an earlier run left to be written would be written at this one's cost.
    os.sync()
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if status != 0:
        sys.exit(f"{command} failed: {process.stderr.read().decode()}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output


def median(runs):
    return tuple(statistics.median(column) for column in list(zip(*[run[:3] for run in runs])))


def megabytes(folder):
    return sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*.jsonl")) / 1e6


def row(name, figures, size=None):
    wall, cpu, peak = figures
    rate = f"{size / wall:.0f}" if size else ""
    print(f"| {name} | {wall:.2f} | {cpu:.2f} | {rate} | {peak:.0f} |", flush=True)


class Bench:
    def __init__(self, arguments, folder):
        self.cclake = arguments.cclake
        self.duckdb = duckdb_cli()
        self.folder = pathlib.Path(folder)
        self.env = {**os.environ, "CCLAKE_TIME_ZONE": "UTC", "HOME": folder}

    def cclake_run(self, logs, data):
        return run([self.cclake, "run", "--json", "--path", str(logs), "--data-dir", str(data)], self.env)

    def cold(self, logs):
        data = self.folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        return self.cclake_run(logs, data)

    def against_peers(self, logs, ccusage, times):
        size = megabytes(logs)
        print(f"\n{size:.0f} MB, median of {times}, runs in turn\n")
        print("| what | seconds | CPU seconds | MB/s | peak MB |\n|---|---|---|---|---|")
        ours, duckdb, theirs = [], [], []
        for _ in range(times):
            ours.append(self.cold(logs))
            duckdb.append(run([self.duckdb, "-c", DUCKDB_SQL.format(logs=logs, out=self.folder / "peer.parquet")]))
            if ccusage:
                theirs.append(self.ccusage(logs, ccusage))
        row("`cclake run`, cold: lake, warehouse, models, tests", median(ours), size)
        row("DuckDB's CLI alone: read the tree, write zstd Parquet", median(duckdb), size)
        if theirs:
            row("`ccusage claude daily`: one report, nothing kept", median(theirs), size)
        ratios = [a[0] / b[0] for a, b in zip(ours, duckdb)]
        print(f"\n`cclake run` / DuckDB's CLI alone, run by run: {', '.join(f'{ratio:.2f}' for ratio in ratios)}; median {statistics.median(ratios):.2f}")
        print("\n| stage of the cold run | seconds | MB/s |\n|---|---|---|")
        reports = [json.loads(one[3]) for one in ours]
        for stages in zip(*[report["stages"] for report in reports]):
            seconds = statistics.median(stage["seconds"] for stage in stages)
            rate = stages[0]["mb_per_second"]
            print(f"| {stages[0]['name']} | {seconds:.2f} | {size / seconds if rate else 0:.0f} |" if rate else f"| {stages[0]['name']} | {seconds:.2f} | |")

    def ccusage(self, logs, ccusage):
        home = self.folder / "claude"
        home.mkdir(exist_ok=True)
        if not (home / "projects").exists():
            (home / "projects").symlink_to(logs)
        command = [ccusage, "claude", "daily", "--offline", "--json", "-z", "UTC"]
        return run(command, {**os.environ, "CLAUDE_CONFIG_DIR": str(home)})

    def again(self, logs, times):
        print("\n| run again | seconds | CPU seconds | MB/s | peak MB |\n|---|---|---|---|---|")
        tree, data = self.folder / "tree", self.folder / "data"
        sessions = sorted(pathlib.Path(logs).rglob("*.jsonl"), key=lambda path: path.stat().st_size)
        typical = sessions[len(sessions) // 2 : len(sessions) // 2 + times]
        shutil.copytree(logs, tree, ignore=lambda _, names: [name for name in names if name in {path.name for path in typical}])
        shutil.rmtree(data, ignore_errors=True)
        self.cclake_run(tree, data)
        time.sleep(2.1)
        self.cclake_run(tree, data)
        row("nothing new", median([self.cclake_run(tree, data) for _ in range(times)]))
        runs = []
        for session in typical:
            shutil.copy(session, tree)
            runs.append(self.cclake_run(tree, data))
        row(f"one new session ({statistics.median(path.stat().st_size for path in typical) / 1e6:.1f} MB)", median(runs))

    def reports(self, times):
        print("\n| report | seconds |\n|---|---|")
        for kind in ["daily", "weekly", "monthly", "session", "project", "model", "tool", "blocks"]:
            command = [self.cclake, "report", kind, "--data-dir", str(self.folder / "data")]
            seconds = statistics.median(run(command, self.env)[0] for _ in range(times))
            print(f"| `cclake report {kind}` | {seconds:.3f} |", flush=True)

    def sizes(self):
        print("\n| demo data | seconds | CPU seconds | MB/s | peak MB |\n|---|---|---|---|---|")
        figures = []
        for sessions, days in [(620, 30), (6200, 90)]:
            demo = self.folder / f"demo{sessions}"
            run([self.cclake, "demo", "--out", str(demo), "--sessions", str(sessions), "--days", str(days)], self.env)
            size = megabytes(demo)
            # One run more or less moves the peak by a tenth.
            figures.append((size, median([self.cold(demo / "projects") for _ in range(3)])))
            row(f"{size:.0f} MB", figures[-1][1], size)
            shutil.rmtree(demo)
        (small, a), (large, b) = figures
        print(f"\npeak memory {b[2] / a[2]:.2f} times, MB/s {(small / a[0]) / (large / b[0]):.2f} times slower")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cclake")
    parser.add_argument("transcripts")
    parser.add_argument("--ccusage")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--sizes", action="store_true")
    arguments = parser.parse_args()
    arguments.cclake = os.path.abspath(arguments.cclake)
    logs = os.path.abspath(arguments.transcripts)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments, folder)
        bench.against_peers(logs, arguments.ccusage, arguments.times)
        bench.again(logs, arguments.times)
        bench.reports(arguments.times)
        if arguments.sizes:
            bench.sizes()


if __name__ == "__main__":
    main()
