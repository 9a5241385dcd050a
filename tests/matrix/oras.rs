//! What belongs to an image (signatures, lists of contents), found by oras where the registry itself may not be asked: by the tag
//! that stands in for the list of referrers (design P3).

use crate::Tests;
use crate::cri::Cri;
use crate::lab::{AgentOptions, Image, Lab, Place, find_program};
use serde_json::Value;
use std::fs;

pub(crate) const TESTS: Tests<Cri> = &[("referrers", referrers)];

const KIND: &str = "application/vnd.example.contents";
/// Where containerd finds the agent.
const AGENT: &str = "127.0.0.1:290";

fn referrers(it: &mut Cri) {
    it.begin();
    it.lab.start_agent(&AgentOptions {
        direct: false,
        ..AgentOptions::default()
    });
    let alone = it.lab.publish("library/alone");
    let directory = it.lab.scratch("oras");
    fs::write(directory.join("contents.json"), "{}")
        .expect("the laboratory's directory is writable");
    let core = format!("{}/proxy-docker-io", it.lab.core_registry());
    let attached = it.image.by_tag(&core);
    let by_tag = "v1.1-referrers-tag";
    let attach = [
        "attach",
        "--plain-http",
        "--distribution-spec",
        by_tag,
        "--artifact-type",
        KIND,
    ];
    oras(
        &it.lab,
        &[attach.as_slice(), &[&attached, "contents.json"]].concat(),
    );
    it.lab.forget_requests();
    for (image, due) in [(&it.image, vec![KIND.to_owned()]), (&alone, Vec::new())] {
        assert_eq!(found(&it.lab, image), due);
    }
    for place in [Place::Upstream, Place::Cdn] {
        let requests = it.lab.take_requests(place);
        assert!(requests.is_empty(), "{requests:#?}");
    }
}

/// The types of what belongs to the image, asked of the agent.
fn found(lab: &Lab, image: &Image) -> Vec<String> {
    let reference = image.by_tag(AGENT);
    let said = oras(
        lab,
        &["discover", "--plain-http", "--format", "json", &reference],
    );
    let said: Value = serde_json::from_str(&said).expect("oras writes JSON");
    let referrers = said["referrers"].as_array().into_iter().flatten();
    let kinds = referrers.map(|one| one["artifactType"].as_str().unwrap_or_default().to_owned());
    kinds.collect()
}

fn oras(lab: &Lab, arguments: &[&str]) -> String {
    let oras = find_program("oras");
    let oras = oras.expect("oras is not built: run tests/lab/oras.sh (make test-matrix does)");
    let mut command = lab.command(oras);
    command.args(arguments).current_dir(lab.scratch("oras"));
    let said = command.output().expect("oras runs");
    let error = String::from_utf8_lossy(&said.stderr);
    assert!(
        said.status.success(),
        "{arguments:?}: {error}\n{}",
        lab.agent().log()
    );
    String::from_utf8_lossy(&said.stdout).into_owned()
}
