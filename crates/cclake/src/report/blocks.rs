//! Billing blocks of five hours, as ccusage cuts them.
//!
//! A block starts at the full hour (UTC) of its first response and ends five hours later; a pause of more than five
//! hours is a gap of its own. Full hours make it enough to know each hour's sums: a block never ends inside one.

use super::rows::{Usage, sort_models};

const MINUTE: i64 = 60_000;
const LENGTH: i64 = 5 * 60 * MINUTE;

/// A block, or a gap between two.
#[derive(Debug, Clone, Default)]
pub(crate) struct Block {
    /// In milliseconds of the Unix epoch, as every time here.
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) is_gap: bool,
    pub(crate) usage: Usage,
    pub(crate) models: Vec<(String, Usage)>,
    /// The block now running has a rate, and thus a projection.
    pub(crate) active: Option<Active>,
}

/// How fast the running block goes, and where it ends if it goes on like that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Active {
    /// None after a single response, which has no duration.
    pub(crate) rate: Option<Rate>,
    pub(crate) remaining_minutes: i64,
}

/// Per time between the first response and the last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    pub(crate) tokens_per_minute: f64,
    /// Without the cache.
    pub(crate) fresh_tokens_per_minute: f64,
    pub(crate) cost_per_hour: f64,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
impl Block {
    /// Tokens and cost at the block's end.
    pub(crate) fn projection(&self) -> Option<(f64, f64)> {
        let active = self.active?;
        let rate = active.rate?;
        let minutes = active.remaining_minutes as f64;
        let tokens = (self.usage.tokens() as f64 + rate.tokens_per_minute * minutes).round();
        Some((
            tokens,
            self.usage.cost.unwrap_or(0.0) + rate.cost_per_hour / 60.0 * minutes,
        ))
    }

    fn rate(&self) -> Option<Rate> {
        let (first, last) = self.usage.span?;
        let minutes = (last - first) as f64 / MINUTE as f64;
        (minutes > 0.0).then(|| Rate {
            tokens_per_minute: self.usage.tokens() as f64 / minutes,
            fresh_tokens_per_minute: (self.usage.input + self.usage.output) as f64 / minutes,
            cost_per_hour: self.usage.cost.unwrap_or(0.0) / minutes * 60.0,
        })
    }

    fn add(&mut self, model: &str, usage: &Usage) {
        self.usage.add(usage);
        match self.models.iter_mut().find(|(name, _)| name == model) {
            Some((_, sum)) => sum.add(usage),
            None => self.models.push((model.to_owned(), usage.clone())),
        }
    }
}

/// Cuts hours, in order, into blocks and gaps. `now` decides which block is running.
pub(crate) fn cut(hours: &[(i64, String, Usage)], now: i64) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for same_hour in hours.chunk_by(|(one, ..), (two, ..)| one == two) {
        let hour = same_hour[0].0;
        let first = same_hour
            .iter()
            .filter_map(|(_, _, usage)| usage.span)
            .map(|(first, _)| first)
            .min();
        let previous = blocks.last();
        if previous.is_none_or(|block| hour >= block.end) {
            let last = previous.and_then(|block| block.usage.span).map(|(_, last)| last);
            if let (Some(last), Some(first)) = (last, first)
                && first - last > LENGTH
            {
                blocks.push(Block {
                    start: last + LENGTH,
                    end: first,
                    is_gap: true,
                    ..Block::default()
                });
            }
            blocks.push(Block {
                start: hour,
                end: hour + LENGTH,
                ..Block::default()
            });
        }
        if let Some(block) = blocks.last_mut() {
            for (_, model, usage) in same_hour {
                block.add(model, usage);
            }
        }
    }
    for block in &mut blocks {
        sort_models(&mut block.models);
        let last = block.usage.span.map_or(i64::MIN, |(_, last)| last);
        if !block.is_gap && now < block.end && now - LENGTH < last {
            block.active = Some(Active {
                rate: block.rate(),
                remaining_minutes: ((block.end - now) + MINUTE / 2) / MINUTE,
            });
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 60 * MINUTE;

    /// Responses at these minutes, with 100 tokens and a dollar each.
    fn hours(minutes: &[i64]) -> Vec<(i64, String, Usage)> {
        let mut hours: Vec<(i64, String, Usage)> = Vec::new();
        for at in minutes.iter().map(|minute| minute * MINUTE) {
            let usage = Usage {
                input: 10,
                cache_read: 90,
                cost: Some(1.0),
                responses: 1,
                span: Some((at, at)),
                ..Usage::default()
            };
            match hours.last_mut().filter(|(hour, ..)| *hour == at / HOUR * HOUR) {
                Some((_, _, sum)) => sum.add(&usage),
                None => hours.push((at / HOUR * HOUR, "m".to_owned(), usage)),
            }
        }
        hours
    }

    /// Start and end in minutes, responses; gaps have a `-`.
    fn check(minutes: &[i64], expected: &[&str]) {
        let blocks = cut(&hours(minutes), i64::MAX / 2);
        let text: Vec<_> = blocks
            .iter()
            .map(|block| {
                let responses = if block.is_gap {
                    "-".to_owned()
                } else {
                    block.usage.responses.to_string()
                };
                format!("{}..{} {responses}", block.start / MINUTE, block.end / MINUTE)
            })
            .collect();
        assert_eq!(text, expected);
    }

    #[test]
    fn blocks_start_on_the_hour_and_last_five() {
        check(&[], &[]);
        check(&[70], &["60..360 1"]);
        check(&[70, 359], &["60..360 2"]);
        check(&[70, 361], &["60..360 1", "360..660 1"]);
    }

    #[test]
    fn a_pause_of_more_than_five_hours_is_a_gap() {
        check(&[70, 370], &["60..360 1", "360..660 1"]);
        check(&[70, 371], &["60..360 1", "370..371 -", "360..660 1"]);
        check(&[0, 10, 1000], &["0..300 2", "310..1000 -", "960..1260 1"]);
    }

    #[test]
    fn the_running_block_has_a_rate_and_a_projection() {
        let blocks = cut(&hours(&[0, 60]), 90 * MINUTE);
        let active = blocks[0].active.unwrap();
        assert_eq!(active.remaining_minutes, 210);
        let rate = active.rate.unwrap();
        assert_eq!(
            (rate.tokens_per_minute.round(), rate.cost_per_hour.round()),
            (3.0, 2.0)
        );
        assert_eq!(blocks[0].projection().unwrap(), (900.0, 9.0));
        assert_eq!(cut(&hours(&[0, 60]), 300 * MINUTE)[0].active, None);
        assert_eq!(cut(&hours(&[0]), MINUTE)[0].active.unwrap().rate, None);
    }
}
