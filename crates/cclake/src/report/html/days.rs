//! Spend and tokens over time: two panels of stacked bars above one axis of days.
//!
//! Places along the axis are percentages, so that bars stretch with the page while text keeps its size. Quiet stretches
//! are cut out, and marked where they were.

use std::fmt::Write as _;

use jiff::ToSpan as _;
use jiff::civil::Date;

use super::figures::{Amount, Figures, SHADES};
use super::markup::{compact, day_text, escape};
use crate::report::short_model;
use crate::report::text::dollars;

/// More days without anything than this are cut out.
const LONGEST_PAUSE: i32 = 7;
/// More bars than this are too thin to see: then a bar is a week.
const MOST_BARS: usize = 370;

/// The panels, from the top, in pixels.
const SPEND: (f64, f64) = (34.0, 150.0);
const TOKENS: (f64, f64) = (224.0, 80.0);
const HEIGHT: f64 = 328.0;

/// A place on the axis.
#[derive(Debug, PartialEq)]
enum Slot {
    Bar(Date, [Amount; SHADES + 1]),
    /// Days that were cut out.
    Pause(i32),
}

pub(super) fn section(figures: &Figures) -> String {
    let (slots, step) = match slots(&by_step(figures, 1), 1) {
        slots if slots.len() > MOST_BARS => (self::slots(&by_step(figures, 7), 7), 7),
        slots => (slots, 1),
    };
    let unit = if step == 1 { "day" } else { "week" };
    format!(
        "<section class=\"days\">\n<h2>Spend and tokens by {unit} and model</h2>\n<div class=\"with-key\">\n<div class=\"chart\">\n{}{}</div>\n{}</div>\n</section>\n",
        axis(&slots),
        plot(&slots, figures, unit),
        key(figures)
    )
}

/// What falls on each day or, with a step of 7, on each week, named by its Monday.
fn by_step(figures: &Figures, step: i8) -> Vec<(Date, [Amount; SHADES + 1])> {
    let mut sums: Vec<(Date, [Amount; SHADES + 1])> = Vec::new();
    for (day, amounts) in &figures.days {
        let back = if step == 1 {
            0
        } else {
            day.weekday().to_monday_zero_offset()
        };
        let start = day.checked_sub(i32::from(back).days()).unwrap_or(*day);
        match sums.last_mut().filter(|(last, _)| *last == start) {
            None => sums.push((start, *amounts)),
            Some((_, sum)) => {
                for (sum, amount) in sum.iter_mut().zip(amounts) {
                    sum.tokens += amount.tokens;
                    sum.cost += amount.cost;
                }
            }
        }
    }
    sums
}

fn slots(bars: &[(Date, [Amount; SHADES + 1])], step: i32) -> Vec<Slot> {
    let mut slots = Vec::new();
    let mut previous: Option<Date> = None;
    for (day, amounts) in bars {
        if let Some(previous) = previous {
            let pause = previous.until(*day).map_or(0, |span| span.get_days()) - step;
            if pause > LONGEST_PAUSE * step {
                slots.push(Slot::Pause(pause));
            } else {
                let empty =
                    (1..=pause / step).filter_map(|index| previous.checked_add((index * step).days()).ok());
                slots.extend(empty.map(|day| Slot::Bar(day, Default::default())));
            }
        }
        slots.push(Slot::Bar(*day, *amounts));
        previous = Some(*day);
    }
    slots
}

/// The largest bar of a panel, or 1 where all are empty.
fn largest(slots: &[Slot], pick: fn(&Amount) -> f64) -> f64 {
    let sums = slots.iter().map(|slot| match slot {
        Slot::Bar(_, amounts) => amounts.iter().map(pick).sum(),
        Slot::Pause(_) => 0.0,
    });
    let largest = sums.fold(0.0, f64::max);
    if largest > 0.0 { largest } else { 1.0 }
}

/// Two or three round figures up to the largest.
fn ticks(largest: f64) -> Vec<f64> {
    let power = 10_f64.powf((largest / 2.0).log10().floor());
    let step = [5.0, 2.0, 1.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| step * 2.0 <= largest);
    let step = step.unwrap_or(power);
    (1..=3_u8)
        .map(|index| f64::from(index) * step)
        .filter(|tick| *tick <= largest)
        .collect()
}

/// Calls `draw` with the height and the label of every tick of both panels.
fn tick_lines(slots: &[Slot], mut draw: impl FnMut(f64, String)) {
    let mut panel = |(top, height): (f64, f64), largest: f64, label: fn(f64) -> String| {
        for tick in ticks(largest) {
            draw(top + height - tick / largest * height, label(tick));
        }
    };
    panel(SPEND, largest(slots, |amount| amount.cost), |tick| {
        dollars(tick).replace(".00", "")
    });
    panel(TOKENS, largest(slots, |amount| amount.tokens), |tick| {
        tokens(tick).replace(".0", "")
    });
}

/// The figures beside the panels.
fn axis(slots: &[Slot]) -> String {
    let mut svg = format!("<svg class=\"axis\" width=\"44\" height=\"{HEIGHT}\" aria-hidden=\"true\">\n");
    tick_lines(slots, |y, label| {
        let _ = writeln!(
            svg,
            "<text x=\"36\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            y + 4.0
        );
    });
    svg.push_str("</svg>\n");
    svg
}

#[expect(clippy::cast_precision_loss, reason = "places on a page")]
fn plot(slots: &[Slot], figures: &Figures, unit: &str) -> String {
    let mut svg = format!(
        "<svg class=\"plot\" width=\"100%\" height=\"{HEIGHT}\" role=\"img\" aria-label=\"Spend and tokens by {unit} and model\">\n\
         <text class=\"panel\" x=\"0\" y=\"14\">Spend</text><text class=\"panel\" x=\"0\" y=\"{:.1}\">Tokens</text>\n",
        TOKENS.0 - 16.0
    );
    tick_lines(slots, |y, _| {
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
        );
    });
    for (top, height) in [SPEND, TOKENS] {
        let y = top + height;
        let _ = writeln!(
            svg,
            "<line class=\"base\" x1=\"0\" x2=\"100%\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
        );
    }
    let (most_cost, most_tokens) = (
        largest(slots, |amount| amount.cost),
        largest(slots, |amount| amount.tokens),
    );
    // A few bars alone would be as wide as the page.
    let width = 100.0 / slots.len().max(14) as f64;
    for (index, slot) in slots.iter().enumerate() {
        let x = index as f64 * width;
        match slot {
            Slot::Pause(days) => svg.push_str(&pause_mark(x + width / 2.0, *days)),
            Slot::Bar(day, amounts) => {
                let _ = writeln!(
                    svg,
                    "<g class=\"slot\"><rect class=\"hit\" x=\"{x:.3}%\" y=\"20\" width=\"{width:.3}%\" height=\"{:.0}\"/>",
                    TOKENS.0 + TOKENS.1 - 20.0
                );
                bar(
                    &mut svg,
                    (x, width),
                    SPEND,
                    &amounts.map(|amount| amount.cost / most_cost),
                );
                bar(
                    &mut svg,
                    (x, width),
                    TOKENS,
                    &amounts.map(|amount| amount.tokens / most_tokens),
                );
                let _ = writeln!(svg, "{}</g>", tip(*day, amounts, figures, unit));
            }
        }
    }
    svg.push_str(&day_labels(slots, width));
    svg.push_str("</svg>\n");
    svg
}

/// Stacked from the costliest model up.
fn bar(svg: &mut String, (x, width): (f64, f64), (top, height): (f64, f64), parts: &[f64; SHADES + 1]) {
    let gap = width * if width > 0.8 { 0.2 } else { 0.08 };
    let mut y = top + height;
    for (shade, part) in parts.iter().enumerate().filter(|(_, part)| **part > 0.0) {
        y -= part * height;
        let _ = write!(
            svg,
            "<rect class=\"m{shade}\" x=\"{:.3}%\" y=\"{y:.2}\" width=\"{:.3}%\" height=\"{:.2}\"/>",
            x + gap / 2.0,
            width - gap,
            (part * height).max(0.6),
        );
    }
}

fn pause_mark(x: f64, days: i32) -> String {
    format!(
        "<g class=\"pause\"><line x1=\"{x:.3}%\" x2=\"{x:.3}%\" y1=\"{:.0}\" y2=\"{:.0}\"/><title>{days} quiet days</title></g>\n",
        SPEND.0,
        TOKENS.0 + TOKENS.1
    )
}

/// What a pointer on the bar shows.
fn tip(day: Date, amounts: &[Amount; SHADES + 1], figures: &Figures, unit: &str) -> String {
    let cost: f64 = amounts.iter().map(|amount| amount.cost).sum();
    let total: f64 = amounts.iter().map(|amount| amount.tokens).sum();
    let day = if unit == "day" {
        day.strftime("%a %-d %b %Y").to_string()
    } else {
        format!("week of {}", day_text(day, true))
    };
    let mut parts = String::new();
    for (shade, amount) in amounts
        .iter()
        .enumerate()
        .filter(|(_, amount)| amount.tokens > 0.0)
    {
        let _ = write!(
            parts,
            " · {} {}",
            escape(shade_name(figures, shade)),
            dollars(amount.cost)
        );
    }
    format!(
        "<text class=\"tip\" x=\"100%\" y=\"14\" text-anchor=\"end\">{day} · <tspan class=\"strong\">{}</tspan> · {} tokens<tspan class=\"more\">{parts}</tspan></text>",
        dollars(cost),
        tokens(total),
    )
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a sum of counts"
)]
fn tokens(amount: f64) -> String {
    compact(amount as u64)
}

fn shade_name(figures: &Figures, shade: usize) -> &str {
    match figures.models.get(shade) {
        Some((model, _)) if shade < SHADES => short_model(model),
        _ => "others",
    }
}

/// The first day, the first after each pause, and the first of each month, where there is room; in short spans, Mondays.
#[expect(clippy::cast_precision_loss, reason = "places on a page")]
fn day_labels(slots: &[Slot], width: f64) -> String {
    /// What a label takes of the width of a desktop's page, with a year and without; and either on a phone.
    const ROOM: [f64; 2] = [9.5, 6.0];
    const ROOM_WHEN_NARROW: f64 = 26.0;
    let (mut free, mut free_when_narrow) = (0.0, 0.0);
    let mut previous: Option<Date> = None;
    let mut labelled: Option<Date> = None;
    let mut svg = String::new();
    for (index, slot) in slots.iter().enumerate() {
        let Slot::Bar(day, _) = slot else {
            previous = None;
            continue;
        };
        let x = index as f64 * width;
        let is_new_month =
            previous.is_none_or(|last| (last.year(), last.month()) != (day.year(), day.month()));
        let is_monday = slots.len() <= 45 && day.weekday() == jiff::civil::Weekday::Monday;
        if (is_new_month || is_monday) && x >= free {
            let with_year = labelled.is_some_and(|last| last.year() != day.year());
            let minor = if x < free_when_narrow { " minor" } else { "" };
            let anchor = if x > 92.0 { "end" } else { "start" };
            let x = if x > 92.0 { x + width } else { x };
            let _ = writeln!(
                svg,
                "<text class=\"day{minor}\" x=\"{x:.3}%\" y=\"{:.0}\" text-anchor=\"{anchor}\">{}</text>",
                HEIGHT - 6.0,
                day_text(*day, with_year)
            );
            free = x + ROOM[usize::from(!with_year)];
            if minor.is_empty() {
                free_when_narrow = x + ROOM_WHEN_NARROW;
            }
            labelled = Some(*day);
        }
        previous = Some(*day);
    }
    svg
}

/// The models with their shade and what they add up to: the charts' key and a table at once.
fn key(figures: &Figures) -> String {
    let mut html = String::from(
        "<table class=\"key\"><thead><tr><th>Model</th><th>Tokens</th><th>Cost</th></tr></thead><tbody>\n",
    );
    for (rank, (model, usage)) in figures.models.iter().enumerate() {
        let _ = writeln!(
            html,
            "<tr><td title=\"{}\"><span class=\"name\"><i class=\"m{}\"></i>{}</span></td><td>{}</td><td>{}</td></tr>",
            escape(model),
            rank.min(SHADES),
            escape(short_model(model)),
            compact(usage.tokens()),
            usage.cost.map_or_else(|| "no price".to_owned(), dollars),
        );
    }
    html.push_str("</tbody></table>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_pauses_are_cut_out() {
        let amounts = [Amount {
            tokens: 1.0,
            cost: 1.0,
        }; SHADES + 1];
        let bars =
            ["2026-02-01", "2026-02-03", "2026-02-20"].map(|day| (day.parse::<Date>().unwrap(), amounts));
        let text: Vec<_> = slots(&bars, 1)
            .iter()
            .map(|slot| match slot {
                Slot::Bar(day, amounts) => format!("{day} {}", amounts[0].tokens),
                Slot::Pause(days) => format!("{days} days"),
            })
            .collect();
        assert_eq!(
            text,
            [
                "2026-02-01 1",
                "2026-02-02 0",
                "2026-02-03 1",
                "16 days",
                "2026-02-20 1"
            ]
        );
    }

    #[test]
    fn ticks_are_round() {
        let check = |largest, expected: &[f64]| assert_eq!(ticks(largest), expected);
        check(28.1, &[10.0, 20.0]);
        check(17.0, &[5.0, 10.0, 15.0]);
        check(4.0, &[2.0, 4.0]);
        check(1.0, &[0.5, 1.0]);
    }
}
