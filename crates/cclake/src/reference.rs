//! Reference pages are written by tests from the tables and definitions that the program itself uses, and checked ever
//! after: `UPDATE_DOCS=1 cargo test --release -p cclake` rewrites them.

use std::path::Path;

/// Fails when `docs/reference/<name>` is not `text`; rewrites it when asked to.
pub(crate) fn check_page(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/reference")
        .join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page == text,
        "{} is not current: run the tests with UPDATE_DOCS=1",
        path.display()
    );
}
