//! The laboratory's certificate authority, made with openssl.

use super::process::run;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A server's chain and key.
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// One authority that the agent and containerd are told to trust, and one that nobody knows.
pub(crate) struct Certificates {
    ca: PathBuf,
    good: Identity,
    wrong: Identity,
    expired: Identity,
}

impl Certificates {
    /// Makes both authorities and a certificate for `*.lab.example` from each.
    pub(crate) fn make(directory: &Path) -> Self {
        let directory = directory.join("tls");
        fs::create_dir(&directory).expect("the laboratory's directory is writable");
        let good = issue(&directory, "lab");
        let wrong = issue(&directory, "unknown");
        let expired = reissue_expired(&directory, "lab");
        Self {
            ca: directory.join("lab-ca.pem"),
            good,
            wrong,
            expired,
        }
    }

    /// The authority to trust.
    pub(crate) fn ca(&self) -> &Path {
        &self.ca
    }

    /// What the servers show.
    pub(crate) fn good(&self) -> &Identity {
        &self.good
    }

    /// From the known authority, and over.
    pub(crate) fn expired(&self) -> &Identity {
        &self.expired
    }

    /// The same names from the unknown authority.
    pub(crate) fn wrong(&self) -> &Identity {
        &self.wrong
    }
}

/// Another certificate for the same key and names: made a month ago, good for two days.
fn reissue_expired(directory: &Path, authority: &str) -> Identity {
    let path = |suffix: &str| directory.join(format!("{authority}-{suffix}"));
    let certificate = path("expired.pem");
    run(Command::new("faketime")
        .args(["-f", "-30d", "openssl", "x509", "-req", "-days", "2", "-in"])
        .arg(path("cert.csr"))
        .arg("-CA")
        .arg(path("ca.pem"))
        .arg("-CAkey")
        .arg(path("ca.key"))
        .arg("-extfile")
        .arg(path("cert.ext"))
        .arg("-out")
        .arg(&certificate));
    Identity {
        certificate,
        key: path("cert.key"),
    }
}

fn issue(directory: &Path, authority: &str) -> Identity {
    let path = |suffix: &str| directory.join(format!("{authority}-{suffix}"));
    let (ca, ca_key) = (path("ca.pem"), path("ca.key"));
    let (certificate, key, request) = (path("cert.pem"), path("cert.key"), path("cert.csr"));
    let extensions = path("cert.ext");
    fs::write(
        &extensions,
        "subjectAltName=DNS:*.lab.example\nextendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:FALSE\n",
    )
    .expect("the laboratory's directory is writable");
    let curve = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    run(Command::new("openssl")
        .args(["req", "-x509", "-days", "2", "-subj"])
        .arg(format!("/CN={authority} authority"))
        .args(curve)
        .arg("-keyout")
        .arg(&ca_key)
        .arg("-out")
        .arg(&ca));
    run(Command::new("openssl")
        .args(["req", "-subj", "/CN=lab.example"])
        .args(curve)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&request));
    run(Command::new("openssl")
        .args(["x509", "-req", "-days", "2", "-CAcreateserial", "-in"])
        .arg(&request)
        .arg("-CA")
        .arg(&ca)
        .arg("-CAkey")
        .arg(&ca_key)
        .arg("-extfile")
        .arg(&extensions)
        .arg("-out")
        .arg(&certificate));
    Identity { certificate, key }
}
