//! Exchanges over real sockets against fake registries: tokens, passwords, redirects, and what must never be sent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it is test code, in which a panic is a failed test"
)]

mod support;

#[path = "exchange/harbor.rs"]
mod harbor;
#[path = "exchange/moved.rs"]
mod moved;
#[path = "exchange/quirks.rs"]
mod quirks;
#[path = "exchange/redirects.rs"]
mod redirects;
#[path = "exchange/token_faults.rs"]
mod token_faults;
#[path = "exchange/tokens.rs"]
mod tokens;

use harbor_pilot::budget::Budget;
use harbor_pilot::config::Credential;
use harbor_pilot::exchange::{Error, Exchanger, SourceRequest, SourceResponse};
use harbor_pilot::topology::{EndpointId, Source, SourceKind, Sources};
use harbor_pilot::upstream::Client;
use http::Method;
use http::header::HeaderValue;
use std::sync::Arc;
use support::{FakeRegistry, Image, Names, endpoint, source, timeouts};

const NGINX: &str = "proxy-docker-io/library/nginx";
const REDIS: &str = "proxy-docker-io/library/redis";

/// One source with an exchanger.
struct Lab {
    client: Client,
    exchanger: Exchanger,
    names: Arc<Names>,
    source: Arc<Source>,
    endpoint: EndpointId,
}

impl Lab {
    fn new(registry: &FakeRegistry, kind: SourceKind, change: impl FnOnce(&mut Source)) -> Self {
        let name = match kind {
            SourceKind::Upstream => "docker.io",
            _ => "replica",
        };
        let mut source = source(kind, name, registry);
        change(&mut source);
        let source = Arc::new(source);
        let client = Client::new(timeouts());
        let mut sources = Sources {
            generation: 1,
            ..Sources::default()
        };
        match kind {
            SourceKind::Upstream => {
                let name = "docker.io".parse().unwrap();
                sources.upstreams.insert(name, source.clone());
            }
            _ => sources.tiers.push(source.clone()),
        }
        client.update(&sources);
        let names = Arc::new(Names::default());
        Self {
            exchanger: Exchanger::new(
                client.clone(),
                names.clone(),
                Arc::default(),
                &Budget::unlimited(),
            ),
            client,
            names,
            endpoint: endpoint(&source, registry),
            source,
        }
    }

    fn harbor(registry: &FakeRegistry) -> Self {
        Self::new(registry, SourceKind::Harbor, |_| {})
    }

    fn upstream(registry: &FakeRegistry) -> Self {
        Self::new(registry, SourceKind::Upstream, |_| {})
    }

    /// As after a reload with another secret.
    fn with_credential(mut self, credential: Option<Credential>) -> Self {
        let mut source = Source::clone(&self.source);
        source.credential = credential;
        self.source = Arc::new(source);
        self
    }

    async fn ask(&self, ask: &SourceRequest) -> Result<SourceResponse, Error> {
        let connection = match self.client.idle(&self.endpoint) {
            Some(idle) => idle,
            None => self
                .client
                .connect(&self.source, &self.endpoint)
                .await
                .unwrap(),
        };
        let exchange = &self.exchanger;
        exchange
            .exchange(&self.source, &self.endpoint, connection, ask)
            .await
    }

    /// The status and body of an answer that must come.
    async fn get(&self, ask: &SourceRequest) -> (u16, Vec<u8>) {
        let answer = self.ask(ask).await.unwrap();
        let status = answer.status.as_u16();
        let body = answer.body.read_to(u64::MAX).await.unwrap();
        (status, body.to_vec())
    }
}

fn manifest(repository: &str, reference: &str) -> SourceRequest {
    get(repository, &format!("manifests/{reference}"))
}

fn blob(repository: &str, digest: &str) -> SourceRequest {
    get(repository, &format!("blobs/{digest}"))
}

fn get(repository: &str, what: &str) -> SourceRequest {
    let project = repository.split('/').next().unwrap();
    SourceRequest {
        method: Method::GET,
        target: format!("/v2/{repository}/{what}"),
        scope_repository: repository.into(),
        token_scope: project.into(),
        with_credential: true,
        accept: HeaderValue::from_static(harbor_pilot::oci::ACCEPT_MANIFESTS),
        range: None,
        request_id: "3f2a".into(),
        span: None,
        trust: harbor_pilot::cache::Trust::Trusted,
    }
}

fn image() -> Image {
    Image::random(1, 2)
}

/// A 200 with exactly the image's manifest.
#[track_caller]
fn assert_serves(found: (u16, Vec<u8>), image: &Image) {
    assert_eq!(found.0, 200, "{}", String::from_utf8_lossy(&found.1));
    assert_eq!(found.1, image.top.body);
}
