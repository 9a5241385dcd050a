//! One machine as a Harbor host, and the plays on it.

use crate::lab::{Lab, Machine, Release, run, wait_until};
use crate::package;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Of harbor.py's administrator.
pub(crate) const ADMIN_PASSWORD: &str = "Harbor12345-admin";
/// Words that must never be printed: the replica's at its core, the core's upstream, a wrong one.
pub(crate) const SECRETS: [&str; 3] = [
    "Sesame0of1the2replica",
    "Sesame3of4the5upstream",
    "Not0the1word",
];
pub(crate) const SITE: &str = "/etc/nginx/conf.d/harbor-tier.conf";
pub(crate) const SECRET_FILE: &str = "/etc/harbor-pilot-robot.secret";

const CA: &str = "/usr/local/share/lab-ca.pem";
const CERTIFICATE: &str = "/etc/ssl/certs/harbor.crt";
const KEY: &str = "/etc/ssl/private/harbor.key";

pub(crate) struct Host {
    pub(crate) machine: Machine,
    /// Of the package that is brought.
    pub(crate) version: String,
    /// A package of a later version.
    pub(crate) newer: PathBuf,
    directory: PathBuf,
}

/// How a play ended.
#[derive(Debug)]
pub(crate) struct Play {
    pub(crate) text: String,
    success: bool,
    figures: BTreeMap<String, u32>,
}

impl Host {
    /// Boots it. Two Harbors run behind 8443 and 9443; nginx can be installed and is not; harbor-pilot is not there.
    pub(crate) fn boot(lab: &Lab) -> Self {
        let directory = lab.scratch("harbor-tier");
        let machine = lab.boot(0, of_this_host());
        let tls = |name: &str| lab.ca().with_file_name(name);
        machine.copy(lab.ca(), CA);
        machine.copy(&tls("lab-cert.pem"), CERTIFICATE);
        machine.copy(&tls("lab-cert.key"), KEY);
        machine.copy(&own().join("harbor.py"), "/usr/local/lib/harbor.py");
        machine.shell("echo '127.0.0.1 replica.lab.example core.lab.example' >>/etc/hosts");
        for port in [8443, 9443] {
            machine.shell(&format!(
                "systemd-run --quiet --unit=harbor-{port} python3 /usr/local/lib/harbor.py \
                 --listen 127.0.0.1:{port} --cert {CERTIFICATE} --key {KEY}"
            ));
        }
        offer_nginx(&machine);
        let leader = machine.leader().expect("the machine is running");
        fs::write(
            directory.join("hosts"),
            format!(
                "[harbor_replica]\nharbor ansible_connection=machine ansible_nsenter_pid={leader} \
                 ansible_python_interpreter=/usr/bin/python3 ansible_become=false\n"
            ),
        )
        .unwrap();
        let package = package::find("first", &directory);
        let variables = json!({
            "harbor_tier_url": "https://replica.lab.example:8443",
            "harbor_tier_password": ADMIN_PASSWORD,
            "harbor_tier_ca_file": CA,
            "harbor_tier_registries": ["docker.io", "quay.io"],
            "harbor_tier_core_url": "https://core.lab.example:9443",
            "harbor_tier_core_username": "robot$replica",
            "harbor_tier_core_password": SECRETS[0],
            "harbor_tier_storage_limit": "500GiB",
            "harbor_tier_robots": [{"name": "node", "secret_file": SECRET_FILE, "discovery": true}],
            "harbor_tier_nginx_names": ["replica.lab.example"],
            "harbor_tier_nginx_backend_ca": CA,
            "harbor_tier_nginx_backend_name": "replica.lab.example",
            "harbor_tier_deb_file": package.path,
        });
        fs::write(directory.join("variables.json"), variables.to_string()).unwrap();
        let version = package.version;
        let newer = package::find("second", &directory).path;
        let host = Self {
            machine,
            version,
            newer,
            directory,
        };
        for (port, name) in [(8443, "replica"), (9443, "core")] {
            host.wait(&format!("{name}'s Harbor answers"), || {
                let url = format!("https://{name}.lab.example:{port}/api/v2.0/health");
                host.machine
                    .output("curl", &["-s", "--cacert", CA, &url])
                    .status
                    .success()
            });
        }
        host
    }

    pub(crate) fn wait(&self, what: &str, mut check: impl FnMut() -> bool) {
        wait_until(what, Duration::from_secs(20), || {
            check().then_some(()).ok_or_else(|| "not yet".to_owned())
        });
    }

    /// Runs a playbook of the repository's to its end. No secret may be in what it prints.
    pub(crate) fn play(&self, playbook: &str, arguments: &[&str]) -> Play {
        let ansible = Path::new(env!("CARGO_MANIFEST_DIR")).join("ansible");
        let start = Instant::now();
        let output = Command::new("ansible-playbook")
            .current_dir(&ansible)
            .env("ANSIBLE_HOME", self.directory.join("home"))
            .env("ANSIBLE_NOCOLOR", "1")
            .env("ANSIBLE_PIPELINING", "1")
            .env(
                "ANSIBLE_CONNECTION_PLUGINS",
                own().join("../ansible/connection"),
            )
            .env("LC_ALL", "C.UTF-8")
            .arg("--inventory")
            .arg(self.directory.join("hosts"))
            .arg(format!(
                "--extra-vars=@{}",
                self.directory.join("variables.json").display()
            ))
            .arg(format!("playbooks/{playbook}.yml"))
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("ansible-playbook: {error}; run `make deps` as root"));
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let play = Play {
            figures: recap(&text),
            success: output.status.success(),
            text,
        };
        println!(
            "{playbook} {}: changed {:?}, {} s",
            arguments.join(" "),
            play.figures.get("changed"),
            start.elapsed().as_secs()
        );
        assert_no_secret(&play.text);
        play
    }

    /// What the replica's Harbor keeps under that name; see harbor.py.
    pub(crate) fn harbor(&self, what: &str) -> Value {
        self.kept("https://replica.lab.example:8443", what)
    }

    /// And the core's.
    pub(crate) fn core(&self, what: &str) -> Value {
        self.kept("https://core.lab.example:9443", what)
    }

    fn kept(&self, url: &str, what: &str) -> Value {
        let url = format!("{url}/api/v2.0/test/{what}");
        let text = self.machine.run("curl", &["-sS", "--cacert", CA, &url]);
        serde_json::from_str::<Value>(&text).unwrap()[what].take()
    }

    /// Puts something else there.
    pub(crate) fn set_harbor(&self, what: &Value) {
        self.api("PUT", "/test/all", what);
    }

    /// A call of the replica's API by its administrator.
    pub(crate) fn api(&self, method: &str, path: &str, body: &Value) {
        let url = format!("https://replica.lab.example:8443/api/v2.0{path}");
        let account = format!("admin:{ADMIN_PASSWORD}");
        let body = body.to_string();
        let arguments = [
            "-sSf", "--cacert", CA, "-u", &account, "-X", method, "-d", &body, &url,
        ];
        self.machine.run("curl", &arguments);
    }

    /// As Harbor numbers it.
    pub(crate) fn project_number(&self, name: &str) -> String {
        let projects = self.harbor("projects");
        let mut found = projects.as_object().unwrap().iter();
        let (number, _) = found.find(|(_, one)| one["name"] == name).unwrap();
        number.clone()
    }

    /// The site's answer to curl: its exit status, the head in lower case, and the body.
    pub(crate) fn curl(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let fixed = ["-sS", "-i", "--max-time", "20", "--cacert", CA];
        let output = self
            .machine
            .output("curl", &[&fixed[..], arguments].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // 100 Continue comes before the answer.
        let text = text
            .strip_prefix("HTTP/1.1 100 Continue\r\n\r\n")
            .unwrap_or(&text);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        (output.status.code(), head.to_owned(), body.to_owned())
    }
}

impl Play {
    #[track_caller]
    pub(crate) fn succeeded(&self) {
        assert!(self.success, "the play failed:\n{}", self.text);
    }

    /// The play went well, and changed so much.
    #[track_caller]
    pub(crate) fn changed(&self) -> u32 {
        self.succeeded();
        self.figures["changed"]
    }

    /// The play failed.
    #[track_caller]
    pub(crate) fn refused(&self) -> &str {
        assert!(!self.success, "the play went through:\n{}", self.text);
        &self.text
    }
}

/// Neither one that the play says nor one that Harbor has made.
#[track_caller]
pub(crate) fn assert_no_secret(text: &str) {
    for secret in [ADMIN_PASSWORD, "Made0by1Harbor"].iter().chain(&SECRETS) {
        assert!(!text.contains(secret), "{secret} is in the log:\n{text}");
    }
}

/// One line of a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(given, _)| given.eq_ignore_ascii_case(name))
        .map_or("", |(_, value)| value)
}

/// nginx is this machine's own, so the same release has to boot.
fn of_this_host() -> Release {
    let release = fs::read_to_string("/etc/os-release").unwrap();
    if release.contains("VERSION_CODENAME=trixie") {
        Release::Trixie
    } else {
        Release::Bookworm
    }
}

/// Makes the one repository that the machine knows: Debian's nginx. Fetched once, kept below target.
fn offer_nginx(machine: &Machine) {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nginx-debs");
    fs::create_dir_all(&kept).unwrap();
    let packages = || {
        let entries = fs::read_dir(&kept)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let is_deb = |path: &PathBuf| path.extension().is_some_and(|name| name == "deb");
        entries.filter(is_deb).collect::<Vec<PathBuf>>()
    };
    if packages().len() != 2 {
        run(Command::new("apt-get").current_dir(&kept).args([
            "--quiet",
            "download",
            "nginx",
            "nginx-common",
        ]));
    }
    let mut index = String::new();
    for path in packages() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let fields = run(Command::new("dpkg-deb").arg("--field").arg(&path)).stdout;
        let sum = run(Command::new("sha256sum").arg(&path)).stdout;
        index += &format!(
            "{}Filename: ./{name}\nSize: {}\nSHA256: {}\n\n",
            String::from_utf8_lossy(&fields),
            path.metadata().unwrap().len(),
            String::from_utf8_lossy(&sum).split(' ').next().unwrap()
        );
        machine.copy(&path, &format!("/srv/debs/{name}"));
    }
    machine.write("/srv/debs/Packages", &index);
    machine.write(
        "/etc/apt/sources.list",
        "deb [trusted=yes] file:/srv/debs ./\n",
    );
    machine.shell("apt-get --quiet update");
}

/// The files of this test.
fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harbor_tier")
}

/// `harbor : ok=3 changed=0 unreachable=0 …`
fn recap(text: &str) -> BTreeMap<String, u32> {
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with("PLAY RECAP"));
    let figures = lines.skip(1).filter_map(|line| line.split_once(" : "));
    let words = figures.flat_map(|(_, figures)| figures.split_whitespace());
    words
        .filter_map(|word| word.split_once('='))
        .map(|(what, count)| (what.to_owned(), count.parse().unwrap()))
        .collect()
}
