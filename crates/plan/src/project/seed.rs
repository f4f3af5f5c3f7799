//! Seeds: CSV text to typed columns, by the rules dbt (through agate) uses.

use indexmap::IndexMap;

use crate::error::{Error, ErrorKind, Place, Result};

/// A seed's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeedData {
    /// Name and SQL type.
    pub(crate) columns: Vec<(String, String)>,
    /// Cells as text; an empty cell is NULL.
    pub(crate) rows: Vec<Vec<Option<String>>>,
}

/// Types from narrow to wide; a column gets the first that all its cells fit.
#[derive(Clone, Copy)]
enum CellType {
    Integer,
    Bigint,
    Float,
    Date,
    Timestamp,
    Boolean,
}

const NARROW_TO_WIDE: [CellType; 6] = [
    CellType::Integer,
    CellType::Bigint,
    CellType::Float,
    CellType::Date,
    CellType::Timestamp,
    CellType::Boolean,
];

pub(crate) fn parse(
    file: &str,
    text: &str,
    delimiter: u8,
    column_types: &IndexMap<String, String>,
) -> Result<SeedData> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .from_reader(text.as_bytes());
    let headers = reader.headers().map_err(|error| broken(file, &error))?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| broken(file, &error))?;
        rows.push(
            record
                .iter()
                .map(|cell| (!cell.is_empty()).then(|| cell.to_owned()))
                .collect::<Vec<_>>(),
        );
    }
    for name in column_types.keys() {
        if !headers.iter().any(|header| header == name) {
            let message = format!("`column_types` names column `{name}`, which the seed does not have");
            return Err(Error::at(ErrorKind::Seed, &Place::new(file, 1), message));
        }
    }
    let columns = headers.iter().enumerate().map(|(at, name)| {
        let sql_type = match column_types.get(name) {
            Some(given) => given.clone(),
            None => infer(&rows.iter().filter_map(|row| row.get(at)?.as_deref())).to_owned(),
        };
        (name.to_owned(), sql_type)
    });
    Ok(SeedData {
        columns: columns.collect(),
        rows,
    })
}

fn broken(file: &str, error: &csv::Error) -> Error {
    let line = error
        .position()
        .map_or(0, |position| usize::try_from(position.line()).unwrap_or(0));
    let message = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("this row has {len} cells where the header has {expected_len}"),
        _ => format!("not valid CSV: {error}"),
    };
    Error::at(ErrorKind::Seed, &Place::new(file, line), message)
}

fn infer<'a>(cells: &(impl Iterator<Item = &'a str> + Clone)) -> &'static str {
    // Without any value agate says integer too, since an empty cell fits the first type it tries.
    for cell_type in NARROW_TO_WIDE {
        if cells
            .clone()
            .filter(|cell| !cell.eq_ignore_ascii_case("null"))
            .all(|cell| fits(cell_type, cell.trim()))
        {
            return match cell_type {
                CellType::Integer => "integer",
                CellType::Bigint => "bigint",
                CellType::Float => "float8",
                CellType::Date => "date",
                CellType::Timestamp => "timestamp",
                CellType::Boolean => "boolean",
            };
        }
    }
    "text"
}

fn fits(cell_type: CellType, cell: &str) -> bool {
    // agate takes 19.0 for a number without decimals, so for an integer.
    let whole = cell.split_once('.').map_or(cell, |(whole, decimals)| {
        if decimals.trim_end_matches('0').is_empty() {
            whole
        } else {
            cell
        }
    });
    match cell_type {
        CellType::Integer => whole.parse::<i32>().is_ok(),
        CellType::Bigint => whole.parse::<i64>().is_ok(),
        CellType::Float => {
            cell.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) && cell.parse::<f64>().is_ok()
        }
        CellType::Date => is_date(cell),
        CellType::Timestamp => cell.get(..10).is_some_and(is_date) && cell.get(10..).is_some_and(is_time),
        CellType::Boolean => cell.eq_ignore_ascii_case("true") || cell.eq_ignore_ascii_case("false"),
    }
}

fn is_date(cell: &str) -> bool {
    let bytes = cell.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| {
            if at == 4 || at == 7 {
                *byte == b'-'
            } else {
                byte.is_ascii_digit()
            }
        })
}

/// ` 12:30:00` or `T12:30:00[.…][zone]`.
fn is_time(rest: &str) -> bool {
    let Some(rest) = rest.strip_prefix([' ', 'T']) else {
        return false;
    };
    let clock = rest.get(..8).is_some_and(|clock| {
        clock.bytes().enumerate().all(|(at, byte)| {
            if at == 2 || at == 5 {
                byte == b':'
            } else {
                byte.is_ascii_digit()
            }
        })
    });
    clock
        && rest[8..]
            .chars()
            .all(|c| c.is_ascii_digit() || ".:+-Z".contains(c))
}
