//! `bandwidth` of `[limits]`, `[[tier]]` and `[direct]`: `"20MiB/s"`, `"none"`, or a list of those with times of day.

use super::document::Value;
use super::model::{Bandwidth, BandwidthPeriod, DAY};
use super::problem::Wrong;
use super::section::Setting;
use super::values::{Size, parse_size};
use std::num::NonZeroU64;

/// With less than this, in bytes per second, four layers at once could not have 16 KiB/s each, and containerd gives up a pull
/// whose layers do not go on.
const LEAST: u64 = 64 * 1024;

const EXAMPLE: &str =
    "\"20MiB/s\", \"none\", or a list with times of day: [\"07:00-19:00 10MiB/s\", \"20MiB/s\"]";

impl Setting for Bandwidth {
    fn read(value: &Value) -> Result<Self, Wrong> {
        let periods = match value {
            Value::Text(text) if text.trim() == "none" => Vec::new(),
            Value::Text(_) => vec![BandwidthPeriod::read(value)?],
            Value::Array(_) => Vec::read(value)?,
            other => {
                return Err(Wrong::new(
                    format!("is a {} where a text or a list is wanted", other.kind()),
                    format!("write {EXAMPLE}"),
                ));
            }
        };
        let all_day = periods.iter().position(|period| period.window.is_none());
        if all_day.is_some_and(|at| at.saturating_add(1) < periods.len()) {
            return Err(Wrong::new(
                "has an entry without times before its last one: what stands behind it would never count",
                "put the entry without times at the end",
            ));
        }
        Ok(Self(periods.into()))
    }

    fn show(&self) -> toml::Value {
        match &*self.0 {
            [] => "none".into(),
            [all_day] if all_day.window.is_none() => all_day.show(),
            periods => toml::Value::Array(periods.iter().map(Setting::show).collect()),
        }
    }
}

impl Setting for BandwidthPeriod {
    fn read(value: &Value) -> Result<Self, Wrong> {
        let wrong = |what: String| Wrong::new(what, format!("write {EXAMPLE}"));
        let Value::Text(text) = value else {
            return Err(wrong(format!(
                "is a {} where a text is wanted",
                value.kind()
            )));
        };
        let (window, rate) = match text.trim().split_once(char::is_whitespace) {
            Some((window, rate)) => (Some(window), rate.trim()),
            None => (None, text.trim()),
        };
        let window = match window {
            Some(window) => Some(
                window_of(window)
                    .ok_or_else(|| wrong(format!("{window:?} are no two times of a day")))?,
            ),
            None => None,
        };
        let rate = match rate {
            "none" => None,
            _ => {
                let bytes = rate.strip_suffix("/s").and_then(parse_size);
                let bytes = bytes.ok_or_else(|| wrong(format!("{rate:?} is no bandwidth")))?;
                if bytes < LEAST {
                    return Err(Wrong::new(
                        format!(
                            "{rate:?} is less than 64KiB/s: containerd would give up pulls that do not go on"
                        ),
                        "write 64KiB/s or more, or \"none\" for no limit",
                    ));
                }
                NonZeroU64::new(bytes)
            }
        };
        Ok(Self { window, rate })
    }

    fn show(&self) -> toml::Value {
        let rate = match self.rate {
            Some(rate) => match Size(rate.get()).show() {
                toml::Value::String(size) => format!("{size}/s"),
                other => other.to_string(),
            },
            None => "none".to_owned(),
        };
        match self.window {
            Some((from, to)) => format!("{}-{} {rate}", time(from), time(to)).into(),
            None => rate.into(),
        }
    }
}

/// `07:00-19:00`, in minutes of the day.
fn window_of(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-')?;
    let (from, to) = (minute_of(from)?, minute_of(to)?);
    // A window from a time to the same time is the whole day or nothing: nobody knows which is meant.
    (from != to && from < DAY).then_some((from, to))
}

/// `19:00`, in minutes of the day; `24:00` is its end.
fn minute_of(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| text.parse::<u16>().ok())?
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let is_time = minute < 60 && (hour < 24 || (hour == 24 && minute == 0));
    is_time.then(|| hour.saturating_mul(60).saturating_add(minute))
}

fn time(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::Node;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn what_is_written_is_read_and_shown() {
        let table = [
            ("20MiB/s", Some("20MiB/s"), Some(20 << 20), Some(20 << 20)),
            ("none", Some("none"), None, None),
            (" 64KiB/s ", Some("64KiB/s"), Some(64 << 10), Some(64 << 10)),
            (
                "07:00-19:00 10MiB/s",
                Some("07:00-19:00 10MiB/s"),
                None,
                Some(10 << 20),
            ),
            (
                "22:00-06:30  1GiB/s",
                Some("22:00-06:30 1GiB/s"),
                Some(1 << 30),
                None,
            ),
            ("12:00-24:00 none", Some("12:00-24:00 none"), None, None),
            ("20MiB", None, None, None),
            ("20 MiB/s", None, None, None),
            ("63KiB/s", None, None, None),
            ("0B/s", None, None, None),
            ("7:00-19:00 10MiB/s", None, None, None),
            ("07:00-07:00 10MiB/s", None, None, None),
            ("24:00-07:00 10MiB/s", None, None, None),
            ("07:60-08:00 10MiB/s", None, None, None),
            ("07:00 10MiB/s", None, None, None),
            ("-20MiB/s", None, None, None),
            ("", None, None, None),
        ];
        for (written, shown, at_night, at_noon) in table {
            let read = Bandwidth::read(&text(written));
            assert_eq!(read.is_ok(), shown.is_some(), "{written}");
            let Ok(read) = read else { continue };
            let show = match read.show() {
                toml::Value::Array(list) => list[0].clone(),
                show => show,
            };
            assert_eq!(show.as_str(), shown, "{written}");
            let rate = |minute| read.rate_at(minute).map(NonZeroU64::get);
            assert_eq!(rate(3 * 60), at_night, "{written}");
            assert_eq!(rate(12 * 60), at_noon, "{written}");
        }
    }

    #[test]
    fn of_several_the_first_that_fits_counts() {
        let list = |texts: &[&str]| {
            let node = |written: &&str| Node {
                value: text(written),
                origin: None,
            };
            Bandwidth::read(&Value::Array(texts.iter().map(node).collect()))
        };
        let rates = list(&["07:00-19:00 10MiB/s", "18:00-20:00 1MiB/s", "20MiB/s"]).unwrap();
        let table = [
            (6 * 60 + 59, 20),
            (7 * 60, 10),
            (18 * 60 + 59, 10),
            (19 * 60, 1),
            (20 * 60, 20),
        ];
        for (minute, rate) in table {
            let due = NonZeroU64::new(rate << 20);
            assert_eq!(rates.rate_at(minute), due, "{minute}");
        }
        assert!(
            list(&["20MiB/s", "07:00-19:00 10MiB/s"]).is_err(),
            "never counts"
        );
        let day = list(&["07:00-19:00 10MiB/s"]).unwrap();
        assert_eq!(day.rate_at(0), None);
        assert!(list(&[]).unwrap().is_none());
        assert!(list(&["none"]).unwrap().is_none());
    }
}
