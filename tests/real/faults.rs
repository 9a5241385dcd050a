//! Both REPLICA addresses are sick in one way: the pull succeeds from CORE, and nothing wrong gets through.

use crate::lab::{AgentOptions, Fault, Image, Lab, Place, Request};
use crate::{assert_not_asked, pull_well, served};
use std::collections::BTreeSet;

const REPLICA: [Place; 2] = [Place::ReplicaA, Place::ReplicaB];
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Gives both addresses the fault, starts the agent and pulls by tag. Returns what REPLICA was asked.
fn pull_around(fault: impl FnOnce(&Lab, &Image) -> Fault) -> (Lab, Image, Vec<Request>) {
    let mut lab = Lab::start();
    let image = lab.publish("library/app");
    let fault = fault(&lab, &image);
    for place in REPLICA {
        lab.set_fault(place, fault.clone());
    }
    lab.forget_requests();
    lab.start_agent(&AgentOptions::default());
    let reference = image.by_tag("docker.io");
    let took = pull_well(&lab, &image, &reference);
    let name = match &fault {
        Fault::WrongBytes { suffix, .. } => format!("wrong bytes for {suffix}"),
        other => format!("{other:?}"),
    };
    println!(
        "{name} at both REPLICA addresses: the pull took {:.2} s",
        took.as_secs_f32()
    );
    assert_eq!(lab.containerd().run(&reference), image.greeting());
    let mut requests = lab.take_requests(Place::ReplicaA);
    requests.extend(lab.take_requests(Place::ReplicaB));
    assert!(!lab.take_requests(Place::Core).is_empty(), "CORE served");
    (lab, image, requests)
}

/// The fault was met, and it alone: nothing useful came from REPLICA and nobody had to leave the tiers.
fn assert_met_with_status(lab: &Lab, requests: &[Request], status: u16) {
    assert!(!requests.is_empty(), "REPLICA was not even asked");
    for request in requests {
        assert_eq!(request.status, status, "{request:?}");
    }
    assert_not_asked(lab, &[Place::Upstream, Place::Cdn]);
}

#[test]
fn a_tier_that_answers_503_is_passed_over() {
    let (lab, _, requests) = pull_around(|_, _| Fault::Status(503));
    assert_met_with_status(&lab, &requests, 503);
}

#[test]
fn a_tier_that_answers_429_is_passed_over_and_not_hammered() {
    let (lab, _, requests) = pull_around(|_, _| Fault::Status(429));
    assert_met_with_status(&lab, &requests, 429);
    // Each of the two addresses may be asked once for each object; how many objects there are is containerd's to say.
    let objects: BTreeSet<&str> = requests.iter().map(|request| &*request.uri).collect();
    assert!(requests.len() <= 2 * objects.len(), "{requests:#?}");
}

#[test]
fn a_tier_that_answers_404_is_passed_over() {
    let (lab, _, requests) = pull_around(|_, _| Fault::Status(404));
    assert_met_with_status(&lab, &requests, 404);
}

#[test]
fn a_tier_that_accepts_and_is_silent_is_passed_over() {
    let (lab, _, requests) = pull_around(|_, _| Fault::SilentTls);
    assert_eq!(requests, []);
    assert_not_asked(&lab, &[Place::Upstream, Place::Cdn]);
}

#[test]
fn a_tier_that_reads_the_request_and_is_silent_is_passed_over() {
    let (lab, _, mut requests) = pull_around(|_, _| Fault::SilentHttp);
    // nginx writes its line when the agent has given the request up, which it does after 4 s without an answer; the pull
    // has long gone on elsewhere.
    for _ in 0..150 {
        if !requests.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        requests.extend(
            REPLICA
                .into_iter()
                .flat_map(|place| lab.take_requests(place)),
        );
    }
    assert!(!requests.is_empty(), "REPLICA was not even asked");
    assert!(served(&requests).is_empty(), "{requests:#?}");
    drop(lab);
}

#[test]
fn a_tier_that_refuses_connections_is_passed_over() {
    let (lab, _, requests) = pull_around(|_, _| Fault::Refused);
    assert_eq!(requests, []);
    assert_not_asked(&lab, &[Place::Upstream, Place::Cdn]);
}

#[test]
fn a_tier_with_a_wrong_certificate_is_passed_over() {
    let (lab, _, requests) = pull_around(|_, _| Fault::WrongCertificate);
    assert_eq!(
        requests,
        [],
        "no request is sent to a server that is not who it should be"
    );
    assert_not_asked(&lab, &[Place::Upstream, Place::Cdn]);
}

#[test]
fn zero_length_answers_are_passed_over() {
    let (lab, _, requests) = pull_around(|_, _| Fault::ZeroLength);
    assert_met_with_status(&lab, &requests, 200);
}

#[test]
fn an_index_with_wrong_bytes_is_passed_over() {
    let (lab, image, requests) = pull_around(|lab, image| Fault::WrongBytes {
        suffix: format!("manifests/(1|{})", image.index_digest()),
        digest: image.index_digest().to_owned(),
        media_type: INDEX.to_owned(),
        file: image.corrupt(image.index_digest(), &lab.scratch("faults")),
    });
    let asked = |end: &str| {
        served(&requests)
            .iter()
            .any(|request| request.uri.ends_with(end))
    };
    assert!(
        asked("/manifests/1") || asked(image.index_digest()),
        "{requests:#?}"
    );
    assert_not_asked(&lab, &[Place::Upstream, Place::Cdn]);
}

#[test]
fn a_manifest_with_wrong_bytes_is_passed_over() {
    let (lab, image, requests) = pull_around(|lab, image| Fault::WrongBytes {
        suffix: format!("manifests/{}", image.manifest_digest()),
        digest: image.manifest_digest().to_owned(),
        media_type: MANIFEST.to_owned(),
        file: image.corrupt(image.manifest_digest(), &lab.scratch("faults")),
    });
    assert!(
        served(&requests)
            .iter()
            .any(|request| request.uri.ends_with(image.manifest_digest())),
        "{requests:#?}"
    );
    assert_not_asked(&lab, &[Place::Upstream, Place::Cdn]);
}

#[test]
fn a_small_blob_with_wrong_bytes_is_passed_over() {
    let (lab, image, requests) = pull_around(|lab, image| Fault::WrongBytes {
        suffix: format!("blobs/{}", image.config_digest()),
        digest: image.config_digest().to_owned(),
        media_type: "application/octet-stream".to_owned(),
        file: image.corrupt(image.config_digest(), &lab.scratch("faults")),
    });
    assert!(
        served(&requests)
            .iter()
            .any(|request| request.uri.ends_with(image.config_digest())),
        "{requests:#?}"
    );
    assert_not_asked(&lab, &[Place::Upstream, Place::Cdn]);
}
