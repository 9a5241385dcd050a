//! Writes the manual pages and completions of the package, out of the commands' own grammar:
//! `cargo run --example manuals -- DIRECTORY`.

use clap::CommandFactory as _;
use clap_complete::Shell;
use harbor_pilot::cli::Arguments;
use std::fs;
use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let Some(directory) = std::env::args_os().nth(1) else {
        return Err(io::Error::other("write the directory as the argument"));
    };
    generate(Path::new(&directory))
}

/// Writes `man/*.1` and `completions/*` below this directory.
pub(crate) fn generate(directory: &Path) -> io::Result<()> {
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder)?;
    }
    clap_mangen::generate_to(Arguments::command(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(
            shell,
            &mut Arguments::command(),
            "harbor-pilot",
            &completions,
        )?;
    }
    Ok(())
}
