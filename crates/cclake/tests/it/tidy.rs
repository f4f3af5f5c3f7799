//! House rules that no compiler checks.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().unwrap() != "target" {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn stages_do_not_know_each_other() {
    /// What each crate may know of the workspace, and the heavy libraries that no crate but those that name them may know.
    const ARROWS: &[(&str, &[&str], &[&str])] = &[
        ("plan", &[], &["sqlparser"]),
        ("extract", &[], &["mongodb", "tokio"]),
        (
            "lake",
            &[],
            &["iceberg", "iceberg-catalog-sql", "sqlx", "parquet", "tokio"],
        ),
        ("warehouse", &["plan"], &["duckdb"]),
        ("cclake", &["plan", "extract", "lake", "warehouse"], &["maud"]),
    ];
    for (name, known, _) in ARROWS {
        let manifest = std::fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap();
        for dependency in dependencies.keys() {
            if let Some(stage) = dependency.strip_prefix("cclake-") {
                assert!(
                    known.contains(&stage),
                    "crates/{name} must not know crates/{stage}: the app hands batches on"
                );
            }
            let owners: Vec<_> = ARROWS
                .iter()
                .filter(|(_, _, heavy)| heavy.contains(&dependency.as_str()))
                .map(|(owner, ..)| owner)
                .collect();
            assert!(
                owners.is_empty() || owners.contains(&name),
                "only {owners:?} may depend on {dependency}, not crates/{name}"
            );
        }
    }
    let crates = std::fs::read_dir(root().join("crates")).unwrap().count();
    assert_eq!(crates, ARROWS.len(), "a crate is missing in the list of arrows");
}

#[test]
fn the_plan_is_pure() {
    let mut files = Vec::new();
    rust_files(&root().join("crates/plan/src"), &mut files);
    for path in files
        .iter()
        .filter(|path| !path.components().any(|part| part.as_os_str() == "tests"))
    {
        let text = std::fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for forbidden in [
            "std::fs",
            "std::env::var",
            "SystemTime",
            "Instant::now",
            "std::net",
            "std::process",
        ] {
            assert!(
                !code.contains(forbidden),
                "{} uses {forbidden}: hand it in as a value",
                path.display()
            );
        }
    }
}

#[test]
fn files_stay_readable() {
    const MOST_LINES: usize = 500;
    let mut files = Vec::new();
    rust_files(&root().join("crates"), &mut files);
    assert!(files.len() > 20);
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        assert!(
            lines <= MOST_LINES,
            "{} has {lines} lines: split it by what its parts are for",
            path.display()
        );
        let is_test = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        let says = text.starts_with("//!") || text.starts_with("#![");
        assert!(
            is_test || says,
            "{} does not say what it is for (`//!`)",
            path.display()
        );
    }
}

#[test]
fn the_changelog_and_the_licence_are_there() {
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE",
    ] {
        assert!(root().join(name).is_file(), "{name} is missing");
    }
}
