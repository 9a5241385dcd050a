//! One question to Harbor: an address of its name, a kept connection where there is one, and its session cookie.

use super::settings::Settings;
use super::verdict::{Require, Verdict, judge};
use crate::config::Config;
use crate::health::{Answered, HttpProber};
use crate::topology::{EndpointId, Source, Sources};
use crate::upstream::Client;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// Asks Harbor. Used by one task.
#[derive(Debug)]
pub(super) struct Harbor {
    source: Arc<Source>,
    prober: HttpProber,
    require: Require,
    limit: Duration,
    /// Who answered last: asked first, over the kept connection.
    answered: Option<SocketAddr>,
    /// `sid=…`, so that Harbor does not make a session for each question.
    cookie: Option<String>,
}

impl Harbor {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut timeouts = Config::built_in().timeouts;
        timeouts.connect = timeouts.connect.min(settings.timeout);
        timeouts.tls = timeouts.tls.min(settings.timeout);
        let client = Client::new(timeouts);
        client.update(&Sources {
            generation: 1,
            tiers: vec![settings.harbor.clone()],
            ..Sources::default()
        });
        Self {
            source: settings.harbor.clone(),
            prober: HttpProber::new(client),
            require: settings.require.clone(),
            limit: settings.timeout,
            answered: None,
            cookie: None,
        }
    }

    /// How Harbor is, within the limit.
    pub(super) async fn ask(&mut self) -> Verdict {
        let limit = self.limit;
        match timeout(limit, self.answer()).await {
            Ok(Ok(said)) => match said.moved {
                Some(instead) => Verdict::unhealthy(format!("Harbor redirects: {instead}")),
                None => judge(said.status, &said.body, &self.require),
            },
            Ok(Err(reason)) => Verdict::unhealthy(reason),
            Err(_) => {
                // Whoever is silent is not asked first again.
                self.answered = None;
                Verdict::unhealthy(format!("no answer from Harbor within {limit:?}"))
            }
        }
    }

    /// The first address that answers.
    async fn answer(&mut self) -> Result<Answered, String> {
        if let Some(address) = self.answered
            && let Ok(said) = self.answer_of(address).await
        {
            return Ok(said);
        }
        self.answered = None;
        let source = self.source.clone();
        let (host, port) = (source.url.host.as_str(), source.url.port);
        let looked_up = lookup_host((host, port)).await;
        let addresses = looked_up.map_err(|error| format!("looking up {host}: {error}"))?;
        let mut reason = format!("{host} has no address");
        for address in addresses {
            match self.answer_of(address).await {
                Ok(said) => {
                    self.answered = Some(address);
                    return Ok(said);
                }
                Err(why) => reason = why,
            }
        }
        Err(reason)
    }

    async fn answer_of(&mut self, address: SocketAddr) -> Result<Answered, String> {
        let endpoint = EndpointId {
            source: self.source.id.clone(),
            address,
        };
        let cookie = self.cookie.as_deref();
        let said = self.prober.harbor_health(&self.source, &endpoint, cookie);
        let said = said.await.map_err(|error| error.detail())?;
        if said.cookie.is_some() {
            self.cookie.clone_from(&said.cookie);
        }
        Ok(said)
    }
}
