//! `harbor-pilot completions SHELL`.

use clap::Command;
use clap_complete::Shell;
use std::io::{self, Write};

/// Writes the completion script of a command for a shell.
pub fn completions(shell: Shell, command: &mut Command, out: &mut dyn Write) -> io::Result<()> {
    // Through memory: the generator panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "harbor-pilot", &mut script);
    out.write_all(&script)
}

#[cfg(test)]
mod tests;
