//! The other end of the sources' standard input and output.

use crate::lab::Lab;
use crate::sources::{Asked, Order};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// No order takes longer, on a machine that is busy with other things as well.
const PATIENCE: Duration = Duration::from_secs(120);

/// The process with the sources. It ends with the value.
pub(crate) struct Control {
    child: Child,
    orders: Option<ChildStdin>,
    words: Receiver<String>,
    seen: bool,
    /// The last line that was no word of the protocol.
    answer: String,
}

impl Control {
    /// Starts it inside the laboratory's network, and has its authority trusted.
    pub(crate) fn start(lab: &Lab) -> Self {
        let ca = lab.scratch("sources").join("ca.pem");
        let program = std::env::current_exe().expect("this program has a path");
        let mut child = lab
            .command(program)
            .arg("sources")
            .arg(&ca)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let orders = child.stdin.take();
        let output = child.stdout.take().expect("it was asked for");
        let (sender, words) = sync_channel(64);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut control = Self {
            child,
            orders,
            words,
            seen: false,
            answer: String::new(),
        };
        control.wait_for_ok();
        lab.trust(&std::fs::read_to_string(ca).expect("the sources wrote their authority"));
        control
    }

    /// Has an order carried out.
    pub(crate) fn tell(&mut self, order: &Order) {
        let mut line = serde_json::to_string(order).expect("an order is JSON");
        line.push('\n');
        if matches!(order, Order::Watch { .. }) {
            self.seen = false;
        }
        let orders = self.orders.as_mut().expect("open until the end");
        orders
            .write_all(line.as_bytes())
            .expect("the sources are alive");
        self.wait_for_ok();
    }

    /// What was asked since the last [`Order::Watch`].
    #[allow(dead_code, reason = "the matrix asks for it, the chaos suite does not")]
    pub(crate) fn asked(&mut self) -> Vec<Asked> {
        self.tell(&Order::Tell);
        serde_json::from_str(&self.answer).expect("the sources say JSON")
    }

    /// Whether the request that is watched for has come.
    pub(crate) fn has_seen(&mut self) -> bool {
        while let Ok(word) = self.words.try_recv() {
            self.seen |= word == "seen";
        }
        self.seen
    }

    fn wait_for_ok(&mut self) {
        loop {
            let word = self
                .words
                .recv_timeout(PATIENCE)
                .expect("the sources answer");
            match word.as_str() {
                "ok" => break,
                "seen" => self.seen = true,
                _ => self.answer = word,
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The end of its input is the end of the process.
        self.orders = None;
        drop(self.child.wait());
    }
}
