//! The registry behind everybody: an nginx with static files, TLS 1.3 and plain, on loopback.

use crate::Result;
use crate::process::{Process, free_address, own_cpu_seconds};
use harbor_pilot::oci::Digest;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a Harbor tier keeps docker.io/library/app.
pub(crate) const REPOSITORY: &str = "/v2/proxy-docker-io/library/app";
/// The certificate's DNS name, for clients that do not look for addresses in certificates.
pub(crate) const NAME: &str = "origin.test";

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The size of a common image's manifest.
const MANIFEST_BYTES: usize = 2048;

/// The running origin.
pub(crate) struct Origin {
    pub(crate) tls: SocketAddr,
    pub(crate) plain: SocketAddr,
    /// PEM of the authority that signed its certificate.
    pub(crate) ca_file: PathBuf,
    files: PathBuf,
    log: PathBuf,
    _process: Process,
}

/// A manifest with a tag of its own.
pub(crate) struct Image {
    pub(crate) tag: String,
    pub(crate) digest: Digest,
    pub(crate) length: usize,
}

/// A blob that exists until it is dropped.
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    /// CPU of one SHA-256 of it in this process.
    pub(crate) sha256_seconds: f64,
    path: PathBuf,
}

impl Origin {
    /// Makes the certificate, starts nginx.
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let root = directory.join("origin");
        let files = root.join("files");
        for kind in ["manifests", "blobs"] {
            fs::create_dir_all(files.join(REPOSITORY.trim_start_matches('/')).join(kind))?;
        }
        let ca_file = root.join("ca.pem");
        write_certificates(&root, &ca_file)?;
        let (tls, plain) = (free_address()?, free_address()?);
        let configuration = root.join("nginx.conf");
        let log = root.join("suites.log");
        fs::write(&configuration, configuration_text(&root, tls, plain))?;
        let mut command = Command::new("nginx");
        command.arg("-e").arg(root.join("error.log"));
        command.arg("-c").arg(&configuration);
        let process = Process::start(command, &root.join("output.log"), tls)?;
        Ok(Self {
            tls,
            plain,
            ca_file,
            files,
            log,
            _process: process,
        })
    }

    /// Puts a blob of incompressible bytes there; `seed` makes it another one.
    pub(crate) fn put_blob(&self, bytes: u64, seed: u64) -> Result<Blob> {
        const CHUNK: usize = 4 << 20;
        let directory = self.directory("blobs");
        let unnamed = directory.join("unnamed");
        let mut file = File::create(&unnamed)?;
        let mut hasher = Digest::sha256(b"").hasher();
        let mut sha256_seconds = 0.0;
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut left = bytes;
        let mut chunk = vec![0_u8; CHUNK];
        while left > 0 {
            let length = usize::try_from(left)?.min(CHUNK);
            chunk.truncate(length);
            for word in chunk.chunks_mut(8) {
                // xorshift64: fast and good enough not to compress.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let bytes = state.to_le_bytes();
                word.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
            }
            let before = own_cpu_seconds()?;
            hasher.update(&chunk);
            sha256_seconds += own_cpu_seconds()? - before;
            file.write_all(&chunk)?;
            left -= u64::try_from(length)?;
        }
        let digest = hasher.finish();
        let path = directory.join(digest.as_str());
        fs::rename(&unnamed, &path)?;
        Ok(Blob {
            digest,
            sha256_seconds,
            path,
        })
    }

    /// Puts a manifest there that names the blob; gives its bytes.
    pub(crate) fn put_manifest(&self, tag: &str, blob: &Digest, size: u64) -> Result<Vec<u8>> {
        let config = b"{}";
        let config_digest = Digest::sha256(config);
        fs::write(self.directory("blobs").join(config_digest.as_str()), config)?;
        let padded = |padding: usize| {
            let body = json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                           "digest": config_digest.as_str(), "size": config.len()},
                "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar",
                            "digest": blob.as_str(), "size": size}],
                "annotations": {"padding": "x".repeat(padding)},
            });
            body.to_string().into_bytes()
        };
        let body = padded(MANIFEST_BYTES.saturating_sub(padded(0).len()));
        let directory = self.directory("manifests");
        fs::write(directory.join(tag), &body)?;
        fs::write(directory.join(Digest::sha256(&body).as_str()), &body)?;
        Ok(body)
    }

    /// Puts so many images there; `series` makes them others.
    pub(crate) fn put_images(&self, count: usize, series: &str) -> Result<Vec<Image>> {
        let images = (0..count).map(|number| {
            let layer = Digest::sha256(format!("{series} {number}").as_bytes());
            let digest = Digest::sha256(&self.put_manifest("latest", &layer, 1)?);
            let body = fs::read(self.directory("manifests").join(digest.as_str()))?;
            // The origin tells a tag's digest by its name.
            let hex = digest.as_str().rsplit(':').next().unwrap_or_default();
            let tag = format!("tag-{hex}");
            fs::write(self.directory("manifests").join(&tag), &body)?;
            Ok(Image {
                tag,
                digest,
                length: body.len(),
            })
        });
        images.collect()
    }

    /// How many requests there were so far: its log is flushed each second.
    pub(crate) fn requests(&self) -> Result<usize> {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        Ok(BufReader::new(File::open(&self.log)?).lines().count())
    }

    /// The TLS versions and cipher suites of all requests so far.
    pub(crate) fn suites(&self) -> Result<String> {
        let mut found = BTreeSet::new();
        for line in BufReader::new(File::open(&self.log)?).lines() {
            found.insert(line?);
        }
        let found: Vec<_> = found.into_iter().filter(|suite| suite != "- -").collect();
        Ok(found.join(", "))
    }

    fn directory(&self, kind: &str) -> PathBuf {
        self.files
            .join(REPOSITORY.trim_start_matches('/'))
            .join(kind)
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        // It goes with the temporary directory at the latest.
        let _ = fs::remove_file(&self.path);
    }
}

fn write_certificates(root: &Path, ca_file: &Path) -> Result<()> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::<String>::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // A leaf of the same name would look self-signed.
    ca.distinguished_name
        .push(DnType::CommonName, "bench authority");
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate()?;
    let names = vec!["127.0.0.1".to_owned(), NAME.to_owned()];
    let mut leaf = CertificateParams::new(names)?;
    leaf.distinguished_name.push(DnType::CommonName, NAME);
    let leaf = leaf.signed_by(&key, &issuer)?;
    fs::write(ca_file, ca_pem)?;
    fs::write(root.join("cert.pem"), leaf.pem())?;
    fs::write(root.join("key.pem"), key.serialize_pem())?;
    Ok(())
}

/// Temporary paths of nginx, which else are those of the system's nginx.
pub(crate) fn nginx_paths(root: &Path) -> String {
    let root = root.display();
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {root}/{kind};\n"))
        .concat()
}

fn configuration_text(root: &Path, tls: SocketAddr, plain: SocketAddr) -> String {
    let paths = nginx_paths(root);
    let root = root.display();
    format!(
        r#"daemon off;
user root;
worker_processes 2;
pid {root}/nginx.pid;
events {{ worker_connections 2048; }}
http {{
{paths}
  log_format suite '$ssl_protocol $ssl_cipher';
  access_log {root}/suites.log suite buffer=64k flush=1s;
  keepalive_requests 100000000;
  keepalive_timeout 1h;
  sendfile on;
  types {{ }}
  server {{
    listen {plain};
    listen {tls} ssl;
    ssl_certificate {root}/cert.pem;
    ssl_certificate_key {root}/key.pem;
    ssl_protocols TLSv1.3;
    root {root}/files;
    location = /v2/ {{ return 200 '{{}}'; }}
    location ~ "/manifests/(tag-|sha256:)(?<hex>[0-9a-f]{{64}})$" {{
      default_type {MANIFEST_TYPE};
      add_header Docker-Content-Digest sha256:$hex;
    }}
    location ~ /manifests/ {{ default_type {MANIFEST_TYPE}; }}
    location ~ /blobs/(?<digest>sha256:[0-9a-f]+)$ {{
      default_type application/octet-stream;
      add_header Docker-Content-Digest $digest;
    }}
  }}
}}
"#
    )
}
