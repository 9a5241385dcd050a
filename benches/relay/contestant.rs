//! Who takes part: HAProxy, nginx and the agent, each with its configuration, in front of the same origin.
//!
//! All listen plain on loopback, check the origin's certificate, keep connections to it open, and write one line
//! per request to a file.

use crate::Result;
use crate::origin::{NAME, Origin, REPOSITORY, nginx_paths};
use crate::process::{Process, free_address};
use crate::settings::Settings;
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
    /// `verify = "suspect"`
    AgentSuspect,
    /// `verify = "always"`
    AgentAlways,
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

    /// As it stands in the tables.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Haproxy => "HAProxy",
            Self::HaproxyTuned => "HAProxy, 1 thread, 128 KiB buffers",
            Self::Nginx => "nginx",
            Self::NginxTuned => "nginx, 1 worker, 16 × 128 KiB buffers",
            Self::AgentSuspect => "harbor-pilot, verify suspect",
            Self::AgentAlways => "harbor-pilot, verify always",
        }
    }

    fn is_agent(self) -> bool {
        matches!(self, Self::AgentSuspect | Self::AgentAlways)
    }
}

// === impl Contestant ===

impl Contestant {
    /// Starts it with its files in a directory of its own.
    pub(crate) fn start(
        kind: Kind,
        settings: &Settings,
        origin: &Origin,
        upstream: Upstream,
        directory: &Path,
    ) -> Result<Self> {
        let home = tempfile::Builder::new().tempdir_in(directory)?.keep();
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
                fs::write(&configuration, nginx(kind, listen, origin, upstream, &home))?;
                let mut command = Command::new("nginx");
                command.arg("-e").arg(home.join("error.log")).arg("-c");
                command
            }
            Kind::AgentSuspect | Kind::AgentAlways => {
                let text = agent(kind, listen, origin, upstream, &home)?;
                fs::write(&configuration, text)?;
                let binary = settings.agent.as_ref().ok_or("there is no agent")?;
                let mut command = Command::new(binary);
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
    pub(crate) fn start_all(
        settings: &Settings,
        origin: &Origin,
        upstream: Upstream,
        directory: &Path,
    ) -> Result<Vec<Self>> {
        let start = |kind| Self::start(kind, settings, origin, upstream, directory);
        settings.contestants().into_iter().map(start).collect()
    }

    /// The URL of `manifests/…` or `blobs/…` there.
    pub(crate) fn url(&self, resource: &str) -> String {
        format!("http://{}{}", self.listen, self.path(resource))
    }

    /// The same without the address.
    pub(crate) fn path(&self, resource: &str) -> String {
        if self.kind.is_agent() {
            format!("/v2/library/app/{resource}?ns=docker.io")
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

fn agent(
    kind: Kind,
    listen: SocketAddr,
    origin: &Origin,
    upstream: Upstream,
    home: &Path,
) -> Result<String> {
    let verify = if kind == Kind::AgentAlways {
        "always"
    } else {
        "suspect"
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
