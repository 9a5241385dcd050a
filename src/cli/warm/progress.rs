//! What is seen while images are fetched: a bar for each on a terminal, a line for each elsewhere.

use super::report::Row;
use crate::printable::printable;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Bytes, rate and what is left.
const BAR: &str = "{prefix} {bar:24} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta} {msg}";
/// Before the size is known.
const SPINNER: &str = "{prefix} {spinner} {msg}";

/// The bars of all images.
#[derive(Clone, Debug)]
pub(super) struct Progress(MultiProgress);

/// The bar of one image.
#[derive(Clone, Debug)]
pub(super) struct Bar(ProgressBar);

// === impl Progress ===

impl Progress {
    /// `is_shown`: standard error is a terminal.
    pub(super) fn new(is_shown: bool) -> Self {
        Self(MultiProgress::with_draw_target(match is_shown {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        }))
    }

    /// A terminal that cannot draw, such as `TERM=dumb`, shows no bars.
    pub(super) fn is_shown(&self) -> bool {
        !self.0.is_hidden()
    }

    pub(super) fn bar(&self, row: &Row) -> Bar {
        let bar = self.0.add(ProgressBar::no_length());
        bar.set_style(style(SPINNER, ProgressStyle::default_spinner));
        let (image, through) = (printable(&row.image), printable(&row.through));
        bar.set_prefix(format!("{image} ({through})"));
        bar.enable_steady_tick(Duration::from_millis(120));
        Bar(bar)
    }

    /// Takes all bars away.
    pub(super) fn end(&self) {
        // A terminal that cannot be cleared shows the bars once more.
        let _ = self.0.clear();
    }
}

// === impl Bar ===

impl Bar {
    /// So many bytes it will be.
    pub(super) fn set_total(&self, bytes: u64) {
        self.0.set_style(style(BAR, ProgressStyle::default_bar));
        self.0.set_length(bytes);
    }

    pub(super) fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    pub(super) fn served_by(&self, source: &str) {
        self.0.set_message(printable(source).into_owned());
    }

    pub(super) fn end(&self, row: &Row) {
        match row.error {
            Some(_) => self.0.abandon_with_message("failed"),
            None => self.0.finish(),
        }
    }
}

fn style(template: &str, default: fn() -> ProgressStyle) -> ProgressStyle {
    // The templates are ours and are read; a bar of another shape would be no harm.
    let styled = default().template(template);
    styled.unwrap_or_else(|_| default())
}
