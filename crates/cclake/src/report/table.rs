//! A table that fits its terminal: columns that matter less are left out until it does.

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table as Comfy, presets};

use crate::cells::on_one_line;

/// Spaces between columns.
const GAP: u16 = 2;

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
    /// The lines, and the titles of the columns that were left out.
    pub(crate) fn render(&self, width: Option<usize>, styled: bool) -> (String, Vec<&'static str>) {
        let width = width.map(|width| u16::try_from(width).unwrap_or(u16::MAX));
        let mut kept: Vec<usize> = (0..self.columns.len()).collect();
        let mut left_out = Vec::new();
        let widths = self.comfy(&kept, false).column_max_content_widths();
        let needed = |kept: &[usize]| {
            kept.iter()
                .map(|index| widths[*index] + GAP)
                .sum::<u16>()
                .saturating_sub(GAP)
        };
        while width.is_some_and(|width| needed(&kept) > width) {
            let next = kept
                .iter()
                .copied()
                .filter(|index| self.columns[*index].leaves > 0);
            let Some(index) = next.min_by_key(|index| self.columns[*index].leaves) else {
                break;
            };
            kept.retain(|other| *other != index);
            left_out.push(self.columns[index].title);
        }
        let mut table = self.comfy(&kept, styled);
        if let Some(width) = width.filter(|width| needed(&kept) > *width) {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
        }
        (
            self.ruled(&table, needed(&kept).min(width.unwrap_or(u16::MAX))),
            left_out,
        )
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
        table.set_header(
            kept.iter()
                .map(|index| Cell::new(self.columns[*index].title).add_attribute(Attribute::Bold)),
        );
        for (weight, cells) in &self.rows {
            table.add_row(kept.iter().map(|index| {
                let cell = Cell::new(on_one_line(&cells[*index]));
                match weight {
                    Weight::Plain => cell,
                    Weight::Detail => cell.add_attribute(Attribute::Dim),
                    Weight::Total => cell.add_attribute(Attribute::Bold),
                }
            }));
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

    /// With a line below the header and one above the total.
    fn ruled(&self, table: &Comfy, width: u16) -> String {
        let rule = "─".repeat(width.into());
        let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        if self
            .rows
            .last()
            .is_some_and(|(weight, _)| *weight == Weight::Total)
        {
            // The last row is one line unless the terminal is too narrow for the smallest table.
            let place = lines.len().saturating_sub(1);
            lines.insert(place, rule.clone());
        }
        let place = lines.len().min(1);
        lines.insert(place, rule);
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
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
}
