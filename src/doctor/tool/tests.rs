//! Clients that are scripts: which one is found, and how it is called.

use super::child::one_line;
use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

/// A machine with these files, each a script that says what it was given.
fn machine(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(
            &path,
            "#!/bin/sh\necho \"$@\" >&2\n[ \"$7\" != pull ] || sleep 30\n",
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    root
}

fn find(root: &Path, runtime: Found) -> Result<Tool, String> {
    Tool::find(root, runtime, None, &BTreeMap::new())
}

#[test]
fn the_kubelets_way_comes_first() {
    let stock = "run/containerd/containerd.sock";
    let k3s = "run/k3s/containerd/containerd.sock";
    /// Files that are there, the runtime, and the tool with its command.
    type Row<'a> = (&'a [&'a str], Found, Option<(&'a str, &'a [&'a str])>);
    let table: [Row<'_>; 6] = [
        (&[], Found::Containerd, None),
        (&["usr/bin/ctr"], Found::Containerd, None),
        (
            &[stock, "usr/bin/ctr"],
            Found::Containerd,
            Some(("ctr", &["usr/bin/ctr"])),
        ),
        (
            &[stock, "usr/bin/ctr", "usr/bin/crictl"],
            Found::Containerd,
            Some(("crictl", &["usr/bin/crictl"])),
        ),
        (
            &[k3s, "usr/local/bin/k3s", "usr/bin/ctr"],
            Found::K3sAgent,
            Some(("crictl", &["usr/local/bin/k3s", "crictl"])),
        ),
        (&[stock, "usr/local/bin/k3s"], Found::K3sServer, None),
    ];
    for (files, runtime, due) in table {
        let root = machine(files);
        let found = find(root.path(), runtime);
        let found = found.ok().map(|tool| {
            let words: Vec<String> = tool
                .program
                .iter()
                .map(|word| {
                    let path = Path::new(word);
                    path.strip_prefix(root.path())
                        .unwrap_or(path)
                        .display()
                        .to_string()
                })
                .collect();
            (tool.name(), words)
        });
        let due =
            due.map(|(name, words)| (name, words.iter().map(|word| (*word).to_owned()).collect()));
        assert_eq!(found, due, "{files:?}");
    }
}

#[test]
fn clients_are_called_with_their_socket_and_end_at_the_limit() {
    let root = machine(&["run/containerd/containerd.sock", "usr/bin/crictl"]);
    let tool = find(root.path(), Found::Containerd).unwrap();
    let version = tool.reaches_containerd();
    let endpoint = format!(
        "unix://{}/run/containerd/containerd.sock",
        root.path().display()
    );
    let due =
        format!("--runtime-endpoint {endpoint} --image-endpoint {endpoint} --timeout 15s version");
    assert_eq!((version.succeeded, version.said), (true, due));
    let begun = Instant::now();
    let pull = tool.pull(
        "docker.io/a/b:c",
        Path::new("/c"),
        Duration::from_millis(200),
    );
    assert!(
        !pull.succeeded && pull.said.starts_with("not finished within"),
        "{pull:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(20));
    fs::remove_file(root.path().join("usr/bin/crictl")).unwrap();
    let gone = tool.remove("docker.io/a/b:c");
    assert!(
        !gone.succeeded && gone.said.contains("cannot start"),
        "{gone:?}"
    );
}

#[test]
fn a_socket_may_be_named() {
    let root = machine(&["elsewhere.sock", "usr/bin/ctr"]);
    let named = format!("unix://{}/elsewhere.sock", root.path().display());
    let environment = BTreeMap::from([("CONTAINERD_ADDRESS".to_owned(), named)]);
    let tool = Tool::find(root.path(), Found::Containerd, None, &environment).unwrap();
    assert_eq!(tool.socket, root.path().join("elsewhere.sock"));
}

#[test]
fn the_end_of_what_was_said_counts() {
    let long = format!("{}\nthe\treason\n", "x".repeat(1000));
    let said = one_line(&long);
    assert!(said.ends_with("the reason") && said.len() <= 300, "{said}");
}
