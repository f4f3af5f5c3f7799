//! Snapshots: where they are found, what they read, and what of them is refused.

use insta::assert_snapshot;

use super::check;

const GOOD: &str = "unique_key='id', strategy='timestamp', updated_at='t'";

/// A block with this configuration.
fn block(config: &str) -> String {
    check(&format!(
        "--- snapshots/a.sql\n\n{{% snapshot s %}}\n{{{{ config({config}) }}}}\nselect 1 as id\n{{% endsnapshot %}}"
    ))
}

#[test]
fn both_forms_are_nodes() {
    assert_snapshot!(check("--- models/m.sql
{{ config(materialized='table') }} select 1 as id, now() as t
--- snapshots/all.sql
{% snapshot one %}
{{ config(target_schema='history', unique_key='id', strategy='timestamp', updated_at='t') }}
select * from {{ ref('m') }} where '{{ this }}' <> ''
{% endsnapshot %}
{% snapshot two %}{{ config(enabled=false) }}{% endsnapshot %}
--- snapshots/s.yml
snapshots:
  - name: three
    relation: ref('m')
    config: {schema: snaps, unique_key: [id, t], strategy: check, check_cols: all}
    columns: [{name: id, data_tests: [not_null]}]
--- models/after.sql
select * from {{ ref('one') }} join {{ ref('three') }} using (id)
"), @r#"
schemas: main history main_snaps
== model.shop.m (tables are made anew)
create or replace table "db"."main"."m" as (
select 1 as id, now() as t
);
== snapshot.shop.one (snapshot)
select * from "db"."main"."m" where '"db"."history"."one"' <> ''
== snapshot.shop.three (snapshot)
select * from "db"."main"."m"
== model.shop.after (views are made anew)
create or replace view "db"."main"."after" as (
select * from "db"."history"."one" join "db"."main_snaps"."three" using (id)
);
== test.shop.not_null_three_id.dc15c217ce
select id
from "db"."main_snaps"."three"
where id is null
"#);
}

#[test]
fn mistakes_name_file_and_line() {
    assert_snapshot!(block("strategy='timestamp', updated_at='t'"), @"error: snapshots/a.sql:2: this snapshot needs the config `unique_key`");
    assert_snapshot!(block("unique_key='id'"), @"error: snapshots/a.sql:2: this snapshot needs the config `strategy`");
    assert_snapshot!(block("unique_key='id', strategy='timestamp'"), @"error: snapshots/a.sql:2: this snapshot needs the config `updated_at`");
    assert_snapshot!(block("unique_key='id', strategy='check'"), @"error: snapshots/a.sql:2: this snapshot needs the config `check_cols`");
    assert_snapshot!(block("unique_key='id', strategy='check', check_cols='some'"), @r#"error: snapshots/a.sql:3: config `check_cols` must be `all` or a list of columns, not "some""#);
    assert_snapshot!(block("unique_key='id', strategy='mine'"), @r#"error: snapshots/a.sql:3: snapshot strategy "mine" is not supported by the built-in runner; it has timestamp and check"#);
    assert_snapshot!(block(&format!("{GOOD}, check_cols='all'")), @"error: snapshots/a.sql:3: `check_cols` is for the strategy check; remove it");
    assert_snapshot!(block(&format!("{GOOD}, hard_deletes='maybe'")), @r#"error: snapshots/a.sql:3: config `hard_deletes` must be ignore, invalidate or new_record, not "maybe""#);
    assert_snapshot!(block(&format!("{GOOD}, hard_deletes='ignore', invalidate_hard_deletes=true")), @"error: snapshots/a.sql:3: `invalidate_hard_deletes` and `hard_deletes` say the same; keep only `hard_deletes`");
    assert_snapshot!(block(&format!("{GOOD}, snapshot_meta_column_names={{'x': 'y'}}")), @r#"error: snapshots/a.sql:3: config `snapshot_meta_column_names` must be a mapping of dbt_valid_from, dbt_valid_to, dbt_scd_id, dbt_updated_at or dbt_is_deleted to names, not {"x":"y"}"#);
    assert_snapshot!(block(&format!("{GOOD}, materialized='table'")), @r#"error: snapshots/a.sql:3: config `materialized: "table"` is not supported by the built-in runner"#);
    assert_snapshot!(block(&format!("{GOOD}, no_such_key=1")), @"error: snapshots/a.sql:3: config `no_such_key` is not known to the built-in runner; put your own keys under `meta`");
    assert_snapshot!(block(&format!("{GOOD}) }}}}\n{{{{ no_such_macro(")), @"error: snapshots/a.sql:4: unknown function: no_such_macro is unknown");
}
