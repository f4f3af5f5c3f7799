//! What goes wrong says where.

use insta::assert_snapshot;

use super::check;

#[test]
fn unknown_names() {
    assert_snapshot!(check("--- models/stg_orders.sql\nselect 1\n--- models/a.sql\nselect * from {{ ref('stg_order') }}"), @"error: models/a.sql:1: ref('stg_order') names nothing in this project; did you mean `stg_orders`?");
    assert_snapshot!(check("--- models/a.sql\nselect 1,\n{{ no_such_macro(1) }}"), @"error: models/a.sql:2: unknown function: no_such_macro is unknown");
    assert_snapshot!(check("--- models/a.sql\nselect 1,\n{{ undefined_name }}"), @"error: models/a.sql:2: undefined value: `undefined_name` is undefined");
    assert_snapshot!(check("--- models/a.sql\nselect\n\n{{ var('x') }}"), @"error: models/a.sql:3: var `x` has no value; set it under `vars:` in dbt_project.yml or for the run");
    assert_snapshot!(check("--- models/a.sql\nselect {{ env_var('X') }}"), @"error: models/a.sql:1: environment variable `X` is not set and `env_var` gives no default");
    assert_snapshot!(check("--- models/a.sql\nselect * from {{ source('raw', 't') }}"), @"error: models/a.sql:1: source('raw', 't') names nothing in this project");
}

#[test]
fn macros_name_their_own_file_and_line() {
    assert_snapshot!(check(
        "--- macros/m.sql\n\n{% macro bad(x) %}\n{% if x %}\n{{ x.y.z }}\n{% endif %}\n{% endmacro %}\n--- models/a.sql\nselect {{ bad(1) }}"
    ), @"error: macros/m.sql:4: undefined value: `x.y` is undefined (rendering models/a.sql)");
    assert_snapshot!(check("--- macros/m.sql\n\n\n{% macro open() %}"), @"error: macros/m.sql:3: `{% macro … %}` is never closed");
    assert_snapshot!(check("--- macros/m.sql\n{% macro a() %}\n{{ 1 + }}\n{% endmacro %}\n--- models/a.sql\nselect 1"), @"error: macros/m.sql:2: syntax error: unexpected end of variable block");
    assert_snapshot!(check("--- macros/m.sql\n{% macro a(n) %}{{ a(n) }}{% endmacro %}\n--- models/a.sql\nselect {{ a(1) }}"), @"error: macros/m.sql:1: macro `a` nests deeper than 48 calls (rendering models/a.sql)");
    assert_snapshot!(check("--- macros/m.sql\n{% macro a(n) %}{{ n }}{% endmacro %}\n--- models/a.sql\nselect\n{{ a(m=1) }}"), @"error: models/a.sql:2: too many arguments: unknown keyword argument `m`");
    assert_snapshot!(check("--- models/a.sql\nselect\n{{ exceptions.raise_compiler_error('not like this') }}"), @"error: models/a.sql:2: not like this");
}

#[test]
fn circles_and_doubles() {
    assert_snapshot!(check(
        "--- models/a.sql\nselect * from {{ ref('b') }}\n--- models/b.sql\nselect * from {{ ref('c') }}\n--- models/c.sql\nselect * from {{ ref('a') }}"
    ), @"error: models/a.sql: models refer to each other in a circle: c → b → a → c");
    assert_snapshot!(check("--- models/a.sql\nselect 1\n--- models/x/a.sql\nselect 1"), @"error: models/x/a.sql: `a` is the name of another model, seed or snapshot too; names must differ");
    assert_snapshot!(check("--- models/a.sql\nselect 1\n--- models/b.sql\n{{ config(alias='A') }}select 1"), @r#"error: models/b.sql: `model.shop.a` and `model.shop.b` both build "db"."main"."A"; give one of them an alias or a schema"#);
}

#[test]
fn what_is_not_supported() {
    assert_snapshot!(check("--- models/a.sql\n\n{{ config(materialized='external') }}select 1"), @r#"error: models/a.sql:2: materialization "external" is not supported by the built-in runner; it has view, table, incremental and ephemeral"#);
    assert_snapshot!(check("--- models/a.sql\n{{ config(on_schema_change='append_new_columns') }}select 1"), @r#"error: models/a.sql:1: config `on_schema_change: "append_new_columns"` is not supported by the built-in runner"#);
    assert_snapshot!(check("--- models/a.sql\n{{ config(my_key=1) }}select 1"), @"error: models/a.sql:1: config `my_key` is not known to the built-in runner; put your own keys under `meta`");
    assert_snapshot!(check("--- models/a.sql\nselect {{ run_query('select 1') }}"), @"error: models/a.sql:1: `run_query` is not supported by the built-in runner: templates cannot query the database");
    assert_snapshot!(check("--- models/a.py\nx"), @"error: models/a.py: Python models are not supported by the built-in runner");
    assert_snapshot!(check("--- snapshots/a.sql\n{% snapshot s %}select 1{% endsnapshot %}"), @"error: snapshots/a.sql:1: this snapshot needs the config `strategy`");
    assert_snapshot!(check("--- dbt_project.yml\nname: shop\n\non-run-end: ['select 1']"), @"error: dbt_project.yml:3: `on-run-end` is not supported by the built-in runner; use a model's pre_hook or post_hook");
    assert_snapshot!(check("--- models/a.sql\nselect 1\n--- models/a.yml\nunit_tests:\n  - name: x"), @"error: models/a.yml:1: `unit_tests` are not supported by the built-in runner");
    assert_snapshot!(check("--- macros/m.sql\n{% materialization special, default %}x{% endmaterialization %}"), @"error: macros/m.sql:1: materialization `special` is the project's own; the built-in runner has only dbt's");
}

#[test]
fn yaml() {
    assert_snapshot!(check("--- models/a.yml\nmodels:\n  - name: a\n    descripton: x\n--- models/a.sql\nselect 1"), @"error: models/a.yml:3: unknown key `descripton` in these properties; known are access, columns, config, constraints, data_tests, deprecation_date, description, docs, group, latest_version, meta, name, relation, tests, time_spine, versions");
    assert_snapshot!(check("--- models/a.yml\nmodels:\n  - name: b\n--- models/a.sql\nselect 1"), @"error: models/a.yml:2: there is no model `b` for these properties");
    assert_snapshot!(check("--- models/a.yml\nmodels:\n  - name: a\n   x: [1"), @"error: models/a.yml:3: not valid YAML: while parsing a block collection, did not find expected '-' indicator at line 3, column 4");
    assert_snapshot!(check("--- models/a.yml\nmodels:\n  - name: a\n    columns:\n      - name: id\n        tests:\n          - no_such_test\n--- models/a.sql\nselect 1"), @"error: models/a.yml:6: there is no test `no_such_test`; define it with `{% test no_such_test(…) %}` in tests/generic");
    assert_snapshot!(check("--- models/a.yml\nmodels:\n  - name: a\n    tests:\n      - unique:\n        column_name: id\n--- models/a.sql\nselect 1"), @"error: models/a.yml:4: a test must be one name with its arguments below it; check the indentation");
    assert_snapshot!(check("--- dbt_project.yml\nname: shop\nmodell: {}"), @"error: dbt_project.yml:2: unknown key `modell` in dbt_project.yml; known are analysis-paths, asset-paths, clean-targets, config-version, data_tests, dispatch, docs-paths, exposures, flags, log-path, macro-paths, metrics, model-paths, models, name, on-run-end, on-run-start, packages-install-path, profile, query-comment, quoting, require-dbt-version, restrict-access, saved-queries, seed-paths, seeds, semantic-models, snapshot-paths, snapshots, sources, target-path, test-paths, tests, unit_tests, vars, version");
    assert_snapshot!(check("--- packages.yml\npackages: [{package: x/y, version: 1}]"), @"error: packages.yml: 1 packages are listed but 0 are in the packages folder; dbt wants both to agree");
}

#[test]
fn seeds() {
    assert_snapshot!(check("--- seeds/a.csv\na,b\n1,2\n1"), @"error: seeds/a.csv:3: this row has 1 cells where the header has 2");
}

#[test]
fn a_ref_only_in_the_incremental_branch() {
    assert_snapshot!(check("--- models/b.sql\nselect 1\n--- models/a.sql\nselect 1 {% if execute %}from {{ ref('b') }}{% endif %}"), @"error: models/a.sql:1: ref('b') appears only when the SQL is compiled, so its order is unknown; add `-- depends_on: {{ ref('b') }}` to the file");
}

#[test]
fn what_is_disabled_or_misplaced() {
    assert_snapshot!(check("--- models/b.sql\n{{ config(enabled=false) }}select 1\n--- models/a.sql\nselect *\nfrom {{ ref('b') }}"), @"error: models/a.sql:2: ref('b') is disabled by its configuration");
    assert_snapshot!(check("--- models/a.sql\nselect 1;"), @"error: models/a.sql: this file's SQL ends with `;`; leave it out, since the query is put into another statement");
    assert_snapshot!(check("--- models/a.sql\n{# nothing #}"), @"error: models/a.sql: this file renders to no SQL at all");
    assert_snapshot!(check("--- models/a.sql\nselect {{ ['a'] }}"), @"error: models/a.sql:1: a list or mapping cannot be printed into SQL; use `join` or `tojson`");
    assert_snapshot!(check("--- models/a.sql\n\n{{ config(post_hook='delete from {{ ref(\"x\") }}') }}select 1"), @"error: models/a.sql:2: ref('x') names nothing in this project; did you mean `a`?");
    assert_snapshot!(check("--- dbt_project.yml\nname: shop\nmodels:\n  +schema: \"{{ ref('a') }}\"\n--- models/a.sql\nselect 1"), @"error: dbt_project.yml:3: ref('a') cannot be used here: no node is being rendered (rendering models/a.sql)");
    assert_snapshot!(check("--- models/a.sql\n{{ config(materialized='incremental', incremental_strategy='microbatch') }}select 1"), @r#"error: models/a.sql:1: incremental strategy "microbatch" is not supported by the built-in runner; it has append, merge and delete+insert"#);
    assert_snapshot!(check("--- models/a.sql\n{{ config(contract={'enforced': true}) }}select 1"), @r#"error: models/a.sql:1: config `contract: {"enforced":true}` is not supported by the built-in runner"#);
}

/// Whatever a file holds, the answer is a plan or an error.
#[test]
fn no_text_panics() {
    let project = "--- macros/m.sql\n{%- macro é(x='}') -%}{# ü #}{% raw %}{{ %}{% endraw %}{% set l = [1] %}{% do l.append(x) %}{{ return(l) }}{%- endmacro -%}
--- models/a.sql\n{{ config(tags=['ü']) }} select {{ é('ß') | join('é') }} -- ü
--- models/a.yml\nmodels: [{name: a, columns: [{name: \"é\", tests: [unique, {accepted_values: {values: ['ü']}}]}]}]
--- seeds/s.csv\nä,at\n\"ü\",2026-01-01Tü
";
    let whole = super::files(project);
    for (path, text) in &whole {
        for (at, _) in text.char_indices() {
            let mut files = whole.clone();
            files.insert(path.clone(), text[..at].to_owned());
            let _ = crate::Project::load(&files).and_then(|project| crate::plan(&project, &super::inputs()));
            files.insert(path.clone(), text[at..].to_owned());
            let _ = crate::Project::load(&files).and_then(|project| crate::plan(&project, &super::inputs()));
        }
    }
}
