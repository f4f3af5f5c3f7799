//! Models, macros and what they compile to.

use insta::assert_snapshot;

use super::{check, check_with, inputs};
use crate::RelationKind;

#[test]
fn refs_sources_and_schemas() {
    assert_snapshot!(check(
        "--- models/sources.yml
sources:
  - name: raw
    tables: [{name: orders, identifier: orders_v1}]
--- models/staging/stg_orders.sql
{{ config(materialized='table', schema='staging') }}
select * from {{ source('raw', 'orders') }}
--- models/orders.sql
select * from {{ ref('stg_orders') }} where shop = '{{ target.name }}' and {{ this.identifier }} is not null"
    ), @r#"
schemas: main_staging main
== model.shop.stg_orders (tables are made anew)
create or replace table "db"."main_staging"."stg_orders" as (
select * from "db"."raw"."orders_v1"
);
== model.shop.orders (views are made anew)
create or replace view "db"."main"."orders" as (
select * from "db"."main_staging"."stg_orders" where shop = 'dev' and orders is not null
);
"#);
}

#[test]
fn a_project_may_name_its_schemas_itself() {
    assert_snapshot!(check(
        "--- macros/schema.sql
{% macro generate_schema_name(custom_schema_name, node) -%}
  {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
--- dbt_project.yml
name: shop
models:
  shop:
    marts: {+schema: marts, +materialized: table}
--- models/marts/a.sql
select 1 as id
--- models/b.sql
select * from {{ ref('a') }}"
    ), @r#"
schemas: marts main
== model.shop.a (tables are made anew)
create or replace table "db"."marts"."a" as (
select 1 as id
);
== model.shop.b (views are made anew)
create or replace view "db"."main"."b" as (
select * from "db"."marts"."a"
);
"#);
}

#[test]
fn macros_return_values_recurse_and_dispatch() {
    assert_snapshot!(check(
        "--- macros/m.sql
{% macro down(n) %}{% if n > 0 %}{{ n }} {{ down(n - 1) }}{% endif %}{% endmacro %}
{% macro three() %}{{ return([1, 2, 3]) }}{% endmacro %}
{% macro twice() %}{% set all = three() %}{% for n in all %}{% do log(n) %}{% endfor %}{{ return(all + all) }}{% endmacro %}
{% macro json_text(value, path) %}{{ return(adapter.dispatch('json_text')(value, path)) }}{% endmacro %}
{% macro default__json_text(value, path) %}get_json_object({{ value }}, '{{ path }}'){% endmacro %}
{% macro duckdb__json_text(value, path) %}json_extract_string({{ value }}, '{{ path }}'){% endmacro %}
--- models/a.sql
{% set columns = [] %}
{% for n in twice() %}{% do columns.append('c' ~ n) %}{% endfor %}
select '{{ down(3) }}' as down, '{{ columns | join(\"+\") }}' as columns, {{ json_text('message', '$.a') }} as a"
    ), @r#"
schemas: main
== model.shop.a (views are made anew)
create or replace view "db"."main"."a" as (
select '3 2 1 ' as down, 'c1+c2+c3+c1+c2+c3' as columns, json_extract_string(message, '$.a') as a
);
"#);
}

const UTILS: &str = "--- packages.yml
packages: [{local: vendor/dbt_utils}]
--- dbt_packages/dbt_utils/dbt_project.yml
name: dbt_utils
--- dbt_packages/dbt_utils/macros/key.sql
{%- macro generate_surrogate_key(field_list) -%}
    {{ return(adapter.dispatch('generate_surrogate_key', 'dbt_utils')(field_list)) }}
{% endmacro %}
{%- macro default__generate_surrogate_key(field_list) -%}
{%- if var('surrogate_key_treat_nulls_as_empty_strings', False) -%}
    {%- set default_null_value = '' -%}
{%- else -%}
    {%- set default_null_value = '_dbt_utils_surrogate_key_null_' -%}
{%- endif -%}
{%- set fields = [] -%}
{%- for field in field_list -%}
    {%- do fields.append(\"coalesce(cast(\" ~ field ~ \" as \" ~ dbt.type_string() ~ \"), '\" ~ default_null_value  ~\"')\") -%}
    {%- if not loop.last %}
        {%- do fields.append(\"'-'\") -%}
    {%- endif -%}
{%- endfor -%}
{{ dbt.hash(dbt.concat(fields)) }}
{%- endmacro -%}
";

#[test]
fn surrogate_keys_are_those_of_dbt_utils() {
    assert_snapshot!(check(&format!(
        "{UTILS}--- models/a.sql
select {{{{ dbt_utils.generate_surrogate_key(['a', 'b']) }}}} as key from t"
    )), @r#"
schemas: main
== model.shop.a (views are made anew)
create or replace view "db"."main"."a" as (
select md5(cast(coalesce(cast(a as TEXT), '_dbt_utils_surrogate_key_null_') || '-' || coalesce(cast(b as TEXT), '_dbt_utils_surrogate_key_null_') as TEXT)) as key from t
);
"#);
}

#[test]
fn ephemeral_models_become_common_table_expressions() {
    assert_snapshot!(check(
        "--- models/one.sql
{{ config(materialized='ephemeral') }}
select 1 as id
--- models/two.sql
{{ config(materialized='ephemeral') }}
select * from {{ ref('one') }}
--- models/three.sql
-- keeps its comment
with recursive t as (select * from {{ ref('two') }}) select * from t join {{ ref('one') }} using (id)"
    ), @r#"
schemas: main
== model.shop.three (views are made anew)
create or replace view "db"."main"."three" as (
-- keeps its comment
with recursive __dbt__cte__one as (
select 1 as id
), __dbt__cte__two as (
select * from __dbt__cte__one
), t as (select * from __dbt__cte__two) select * from t join __dbt__cte__one using (id)
);
"#);
}

const EVENTS: &str = "--- models/events.sql
{{ config(materialized='incremental', unique_key='id', incremental_strategy='STRATEGY', post_hook='delete from {{ this }} where id < {{ var(\"oldest\", 0) }}') }}
select * from raw.events {% if is_incremental() %}where id > (select max(id) from {{ this }}){% endif %}";

fn again(project: &str) -> String {
    let first =
        crate::Project::load(&super::files(project)).and_then(|project| crate::plan(&project, &inputs()));
    let mut inputs = inputs();
    for step in first.unwrap().steps {
        let crate::Step::Model(step) = step else { continue };
        inputs.existing.insert(
            (step.relation.schema, step.relation.identifier),
            RelationKind::Table,
        );
        inputs.fingerprints.insert(step.node, step.fingerprint);
    }
    check_with(project, &inputs)
}

#[test]
fn incremental_first_run() {
    assert_snapshot!(check(&EVENTS.replace("STRATEGY", "merge")), @r#"
schemas: main
== model.shop.events (its table does not exist yet)
create or replace table "db"."main"."events" as (
select * from raw.events
);
delete from "db"."main"."events" where id < 0;
"#);
}

#[test]
fn incremental_merge() {
    assert_snapshot!(again(&EVENTS.replace("STRATEGY", "merge")), @r#"
schemas: main
== model.shop.events (new rows only)
create or replace temp table "temp"."main"."events__dbt_tmp" as (
select * from raw.events where id > (select max(id) from "db"."main"."events")
);
merge into "db"."main"."events" as DBT_INTERNAL_DEST
using "temp"."main"."events__dbt_tmp" as DBT_INTERNAL_SOURCE
on (DBT_INTERNAL_SOURCE.id = DBT_INTERNAL_DEST.id)
when matched then update by name
when not matched then insert by name;
drop table "temp"."main"."events__dbt_tmp";
delete from "db"."main"."events" where id < 0;
"#);
}

#[test]
fn incremental_append_and_delete_insert() {
    assert_snapshot!(again(&EVENTS.replace("STRATEGY", "append")), @r#"
schemas: main
== model.shop.events (new rows only)
create or replace temp table "temp"."main"."events__dbt_tmp" as (
select * from raw.events where id > (select max(id) from "db"."main"."events")
);
insert into "db"."main"."events" by name (
select * from "temp"."main"."events__dbt_tmp"
);
drop table "temp"."main"."events__dbt_tmp";
delete from "db"."main"."events" where id < 0;
"#);
    assert_snapshot!(again(&EVENTS.replace("STRATEGY", "delete+insert")), @r#"
schemas: main
== model.shop.events (new rows only)
create or replace temp table "temp"."main"."events__dbt_tmp" as (
select * from raw.events where id > (select max(id) from "db"."main"."events")
);
delete from "db"."main"."events"
where (id) in (
select (id) from "temp"."main"."events__dbt_tmp"
);
insert into "db"."main"."events" by name (
select * from "temp"."main"."events__dbt_tmp"
);
drop table "temp"."main"."events__dbt_tmp";
delete from "db"."main"."events" where id < 0;
"#);
    assert_snapshot!(again(&EVENTS.replace("STRATEGY", "delete+insert").replace("'id'", "['id', 'day']")), @r#"
schemas: main
== model.shop.events (new rows only)
create or replace temp table "temp"."main"."events__dbt_tmp" as (
select * from raw.events where id > (select max(id) from "db"."main"."events")
);
delete from "db"."main"."events" as DBT_INCREMENTAL_TARGET
using "temp"."main"."events__dbt_tmp" as DBT_INCREMENTAL_SOURCE
where (DBT_INCREMENTAL_SOURCE.id = DBT_INCREMENTAL_TARGET.id
and DBT_INCREMENTAL_SOURCE.day = DBT_INCREMENTAL_TARGET.day);
insert into "db"."main"."events" by name (
select * from "temp"."main"."events__dbt_tmp"
);
drop table "temp"."main"."events__dbt_tmp";
delete from "db"."main"."events" where id < 0;
"#);
}

#[test]
fn seeds_get_types() {
    assert_snapshot!(check(
        "--- dbt_project.yml
name: shop
seeds: {shop: {prices: {+column_types: {price: 'decimal(24,12)'}}}}
--- seeds/prices.csv
model,price,n,big,share,day,at,flag,empty
\"a,b\",1.50,1,5000000000,0.5,2026-01-01,2026-01-01 10:00:00,true,
c,,2,1,19.0,,2026-01-01T10:00:00Z,false,"
    ), @r#"
schemas: main
== seed.shop.prices
create or replace table "db"."main"."prices" ("model" text, "price" decimal(24,12), "n" integer, "big" bigint, "share" float8, "day" date, "at" timestamp, "flag" boolean, "empty" integer);
[Some("a,b"), Some("1.50"), Some("1"), Some("5000000000"), Some("0.5"), Some("2026-01-01"), Some("2026-01-01 10:00:00"), Some("true"), None]
[Some("c"), None, Some("2"), Some("1"), Some("19.0"), None, Some("2026-01-01T10:00:00Z"), Some("false"), None]
"#);
}

#[test]
fn vars_of_the_run_win() {
    let mut inputs = inputs();
    inputs.vars.insert("zone".to_owned(), "UTC".into());
    inputs.env.insert("RAW".to_owned(), "raw2".to_owned());
    assert_snapshot!(check_with(
        "--- dbt_project.yml
name: shop
vars: {zone: Europe/Berlin, shop: {days: 7}}
--- models/a.sql
select '{{ var('zone') }}' as zone, {{ var('days') }} as days, {{ var('none', 1) }} as d from {{ env_var('RAW') }}.t /* {{ env_var('B', 'c') }} */",
        &inputs
    ), @r#"
schemas: main
== model.shop.a (views are made anew)
create or replace view "db"."main"."a" as (
select 'UTC' as zone, 7 as days, 1 as d from raw2.t /* c */
);
"#);
}

#[test]
fn targets_come_from_the_profile() {
    let project = crate::Project::load(&super::files(
        "--- profiles.yml
shop:
  target: \"{{ env_var('TARGET', 'dev') }}\"
  outputs:
    dev: {type: duckdb, schema: main, threads: 4, path: x.db}
    prod: {type: duckdb, schema: \"{{ env_var('SCHEMA') }}\", threads: 8}
    big: {type: spark, schema: main}",
    ))
    .unwrap();
    let target = |name: Option<&str>, env: &[(&str, &str)]| {
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        match project.target(name, &env) {
            Ok(target) => format!("{} {} {}", target.name, target.schema, target.threads),
            Err(error) => format!("error: {error}"),
        }
    };
    assert_snapshot!(target(None, &[]), @"dev main 4");
    assert_snapshot!(target(None, &[("TARGET", "prod"), ("SCHEMA", "s")]), @"prod s 8");
    assert_snapshot!(target(Some("prod"), &[]), @"error: profiles.yml: environment variable `SCHEMA` is not set and `env_var` gives no default");
    assert_snapshot!(target(Some("big"), &[]), @"error: profiles.yml: target `big` is for spark; the built-in runner builds duckdb only");
    assert_snapshot!(target(Some("test"), &[]), @"error: profiles.yml: there is no target `test`; there are: dev, prod, big");
}

#[test]
fn nodes_are_described() {
    let project = crate::Project::load(&super::files(
        "--- models/a.sql
select 1 as id
--- models/a.md
{% docs orders %}
All orders.
{% enddocs %}
--- models/a.yml
models:
  - name: a
    description: \"{{ doc('orders') }} Really.\"
    columns: [{name: id, description: Key., data_type: bigint, tests: [unique]}]
data_tests: [{name: t, description: No zeros., config: {severity: warn}}]
--- tests/t.sql
select * from {{ ref('a') }} where id = 0",
    ));
    let project = project.unwrap();
    let graph = crate::Graph::new(&project, &inputs()).unwrap();
    let lines = graph.nodes().map(|node| {
        let columns: Vec<String> = node.columns.iter().map(|column| format!("{column:?}")).collect();
        format!("{}: {} {}", node.id, node.description, columns.join(" "))
    });
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
model.shop.a: All orders. Really. Column { name: "id", description: "Key.", data_type: Some("bigint"), tests: ["test.shop.unique_a_id.f6a5f640da"] }
test.shop.t: No zeros. 
test.shop.unique_a_id.f6a5f640da:
"#);
    assert_snapshot!(format!("{:?}", graph.lineage()), @r#"[("model.shop.a", "test.shop.t"), ("model.shop.a", "test.shop.unique_a_id.f6a5f640da")]"#);
}
