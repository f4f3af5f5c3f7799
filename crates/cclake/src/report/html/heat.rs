//! When the work happens: messages by day of the week and hour.

use std::fmt::Write as _;

use crate::summary::count;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const TOP: usize = 22;
const ROW: usize = 38;
const HEIGHT: usize = TOP + 7 * ROW + 20;

pub(super) fn section(heat: &[[u64; 24]; 7]) -> String {
    let cells = || {
        heat.iter()
            .enumerate()
            .flat_map(|(day, hours)| hours.iter().enumerate().map(move |(hour, n)| (day, hour, *n)))
    };
    let busiest = cells().max_by_key(|(day, hour, n)| (*n, 7 - day, 24 - hour));
    let (busy_day, busy_hour, most) = busiest.unwrap_or_default();
    let mut svg = format!("<svg class=\"axis\" width=\"44\" height=\"{HEIGHT}\" aria-hidden=\"true\">");
    for (index, day) in DAYS.iter().enumerate() {
        let _ = write!(
            svg,
            "<text x=\"0\" y=\"{}\">{day}</text>",
            TOP + index * ROW + ROW / 2 + 3
        );
    }
    let _ = writeln!(
        svg,
        "</svg>\n<svg class=\"plot\" width=\"100%\" height=\"{HEIGHT}\" role=\"img\" aria-label=\"Messages by day of the week and hour; most on {} at {busy_hour}:00, {most}\">\n\
         <text class=\"rest\" x=\"100%\" y=\"13\" text-anchor=\"end\">busiest: {} {busy_hour:02}:00, {} messages</text>",
        DAYS[busy_day],
        DAYS[busy_day],
        count(most)
    );
    for (day, hour, messages) in cells() {
        svg.push_str(&cell(day, hour, messages, most));
    }
    for hour in (0..24).step_by(3) {
        let minor = if hour % 6 == 0 { "" } else { " minor" };
        let _ = writeln!(
            svg,
            "<text class=\"day{minor}\" x=\"{:.3}%\" y=\"{}\">{hour:02}</text>",
            place(hour),
            HEIGHT - 4
        );
    }
    svg.push_str("</svg>\n");
    format!(
        "<section class=\"heat\">\n<h2>When: messages by weekday and hour</h2>\n<div class=\"chart\">\n{svg}</div>\n</section>\n"
    )
}

#[expect(clippy::cast_precision_loss, reason = "24 hours")]
fn place(hour: usize) -> f64 {
    hour as f64 * 100.0 / 24.0
}

#[expect(clippy::cast_precision_loss, reason = "a shade")]
fn cell(day: usize, hour: usize, messages: u64, most: u64) -> String {
    let y = TOP + day * ROW;
    // The root keeps quiet hours apart from empty ones where one hour towers above all.
    let shade = if most == 0 {
        0.0
    } else {
        (messages as f64 / most as f64).sqrt()
    };
    let fill = match messages {
        0 => "class=\"none\"".to_owned(),
        _ => format!("class=\"m0\" fill-opacity=\"{:.2}\"", 0.12 + 0.88 * shade),
    };
    format!(
        "<g class=\"slot\"><rect class=\"hit\" x=\"{x:.3}%\" y=\"{y}\" width=\"4.167%\" height=\"{ROW}\"/><rect {fill} x=\"{:.3}%\" y=\"{y}\" width=\"3.83%\" height=\"{}\" rx=\"2\"/><text class=\"tip\" x=\"100%\" y=\"13\" text-anchor=\"end\">{} {hour:02}:00 · <tspan class=\"strong\">{}</tspan> messages</text></g>\n",
        place(hour),
        ROW - 2,
        DAYS[day],
        count(messages),
        x = place(hour),
    )
}
