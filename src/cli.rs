//! stub
pub mod check;
pub mod init;
/// x
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
