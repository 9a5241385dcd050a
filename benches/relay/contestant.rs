//! Who takes part: HAProxy, nginx and the agent, each with its configuration, in front of the same origin.
//!
//! All listen plain on loopback, check the origin's certificate, keep connections to it open, and write one line
//! per request to a file.

use crate::origin::{NAME, Origin, REPOSITORY, nginx_paths};
use crate::process::{Process, free_address};
use crate::{Bench, Result};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// How the origin is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// TLS 1.3.
    Tls,
    /// No TLS.
    Plain,
}

/// A program with a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Defaults, `option splice-auto`.
    Haproxy,
    /// One thread, 128 KiB buffers.
    HaproxyTuned,
    /// Two workers, default buffers (8 × 4 KiB).
    Nginx,
    /// One worker, 16 × 128 KiB buffers.
    NginxTuned,
    /// harbor-pilot.
    Agent { build: Build, verify: Verify },
}

/// Which binary of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// The one that is measured.
    Now,
    /// An older one to compare it with.
    Before,
}

/// What the agent's `verify` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verify {
    Suspect,
    Always,
}

/// By which name an agent is asked for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By its registry's.
    Registry,
    /// By one of `[router]`.
    Router,
}

/// One that runs.
pub(crate) struct Contestant {
    pub(crate) kind: Kind,
    pub(crate) process: Process,
    pub(crate) listen: SocketAddr,
}

// === impl Kind ===

impl Kind {
    /// All but the agent.
    pub(crate) const PROXIES: [Self; 4] = [
        Self::Haproxy,
        Self::HaproxyTuned,
        Self::Nginx,
        Self::NginxTuned,
    ];

    /// The agents, each of the newer build before the same of the older one.
    pub(crate) const AGENTS: [Self; 4] = [
        Self::agent(Build::Now, Verify::Suspect),
        Self::agent(Build::Before, Verify::Suspect),
        Self::agent(Build::Now, Verify::Always),
        Self::agent(Build::Before, Verify::Always),
    ];

    const fn agent(build: Build, verify: Verify) -> Self {
        Self::Agent { build, verify }
    }

    /// The same agent of the older build, where this is one of the newer.
    pub(crate) fn before(self) -> Option<Self> {
        match self {
            Self::Agent {
                build: Build::Now,
                verify,
            } => Some(Self::agent(Build::Before, verify)),
            _ => None,
        }
    }

    /// As it stands in the tables.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Haproxy => "HAProxy",
            Self::HaproxyTuned => "HAProxy, 1 thread, 128 KiB buffers",
            Self::Nginx => "nginx",
            Self::NginxTuned => "nginx, 1 worker, 16 × 128 KiB buffers",
            Self::Agent { build, verify } => match (build, verify) {
                (Build::Now, Verify::Suspect) => "harbor-pilot, verify suspect",
                (Build::Now, Verify::Always) => "harbor-pilot, verify always",
                (Build::Before, Verify::Suspect) => "harbor-pilot before, verify suspect",
                (Build::Before, Verify::Always) => "harbor-pilot before, verify always",
            },
        }
    }
}

// === impl By ===

impl By {
    /// What an agent's configuration needs for it.
    pub(crate) fn tables(self) -> &'static str {
        match self {
            Self::Registry => "",
            Self::Router => "[router]\nnames = [\"registry.example.com\"]\n",
        }
    }

    /// The path of `manifests/…` or `blobs/…`.
    pub(crate) fn path(self, resource: &str) -> String {
        match self {
            Self::Registry => format!("/v2/library/app/{resource}?ns=docker.io"),
            Self::Router => format!("/v2/proxy/library/app/{resource}?ns=registry.example.com"),
        }
    }
}

// === impl Contestant ===

impl Contestant {
    /// Starts it with its files in a directory of its own.
    pub(crate) fn start(bench: &Bench, kind: Kind, upstream: Upstream) -> Result<Self> {
        let home = tempfile::Builder::new()
            .tempdir_in(&bench.directory)?
            .keep();
        Self::start_at(bench, kind, upstream, &home, None, "")
    }

    /// An agent with more tables in its configuration.
    pub(crate) fn start_agent(bench: &Bench, kind: Kind, tables: &str) -> Result<Self> {
        let home = tempfile::Builder::new()
            .tempdir_in(&bench.directory)?
            .keep();
        Self::start_at(bench, kind, Upstream::Tls, &home, None, tables)
    }

    /// The same in a directory that is there; an agent runs under `wrapper`, where there is one.
    pub(crate) fn start_at(
        bench: &Bench,
        kind: Kind,
        upstream: Upstream,
        home: &Path,
        wrapper: Option<Command>,
        tables: &str,
    ) -> Result<Self> {
        let origin = &bench.origin;
        let listen = free_address()?;
        let configuration = home.join("configuration");
        let mut command = match kind {
            Kind::Haproxy | Kind::HaproxyTuned => {
                let text = haproxy(kind, listen, origin, upstream);
                fs::write(&configuration, text)?;
                let mut command = Command::new("haproxy");
                command.arg("-db").arg("-f");
                command
            }
            Kind::Nginx | Kind::NginxTuned => {
                fs::write(&configuration, nginx(kind, listen, origin, upstream, home))?;
                let mut command = Command::new("nginx");
                command.arg("-e").arg(home.join("error.log")).arg("-c");
                command
            }
            Kind::Agent { verify, .. } => {
                let text = agent(verify, listen, origin, upstream, home)?;
                fs::write(&configuration, text + tables)?;
                let binary = bench.settings.binary(kind);
                let binary = binary.ok_or("there is no such agent")?;
                let mut command = match wrapper {
                    Some(mut wrapper) => {
                        wrapper.arg(binary);
                        wrapper
                    }
                    None => Command::new(binary),
                };
                command.args(["run", "--config"]);
                command
            }
        };
        command.arg(&configuration);
        let process = Process::start(command, &home.join("output.log"), listen)?;
        Ok(Self {
            kind,
            process,
            listen,
        })
    }

    /// Starts all that the settings name.
    pub(crate) fn start_all(bench: &Bench, upstream: Upstream) -> Result<Vec<Self>> {
        let start = |kind| Self::start(bench, kind, upstream);
        bench
            .settings
            .contestants()
            .into_iter()
            .map(start)
            .collect()
    }

    /// The URL of `manifests/…` or `blobs/…` there.
    pub(crate) fn url(&self, resource: &str) -> String {
        format!("http://{}{}", self.listen, self.path(resource))
    }

    /// The same without the address.
    pub(crate) fn path(&self, resource: &str) -> String {
        if matches!(self.kind, Kind::Agent { .. }) {
            By::Registry.path(resource)
        } else {
            format!("{REPOSITORY}/{resource}")
        }
    }
}

fn haproxy(kind: Kind, listen: SocketAddr, origin: &Origin, upstream: Upstream) -> String {
    let tuning = if kind == Kind::HaproxyTuned {
        "  nbthread 1\n  tune.bufsize 131072"
    } else {
        ""
    };
    let ca_file = origin.ca_file.display();
    let server = match upstream {
        Upstream::Tls => format!("{} ssl verify required ca-file {ca_file}", origin.tls),
        Upstream::Plain => origin.plain.to_string(),
    };
    format!(
        "global\n  maxconn 1000\n  log stdout format raw local0 info\n{tuning}\n\
         defaults\n  mode http\n  log global\n  option httplog\n  option splice-auto\n  http-reuse always\n  \
         timeout connect 5s\n  timeout client 75s\n  timeout server 75s\n\
         frontend containerd\n  bind {listen}\n  default_backend origin\n\
         backend origin\n  server origin {server} pool-max-conn 128\n"
    )
}

fn nginx(
    kind: Kind,
    listen: SocketAddr,
    origin: &Origin,
    upstream: Upstream,
    home: &Path,
) -> String {
    let paths = nginx_paths(home);
    let (workers, buffers) = if kind == Kind::NginxTuned {
        let buffers =
            "proxy_buffers 16 128k; proxy_buffer_size 128k; proxy_busy_buffers_size 256k;";
        (1, buffers)
    } else {
        (2, "")
    };
    let (scheme, server) = match upstream {
        Upstream::Tls => ("https", origin.tls),
        Upstream::Plain => ("http", origin.plain),
    };
    let ca_file = origin.ca_file.display();
    let home = home.display();
    format!(
        r#"daemon off;
user root;
worker_processes {workers};
pid {home}/nginx.pid;
events {{ worker_connections 2048; }}
http {{
{paths}
  access_log {home}/access.log;
  keepalive_requests 100000000;
  upstream origin {{ server {server}; keepalive 128; keepalive_requests 100000000; }}
  server {{
    listen {listen};
    location / {{
      proxy_pass {scheme}://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host {NAME};
      proxy_ssl_protocols TLSv1.3;
      proxy_ssl_verify on;
      proxy_ssl_name {NAME};
      proxy_ssl_trusted_certificate {ca_file};
      proxy_max_temp_file_size 0;
      {buffers}
    }}
  }}
}}
"#
    )
}

/// The configuration of an agent.
pub(crate) fn agent(
    verify: Verify,
    listen: SocketAddr,
    origin: &Origin,
    upstream: Upstream,
    home: &Path,
) -> Result<String> {
    let verify = match verify {
        Verify::Suspect => "suspect",
        Verify::Always => "always",
    };
    let (url, ca_file) = match upstream {
        Upstream::Tls => {
            let ca_file = format!("ca_file = \"{}\"", origin.ca_file.display());
            (format!("https://{}", origin.tls), ca_file)
        }
        Upstream::Plain => (format!("http://{}", origin.plain), String::new()),
    };
    let admin = free_address()?;
    let state = home.join("state");
    fs::create_dir(&state)?;
    let state = state.display();
    Ok(format!(
        r#"[server]
listen = ["{listen}"]
admin = "{admin}"

[[tier]]
name = "replica"
kind = "harbor"
url = "{url}"
project = "proxy-{{registry_dashed}}"
registries = ["docker.io"]
{ca_file}

[tier.health]
probe = "none"

[direct]
enabled = false

[relay]
verify = "{verify}"

[log]
filter = "info"

[state]
directory = "{state}"
"#
    ))
}
