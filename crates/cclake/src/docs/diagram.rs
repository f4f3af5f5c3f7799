//! Layered drawings: boxes in columns from left to right, arrows between them or between their rows, laid out so that few
//! arrows cross and none runs behind a box.

use std::collections::HashMap;
use std::fmt::Write as _;

use maud::{Markup, html};

/// A row of a box.
#[derive(Debug, Default, Clone)]
pub(super) struct Row {
    pub(super) text: String,
    pub(super) note: String,
    pub(super) link: Option<String>,
    /// What the drawing is about.
    pub(super) is_here: bool,
}

/// A box with a title and perhaps rows.
#[derive(Debug, Default, Clone)]
pub(super) struct Block {
    pub(super) title: String,
    pub(super) note: String,
    pub(super) link: Option<String>,
    /// Its colour's class.
    pub(super) class: &'static str,
    pub(super) rows: Vec<Row>,
}

/// Where an arrow begins or ends: a box, or one row of it.
pub(super) type End = (usize, Option<usize>);

/// An arrow.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) class: &'static str,
}

const TITLE: f64 = 26.0;
const ROW: f64 = 19.0;
const GAP: f64 = 16.0;
const COLUMN_GAP: f64 = 56.0;
const MARGIN: f64 = 18.0;
/// Height of the place where an arrow passes between the boxes of a column.
const PASSAGE: f64 = 6.0;
const CHARACTER: f64 = 7.4;
const SWEEPS: usize = 12;

/// What stands in a column: a box, or an arrow that passes through.
struct Item {
    block: Option<usize>,
    layer: usize,
    height: f64,
    y: f64,
    /// Items in the columns beside that it is tied to.
    before: Vec<usize>,
    after: Vec<usize>,
}

impl Item {
    fn middle(&self) -> f64 {
        self.y + self.height / 2.0
    }
}

struct Layout {
    items: Vec<Item>,
    /// Items of each column from top to bottom.
    layers: Vec<Vec<usize>>,
    /// The way between two boxes: the items passed.
    ways: HashMap<(usize, usize), Vec<usize>>,
    x: Vec<f64>,
    width: Vec<f64>,
}

/// Draws `blocks` (parents before children where there is no circle) and `edges`; `label` says what it shows.
#[expect(clippy::cast_precision_loss, reason = "a few hundred boxes")]
pub(super) fn diagram(blocks: &[Block], edges: &[Edge], label: &str) -> Markup {
    let layout = Layout::of(blocks, edges);
    let right = layout.x.iter().zip(&layout.width).map(|(x, width)| x + width);
    let width = right.fold(0.0, f64::max) + MARGIN;
    let bottom = layout.items.iter().map(|item| item.y + item.height);
    let height = bottom.fold(0.0, f64::max) + MARGIN;
    html! {
        div.diagram tabindex="0" {
            svg role="img" aria-label=(label) width=(format!("{width:.0}")) height=(format!("{height:.0}")) viewBox=(format!("0 0 {width:.0} {height:.0}")) {
                @for edge in edges {
                    path class=(format!("edge {}", edge.class)) d=(layout.path(blocks, edge)) {}
                }
                @for (item, block) in layout.items.iter().filter_map(|item| Some((item, &blocks[item.block?]))) {
                    g.(block.class) transform=(format!("translate({:.1},{:.1})", layout.x[item.layer], item.y)) {
                        rect.box width=(format!("{:.0}", layout.width[item.layer])) height=(format!("{:.0}", item.height)) rx="5" {}
                        rect.bar width="4" height=(format!("{:.0}", item.height)) rx="2" {}
                        (linked(block.link.as_deref(), &html! {
                            text.title x="13" y="17" { (block.title) }
                        }))
                        @if !block.note.is_empty() {
                            text.note x=(format!("{:.0}", layout.width[item.layer] - 10.0)) y="17" text-anchor="end" { (block.note) }
                        }
                        @for (index, row) in block.rows.iter().enumerate() {
                            @if row.is_here {
                                rect.row-here x="5" y=(format!("{:.0}", TITLE + ROW * index as f64)) width=(format!("{:.0}", layout.width[item.layer] - 6.0)) height=(format!("{ROW:.0}")) {}
                            }
                            (linked(row.link.as_deref(), &html! {
                                text x="13" y=(format!("{:.0}", TITLE + ROW * index as f64 + 13.0)) { (row.text) }
                            }))
                            @if !row.note.is_empty() {
                                text.note x=(format!("{:.0}", layout.width[item.layer] - 10.0)) y=(format!("{:.0}", TITLE + ROW * index as f64 + 13.0)) text-anchor="end" { (row.note) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn linked(link: Option<&str>, text: &Markup) -> Markup {
    html! {
        @match link {
            Some(link) => a href=(link) { (text) },
            None => (text),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred characters")]
fn size(block: &Block) -> (f64, f64) {
    let wide = |text: &str, note: &str| {
        let gap = if note.is_empty() { 0 } else { 3 };
        (text.chars().count() + note.chars().count() + gap) as f64 * CHARACTER
    };
    let rows = block.rows.iter().map(|row| wide(&row.text, &row.note));
    let width = rows.fold(wide(&block.title, &block.note) * 1.05, f64::max) + 26.0;
    let below = if block.rows.is_empty() { 0.0 } else { 5.0 };
    (width.ceil(), TITLE + ROW * block.rows.len() as f64 + below)
}

/// The column of each box: behind all that it follows, and right before what follows it.
fn layers(count: usize, pairs: &[(usize, usize)]) -> Vec<usize> {
    // Arrows that close a circle do not count: those that lead back while going down from each box.
    let mut forward: Vec<(usize, usize)> = Vec::new();
    let mut state = vec![0u8; count];
    for start in 0..count {
        let mut stack = vec![(start, 0)];
        while let Some((at, next)) = stack.pop() {
            if next == 0 {
                if state[at] != 0 {
                    continue;
                }
                state[at] = 1;
            }
            let children: Vec<usize> = pairs
                .iter()
                .filter(|(from, _)| *from == at)
                .map(|(_, to)| *to)
                .collect();
            match children.get(next) {
                None => state[at] = 2,
                Some(child) => {
                    stack.push((at, next + 1));
                    if state[*child] != 1 {
                        forward.push((at, *child));
                    }
                    if state[*child] == 0 {
                        stack.push((*child, 0));
                    }
                }
            }
        }
    }
    let mut layers = vec![0usize; count];
    for _ in 0..count {
        for (from, to) in &forward {
            layers[*to] = layers[*to].max(layers[*from] + 1);
        }
    }
    for index in 0..count {
        let is_first = !forward.iter().any(|(_, to)| *to == index);
        let nearest = forward
            .iter()
            .filter(|(from, _)| *from == index)
            .map(|(_, to)| layers[*to])
            .min();
        if let (true, Some(nearest)) = (is_first, nearest) {
            layers[index] = nearest.saturating_sub(1);
        }
    }
    layers
}

impl Layout {
    fn of(blocks: &[Block], edges: &[Edge]) -> Layout {
        let mut pairs: Vec<(usize, usize)> = edges.iter().map(|edge| (edge.from.0, edge.to.0)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs.retain(|(from, to)| from != to);
        let layer_of = layers(blocks.len(), &pairs);
        let count = layer_of.iter().max().map_or(0, |last| last + 1);
        let mut layout = Layout {
            items: Vec::new(),
            layers: vec![Vec::new(); count],
            ways: HashMap::new(),
            x: Vec::new(),
            width: vec![0.0; count],
        };
        for (index, block) in blocks.iter().enumerate() {
            let (width, height) = size(block);
            let layer = layer_of[index];
            layout.width[layer] = layout.width[layer].max(width);
            layout.add(Some(index), layer, height);
        }
        // Arrows from one box share their passages: they part only where they have to.
        let mut passages: HashMap<(usize, usize), usize> = HashMap::new();
        for (from, to) in pairs {
            let mut last = from;
            let mut way = Vec::new();
            for layer in layer_of[from] + 1..layer_of[to] {
                let known = passages.get(&(from, layer)).copied();
                let passage = known.unwrap_or_else(|| layout.passage(last, layer));
                passages.insert((from, layer), passage);
                way.push(passage);
                last = passage;
            }
            if layer_of[from] < layer_of[to] {
                layout.tie(last, to);
            }
            layout.ways.insert((from, to), way);
        }
        let mut x = MARGIN;
        for width in &layout.width {
            layout.x.push(x);
            x += width + COLUMN_GAP;
        }
        layout.order();
        layout.place();
        layout
    }

    fn add(&mut self, block: Option<usize>, layer: usize, height: f64) -> usize {
        let index = self.items.len();
        self.items.push(Item {
            block,
            layer,
            height,
            y: 0.0,
            before: Vec::new(),
            after: Vec::new(),
        });
        self.layers[layer].push(index);
        index
    }

    fn passage(&mut self, last: usize, layer: usize) -> usize {
        let passage = self.add(None, layer, PASSAGE);
        self.tie(last, passage);
        passage
    }

    fn tie(&mut self, before: usize, after: usize) {
        self.items[before].after.push(after);
        self.items[after].before.push(before);
    }

    /// Sorts each column by where the neighbours of its items stand, to and fro.
    #[expect(clippy::cast_precision_loss, reason = "a few hundred boxes")]
    fn order(&mut self) {
        for sweep in 0..SWEEPS {
            let forth = sweep % 2 == 0;
            let count = self.layers.len();
            for step in 0..count {
                let layer = if forth { step } else { count - 1 - step };
                let mut place = vec![0usize; self.items.len()];
                for layer in &self.layers {
                    for (index, item) in layer.iter().enumerate() {
                        place[*item] = index;
                    }
                }
                let weight = |item: usize| {
                    let item_ref = &self.items[item];
                    let beside = if forth { &item_ref.before } else { &item_ref.after };
                    if beside.is_empty() {
                        return place[item] as f64;
                    }
                    beside.iter().map(|other| place[*other] as f64).sum::<f64>() / beside.len() as f64
                };
                let mut weighed: Vec<(f64, usize)> = self.layers[layer]
                    .iter()
                    .map(|item| (weight(*item), *item))
                    .collect();
                weighed.sort_by(|one, other| one.0.total_cmp(&other.0));
                self.layers[layer] = weighed.into_iter().map(|(_, item)| item).collect();
            }
        }
    }

    /// Moves items towards the middle of their neighbours, as far as the others of the column let them.
    #[expect(clippy::cast_precision_loss, reason = "a few hundred boxes")]
    fn place(&mut self) {
        let column = |layer: &Vec<usize>, items: &[Item]| {
            layer.iter().map(|item| items[*item].height + GAP).sum::<f64>()
        };
        let tallest = self
            .layers
            .iter()
            .map(|layer| column(layer, &self.items))
            .fold(0.0, f64::max);
        for layer in &self.layers {
            let mut y = (tallest - column(layer, &self.items)) / 2.0;
            for item in layer {
                self.items[*item].y = y;
                y += self.items[*item].height + GAP;
            }
        }
        for sweep in 0..SWEEPS * 2 {
            let count = self.layers.len();
            for step in 0..count {
                let layer = self.layers[if sweep % 2 == 0 { step } else { count - 1 - step }].clone();
                let wanted: Vec<f64> = layer
                    .iter()
                    .map(|item| {
                        let item = &self.items[*item];
                        let beside: Vec<f64> = item
                            .before
                            .iter()
                            .chain(&item.after)
                            .map(|other| self.items[*other].middle())
                            .collect();
                        if beside.is_empty() {
                            item.y
                        } else {
                            beside.iter().sum::<f64>() / beside.len() as f64 - item.height / 2.0
                        }
                    })
                    .collect();
                let heights: Vec<f64> = layer.iter().map(|item| self.items[*item].height).collect();
                // Pushed down where they touch, and pushed up: the mean of both keeps the distances too.
                let mut down = wanted.clone();
                for index in 1..down.len() {
                    down[index] = down[index].max(down[index - 1] + heights[index - 1] + GAP);
                }
                let mut up = wanted;
                for index in (0..up.len().saturating_sub(1)).rev() {
                    up[index] = up[index].min(up[index + 1] - heights[index] - GAP);
                }
                for ((item, down), up) in layer.iter().zip(down).zip(up) {
                    self.items[*item].y = f64::midpoint(down, up);
                }
            }
        }
        self.close_gaps();
    }

    /// What nothing ties together may have moved far apart: bands in which no column has anything become narrow.
    fn close_gaps(&mut self) {
        let mut from_above: Vec<usize> = (0..self.items.len()).collect();
        from_above.sort_by(|one, other| self.items[*one].y.total_cmp(&self.items[*other].y));
        let mut bottom = f64::NEG_INFINITY;
        let mut shift = 0.0;
        for index in from_above {
            let item = &mut self.items[index];
            if bottom == f64::NEG_INFINITY {
                shift = MARGIN - item.y;
            } else {
                shift -= (item.y + shift - bottom - GAP).max(0.0);
            }
            item.y += shift;
            bottom = bottom.max(item.y + item.height);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a few hundred rows")]
    fn port(&self, blocks: &[Block], (block, row): End) -> f64 {
        let item = &self.items[block];
        match row {
            Some(row) => item.y + TITLE + ROW * (row as f64 + 0.5),
            None if blocks[block].rows.is_empty() => item.middle(),
            None => item.y + TITLE / 2.0,
        }
    }

    /// Curves from port to port, straight across the columns in between.
    fn path(&self, blocks: &[Block], edge: &Edge) -> String {
        let (from, to) = (&self.items[edge.from.0], &self.items[edge.to.0]);
        let mut x = self.x[from.layer]
            + if from.layer < to.layer || edge.from.0 == edge.to.0 {
                self.width[from.layer]
            } else {
                0.0
            };
        let mut y = self.port(blocks, edge.from);
        let mut path = format!("M{x:.1},{y:.1}");
        let mut curve = |to_x: f64, to_y: f64, bend: f64| {
            let _ = write!(
                path,
                "C{:.1},{y:.1} {:.1},{to_y:.1} {to_x:.1},{to_y:.1}",
                x + bend,
                to_x - bend
            );
            (x, y) = (to_x, to_y);
        };
        let end_y = self.port(blocks, edge.to);
        if edge.from.0 == edge.to.0 {
            // From a row of a box to another row of it: a loop at its right.
            let x = self.x[from.layer] + self.width[to.layer];
            let bulge = 30.0;
            return format!(
                "M{x:.1},{y:.1}C{:.1},{y:.1} {:.1},{end_y:.1} {x:.1},{end_y:.1}",
                x + bulge,
                x + bulge
            );
        }
        if from.layer >= to.layer {
            curve(self.x[to.layer] + self.width[to.layer], end_y, -COLUMN_GAP);
            return path;
        }
        for passage in self.ways.get(&(edge.from.0, edge.to.0)).into_iter().flatten() {
            let item = &self.items[*passage];
            curve(self.x[item.layer], item.middle(), COLUMN_GAP / 2.0);
            curve(self.x[item.layer] + self.width[item.layer], item.middle(), 0.0);
        }
        curve(self.x[to.layer], end_y, COLUMN_GAP / 2.0);
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(usize, usize)], count: usize, expected: &[usize]) {
        assert_eq!(layers(count, pairs), expected, "{pairs:?}");
    }

    #[test]
    fn boxes_stand_behind_what_they_follow() {
        check(&[], 2, &[0, 0]);
        check(&[(0, 1), (1, 2), (0, 2)], 3, &[0, 1, 2]);
        // A box without parents stands right before what uses it.
        check(&[(0, 1), (1, 2), (3, 2)], 4, &[0, 1, 2, 1]);
        // A circle is cut where it closes.
        check(&[(0, 1), (1, 0)], 2, &[0, 1]);
    }

    #[test]
    fn no_two_boxes_overlap() {
        let block = |rows: usize| Block {
            title: "t".to_owned(),
            rows: vec![Row::default(); rows],
            ..Block::default()
        };
        let blocks: Vec<Block> = (0..9).map(block).collect();
        let edge = |(from, to): (usize, usize)| Edge {
            from: (from, None),
            to: (to, None),
            class: "",
        };
        let edges: Vec<Edge> = [
            (0, 3),
            (1, 3),
            (2, 4),
            (3, 5),
            (3, 6),
            (0, 7),
            (4, 7),
            (5, 8),
            (0, 8),
        ]
        .map(edge)
        .to_vec();
        let layout = Layout::of(&blocks, &edges);
        for layer in &layout.layers {
            for pair in layer.windows(2) {
                let (upper, lower) = (&layout.items[pair[0]], &layout.items[pair[1]]);
                assert!(upper.y + upper.height <= lower.y);
            }
        }
    }
}
