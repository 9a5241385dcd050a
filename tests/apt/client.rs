//! The web server, and an apt that knows nothing but what it serves.

use crate::port::free_address;
use crate::repository::{Key, Repository, text};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A package of `make test-packages`.
pub(crate) struct Package {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

/// `first` or `second`.
pub(crate) fn package(which: &str) -> Package {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/debs/test/{which}.deb"));
    let output = Command::new("dpkg-deb")
        .arg("--field")
        .arg(&path)
        .arg("Version")
        .output()
        .unwrap();
    let version = text(&output).unwrap_or_else(|error| panic!("{error}; make test-packages"));
    Package {
        version: version.trim().to_owned(),
        path,
    }
}

/// A repository over HTTP.
pub(crate) struct Server {
    address: SocketAddr,
    process: Child,
}

impl Server {
    pub(crate) fn new(repository: &Repository) -> Self {
        let address = free_address();
        let process = Command::new("busybox")
            .args(["httpd", "-f", "-p", &address.to_string(), "-h"])
            .arg(repository.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "no web server");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { address, process }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// An apt with directories of its own, which trusts one key.
pub(crate) struct Apt {
    home: TempDir,
}

impl Apt {
    pub(crate) fn new(server: &Server, suite: &str, key: &Key) -> Self {
        let home = tempfile::tempdir().unwrap();
        for directory in ["state/lists/partial", "cache/archives/partial", "etc"] {
            fs::create_dir_all(home.path().join(directory)).unwrap();
        }
        let key_file = home.path().join("key.asc");
        fs::write(&key_file, key.public()).unwrap();
        fs::write(home.path().join("status"), "").unwrap();
        let sources = format!(
            "deb [arch=amd64 signed-by={}] http://{} {suite} main\n",
            key_file.display(),
            server.address
        );
        fs::write(home.path().join("sources.list"), sources).unwrap();
        Self { home }
    }

    fn command(&self, program: &str) -> Command {
        let home = self.home.path().display();
        let mut command = Command::new(program);
        for option in [
            format!("Dir::State={home}/state"),
            format!("Dir::State::status={home}/status"),
            format!("Dir::Cache={home}/cache"),
            format!("Dir::Etc={home}/etc"),
            format!("Dir::Etc::SourceList={home}/sources.list"),
            "APT::Sandbox::User=".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "Acquire::http::Proxy=false".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command.current_dir(self.home.path()).env("LC_ALL", "C");
        command
    }

    /// Whatever apt says of a list that it could not use is an error.
    pub(crate) fn update(&self) -> Result<String, String> {
        let mut command = self.command("apt-get");
        command.args(["-o", "APT::Update::Error-Mode=any", "update"]);
        text(&command.output().unwrap())
    }

    /// The versions that can be installed, the newest first.
    pub(crate) fn versions(&self) -> Vec<String> {
        let mut command = self.command("apt-cache");
        let output = command.args(["madison", "harbor-pilot"]).output().unwrap();
        let said = text(&output).unwrap();
        let versions = said.lines().filter_map(|line| line.split('|').nth(1));
        versions.map(|version| version.trim().to_owned()).collect()
    }

    pub(crate) fn download(&self, version: &str) -> Result<Vec<u8>, String> {
        let mut command = self.command("apt-get");
        let wanted = format!("harbor-pilot={version}");
        text(&command.args(["download", &wanted]).output().unwrap())?;
        let version = version.replace(':', "%3a");
        let name = format!("harbor-pilot_{version}_amd64.deb");
        Ok(fs::read(self.home.path().join(name)).unwrap())
    }
}
