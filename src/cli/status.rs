//! `harbor-pilot status`: asks the running agent and prints what it says.

pub(in crate::cli) mod node;
mod projects;
mod render;

pub use render::render;
pub(in crate::cli) use render::{Cell, Color, Page, plain};

use super::json;
use crate::admin::{Status, Verdict, judge};
use crate::lifecycle::spawn_detached;
use crate::printable::printable;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// The agent answers from memory: what takes longer hangs.
const LIMIT: Duration = Duration::from_secs(2);

/// Between two looks of `--watch`.
const PAUSE: Duration = Duration::from_secs(2);

/// More than any real status.
const BODY_BYTES: usize = 4 * 1024 * 1024;

/// Clears the screen and goes to its top.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// `[server] admin`; `None`: it is off.
    pub admin: Option<SocketAddr>,
    /// Again and again, until interrupted.
    pub watch: bool,
    /// For programs: one document, or one per line with `watch`.
    pub json: bool,
    /// ANSI colours: standard output is a terminal.
    pub color: bool,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration says so.
    #[error(
        "the admin endpoint is off: set admin under [server] in the configuration, such as admin = \"127.0.0.1:291\""
    )]
    Off,
    /// No connection to the admin endpoint.
    #[error(
        "no agent answers at {0}: {1}\nIs it running? See systemctl status harbor-pilot, or whether --config names the file that it uses."
    )]
    Unreachable(SocketAddr, #[source] io::Error),
    /// It accepts connections and does not answer.
    #[error("the agent at {0} did not answer within 2 s")]
    Timeout(SocketAddr),
    /// Another program has the port.
    #[error("what answers at {0} is not this agent: {1}")]
    NotTheAgent(SocketAddr, String),
    /// The report could not be written.
    #[error("writing the report")]
    Output(#[source] io::Error),
    /// No threads could be started.
    #[error("starting the runtime")]
    Runtime(#[source] io::Error),
}

/// Runs the command: the report to `out`, why there is none to `errors`. Returns the exit status: 0 all ready,
/// 1 degraded or down, 2 not reachable. With `watch` it only ends when `out` is closed.
pub fn run(arguments: Arguments, out: &mut dyn Write, errors: &mut dyn Write) -> u8 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime);
    let result = runtime.and_then(|runtime| {
        if arguments.watch {
            runtime.block_on(watch(arguments, out))
        } else {
            runtime.block_on(once(arguments, out))
        }
    });
    match result {
        Ok(Verdict::Ready) => 0,
        Ok(Verdict::Degraded | Verdict::Down) => 1,
        Err(error) => {
            // There is nowhere else to say it.
            let _ = writeln!(errors, "{error}");
            2
        }
    }
}

async fn once(arguments: Arguments, out: &mut dyn Write) -> Result<Verdict, Error> {
    let status = fetch(arguments.admin.ok_or(Error::Off)?).await?;
    let text = if arguments.json {
        json::pretty(&status)
    } else {
        render(&status, arguments.color)
    };
    print(out, &text)?;
    Ok(judge(&status).0)
}

async fn watch(arguments: Arguments, out: &mut dyn Write) -> Result<Verdict, Error> {
    let admin = arguments.admin.ok_or(Error::Off)?;
    loop {
        let text = match (fetch(admin).await, arguments.json) {
            (Ok(status), true) => json::line(&status),
            (Ok(status), false) => format!("{CLEAR}{}", render(&status, arguments.color)),
            // The agent may be restarting: the next look tells.
            (Err(error), true) => json::line(&serde_json::json!({ "error": error.to_string() })),
            (Err(error), false) => format!("{CLEAR}{error}\n"),
        };
        print(out, &text)?;
        sleep(PAUSE).await;
    }
}

fn print(out: &mut dyn Write, text: &str) -> Result<(), Error> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(Error::Output)
}

/// Asks the agent, for at most two seconds.
///
/// # Errors
/// [`Error`]: no agent there, none that answers in time, another program, another version.
pub async fn fetch(admin: SocketAddr) -> Result<Status, Error> {
    match timeout(LIMIT, ask(admin)).await {
        Ok(result) => result,
        Err(_) => Err(Error::Timeout(admin)),
    }
}

async fn ask(admin: SocketAddr) -> Result<Status, Error> {
    let stream = TcpStream::connect(admin).await;
    let stream = stream.map_err(|error| Error::Unreachable(admin, error))?;
    // Whoever it is gets no say over the terminal.
    let other = |why: String| Error::NotTheAgent(admin, printable(&why).into_owned());
    let broken = |error: hyper::Error| other(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    spawn_detached("status connection", async move {
        // Its end shows in the request.
        let _ = connection.await;
    });
    let request = Request::get("/status")
        .header(header::HOST, admin.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(|error| other(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    if response.status() != StatusCode::OK {
        let status = response.status();
        return Err(other(format!("it answered {status}")));
    }
    let body = Limited::new(response.into_body(), BODY_BYTES)
        .collect()
        .await;
    let body = body.map_err(|error| other(error.to_string()))?;
    serde_json::from_slice(&body.to_bytes())
        .map_err(|error| other(format!("its status cannot be read: {error}")))
}

#[cfg(test)]
mod tests;
