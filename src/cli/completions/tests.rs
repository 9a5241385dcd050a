//! Tests of cli/completions.

use super::*;
use clap::Arg;

fn command() -> Command {
    let status = Command::new("status").arg(Arg::new("watch").long("watch"));
    Command::new("harbor-pilot").subcommand(status)
}

#[test]
fn every_shell_learns_the_commands() {
    for shell in [
        Shell::Bash,
        Shell::Zsh,
        Shell::Fish,
        Shell::Elvish,
        Shell::PowerShell,
    ] {
        let mut out = Vec::new();
        completions(shell, &mut command(), &mut out).unwrap();
        let script = String::from_utf8(out).unwrap();
        assert!(
            script.contains("status") && script.contains("watch"),
            "{shell}"
        );
    }
}

#[test]
fn a_closed_pipe_is_an_error_and_no_panic() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    completions(Shell::Bash, &mut command(), &mut Closed).unwrap_err();
}
