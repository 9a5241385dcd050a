//! Ctrl-C: what was done until then is said.

use super::{Lab, command, config_of};
use crate::node::write;
use crate::support::{Fault, Image, On};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Ctrl-C: the summary so far, and exit status 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_ends_with_the_summary_so_far() {
    let lab = Lab::new(Image::random(97, 2)).await;
    let node = lab.setup.start().await;
    let config = config_of(&node);
    let quick = [
        "docker.io/library/app:1",
        "docker.io/library/other:1",
        "--tier",
        "t2",
        "--parallel",
        "1",
    ];
    let silent = On::Ending("other/manifests/1".to_owned());
    lab.tiers[1].set_fault_on(silent, Fault::NoAnswer);
    let mut command = command(&config, &quick);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = tokio::task::block_in_place(|| lines.next())
        .unwrap()
        .unwrap();
    assert!(first.contains("library/app:1 through t2: "), "{first}");
    let began = Instant::now();
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = tokio::task::block_in_place(|| child.wait_with_output()).unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("1 fetched, 1 failed"), "{stdout}");
    assert!(stdout.contains("interrupted"), "{stdout}");
}

/// As early as that, while somebody who says nothing is asked what he knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_before_the_first_image_has_a_summary() {
    let lab = Lab::new(Image::random(99, 1)).await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("admin = \"{}\"", silent.local_addr().unwrap());
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.toml");
    let text = lab.setup.text(home.path());
    let text = text.replace("admin = \"127.0.0.1:0\"", &admin);
    write(&file, &text.replace("127.0.0.1:0", "127.0.0.1:1"));
    let child = command(file.to_str().unwrap(), &["app:1", "app:2"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _connection = tokio::task::block_in_place(|| silent.accept()).unwrap();
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = tokio::task::block_in_place(|| child.wait_with_output()).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        stdout.contains("0 fetched, 2 failed") && stdout.contains(", interrupted"),
        "{stdout}"
    );
}
