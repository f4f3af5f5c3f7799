//! What `run` prints under "Next" does what it says, also where nothing of this shell is known.

use std::process::Command;

use crate::support::{Ran, Scene, finish, prompt};

/// A folder whose name shells and cron would misread.
const ODD: &str = "o'd d%";

/// Runs with a configuration file (name and text), variables and flags, in which `@` is that folder: then the printed
/// queries answer elsewhere, and the line for cron does just what this run did.
fn check((file, text): (&str, &str), variables: &[(&str, &str)], flags: &[&str]) {
    let scene = Scene::new();
    let odd = scene.path(ODD);
    std::fs::create_dir_all(odd.join("projects")).unwrap();
    let here = |text: &str| text.replace('@', odd.to_str().unwrap());
    std::fs::write(scene.path(file), here(text)).unwrap();
    let run = || {
        let mut command = scene.command(&["run"]);
        for name in ["DATA_DIR", "PATHS", "TIME_ZONE", "MACHINE"] {
            command.env_remove(format!("CCLAKE_{name}"));
        }
        command.args(flags.iter().map(|flag| here(flag)));
        let ran = finish(command.envs(variables.iter().map(|(name, value)| (name, here(value)))));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        ran.stdout
    };
    let write = |name: &str| std::fs::write(odd.join("projects").join(name), prompt(name, name, 1, "hello"));
    write("a.jsonl").unwrap();
    let page = run();
    let (_, next) = page.split_once("\nNext\n").unwrap();
    let lines: Vec<_> = next.lines().map(str::trim).collect();
    for query in &lines[..3] {
        assert!(!elsewhere(&scene, query).stdout.is_empty(), "{query}");
    }
    write("b.jsonl").unwrap();
    let line = lines[5].strip_prefix("0 * * * * ").unwrap();
    assert!(!line.replace("\\%", "").contains('%'), "{line}");
    elsewhere(&scene, &line.replace("\\%", "%"));
    let page = run();
    assert!(
        page.contains(" = 0 new + ") && page.contains("up to date"),
        "{line}\n{page}"
    );
}

/// Runs a printed line with what cron knows: HOME, and another folder.
fn elsewhere(scene: &Scene, line: &str) -> Ran {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", line])
        .env_clear()
        .env("HOME", scene.path("home"));
    let ran = finish(shell.current_dir(scene.path("home")));
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{line}");
    ran
}

const FILE: &str = "data_dir = \"@/data\"\npaths = [\"@/projects\"]\ntime_zone = 'Asia/Tokyo'\n";

#[test]
fn what_a_file_says_holds_elsewhere_too() {
    check(("my.toml", FILE), &[], &["--config", "my.toml"]);
    check(
        ("o'd d%/my file.toml", FILE),
        &[],
        &["--config", "@/my file.toml"],
    );
    check(("cclake.toml", FILE), &[], &[]);
    check(
        ("cclake.toml", FILE),
        &[("CCLAKE_TIME_ZONE", "Pacific/Apia")],
        &["--data-dir", "@/other"],
    );
}

#[test]
fn what_the_environment_says_holds_elsewhere_too() {
    check(
        ("unused.toml", ""),
        &[
            ("CCLAKE_DATA_DIR", "@/data"),
            ("CCLAKE_PATHS", "@/projects"),
            ("CCLAKE_TIME_ZONE", "Asia/Tokyo"),
            ("DUCKDB_PATH", "@/a b%.db"),
        ],
        &[],
    );
    check(
        ("unused.toml", ""),
        &[("XDG_DATA_HOME", "@/xdg"), ("CLAUDE_CONFIG_DIR", "@")],
        &[],
    );
}

#[test]
fn what_flags_say_holds_elsewhere_too() {
    check(
        ("unused.toml", ""),
        &[],
        &["--data-dir", "da'ta %", "--path", "@/projects"],
    );
}
