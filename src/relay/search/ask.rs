//! One attempt's request, and once more by GET where the answer to HEAD tells too little, or not why.

use super::{Again, FetchSpec};
use crate::exchange::{Error, SourceRequest, SourceResponse};
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
    let answer = match network.exchange(at, connection, &request).await {
        Ok(answer) => answer,
        Err(error) => return (Err(error), None),
    };
    let took = Some(answer.took);
    let again = match answer.head {
        true => spec.again(&at.endpoint, &answer),
        false => None,
    };
    // Boxed: rare, and as large as the first.
    let by_get = || Box::pin(send(network, at, spec.by_get(request)));
    match again {
        None => {}
        Some(Again::Instead) => return (by_get().await, took),
        Some(Again::ForWords(patience)) => {
            if let Ok(Ok(by_get)) = timeout(patience, by_get()).await
                && matches!(by_get.status.as_u16(), 200 | 404)
            {
                return (Ok(by_get), took);
            }
        }
    }
    (Ok(answer), took)
}

async fn send<N: Network>(
    network: &N,
    at: &Candidate,
    request: SourceRequest,
) -> Result<SourceResponse<N::Body>, Error> {
    let connection = match network.idle(&at.endpoint) {
        Some(idle) => idle,
        None => network.connect(at).await?,
    };
    network.exchange(at, connection, &request).await
}
