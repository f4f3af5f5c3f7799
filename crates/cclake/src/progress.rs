//! A progress bar on a terminal, nothing in a pipe.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::printer::Printer;

/// The one bar of a running command.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar if the printer wants one.
    pub(crate) fn new(printer: &Printer) -> Self {
        let target = if printer.shows_progress() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            bar: ProgressBar::with_draw_target(None, target),
        }
    }

    /// Starts a stage of `total` units: bytes for `extract`, else rows or steps.
    pub(crate) fn begin(&self, stage: &'static str, total: u64) {
        let template = if stage == "extract" {
            "{msg:10} [{bar:32}] {bytes}/{total_bytes} {binary_bytes_per_sec}"
        } else {
            "{msg:10} [{bar:32}] {human_pos}/{human_len}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("=> "));
        }
        self.bar.reset();
        self.bar.set_length(total);
        self.bar.set_message(stage);
    }

    /// Moves on.
    pub(crate) fn advance(&self, units: u64) {
        self.bar.inc(units);
    }

    /// Clears the bar.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
