//! The naive model: what a heap must do, in the simplest words.
//!
//! Objects are entries of a map. Every set is recomputed from its definition, by repeating a step until nothing changes:
//! no marks, no queues of grey objects, no tables that are kept up to date.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lacuna::Phase;

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
    /// The entries of a table of ephemerons, in order.
    pub entries: Vec<Entry>,
    /// Whether it is, or was, observed by a weak reference, a registration or an ephemeron.
    pub observed: bool,
    /// How often a guardian brought it back.
    pub revivals: u32,
    /// Whether a collection has seen it. Minor collections take such objects for alive.
    pub old: bool,
}

/// An ephemeron.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The keys, as many as its table wants.
    pub keys: Vec<ObjectId>,
    /// The value, which is the object or its number.
    pub value: ObjectId,
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

/// What is to be done when the target of a registration is unreachable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// A callback is run when it is dead.
    Cleanup(Behaviour),
    /// It is handed back.
    Guardian,
    /// A callback is run, unless the owner is unreachable.
    Notification(Behaviour, Option<ObjectId>),
}

/// A cleanup, a guardian or a notification.
#[derive(Clone, Debug)]
pub struct Registration {
    /// What it was registered on.
    pub target: ObjectId,
    /// What it is.
    pub class: Class,
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

/// What happened on the real heap, as far as the model cannot know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The callback of a registration began.
    Ran(RegistrationId),
    /// The heap was used by a callback.
    Used {
        /// Collections before it went on.
        collections: u64,
        /// Whether an object was allocated then.
        allocated: bool,
    },
    /// A major collection began that is done in increments. Told where there are such.
    Began,
    /// The heap has collected, one way or another. Told where there are increments.
    Collected(Collected),
}

/// What a collection has done to the objects, when what it keeps is not determined by what can be reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Collected {
    /// Collections of which it was the last: one, if anything is to be known of it.
    pub collections: u64,
    /// Whether it was a minor one.
    pub minor: bool,
    /// Whether it was done in increments.
    pub in_increments: bool,
    /// Whether it was done because there was no memory for an allocation.
    pub exhausted: bool,
    /// The objects that it has reached.
    pub reached: BTreeSet<ObjectId>,
    /// Those that are alive because guardians have brought them back.
    pub revived: BTreeSet<ObjectId>,
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

/// What a collection did, as far as it is the same whoever does it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Cycle {
    /// Entries of the tables that were reached.
    pub entries: usize,
    /// Those of which all keys are alive, in tables whose values are objects.
    pub resolved: usize,
    /// Those of which a key is dead.
    pub cleared: usize,
    /// How often entries may be looked at.
    pub examined: usize,
    /// Cleanups, guardians and notifications queued.
    pub queued: [usize; 3],
    /// Notifications whose owner is unreachable.
    pub silenced: usize,
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
    /// Queued cleanups and notifications, the next to run first.
    pub callbacks: VecDeque<RegistrationId>,
    /// Queued guardians, the next to hand out first.
    pub guardians: VecDeque<RegistrationId>,
    /// What the payloads of running callbacks hold.
    running: Vec<Vec<ObjectId>>,
    /// What each open turn keeps alive, the outermost first.
    pub(crate) turns: Vec<BTreeSet<ObjectId>>,
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
    /// Notifications silenced so far.
    pub silenced: u64,
    /// Collections that queued a callback so far.
    pub batches: u64,
    /// Callbacks queued so far.
    pub callbacks_queued: u64,
    /// Ephemerons resolved and cleared so far.
    pub ephemerons: [usize; 2],
    /// The last collection.
    pub last: Cycle,
    /// Where the heap is between two major collections.
    pub phase: Phase,
    /// Whether collections may be done in increments, so that all objects are observed, and the model is told.
    pub(crate) told: bool,
    /// Objects that collections kept though they could not be reached any more.
    pub floating: usize,
    /// Collections that the program went on in.
    pub(crate) in_increments: usize,
    /// Whether the program went on since the last of them began.
    interrupted: bool,
    /// What could not be reached when the major collection began that is marking, nor after any operation since.
    garbage: BTreeSet<ObjectId>,
    /// It is not known any more what the heap has to do: it collected more than once before the model was told.
    pub(crate) lost: bool,
}

impl Model {
    /// A heap without objects. `told`: its collections may be done in increments.
    pub(crate) fn new(told: bool) -> Self {
        Self { told, ..Self::default() }
    }

    /// Names an object that is about to be allocated.
    pub(crate) fn reserve(&mut self) -> ObjectId {
        self.allocated += 1;
        self.allocated - 1
    }

    /// Adds an object.
    pub(crate) fn insert(&mut self, id: ObjectId, kind: Kind, length: usize, edges: Vec<Option<ObjectId>>) {
        let entries = Vec::new();
        let observed = self.told;
        self.objects.insert(id, Object { kind, length, edges, entries, observed, revivals: 0, old: false });
        if self.told {
            self.keep(id);
        }
    }

    /// An object that is used, so is alive.
    pub(crate) fn object(&self, id: ObjectId) -> &Object {
        self.objects.get(&id).expect("the program uses objects that are alive only")
    }

    /// Changes a field: of a bag, adds an edge or takes the last away.
    pub(crate) fn set(&mut self, id: ObjectId, field: usize, target: Option<ObjectId>) {
        let object = self.object_mut(id);
        match (object.kind, target) {
            (Kind::Bag, Some(target)) => object.edges.push(Some(target)),
            (Kind::Bag, None) => drop(object.edges.pop()),
            _ => object.edges[field] = target,
        }
    }

    /// An object that is changed, so is alive.
    fn object_mut(&mut self, id: ObjectId) -> &mut Object {
        self.objects.get_mut(&id).expect("the program uses objects that are alive only")
    }

    /// What a table has for keys, of which it uses as many as it has.
    pub(crate) fn look_up(&self, table: ObjectId, keys: [ObjectId; 2]) -> Option<ObjectId> {
        let table = self.object(table);
        let keys = &keys[..table.kind.keys()?];
        Some(table.entries.iter().find(|entry| entry.keys == keys)?.value)
    }

    /// Puts an entry into a table.
    pub(crate) fn put(&mut self, table: ObjectId, keys: [ObjectId; 2], value: ObjectId) {
        let Object { kind, entries, .. } = self.object_mut(table);
        let keys = keys[..kind.keys().unwrap_or(0)].to_vec();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.keys == keys) {
            entry.value = value;
            return;
        }
        // Nothing waits for the keys of entries whose values lead nowhere.
        let waits = kind.has_values();
        entries.push(Entry { keys: keys.clone(), value });
        for key in keys {
            self.object_mut(key).observed |= waits;
        }
    }

    /// Takes an entry out of a table.
    pub(crate) fn take_out(&mut self, table: ObjectId, keys: [ObjectId; 2]) {
        let Object { kind, entries, .. } = self.object_mut(table);
        let keys = &keys[..kind.keys().unwrap_or(0)];
        entries.retain(|entry| entry.keys != keys);
    }

    /// Takes all entries out of a table.
    pub(crate) fn clear(&mut self, table: ObjectId) {
        self.object_mut(table).entries.clear();
    }

    /// Everything that the given objects lead to, themselves included: by edges, and by ephemerons of which the table
    /// and all keys are reached (rule 8).
    pub fn closure(&self, from: impl IntoIterator<Item = ObjectId>) -> BTreeSet<ObjectId> {
        let mut reached: BTreeSet<ObjectId> = from.into_iter().collect();
        loop {
            let before = reached.len();
            for id in reached.clone() {
                let object = self.object(id);
                reached.extend(object.edges.iter().flatten());
                if object.kind.has_values() {
                    let live = object.entries.iter().filter(|entry| entry.keys.iter().all(|key| reached.contains(key)));
                    let values: Vec<_> = live.map(|entry| entry.value).collect();
                    reached.extend(values);
                }
            }
            if reached.len() == before {
                return reached;
            }
        }
    }

    /// Edges among objects: those of fields, and values of ephemerons whose keys are among them.
    pub fn edge_count(&self, among: &BTreeSet<ObjectId>) -> usize {
        let edges = |id: &ObjectId| {
            let object = self.object(*id);
            let live = |entry: &&Entry| object.kind.has_values() && entry.keys.iter().all(|key| among.contains(key));
            object.edges.iter().flatten().count() + object.entries.iter().filter(live).count()
        };
        among.iter().map(edges).sum()
    }

    /// What keeps objects alive by itself: roots, those in payloads too, guardians that wait, and turns.
    pub fn anchors(&self) -> Vec<ObjectId> {
        let held = self.registrations.iter().filter(|r| r.state != State::Done).flat_map(|r| &r.held);
        let guarded = self.guardians.iter().map(|&id| &self.registrations[id].target);
        let running = self.running.iter().flatten();
        let kept = self.turns.iter().flatten();
        self.roots.iter().chain(held).chain(guarded).chain(running).chain(kept).copied().collect()
    }

    /// A weak reference was made or upgraded.
    pub(crate) fn keep(&mut self, id: ObjectId) {
        if let Some(turn) = self.turns.last_mut() {
            turn.insert(id);
        }
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

    /// Queued notifications.
    pub fn queued_notifications(&self) -> usize {
        let is_notification = |&&id: &&RegistrationId| matches!(self.registrations[id].class, Class::Notification(..));
        self.callbacks.iter().filter(is_notification).count()
    }

    /// Whether a guardian waits for an object to become unreachable.
    pub(crate) fn is_guarded(&self, id: ObjectId) -> bool {
        let guards = |r: &Registration| r.target == id && r.class == Class::Guardian && r.state == State::Armed;
        self.registrations.iter().any(guards)
    }

    /// Registrations that wait for their target to become unreachable.
    pub fn armed(&self) -> usize {
        self.registrations.iter().filter(|r| r.state == State::Armed).count()
    }

    /// A collection (rules 1, 5, 7, 8, 10, 11, 12 and 14).
    pub(crate) fn collect(&mut self) {
        self.objects.values_mut().for_each(|object| object.old = false);
        self.collect_minor();
    }

    /// Collects what is not old: old objects count as alive.
    pub(crate) fn collect_minor(&mut self) {
        let old: Vec<_> = self.objects.iter().filter(|(_, object)| object.old).map(|(&id, _)| id).collect();
        let anchors = |model: &Self| model.anchors().into_iter().chain(old.iter().copied()).collect::<Vec<_>>();
        let reached = self.closure(anchors(self));
        let armed = |this: &Self, matches: &dyn Fn(&Registration) -> bool| -> Vec<RegistrationId> {
            let ids = (0..this.registrations.len()).rev();
            ids.filter(|&id| this.registrations[id].state == State::Armed && matches(&this.registrations[id])).collect()
        };
        let unreachable = |id: ObjectId| !reached.contains(&id);
        // Who is unreachable is told nothing, of whatever.
        let silenced = armed(self, &|r| matches!(r.class, Class::Notification(_, Some(owner)) if unreachable(owner)));
        // Guardians, all of them before any of their objects counts as alive.
        let guardians = armed(self, &|r| r.class == Class::Guardian && unreachable(r.target));
        let is_told = |r: &Registration| match r.class {
            Class::Notification(_, owner) => unreachable(r.target) && !owner.is_some_and(unreachable),
            _ => false,
        };
        let notifications = armed(self, &is_told);
        for reference in self.references.iter_mut().filter(|r| !r.long && unreachable(r.target)) {
            reference.dead = true;
        }
        for (&id, object) in &mut self.objects {
            object.revivals += u32::from(unreachable(id));
        }
        self.queue(&guardians);
        self.guardians.extend(&guardians);
        // What the guardians hand back lives on; the rest is dead.
        let live = self.closure(anchors(self));
        for reference in self.references.iter_mut().filter(|r| !live.contains(&r.target)) {
            reference.dead = true;
        }
        let is_last = |r: &Registration| matches!(r.class, Class::Cleanup(_)) && !live.contains(&r.target);
        let cleanups = armed(self, &is_last);
        for &id in &cleanups {
            let external = std::mem::take(&mut self.registrations[id].external);
            self.external = self.external.saturating_sub(external);
        }
        for &id in &silenced {
            self.registrations[id].state = State::Done;
            self.registrations[id].held.clear();
        }
        self.queue(&cleanups);
        self.queue(&notifications);
        self.callbacks.extend(cleanups.iter().chain(&notifications));
        let queued = [cleanups, guardians, notifications].map(|queued| queued.len());
        self.bury(&live, Cycle { queued, silenced: silenced.len(), ..Cycle::default() });
    }

    fn queue(&mut self, ids: &[RegistrationId]) {
        for &id in ids {
            self.registrations[id].state = State::Queued;
            self.registrations[id].queued_in = self.collections;
        }
    }

    /// Removes what is not alive, ephemerons too, and counts.
    fn bury(&mut self, live: &BTreeSet<ObjectId>, mut cycle: Cycle) {
        let dropped = self.objects.iter().filter(|(id, object)| !live.contains(id) && object.kind.is_dropped());
        self.to_drop.extend(dropped.map(|(&id, _)| id));
        self.objects.retain(|id, _| live.contains(id));
        for Object { kind, entries, .. } in self.objects.values_mut() {
            let before = entries.len();
            entries.retain(|entry| entry.keys.iter().all(|key| live.contains(key)));
            cycle.entries += before;
            cycle.cleared += before - entries.len();
            cycle.resolved += if kind.has_values() { entries.len() } else { 0 };
            cycle.examined += before * (1 + kind.keys().unwrap_or(0));
        }
        self.objects.values_mut().for_each(|object| object.old = true);
        self.collections += 1;
        self.survivors = self.objects.len();
        let callbacks = (cycle.queued[0] + cycle.queued[2]) as u64;
        self.callbacks_queued += callbacks;
        self.batches += u64::from(callbacks > 0);
        self.silenced += cycle.silenced as u64;
        self.ephemerons[0] += cycle.resolved;
        self.ephemerons[1] += cycle.cleared;
        self.last = cycle;
    }

    /// Makes a weak reference.
    pub(crate) fn observe(&mut self, target: ObjectId, long: bool) {
        let object = self.object_mut(target);
        object.observed = true;
        let revivals = object.revivals;
        self.references.push(Reference { target, long, dead: false, revivals });
        self.keep(target);
    }

    /// Registers something on an object; `false` if the payload holds it.
    pub(crate) fn register(&mut self, target: ObjectId, class: Class, held: Vec<ObjectId>) -> bool {
        if held.contains(&target) {
            return false;
        }
        self.object_mut(target).observed = true;
        if let Class::Notification(_, Some(owner)) = class {
            self.object_mut(owner).observed = true;
        }
        let state = State::Armed;
        let (at_shutdown, external, queued_in) = (false, 0, 0);
        self.registrations.push(Registration { target, class, held, state, at_shutdown, external, queued_in });
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
        self.callbacks.retain(|&queued| queued != id);
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
        let (Class::Cleanup(behaviour) | Class::Notification(behaviour, _)) = self.registrations[id].class else {
            return Err("a guardian was run".into());
        };
        match behaviour {
            Behaviour::Allocate => {
                for _ in 0..crate::callbacks::ALLOCATIONS {
                    let allocated = self.used(events)?;
                    let id = self.reserve();
                    // Without memory there is one object less, which is garbage anyway, but may be observed.
                    if allocated || !self.told {
                        self.insert(id, Kind::Leaf, 0, Vec::new());
                    }
                }
            }
            Behaviour::Collect => drop(self.used(events)?),
            Behaviour::Keep => self.roots.extend(&held),
            Behaviour::Register => {
                if let Some(&target) = held.first() {
                    self.register(target, Class::Cleanup(Behaviour::Nothing), Vec::new());
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

    /// A callback used the heap; says whether it made an object.
    fn used(&mut self, events: Events<'_>) -> Result<bool, Mismatch> {
        loop {
            match events.next() {
                Some(Event::Used { collections, allocated }) => {
                    if !self.told {
                        (0..collections).for_each(|_| self.collect());
                    }
                    return Ok(allocated);
                }
                Some(Event::Began) => self.begin(),
                Some(Event::Collected(collected)) => self.follow(&collected)?,
                other => return Err(format!("the heap was to be used by a callback, but {other:?} happened")),
            }
        }
    }

    /// A major collection begins that is done in increments.
    pub(crate) fn begin(&mut self) {
        self.interrupted = false;
        self.garbage = self.unreachable();
    }

    /// The program has done something, after which the collection that is under way may go on.
    pub(crate) fn went_on(&mut self) {
        self.interrupted = true;
        if !self.garbage.is_empty() {
            let unreachable = self.unreachable();
            self.garbage.retain(|id| unreachable.contains(id));
        }
    }

    fn unreachable(&self) -> BTreeSet<ObjectId> {
        let reached = self.closure(self.anchors());
        self.objects.keys().copied().filter(|id| !reached.contains(id)).collect()
    }

    /// The heap has collected. What it kept though it cannot be reached must have been reachable when the collection began
    /// (rule 2); otherwise it must have done what [`Self::collect`] or [`Self::collect_minor`] does.
    pub(crate) fn follow(&mut self, collected: &Collected) -> Result<(), Mismatch> {
        if collected.collections > 1 {
            // The first of them may have kept something.
            self.lost = true;
            return Ok(());
        }
        if collected.minor {
            self.collect_minor();
        } else {
            let unreachable = self.unreachable();
            let kept: BTreeSet<_> = unreachable.intersection(&collected.reached).copied().collect();
            if !collected.in_increments && !kept.is_empty() {
                return Err(format!("a collection done at once has kept {kept:?}"));
            }
            if let Some(id) = self.garbage.intersection(&kept).next() {
                return Err(format!("object {id} was garbage when a collection began, and was kept by it"));
            }
            for (id, object) in &mut self.objects {
                object.old = kept.contains(id);
            }
            self.floating += kept.len();
            self.in_increments += usize::from(collected.in_increments && self.interrupted);
            self.collect_minor();
        }
        self.garbage.clear();
        let alive: BTreeSet<_> = collected.reached.union(&collected.revived).copied().collect();
        let expected: BTreeSet<_> = self.objects.keys().copied().collect();
        if let Some(id) = expected.difference(&alive).next() {
            return Err(format!("object {id} was found dead, but is alive"));
        }
        if let Some(id) = alive.difference(&expected).next() {
            return Err(format!("object {id} was not found dead"));
        }
        collected.revived.iter().for_each(|&id| self.keep(id));
        Ok(())
    }

    /// Runs queued callbacks within a budget (rules 12, 13 and 15).
    pub(crate) fn drain(&mut self, callbacks: usize, batches: usize, events: Events<'_>) -> Result<Drained, Mismatch> {
        let mut drained = Drained::default();
        let mut seen = Vec::new();
        while drained.ran < callbacks {
            let Some(&next) = self.callbacks.front() else { break };
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

    /// The armed or queued callback that runs next at shutdown (rule 20).
    pub(crate) fn next_at_shutdown(&self) -> Option<RegistrationId> {
        (0..self.registrations.len())
            .rev()
            .find(|&id| self.registrations[id].state != State::Done && self.registrations[id].at_shutdown)
    }

    /// All objects, references and registrations are gone.
    pub(crate) fn close(&mut self) {
        self.garbage.clear();
        self.references.iter_mut().for_each(|reference| reference.dead = true);
        for registration in &mut self.registrations {
            registration.state = State::Done;
            registration.held.clear();
        }
        self.callbacks.clear();
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
