//! All output goes through here: results to standard output, everything else to standard error.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::cells::on_one_line;
use crate::cli::Global;

/// What a person wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loudness {
    Quiet,
    Normal,
    Verbose,
}

/// The one voice of the program.
#[derive(Debug)]
pub(crate) struct Printer {
    loudness: Loudness,
    json: bool,
}

#[expect(clippy::unused_self, reason = "only whoever holds the printer may print")]
impl Printer {
    /// A printer as loud as the flags say.
    pub(crate) fn new(global: &Global) -> Self {
        let loudness = match (global.quiet, global.verbose) {
            (true, _) => Loudness::Quiet,
            (false, false) => Loudness::Normal,
            (false, true) => Loudness::Verbose,
        };
        Self {
            loudness,
            json: global.json,
        }
    }

    /// Whether the result is wanted as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether only errors and warnings are wanted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.loudness == Loudness::Quiet
    }

    /// Whether progress may be drawn: a terminal, and nobody asked for silence or JSON.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.json && self.loudness != Loudness::Quiet && std::io::stderr().is_terminal()
    }

    /// How many columns a result may fill: what `COLUMNS` says, if that is a width, else the terminal's; none when it is
    /// no terminal.
    pub(crate) fn width(&self) -> Option<usize> {
        let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        told.filter(|width| *width > 0)
            .or_else(|| terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| width.0.into()))
    }

    /// Whether results go to a terminal whose owner does not mind bold text.
    pub(crate) fn styles(&self) -> bool {
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    /// The result a command was asked for. A reader that closed the pipe early does not change how the command ends.
    pub(crate) fn result(&self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Whether anybody reads on.
    fn bytes(&self, bytes: &[u8]) -> bool {
        let mut out = std::io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::BrokenPipe => false,
            Err(error) => {
                self.to_stderr(&format!(
                    "cclake: cannot write the result to standard output: {error}"
                ));
                std::process::exit(2)
            }
        }
    }

    /// The result piece by piece, for what is too large to be held.
    pub(crate) fn results(&self) -> Results<'_> {
        Results { printer: self }
    }

    /// The result as a JSON document.
    pub(crate) fn json<T: Serialize>(&self, value: &T) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        self.result(&text);
        Ok(())
    }

    /// A report a person reads after the work; silent with `-q`.
    pub(crate) fn report(&self, text: &str) {
        if self.loudness != Loudness::Quiet {
            self.result(text);
        }
    }

    /// Something worth knowing while working, on standard error.
    pub(crate) fn note(&self, text: &str) {
        if self.loudness != Loudness::Quiet {
            self.to_stderr(text);
        }
    }

    /// What the work went past, on standard error; with `-q` too, since that is how cron tells a person.
    pub(crate) fn warning(&self, text: &str) {
        self.to_stderr(&format!("warning: {}", on_one_line(text)));
    }

    /// Detail for `-v`.
    pub(crate) fn detail(&self, text: &str) {
        if self.loudness == Loudness::Verbose {
            self.to_stderr(text);
        }
    }

    /// Why the command could not do its work: the chain of causes in one line.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        self.to_stderr(&format!("cclake: {}", sentence(error)));
    }

    fn to_stderr(&self, text: &str) {
        // Nobody left to tell when standard error is closed.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}

/// Where a result is written to piece by piece.
pub(crate) struct Results<'p> {
    printer: &'p Printer,
}

impl std::io::Write for Results<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if !self.printer.bytes(bytes) {
            // What is made piece by piece has no other work to finish.
            std::process::exit(0);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The causes joined, without repeating one that an outer message already quotes.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text
}
