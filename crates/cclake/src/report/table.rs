//! A table that fits its terminal: columns that matter less are left out until it does.

use comfy_table::{
    Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table as Comfy, Width, presets,
};

use crate::cells::on_one_line;

/// Spaces between columns.
const GAP: u16 = 2;

/// So much of a text still tells something.
const NARROWEST_TEXT: u16 = 5;

/// Characters of a cell; no name of use is longer, and the widths of columns stay far from what their type holds.
const LONGEST: usize = 1000;

/// A row that stands for a line across the table: a private character, one column wide, so that it never breaks.
const RULE: &str = "\u{e000}";

/// A column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    /// Figures stand to the right.
    pub(crate) is_figure: bool,
    /// Which columns go first when there is too little room; 0 never goes.
    pub(crate) leaves: u8,
}

impl Column {
    pub(crate) const fn text(title: &'static str, leaves: u8) -> Self {
        Self {
            title,
            is_figure: false,
            leaves,
        }
    }

    pub(crate) const fn figure(title: &'static str, leaves: u8) -> Self {
        Self {
            title,
            is_figure: true,
            leaves,
        }
    }
}

/// How a row stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Plain,
    /// Part of the row above.
    Detail,
    /// All rows together, below a line.
    Total,
}

/// What to print.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<(Weight, Vec<String>)>,
}

impl Table {
    /// The lines, and the titles of the columns that were left out. No line is wider than `width`, unless that is too
    /// little for whole figures.
    pub(crate) fn render(&self, width: Option<usize>, styled: bool) -> (String, Vec<&'static str>) {
        let width = width.unwrap_or(usize::MAX);
        let every: Vec<usize> = (0..self.columns.len()).collect();
        let widths = self.comfy(&every, false).column_max_content_widths();
        let needed = |kept: &[usize]| with_gaps(kept.iter().map(|index| widths[*index]));
        let (kept, left_out) = self.chosen(every, |kept| needed(kept) <= width);
        let mut table = self.comfy(&kept, styled);
        if needed(&kept) > width {
            self.narrow(&mut table, &kept, &widths, width);
        }
        (ruled(&table, needed(&kept).min(width)), left_out)
    }

    /// The columns that stay, and the titles of those that leave until the rest fits. Once a wide one has left, narrow ones
    /// that went before it may have room again.
    fn chosen(
        &self,
        mut kept: Vec<usize>,
        fits: impl Fn(&[usize]) -> bool,
    ) -> (Vec<usize>, Vec<&'static str>) {
        let mut left_out: Vec<usize> = Vec::new();
        while !fits(&kept) {
            let may_leave = kept.iter().filter(|index| self.columns[**index].leaves > 0);
            let Some(index) = may_leave.copied().min_by_key(|index| self.columns[*index].leaves) else {
                break;
            };
            kept.retain(|other| *other != index);
            left_out.push(index);
        }
        for index in left_out.clone().into_iter().rev() {
            let mut more = kept.clone();
            more.insert(more.partition_point(|other| *other < index), index);
            if fits(&more) {
                kept = more;
                left_out.retain(|other| *other != index);
            }
        }
        let titles = left_out.iter().map(|index| self.columns[*index].title);
        (kept, titles.collect())
    }

    /// Breaks titles and texts over several lines, but never a figure, which one could misread.
    fn narrow(&self, table: &mut Comfy, kept: &[usize], widths: &[u16], width: usize) {
        let least: Vec<u16> = kept
            .iter()
            .map(|index| self.least(*index, widths[*index]))
            .collect();
        let width = width.max(with_gaps(least.iter().copied()));
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(u16::try_from(width).unwrap_or(u16::MAX));
        for (place, index) in kept.iter().enumerate() {
            if let Some(column) = table.column_mut(place).filter(|_| self.columns[*index].is_figure) {
                let width = least[place] + column.padding_width();
                column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
            }
        }
    }

    /// How narrow a column may become that is `whole` wide.
    fn least(&self, index: usize, whole: u16) -> u16 {
        let column = self.columns[index];
        if !column.is_figure {
            return whole.min(NARROWEST_TEXT);
        }
        let figures = self.rows.iter().map(|(_, cells)| cells[index].as_str());
        let longest = figures
            .chain(column.title.split(' '))
            .map(|text| text.chars().count())
            .max();
        longest
            .and_then(|longest| longest.try_into().ok())
            .unwrap_or(whole)
            .min(whole)
    }

    fn comfy(&self, kept: &[usize], styled: bool) -> Comfy {
        let mut table = Comfy::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        if styled {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let titles = kept.iter().map(|index| self.columns[*index].title);
        table.set_header(titles.map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
        table.add_row([RULE]);
        for (weight, cells) in &self.rows {
            if *weight == Weight::Total {
                table.add_row([RULE]);
            }
            table.add_row(kept.iter().map(|index| cell(&cells[*index], *weight)));
        }
        for (place, index) in kept.iter().enumerate() {
            if let Some(column) = table.column_mut(place) {
                column.set_padding((0, if place + 1 == kept.len() { 0 } else { GAP }));
                if self.columns[*index].is_figure {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        table
    }
}

fn with_gaps(widths: impl Iterator<Item = u16>) -> usize {
    let wide = widths.map(|width| usize::from(width) + usize::from(GAP));
    wide.sum::<usize>().saturating_sub(GAP.into())
}

fn cell(text: &str, weight: Weight) -> Cell {
    let mut text = on_one_line(text);
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    match weight {
        Weight::Plain => Cell::new(text),
        Weight::Detail => Cell::new(text).add_attribute(Attribute::Dim),
        Weight::Total => Cell::new(text).add_attribute(Attribute::Bold),
    }
}

/// With lines for the first and the last row that stands for one; between them are texts of users.
fn ruled(table: &Comfy, width: usize) -> String {
    let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    let is_rule = |line: &String| line == RULE;
    let places = [lines.iter().position(is_rule), lines.iter().rposition(is_rule)];
    for place in places.into_iter().flatten() {
        lines[place] = "─".repeat(width);
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(width: Option<usize>, expected: (&str, &[&str])) {
        let cells = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let table = Table {
            columns: vec![
                Column::text("Day", 0),
                Column::figure("Tokens", 1),
                Column::figure("Cost", 0),
            ],
            rows: vec![
                (Weight::Plain, cells(["2026-02-03", "1,000", "$1.50"])),
                (Weight::Total, cells(["Total", "1,000", "$1.50"])),
            ],
        };
        let (text, left_out) = table.render(width, false);
        assert_eq!((text.as_str(), left_out.as_slice()), expected);
    }

    #[test]
    fn columns_leave_when_there_is_no_room() {
        let wide = "Day         Tokens   Cost\n─────────────────────────\n2026-02-03   1,000  $1.50\n─────────────────────────\nTotal        1,000  $1.50\n";
        check(None, (wide, &[]));
        check(Some(25), (wide, &[]));
        let narrow =
            "Day          Cost\n─────────────────\n2026-02-03  $1.50\n─────────────────\nTotal       $1.50\n";
        check(Some(24), (narrow, &["Tokens"]));
    }

    #[test]
    fn what_left_before_a_wide_column_comes_back() {
        let table = Table {
            columns: vec![
                Column::text("Day", 0),
                Column::figure("Tokens", 1),
                Column::text("Models", 2),
            ],
            rows: vec![(
                Weight::Plain,
                ["2026-02-03", "1,000", "one, two, three, four"]
                    .map(str::to_owned)
                    .to_vec(),
            )],
        };
        let (text, left_out) = table.render(Some(20), false);
        assert_eq!(
            text,
            "Day         Tokens\n──────────────────\n2026-02-03   1,000\n"
        );
        assert_eq!(left_out, ["Models"]);
    }

    #[test]
    fn what_does_not_fit_breaks_between_the_lines() {
        let narrow = "Day     Cost\n────────────\n2026-  $1.50\n02-03\n────────────\nTotal  $1.50\n";
        check(Some(12), (narrow, &["Tokens"]));
        // Narrower than a figure and the start of a text nothing gets.
        for width in [1, 10] {
            let rule = "─".repeat(width);
            check(Some(width), (&narrow.replace("────────────", &rule), &["Tokens"]));
        }
    }

    #[test]
    fn titles_break_before_columns_do() {
        let cells = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let table = Table {
            columns: vec![Column::text("Model", 0), Column::figure("Cost (USD)", 0)],
            rows: vec![
                (Weight::Plain, cells([RULE, "$1.50"])),
                (Weight::Total, cells(["Total", "$1,001.50"])),
            ],
        };
        let (text, _) = table.render(Some(16), false);
        let expected = format!(
            "Model       Cost\n           (USD)\n────────────────\n{RULE}          $1.50\n────────────────\nTotal  $1,001.50\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_cell_of_any_length_has_a_width() {
        let table = Table {
            columns: vec![Column::text("Model", 0); 100],
            rows: vec![(Weight::Plain, vec!["x".repeat(70_000); 100])],
        };
        for width in [None, Some(1), Some(80), Some(70_000)] {
            assert!(table.render(width, false).0.starts_with("Model"));
        }
    }
}
