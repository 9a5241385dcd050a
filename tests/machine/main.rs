//! The package on a real Debian: systemd boots in a container of its own beside the laboratory, and an operator's
//! day goes by. Needs root; `make test-machine`.
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
    unused_imports,
    reason = "other tests use other parts of it"
)]
#[path = "../lab/lab.rs"]
mod lab;

mod day;
mod faults;
mod harness;
mod healthd;
mod node;
mod package;
mod port;
mod restarts;
mod runtimes;
mod ten_faults;
mod warm;
