//! Which proxy a source is reached through: none, one that is named, or the environment's, whose variables
//! mean what they mean to Go programs such as containerd and k3s. Reads no environment: it is passed in.

use super::document::Value;
use super::model::{BaseUrl, Credential, Proxy, Secret};
use super::problem::{Problem, Wrong};
use super::section::{Reading, Setting};
use super::url::without_userinfo;
use crate::oci::percent_decoded;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

const INSTEAD: &str = "write \"none\", \"env\" or a URL such as \"http://proxy.example.com:3128\"";

/// The value of a `proxy` key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ProxySetting {
    None,
    Environment,
    Fixed(Proxy),
}

impl Setting for ProxySetting {
    fn read(value: &Value) -> Result<Self, Wrong> {
        match value {
            Value::Text(text) => match text.as_str() {
                "none" => Ok(Self::None),
                "env" => Ok(Self::Environment),
                url => parse(url).map(Self::Fixed),
            },
            other => Err(other.is_no("text", INSTEAD)),
        }
    }

    fn show(&self) -> toml::Value {
        match self {
            Self::None => "none".into(),
            Self::Environment => "env".into(),
            Self::Fixed(proxy) => match proxy.credential {
                Some(_) => {
                    let url = proxy.url.to_string();
                    url.replacen("://", "://[redacted]@", 1).into()
                }
                None => proxy.url.to_string().into(),
            },
        }
    }
}

impl ProxySetting {
    /// The proxy for one source.
    pub(super) fn resolve(&self, target: &BaseUrl, cx: &mut Reading<'_>) -> Option<Proxy> {
        match self {
            Self::None => None,
            Self::Fixed(proxy) => Some(proxy.clone()),
            Self::Environment => from_environment(target, cx),
        }
    }
}

fn from_environment(target: &BaseUrl, cx: &mut Reading<'_>) -> Option<Proxy> {
    let (name, value) = named(cx.environment, target)?;
    match parse(&value) {
        Ok(proxy) => Some(proxy),
        Err(wrong) => {
            let what = format!(
                "{}; the sources that would use it (proxy = \"env\") are dialled without a proxy",
                wrong.what
            );
            let wrong = Wrong::new(
                what,
                "set it to a URL such as http://proxy.example.com:3128, or write proxy = \"none\" for them",
            );
            let warning = Problem::new(None, format!("environment.{name}"), wrong);
            // Every source would say the same.
            if !cx.warnings.contains(&warning) {
                cx.warnings.push(warning);
            }
            None
        }
    }
}

/// The variable of an environment that names a proxy for `target`, and its value without user name and password:
/// what Go programs such as containerd and k3s would use. For reports; nothing is checked.
#[must_use]
pub fn proxy_variable(
    environment: &BTreeMap<String, String>,
    target: &BaseUrl,
) -> Option<(String, String)> {
    let (name, value) = named(environment, target)?;
    Some((name, without_userinfo(&value)))
}

/// Name and value of the variable that holds for `target`; the value has a scheme.
fn named(environment: &BTreeMap<String, String>, target: &BaseUrl) -> Option<(String, String)> {
    let lookup = |upper: &'static str| {
        let lower = upper.to_ascii_lowercase();
        let names = [upper.to_owned(), lower];
        names.into_iter().find_map(|name| {
            let value = environment.get(&name)?.trim();
            (!value.is_empty()).then(|| (name, value.to_owned()))
        })
    };
    let variable = if target.https {
        "HTTPS_PROXY"
    } else {
        "HTTP_PROXY"
    };
    let (name, value) = lookup(variable)?;
    let no_proxy = lookup("NO_PROXY").map(|(_, value)| value);
    if goes_without(no_proxy.as_deref().unwrap_or_default(), target) {
        return None;
    }
    let url = if value.contains("://") {
        value
    } else {
        format!("http://{value}")
    };
    Some((name, url))
}

fn parse(text: &str) -> Result<Proxy, Wrong> {
    let wrong = |what: String| Wrong::new(what, INSTEAD);
    let shown = without_userinfo(text);
    let rest = text
        .strip_prefix("http://")
        .ok_or_else(|| wrong(format!("{shown:?} is no http:// URL of a proxy")))?;
    let (userinfo, place) = match rest.rsplit_once('@') {
        Some((userinfo, place)) => (Some(userinfo), place),
        None => (None, rest),
    };
    let url = BaseUrl::parse(&format!("http://{place}"))
        .map_err(|_| wrong(format!("{shown:?} is no URL of a proxy")))?;
    if !url.prefix.is_empty() {
        return Err(wrong(format!("{shown:?} has a path")));
    }
    let credential = match userinfo {
        None => None,
        Some(userinfo) => {
            let (username, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
            let decoded =
                |text| percent_decoded(text).filter(|text| !text.chars().any(char::is_control));
            let (username, password) = (decoded(username), decoded(password));
            let (Some(username), Some(password)) = (username, password) else {
                return Err(wrong(format!(
                    "the name or password of {shown:?} is not percent-encoded text"
                )));
            };
            Some(Credential {
                username,
                password: Secret::new(&password),
            })
        }
    };
    Ok(Proxy { url, credential })
}

/// NO_PROXY as Go's `httpproxy` reads it: `*`, addresses, CIDR blocks, `example.com` (with subdomains),
/// `.example.com` (subdomains only), each with an optional port; this machine itself always goes without.
fn goes_without(no_proxy: &str, target: &BaseUrl) -> bool {
    if target.is_loopback() {
        return true;
    }
    let address: Option<IpAddr> = target.host.parse().ok();
    no_proxy.split(',').any(|entry| {
        let entry = entry.trim().to_ascii_lowercase();
        match entry.as_str() {
            "" => false,
            "*" => true,
            _ => match entry.parse::<IpNet>() {
                Ok(network) => address.is_some_and(|address| network.contains(&address)),
                Err(_) => is_named(&entry, address, target),
            },
        }
    })
}

fn is_named(entry: &str, address: Option<IpAddr>, target: &BaseUrl) -> bool {
    let whole: Option<IpAddr> = entry.trim_matches(['[', ']']).parse().ok();
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) if whole.is_none() => (name, Some(port)),
        _ => (entry, None),
    };
    if port.is_some_and(|port| port.parse() != Ok(target.port)) {
        return false;
    }
    if let Some(address) = address {
        return name.trim_matches(['[', ']']).parse() == Ok(address);
    }
    let host = target.host.as_str();
    let name = name.strip_prefix('*').unwrap_or(name);
    match name.strip_prefix('.') {
        Some(parent) => !parent.is_empty() && host.ends_with(name),
        None => {
            host == name
                || host
                    .strip_suffix(name)
                    .is_some_and(|front| !name.is_empty() && front.ends_with('.'))
        }
    }
}
