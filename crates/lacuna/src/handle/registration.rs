//! The ids of callbacks: [`Cleanup`] and [`Notification`].

use core::any::Any;
use core::fmt;
use core::marker::PhantomData;

use crate::edges::callback::Call;
use crate::edges::finalizers::{CallbackId, RegistrationId};
use crate::heap::Heap;
use crate::object::edges::{EdgeList, HeldRoot};
use crate::object::trace::Trace;

/// The id of a callback that was registered: a [`Cleanup`] or a [`Notification`].
///
/// What can be done with either: [`Heap::cancel`], [`Heap::run_now`], [`Heap::is_pending`], [`Heap::peek`],
/// [`Heap::set_label`], [`Heap::set_at_shutdown`]. A registration is *pending* until it is cancelled or its callback
/// runs: while its target lives, and while it is queued. Dropping an id does nothing.
pub trait Registered: Copy + sealed::Named {
    /// What the callback gets.
    type Payload: 'static;
}

pub(crate) mod sealed {
    use super::CallbackId;

    pub trait Named {
        fn name(self) -> CallbackId;
    }
}

macro_rules! registration {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        pub struct $type<P> {
            name: CallbackId,
            payload: PhantomData<fn() -> P>,
        }

        impl<P> $type<P> {
            /// The id of a registration whose payload is a `P`.
            pub(crate) fn new(name: CallbackId) -> Self {
                Self { name, payload: PhantomData }
            }

            /// The id without the payload's type: to be told from others, and found in a [`Failure`](crate::Failure).
            pub fn id(self) -> CallbackId {
                self.name
            }
        }

        impl<P> sealed::Named for $type<P> {
            fn name(self) -> CallbackId {
                self.name
            }
        }

        impl<P: 'static> Registered for $type<P> {
            type Payload = P;
        }

        impl<P> Clone for $type<P> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<P> Copy for $type<P> {}

        impl<P> PartialEq for $type<P> {
            fn eq(&self, other: &Self) -> bool {
                self.name == other.name
            }
        }

        impl<P> Eq for $type<P> {}

        impl<P> core::hash::Hash for $type<P> {
            fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
                self.name.hash(state);
            }
        }

        impl<P> fmt::Debug for $type<P> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({}:{})", stringify!($type), self.name.id.index(), self.name.id.generation())
            }
        }
    };
}

registration! {
    /// Names a cleanup whose payload is a `P`. Made by [`Heap::cleanup`](crate::Heap::cleanup).
    ///
    /// Dropping it does nothing; [`Heap::cancel`](crate::Heap::cancel) cancels the cleanup.
    Cleanup
}

registration! {
    /// Names a notification whose payload is a `P`. Made by [`Heap::notify`](crate::Heap::notify).
    ///
    /// Dropping it does nothing; [`Heap::cancel`](crate::Heap::cancel) cancels the notification.
    Notification
}

/// The function that a notification calls.
pub(crate) type Notified<P> = fn(&mut Heap, Notification<P>, P);

/// A payload and the function that gets it, with the notification's id.
pub(crate) struct WithNotification<P: 'static> {
    pub(crate) function: Notified<P>,
    pub(crate) payload: P,
}

impl<P: Trace + 'static> Call for WithNotification<P> {
    type Payload = P;

    fn call(self, heap: &mut dyn Any, id: RegistrationId) {
        let heap: &mut Heap = heap.downcast_mut().expect("callbacks are called with the heap");
        let name = CallbackId { heap: heap.id(), id };
        (self.function)(heap, Notification::new(name), self.payload);
    }

    fn into_payload(self) -> P {
        self.payload
    }

    fn payload(&self) -> &P {
        &self.payload
    }

    fn list_edges(&self, list: &mut EdgeList) {
        self.payload.trace(list);
    }

    fn find(&self, root: &mut HeldRoot) {
        self.payload.trace(root);
    }
}
