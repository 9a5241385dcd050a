//! The kinds of value that keys take: durations, sizes, addresses, names, words. Each says what is wrong
//! with a value and how to write it.

use super::document::Value;
use super::model::{
    BaseUrl, Existing, Fallback, HarborPolicy, HostPort, OtelProtocol, ProbeKind, Runtime,
    TierKind, Verify,
};
use super::nearest::nearest;
use super::problem::Wrong;
use super::section::Setting;
use super::url::parse_host_port;
use crate::oci::RegistryName;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// `"64MiB"`, or a plain number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// `"ADDR:PORT"` or `"ADDR"` of a DNS server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nameserver(pub(super) SocketAddr);

fn text<'v>(value: &'v Value, example: &str) -> Result<&'v str, Wrong> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(other.is_no("text", format!("write {example}, in quotes"))),
    }
}

/// What a text says.
fn parsed<T: FromStr>(text: &str, what: &str, instead: &str) -> Result<T, Wrong> {
    let wrong = || Wrong::new(format!("{text:?} is no {what}"), format!("write {instead}"));
    text.parse().map_err(|_| wrong())
}

/// In the largest unit of which it is a whole number.
fn in_units(number: u128, units: &[(u128, &str)], smallest: &str) -> toml::Value {
    let mut units = units.iter();
    let whole = units.find(|(unit, _)| number > 0 && number.is_multiple_of(*unit));
    match whole {
        Some((unit, word)) => format!("{}{word}", number / unit).into(),
        None => format!("{number}{smallest}").into(),
    }
}

impl Setting for bool {
    fn read(value: &Value) -> Result<Self, Wrong> {
        match value {
            Value::Bool(value) => Ok(*value),
            other => Err(other.is_no("true or false", "write true or false, without quotes")),
        }
    }

    fn show(&self) -> toml::Value {
        (*self).into()
    }
}

impl Setting for u32 {
    fn read(value: &Value) -> Result<Self, Wrong> {
        const INSTEAD: &str = "write a whole number such as 16, without quotes";
        match value {
            Value::Integer(number) => Self::try_from(*number)
                .map_err(|_| Wrong::new(format!("{number} is out of range"), INSTEAD)),
            other => Err(other.is_no("number", INSTEAD)),
        }
    }

    fn show(&self) -> toml::Value {
        i64::from(*self).into()
    }
}

impl Setting for String {
    fn read(value: &Value) -> Result<Self, Wrong> {
        let text = text(value, "it")?;
        if text.is_empty() || text.chars().any(char::is_control) {
            let what = "is empty or holds a control character";
            return Err(Wrong::new(what, "write a value, or leave the key out"));
        }
        Ok(text.to_owned())
    }

    fn show(&self) -> toml::Value {
        self.as_str().into()
    }
}

impl Setting for PathBuf {
    fn read(value: &Value) -> Result<Self, Wrong> {
        const EXAMPLE: &str = "an absolute path such as \"/etc/harbor-pilot/ca.crt\"";
        let text = text(value, EXAMPLE)?;
        let path = Self::from(text);
        // A relative one would mean another file once the last accepted configuration is loaded.
        if !path.is_absolute() || text.contains('\0') {
            // Not shown: somebody may have written the password itself into password_file.
            return Err(Wrong::new(
                "is no absolute path",
                format!("write {EXAMPLE}"),
            ));
        }
        Ok(path)
    }

    fn show(&self) -> toml::Value {
        self.display().to_string().into()
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn read(value: &Value) -> Result<Self, Wrong> {
        match value {
            Value::Array(nodes) => nodes.iter().map(|node| T::read(&node.value)).collect(),
            other => Err(other.is_no("list", "put the values into brackets: [\"…\", \"…\"]")),
        }
    }

    fn show(&self) -> toml::Value {
        toml::Value::Array(self.iter().map(Setting::show).collect())
    }
}

impl Setting for Duration {
    fn read(value: &Value) -> Result<Self, Wrong> {
        const EXAMPLE: &str =
            "a duration with its unit: \"250ms\", \"60s\", \"5m\", \"12h\" or \"7d\"";
        if let Value::Integer(number) = value {
            return Err(Wrong::new(
                "is a number without a unit",
                format!("write \"{number}s\" if seconds are meant, in quotes"),
            ));
        }
        let text = text(value, EXAMPLE)?;
        parse_duration(text).ok_or_else(|| {
            Wrong::new(
                format!("{text:?} is no duration"),
                format!("write {EXAMPLE}"),
            )
        })
    }

    fn show(&self) -> toml::Value {
        let units = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1000, "s"),
        ];
        in_units(self.as_millis(), &units, "ms")
    }
}

/// A number with a unit: `64MiB`, in bytes.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let bytes: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(bytes)
}

/// Numbers with units, one after the other: `1m30s`. A year at most.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, behind) = rest.split_at_checked(digits)?;
        let end = behind
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at_checked(end)?;
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let number: u64 = number.parse().ok()?;
        sum = sum.checked_add(number.checked_mul(millis)?)?;
        rest = behind;
    }
    // A year is longer than anything here can mean, and keeps every later sum of instants in range.
    (!text.trim().is_empty() && sum <= 366 * 86_400_000).then(|| Duration::from_millis(sum))
}

impl Setting for Size {
    fn read(value: &Value) -> Result<Self, Wrong> {
        const EXAMPLE: &str = "a size such as \"64MiB\" (KiB, MiB or GiB)";
        if let Value::Integer(number) = value
            && let Ok(bytes) = u64::try_from(*number)
        {
            return Ok(Self(bytes));
        }
        let text = text(value, EXAMPLE)?.trim();
        let wrong = || Wrong::new(format!("{text:?} is no size"), format!("write {EXAMPLE}"));
        parse_size(text).map(Self).ok_or_else(wrong)
    }

    fn show(&self) -> toml::Value {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        in_units(self.0.into(), &units, "B")
    }
}

impl Setting for SocketAddr {
    fn read(value: &Value) -> Result<Self, Wrong> {
        const EXAMPLE: &str = "an address with a port: \"127.0.0.1:290\" or \"[::1]:290\"";
        let instead = format!("{EXAMPLE}; names are not looked up here");
        parsed(text(value, EXAMPLE)?, "address with a port", &instead)
    }

    fn show(&self) -> toml::Value {
        self.to_string().into()
    }
}

impl Setting for Nameserver {
    fn read(value: &Value) -> Result<Self, Wrong> {
        const EXAMPLE: &str = "\"10.0.0.53:53\" or \"[2001:db8::53]:53\"";
        let text = text(value, EXAMPLE)?;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(SocketAddr::new(address, 53)));
        }
        parsed(text, "address", EXAMPLE).map(Self)
    }

    fn show(&self) -> toml::Value {
        self.0.to_string().into()
    }
}

impl Setting for RegistryName {
    fn read(value: &Value) -> Result<Self, Wrong> {
        const EXAMPLE: &str =
            "a host, with a port if it has one: \"docker.io\" or \"reg.example:5000\"";
        let instead = format!("{EXAMPLE}, without https:// and without a path");
        parsed(text(value, EXAMPLE)?, "registry name", &instead)
    }

    fn show(&self) -> toml::Value {
        self.as_str().into()
    }
}

impl Setting for BaseUrl {
    fn read(value: &Value) -> Result<Self, Wrong> {
        Self::parse(text(
            value,
            "a URL such as \"https://replicas.example.com\"",
        )?)
    }

    fn show(&self) -> toml::Value {
        self.to_string().into()
    }
}

/// The address of a Redis Sentinel.
impl Setting for HostPort {
    fn read(value: &Value) -> Result<Self, Wrong> {
        const EXAMPLE: &str =
            "a host with a port: \"10.0.0.1:26379\" or \"sentinel.example.com:26379\"";
        const SENTINEL: u16 = 26379;
        let text = text(value, EXAMPLE)?;
        // Not shown: somebody may have written a password before the host.
        parse_host_port(text, SENTINEL)
            .ok_or_else(|| Wrong::new("is no host with a port", format!("write {EXAMPLE}")))
    }

    fn show(&self) -> toml::Value {
        self.to_string().into()
    }
}

/// Words, which the model knows.
macro_rules! settings {
    ($($type:ident)+) => {$(
        impl Setting for $type {
            fn read(value: &Value) -> Result<Self, Wrong> {
                let text = text(value, "one of the words")?;
                let mut all = Self::ALL.iter();
                if let Some(meant) = all.find(|one| one.word() == text) {
                    return Ok(*meant);
                }
                let words: Vec<&str> = Self::ALL.iter().map(|one| one.word()).collect();
                Err(Wrong::new(
                    format!("{text:?} is none of {}", words.join(", ")),
                    match nearest(text, &words) {
                        Some(word) => format!("write {word:?}"),
                        None => "write one of these words".to_owned(),
                    },
                ))
            }

            fn show(&self) -> toml::Value {
                self.word().into()
            }
        }
    )+};
}

settings! { TierKind ProbeKind Verify HarborPolicy Runtime Fallback Existing OtelProtocol }
