//! The project this repository ships must plan.

use std::collections::BTreeMap;
use std::path::Path;

use super::inputs;
use crate::{Project, RelationKind, Step, plan};

fn read(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            read(&entry.path(), &format!("{name}/"), files);
        } else if let Ok(text) = std::fs::read_to_string(entry.path()) {
            files.insert(name, text);
        }
    }
}

pub(crate) fn shipped_project() -> Project {
    let folder = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../analytics/dbt");
    let mut files = BTreeMap::new();
    read(&folder, "", &mut files);
    Project::load(&files).unwrap()
}

#[test]
fn the_shipped_project_plans_first_and_again() {
    let project = shipped_project();
    let mut inputs = inputs();
    let first = plan(&project, &inputs).unwrap();
    assert!(first.steps.iter().any(|step| matches!(step, Step::Test(_))));
    for step in first.steps {
        if let Step::Model(step) = step {
            let kind = if step.materialization == crate::Materialization::View {
                RelationKind::View
            } else {
                RelationKind::Table
            };
            inputs
                .existing
                .insert((step.relation.schema, step.relation.identifier), kind);
            inputs.fingerprints.insert(step.node, step.fingerprint);
        }
    }
    inputs.run_started_at = "2030-01-01T00:00:00+00:00".to_owned();
    let again = plan(&project, &inputs).unwrap();
    for step in again.steps {
        if let Step::Model(step) = step {
            assert!(
                !step.full_refresh || step.materialization != crate::Materialization::Incremental,
                "{}: {}",
                step.node,
                step.reason
            );
        }
    }
}
