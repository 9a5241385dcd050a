//! From the words of the command line to what the responder does. Harbor's URL and certificate are read as those of a tier are, so
//! that the same texts say what is wrong with them.

use super::verdict::Require;
use crate::config::{Config, parse_duration};
use crate::topology::{Source, Sources};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Route 53 waits 4 s for the connection and 2 s for the answer: nothing longer is of use.
const LONGEST: Duration = Duration::from_secs(60);

/// The options of `harbor-pilot healthd`, as they were written.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Harbor's URL, such as https://127.0.0.1:8443
    #[arg(long, value_name = "URL")]
    pub harbor: String,
    /// Where to answer
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:1337")]
    pub listen: SocketAddr,
    /// CA of Harbor's certificate, or the certificate itself
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// Do not check Harbor's certificate
    #[arg(long)]
    pub insecure: bool,
    /// Components that must be healthy, such as core,database,redis,registry, which pulls need; all: every one that Harbor lists
    #[arg(long, value_name = "LIST", default_value = "all")]
    pub require: String,
    /// How long an answer of Harbor stands: it is asked at most once in this time
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    pub cache: String,
    /// How long Harbor may take to answer
    #[arg(long, value_name = "DURATION", default_value = "1.5s")]
    pub timeout: String,
    /// Where to answer /metrics [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub harbor: Arc<Source>,
    pub listen: SocketAddr,
    /// Which components must be healthy.
    pub require: Require,
    /// How long an answer of Harbor stands.
    pub cache: Duration,
    /// How long Harbor is waited for.
    pub timeout: Duration,
    pub metrics: Option<SocketAddr>,
}

impl Settings {
    /// Reads what was written.
    ///
    /// # Errors
    /// In words: each option that cannot be used, and what to write instead.
    pub(crate) fn new(written: &Options) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let duration = |option: &str, text: &str, problems: &mut Vec<String>| {
            let read = parse_duration(text).or_else(|| seconds(text));
            let read = read.filter(|duration| *duration <= LONGEST);
            if read.is_none() {
                problems.push(format!(
                    "{option} {text:?} is no duration up to 60s: write 2s, 1.5s or 500ms"
                ));
            }
            read.unwrap_or_default()
        };
        let cache = duration("--cache", &written.cache, &mut problems);
        let timeout = duration("--timeout", &written.timeout, &mut problems);
        if timeout.is_zero() && problems.is_empty() {
            problems
                .push("--timeout 0 would leave Harbor no time to answer: write 1.5s".to_owned());
        }
        let require = Require::parse(&written.require);
        if let Err(problem) = &require {
            problems.push(format!("--require: {problem}"));
        }
        let harbor = harbor(written);
        if let Err(found) = &harbor {
            problems.extend(found.iter().cloned());
        }
        match (harbor, require) {
            (Ok(harbor), Ok(require)) if problems.is_empty() => Ok(Self {
                harbor,
                listen: written.listen,
                require,
                cache,
                timeout,
                metrics: written.metrics,
            }),
            _ => Err(problems),
        }
    }
}

/// Seconds with a fraction: `1.5s`.
fn seconds(text: &str) -> Option<Duration> {
    let number: f64 = text.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(number).ok()
}

/// Harbor as a tier that nobody pulls from.
fn harbor(written: &Options) -> Result<Arc<Source>, Vec<String>> {
    let mut tier = toml::Table::new();
    tier.insert("name".to_owned(), "harbor".into());
    tier.insert("url".to_owned(), written.harbor.as_str().into());
    // No project is asked for anything: only its URL and certificate count.
    tier.insert("kind".to_owned(), "mirror".into());
    tier.insert(
        "registries".to_owned(),
        toml::Value::Array(vec!["*".into()]),
    );
    if let Some(ca) = &written.ca {
        let ca = ca.to_str().ok_or_else(|| {
            vec![format!(
                "--ca {} is no UTF-8: rename the file",
                ca.display()
            )]
        })?;
        tier.insert("ca_file".to_owned(), ca.into());
    }
    if written.insecure {
        tier.insert("insecure_skip_verify".to_owned(), true.into());
    }
    let mut table = toml::Table::new();
    table.insert(
        "tier".to_owned(),
        toml::Value::Array(vec![toml::Value::Table(tier)]),
    );
    let config = Config::from_toml(&table.to_string()).map_err(|problems| {
        let texts = problems.iter().map(|problem| {
            let text = format!("{}: {}", problem.what, problem.instead);
            text.replace("tier harbor", "--harbor")
        });
        texts.collect::<Vec<String>>()
    })?;
    let sources = Sources::from_config(&config, 1);
    let tier = sources.tiers.first().cloned();
    tier.ok_or_else(|| vec!["--harbor is no URL".to_owned()])
}
