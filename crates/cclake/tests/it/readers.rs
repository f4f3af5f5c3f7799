//! One transaction builds and publishes; readers go on meanwhile and see the old state or the new, never a mixture.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use cclake_plan::{Inputs, Project, Selection, What};
use cclake_warehouse::{Access, DATABASE, Settings, Warehouse};
use serde_json::json;

use crate::support::Scene;

const STATE: &str = "
select (select count(*) from marts.fct_messages)::varchar || ' messages of ' ||
       (select sum(total_messages) from marts.agg_session_metrics)::varchar || ' with ' ||
       (select sum(token_count) from marts.fct_messages)::varchar";

#[test]
fn eight_readers_see_the_old_state_or_the_new() {
    let scene = Scene::new();
    let out = scene.path("demo");
    scene.run(&["demo", "--out", out.to_str().unwrap(), "--sessions", "200"]);
    let projects: Vec<_> = std::fs::read_dir(out.join("projects"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scene.run(&["run", "--path", projects[0].to_str().unwrap()]);
    scene.run(&["extract", "--path", out.to_str().unwrap()]);
    scene.run(&["load"]);

    let warehouse = open(&scene);
    let before = state(&warehouse);
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let reader = warehouse.reader().unwrap();
                let done = &done;
                scope.spawn(move || {
                    let mut seen = BTreeSet::new();
                    while !done.load(Ordering::Relaxed) {
                        seen.insert(state(&reader));
                    }
                    seen
                })
            })
            .collect();
        let report = warehouse.build(&plan(&warehouse), &mut |_| {});
        done.store(true, Ordering::Relaxed);
        assert!(report.unwrap().published);
        readers
            .into_iter()
            .flat_map(|reader| reader.join().unwrap())
            .collect::<BTreeSet<_>>()
    });
    let after = state(&warehouse);
    assert_ne!(before, after);
    assert!(
        seen.contains(&before),
        "no reader saw the old state while the build went on"
    );
    assert!(seen.is_subset(&BTreeSet::from([before, after])), "{seen:?}");
}

fn open(scene: &Scene) -> Warehouse {
    let settings = Settings {
        path: scene.data().join("analytics.db"),
        temp_dir: scene.data().join("tmp"),
        memory_mb: 512,
        threads: 2,
        time_zone: "UTC".into(),
    };
    Warehouse::open(&settings, Access::ReadWrite).unwrap()
}

fn state(warehouse: &Warehouse) -> String {
    let result = warehouse.query(STATE).unwrap();
    format!("{:?}", result[0].column(0))
}

fn plan(warehouse: &Warehouse) -> cclake_plan::BuildPlan {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../analytics/dbt");
    let mut files = BTreeMap::new();
    read(&folder, &folder, &mut files);
    let inputs = Inputs {
        target_name: "dev".into(),
        target_schema: "main".into(),
        database: DATABASE.into(),
        vars: BTreeMap::from([
            ("timezone".into(), json!("UTC")),
            ("on_delete".into(), json!("keep")),
        ]),
        existing: warehouse.relations().unwrap(),
        full_refresh: true,
        selection: Selection::default(),
        what: What::Build,
        ..Inputs::default()
    };
    cclake_plan::plan(&Project::load(&files).unwrap(), &inputs).unwrap()
}

fn read(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(root, &path, files);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            files.insert(
                path.strip_prefix(root).unwrap().to_string_lossy().into_owned(),
                text,
            );
        }
    }
}
