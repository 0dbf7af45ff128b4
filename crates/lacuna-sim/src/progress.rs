//! The bar on the terminal.
//!
//! Owns what is shown while the program works: on standard error only, and only when that is a terminal and the user
//! did not ask for quiet, so that logs and pipes never see it.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Read};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Whether and where to show progress.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    shown: bool,
}

impl Progress {
    /// Shows progress if standard error is a terminal and `quiet` is false.
    pub fn new(quiet: bool) -> Self {
        Progress { shown: !quiet && io::stderr().is_terminal() }
    }

    /// Never shows anything.
    pub fn hidden() -> Self {
        Progress { shown: false }
    }

    /// A bar for work in `total` steps.
    pub fn bar(&self, what: &'static str, total: u64) -> Bar {
        self.with_style(what, Some(total), "{msg:>9} {wide_bar} {human_pos} of {human_len}")
    }

    /// A reader that shows how much has been read.
    pub(crate) fn reader<R: Read>(&self, what: &'static str, total: Option<u64>, reader: R) -> impl Read + use<R> {
        let template = match total {
            Some(_) => "{msg:>9} {wide_bar} {bytes} of {total_bytes}",
            None => "{msg:>9} {spinner} {bytes}",
        };
        let bar = self.with_style(what, total, template);
        Reading { reader, bar }
    }

    fn with_style(&self, what: &'static str, total: Option<u64>, template: &str) -> Bar {
        if !self.shown {
            return Bar(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        }
        bar.set_message(Cow::Borrowed(what));
        Bar(bar)
    }
}

/// A bar; it goes away when dropped.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// `steps` more are done.
    pub fn advance(&self, steps: u64) {
        self.0.inc(steps);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

struct Reading<R> {
    reader: R,
    bar: Bar,
}

impl<R: Read> Read for Reading<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.bar.advance(read as u64);
        Ok(read)
    }
}
