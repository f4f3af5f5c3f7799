//! A user's own prices: a CSV that takes the place of the seed `model_prices_override`.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use csv::StringRecord;

use crate::days;

/// Columns that are no numbers; in all others an empty cell is a price that is not known.
const TEXTS: &[&str] = &["model_pattern", "source"];
const DATES: &[&str] = &["valid_from", "valid_to", "checked_on"];

/// The text of the file, if it can be the seed: it has the columns of `seed`, in any order.
pub(crate) fn read(path: &Path, seed: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the prices in {}", path.display()))?;
    check(&text, seed).with_context(|| format!("the prices in {} cannot be used", path.display()))?;
    Ok(text)
}

fn check(text: &str, seed: &str) -> anyhow::Result<()> {
    let wanted = seed.lines().next().unwrap_or_default();
    let mut reader = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let columns = reader.headers().context("not valid CSV")?.clone();
    let missing = lacking(wanted.split(','), |name| {
        columns.iter().any(|column| column == name)
    });
    let unknown = lacking(columns.iter(), |name| {
        wanted.split(',').any(|column| column == name)
    });
    if !missing.is_empty() || !unknown.is_empty() || columns.len() != wanted.split(',').count() {
        let fault = [("missing", missing), ("unknown", unknown)]
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {names}"))
            .collect::<Vec<_>>();
        let fault = if fault.is_empty() {
            "one is named twice".to_owned()
        } else {
            fault.join("; ")
        };
        bail!("its columns are not those of a price list ({fault}); the first line must be {wanted}");
    }
    let mut begun = HashMap::new();
    for row in reader.records() {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line);
        for (column, cell) in columns.iter().zip(&row) {
            if let Some(wish) = fault(column, cell) {
                bail!("line {line}: {column} is `{cell}`, but must be {wish}");
            }
        }
        check_period(&columns, &row, line, &mut begun)?;
    }
    Ok(())
}

/// A period ends after it begins, and no two of a pattern begin on one day. `begun` has the lines of those before.
fn check_period(
    columns: &StringRecord,
    row: &StringRecord,
    line: u64,
    begun: &mut HashMap<(String, String), u64>,
) -> anyhow::Result<()> {
    let cell = |name| {
        let column = columns.iter().position(|column| column == name);
        column.and_then(|column| row.get(column)).unwrap_or_default()
    };
    let (pattern, from, to) = (cell("model_pattern"), cell("valid_from"), cell("valid_to"));
    // Days of one form are in the order of their texts; patterns fit whatever their case.
    if !to.is_empty() && to <= from {
        bail!(
            "line {line}: valid_to is `{to}`, but must be later than valid_from, which is `{from}`: it is the first day without the price"
        );
    }
    if let Some(other) = begun.insert((pattern.to_lowercase(), from.to_owned()), line) {
        bail!("line {line}: `{pattern}` has a price with this valid_from in line {other} already");
    }
    Ok(())
}

fn lacking<'a>(names: impl Iterator<Item = &'a str>, is_there: impl Fn(&str) -> bool) -> String {
    names
        .filter(|name| !is_there(name))
        .collect::<Vec<_>>()
        .join(", ")
}

/// What a cell must be and is not.
fn fault(column: &str, cell: &str) -> Option<&'static str> {
    if cell.trim() != cell {
        return Some("without blanks around it");
    }
    if TEXTS.contains(&column) {
        return (column == "model_pattern" && cell.is_empty()).then_some("a model's name");
    }
    if cell.is_empty() {
        return None;
    }
    if DATES.contains(&column) {
        return days::day(cell, "%Y-%m-%d")
            .is_none()
            .then_some("a day like 2026-01-31");
    }
    if column == "long_context_tokens" {
        return cell.parse::<u32>().is_err().then_some("a number of tokens");
    }
    let digits = cell.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let in_range = cell.parse::<f64>().is_ok_and(|price| (0.0..1e5).contains(&price));
    (!digits || !in_range).then_some("a price in USD from 0 to 100,000, without sign or unit")
}

#[cfg(test)]
mod tests {
    use super::check;

    const SEED: &str = "model_pattern,valid_from,valid_to,input_usd,long_context_tokens,source\n";

    fn said(text: &str) -> String {
        check(text, SEED).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn a_wrong_price_list_is_told_in_one_sentence() {
        let list = |row: &str| format!("{SEED}{row}\n");
        assert_eq!(said(&list("glm-4.6,2026-01-01,,0.6,,")), "fine");
        // One period begins where another ends.
        assert_eq!(
            said(&list(
                "glm-4.6,,2026-01-01,0.6,,\nglm-4.6,2026-01-01,2026-01-02,0.5,,\nglm-4.6,2026-01-02,,0.4,,"
            )),
            "fine"
        );
        assert_eq!(
            said("source,input_usd,valid_to,valid_from,model_pattern,long_context_tokens\n"),
            "fine"
        );
        assert_eq!(
            said("model,input_usd,valid_from,valid_to,long_context_tokens,source\n"),
            "its columns are not those of a price list (missing: model_pattern; unknown: model); the first line must be model_pattern,valid_from,valid_to,input_usd,long_context_tokens,source"
        );
        for (row, sentence) in [
            (
                "x,soon,,1,,",
                "line 2: valid_from is `soon`, but must be a day like 2026-01-31",
            ),
            (
                "x,,,$3,,",
                "line 2: input_usd is `$3`, but must be a price in USD from 0 to 100,000, without sign or unit",
            ),
            (
                "x,,,3,200k,",
                "line 2: long_context_tokens is `200k`, but must be a number of tokens",
            ),
            (
                ",,,3,,",
                "line 2: model_pattern is ``, but must be a model's name",
            ),
            (
                "x,20260131,,3,,",
                "line 2: valid_from is `20260131`, but must be a day like 2026-01-31",
            ),
            (
                "x,,2026-01-31T10:00,3,,",
                "line 2: valid_to is `2026-01-31T10:00`, but must be a day like 2026-01-31",
            ),
            (
                "x,, ,3,,",
                "line 2: valid_to is ` `, but must be without blanks around it",
            ),
            (
                " x,,,3,,",
                "line 2: model_pattern is ` x`, but must be without blanks around it",
            ),
            (
                "x,2026-01-31,2026-01-31,3,,",
                "line 2: valid_to is `2026-01-31`, but must be later than valid_from, which is `2026-01-31`: it is the first day without the price",
            ),
            (
                "x,2026-02-01,2026-01-31,3,,",
                "line 2: valid_to is `2026-01-31`, but must be later than valid_from, which is `2026-02-01`: it is the first day without the price",
            ),
            (
                "x,,2026-01-01,3,,\ny,,,3,,\nX,,,4,,",
                "line 4: `X` has a price with this valid_from in line 2 already",
            ),
        ] {
            assert_eq!(said(&list(row)), sentence);
        }
    }
}
