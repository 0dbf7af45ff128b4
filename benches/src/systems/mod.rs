//! The systems: lacuna, its peers, and memory managed by hand as a yardstick.
//!
//! One file per system, each opening with the caveats of that system. A system implements the workloads it can; the
//! others stay at the default, which says why not. Adding a workload means adding a variant of
//! [`Workload`], its answer, and a method to [`System`] with a default.

pub mod boa_gc;
pub mod boxed;
pub mod bump;
pub mod dumpster;
pub mod gc;
pub mod gc_arena;
pub mod lacuna;
pub mod rc;
pub mod safe_gc;

use std::cell::Cell;

use crate::report::{Outcome, Unsupported};
use crate::workload::{Length, Order, Workload};

/// What a system is, which decides how it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// lacuna itself.
    Subject,
    /// A garbage collector in Rust.
    Peer,
    /// No collector: the price of memory without one.
    Yardstick,
}

/// A system that can run workloads.
pub trait System: Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// The package it comes from, for the version in reports; `None` for the standard library.
    fn package(&self) -> Option<&'static str>;

    /// What it is.
    fn role(&self) -> Role {
        Role::Peer
    }

    /// Whether each object is a call of the global allocator, so that mimalloc makes a difference.
    fn malloc_based(&self) -> bool {
        true
    }

    /// Whether it would overflow an ordinary stack on this workload.
    fn traces_by_recursion(&self, _workload: Workload) -> bool {
        false
    }

    /// Runs `bt`.
    fn bt(&self, depth: u32) -> Outcome;

    /// Runs `gcbench`.
    fn gcbench(&self, depth: u32) -> Outcome;

    /// Runs `mark`.
    fn mark(&self, nodes: usize) -> Outcome;

    /// Runs `churn`.
    fn churn(&self, slots: usize, steps: u64) -> Outcome;

    /// Runs `lists`.
    fn lists(&self, pushes: u64, length: u64) -> Outcome;

    /// Runs `weak`.
    fn weak(&self, _objects: usize) -> Outcome {
        Err(Unsupported("no weak references"))
    }

    /// Runs `ephemeron`.
    fn ephemeron(&self, _entries: usize, _order: Order) -> Outcome {
        Err(Unsupported("no ephemerons"))
    }

    /// Runs `finalize`.
    fn finalize(&self, objects: usize) -> Outcome;

    /// Runs `pause`: nodes of `mark` live, and `churn` in steps beside them, each with the collector's work that comes with
    /// it.
    fn pause(&self, _mebibytes: usize, _length: Length) -> Outcome {
        Err(Unsupported("no graphs with cycles"))
    }

    /// Runs `bt-beside`: nodes of `mark` live, and `bt` beside them, in a heap that may grow by a fifth of what is live.
    fn bt_beside(&self, _depth: u32, _mebibytes: usize) -> Outcome {
        Err(Unsupported("no goal for the size of the heap"))
    }

    /// Runs `array`: an array of edges, written at random with new objects that hold the number of their place.
    fn array(&self, _edges: usize, _length: Length) -> Outcome {
        Err(Unsupported("not written for this system"))
    }

    /// Runs any workload.
    fn run(&self, workload: Workload) -> Outcome {
        match workload {
            Workload::Bt { depth } => self.bt(depth),
            Workload::Gcbench { depth } => self.gcbench(depth),
            Workload::Mark { nodes } => self.mark(nodes),
            Workload::Churn { slots, steps } => self.churn(slots, steps),
            Workload::Lists { pushes, length } => self.lists(pushes, length),
            Workload::Weak { objects } => self.weak(objects),
            Workload::Ephemeron { entries, order } => self.ephemeron(entries, order),
            Workload::Finalize { objects } => self.finalize(objects),
            Workload::Pause { mebibytes, length } => self.pause(mebibytes, length),
            Workload::BtBeside { depth, mebibytes } => self.bt_beside(depth, mebibytes),
            Workload::Array { edges, length } => self.array(edges, length),
        }
    }
}

/// Every system, lacuna first.
pub const ALL: [&dyn System; 11] = [
    &lacuna::Lacuna::DEFAULT,
    &lacuna::Lacuna::STOP_THE_WORLD,
    &lacuna::LacunaDrop,
    &gc_arena::GcArena,
    &boa_gc::BoaGc,
    &gc::RustGc,
    &safe_gc::SafeGc,
    &dumpster::Dumpster,
    &rc::RefCounted,
    &boxed::ByHand,
    &bump::Bump,
];

/// The ending of system names in the build with mimalloc.
pub const MIMALLOC: &str = "+mimalloc";

/// The system with this name, without any ending.
pub fn find(name: &str) -> Option<&'static dyn System> {
    ALL.into_iter().find(|system| system.name() == name)
}

thread_local! {
    /// Cleanups run on this thread, for `finalize`: one counter of one kind for all systems.
    static CLEANED: Cell<u64> = const { Cell::new(0) };
}

/// Called by each cleanup.
pub(crate) fn count_cleanup() {
    CLEANED.set(CLEANED.get() + 1);
}

/// The number of cleanups since the last call.
pub(crate) fn take_cleanups() -> u64 {
    CLEANED.take()
}
