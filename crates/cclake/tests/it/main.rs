//! Drives the real executable in folders of its own, as a person would.
#![allow(missing_docs, reason = "tests say what they are about in their names")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a test that cannot go on should say where; counts are small"
)]

mod support;
mod talk;

mod artifacts;
mod builds;
mod commands;
mod costs;
mod dead_letters;
mod docs;
mod engine;
mod faults;
mod first_light;
mod increments;
mod memory;
mod metrics;
mod mongo;
mod next_steps;
mod oddities;
mod own_project;
mod parity;
mod peers;
mod places;
mod readers;
mod refusals;

mod report;
mod report_page;
mod report_peer;
mod report_tables;
mod snapshots;
mod sources;
mod tidy;
mod truth;
mod upkeep;
