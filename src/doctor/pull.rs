//! Finds pulls that bypass the agent: containerd pulls an image that only the agent has
//! ([`doctor_image`](crate::server::doctor_image)), and the agent says whether it was asked.

use super::code::Code;
use super::report::{Check, State};
use super::tool::{Ran, Tool};
use crate::config::Secret;
use crate::node::desired::KEY_HEADER;
use crate::server::doctor_image::{REPOSITORY, TAG_PREFIX};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// containerd has this long; a registry that it asks past the agent may be silent.
const PULL_LIMIT: Duration = Duration::from_secs(8);
/// The agent answers this from memory.
const ASK_LIMIT: Duration = Duration::from_secs(2);
const ANSWER_BYTES: u64 = 16 * 1024;

/// What is pulled, through whom.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) tool: Tool,
    pub(super) agent: SocketAddr,
    pub(super) key: Option<Secret>,
    /// Whose images containerd asks the agent for.
    pub(super) registry: String,
    pub(super) certs_d: PathBuf,
    /// Random: no tag is used twice.
    pub(super) nonce: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The running agent has no test image.
    Unknown,
    /// containerd itself does not answer.
    NoContainerd(Ran),
    Tried {
        pulled: Ran,
        /// The agent was asked for the very tag.
        seen: bool,
    },
}

// === impl Trial ===

impl Trial {
    /// The image, under a name that nobody ever had.
    pub(super) fn reference(&self) -> String {
        format!("{}/{REPOSITORY}:{}", self.registry, self.tag())
    }

    fn tag(&self) -> String {
        format!("{TAG_PREFIX}{:016x}", self.nonce)
    }

    /// Tries it, and leaves nothing behind.
    pub(super) async fn run(self) -> Outcome {
        if self.tags().await.is_none() {
            return Outcome::Unknown;
        }
        let (tool, reference, certs_d) =
            (self.tool.clone(), self.reference(), self.certs_d.clone());
        let pulled = tokio::task::spawn_blocking(move || {
            let there = tool.reaches_containerd();
            if !there.succeeded {
                return Err(there);
            }
            let pulled = tool.pull(&reference, &certs_d, PULL_LIMIT);
            if pulled.succeeded {
                tool.remove(&reference);
            }
            Ok(pulled)
        });
        let lost = |_| {
            Err(Ran {
                succeeded: false,
                said: "the check itself was interrupted".to_owned(),
            })
        };
        match pulled.await.unwrap_or_else(lost) {
            Err(said) => Outcome::NoContainerd(said),
            Ok(pulled) => {
                let tags = self.tags().await.unwrap_or_default();
                let seen = tags.contains(&self.tag());
                Outcome::Tried { pulled, seen }
            }
        }
    }

    /// The tags that the agent was asked for lately; `None`: it does not know of any test image.
    async fn tags(&self) -> Option<String> {
        let key = self
            .key
            .as_ref()
            .map(|key| format!("{KEY_HEADER}: {}\r\n", key.reveal()));
        let request = format!(
            "GET /v2/{REPOSITORY}/tags/list HTTP/1.1\r\nhost: {}\r\n{}connection: close\r\n\r\n",
            self.agent,
            key.unwrap_or_default(),
        );
        let ask = async {
            let mut stream = TcpStream::connect(self.agent).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = timeout(ASK_LIMIT, ask).await.ok()?.ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        (head.starts_with("HTTP/1.1 200") && body.contains(REPOSITORY)).then(|| body.to_owned())
    }
}

pub(super) fn pull(reference: &str, tool: &Tool, outcome: &Outcome) -> Check {
    let name = tool.name();
    match outcome {
        Outcome::Unknown => Check::not_applicable(
            "pull",
            "the running agent is of a version without doctor's test image",
        ),
        Outcome::NoContainerd(ran) => Check::not_made(
            "pull",
            format!("{name} does not reach containerd: {}", ran.said),
        ),
        Outcome::Tried { pulled, seen } => {
            let mut check = Check::made("pull", "");
            check.said = format!("{name} pulled the test image through the agent");
            if !tool.is_cri() {
                check.note("the pull was made by ctr, which reads the directory by itself; that containerd reads it for pods as well is judged from its config.toml");
            }
            if pulled.succeeded {
                return check;
            }
            check.said = format!("{name} could not pull the test image");
            if *seen {
                check.error(
                    Code::PullFails,
                    reference,
                    format!("containerd asked the agent and failed all the same: {}", pulled.said),
                    "look at containerd's own log: journalctl -u containerd -n 30, for k3s DATA_DIR/agent/containerd/containerd.log",
                );
            } else {
                check.error(
                    Code::PullBypassesAgent,
                    reference,
                    format!("containerd did not ask the agent for it, though hosts.toml says so: {}", pulled.said),
                    "see that containerd's config_path names that one directory (harbor-pilot plan prints the lines) and that hosts.toml lists the agent first; then restart containerd when it suits",
                );
            }
            check
        }
    }
}

/// Of pulls for several registries one check. What keeps one from being made keeps all.
pub(super) fn together(pulls: Vec<Check>) -> Check {
    let all = pulls.len();
    let mut pulls = pulls.into_iter();
    let Some(mut check) = pulls.next() else {
        return Check::not_applicable("pull", "no host configuration names the agent first");
    };
    for other in pulls {
        if matches!(other.state, State::NotMade) && check.state == State::Ok {
            check.could_not(other.said.clone());
        }
        if !other.findings.is_empty() {
            check.state = State::Findings;
            check.said = other.said;
        }
        check.findings.extend(other.findings);
    }
    if check.state == State::Ok && all > 1 {
        check.said = format!("{}, of {all} registries", check.said);
    }
    check
}

#[cfg(test)]
mod tests;
