//! `[router]`: image names without a registry, which are looked for in every proxy-cache project of the tiers;
//! `[router.redis]`: where several agents share what they find.

use super::access::password;
use super::model::{Redis, Registry, Router, Tier};
use super::section::{Reading, Section};
use crate::oci::Repository;
use std::sync::Arc;
use std::time::Duration;

/// Longer than this nobody waits for a better answer than the one that is there.
const LONGEST_GRACE: Duration = Duration::from_secs(10);

/// Of what all keys in Redis begin with.
const LONGEST_PREFIX: usize = 64;

/// The table, where it is written.
pub(super) fn read_router(
    root: &mut Section<'_>,
    registries: &[Arc<Registry>],
    tiers: &[Arc<Tier>],
    cx: &mut Reading<'_>,
) -> Option<Arc<Router>> {
    if !root.has("router") {
        // Known, and absent.
        root.node("router");
        return None;
    }
    let mut section = root.below("router", cx);
    let seconds = Duration::from_secs;
    let problems = cx.problems.len();
    let names = section.or(cx, "names", Vec::new());
    // Of names that cannot be read enough has been said.
    if names.is_empty() && cx.problems.len() == problems {
        let what = "is missing or empty: no image's name would lead here";
        let instead = "write the name that images begin with: names = [\"registry.example.com\"]";
        section.complain(cx, "names", what, instead);
    }
    let router = Router {
        names,
        project: section.or(cx, "project", "proxy".to_owned()),
        order: section.or(cx, "order", Vec::new()),
        max_fanout: section.or(cx, "max_fanout", 50),
        grace: section.or(cx, "grace", Duration::from_millis(150)),
        ttl: section.or(cx, "ttl", seconds(300)),
        negative_ttl: section.or(cx, "negative_ttl", seconds(30)),
        stale_while_revalidate: section.or(cx, "stale_while_revalidate", seconds(60)),
        requests_per_second: section.or(cx, "requests_per_second", 0),
        redis: read_redis(&mut section, cx),
    };
    check_names(&section, &router, registries, cx);
    if router.project.parse::<Repository>().is_err() {
        let what = format!("{:?} is no part of an image's name", router.project);
        let instead = "write what stands behind the name, such as project = \"proxy\"";
        section.complain(cx, "project", what, instead);
    }
    check_order(&section, &router, registries, tiers, cx);
    if router.max_fanout == 0 {
        let what = "is zero: no project could be asked";
        section.complain(cx, "max_fanout", what, "write max_fanout = 50");
    }
    if router.ttl.is_zero() {
        let what = "is zero: every pull would ask every project";
        section.complain(cx, "ttl", what, "write ttl = \"5m\"");
    }
    if router.negative_ttl > Router::LONGEST_NEGATIVE_TTL {
        let what = "is longer than an hour: an image that is pushed meanwhile would not be found";
        section.complain(cx, "negative_ttl", what, "write negative_ttl = \"30s\"");
    }
    if router.grace > LONGEST_GRACE {
        let what = "is long: each first pull of an image waits for it";
        section.complain(cx, "grace", what, "write grace = \"150ms\"");
    }
    if section.is_written("grace") && !router.order.is_empty() {
        let what = "has no effect beside order, which waits for every better-placed project";
        section.warn(cx, "grace", what, "take grace out, or order");
    }
    section.finish(cx);
    Some(Arc::new(router))
}

/// The table, where it is written.
fn read_redis(router: &mut Section<'_>, cx: &mut Reading<'_>) -> Option<Redis> {
    if !router.has("redis") {
        router.node("redis");
        return None;
    }
    let mut section = router.below("redis", cx);
    let problems = cx.problems.len();
    let sentinels = section.or(cx, "sentinels", Vec::new());
    if sentinels.is_empty() && cx.problems.len() == problems {
        let what = "is missing or empty: nobody would say where the master is";
        let instead = "write sentinels = [\"10.0.0.1:26379\"], or take [router.redis] out";
        section.complain(cx, "sentinels", what, instead);
    }
    let master = section.optional(cx, "master");
    if !section.has("master") {
        let what = "is missing: sentinels know a master by its name";
        section.complain(cx, "master", what, "write master = \"mymaster\"");
    }
    let password = password(&mut section, cx);
    let db = section.or(cx, "db", 0);
    let key_prefix = section.or(cx, "key_prefix", "hp".to_owned());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    if !key_prefix.chars().all(is_plain) || key_prefix.len() > LONGEST_PREFIX {
        let what = format!(
            "is more than {LONGEST_PREFIX} letters, digits, dots, dashes, underscores and colons"
        );
        section.complain(cx, "key_prefix", what, "write key_prefix = \"hp\"");
    }
    section.finish(cx);
    Some(Redis {
        sentinels,
        master: master?,
        password,
        db,
        key_prefix,
    })
}

fn check_names(
    section: &Section<'_>,
    router: &Router,
    registries: &[Arc<Registry>],
    cx: &mut Reading<'_>,
) {
    for name in &router.names {
        if registries.iter().any(|registry| registry.name == *name) {
            let what = format!("{name} is a configured registry, whose images have one place");
            section.complain(cx, "names", what, "write a name that no registry has");
        }
    }
}

fn check_order(
    section: &Section<'_>,
    router: &Router,
    registries: &[Arc<Registry>],
    tiers: &[Arc<Tier>],
    cx: &mut Reading<'_>,
) {
    for (index, name) in router.order.iter().enumerate() {
        if router.order.iter().take(index).any(|before| before == name) {
            let what = format!("lists {name} twice");
            section.complain(cx, "order", what, "keep the first of the two");
        } else if !registries.iter().any(|registry| registry.name == *name) {
            let what = format!("{name} is not a configured registry");
            let instead = format!("take it out, or add [[registry]] with name = \"{name}\"");
            section.complain(cx, "order", what, instead);
        }
    }
    let has_projects = |tier: &&Arc<Tier>| !tier.projects.is_empty() || tier.discovery.is_some();
    if !tiers.iter().any(|tier| has_projects(&tier)) {
        let what = "has nowhere to look: no tier has projects";
        let instead = "add a [[tier]] with [tier.projects] or [tier.discovery]";
        section.warn(cx, "names", what, instead);
    }
}
