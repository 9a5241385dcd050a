//! What an unprivileged process of the node, or a hostile source, tries: the agent goes on serving, and nobody is misled.
//! `HARBOR_PILOT_HOSTILE=long` runs the long forms (`make hostile`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::large_futures,
    clippy::disallowed_methods,
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    reason = "it is test code, in which a panic is a failed test, and shares its help with other tests"
)]

mod choice;
#[path = "../agent/client.rs"]
mod client;
mod interim;
mod knowledge;
mod log;
mod memory;
#[path = "../agent/node.rs"]
mod node;
mod numbers;
mod places;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod tokens;

/// Whether the long forms were asked for.
fn is_long() -> bool {
    std::env::var("HARBOR_PILOT_HOSTILE").is_ok_and(|value| value == "long")
}

/// The program that is attacked where it is a process of its own: the one that was built with the tests, or another build of it
/// for its figures (`HARBOR_PILOT_BINARY`).
fn binary() -> String {
    let other = std::env::var("HARBOR_PILOT_BINARY");
    other.unwrap_or_else(|_| env!("CARGO_BIN_EXE_harbor-pilot").to_owned())
}
