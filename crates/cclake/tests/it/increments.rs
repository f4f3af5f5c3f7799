//! An incremental build ends where one full run over the same files would: by hand-made cases, and by transcripts whose lines
//! are shuffled and dealt out at random.

use std::collections::BTreeMap;
use std::path::Path;

use arrow_array::{Array as _, ArrayRef, Int64Array, RecordBatch, StringArray};
use cclake_lake::{Commit, Lake, LakeSettings};

use crate::support::{LOAD_ORDER, Scene, TRACE, finish, prompt, response, samples, tables, transcripts};

/// Compares everything, raw included, with a run of its own over the same files.
fn check_against_one_run(scene: &Scene, when: &str) {
    let ignored = [TRACE, LOAD_ORDER];
    let once = Scene::reading(scene.logs());
    once.run(&["run"]);
    let [built, expected] = [scene, &once].map(|scene| tables(scene, &ignored));
    if built != expected {
        let differing: Vec<_> = built
            .iter()
            .zip(&expected)
            .filter(|(built, expected)| built != expected)
            .collect();
        panic!("{when}: (in increments, at once) {differing:#?}");
    }
}

/// A line with its session's tool use, or a result for it.
fn tool_use(session: &str, uuid: &str, second: u32, id: &str) -> String {
    response(session, uuid, second, &format!("msg_{id}"), 5).replace(
        r#"{"type":"text","text":"done"}"#,
        &format!(
            r#"{{"type":"tool_use","id":"{id}","name":"Edit","input":{{"file_path":"/home/ada/shop/a.rs","old_string":"a","new_string":"b\nc"}}}}"#
        ),
    )
}

fn tool_result(session: &str, uuid: &str, second: u32, id: &str, is_error: bool) -> String {
    prompt(session, uuid, second, "X").replace(
        r#""content":"X""#,
        &format!(
            r#""content":[{{"type":"tool_result","tool_use_id":"{id}","is_error":{is_error},"content":"so it went"}}]"#
        ),
    )
}

/// What is appended in one step: file and line.
type Portion = Vec<(&'static str, String)>;

/// After each portion a run; after the last one `sql` gives `expected`, and at any time it is as after one run.
fn check(portions: &[Portion], sql: &str, expected: &[&str]) {
    let scene = Scene::new();
    for (number, portion) in portions.iter().enumerate() {
        for (file, line) in portion {
            let path = scene.logs().join(file);
            if path.is_file() {
                scene.append(file, format!("{line}\n"));
            } else {
                scene.write(file, format!("{line}\n"));
            }
        }
        scene.run(&["run"]);
        check_against_one_run(&scene, &format!("after portion {number}"));
    }
    assert_eq!(scene.lines(sql), expected);
}

#[test]
fn a_late_record_takes_its_place_in_its_session() {
    check(
        &[
            vec![("p/s.jsonl", prompt("s", "u2", 20, "two"))],
            vec![("p/s.jsonl", response("s", "u3", 30, "msg_1", 5))],
            vec![("p/s.jsonl", prompt("s", "u1", 10, "one"))],
        ],
        "select message_count, start_time::varchar, duration_seconds from dim_sessions",
        &["3|2026-02-03 10:00:10+00|20"],
    );
}

#[test]
fn an_earlier_copy_of_what_was_loaded_takes_it_over() {
    let later = |line: String| line.replace("10:00:", "11:30:");
    check(
        &[
            vec![
                ("p/s2.jsonl", later(prompt("s2", "u1", 1, "one"))),
                ("p/s2.jsonl", later(response("s2", "u2", 2, "msg_1", 5))),
                ("p/s2.jsonl", later(prompt("s2", "u3", 3, "and then"))),
            ],
            vec![("p/s1.jsonl", prompt("s1", "u1", 1, "one"))],
            vec![("p/s1.jsonl", response("s1", "u2", 2, "msg_1", 5))],
        ],
        "select s.session_id, m.role from fct_messages m join dim_sessions s using (session_key) order by all",
        &["s1|assistant", "s1|human", "s2|human"],
    );
}

#[test]
fn a_result_finds_the_tool_use_that_came_before_it() {
    check(
        &[
            vec![("p/s.jsonl", prompt("s", "u1", 1, "one"))],
            vec![("p/s.jsonl", tool_use("s", "u2", 2, "toolu_1"))],
            vec![("p/s.jsonl", tool_result("s", "u3", 5, "toolu_1", false))],
        ],
        "select is_success, duration_ms from fct_tool_calls",
        &["true|3000"],
    );
}

#[test]
fn a_session_grows() {
    let line = |second: u32| {
        (
            "p/s.jsonl",
            response("s", &format!("u{second}"), second, &format!("msg_{second}"), 5),
        )
    };
    check(
        &[
            vec![("p/s.jsonl", prompt("s", "u1", 1, "one"))],
            vec![line(2), line(3)],
            vec![line(4), line(50)],
        ],
        "select message_count, duration_seconds from dim_sessions",
        &["5|49"],
    );
}

#[test]
fn an_edit_that_turns_out_an_error_is_no_file_operation() {
    let again = || ("q/s.jsonl", tool_result("s", "u0", 3, "toolu_1", false));
    check(
        &[
            vec![
                ("p/s.jsonl", tool_use("s", "u2", 2, "toolu_1")),
                ("p/s.jsonl", tool_result("s", "u3", 5, "toolu_1", false)),
            ],
            // Of two results the earlier one tells; here it comes later.
            vec![("p/s.jsonl", tool_result("s", "u4", 4, "toolu_1", true))],
        ],
        "select (select count(*) from fct_file_operations), is_success from fct_tool_calls",
        &["0|false"],
    );
    check(
        &[
            vec![
                ("p/s.jsonl", tool_use("s", "u2", 2, "toolu_1")),
                ("p/s.jsonl", tool_result("s", "u4", 4, "toolu_1", true)),
            ],
            vec![again()],
        ],
        "select (select count(*) from fct_file_operations), is_success from fct_tool_calls",
        &["1|true"],
    );
}

#[test]
fn an_earlier_record_moves_its_session_to_another_project() {
    check(
        &[
            vec![
                ("p/s.jsonl", prompt("s", "u2", 20, "two")),
                ("p/s.jsonl", tool_use("s", "u3", 30, "toolu_1")),
            ],
            vec![(
                "p/s.jsonl",
                prompt("s", "u1", 10, "one").replace("/home/ada/shop", "/home/ada/bakery"),
            )],
        ],
        "select p.project_name, count(*) from fct_messages m join dim_projects p using (project_key) group by all",
        &["bakery|3"],
    );
}

/// As a source that knows of deletions will write it: the record once more, with a later place in the order of changes.
fn delete_in_lake(scene: &Scene, uuid: &str) {
    let mut lake = Lake::open_existing(&LakeSettings::new(scene.data().join("iceberg"))).unwrap();
    let mut deletions = Vec::new();
    lake.read(
        &lake.files_since(0).unwrap(),
        None,
        &mut |batch: RecordBatch| -> Result<(), cclake_lake::Error> {
            let text = |name: &str| {
                let column = batch.column_by_name(name).unwrap();
                column.as_any().downcast_ref::<StringArray>().unwrap().clone()
            };
            let uuids = text("uuid");
            for row in (0..batch.num_rows()).filter(|row| uuids.is_valid(*row) && uuids.value(*row) == uuid) {
                let schema = batch.schema();
                let columns = schema.fields().iter().zip(batch.columns());
                let replaced = columns.map(|(field, column)| match field.name().as_str() {
                    "_op" => std::sync::Arc::new(StringArray::from(vec!["delete"])) as ArrayRef,
                    "_seq" => std::sync::Arc::new(Int64Array::from(vec![1])) as ArrayRef,
                    _ => column.slice(row, 1),
                });
                deletions.push(RecordBatch::try_new(batch.schema(), replaced.collect()).unwrap());
            }
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(deletions.len(), 1, "{uuid}");
    let commit = Commit {
        commit_id: format!("deletion-of-{uuid}"),
        summary: BTreeMap::new(),
        properties: BTreeMap::new(),
    };
    lake.append(deletions, &commit).unwrap();
}

#[test]
fn a_deleted_document_goes_if_it_is_to_go() {
    for (on_delete, expected) in [("remove", "assistant|1"), ("keep", "assistant|1, human|2")] {
        let scene = Scene::new();
        let run = |args: &[&str], warehouse: &str| {
            let ran = finish(
                scene
                    .command(args)
                    .env("CCLAKE_ON_DELETE", on_delete)
                    .env("DUCKDB_PATH", scene.data().join(warehouse)),
            );
            assert_eq!(ran.status, 0, "{}\n{}", ran.stdout, ran.stderr);
        };
        scene.write(
            "p/s.jsonl",
            prompt("s", "u1", 1, "one") + "\n" + &response("s", "u2", 2, "msg_1", 5),
        );
        scene.write("p/t.jsonl", prompt("t", "u3", 3, "three"));
        run(&["run"], "analytics.db");
        assert_eq!(scene.number("select count(*) from fct_messages"), 3);
        // One session loses its only record, the other one of two.
        delete_in_lake(&scene, "u1");
        delete_in_lake(&scene, "u3");
        run(&["load"], "analytics.db");
        run(&["transform"], "analytics.db");
        let built = tables(&scene, &[TRACE, LOAD_ORDER]);
        assert_eq!(
            scene.lines("select string_agg(line, ', ' order by line) from (select role || '|' || count(*) as line from fct_messages group by role)"),
            [expected]
        );
        run(&["load"], "once.db");
        run(&["transform"], "once.db");
        std::fs::rename(scene.data().join("once.db"), scene.data().join("analytics.db")).unwrap();
        assert_eq!(
            built,
            tables(&scene, &[TRACE, LOAD_ORDER]),
            "on_delete = {on_delete}"
        );
    }
}

/// A small random stream (splitmix64): the same seed deals the same.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Deals all lines of `logs` out to some batches at random, now and then one to a second file too, and compares after each.
fn deal(logs: &Path, seed: u64) {
    let mut rng = Rng(seed);
    let files = transcripts(logs);
    let names: Vec<_> = files
        .iter()
        .map(|file| file.strip_prefix(logs).unwrap().to_str().unwrap().to_owned())
        .collect();
    let batches = 2 + rng.below(4);
    let mut dealt: Vec<Vec<(usize, Vec<u8>)>> = vec![Vec::new(); batches];
    for (file, path) in files.iter().enumerate() {
        // Some files come in one piece or in order, as they do in life.
        let (fixed, in_order) = (rng.below(4) == 0, rng.below(4) == 0);
        let mut batch = rng.below(batches);
        let contents = std::fs::read(path).unwrap();
        for line in contents.split_inclusive(|byte| *byte == b'\n') {
            let line = [line.strip_suffix(b"\n").unwrap_or(line), b"\n"].concat();
            if !fixed {
                let least = if in_order { batch } else { 0 };
                if !in_order || rng.below(9) == 0 {
                    batch = least + rng.below(batches - least);
                }
            }
            if rng.below(100) == 0 {
                dealt[rng.below(batches)].push((rng.below(files.len()), line.clone()));
            }
            dealt[batch].push((file, line));
        }
    }
    let scene = Scene::new();
    for (number, mut batch) in dealt.into_iter().enumerate() {
        if rng.below(3) > 0 {
            rng.shuffle(&mut batch);
        }
        let mut portions: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        for (file, line) in batch {
            portions.entry(file).or_default().extend(line);
        }
        for (file, portion) in portions {
            if scene.logs().join(&names[file]).is_file() {
                scene.append(&names[file], portion);
            } else {
                scene.write(&names[file], portion);
            }
        }
        scene.run(&["run"]);
        check_against_one_run(&scene, &format!("seed {seed}, batch {number} of {batches}"));
    }
}

/// The seed that somebody wants to see again, or the usual ones.
fn seeds(usual: std::ops::Range<u64>) -> Vec<u64> {
    match std::env::var("CCLAKE_TEST_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => usual.collect(),
    }
}

#[test]
fn demo_data_dealt_out_at_random_ends_where_one_run_would() {
    for seed in seeds(1..6) {
        let scene = Scene::new();
        let out = scene.path("demo");
        let seed_text = seed.to_string();
        scene.run(&[
            "demo",
            "--out",
            out.to_str().unwrap(),
            "--sessions",
            "25",
            "--seed",
            &seed_text,
        ]);
        deal(&out.join("projects"), seed);
    }
}

#[test]
fn real_transcripts_dealt_out_at_random_end_where_one_run_would() {
    if let Some(samples) = samples() {
        for seed in seeds(1..2) {
            deal(&samples.join("claude-projects"), seed);
        }
    }
}
