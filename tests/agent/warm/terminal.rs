//! What is seen while images are fetched: bars on a terminal, lines elsewhere.

use super::{Lab, config_of, ran};
use crate::support::Image;
use std::collections::BTreeSet;
use std::process::{Command, Stdio};

const OPTIONS: &str =
    "--platform linux/amd64 --each-tier --rate 150KiB --parallel 1 docker.io/library/app:1";

/// What a terminal of this kind gets, without what moves its cursor, one line for each that is drawn.
fn terminal(config: &str, term: &str, more: &str) -> Vec<String> {
    let binary = env!("CARGO_BIN_EXE_harbor-pilot");
    let line = format!("exec {binary} warm --config {config} {OPTIONS} {more}");
    let mut command = Command::new("script");
    command
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("SHELL", "/bin/sh")
        .env("TERM", term)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    let output = tokio::task::block_in_place(|| command.output()).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text:?}");
    let mut plain = String::new();
    let mut parts = text.split('\u{1b}');
    plain.push_str(parts.next().unwrap());
    for part in parts {
        // ESC [ numbers letter
        let end = part.find(|c: char| c.is_ascii_alphabetic()).unwrap();
        plain.push('\n');
        plain.push_str(&part[end + 1..]);
    }
    let lines = plain.split(['\r', '\n']).map(str::trim_end);
    lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_shows_a_bar_for_each_image_on_each_way() {
    let lab = Lab::new(Image::with_layers(100, &[150_000, 150_000])).await;
    let node = lab.setup.start().await;
    let lines = terminal(&config_of(&node), "xterm", "");
    for tier in ["t1", "t2"] {
        let name = format!("docker.io/library/app:1 ({tier}) ");
        let source = format!(" {tier}/127.0.0.1:");
        let bars: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.strip_prefix(&name))
            .filter(|bar| bar.contains(" ETA "))
            .collect();
        assert!(!bars.is_empty(), "{lines:#?}");
        let (mut amounts, mut rates, mut etas) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for bar in bars {
            assert!(bar.contains(&source), "{bar}");
            // The bar, 96.00 KiB/293.40 KiB 150.12 KiB/s ETA 1s t1/127.0.0.1:1234
            let (left, right) = bar.split_once(" ETA ").unwrap();
            let words: Vec<&str> = left.split(' ').collect();
            let [.., done, total, _, rate, per_second] = words[..] else {
                panic!("{bar}");
            };
            assert!(
                total.starts_with("KiB/") || total.starts_with("B/"),
                "{bar}"
            );
            assert!(per_second.ends_with("B/s"), "{bar}");
            amounts.insert(done);
            rates.insert(rate);
            etas.insert(right.split(' ').next().unwrap());
        }
        assert!(amounts.len() > 3, "it grows: {amounts:?}");
        assert!(rates.iter().any(|rate| *rate != "0"), "{rates:?}");
        assert!(etas.iter().any(|eta| *eta != "0s"), "{etas:?}");
    }
    // The bars are in place of lines, and the table comes after them.
    let is_line = |line: &&String| line.contains(" through t");
    assert_eq!(lines.iter().find(is_line), None);
    assert!(
        lines.last().unwrap().starts_with("2 fetched, "),
        "{lines:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_draw_gets_a_line_for_each() {
    let lab = Lab::new(Image::random(101, 1)).await;
    let node = lab.setup.start().await;
    let config = config_of(&node);
    let options: Vec<&str> = OPTIONS.split(' ').skip(2).collect();
    let (code, _, stderr) = ran(&config, &options);
    assert_eq!(code, 0, "{stderr}");
    let piped: Vec<String> = stderr.lines().map(str::to_owned).collect();
    for lines in [piped, terminal(&config, "dumb", "")] {
        for (line, tier) in lines.iter().zip(["t1", "t2"]) {
            let due = format!("docker.io/library/app:1 through {tier}: ");
            assert!(line.starts_with(&due), "{lines:?}");
        }
        assert!(lines.iter().all(|line| !line.contains("ETA")), "{lines:?}");
    }
    // Nothing is mixed into what a program reads.
    let lines = terminal(&config, "xterm", "--json");
    let report = super::json(&lines.join("\n"));
    assert_eq!(report["failed"], 0);
}
