//! Messages that are nearly HTTP/1.1: mostly usual parts, some odd ones, and then half of them damaged.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};

/// Up to three requests one after the other, whatever their bodies.
pub(crate) fn requests() -> impl Strategy<Value = Vec<u8>> {
    let method = mostly(
        &["GET", "HEAD", "POST"],
        &["CONNECT", "OPTIONS", "g", "G(T", "PRI", ""],
    );
    let target = mostly(
        &["/v2/", "/v2/a/manifests/1?ns=docker.io"],
        &[
            "*",
            "http://a.example/v2/",
            "a.example:443",
            "/v2/%00",
            "/v2/\"<>",
            "/v2/a|b",
            "//a/b",
            "?",
            "/v2/#f",
            "/\u{e9}",
        ],
    );
    let version = mostly(
        &["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"],
        &["HTTP/2.0", "HTTP/1.2", "http/1.1", ""],
    );
    let space = mostly(&[" "], &["  ", "\t"]);
    let line = (method, space, target, version, line_end()).prop_map(
        |(method, space, target, version, end)| format!("{method}{space}{target} {version}{end}"),
    );
    let request = (line, fields(), body()).prop_map(joined);
    damaged(vec(request, 1..4).prop_map(|all| all.concat()))
}

/// A response, up to two interim ones before it, and perhaps something behind it.
pub(crate) fn response() -> impl Strategy<Value = Vec<u8>> {
    let interim = select(vec![
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    ]);
    let interim = prop_oneof![
        3 => Just(String::new()),
        1 => vec(interim, 1..3).prop_map(|all| all.concat()),
    ];
    let version = mostly(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"], &["HTTP/2.0", "ICY"]);
    let status = mostly(
        &["200", "206", "401", "404", "503", "204", "304"],
        &["100", "101", "000", "099", "999", "1000", "20", "2x0"],
    );
    let reason = mostly(&[" OK", ""], &[" ", " \u{e9}", " a\tb"]);
    let line = (version, status, reason, line_end())
        .prop_map(|(version, status, reason, end)| format!("{version} {status}{reason}{end}"));
    let response = (line, fields(), body()).prop_map(joined);
    let message = (interim, response).prop_map(|(interim, response)| {
        let mut all = interim.into_bytes();
        all.extend_from_slice(&response);
        all
    });
    damaged(message)
}

fn joined((line, fields, body): (String, String, String)) -> Vec<u8> {
    format!("{line}{fields}\r\n{body}").into_bytes()
}

/// One of the usual texts; of twenty one that is not.
fn mostly(
    usual: &'static [&'static str],
    odd: &'static [&'static str],
) -> impl Strategy<Value = &'static str> {
    prop_oneof![19 => select(usual), 1 => select(odd)]
}

fn fields() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        vec(field(), 1..3).prop_map(|all| all.concat()),
        vec(field(), 3..7).prop_map(|all| all.concat()),
    ]
}

fn field() -> impl Strategy<Value = String> {
    let length = mostly(
        &["0", "5", "5", "05"],
        &[
            "+5",
            "-1",
            "5, 5",
            "5,6",
            "",
            " ",
            "5 5",
            "0x5",
            "5;",
            "9223372036854775807",
            "18446744073709551614",
            "18446744073709551615",
            "18446744073709551616",
            "1e3",
            "\u{665}",
        ],
    );
    let coding = mostly(
        &["chunked", "Chunked", "gzip, chunked", "chunked\t"],
        &[
            "chunked, gzip",
            "chunked, chunked",
            "identity",
            "gzip",
            "",
            ",chunked",
            "chunked,",
            "xchunked",
            "chunked;q=1",
            "\"chunked\"",
            "\u{b}chunked",
        ],
    );
    let option = select(vec![
        "close",
        "Close",
        "keep-alive",
        "close, keep-alive",
        "keep-alive, close",
        "upgrade",
        "closed",
        "",
        "keep-alive,",
    ]);
    let other = mostly(
        &[
            "Host: a.example",
            "Accept: */*",
            "Expect: 100-continue",
            "Upgrade: h2c",
            "X: a\tb",
            "X:",
            "Trailer: Y",
            "X: \u{e9}",
        ],
        &[
            "X: \u{1}",
            "X : 1",
            ": 1",
            "X",
            " folded",
            "X\u{e9}: 1",
            "X\0: 1",
        ],
    );
    let named = |usual: &'static [&'static str], odd: &'static [&'static str]| mostly(usual, odd);
    let line = prop_oneof![
        3 => (named(&["Content-Length"], &["content-length", "Content-Length ", "Content_Length"]), length)
            .prop_map(|(name, value)| format!("{name}: {value}")),
        3 => (named(&["Transfer-Encoding"], &["transfer-encoding", "Transfer-Encoding\t", "TransferEncoding"]), coding)
            .prop_map(|(name, value)| format!("{name}: {value}")),
        2 => (named(&["Connection"], &["connection", "Proxy-Connection"]), option)
            .prop_map(|(name, value)| format!("{name}: {value}")),
        3 => other.prop_map(str::to_owned),
    ];
    (line, line_end()).prop_map(|(line, end)| format!("{line}{end}"))
}

fn body() -> impl Strategy<Value = String> {
    let chunks = vec(chunk(), 1..4).prop_map(|all| all.concat());
    prop_oneof![
        2 => Just(String::new()),
        2 => Just("hello".to_owned()),
        1 => Just("hello, and more than was said".to_owned()),
        2 => Just("5\r\nhello\r\n0\r\n\r\n".to_owned()),
        3 => chunks,
    ]
}

fn chunk() -> impl Strategy<Value = String> {
    let size = mostly(
        &["5", "5", "05", "5;a=b", "5 ", "5\t;a", "0", "0"],
        &[
            "-5",
            "+5",
            "0x5",
            "",
            "g",
            "10000000000000000",
            "ffffffffffffffff",
            "5;\u{1}",
            "5;a\n",
            "5_",
        ],
    );
    let tail = mostly(
        &["hello\r\n", "hello\r\n", "\r\n", "Y: 1\r\n\r\n"],
        &["hello", "hello\n", "helloX\r\n", "Y\r\n\r\n"],
    );
    (size, line_end(), tail).prop_map(|(size, end, tail)| format!("{size}{end}{tail}"))
}

fn line_end() -> impl Strategy<Value = &'static str> {
    prop_oneof![60 => Just("\r\n"), 1 => select(vec!["\n", "\r", "\r\r\n", "\n\r"])]
}

/// Half of them as they are; the others with a few bytes changed, put in, taken out, or with their end cut off.
fn damaged(message: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), 0..4u8, interesting());
    let changes = prop_oneof![Just(Vec::new()), vec(change, 1..4)];
    (message, changes).prop_map(|(mut bytes, changes)| {
        for (place, kind, byte) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = place.index(bytes.len());
            match kind {
                0 => bytes.splice(at..=at, [byte]).for_each(drop),
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

fn interesting() -> impl Strategy<Value = u8> {
    let odd = vec![
        b'\r', b'\n', b' ', b'\t', b':', b',', b';', b'0', 0, 0x7f, 0x80, 0xff,
    ];
    prop_oneof![select(odd), any::<u8>()]
}
