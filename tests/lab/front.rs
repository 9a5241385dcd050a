//! The servers that clients talk to: one nginx per address, TLS 1.3 only, with REPLICA's path rewriting, its
//! health responder on port 1337, and the faults that the tests ask for.

use super::certificates::Certificates;
use super::network::Network;
use super::process::{Daemon, output};
use super::storage::Storage;
use super::wait_until;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What Harbor answers at `/api/v2.0/health`.
const HEALTHY: &str = r#"{"components":[{"name":"core","status":"healthy"},{"name":"database","status":"healthy"},{"name":"jobservice","status":"healthy"},{"name":"portal","status":"healthy"},{"name":"redis","status":"healthy"},{"name":"registry","status":"healthy"},{"name":"registryctl","status":"healthy"}],"status":"healthy"}"#;

/// One address with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    ReplicaA,
    ReplicaB,
    Core,
    Upstream,
    Cdn,
    Private,
}

impl Place {
    pub(crate) const ALL: [Self; 6] = [
        Self::ReplicaA,
        Self::ReplicaB,
        Self::Core,
        Self::Upstream,
        Self::Cdn,
        Self::Private,
    ];

    /// Both addresses of REPLICA, and CORE.
    pub(crate) const TIERS: [Self; 3] = [Self::ReplicaA, Self::ReplicaB, Self::Core];

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    pub(crate) fn address(self) -> Ipv4Addr {
        match self {
            Self::ReplicaA => Ipv4Addr::new(198, 18, 1, 11),
            Self::ReplicaB => Ipv4Addr::new(198, 18, 1, 12),
            Self::Core => Ipv4Addr::new(198, 18, 2, 11),
            Self::Upstream => Ipv4Addr::new(198, 18, 3, 11),
            Self::Cdn => Ipv4Addr::new(198, 18, 4, 11),
            Self::Private => Ipv4Addr::new(198, 18, 5, 11),
        }
    }

    pub(crate) fn storage(self) -> Storage {
        match self {
            Self::ReplicaA | Self::ReplicaB => Storage::Replica,
            Self::Core => Storage::Core,
            Self::Upstream | Self::Cdn => Storage::Upstream,
            Self::Private => Storage::Private,
        }
    }
}

/// What goes wrong at a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Every registry request gets this status.
    Status(u16),
    /// The connection is accepted, then nothing: not even the TLS handshake goes on.
    SilentTls,
    /// TLS works, the request is read, and no answer ever comes.
    SilentHttp,
    /// Nothing listens.
    Refused,
    /// A certificate of an authority that nobody trusts.
    WrongCertificate,
    /// A certificate of the right authority whose time is over.
    ExpiredCertificate,
    /// `200` with no body at all: a Harbor behind another Harbor does this for cold blobs.
    ZeroLength,
    /// Requests whose path ends with `suffix` get `file` (with the right length and headers that claim `digest`).
    WrongBytes {
        suffix: String,
        digest: String,
        media_type: String,
        file: PathBuf,
    },
}

/// One request as the server logged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) status: u16,
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) user_agent: String,
}

/// One nginx.
pub(crate) struct Front {
    place: Place,
    directory: PathBuf,
    daemon: Option<Daemon>,
}

impl Front {
    /// Starts it healthy, in front of the store on `storage_port`.
    pub(crate) fn start(
        place: Place,
        storage_port: u16,
        certificates: &Certificates,
        network: &Network,
        directory: &Path,
    ) -> Self {
        let directory = directory.join(format!("front-{place:?}"));
        fs::create_dir(&directory).expect("the laboratory's directory is writable");
        let mut front = Self {
            place,
            directory,
            daemon: None,
        };
        front.set_component("core", "healthy");
        front.set_fault(Fault::None, storage_port, certificates, network);
        front
    }

    /// Starts it anew with that fault. Open connections end, as when a server is restarted.
    pub(crate) fn set_fault(
        &mut self,
        fault: Fault,
        storage_port: u16,
        certificates: &Certificates,
        network: &Network,
    ) {
        self.daemon = None;
        if fault == Fault::Refused {
            return;
        }
        let configuration = self.directory.join("nginx.conf");
        let text = self.configuration(&fault, storage_port, certificates);
        fs::write(&configuration, text).expect("the laboratory's directory is writable");
        let mut command = network.command("nginx");
        command
            .arg("-c")
            .arg(&configuration)
            .arg("-p")
            .arg(&self.directory);
        command.arg("-e").arg(self.directory.join("error.log"));
        let log = self.directory.join("nginx.log");
        let mut daemon = Daemon::start(&format!("nginx of {:?}", self.place), &mut command, &log);
        let url = format!("http://{}:1337/", self.place.address());
        wait_until("nginx answers", Duration::from_secs(20), || {
            daemon.assert_running();
            let answer = output(
                network
                    .command("curl")
                    .args(["-sS", "-o", "/dev/null", &url]),
            );
            if answer.status.success() {
                Ok(())
            } else {
                Err(String::from_utf8_lossy(&answer.stderr).into_owned())
            }
        });
        if fault == Fault::SilentTls {
            daemon.signal("STOP");
        }
        self.daemon = Some(daemon);
    }

    /// Whether anything listens.
    pub(crate) fn is_up(&self) -> bool {
        self.daemon.is_some()
    }

    /// Requests below `/v2/` since the last [`Front::take_requests`], in the order in which their answers ended.
    pub(crate) fn requests(&self) -> Vec<Request> {
        // nginx writes a line after the answer's last byte: give it the moment that the client did not need.
        std::thread::sleep(Duration::from_millis(50));
        let text = fs::read_to_string(self.access_log()).unwrap_or_default();
        text.lines()
            .map(parse_request)
            .filter(|request| request.uri.starts_with("/v2/") && request.uri != "/v2/")
            .collect()
    }

    /// As [`Front::requests`], and forgets them.
    pub(crate) fn take_requests(&self) -> Vec<Request> {
        let requests = self.requests();
        // nginx appends, so the emptied file starts at its beginning again.
        fs::write(self.access_log(), "").expect("the laboratory's directory is writable");
        requests
    }

    fn access_log(&self) -> PathBuf {
        self.directory.join("access.log")
    }

    fn configuration(
        &self,
        fault: &Fault,
        storage_port: u16,
        certificates: &Certificates,
    ) -> String {
        let identity = match fault {
            Fault::WrongCertificate => certificates.wrong(),
            Fault::ExpiredCertificate => certificates.expired(),
            _ => certificates.good(),
        };
        let directory = self.directory.display();
        let address = self.place.address();
        format!(
            "daemon off;\nmaster_process off;\nworker_processes 1;\npid {directory}/nginx.pid;\n\
             error_log {directory}/error.log warn;\nevents {{ worker_connections 512; }}\n\
             http {{\n\
             log_format requests '$status\\t$request_method\\t$request_uri\\t$http_user_agent';\n\
             access_log {directory}/access.log requests;\n\
             client_body_temp_path {directory}/client;\nproxy_temp_path {directory}/proxy;\n\
             fastcgi_temp_path {directory}/fastcgi;\nuwsgi_temp_path {directory}/uwsgi;\nscgi_temp_path {directory}/scgi;\n\
             proxy_buffering off;\nclient_max_body_size 0;\nproxy_set_header Host $http_host;\n\
             server {{\n\
             listen {address}:443 ssl;\nssl_protocols TLSv1.3;\n\
             ssl_certificate {certificate};\nssl_certificate_key {key};\n\
             location = /api/v2.0/health {{ default_type application/json; alias {directory}/health.json; }}\n\
             {api}{fault}{rewriting}\
             location / {{ proxy_pass http://127.0.0.1:{storage_port}; }}\n\
             }}\n\
             server {{\n\
             listen {address}:1337;\naccess_log off;\n\
             location / {{ default_type application/json; return 200 '{HEALTHY}'; }}\n\
             }}\n\
             }}\n",
            certificate = identity.certificate.display(),
            key = identity.key.display(),
            api = self.projects(),
            fault = fault_locations(fault),
            rewriting = self.rewriting(storage_port),
        )
    }

    /// What Harbor's health page says of one of its components from now on; the others are healthy.
    pub(crate) fn set_component(&self, name: &str, status: &str) {
        let healthy = format!("\"{name}\",\"status\":\"healthy\"");
        let text = HEALTHY.replace(&healthy, &format!("\"{name}\",\"status\":\"{status}\""));
        fs::write(self.directory.join("health.json"), text)
            .expect("the laboratory's directory is writable");
    }

    /// CORE says which proxy-cache projects it has.
    fn projects(&self) -> String {
        if self.place != Place::Core {
            return String::new();
        }
        let projects = r#"[{"project_id":1,"name":"proxy-docker-io","registry_id":1,"metadata":{"public":"true"}},{"project_id":2,"name":"proxy-ghcr-io","registry_id":2,"metadata":{"public":"true"}}]"#;
        let registries = r#"[{"id":1,"name":"hub","type":"docker-hub","url":"https://hub.docker.com"},{"id":2,"name":"ghcr","type":"github-ghcr","url":"https://ghcr.io"}]"#;
        let page = |name: &str, list: &str| {
            format!(
                "location = /api/v2.0/{name} {{ default_type application/json; add_header X-Total-Count 2; return 200 '{list}'; }}\n"
            )
        };
        page("projects", projects) + &page("registries", registries)
    }

    /// REPLICA doubles the project; upstream sends blobs to its CDN, as Docker Hub does.
    fn rewriting(&self, storage_port: u16) -> String {
        match self.place {
            Place::ReplicaA | Place::ReplicaB => format!(
                "location ~ ^/v2/([^/]+)(/.*)?$ {{ proxy_pass http://127.0.0.1:{storage_port}/v2/$1/$1$2$is_args$args; }}\n"
            ),
            Place::Upstream => {
                "location ~ ^/v2/.+/blobs/ { return 307 https://cdn.lab.example$request_uri; }\n"
                    .to_owned()
            }
            Place::Core | Place::Cdn | Place::Private => String::new(),
        }
    }
}

fn fault_locations(fault: &Fault) -> String {
    match fault {
        Fault::Status(status) => format!(
            "location ~ ^/v2/. {{ default_type text/plain; return {status} 'the laboratory says {status}'; }}\n"
        ),
        Fault::ZeroLength => "location ~ ^/v2/. { return 200 ''; }\n".to_owned(),
        Fault::WrongBytes {
            suffix,
            digest,
            media_type,
            file,
        } => format!(
            "location ~ ^/v2/.*/{suffix}$ {{ types {{}} default_type {media_type}; \
             add_header Docker-Content-Digest {digest}; alias {}; }}\n",
            file.display()
        ),
        Fault::None
        | Fault::SilentTls
        | Fault::SilentHttp
        | Fault::Refused
        | Fault::WrongCertificate
        | Fault::ExpiredCertificate => String::new(),
    }
}

fn parse_request(line: &str) -> Request {
    let mut fields = line.split('\t');
    let mut field = || fields.next().unwrap_or_default().to_owned();
    Request {
        status: field().parse().unwrap_or_default(),
        method: field(),
        uri: field(),
        user_agent: field(),
    }
}
