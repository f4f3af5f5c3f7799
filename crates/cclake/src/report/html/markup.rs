//! Text that users wrote, made harmless; figures and days made short.

use jiff::civil::Date;

use crate::summary::count;

/// Text for an element or a quoted attribute. Control characters, which can hide or reorder text, become visible.
pub(super) fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' | '\t' => html.push(' '),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => html.push('\u{fffd}'),
            c if c.is_control() => html.push('\u{fffd}'),
            c => html.push(c),
        }
    }
    html
}

/// `399.4M`; what is below ten thousand, in full.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
pub(super) fn compact(number: u64) -> String {
    const UNITS: [(f64, &str); 3] = [(1e9, "B"), (1e6, "M"), (1e3, "k")];
    if number < 10_000 {
        return count(number);
    }
    let number = number as f64;
    // What rounds to a thousand of one unit is one of the next.
    let (size, unit) = UNITS
        .into_iter()
        .find(|(size, _)| number >= size * 0.999_95)
        .unwrap_or((1.0, ""));
    format!("{:.1}{unit}", number / size)
}

/// `3 Feb`, or `3 Feb 2026`.
pub(super) fn day_text(day: Date, with_year: bool) -> String {
    day.strftime(if with_year { "%-d %b %Y" } else { "%-d %b" })
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out() {
        let check = |text, expected| assert_eq!(escape(text), expected);
        check("café <3", "café &lt;3");
        check(
            "</script><img src=x onerror='a()'>",
            "&lt;/script&gt;&lt;img src=x onerror=&#39;a()&#39;&gt;",
        );
        check("\" onload=\"x", "&quot; onload=&quot;x");
        check("a\nb\u{1b}[0m\u{202e}c", "a b\u{fffd}[0m\u{fffd}c");
    }

    #[test]
    fn figures_are_short() {
        let check = |number, expected: &str| assert_eq!(compact(number), expected);
        check(9_999, "9,999");
        check(10_000, "10.0k");
        check(399_367_949, "399.4M");
        check(999_999, "1.0M");
        check(1_234_567_890, "1.2B");
    }
}
