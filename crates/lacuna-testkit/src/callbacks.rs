//! What callbacks do on the real heap, and the journal in which they note it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lacuna::{Budget, Cleanup, Heap, Opaque, ShutdownOptions, Trace};

use crate::model::{Event, ObjectId, RegistrationId};
use crate::objects::{Handle, Kind};
use crate::operations::Behaviour;

/// Objects that [`Behaviour::Allocate`] allocates.
pub(crate) const ALLOCATIONS: usize = 3;

/// What happened where the driver could not see it.
#[derive(Default)]
pub(crate) struct Journal {
    /// What callbacks did since the driver last looked.
    pub(crate) events: RefCell<Vec<Event>>,
    /// Objects whose `Drop` has run, since ever.
    pub(crate) dropped: RefCell<Vec<ObjectId>>,
    /// Roots that callbacks kept.
    pub(crate) kept: RefCell<Vec<(Handle, ObjectId)>>,
    /// Cleanups that callbacks registered.
    pub(crate) registered: RefCell<Vec<(Cleanup<Payload>, RegistrationId)>>,
    /// Objects allocated so far.
    pub(crate) allocated: Cell<usize>,
    /// Registrations made so far.
    pub(crate) registrations: Cell<usize>,
}

/// What a callback gets.
#[derive(Trace)]
pub(crate) struct Payload {
    pub(crate) registration: RegistrationId,
    pub(crate) behaviour: Opaque<Behaviour>,
    pub(crate) held: Vec<Held>,
    pub(crate) journal: Opaque<Rc<Journal>>,
}

/// A root in a payload.
#[derive(Trace)]
pub(crate) struct Held {
    pub(crate) root: Handle,
    pub(crate) id: ObjectId,
}

/// A panic on purpose. Passed to `resume_unwind`, so that it is not printed.
pub(crate) struct Deliberate;

/// The function of every cleanup.
pub(crate) fn callback(heap: &mut Heap, payload: Payload) {
    let Payload { registration, behaviour, held, journal } = payload;
    journal.note(Event::Ran(registration));
    match behaviour.0 {
        Behaviour::Nothing => {}
        Behaviour::Panic => std::panic::resume_unwind(Box::new(Deliberate)),
        Behaviour::Allocate => {
            for _ in 0..ALLOCATIONS {
                let id = journal.allocated.get();
                let before = heap.stats().collections;
                // Without memory there is one object less, which is garbage anyway.
                drop(Handle::allocate(heap, Kind::Leaf, id, &journal));
                journal.allocated.set(id + 1);
                journal.note(Event::Used(heap.stats().collections - before));
            }
        }
        Behaviour::Collect => {
            let before = heap.stats().collections;
            heap.collect();
            journal.note(Event::Used(heap.stats().collections - before));
        }
        Behaviour::Nest => {
            assert!(heap.drain(Budget::unlimited()).is_err(), "a callback drained");
            assert!(heap.shutdown(ShutdownOptions::default()).is_err(), "a callback shut the heap down");
        }
        Behaviour::Keep => journal.kept.borrow_mut().extend(held.into_iter().map(|held| (held.root, held.id))),
        Behaviour::Register => {
            if let Some(target) = held.first() {
                let payload = journal.payload(Behaviour::Nothing, Vec::new());
                let cleanup = target.root.cleanup(heap, payload).expect("the payload holds nothing");
                let id = journal.registrations.replace(journal.registrations.get() + 1);
                journal.registered.borrow_mut().push((cleanup, id));
            }
        }
    }
}

impl Journal {
    fn note(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }

    /// The payload of the next registration.
    pub(crate) fn payload(self: &Rc<Self>, behaviour: Behaviour, held: Vec<Held>) -> Payload {
        let registration = self.registrations.get();
        Payload { registration, behaviour: Opaque(behaviour), held, journal: Opaque(Rc::clone(self)) }
    }
}
