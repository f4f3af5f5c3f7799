//! The smaller commands and what they print.

use crate::support::{Scene, finish, prompt};

fn scene() -> Scene {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u", 1, "hello, \\\"world\\\""));
    scene.run(&["run"]);
    scene
}

#[test]
fn query_prints_tables_json_and_csv() {
    let scene = scene();
    let sql = "select 'a,b' as text, 1.50::decimal(9,2) as price, null as nothing, date '2026-02-03' as day union all select 'c', 20, 'x', null order by 1";
    insta::assert_snapshot!(scene.run(&["query", sql]), @r"
    text  price  nothing  day
    a,b    1.50           2026-02-03
    c     20.00  x
    ");
    insta::assert_snapshot!(
        scene.run(&["query", sql, "--format", "json"]),
        @r#"[{"text":"a,b","price":1.50,"nothing":null,"day":"2026-02-03"},{"text":"c","price":20.00,"nothing":"x","day":null}]"#
    );
    insta::assert_snapshot!(scene.run(&["query", sql, "--format", "csv"]), @r#"
    text,price,nothing,day
    "a,b",1.50,,2026-02-03
    c,20.00,x,
    "#);
    insta::assert_snapshot!(scene.run(&["query", "select 1 as n where false"]), @"n");
    insta::assert_snapshot!(scene.run(&["query", "select 1 as n where false", "--format", "json"]), @"[]");
}

#[test]
fn query_reads_sql_from_standard_input() {
    let scene = scene();
    let file = scene.path("question.sql");
    std::fs::write(&file, "select count(*) as n from dim_sessions").unwrap();
    let mut command = scene.command(&["query", "-", "--format", "csv"]);
    command.stdin(std::fs::File::open(&file).unwrap());
    assert_eq!(finish(&mut command).stdout, "n\n1\n");
}

#[test]
fn a_pipe_closed_early_is_no_error() {
    let scene = scene();
    let script = format!(
        "{} query 'select * from range(2000000)' --format csv | head -n 2",
        env!("CARGO_BIN_EXE_cclake")
    );
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", &script])
        .env("HOME", scene.path("home"))
        .env("CCLAKE_DATA_DIR", scene.data());
    let ran = finish(&mut shell);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("range\n0\n", ""));
}

#[test]
fn config_names_every_origin() {
    let scene = Scene::new();
    std::fs::write(scene.path("cclake.toml"), "threads = 3\nmachine = 'ignored'\n").unwrap();
    let config = scene.json(&["config", "--data-dir", "here"]);
    assert_eq!(config["data_dir"]["origin"], "flag --data-dir");
    assert_eq!(config["machine"]["origin"], "environment CCLAKE_MACHINE");
    assert!(
        config["threads"]["origin"]
            .as_str()
            .unwrap()
            .ends_with("cclake.toml")
    );
    assert_eq!(config["threads"]["value"], "3");
    assert_eq!(config["on_delete"]["origin"], "default");
    assert!(
        config["duckdb_path"]["value"]
            .as_str()
            .unwrap()
            .ends_with("here/analytics.db")
    );
}

#[test]
fn doctor_tells_what_is_wrong_and_what_to_do() {
    let scene = scene();
    let text = scene.run(&["doctor"]);
    assert!(text.contains("ok       source"), "{text}");
    let ran = scene.try_run(&["doctor", "--config", "cclake.toml"]);
    assert_eq!(ran.status, 2);
    std::fs::write(scene.path("cclake.toml"), "").unwrap();
    let mut command = scene.command(&["doctor"]);
    command.env("CCLAKE_PATHS", "/no/such/place");
    let ran = finish(&mut command);
    assert_eq!(ran.status, 2);
    assert!(
        ran.stdout.contains("BROKEN") && ran.stdout.contains("/no/such/place"),
        "{}",
        ran.stdout
    );
}

#[test]
fn completions_are_printed_for_every_shell() {
    let scene = Scene::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(scene.run(&["completions", shell]).contains("cclake"), "{shell}");
    }
}

#[test]
fn quiet_says_nothing_and_help_says_much() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u", 1, "hello"));
    let ran = scene.try_run(&["run", "-q"]);
    assert_eq!(
        (ran.status, ran.stdout.as_str(), ran.stderr.as_str()),
        (0, "", "")
    );
    for command in [
        "run",
        "extract",
        "load",
        "transform",
        "test",
        "query",
        "dlq",
        "demo",
        "config",
        "doctor",
        "completions",
    ] {
        assert!(
            scene.run(&[command, "--help"]).contains("--data-dir"),
            "{command}"
        );
    }
}

#[test]
fn the_embedded_project_can_be_replaced_by_ones_own() {
    let scene = scene();
    let project = scene.path("project");
    std::fs::create_dir_all(project.join("models")).unwrap();
    std::fs::write(
        project.join("dbt_project.yml"),
        "name: mine\nversion: '1'\nprofile: mine\n",
    )
    .unwrap();
    std::fs::write(
        project.join("profiles.yml"),
        "mine:\n  target: dev\n  outputs:\n    dev: {type: duckdb, path: x.db, schema: mine, threads: 1}\n",
    )
    .unwrap();
    std::fs::write(
        project.join("models/one.sql"),
        "select {{ var('n', 41) }} + 1 as answer",
    )
    .unwrap();
    let mut command = scene.command(&["transform"]);
    command.env("CCLAKE_DBT_PROJECT_DIR", &project);
    let ran = finish(&mut command);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(scene.number("select answer from mine.one"), 42);
    std::fs::write(project.join("models/one.sql"), "\n\nselect {{ undefined_thing }}").unwrap();
    let mut command = scene.command(&["transform"]);
    command.env("CCLAKE_DBT_PROJECT_DIR", &project);
    let ran = finish(&mut command);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("models/one.sql:3"), "{}", ran.stderr);
}
