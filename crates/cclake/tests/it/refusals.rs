//! What cannot be done is said in one clear sentence, with exit status 2 and nothing half-done.

use crate::support::{Ran, Scene, finish, prompt};

fn check_refusal(ran: &Ran, parts: &[&str]) {
    assert_eq!(ran.status, 2, "{}\n{}", ran.stdout, ran.stderr);
    let sentences: Vec<_> = ran
        .stderr
        .lines()
        .filter(|line| !line.starts_with("warning:"))
        .collect();
    assert_eq!(sentences.len(), 1, "not one sentence: {}", ran.stderr);
    for part in parts {
        assert!(sentences[0].contains(part), "no `{part}` in: {}", sentences[0]);
    }
}

#[test]
fn a_path_that_is_not_there() {
    let scene = Scene::new();
    check_refusal(
        &scene.try_run(&["run", "--path", "/no/such/folder"]),
        &["/no/such/folder"],
    );
}

#[test]
fn a_broken_configuration() {
    let scene = Scene::new();
    for (text, parts) in [
        ("time_zone = ", &["cclake.toml"][..]),
        (
            "tiem_zone = 'UTC'",
            &["cclake.toml", "unknown setting `tiem_zone`"],
        ),
        ("threads = 'many'", &["threads", "cclake.toml", "many"]),
        ("threads = 0", &["threads", "from 1 to 256"]),
        (
            "time_zone = 'Moon/Crater'\nmachine = 'x'",
            &["time_zone", "Moon/Crater"],
        ),
        (
            "partition_by = 'hour'",
            &["partition_by", "hour", "date, month, none"],
        ),
        ("paths = 2026-02-03", &["paths"]),
    ] {
        let file = scene.path("cclake.toml");
        std::fs::write(&file, text).unwrap();
        let mut command = scene.command(&["run"]);
        command.env_remove("CCLAKE_TIME_ZONE");
        check_refusal(&finish(&mut command), parts);
    }
    check_refusal(
        &scene.try_run(&["run", "--config", "nowhere.toml"]),
        &["nowhere.toml"],
    );
}

#[test]
fn a_data_directory_in_use() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u", 1, "hello"));
    std::fs::create_dir_all(scene.data()).unwrap();
    let lock = std::fs::File::create(scene.data().join("lock")).unwrap();
    lock.lock().unwrap();
    check_refusal(
        &scene.try_run(&["run"]),
        &["in use by another cclake", "--data-dir"],
    );
    drop(lock);
    scene.run(&["run"]);
}

#[test]
fn a_data_directory_that_cannot_be() {
    let scene = Scene::new();
    std::fs::write(scene.path("file"), "").unwrap();
    let inside = scene.path("file/data");
    check_refusal(
        &scene.try_run(&["run", "--data-dir", inside.to_str().unwrap()]),
        &["data directory"],
    );
}

#[test]
fn a_query_before_the_first_run() {
    let scene = Scene::new();
    check_refusal(
        &scene.try_run(&["query", "select 1"]),
        &["run `cclake run` first"],
    );
    check_refusal(&scene.try_run(&["transform"]), &["run `cclake run` first"]);
}

#[test]
fn a_query_before_the_first_build() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u", 1, "hello"));
    scene.run(&["extract"]);
    scene.run(&["load"]);
    for format in ["table", "json", "csv"] {
        for sql in [
            "select * from fct_messages",
            "from marts.fct_messages",
            "describe dim_tools",
        ] {
            check_refusal(
                &scene.try_run(&["query", sql, "--format", format]),
                &["nothing is published", "run `cclake run`"],
            );
        }
    }
    let mistake = scene.try_run(&["query", "selekt 1"]);
    check_refusal(&mistake, &["selekt"]);
    assert!(!mistake.stderr.contains("published"), "{}", mistake.stderr);
    assert_eq!(scene.number("select count(*) from raw.conversations"), 1);
    scene.run(&["transform"]);
    check_refusal(
        &scene.try_run(&["query", "select * from fct_massages"]),
        &["fct_massages does not exist"],
    );
}

#[test]
fn a_warehouse_file_that_is_none() {
    let scene = Scene::new();
    std::fs::create_dir_all(scene.data()).unwrap();
    std::fs::write(scene.data().join("analytics.db"), "this is no database").unwrap();
    check_refusal(&scene.try_run(&["run"]), &["analytics.db"]);
}

#[test]
fn sql_that_writes_or_is_none() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u", 1, "hello"));
    scene.run(&["run"]);
    for sql in [
        "drop table marts.fct_messages",
        "copy (select 1) to 'out.csv'",
        "select * from read_text('/etc/hostname')",
        "selekt 1",
        "drop view marts.dim_day",
    ] {
        let ran = scene.try_run(&["query", sql]);
        assert_eq!(ran.status, 2, "{sql}: {}", ran.stdout);
    }
    std::fs::create_dir_all(scene.data().join("tmp")).unwrap();
    for file in ["analytics.db", "analytics.db.wal", "tmp/out.csv"] {
        let file = scene.data().join(file);
        for statement in ["", "explain analyze "] {
            let sql = format!(
                "{statement}copy (select 1) to '{}' (use_tmp_file false)",
                file.display()
            );
            check_refusal(&scene.try_run(&["query", &sql]), &["`copy` begins no query"]);
        }
    }
    let log = "select * from enable_logging(storage = 'file', storage_config = {'path': 'log'})";
    check_refusal(&scene.try_run(&["query", log]), &["enable_logging"]);
    assert!(!scene.data().join("tmp/out.csv").exists());
    assert!(!scene.path("out.csv").exists());
    assert_eq!(scene.number("select count(*) from fct_messages"), 1);
}

#[test]
fn several_statements_and_none() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u", 1, "hello"));
    scene.run(&["run"]);
    for sql in ["select 1; select 2", "commit; drop table marts.fct_messages"] {
        check_refusal(
            &scene.try_run(&["query", sql]),
            &["more than one statement", "one at a time"],
        );
    }
    for sql in ["", " ; -- nothing"] {
        check_refusal(&scene.try_run(&["query", sql]), &["the query is empty"]);
    }
    assert_eq!(scene.number("select count(*) from fct_messages"), 1);
}

#[test]
fn a_selection_that_matches_nothing() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u", 1, "hello"));
    scene.run(&["run"]);
    assert_eq!(
        scene.try_run(&["transform", "--select", "no_such_model"]).status,
        2
    );
}

#[test]
fn a_warehouse_of_another_lake_is_never_wiped() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u", 1, "hello"));
    scene.run(&["run"]);
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(scene.data().join("iceberg").join(name));
    }
    check_refusal(
        &scene.try_run(&["run"]),
        &["filled from another lake", "duckdb_path"],
    );
    assert_eq!(scene.number("select count(*) from raw.conversations"), 1);
}

#[test]
fn a_moved_lake_says_where_it_belongs() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u", 1, "hello"));
    scene.run(&["run"]);
    let copy = scene.path("copy");
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .arg(scene.data())
        .arg(&copy)
        .status()
        .unwrap();
    assert!(copied.success());
    check_refusal(
        &scene.try_run(&["run", "--data-dir", copy.to_str().unwrap()]),
        &["absolute paths"],
    );
}
