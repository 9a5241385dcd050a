//! The machines themselves: they boot, reach the laboratory, forget, survive a reboot, and leave nothing.

use crate::lab::{Lab, Release};

#[test]
fn a_machine_boots_reaches_the_laboratory_and_leaves_nothing() {
    let lab = Lab::start();
    let name = lab.name();
    for (release, version) in [(Release::Bookworm, "12"), (Release::Trixie, "13")] {
        let mut machine = lab.boot(0, release);
        machine.shell(&format!(
            ". /etc/os-release; [ \"$VERSION_ID\" = {version} ]"
        ));
        assert_eq!(machine.say("systemctl", &["is-system-running"]), "running");
        let ca = machine.path("/root/ca.pem");
        std::fs::copy(lab.ca(), ca).unwrap();
        machine.run(
            "curl",
            &[
                "-sS",
                "--cacert",
                "/root/ca.pem",
                "https://replicas.lab.example/v2/",
            ],
        );
        assert!(machine.run("ctr", &["plugins", "ls"]).contains("overlayfs"));
        machine.write("/root/kept", "yes");
        machine.reboot();
        assert_eq!(machine.run("cat", &["/root/kept"]), "yes");
        drop(machine);
        let machine = lab.boot(0, release);
        assert!(
            !machine.path("/root/kept").exists(),
            "{release:?} remembers"
        );
    }
    let (first, second) = (
        lab.boot(0, Release::Bookworm),
        lab.boot(1, Release::Bookworm),
    );
    assert_ne!(first.run("hostname", &[]), second.run("hostname", &[]));
    drop((first, second));
    drop(lab);
    assert_eq!(Lab::left_behind(&name), Vec::<String>::new());
}
