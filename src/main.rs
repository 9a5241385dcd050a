//! The binary: hand the arguments to the library and turn its answer into an exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    harbor_pilot::cli::main()
}
