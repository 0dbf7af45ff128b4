//! The program: see `lacuna-sim --help`.
//!
//! Exit codes: 0 done; 1 the heap disagrees with a search over the dump; 2 wrong arguments; 3 the dump can't be read;
//! 4 the report can't be written.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use lacuna_sim::args::Cli;
use lacuna_sim::run::run;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_closed_pipe() => ExitCode::from(error.code()),
        Err(error) => {
            // Nothing sensible can be done if standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.code())
        }
    }
}
