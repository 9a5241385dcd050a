//! A YAML text as nodes that know their places, in bytes.

use super::{Refused, read, unusual};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

/// One node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// From its first to behind its last byte; a block collection ends at the next node, or before it.
    pub(super) span: Range<usize>,
    /// Counted from 1.
    pub(super) line: usize,
    /// It has an anchor or a tag, or is an alias.
    pub(super) is_marked: bool,
    /// It, or something in it, is marked.
    pub(super) is_special: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// `plain`: without quotes.
    Scalar {
        value: String,
        plain: bool,
    },
    Sequence {
        items: Vec<Node>,
        flow: bool,
    },
    Mapping {
        pairs: Vec<(Node, Node)>,
        flow: bool,
    },
    Alias,
}

/// How deep the file may be nested: it needs five levels, and each one costs a call of whoever walks the tree.
const MAX_DEPTH: usize = 64;
/// How many lines may stand too far to the left.
const MAX_PADDED: usize = 256;

/// The only document of a text; `None` if it holds nothing.
///
/// # Errors
/// Says what is wrong, with the line.
pub(super) fn parse(text: &str) -> Result<Option<Node>, Refused> {
    let mut padded = BTreeSet::new();
    loop {
        match parse_padded(text, &padded) {
            // k3s's parser does not mind how far a bracket on a line of its own is to the right; this one does.
            Err(Failure::Indentation(line)) if padded.len() < MAX_PADDED => {
                if !padded.insert(line) {
                    let what = format!("line {line}: the indentation is wrong");
                    return Err(Refused::Unreadable(what));
                }
            }
            Err(Failure::Indentation(line)) => {
                return Err(unusual(
                    line,
                    "too many lines stand further left than what they belong to",
                ));
            }
            Err(Failure::Other(refused)) => return Err(refused),
            Ok(root) => return Ok(root),
        }
    }
}

enum Failure {
    /// The token in that line stands too far to the left.
    Indentation(usize),
    Other(Refused),
}

/// Reads the text with the lines of that number moved to the right; places are those in the text itself.
fn parse_padded(text: &str, padded: &BTreeSet<usize>) -> Result<Option<Node>, Failure> {
    const PAD: &str = "                                                                ";
    let mut moved = String::with_capacity(text.len());
    let mut offsets = Vec::with_capacity(text.len());
    let mut start = 0;
    for (at, line) in text.split_inclusive('\n').enumerate() {
        if padded.contains(&(at + 1)) {
            moved.push_str(PAD);
            offsets.extend(PAD.bytes().map(|_| start));
        }
        moved.push_str(line);
        offsets.extend(line.char_indices().map(|(at, _)| start + at));
        start += line.len();
    }
    let same = padded.is_empty() || read::value(&moved).ok() == read::value(text).ok();
    let mut reader = Reader {
        text,
        offsets,
        open: Vec::new(),
        root: None,
        documents: 0,
    };
    for event in Parser::new_from_str(&moved) {
        let (event, span) = event.map_err(|error| failure(text, &error, same))?;
        reader.take(event, span).map_err(Failure::Other)?;
    }
    Ok(reader.root)
}

fn failure(text: &str, error: &ScanError, may_move: bool) -> Failure {
    let line = error.marker().line();
    let found = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let tab = found.trim_start_matches(' ').starts_with('\t');
    if may_move && !tab && error.info().starts_with("invalid indentation") {
        return Failure::Indentation(line);
    }
    let hint = if tab {
        " (a tab is no indentation)"
    } else {
        ""
    };
    let what = format!("line {line}: {}{hint}", error.info());
    Failure::Other(Refused::Unreadable(what))
}

struct Reader<'t> {
    text: &'t str,
    /// Character to byte.
    offsets: Vec<usize>,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

struct Open {
    node: Node,
    key: Option<Node>,
}

// === impl Reader ===

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Refused> {
        let line = span.start.line();
        let bytes = self.byte(span.start.index())..self.byte(span.end.index());
        let node = |kind, is_marked| Node {
            kind,
            span: bytes.clone(),
            line,
            is_marked,
            is_special: is_marked,
        };
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(unusual(line, "a second document, which k3s does not read"));
                }
            }
            Event::Alias(_) => self.close(node(Kind::Alias, true)),
            Event::Scalar(value, style, anchor, tag) => {
                let kind = Kind::Scalar {
                    value: value.into_owned(),
                    plain: style == ScalarStyle::Plain,
                };
                let mut node = node(kind, anchor != 0 || tag.is_some());
                if let Some(length) = self.text.get(bytes.start..).and_then(quoted_length) {
                    node.span.end = bytes.start + length;
                }
                self.close(node);
            }
            Event::SequenceStart(anchor, tag) => {
                let flow = self.begins_with(&bytes, '[');
                let items = Vec::new();
                let kind = Kind::Sequence { items, flow };
                self.open(node(kind, anchor != 0 || tag.is_some()))?;
            }
            Event::MappingStart(anchor, tag) => {
                let flow = self.begins_with(&bytes, '{');
                let pairs = Vec::new();
                let kind = Kind::Mapping { pairs, flow };
                self.open(node(kind, anchor != 0 || tag.is_some()))?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { mut node, .. }) = self.open.pop() {
                    // A closing bracket's own place holds the comment behind it too.
                    let bracket = self.begins_with(&bytes, ']') || self.begins_with(&bytes, '}');
                    let flow = matches!(
                        node.kind,
                        Kind::Sequence { flow: true, .. } | Kind::Mapping { flow: true, .. }
                    );
                    node.span.end = if flow && bracket {
                        bytes.start + 1
                    } else {
                        bytes.end
                    };
                    self.close(node);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn byte(&self, index: usize) -> usize {
        self.offsets.get(index).copied().unwrap_or(self.text.len())
    }

    fn begins_with(&self, span: &Range<usize>, c: char) -> bool {
        self.text
            .get(span.start..)
            .is_some_and(|rest| rest.starts_with(c))
    }

    fn open(&mut self, node: Node) -> Result<(), Refused> {
        if self.open.len() == MAX_DEPTH {
            let what = format!("more than {MAX_DEPTH} levels");
            return Err(unusual(node.line, &what));
        }
        self.open.push(Open { node, key: None });
        Ok(())
    }

    /// A whole node goes into what is open around it.
    fn close(&mut self, node: Node) {
        let Some(around) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        around.node.is_special |= node.is_special;
        match &mut around.node.kind {
            Kind::Sequence { items, .. } => items.push(node),
            Kind::Mapping { pairs, .. } => match around.key.take() {
                None => around.key = Some(node),
                Some(key) => pairs.push((key, node)),
            },
            Kind::Scalar { .. } | Kind::Alias => {}
        }
    }
}

/// The bytes of the quoted scalar that a text begins with: the parser's own end lies behind a comment.
fn quoted_length(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut rest = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = rest.next() {
        if c == '\\' && quote == '"' {
            rest.next();
        } else if c == quote {
            if quote == '\'' && rest.next_if(|(_, c)| *c == quote).is_some() {
                continue;
            }
            return Some(at + 1);
        }
    }
    None
}

// === impl Node ===

impl Node {
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { value, .. } => Some(value),
            _ => None,
        }
    }

    /// Nothing, `null` or `~`.
    pub(super) fn is_null(&self) -> bool {
        let null = |value: &str| matches!(value, "" | "~" | "null" | "Null" | "NULL");
        matches!(&self.kind, Kind::Scalar { value, plain: true } if null(value))
    }

    /// Null by nothing being written.
    pub(super) fn is_absent(&self) -> bool {
        self.is_null() && self.span.is_empty()
    }

    pub(super) fn pairs(&self) -> &[(Self, Self)] {
        match &self.kind {
            Kind::Mapping { pairs, .. } => pairs,
            _ => &[],
        }
    }

    /// The key and value of that name.
    pub(super) fn pair(&self, name: &str) -> Option<&(Self, Self)> {
        let mut pairs = self.pairs().iter();
        pairs.find(|(key, _)| key.text() == Some(name))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.pair(name).map(|(_, value)| value)
    }

    /// Refuses what k3s would read as something else than the eye: keys that stand there twice, keys that are no
    /// text.
    pub(super) fn check_keys(&self, what: &str) -> Result<(), Refused> {
        let mut seen = HashSet::new();
        for (key, _) in self.pairs() {
            let Some(name) = key.text() else {
                let what = format!("a key of {what} is no text");
                return Err(unusual(key.line, &what));
            };
            if key.is_special {
                let what = format!("{name} in {what} has an anchor, a tag or a merge");
                return Err(unusual(key.line, &what));
            }
            if !seen.insert(name) {
                let what = format!("{name} stands twice in {what}; k3s takes the last one");
                return Err(unusual(key.line, &what));
            }
        }
        Ok(())
    }
}
