//! When an incremental model is built from nothing.

use insta::assert_snapshot;

use super::{files, inputs};
use crate::{Inputs, Project, RelationKind, Step, plan};

const CHAIN: &str = "--- seeds/prices.csv
model,price
a,1
--- models/base.sql
{{ config(materialized='incremental', unique_key='id') }}
select 1 as id, '{{ var('zone', 'UTC') }}' as zone, '{{ run_started_at }}' as built
--- models/middle.sql
{{ config(materialized='table') }}
select * from {{ ref('base') }}
--- models/top.sql
{{ config(materialized='incremental', unique_key='id') }}
select * from {{ ref('middle') }} join {{ ref('prices') }} using (model) {% if is_incremental() %}where true{% endif %}
";

/// Reasons of the second build of `after`, the first having built `before`.
fn reasons(before: &str, after: &str, change: impl Fn(&mut Inputs)) -> String {
    let first = Project::load(&files(before))
        .and_then(|project| plan(&project, &inputs()))
        .unwrap();
    let mut inputs = inputs();
    inputs.run_started_at = "2027-01-01T00:00:00+00:00".to_owned();
    for step in first.steps {
        let (node, relation, fingerprint) = match step {
            Step::Model(step) => (step.node, step.relation, step.fingerprint),
            Step::Seed(step) => (step.node, step.relation, step.fingerprint),
            Step::Snapshot(step) => (step.node, step.relation, step.fingerprint),
            Step::Test(_) => continue,
        };
        inputs
            .existing
            .insert((relation.schema, relation.identifier), RelationKind::Table);
        inputs.fingerprints.insert(node, fingerprint);
    }
    change(&mut inputs);
    let second = Project::load(&files(after))
        .and_then(|project| plan(&project, &inputs))
        .unwrap();
    let reasons = second.steps.iter().map(|step| match step {
        Step::Model(step) => format!("{}: {} ({})", step.node, step.full_refresh, step.reason),
        Step::Seed(step) => format!(
            "{}: {}",
            step.node,
            if step.unchanged { "unchanged" } else { "load" }
        ),
        Step::Snapshot(step) => format!("{}: exists {}", step.node, step.exists),
        Step::Test(step) => step.node.clone(),
    });
    reasons.collect::<Vec<_>>().join("\n")
}

#[test]
fn reasons_for_a_full_refresh() {
    let same = |_: &mut Inputs| {};
    assert_snapshot!(reasons(CHAIN, CHAIN, same), @r#"
model.shop.base: false (new rows only)
model.shop.middle: true (tables are made anew)
seed.shop.prices: unchanged
model.shop.top: false (new rows only)
"#);
    assert_snapshot!(reasons(CHAIN, &CHAIN.replace("select 1 as id", "select 2 as id"), same), @r#"
model.shop.base: true (its definition changed)
model.shop.middle: true (tables are made anew)
seed.shop.prices: unchanged
model.shop.top: true (model.shop.base upstream is fully refreshed)
"#);
    assert_snapshot!(reasons(CHAIN, &CHAIN.replace("select * from {{ ref('base') }}", "select id from {{ ref('base') }}"), same), @r#"
model.shop.base: false (new rows only)
model.shop.middle: true (tables are made anew)
seed.shop.prices: unchanged
model.shop.top: true (model.shop.middle upstream changed)
"#);
    assert_snapshot!(reasons(CHAIN, &CHAIN.replace("a,1", "a,2"), same), @r#"
model.shop.base: false (new rows only)
model.shop.middle: true (tables are made anew)
seed.shop.prices: load
model.shop.top: true (seed.shop.prices upstream changed)
"#);
    assert_snapshot!(reasons(CHAIN, &CHAIN.replace("where true", "where false"), same), @r#"
model.shop.base: false (new rows only)
model.shop.middle: true (tables are made anew)
seed.shop.prices: unchanged
model.shop.top: true (its definition changed)
"#);
    assert_snapshot!(reasons(CHAIN, CHAIN, |inputs| _ = inputs.vars.insert("zone".to_owned(), "CET".into())), @r#"
model.shop.base: true (its definition changed)
model.shop.middle: true (tables are made anew)
seed.shop.prices: unchanged
model.shop.top: true (model.shop.base upstream is fully refreshed)
"#);
    assert_snapshot!(reasons(CHAIN, CHAIN, |inputs| inputs.full_refresh = true), @r#"
model.shop.base: true (a full refresh was asked for)
model.shop.middle: true (tables are made anew)
seed.shop.prices: load
model.shop.top: true (a full refresh was asked for)
"#);
    assert_snapshot!(reasons(CHAIN, CHAIN, |inputs| inputs.fingerprints.clear()), @r#"
model.shop.base: true (nothing is known about how its table was built)
model.shop.middle: true (tables are made anew)
seed.shop.prices: load
model.shop.top: true (nothing is known about how its table was built)
"#);
    assert_snapshot!(reasons(CHAIN, CHAIN, |inputs| _ = inputs.existing.remove(&("main".to_owned(), "base".to_owned()))), @r#"
model.shop.base: true (its table does not exist yet)
model.shop.middle: true (tables are made anew)
seed.shop.prices: unchanged
model.shop.top: true (model.shop.base upstream is fully refreshed)
"#);
}
