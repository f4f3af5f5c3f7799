//! Generic and singular tests: ids, queries, and fused queries.

use insta::assert_snapshot;

use super::{check, files, inputs};
use crate::{Project, Step, fuse, plan};

const ORDERS: &str = "--- models/orders.sql
select 1 as id
--- models/lines.sql
select 1 as id
--- models/schema.yml
models:
  - name: orders
    columns:
      - name: id
        data_tests: [unique, not_null]
      - name: status
        data_tests:
          - accepted_values: {values: [placed, returned], config: {severity: warn}}
          - accepted_values: {values: [1, 2], quote: false, name: codes}
  - name: lines
    columns:
      - name: order_id
        tests:
          - relationships: {arguments: {to: ref('orders'), field: id}}
          - not_null: {where: \"status = 'x'\"}
          - at_least: {least: 3}
--- tests/generic/at_least.sql
{% test at_least(model, column_name, least) %}
select * from {{ model }} where {{ column_name }} < {{ least }}
{% endtest %}
--- tests/no_gaps.sql
{{ config(severity='warn', warn_if='> 3') }}
select * from {{ ref('orders') }} where gap
";

#[test]
fn queries_are_those_of_dbt() {
    let all = check(ORDERS);
    let tests = all
        .split("== test.")
        .skip(1)
        .map(|test| format!("== test.{test}"));
    assert_snapshot!(tests.collect::<String>(), @r#"
== test.shop.accepted_values_orders_status__placed__returned.f370346d02
with all_values as (

    select
        status as value_field,
        count(*) as n_records

    from "db"."main"."orders"
    group by status

)

select *
from all_values
where value_field not in (
    'placed','returned'
)
== test.shop.at_least_lines_order_id__3.40724a2f1b
select * from "db"."main"."lines" where order_id < 3
== test.shop.codes.4261637754
with all_values as (

    select
        status as value_field,
        count(*) as n_records

    from "db"."main"."orders"
    group by status

)

select *
from all_values
where value_field not in (
    1,2
)
== test.shop.no_gaps
select * from "db"."main"."orders" where gap
== test.shop.not_null_lines_order_id.3af15888e9
select order_id
from (select * from "db"."main"."lines" where status = 'x') dbt_subquery
where order_id is null
== test.shop.not_null_orders_id.84ef11d8fe
select id
from "db"."main"."orders"
where id is null
== test.shop.relationships_lines_order_id__id__ref_orders_.c13830087a
with child as (
    select order_id as from_field
    from "db"."main"."lines"
    where order_id is not null
),

parent as (
    select id as to_field
    from "db"."main"."orders"
)

select
    from_field

from child
left join parent
    on child.from_field = parent.to_field

where parent.to_field is null
== test.shop.unique_orders_id.1360ecc70e
select
    id as unique_field,
    count(*) as n_records

from "db"."main"."orders"
where id is not null
group by id
having count(*) > 1
"#);
}

fn fused(project: &str) -> String {
    let plan = Project::load(&files(project))
        .and_then(|project| plan(&project, &inputs()))
        .unwrap();
    let tests = plan.steps.iter().filter_map(|step| {
        if let Step::Test(test) = step {
            Some(test)
        } else {
            None
        }
    });
    let queries: Vec<String> = fuse(tests)
        .iter()
        .map(|query| format!("== {}\n{}", query.scans.concat().join(" "), query.sql))
        .collect();
    queries.join("\n")
}

#[test]
fn tests_of_one_relation_share_a_scan() {
    assert_snapshot!(fused(ORDERS), @r#"
== test.shop.accepted_values_orders_status__placed__returned.f370346d02 test.shop.not_null_orders_id.84ef11d8fe test.shop.unique_orders_id.1360ecc70e test.shop.not_null_lines_order_id.3af15888e9 test.shop.relationships_lines_order_id__id__ref_orders_.c13830087a
select 0 as scan, [coalesce(cast(t0 as bigint), 0), coalesce(cast(t1 as bigint), 0), coalesce(cast(t2 as bigint), 0)] as findings from (
select
  count(*) filter (where status not in ('placed','returned')) as t0,
  count(*) filter (where id is null) as t1,
  count(id) - count(distinct id) as t2
from "db"."main"."orders"
) scan0
union all
select 1 as scan, [coalesce(cast(t0 as bigint), 0)] as findings from (
select
  count(*) filter (where order_id is null) as t0
from (select * from "db"."main"."lines" where status = 'x') dbt_subquery
) scan1
union all
select 2 as scan, [coalesce(cast(t0 as bigint), 0)] as findings from (
select count(*) as t0
from (
with child as (
    select order_id as from_field
    from "db"."main"."lines"
    where order_id is not null
),

parent as (
    select id as to_field
    from "db"."main"."orders"
)

select
    from_field

from child
left join parent
    on child.from_field = parent.to_field

where parent.to_field is null
) dbt_internal_test
) scan2
== test.shop.at_least_lines_order_id__3.40724a2f1b
select 0 as scan, [coalesce(cast(t0 as bigint), 0)] as findings from (
select count(*) as t0
from (
select * from "db"."main"."lines" where order_id < 3
) dbt_internal_test
) scan0
== test.shop.codes.4261637754
select 0 as scan, [coalesce(cast(t0 as bigint), 0)] as findings from (
select count(*) as t0
from (
with all_values as (

    select
        status as value_field,
        count(*) as n_records

    from "db"."main"."orders"
    group by status

)

select *
from all_values
where value_field not in (
    1,2
)
) dbt_internal_test
) scan0
== test.shop.no_gaps
select 0 as scan, [coalesce(cast(t0 as bigint), 0)] as findings from (
select cast(should_warn or should_error as integer) as t0
from (
select
  count(*) as failures,
  count(*) > 3 as should_warn,
  count(*) != 0 as should_error
from (
select * from "db"."main"."orders" where gap
) dbt_internal_test
) dbt_internal_test
) scan0
"#);
}

#[test]
fn an_overridden_test_is_not_fused() {
    assert_snapshot!(fused(
        "--- models/a.sql
select 1 as id
--- models/a.yml
models: [{name: a, columns: [{name: id, tests: [unique]}]}]
--- macros/unique.sql
{% test unique(model, column_name) %}select 1 from {{ model }} having count({{ column_name }}) > 7{% endtest %}"
    ), @r#"
== test.shop.unique_a_id.f6a5f640da
select 0 as scan, [coalesce(cast(t0 as bigint), 0)] as findings from (
select count(*) as t0
from (
select 1 from "db"."main"."a" having count(id) > 7
) dbt_internal_test
) scan0
"#);
}
