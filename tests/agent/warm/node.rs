//! `--from-node` and what `crictl images -o json` prints: programs that stand in for crictl, k3s and ctr.

use super::{Lab, command, config_of, json, ran};
use crate::node::write;
use crate::support::Image;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Puts a program into the folder that prints this where it gets these arguments, and else fails.
fn program(folder: &Path, name: &str, arguments: &str, prints: &str) {
    let file = folder.join(name);
    let failed = format!("echo \"{name} got $*\" >&2; exit 9");
    let script = format!(
        "#!/bin/sh\n[ \"$*\" = '{arguments}' ] || {{ {failed}; }}\nprintf '%s\\n' '{prints}'\n"
    );
    write(&file, &script);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The images that are fetched with these programs alone on the node; the exit status and standard error otherwise.
fn from_node(config: &str, folder: &Path) -> Result<Vec<String>, (i32, String)> {
    let mut command = command(config, &["--from-node", "--json"]);
    command.env("PATH", folder);
    let output = tokio::task::block_in_place(|| command.output()).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    match output.status.code().unwrap() {
        0 => Ok(fetched(&String::from_utf8(output.stdout).unwrap())),
        code => Err((code, stderr)),
    }
}

fn fetched(stdout: &str) -> Vec<String> {
    let report = json(stdout);
    let rows = report["images"].as_array().unwrap().iter();
    rows.map(|row| {
        assert!(row["bytes"].as_u64() > Some(0), "{row}");
        row["image"].as_str().unwrap().to_owned()
    })
    .collect()
}

/// As crictl 1.31 prints it: one image by a tag, one by its digest alone, and one that has no name.
fn crictl(image: &Image) -> String {
    let digest = &image.top.digest;
    format!(
        r#"{{"images": [
  {{"id": "sha256:aa", "repoTags": ["docker.io/library/app:1"], "repoDigests": ["docker.io/library/app@{digest}"],
    "size": "3211", "uid": null, "username": "", "spec": null, "pinned": false}},
  {{"id": "sha256:bb", "repoTags": [], "repoDigests": ["docker.io/library/app@{digest}"],
    "size": "3211", "uid": {{"value": "1000"}}, "username": "", "spec": null, "pinned": true}},
  {{"id": "sha256:cc", "repoTags": ["<none>:<none>"], "repoDigests": [], "size": "1"}}
]}}"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nodes_images_are_told_by_the_first_program_that_answers() {
    let lab = Lab::new(Image::random(98, 1)).await;
    let node = lab.setup.start().await;
    let config = config_of(&node);
    let by_digest = format!("docker.io/library/app@{}", lab.image.top.digest);
    let both = ["docker.io/library/app:1", &by_digest].map(str::to_owned);
    let folder = node.home.path().join("programs");
    fs::create_dir(&folder).unwrap();

    // Nobody is there: nothing can be begun.
    let (code, said) = from_node(&config, &folder).unwrap_err();
    assert_eq!(code, 2, "{said}");
    let rke2 = "/var/lib/rancher/rke2";
    for asked in [
        "has: crictl images -o json: ",
        "; k3s crictl images -o json: ",
        // rke2's crictl looks for its socket elsewhere without its file.
        &format!("; {rke2}/bin/crictl --config {rke2}/agent/etc/crictl.yaml images -o json: "),
        "; ctr -n k8s.io images ls -q: ",
    ] {
        assert!(said.contains(asked), "{said}");
    }

    // ctr prints names, digests, and the configurations' digests by which containerd's CRI finds them.
    let names = format!("{}\n{by_digest}\nsha256:0123", both[0]);
    program(&folder, "ctr", "-n k8s.io images ls -q", &names);
    // A crictl that no runtime answers is no answer.
    program(&folder, "crictl", "nothing", "");
    assert_eq!(from_node(&config, &folder).as_deref(), Ok(&both[..]));

    // k3s is asked before ctr, and an installed crictl before both.
    let listed = r#"{"images": [{"id": "sha256:aa", "repoTags": ["docker.io/library/app:1"]}]}"#;
    program(&folder, "k3s", "crictl images -o json", listed);
    assert_eq!(from_node(&config, &folder).as_deref(), Ok(&both[..1]));
    program(&folder, "crictl", "images -o json", &crictl(&lab.image));
    assert_eq!(from_node(&config, &folder).as_deref(), Ok(&both[..]));

    // What cannot be read is said with the program that printed it.
    program(&folder, "crictl", "images -o json", "{\"items\": []}");
    let (code, said) = from_node(&config, &folder).unwrap_err();
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("crictl images -o json: it begins as JSON"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_crictl_printed_is_a_list_of_images() {
    let lab = Lab::new(Image::random(99, 1)).await;
    let node = lab.setup.start().await;
    let config = config_of(&node);
    let file = node.home.path().join("images.json");
    write(&file, &crictl(&lab.image));
    let (code, stdout, stderr) = ran(&config, &["-f", file.to_str().unwrap(), "--json"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let by_digest = format!("docker.io/library/app@{}", lab.image.top.digest);
    assert_eq!(
        fetched(&stdout),
        ["docker.io/library/app:1", by_digest.as_str()]
    );
    write(&file, "{\"items\": []}");
    let (code, _, stderr) = ran(&config, &["-f", file.to_str().unwrap()]);
    assert_eq!(code, 64);
    assert!(
        stderr.contains("images.json: it begins as JSON, and is not what crictl images"),
        "{stderr}"
    );
}
