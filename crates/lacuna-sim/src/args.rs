//! The command line.
//!
//! Owns its grammar and help text. `replay` is the command when none is given; others may follow, so a file that has
//! the name of a command is written with a path (`./replay`).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::input::{DEFAULT_LIMIT, Source};

/// The name cut when neither a file nor a name is given.
const DEFAULT_CUT: &str = "exports";

/// Replays dumps of real heaps on a lacuna heap.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    about = "Replays dumps of real heaps on a lacuna heap, and shows what lives, dies and is cleared",
    long_about = "Replays dumps of real heaps on a lacuna heap, and shows what lives, dies and is cleared.\n\n\
                  With no arguments: replays the bundled dump, with `--cut exports`.",
    after_help = "Exit codes: 0 done, 1 the heap disagrees with a search over the dump, 2 wrong arguments, \
                  3 the dump can't be read, 4 the report can't be written",
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do; a replay if not said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to replay, if no command is given.
    #[command(flatten)]
    pub replay: ReplayArgs,
}

/// What the program can do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Load a dump, collect, cut edges by name and collect again (this is done when no command is given)
    Replay(ReplayArgs),
}

/// How to replay.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// A V8 heap snapshot, plain or gzip; `-` for standard input; the bundled one if not given
    pub file: Option<PathBuf>,

    /// Remove the property, internal, context and shortcut edges of this name and collect again; may be repeated: each
    /// continues where the one before left the heap
    #[arg(long, value_name = "NAME")]
    pub cut: Vec<String>,

    /// Print the report as one JSON document
    #[arg(long)]
    pub json: bool,

    /// Draw the histogram by type as SVG
    #[arg(long, value_name = "FILE")]
    pub chart: Option<PathBuf>,

    /// Show no progress, and no notes on standard error
    #[arg(long, short)]
    pub quiet: bool,

    /// Refuse a dump of more text than this, uncompressed; K, M and G are understood
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_LIMIT, value_parser = bytes)]
    pub max_bytes: u64,
}

impl ReplayArgs {
    /// Where the dump is.
    pub fn source(&self) -> Source {
        match &self.file {
            None => Source::Bundled,
            Some(path) if path.as_os_str() == "-" => Source::Stdin,
            Some(path) => Source::File(path.clone()),
        }
    }

    /// The names to cut, in order. With no arguments at all there is one, so that something dies.
    pub fn cuts(&self) -> Vec<String> {
        if self.cut.is_empty() && self.file.is_none() { vec![DEFAULT_CUT.to_owned()] } else { self.cut.clone() }
    }
}

/// A number of bytes, such as `500M`.
fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 =
        digits.parse().map_err(|_| "expected a number of bytes, such as 4096, 64K, 500M or 2G".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "expected less than 2^64 bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!(bytes("12"), Ok(12));
        assert_eq!(bytes("3K"), Ok(3072));
        assert_eq!(bytes("2g"), Ok(2 << 30));
        assert!(bytes("").is_err());
        assert!(bytes("M").is_err());
        assert!(bytes("-1").is_err());
        assert!(bytes("99999999999999999999").is_err());
        assert!(bytes("99999999999999999G").is_err());
    }

    #[test]
    fn replay_is_implied() {
        let implied = Cli::parse_from(["lacuna-sim", "a.heapsnapshot", "--cut", "x", "--cut", "y"]);
        assert!(implied.command.is_none());
        assert_eq!(implied.replay.cuts(), ["x", "y"]);
        assert_eq!(implied.replay.source(), Source::File("a.heapsnapshot".into()));
        let said = Cli::parse_from(["lacuna-sim", "replay", "-"]);
        let Some(Command::Replay(replay)) = said.command else {
            panic!("expected the command replay");
        };
        assert_eq!(replay.source(), Source::Stdin);
        assert!(replay.cuts().is_empty());
        assert_eq!(Cli::parse_from(["lacuna-sim"]).replay.cuts(), [DEFAULT_CUT]);
    }
}
