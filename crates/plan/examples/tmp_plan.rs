#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::unwrap_used, clippy::print_stdout)]
use std::collections::BTreeMap;
use std::path::Path;
use cclake_plan::*;
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
fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let out = std::env::args().nth(2).unwrap();
    let mut files = BTreeMap::new();
    read(Path::new(&dir), "", &mut files);
    files.retain(|k, _| !k.starts_with("target/") && !k.starts_with("logs/"));
    let schema = std::env::args().nth(3).unwrap_or("main".into());
    let mut inputs = Inputs { target_name: "dev".into(), target_schema: schema, database: "analytics".into(), run_started_at: "2026-01-01".into(), ..Inputs::default() };
    if let Ok(sels) = std::env::var("SELS") {
        let project = Project::load(&files).unwrap();
        let g = Graph::new(&project, &inputs).unwrap();
        for line in sels.lines() {
            let (s, e) = line.split_once('|').unwrap_or((line, ""));
            let sel = Selection { select: vec![s.to_string()], exclude: vec![e.to_string()] };
            println!("{line}\t{}", match g.select(&sel) { Ok(mut v) => { v.sort(); v.join(" ") }, Err(e) => e.to_string() });
        }
        return;
    }
    if let Ok(state) = std::env::var("STATE") { let v: serde_json::Value = serde_json::from_str(&state).unwrap(); for x in v["existing"].as_array().unwrap() { inputs.existing.insert((x[0].as_str().unwrap().into(), x[1].as_str().unwrap().into()), if x[2]=="view" { RelationKind::View } else { RelationKind::Table }); } for (k, f) in v["fp"].as_object().unwrap() { inputs.fingerprints.insert(k.clone(), f.as_str().unwrap().into()); }
        let project = Project::load(&files).unwrap();
        let p = plan(&project, &inputs).unwrap();
        let mut steps = vec![];
        for s in &p.steps { steps.push(match s {
            Step::Seed(m) => serde_json::json!({"kind": "seed", "node": m.node, "schema": m.relation.schema, "name": m.relation.identifier, "rel": m.relation.to_string(), "rows": m.rows, "before": m.before.iter().map(|s| s.sql.clone()).collect::<Vec<_>>(), "after": m.after.iter().map(|s| s.sql.clone()).collect::<Vec<_>>(), "fp": m.fingerprint}),
            Step::Model(m) => serde_json::json!({"kind": "model", "node": m.node, "schema": m.relation.schema, "name": m.relation.identifier, "mat": m.materialization.as_str(), "sql": m.statements.iter().map(|s| s.sql.clone()).collect::<Vec<_>>(), "fp": m.fingerprint, "reason": m.reason}),
            Step::Test(t) => serde_json::json!({"kind": "test", "node": t.node, "count": t.count_sql}),
        }); }
        let fused: Vec<_> = fuse(p.steps.iter().filter_map(|s| if let Step::Test(t) = s { Some(t) } else { None })).into_iter().map(|q| serde_json::json!({"sql": q.sql, "tests": q.tests})).collect();
        println!("{}", serde_json::json!({"schemas": p.schemas, "steps": steps, "fused": fused}));
        return;
    }
    for round in 0..5 {
        let t = std::time::Instant::now();
        let project = Project::load(&files);
        let project = match project { Ok(p) => p, Err(e) => { println!("load error: {e}"); return; } };
        let load = t.elapsed();
        let p = match plan(&project, &inputs) { Ok(p) => p, Err(e) => { println!("plan error: {e}"); return; } };
        println!("round {round}: load {load:?} total {:?} steps {}", t.elapsed(), p.steps.len());
        if round == 0 {
            let mut map = serde_json::Map::new();
            for s in &p.steps {
                match s {
                    Step::Test(t) => { map.insert(t.node.clone(), t.sql.clone().into()); }
                    Step::Model(m) => { map.insert(m.node.clone(), m.statements.iter().map(|s| s.sql.clone()).collect::<Vec<_>>().into()); }
                    Step::Seed(m) => { map.insert(m.node.clone(), m.before.iter().map(|s| s.sql.clone()).collect::<Vec<_>>().into()); }
                }
            }
            let g = Graph::new(&project, &inputs).unwrap();
            let nodes: serde_json::Map<String, serde_json::Value> = g.nodes().map(|n| (n.id.clone(), serde_json::json!({"fqn": n.fqn, "deps": n.depends_on, "tags": n.tags, "rel": n.relation.as_ref().map(|r| r.to_string())}))).collect();
            std::fs::write(&out, serde_json::to_string(&serde_json::json!({"steps": map, "nodes": nodes})).unwrap()).unwrap();
            for s in p.steps { let (n, r, f) = match s { Step::Model(m) => (m.node, m.relation, m.fingerprint), Step::Seed(m) => (m.node, m.relation, m.fingerprint), _ => continue };
              inputs.existing.insert((r.schema, r.identifier), RelationKind::Table); inputs.fingerprints.insert(n, f); }
        }
    }
}
