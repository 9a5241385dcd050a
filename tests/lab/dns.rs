//! The name server: dnsmasq with a hosts file that is rewritten while it runs.

use super::front::Place;
use super::machine::GATEWAY;
use super::network::Network;
use super::process::{Daemon, output};
use super::wait_until;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// dnsmasq on port 53 of the namespace: 127.0.0.1, and the address that machines know.
pub(crate) struct Dns {
    daemon: Daemon,
    file: PathBuf,
    names: BTreeMap<String, Vec<Place>>,
}

impl Dns {
    /// Starts it with these names and waits for its first answer.
    pub(crate) fn start(network: &Network, directory: &Path, names: &[(&str, &[Place])]) -> Self {
        let file = directory.join("dns-names");
        let names: BTreeMap<String, Vec<Place>> = names
            .iter()
            .map(|(name, places)| ((*name).to_owned(), places.to_vec()))
            .collect();
        write(&file, &names);
        let mut command = network.command("dnsmasq");
        command
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--user=root",
                "--pid-file=",
            ])
            .args([
                "--no-resolv",
                "--no-hosts",
                "--local=/example/",
                "--local-ttl=1",
            ])
            .args([
                "--listen-address=127.0.0.1",
                &format!("--listen-address={GATEWAY}"),
                "--bind-interfaces",
                "--log-facility=-",
            ])
            .arg(format!("--addn-hosts={}", file.display()));
        let mut daemon = Daemon::start("dnsmasq", &mut command, &directory.join("dnsmasq.log"));
        let (name, places) = names.iter().next().expect("there is a name");
        wait_for_answer(network, &mut daemon, name, places);
        Self {
            daemon,
            file,
            names,
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: &str) {
        self.daemon.signal(signal);
    }

    /// Gives a name other addresses.
    pub(crate) fn set(&mut self, network: &Network, name: &str, places: &[Place]) {
        self.names.insert(name.to_owned(), places.to_vec());
        write(&self.file, &self.names);
        self.daemon.signal("HUP");
        wait_for_answer(network, &mut self.daemon, name, places);
    }
}

fn write(file: &Path, names: &BTreeMap<String, Vec<Place>>) {
    let mut text = String::new();
    for (name, places) in names {
        for place in places {
            text.push_str(&format!("{} {name}\n", place.address()));
        }
    }
    fs::write(file, text).expect("the laboratory's directory is writable");
}

fn wait_for_answer(network: &Network, daemon: &mut Daemon, name: &str, places: &[Place]) {
    let mut expected: Vec<String> = places
        .iter()
        .map(|place| place.address().to_string())
        .collect();
    expected.sort();
    wait_until("dnsmasq answers", Duration::from_secs(10), || {
        daemon.assert_running();
        let answer = output(network.command("getent").args(["ahostsv4", name]));
        let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
        let mut addresses: Vec<String> = answer
            .lines()
            .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
            .collect();
        addresses.sort();
        addresses.dedup();
        if addresses == expected {
            Ok(())
        } else {
            Err(format!("{name} is {addresses:?}, not {expected:?}"))
        }
    });
}
