//! Another program that has taken the agent's port: this one, started again inside the laboratory's network.

use crate::lab::Lab;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// Set for the child: `silent` or `nonsense`.
const KIND: &str = "HARBOR_PILOT_THIEF";
/// Set for the child: where it writes what it is asked.
const LOG: &str = "HARBOR_PILOT_THIEF_LOG";

/// It ends with the value.
pub(crate) struct Thief {
    child: Child,
    log: PathBuf,
}

impl Thief {
    /// Takes the port; returns when it has it.
    pub(crate) fn start(lab: &Lab, directory: &Path, kind: &str) -> Self {
        let log = directory.join(format!("thief-{kind}"));
        fs::write(&log, "").unwrap();
        let mut command = lab.command(std::env::current_exe().unwrap());
        let mut child = command
            .args(["--exact", "own_death::thief::child", "--nocapture"])
            .env(KIND, kind)
            .env(LOG, &log)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let took = lines.any(|line| line.is_ok_and(|line| line.contains("taken")));
        assert!(took, "the port could not be taken");
        Self { child, log }
    }

    /// The first line of every request.
    pub(crate) fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Thief {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What the child does until it is killed; nothing in an ordinary run.
#[test]
fn child() {
    let Ok(kind) = std::env::var(KIND) else {
        return;
    };
    let log = std::env::var_os(LOG).unwrap();
    let listener = TcpListener::bind("127.0.0.1:290").unwrap();
    println!("taken");
    let mut held = Vec::new();
    for mut stream in listener.incoming().flatten() {
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap_or_default();
        let text = String::from_utf8_lossy(&request[..length]).into_owned();
        let mut file = fs::File::options().append(true).open(&log).unwrap();
        writeln!(file, "{}", text.lines().next().unwrap_or_default()).unwrap();
        if kind == "silent" {
            held.push(stream);
        } else {
            let answer =
                b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 8\r\n\r\nnonsense";
            drop(stream.write_all(answer));
        }
    }
}
