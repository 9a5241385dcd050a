//! Images that name no registry (`[router]`): who would be asked, and with `--probe` what each says and whom the order chooses. What
//! the running agent remembers of an image is not looked at.

use super::image::Image;
use super::report::{Report, RouterCandidate, RouterReport, SourceReport};
use crate::config::{Config, Router};
use crate::oci::{RawName, RegistryName, Repository};
use crate::relay::FinalAnswer;
use crate::router::{self, Answer, Choice, Decision, Step, is_definite_no};
use std::time::Duration;
use tokio::time::Instant;

/// The repository that is looked for, if the image names no registry; or what is wrong with it.
pub(super) fn repository(config: &Config, image: &Image) -> Option<Result<Repository, String>> {
    let router = config.router.as_ref()?;
    let found = router::repository(router, Some(image.registry.as_str()), &image.name)?;
    match found {
        Err(outside) if is_a_tier(config, &outside.name) => None,
        found => Some(found.map_err(|outside| outside.to_string())),
    }
}

fn is_a_tier(config: &Config, name: &RegistryName) -> bool {
    config.tiers.iter().any(|tier| tier.names.contains(name))
}

/// The images that are asked for, the preferred first.
pub(super) fn images(config: &Config, image: &Image, repository: &Repository) -> Vec<Image> {
    let router = config.router.iter();
    let registries = router.flat_map(|it| it.candidates(&config.registries, &config.tiers));
    let images = registries.map(|registry| Image {
        registry,
        name: RawName::from(repository),
        reference: image.reference.clone(),
    });
    images.collect()
}

/// One report of all of them. `reports` are those of the images, in their order.
pub(super) fn report(
    config: &Config,
    image: &Image,
    repository: &Repository,
    reports: Vec<(RegistryName, Report)>,
) -> Report {
    let is_strict = config.router.as_ref().is_some_and(|it| it.is_strict());
    let probed = reports.iter().any(|(_, report)| report.probed);
    let answers: Vec<Answer> = reports
        .iter()
        .map(|(_, report)| answer(config, is_strict, report))
        .collect();
    let candidates = reports
        .iter()
        .zip(&answers)
        .map(|((registry, report), answer)| {
            let word = match answer {
                Answer::Has => "yes",
                Answer::HasNot => "no",
                Answer::Unknown => "unknown",
            };
            RouterCandidate {
                registry: registry.to_string(),
                has_manifest: probed.then_some(word),
                refusal: report.refusal.as_ref().map(|refusal| refusal.what.clone()),
                sources: report.sources.clone(),
            }
        });
    let mut router = RouterReport {
        repository: repository.to_string(),
        strict: is_strict,
        candidates: candidates.collect(),
        chosen: None,
        why: rule(config.router.as_deref()),
    };
    let mut whole = Report::empty(image);
    whole.has_path = reports.iter().any(|(_, report)| report.has_path);
    if probed {
        let chosen = decide(is_strict, &answers);
        let (place, why) = reason(is_strict, chosen, &router.candidates);
        router.why = why;
        whole.has_path = place.is_some();
        if let Some((registry, report)) = place.and_then(|place| reports.into_iter().nth(place)) {
            router.chosen = Some(registry.to_string());
            whole = Report {
                image: whole.image,
                request: whole.request,
                ..report
            };
        }
        whole.probed = true;
    }
    whole.router = Some(router);
    whole
}

/// What the probes of one registry's sources say of it.
fn answer(config: &Config, is_strict: bool, report: &Report) -> Answer {
    let probes = report.candidates.iter();
    let probes = probes.filter_map(|one| Some((one, one.probe.as_ref()?)));
    if probes.clone().any(|(_, probe)| probe.has_manifest) {
        return Answer::Has;
    }
    let no_of = |source: &SourceReport| {
        let mut of = probes.clone().filter(|(one, _)| one.source == source.name);
        of.find_map(|(_, probe)| probe.no)
    };
    let says_no = |source: &SourceReport| no_of(source) == Some(FinalAnswer::NotFound);
    let tiers = || report.sources.iter().filter(|one| !one.authoritative);
    let all_say_no = || tiers().all(&says_no);
    let is_passed_on = || {
        probes.clone().any(|(one, probe)| {
            let mut tiers = config.tiers.iter();
            let tier = tiers.find(|tier| *tier.name == *one.source);
            let words = probe.error.as_deref().unwrap_or_default();
            probe.no == Some(FinalAnswer::NotFound)
                && tier.is_some_and(|tier| is_definite_no(tier, words))
        })
    };
    let has_tier = tiers().next().is_some();
    // As the agent judges (`router::verdict`).
    let is_no = match report.sources.iter().find(|one| one.authoritative) {
        Some(registry) => match no_of(registry) {
            Some(FinalAnswer::NotFound) => all_say_no() || is_passed_on(),
            Some(FinalAnswer::Denied | FinalAnswer::Withheld) => has_tier && all_say_no(),
            _ => false,
        },
        None if is_strict => is_passed_on(),
        None => has_tier && all_say_no(),
    };
    match is_no {
        true => Answer::HasNot,
        false => Answer::Unknown,
    }
}

/// As the agent decides where all answers come at once.
fn decide(is_strict: bool, answers: &[Answer]) -> Decision {
    let now = Instant::now();
    let mut choice = Choice::new(answers.len(), is_strict, Duration::ZERO);
    for (place, answer) in answers.iter().enumerate() {
        choice.answered(place, *answer, now);
    }
    match choice.step(now) {
        Step::Decided(decision) => decision,
        // Everybody has answered.
        Step::Wait(_) => Decision::Nowhere,
    }
}

fn reason(
    is_strict: bool,
    decision: Decision,
    candidates: &[RouterCandidate],
) -> (Option<usize>, String) {
    let name = |place: usize| {
        candidates
            .get(place)
            .map_or("", |one| one.registry.as_str())
    };
    match decision {
        Decision::Found(place) => {
            let others = candidates.iter().enumerate();
            let others = others.filter(|(at, one)| *at != place && one.has_manifest == Some("yes"));
            let others: Vec<&str> = others.map(|(_, one)| one.registry.as_str()).collect();
            let also = match others.is_empty() {
                true => String::new(),
                false => format!("; {} has it too: the name is ambiguous", others.join(", ")),
            };
            let why = match (is_strict, place) {
                (_, 0) => "has it, and no other is placed before it",
                (true, _) => {
                    "has it, and all that are placed before it say definitely that they have not"
                }
                (false, _) => {
                    "is the best-placed of those that have it; within the grace of the first"
                }
            };
            (Some(place), format!("{} {why}{also}", name(place)))
        }
        Decision::Nowhere if candidates.is_empty() => {
            (None, "no tier has a project to look in".to_owned())
        }
        Decision::Nowhere => (None, "all say that they have not got it".to_owned()),
        Decision::Blocked(place) => {
            let name = name(place);
            let why = match is_strict {
                true => format!(
                    "{name} is placed before others and has not said definitely whether it has it"
                ),
                false => format!("none has it, and {name} has not said whether it has it"),
            };
            (None, why)
        }
    }
}

/// How one is chosen, where nobody was asked.
fn rule(router: Option<&Router>) -> String {
    match router {
        Some(router) if !router.is_strict() => format!(
            "the best-placed that has it within {} ms of the first is taken; without an order an outage hides nobody else's image",
            router.grace.as_millis()
        ),
        _ => {
            "the first that has it is taken, where all before it say definitely that they have not"
                .to_owned()
        }
    }
}
