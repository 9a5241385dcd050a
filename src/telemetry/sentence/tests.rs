//! Tests of telemetry/sentence.

use super::*;
use crate::telemetry::Text;
use crate::telemetry::tests::record;

#[test]
fn sentences() {
    let base = record;
    let table: [(AccessRecord, &str); 12] = [
        (
            base(),
            "blob docker.io/library/nginx@sha256:ab12ab12ab12… 200 served by replica/203.0.113.7:443 in 35 ms, 12.3 MiB",
        ),
        (
            AccessRecord {
                outcome: RequestOutcome::Direct,
                tier: "upstream".into(),
                kind: "manifest",
                reference: "1.27".into(),
                bytes: 900,
                ..base()
            },
            "manifest docker.io/library/nginx:1.27 200 served directly by upstream/203.0.113.7:443 in 35 ms, 900 B",
        ),
        (
            AccessRecord {
                attempts: 0,
                kind: "manifest",
                reference: "1.27".into(),
                bytes: 900,
                ..base()
            },
            "manifest docker.io/library/nginx:1.27 200 served by replica/203.0.113.7:443 from memory in 35 ms, 900 B",
        ),
        (
            AccessRecord {
                attempts: 0,
                tier: Text::default(),
                endpoint: Text::default(),
                bytes: 0,
                ..base()
            },
            "blob docker.io/library/nginx@sha256:ab12ab12ab12… 200 served from memory in 35 ms",
        ),
        (
            AccessRecord {
                outcome: RequestOutcome::Failover,
                attempts: 3,
                duration: Duration::from_millis(1234),
                ..base()
            },
            "blob docker.io/library/nginx@sha256:ab12ab12ab12… 200 after failover (3 attempts) served by replica/203.0.113.7:443 in 1.2 s, 12.3 MiB",
        ),
        (
            AccessRecord {
                outcome: RequestOutcome::Failed,
                status: 503,
                attempts: 4,
                tier: "".into(),
                endpoint: Text::default(),
                bytes: 0,
                error: "replica: timeout; core: refused".to_owned(),
                ..base()
            },
            "blob docker.io/library/nginx@sha256:ab12ab12ab12… 503 failed after 4 attempts in 35 ms: replica: timeout; core: refused",
        ),
        (
            AccessRecord {
                outcome: RequestOutcome::Refused,
                status: 404,
                registry: None,
                kind: "other",
                method: "GET",
                repository: "\u{1b}[31m".into(),
                reference: Text::default(),
                bytes: 0,
                ..base()
            },
            r"other \u{1b}[31m 404 refused in 35 ms",
        ),
        (
            AccessRecord {
                outcome: RequestOutcome::NotFound,
                status: 404,
                reference: "nope".into(),
                bytes: 0,
                ..base()
            },
            "blob docker.io/library/nginx:nope 404 not found by replica/203.0.113.7:443 in 35 ms",
        ),
        (
            AccessRecord {
                outcome: RequestOutcome::Stale,
                bytes: 0,
                ..base()
            },
            "blob docker.io/library/nginx@sha256:ab12ab12ab12… 200 stale, served from disk in 35 ms",
        ),
        (
            AccessRecord {
                outcome: RequestOutcome::Resumed,
                resumes: 2,
                bytes: 1 << 30,
                duration: Duration::from_secs(65),
                ..base()
            },
            "blob docker.io/library/nginx@sha256:ab12ab12ab12… 200 resumed 2 times, served by replica/203.0.113.7:443 in 1 min 5 s, 1.0 GiB",
        ),
        (
            AccessRecord {
                outcome: RequestOutcome::ClientClosed,
                endpoint: Text::default(),
                reference: "sha256:ab".into(),
                bytes: 1024,
                ..base()
            },
            "blob docker.io/library/nginx@sha256:ab 200 client closed early, served by replica in 35 ms, 1.0 KiB",
        ),
        (
            AccessRecord {
                kind: "other",
                repository: Text::default(),
                ..base()
            },
            "ping GET 200 in 35 ms",
        ),
    ];
    for (record, expected) in table {
        let mut text = String::new();
        access(&mut text, &record);
        assert_eq!(text, expected);
    }
}

#[test]
fn nobody_turns_a_line_around() {
    let mut text = String::new();
    let error = "core: denied (\u{202e}evil\u{2028}\u{9b}31m)".to_owned();
    access(&mut text, &AccessRecord { error, ..record() });
    assert!(
        text.ends_with(r"12.3 MiB: core: denied (\u{202e}evil\u{2028}\u{9b}31m)"),
        "{text}"
    );
}

#[test]
fn durations_and_sizes() {
    for (millis, text) in [
        (0, "0 ms"),
        (999, "999 ms"),
        (1000, "1.0 s"),
        (9_999, "9.9 s"),
        (59_999, "59 s"),
        (60_000, "1 min 0 s"),
        (3_600_000, "1 h 0 min"),
        (90_000_000, "1 d 1 h"),
    ] {
        assert_eq!(human_duration(Duration::from_millis(millis)), text);
    }
    for (seconds, text) in [
        (0, "0 ms"),
        (5 * 3600 + 59, "5 h 0 min"),
        (86_400, "1 day"),
        (14 * 86_400 + 1, "14 days"),
    ] {
        assert_eq!(human_days(Duration::from_secs(seconds)), text);
    }
    for (bytes, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (u64::MAX, "16777215.9 TiB"),
    ] {
        assert_eq!(human_bytes(bytes), text);
    }
}
