//! x
use crate::config::Loader;
use std::io::{self, Write};
/// x
#[derive(Debug)]
pub struct ExplainArgs { /// x
 pub loader: Loader, /// x
 pub image: String, /// x
 pub probe: bool, /// x
 pub json: bool }
/// x
/// # Errors
/// x
pub fn run(_args: &ExplainArgs, _stdout: &mut dyn Write, _stderr: &mut dyn Write) -> io::Result<u8> { Ok(2) }
