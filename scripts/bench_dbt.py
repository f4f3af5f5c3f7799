"""Times models and tests by the built-in runner beside both dbt engines, and prints a Markdown table.

    python scripts/bench_dbt.py CCLAKE TRANSCRIPTS --dbt PATH --rust-dbt PATH --libduckdb DIR

All build the same project from copies of one warehouse into which one new session was loaded; every model and every test
is executed by each. Each figure is the median of several runs, in turn; each dbt has parsed the project once before.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import sys
import tempfile

from bench import median, row, run

PROJECT = pathlib.Path(__file__).resolve().parent.parent / "analytics" / "dbt"


def one_session_behind(arguments, folder, env):
    """A data directory whose warehouse has all but one session built, and that one loaded."""
    sessions = sorted(pathlib.Path(arguments.transcripts).rglob("*.jsonl"), key=lambda path: path.stat().st_size)
    new = sessions[len(sessions) // 2]
    tree, data = folder / "tree", folder / "data"
    shutil.copytree(arguments.transcripts, tree, ignore=lambda _, names: [name for name in names if name == new.name])
    cclake = [arguments.cclake, "--data-dir", str(data)]
    run([*cclake, "run", "--quiet", "--path", str(tree)], env)
    shutil.copy(new, tree)
    run([*cclake, "extract", "--quiet", "--path", str(tree)], env)
    run([*cclake, "load", "--quiet"], env)
    return data, new.stat().st_size / 1e6


class Engine:
    """One way to build the project, on a copy of the warehouse of its own."""

    def __init__(self, name, folder, command, env):
        self.name = name
        self.database = folder / "analytics.db"
        self.command = command
        self.env = {**env, "DUCKDB_PATH": str(self.database)}
        self.runs = []
        folder.mkdir()

    def build(self, warehouse):
        shutil.copy(warehouse, self.database)
        return run(self.command, self.env)


class Dbt(Engine):
    def __init__(self, name, folder, program, env):
        self.project = folder / "project"
        where = ["--project-dir", str(self.project), "--profiles-dir", str(self.project)]
        super().__init__(name, folder, [program, "build", *where, "--vars", "{timezone: UTC}"], env)
        shutil.copytree(PROJECT, self.project, ignore=shutil.ignore_patterns("target", "logs"))

    def executed(self, _):
        results = json.loads((self.project / "target" / "run_results.json").read_text())["results"]
        done = [node["unique_id"] for node in results if node["status"] in ("success", "pass", "warn")]
        return tuple(sum(node.startswith(kind) for node in done) for kind in ("model.", "test."))


class Builtin(Engine):
    def __init__(self, name, folder, program, data, env):
        super().__init__(name, folder, [program, "transform", "--json", "--data-dir", str(data)], env)

    def executed(self, output):
        results = json.loads(output)
        return sum(model["node"].startswith("model.") for model in results["models"]), len(results["tests"])


def compare(arguments, folder):
    env = {
        **os.environ,
        "CCLAKE_TIME_ZONE": "UTC",
        "HOME": str(folder),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBT_VERSION_CHECK": "false",
    }
    data, size = one_session_behind(arguments, folder, env)
    library = {**env, "LD_LIBRARY_PATH": arguments.libduckdb}
    ours = Builtin("`cclake transform`", folder / "builtin", arguments.cclake, data, env)
    engines = [
        ours,
        Dbt("`dbt build`, dbt-core 1.12", folder / "stock", arguments.dbt, env),
        Dbt("`dbt build`, its Rust engine", folder / "rust", arguments.rust_dbt, library),
    ]
    executed = {}
    for time in range(arguments.times + 1):
        for engine in engines:
            figures = engine.build(data / "analytics.db")
            executed[engine.name] = engine.executed(figures[3])
            if time > 0:
                engine.runs.append(figures)
    if len(set(executed.values())) != 1:
        sys.exit(f"not the same models and tests were executed: {executed}")
    models, tests = executed[ours.name]
    print(f"\n{models} models and {tests} tests after one new session of {size:.1f} MB, median of {arguments.times}, runs in turn\n")
    print("| what | seconds | CPU seconds | MB/s | peak MB |\n|---|---|---|---|---|")
    for engine in engines:
        row(engine.name, median(engine.runs))
    for engine in engines[1:]:
        ratios = sorted(theirs[0] / mine[0] for mine, theirs in zip(ours.runs, engine.runs))
        print(f"\n{engine.name} / `cclake transform`: {statistics.median(ratios):.1f} (run by run {', '.join(f'{ratio:.1f}' for ratio in ratios)})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cclake", type=os.path.abspath)
    parser.add_argument("transcripts", type=os.path.abspath)
    parser.add_argument("--dbt", required=True)
    parser.add_argument("--rust-dbt", required=True)
    parser.add_argument("--libduckdb", required=True)
    parser.add_argument("--times", type=int, default=5)
    with tempfile.TemporaryDirectory() as folder:
        compare(parser.parse_args(), pathlib.Path(folder))


if __name__ == "__main__":
    main()
