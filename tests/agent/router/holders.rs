//! Content with a digest: whoever has it is good, and all that are known are asked.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_is_looked_for_where_the_guess_does_not_serve_it() {
    let lab = Lab::new(true, false).await;
    lab.ghcr
        .change_content(|content| content.add(AT_GHCR, "evil", &lab.other));
    let node = lab.setup(STRICT).start().await;
    let got = node.get(&target("manifests/evil")).await;
    assert_eq!((got.status, &got.body), (200, &lab.other.top.body));
    lab.ghcr.set_fault(Fault::CloseInsteadOfAnswer);
    let digest = format!("manifests/{}", lab.image.top.digest);
    let got = node.get(&target(&digest)).await;
    assert_eq!(
        (got.status, &got.body),
        (200, &lab.image.top.body),
        "{}",
        got.text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_no_known_manifest_names_is_asked_of_all_that_are_known() {
    let (lab, unnamed) = (Lab::new(true, false).await, Image::random(97, 1));
    lab.ghcr
        .change_content(|content| content.add(AT_GHCR, "evil", &lab.other));
    lab.hub
        .change_content(|content| content.add(AT_HUB, "3", &unnamed));
    let node = lab.setup("").start().await;
    for tag in ["1", "evil"] {
        let got = node.get(&target(&format!("manifests/{tag}"))).await;
        assert_eq!(got.status, 200, "{}", got.text());
    }
    let layer = unnamed.layer();
    let blob = target(&format!("blobs/{}", layer.digest));
    let got = node.get(&blob).await;
    assert_eq!(
        (got.status, &got.body),
        (200, &layer.body),
        "{}",
        got.text()
    );
    // What nobody has is 404, unless somebody could not be asked.
    let none = format!("blobs/{}", Image::random(98, 1).layer().digest);
    let got = node.get(&target(&none)).await;
    assert_eq!((got.status, got.code().as_str()), (404, "BLOB_UNKNOWN"));
    lab.ghcr.set_fault(Fault::CloseInsteadOfAnswer);
    let none = format!("blobs/{}", Image::random(99, 1).layer().digest);
    let got = node.get(&target(&none)).await;
    assert_eq!(got.status, 503, "{}", got.text());
}
