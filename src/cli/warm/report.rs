//! What was fetched, image by image: the table for people and the JSON for programs.

use super::fetch::Cache;
use crate::cli::explain::image::Image;
use crate::cli::status::{Cell, Color, Page, plain};
use crate::printable::printable;
use crate::telemetry::{human_bytes, human_duration};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

/// One image on one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    /// The reference in full.
    pub(super) image: String,
    /// `agent`, `core`, `core/203.0.113.7:443`.
    pub(super) through: String,
    pub(super) bytes: u64,
    pub(super) milliseconds: u64,
    /// Who served any of it.
    pub(super) served_by: BTreeSet<String>,
    /// `cold`: some of it was not there; `warm`: all of it was; absent: nobody told.
    pub(super) cache: Option<&'static str>,
    pub(super) error: Option<String>,
    /// It was fetched, or could not be; else the run was ended before.
    #[serde(skip)]
    pub(super) has_ended: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    pub(super) images: Vec<Row>,
    pub(super) failed: usize,
    /// It was ended by the user; what is missing was not fetched.
    pub(super) interrupted: bool,
}

// === impl Row ===

impl Row {
    pub(super) fn new(image: &str, through: &str) -> Self {
        Self {
            image: image.to_owned(),
            through: through.to_owned(),
            bytes: 0,
            milliseconds: 0,
            served_by: BTreeSet::new(),
            cache: None,
            error: None,
            has_ended: false,
        }
    }

    /// Nobody was asked for it.
    pub(super) fn failed(image: &Image, why: String) -> Self {
        let mut row = Self::new(&image.to_string(), "-");
        row.error = Some(why);
        row
    }

    /// A part of it has come.
    pub(super) fn add(&mut self, bytes: u64, served_by: String, cache: Cache) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.served_by.insert(served_by);
        self.cache = match (self.cache, cache) {
            (_, Cache::Cold) => Some("cold"),
            (None, Cache::Warm) => Some("warm"),
            (known, _) => known,
        };
    }

    /// A line for who is no terminal.
    pub(super) fn line(&self) -> String {
        let (image, through) = (printable(&self.image), printable(&self.through));
        match &self.error {
            Some(error) => format!("{image} through {through}: failed: {}", printable(error)),
            None => {
                let took = human_duration(Duration::from_millis(self.milliseconds));
                let bytes = human_bytes(self.bytes);
                format!("{image} through {through}: {bytes} in {took}")
            }
        }
    }

    fn cells(&self) -> Vec<Cell> {
        let outcome = match &self.error {
            Some(error) => (format!("failed: {}", printable(error)), Color::Bad),
            None => ("ok".to_owned(), Color::Good),
        };
        let served_by: Vec<&str> = self.served_by.iter().map(String::as_str).collect();
        vec![
            plain(&self.image),
            plain(&self.through),
            plain(&human_bytes(self.bytes)),
            plain(&human_duration(Duration::from_millis(self.milliseconds))),
            plain(&served_by.join(", ")),
            plain(self.cache.unwrap_or("-")),
            outcome,
        ]
    }
}

// === impl Report ===

impl Report {
    pub(super) fn new(images: Vec<Row>, interrupted: bool) -> Self {
        Self {
            failed: images.iter().filter(|row| row.error.is_some()).count(),
            images,
            interrupted,
        }
    }

    /// 0, or 1 where something is missing.
    pub(super) fn exit_status(&self) -> u8 {
        u8::from(self.failed > 0 || self.interrupted)
    }

    pub(super) fn for_people(&self, color: bool) -> String {
        let head = [
            "IMAGE",
            "THROUGH",
            "SIZE",
            "TOOK",
            "SERVED BY",
            "CACHE",
            "RESULT",
        ];
        let done = self.images.len().saturating_sub(self.failed);
        let bytes = self.images.iter();
        let bytes = bytes.fold(0, |sum: u64, row| sum.saturating_add(row.bytes));
        let failed = match self.failed {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        let interrupted = if self.interrupted {
            ", interrupted"
        } else {
            ""
        };
        Page::written(color, |page| {
            page.table(&head, self.images.iter().map(Row::cells));
            let bytes = human_bytes(bytes);
            writeln!(page.text, "{done} fetched{failed}, {bytes}{interrupted}")
        })
    }
}
