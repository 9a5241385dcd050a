//! `--parallel N`: so many images, and so many requests, at once and no more.

use super::{command, config_of, json};
use crate::node::Setup;
use crate::support::{FakeRegistry, Fault, Image, On, Recorded};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

const IMAGES: usize = 6;
/// Each request takes so long, and is looked for far more often.
const ANSWER: Duration = Duration::from_millis(60);
const LOOK: Duration = Duration::from_millis(2);

fn repository(of: &Recorded) -> &str {
    let end = of.path.find("/manifests/").or(of.path.find("/blobs/"));
    &of.path[..end.unwrap()]
}

/// What was asked for of images; tokens are none.
fn of_images(tier: &FakeRegistry) -> Vec<Recorded> {
    let mut requests = tier.requests();
    requests.retain(|one| one.path.contains("/manifests/") || one.path.contains("/blobs/"));
    requests
}

/// The most images that had been begun and not ended when another request came.
fn images_at_once(requests: &[Recorded]) -> usize {
    let mut spans: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (at, request) in requests.iter().enumerate() {
        spans.entry(repository(request)).or_insert((at, at)).1 = at;
    }
    let active = |at| {
        let spans = spans.values();
        spans.filter(move |(first, last)| (*first..=*last).contains(&at))
    };
    let all = (0..requests.len()).map(|at| active(at).count());
    all.max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_more_than_so_many_images_at_once() {
    let mut tier = FakeRegistry::builder().harbor();
    let names: Vec<String> = (0..IMAGES).map(|one| format!("library/app{one}")).collect();
    for (name, seed) in names.iter().zip(900..) {
        let image = Image::random(seed, 3);
        tier = tier.with_image(&format!("proxy-docker-io/{name}"), "1", &image);
    }
    let tier = tier.start().await;
    let upstream = FakeRegistry::builder().start().await;
    let node = Setup::of(&[&tier], &upstream).start().await;
    let config = config_of(&node);
    for on in [On::Manifests, On::Blobs] {
        tier.set_fault_on(on, Fault::SlowFirstByte(ANSWER));
    }
    let images: Vec<String> = names.iter().map(|name| format!("{name}:1")).collect();
    for parallel in [1, 2, 5] {
        tier.forget_requests();
        let count = parallel.to_string();
        let options = ["--tier", "t1", "--json", "--parallel", &count];
        let arguments: Vec<&str> = images.iter().map(String::as_str).chain(options).collect();
        let mut warm = command(&config, &arguments);
        let mut warm = tokio::task::spawn_blocking(move || warm.output().unwrap());
        let mut most = 0;
        let output = loop {
            tokio::select! {
                output = &mut warm => break output.unwrap(),
                () = tokio::time::sleep(LOOK) => {
                    let requests = of_images(&tier);
                    let open = requests.iter().filter(|one| one.status.load(Ordering::SeqCst) == 0);
                    most = most.max(open.count());
                }
            }
        };
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stdout}");
        assert_eq!(json(&stdout)["failed"], 0, "{stdout}");
        assert_eq!(most, parallel, "requests at once");
        let requests = of_images(&tier);
        let asked: BTreeSet<&str> = requests.iter().map(repository).collect();
        assert_eq!(asked.len(), IMAGES);
        assert_eq!(images_at_once(&requests), parallel, "images at once");
    }
}
