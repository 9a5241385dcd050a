//! `[server]`: where the daemon listens, and who may talk to it.

use super::access::pair;
use super::files::read_secret;
use super::model::{Gateway, Server};
use super::secret::Secret;
use super::section::{Reading, Section, Setting};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where containerd is served unless something else is written.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 290);
/// Where people and monitors are served.
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 291);

/// Bytes of `admin_token_file` at least.
const SHORTEST_TOKEN: usize = 16;

pub(super) fn read_server(root: &mut Section<'_>, cx: &mut Reading<'_>) -> Server {
    let mut section = root.below("server", cx);
    let listen = section.or(cx, "listen", vec![LISTEN]);
    let allow_non_loopback = section.or(cx, "allow_non_loopback", false);
    let admin = section.or(cx, "admin", Admin(Some(ADMIN))).0;
    let metrics = section.optional(cx, "metrics");
    let require_header = section.file(cx, "require_header_file");
    let require_header =
        require_header.and_then(|path| section.kept(cx, "require_header_file", read_secret(&path)));
    let admin_token = admin_token(&mut section, cx);
    if listen.is_empty() {
        let what = "is empty: containerd could reach nothing";
        section.complain(cx, "listen", what, format!("write listen = [\"{LISTEN}\"]"));
    }
    for address in listen.iter().filter(|address| !address.ip().is_loopback()) {
        if !allow_non_loopback {
            section.complain(
                cx,
                "listen",
                format!("{address} can be reached from other machines"),
                "write a loopback address such as 127.0.0.1, or add allow_non_loopback = true and read docs/security.md",
            );
        } else if require_header.is_none() && !section.has("require_header_file") {
            section.warn(
                cx,
                "listen",
                format!(
                    "{address} lets every machine that reaches it pull with this node's credentials"
                ),
                "add require_header_file, or a firewall rule",
            );
        }
    }
    if let Some(address) = admin.filter(|address| !address.ip().is_loopback()) {
        section.complain(
            cx,
            "admin",
            format!("{address} can be reached from other machines"),
            "write a loopback address; for Prometheus from outside there is metrics = \"0.0.0.0:9105\"",
        );
    }
    let gateway = read_gateway(&mut section, cx);
    let served = gateway.as_ref().map_or(&[][..], |gateway| &gateway.listen);
    if let Some(address) = served.iter().find(|address| !address.ip().is_loopback())
        && require_header.is_none()
        && !section.has("require_header_file")
    {
        section.warn(
            cx,
            "require_header_file",
            format!(
                "is missing: every machine that reaches {address} pulls with this node's credentials"
            ),
            "add it, or a firewall rule",
        );
    }
    report_clashes(&section, (&listen, served), admin, metrics, cx);
    section.finish(cx);
    Server {
        listen,
        admin,
        metrics,
        allow_non_loopback,
        require_header,
        admin_token,
        gateway,
    }
}

/// `admin_token_file`: what shows names of images to whoever has it. Every process of the node may try at the port.
fn admin_token(section: &mut Section<'_>, cx: &mut Reading<'_>) -> Option<Secret> {
    let key = "admin_token_file";
    let path = section.file(cx, key)?;
    let token = section.kept(cx, key, read_secret(&path))?;
    if token.reveal().len() < SHORTEST_TOKEN {
        let what = format!("{} holds fewer than {SHORTEST_TOKEN} bytes", path.display());
        let instead = format!("let it be random: openssl rand -hex 16 >{}", path.display());
        section.complain(cx, key, what, instead);
    }
    Some(token)
}

/// `[server.gateway]`; `None`: it is not written, or not whole.
fn read_gateway(server: &mut Section<'_>, cx: &mut Reading<'_>) -> Option<Gateway> {
    if !server.has("gateway") {
        return None;
    }
    let mut section = server.below("gateway", cx);
    let listen: Vec<SocketAddr> = section.optional(cx, "listen").unwrap_or_default();
    let pair = pair(&mut section, cx, ("cert_file", "key_file"));
    let has = |key| key == "listen" && !listen.is_empty() || key != "listen" && section.has(key);
    let mut wanted = ["listen", "cert_file", "key_file"].into_iter();
    if let Some(missing) = wanted.find(|key| !has(key)) {
        let instead =
            "write listen = [\"0.0.0.0:443\"], and the PEM files in cert_file and key_file";
        section.complain(cx, missing, "is missing", instead);
    }
    section.finish(cx);
    let (chain, key) = pair?;
    Some(Gateway { listen, chain, key })
}

fn report_clashes(
    section: &Section<'_>,
    (listen, gateway): (&[SocketAddr], &[SocketAddr]),
    admin: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    cx: &mut Reading<'_>,
) {
    let listen = listen.iter().map(|address| ("listen", *address));
    let gateway = gateway.iter().map(|address| ("gateway", *address));
    let admin = admin.map(|address| ("admin", address));
    let metrics = metrics.map(|address| ("metrics", address));
    let all: Vec<(&str, SocketAddr)> = listen.chain(admin).chain(metrics).chain(gateway).collect();
    for (at, (key, address)) in all.iter().enumerate() {
        if address.port() == 0 {
            let what = format!("{address} has a port that changes with every start");
            section.warn(cx, key, what, "write a fixed port such as 290");
            continue;
        }
        let clash = all
            .iter()
            .take(at)
            .find(|(_, other)| clashes(*address, *other));
        if let Some((other, _)) = clash {
            let what = format!("{address} is taken by {other} already");
            section.complain(cx, key, what, "write another port");
        }
    }
}

/// Whether binding one keeps the other from being bound.
fn clashes(left: SocketAddr, right: SocketAddr) -> bool {
    let all = |one: SocketAddr, other: SocketAddr| {
        one.ip().is_unspecified() && (one.is_ipv6() || other.is_ipv4())
    };
    left.port() == right.port() && (left.ip() == right.ip() || all(left, right) || all(right, left))
}

/// `admin`: an address, or "none".
struct Admin(Option<SocketAddr>);

impl Setting for Admin {
    fn read(value: &super::document::Value) -> Result<Self, super::problem::Wrong> {
        match value {
            super::document::Value::Text(text) if text == "none" => Ok(Self(None)),
            other => SocketAddr::read(other).map(|address| Self(Some(address))),
        }
    }

    fn show(&self) -> toml::Value {
        self.0
            .map_or_else(|| "none".into(), |address| address.show())
    }
}
