//! The naive model: what a heap must do, in the simplest words.
//!
//! Objects are entries of a map. Every set is recomputed from its definition, by repeating a step until nothing changes:
//! no marks, no queues of grey objects, no tables that are kept up to date.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::objects::Kind;
use crate::operations::Behaviour;

/// Names an object of a program, in the order of allocation.
pub type ObjectId = usize;

/// Names a registration, in the order in which they were made.
pub type RegistrationId = usize;

/// An object that was not found dead.
#[derive(Clone, Debug)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// What its length is derived from.
    pub length: usize,
    /// What its fields lead to.
    pub edges: Vec<Option<ObjectId>>,
    /// Whether it is, or was, observed by a weak reference or a registration.
    pub observed: bool,
    /// How often a guardian brought it back.
    pub revivals: u32,
    /// Whether a collection has seen it. Minor collections take such objects for alive.
    pub old: bool,
}

/// A weak reference.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// What it was made of.
    pub target: ObjectId,
    /// Whether it dies only with the object.
    pub long: bool,
    /// Whether it has died.
    pub dead: bool,
    /// How often its target had been brought back when it was made.
    pub revivals: u32,
}

/// Where a registration is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Its target was not found unreachable.
    Armed,
    /// It waits to be run or handed out.
    Queued,
    /// It ran, was handed out or was cancelled.
    Done,
}

/// A cleanup or a guardian.
#[derive(Clone, Debug)]
pub struct Registration {
    /// What it was registered on.
    pub target: ObjectId,
    /// What a cleanup does; `None` for a guardian.
    pub behaviour: Option<Behaviour>,
    /// The objects whose roots are in the payload.
    pub held: Vec<ObjectId>,
    /// Where it is in its life.
    pub state: State,
    /// Whether it runs at shutdown.
    pub at_shutdown: bool,
    /// The bytes that its target holds outside the heap.
    pub external: usize,
    /// The collection that queued it.
    pub queued_in: u64,
}

/// What a callback did on the real heap, as far as the model cannot know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The callback of a registration began.
    Ran(RegistrationId),
    /// The heap was used, and collected so many times before it went on.
    Used(u64),
}

/// What the driver saw, in order.
pub(crate) type Events<'a> = &'a mut dyn Iterator<Item = Event>;

/// What a drain did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Drained {
    /// Callbacks that ran.
    pub ran: usize,
    /// Those that panicked.
    pub panicked: usize,
}

/// A difference between the model and the heap.
pub type Mismatch = String;

/// Everything a heap has to know.
#[derive(Clone, Default, Debug)]
pub struct Model {
    /// Objects that were not found dead.
    pub objects: BTreeMap<ObjectId, Object>,
    /// Objects that were ever allocated, or tried to be.
    pub allocated: usize,
    /// What each root holds.
    pub roots: Vec<ObjectId>,
    /// All weak references that were ever made.
    pub references: Vec<Reference>,
    /// All registrations that were ever made.
    pub registrations: Vec<Registration>,
    /// Queued cleanups, the next to run first.
    pub cleanups: VecDeque<RegistrationId>,
    /// Queued guardians, the next to hand out first.
    pub guardians: VecDeque<RegistrationId>,
    /// What the payloads of running callbacks hold.
    running: Vec<Vec<ObjectId>>,
    /// Dead objects whose `Drop` is noted.
    pub to_drop: BTreeSet<ObjectId>,
    /// Bytes outside the heap.
    pub external: usize,
    /// Collections so far.
    pub collections: u64,
    /// Objects alive at the end of the last one.
    pub survivors: usize,
    /// Callbacks run so far.
    pub callbacks_run: u64,
    /// Callbacks that panicked in a drain so far.
    pub panics: u64,
    /// Registrations cancelled so far.
    pub cancelled: u64,
}

impl Model {
    /// Names an object that is about to be allocated.
    pub(crate) fn reserve(&mut self) -> ObjectId {
        self.allocated += 1;
        self.allocated - 1
    }

    /// Adds an object.
    pub(crate) fn insert(&mut self, id: ObjectId, kind: Kind, length: usize, edges: Vec<Option<ObjectId>>) {
        self.objects.insert(id, Object { kind, length, edges, observed: false, revivals: 0, old: false });
    }

    /// An object that is used, so is alive.
    pub(crate) fn object(&self, id: ObjectId) -> &Object {
        self.objects.get(&id).expect("the program uses objects that are alive only")
    }

    /// Changes a field: of a bag, adds an edge or takes the last away.
    pub(crate) fn set(&mut self, id: ObjectId, field: usize, target: Option<ObjectId>) {
        let object = self.objects.get_mut(&id).expect("the program uses objects that are alive only");
        match (object.kind, target) {
            (Kind::Bag, Some(target)) => object.edges.push(Some(target)),
            (Kind::Bag, None) => drop(object.edges.pop()),
            _ => object.edges[field] = target,
        }
    }

    /// Everything that the given objects lead to, themselves included.
    pub fn closure(&self, from: impl IntoIterator<Item = ObjectId>) -> BTreeSet<ObjectId> {
        let mut reached: BTreeSet<ObjectId> = from.into_iter().collect();
        loop {
            let before = reached.len();
            for id in reached.clone() {
                reached.extend(self.object(id).edges.iter().flatten());
            }
            if reached.len() == before {
                return reached;
            }
        }
    }

    /// What keeps objects alive by itself: roots, those in payloads too, and guardians that wait.
    pub fn anchors(&self) -> Vec<ObjectId> {
        let held = self.registrations.iter().filter(|r| r.state != State::Done).flat_map(|r| &r.held);
        let guarded = self.guardians.iter().map(|&id| &self.registrations[id].target);
        let running = self.running.iter().flatten();
        self.roots.iter().chain(held).chain(guarded).chain(running).copied().collect()
    }

    /// Roots that exist: those of the program and those in payloads.
    pub fn root_count(&self) -> usize {
        let held = self.registrations.iter().filter(|r| r.state != State::Done).map(|r| r.held.len());
        self.roots.len() + held.sum::<usize>()
    }

    /// Observed objects.
    pub fn observed(&self) -> usize {
        self.objects.values().filter(|object| object.observed).count()
    }

    /// Registrations that wait for their target to become unreachable.
    pub fn armed(&self) -> usize {
        self.registrations.iter().filter(|r| r.state == State::Armed).count()
    }

    /// A collection (rules 1, 5, 7, 10, 11 and 12).
    pub(crate) fn collect(&mut self) {
        self.objects.values_mut().for_each(|object| object.old = false);
        self.collect_minor();
    }

    /// Collects what is not old.
    pub(crate) fn collect_minor(&mut self) {
        let old: Vec<_> = self.objects.iter().filter(|(_, object)| object.old).map(|(&id, _)| id).collect();
        let anchors = |model: &Self| model.anchors().into_iter().chain(old.iter().copied()).collect::<Vec<_>>();
        let live = self.closure(anchors(self));
        // Guardians first, all of them before any of their objects counts as alive.
        let condemned =
            |r: &Registration, live: &BTreeSet<ObjectId>| r.state == State::Armed && !live.contains(&r.target);
        let ids = (0..self.registrations.len()).rev();
        let guardians: Vec<_> = ids
            .clone()
            .filter(|&id| self.registrations[id].behaviour.is_none() && condemned(&self.registrations[id], &live))
            .collect();
        for reference in self.references.iter_mut().filter(|r| !r.long && !live.contains(&r.target)) {
            reference.dead = true;
        }
        for (id, object) in &mut self.objects {
            object.revivals += u32::from(!live.contains(id));
        }
        for &id in &guardians {
            self.registrations[id].state = State::Queued;
            self.registrations[id].queued_in = self.collections;
        }
        self.guardians.extend(guardians);
        // What the guardians hand back lives on; the rest is dead.
        let live = self.closure(anchors(self));
        for reference in self.references.iter_mut().filter(|r| !live.contains(&r.target)) {
            reference.dead = true;
        }
        let cleanups: Vec<_> = ids.filter(|&id| condemned(&self.registrations[id], &live)).collect();
        for &id in &cleanups {
            let registration = &mut self.registrations[id];
            registration.state = State::Queued;
            registration.queued_in = self.collections;
            self.external = self.external.saturating_sub(std::mem::take(&mut registration.external));
        }
        self.cleanups.extend(cleanups);
        let dropped = self.objects.iter().filter(|(id, object)| !live.contains(id) && object.kind.is_dropped());
        self.to_drop.extend(dropped.map(|(&id, _)| id));
        self.objects.retain(|id, _| live.contains(id));
        self.objects.values_mut().for_each(|object| object.old = true);
        self.collections += 1;
        self.survivors = self.objects.len();
    }

    /// Makes a weak reference.
    pub(crate) fn observe(&mut self, target: ObjectId, long: bool) {
        let object = self.objects.get_mut(&target).expect("the program uses objects that are alive only");
        object.observed = true;
        self.references.push(Reference { target, long, dead: false, revivals: object.revivals });
    }

    /// Registers a cleanup or a guardian; `false` if the payload holds the target.
    pub(crate) fn register(&mut self, target: ObjectId, behaviour: Option<Behaviour>, held: Vec<ObjectId>) -> bool {
        if held.contains(&target) {
            return false;
        }
        self.objects.get_mut(&target).expect("the program uses objects that are alive only").observed = true;
        let state = State::Armed;
        let (at_shutdown, external, queued_in) = (false, 0, 0);
        self.registrations.push(Registration { target, behaviour, held, state, at_shutdown, external, queued_in });
        true
    }

    /// Takes a pending registration out of wherever it is; says whether it was pending.
    pub(crate) fn take(&mut self, id: RegistrationId) -> bool {
        let registration = &mut self.registrations[id];
        if registration.state == State::Done {
            return false;
        }
        registration.state = State::Done;
        self.external = self.external.saturating_sub(std::mem::take(&mut registration.external));
        self.cleanups.retain(|&queued| queued != id);
        self.guardians.retain(|&queued| queued != id);
        true
    }

    /// Takes a registration back; says whether it was pending.
    pub(crate) fn cancel(&mut self, id: RegistrationId) -> bool {
        let pending = self.take(id);
        self.cancelled += u64::from(pending);
        if pending {
            self.registrations[id].held.clear();
        }
        pending
    }

    /// Runs the callback of a registration that was taken; says whether it returned.
    pub(crate) fn run(&mut self, id: RegistrationId, events: Events<'_>) -> Result<bool, Mismatch> {
        expect(events, Event::Ran(id))?;
        self.callbacks_run += 1;
        let held = std::mem::take(&mut self.registrations[id].held);
        self.running.push(held.clone());
        match self.registrations[id].behaviour.expect("only cleanups are run") {
            Behaviour::Allocate => {
                for _ in 0..crate::callbacks::ALLOCATIONS {
                    self.used(events)?;
                    let id = self.reserve();
                    self.insert(id, Kind::Leaf, 0, Vec::new());
                }
            }
            Behaviour::Collect => self.used(events)?,
            Behaviour::Keep => self.roots.extend(&held),
            Behaviour::Register => {
                if let Some(&target) = held.first() {
                    self.register(target, Some(Behaviour::Nothing), Vec::new());
                }
            }
            Behaviour::Nothing | Behaviour::Nest => {}
            Behaviour::Panic => {
                self.running.pop();
                return Ok(false);
            }
        }
        self.running.pop();
        Ok(true)
    }

    fn used(&mut self, events: Events<'_>) -> Result<(), Mismatch> {
        match events.next() {
            Some(Event::Used(collections)) => (0..collections).for_each(|_| self.collect()),
            other => return Err(format!("the heap was to be used by a callback, but {other:?} happened")),
        }
        Ok(())
    }

    /// Runs queued callbacks within a budget (rules 12, 13 and 15).
    pub(crate) fn drain(&mut self, callbacks: usize, batches: usize, events: Events<'_>) -> Result<Drained, Mismatch> {
        let mut drained = Drained::default();
        let mut seen = Vec::new();
        while drained.ran < callbacks {
            let Some(&next) = self.cleanups.front() else { break };
            let batch = self.registrations[next].queued_in;
            if !seen.contains(&batch) {
                if seen.len() == batches {
                    break;
                }
                seen.push(batch);
            }
            self.take(next);
            let returned = self.run(next, events)?;
            drained.ran += 1;
            drained.panicked += usize::from(!returned);
            self.panics += u64::from(!returned);
        }
        Ok(drained)
    }

    /// The armed or queued cleanup that runs next at shutdown (rule 20).
    pub(crate) fn next_at_shutdown(&self) -> Option<RegistrationId> {
        (0..self.registrations.len())
            .rev()
            .find(|&id| self.registrations[id].state != State::Done && self.registrations[id].at_shutdown)
    }

    /// All objects, references and registrations are gone.
    pub(crate) fn close(&mut self) {
        self.references.iter_mut().for_each(|reference| reference.dead = true);
        for registration in &mut self.registrations {
            registration.state = State::Done;
            registration.held.clear();
        }
        self.cleanups.clear();
        self.guardians.clear();
        let dropped = self.objects.iter().filter(|(_, object)| object.kind.is_dropped()).map(|(&id, _)| id);
        self.to_drop.extend(dropped);
        self.objects.clear();
    }
}

fn expect(events: Events<'_>, expected: Event) -> Result<(), Mismatch> {
    match events.next() {
        Some(found) if found == expected => Ok(()),
        found => Err(format!("expected {expected:?}, but {found:?} happened")),
    }
}
