//! `harbor-pilot handover`: takes the agent out of the node's files when it stops for good (design F3). What stays
//! are the tiers that may stand there by themselves and were healthy last, and the upstream.
//!
//! Run by the unit's ExecStopPost= it finds out whether this stop is one for good: a stop job without a start job
//! while the system is not shutting down. A restart, an upgrade and a reboot write nothing. Run by hand, or by
//! OnFailure=, it does not ask.

use super::{FilesArgs, LOCK_WAIT, report};
use crate::app;
use crate::cli::FAILED;
use crate::node::files::{self, Everything, Pass, Tiers};
use crate::node::ledger::Store;
use serde_json::json;
use std::collections::BTreeSet;
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

// === impl Stopping ===

impl Stopping {
    /// Asks systemd, if the unit runs us.
    #[must_use]
    pub fn of_process(result: Option<&String>) -> Self {
        let Some(result) = result else {
            return Self::default();
        };
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
            result: Some(result.clone()),
            jobs: said(&["list-jobs", "--no-legend", "--no-pager"]),
            system: said(&["is-system-running"]),
        }
    }

    /// Whether the agent stops for good; else why not. In doubt it does not: a refused connection costs containerd
    /// nothing, a file written at every restart would.
    ///
    /// # Errors
    /// Why the files stay.
    pub fn for_good(&self, unit: &str) -> Result<(), &'static str> {
        let Some(result) = &self.result else {
            return Ok(());
        };
        if result == "start-limit-hit" {
            return Ok(());
        }
        if result != "success" {
            return Err("the agent has failed and is started again");
        }
        if self.system == "stopping" {
            return Err("the system shuts down");
        }
        let jobs = self.jobs.lines().filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            Some((words.next()?, words.next()?))
        });
        let mut stops = false;
        for (_, kind) in jobs.filter(|(name, _)| *name == unit) {
            match kind {
                "stop" => stops = true,
                _ => return Err("the agent is started again"),
            }
        }
        if stops {
            Ok(())
        } else {
            Err("nobody has asked to stop the agent")
        }
    }
}

/// Runs the command; 0: the files are handed over, or it is no stop for good; 2: something failed. Uses the last
/// accepted configuration where the files are bad.
///
/// # Errors
/// Where the report cannot be written.
pub fn run(
    args: &FilesArgs,
    stopping: &Stopping,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> io::Result<u8> {
    if let Err(why) = stopping.for_good(UNIT) {
        return say_nothing(args.json, why, stdout);
    }
    let (loaded, _) = match app::load(&args.loader) {
        Ok(loaded) => loaded,
        Err(error) => {
            writeln!(
                stderr,
                "error: {}; to take everything out: harbor-pilot restore",
                report::chain(&error)
            )?;
            return Ok(FAILED);
        }
    };
    let config = loaded.config;
    if !config.node.manage || config.tiers.is_empty() {
        return say_nothing(args.json, super::not_managed(&config), stdout);
    }
    let store = Store::new(&config.state_directory);
    let agent = files::agent_of(&config);
    let names = config.tiers.iter().map(|tier| tier.name.clone());
    // The daemon is gone: what it knew last holds.
    let tiers = Tiers {
        whole: BTreeSet::new(),
        unknown: names.collect(),
    };
    let pass = Pass {
        machine: &args.machine,
        store: &store,
        config: &config,
        agent: agent.as_deref(),
        agent_alive: false,
        stopped: true,
        tiers: &tiers,
        detected: None,
    };
    let passed = match files::run(&pass, LOCK_WAIT, false, &mut Everything) {
        Ok(passed) => passed,
        Err(error) => {
            writeln!(stderr, "error: {}", report::chain(&error))?;
            return Ok(FAILED);
        }
    };
    if args.json {
        let fields = vec![
            ("changed", json!(passed.changed() > 0)),
            ("files", report::files(&passed.plan, &passed.done, |_| None)),
            ("left", report::left(&passed.plan)),
        ];
        report::print(fields, stdout)?;
    } else {
        report::written(&passed.plan, &passed.done, stdout)?;
    }
    report::troubles(&passed.plan, &passed.done, stderr)?;
    let failed = report::has_failed(&passed.done) || report::is_stuck(&passed.plan);
    Ok(if failed { FAILED } else { 0 })
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

    #[test]
    fn only_a_stop_for_good_hands_over() {
        let stop = "  12 harbor-pilot.service stop running";
        let table = [
            // (result, jobs, system) → for good
            ((None, "", ""), true),
            ((Some("success"), stop, "running"), true),
            ((Some("success"), stop, "degraded"), true),
            (
                (
                    Some("success"),
                    "12 harbor-pilot.service restart running",
                    "running",
                ),
                false,
            ),
            (
                (
                    Some("success"),
                    "12 harbor-pilot.service stop running\n13 harbor-pilot.service start waiting",
                    "running",
                ),
                false,
            ),
            (
                (Some("success"), "12 k3s.service stop running", "running"),
                false,
            ),
            ((Some("success"), stop, "stopping"), false),
            ((Some("success"), "", ""), false),
            ((Some("watchdog"), stop, "running"), false),
            ((Some("exit-code"), "", "running"), false),
            ((Some("start-limit-hit"), "", "running"), true),
        ];
        for ((result, jobs, system), expected) in table {
            let stopping = Stopping {
                result: result.map(str::to_owned),
                jobs: jobs.to_owned(),
                system: system.to_owned(),
            };
            assert_eq!(stopping.for_good(UNIT).is_ok(), expected, "{stopping:?}");
        }
    }
}
