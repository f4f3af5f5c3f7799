//! Which nodes a selector means.

use insta::assert_snapshot;

use super::{files, inputs};
use crate::{Graph, Project, Selection};

const CHAIN: &str = "--- models/sources.yml
sources: [{name: raw, tables: [{name: t, columns: [{name: id, tests: [not_null]}]}]}]
--- models/staging/a.sql
{{ config(tags=['light']) }} select * from {{ source('raw', 't') }}
--- models/staging/b.sql
{{ config(materialized='table', tags='heavy') }} select * from {{ ref('a') }}
--- models/marts/c.sql
{{ config(tags=['light']) }} select * from {{ ref('b') }}
--- models/marts/d.sql
select * from {{ ref('c') }}
--- models/schema.yml
models:
  - {name: c, columns: [{name: id, tests: [unique, {relationships: {to: ref('a'), field: id}}]}]}
--- seeds/s.csv
a
1
";

fn selected(select: &str, exclude: &str) -> String {
    let list = |text: &str| {
        if text.is_empty() {
            Vec::new()
        } else {
            vec![text.to_owned()]
        }
    };
    let selection = Selection {
        select: list(select),
        exclude: list(exclude),
    };
    let found =
        Project::load(&files(CHAIN)).and_then(|project| Graph::new(&project, &inputs())?.select(&selection));
    match found {
        Ok(ids) => ids
            .iter()
            .map(|id| id.replace("shop.", ""))
            .collect::<Vec<_>>()
            .join(" "),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn selectors() {
    assert_snapshot!(selected("", ""), @"seed.s source.raw.t model.a model.b model.c model.d test.relationships_c_id__id__ref_a_.2d10039799 test.source_not_null_raw_t_id.e00a82bbac test.unique_c_id.549b5a6e6d");
    assert_snapshot!(selected("b", ""), @"model.b");
    assert_snapshot!(selected("+b", ""), @"source.raw.t model.a model.b test.relationships_c_id__id__ref_a_.2d10039799 test.source_not_null_raw_t_id.e00a82bbac");
    assert_snapshot!(selected("b+", ""), @"model.b model.c model.d test.relationships_c_id__id__ref_a_.2d10039799 test.unique_c_id.549b5a6e6d");
    assert_snapshot!(selected("1+c", ""), @"model.b model.c test.relationships_c_id__id__ref_a_.2d10039799 test.unique_c_id.549b5a6e6d");
    assert_snapshot!(selected("a+1", ""), @"model.a model.b test.relationships_c_id__id__ref_a_.2d10039799");
    assert_snapshot!(selected("tag:light", ""), @"model.a model.c test.relationships_c_id__id__ref_a_.2d10039799 test.unique_c_id.549b5a6e6d");
    assert_snapshot!(selected("tag:light,marts", ""), @"model.c test.relationships_c_id__id__ref_a_.2d10039799 test.unique_c_id.549b5a6e6d");
    assert_snapshot!(selected("path:models/staging s", ""), @"seed.s model.a model.b test.relationships_c_id__id__ref_a_.2d10039799");
    assert_snapshot!(selected("config.materialized:table", ""), @"model.b");
    assert_snapshot!(selected("source:raw+", "d"), @"source.raw.t model.a model.b model.c test.relationships_c_id__id__ref_a_.2d10039799 test.source_not_null_raw_t_id.e00a82bbac test.unique_c_id.549b5a6e6d");
    assert_snapshot!(selected("resource_type:test", ""), @"test.relationships_c_id__id__ref_a_.2d10039799 test.source_not_null_raw_t_id.e00a82bbac test.unique_c_id.549b5a6e6d");
    assert_snapshot!(selected("", "a+"), @"seed.s source.raw.t test.source_not_null_raw_t_id.e00a82bbac");
    assert_snapshot!(selected("test_name:unique", ""), @"test.unique_c_id.549b5a6e6d");
}

#[test]
fn wrong_selectors() {
    assert_snapshot!(selected("bb", ""), @"error: selector `bb` matches nothing; did you mean `b`?");
    assert_snapshot!(selected("state:modified", ""), @"error: selector `state:modified` uses a method the built-in runner does not have; it has fqn, tag, path, file, package, source, resource_type, config.<key>, test_type and test_name");
    assert_snapshot!(selected("@a", ""), @"error: selector `@a` uses `@`, which the built-in runner does not support");
}
