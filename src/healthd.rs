//! The health responder of a Harbor host (`harbor-pilot healthd`): 200 while Harbor's components are healthy, else 503, for
//! load balancers and DNS health checks. It stands in for the responder that GlueOps runs on port 1337.
//!
//! However many ask, Harbor is asked once per `cache`, one question at a time: each request to Harbor is a session in its
//! Redis. What Harbor's answer means is decided by `healthd::verdict`, which is pure.

mod answer;
mod asker;
mod harbor;
mod metrics;
mod settings;
mod verdict;

pub(crate) use settings::{Options, Settings};

use crate::admin::endpoint::{self, CONNECTION_LIMIT};
use crate::admission::{Admission, Lookup, Peers};
use crate::lifecycle::{Notifier, Signals, TaskFailure, Tasks};
use crate::telemetry::Journal;
use asker::Asker;
use harbor::Harbor;
use metrics::Metrics;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Connections at once. Route 53 sends about 15 checkers at a time. Beyond, who has not asked for longest makes way.
const CONNECTIONS: usize = 256;

/// Connections of scrapers to `/metrics` at once.
const SCRAPERS: usize = 16;

/// Why the responder ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The process could not be set up.
    #[error("setting up signals")]
    Process(#[source] io::Error),
    /// An address cannot be listened at.
    #[error("listening at {address}")]
    Bind {
        address: SocketAddr,
        source: io::Error,
    },
    /// A task that must not end has ended.
    #[error("the task {} has ended{}", .0.name, .0.panic.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    Task(TaskFailure),
}

/// Serves until a signal ends it.
///
/// # Errors
/// [`Error`]: an address that is taken, or a task that broke.
pub(crate) async fn run(
    settings: Settings,
    journal: Journal,
    notifier: Notifier,
    mut signals: Signals,
) -> Result<(), Error> {
    let tasks = Tasks::default();
    let metrics = Arc::new(Metrics::new());
    let harbor = Harbor::new(&settings);
    let (asker, asking) = Asker::new(harbor, &settings, metrics.clone(), journal);
    tasks.spawn("questions to Harbor", asking);

    let peers = Peers::new(Lookup::Kernel);
    let (listener, listen) = bind(settings.listen).await?;
    let admission = Admission::new(CONNECTIONS, CONNECTION_LIMIT, peers.clone());
    let counted = metrics.clone();
    tasks.spawn(
        "health endpoint",
        endpoint::serve("health", listener, admission, move |request| {
            let (asker, counted) = (asker.clone(), counted.clone());
            async move {
                let response = match answer::refused(request.method()) {
                    Some(refusal) => refusal,
                    None => answer::answer(&*asker.verdict().await),
                };
                counted.answered(response.status());
                response
            }
        }),
    );
    if let Some(address) = settings.metrics {
        let (listener, _) = bind(address).await?;
        let admission = Admission::new(SCRAPERS, CONNECTION_LIMIT, peers);
        tasks.spawn(
            "metrics endpoint",
            endpoint::serve("metrics", listener, admission, move |request| {
                let response = answer::metrics(&request, &metrics);
                async move { response }
            }),
        );
    }
    tracing::info!(
        "answers at {listen} for {}, which is asked once per {:?} at most",
        settings.harbor.url,
        settings.cache
    );
    notifier.ready(&format!("answers at {listen}"));
    tokio::select! {
        // Cancel safe: signals stay queued. A reload has nothing to read anew.
        () = stopped(&mut signals) => {}
        // Cancel safe: a failure is kept.
        failure = tasks.failure() => return Err(Error::Task(failure)),
    }
    notifier.stopping();
    tasks.stop();
    Ok(())
}

async fn stopped(signals: &mut Signals) {
    while signals.next().await == crate::lifecycle::Signal::Reload {}
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let at = listener.local_addr()?;
        Ok((listener, at))
    };
    bound
        .await
        .map_err(|source| Error::Bind { address, source })
}
