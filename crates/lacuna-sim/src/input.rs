//! Where a dump comes from, and what it is.
//!
//! Owns the way from a name to uncompressed text: the bundled dump, a file or standard input; gzip undone when the
//! bytes begin like gzip, whatever the file is called; a limit on the text, since a gzip stream of a megabyte can
//! expand to a gigabyte; and the recognition of formats by their first bytes.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::PathBuf;

use flate2::bufread::MultiGzDecoder;

use crate::progress::Progress;
use crate::snapshot::{self, ParseError, Snapshot};

/// The dump that comes with the program: Node.js 20 after ESLint 8 linted 40 files and acorn parsed them.
static BUNDLED: &[u8] = include_bytes!("../data/eslint.heapsnapshot.gz");

/// The name the bundled dump goes by in reports.
pub const BUNDLED_NAME: &str = "eslint.heapsnapshot.gz (bundled)";

/// Bytes of uncompressed text accepted unless the user says otherwise.
pub const DEFAULT_LIMIT: u64 = 2 << 30;

/// Bytes looked at to tell a format.
const SNIFFED: u64 = 16;

/// Where a dump comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Inside the program.
    Bundled,
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl Source {
    /// As reports call it.
    pub fn name(&self) -> String {
        match self {
            Source::Bundled => BUNDLED_NAME.to_owned(),
            Source::Stdin => "standard input".to_owned(),
            Source::File(path) => path.display().to_string(),
        }
    }
}

/// Why there is no dump.
#[derive(Debug)]
pub enum InputError {
    /// The file could not be opened.
    Open(io::Error),
    /// The first bytes could not be read.
    Sniff(io::Error),
    /// A format this program recognises and does not read.
    Unsupported(&'static str),
    /// No format this program recognises.
    Unrecognised(String),
    /// The dump is refused.
    Parse(ParseError),
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InputError::Open(error) => write!(f, "can't be opened: {error}"),
            InputError::Sniff(error) => write!(f, "byte 0: can't be read: {error}"),
            InputError::Unsupported(format) => write!(
                f,
                "byte 0: expected a V8 heap snapshot (JSON, plain or gzip), found {format}, which isn't read yet"
            ),
            InputError::Unrecognised(found) => write!(
                f,
                "byte 0: expected a V8 heap snapshot (JSON beginning with `{{`, plain or gzip), found {found}"
            ),
            InputError::Parse(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for InputError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            InputError::Open(error) | InputError::Sniff(error) => Some(error),
            InputError::Unsupported(_) | InputError::Unrecognised(_) => None,
            InputError::Parse(error) => error.source(),
        }
    }
}

/// Reads the dump at `source`, of at most `limit` bytes of text; `progress` shows how far.
///
/// # Errors
///
/// When the source can't be read or isn't a dump this program knows.
pub fn read(source: &Source, limit: u64, progress: &Progress) -> Result<Snapshot, InputError> {
    match source {
        Source::Bundled => {
            read_from(progress.reader("reading", Some(BUNDLED.len() as u64), Cursor::new(BUNDLED)), limit)
        }
        Source::Stdin => read_from(progress.reader("reading", None, io::stdin().lock()), limit),
        Source::File(path) => {
            let file = File::open(path).map_err(InputError::Open)?;
            let size = file.metadata().ok().filter(|meta| meta.is_file()).map(|meta| meta.len());
            read_from(progress.reader("reading", size, file), limit)
        }
    }
}

/// Reads a dump from any stream of bytes; gzip is recognised.
///
/// # Errors
///
/// As for [`read`].
pub fn read_from(reader: impl Read, limit: u64) -> Result<Snapshot, InputError> {
    let (start, whole) = sniff(reader)?;
    if start.starts_with(&[0x1f, 0x8b]) {
        let plain = MultiGzDecoder::new(BufReader::with_capacity(1 << 16, whole));
        read_plain(plain, limit)
    } else {
        read_plain(whole, limit)
    }
}

fn read_plain(reader: impl Read, limit: u64) -> Result<Snapshot, InputError> {
    let (start, whole) = sniff(Limited { reader, left: limit, limit })?;
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start);
    if start.starts_with(b"JAVA PROFILE ") {
        return Err(InputError::Unsupported("a Java heap dump (HPROF)"));
    }
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {}
        Some(_) => {
            return Err(InputError::Unrecognised(format!("`{}`", text.escape_ascii())));
        }
        None if text.is_empty() => return Err(InputError::Unrecognised("nothing".to_owned())),
        None => {}
    }
    let mut whole = whole;
    if text.len() < start.len() {
        // A byte order mark, which JSON has no place for.
        let mut mark = [0; 3];
        whole.read_exact(&mut mark).map_err(InputError::Sniff)?;
    }
    snapshot::parse(whole).map_err(InputError::Parse)
}

/// The first bytes, and a reader of everything.
fn sniff<R: Read>(mut reader: R) -> Result<(Vec<u8>, impl Read), InputError> {
    let mut start = Vec::new();
    reader.by_ref().take(SNIFFED).read_to_end(&mut start).map_err(InputError::Sniff)?;
    Ok((start.clone(), Cursor::new(start).chain(reader)))
}

/// A reader that refuses to go past a limit.
struct Limited<R> {
    reader: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // One byte more than is left, to tell a text of just that length from a longer one.
        let wanted = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.reader.read(&mut buffer[..wanted])?;
        match self.left.checked_sub(read as u64) {
            Some(left) => {
                self.left = left;
                Ok(read)
            }
            None => Err(io::Error::other(format!(
                "the text is longer than {} bytes, the limit (see --max-bytes)",
                self.limit
            ))),
        }
    }
}
