//! What a start of k3s does to the node's files, and that the running daemon has them back within a second (design
//! F2, F7). main.go does what k3s does; it is not k3s. Its own behaviours have their tests in `behaviours`.
//!
//! Needs root (for namespaces of its own: the daemon looks for root's processes) and a Go toolchain, so a plain
//! `cargo test` leaves it out: `cargo test --test node_k3s`.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test's own helpers end the test"
)]

mod behaviours;
mod node;
mod starts;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The stand-in, built once. Its name is what the daemon looks for.
fn stand_in() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node_k3s");
        let program = directory.join("k3s");
        let built = Command::new("go")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node_k3s"))
            .args(["build", "-mod=readonly", "-o"])
            .arg(&program)
            .arg(".")
            .output()
            .expect("there is no go; `make deps` installs Debian's golang-go");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "go build failed: {said}");
        program
    })
}
