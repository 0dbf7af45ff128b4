//! What panicked while the collector or a drain ran it, until it is reported.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::edges::finalizers::{CallbackId, Class, Taken};
use crate::edges::roots::HeapId;

/// A panic that was caught.
///
/// Given to the hook that [`Heap::on_error`](crate::Heap::on_error) sets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// What panicked.
    pub kind: FailureKind,
    /// The registration that it was the callback or the payload of, if any. To be compared with
    /// [`Cleanup::id`](crate::Cleanup::id) and [`Notification::id`](crate::Notification::id).
    pub registration: Option<CallbackId>,
    /// The label of the registration, if it has one.
    pub label: Option<&'static str>,
    /// The panic message, if it was a string.
    pub message: Option<String>,
}

/// What panicked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FailureKind {
    /// The callback of a cleanup.
    Cleanup,
    /// The callback of a notification.
    Notification,
    /// The `Drop` of an object, while it was swept, that of the value of a dead ephemeron, or that of a payload.
    Drop,
}

/// The hook that is told of failures.
pub(crate) type ErrorHook = Box<dyn FnMut(&Failure)>;

/// Failures, counted and kept until the next point where the hook may run.
#[derive(Default)]
pub(crate) struct Failures {
    pub(crate) total: u64,
    waiting: Vec<Failure>,
}

/// More failures than this between two reports are counted only.
const WAITING: usize = 1024;

impl Failures {
    /// Keeps a failure until it is reported.
    pub(crate) fn record(&mut self, failure: Option<Failure>) {
        if let Some(failure) = failure {
            self.total += 1;
            if self.waiting.len() < WAITING {
                self.waiting.push(failure);
            }
        }
    }

    /// Adds what was recorded elsewhere.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.total += other.total;
        let room = WAITING - self.waiting.len();
        self.waiting.extend(other.waiting.into_iter().take(room));
    }

    /// What waits to be reported.
    pub(crate) fn take(&mut self) -> Vec<Failure> {
        core::mem::take(&mut self.waiting)
    }
}

/// A step that may panic, as a failure names it.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    kind: FailureKind,
    registration: Option<CallbackId>,
    label: Option<&'static str>,
}

impl Step {
    /// The callback of a registration.
    #[inline(always)]
    pub(crate) fn callback(heap: HeapId, taken: &Taken) -> Self {
        let kind = if taken.class == Class::Notification { FailureKind::Notification } else { FailureKind::Cleanup };
        Self { kind, registration: Some(CallbackId { heap, id: taken.id }), label: taken.label() }
    }

    /// The `Drop` of the payload of a registration.
    pub(crate) fn payload(heap: HeapId, taken: &Taken) -> Self {
        Self { kind: FailureKind::Drop, ..Self::callback(heap, taken) }
    }

    /// Runs the step; a panic in it is returned instead of passed on. See [`guard`].
    pub(crate) fn run(self, step: impl FnOnce()) -> Option<Failure> {
        Some(self.failure(guard(step).err()?))
    }

    /// The failure that a panic in the step is.
    pub(crate) fn failure(self, Panic { message }: Panic) -> Failure {
        let Self { kind, registration, label } = self;
        Failure { kind, registration, label, message }
    }
}

/// What a panic that was caught said.
pub(crate) struct Panic {
    message: Option<String>,
}

/// Runs `step`; a panic in it is returned instead of passed on.
///
/// Without `std` a panic cannot be caught: it is passed on, and the caller has to leave everything in order first.
#[inline(always)]
pub(crate) fn guard(step: impl FnOnce()) -> Result<(), Panic> {
    #[cfg(feature = "std")]
    return std::panic::catch_unwind(core::panic::AssertUnwindSafe(step)).map_err(caught);
    #[cfg(not(feature = "std"))]
    {
        step();
        Ok(())
    }
}

#[cfg(feature = "std")]
#[cold]
#[inline(never)]
fn caught(payload: Box<dyn core::any::Any + Send>) -> Panic {
    let message = payload
        .downcast_ref::<&str>()
        .map(|message| String::from(*message))
        .or_else(|| payload.downcast_ref::<String>().cloned());
    discard(payload);
    Panic { message }
}

/// Runs a step that is no registration's; a panic in it is returned instead of passed on. See [`guard`].
pub(crate) fn catch(kind: FailureKind, label: Option<&'static str>, step: impl FnOnce()) -> Option<Failure> {
    Step { kind, registration: None, label }.run(step)
}

/// Drops a panic payload. One that panics in turn is forgotten.
#[cfg(feature = "std")]
pub(crate) fn discard(payload: Box<dyn core::any::Any + Send>) {
    if let Err(second) = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| drop(payload))) {
        core::mem::forget(second);
    }
}
