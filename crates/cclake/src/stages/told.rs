//! Warnings of passes that repeat for weeks: each is told when it arises, not with every pass.

use std::collections::HashSet;

/// What was told, without its numbers: the same with another number is no news.
#[derive(Debug, Default)]
pub(super) struct Told(HashSet<String>);

impl Told {
    /// Those of the warnings that were not told yet, which are now.
    pub(super) fn news(&mut self, warnings: Vec<String>) -> Vec<String> {
        let mut news = warnings;
        news.retain(|warning| {
            let gist = warning.replace(|character: char| character.is_ascii_digit(), "");
            self.0.insert(gist)
        });
        news
    }

    /// All is well again: what was told is news when it returns.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_news_once_until_all_was_well() {
        let mut told = Told::default();
        let mut news = |warnings: &[&str]| told.news(warnings.iter().map(ToString::to_string).collect());
        assert_eq!(news(&["3 documents", "no file"]), ["3 documents", "no file"]);
        assert_eq!(news(&["4 documents", "no room"]), ["no room"]);
        told.forget();
        assert_eq!(told.news(vec!["4 documents".to_owned()]), ["4 documents"]);
    }
}
