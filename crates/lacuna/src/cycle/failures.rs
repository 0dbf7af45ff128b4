//! What panicked while the collector or a drain ran it, until it is reported.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// A panic that was caught.
///
/// Given to the hook that [`Heap::on_error`](crate::Heap::on_error) sets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// What panicked.
    pub kind: FailureKind,
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

/// Runs `step`; a panic in it is returned instead of passed on.
///
/// Without `std` a panic cannot be caught: it is passed on, and the caller has to leave everything in order first.
pub(crate) fn catch(kind: FailureKind, label: Option<&'static str>, step: impl FnOnce()) -> Option<Failure> {
    #[cfg(feature = "std")]
    {
        let payload = std::panic::catch_unwind(core::panic::AssertUnwindSafe(step)).err()?;
        let message = payload
            .downcast_ref::<&str>()
            .map(|message| String::from(*message))
            .or_else(|| payload.downcast_ref::<String>().cloned());
        discard(payload);
        Some(Failure { kind, label, message })
    }
    #[cfg(not(feature = "std"))]
    {
        let _ = (kind, label);
        step();
        None
    }
}

/// Drops a panic payload. One that panics in turn is forgotten.
#[cfg(feature = "std")]
pub(crate) fn discard(payload: Box<dyn core::any::Any + Send>) {
    if let Err(second) = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| drop(payload))) {
        core::mem::forget(second);
    }
}
