//! The gateway's listeners, and their certificate, which is renewed without a restart.

use super::{Error, listen};
use crate::admin::View;
use crate::config::{self, Config};
use crate::lifecycle::Tasks;
use crate::router::Dispatcher;
use crate::server::{self, Gateway, Settings};
use rustls::ServerConfig;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Where a new certificate goes.
#[derive(Debug)]
pub(super) struct GatewayTls {
    /// What it was made from.
    of: config::Gateway,
    tls: watch::Sender<Arc<ServerConfig>>,
}

/// Serves the gateway on that runtime; `None`: there is none.
///
/// # Errors
/// [`Error::GatewayTls`]: there is no TLS with its certificate.
pub(super) fn start(
    config: &Config,
    listeners: Vec<TcpListener>,
    (entry, tasks, accepting): (&Dispatcher, &Tasks, &Handle),
    (settings, view): (Settings, View),
) -> Result<Option<GatewayTls>, Error> {
    let Some(of) = config.server.gateway.clone() else {
        return Ok(None);
    };
    let (tls, newest) =
        watch::channel(server::tls(&of).map_err(|error| Error::GatewayTls(error.into()))?);
    let drain = view.drain.clone();
    let gateway = Gateway {
        tls: newest,
        is_ready: Arc::new(move || view.not_ready().is_empty()),
    };
    for listener in listeners {
        let settings = Settings {
            gateway: Some(gateway.clone()),
            ..settings.clone()
        };
        listen::serve(listener, (entry, settings, &drain), (tasks, accepting));
    }
    Ok(Some(GatewayTls { of, tls }))
}

// === impl GatewayTls ===

impl GatewayTls {
    /// Takes another certificate over; connections that are open keep the old one.
    pub(super) fn update(&mut self, server: &config::Server) {
        let Some(of) = server.gateway.as_ref().filter(|of| **of != self.of) else {
            return;
        };
        match server::tls(of) {
            Ok(tls) => {
                self.tls.send_replace(tls);
                self.of = of.clone();
            }
            Err(error) => tracing::error!("the gateway keeps its certificate: {error}"),
        }
    }
}
