//! Through whom an image is fetched: through the running agent, from the sources in order, or from each tier or address.

use super::fetch::{By, Through};
use crate::admin::Status;
use crate::cli::explain::lookup::Lookups;
use crate::cli::explain::view::View;
use crate::cli::explain::{self, image::Image, projects::Found};
use crate::config::Config;
use crate::exchange::Exchanger;
use crate::route::{Route, RouteTable};
use crate::topology::SourceId;
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
    agent: Option<Through>,
    status: Option<Status>,
    lookups: Lookups,
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
        let lookups = Lookups::start(&config);
        let (_, exchanger) = lookups.requests(&config);
        Self {
            routes: RouteTable::new(config.clone()),
            config,
            found,
            agent,
            status,
            lookups,
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
            Choice::Tier(_) | Choice::EachTier => through.source_label().to_owned(),
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
        let sources = self.lookups.sources_of(route);
        let view = View::look(&sources, self.status.as_ref(), &self.lookups).await;
        let limits = self.config.limits;
        let order = view.order(route, &image.reference, limits, Instant::now());
        let through = order.into_iter().filter_map(|candidate| {
            let target = route.target(&candidate.endpoint.source)?.clone();
            let exchanger = self.exchanger.clone();
            Some(Through {
                source: candidate.source,
                endpoint: candidate.endpoint,
                by: By::Target { target, exchanger },
            })
        });
        through.collect()
    }
}
