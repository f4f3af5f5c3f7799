//! SQL in, lineage out: relations `name(columns)` or `name(columns, …)`, then queries `name = sql`, all through `check`.

use std::fmt::Write as _;

use super::{Input, Made, Via, of};
use crate::graph::config::snapshot::{
    CheckColumns, HardDeletes, MetaNames, SnapshotConfig, SnapshotStrategy,
};
use crate::tests::analytics::shipped_project;

/// What a name that ends like this is a snapshot by.
fn snapshot(id: &str) -> Option<SnapshotConfig> {
    let strategy = match id.split_once("_by_")?.1 {
        "check" => SnapshotStrategy::Check {
            columns: CheckColumns::All,
            updated_at: None,
        },
        updated_at => SnapshotStrategy::Timestamp {
            updated_at: updated_at.to_owned(),
        },
    };
    Some(SnapshotConfig {
        unique_key: vec!["id".to_owned()],
        strategy,
        hard_deletes: HardDeletes::NewRecord,
        valid_to_current: None,
        names: MetaNames::default(),
        target_schema: None,
        target_database: None,
    })
}

/// Relations and queries, one after another between lines of `--`; the lineage of the last one, sources in parentheses
/// where they are not the inputs themselves.
fn check(text: &str) -> String {
    let mut inputs = Vec::new();
    for part in text.split("\n--\n").map(str::trim) {
        let (id, made) = match part.split_once(" = ") {
            Some((id, sql)) if !id.contains('(') => (id, Made::By(sql.to_owned())),
            _ => {
                let (id, columns) = part.trim_end_matches(')').split_once('(').unwrap();
                let columns = columns
                    .split(", ")
                    .filter(|name| !name.is_empty() && *name != "…")
                    .map(str::to_owned);
                let columns = columns.collect();
                let made = if part.ends_with("…)") {
                    Made::Described(columns)
                } else {
                    Made::Given(columns)
                };
                (id, made)
            }
        };
        inputs.push(Input {
            id: id.to_owned(),
            name: Some(["db".to_owned(), "main".to_owned(), id.to_owned()]),
            made,
            known: Vec::new(),
            snapshot: snapshot(id),
        });
    }
    let lineage = of(&inputs);
    let id = &inputs.last().unwrap().id;
    let node = lineage.node(id).unwrap();
    let origins = |origins: &[super::Origin]| {
        let text = origins.iter().map(|origin| {
            let sign = match origin.via {
                Via::Copied => "=",
                Via::Extracted => "~",
                Via::Computed => "+",
                Via::Decides => "?",
            };
            format!(" {sign}{}.{}", origin.field.node, origin.field.path_text())
        });
        text.collect::<String>()
    };
    let mut out = String::new();
    for column in &node.columns {
        let _ = write!(out, "{}:{}", column.name, origins(&column.inputs));
        if column.inputs != column.sources {
            let _ = write!(out, " ({})", origins(&column.sources).trim());
        }
        if let Some(reason) = &column.unknown {
            let _ = write!(out, " unknown: {reason}");
        }
        out.push('\n');
    }
    if let Some(reason) = &node.unknown {
        let _ = writeln!(out, "unknown: {reason}");
    }
    out
}

/// Each case: a name, relations and queries, the lineage of the last one.
/// `=` copied, `~` extracted, `+` computed, `?` decides.
const CASES: &[(&str, &str, &str)] = &[
    (
        "copies and casts",
        "t(a, b)\n--\nq = select a, cast(b as bigint) as c, t.a as d from main.t",
        "a: =t.a\nc: =t.b\nd: =t.a\n",
    ),
    (
        "constants come from nothing",
        "t(a)\n--\nq = select 1 as one, 'x' as x from t",
        "one:\nx:\n",
    ),
    (
        "what only removes rows does not count",
        "t(a, b, c)\n--\nq = select a from t where b > 1 qualify row_number() over (order by c) = 1",
        "a: =t.a\n",
    ),
    (
        "the condition of a case decides",
        "t(a, b, c)\n--\nq = select case when a > 0 then b else c end as x from t",
        "x: ?t.a +t.b +t.c\n",
    ),
    (
        "a condition computed in a subquery decides by all it was computed from",
        "t(a, b, c)\n--\nq = select case when d then c end as x from (select t.*, coalesce(a = 'x' and contains(b, 'y'), false) as d from t)",
        "x: ?t.a ?t.b +t.c\n",
    ),
    (
        "a value that decides about itself is computed",
        "t(a)\n--\nq = select case when a > 0 then a end as x from t",
        "x: +t.a\n",
    ),
    (
        "json by from_json",
        "t(j)\n--\nq = select d.usage.n as n, d.list[1].name as name from (select from_json(j, '{}') as d from t)",
        "n: ~t.j.usage.n\nname: ~t.j.list[].name\n",
    ),
    (
        "json by path",
        "t(j)\n--\nq = select json_extract_string(j, '$.a.b[0].c') as c, j->>'$.x' as x, j->'y' as y, json_extract(j, concat('$.a[', 1, ']')) as e from t",
        "c: ~t.j.a.b[].c\nx: ~t.j.x\ny: ~t.j.y\ne: ~t.j.a[]\n",
    ),
    (
        "unnest and positions",
        "t(j)\n--\nq = select b.id as id, n from (select unnest(d.items) as b, generate_subscripts(d.items, 1) - 1 as n from (select from_json(j, '{}') as d from t))",
        "id: ~t.j.items[].id\nn: +t.j.items\n",
    ),
    (
        "an element put into a list and taken out again",
        "t(one, many)\n--\nq = select x.id as id from (select unnest(list_append(from_json(many, '[]'), from_json(one, '{}'))) as x from t)",
        "id: +t.many[].id +t.one.id\n",
    ),
    (
        "lambdas",
        "t(l, f)\n--\nq = select list_filter(l, lambda x: x.n > f) as kept, list_transform(l, lambda x: x.n) as ns, list_reduce(l, lambda s, x: s + x.n, f) as total from t",
        "kept: ?t.f +t.l ?t.l[].n\nns: ?t.l ~t.l[].n\ntotal: +t.f +t.l[] +t.l[].n\n",
    ),
    (
        "an element of a transformed list is what the lambda gave",
        "t(l)\n--\nq = select unnest(list_transform(l, lambda x: x.n)) as n, len(flatten(list_transform(l, lambda x: x.m))) as m from t",
        "n: ?t.l ~t.l[].n\nm: ?t.l +t.l[].m\n",
    ),
    (
        "aggregates, filters and counts",
        "t(a, b, c)\n--\nq = select sum(a) filter (where b) as s, count(*) as n, max_by(a, c) as m, string_agg(a, ',' order by c) as texts from t group by c",
        "s: +t.a ?t.b\nn: +t.*\nm: +t.a ?t.c\ntexts: +t.a ?t.c\n",
    ),
    (
        "windows",
        "t(a, b, c)\n--\nq = select row_number() over (partition by a order by b) as n, lag(c) over w as before from t window w as (order by b)",
        "n: +t.a +t.b\nbefore: ?t.b +t.c\n",
    ),
    (
        "common table expressions",
        "t(a)\n--\nq = with x as (select a as b from t), y(c) as (select b + 1 from x) select c, y.c as d from y",
        "c: +t.a\nd: +t.a\n",
    ),
    (
        "recursion",
        "t(id, parent)\n--\nq = with recursive r as (select id, parent as up, 0 as depth from t union all select t.id, r.up, depth + 1 from t join r on r.id = t.parent) select * from r",
        "id: =t.id\nup: =t.parent\ndepth:\n",
    ),
    (
        "unions by position and by name",
        "t(a, b)\n--\nu(a, b)\n--\nq = select * from (select a, b from t union all select b, a from u) union all by name select b from t",
        "a: =t.a =u.b\nb: =t.b =u.a\n",
    ),
    (
        "the right side of except only removes rows",
        "t(a)\n--\nu(a)\n--\nq = select a from t except select a from u",
        "a: =t.a\n",
    ),
    (
        "values",
        "t(a)\n--\nq = select v.n, t.a from t, (values (1, 'x'), (2, 'y')) as v(n, s)",
        "n:\na: =t.a\n",
    ),
    (
        "wildcards",
        "t(a, b, c)\n--\nu(d)\n--\nq = select t.* exclude (b), u.* replace (d + 1 as d) from t cross join u",
        "a: =t.a\nc: =t.c\nd: +u.d\n",
    ),
    (
        "joins by using",
        "t(k, a)\n--\nu(k, b)\n--\nq = select *, k as key from t left join u using (k)",
        "k: =t.k\na: =t.a\nb: =u.b\nkey: =t.k\n",
    ),
    (
        "full joins by using take either side",
        "t(k)\n--\nu(k)\n--\nq = select k from t full join u using (k)",
        "k: +t.k +u.k\n",
    ),
    (
        "semi and anti joins only remove rows",
        "t(k)\n--\nu(k, b)\n--\nq = select * from t anti join u on u.k = t.k",
        "k: =t.k\n",
    ),
    (
        "lateral subqueries",
        "t(a)\n--\nq = select x.b from t, lateral (select t.a + 1 as b) as x",
        "b: +t.a\n",
    ),
    (
        "subqueries in place of values",
        "t(a)\n--\nu(k, v)\n--\nq = select (select max(v) from u where u.k = t.a) as m, exists (select 1 from u where u.k = t.a) as e, a in (select k from u) as i from t",
        "m: +u.v\ne: +t.a +u.* +u.k\ni: +t.a +u.k\n",
    ),
    (
        "earlier aliases",
        "t(a)\n--\nq = select a + 1 as b, b * 2 as c from t",
        "b: +t.a\nc: +t.a\n",
    ),
    (
        "through a model, paths included",
        "s(j, k)\n--\nm = select case when k then d.input end as i, d.name from (select from_json(j, '{}') as d, k from s)\n--\nq = select from_json(i, '{}').file as f, count(*) over () as n, upper(name) as u from m",
        "f: ~m.i.file (+s.j.input.file ?s.k)\nn:\nu: +m.name (+s.j.name)\n",
    ),
    (
        "rows of a model are rows of its sources",
        "s(a)\n--\nm = select a from s\n--\nq = select count(*) as n from m",
        "n: +m.* (+s.*)\n",
    ),
    (
        "a source nobody described whole",
        "s(a, …)\n--\nq = with x as (select * from s) select a, b, x.c from x",
        "a: =s.a\nb: =s.b\nc: =s.c\n",
    ),
    (
        "names in any case",
        "t(Name)\n--\nq = select NAME as n, \"name\" as m from T",
        "n: =t.Name\nm: =t.Name\n",
    ),
    (
        "what a snapshot by timestamp adds",
        "t(id, at)\n--\nt_by_at = select * from t",
        "id: =t.id\nat: =t.at\ndbt_scd_id: +t.at +t.id\ndbt_updated_at: =t.at\ndbt_valid_from: =t.at\ndbt_valid_to: +t.at\ndbt_is_deleted: ?t.*\n",
    ),
    (
        "what a snapshot by check adds",
        "t(id, a)\n--\nt_by_check = select * from t",
        "id: =t.id\na: =t.a\ndbt_scd_id: ?t.a +t.id\ndbt_updated_at: ?t.a ?t.id\ndbt_valid_from: ?t.a ?t.id\ndbt_valid_to: ?t.a ?t.id\ndbt_is_deleted: ?t.*\n",
    ),
    // What cannot be told says why.
    (
        "an unknown column",
        "t(a)\n--\nq = select b from t",
        "b: unknown: no column `b` is known here\n",
    ),
    (
        "an unknown relation",
        "t(a)\n--\nq = select b from u",
        "b: unknown: no relation `u` is known to the project\n",
    ),
    (
        "a star that hides columns",
        "s(a, …)\n--\nq = select * from s",
        "a: =s.a\nunknown: it takes `*` of s, whose columns nobody described\n",
    ),
    (
        "a snapshot of unknown columns",
        "s(id, …)\n--\ns_by_check = select * from s",
        "id: =s.id\ndbt_scd_id: +s.id unknown: `*` of s may have more columns\ndbt_updated_at: ?s.id unknown: `*` of s may have more columns\ndbt_valid_from: ?s.id unknown: `*` of s may have more columns\ndbt_valid_to: ?s.id unknown: `*` of s may have more columns\ndbt_is_deleted: ?s.*\nunknown: it takes `*` of s, whose columns nobody described\n",
    ),
    (
        "a snapshot by what is no column",
        "t(id)\n--\nt_by_age = select id from t",
        "id: =t.id\ndbt_scd_id: +t.id unknown: the snapshot's config takes `age`, which is no column of its query\ndbt_updated_at: unknown: the snapshot's config takes `age`, which is no column of its query\ndbt_valid_from: unknown: the snapshot's config takes `age`, which is no column of its query\ndbt_valid_to: unknown: the snapshot's config takes `age`, which is no column of its query\ndbt_is_deleted: ?t.*\n",
    ),
    (
        "columns by pattern",
        "t(a)\n--\nq = select columns('a.*') from t",
        "unknown: `columns('a.*')` chooses columns by their names, which is not followed\n",
    ),
    (
        "no query",
        "t(a)\n--\nq = selec a from t",
        "unknown: the parser does not read its SQL: sql parser error: Expected: SELECT, VALUES, or a subquery in the query body, found: selec at Line: 1, Column: 1\n",
    ),
    (
        "downstream of what is unknown",
        "t(a)\n--\nm = select b as x from t\n--\nq = select x from m",
        "x: =m.x () unknown: through m.x: no column `b` is known here\n",
    ),
    (
        "an unfollowed function of a table",
        "t(a)\n--\nq = select x from glob('*')",
        "x: unknown: the columns of the table function `glob` are not known\n",
    ),
];

#[test]
fn sql_in_lineage_out() {
    let mut wrong = String::new();
    for (name, text, expected) in CASES {
        let found = check(text);
        if found != *expected {
            let _ = write!(wrong, "\n== {name}\n-- expected\n{expected}-- found\n{found}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn sql_too_deep_is_unknown_and_no_crash() {
    let nested = format!(
        "t(a)\n--\nq = select {}a{} as x from t",
        "(".repeat(3000),
        ")".repeat(3000)
    );
    assert!(check(&nested).contains("unknown: the parser does not read its SQL"));
}

#[test]
fn every_column_of_the_shipped_project_is_resolved() {
    let project = shipped_project();
    let graph = crate::Graph::new(&project, &crate::tests::inputs()).unwrap();
    let lineage = super::Lineage::new(&project, &graph, &std::collections::BTreeMap::new()).unwrap();
    assert_eq!(lineage.unknowns(), []);
    let models = graph
        .nodes()
        .filter(|node| matches!(node.kind, crate::NodeKind::Model(_)));
    for model in models {
        assert!(
            !lineage.node(&model.id).unwrap().columns.is_empty(),
            "{}",
            model.id
        );
    }
    let tokens = lineage
        .column("model.cclake.fct_messages", "input_tokens")
        .unwrap();
    let sources: Vec<String> = tokens
        .sources
        .iter()
        .map(|origin| origin.field.path_text())
        .collect();
    assert_eq!(
        sources,
        [
            "data",
            "data.message.message.usage.input_tokens",
            "data.normalizedMessages[].message.usage.input_tokens",
            "message.usage.input_tokens",
            "type"
        ]
    );
}
