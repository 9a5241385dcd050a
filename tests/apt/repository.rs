//! A signing key, and a repository that packaging/apt-repo.sh makes with it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What a program printed; an error where it failed.
pub(crate) fn text(output: &Output) -> Result<String, String> {
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    if output.status.success() {
        Ok(stdout)
    } else {
        Err(format!("{stdout}{stderr}"))
    }
}

/// A signing key in a keyring of its own.
pub(crate) struct Key {
    keyring: TempDir,
    name: String,
}

impl Key {
    pub(crate) fn new(name: &str) -> Self {
        let keyring = tempfile::tempdir().unwrap();
        let output = Command::new("gpg")
            .env("GNUPGHOME", keyring.path())
            .args(["--batch", "--quiet", "--passphrase", ""])
            .args(["--quick-generate-key", name, "ed25519", "sign", "never"])
            .output()
            .unwrap();
        text(&output).unwrap();
        Self {
            keyring,
            name: name.to_owned(),
        }
    }

    /// A program that works with its keyring.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("GNUPGHOME", self.keyring.path());
        command
    }

    /// What it goes by.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The same keyring, where another key is asked for.
    pub(crate) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// ASCII-armoured.
    pub(crate) fn public(&self) -> Vec<u8> {
        let mut export = self.command("gpg");
        export.args(["--batch", "--armor", "--export", &self.name]);
        let output = export.output().unwrap();
        text(&output).unwrap();
        output.stdout
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let kill = Command::new("gpgconf")
            .env("GNUPGHOME", self.keyring.path())
            .args(["--kill", "gpg-agent"])
            .output();
        drop(kill);
    }
}

/// The repository's directory.
pub(crate) struct Repository(TempDir);

impl Repository {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    /// Runs packaging/apt-repo.sh.
    pub(crate) fn publish(
        &self,
        key: &Key,
        suite: &str,
        packages: &[&Path],
    ) -> Result<String, String> {
        let output = key
            .command(Path::new(ROOT).join("packaging/apt-repo.sh"))
            .arg(self.path())
            .args([&key.name, suite])
            .args(packages)
            .output()
            .unwrap();
        text(&output)
    }
}
