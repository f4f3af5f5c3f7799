//! A dbt project of one's own, with what else lies in such a folder.

use std::os::unix::fs::symlink;

use crate::support::{Ran, Scene, finish, prompt};

fn write(scene: &Scene, name: &str, contents: impl AsRef<[u8]>) {
    let path = scene.path("project").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, contents).unwrap();
}

/// A scene with rows, and a project of one model.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u", 1, "hello"));
    scene.run(&["extract"]);
    scene.run(&["load"]);
    write(
        &scene,
        "dbt_project.yml",
        "name: mine\nversion: '1'\nprofile: mine\n",
    );
    write(
        &scene,
        "profiles.yml",
        "mine:\n  target: dev\n  outputs:\n    dev: {type: duckdb, path: x.db, schema: mine, threads: 1}\n",
    );
    write(
        &scene,
        "models/one.sql",
        "select {{ var('n', 41) }} + 1 as answer",
    );
    scene
}

fn transform(scene: &Scene) -> Ran {
    run(scene, &["transform"])
}

fn run(scene: &Scene, args: &[&str]) -> Ran {
    let mut command = scene.command(args);
    finish(command.env("CCLAKE_DBT_PROJECT_DIR", scene.path("project")))
}

#[test]
fn templates_hear_of_a_full_refresh() {
    let scene = scene();
    write(
        &scene,
        "models/one.sql",
        "select {{ flags.FULL_REFRESH | string | lower }} as flag, {{ should_full_refresh() | string | lower }} as should",
    );
    for (args, expected) in [
        (["transform", "-q"], "false|false"),
        (["transform", "--full-refresh"], "true|true"),
        // Nothing is new: what the full refresh made stays.
        (["run", "-q"], "true|true"),
        (["run", "--full-refresh"], "true|true"),
    ] {
        let ran = run(&scene, &args);
        assert_eq!(ran.status, 0, "{args:?} {}", ran.stderr);
        assert_eq!(scene.lines("select * from mine.one"), [expected], "{args:?}");
    }
}

#[test]
fn the_embedded_project_can_be_replaced_by_ones_own() {
    let scene = scene();
    let ran = transform(&scene);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(scene.number("select answer from mine.one"), 42);
    write(&scene, "models/one.sql", "\n\nselect {{ undefined_thing }}");
    let ran = transform(&scene);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("models/one.sql:3"), "{}", ran.stderr);
}

#[test]
fn what_is_no_part_of_the_project_does_not_matter() {
    let scene = scene();
    let no_text = [0xff, 0xd8, 0xff];
    for name in [
        "models/x.png",
        "bin/tool",
        "node_modules/.bin/tool",
        "node_modules/m/index.sql",
        "models/node_modules/m/x.yml",
        "target/compiled.sql",
        "logs/old.md",
        ".venv/lib/x.csv",
        "models/.draft.sql",
        "venv/lib/latin.py",
    ] {
        write(&scene, name, no_text);
    }
    let project = scene.path("project");
    symlink(".", project.join("loop")).unwrap();
    symlink("..", project.join("models/up")).unwrap();
    // A link that leads elsewhere is followed.
    write(&scene, "../elsewhere/two.sql", "select 2 as answer");
    symlink("../../elsewhere", project.join("models/more")).unwrap();
    let ran = transform(&scene);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let models = "select table_name from information_schema.tables where table_schema = 'mine' order by 1";
    assert_eq!(scene.lines(models), ["one", "two"]);
}

#[test]
fn what_is_part_of_it_and_cannot_be_read_is_said() {
    for (name, parts) in [
        ("models/bad.sql", "cannot read"),
        ("models/more.py", "Python models are not supported"),
    ] {
        let scene = scene();
        write(&scene, name, [0xff]);
        let ran = transform(&scene);
        assert_eq!(ran.status, 2);
        assert!(
            ran.stderr.contains(name) && ran.stderr.contains(parts),
            "{}",
            ran.stderr
        );
    }
}
