//! A layer with wrong bytes at one address: in its end it is replaced and the pull does not even fail; earlier the pull fails
//! once, by a reset, and the next one succeeds from elsewhere (design P8, P13).

use crate::lab::{AgentOptions, Fault, Image, Lab, Place};
use crate::pull_well;
use std::time::Duration;

const REPLICA: [Place; 2] = [Place::ReplicaA, Place::ReplicaB];

/// As kubelet, which waits longer.
const BEFORE_RETRY: Duration = Duration::from_secs(2);

/// An image that was pulled once and forgotten by containerd, and the REPLICA address that its layer came from and will be
/// asked of again.
fn pulled_once() -> (Lab, Image, Place) {
    let mut lab = Lab::start();
    let image = lab.publish("library/app");
    lab.start_agent(&AgentOptions::default());
    lab.forget_requests();
    pull_well(&lab, &image, &image.by_tag("docker.io"));
    let (layer, _) = image.largest_layer();
    let served = |place: &Place| {
        let requests = lab.take_requests(*place);
        requests
            .iter()
            .any(|request| request.uri.contains(layer) && request.status == 200)
    };
    let serves: Vec<Place> = REPLICA.into_iter().filter(served).collect();
    let [place] = serves.as_slice() else {
        panic!("{serves:?} served the layer");
    };
    let place = *place;
    lab.containerd().forget_images();
    (lab, image, place)
}

fn spoil(lab: &mut Lab, image: &Image, place: Place, offset: usize) {
    let (layer, _) = image.largest_layer();
    let fault = Fault::WrongBytes {
        suffix: format!("blobs/{layer}"),
        digest: layer.to_owned(),
        media_type: "application/octet-stream".to_owned(),
        file: image.corrupt_at(layer, offset, &lab.scratch("faults")),
    };
    lab.set_fault(place, fault);
}

fn mismatches(lab: &Lab) -> usize {
    lab.agent().log().matches("digest_mismatch").count()
}

#[test]
fn a_wrong_end_of_a_layer_is_fixed_and_the_pull_does_not_fail() {
    let (mut lab, image, place) = pulled_once();
    let (_, size) = image.largest_layer();
    spoil(&mut lab, &image, place, size - 1);
    let took = pull_well(&lab, &image, &image.by_tag("docker.io"));
    println!("wrong last byte: the pull took {:.2} s", took.as_secs_f32());
    let log = lab.agent().log();
    assert!(mismatches(&lab) > 0, "{log}");
    assert!(log.contains("200 resumed 1 time,"), "{log}");
    assert_eq!(
        lab.containerd().run(&image.by_tag("docker.io")),
        image.greeting()
    );
}

#[test]
fn wrong_bytes_earlier_in_a_layer_fail_the_pull_once_and_the_next_succeeds() {
    let (mut lab, image, place) = pulled_once();
    spoil(&mut lab, &image, place, 1000);
    let reference = image.by_tag("docker.io");
    let first = lab.containerd().pull(&reference);
    assert!(!first.succeeded, "nothing wrong is taken for right");
    assert!(mismatches(&lab) > 0, "{}", lab.agent().log());
    std::thread::sleep(BEFORE_RETRY);
    let took = pull_well(&lab, &image, &reference);
    println!("the next pull took {:.2} s", took.as_secs_f32());
    assert_eq!(lab.containerd().run(&reference), image.greeting());
}
