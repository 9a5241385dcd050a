//! What depends on what was asked for: the last bytes of a blob, and lists.

use super::*;

#[test]
fn the_last_bytes_are_taken_or_skipped_to() {
    let last = |size| Asked::Blob {
        range: Some(RangeSpec::Last(60)),
        size,
        empty: false,
    };
    for asked in [last(None), last(Some(100))] {
        let good = part("bytes 40-99/100");
        assert_eq!(by_tier(asked, &good), take(0, Some(100)));
        assert_eq!(by_tier(asked, &sized(200, 100)), take(40, Some(100)));
        let wrong = leave(Scope::Address, hard(Failure::Content), Cause::WrongRange);
        for header in ["bytes 41-99/100", "bytes 0-59/100", "bytes 40-98/100"] {
            assert_eq!(by_tier(asked, &part(header)), wrong, "{header}");
        }
    }
    // There are fewer.
    let all = part("bytes 0-49/50");
    assert_eq!(by_tier(last(None), &all), take(0, Some(50)));
    let unknown = next_tier(Cause::WrongLength);
    assert_eq!(by_tier(last(None), &head(200)), unknown);
    assert_eq!(by_tier(last(None), &part("bytes 40-99/*")), unknown);
}

/// Clients of lists are told what they did wrong; elsewhere such an answer is no use (design P4).
#[test]
fn a_list_that_is_not_taken_is_said_so() {
    let (asked, html) = (
        Asked::List,
        Head {
            html: true,
            ..head(400)
        },
    );
    let away = Head {
        elsewhere: true,
        ..head(405)
    };
    for status in [400, 405] {
        let end = end(FinalAnswer::NotTaken(status));
        assert_eq!(by_upstream(asked, &head(status)), end);
        for other in [MANIFEST, BLOB] {
            let left = next_tier(Cause::Unusable);
            assert_eq!(by_upstream(other, &head(status)), left);
        }
    }
    for nobodys in [html, away] {
        assert_eq!(by_upstream(asked, &nobodys), next_tier(Cause::Unusable));
    }
}
