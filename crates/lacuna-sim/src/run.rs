//! One run of the program, from arguments to an exit code.
//!
//! Owns the order of things and what goes where: the report alone on standard output, progress and everything else on
//! standard error; and the meaning of the exit codes.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use crate::args::{Cli, Command, ReplayArgs};
use crate::examine::Mismatch;
use crate::input::{self, InputError};
use crate::progress::Progress;
use crate::replay::Replay;
use crate::report::chart::{self, ChartError};
use crate::report::{Built, Collection, Dump, Report, json, text};
use crate::snapshot::Snapshot;

/// Why a run failed.
#[derive(Debug)]
pub enum RunError {
    /// The heap and the search over the dump disagree.
    Mismatch(Mismatch),
    /// The dump of this name can't be read.
    Input(String, InputError),
    /// The report can't be written.
    Output(io::Error),
    /// The picture can't be drawn.
    Chart(ChartError),
    /// The picture can't be written to this file.
    ChartFile(PathBuf, io::Error),
}

impl RunError {
    /// The exit code; 0 is success, and 2 is the parser of arguments' own.
    pub fn code(&self) -> u8 {
        match self {
            RunError::Mismatch(_) => 1,
            RunError::Input(..) => 3,
            RunError::Output(_) | RunError::Chart(_) | RunError::ChartFile(..) => 4,
        }
    }

    /// Whether the reader of the report went away, which is no business of the user's.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, RunError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Mismatch(mismatch) => mismatch.fmt(f),
            RunError::Input(source, error) => write!(f, "{source}: {error}"),
            RunError::Output(error) => write!(f, "can't write the report: {error}"),
            RunError::Chart(error) => write!(f, "can't draw the chart: {error}"),
            RunError::ChartFile(path, error) => {
                write!(f, "{}: can't write the chart: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RunError::Mismatch(error) => Some(error),
            RunError::Input(_, error) => Some(error),
            RunError::Output(error) | RunError::ChartFile(_, error) => Some(error),
            RunError::Chart(error) => Some(error),
        }
    }
}

impl From<Mismatch> for RunError {
    fn from(mismatch: Mismatch) -> Self {
        RunError::Mismatch(mismatch)
    }
}

/// Does what the command line says.
///
/// # Errors
///
/// When the dump can't be read, the heap is wrong about it, or the report can't be written.
pub fn run(cli: &Cli) -> Result<(), RunError> {
    match &cli.command {
        Some(Command::Replay(args)) => replay(args),
        None => replay(&cli.replay),
    }
}

fn replay(args: &ReplayArgs) -> Result<(), RunError> {
    let progress = Progress::new(args.quiet);
    let source = args.source();
    let start = Instant::now();
    let snapshot =
        input::read(&source, args.max_bytes, &progress).map_err(|error| RunError::Input(source.name(), error))?;
    let dump = Dump::new(source.name(), &snapshot, start.elapsed());

    let report = report(&snapshot, dump, &args.cuts(), &progress)?;
    if !args.quiet {
        for collection in report.collections.iter().filter(|collection| collection.edges_cut == 0) {
            if let Some(name) = &collection.cut {
                // Nothing sensible can be done if standard error is closed.
                let _ = writeln!(io::stderr(), "note: no living object has an edge called `{name}` that can be cut");
            }
        }
    }

    if let Some(path) = &args.chart {
        let picture = chart::draw(&report).map_err(RunError::Chart)?;
        fs::write(path, picture).map_err(|error| RunError::ChartFile(path.clone(), error))?;
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = if args.json { json::write(&report, &mut out) } else { text::write(&report, &mut out) };
    written.and_then(|()| out.flush()).map_err(RunError::Output)
}

/// Replays `snapshot`, cutting each of `cuts` in turn, and lets go of it in the end.
///
/// # Errors
///
/// When the heap and the search over the dump disagree.
pub fn report(snapshot: &Snapshot, dump: Dump, cuts: &[String], progress: &Progress) -> Result<Report, Mismatch> {
    let mut replay = Replay::new(snapshot, progress);
    let built = Built {
        objects: snapshot.node_count(),
        payload_bytes: replay.payload(),
        length_word_bytes: replay.length_words(),
        build_seconds: replay.build_time().as_secs_f64(),
    };
    let mut collections = vec![Collection::new(snapshot, None, &replay.collect()?)];
    for name in cuts {
        collections.push(Collection::new(snapshot, Some(name), &replay.cut(name)?));
    }
    let released = Collection::new(snapshot, None, &replay.release()?);
    Ok(Report { version: env!("CARGO_PKG_VERSION"), dump, built, collections, released })
}
