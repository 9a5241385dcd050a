//! What the laboratory needs of the machine, checked before anything is started.

use std::path::PathBuf;
use std::process::Command;

const PROGRAMS: [(&str, &str); 15] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("docker-registry", "docker-registry"),
    ("skopeo", "skopeo"),
    ("umoci", "umoci"),
    ("nginx", "nginx-light"),
    ("dnsmasq", "dnsmasq-base"),
    ("faketime", "faketime"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("openssl", "openssl"),
    ("curl", "curl"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
];

/// The one program of the images: it must run without any library.
pub(crate) const BUSYBOX: &str = "/bin/busybox";

/// Panics with what to do if a privilege or a program is missing.
pub(crate) fn require() {
    let user = Command::new("id").arg("-u").output().expect("id runs");
    assert_eq!(
        String::from_utf8_lossy(&user.stdout).trim(),
        "0",
        "the laboratory makes a network namespace and runs containerd: run it as root"
    );
    let mut missing: Vec<&str> = PROGRAMS
        .into_iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| package)
        .collect();
    if !PathBuf::from(BUSYBOX).exists() {
        missing.push("busybox-static");
    }
    missing.dedup();
    assert!(
        missing.is_empty(),
        "not installed: {}; run `make deps` as root",
        missing.join(" ")
    );
}

/// What `make deps` and its like have built.
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/bin");

/// Where a program is. `/usr/sbin` and the built tools count even if the caller's PATH leaves them out.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain([
            TOOLS,
            "/usr/local/sbin",
            "/usr/sbin",
            "/sbin",
            "/usr/bin",
            "/bin",
        ])
        .map(|directory| PathBuf::from(directory).join(program))
        .find(|candidate| candidate.is_file())
}
