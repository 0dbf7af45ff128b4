//! What callbacks do on the real heap, and the journal in which they note it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use lacuna::{Budget, Cause, Cleanup, Heap, Notification, Opaque, Phase, Registered, ShutdownOptions, Trace};

use crate::compare;
use crate::model::{Collected, Event, Mismatch, ObjectId, RegistrationId};
use crate::objects::{Edge, Handle, Kind, Observer};
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
    pub(crate) registered: RefCell<Vec<(Callback, RegistrationId)>>,
    /// The weak references, in the order of the model's, for callbacks to look at.
    pub(crate) witnesses: RefCell<Vec<Witness>>,
    /// Notifications that were told, by the id that they got.
    pub(crate) told: RefCell<Vec<(Notification<Payload>, RegistrationId)>>,
    /// Whether callbacks run that were not queued, so that their targets may live.
    pub(crate) unqueued: Cell<bool>,
    /// Whether a turn is open.
    pub(crate) in_turn: Cell<bool>,
    /// What a callback found wrong.
    pub(crate) complaints: RefCell<Vec<Mismatch>>,
    /// Objects allocated so far.
    pub(crate) allocated: Cell<usize>,
    /// Registrations made so far.
    pub(crate) registrations: Cell<usize>,
    /// Where collections are done in increments, what tells which objects they kept.
    pub(crate) probes: Option<Probes>,
}

/// Weak references to all objects, of which the program knows nothing.
///
/// A collection in increments may keep what dies while it marks, or find it dead. So that the model knows which, it is told.
#[derive(Default)]
pub(crate) struct Probes {
    /// A short and a long one to each object that is not dead for good.
    to: RefCell<BTreeMap<ObjectId, [Observer; 2]>>,
    /// Collections that the model was told of.
    seen: Cell<u64>,
    /// How many there had been when the collection began that the model was told of as the last to begin.
    began: Cell<Option<u64>>,
}

/// A weak reference, and which others have to agree with it.
#[derive(Clone, Copy)]
pub(crate) struct Witness {
    pub(crate) observer: Observer,
    pub(crate) target: ObjectId,
    pub(crate) long: bool,
    /// How often the target had been brought back when the reference was made.
    pub(crate) revivals: u32,
}

/// The id of a cleanup or a notification.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callback {
    Cleanup(Cleanup<Payload>),
    Notification(Notification<Payload>),
}

/// What has died when a callback runs.
#[derive(Clone, Copy)]
pub(crate) enum Death {
    /// An object, so all weak references to it.
    Object(ObjectId),
    /// A weak reference.
    Reference(usize),
}

/// What a callback gets.
#[derive(Trace)]
pub(crate) struct Payload {
    pub(crate) registration: RegistrationId,
    pub(crate) death: Opaque<Death>,
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

/// The function of every notification.
pub(crate) fn told(heap: &mut Heap, id: Notification<Payload>, payload: Payload) {
    payload.journal.told.borrow_mut().push((id, payload.registration));
    if heap.is_pending(id) {
        payload.journal.complaints.borrow_mut().push("a notification is pending while it is told".into());
    }
    callback(heap, payload);
}

/// The function of every cleanup.
pub(crate) fn callback(heap: &mut Heap, payload: Payload) {
    let Payload { registration, death, behaviour, held, journal } = payload;
    journal.look(heap);
    journal.note(Event::Ran(registration));
    let died = if journal.unqueued.get() { Ok(()) } else { compare::death(heap, &journal, death.0) };
    if let Err(complaint) = died.and_then(|()| compare::agreement(heap, &journal)) {
        journal.complaints.borrow_mut().push(format!("in a callback, {complaint}"));
    }
    match behaviour.0 {
        Behaviour::Nothing => {}
        Behaviour::Panic => std::panic::resume_unwind(Box::new(Deliberate)),
        Behaviour::Allocate => {
            for _ in 0..ALLOCATIONS {
                let id = journal.allocated.get();
                let before = heap.stats().collections;
                let root = Handle::allocate(heap, Kind::Leaf, id, &journal);
                journal.allocated.set(id + 1);
                let collections = heap.stats().collections - before;
                journal.look(heap);
                journal.note(Event::Used { collections, allocated: root.is_some() });
                if let Some(root) = root {
                    journal.probe(heap, &root, id);
                }
            }
        }
        Behaviour::Collect => {
            let before = heap.stats().collections;
            heap.collect();
            let collections = heap.stats().collections - before;
            journal.look(heap);
            journal.note(Event::Used { collections, allocated: false });
        }
        Behaviour::Nest => {
            assert!(heap.drain(Budget::unlimited()).is_err(), "a callback drained");
            assert!(heap.shutdown(ShutdownOptions::default()).is_err(), "a callback shut the heap down");
        }
        Behaviour::Keep => journal.kept.borrow_mut().extend(held.into_iter().map(|held| (held.root, held.id))),
        Behaviour::Register => {
            if let Some(target) = held.first() {
                let payload = journal.payload(Death::Object(target.id), Behaviour::Nothing, Vec::new());
                let cleanup = target.root.cleanup(heap, payload).expect("the payload holds nothing");
                let id = journal.registrations.replace(journal.registrations.get() + 1);
                journal.registered.borrow_mut().push((Callback::Cleanup(cleanup), id));
            }
        }
    }
}

impl Callback {
    pub(crate) fn is_pending(self, heap: &Heap) -> bool {
        match self {
            Self::Cleanup(id) => heap.is_pending(id),
            Self::Notification(id) => heap.is_pending(id),
        }
    }

    /// The registration that the payload names, if it is still there.
    pub(crate) fn registration(self, heap: &Heap) -> Option<RegistrationId> {
        fn peek<R: Registered<Payload = Payload>>(heap: &Heap, id: R) -> Option<RegistrationId> {
            heap.peek(id).map(|payload| payload.registration)
        }
        match self {
            Self::Cleanup(id) => peek(heap, id),
            Self::Notification(id) => peek(heap, id),
        }
    }

    pub(crate) fn cancel(self, heap: &mut Heap) -> Option<Payload> {
        match self {
            Self::Cleanup(id) => heap.cancel(id),
            Self::Notification(id) => heap.cancel(id),
        }
    }

    pub(crate) fn cancel_in(self, cx: &lacuna::Mutator<'_>) -> Option<Payload> {
        match self {
            Self::Cleanup(id) => cx.cancel(id),
            Self::Notification(id) => cx.cancel(id),
        }
    }

    pub(crate) fn run_now(self, heap: &mut Heap) -> bool {
        match self {
            Self::Cleanup(id) => heap.run_now(id),
            Self::Notification(id) => heap.run_now(id),
        }
    }

    pub(crate) fn set_at_shutdown(self, heap: &mut Heap, at_shutdown: bool) -> bool {
        match self {
            Self::Cleanup(id) => heap.set_at_shutdown(id, at_shutdown),
            Self::Notification(id) => heap.set_at_shutdown(id, at_shutdown),
        }
    }

    /// `None` for a notification, which has no external bytes.
    pub(crate) fn set_external(self, heap: &mut Heap, bytes: usize) -> Option<bool> {
        match self {
            Self::Cleanup(id) => Some(heap.set_external(id, bytes)),
            Self::Notification(_) => None,
        }
    }
}

impl Journal {
    fn note(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }

    /// Notes an object that was just made.
    pub(crate) fn probe(&self, heap: &mut Heap, root: &Handle, id: ObjectId) {
        if let Some(probes) = &self.probes {
            probes.to.borrow_mut().insert(id, [root.observe(heap, false), root.observe(heap, true)]);
        }
    }

    /// Notes an object that was just made in a scope.
    pub(crate) fn probe_in<'gc>(&self, cx: &lacuna::Mutator<'gc>, object: Edge<'gc>, id: ObjectId) {
        if let Some(probes) = &self.probes {
            probes.to.borrow_mut().insert(id, [object.observe(cx, false), object.observe(cx, true)]);
        }
    }

    /// Notes what the heap has collected since the last look, or begun to collect, where the model has to be told.
    pub(crate) fn look(&self, heap: &mut Heap) {
        let Some(probes) = &self.probes else { return };
        let stats = heap.stats();
        let collections = stats.collections - probes.seen.replace(stats.collections);
        if collections > 0 {
            let mut to = probes.to.borrow_mut();
            to.retain(|_, [_, long]| !long.is_dead(heap));
            let mut collected = Collected {
                collections,
                minor: stats.last.minor,
                in_increments: stats.last.increments > 0,
                exhausted: stats.last.cause == Cause::Exhausted,
                reached: BTreeSet::new(),
                revived: BTreeSet::new(),
            };
            for (&id, [short, long]) in to.iter_mut() {
                if !short.is_dead(heap) {
                    collected.reached.insert(id);
                } else if let Some(root) = long.upgrade(heap) {
                    *short = root.observe(heap, false);
                    collected.revived.insert(id);
                }
            }
            self.note(Event::Collected(collected));
        }
        if heap.phase() == Phase::Marking && probes.began.replace(Some(stats.collections)) != Some(stats.collections) {
            self.note(Event::Began);
        }
    }

    /// The payload of the next registration.
    pub(crate) fn payload(self: &Rc<Self>, death: Death, behaviour: Behaviour, held: Vec<Held>) -> Payload {
        let registration = self.registrations.get();
        Payload {
            registration,
            death: Opaque(death),
            behaviour: Opaque(behaviour),
            held,
            journal: Opaque(Rc::clone(self)),
        }
    }
}
