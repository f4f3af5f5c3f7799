//! Where a statement ends: as much of SQL's lexis as it takes to tell a semicolon from one in a text or a comment.

use crate::error::{Error, ErrorKind, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// Space or a comment.
    Blank,
    Semicolon,
    /// A word, a quoted text or any other character.
    Other,
}

/// The only statement of `sql`, without the semicolon behind it.
///
/// # Errors
/// `Query` when there is none, or more than one: DuckDB would run them all and give the rows of the last.
pub(crate) fn only_statement(sql: &str) -> Result<&str> {
    let mut statement: Option<&str> = None;
    let mut start = None;
    for (piece, range) in pieces(sql) {
        match (piece, start) {
            (Piece::Other, None) if statement.is_some() => {
                return Err(Error::new(
                    ErrorKind::Query,
                    "the query is more than one statement: give them one at a time",
                ));
            }
            (Piece::Other, None) => start = Some(range.start),
            (Piece::Semicolon, Some(began)) => {
                statement = Some(&sql[began..range.start]);
                start = None;
            }
            _ => {}
        }
    }
    start
        .map(|began| &sql[began..])
        .or(statement)
        .ok_or_else(|| Error::new(ErrorKind::Query, "the query is empty: give a SELECT statement"))
}

fn pieces(sql: &str) -> impl Iterator<Item = (Piece, std::ops::Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let first = sql[at..].chars().next()?;
        let (piece, length) = next_piece(&sql[at..], first);
        at += length;
        Some((piece, at - length..at))
    })
}

fn next_piece(text: &str, first: char) -> (Piece, usize) {
    match first {
        ';' => (Piece::Semicolon, 1),
        '\'' | '"' => (Piece::Other, quoted(text, first)),
        '$' => (Piece::Other, dollar_quoted(text).unwrap_or(1)),
        '-' if text.starts_with("--") => (Piece::Blank, text.find('\n').unwrap_or(text.len())),
        '/' if text.starts_with("/*") => (Piece::Blank, comment(text)),
        _ if first.is_whitespace() => (Piece::Blank, first.len_utf8()),
        _ if is_word(first) => (Piece::Other, word(text)),
        _ => (Piece::Other, first.len_utf8()),
    }
}

/// A doubled quote inside ends one text and begins the next, which comes to the same.
fn quoted(text: &str, quote: char) -> usize {
    text[1..].find(quote).map_or(text.len(), |end| end + 2)
}

/// `$$…$$` or `$tag$…$tag$`; none for a parameter like `$1`.
fn dollar_quoted(text: &str) -> Option<usize> {
    let tag_end = text[1..].find(|c: char| !is_word(c) || c == '$')? + 2;
    let tag = text
        .get(..tag_end)
        .filter(|tag| tag.ends_with('$') && !tag[1..].starts_with(|c: char| c.is_ascii_digit()))?;
    let end = text[tag_end..].find(tag);
    Some(end.map_or(text.len(), |end| tag_end + end + tag.len()))
}

/// Comments nest.
fn comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// A word, with the text behind it where the word is the `e` before one with backslashes.
fn word(text: &str) -> usize {
    let end = text.find(|c: char| !is_word(c)).unwrap_or(text.len());
    if end == 1 && text[..1].eq_ignore_ascii_case("e") && text[1..].starts_with('\'') {
        return 1 + escaped(&text[1..]);
    }
    end
}

fn escaped(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => drop(characters.next()),
            '\'' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

#[cfg(test)]
mod tests {
    use super::only_statement;

    fn check(sql: &str, expected: Result<&str, &str>) {
        let found = only_statement(sql).map_err(|error| error.to_string());
        match expected {
            Ok(statement) => assert_eq!(found.as_deref(), Ok(statement), "{sql}"),
            Err(says) => assert!(
                found.as_ref().is_err_and(|error| error.contains(says)),
                "{sql}: {found:?}"
            ),
        }
    }

    #[test]
    fn a_semicolon_ends_a_statement_only_where_it_stands_alone() {
        for sql in [
            "select 1",
            "select ';'",
            "select 'it''s; fine'",
            r"select e'\'; fine'",
            r"select E'\\', 1",
            r#"select 1 as "a;b""#,
            "select $$ ; $$, $tag$ ; $$ ; $tag$",
            "select a$b, $1",
            "select 1 -- one; not two\n + 1",
            "select /* one; /* two; */ three; */ 1",
            "select 'ä;' || ünnamed",
            "select 'never ends; so DuckDB must say",
            "select /* never ends; either",
        ] {
            check(sql, Ok(sql));
        }
        check(" ; select 1 ; -- done\n ; /* really */", Ok("select 1 "));
    }

    #[test]
    fn none_and_several_are_refused() {
        for sql in ["", " ;\n; ", "-- select 1", "/* ; */"] {
            check(sql, Err("is empty"));
        }
        for sql in [
            "select 1; select 2",
            "commit; drop table t",
            r"select '\'; select 2",
            "select $$;$$; select 2",
            "select 1 /* ; */; (select 2)",
        ] {
            check(sql, Err("more than one statement"));
        }
    }
}
