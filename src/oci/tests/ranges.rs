//! Range and Content-Range headers.

use crate::oci::{ContentRange, RangeSpec, Ranges};
use proptest::prelude::*;

/// First and last byte asked for.
type Range = (u64, Option<u64>);
/// First and last byte sent, and the total.
type Sent = (u64, u64, Option<u64>);

/// The range that a header asks for, if it is one.
fn single(header: &str) -> Option<RangeSpec> {
    Ranges::parse(header)?.single()
}

#[test]
fn ranges_of_requests() {
    let rows: &[(&str, Option<Range>)] = &[
        ("bytes=0-", Some((0, None))),
        ("bytes=5-9", Some((5, Some(9)))),
        ("bytes=9-9", Some((9, Some(9)))),
        ("Bytes=0-1", Some((0, Some(1)))),
        (" bytes=1-\t", Some((1, None))),
        ("bytes=007-8", Some((7, Some(8)))),
        ("bytes=18446744073709551615-", Some((u64::MAX, None))),
        ("bytes=18446744073709551616-", None),
        ("bytes=0-18446744073709551616", None),
        ("bytes=9-5", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes", None),
        ("", None),
        ("bytes=0", None),
        ("bytes=0-1,3-4", None),
        ("bytes=0-1-2", None),
        ("bytes=0 - 1", None),
        ("bytes =0-1", None),
        ("bytes=+0-1", None),
        ("bytes=0x0-1", None),
        ("bytes=٠-١", None),
        ("items=0-1", None),
        ("\u{a0}bytes=0-1", None),
    ];
    for (text, expected) in rows {
        let expected = expected.map(|(first, last)| RangeSpec::From { first, last });
        assert_eq!(single(text), expected, "{text:?}");
    }
}

#[test]
fn ranges_within_a_body() {
    let rows = [
        (0, None, 10, Some((0, 9))),
        (0, Some(0), 10, Some((0, 0))),
        (3, Some(5), 10, Some((3, 5))),
        (9, None, 10, Some((9, 9))),
        (9, Some(u64::MAX), 10, Some((9, 9))),
        (10, None, 10, None),
        (10, Some(20), 10, None),
        (0, None, 0, None),
        (0, Some(0), 0, None),
        (0, None, u64::MAX, Some((0, u64::MAX - 1))),
        (u64::MAX, None, u64::MAX, None),
    ];
    for (first, last, total, expected) in rows {
        let range = RangeSpec::From { first, last };
        let expected = expected.map(|(first, last)| ContentRange {
            first,
            last,
            total: Some(total),
        });
        assert_eq!(range.within(total), expected, "{range:?} of {total}");
    }
}

#[test]
fn content_ranges() {
    let rows: &[(&str, Option<Sent>)] = &[
        ("bytes 0-0/1", Some((0, 0, Some(1)))),
        ("bytes 5-9/10", Some((5, 9, Some(10)))),
        ("bytes 5-9/*", Some((5, 9, None))),
        ("BYTES 5-9/10", Some((5, 9, Some(10)))),
        (" bytes 5-9/10 ", Some((5, 9, Some(10)))),
        (
            "bytes 0-18446744073709551614/18446744073709551615",
            Some((0, u64::MAX - 1, Some(u64::MAX))),
        ),
        (
            "bytes 0-18446744073709551614/*",
            Some((0, u64::MAX - 1, None)),
        ),
        // Its length is 2^64.
        ("bytes 0-18446744073709551615/*", None),
        ("bytes 0-18446744073709551616/*", None),
        ("bytes 0-1/18446744073709551616", None),
        ("bytes 99999999999999999999-99999999999999999999/*", None),
        ("bytes 5-9/9", None),
        ("bytes 5-9/0", None),
        ("bytes 9-5/10", None),
        ("bytes */10", None),
        ("bytes */*", None),
        ("bytes 5-/10", None),
        ("bytes -9/10", None),
        ("bytes 5-9", None),
        ("bytes 5-9/", None),
        ("bytes 5-9/10/11", None),
        ("bytes 5-9/-10", None),
        ("bytes 5-9/+10", None),
        ("bytes  5-9/10", None),
        ("bytes 5 - 9/10", None),
        ("bytes=5-9/10", None),
        ("items 5-9/10", None),
        ("bytes", None),
        ("", None),
        ("bytes 5-9/10, bytes 0-1/10", None),
        ("bytes ５-９/10", None),
    ];
    for (text, expected) in rows {
        let parsed = text.parse::<ContentRange>().ok();
        let parsed = parsed.map(|range| (range.first, range.last, range.total));
        assert_eq!(parsed, *expected, "{text:?}");
    }
}

#[test]
fn lengths() {
    for (text, length) in [
        ("bytes 0-0/1", 1),
        ("bytes 5-9/*", 5),
        ("bytes 0-18446744073709551614/*", u64::MAX),
    ] {
        assert_eq!(text.parse::<ContentRange>().unwrap().length(), length);
    }
}

proptest! {
    #[test]
    fn byte_range_parse_header(first: u64, last: Option<u64>) {
        let range = RangeSpec::From { first, last };
        let valid = last.is_none_or(|last| first <= last);
        prop_assert_eq!(single(&range.header()), valid.then_some(range));
    }

    #[test]
    fn content_range_parse_header(first: u64, last: u64, total: Option<u64>) {
        let range = ContentRange { first, last, total };
        let valid = first <= last && last < total.unwrap_or(u64::MAX);
        prop_assert_eq!(range.header().parse::<ContentRange>().ok(), valid.then_some(range));
    }

    #[test]
    fn what_is_within_fits(first in 0_u64..50, last in proptest::option::of(0_u64..50), total in 0_u64..50) {
        let range = RangeSpec::From { first, last };
        let wanted = (first..=last.unwrap_or(u64::MAX)).take_while(|at| *at < total).count() as u64;
        match range.within(total) {
            Some(found) => {
                prop_assert_eq!(found.length(), wanted);
                prop_assert_eq!(found.header().parse::<ContentRange>(), Ok(found));
            }
            None => prop_assert_eq!(wanted, 0),
        }
    }
}

#[test]
fn lists_of_ranges_of_requests() {
    let from = |first, last| RangeSpec::From { first, last };
    let shown = |header: &str, total| {
        let parts = Ranges::parse(header)?.within(total)?;
        let parts = parts.iter().map(ContentRange::header);
        Some(parts.collect::<Vec<_>>().join(", "))
    };
    for (header, single) in [
        ("bytes=5-9", Some(from(5, Some(9)))),
        ("bytes=5-", Some(from(5, None))),
        ("bytes=-9", Some(RangeSpec::Last(9))),
        ("bytes=-0", Some(RangeSpec::Last(0))),
        ("bytes=5-9,", Some(from(5, Some(9)))),
        ("Bytes= ,\t5-9 ,", Some(from(5, Some(9)))),
        ("bytes=5-9,10-", None),
    ] {
        let ranges = Ranges::parse(header);
        assert_eq!(ranges.expect(header).single(), single, "{header}");
    }
    for none in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=0-1,x",
        "bytes=0-1,9-5",
        "bytes=0-1 3-4",
        "bytes=--5",
        "bytes=-18446744073709551616",
        "items=0-1",
    ] {
        assert_eq!(Ranges::parse(none), None, "{none}");
    }
    let table = [
        ("bytes=0-1,-2", 10, Some("bytes 0-1/10, bytes 8-9/10")),
        ("bytes=-20", 10, Some("bytes 0-9/10")),
        ("bytes=20-,-1", 10, Some("bytes 9-9/10")),
        ("bytes=20-,-0", 10, Some("")),
        ("bytes=-18446744073709551615", 10, Some("bytes 0-9/10")),
        ("bytes=0-,0-0", 10, None),
        ("bytes=-1", 0, Some("")),
    ];
    for (header, total, due) in table {
        assert_eq!(shown(header, total).as_deref(), due, "{header} of {total}");
    }
    let many = |count: usize| format!("bytes={}", vec!["0-0"; count].join(","));
    assert!(Ranges::parse(&many(1024)).is_some());
    assert!(Ranges::parse(&many(1025)).is_none());
}
