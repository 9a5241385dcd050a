//! A child process with an end to everything after a limit, and what it said.

use crate::printable::blanked;
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What is kept of its output, in bytes.
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
    let mut words = Words {
        pipe: child.stderr.take(),
        said: Vec::new(),
    };
    if let Some(pipe) = &words.pipe {
        // A pipe can be switched.
        let _ = ioctl_fionbio(pipe, true);
    }
    let status = end_of(&mut child, limit, &mut words);
    if status.is_none() {
        end(&child, Signal::TERM);
        end_of(&mut child, Duration::from_secs(1), &mut words);
        end(&child, Signal::KILL);
        let _ = child.wait();
    }
    let words = one_line(&String::from_utf8_lossy(&words.said));
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

/// What a child says. Whoever it has started may hold the pipe for longer than it lives: nobody waits for the pipe's end.
struct Words {
    pipe: Option<ChildStderr>,
    said: Vec<u8>,
}

impl Words {
    /// Takes what stands in the pipe, so that a full one stops nobody.
    fn read(&mut self) {
        let mut chunk = [0; 4096];
        while let Some(Ok(length @ 1..)) = self.pipe.as_mut().map(|pipe| pipe.read(&mut chunk)) {
            self.said
                .extend_from_slice(chunk.get(..length).unwrap_or_default());
            // The end counts.
            let over = self.said.len().saturating_sub(OUTPUT_BYTES);
            self.said.drain(..over);
        }
    }
}

/// `None`: it has not ended by then.
fn end_of(child: &mut Child, limit: Duration, words: &mut Words) -> Option<ExitStatus> {
    let begun = Instant::now();
    loop {
        let ended = child.try_wait();
        words.read();
        match ended {
            Ok(Some(status)) => return Some(status),
            Ok(None) if begun.elapsed() < limit => sleep(PAUSE),
            _ => return None,
        }
    }
}

fn end(child: &Child, signal: Signal) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // Gone in this moment: also good.
    let _ = group.map(|group| kill_process_group(group, signal));
}

/// The end of what was said: programs give the reason last.
pub(super) fn one_line(text: &str) -> String {
    const SHOWN: usize = 300;
    let plain: Vec<char> = blanked(text).collect();
    let from = plain.len().saturating_sub(SHOWN);
    let tail: String = plain.get(from..).unwrap_or_default().iter().collect();
    tail.split_whitespace().collect::<Vec<_>>().join(" ")
}
