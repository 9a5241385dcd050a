//! Range and Content-Range: what is accepted prints and reads the same, and a range within a body lies in it.

#![no_main]

use harbor_pilot::oci::{ContentRange, RangeSpec, Ranges};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // A number out of the text, so that every run looks at `within`.
    let number = text.bytes().fold(0_u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    if let Ok(range) = text.parse::<ContentRange>() {
        assert!(range.first <= range.last && range.last < u64::MAX);
        assert!(range.total.is_none_or(|total| range.last < total));
        assert_eq!(range.first + (range.length() - 1), range.last);
        assert_eq!(range.header().parse(), Ok(range));
    }
    let single = |text: &str| Ranges::parse(text)?.single();
    if let Some(range) = single(text) {
        assert_eq!(single(&range.header()), Some(range));
        if let RangeSpec::From { first, last } = range {
            assert!(last.is_none_or(|last| first <= last));
            check_within((first, last), number);
            check_within((first, last), first.saturating_add(number % 8));
        }
    }
    if let Some(parts) = Ranges::parse(text).and_then(|ranges| ranges.within(number)) {
        let bytes = parts.iter().map(ContentRange::length);
        assert!(bytes.fold(0_u64, u64::saturating_add) <= number);
        for part in parts {
            assert!(part.first <= part.last && part.last < number);
        }
    }
    let first = number % 64;
    let last = (number >> 8) % 96;
    for total in [number, (number >> 16) % 128] {
        check_within((first, None), total);
        check_within((first, Some(last)), total);
    }
});

fn check_within((first, last): (u64, Option<u64>), total: u64) {
    let Some(found) = (RangeSpec::From { first, last }).within(total) else {
        let reversed = last.is_some_and(|last| last < first);
        assert!(first >= total || reversed);
        return;
    };
    assert_eq!((found.first, found.total), (first, Some(total)));
    assert!(found.first <= found.last && found.last < total);
    assert!(last.is_none_or(|last| found.last <= last));
    assert!(found.length() >= 1 && found.length() <= total);
    assert_eq!(found.header().parse(), Ok(found));
}
