//! `cclake demo`: synthetic transcripts.

use anyhow::Context as _;

use crate::ExitStatus;
use crate::cli::DemoArgs;
use crate::demo::{Options, generate};
use crate::printer::Printer;
use crate::progress::Progress;

/// Writes the transcripts and says where, and what they add up to.
pub(crate) fn demo(args: &DemoArgs, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let options = Options {
        out: args.out.clone(),
        days: args.days,
        sessions: args.sessions.into(),
        seed: args.seed,
        until: args
            .until
            .parse()
            .with_context(|| format!("--until {} is no date like 2026-09-30", args.until))?,
    };
    let progress = Progress::new(printer);
    progress.begin("demo", u64::from(args.sessions));
    let truth = generate(&options, &mut |_| progress.advance(1))?;
    progress.end();
    if printer.is_json() {
        printer.json(&truth)?;
    } else {
        printer.report(&format!(
            "wrote {} files with {} lines to {}; {} says what they add up to\n",
            truth.files,
            truth.lines,
            args.out.join("projects").display(),
            args.out.join("truth.json").display(),
        ));
    }
    Ok(ExitStatus::Success)
}
