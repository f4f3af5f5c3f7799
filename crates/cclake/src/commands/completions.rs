//! `cclake completions SHELL`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::ExitStatus;
use crate::cli::Cli;
use crate::printer::Printer;

/// Prints the completion script.
pub(crate) fn completions(shell: Shell, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cclake", &mut script);
    printer.result(&String::from_utf8(script)?);
    Ok(ExitStatus::Success)
}
