//! The smaller commands and what they print.

use crate::support::{Scene, finish, peak_memory_kb, prompt};

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

/// One value, as each format prints it.
fn check_value(scene: &Scene, sql: &str, table: &str, json: &str, csv: &str) {
    let sql = format!("select {sql} as v");
    let print = |format| scene.run(&["query", &sql, "--format", format]);
    assert_eq!(print("table").lines().nth(1).map(str::trim), Some(table), "{sql}");
    assert_eq!(print("json"), format!("[{{\"v\":{json}}}]\n"), "{sql}");
    assert_eq!(print("csv"), format!("v\n{csv}\n"), "{sql}");
}

#[test]
fn query_prints_every_value_as_it_is() {
    let scene = scene();
    let same = |sql: &str, value: &str| check_value(&scene, sql, value, value, value);
    let text = |sql: &str, value: &str| check_value(&scene, sql, value, &format!("\"{value}\""), value);
    let nested = |sql: &str, json: &str| {
        check_value(
            &scene,
            sql,
            json,
            json,
            &format!("\"{}\"", json.replace('"', "\"\"")),
        );
    };
    same(
        "(-170141183460469231731687303715884105728)::hugeint",
        "-170141183460469231731687303715884105728",
    );
    same(
        "340282366920938463463374607431768211455::uhugeint",
        "340282366920938463463374607431768211455",
    );
    same("(select sum(n) from (values (1), (2)) as t(n))", "3");
    same(
        "'1234567890123456789012345678901234567890'::bignum",
        "1234567890123456789012345678901234567890",
    );
    same("12.50::decimal(38,2)", "12.50");
    text("'10101'::bit", "10101");
    text("timetz '12:00:00+02'", "12:00:00+02");
    text("timestamp 'infinity'", "infinity");
    text("timestamptz '-infinity'", "-infinity");
    text("date 'infinity'", "infinity");
    text("timestamp_ns 'infinity'", "infinity");
    text("timestamp_s '-infinity'", "-infinity");
    text("timestamptz '2026-02-03 10:00:00'", "2026-02-03T10:00:00Z");
    text("timestamp_ns '1677-09-22'", "1677-09-22T00:00:00");
    nested("['infinity'::timestamp, null]", r#"["infinity",null]"#);
    nested("{'a': [1, 2], 'b': 'x,y'}", r#"{"a":[1,2],"b":"x,y"}"#);
    nested("map {'k': 1}", r#"{"k":1}"#);
    nested(
        "map {1: 340282366920938463463374607431768211455::uhugeint}",
        r#"{"1":340282366920938463463374607431768211455}"#,
    );
    nested("union_value(a := 1)", r#"{"a":1}"#);
    check_value(&scene, "null::int[]", "", "null", "\"\"");
    check_value(&scene, "['nan'::double]", "[NaN]", "\"[NaN]\"", "[NaN]");
}

#[test]
fn columns_written_out_keep_their_names_and_order() {
    let scene = scene();
    let sql = "select 1::hugeint as \"a b\", [2] as \"a b\", 3 as n -- with a comment\n;";
    assert_eq!(
        scene.run(&["query", sql, "--format", "csv"]),
        "a b,a b,n\n1,[2],3\n"
    );
    let ran = scene.try_run(&["query", "select timestamp '290000-01-01'", "--json"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("beyond the year 262142"), "{}", ran.stderr);
}

#[test]
fn query_takes_what_is_no_select_too() {
    let scene = scene();
    for sql in [
        "show tables",
        "describe dim_tools",
        "summarize dim_tools",
        "explain select 1::hugeint",
        "explain analyze (from dim_tools)",
        "(select [1]) union all (select [2])",
        "from dim_tools",
        "pivot (select 1 as a, 2 as b) on a using sum(b)",
    ] {
        for format in ["table", "json", "csv"] {
            assert!(
                !scene.run(&["query", sql, "--format", format]).trim().is_empty(),
                "{sql}"
            );
        }
    }
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
fn a_result_that_cannot_be_written_is_a_failure() {
    let scene = scene();
    for format in ["table", "json", "csv"] {
        let mut command = scene.command(&["query", "from range(3)", "--format", format]);
        // Whatever is written to this device finds the disk full.
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ran = command.stdout(full).output().unwrap();
        let stderr = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{format}: {stderr}");
        assert!(stderr.contains("cannot write the result"), "{format}: {stderr}");
    }
}

/// The most memory that a query of these many kilobytes takes, in kB.
fn peak_of_a_query(scene: &Scene, rows: u32, format: &str) -> u64 {
    let sql = format!("select repeat('x', 1000) as v from range({rows})");
    let mut child = scene
        .command(&["query", &sql, "--format", format])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut peak = 0;
    let mut buffer = vec![0; 1 << 16];
    while std::io::Read::read(&mut out, &mut buffer).unwrap() > 0 {
        peak = peak.max(peak_memory_kb(&child));
    }
    assert!(child.wait().unwrap().success());
    peak
}

#[cfg(target_os = "linux")]
#[test]
fn a_large_result_is_printed_in_little_memory() {
    let scene = scene();
    for format in ["csv", "json"] {
        // A result of a gigabyte; DuckDB itself may use 384 MiB.
        let peak = peak_of_a_query(&scene, 1_000_000, format);
        assert!((1..400_000).contains(&peak), "{format}: {peak} kB");
    }
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
fn a_machine_keeps_the_name_it_had_first() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u", 1, "hello"));
    let unnamed = |args: &[&str]| {
        let mut command = scene.command(args);
        command.env_remove("CCLAKE_MACHINE");
        let ran = finish(&mut command);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        ran.stdout
    };
    let remembered = scene.data().join("machine");
    unnamed(&["run"]);
    let host = std::fs::read_to_string(&remembered).unwrap();
    assert!(!host.trim().is_empty());
    // As if the host had been renamed since the data directory was made.
    std::fs::remove_dir_all(scene.data()).unwrap();
    std::fs::create_dir_all(scene.data()).unwrap();
    std::fs::write(&remembered, "old-name\n").unwrap();
    unnamed(&["run"]);
    std::fs::remove_file(scene.data().join("positions.json")).unwrap();
    unnamed(&["run"]);
    assert_eq!(
        scene.lines("select machine, count(*) as n from raw.sightings group by 1"),
        ["old-name|1"]
    );
    let config: serde_json::Value = serde_json::from_str(&unnamed(&["config", "--json"])).unwrap();
    assert_eq!(config["machine"]["value"], "old-name");
    assert_eq!(config["machine"]["origin"], remembered.to_str().unwrap());
    // A name that somebody gives wins, and is not what the directory remembers.
    scene.append("p/s.jsonl", "\n".to_owned() + &prompt("s", "v", 2, "again"));
    scene.run(&["run"]);
    let names = scene.lines("select distinct machine from raw.conversations order by 1");
    assert_eq!(names, ["laptop", "old-name"]);
    assert_eq!(std::fs::read_to_string(&remembered).unwrap(), "old-name\n");
}

#[test]
fn doctor_finds_data_files_that_are_missing() {
    let scene = scene();
    std::fs::remove_file(scene.data_file()).unwrap();
    let ran = scene.try_run(&["doctor"]);
    assert_eq!(ran.status, 2);
    assert!(
        ran.stdout
            .contains("BROKEN   lake         1 of 1 data files are missing, the first is /"),
        "{}",
        ran.stdout
    );
}

/// What doctor says of its first source, and how it ends.
fn check_source(scene: &Scene, paths: Option<&str>, flags: &[&str], status: i32, said: &str) {
    let mut command = scene.command(&[&["doctor"], flags].concat());
    command.env_remove("CCLAKE_PATHS");
    let ran = finish(command.envs(paths.map(|paths| ("CCLAKE_PATHS", paths))));
    assert_eq!(ran.status, status, "{}", ran.stdout);
    let line = ran.stdout.lines().next().unwrap();
    assert!(line.starts_with(said), "{line}");
}

#[test]
fn doctor_misses_only_a_source_that_somebody_named() {
    let scene = scene();
    let logs = scene.path("logs");
    std::fs::rename(scene.logs(), &logs).unwrap();
    let logs = logs.to_str().unwrap();
    check_source(&scene, None, &[], 0, "warning  source       /");
    check_source(&scene, None, &["--path", logs], 0, "ok       source       /");
    check_source(&scene, Some(logs), &[], 0, "ok       source       /");
    check_source(&scene, Some("/no/such/place"), &[], 2, "BROKEN   source");
    check_source(&scene, None, &["--path", "nowhere"], 2, "BROKEN   source");
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
fn quiet_still_warns_of_what_was_not_read() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u", 1, "hello"));
    std::os::unix::fs::symlink("nowhere", scene.logs().join("p/gone.jsonl")).unwrap();
    for command in ["run", "extract"] {
        let ran = scene.try_run(&[command, "-q"]);
        assert_eq!((ran.status, ran.stdout.as_str()), (0, ""));
        assert!(
            ran.stderr.starts_with("warning: ") && ran.stderr.contains("gone.jsonl"),
            "{command}: {}",
            ran.stderr
        );
    }
}

#[test]
fn names_of_files_give_the_terminal_no_orders() {
    let scene = Scene::new();
    scene.write("\u{1b}[2J\n\u{9b}x/s.jsonl", "no JSON\n");
    let gone = scene.logs().join("\u{1b}[31m\ngone.jsonl");
    std::os::unix::fs::symlink("nowhere", gone).unwrap();
    let ran = scene.try_run(&["run"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let list = scene.run(&["dlq", "list"]);
    let show = scene.run(&["dlq", "show", &list[..32]]);
    let doctor = scene.run(&["doctor"]);
    for text in [&list, &show, &doctor, &ran.stderr] {
        let orders = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(orders, None, "{text:?}");
        assert!(text.contains(r"\u{1b}[") && text.contains(r"\n"), "{text}");
    }
    assert_eq!((list.lines().count(), ran.stderr.lines().count()), (1, 1));
}
