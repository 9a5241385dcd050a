//! Which answers leave a connection that can be used again. The connection's own task would notice too, but only
//! a moment later.

use super::may_be_kept;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Response, Version};
use std::convert::Infallible;

type Headers = &'static [(&'static str, &'static str)];

#[test]
fn only_what_both_sides_can_tell_the_end_of_is_kept() {
    let rows: [(Version, Headers, &str, bool); 10] = [
        (Version::HTTP_11, &[("content-length", "2")], "ok", true),
        (
            Version::HTTP_11,
            &[("transfer-encoding", "chunked")],
            "ok",
            true,
        ),
        (Version::HTTP_11, &[], "", true),
        (Version::HTTP_11, &[], "ok", false),
        (Version::HTTP_10, &[("content-length", "2")], "ok", false),
        (
            Version::HTTP_10,
            &[("content-length", "2"), ("connection", "keep-alive")],
            "ok",
            false,
        ),
        (
            Version::HTTP_11,
            &[("content-length", "2"), ("connection", "close")],
            "ok",
            false,
        ),
        (
            Version::HTTP_11,
            &[("content-length", "2"), ("connection", "x-y,  CLOSE")],
            "ok",
            false,
        ),
        (
            Version::HTTP_11,
            &[
                ("content-length", "2"),
                ("connection", "x"),
                ("connection", "close"),
            ],
            "ok",
            false,
        ),
        (
            Version::HTTP_11,
            &[
                ("content-length", "2"),
                ("connection", "closely, keep-alive"),
            ],
            "ok",
            true,
        ),
    ];
    for (version, headers, body, expected) in rows {
        let mut response = Response::builder().version(version);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let response = response.body(Full::new(Bytes::from(body))).unwrap();
        let found = may_be_kept(&response);
        assert_eq!(found, expected, "{version:?} {headers:?} {body:?}");
    }
}

#[test]
fn a_body_of_unknown_length_is_not_its_own_end() {
    let frames = futures_util::stream::empty::<Result<Frame<Bytes>, Infallible>>();
    let response = Response::new(StreamBody::new(frames).boxed_unsync());
    assert!(!may_be_kept(&response));
}
