//! Generated node states: what users, tools and k3s leave in a directory of host configurations.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The registries of each state's configuration.
pub(crate) const REGISTRIES: [&str; 5] = [
    "docker.io",
    "quay.io",
    "ghcr.io",
    "reg.example:5000",
    "localhost:5000",
];

const FIRST: &str = "first.example";

/// A small generator of numbers: a state is its seed.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            chance.next();
        }
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// True in `good` of `all` cases.
    pub(crate) fn of(&mut self, good: u64, all: u64) -> bool {
        (self.next() >> 11) % all < good
    }

    pub(crate) fn below(&mut self, all: u64) -> u64 {
        (self.next() >> 11) % all
    }

    pub(crate) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[usize::try_from((self.next() >> 11) % of.len() as u64).unwrap()]
    }
}

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) seed: u64,
    /// Its containerd is the patched one, and a part of the files is generated.
    pub(crate) k3s: bool,
    /// Its containerd is known to be one that reads no file without a `host` table.
    pub(crate) old: bool,
    closed: Option<&'static str>,
    all_closed: bool,
    existing: &'static str,
}

impl State {
    pub(crate) fn of(seed: u64) -> Self {
        let chance = &mut Chance::new(seed);
        let k3s = chance.of(1, 3);
        Self {
            seed,
            k3s,
            old: !k3s && Chance::new(seed ^ 0x01d).of(1, 4),
            closed: chance.of(1, 4).then(|| chance.one(&REGISTRIES)),
            all_closed: chance.of(1, 10),
            existing: chance.one(&["adopt", "adopt", "keep"]),
        }
    }

    /// Whether containerd may not go there by itself.
    pub(crate) fn closed(&self, registry: &str) -> bool {
        self.all_closed || self.closed == Some(registry)
    }

    /// The agent's configuration.
    pub(crate) fn config(&self) -> String {
        let mut text = "[[tier]]\nname = \"core\"\nurl = \"https://harbor.example.com\"\nproject = \"proxy-{registry_dashed}\"\nin_file = true\nnames = []\n".to_owned();
        for registry in REGISTRIES {
            let direct = self.closed != Some(registry);
            text.push_str(&format!(
                "[[registry]]\nname = \"{registry}\"\ndirect = {direct}\n"
            ));
            if registry == "localhost:5000" {
                text.push_str("upstream = \"http://localhost:5000\"\n");
            }
        }
        let runtime = if self.k3s { "k3s" } else { "containerd" };
        let fallback = if self.all_closed { "none" } else { "tiers" };
        text.push_str(&format!(
            "[node]\nmanage = true\nruntime = \"{runtime}\"\nfallback = \"{fallback}\"\nexisting = \"{}\"\nallow_unprivileged_port = true\n",
            self.existing
        ));
        text
    }

    /// Makes the files, and says below which directories containerd looks; the first is ours to write in.
    pub(crate) fn write(&self, root: &Path) -> Vec<PathBuf> {
        let chance = &mut Chance::new(self.seed ^ 0xf11e5);
        let (certs_d, config) = if self.k3s {
            let etc = root.join("var/lib/rancher/k3s/agent/etc/containerd");
            (etc.join("certs.d"), etc.join("config.toml"))
        } else {
            let etc = root.join("etc/containerd");
            (etc.join("certs.d"), etc.join("config.toml"))
        };
        fs::create_dir_all(&certs_d).unwrap();
        let text = format!(
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = {certs_d:?}\n"
        );
        fs::write(config, text).unwrap();
        for registry in REGISTRIES.into_iter().chain(["_default"]) {
            let mut names = vec![registry.to_owned()];
            if let Some((host, port)) = registry.split_once(':') {
                let escaped = format!("{host}_{port}_");
                match (chance.next() >> 11) % 3 {
                    0 => names = vec![escaped],
                    1 => names.push(escaped),
                    _ => {}
                }
            }
            for name in names {
                if chance.of(3, 5) {
                    self.directory(&certs_d.join(name), registry, chance);
                }
            }
        }
        let chance = &mut Chance::new(self.seed ^ 0x2007);
        if self.k3s || chance.of(3, 4) {
            return vec![certs_d];
        }
        // As containerd 2.2 does by itself.
        let second = root.join("etc/docker/certs.d");
        fs::create_dir_all(&second).unwrap();
        let text = format!(
            "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\nuse_local_image_pull = true\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"{}:{}\"\n",
            certs_d.display(),
            second.display()
        );
        fs::write(certs_d.with_file_name("config.toml"), text).unwrap();
        for registry in REGISTRIES.into_iter().chain(["_default"]) {
            if chance.of(1, 2) {
                self.directory(&second.join(registry), registry, chance);
            }
        }
        vec![certs_d, second]
    }

    fn directory(&self, directory: &Path, registry: &str, chance: &mut Chance) {
        fs::create_dir(directory).unwrap();
        let kind = (chance.next() >> 11) % 12;
        if kind == 0 {
            return;
        }
        if kind < 4 || chance.of(1, 3) {
            certificates(directory, chance);
        }
        if kind < 3 {
            return;
        }
        let text = match kind {
            3 => String::new(),
            4 => "server = \n".to_owned(),
            _ => self.hosts(registry, chance),
        };
        let path = directory.join("hosts.toml");
        let text = match chance.of(1, 8) {
            true => text.replace('\n', "\r\n"),
            false => text,
        };
        let text = match chance.of(1, 8) {
            true => text.trim_end().to_owned(),
            false => text,
        };
        fs::write(path, text).unwrap();
        // What files name stands beside them, or their pulls fail with and without us.
        for (at, (certificate, key)) in identities().iter().enumerate() {
            if chance.of(9, 10) || at == 0 {
                fs::write(directory.join(format!("named-{at}.pem")), certificate).unwrap();
                fs::write(directory.join(format!("named-{at}.key")), key).unwrap();
            }
        }
    }

    fn hosts(&self, registry: &str, chance: &mut Chance) -> String {
        let mut text = String::new();
        if self.k3s && chance.of(1, 2) {
            text.push_str("# File generated by k3s. DO NOT EDIT.\n\n\n");
        } else if chance.of(1, 4) {
            text.push_str("# by hand: [host.\"https://no.example\"]\n");
        }
        let host = if registry == "docker.io" {
            "registry-1.docker.io"
        } else {
            registry
        };
        let upstream = format!("https://{host}");
        let server = chance.one(&[
            "",
            "server = \"\"\n",
            "server = \"UPSTREAM\"\n",
            "server = \"UPSTREAM/v2\"\n",
            "server = \"https://other.example\"\n",
            "server = \"other.example:5000/base\" # mine\n",
            "server = \"https://harbor.example.com/v2/PROJECT\"\n",
        ]);
        text.push_str(server);
        if chance.of(1, 3) {
            text.push_str(&keys("", "", chance));
        }
        if chance.of(1, 4) {
            text.push_str("\n[host]\n");
        }
        let urls = [
            "https://mirror.gcr.io",
            "https://mirror.gcr.io/v2/",
            "https://harbor.example.com/v2/PROJECT",
            "https://harbor.example.com/v2/other",
            "https://harbor.example.com",
            "UPSTREAM",
            "http://10.0.0.1:5000",
            "mirror.example",
            "https://mirror.example:8443/base/v2",
            "http://[fd00::5]:5000",
        ];
        let mut taken = Vec::new();
        for _ in 0..(chance.next() >> 11) % 4 {
            let url = chance.one(&urls);
            if taken.contains(&url) {
                continue;
            }
            taken.push(url);
            if chance.of(1, 4) {
                text.push_str("\n# the next one\n");
            }
            let path = format!("host.\"{url}\"");
            text.push_str(&format!("[{path}]\n"));
            if url.ends_with("PROJECT") && chance.of(5, 6) {
                text.push_str("  override_path = true\n");
                text.push_str(&keys("  ", "override_path", chance));
            } else {
                text.push_str(&keys("  ", "", chance));
            }
            if chance.of(1, 5) {
                text.push_str(&format!("[{path}.header]\n  x-of-host = [\"a\", \"b\"]\n"));
            }
            if self.k3s && chance.of(1, 6) {
                text.push_str(&format!("[{path}.rewrite]\n  \"^(.*)$\" = \"proxy/$1\"\n"));
            }
        }
        let dashed = registry.replace(['.', ':'], "-");
        text.replace("UPSTREAM", &upstream)
            .replace("PROJECT", &format!("proxy-{dashed}"))
    }
}

fn keys(indent: &str, but: &str, chance: &mut Chance) -> String {
    let all = [
        "capabilities = [\"pull\", \"resolve\"]",
        "capabilities = [\"pull\"]",
        "capabilities = [\"Pull\", \"RESOLVE\"]",
        "capabilities = [\"pull\", \"referrers\"]",
        "ca = \"named-0.pem\"",
        "ca = [\"named-0.pem\", \"named-1.pem\"]",
        "client = [[\"named-2.pem\", \"named-2.key\"]]",
        "skip_verify = true",
        "skip_verify = false # really",
        "override_path = true",
        "dial_timeout = \"3s\"",
        "unknown_key = 1",
    ];
    let mut text = String::new();
    let mut taken = vec![but];
    for line in all {
        let key = line.split(' ').next().unwrap();
        if !taken.contains(&key) && chance.of(1, 7) {
            taken.push(key);
            text.push_str(&format!("{indent}{line}\n"));
        }
    }
    text
}

/// As Docker has them.
fn certificates(directory: &Path, chance: &mut Chance) {
    let [(ca, _), (client, key), (other, _)] = identities();
    if chance.of(3, 4) {
        fs::write(directory.join("ca.crt"), ca).unwrap();
    }
    if chance.of(1, 3) {
        fs::write(directory.join("client.cert"), client).unwrap();
        fs::write(directory.join("client.key"), key).unwrap();
    }
    if chance.of(1, 4) {
        fs::write(directory.join("other.crt"), other).unwrap();
    }
}

/// Of a certificate with a name of its own. The first identity is an authority.
pub(crate) fn parameters(name: &str) -> rcgen::CertificateParams {
    let mut parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let common_name = rcgen::DnType::CommonName;
    parameters.distinguished_name.push(common_name, name);
    if name == FIRST {
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    parameters
}

/// Signs certificates as the first identity.
pub(crate) fn authority() -> rcgen::Issuer<'static, rcgen::KeyPair> {
    let [(_, key), ..] = identities();
    rcgen::Issuer::new(parameters(FIRST), rcgen::KeyPair::from_pem(key).unwrap())
}

/// Certificates with keys, each with a name of its own.
pub(crate) fn identities() -> &'static [(String, String); 3] {
    static MADE: OnceLock<[(String, String); 3]> = OnceLock::new();
    MADE.get_or_init(|| {
        [FIRST, "second.example", "third.example"].map(|name| {
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = parameters(name).self_signed(&key).unwrap();
            (certificate.pem(), key.serialize_pem())
        })
    })
}
