//! `cclake`: your Claude Code conversations as a lakehouse.
//!
//! The conductor: it hands Arrow batches from stage to stage and is the only crate that knows all of them.

mod artifacts;
mod cells;
mod cli;
mod commands;
mod data_dir;
mod days;
mod demo;
mod docs;
mod http;
mod labels;
mod memory;
mod prices;
mod printer;
mod progress;
mod project;
#[cfg(test)]
mod reference;
mod report;
mod settings;
mod stages;
mod summary;

use std::process::ExitCode;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let printer = printer::Printer::new(&cli.global);
    match commands::dispatch(cli, &printer) {
        Ok(status) => status.into(),
        Err(error) => {
            printer.error(&error);
            ExitStatus::Failure.into()
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// Everything was done and passed.
    Success,
    /// The work was done, but the data failed a check.
    DataFailed,
    /// The command could not do its work.
    Failure,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        match status {
            ExitStatus::Success => Self::SUCCESS,
            ExitStatus::DataFailed => Self::from(1),
            ExitStatus::Failure => Self::from(2),
        }
    }
}
