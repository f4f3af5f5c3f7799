//! One command, one file, one function: resolved settings and a printer in, an exit status out.

mod completions;
mod config;
mod demo;
mod dlq;
mod docs;
mod doctor;
mod extract;
mod lake;
mod load;
mod query;
mod report;
mod run;
mod sync;
mod test;
mod transform;

use crate::ExitStatus;
use crate::cli::{Cli, Command, DocsCommand, Global, LakeCommand, SourceArgs};
use crate::printer::Printer;
use crate::settings::{Environment, Flags, Settings};

/// Resolves the settings and hands over to the command.
pub(crate) fn dispatch(cli: Cli, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let global = cli.global;
    let settings = |source: &SourceArgs| resolve(&global, source);
    let plain = || resolve(&global, &SourceArgs::default());
    match cli.command {
        Command::Run(args) => run::run(&settings(&args.source)?, &args, printer),
        Command::Extract(args) => extract::extract(&settings(&args.source)?, &args, printer),
        Command::Sync(args) => {
            let source = SourceArgs {
                paths: args.paths.clone(),
                source: None,
            };
            sync::sync(&settings(&source)?, &args, printer)
        }
        Command::Load => load::load(&plain()?, printer),
        Command::Transform(args) => transform::transform(&plain()?, &args, printer),
        Command::Test(args) => test::test(&plain()?, &args, printer),
        Command::Query(args) => query::query(&plain()?, &args, printer),
        Command::Report(args) => report::report(&plain()?, &args, printer),
        Command::Lake(LakeCommand::Maintain(args)) => lake::maintain(&plain()?, &args, printer),
        Command::Dlq(command) => dlq::dlq(&plain()?, &command, printer),
        Command::Docs(DocsCommand::Generate) => docs::generate(&plain()?, printer),
        Command::Docs(DocsCommand::Serve(args)) => docs::serve(&plain()?, &args, printer),
        Command::Docs(DocsCommand::Export { dir }) => docs::export(&plain()?, &dir, printer),
        Command::Demo(args) => demo::demo(&args, printer),
        Command::Config => config::config(&plain()?, printer),
        Command::Doctor(args) => doctor::doctor(&settings(&args)?, printer),
        Command::Completions { shell } => completions::completions(shell, printer),
    }
}

fn resolve(global: &Global, source: &SourceArgs) -> anyhow::Result<Settings> {
    let flags = Flags {
        config: global.config.clone(),
        data_dir: global.data_dir.clone(),
        paths: source.paths.clone(),
        source: source.source.clone(),
        prices: global.prices.clone(),
    };
    Settings::resolve(&flags, &Environment::of_process()?)
}
