//! Instants, and when a person sits down to work.

use jiff::civil::Date;

use super::rng::Rng;

/// Milliseconds since 1970 in UTC.
pub(super) type Millis = i64;

pub(super) const SECOND: Millis = 1000;
pub(super) const HOUR: Millis = 3_600 * SECOND;
const DAY: Millis = 24 * HOUR;

/// How likely a session starts in each hour (UTC) of a working day: mornings, a lunch dip, afternoons, a late evening
/// now and then, so that some sessions run over midnight.
const WORKDAY: [(u64, Millis); 16] = [
    (2, 6),
    (8, 7),
    (22, 8),
    (34, 9),
    (36, 10),
    (24, 11),
    (14, 12),
    (30, 13),
    (38, 14),
    (36, 15),
    (28, 16),
    (16, 17),
    (6, 19),
    (9, 20),
    (8, 21),
    (5, 23),
];

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`.
pub(super) fn iso(at: Millis) -> String {
    let in_day = at.rem_euclid(DAY);
    let mut text = day(at);
    text.reserve(14);
    text.push('T');
    push_digits(&mut text, in_day / HOUR, 2);
    text.push(':');
    push_digits(&mut text, in_day / (60 * SECOND) % 60, 2);
    text.push(':');
    push_digits(&mut text, in_day / SECOND % 60, 2);
    text.push('.');
    push_digits(&mut text, in_day % SECOND, 3);
    text.push('Z');
    text
}

/// The UTC day as `YYYY-MM-DD`.
pub(super) fn day(at: Millis) -> String {
    let (year, month, day) = civil(at.div_euclid(DAY));
    let mut text = String::with_capacity(24);
    push_digits(&mut text, year, 4);
    text.push('-');
    push_digits(&mut text, month, 2);
    text.push('-');
    push_digits(&mut text, day, 2);
    text
}

/// Start times of `sessions` sessions on the `days` days that end with `until`, in order.
pub(super) fn starts(rng: &mut Rng, until: Date, days: u32, sessions: u64) -> Vec<Millis> {
    let epoch = Date::new(1970, 1, 1).unwrap_or(until);
    let last = until.duration_since(epoch).as_hours() / 24;
    let days: Vec<(u64, i64)> = (0..i64::from(days.max(1)))
        .map(|back| last - back)
        .map(|day| (if is_weekend(day) { 2 } else { rng.between(6, 14) }, day))
        .collect();
    let mut starts: Vec<Millis> = (0..sessions)
        .map(|_| {
            let day = rng.weighted(&days);
            let hour = if is_weekend(day) {
                rng.between(9, 22).cast_signed()
            } else {
                rng.weighted(&WORKDAY)
            };
            day * DAY + hour * HOUR + rng.below(HOUR.cast_unsigned()).cast_signed()
        })
        .collect();
    starts.sort_unstable();
    starts
}

/// A few minutes before the midnight after `at`.
pub(super) fn before_midnight(at: Millis) -> Millis {
    (at.div_euclid(DAY) + 1) * DAY - 400 * SECOND
}

fn is_weekend(day: i64) -> bool {
    matches!((day + 3).rem_euclid(7), 5 | 6)
}

fn push_digits(out: &mut String, value: i64, width: u32) {
    for place in (0..width).rev() {
        let digit = value / 10_i64.pow(place) % 10;
        out.push(char::from(b'0' + u8::try_from(digit).unwrap_or(0)));
    }
}

/// Year, month and day of a day number (days since 1970-01-01), after Hinnant's `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}
