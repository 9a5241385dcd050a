//! The Ansible role, run for real against two Debian machines with systemd and a stand-in for k3s. Needs root;
//! `make test-ansible`.
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

mod apt;
mod node_files;
mod package;
#[path = "../apt/repository.rs"]
#[allow(dead_code, reason = "the repository's own tests use the rest")]
mod repository;
mod rollout;
mod site;
mod waves;
