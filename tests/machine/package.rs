//! What the package is, before anybody installs it: what lintian says, which C library and which systemd it needs.

use crate::node::{Package, said};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// RHEL 9 has this glibc, Ubuntu 22.04 this systemd.
const GLIBC: (u32, u32) = (2, 34);
const SYSTEMD: u32 = 249;

/// The directives that the units may use, with systemd's version that brought them (systemd's own NEWS and manual
/// pages); 0: older than 200.
const DIRECTIVES: &[(&str, u32)] = &[
    ("After", 0),
    ("AmbientCapabilities", 229),
    ("Before", 0),
    ("CPUWeight", 232),
    ("CapabilityBoundingSet", 0),
    ("ConditionPathExists", 0),
    ("Description", 0),
    ("Documentation", 201),
    ("DynamicUser", 235),
    ("EnvironmentFile", 0),
    ("ExecReload", 0),
    ("ExecStart", 0),
    ("ExecStopPost", 0),
    ("FileDescriptorStoreMax", 219),
    ("LimitNOFILE", 0),
    ("LoadCredential", 247),
    ("LockPersonality", 235),
    ("MemoryDenyWriteExecute", 231),
    ("MemoryHigh", 231),
    ("Nice", 0),
    ("NoNewPrivileges", 0),
    ("NotifyAccess", 0),
    ("OOMScoreAdjust", 0),
    ("OnCalendar", 0),
    ("OnFailure", 0),
    ("Persistent", 212),
    ("PrivateDevices", 209),
    ("PrivateTmp", 0),
    ("ProtectClock", 245),
    ("ProtectControlGroups", 232),
    ("ProtectHome", 214),
    ("ProtectHostname", 242),
    ("ProtectKernelLogs", 244),
    ("ProtectKernelModules", 232),
    ("ProtectKernelTunables", 232),
    ("ProtectProc", 247),
    ("ProtectSystem", 214),
    ("RandomizedDelaySec", 229),
    ("ReadWritePaths", 231),
    ("RemoveIPC", 232),
    ("Restart", 0),
    ("RestartPreventExitStatus", 0),
    ("RestartSec", 0),
    ("RestrictAddressFamilies", 211),
    ("RestrictNamespaces", 233),
    ("RestrictRealtime", 231),
    ("RestrictSUIDSGID", 242),
    ("RuntimeDirectory", 211),
    ("StartLimitBurst", 0),
    ("StartLimitIntervalSec", 230),
    ("StateDirectory", 235),
    ("StateDirectoryMode", 235),
    ("SuccessExitStatus", 0),
    ("SystemCallArchitectures", 209),
    ("SystemCallErrorNumber", 209),
    ("SystemCallFilter", 0),
    ("TasksMax", 227),
    ("TimeoutStartSec", 0),
    ("TimeoutStopSec", 0),
    ("Type", 0),
    ("UMask", 0),
    ("WantedBy", 0),
    ("Wants", 0),
    ("WatchdogSec", 0),
];

#[test]
fn lintian_finds_no_errors_and_no_warnings() {
    let mut command = Command::new("lintian");
    command
        .args([
            "--allow-root",
            "--tag-display-limit",
            "0",
            "--show-overrides",
        ])
        .arg(Package::First.path());
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run lintian: {error}; run `make deps` as root"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = |kind: &str| text.lines().filter(|line| line.starts_with(kind)).count();
    let (errors, warnings, overridden) = (complaints("E:"), complaints("W:"), complaints("O:"));
    println!("lintian: {errors} errors, {warnings} warnings, {overridden} overridden");
    assert_eq!((errors, warnings), (0, 0), "{text}");
    // It has looked at all: what is overridden is only found in a package that it could read.
    assert!(
        overridden > 0,
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // An override that matches nothing hides what comes next.
    assert!(!text.contains("unused-override"), "{text}");
    // Each override has a reason on the line before it.
    let overrides = fs::read_to_string("packaging/lintian-overrides").unwrap();
    let lines: Vec<&str> = overrides.lines().collect();
    for pair in lines.windows(2) {
        assert!(
            pair[1].starts_with('#') || pair[0].starts_with('#'),
            "{} has no reason",
            pair[1]
        );
    }
}

/// As Debian spells it, so that a pre-release does not hide the release from apt.
#[test]
fn the_version_is_the_programs_and_the_second_packages_is_later() {
    let (first, second) = (Package::First.version(), Package::Second.version());
    let program = env!("CARGO_PKG_VERSION").replace('-', "~");
    assert_eq!(first, format!("{program}-1"));
    let log = fs::read_to_string("packaging/changelog").unwrap();
    assert!(log.starts_with(&format!("harbor-pilot ({first})")), "{log}");
    said(
        &Command::new("dpkg")
            .args(["--compare-versions", &first, "lt", &second])
            .output()
            .unwrap(),
    );
}

#[test]
fn the_program_runs_with_the_c_library_of_rhel_9() {
    let scratch = tempfile::tempdir().unwrap();
    said(
        &Command::new("dpkg-deb")
            .arg("--extract")
            .arg(Package::First.path())
            .arg(scratch.path())
            .output()
            .unwrap(),
    );
    let program = fs::read(scratch.path().join("usr/bin/harbor-pilot")).unwrap();
    let mark = b"GLIBC_2.";
    let newest = program
        .windows(mark.len() + 2)
        .filter(|window| window.starts_with(mark))
        .filter_map(|window| {
            let digits: String = window[mark.len()..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .map(|byte| char::from(*byte))
                .collect();
            digits.parse().ok()
        })
        .max()
        .expect("the program names the versions that it needs");
    println!("the newest symbol is of GLIBC_2.{newest}");
    assert!((2, newest) <= GLIBC);

    // What stands below the parents of the node's files is nobody's but the node's.
    for parent in ["etc/rancher", "var/lib/rancher", "etc/containerd"] {
        let mut entries = fs::read_dir(scratch.path().join(parent)).unwrap();
        assert!(entries.next().is_none(), "{parent} is empty");
    }
}

#[test]
fn the_units_use_no_directive_that_ubuntu_22_04_does_not_know() {
    for unit in [
        "harbor-pilot.service",
        "harbor-pilot-handover.service",
        "harbor-pilot-healthd.service",
        "harbor-pilot-warm.service",
    ] {
        let text = fs::read_to_string(Path::new("systemd").join(unit)).unwrap();
        let names: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with(['#', '[']))
            .filter_map(|line| Some(line.split_once('=')?.0))
            .collect();
        assert!(names.len() > 10, "{unit} has been read");
        for name in names {
            let (_, since) = DIRECTIVES
                .iter()
                .find(|(known, _)| *known == name)
                .unwrap_or_else(|| panic!("{unit}: since when is there {name}?"));
            assert!(*since <= SYSTEMD, "{unit}: {name} came with {since}");
        }
    }
}

/// Dashboards and rules, and the page that every alert links to, under the name by which it does.
#[test]
fn what_prometheus_and_grafana_read_is_in_the_package() {
    let scratch = tempfile::tempdir().unwrap();
    said(
        &Command::new("dpkg-deb")
            .arg("--extract")
            .arg(Package::First.path())
            .arg(scratch.path())
            .output()
            .unwrap(),
    );
    let installed = scratch.path().join("usr/share/harbor-pilot/monitoring");
    let mut files = 0;
    for entry in fs::read_dir("packaging/monitoring").unwrap() {
        let name = entry.unwrap().file_name();
        let source = fs::read(Path::new("packaging/monitoring").join(&name)).unwrap();
        assert_eq!(fs::read(installed.join(&name)).unwrap(), source, "{name:?}");
        files += 1;
    }
    assert_eq!(fs::read_dir(&installed).unwrap().count(), files);
    let alerts = fs::read_to_string(installed.join("harbor-pilot.alerts.yml")).unwrap();
    let links = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook_url: file:///"));
    let pages: BTreeSet<_> = links.map(|it| it.split('#').next().unwrap()).collect();
    assert!(!pages.is_empty());
    for page in pages {
        assert!(scratch.path().join(page).is_file(), "{page}");
    }
}
