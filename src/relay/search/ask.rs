//! One attempt's request, and once more by GET where the answer to HEAD tells too little, or not why.

use super::{Again, FetchSpec};
use crate::exchange::{Error, SourceRequest, SourceResponse};
use crate::relay::network::Network;
use crate::topology::select::Candidate;
use tokio::time::timeout;

/// The answer, with the time that the first one took.
pub(super) async fn ask<N: Network, S: FetchSpec<N::Body>>(
    network: &N,
    spec: &S,
    at: &Candidate,
    connection: N::Connection,
    request: SourceRequest,
) -> Result<SourceResponse<N::Body>, Error> {
    let answer = network.exchange(at, connection, &request).await?;
    let (took, is_to_head) = (answer.took, answer.head);
    let again = is_to_head.then(|| spec.again(&at.endpoint, &answer));
    let Some(again) = again.flatten() else {
        return Ok(answer);
    };
    // Boxed: rare, and as large as the first.
    let by_get = Box::pin(async {
        let by_get = send(network, at, spec.by_get(request)).await?;
        Ok(SourceResponse { took, ..by_get })
    });
    match again {
        Again::Instead => by_get.await,
        Again::ForWords(patience) => match timeout(patience, by_get).await {
            Ok(Ok(by_get)) if matches!(by_get.status.as_u16(), 200 | 404) => Ok(by_get),
            _ => Ok(answer),
        },
    }
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
