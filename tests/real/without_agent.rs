//! The laboratory itself: containerd pulls from the tiers with no agent in between.

use crate::lab::{Fault, Lab, PRIVATE_USER, Place};

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

#[test]
fn the_faults_are_what_they_say() {
    let mut lab = Lab::start();
    let image = lab.publish("library/app");
    let (host, address) = ("replica-a.lab.example", Place::ReplicaA.address());
    let url = format!("https://{host}/v2/proxy-docker-io/library/app/manifests/1");
    let ask = |lab: &Lab, options: &[&str]| {
        let mut command = lab.command("curl");
        let accept = "Accept: application/vnd.oci.image.index.v1+json";
        command
            .args(["-sS", "--max-time", "2", "-H", accept, "--cacert"])
            .arg(lab.ca());
        command.args(options).arg(&url);
        let output = command.output().expect("curl runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    let code = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}"];

    let (_, healthy) = ask(&lab, &["-i"]);
    assert!(healthy.contains(image.index_digest()), "{healthy}");
    for status in [404, 429, 503] {
        lab.set_fault(Place::ReplicaA, Fault::Status(status));
        assert!(ask(&lab, &code).1.starts_with(&status.to_string()));
    }
    lab.set_fault(Place::ReplicaA, Fault::ZeroLength);
    assert_eq!(ask(&lab, &code).1, "200 0");
    lab.set_fault(Place::ReplicaA, Fault::WrongCertificate);
    assert_eq!(
        ask(&lab, &[]).0,
        Some(60),
        "curl's code for a certificate that does not verify"
    );
    lab.set_fault(Place::ReplicaA, Fault::Refused);
    assert_eq!(
        ask(&lab, &[]).0,
        Some(7),
        "curl's code for a refused connection"
    );
    lab.set_fault(Place::ReplicaA, Fault::SilentTls);
    assert_eq!(ask(&lab, &[]).0, Some(28), "curl's code for a timeout");
    lab.set_fault(Place::ReplicaA, Fault::SilentHttp);
    assert_eq!(ask(&lab, &[]).0, Some(28), "curl's code for a timeout");
    let file = image.corrupt(image.index_digest(), &lab.scratch("faults"));
    lab.set_fault(
        Place::ReplicaA,
        Fault::WrongBytes {
            suffix: "manifests/1".to_owned(),
            digest: image.index_digest().to_owned(),
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            file,
        },
    );
    let (_, wrong) = ask(&lab, &["-i"]);
    assert!(wrong.contains(image.index_digest()), "{wrong}");
    assert!(wrong.contains("linuz"), "{wrong}");
    lab.set_fault(Place::ReplicaA, Fault::None);
    assert!(ask(&lab, &code).1.starts_with("200"));
    lab.power_off(Place::ReplicaA);
    assert_eq!(ask(&lab, &[]).0, Some(28), "nobody answers at {address}");
    lab.power_on(Place::ReplicaA);
    assert!(ask(&lab, &code).1.starts_with("200"));
    lab.set_dns(host, &[Place::Core]);
    lab.forget_requests();
    assert!(ask(&lab, &code).1.starts_with("200"));
    assert_eq!(lab.take_requests(Place::Core).len(), 1);
}

#[test]
fn containerd_follows_upstream_to_its_cdn_and_knows_its_own_passwords() {
    let lab = Lab::start();
    let image = lab.publish("library/app");
    let secret = lab.publish_private("team/secret");
    // No agent runs: its port refuses, containerd goes on to `server`.
    let pull = lab.containerd().pull(&image.by_tag("docker.io"));
    assert!(pull.succeeded, "{}", pull.output);
    assert!(!lab.take_requests(Place::Cdn).is_empty());
    let reference = secret.by_tag("private.lab.example");
    assert!(
        !lab.containerd().pull(&reference).succeeded,
        "without a password"
    );
    let user = format!("{}:{}", PRIVATE_USER.0, PRIVATE_USER.1);
    let pull = lab.containerd().pull_with(&reference, &["--user", &user]);
    assert!(pull.succeeded, "{}", pull.output);
}
