//! The report for machines: one JSON document.

use std::io::{self, Write};

use super::Report;

/// Writes `report` as JSON, and a line feed.
///
/// # Errors
///
/// When `out` can't be written.
pub fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
}
