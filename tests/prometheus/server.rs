//! Debian's Prometheus on loopback, with the rules and the scrape configuration of the package.

use crate::client::Client;
use crate::papers;
use crate::support::free_address;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Nothing here takes longer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running Prometheus. It ends with the value.
pub struct Prometheus {
    address: SocketAddr,
    child: Child,
}

/// Runs a program of Debian's package.
pub fn promtool(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(folder);
    command
        .output()
        .unwrap_or_else(|error| panic!("promtool: {error}; `make deps` installs prometheus"))
}

/// It succeeded, or the test ends with what it printed.
#[track_caller]
pub fn assert_done(output: &Output) {
    let (out, err) = (&output.stdout, &output.stderr);
    let said = [out.as_slice(), err.as_slice()].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

/// The package's files as an operator puts them into /etc/prometheus, scraped and evaluated every second.
pub fn install(folder: &Path) {
    for name in papers::RULES {
        fs::copy(
            papers::project("packaging/monitoring").join(name),
            folder.join(name),
        )
        .unwrap();
    }
    fs::create_dir(folder.join("file_sd")).unwrap();
    let config = papers::text("packaging/monitoring/prometheus.yml");
    assert_eq!(config.matches("_interval: 15s").count(), 2);
    let config = config.replace("_interval: 15s", "_interval: 1s");
    fs::write(folder.join("prometheus.yml"), config).unwrap();
}

impl Prometheus {
    pub async fn start(folder: &Path) -> Self {
        let address = free_address();
        let log = fs::File::create(folder.join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--web.listen-address={address}"))
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus: {error}; `make deps` installs it"));
        let prometheus = Self { address, child };
        let since = Instant::now();
        while !prometheus.is_ready().await {
            let log = fs::read_to_string(folder.join("log")).unwrap();
            assert!(since.elapsed() < PATIENCE, "{log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        prometheus
    }

    async fn is_ready(&self) -> bool {
        if tokio::net::TcpStream::connect(self.address).await.is_err() {
            return false;
        }
        let mut client = Client::connect(self.address).await;
        client.ask("GET", "/-/ready", &[]).await;
        client.answer(false).await.status == 200
    }

    /// `data` of an answer of its API.
    pub async fn api(&self, path: &str) -> Value {
        let mut client = Client::connect(self.address).await;
        client.ask("GET", &format!("/api/v1/{path}"), &[]).await;
        let answer = client.answer(false).await.text();
        let mut answer: Value =
            serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"));
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].take()
    }

    /// The values of an expression now.
    pub async fn values(&self, expression: &str) -> Vec<f64> {
        let encoded =
            percent_encoding::utf8_percent_encode(expression, percent_encoding::NON_ALPHANUMERIC);
        let data = self.api(&format!("query?query={encoded}")).await;
        let samples = data["result"].as_array().unwrap();
        let values = samples.iter().map(|it| it["value"][1].as_str().unwrap());
        values.map(|it| it.parse().unwrap()).collect()
    }

    /// Waits until the expression has one value that is as it should be.
    pub async fn until(&self, expression: &str, is_so: impl Fn(f64) -> bool) {
        let since = Instant::now();
        loop {
            let values = self.values(expression).await;
            if matches!(values.as_slice(), [value] if is_so(*value)) {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "{expression}: {values:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
