//! One attempt's request, and once more by GET where the answer to HEAD tells too little, or not why.

use super::FetchSpec;
use crate::exchange::{Error, SourceRequest, SourceResponse};
use crate::relay::head::WORDS;
use crate::relay::network::Network;
use crate::topology::select::Candidate;
use std::time::Duration;
use tokio::time::timeout;

/// The answer, and how long the first one took.
pub(super) async fn ask<N: Network, S: FetchSpec<N::Body>>(
    network: &N,
    spec: &S,
    at: &Candidate,
    connection: N::Connection,
    request: SourceRequest,
) -> (Result<SourceResponse<N::Body>, Error>, Option<Duration>) {
    let exchange = network.exchange(&at.source, &at.endpoint, connection, &request);
    let answer = exchange.await;
    let took = answer.as_ref().ok().map(|answer| answer.took);
    match answer {
        Ok(answer) if answer.head && spec.is_too_little(&answer) => {
            // Boxed: rare, and as large as the first.
            let again = Box::pin(send(network, at, spec.by_get(request))).await;
            (again, took)
        }
        Ok(answer) if answer.head && spec.wants_words(&at.endpoint, &answer) => {
            let again = timeout(WORDS, Box::pin(send(network, at, spec.by_get(request)))).await;
            let answer = match again {
                Ok(Ok(again)) if matches!(again.status.as_u16(), 200 | 404) => again,
                _ => answer,
            };
            (Ok(answer), took)
        }
        answer => (answer, took),
    }
}

async fn send<N: Network>(
    network: &N,
    at: &Candidate,
    request: SourceRequest,
) -> Result<SourceResponse<N::Body>, Error> {
    let connection = match network.idle(&at.endpoint) {
        Some(idle) => idle,
        None => {
            let connected = network.connect(&at.source, &at.endpoint).await;
            connected?
        }
    };
    network
        .exchange(&at.source, &at.endpoint, connection, &request)
        .await
}
