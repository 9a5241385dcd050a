//! What an answer says of its own body: HTML, and codings that nobody asked for.

use super::*;

#[test]
fn html_with_200_is_never_content() {
    let html = Head {
        html: true,
        ..sized(200, 100)
    };
    let marked = leave(Scope::Tier, hard(Failure::Content), Cause::WrongContent);
    assert_eq!(by_tier(MANIFEST, &html), marked);
    assert_eq!(by_tier(BLOB, &html), marked);
}

/// Somebody on the way: it is not known what the source would have said.
#[test]
fn html_that_says_no_is_nobodys_word() {
    let nobody = leave(Scope::AddressOnceThenTier, Outcome::Neutral, Cause::Html);
    assert!(Cause::Html.is_outage());
    for status in [401, 403, 404, 451] {
        let html = Head {
            html: true,
            ..head(status)
        };
        let elsewhere = Head {
            elsewhere: true,
            ..html.clone()
        };
        for asked in [MANIFEST, BLOB, RANGE] {
            for policy in [HarborPolicy::Next, HarborPolicy::Final] {
                for authority in [Authority::Tier, Authority::Final] {
                    assert_eq!(judge(asked, authority, policy, &html), nobody, "{status}");
                    let judged = judge(asked, authority, policy, &elsewhere);
                    assert_eq!(judged, nobody, "{status}");
                }
            }
        }
        // A registry behind nginx with passwords says so in HTML, and that it is one in another field.
        let own = Head {
            registry: true,
            ..html
        };
        assert_ne!(by_upstream(MANIFEST, &own), nobody, "{status}");
    }
    let own = Head {
        html: true,
        registry: true,
        ..head(401)
    };
    assert_eq!(by_upstream(BLOB, &own), denied_without_a_word());
}

#[test]
fn an_encoded_body_of_unknown_length_is_no_use() {
    let encoded = |head| Head {
        encoded: true,
        ..head
    };
    let no_use = next_tier(Cause::Unusable);
    assert_eq!(by_tier(BLOB, &encoded(head(200))), no_use);
    assert_eq!(by_tier(UNKNOWN_BLOB, &encoded(head(200))), no_use);
    let of_unknown = encoded(sized(200, 100));
    assert_eq!(by_tier(UNKNOWN_RANGE, &of_unknown), no_use, "a part");
    let of_unknown = encoded(part("bytes 40-99/100"));
    assert_eq!(by_tier(UNKNOWN_RANGE, &of_unknown), no_use, "a part");
}

/// The label says that the bytes are others; their number, and then the digest, says that they are the blob's.
#[test]
fn a_label_may_lie() {
    let encoded = |head| Head {
        encoded: true,
        ..head
    };
    let whole = encoded(sized(200, 100));
    assert_eq!(by_tier(BLOB, &whole), take(0, Some(100)));
    assert_eq!(by_tier(UNKNOWN_BLOB, &whole), take(0, Some(100)));
    let other = encoded(sized(200, 60));
    assert_eq!(by_tier(BLOB, &other), next_tier(Cause::WrongLength));
    let of_part = Head {
        length: Some(60),
        ..encoded(part("bytes 40-99/100"))
    };
    assert_eq!(by_tier(RANGE, &of_part), take(0, Some(100)));
    assert_eq!(by_tier(MANIFEST, &whole), take(0, Some(100)));
}
