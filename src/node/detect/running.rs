//! What the running containerd says of itself: with which directories of host configurations its CRI plugin was started.
//! Its configuration's file may have changed since, and nothing else tells what was read.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// It answers from memory, in milliseconds.
const LIMIT: Duration = Duration::from_secs(1);
/// The answer holds the whole configuration of the plugin.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// A StatusRequest with `verbose` (runtime.v1, api.proto), as gRPC frames it.
const REQUEST: &[u8] = &[0, 0, 0, 0, 2, 0x08, 0x01];
/// gRPC's word for a service that nobody offers.
const UNIMPLEMENTED: &[u8] = b"12";

/// The state of the CRI plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Running {
    /// It reads these directories.
    Reads(Vec<PathBuf>),
    /// containerd runs without it: no pod's image can be pulled.
    WithoutPlugin,
}

/// Asks; `None`: it is not to be learned (nobody answers, or the version does not say). Blocks for a second at most.
pub(super) fn ask(socket: &Path) -> Option<Running> {
    if !socket.exists() {
        return None;
    }
    let ask = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().ok()?;
        runtime.block_on(async { timeout(LIMIT, status(socket)).await.ok()? })
    };
    // The caller may be within a runtime of its own.
    std::thread::scope(|scope| scope.spawn(ask).join().ok()?)
}

async fn status(socket: &Path) -> Option<Running> {
    let stream = UnixStream::connect(socket).await.ok()?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .ok()?;
    let request = Request::post("http://localhost/runtime.v1.RuntimeService/Status")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(REQUEST)))
        .ok()?;
    let answer = async {
        let response = sender.send_request(request).await.ok()?;
        let code = response.headers().get("grpc-status").cloned();
        let body = Limited::new(response.into_body(), ANSWER_BYTES);
        let body = body.collect().await.ok()?;
        let code = code.or_else(|| body.trailers()?.get("grpc-status").cloned());
        if code.is_some_and(|code| code.as_bytes() == UNIMPLEMENTED) {
            return Some(Running::WithoutPlugin);
        }
        Some(Running::Reads(roots(&body.to_bytes())?))
    };
    tokio::select! {
        // Cancel safe: nothing is asked again.
        answer = answer => answer,
        _ = connection => None,
    }
}

/// `registry.configPath` of the plugin's configuration, which the answer holds as JSON.
fn roots(response: &[u8]) -> Option<Vec<PathBuf>> {
    const FIELD: &[u8] = b"\"registry\":{\"configPath\":";
    let at = response
        .windows(FIELD.len())
        .position(|window| window == FIELD)?;
    let value = response.get(at + FIELD.len()..)?;
    let mut values = serde_json::Deserializer::from_slice(value).into_iter::<String>();
    let path = values.next()?.ok()?;
    let roots = path.split(':').filter(|root| !root.is_empty());
    let roots = roots.map(|root| PathBuf::from(root.trim_end_matches('/')));
    Some(roots.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As containerd 1.6 and 1.7 frame it: the state first, which has nothing to say here.
    #[test]
    fn the_directories_are_read_from_an_answer() {
        let field = |number: u8, content: &[u8]| {
            let length = content.len();
            assert!(length < 1 << 14);
            let low = u8::try_from(length & 0x7f).unwrap() | 0x80;
            let high = u8::try_from(length >> 7).unwrap();
            [&[number << 3 | 2, low, high], content].concat()
        };
        let entry = |key: &str, value: &str| {
            let both = [field(1, key.as_bytes()), field(2, value.as_bytes())].concat();
            field(2, &both)
        };
        let answer = |config: &str| {
            let state = field(1, &field(1, b"RuntimeReady"));
            let all = [
                state,
                vec![0x18, 0x01],
                entry("golang", "\"go1.19\""),
                entry("config", config),
                entry("lastCNILoadStatus", "OK"),
            ];
            all.concat()
        };
        let table: [(&str, Option<&[&str]>); 5] = [
            (r#"{"registry":{"configPath":"/a"}}"#, Some(&["/a"])),
            (
                r#"{"registry":{"configPath":"/a/:/b"}}"#,
                Some(&["/a", "/b"]),
            ),
            (r#"{"registry":{"configPath":""}}"#, Some(&[])),
            (r#"{"other":1}"#, None),
            ("no JSON", None),
        ];
        for (config, expected) in table {
            let expected =
                expected.map(|roots| roots.iter().map(PathBuf::from).collect::<Vec<_>>());
            assert_eq!(roots(&answer(config)), expected, "{config}");
        }
        // Cut anywhere it is no answer, and no failure.
        let whole = answer(r#"{"registry":{"configPath":"/a"}}"#);
        for end in 0..whole.len() {
            let read = roots(whole.get(..end).unwrap());
            assert!(read.is_none() || read == Some(vec!["/a".into()]));
        }
    }

    #[test]
    fn nobody_there_says_nothing() {
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("containerd.sock");
        assert_eq!(ask(&socket), None);
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(ask(&socket), None, "silent");
        drop(listener);
        assert_eq!(ask(&socket), None, "refused");
    }
}
