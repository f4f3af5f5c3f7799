//! The dbt project means the same to the built-in runner, to stock dbt and to dbt's Rust engine: every relation equal, row for
//! row and type for type, and every test too. `make test-peers` installs them; without it these tests say that they did not run.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::peers::{answer, peer};
use crate::support::{Ran, Scene, copy, dbt_project, finish, prompt, response, samples, transcripts};

/// The peers that these tests need.
struct Peers {
    python: PathBuf,
    dbt: PathBuf,
    rust_dbt: PathBuf,
    libduckdb: PathBuf,
}

impl Peers {
    fn find() -> Option<Self> {
        Some(Self {
            python: peer("CCLAKE_PEER_PYTHON")?,
            dbt: peer("CCLAKE_PEER_DBT")?,
            rust_dbt: peer("CCLAKE_PEER_RUST_DBT")?,
            libduckdb: peer("CCLAKE_PEER_LIBDUCKDB")?,
        })
    }
}

/// Three warehouses fed from one lake, each in a folder of its own, since dbt names the database after the file.
struct Bench<'a> {
    scene: Scene,
    peers: &'a Peers,
}

const BUILDERS: [&str; 3] = ["builtin", "dbt", "rust-dbt"];

impl Bench<'_> {
    fn warehouse(&self, builder: &str) -> PathBuf {
        let folder = self.scene.path(builder);
        std::fs::create_dir_all(&folder).unwrap();
        folder.join("analytics.db")
    }

    fn cclake(&self, builder: &str, args: &[&str]) -> Ran {
        let ran = finish(
            self.scene
                .command(args)
                .env("DUCKDB_PATH", self.warehouse(builder)),
        );
        assert_eq!(ran.status, 0, "{args:?} failed\n{}\n{}", ran.stdout, ran.stderr);
        ran
    }

    /// Brings what is new at the source into all three: the same rows under the same load.
    fn load(&self) {
        self.scene.run(&["extract"]);
        if self.warehouse("builtin").exists() {
            for builder in BUILDERS {
                self.cclake(builder, &["load"]);
            }
        } else {
            self.cclake("builtin", &["load"]);
            for builder in &BUILDERS[1..] {
                std::fs::copy(self.warehouse("builtin"), self.warehouse(builder)).unwrap();
            }
        }
    }

    /// Builds all three, and leaves what their tests found beside each.
    fn build(&self) {
        let results = self.cclake("builtin", &["transform", "--json"]).stdout;
        std::fs::write(self.scene.path("builtin/results.json"), results).unwrap();
        for (builder, program) in [("dbt", &self.peers.dbt), ("rust-dbt", &self.peers.rust_dbt)] {
            let project = self.scene.path(builder).join("project");
            copy(&dbt_project(), &project);
            let ran = finish(
                self.scene
                    .program(
                        program,
                        &["build", "--profiles-dir", ".", "--vars", "{timezone: UTC}"],
                    )
                    .current_dir(&project)
                    .env("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
                    .env("DBT_VERSION_CHECK", "false")
                    .env("LD_LIBRARY_PATH", &self.peers.libduckdb)
                    .env("DUCKDB_PATH", self.warehouse(builder)),
            );
            assert_eq!(ran.status, 0, "{builder}\n{}\n{}", ran.stdout, ran.stderr);
            std::fs::copy(
                project.join("target/run_results.json"),
                self.scene.path(builder).join("results.json"),
            )
            .unwrap();
        }
    }

    /// Compares the three and returns what was compared.
    fn compare(&self) -> Value {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/peers/compare_builds.py");
        answer(
            Command::new(&self.peers.python)
                .arg(script)
                .args(BUILDERS.map(|builder| self.scene.path(builder))),
        )
    }
}

/// Builds in two portions of transcripts: files cut in the middle or left out, then all of them.
fn check(logs: &Path) {
    let Some(peers) = Peers::find() else { return };
    let bench = Bench {
        scene: Scene::new(),
        peers: &peers,
    };
    let files = transcripts(logs);
    for portion in [1, 2] {
        for (index, file) in files.iter().enumerate() {
            let bytes = std::fs::read(file).unwrap();
            let first = match index % 3 {
                0 => bytes.len(),
                1 => bytes.len() / 2,
                _ => 0,
            };
            let taken = if portion == 1 { first } else { bytes.len() };
            let name = file.strip_prefix(logs).unwrap();
            bench.scene.write(name.to_str().unwrap(), &bytes[..taken]);
        }
        bench.load();
        bench.build();
        let compared = bench.compare();
        let count = |what: &str| compared[what].as_object().map(serde_json::Map::len);
        assert!(compared["relations"].as_array().unwrap().len() > 20, "{compared}");
        assert!(count("tests").unwrap() > 100, "{compared}");
        assert!(compared["rows"].as_u64().unwrap() > 1000, "{compared}");
    }
}

#[test]
fn every_engine_makes_the_same_of_demo_data() {
    let scene = Scene::new();
    let out = scene.path("demo");
    scene.run(&["demo", "--out", out.to_str().unwrap(), "--sessions", "12"]);
    check(&out.join("projects"));
}

#[test]
fn every_engine_makes_the_same_of_real_transcripts() {
    if let Some(samples) = samples() {
        check(&samples.join("claude-projects"));
    }
}

/// A scene whose models are built by dbt, from a project of its own.
struct ByDbt<'a> {
    scene: Scene,
    program: &'a Path,
    libduckdb: &'a Path,
}

impl ByDbt<'_> {
    fn try_run(&self, args: &[&str], variables: &[(&str, &str)]) -> Ran {
        finish(
            self.scene
                .command(args)
                .env("CCLAKE_TRANSFORM_ENGINE", "dbt")
                .env("CCLAKE_DBT_PROGRAM", self.program)
                .env("CCLAKE_DBT_PROJECT_DIR", self.scene.path("dbt"))
                .env("LD_LIBRARY_PATH", self.libduckdb)
                .envs(variables.iter().copied()),
        )
    }

    fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> Ran {
        let ran = self.try_run(args, variables);
        assert_eq!(ran.status, 0, "{args:?}\n{}\n{}", ran.stdout, ran.stderr);
        ran
    }

    fn never_two(&self, config: &str) {
        let facts = "{{ ref('fct_messages') }}";
        std::fs::write(
            self.scene.path("dbt/tests/custom/never_two.sql"),
            format!("{config} select * from {facts} where (select count(*) from {facts}) > 1"),
        )
        .unwrap();
    }
}

fn check_engine(program: &Path, libduckdb: &Path) {
    let by_dbt = ByDbt {
        scene: Scene::new(),
        program,
        libduckdb,
    };
    let scene = &by_dbt.scene;
    copy(&dbt_project(), &scene.path("dbt"));
    by_dbt.never_two("");
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "one") + "\n");

    by_dbt.run(&["run"], &[]);
    assert_eq!(scene.number("select count(*) from fct_messages"), 1);
    assert_eq!(
        scene.lines("select passed > 100, warned, failed, models > 20 from quality.builds"),
        ["true|0|0|true"]
    );
    assert_eq!(
        scene.lines("select count(*) = (select passed from quality.builds) from quality.test_results"),
        ["true"]
    );

    // What dbt built is for the built-in runner as if it had built it.
    let same_project = scene.path("dbt");
    let ran = finish(
        scene
            .command(&["run", "--json"])
            .env("CCLAKE_DBT_PROJECT_DIR", &same_project),
    );
    assert!(ran.stdout.contains("\"up_to_date\": true"), "{}", ran.stdout);

    scene.append("p/s.jsonl", response("s", "u2", 2, "msg_1", 7) + "\n");
    let ran = by_dbt.try_run(&["run"], &[]);
    assert_eq!(ran.status, 1, "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("FAIL  never_two (2 rows)"), "{}", ran.stdout);
    assert_eq!(scene.number("select count(*) from fct_messages"), 1);
    assert_eq!(scene.number("select count(*) from raw.conversations"), 2);
    assert_eq!(
        scene.lines("select name, failures from quality.test_results where verdict = 'fail'"),
        ["never_two|2"]
    );
    assert!(
        !scene.data().join("analytics.db.dbt").exists(),
        "the copy was left"
    );

    by_dbt.never_two("{{ config(severity='warn') }}");
    let tokyo = [("CCLAKE_TIME_ZONE", "Asia/Tokyo")];
    let ran = by_dbt.run(&["run"], &tokyo);
    assert!(ran.stdout.contains("warn  never_two (2 rows)"), "{}", ran.stdout);
    // Another time zone reached the message that was there before, too.
    assert_eq!(
        scene.lines("select distinct d.hour from fct_messages m join dim_date d using (date_key)"),
        ["19"]
    );

    let ran = by_dbt.try_run(&["transform", "--select", "no_such_model"], &tokyo);
    assert_eq!(ran.status, 2, "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("no_such_model"), "{}", ran.stderr);

    std::fs::write(
        scene.path("dbt/models/marts/core/broken.sql"),
        "select no_such_column from {{ ref('fct_messages') }}",
    )
    .unwrap();
    let ran = by_dbt.try_run(&["transform", "--select", "broken"], &tokyo);
    assert_eq!(ran.status, 2, "{}\n{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr.contains("model.cclake.broken") && ran.stderr.contains("no_such_column"),
        "{}",
        ran.stderr
    );
}

#[test]
fn stock_dbt_builds_on_a_copy_that_takes_the_place_of_the_warehouse() {
    if let Some(peers) = Peers::find() {
        check_engine(&peers.dbt, &peers.libduckdb);
    }
}

#[test]
fn the_rust_engine_builds_on_a_copy_that_takes_the_place_of_the_warehouse() {
    if let Some(peers) = Peers::find() {
        check_engine(&peers.rust_dbt, &peers.libduckdb);
    }
}
