//! A program that was started here: it is waited for, measured with its children from /proc, and stopped.

use crate::Result;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// USER_HZ, in which /proc counts time on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A started program with everything that it forked.
pub(crate) struct Process {
    child: Child,
    what: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `log` and waits until it accepts connections on `listen`.
    pub(crate) fn start(mut command: Command, log: &Path, listen: SocketAddr) -> Result<Self> {
        let what = command.get_program().to_string_lossy().into_owned();
        let output = File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| format!("cannot start {what}: {error}"))?;
        let mut process = Self {
            child,
            what,
            log: log.to_owned(),
        };
        process.wait_for(listen)?;
        Ok(process)
    }

    fn wait_for(&mut self, listen: SocketAddr) -> Result<()> {
        // Under callgrind an agent takes 20 s.
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(listen).is_err() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let how = ended.map_or_else(|| "is silent".to_owned(), |end| end.to_string());
                let what = &self.what;
                return Err(format!("{what} does not listen on {listen} ({how}):\n{log}").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Seconds of CPU that the program and its living children have used.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let ticks = self.tree()?.into_iter().map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            // utime and stime are the fields 14 and 15; the name before them may hold blanks.
            let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            let mut fields = behind_name.split_whitespace().skip(11);
            let mut field = || fields.next().unwrap_or_default().parse::<f64>();
            Ok(field()? + field()?)
        });
        Ok(ticks.sum::<Result<f64>>()? / TICKS_PER_SECOND)
    }

    /// Resident memory of the program and its children in MiB; pages that they share count for each.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        let kib = self.tree()?.into_iter().map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = line.and_then(|line| line.split_whitespace().next());
            Ok(kib.ok_or("a process without VmRSS")?.parse::<f64>()?)
        });
        Ok(kib.sum::<Result<f64>>()? / 1024.0)
    }

    /// The program and its descendants.
    fn tree(&self) -> Result<Vec<u32>> {
        let mut children = BTreeMap::<u32, Vec<u32>>::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // It may have ended since.
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
                continue;
            };
            let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            let parent = behind_name.split_whitespace().nth(1);
            if let Some(parent) = parent.and_then(|parent| parent.parse().ok()) {
                children.entry(parent).or_default().push(pid);
            }
        }
        let mut found = vec![self.child.id()];
        let mut at = 0;
        while let Some(pid) = found.get(at) {
            found.extend(children.remove(pid).unwrap_or_default());
            at += 1;
        }
        Ok(found)
    }
}

impl Drop for Process {
    /// SIGTERM, so that nginx's master takes its workers along; SIGKILL after a minute, since callgrind writes at the end.
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let terminate = format!("kill -TERM {}", self.child.id());
        let asked = Command::new("sh").args(["-c", &terminate]).status();
        let deadline = Instant::now() + Duration::from_secs(60);
        while asked.is_ok() && Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        // It has ended, or it ends now: there is nobody left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address on loopback that nobody listens on now.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Seconds of CPU that this thread has used.
pub(crate) fn own_cpu_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().unwrap_or_default();
    Ok(nanoseconds.parse::<f64>()? / 1e9)
}
