//! A user's own prices: a CSV that takes the place of the seed `model_prices_override`.

use std::path::Path;

use anyhow::{Context as _, bail};

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
    for row in reader.records() {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line);
        for (column, cell) in columns.iter().zip(&row) {
            if let Some(wish) = fault(column, cell) {
                bail!("line {line}: {column} is `{cell}`, but must be {wish}");
            }
        }
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
    if TEXTS.contains(&column) {
        return (column == "model_pattern" && cell.trim().is_empty()).then_some("a model's name");
    }
    if cell.is_empty() {
        return None;
    }
    if DATES.contains(&column) {
        return cell
            .parse::<jiff::civil::Date>()
            .is_err()
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

    const SEED: &str = "model_pattern,valid_from,input_usd,long_context_tokens,source\n";

    fn said(text: &str) -> String {
        check(text, SEED).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn a_wrong_price_list_is_told_in_one_sentence() {
        let list = |row: &str| format!("{SEED}{row}\n");
        assert_eq!(said(&list("glm-4.6,2026-01-01,0.6,,")), "fine");
        assert_eq!(
            said("source,input_usd,valid_from,model_pattern,long_context_tokens\n"),
            "fine"
        );
        assert_eq!(
            said("model,input_usd,valid_from,long_context_tokens,source\n"),
            "its columns are not those of a price list (missing: model_pattern; unknown: model); the first line must be model_pattern,valid_from,input_usd,long_context_tokens,source"
        );
        for (row, sentence) in [
            (
                "x,soon,1,,",
                "line 2: valid_from is `soon`, but must be a day like 2026-01-31",
            ),
            (
                "x,,$3,,",
                "line 2: input_usd is `$3`, but must be a price in USD from 0 to 100,000, without sign or unit",
            ),
            (
                "x,,3,200k,",
                "line 2: long_context_tokens is `200k`, but must be a number of tokens",
            ),
            (",,3,,", "line 2: model_pattern is ``, but must be a model's name"),
        ] {
            assert_eq!(said(&list(row)), sentence);
        }
    }
}
