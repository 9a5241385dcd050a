//! The listeners for people and monitors.

use super::listen::{self, bind};
use super::{Bound, Error};
use crate::admin::{self, Surface, View};
use crate::admission::Peers;
use crate::config::Server;
use crate::lifecycle::Tasks;

/// Opens those that the configuration wants.
pub(super) async fn open(
    server: &Server,
    view: View,
    peers: Peers,
    tasks: &Tasks,
    bound: &mut Bound,
) -> Result<(), Error> {
    if let Some(address) = server.admin {
        let (listener, address) = bind(address, listen::ADMIN).await?;
        bound.admin = Some(address);
        let served = admin::serve(listener, Surface::Admin, view.clone(), peers.clone());
        tasks.spawn("admin endpoint", served);
    }
    if let Some(address) = server.metrics {
        let (listener, address) = bind(address, "metrics").await?;
        bound.metrics = Some(address);
        let served = admin::serve(listener, Surface::MetricsOnly, view, peers);
        tasks.spawn("metrics endpoint", served);
    }
    Ok(())
}
