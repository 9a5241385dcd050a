//! The laboratory itself: containerd pulls from the tiers with no agent in between.

use crate::lab::{Lab, Place};

#[test]
fn containerd_pulls_from_replica_by_its_own_hosts_file() {
    let lab = Lab::start();
    let image = lab.publish("library/app");
    lab.hosts_without_agent();
    let reference = image.by_tag("docker.io");
    let pull = lab.containerd().pull(&reference);
    assert!(pull.succeeded, "{}", pull.output);
    assert!(lab.containerd().is_complete(&reference));
    assert_eq!(
        lab.containerd().digest_of(&reference).as_deref(),
        Some(image.index_digest())
    );
    assert_eq!(lab.containerd().run(&reference), image.greeting());
    assert!(!lab.take_requests(Place::ReplicaA).is_empty());
    assert!(lab.take_requests(Place::Upstream).is_empty());
    lab.containerd().forget_images();
    let name = lab.name();
    drop(lab);
    assert_eq!(Lab::left_behind(&name), Vec::<String>::new());
}
