//! What a text of SQL would do: as much of its lexis as it takes to tell statements apart and their kinds.

use crate::error::{Error, ErrorKind, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// Space or a comment.
    Blank,
    Semicolon,
    /// A word, a quoted text or any other character.
    Other,
}

/// First words of the statements that only read. What a file may be written by (COPY, EXPORT, a CALL) is not among them:
/// DuckDB lets it reach the warehouse's own file.
const READING: &[&str] = &[
    "desc",
    "describe",
    "from",
    "pivot",
    "pivot_longer",
    "pivot_wider",
    "select",
    "show",
    "summarize",
    "table",
    "unpivot",
    "values",
    "with",
];

/// Functions that change the program's state, or run a statement that stands in a text.
const NOT_IN_QUERIES: &[&str] = &[
    "enable_logging",
    "enable_profiling",
    "json_execute_serialized_sql",
    "query",
];

/// First words of the statements that would end the build's transaction or go past it.
const NOT_IN_BUILDS: &[&str] = &[
    "abort",
    "attach",
    "begin",
    "checkpoint",
    "commit",
    "copy",
    "detach",
    "end",
    "export",
    "import",
    "rollback",
    "start",
    "use",
];

/// The only statement of `sql`, which must be one that reads.
///
/// # Errors
/// `Query` when there is none, more than one (DuckDB would run them all and give the rows of the last), or one of another
/// kind.
pub(crate) fn only_query(sql: &str) -> Result<&str> {
    let refused = |message: String| Err(Error::new(ErrorKind::Query, message));
    let statements = statements(sql);
    let [statement] = statements[..] else {
        return refused(if statements.is_empty() {
            "the query is empty: give a SELECT statement".to_owned()
        } else {
            "the query is more than one statement: give them one at a time".to_owned()
        });
    };
    let first = first_word(statement);
    if !READING.contains(&first.as_str()) {
        return refused(format!(
            "`{first}` begins no query: only what reads the tables is answered, such as SELECT, FROM, DESCRIBE, SHOW, SUMMARIZE, PIVOT or EXPLAIN"
        ));
    }
    if let Some(function) = called(statement, NOT_IN_QUERIES) {
        return refused(format!(
            "the function {function} is not for queries: leave it out"
        ));
    }
    Ok(statement)
}

/// Checks that a hook leaves the transaction alone in which the whole build is done.
///
/// # Errors
/// `Model` naming the statement that does not.
pub(crate) fn check_hook(sql: &str) -> Result<()> {
    for statement in statements(sql) {
        let first = first_word(statement);
        if NOT_IN_BUILDS.contains(&first.as_str()) {
            return Err(Error::new(
                ErrorKind::Model,
                format!(
                    "its hook says `{first}`, but a build is one transaction from its start to its end: take that out"
                ),
            ));
        }
    }
    Ok(())
}

/// The statements of `sql`, without the semicolons.
fn statements(sql: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut start = None;
    for (piece, range) in pieces(sql) {
        match (piece, start) {
            (Piece::Other, None) => start = Some(range.start),
            (Piece::Semicolon, Some(began)) => {
                statements.push(&sql[began..range.start]);
                start = None;
            }
            _ => {}
        }
    }
    statements.extend(start.map(|began| &sql[began..]));
    statements
}

/// What decides of which kind a statement is, in small letters; for an EXPLAIN the first word of what is explained.
fn first_word(statement: &str) -> String {
    let mut tokens = tokens(statement).skip_while(|token| token == "(");
    let mut first = tokens.next().unwrap_or_default();
    if first != "explain" {
        return first;
    }
    // EXPLAIN [ANALYZE] [(FORMAT name)] statement.
    loop {
        first = tokens.next().unwrap_or_default();
        match first.as_str() {
            "analyze" | "(" | ")" => {}
            "format" => drop(tokens.next()),
            _ => return first,
        }
    }
}

/// The first of `functions` that the statement calls.
fn called(statement: &str, functions: &'static [&'static str]) -> Option<&'static str> {
    let mut tokens = tokens(statement).peekable();
    while let Some(token) = tokens.next() {
        let name = token.trim_matches('"');
        let is_call = tokens.peek().is_some_and(|next| next == "(");
        if let Some(function) = functions.iter().find(|function| is_call && **function == name) {
            return Some(function);
        }
    }
    None
}

/// Words, quoted texts and other characters, in small letters.
fn tokens(sql: &str) -> impl Iterator<Item = String> {
    pieces(sql)
        .filter(|(piece, _)| *piece == Piece::Other)
        .map(|(_, range)| sql[range].to_ascii_lowercase())
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
    use super::{check_hook, only_query};

    fn check(sql: &str, expected: Result<&str, &str>) {
        let found = only_query(sql).map_err(|error| error.to_string());
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

    #[test]
    fn only_what_reads_is_a_query() {
        for sql in [
            "FROM t",
            "((select 1))",
            "with a as (select 1) select * from a",
            "explain select 1",
            "EXPLAIN ANALYZE (select 1)",
            "explain (format json) values (1)",
            "/* copy */ table t",
            "select 'copy', enable_logging, \"query\" from t",
        ] {
            check(sql, Ok(sql.trim_start_matches("/* copy */ ")));
        }
        for sql in [
            "copy t to 'file'",
            "COPY (select 1) to 'file'",
            "explain analyze copy t to 'file'",
            "explain (format json) copy t to 'file'",
            "explain explain select 1",
            "explain",
            "call enable_logging()",
            "pragma database_list",
            "-- select\nset threads = 1",
            "commit",
            "selekt 1",
            "'select'",
        ] {
            check(sql, Err("begins no query"));
        }
        for sql in [
            "select * from enable_logging (storage = 'file')",
            "from system.main.\"Enable_Logging\"()",
            "select * from query('select 1')",
        ] {
            check(sql, Err("is not for queries"));
        }
    }

    #[test]
    fn hooks_leave_the_transaction_alone() {
        assert!(check_hook("create index i on t (a); analyze t; select 'commit;'").is_ok());
        for sql in [
            "commit",
            "analyze t; ROLLBACK",
            "/* x */ begin",
            "copy t to 'file'",
            "use other",
        ] {
            assert!(check_hook(sql).is_err(), "{sql}");
        }
    }
}
