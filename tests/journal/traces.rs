//! From a trace to its request in the journal, and back (docs/traces.md).

use crate::client::Client;
use crate::journald::Journald;
use crate::support::{FakeRegistry, Image, free_address};
use crate::{REPOSITORY, pull};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_and_its_request_lead_to_each_other() {
    let journald = Journald::start();
    let image = Image::random(1, 1);
    let upstream = FakeRegistry::builder().with_image(REPOSITORY, "1", &image);
    let (upstream, listen, collector) = (upstream.start().await, free_address(), free_address());
    let mut agent = journald.agent(&format!(
        "[server]\nlisten = [\"{listen}\"]\nadmin = \"127.0.0.1:0\"\n[otel]\nendpoint = \"http://{collector}\"\nsample_ratio = 1.0\n\
         [[registry]]\nname = \"docker.io\"\nupstream = \"{}\"\n",
        upstream.base_url()
    ));
    agent.wait_until(listen);

    // The client's trace goes on.
    let theirs = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{theirs}-00f067aa0ba902b7-01");
    let mut client = Client::connect(listen).await;
    let target = format!("/v2/{REPOSITORY}/manifests/1?ns=docker.io");
    let headers = [("traceparent", parent.as_str())];
    client.ask("GET", &target, &headers).await;
    let got = client.answer(false).await;
    assert_eq!(got.status, 200);
    journald.wait_for(&format!("TRACE_ID={theirs}"));
    let records = journald.read(&["-t", "harbor-pilot", &format!("TRACE_ID={theirs}")]);
    let [record] = &records[..] else {
        panic!("{records:#?}");
    };
    let id = got.header("x-harbor-pilot-request-id").unwrap();
    assert_eq!(record["REQUEST_ID"], id);
    let back = journald.read(&["-t", "harbor-pilot", &format!("REQUEST_ID={id}")]);
    assert_eq!(back.len(), 1, "{back:#?}");
    assert_eq!(back[0]["TRACE_ID"], theirs);

    // One without a trace of its own begins one.
    let blob = format!("blobs/{}", image.layer().digest);
    assert_eq!(pull(listen, &blob).await, 200);
    journald.wait_for(&format!("REFERENCE={}", image.layer().digest));
    let reference = format!("REFERENCE={}", image.layer().digest);
    let own = &journald.read(&["-t", "harbor-pilot", &reference])[0]["TRACE_ID"];
    assert!(own != theirs && own.len() == 32, "{own}");
}
