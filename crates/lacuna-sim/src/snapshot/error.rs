//! What is wrong with a dump, and where.
//!
//! Owns the error every part of the reader returns. A reader of these messages has a file of some hundred megabytes on
//! one line, so each message names a place that can be found again (a byte offset in the uncompressed text, and the
//! node, edge or string by its number) and says what should have been there.

use std::fmt;

/// A numbered thing inside a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// The node of this number, counted from 0.
    Node(usize),
    /// The edge of this number, counted from 0 over the whole dump.
    Edge(usize),
    /// The entry of this number in the table of strings.
    Text(usize),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Node(index) => write!(f, "node {index}"),
            Item::Edge(index) => write!(f, "edge {index}"),
            Item::Text(index) => write!(f, "string {index}"),
        }
    }
}

/// Why a dump was refused.
#[derive(Debug)]
pub enum ParseError {
    /// The text isn't what the format asks for.
    Malformed {
        /// Offset in the uncompressed text; unknown for a contradiction between two places of the file.
        byte: Option<u64>,
        /// The node, edge or string concerned.
        item: Option<Item>,
        /// What the format asks for.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// The bytes could not be had: a broken disk, a damaged gzip stream, a limit reached.
    Unreadable {
        /// Bytes of uncompressed text that could be read.
        byte: u64,
        /// What the reader below reported.
        source: std::io::Error,
    },
}

impl ParseError {
    /// An error at a place in the text.
    pub(crate) fn at(byte: u64, expected: impl Into<String>, found: impl Into<String>) -> Self {
        ParseError::Malformed { byte: Some(byte), item: None, expected: expected.into(), found: found.into() }
    }

    /// A contradiction seen only after the text concerned had been read.
    pub(crate) fn contradiction(item: Option<Item>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        ParseError::Malformed { byte: None, item, expected: expected.into(), found: found.into() }
    }

    /// The same error, known to concern `item`.
    pub(crate) fn about(mut self, about: Item) -> Self {
        if let ParseError::Malformed { item, .. } = &mut self {
            item.get_or_insert(about);
        }
        self
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::Malformed { byte, item, expected, found } => {
                match (byte, item) {
                    (Some(byte), Some(item)) => write!(f, "byte {byte}, {item}: ")?,
                    (Some(byte), None) => write!(f, "byte {byte}: ")?,
                    (None, Some(item)) => write!(f, "{item}: ")?,
                    (None, None) => {}
                }
                write!(f, "expected {expected}, found {found}")
            }
            ParseError::Unreadable { byte, source } => {
                write!(f, "byte {byte}: expected more of the dump, but it can't be read: {source}")
            }
        }
    }
}

impl std::error::Error for ParseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ParseError::Malformed { .. } => None,
            ParseError::Unreadable { source, .. } => Some(source),
        }
    }
}
