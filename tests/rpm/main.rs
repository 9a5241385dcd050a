//! The rpm: what it says of itself, and an operator's day on a machine with Debian's rpm, dnf and zypper, which is the nearest to
//! RHEL and SLES that can be had here. Needs root and the packages of `make test-packages test-rpms`; `make test-rpm`.
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
#[allow(dead_code, reason = "other tests use other parts of it")]
#[path = "../machine/node.rs"]
mod node;
mod package;
mod role;
