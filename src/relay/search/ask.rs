//! One attempt's request, and once more by GET where the answer to HEAD tells too little, or not why.

use super::Wanted;
use crate::exchange::{Answer, Ask, Error, Place};
use crate::relay::candidates::Candidate;
use crate::relay::context::Context;
use crate::relay::head::WORDS;
use crate::upstream::Connection;
use http::Method;
use std::time::Duration;
use tokio::time::timeout;

/// The answer, and how long the first one took.
pub(super) async fn ask<W: Wanted>(
    parts: &Context,
    wanted: &W,
    at: &Candidate,
    connection: Connection,
    ask: Ask,
) -> (Result<Answer, Error>, Option<Duration>) {
    let exchanger = &parts.exchanger;
    let exchange = exchanger.exchange(&at.source, &at.endpoint, connection, &ask);
    let answer = exchange.await;
    let took = answer.as_ref().ok().map(|answer| answer.took);
    match answer {
        Ok(answer) if answer.head && wanted.is_too_little(&answer) => {
            // Boxed: rare, and as large as the first.
            let again = Box::pin(by_get(parts, at, ask)).await;
            (again, took)
        }
        Ok(answer) if answer.head && wanted.wants_words(&at.endpoint, &answer) => {
            let again = timeout(WORDS, Box::pin(by_get(parts, at, ask))).await;
            let answer = match again {
                Ok(Ok(again)) if matches!(again.status.as_u16(), 200 | 404) => again,
                _ => answer,
            };
            (Ok(answer), took)
        }
        answer => (answer, took),
    }
}

async fn by_get(parts: &Context, at: &Candidate, ask: Ask) -> Result<Answer, Error> {
    let ask = Ask {
        method: Method::GET,
        ..ask
    };
    let connection = match parts.client.idle(&at.endpoint) {
        Some(idle) => idle,
        None => {
            let connected = parts.client.connect(&at.source, &at.endpoint).await;
            connected.map_err(|error| Error {
                at: Place::Endpoint,
                failure: error.failure,
                detail: error.detail,
                retry_after: None,
            })?
        }
    };
    let exchanger = &parts.exchanger;
    exchanger
        .exchange(&at.source, &at.endpoint, connection, &ask)
        .await
}
