//! The program of the arm64 package, run by qemu-user-static: it starts, reads, serves a pull, and gives the node's files back.
//! Needs the package of `make test-deb-arm64`; `make test-arm64`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on says so and ends"
)]

#[path = "../agent/client.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "other tests use other parts of it"
)]
mod client;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{FakeRegistry, Image, free_address};
use tempfile::TempDir;

const QEMU: &str = "qemu-aarch64-static";
/// Where Debian's libc6-arm64-cross and libgcc-s1-arm64-cross are.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";
const OWN_HOSTS: &str = "# mine\nserver = \"https://registry-1.docker.io\"\n";

/// The package, taken apart.
struct Package {
    tree: TempDir,
    path: PathBuf,
}

impl Package {
    fn open() -> Self {
        let made = std::env::var_os("HARBOR_PILOT_ARM64_DEB").map(PathBuf::from);
        let path = made.unwrap_or_else(|| {
            Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debs/test/arm64.deb")
        });
        let tree = tempfile::tempdir().unwrap();
        let output = Command::new("dpkg-deb")
            .arg("--extract")
            .args([&path, tree.path()])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}: {}; `make test-deb-arm64` makes it",
            path.display(),
            text(&output)
        );
        Self { tree, path }
    }

    fn program(&self) -> PathBuf {
        self.tree.path().join("usr/bin/harbor-pilot")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(QEMU);
        command
            .args(["-L", LIBRARIES])
            .arg(self.program())
            .args(arguments)
            .env("NO_COLOR", "1")
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null());
        command
    }

    /// What a command printed, which must succeed.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output();
        let output = output
            .unwrap_or_else(|error| panic!("cannot run {QEMU}: {error}; run `make arm64-deps`"));
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// What readelf says of a file.
fn readelf(options: &[&str], path: &Path) -> String {
    let output = Command::new("readelf")
        .arg("--wide")
        .args(options)
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

#[test]
fn the_package_is_for_arm64_and_needs_no_cross_library() {
    let package = Package::open();
    let field = |name: &str| {
        let mut command = Command::new("dpkg-deb");
        text(
            &command
                .arg("--field")
                .arg(&package.path)
                .arg(name)
                .output()
                .unwrap(),
        )
    };
    assert_eq!(field("Architecture").trim(), "arm64");
    let depends = field("Depends");
    assert!(depends.contains("libc6 (>= 2.34)"), "{depends}");
    assert!(depends.contains("libgcc-s1"), "{depends}");
    assert!(!depends.contains("cross"), "{depends}");
    let header = readelf(&["--file-header"], &package.program());
    assert!(header.contains("AArch64"), "{header}");
    let checked = Command::new("packaging/glibc.sh")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg(package.program())
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", text(&checked));
    println!("{}", text(&checked).trim());
}

/// RHEL's arm64 kernels of old and some others have pages of 64 KiB: a segment that is aligned to less cannot be mapped there.
#[test]
fn it_can_be_mapped_with_pages_of_64_kib() {
    let package = Package::open();
    let headers = readelf(&["--program-headers"], &package.program());
    let mut segments = 0;
    for line in headers
        .lines()
        .filter(|line| line.trim_start().starts_with("LOAD"))
    {
        let alignment = line.split_whitespace().last().unwrap();
        let alignment = u64::from_str_radix(alignment.trim_start_matches("0x"), 16).unwrap();
        assert!(alignment >= 64 * 1024, "{line}");
        segments += 1;
    }
    assert!(segments > 1, "{headers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_checks_serves_a_pull_and_restores() {
    let package = Package::open();
    let version = package.run(&["--version"]);
    assert_eq!(
        version.trim(),
        format!("harbor-pilot {}", env!("CARGO_PKG_VERSION"))
    );

    // A starter file, which it can read itself.
    let home = tempfile::tempdir().unwrap();
    let starter = home.path().join("starter.toml");
    package.run(&[
        "init",
        "--replica",
        "https://replicas.example.com",
        "--core",
        "https://core.example.com",
        "--output",
        starter.to_str().unwrap(),
    ]);
    let said = package.run(&["check", "--config", starter.to_str().unwrap()]);
    assert!(said.contains("valid"), "{said}");

    let image = Image::with_layers(7, &[3_000_000, 20_000]);
    let core = FakeRegistry::builder()
        .harbor()
        .with_image("proxy-docker-io/library/app", "1", &image)
        .start()
        .await;
    let certs = home.path().join("certs.d");
    let hosts = certs.join("docker.io/hosts.toml");
    fs::create_dir_all(hosts.parent().unwrap()).unwrap();
    fs::write(&hosts, OWN_HOSTS).unwrap();
    let [listen, admin] = [(); 2].map(|()| free_address());
    let config = home.path().join("config.toml");
    let written = format!(
        "[server]\nlisten = [\"{listen}\"]\nadmin = \"{admin}\"\n[state]\ndirectory = {:?}\n\
         [node]\nmanage = true\nallow_unprivileged_port = true\nruntime = \"containerd\"\ncerts_d = {certs:?}\n\
         [[tier]]\nname = \"core\"\nurl = \"{}\"\n[tier.projects]\n\"docker.io\" = \"proxy-docker-io\"\n",
        home.path().join("state"),
        core.base_url(),
    );
    fs::write(&config, written).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let log = home.path().join("log");
    let mut agent = package
        .command(&["run", "--config", config.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let since = Instant::now();
    let port = format!(":{}", listen.port());
    while !fs::read_to_string(&hosts).unwrap().contains(&port)
        || tokio::net::TcpStream::connect(listen).await.is_err()
    {
        let log = fs::read_to_string(&log).unwrap();
        assert!(since.elapsed() < Duration::from_secs(60), "{log}");
        assert!(agent.try_wait().unwrap().is_none(), "{log}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // The manifest, and every blob that it names.
    let get = async |what: String| {
        let mut client = client::Client::connect(listen).await;
        let target = format!("/v2/library/app/{what}?ns=docker.io");
        client.ask("GET", &target, &[]).await;
        client.answer(false).await
    };
    let manifest = get("manifests/1".to_owned()).await;
    assert_eq!((manifest.status, &manifest.body), (200, &image.top.body));
    for blob in &image.blobs {
        let got = get(format!("blobs/{}", blob.digest)).await;
        assert!(
            got.status == 200 && got.body == blob.body,
            "{}",
            blob.digest
        );
    }
    assert!(
        core.requests().len() > image.blobs.len(),
        "the tier served it"
    );

    // Ended as systemd ends it; then the file is as it was.
    let pid = agent.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    assert!(
        agent.wait().unwrap().success(),
        "{}",
        fs::read_to_string(&log).unwrap()
    );
    package.run(&["restore", "--config", config.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&hosts).unwrap(), OWN_HOSTS);
}
