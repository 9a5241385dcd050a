//! What a request costs before it is the relay's.

use super::*;
use crate::cache::Trust;
use crate::config::Config;
use crate::oci::ResourcePath;
use crate::router::sharing::tests::{saying, silent};
use crate::router::testing::stage;
use futures_util::FutureExt as _;

const CONFIG: &str = "[[tier]]\nname = \"cat\"\nurl = \"https://harbor.example.com\"\n\
                      project = \"proxy-{registry_dashed}\"\n\
                      [router]\nnames = [\"registry.example.com\"]\n";

fn request(what: &str) -> PullRequest {
    let path = format!("/v2/proxy/org/app/{what}");
    let Ok(ResourcePath::Resource { name, kind }) = ResourcePath::parse(&path) else {
        panic!("{path} is no resource");
    };
    PullRequest {
        head: false,
        ns: Some("registry.example.com".to_owned()),
        name,
        kind,
        accept: None,
        ranges: None,
        shows_denials: false,
        query: None,
        trust: Trust::Trusted,
        client: None,
        trace: None,
    }
}

fn wanted(of: &RouterRequest<'_>) -> Wanted {
    of.wanted(of.repository.as_ref().unwrap()).unwrap()
}

/// From a request to the route by which the relay pulls it, where it is known which registry has it.
#[tokio::test]
async fn a_known_image_is_routed_without_an_allocation() {
    let stage = stage(Config::from_toml(CONFIG).unwrap());
    let (parts, lookups) = (stage.relay.parts(), Arc::default());
    let rules = parts.rules.load_full();
    let digest = format!("manifests/sha256:{}", "ab".repeat(32));
    let one = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1_u8))));
    assert_eq!(one.count_total, 1, "nothing is counted");
    for what in ["manifests/1.27", &digest, "tags/list"] {
        let request = request(what);
        let routed = || RouterRequest::new((parts, &lookups), &rules, &request)?.known_route();
        let first = RouterRequest::new((parts, &lookups), &rules, &request).unwrap();
        let registry = "ghcr.io".parse().unwrap();
        let now = Instant::now();
        lookups.mappings.found(&wanted(&first), &registry, now);
        // What is built on first use is built.
        let (route, freshness) = routed().unwrap();
        assert_eq!(freshness, Freshness::Fresh);
        assert_eq!(route.registry_label, registry);
        let counted = allocation_counter::measure(|| {
            assert!(routed().is_some());
        });
        assert_eq!(counted.count_total, 0, "{what}: {counted:?}");
    }
}

/// A project that is gone, or that only another agent has. With and without the way to the registry itself.
#[tokio::test]
async fn what_was_found_here_stays_and_another_agents_word_is_followed_where_a_search_goes() {
    for (direct, at_hub) in [(false, false), (true, true)] {
        places_with(direct, at_hub).await;
    }
}

/// `at_hub`: whether content that was found at docker.io, for which no tier has a project, is pulled from there. A tag stays there.
async fn places_with(direct: bool, at_hub: bool) {
    let config = format!(
        "[[tier]]\nname = \"cat\"\nurl = \"http://127.0.0.1:1\"\n\
         [tier.projects]\n\"ghcr.io\" = \"proxy-ghcr-io\"\n\
         [[registry]]\nname = \"docker.io\"\nupstream = \"http://127.0.0.1:1\"\n\
         [[registry]]\nname = \"ghcr.io\"\nupstream = \"http://127.0.0.1:1\"\n\
         [direct]\nenabled = {direct}\n\
         [router]\nnames = [\"registry.example.com\"]\n"
    );
    let stage = stage(Config::from_toml(&config).unwrap());
    let parts = stage.relay.parts();
    let rules = parts.rules.load_full();
    let digest = format!("manifests/sha256:{}", "ab".repeat(32));
    for (registry, is_asked, is_used) in [("ghcr.io", true, true), ("docker.io", false, at_hub)] {
        let registry: RegistryName = registry.parse().unwrap();
        for what in ["manifests/1.27", &digest] {
            let mut lookups = Lookups::default();
            lookups.sharing = saying(&registry);
            let lookups = Arc::new(lookups);
            let request = request(what);
            let routed = RouterRequest::new((parts, &lookups), &rules, &request).unwrap();
            let wanted = wanted(&routed);
            let looked = routed.look(&wanted, "1".into()).run(Before::Nothing).await;
            let is_told = matches!(&looked, Looked::Told(at) if *at == registry);
            assert_eq!(is_told, is_asked, "{what} at {registry}: {looked:?}");
            let now = Instant::now();
            let known = || routed.known(&wanted).map(|(at, _)| at);
            // Another agent's word counts where a search from here would go; content that was found here where it can be pulled.
            lookups.mappings.taken_over(&wanted, &registry, now);
            assert_eq!(known(), is_asked.then(|| registry.clone()), "{what}");
            lookups.mappings.found(&wanted, &registry, now);
            let is_known = is_used || !wanted.is_proved();
            assert_eq!(known(), is_known.then(|| registry.clone()), "{what}");
        }
    }
}

#[tokio::test]
async fn one_client_takes_a_quarter_of_the_searches() {
    let stage = stage(Config::from_toml(CONFIG).unwrap());
    let (parts, mut lookups) = (stage.relay.parts(), Lookups::default());
    let (sharing, _inbox) = silent();
    lookups.sharing = sharing;
    let lookups = Arc::new(lookups);
    let rules = parts.rules.load_full();
    let searches = &lookups.places(Trust::Untrusted).searches;
    let free = || searches.available_permits();
    let search = |client: &str, tag: usize| {
        let request = PullRequest {
            trust: Trust::Untrusted,
            client: Some(client.parse().unwrap()),
            ..request(&format!("manifests/{tag}"))
        };
        let routed = RouterRequest::new((parts, &lookups), &rules, &request).unwrap();
        let look = routed.look(&wanted(&routed), "1".into());
        let mut search = async move { look.run(Before::Nothing).await }.boxed();
        assert!((&mut search).now_or_never().is_none());
        search
    };
    let all = free();
    // One machine, and one network of IPv6, by many addresses.
    let mut of_one: Vec<_> = (0..20).map(|tag| search("192.0.2.7", tag)).collect();
    let _mapped = search("::ffff:192.0.2.7", 20);
    assert_eq!(free(), all - all / 4);
    let addresses = (0..20).map(|tag| (format!("2001:db8::{tag}"), 100 + tag));
    let _of_network: Vec<_> = addresses.map(|(at, tag)| search(&at, tag)).collect();
    assert_eq!(free(), all - all / 4 * 2);
    // What one client waits for another one looks for.
    let _other = search("192.0.2.8", 19);
    assert_eq!(free(), all - all / 4 * 2 - 1);
    // Who leaves makes room for the next of its own.
    of_one.drain(..4);
    assert_eq!(free(), all - all / 4 - 1);
    assert!((&mut of_one[0]).now_or_never().is_none());
    assert_eq!(free(), all - all / 4 - 2);
}
