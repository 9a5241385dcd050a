//! The package from a signed apt repository, as `make apt-repo` makes it: back to an older version, and forward again.

use crate::lab::{GATEWAY, Lab};
use crate::package;
use crate::repository::{Key, Repository};
use crate::site::Site;
use serde_json::json;
use std::process::{Child, Stdio};

const PORT: u16 = 8080;

/// The web server, which ends with the value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The nodes have the second package.
pub(crate) fn back_and_forth(lab: &Lab, site: &Site) {
    let [first, second] = ["first", "second"].map(|which| package::find(which, site.directory()));
    let (key, repository) = (Key::new("operator@example.com"), Repository::new());
    repository
        .publish(&key, "stable", &[&first.path, &second.path])
        .unwrap();
    let mut server = lab.command("busybox");
    server
        .args(["httpd", "-f", "-p", &format!("{GATEWAY}:{PORT}"), "-h"])
        .arg(repository.path())
        .stdin(Stdio::null());
    let _server = Server(server.spawn().unwrap());
    // The nodes reach no other repository from here.
    site.each(|node| node.shell("rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*"));
    let variables = |version: &str, key: &[u8]| {
        json!({
            "harbor_pilot_package_source": "apt",
            "harbor_pilot_apt_uri": format!("http://{GATEWAY}:{PORT}"),
            "harbor_pilot_apt_key": String::from_utf8_lossy(key),
            "harbor_pilot_version": version,
            "harbor_pilot_allow_downgrade": true,
        })
    };
    let installed = || {
        let format = "--showformat=${Version}";
        site.run("dpkg-query", &["--show", format, "harbor-pilot"])
    };

    // Signed by another key than the one that the role was given.
    let stranger = Key::new("stranger@example.com");
    site.set_variables("zz", &variables(&first.version, &stranger.public()));
    let play = site.play("rollout", &[]);
    assert!(play.refused().contains("NO_PUBKEY"), "{}", play.text);
    let both = |version: &str| [version.to_owned(), version.to_owned()];
    assert_eq!(installed(), both(&second.version));

    for package in [&first, &second] {
        site.set_variables("zz", &variables(&package.version, &key.public()));
        assert!(site.play("rollout", &[]).changed() > 0);
        assert_eq!(installed(), both(&package.version));
        assert_eq!(
            site.property("harbor-pilot.service", "ActiveState"),
            ["active", "active"]
        );
        assert_eq!(site.play("rollout", &[]).changed(), 0, "a second run");
    }
    site.forget_variables("zz");
}
