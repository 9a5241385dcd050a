//! Pulls by the real containerd (and skopeo) through the agent, in the laboratory. Needs root; `make test-real`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot go on says so and ends"
)]

#[allow(
    dead_code,
    reason = "the tests and the demonstration use different parts of it"
)]
#[path = "../lab/lab.rs"]
mod lab;

mod without_agent;
