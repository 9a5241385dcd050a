//! Where something stands in a text, in bytes. The parser tells places in its errors alone, so that one is provoked there.

use super::Refused;
use crate::node::marks::{self, BYTE_ORDER_MARK};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// The first byte of the value that stands there, its anchor or tag included; `None`: there is none, or nothing is written.
pub(super) fn value(text: &str, path: &[&str]) -> Option<usize> {
    find(text, path, false)
}

/// The first byte of the last key of a path.
pub(super) fn key(text: &str, path: &[&str]) -> Option<usize> {
    find(text, path, true)
}

fn find(text: &str, path: &[&str], is_key: bool) -> Option<usize> {
    let plain = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let parser = yaml_serde::Deserializer::from_str(plain);
    let error = Find { path, is_key }.deserialize(parser).err()?;
    Some(text.len() - plain.len() + error.location()?.index())
}

/// Fails where the path leads, for every other reason than that.
#[derive(Clone, Copy)]
struct Find<'p> {
    path: &'p [&'p str],
    is_key: bool,
}

/// Reads a key, and fails at the one that is looked for.
struct Key<'p>(Option<&'p str>);

// === impl Find ===

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a place")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((name, path)) = self.path.split_first() else {
            return Err(A::Error::custom("here"));
        };
        let is_last = self.is_key && path.is_empty();
        while let Some(key) = map.next_key_seed(Key(is_last.then_some(name)))? {
            if key == *name {
                return map.next_value_seed(Self { path, ..self });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

// === impl Key ===

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<String, E> {
        if self.0 == Some(key) {
            return Err(E::custom("here"));
        }
        Ok(key.to_owned())
    }
}

/// The first byte of the line.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    // A byte order mark is no part of the line.
    match text.get(start..) {
        Some(line) if start == 0 && line.starts_with(BYTE_ORDER_MARK) => BYTE_ORDER_MARK.len_utf8(),
        _ => start,
    }
}

/// The spaces that a line begins with.
pub(super) fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The line around a byte, where nothing but spaces may stand before that; and the byte's column.
pub(super) fn alone(text: &str, at: usize) -> Result<(usize, usize), Refused> {
    let start = line_start(text, at);
    let before = text.get(start..at).unwrap_or_default();
    if indent(before) == before.len() {
        return Ok((start, before.len()));
    }
    let what = "something stands before it: write it in a line of its own";
    Err(unusual(text, at, what))
}

/// The start of the comment lines directly above a line.
pub(super) fn above(text: &str, start: usize) -> usize {
    let before = text.get(..start).unwrap_or_default();
    let lines = before.split_inclusive('\n').rev();
    let comments = lines.take_while(|line| marks::is_comment(line));
    start - comments.map(str::len).sum::<usize>()
}

/// The end of what belongs to the key in the line that begins at `start`: its lines are further to the right.
pub(super) fn end_of_entry(text: &str, start: usize) -> usize {
    let mut lines = marks::lines(text.get(start..).unwrap_or_default());
    let first = lines.next().unwrap_or_default();
    let column = indent(first);
    let within =
        |line: &&str| marks::is_blank(line) || marks::is_comment(line) || indent(line) > column;
    start + first.len() + lines.take_while(within).map(str::len).sum::<usize>()
}

pub(super) fn unusual(text: &str, at: usize, what: &str) -> Refused {
    Refused::Unusual(format!("line {}: {what}", marks::line_of(text, at)))
}
