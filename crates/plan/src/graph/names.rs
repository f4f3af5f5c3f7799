//! Names and ids of generic tests, letter for letter those of dbt.

use indexmap::IndexMap;
use md5::{Digest, Md5};
use serde_json::Value as Json;

/// Longest name dbt uses for files and aliases.
const MAX_NAME: usize = 64;

/// Hex digits of the hash in a test's id.
const HASH_LENGTH: usize = 10;

pub(crate) fn md5_hex(text: &str) -> String {
    Md5::digest(text.as_bytes())
        .iter()
        .fold(String::with_capacity(32), |mut hex, byte| {
            use std::fmt::Write;
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// The short name (files, alias) and the full name (id).
pub(crate) fn test_names(
    test_type: &str,
    target: &str,
    arguments: &IndexMap<String, Json>,
) -> (String, String) {
    let mut sorted: Vec<_> = arguments.iter().filter(|(name, _)| *name != "model").collect();
    sorted.sort_by_key(|(name, _)| *name);
    let mut parts = Vec::new();
    for (_, value) in sorted {
        match value {
            Json::Object(map) => parts.extend(map.values().map(python_str)),
            Json::Array(items) => parts.extend(items.iter().map(python_str)),
            one => parts.push(python_str(one)),
        }
    }
    let parts: Vec<String> = parts.iter().map(|part| clean(part)).collect();
    let identifier = format!("{test_type}_{target}");
    let full = format!("{identifier}_{}", parts.join("__"));
    let short = if full.chars().count() >= MAX_NAME {
        let start: String = identifier.chars().take(30).collect();
        format!("{start}_{}", md5_hex(&full))
    } else {
        full.clone()
    };
    (short, full)
}

/// Runs of anything but ASCII letters, digits and `_` become one `_`.
fn clean(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    let mut replaced = false;
    for c in part.chars() {
        let keep = c.is_ascii_alphanumeric() || c == '_';
        if keep {
            out.push(c);
        } else if !replaced {
            out.push('_');
        }
        replaced = !keep;
    }
    out
}

/// The hash that ends a test's id: of its name and Python's `repr` of what it tests.
pub(crate) fn test_hash(
    name: &str,
    test: &str,
    namespace: Option<&str>,
    arguments: &IndexMap<String, Json>,
) -> String {
    let kwargs = Json::Object(
        arguments
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    );
    let metadata = Json::Object(
        [
            ("kwargs", kwargs),
            ("name", test.into()),
            ("namespace", namespace.map_or(Json::Null, Json::from)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into_iter()
        .collect(),
    );
    let hash = md5_hex(&format!("{name}{}", hashable_repr(&metadata)));
    hash[hash.len() - HASH_LENGTH..].to_owned()
}

/// `repr` of the value with its keys sorted and every leaf turned to text.
fn hashable_repr(value: &Json) -> String {
    match value {
        Json::Object(map) => {
            let mut sorted: Vec<_> = map.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            let items: Vec<String> = sorted
                .into_iter()
                .map(|(key, value)| format!("{}: {}", python_repr(key), hashable_repr(value)))
                .collect();
            format!("{{{}}}", items.join(", "))
        }
        Json::Array(items) => format!(
            "[{}]",
            items.iter().map(hashable_repr).collect::<Vec<_>>().join(", ")
        ),
        leaf => python_repr(&python_str(leaf)),
    }
}

/// Python's `str(value)`.
pub(crate) fn python_str(value: &Json) -> String {
    match value {
        Json::Null => "None".to_owned(),
        Json::Bool(true) => "True".to_owned(),
        Json::Bool(false) => "False".to_owned(),
        Json::String(text) => text.clone(),
        Json::Number(number) => number.to_string(),
        Json::Array(items) => format!(
            "[{}]",
            items.iter().map(python_value_repr).collect::<Vec<_>>().join(", ")
        ),
        Json::Object(map) => {
            let items: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{}: {}", python_repr(key), python_value_repr(value)))
                .collect();
            format!("{{{}}}", items.join(", "))
        }
    }
}

fn python_value_repr(value: &Json) -> String {
    match value {
        Json::String(text) => python_repr(text),
        other => python_str(other),
    }
}

/// Python's `repr` of a text.
fn python_repr(text: &str) -> String {
    use std::fmt::Write;
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(pairs: &[(&str, Json)]) -> IndexMap<String, Json> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    }

    #[test]
    fn ids_are_those_of_dbt() {
        let args = arguments(&[
            ("column_name", "order_id".into()),
            ("model", "{{ get_where_subquery(ref('fct_orders')) }}".into()),
        ]);
        let (_, full) = test_names("unique", "fct_orders", &args);
        assert_eq!(full, "unique_fct_orders_order_id");
        assert_eq!(test_hash(&full, "unique", None, &args), "523ddb6ce5");
    }

    #[test]
    fn long_names_are_cut_and_hashed() {
        let values = Json::from(vec![
            "placed",
            "shipped",
            "completed",
            "return_pending",
            "returned",
        ]);
        let args = arguments(&[("values", values), ("column_name", "status".into())]);
        let (short, full) = test_names("accepted_values", "orders", &args);
        assert_eq!(
            full,
            "accepted_values_orders_status__placed__shipped__completed__return_pending__returned"
        );
        assert_eq!(short.len(), "accepted_values_orders".len() + 1 + 32);
    }
}
