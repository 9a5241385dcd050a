//! The package as a file: what it needs, what its scripts are, and what rpmlint says.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The packages that `make test-rpms` makes: both hold the program that was built last.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Package {
    First,
    /// A later version of it.
    Second,
}

impl Package {
    pub(crate) fn path(self) -> PathBuf {
        let name = match self {
            Self::First => "first.rpm",
            Self::Second => "second.rpm",
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/rpms/test")
            .join(name);
        assert!(
            path.is_file(),
            "{} is missing: `make test-rpms` makes it",
            path.display()
        );
        path
    }

    /// Version and release.
    pub(crate) fn version(self) -> String {
        self.query(&["--queryformat", "%{VERSION}-%{RELEASE}"])
    }

    /// What `rpm --query` prints of it.
    fn query(self, arguments: &[&str]) -> String {
        let mut command = Command::new("rpm");
        command
            .args(["--query", "--package"])
            .args(arguments)
            .arg(self.path());
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("cannot run rpm: {error}"));
        assert!(output.status.success(), "{}", all(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// What a program printed.
fn all(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn the_version_is_the_programs_and_the_second_packages_is_later() {
    let (first, second) = (Package::First.version(), Package::Second.version());
    let program = env!("CARGO_PKG_VERSION").replace('-', "~");
    assert_eq!(first, format!("{program}-1"));
    let compared = Command::new("rpm")
        .arg("--eval")
        .arg(format!("%{{lua:print(rpm.vercmp('{first}', '{second}'))}}"))
        .output()
        .unwrap();
    assert_eq!(all(&compared).trim(), "-1");
}

#[test]
fn it_needs_what_rhel_9_and_sles_15_sp6_have() {
    let text = Package::First.query(&["--requires"]);
    let mut required: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("rpmlib(") && !line.starts_with("config("))
        .collect();
    required.sort_unstable();
    required.dedup();
    assert_eq!(
        required,
        [
            "/bin/sh",
            "ca-certificates",
            "coreutils",
            "libc.so.6(GLIBC_2.34)(64bit)",
            "libgcc_s.so.1()(64bit)",
            "libm.so.6()(64bit)",
            "systemd >= 249",
            "util-linux",
        ]
    );
    let architecture = Package::First.query(&["--queryformat", "%{ARCH}"]);
    assert_eq!(architecture, std::env::consts::ARCH);
}

/// Files of the .deb that the rpm has elsewhere, or not at all.
const OTHERWISE: [(&str, Option<&str>); 4] = [
    // The licence, where each distribution keeps licences.
    (
        "/usr/share/doc/harbor-pilot/copyright",
        Some("/usr/share/licenses/harbor-pilot/LICENSE"),
    ),
    (
        "/usr/share/zsh/vendor-completions/_harbor-pilot",
        Some("/usr/share/zsh/site-functions/_harbor-pilot"),
    ),
    // Debian's own: the package's changelog, and what lintian is told.
    ("/usr/share/doc/harbor-pilot/changelog.Debian.gz", None),
    ("/usr/share/lintian/overrides/harbor-pilot", None),
];

/// The files of the .deb of `make test-packages`, without directories.
fn files_of_the_deb() -> BTreeSet<String> {
    let mut command = Command::new("dpkg-deb");
    command
        .arg("--contents")
        .arg(crate::node::Package::First.path());
    let text = crate::node::said(&command.output().unwrap());
    let files = text.lines().filter(|line| !line.starts_with('d'));
    let files = files.map(|line| line.split_whitespace().last().unwrap());
    files
        .map(|file| file.trim_start_matches('.').to_owned())
        .collect()
}

#[test]
fn it_holds_what_the_deb_holds_and_leaves_shared_directories_to_others() {
    let mut due = files_of_the_deb();
    for (file, instead) in OTHERWISE {
        assert!(due.remove(file), "the .deb has no {file}");
        due.extend(instead.map(str::to_owned));
    }
    let text = Package::First.query(&["--list"]);
    // Directories would be in it too: they belong to others.
    let files = BTreeSet::from_iter(text.lines().map(str::to_owned));
    let [missing, more] = [&due - &files, &files - &due];
    assert!(
        missing.is_empty() && more.is_empty(),
        "missing: {missing:#?}\nnot in the .deb: {more:#?}"
    );
    let edited = Package::First.query(&["--configfiles"]);
    let edited: Vec<&str> = edited.lines().collect();
    assert_eq!(
        edited,
        [
            "/etc/default/harbor-pilot-healthd",
            "/etc/harbor-pilot/config.toml"
        ]
    );
}

/// Scanners read it without the package: `make sums`, of the rpm alone and beside the .deb of the same processor.
#[test]
fn its_list_of_components_lies_beside_it() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("dist");
    let deb = crate::node::Package::First.path();
    for packages in [
        vec![Package::First.path()],
        vec![Package::First.path(), deb],
    ] {
        let mut sums = Command::new("packaging/sums.sh");
        let output = sums.arg(&directory).arg("").args(&packages).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", all(&output));
        let lists = fs::read_dir(&directory).unwrap().filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".cdx.json").map(str::to_owned)
        });
        let processor = std::env::consts::ARCH
            .replace("x86_64", "amd64")
            .replace("aarch64", "arm64");
        let due = format!("harbor-pilot_{}_{processor}", Package::First.version());
        assert_eq!(Vec::from_iter(lists), [due.as_str()]);
        let list = fs::read(directory.join(due + ".cdx.json")).unwrap();
        let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
        assert_eq!(list["metadata"]["component"]["name"], "harbor-pilot");
        let sums = fs::read_to_string(directory.join("SHA256SUMS")).unwrap();
        assert_eq!(sums.lines().count(), packages.len() + 1, "{sums}");
    }
}

#[test]
fn its_scripts_are_shell_and_know_nothing_of_debian() {
    let text = Package::First.query(&["--scripts"]);
    for unknown in ["deb-systemd", "unmask", "purge)"] {
        assert!(!text.contains(unknown), "{unknown}:\n{text}");
    }
    for script in ["PREIN", "POSTIN", "PREUN", "POSTUN"] {
        let text = Package::First.query(&["--queryformat", &format!("%{{{script}}}")]);
        assert!(text.starts_with("#!/bin/sh\n"), "{script}: {text}");
        let checked = Command::new("sh").args(["-n", "-c", &text]).output();
        let checked = checked.unwrap();
        assert!(checked.status.success(), "{script}: {}", all(&checked));
    }
}

/// What `packaging/rpm/pre` says on a system whose getconf and systemctl print this; `None`: there is no such program.
fn before_unpacking(glibc: Option<&str>, systemd: Option<&str>) -> (bool, String) {
    let scratch = tempfile::tempdir().unwrap();
    let place = |name: &str| scratch.path().join(name);
    for needed in ["head", "sed", "sort"] {
        symlink(Path::new("/usr/bin").join(needed), place(needed)).unwrap();
    }
    for (program, line) in [("getconf", glibc), ("systemctl", systemd)] {
        let Some(line) = line else { continue };
        fs::write(place(program), format!("#!/bin/sh\necho '{line}'\n")).unwrap();
        fs::set_permissions(place(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = Command::new("/bin/sh")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/rpm/pre"))
        .arg("1")
        .env("PATH", scratch.path())
        .output()
        .unwrap();
    (output.status.success(), all(&output))
}

#[test]
fn an_older_system_is_refused_in_words() {
    for (glibc, systemd, fits) in [
        ("2.34", "252", true), // RHEL 9
        ("2.38", "254", true), // SLES 15 SP6, Leap 15.6
        ("2.39", "257", true), // RHEL 10
        ("2.100", "1000", true),
        ("2.31", "249", false), // Leap 15.5
        ("2.28", "239", false), // RHEL 8
        ("2.34", "248", false),
    ] {
        let (success, text) = before_unpacking(
            Some(&format!("glibc {glibc}")),
            Some(&format!("systemd {systemd} ({systemd}.1-1)")),
        );
        assert_eq!(success, fits, "glibc {glibc}, systemd {systemd}: {text}");
        if fits {
            assert_eq!(text, "");
        } else {
            assert!(text.contains("SLES 15 SP6"), "{text}");
            assert!(
                text.contains(&format!("glibc {glibc} and systemd {systemd}")),
                "{text}"
            );
        }
    }
}

/// A system that does not say what it has is none of those that the package is for. An image that has no systemd yet may be one.
#[test]
fn what_a_system_does_not_say_is_refused_and_what_it_has_not_yet_is_said() {
    let (glibc, systemd) = (Some("glibc 2.34"), Some("systemd 252 (252-32.el9)"));
    for (glibc, systemd, told) in [
        (
            Some(""),
            systemd,
            "getconf GNU_LIBC_VERSION does not say which glibc this system has",
        ),
        (
            Some("undefined"),
            systemd,
            "getconf GNU_LIBC_VERSION does not say",
        ),
        (
            glibc,
            Some(""),
            "systemctl --version does not say which systemd this system has",
        ),
        (
            glibc,
            Some("Running in chroot"),
            "systemctl --version does not say",
        ),
        (None, Some(""), "systemctl --version does not say"),
        (
            Some("glibc 2.28"),
            None,
            "glibc 2.28 and systemd of unknown version",
        ),
    ] {
        let (success, text) = before_unpacking(glibc, systemd);
        assert!(!success, "{text}");
        assert!(
            text.contains(told) && text.contains("Nothing was installed"),
            "{text}"
        );
    }
    for (glibc, systemd, told) in [
        (
            None,
            systemd,
            "there is no getconf here, so nothing says which glibc",
        ),
        (
            glibc,
            None,
            "there is no systemctl here, so nothing says which systemd",
        ),
    ] {
        let (success, text) = before_unpacking(glibc, systemd);
        assert!(success, "{text}");
        assert!(
            text.contains(told) && text.contains("systemd 249"),
            "{text}"
        );
    }
}

#[test]
fn rpmlint_finds_no_errors_and_no_warnings() {
    // rpmlint compares the name as well.
    let scratch = tempfile::tempdir().unwrap();
    let (version, architecture) = (Package::First.version(), std::env::consts::ARCH);
    let path = scratch
        .path()
        .join(format!("harbor-pilot-{version}.{architecture}.rpm"));
    fs::copy(Package::First.path(), &path).unwrap();
    let mut command = Command::new("rpmlint");
    command
        .args(["--config", "packaging/rpm/rpmlint.toml"])
        .arg(path);
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run rpmlint: {error}; run `make deps` as root"));
    let text = all(&output);
    let last = text
        .lines()
        .rev()
        .find(|line| line.contains(" errors, "))
        .unwrap_or_default();
    println!("rpmlint: {last}");
    assert!(last.contains(" 0 errors, 0 warnings"), "{text}");
}
