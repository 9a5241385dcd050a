//! Through whom an image is fetched: through the running agent, from the sources in order, or from each tier or address.

use super::fetch::Through;
use crate::admin::Status;
use crate::budget::Budget;
use crate::cli::explain::lookup::{Lookups, only};
use crate::cli::explain::view::{View, unknown_to};
use crate::cli::explain::{self, image::Image, projects::Found};
use crate::config::Config;
use crate::exchange::Exchanger;
use crate::route::{Route, RouteTable};
use crate::topology::{Source, SourceId, Sources};
use crate::upstream::Client;
use std::sync::Arc;
use tokio::time::Instant;

/// What `--tier`, `--each-tier` and `--each-address` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// As a pull goes: through the agent where one runs, else from the first source that serves.
    AsAPull,
    Tier(String),
    EachTier,
    /// Of one tier, or of all.
    EachAddress(Option<String>),
}

/// One way on which an image is fetched as a whole.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    /// For people: `agent`, `core`, `core/203.0.113.7:443`.
    pub(super) name: String,
    /// Asked in turn until one serves.
    pub(super) through: Vec<Through>,
}

/// Finds the passes of images.
pub(super) struct Passes {
    config: Arc<Config>,
    found: Found,
    routes: RouteTable,
    sources: Vec<Arc<Source>>,
    agent: Option<Through>,
    status: Option<Status>,
    lookups: Lookups,
    client: Client,
    exchanger: Exchanger,
}

// === impl Passes ===

impl Passes {
    /// `status`: what the running agent says; `agent`: the agent, where one is to be asked.
    pub(super) fn new(
        (config, found): (Config, Found),
        status: Option<Status>,
        agent: Option<Through>,
    ) -> Self {
        let config = Arc::new(config);
        let all = Sources::from_config(&config, 1);
        let sources: Vec<Arc<Source>> = all.all().cloned().collect();
        let known = Arc::new(only(&sources));
        let lookups = Lookups::start(known.clone(), config.dns.clone());
        let client = Client::new(config.timeouts);
        client.update(&known);
        let exchanger = Exchanger::new(
            client.clone(),
            Arc::new(lookups.discovery.clone()),
            Arc::default(),
            &Budget::unlimited(),
        );
        Self {
            routes: RouteTable::new(config.clone()),
            config,
            found,
            sources,
            agent,
            status,
            lookups,
            client,
            exchanger,
        }
    }

    /// The image as it is pulled, and its passes.
    ///
    /// # Errors
    /// In words: nothing may be asked for it, no tier of that name serves it, or nobody has an image of the router's.
    pub(super) async fn for_image(
        &self,
        image: &Image,
        choice: &Choice,
    ) -> Result<(Image, Vec<Pass>), String> {
        if let (Choice::AsAPull, Some(agent)) = (choice, &self.agent) {
            let pass = Pass {
                name: "agent".to_owned(),
                through: vec![agent.clone()],
            };
            return Ok((image.clone(), vec![pass]));
        }
        let of = (&self.config, &self.found);
        let named = explain::named(of, image, self.status.as_ref()).await;
        let image = &named.unwrap_or_else(|| Ok(image.clone()))?;
        let routed = self
            .routes
            .explain(Some(image.registry.as_str()), &image.name, &image.kind());
        let mut route = routed.map_err(|refusal| refusal.to_string())?;
        let wanted = match choice {
            Choice::AsAPull | Choice::EachTier | Choice::EachAddress(None) => None,
            Choice::Tier(tier) | Choice::EachAddress(Some(tier)) => Some(tier),
        };
        let is_tier = |source: &SourceId| matches!(source, SourceId::Tier(_));
        route.targets.retain(|target| match wanted {
            Some(name) => is_tier(&target.source) && target.source.label() == name,
            None => *choice == Choice::AsAPull || is_tier(&target.source),
        });
        if route.targets.is_empty() {
            return Err(match wanted {
                Some(name) => format!("tier {name} does not serve {}", image.registry),
                None => format!("no tier serves {}", image.registry),
            });
        }
        let through = self.in_order(&route, image).await;
        let name = |through: &Through| match choice {
            Choice::AsAPull => "sources".to_owned(),
            Choice::Tier(_) | Choice::EachTier => through.source_label(),
            Choice::EachAddress(_) => through.name(),
        };
        let mut passes: Vec<Pass> = Vec::new();
        for one in through {
            let name = name(&one);
            match passes.iter_mut().find(|pass| pass.name == name) {
                Some(pass) => pass.through.push(one),
                None => passes.push(Pass {
                    name,
                    through: vec![one],
                }),
            }
        }
        if passes.is_empty() {
            let sources: Vec<&str> = route
                .targets
                .iter()
                .map(|target| target.source.label())
                .collect();
            return Err(format!("no address of {} is known", sources.join(", ")));
        }
        Ok((image.clone(), passes))
    }

    /// The addresses of a route, as a pull asks them now.
    async fn in_order(&self, route: &Route, image: &Image) -> Vec<Through> {
        let sources = self.sources.iter();
        let sources =
            sources.filter(|one| route.targets.iter().any(|target| target.source == one.id));
        let sources: Vec<Arc<Source>> = sources.cloned().collect();
        let status = self.status.as_ref();
        let unknown = unknown_to(status, &sources);
        let looked_up = self.lookups.addresses(&unknown).await;
        let now = Instant::now();
        let view = View::new(&sources, status, &looked_up, now);
        let order = view.order(route, &image.reference, self.config.limits, now);
        let through = order.into_iter().filter_map(|candidate| {
            let mut targets = route.targets.iter();
            let target = targets.find(|target| target.source == candidate.endpoint.source)?;
            Some(Through::Source {
                source: candidate.source.clone(),
                endpoint: candidate.endpoint,
                target: target.clone(),
                client: self.client.clone(),
                exchanger: self.exchanger.clone(),
            })
        });
        through.collect()
    }
}
