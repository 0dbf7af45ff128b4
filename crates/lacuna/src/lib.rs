//! A tracing garbage-collected object runtime: a mark-sweep heap with strong roots, weak references that read dead in
//! the collection that finds their object unreachable, and callbacks that run after it.
//!
//! ```
//! use lacuna::Heap;
//!
//! let mut heap = Heap::new();
//! let object = heap.alloc(String::from("observed, not owned"));
//! let weak = heap.downgrade(&object);
//!
//! heap.collect();
//! assert!(heap.upgrade(weak).is_some()); // the root keeps it alive
//! drop(object);
//! heap.collect();
//! assert!(heap.upgrade(weak).is_none()); // the lacuna
//! ```
//!
//! # What keeps an object alive
//!
//! [`Root`]s; fields of live objects; roots in the payloads of [cleanups](Heap::cleanup) and
//! [notifications](Heap::notify) that have not run; being the target of a [guardian](Heap::guard) that has found its
//! object unreachable and not handed it out; and what the value of an entry in [`Ephemerons`] leads to, if the table and
//! the keys are alive. Nothing else: not a [`Weak`], not being the key of such an entry, not being the target of a
//! cleanup, not being the target or the owner of a notification.
//!
//! # Features
//!
//! - `std` (default): panics of callbacks and `Drop` are isolated, times are measured, `std` collections can be fields.
//! - `derive` (default): `#[derive(Trace)]`.
//! - `parallel`: several threads can mark (`Config::mark_threads`).
//! - `tracing`: each stop for a collection is a span of the crate `tracing`.
//! - `hashbrown-fields`: `hashbrown::HashTable` (version 0.17) can be a field, and have huge pages by `HugePages`; `WeakTable`.

#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod config;
mod cycle;
mod edges;
mod error;
mod export;
mod handle;
mod heap;
mod memory;
mod object;
mod stats;

pub use config::{AutoDrain, Config, MarkOrder};
pub use cycle::failures::{Failure, FailureKind};
pub use cycle::verify::{VerifyError, VerifyReport};
pub use cycle::work::StepBudget;
pub use edges::finalizers::CallbackId;
pub use error::{AllocError, Busy, Exhausted, ObserveError, RegisterError, RegisterFailure, WrongHeap};
pub use export::retaining::{Retained, RetainingPath, SelfRetention};
pub use handle::cell::{GcCell, GcRefCell, Ref, RefMut};
pub use handle::drain::{Budget, DrainReport, ShutdownOptions, ShutdownReport};
pub use handle::ephemerons::{EphemeronEdit, Ephemerons, Keys};
pub use handle::guard::{AnyRoot, Guard, Guarded};
pub use handle::mutator::{Mutator, Reader};
pub use handle::registration::{Cleanup, Notification, Registered};
pub use handle::root::Root;
pub use handle::send::{SendBatch, SendReport};
pub use handle::weak::{Weak, WeakLong};
#[cfg(feature = "hashbrown-fields")]
pub use handle::weak_table::{OccupiedWeakEntry, VacantWeakEntry, WeakTable, WeakTableEntry, WeakTableIter};
pub use heap::Heap;
#[cfg(feature = "derive")]
pub use lacuna_derive::Trace;
#[cfg(feature = "hashbrown-fields")]
pub use memory::huge_pages::HugePages;
pub use object::gc::Gc;
pub use object::sequence::WithTail;
pub use object::trace::{Object, Trace, Visitor};
pub use object::trace_std::Opaque;
pub use stats::{Cause, CycleStats, Event, EventKind, Phase, Stats, Stops};

/// The README's examples, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

#[doc(hidden)]
pub mod __private {
    pub use crate::object::dynamic::{Dynamic, Fat};
    pub use crate::object::trace::{DoesNotDrop, TypesWithEdgesMustNotImplementDrop};
}
