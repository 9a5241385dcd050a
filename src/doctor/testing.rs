//! Facts for the tests of this module.

use super::sources::{EndpointFacts, SourceFacts};
use crate::topology::testing::{self, source};
use crate::topology::{EndpointId, SourceId};
use crate::upstream::Shown;
use std::sync::Arc;

fn facts(id: SourceId, url: &str) -> SourceFacts {
    SourceFacts {
        source: Arc::new(source(id, url)),
        dns: Ok(Vec::new()),
        system: None,
        endpoints: Vec::new(),
    }
}

pub(super) fn tier(name: &str, url: &str) -> SourceFacts {
    facts(testing::tier(name), url)
}

pub(super) fn upstream(registry: &str, url: &str) -> SourceFacts {
    facts(SourceId::Upstream(registry.parse().unwrap()), url)
}

/// An address that was reached.
pub(super) fn endpoint(of: &SourceFacts, address: &str) -> EndpointFacts {
    EndpointFacts {
        id: EndpointId {
            source: of.source.id.clone(),
            address: address.parse().unwrap(),
        },
        shown: Ok(Shown {
            certificate: None,
            status: Some(401),
            date: None,
            moved: None,
        }),
        probe: None,
        access: Vec::new(),
    }
}
