//! A child process with an end to everything after a limit, and what it said.

use crate::printable::blanked;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

/// Of its output.
const OUTPUT_BYTES: usize = 16 * 1024;
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(20);

/// How a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::doctor) struct Ran {
    /// It ended well, within its limit.
    pub succeeded: bool,
    /// The last of its words, on one line.
    pub said: String,
}

/// Runs a child to its end; at the limit it is asked to end, with whatever it has started, and a second later made to.
pub(super) fn run(mut command: Command, limit: Duration) -> Ran {
    let failed = |what: String| Ran {
        succeeded: false,
        said: what,
    };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = match command.process_group(0).spawn() {
        Ok(child) => child,
        Err(error) => {
            let program = Path::new(command.get_program()).display().to_string();
            return failed(format!("cannot start {program}: {error}"));
        }
    };
    let words = child.stderr.take().map(Words::read_from);
    let status = wait(&mut child, limit);
    let words = words.map(Words::so_far).unwrap_or_default();
    let words = one_line(&String::from_utf8_lossy(&words));
    match status {
        Some(status) if status.success() => Ran {
            succeeded: true,
            said: words,
        },
        Some(status) if words.is_empty() => failed(status.to_string()),
        Some(_) => failed(words),
        None => failed(format!(
            "not finished within {} s: {words}",
            limit.as_secs()
        )),
    }
}

/// What a child says, read beside it so that a full pipe stops nobody. Whoever it has started may hold the pipe for
/// longer than it lives: nobody waits for the end.
struct Words {
    said: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

// === impl Words ===

impl Words {
    fn read_from(mut pipe: ChildStderr) -> Self {
        let said = Arc::<Mutex<Vec<u8>>>::default();
        let heard = said.clone();
        let reader = thread::spawn(move || {
            let mut chunk = [0; 1024];
            while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                let mut said = heard.lock().unwrap_or_else(PoisonError::into_inner);
                said.extend_from_slice(chunk.get(..length).unwrap_or_default());
                // The end counts.
                let over = said.len().saturating_sub(OUTPUT_BYTES);
                said.drain(..over);
            }
        });
        Self { said, reader }
    }

    fn so_far(self) -> Vec<u8> {
        let begun = Instant::now();
        while !self.reader.is_finished() && begun.elapsed() < Duration::from_millis(300) {
            sleep(PAUSE);
        }
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// `None`: it was ended.
fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    let end = |child: &Child, signal| {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        // Gone in this moment: also good.
        let _ = group.map(|group| kill_process_group(group, signal));
    };
    while begun.elapsed() < limit {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) => sleep(PAUSE),
            Err(_) => break,
        }
    }
    end(child, Signal::TERM);
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_secs(1) && matches!(child.try_wait(), Ok(None)) {
        sleep(PAUSE);
    }
    end(child, Signal::KILL);
    let _ = child.wait();
    None
}

/// The end of what was said: programs give the reason last.
pub(super) fn one_line(text: &str) -> String {
    const SHOWN: usize = 300;
    let plain: Vec<char> = blanked(text).collect();
    let from = plain.len().saturating_sub(SHOWN);
    let tail: String = plain.get(from..).unwrap_or_default().iter().collect();
    tail.split_whitespace().collect::<Vec<_>>().join(" ")
}
