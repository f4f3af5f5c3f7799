//! Drives the real executable in folders of its own, as a person would.
#![allow(missing_docs, reason = "tests say what they are about in their names")]

mod support;

mod builds;
mod commands;
mod faults;
mod first_light;
mod oddities;
mod peers;
mod readers;
mod refusals;
mod sources;
mod tidy;
mod truth;
