//! What the responder counts.

use super::verdict::Verdict;
use crate::metrics::{Format, render_registry};
use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    healthy: Gauge,
    components: Family<ComponentLabels, Gauge>,
    questions: Family<ResultLabels, Counter>,
    answers: Family<StatusLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ComponentLabels {
    component: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: u16,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("harbor_pilot_healthd");
        let (healthy, components) = (Gauge::default(), Family::default());
        let (questions, answers) = (Family::default(), Family::default());
        registry.register(
            "healthy",
            "1: Harbor was healthy when it was asked last",
            healthy.clone(),
        );
        registry.register(
            "component_healthy",
            "1: the component was healthy when Harbor was asked last",
            components.clone(),
        );
        registry.register(
            "questions",
            "Questions to Harbor, by what came of them",
            questions.clone(),
        );
        registry.register("answers", "Answers to health checks", answers.clone());
        Self {
            registry,
            healthy,
            components,
            questions,
            answers,
        }
    }

    /// Harbor has been asked.
    pub(super) fn asked(&self, verdict: &Verdict) {
        let result = verdict.status;
        self.questions.get_or_create(&ResultLabels { result }).inc();
        self.healthy.set(i64::from(verdict.is_healthy()));
        // Those of the newest answer alone: Harbor's names are foreign, and no longer listed ones must go.
        self.components.clear();
        for component in &verdict.components {
            let labels = ComponentLabels {
                component: component.name.clone(),
            };
            let is_healthy = component.status == "healthy";
            self.components
                .get_or_create(&labels)
                .set(i64::from(is_healthy));
        }
    }

    /// A health check has been answered.
    pub(super) fn answered(&self, status: StatusCode) {
        let status = status.as_u16();
        self.answers.get_or_create(&StatusLabels { status }).inc();
    }

    /// The answer to a scrape.
    pub(super) fn render(&self, format: Format) -> String {
        render_registry(&self.registry, format)
    }
}
