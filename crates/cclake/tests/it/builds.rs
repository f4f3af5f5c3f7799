//! Raw rows to gold: what is published, what is not, and that increments end where a full refresh would.

use std::path::PathBuf;

use crate::support::{
    LOAD_ORDER, Ran, Scene, TRACE, copy, dbt_project, finish, prompt, response, tables, transcripts,
};

/// A copy of the project to change, and the environment variable that names it.
struct OwnProject {
    folder: PathBuf,
}

impl OwnProject {
    fn new(scene: &Scene) -> Self {
        let folder = scene.path("dbt");
        copy(&dbt_project(), &folder);
        Self { folder }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    fn run(&self, scene: &Scene, args: &[&str]) -> Ran {
        finish(scene.command(args).env("CCLAKE_DBT_PROJECT_DIR", &self.folder))
    }
}

#[test]
fn a_failed_critical_test_keeps_the_last_good_gold() {
    let scene = Scene::new();
    let project = OwnProject::new(&scene);
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "one") + "\n");
    assert_eq!(project.run(&scene, &["run"]).status, 0);
    project.write(
        "tests/custom/never_two.sql",
        "select * from {{ ref('fct_messages') }} where (select count(*) from {{ ref('fct_messages') }}) > 1",
    );
    scene.append("p/s.jsonl", prompt("s", "u2", 2, "two") + "\n");
    let ran = project.run(&scene, &["run"]);
    assert_eq!(ran.status, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("FAIL  never_two (2 rows)"), "{}", ran.stdout);
    assert!(ran.stdout.contains("nothing was published"), "{}", ran.stdout);
    assert_eq!(scene.number("select count(*) from fct_messages"), 1);
    assert_eq!(scene.number("select count(*) from raw.conversations"), 2);
    project.write(
        "tests/custom/never_two.sql",
        "{{ config(severity='warn') }} select * from {{ ref('fct_messages') }}",
    );
    let ran = project.run(&scene, &["run"]);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("warn  never_two (2 rows)"), "{}", ran.stdout);
    assert_eq!(scene.number("select count(*) from fct_messages"), 2);
}

fn breaks_off(project: &OwnProject, scene: &Scene, words: &[&str]) {
    let ran = project.run(scene, &["run"]);
    assert_eq!(ran.status, 2);
    assert!(
        words.iter().all(|word| ran.stderr.contains(word)),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_broken_test_among_others_names_itself() {
    let scene = Scene::new();
    let project = OwnProject::new(&scene);
    project.write(
        "models/marts/core/mine.sql",
        "select session_key from {{ ref('fct_messages') }}",
    );
    project.write(
        "models/marts/core/mine.yml",
        "models: [{name: mine, columns: [{name: session_key, tests: [not_null]}, {name: no_such_column, tests: [not_null]}]}]",
    );
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "one") + "\n");
    breaks_off(
        &project,
        &scene,
        &[
            "the test test.cclake.not_null_mine_no_such_column",
            "no_such_column",
        ],
    );
}

#[test]
fn a_broken_model_names_itself_and_changes_nothing() {
    let scene = Scene::new();
    let project = OwnProject::new(&scene);
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "one") + "\n");
    assert_eq!(project.run(&scene, &["run"]).status, 0);
    project.write(
        "models/marts/core/broken.sql",
        "select no_such_column from {{ ref('fct_messages') }}",
    );
    scene.append("p/s.jsonl", prompt("s", "u2", 2, "two") + "\n");
    breaks_off(&project, &scene, &["model.cclake.broken", "no_such_column"]);
    assert_eq!(scene.number("select count(*) from fct_messages"), 1);
}

#[test]
fn increments_end_where_a_full_refresh_would() {
    let source = Scene::new();
    let out = source.path("demo");
    source.run(&[
        "demo",
        "--out",
        out.to_str().unwrap(),
        "--sessions",
        "80",
        "--seed",
        "11",
    ]);
    let mut files = transcripts(&out.join("projects"));
    // Neither by time nor by session: late records, earlier copies and results after their uses all happen.
    files.sort_by_key(|path| {
        path.file_name()
            .unwrap()
            .as_encoded_bytes()
            .iter()
            .rev()
            .map(|byte| byte.wrapping_mul(37))
            .collect::<Vec<_>>()
    });
    let scene = Scene::new();
    for (step, portion) in files.chunks(files.len().div_ceil(6)).enumerate() {
        for path in portion {
            let bytes = std::fs::read(path).unwrap();
            let name = path.strip_prefix(&out).unwrap().to_str().unwrap();
            // Half of the files come in two halves, the second one with the next portion.
            let first = if name.len() % 2 == 0 {
                bytes.len() / 2
            } else {
                bytes.len()
            };
            scene.write(name, &bytes[..first]);
        }
        if step > 0 {
            scene.run(&["run"]);
            check_against_full_refresh(&scene, step);
        }
        for path in portion {
            scene.write(
                path.strip_prefix(&out).unwrap().to_str().unwrap(),
                std::fs::read(path).unwrap(),
            );
        }
    }
    scene.run(&["run"]);
    check_against_full_refresh(&scene, 99);
}

fn check_against_full_refresh(scene: &Scene, step: usize) {
    let ignored = [TRACE, LOAD_ORDER];
    let incremental = tables(scene, &ignored);
    let data = scene.path("full");
    copy(&scene.data(), &data);
    scene.run(&[
        "transform",
        "--full-refresh",
        "--data-dir",
        data.to_str().unwrap(),
    ]);
    let mirror = Scene::reading(scene.logs());
    copy(&data, &mirror.data());
    let full = tables(&mirror, &ignored);
    assert_eq!(incremental, full, "after portion {step}");
}

#[test]
fn a_fork_counts_what_it_copied_once_whichever_comes_first() {
    let original = [
        prompt("s1", "u1", 1, "fix it"),
        response("s1", "u2", 2, "msg_1", 7),
    ];
    // The way 1.0.x resumed: same uuids, a new session id, the time of the resume; then the fork goes on by itself.
    let copied = original
        .clone()
        .map(|line| line.replace("\"s1\"", "\"s2\"").replace("10:00:0", "11:30:0"));
    let fork = [
        copied[0].clone(),
        copied[1].clone(),
        prompt("s2", "u3", 50, "and now that").replace("10:00", "11:31"),
    ];
    for order in [["a/s1.jsonl", "b/s2.jsonl"], ["b/s2.jsonl", "a/s1.jsonl"]] {
        let scene = Scene::new();
        for name in order {
            let lines: &[String] = if name.contains("s1") { &original } else { &fork };
            scene.write(name, lines.join("\n"));
            scene.run(&["run"]);
        }
        assert_eq!(
            scene.lines("select s.session_id, m.role, m.token_count from fct_messages m join dim_sessions s using (session_key) order by all"),
            ["s1|assistant|120", "s1|human|0", "s2|human|0"],
            "{order:?}"
        );
        assert_eq!(
            scene.lines("select c.session_id as child, p.session_id as parent from dim_sessions c join dim_sessions p on c.parent_session_key = p.session_key"),
            ["s2|s1"]
        );
    }
}

#[test]
fn nodes_are_selected_as_dbt_selects_them() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "one"));
    scene.run(&["run"]);
    let planned = |args: &[&str]| -> Vec<String> {
        let plan = scene.json(&[&["transform", "--dry-run", "--no-tests"], args].concat());
        plan.as_array()
            .unwrap()
            .iter()
            .map(|step| {
                step["node"]
                    .as_str()
                    .unwrap()
                    .rsplit('.')
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    assert_eq!(planned(&["--select", "fct_messages"]), ["fct_messages"]);
    let upstream = planned(&["--select", "+fct_messages"]);
    assert!(
        upstream.contains(&"stg_conversations".to_owned()) && upstream.last().unwrap() == "fct_messages",
        "{upstream:?}"
    );
    let downstream = planned(&["--select", "fct_messages+"]);
    assert!(
        downstream.contains(&"agg_daily_summary".to_owned()) && downstream[0] == "fct_messages",
        "{downstream:?}"
    );
    let marts = planned(&["--select", "path:models/marts"]);
    assert!(
        marts.contains(&"dim_date".to_owned()) && !marts.contains(&"stg_messages".to_owned()),
        "{marts:?}"
    );
    let fewer = planned(&["--select", "path:models/marts", "--exclude", "dim_date"]);
    assert_eq!(fewer.len(), marts.len() - 1);
}

#[test]
fn a_new_test_runs_although_no_row_is_new_and_its_findings_are_kept() {
    let scene = Scene::new();
    let project = OwnProject::new(&scene);
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "one"));
    for command in ["run", "test"] {
        assert_eq!(project.run(&scene, &[command]).status, 0);
    }
    let up_to_date = |ran: &Ran| ran.stdout.contains("up to date");
    assert!(up_to_date(&project.run(&scene, &["run"])));
    let test = "tests/custom/wrong.sql";
    let findings = "select verdict, failures from quality.test_results where name = 'wrong'";
    for (sql, status, found) in [
        ("select 1 as wrong", 1, &["fail|1"][..]),
        ("select 1 as wrong where false", 0, &["pass|0"]),
        ("select 1 as wrong where 1 = 0", 0, &["pass|0"]),
    ] {
        project.write(test, sql);
        let ran = project.run(&scene, &["run"]);
        assert_eq!(
            (ran.status, up_to_date(&ran)),
            (status, false),
            "{sql}: {}",
            ran.stderr
        );
        assert_eq!(scene.lines(findings), found, "{sql}");
    }
    std::fs::remove_file(project.folder.join(test)).unwrap();
    assert_eq!(project.run(&scene, &["run"]).status, 0);
    assert_eq!(scene.lines(findings), [""; 0]);
}

#[test]
fn a_hook_cannot_publish_what_no_test_has_seen() {
    let scene = Scene::new();
    let project = OwnProject::new(&scene);
    project.write(
        "models/marts/core/evil.sql",
        "{{ config(materialized='table', post_hook='commit') }} select 1 as a",
    );
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "one"));
    let ran = project.run(&scene, &["run"]);
    assert_eq!(ran.status, 2, "{}", ran.stdout);
    for part in ["evil", "commit"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    assert_eq!(
        scene.number("select count(*) from duckdb_tables() where table_name in ('evil', 'fct_messages')"),
        0
    );
}

#[test]
fn part_of_a_build_does_not_make_the_rest_up_to_date() {
    for part in [
        &["transform", "--select", "dim_tools"][..],
        &["test", "--select", "dim_tools"],
        &["transform", "--no-tests"],
    ] {
        let scene = Scene::new();
        scene.write("p/s.jsonl", prompt("s", "u1", 1, "one"));
        scene.run(&["run"]);
        scene.write("p/t.jsonl", prompt("t", "u2", 1, "two"));
        scene.run(&["extract"]);
        scene.run(&["load"]);
        scene.run(part);
        let report = scene.json(&["run"]);
        assert_eq!(report["build"]["up_to_date"], false, "{part:?}");
        assert_eq!(scene.number("select count(*) from dim_sessions"), 2, "{part:?}");
        assert_eq!(scene.json(&["run"])["build"]["up_to_date"], true, "{part:?}");
    }
}

#[test]
fn another_time_zone_moves_days_and_hours_but_no_instant() {
    let scene = Scene::new();
    scene.write(
        "p/s.jsonl",
        prompt("s", "u1", 1, "one").replace("T10:00", "T23:30"),
    );
    scene.run(&["run"]);
    let sql = "select d.date::varchar, d.hour, epoch_ms(m.timestamp) from fct_messages m join dim_date d using (date_key)";
    assert_eq!(scene.lines(sql), ["2026-02-03|23|1770161401000"]);
    let ran = finish(scene.command(&["run"]).env("CCLAKE_TIME_ZONE", "Asia/Tokyo"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(scene.lines(sql), ["2026-02-04|8|1770161401000"]);
}
