//! containerd's own code, asked line by line.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What containerd sees of a registry.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct View {
    pub(crate) error: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) hosts: Vec<Seen>,
}

/// One host that it asks.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Seen {
    pub(crate) scheme: String,
    pub(crate) host: String,
    pub(crate) path: String,
    capabilities: u32,
    #[serde(deserialize_with = "or_default")]
    headers: BTreeMap<String, Vec<String>>,
    #[serde(deserialize_with = "or_default")]
    ca: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    clients: Vec<String>,
    skip_verify: bool,
    http_fallback: bool,
    #[serde(deserialize_with = "or_default")]
    rewrites: BTreeMap<String, String>,
}

impl Seen {
    pub(crate) fn is_embedded(&self) -> bool {
        let host = self
            .host
            .rsplit_once(':')
            .map_or(&*self.host, |(host, _)| host);
        let local = host == "localhost" || host == "127.0.0.1";
        local && self.scheme == "https" && !self.clients.is_empty()
    }
}

/// Go prints nothing as null.
fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// One generation of containerd.
pub(crate) struct Judge {
    pub(crate) name: &'static str,
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// The version of the old one.
pub(crate) const OLD: &str = "1.7.31";

/// All of them, built once.
pub(crate) fn all() -> Vec<Judge> {
    [OLD, "1.7", "2.1", "2.2", "k3s"].map(Judge::new).into()
}

impl Judge {
    fn new(name: &'static str) -> Self {
        let mut child = Command::new(build(name))
            // So that the CAs that it sees are those of the files alone.
            .env("SSL_CERT_FILE", "/dev/null")
            .env("SSL_CERT_DIR", "/nonexistent")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It logs each file that it cannot read.
            .stderr(Stdio::null())
            .spawn()
            .expect("the judge starts");
        Self {
            name,
            questions: child.stdin.take().expect("piped"),
            answers: BufReader::new(child.stdout.take().expect("piped")),
            child,
        }
    }

    /// The containerd that is k3s' own.
    pub(crate) fn is_k3s(&self) -> bool {
        self.name == "k3s"
    }

    /// The last one that reads no file without a `host` table.
    pub(crate) fn is_old(&self) -> bool {
        self.name == OLD
    }

    pub(crate) fn asks(&mut self, roots: &[PathBuf], registry: &str) -> View {
        let question = serde_json::json!({ "roots": roots, "registry": registry });
        writeln!(self.questions, "{question}").expect("the judge listens");
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .expect("the judge answers");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn build(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("law-{name}"));
    let mut command = Command::new("go");
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node_checker/law"))
        .env("GOTOOLCHAIN", "local")
        .args(["build", "-mod=readonly"])
        .arg(format!("-modfile={name}.mod"));
    if name.starts_with('1') {
        command.arg("-tags=containerd1");
    }
    let built = command
        .arg("-o")
        .arg(&program)
        .arg(".")
        .output()
        .expect("there is no go of 1.25 or later; `make deps` brings one");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(
        built.status.success(),
        "go build of the judge {name} failed: {said}"
    );
    program
}
