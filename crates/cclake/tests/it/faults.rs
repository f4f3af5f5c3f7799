//! Real kills and a really full disk: afterwards one clean run ends where an undisturbed one would.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use cclake_lake::{Lake, LakeSettings};

use crate::support::{LOAD_ORDER, Scene, TRACE, prompt, tables};

/// What the lake logs: (`_id`, file, offset), sorted.
pub(crate) fn lake_rows(scene: &Scene) -> Vec<String> {
    let lake = Lake::open_existing(&LakeSettings::new(scene.data().join("iceberg"))).unwrap();
    let mut rows = Vec::new();
    lake.scan_columns(&["_id", "source_file", "source_offset"], &mut |batch| {
        let cells: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| {
                arrow_cast::display::ArrayFormatter::try_new(
                    column,
                    &arrow_cast::display::FormatOptions::default(),
                )
                .unwrap()
            })
            .collect();
        rows.extend((0..batch.num_rows()).map(|row| {
            cells
                .iter()
                .map(|cell| cell.value(row).to_string() + " ")
                .collect::<String>()
        }));
        Ok::<_, cclake_lake::Error>(())
    })
    .unwrap();
    rows.sort();
    rows
}

/// A small fixed sequence is random enough here, and the same in every run.
pub(crate) struct Moments(u64);

impl Moments {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self, most: Duration) -> Duration {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        most.mul_f64((self.0 >> 33) as f64 / (1u64 << 31) as f64)
    }
}

fn kill_a_run(scene: &Scene, moment: Duration) -> bool {
    kill(scene, &["run"], moment)
}

/// Starts a command and kills it after `moment`, unless it ends before. Whether it was killed.
pub(crate) fn kill(scene: &Scene, args: &[&str], moment: Duration) -> bool {
    let mut command = scene.command(args);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while began.elapsed() < moment {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{args:?} after a kill failed");
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

fn demo(scene: &Scene, sessions: &str) -> std::path::PathBuf {
    let out = scene.path("demo");
    scene.run(&[
        "demo",
        "--out",
        out.to_str().unwrap(),
        "--sessions",
        sessions,
        "--seed",
        "7",
    ]);
    out.join("projects")
}

#[test]
fn kills_at_any_moment_leave_no_trace() {
    let source = Scene::new();
    let logs = demo(&source, "150");
    let undisturbed = Scene::reading(&logs);
    let began = Instant::now();
    undisturbed.run(&["run"]);
    let cold = began.elapsed();
    let (expected, expected_lake) = (tables(&undisturbed, &[TRACE]), lake_rows(&undisturbed));

    let mut moments = Moments(42);
    let mut scene = Scene::reading(&logs);
    let mut kills = 0;
    while kills < 50 {
        if kill_a_run(&scene, moments.next(cold.mul_f64(1.1))) {
            kills += 1;
        } else {
            assert_eq!(tables(&scene, &[TRACE]), expected, "after {kills} kills");
            scene = Scene::reading(&logs);
        }
    }
    scene.run(&["run"]);
    assert_eq!(tables(&scene, &[TRACE]), expected);
    assert_eq!(lake_rows(&scene), expected_lake);
}

#[test]
fn files_that_vanish_during_a_run_take_only_their_unread_lines_with_them() {
    let mut moments = Moments(11);
    for _ in 0..5 {
        let scene = Scene::new();
        let files: Vec<_> = (0..300)
            .map(|file| {
                let line = |line| prompt("s", &format!("{file}-{line}"), line, &"hello ".repeat(500)) + "\n";
                scene.write(
                    &format!("p/{file:03}.jsonl"),
                    (0..40).map(line).collect::<String>(),
                )
            })
            .collect();
        let mut command = scene.command(&["run", "--json"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        std::thread::sleep(moments.next(Duration::from_millis(300)));
        // The last in the order of reading first.
        for file in files.iter().skip(100).rev() {
            std::fs::remove_file(file).unwrap();
        }
        let output = child.unwrap().wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let lines = &report["ingest"]["lines"];
        let new = lines["new"].as_i64().unwrap();
        assert_eq!((lines["read"].as_i64(), new % 40), (Some(new), 0), "{report}");
        assert!(new >= 100 * 40, "{report}");
        scene.run(&["run"]);
        assert_eq!(scene.number("select count(*) from fct_messages"), new);
    }
}

#[test]
fn kills_while_the_files_grow_lose_and_double_nothing() {
    let source = Scene::new();
    let whole = demo(&source, "60");
    let undisturbed = Scene::new();
    copy_portion(&whole, undisturbed.logs(), 1.0);
    undisturbed.run(&["run"]);

    let mut moments = Moments(7);
    let scene = Scene::new();
    for step in 1..=20 {
        copy_portion(&whole, scene.logs(), f64::from(step) / 20.0);
        kill_a_run(&scene, moments.next(Duration::from_millis(600)));
    }
    scene.run(&["run"]);
    let same_place = |lines: Vec<String>, scene: &Scene| {
        let logs = scene.logs().to_string_lossy().into_owned();
        lines
            .into_iter()
            .map(|line| line.replace(&logs, ""))
            .collect::<Vec<_>>()
    };
    // The trees lie in two places, so what holds a path is compared without it.
    let ignored = [TRACE, LOAD_ORDER, "source_file", "linked_sessions"];
    assert_eq!(tables(&scene, &ignored), tables(&undisturbed, &ignored));
    assert_eq!(
        same_place(lake_rows(&scene), &scene),
        same_place(lake_rows(&undisturbed), &undisturbed)
    );
}

/// Copies the first `share` of each file's bytes, so that the next portion is an append.
pub(crate) fn copy_portion(from: &Path, to: &Path, share: f64) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_portion(&path, &target, share);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let portion = (bytes.len() as f64 * share).round() as usize;
            std::fs::write(&target, &bytes[..portion]).unwrap();
        }
    }
}

#[test]
fn a_full_disk_is_said_and_harms_nothing() {
    let scene = Scene::new();
    let small = scene.path("small");
    std::fs::create_dir_all(&small).unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"])
        .arg(&small)
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        println!("NOT RUN on a full disk: this user may not mount a small file system");
        return;
    }
    let _unmount = Unmount(&small);
    let text = "x".repeat(1000);
    let lines: String = (0..20_000)
        .map(|n| prompt("s", &format!("u{n}"), n % 60, &format!("{n}{text}")) + "\n")
        .collect();
    scene.write("p/s.jsonl", prompt("s", "first", 1, "hello") + "\n");
    let data = small.join("data");
    let data = data.to_str().unwrap();
    scene.run(&["run", "--data-dir", data]);
    // Random-looking text, so that compression cannot make it fit.
    let noise: String = lines
        .lines()
        .map(|line| line.replace(&text, &noise(line.len() as u64)) + "\n")
        .collect();
    scene.append("p/s.jsonl", noise);
    let ran = scene.try_run(&["run", "--data-dir", data]);
    assert_eq!(ran.status, 2, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("no space left on the disk"), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    let gold = scene.try_run(&[
        "query",
        "--data-dir",
        data,
        "select count(*) as n from fct_messages",
        "--format",
        "csv",
    ]);
    assert_eq!(gold.stdout, "n\n1\n", "{}", gold.stderr);
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0).output();
    }
}

fn noise(seed: u64) -> String {
    let mut moments = Moments(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (0..1000)
        .map(|_| {
            moments.next(Duration::from_secs(1));
            char::from(b'a' + (moments.0 >> 59) as u8 % 26)
        })
        .collect()
}
