//! A registry of the fan-out that does what it should not, and mappings that somebody has spoiled.

use super::*;
use crate::support::Reply;

/// What is no answer to whether the image is there.
fn no_answers() -> Vec<Fault> {
    vec![
        Fault::CloseInsteadOfAnswer,
        Fault::ResetInsteadOfAnswer,
        Fault::Reply(Reply::html_502()),
        Fault::Reply(Reply::new(200).body("text/html", "<html>log in</html>")),
        Fault::Reply(Reply::new(404).body("text/html", "<html>gone</html>")),
        Fault::Reply(Reply::new(429)),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_answer_lets_nobody_elses_image_in_with_an_order() {
    for fault in no_answers() {
        let lab = Lab::new(true, true).await;
        let node = lab.setup(STRICT).start().await;
        lab.hub.set_fault_on(On::Manifests, fault.clone());
        let got = node.get(&target("manifests/1")).await;
        assert_eq!(got.status, 503, "{fault:?}: {}", got.text());
        assert!(
            got.message().contains("docker.io is placed before"),
            "{fault:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_or_nonsense_holds_nobody_up_without_an_order() {
    let silent = [
        Fault::NoAnswer,
        Fault::AcceptAndSilent,
        Fault::SlowFirstByte(Duration::from_secs(60)),
    ];
    for fault in no_answers().into_iter().chain(silent) {
        let lab = Lab::new(true, true).await;
        let node = lab.setup("").start().await;
        lab.hub.set_fault_on(On::Manifests, fault.clone());
        let asked = Instant::now();
        let got = node.get(&target("manifests/1")).await;
        assert_eq!(
            (got.status, &got.body),
            (200, &lab.other.top.body),
            "{fault:?}"
        );
        // The silent one would hold it up for 20 s.
        assert!(asked.elapsed() < Duration::from_secs(10), "{fault:?}");
    }
}

/// It says that it has the image, and gives bytes that do not fit, a part of them, or drips.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_it_and_lies_gives_no_wrong_byte_and_no_other_registrys_image() {
    let lies = [
        Fault::CorruptAt(3),
        Fault::CloseAt(20),
        Fault::ResetAt(20),
        Fault::Drip {
            bytes: 1,
            every: Duration::from_secs(1),
        },
    ];
    for fault in lies {
        let lab = Lab::new(true, true).await;
        let node = lab.setup(STRICT).start().await;
        lab.hub.set_fault_on(On::Manifests, fault.clone());
        let got = node.get(&target("manifests/1")).await;
        assert_eq!(got.status, 503, "{fault:?}: {}", got.text());
        assert_eq!(manifests(&lab.ghcr, "GET"), 0, "{fault:?}");
        lab.hub.heal();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_of_mappings_costs_its_damaged_lines() {
    let lab = Lab::new(false, true).await;
    let setup = lab.setup(STRICT);
    let mut node = setup.start().await;
    assert_eq!(node.get(&target("manifests/1")).await.status, 200);
    node.signal(RawSignal::Terminate).await;
    node.ended().await.unwrap();
    let home = std::mem::replace(&mut node.home, tempfile::tempdir().unwrap());
    let file = home.path().join("state/router");
    let mut bytes = b"\xff\xfe nonsense\n\0\0\0\norg/app 1\n".to_vec();
    bytes.extend(std::fs::read(&file).unwrap());
    bytes.extend(b"org/other 1 ghcr.io tru");
    std::fs::write(&file, bytes).unwrap();
    // Where it is known the first of the order need not be asked.
    lab.hub.set_fault(Fault::CloseInsteadOfAnswer);
    let node = Node::start(&setup, home).await;
    let got = node.get(&target("manifests/1")).await;
    assert_eq!((got.status, &got.body), (200, &lab.other.top.body));
}
