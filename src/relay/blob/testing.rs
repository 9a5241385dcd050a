//! Fetches for tests of what is around them.

use super::{BlobFetch, Expected};
use crate::cache::Trust;
use crate::config::HarborPolicy;
use crate::relay::context::Context;
use crate::relay::memory::{Image, Pulled};
use crate::route::Route;
use std::sync::Arc;

impl BlobFetch {
    pub(crate) fn new(parts: &Arc<Context>, route: &Arc<Route>, image: Image) -> Self {
        let digest = image.reference.digest().unwrap().clone();
        let trust = Trust::Trusted;
        Self {
            parts: parts.clone(),
            route: route.clone(),
            denied: None,
            digest,
            range: None,
            expected: Expected::new(Pulled { image, trust }, None),
            head: false,
            policy: HarborPolicy::Next,
            request_id: "1".into(),
        }
    }
}
