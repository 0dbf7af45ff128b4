//! Cleanups that another thread may run: [`SendBatch`].

use alloc::vec::Vec;
use core::any::Any;
use core::fmt;

use crate::cycle::failures::{Failure, Step};
use crate::edges::callback::{Call, SendCallback};
use crate::edges::finalizers::RegistrationId;
use crate::object::edges::{EdgeList, HeldRoot};

/// A payload that can be sent, and the function that gets it. A root cannot be sent, so it holds none.
pub(crate) struct WithSend<P> {
    pub(crate) function: fn(P),
    pub(crate) payload: P,
}

impl<P: Send + 'static> Call for WithSend<P> {
    type Payload = P;

    fn call(self, _: &mut dyn Any, _: RegistrationId) {
        (self.function)(self.payload);
    }

    fn into_payload(self) -> P {
        self.payload
    }

    fn payload(&self) -> &P {
        &self.payload
    }

    fn list_edges(&self, _: &mut EdgeList) {}

    fn find(&self, _: &mut HeldRoot) {}
}

/// Cleanups taken out of a heap, to be run anywhere. Made by [`Heap::drain_send`](crate::Heap::drain_send).
///
/// One that is dropped without having been run drops the payloads, and their functions are never called.
#[must_use = "the cleanups run when the batch is run, not by themselves"]
pub struct SendBatch {
    callbacks: Vec<Sent>,
}

/// A callback on its way, and how a failure names it.
type Sent = (RegistrationId, SendCallback, Step);

impl SendBatch {
    pub(crate) fn new() -> Self {
        Self { callbacks: Vec::new() }
    }

    pub(crate) fn push(&mut self, id: RegistrationId, callback: SendCallback, step: Step) {
        self.callbacks.push((id, callback, step));
    }

    /// How many cleanups are in it.
    pub fn len(&self) -> usize {
        self.callbacks.len()
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.callbacks.is_empty()
    }

    /// Runs the cleanups, in the order in which a drain would have.
    ///
    /// One that panics is reported, and the others run all the same (without the feature `std`, or with
    /// `panic = "abort"`, that is impossible).
    pub fn run(self) -> SendReport {
        let mut report = SendReport::default();
        for (id, callback, step) in self.callbacks {
            report.ran += 1;
            report.failures.extend(step.run(|| callback.call(id)));
        }
        report
    }
}

impl fmt::Debug for SendBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendBatch").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// What running a [`SendBatch`] did.
#[derive(Clone, Default, Debug)]
#[non_exhaustive]
pub struct SendReport {
    /// Cleanups that ran, the ones that panicked included.
    pub ran: usize,
    /// What panicked. The heap does not know of it.
    pub failures: Vec<Failure>,
}
