//! A record's time, as microseconds since 1970 UTC.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// 0001-01-01 and 9999-12-31: what lies outside, some reader of the lake refuses (Python's dates among them).
const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// Whether every reader of the lake takes this instant, in microseconds.
pub(crate) fn is_readable(micros: i64) -> bool {
    RANGE.contains(&micros)
}

/// Reads ISO 8601; without an offset it is taken as UTC.
pub(crate) fn from_text(text: &str) -> Option<i64> {
    let micros = from_compact(text.as_bytes()).or_else(|| from_iso(text))?;
    RANGE.contains(&micros).then_some(micros)
}

/// Reads milliseconds since 1970, as JavaScript's `Date.now()` gives them.
pub(crate) fn from_millis(number: &str) -> Option<i64> {
    if let Ok(millis) = number.parse::<i64>() {
        return millis.checked_mul(1000).filter(|micros| RANGE.contains(micros));
    }
    let micros = number.parse::<f64>().ok()? * 1000.0;
    // Both ends are exact in a double, so the cast below cannot leave an i64.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "bounded by RANGE"
    )]
    let micros = (*RANGE.start() as f64..=*RANGE.end() as f64)
        .contains(&micros)
        .then_some(micros as i64);
    micros.filter(|micros| RANGE.contains(micros))
}

/// Reads a BSON date in extended JSON: `{"$date":"…"}`, or `{"$date":{"$numberLong":"…"}}` outside of 1970 to 9999.
pub(crate) fn from_date(json: &str) -> Option<i64> {
    let date = json.strip_prefix("{\"$date\":")?.strip_suffix('}')?;
    match date.strip_prefix("{\"$numberLong\":\"") {
        Some(millis) => from_millis(millis.strip_suffix("\"}")?),
        None => from_text(date.strip_prefix('"')?.strip_suffix('"')?),
    }
}

fn from_iso(text: &str) -> Option<i64> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant.as_microsecond());
    }
    let local: DateTime = text.parse().ok()?;
    Some(TimeZone::UTC.to_timestamp(local).ok()?.as_microsecond())
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`, the only form Claude Code writes, without a general parser's cost.
fn from_compact(text: &[u8]) -> Option<i64> {
    let marks = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (23, b'Z'),
    ];
    if text.len() != 24 || marks.iter().any(|&(at, mark)| text[at] != mark) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0_i64, |sum, byte| {
            byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds * 1000 + number(20, 23)?) * 1000)
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts in years that begin in March, so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 719_469
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let expected = expected.map(|text| text.parse::<Timestamp>().unwrap().as_microsecond());
        assert_eq!(from_text(text), expected, "{text}");
    }

    #[test]
    fn reads_what_iso_allows() {
        check("2026-01-15T09:30:00.120Z", Some("2026-01-15T09:30:00.120Z"));
        check("2024-02-29T23:59:59.999Z", Some("2024-02-29T23:59:59.999Z"));
        check(
            "2026-01-15T09:30:00.123456789+02:00",
            Some("2026-01-15T07:30:00.123456Z"),
        );
        check("2026-01-15 09:30:00", Some("2026-01-15T09:30:00Z"));
        check("2026-01-15", Some("2026-01-15T00:00:00Z"));
        for text in [
            "",
            "yesterday",
            "2026-02-30T00:00:00.000Z",
            "2026-13-01T00:00:00.000Z",
            "-009999-01-01T00:00Z",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn reads_milliseconds() {
        for (number, micros) in [
            ("1768469400120", Some(1_768_469_400_120_000)),
            ("1768469400120.5", Some(1_768_469_400_120_500)),
            ("-1", Some(-1000)),
            ("9223372036854775807", None),
            ("1e400", None),
            ("-1e30", None),
        ] {
            assert_eq!(from_millis(number), micros, "{number}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_agrees_with_the_long_one(millis in -62_135_596_800_000_i64..=253_402_300_799_999) {
            let text = format!("{:.3}", Timestamp::from_millisecond(millis).unwrap());
            prop_assert_eq!(from_compact(text.as_bytes()), Some(millis * 1000), "{}", text);
        }
    }
}
