//! `harbor-pilot handover`: takes the agent out of the node's files when it stops for good (design F3). What stays
//! are the tiers that stand there, which were healthy last, and the upstream.
//!
//! Run by the unit's ExecStopPost= it finds out whether this stop is one for good: a stop job without a start job
//! while the system is not shutting down. A restart, an upgrade and a reboot write nothing. Run by hand, or by
//! OnFailure= (the start limit was hit, say), nothing more is to be asked than whether it is started again.
//!
//! It also removes the listeners from systemd's fd store unless a start follows at once: as long as they are there
//! the port accepts and nobody answers.

use super::{LOCK_WAIT, report};
use crate::cli::{FAILED, Invocation};
use crate::config::Config;
use crate::lifecycle::Notifier;
use crate::node::files::{self, Places};
use crate::node::ledger::Store;
use serde_json::json;
use std::io::{self, Write};
use std::process::{Command, Stdio};

/// Which unit is asked about.
pub const UNIT: &str = "harbor-pilot.service";

/// What systemd says while ExecStopPost= runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stopping {
    /// `$SERVICE_RESULT`; `None`: not run by the unit.
    pub result: Option<String>,
    /// `systemctl list-jobs`.
    pub jobs: String,
    /// `systemctl is-system-running`.
    pub system: String,
}

/// What comes after this stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// A planned restart: the next process is started at once and takes the listeners back.
    Restart,
    /// Nobody for now, and yet no stop for good: why the files stay.
    Nobody(&'static str),
    /// It stopped for good.
    ForGood,
}

// === impl Stopping ===

impl Stopping {
    /// Asks systemd. Where there is none nothing is known, which is no reason against handing over.
    #[must_use]
    pub fn from_systemd(result: Option<&String>) -> Self {
        let said = |arguments: &[&str]| {
            let output = Command::new("systemctl")
                .args(arguments)
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .output();
            output.map_or_else(
                |_| String::new(),
                |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            )
        };
        Self {
            result: result.cloned(),
            jobs: said(&["list-jobs", "--full", "--no-legend", "--no-pager"]),
            system: said(&["is-system-running"]),
        }
    }

    /// What comes after this stop. In doubt none for good: a refused connection costs containerd nothing, a file
    /// written at every restart would.
    #[must_use]
    pub fn after(&self, unit: &str) -> After {
        let jobs = self.jobs.lines().filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            Some((words.next()?, words.next()?))
        });
        let kinds: Vec<_> = jobs
            .filter(|(name, _)| *name == unit)
            .map(|(_, kind)| kind)
            .collect();
        if self.system == "stopping" {
            return After::Nobody("the system shuts down");
        }
        if kinds.iter().any(|kind| *kind != "stop") {
            return match self.result.as_deref() {
                // Of a start that failed, or an end by force, nothing is in the store that anybody will take back.
                Some("success") => After::Restart,
                _ => After::Nobody("the agent is started again"),
            };
        }
        match self.result.as_deref() {
            // By hand, or by OnFailure=.
            None | Some("start-limit-hit") => After::ForGood,
            Some(_) if !kinds.is_empty() => After::ForGood,
            Some("success") => After::Nobody("nobody has asked to stop the agent"),
            Some(_) => After::Nobody("the agent has failed and is started again"),
        }
    }

    /// Closes the port, unless a process that takes it over follows at once.
    pub fn release_listeners(&self, notifier: &Notifier, stderr: &mut dyn Write) -> io::Result<()> {
        if self.after(UNIT) != After::Restart
            && let Err(error) = notifier.forget_sockets()
        {
            writeln!(
                stderr,
                "warning: removing the listeners from systemd's store: {error}"
            )?;
        }
        Ok(())
    }
}

/// Runs the command; 0: the files are handed over, or it is no stop for good; 2: something failed. Reads no configuration:
/// what keeps the agent from starting must not keep it in the files.
pub fn run(
    args: &Invocation,
    stopping: &Stopping,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    match stopping.after(UNIT) {
        After::ForGood => {}
        After::Restart => return say_nothing(args.json, "the agent is started again", stdout),
        After::Nobody(why) => return say_nothing(args.json, why, stdout),
    }
    let store = Store::new(&args.loader.default_state_directory());
    let places = Places::find(&args.machine, &Config::built_in().node);
    let handed = files::hand_over(&store, &places, LOCK_WAIT);
    let (plan, done) = (&handed.plan, &handed.done);
    let nothing = plan.steps.is_empty() && plan.left.is_empty();
    if nothing && handed.without_ledger.is_none() {
        return say_nothing(args.json, "the agent is in no file of this node", stdout);
    }
    if args.json {
        report::print(report::released(&handed), stdout)?;
    } else {
        report::written(plan, done, stdout)?;
    }
    let found = "the agent was taken out of the files in which its marks were found";
    let failed = report::unfinished(&handed, found, "still names the agent", stderr)?;
    Ok(if failed || report::is_stuck(plan) {
        FAILED
    } else {
        0
    })
}

fn say_nothing(json: bool, why: &str, stdout: &mut dyn Write) -> io::Result<u8> {
    if json {
        let fields = vec![
            ("changed", json!(false)),
            ("files", json!([])),
            ("left", json!([])),
            ("why", json!(why)),
        ];
        report::print(fields, stdout)?;
    } else {
        writeln!(stdout, "nothing is handed over: {why}")?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: &str = "  12 harbor-pilot.service stop running";
    const START: &str = "  12 harbor-pilot.service start running";
    const RESTART: &str = "12 harbor-pilot.service restart running";
    const BOTH: &str =
        "12 harbor-pilot.service stop running\n13 harbor-pilot.service start waiting";
    const OTHER: &str = "12 k3s.service stop running";

    fn stopping(result: Option<&str>, jobs: &str, system: &str) -> Stopping {
        Stopping {
            result: result.map(str::to_owned),
            jobs: jobs.to_owned(),
            system: system.to_owned(),
        }
    }

    #[test]
    fn only_a_stop_for_good_hands_over() {
        let failed = After::Nobody("the agent has failed and is started again");
        let again = After::Nobody("the agent is started again");
        let shuts_down = After::Nobody("the system shuts down");
        let success = Some("success");
        let table = [
            // By hand, where there is no systemd, and where there is.
            (None, "", "", After::ForGood),
            (None, "", "running", After::ForGood),
            // OnFailure=, the other job being its own.
            (
                None,
                "9 harbor-pilot-handover.service start running",
                "degraded",
                After::ForGood,
            ),
            (None, START, "running", again),
            (None, "", "stopping", shuts_down),
            // systemctl stop, disable --now, mask --now, dpkg --remove.
            (success, STOP, "running", After::ForGood),
            (success, STOP, "degraded", After::ForGood),
            (success, STOP, "starting", After::ForGood),
            // It did not end by itself, or was just failing.
            (Some("timeout"), STOP, "running", After::ForGood),
            (Some("watchdog"), STOP, "running", After::ForGood),
            (Some("signal"), STOP, "running", After::ForGood),
            // systemctl restart.
            (success, RESTART, "running", After::Restart),
            (success, BOTH, "running", After::Restart),
            (Some("timeout"), RESTART, "running", again),
            // A start that failed: the program is broken, the configuration bad.
            (Some("exit-code"), START, "running", again),
            // Restart=, without anybody's job.
            (Some("exit-code"), "", "running", failed),
            (Some("watchdog"), OTHER, "running", failed),
            (
                success,
                "",
                "running",
                After::Nobody("nobody has asked to stop the agent"),
            ),
            (
                success,
                OTHER,
                "running",
                After::Nobody("nobody has asked to stop the agent"),
            ),
            (Some("start-limit-hit"), "", "running", After::ForGood),
            // Reboot and poweroff stop every unit.
            (success, STOP, "stopping", shuts_down),
            (Some("timeout"), STOP, "stopping", shuts_down),
        ];
        for (result, jobs, system, expected) in table {
            let stopping = stopping(result, jobs, system);
            assert_eq!(stopping.after(UNIT), expected, "{stopping:?}");
        }
    }

    /// Only a process that follows at once takes the listeners back; else the port is closed, not silent.
    #[test]
    fn the_listeners_stay_for_a_planned_restart_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("notify");
        let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let notifier = Notifier::new(Some(path.into()), None);
        let table = [
            (Some("success"), RESTART, "running", false),
            (Some("success"), STOP, "running", true),
            (Some("success"), STOP, "stopping", true),
            (Some("exit-code"), START, "running", true),
            (Some("exit-code"), "", "running", true),
        ];
        for (result, jobs, system, removed) in table {
            let stopping = stopping(result, jobs, system);
            stopping
                .release_listeners(&notifier, &mut Vec::new())
                .unwrap();
            let mut text = [0; 100];
            let said = socket.recv(&mut text).map(|length| &text[..length]);
            let expected: &[u8] = b"FDSTOREREMOVE=1\nFDNAME=harbor-pilot\n";
            assert_eq!(said.ok(), removed.then_some(expected), "{stopping:?}");
        }
    }
}
