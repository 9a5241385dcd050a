//! Images made on the spot, without any network: a program, a large random layer and a greeting, for two
//! platforms under one index.

use super::network::Network;
use super::process::run;
use super::{TAG, programs};
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const RANDOM_BYTES: u64 = 8 << 20;

/// Layers besides the three that every image has: how many, and how many random bytes each holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MoreLayers {
    pub(crate) count: usize,
    pub(crate) bytes: u64,
}

/// An image in an OCI layout.
pub(crate) struct Image {
    repository: String,
    layout: PathBuf,
    index: String,
    manifest: String,
    config: String,
    layers: Vec<String>,
}

impl Image {
    /// Makes it, with more layers besides the three. Its bytes are its own: nothing is shared with other images but the
    /// program.
    pub(crate) fn make(directory: &Path, repository: &str, more: MoreLayers) -> Self {
        let directory = directory.join("images").join(repository.replace('/', "-"));
        let layout = directory.join("layout");
        fs::create_dir_all(directory.join("bin")).expect("the laboratory's directory is writable");
        fs::create_dir_all(directory.join("data")).expect("the laboratory's directory is writable");
        fs::copy(programs::BUSYBOX, directory.join("bin/busybox")).expect("busybox can be copied");
        fs::write(directory.join("data/random"), random(RANDOM_BYTES))
            .expect("the laboratory's directory is writable");

        run(Command::new("umoci")
            .arg("init")
            .arg("--layout")
            .arg(&layout));
        for architecture in ["amd64", "arm64"] {
            let image = format!("{}:{architecture}", layout.display());
            let greeting = directory.join(format!("greeting-{architecture}"));
            fs::write(
                &greeting,
                format!("{repository} for {architecture} works\n"),
            )
            .expect("the laboratory's directory is writable");
            run(Command::new("umoci").args(["new", "--image", &image]));
            run(Command::new("umoci")
                .args(["config", "--image", &image, "--os", "linux"])
                .args([
                    "--architecture",
                    architecture,
                    "--config.cmd",
                    "/bin/busybox",
                    "--config.cmd",
                    "cat",
                    "--config.cmd",
                    "/greeting",
                ]));
            for (from, to) in [("bin", "/bin"), ("data", "/data")] {
                let from = directory.join(from);
                run(Command::new("umoci")
                    .args(["insert", "--image", &image])
                    .arg(from)
                    .arg(to));
            }
            run(Command::new("umoci")
                .args(["insert", "--image", &image])
                .arg(&greeting)
                .arg("/greeting"));
            for number in 0..more.count {
                let file = directory.join("more");
                let mut content = format!("{repository} {number}\n").into_bytes();
                content.extend(random(more.bytes));
                fs::write(&file, content).expect("the laboratory's directory is writable");
                run(Command::new("umoci")
                    .args(["insert", "--image", &image])
                    .arg(&file)
                    .arg(format!("/more/{number}")));
            }
        }
        Self::index(repository, layout)
    }

    /// Puts both platforms under one index that carries the tag.
    fn index(repository: &str, layout: PathBuf) -> Self {
        let mut top: Value = read_json(&layout.join("index.json"));
        let mut entries = Vec::new();
        for architecture in ["amd64", "arm64"] {
            let descriptors = top["manifests"].as_array().expect("umoci writes a list");
            let descriptor = descriptors
                .iter()
                .find(|entry| {
                    entry["annotations"]["org.opencontainers.image.ref.name"] == architecture
                })
                .expect("umoci wrote the image");
            entries.push(json!({
                "mediaType": MANIFEST,
                "digest": descriptor["digest"],
                "size": descriptor["size"],
                "platform": {"architecture": architecture, "os": "linux"},
            }));
        }
        let native = usize::from(cfg!(target_arch = "aarch64"));
        let manifest = entries[native]["digest"]
            .as_str()
            .expect("a digest")
            .to_owned();
        let bytes =
            json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
        let index = sha256(bytes.as_bytes());
        fs::write(blob(&layout, &index), &bytes).expect("the laboratory's directory is writable");
        top["manifests"]
            .as_array_mut()
            .expect("umoci writes a list")
            .push(json!({
                "mediaType": INDEX,
                "digest": index,
                "size": bytes.len(),
                "annotations": {"org.opencontainers.image.ref.name": TAG},
            }));
        fs::write(layout.join("index.json"), top.to_string())
            .expect("the laboratory's directory is writable");

        let content: Value = read_json(&blob(&layout, &manifest));
        let digest = |value: &Value| value["digest"].as_str().expect("a digest").to_owned();
        let config = digest(&content["config"]);
        let layers = content["layers"]
            .as_array()
            .expect("layers")
            .iter()
            .map(digest)
            .collect();
        Self {
            repository: repository.to_owned(),
            layout,
            index,
            manifest,
            config,
            layers,
        }
    }

    /// Copies it, both platforms, into a store.
    pub(crate) fn push(&self, network: &Network, port: u16, repository: &str) {
        let mut command = network.command("skopeo");
        command.args([
            "--insecure-policy",
            "copy",
            "--quiet",
            "--all",
            "--preserve-digests",
        ]);
        command.args(["--dest-tls-verify=false", "--dest-creds", "lab:lab-secret"]);
        command.arg(format!("oci:{}:{TAG}", self.layout.display()));
        command.arg(format!("docker://127.0.0.1:{port}/{repository}:{TAG}"));
        run(&mut command);
    }

    /// `library/app`
    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    /// `registry/library/app:1`
    pub(crate) fn by_tag(&self, registry: &str) -> String {
        format!("{registry}/{}:{TAG}", self.repository)
    }

    /// `registry/library/app@sha256:…`
    pub(crate) fn by_digest(&self, registry: &str) -> String {
        format!("{registry}/{}@{}", self.repository, self.index)
    }

    /// Digest of the index.
    pub(crate) fn index_digest(&self) -> &str {
        &self.index
    }

    /// Digest of the manifest for this machine.
    pub(crate) fn manifest_digest(&self) -> &str {
        &self.manifest
    }

    /// Digest of the configuration for this machine: a small blob.
    pub(crate) fn config_digest(&self) -> &str {
        &self.config
    }

    /// Digests of the layers for this machine.
    pub(crate) fn layers(&self) -> &[String] {
        &self.layers
    }

    /// What running it on this machine prints.
    pub(crate) fn greeting(&self) -> String {
        let architecture = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        };
        format!("{} for {architecture} works", self.repository)
    }

    /// The largest of its layers, with its size: more than can be proved before it is sent.
    pub(crate) fn largest_layer(&self) -> (&str, usize) {
        let sizes = self.layers().iter().map(|digest| {
            let file = fs::metadata(blob(&self.layout, digest)).expect("the layer is a file");
            let size = usize::try_from(file.len()).expect("it fits into memory");
            (digest.as_str(), size)
        });
        sizes.max_by_key(|(_, size)| *size).expect("it has layers")
    }

    /// A layer's bytes with the one at this offset changed.
    pub(crate) fn corrupt_at(&self, digest: &str, offset: usize, into: &Path) -> PathBuf {
        let mut bytes = fs::read(blob(&self.layout, digest)).expect("the layer is a file");
        bytes[offset] ^= 1;
        let file = into.join(format!("{}-{offset}", digest.replace(':', "-")));
        fs::write(&file, bytes).expect("the laboratory's directory is writable");
        file
    }

    /// The bytes of one of its blobs or manifests with one of them changed: same length, still JSON, another
    /// digest.
    pub(crate) fn corrupt(&self, digest: &str, into: &Path) -> PathBuf {
        let text = fs::read_to_string(blob(&self.layout, digest)).expect("the blob is JSON");
        let changed = text.replacen("linux", "linuz", 1);
        let changed = if changed == text {
            text.replacen("schemaVersion\":2", "schemaVersion\":3", 1)
        } else {
            changed
        };
        assert_ne!(changed, text, "something in {digest} was changed");
        let file = into.join(digest.replace(':', "-"));
        fs::write(&file, changed).expect("the laboratory's directory is writable");
        file
    }
}

fn blob(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// Bytes that do not compress.
fn random(bytes: u64) -> Vec<u8> {
    let mut random = Vec::new();
    let source = fs::File::open("/dev/urandom").expect("/dev/urandom is there");
    source
        .take(bytes)
        .read_to_end(&mut random)
        .expect("/dev/urandom can be read");
    random
}

fn read_json(file: &Path) -> Value {
    let bytes =
        fs::read(file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
    serde_json::from_slice(&bytes).expect("umoci writes JSON")
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let hex: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}
