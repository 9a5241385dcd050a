//! The images that this node's containerd has.

use super::list;
use std::process::Command;

/// Who is asked, in turn: crictl as it is installed, k3s' and rke2's own (which knows its socket by this file alone), containerd's
/// ctr in the namespace of Kubernetes.
const ASKED: [&[&str]; 4] = [
    &["crictl", "images", "-o", "json"],
    &["k3s", "crictl", "images", "-o", "json"],
    &[
        "/var/lib/rancher/rke2/bin/crictl",
        "--config",
        "/var/lib/rancher/rke2/agent/etc/crictl.yaml",
        "images",
        "-o",
        "json",
    ],
    &["ctr", "-n", "k8s.io", "images", "ls", "-q"],
];

/// Their names.
///
/// # Errors
/// In words: what each program said.
pub(super) fn images() -> Result<Vec<String>, String> {
    let mut failed = Vec::new();
    for words in ASKED {
        let [program, arguments @ ..] = words else {
            continue;
        };
        let line = words.join(" ");
        match Command::new(program).args(arguments).output() {
            Ok(output) if output.status.success() => {
                let text = String::from_utf8_lossy(&output.stdout);
                let images = list::images(&text).map_err(|error| format!("{line}: {error}"))?;
                let is_named = |name: &String| !name.starts_with("sha256:");
                return Ok(images.into_iter().filter(is_named).collect());
            }
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = said.lines().next().unwrap_or_default();
                failed.push(format!("{line}: {said}"));
            }
            Err(error) => failed.push(format!("{line}: {error}")),
        }
    }
    Err(format!(
        "no program told which images this node has: {}",
        failed.join("; ")
    ))
}
