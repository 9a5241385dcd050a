//! From 0.1.0 to this version and back, by apt on a booted Debian, while pulls run. Needs root, and the packages of
//! `make test-packages` and `tests/upgrade/package.sh`; `make test-upgrade`.
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

mod course;
mod load;
#[allow(dead_code, reason = "other tests use other parts of it")]
#[path = "../machine/node.rs"]
mod node;
