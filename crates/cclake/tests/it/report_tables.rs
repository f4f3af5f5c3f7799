//! Tables of reports at every width.

use crate::report::scene;
use crate::support::finish;

#[test]
fn tables_fit_the_terminal() {
    let scene = scene();
    let list = scene.json(&["report"])["pricing"]["priceListDate"]
        .as_str()
        .unwrap()
        .to_owned();
    let table = |columns: &str, args: &[&str]| {
        let mut command = scene.command(&[&["report"], args].concat());
        let text = finish(command.env("COLUMNS", columns)).stdout;
        text.replace(&list, "2026-01-01")
    };
    insta::assert_snapshot!(table("", &["daily", "--breakdown"]), @r"
    Usage by day, UTC

    Date            Models                Input  Output  Cache Create  Cache Read  Total Tokens  Cost (USD)
    ───────────────────────────────────────────────────────────────────────────────────────────────────────
    2026-02-03      haiku-4-5, opus-4-6  20,000   2,000        12,000     200,000       234,000       $0.20
      └ opus-4-6                         10,000   1,000         6,000     100,000       117,000       $0.17
      └ haiku-4-5                        10,000   1,000         6,000     100,000       117,000       $0.03
    2026-02-09      opus-4-6             10,000   1,000         6,000     100,000       117,000       $0.17
      └ opus-4-6                         10,000   1,000         6,000     100,000       117,000       $0.17
    2026-02-10      acme-coder           10,000   1,000         6,000     100,000       117,000          -*
      └ acme-coder                       10,000   1,000         6,000     100,000       117,000          -*
    ───────────────────────────────────────────────────────────────────────────────────────────────────────
    Total                                40,000   4,000        24,000     400,000       468,000      $0.37*

    Cost is an API-price equivalent (price list of 2026-01-01), not a bill.
    * No price for acme-coder: 1 response, 117,000 tokens are in no cost.
    ");
    insta::assert_snapshot!(table("50", &["project"]), @r"
    Usage by project, UTC

    Project   Input  Output  Total Tokens  Cost (USD)
    ─────────────────────────────────────────────────
    shop     20,000   2,000       234,000       $0.20
    lib      20,000   2,000       234,000      $0.17*
    ─────────────────────────────────────────────────
    Total    40,000   4,000       468,000      $0.37*

    Cost is an API-price equivalent (price list of
    2026-01-01), not a bill.
    * No price for acme-coder: 1 response, 117,000
    tokens are in no cost.
    Left out for want of room: cache create, cache
    read, sessions, models.
    ");
    insta::assert_snapshot!(table("", &["blocks", "--until", "20260203"]), @r"
    Usage by five-hour block, UTC

    Block Start       Duration      Models      Tokens  % of Largest  Cost (USD)
    ────────────────────────────────────────────────────────────────────────────
    2026-02-03 10:00  0m            opus-4-6   117,000         100.0       $0.17
    2026-02-03 15:00  8h 30m pause                   -             -           -
    2026-02-03 23:00  30m           haiku-4-5  117,000         100.0       $0.03
    ────────────────────────────────────────────────────────────────────────────
    Total                                      234,000                     $0.20

    Cost is an API-price equivalent (price list of 2026-01-01), not a bill.
    ");
    insta::assert_snapshot!(table("40", &["tool"]), @r"
    Tool calls by tool, UTC

    Tool   Calls  Failed  Failed %  Rejected
    ────────────────────────────────────────
    Edit       1       0       0.0         0
    ────────────────────────────────────────
    Total      1       0       0.0         0

    Left out for want of room: no result,
    p50 s, p95 s, avg s, category.
    ");
    insta::assert_snapshot!(table("", &["daily", "--until", "20260101"]), @"Nothing in this period: widen --since and --until.");
    for nonsense in ["0", "-1", "wide"] {
        assert_eq!(table(nonsense, &["daily"]), table("", &["daily"]), "{nonsense}");
    }
    insta::assert_snapshot!(table("20", &["daily", "--until", "20260203"]), @r"
    Usage by day, UTC

    Date         Cost
                (USD)
    ────────────────────
    2026-02-03  $0.20
    ────────────────────
    Total       $0.20

    Cost is an API-price
    equivalent (price
    list of 2026-01-01),
    not a bill.
    Left out for want of
    room: cache create,
    cache read, models,
    input, output, total
    tokens.
    ");
    for columns in [20, 40, 60, 80, 100] {
        for kind in [
            "daily", "weekly", "monthly", "session", "project", "model", "tool", "blocks",
        ] {
            for line in table(&columns.to_string(), &[kind]).lines() {
                assert!(line.chars().count() <= columns, "{kind} in {columns}: {line:?}");
            }
        }
    }
}
