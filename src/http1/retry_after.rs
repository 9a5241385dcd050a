//! `Retry-After` (RFC 9110, 10.2.3).

use std::time::{Duration, SystemTime};

/// `Retry-After` in seconds, as a date, or as the Unix timestamp that Docker Hub sends (harbor-facts 8). A number that no
/// clock can hold is a long time.
#[must_use]
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    /// More seconds than any wait: it is a point in time.
    const YEAR_2001: u64 = 1_000_000_000;
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits alone are refused for being too many, nothing else.
        let number = value.parse().unwrap_or(u64::MAX);
        if number < YEAR_2001 {
            return Some(Duration::from_secs(number));
        }
        let since_epoch = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        return Some(Duration::from_secs(number).saturating_sub(since_epoch));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_its_three_shapes() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(
            retry_after("1700000030", now),
            Some(Duration::from_secs(30))
        );
        assert_eq!(retry_after("1600000000", now), Some(Duration::ZERO));
        let date = httpdate::fmt_http_date(now + Duration::from_secs(60));
        assert_eq!(retry_after(&date, now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }

    #[test]
    fn a_retry_after_that_no_clock_holds_is_a_long_wait() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let year = Duration::from_secs(365 * 24 * 3600);
        for number in [i64::MAX as u64, 1 << 63, u64::MAX] {
            let wait = retry_after(&number.to_string(), now);
            assert!(wait.is_some_and(|wait| wait > year), "{number}: {wait:?}");
        }
        for digits in ["18446744073709551616", &"9".repeat(400)] {
            let wait = retry_after(digits, now);
            assert!(wait.is_some_and(|wait| wait > year), "{digits}: {wait:?}");
        }
        for none in ["", "1e308", "NaN", "+", "1.5", "9999-01-01"] {
            assert_eq!(retry_after(none, now), None, "{none}");
        }
        let last = "Fri, 31 Dec 9999 23:59:59 GMT";
        assert!(retry_after(last, now).is_some_and(|wait| wait > year));
    }
}
