//! Days as people may write them.

use jiff::civil::Date;

/// The day that `text` is in exactly this format, such as `%Y-%m-%d`; parsers forgive more than that.
pub(crate) fn day(text: &str, format: &str) -> Option<Date> {
    let day = Date::strptime(format, text).ok()?;
    (day.strftime(format).to_string() == text).then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_in_one_way() {
        let check = |text, format, expected: Option<&str>| {
            let day = day(text, format).map(|day| day.to_string());
            assert_eq!(day.as_deref(), expected, "{text}");
        };
        check("2026-02-03", "%Y-%m-%d", Some("2026-02-03"));
        check("20260203", "%Y%m%d", Some("2026-02-03"));
        check("9999-12-31", "%Y-%m-%d", Some("9999-12-31"));
        for text in [
            "",
            " 2026-02-03",
            "2026-02-03 ",
            "2026-2-3",
            "2026-02-30",
            "+2026-02-03",
            "02026-02-03",
            "2026-02-03T10:00",
            "2026-W06-2",
        ] {
            check(text, "%Y-%m-%d", None);
        }
        check("2026023", "%Y%m%d", None);
    }
}
