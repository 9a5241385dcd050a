//! What is known of images without a registry, as `/status` shows it.

use crate::printable::counted;
use crate::router::Lookups;
use serde::{Deserialize, Serialize};
use std::fmt;
use tokio::time::Instant;

/// What is known of images without a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// Images whose registry is remembered.
    pub images: usize,
    /// Projects that keep failing and are not asked for a while, as `TIER/REGISTRY`.
    pub left_out: Vec<String>,
    /// The Redis in which agents share what they find; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisStatus>,
}

/// How it stands with Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisStatus {
    /// The master, while it answers in time.
    pub master: Option<String>,
    /// What went wrong last.
    pub error: Option<String>,
    /// Failures since the start, or since other settings are in force.
    pub errors: u64,
}

// === impl RouterStatus ===

impl RouterStatus {
    pub(super) fn new(lookups: &Lookups, now: Instant) -> Self {
        Self {
            images: lookups.images(),
            left_out: lookups.left_out(now),
            redis: lookups.redis().map(|redis| RedisStatus {
                master: redis.master,
                error: redis.error,
                errors: redis.errors,
            }),
        }
    }

    /// Whether there is anything to say.
    pub(crate) fn says_something(&self) -> bool {
        *self != Self::default()
    }
}

impl fmt::Display for RouterStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let images = counted(self.images as u64, "image", "images");
        write!(f, "the registry of {images} is known")?;
        if !self.left_out.is_empty() {
            write!(f, "; not asked for a while: {}", self.left_out.join(", "))?;
        }
        if let Some(redis) = &self.redis {
            write!(f, "; {redis}")?;
        }
        Ok(())
    }
}

impl fmt::Display for RedisStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.master, &self.error) {
            (Some(master), None) => write!(f, "shared by Redis at {master}"),
            (Some(master), Some(error)) => {
                let errors = counted(self.errors, "error", "errors");
                write!(
                    f,
                    "shared by Redis at {master} ({errors}, the last: {error})"
                )
            }
            (None, Some(error)) => write!(f, "not shared: {error}"),
            (None, None) => f.write_str("not shared yet: the master is looked for"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_and_how_redis_is_stand_in_the_line() {
        let shared = |master: Option<&str>, error: Option<&str>| {
            Some(RedisStatus {
                master: master.map(ToOwned::to_owned),
                error: error.map(ToOwned::to_owned),
                errors: 2,
            })
        };
        let at = Some("10.0.0.5:6379");
        let table = [
            (None, ""),
            (
                shared(None, None),
                "; not shared yet: the master is looked for",
            ),
            (shared(at, None), "; shared by Redis at 10.0.0.5:6379"),
            (
                shared(at, Some("WRONGTYPE")),
                "; shared by Redis at 10.0.0.5:6379 (2 errors, the last: WRONGTYPE)",
            ),
            (
                shared(None, Some("no sentinel leads to a master")),
                "; not shared: no sentinel leads to a master",
            ),
        ];
        for (redis, due) in table {
            let status = RouterStatus {
                images: 3,
                left_out: vec!["replica/docker.io".to_owned()],
                redis,
            };
            let begin =
                "the registry of 3 images is known; not asked for a while: replica/docker.io";
            assert_eq!(status.to_string(), format!("{begin}{due}"));
        }
    }
}
