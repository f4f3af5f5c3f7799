//! Where a data directory may be, and what it may be called.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Scene, prompt};

#[test]
fn one_place_may_be_written_in_many_ways() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "one"));
    std::os::unix::fs::symlink(scene.path("d"), scene.path("link")).unwrap();
    let here = scene.path("");
    let absolute = here.join("d").to_string_lossy().into_owned();
    let twice = absolute.replace("/d", "//d");
    for place in ["./d", "d", "./x/../d", "link", absolute.as_str(), twice.as_str()] {
        std::fs::create_dir_all(here.join("x")).unwrap();
        let mut command = scene.command(&["run", "--data-dir", place]);
        let ran = crate::support::finish(command.current_dir(&here));
        assert_eq!(ran.status, 0, "{place}: {}", ran.stderr);
    }
}

#[test]
fn a_copied_lake_is_refused_before_it_writes_into_the_original() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "one"));
    let run = |lake: &str, data: &str| {
        let data = scene.path(data).to_string_lossy().into_owned();
        let mut command = scene.command(&["run", "--data-dir", &data]);
        crate::support::finish(command.env("ICEBERG_WAREHOUSE_PATH", scene.path(lake)))
    };
    assert_eq!(run("lake-old", "d").status, 0);
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([scene.path("lake-old"), scene.path("lake")])
        .status();
    assert!(copied.unwrap().success());
    scene.write("p/t.jsonl", prompt("t", "u2", 1, "two"));
    let ran = run("lake", "e");
    assert_eq!(ran.status, 2);
    assert!(
        ran.stderr.contains("works only where it was made"),
        "{}",
        ran.stderr
    );
}

#[test]
fn conversations_stay_private() {
    let scene = Scene::new();
    scene.write("p/s.jsonl", prompt("s", "u1", 1, "one") + "\nno JSON\n");
    let mode = |name: &str| std::fs::metadata(scene.path(name)).unwrap().permissions().mode() & 0o777;
    let run = |data: &str| {
        let mut command = scene.command(&["run", "--data-dir", data]);
        command
            .env("ICEBERG_WAREHOUSE_PATH", scene.path(&format!("{data}-lake")))
            .env("DEAD_LETTER_DIR", scene.path(&format!("{data}-letters")));
        let ran = crate::support::finish(&mut command);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
    };
    run("new/data");
    for name in ["new", "new/data", "new/data-lake", "new/data-letters"] {
        assert_eq!(mode(name), 0o700, "{name}");
    }
    // Who made a folder for others to read is not overruled.
    std::fs::create_dir(scene.path("shared")).unwrap();
    std::fs::set_permissions(scene.path("shared"), std::fs::Permissions::from_mode(0o750)).unwrap();
    run("shared");
    assert_eq!(mode("shared"), 0o750);
}
