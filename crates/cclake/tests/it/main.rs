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

mod builds;
mod commands;
mod faults;
mod first_light;
mod memory;
mod next_steps;
mod oddities;
mod own_project;
mod peers;
mod places;
mod readers;
mod refusals;
mod sources;
mod tidy;
mod truth;
