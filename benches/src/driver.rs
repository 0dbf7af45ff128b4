//! Running one workload on one system: the command `run`.
//!
//! Systems are named for the build: with the feature `mimalloc` every name ends in `+mimalloc`, lacuna's too, though it
//! takes whole chunks from the allocator and gains nothing; so a name in a report always says which build ran.

use std::fmt;
use std::sync::mpsc;
use std::thread;

use crate::answers::expected;
use crate::report::{Report, peak_kib};
use crate::systems::{self, MIMALLOC, System};
use crate::workload::Workload;

/// Deep stacks, for the peers that trace by recursion; the largest that may be had is taken.
const STACKS: [usize; 4] = [4 << 30, 1 << 30, 256 << 20, 64 << 20];

/// The ending that this build gives to the names of systems.
pub const fn build_suffix() -> &'static str {
    if cfg!(feature = "mimalloc") { MIMALLOC } else { "" }
}

/// Why a run came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// No system has this name.
    UnknownSystem(String),
    /// The name is of a system in the other build.
    OtherBuild(String),
    /// The answer was wrong.
    WrongAnswer {
        /// The workload.
        workload: Workload,
        /// The system.
        system: String,
        /// What it should have been.
        expected: u64,
        /// What it was.
        got: u64,
    },
    /// The workload panicked; its message is on standard error.
    Panicked,
    /// No thread could be started.
    NoThread,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::UnknownSystem(name) => {
                write!(f, "there is no system `{name}`; there are ")?;
                for (i, system) in systems::ALL.iter().enumerate() {
                    write!(f, "{}`{}`", if i == 0 { "" } else { ", " }, system.name())?;
                }
                Ok(())
            }
            RunError::OtherBuild(name) if name.ends_with(MIMALLOC) => {
                write!(f, "`{name}` is a system of the other build: add `--features mimalloc`")
            }
            RunError::OtherBuild(name) => {
                write!(f, "`{name}` is a system of the other build; in this one it is `{name}{MIMALLOC}`")
            }
            RunError::WrongAnswer { workload, system, expected, got } => {
                write!(f, "wrong answer: `{workload}` on `{system}` gave {got}, expected {expected}")
            }
            RunError::Panicked => f.write_str("the workload panicked"),
            RunError::NoThread => f.write_str("no thread could be started to run the workload"),
        }
    }
}

impl std::error::Error for RunError {}

/// Finds a system of this build by its name, with or without the ending.
///
/// Without it the name means the system as built, except that asking for `gc-arena` must not silently run
/// `gc-arena+mimalloc`.
pub fn find_system(name: &str) -> Result<&'static dyn System, RunError> {
    let base = name.strip_suffix(MIMALLOC).unwrap_or(name);
    let system = systems::find(base).ok_or_else(|| RunError::UnknownSystem(base.to_owned()))?;
    if name.strip_prefix(base) == Some(build_suffix()) {
        Ok(system)
    } else {
        Err(RunError::OtherBuild(name.to_owned()))
    }
}

/// Runs a workload on the calling thread and checks the answer.
pub fn run(workload: Workload, system: &dyn System) -> Result<Report, RunError> {
    let mut outcome = system.run(workload);
    let system = format!("{}{}", system.name(), build_suffix());
    if let Ok(measured) = &mut outcome {
        if let Some(peak) = peak_kib() {
            measured.figures.push(("peak_kib", peak));
        }
        let (expected, got) = (expected(&workload), measured.check);
        if got != expected {
            return Err(RunError::WrongAnswer { workload, system, expected, got });
        }
    }
    Ok(Report { workload, system, outcome })
}

/// Runs a workload where it can run best.
///
/// That is the calling thread, which should be the only one: glibc's malloc was measured to be 1.4 times as slow in a
/// second thread. Only a peer that would overflow the stack gets a thread with a deeper one.
pub fn run_in_process(workload: Workload, system: &'static dyn System) -> Result<Report, RunError> {
    if system.traces_by_recursion(workload) { run_on_deep_stack(workload, system) } else { run(workload, system) }
}

/// Runs a workload on a thread with a deep stack.
///
/// The thread is left behind: what it still holds need not be given back by a process that is about to end.
fn run_on_deep_stack(workload: Workload, system: &'static dyn System) -> Result<Report, RunError> {
    for stack in STACKS {
        let (sender, receiver) = mpsc::sync_channel(1);
        let worker = move || {
            if sender.send(run(workload, system)).is_ok() {
                loop {
                    thread::park();
                }
            }
        };
        if thread::Builder::new().stack_size(stack).spawn(worker).is_ok() {
            // The sender is gone without a word only if the workload panicked.
            return receiver.recv().unwrap_or(Err(RunError::Panicked));
        }
    }
    Err(RunError::NoThread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_build() {
        assert!(find_system(&format!("gc-arena{}", build_suffix())).is_ok());
        let other = if cfg!(feature = "mimalloc") { "gc-arena" } else { "gc-arena+mimalloc" };
        assert_eq!(find_system(other).err(), Some(RunError::OtherBuild(other.to_owned())));
        assert_eq!(find_system("boehm").err(), Some(RunError::UnknownSystem("boehm".to_owned())));
        assert!(RunError::UnknownSystem("boehm".to_owned()).to_string().contains("`gc-arena`"));
    }
}
