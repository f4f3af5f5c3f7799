//! Snapshots keep every version of a row, as dbt keeps them.

use std::path::PathBuf;

use crate::support::{Ran, Scene, finish, prompt};

const HEADER: &str = "id,name,updated_at\n";

/// A small project around one seed, whose rows are what is kept.
struct Shop {
    scene: Scene,
    folder: PathBuf,
}

impl Shop {
    fn new(config: &str) -> Self {
        let scene = Scene::new();
        scene.write("p/s.jsonl", prompt("s", "u1", 1, "one") + "\n");
        let folder = scene.path("shop");
        let shop = Self { scene, folder };
        shop.write("dbt_project.yml", "name: shop\nprofile: shop\n");
        shop.write(
            "profiles.yml",
            "shop: {target: dev, outputs: {dev: {type: duckdb, path: analytics.db, schema: main}}}",
        );
        shop.write("models/items.sql", "select * from {{ ref('things') }}");
        shop.write(
            "snapshots/kept.sql",
            &format!(
                "{{% snapshot kept %}}{{{{ config({config}) }}}}\nselect * from {{{{ ref('items') }}}}\n{{% endsnapshot %}}"
            ),
        );
        shop
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn try_run(&self, args: &[&str]) -> Ran {
        finish(
            self.scene
                .command(args)
                .env("CCLAKE_DBT_PROJECT_DIR", &self.folder),
        )
    }

    fn run(&self, seed: &str) {
        self.write("seeds/things.csv", seed);
        let ran = self.try_run(&["run"]);
        assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    }

    fn kept(&self, columns: &str) -> Vec<String> {
        self.scene
            .lines(&format!("select {columns} from main.kept order by all"))
    }
}

/// Runs over each seed in turn; what is kept then.
fn check(config: &str, seeds: &[&str], columns: &str, expected: &[&str]) {
    let shop = Shop::new(config);
    for seed in seeds {
        shop.run(&format!("{HEADER}{seed}"));
    }
    assert_eq!(shop.kept(columns), expected, "{config}");
}

/// 2 changes, 3 goes, 4 comes; then nothing more happens.
const SEEDS: [&str; 3] = [
    "1,a,2026-01-01 00:00:00\n2,b,2026-01-01 00:00:00\n3,c,2026-01-01 00:00:00\n",
    "1,a,2026-01-01 00:00:00\n2,bb,2026-01-02 12:30:00\n4,d,2026-01-03 00:00:00\n",
    "1,a,2026-01-01 00:00:00\n2,bb,2026-01-02 12:30:00\n4,d,2026-01-03 00:00:00\n",
];

const VERSIONS: &str = "id, name, dbt_valid_from::varchar, dbt_valid_to::varchar, dbt_updated_at = dbt_valid_from, dbt_scd_id = md5(id || '|' || updated_at)";

#[test]
fn a_timestamp_tells_what_changed() {
    check(
        "unique_key='id', strategy='timestamp', updated_at='updated_at'",
        &SEEDS,
        VERSIONS,
        &[
            "1|a|2026-01-01 00:00:00|-|true|true",
            "2|b|2026-01-01 00:00:00|2026-01-02 12:30:00|true|true",
            "2|bb|2026-01-02 12:30:00|-|true|true",
            "3|c|2026-01-01 00:00:00|-|true|true",
            "4|d|2026-01-03 00:00:00|-|true|true",
        ],
    );
}

#[test]
fn columns_tell_what_changed() {
    let expected = [
        "1|a|-|true",
        "2|b|2026-01-02 12:30:00|true",
        "2|bb|-|true",
        "3|c|-|true",
        "4|d|-|true",
    ];
    let columns = "id, name, dbt_valid_to::varchar, dbt_scd_id = md5(id || '|' || updated_at)";
    for checked in ["['name']", "'all'"] {
        check(
            &format!("unique_key='id', strategy='check', check_cols={checked}, updated_at='updated_at'"),
            &SEEDS,
            columns,
            &expected,
        );
    }
    check(
        "unique_key='id', strategy='check', check_cols=['name']",
        &SEEDS,
        "id, name, dbt_valid_to is null, dbt_scd_id = md5(id || '|' || dbt_updated_at::varchar)",
        &[
            "1|a|true|true",
            "2|b|false|true",
            "2|bb|true|true",
            "3|c|true|true",
            "4|d|true|true",
        ],
    );
}

#[test]
fn deleted_rows_end_or_leave_a_record() {
    let gone = "unique_key=['id', 'id + 0'], strategy='timestamp', updated_at='updated_at'";
    check(
        &format!("{gone}, hard_deletes='invalidate'"),
        &SEEDS,
        "id, name, dbt_valid_to is null",
        &["1|a|true", "2|b|false", "2|bb|true", "3|c|false", "4|d|true"],
    );
    check(
        &format!("{gone}, hard_deletes='new_record', dbt_valid_to_current=\"'9999-12-31'::timestamp\""),
        &[SEEDS[0], SEEDS[1], SEEDS[2], SEEDS[0]],
        "id, name, year(dbt_valid_to) = 9999, dbt_is_deleted",
        &[
            "1|a|true|False",
            "2|b|false|False",
            "2|bb|true|False",
            "3|c|false|False",
            "3|c|false|True",
            "3|c|true|False",
            "4|d|false|False",
            "4|d|true|True",
        ],
    );
}

#[test]
fn new_columns_of_the_query_are_added() {
    let shop = Shop::new("unique_key='id', strategy='timestamp', updated_at='updated_at'");
    shop.run(&format!("{HEADER}1,a,2026-01-01 00:00:00\n"));
    shop.run("id,name,updated_at,size\n1,a,2026-01-02 00:00:00,7\n2,b,2026-01-02 00:00:00,8\n");
    assert_eq!(
        shop.kept("id, size, dbt_valid_to is null"),
        ["1|7|true", "1|-|false", "2|8|true"]
    );
    // A full refresh leaves a snapshot alone: its history is nowhere else.
    let ran = shop.try_run(&["transform", "--full-refresh"]);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(shop.kept("id").len(), 3);
}

#[test]
fn a_snapshot_in_yaml_is_a_node_like_any_other() {
    let shop = Shop::new("unique_key='id', strategy='timestamp', updated_at='updated_at'");
    shop.write(
        "snapshots/_snapshots.yml",
        "snapshots:
  - name: by_name
    relation: ref('items')
    config: {schema: history, unique_key: name, strategy: check, check_cols: [id]}
    columns:
      - {name: dbt_scd_id, data_tests: [unique, not_null]}
",
    );
    shop.write(
        "models/names.sql",
        "select name from {{ ref('by_name') }} where dbt_valid_to is null",
    );
    shop.run(&format!("{HEADER}1,a,2026-01-01 00:00:00\n"));
    assert_eq!(shop.scene.lines("select name from main.names"), ["a"]);
    assert_eq!(
        shop.scene
            .number("select count(*) from quality.test_results where node like '%by_name%'"),
        2
    );
    assert_eq!(
        shop.scene.lines("select id, name from main_history.by_name"),
        ["1|a"]
    );
    let ran = shop.try_run(&[
        "transform",
        "--dry-run",
        "--select",
        "resource_type:snapshot",
        "--no-tests",
    ]);
    let nodes: Vec<_> = ran
        .stdout
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        nodes,
        ["snapshot.shop.by_name", "snapshot.shop.kept"],
        "{}",
        ran.stderr
    );
}

#[test]
fn a_table_that_no_snapshot_made_is_left_alone() {
    let shop = Shop::new("unique_key='id', strategy='timestamp', updated_at='updated_at', alias='other'");
    shop.write(
        "models/first.sql",
        "{{ config(materialized='table', alias='other', enabled=var('first', true)) }} select 1 as id",
    );
    shop.write("snapshots/kept.sql", "");
    shop.run(&format!("{HEADER}1,a,2026-01-01 00:00:00\n"));
    std::fs::remove_file(shop.folder.join("models/first.sql")).unwrap();
    shop.write(
        "snapshots/kept.sql",
        "{% snapshot kept %}{{ config(unique_key='id', strategy='timestamp', updated_at='updated_at', alias='other') }} select * from {{ ref('items') }}{% endsnapshot %}",
    );
    let ran = shop.try_run(&["run"]);
    assert_eq!(ran.status, 2, "{}", ran.stdout);
    assert!(
        ran.stderr
            .contains("snapshots/kept.sql:1: \"analytics\".\"main\".\"other\" has no column `dbt_scd_id`"),
        "{}",
        ran.stderr
    );
}
