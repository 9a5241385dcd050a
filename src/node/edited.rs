//! What comes of a text that our part is put into: the new one, or why the old one is not touched.

/// A text with our part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// What should stand in the file.
    pub text: String,
    /// What a reader of the plan should know, a sentence each.
    pub notes: Vec<String>,
}

/// Why a text is not touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its reader cannot read it either.
    #[error("{0}")]
    Unreadable(String),
    /// It can be read, but a change could be read differently by somebody.
    #[error("{0}")]
    Unusual(String),
    /// `existing = "refuse"`.
    #[error(
        "{0} stands in the file, and [node] existing is \"refuse\"; write \"adopt\" or \"keep\", or take the entry out"
    )]
    Existing(String),
    /// The result was read back and does not say what it should. Nothing was lost: the old text stays.
    #[error("the changed file would not say what it should: {0}; please report this with the file")]
    ReadBack(String),
}
