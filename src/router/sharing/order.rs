//! What is asked of Redis and told to it: the commands of each, and what the answers mean. Pure, but for the channel on which an
//! answer goes back.

#[cfg(test)]
mod tests;

use super::key::{self, Keys, LONGEST_VALUE};
use super::link::shown;
use crate::cache::Trust;
use crate::oci::{RegistryName, Repository};
use crate::projects::SharedListing;
use crate::router::mappings::Wanted;
use redis::{Pipeline, Value};
use std::time::Duration;
use tokio::sync::oneshot;

/// What nobody has used for so long is looked for again. Each agent that uses it writes it down again, at most once per `ttl`.
const LIFE: Duration = Duration::from_secs(30 * 86_400);

/// Of a Harbor's listing; thousands of projects take less. It is read by one of 64 orders at most.
const LONGEST_LISTING: usize = 256 << 10;
/// A list that is older says nothing of now.
const LISTING_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// One thing to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Read which registry has it.
    Place {
        wanted: Wanted,
        reply: oneshot::Sender<Option<RegistryName>>,
    },
    /// Who of these has had anything of the repository?
    Holders {
        repository: Repository,
        trust: Trust,
        among: Vec<RegistryName>,
        reply: oneshot::Sender<Vec<RegistryName>>,
    },
    /// It is there. `moved`: it was elsewhere, where it is definitely no more; else what others wrote first stays.
    Found {
        wanted: Wanted,
        registry: RegistryName,
        moved: bool,
    },
    /// It is nowhere, and everybody said so.
    Gone(Wanted),
    /// What a Harbor lists.
    Listing(SharedListing),
}

/// What was wrong with an answer; the others of the same exchange are good.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(super) struct Wrong {
    /// Where; it names an image, which not everybody may see.
    pub(super) key: String,
    pub(super) what: String,
    /// Nothing else will be answered any better.
    pub(super) is_unfit: bool,
}

// === impl Order ===

impl Order {
    /// Whether anybody still waits for it.
    pub(super) fn is_wanted(&self) -> bool {
        match self {
            Self::Place { reply, .. } => !reply.is_closed(),
            Self::Holders { reply, .. } => !reply.is_closed(),
            Self::Listing(SharedListing::Wanted { reply, .. }) => !reply.is_closed(),
            Self::Listing(SharedListing::Heard { text, .. }) => text.len() < LONGEST_LISTING,
            Self::Found { .. } | Self::Gone(_) => true,
        }
    }

    /// Its commands. Returns their number.
    pub(super) fn add_to(&self, pipeline: &mut Pipeline, keys: &Keys) -> usize {
        match self {
            Self::Place { wanted, .. } => {
                let places = places(wanted, keys);
                for place in &places {
                    read(pipeline, place);
                }
                places.len()
            }
            Self::Holders {
                repository,
                trust,
                among,
                ..
            } => {
                let mut count = 0_usize;
                for trust in seen_by(*trust) {
                    for registry in among {
                        let holder = keys.holder(repository, *trust, registry);
                        pipeline.cmd("EXISTS").arg(holder);
                        count = count.saturating_add(1);
                    }
                }
                count
            }
            Self::Found {
                wanted,
                registry,
                moved,
            } => {
                let (place, life) = (keys.place(wanted), LIFE.as_secs());
                let write = pipeline.cmd("SET").arg(&place).arg(registry.as_str());
                write.arg("EX").arg(life);
                if !moved {
                    write.arg("NX");
                    pipeline.cmd("EXPIRE").arg(&place).arg(life);
                }
                let holder = keys.holder(&wanted.repository, wanted.trust, registry);
                pipeline.cmd("SET").arg(holder).arg("").arg("EX").arg(life);
                if *moved { 2 } else { 3 }
            }
            Self::Gone(wanted) => {
                pipeline.cmd("DEL").arg(keys.place(wanted));
                1
            }
            Self::Listing(SharedListing::Heard { account, text }) => {
                let write = pipeline.cmd("SET").arg(keys.listing(account)).arg(&**text);
                write.arg("EX").arg(LISTING_LIFE.as_secs());
                1
            }
            Self::Listing(SharedListing::Wanted { account, .. }) => {
                let read = pipeline.cmd("GETRANGE").arg(keys.listing(account));
                read.arg(0).arg(LONGEST_LISTING);
                1
            }
        }
    }

    /// Tells what came, as far as it is good.
    pub(super) fn answered(self, values: &[Value], keys: &Keys) -> Result<(), Wrong> {
        match self {
            Self::Place { wanted, reply } => {
                let places = places(&wanted, keys);
                let (mut found, mut result) = (None, Ok(()));
                for (value, place) in values.iter().zip(places) {
                    match registry(value, place) {
                        Ok(registry) => found = found.or(registry),
                        Err(wrong) => result = Err(wrong),
                    }
                }
                // Whoever asked may have gone.
                let _ = reply.send(found);
                result
            }
            Self::Holders {
                trust,
                among,
                reply,
                ..
            } => {
                let asked = seen_by(trust).iter().flat_map(|_| &among);
                let mut found: Vec<RegistryName> = Vec::new();
                let mut result = Ok(());
                for (value, registry) in values.iter().zip(asked) {
                    match value {
                        Value::Int(0) => {}
                        Value::Int(_) if found.contains(registry) => {}
                        Value::Int(_) => found.push(registry.clone()),
                        other => result = Err(refused(other, registry.as_str())),
                    }
                }
                let _ = reply.send(found);
                result
            }
            Self::Listing(SharedListing::Wanted { account, reply }) => {
                let (text, result) = match values.first() {
                    Some(Value::BulkString(text)) if text.is_empty() => (None, Ok(())),
                    Some(Value::BulkString(text)) if text.len() < LONGEST_LISTING => {
                        (Some(text.clone()), Ok(()))
                    }
                    Some(other) => (None, Err(refused(other, &keys.listing(&account)))),
                    None => (None, Ok(())),
                };
                let _ = reply.send(text);
                result
            }
            Self::Found { .. } | Self::Gone(_) | Self::Listing(SharedListing::Heard { .. }) => {
                let error = values.iter().find(|value| is_error(value));
                error.map_or(Ok(()), |error| Err(refused(error, "writing")))
            }
        }
    }
}

/// Asks for what a key holds, and for no more of it than a name can be long.
pub(super) fn read(pipeline: &mut Pipeline, key: &str) {
    pipeline.cmd("GETRANGE").arg(key).arg(0).arg(LONGEST_VALUE);
}

/// Interprets the reply to [`read`].
pub(super) fn registry(value: &Value, key: String) -> Result<Option<RegistryName>, Wrong> {
    match value {
        // GETRANGE says so of what is not there.
        Value::BulkString(bytes) if bytes.is_empty() => Ok(None),
        Value::BulkString(bytes) => match key::registry(bytes) {
            Some(registry) => Ok(Some(registry)),
            None => Err(Wrong {
                key,
                what: "a value that names no registry".to_owned(),
                is_unfit: false,
            }),
        },
        other => Err(refused(other, &key)),
    }
}

/// Untrusted clients use what trusted ones know, and never the other way round.
fn seen_by(trust: Trust) -> &'static [Trust] {
    match trust {
        Trust::Trusted => &[Trust::Trusted],
        Trust::Untrusted => &[Trust::Untrusted, Trust::Trusted],
    }
}

fn places(wanted: &Wanted, keys: &Keys) -> Vec<String> {
    let of = |trust: &Trust| {
        keys.place(&Wanted {
            trust: *trust,
            ..wanted.clone()
        })
    };
    seen_by(wanted.trust).iter().map(of).collect()
}

fn is_error(value: &Value) -> bool {
    matches!(value, Value::ServerError(_))
}

fn refused(value: &Value, key: &str) -> Wrong {
    let Value::ServerError(error) = value else {
        return Wrong {
            key: key.to_owned(),
            what: "an answer of another type".to_owned(),
            is_unfit: false,
        };
    };
    // A server may repeat the question in its details.
    let details = error.details().unwrap_or_default();
    Wrong {
        key: format!("{key}: {}", shown(details)),
        what: shown(error.code()),
        // A master no more, or not yet; or another password from now on.
        is_unfit: matches!(
            error.code(),
            "READONLY" | "MASTERDOWN" | "LOADING" | "NOAUTH" | "WRONGPASS"
        ),
    }
}
