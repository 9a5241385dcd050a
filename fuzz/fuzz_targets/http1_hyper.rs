//! HTTP/1.1 as the agent reads it beside hyper, both directions (tests/http1/oracle.rs).

#![no_main]

#[path = "../../tests/http1/oracle.rs"]
mod oracle;

use libfuzzer_sys::fuzz_target;
use oracle::Oracle;

thread_local! {
    static ORACLE: Oracle = Oracle::new();
}

fuzz_target!(|bytes: &[u8]| {
    let Some((style, bytes)) = bytes.split_first() else {
        return;
    };
    ORACLE.with(|oracle| match style % 3 {
        0 => oracle.requests(bytes),
        kind => oracle.response(bytes, kind == 2),
    });
});
