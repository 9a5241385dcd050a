//! Clients that send no `ns`: skopeo (as podman and CRI-O: the same library) with a registries.conf mirror.

use crate::lab::{AgentOptions, Lab, Place, run};
use crate::{assert_not_asked, served};
use std::fs;

#[test]
fn skopeo_pulls_through_the_agent_by_a_registries_conf_mirror() {
    let mut lab = Lab::start();
    let image = lab.publish("library/app");
    lab.start_agent(&AgentOptions::default());
    lab.forget_requests();
    let directory = lab.scratch("skopeo");
    let configuration = directory.join("registries.conf");
    fs::write(
        &configuration,
        "[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n\
         [[registry.mirror]]\nlocation = \"127.0.0.1:290/docker.io\"\ninsecure = true\n",
    )
    .expect("the laboratory's directory is writable");
    let target = directory.join("pulled");
    let mut command = lab.command("skopeo");
    command
        .arg("--registries-conf")
        .arg(&configuration)
        .args([
            "--debug",
            "--insecure-policy",
            "copy",
            "--all",
            "--preserve-digests",
        ])
        .arg(format!("docker://{}", image.by_tag("docker.io")))
        .arg(format!("oci:{}:1", target.display()));
    run(&mut command);

    let index = fs::read_to_string(target.join("index.json")).expect("skopeo wrote a layout");
    assert!(index.contains(image.index_digest()), "{index}");
    for layer in image.layers() {
        assert!(
            target.join("blobs").join(layer.replace(':', "/")).exists(),
            "{layer}"
        );
    }
    let mut requests = lab.take_requests(Place::ReplicaA);
    requests.extend(lab.take_requests(Place::ReplicaB));
    assert!(
        !served(&requests).is_empty(),
        "{requests:#?}\n{}",
        lab.agent().log()
    );
    assert_not_asked(&lab, &[Place::Core, Place::Upstream, Place::Cdn]);
}
