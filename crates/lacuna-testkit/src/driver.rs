//! Runs a program on a heap and on the model, side by side.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use lacuna::{AutoDrain, Budget, Cleanup, Config, Guard, Heap, RegisterError, RegisterFailure, ShutdownOptions, Stats};

use crate::callbacks::{Deliberate, Held, Journal, Payload};
use crate::compare;
use crate::model::{Event, Mismatch, Model, ObjectId, RegistrationId, State};
use crate::objects::{Handle, Kind, Observer};
use crate::operations::{Behaviour, Operation, Program};
use crate::scope;

/// How the heap is set up that a program runs on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Setup {
    /// As [`Config::zeal`].
    pub zeal: bool,
    /// Whether callbacks run at safepoints.
    pub auto_drain: bool,
    /// As [`Config::heap_limit`].
    pub limit: Option<usize>,
    /// As [`Config::min_heap`].
    pub min_heap: usize,
}

impl Setup {
    /// What [`Config::default`] says.
    pub const DEFAULT: Self = Self { zeal: false, auto_drain: true, limit: None, min_heap: 32 << 20 };
    /// Collects and verifies at every chance, and poisons freed cells.
    pub const ZEAL: Self = Self { zeal: true, ..Self::DEFAULT };
    /// Collects now and then, and runs into a limit.
    pub const TIGHT: Self = Self { auto_drain: false, limit: Some(600 << 10), min_heap: 100 << 10, ..Self::DEFAULT };

    fn config(self) -> Config {
        let auto_drain = if self.auto_drain { AutoDrain::AtSafepoints } else { AutoDrain::Off };
        let config = Config::default().zeal(self.zeal).auto_drain(auto_drain);
        // Minor collections run when the program says so.
        let config = config.minor_step(Some(usize::MAX));
        config.heap_limit(self.limit).min_heap(self.min_heap).growth_factor(1.5)
    }
}

/// What a program did, for those who want to compare two runs.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// The statistics before the heap was dropped or shut down.
    pub stats: Stats,
    /// The callbacks that ran, in order.
    pub ran: Vec<RegistrationId>,
    /// The objects whose `Drop` is noted, in the order in which they were dropped.
    pub dropped: Vec<ObjectId>,
}

/// What the program holds, and what the model knows: everything but the heap, which a scope borrows.
pub(crate) struct Tables {
    pub(crate) model: Model,
    /// The roots, in the order of the model's.
    pub(crate) roots: Vec<Handle>,
    /// The weak references, in the order of the model's.
    pub(crate) observers: Vec<Observer>,
    pub(crate) cleanups: Vec<(Cleanup<Payload>, RegistrationId)>,
    pub(crate) guards: Vec<(Guard, RegistrationId)>,
    pub(crate) journal: Rc<Journal>,
    /// Whether an allocation may fail.
    pub(crate) limited: bool,
}

struct Driver {
    heap: Heap,
    state: Tables,
    setup: Setup,
    ran: Vec<RegistrationId>,
}

/// Runs a program on a heap and on the model, and compares them after each step.
///
/// # Errors
///
/// Says where they differ.
pub fn run(program: &Program, setup: Setup) -> Result<Outcome, Mismatch> {
    let mut driver = Driver::new(setup);
    let mut position = 0;
    while position < program.0.len() {
        let operation = program.0[position];
        let mut length = 1;
        let step = match operation {
            Operation::Enter => {
                let rest = &program.0[position + 1..];
                length += rest.iter().position(|op| !op.is_of_scope() || *op == Operation::Exit).unwrap_or(rest.len());
                driver.scope(&rest[..length - 1])
            }
            Operation::Shutdown(budget) => {
                let stats = driver.heap.stats();
                let result = driver.shut_down(budget);
                return result.and_then(|()| driver.end(stats)).map_err(|what| at(program, position, &what));
            }
            // It would be garbage at once.
            Operation::Allocate(..) => driver.scope(&[operation, Operation::Root(0)]),
            operation if operation.needs_scope() => driver.scope(&[operation]),
            operation => driver.step(operation),
        };
        let collected = operation == Operation::Collect;
        step.and_then(|()| compare::check(&driver.heap, &driver.state, collected))
            .map_err(|what| at(program, position, &what))?;
        position += length;
    }
    let stats = driver.heap.stats();
    driver.end(stats).map_err(|what| at(program, position, &what))
}

fn at(program: &Program, position: usize, what: &str) -> Mismatch {
    let last = &program.0[..(position + 1).min(program.0.len())];
    format!("{what}\nat operation {position} of {last:?}")
}

pub(crate) fn expect_same<T: PartialEq + std::fmt::Debug>(what: &str, heap: T, model: T) -> Result<(), Mismatch> {
    if heap == model { Ok(()) } else { Err(format!("{what}: the heap says {heap:?}, the model {model:?}")) }
}

/// Whether the next safepoint collects, as the statistics tell everyone.
fn is_due(stats: &Stats) -> bool {
    stats.live_bytes + stats.allocated_bytes + stats.external_bytes >= stats.goal_bytes
}

impl Driver {
    fn new(setup: Setup) -> Self {
        let state = Tables {
            model: Model::default(),
            roots: Vec::new(),
            observers: Vec::new(),
            cleanups: Vec::new(),
            guards: Vec::new(),
            journal: Rc::default(),
            limited: setup.limit.is_some(),
        };
        Self { heap: Heap::with_config(setup.config()), state, setup, ran: Vec::new() }
    }

    /// Plays operations in one scope.
    fn scope(&mut self, operations: &[Operation]) -> Result<(), Mismatch> {
        let Self { heap, state, .. } = self;
        let played = catch_unwind(AssertUnwindSafe(|| {
            heap.enter(|cx| scope::play(cx, state, operations).map(|()| is_due(&cx.stats())))
        }));
        match played {
            Ok(result) => self.safepoint(result?),
            Err(panic) if panic.is::<Deliberate>() => Ok(()),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// What callbacks did since the last call. Takes over what they made.
    fn events(&mut self) -> std::vec::IntoIter<Event> {
        let journal = &self.state.journal;
        let events = journal.events.take();
        self.state.roots.extend(journal.kept.take().into_iter().map(|(root, _)| root));
        self.state.cleanups.extend(journal.registered.take());
        self.ran.extend(events.iter().filter_map(|event| match event {
            Event::Ran(id) => Some(*id),
            Event::Used(_) => None,
        }));
        events.into_iter()
    }

    /// Lets the model do what the heap has done at a safepoint.
    fn safepoint(&mut self, due: bool) -> Result<(), Mismatch> {
        let mut events = self.events();
        let model = &mut self.state.model;
        if due || self.setup.zeal {
            model.collect();
        }
        let waiting = model.cleanups.len();
        if self.setup.auto_drain && waiting > 0 {
            model.drain((waiting / 8).max(16), usize::MAX, &mut events)?;
        }
        expect_same("what callbacks did", events.next(), None)
    }

    fn step(&mut self, operation: Operation) -> Result<(), Mismatch> {
        let Self { heap, state, .. } = self;
        match operation {
            Operation::AllocateRooted(kind) => return self.allocate(kind),
            Operation::CloneRoot(root) => state.clone_root(root),
            Operation::DropRoot(root) => state.drop_root(root),
            Operation::Downgrade(root, long) => {
                if let Some((root, target)) = state.root(root) {
                    let observer = root.observe(heap, long);
                    state.observers.push(observer);
                    state.model.observe(target, long);
                }
            }
            Operation::Upgrade(weak) => {
                if let Some((observer, reference)) = state.observer(weak) {
                    let root = observer.upgrade(heap);
                    expect_same("a weak reference lives", root.is_some(), !reference.dead)?;
                    state.roots.extend(root);
                    state.model.roots.extend((!reference.dead).then_some(reference.target));
                }
            }
            Operation::Cleanup(root, behaviour, held) => {
                if let Some((root, target)) = state.root(root) {
                    let root = root.clone();
                    let (payload, held) = state.payload(behaviour, held);
                    let result = root.cleanup(heap, payload);
                    return state.registered_cleanup(target, behaviour, held, result);
                }
            }
            Operation::Guard(root) => {
                if let Some((root, target)) = state.root(root) {
                    let result = root.guard(heap, state.journal.registrations.get() as u64);
                    return state.registered_guard(target, result);
                }
            }
            Operation::Cancel(cleanup) => {
                if let Some(&(cleanup, id)) = pick(&state.cleanups, cleanup) {
                    expect_same("a cleanup is pending", heap.is_pending(cleanup), state.is_pending(id))?;
                    let payload = heap.cancel(cleanup);
                    return state.cancelled(id, payload);
                }
            }
            Operation::RunNow(cleanup) => return self.run_now(cleanup),
            Operation::AtShutdown(cleanup, at_shutdown) => {
                if let Some(&(cleanup, id)) = pick(&state.cleanups, cleanup) {
                    expect_same("set_at_shutdown", heap.set_at_shutdown(cleanup, at_shutdown), state.is_pending(id))?;
                    state.model.registrations[id].at_shutdown = at_shutdown;
                }
            }
            Operation::External(cleanup, bytes) => {
                if let Some(&(cleanup, id)) = pick(&state.cleanups, cleanup) {
                    let pending = state.is_pending(id);
                    expect_same("set_external", heap.set_external(cleanup, bytes), pending)?;
                    if pending {
                        let model = &mut state.model;
                        let before = std::mem::replace(&mut model.registrations[id].external, bytes);
                        model.external = (model.external + bytes).saturating_sub(before);
                    }
                }
            }
            Operation::Unguard(guard) => {
                if let Some(&(guard, id)) = pick(&state.guards, guard) {
                    return expect_same("unguard", heap.unguard(guard), state.model.cancel(id));
                }
            }
            Operation::NextGuarded => return self.next_guarded(),
            Operation::Drain(callbacks, batches) => return self.drain(callbacks, batches),
            Operation::Collect => {
                heap.collect();
                state.model.collect();
            }
            Operation::CollectMinor => {
                heap.collect_minor();
                if heap.stats().last.minor { state.model.collect_minor() } else { state.model.collect() }
            }
            Operation::AddExternal(bytes) => {
                heap.add_external(bytes);
                state.model.external += bytes;
            }
            Operation::SubExternal(bytes) => {
                heap.sub_external(bytes);
                state.model.external = state.model.external.saturating_sub(bytes);
            }
            Operation::Limit(blocks) => {
                let stats = heap.stats();
                let limit = blocks.map(|blocks| stats.used_bytes + stats.external_bytes + (blocks << 14));
                heap.set_limit(limit.or(self.setup.limit));
                state.limited = limit.is_some() || self.setup.limit.is_some();
            }
            Operation::Enter
            | Operation::Exit
            | Operation::Panic
            | Operation::Allocate(..)
            | Operation::Link(..)
            | Operation::Unlink(..)
            | Operation::Root(_)
            | Operation::Shutdown(_) => {}
        }
        Ok(())
    }

    fn allocate(&mut self, kind: Kind) -> Result<(), Mismatch> {
        let due = is_due(&self.heap.stats());
        // Callbacks that run at the safepoint may allocate, too.
        let id = self.state.model.reserve();
        self.state.journal.allocated.set(id + 1);
        let root = Handle::allocate(&mut self.heap, kind, id, &self.state.journal);
        self.safepoint(due)?;
        let collections = self.heap.stats().collections;
        while self.state.limited && self.state.model.collections < collections {
            self.state.model.collect();
        }
        let Some(root) = root else {
            return if self.state.limited { Ok(()) } else { Err("an allocation failed without a limit".into()) };
        };
        self.state.model.insert(id, Handle::allocated_kind(kind), 0, Vec::new());
        self.state.roots.push(root);
        self.state.model.roots.push(id);
        Ok(())
    }

    fn run_now(&mut self, cleanup: usize) -> Result<(), Mismatch> {
        let Some(&(cleanup, id)) = pick(&self.state.cleanups, cleanup) else { return Ok(()) };
        let pending = self.state.is_pending(id);
        match catch_unwind(AssertUnwindSafe(|| self.heap.run_now(cleanup))) {
            Ok(ran) => expect_same("run_now", ran, pending)?,
            Err(panic) if panic.is::<Deliberate>() => {}
            Err(panic) => resume_unwind(panic),
        }
        let mut events = self.events();
        if pending {
            self.state.model.take(id);
            self.state.model.run(id, &mut events)?;
        }
        expect_same("what callbacks did", events.next(), None)
    }

    fn next_guarded(&mut self) -> Result<(), Mismatch> {
        let guarded = self.heap.next_guarded();
        let model = &mut self.state.model;
        let id = model.guardians.pop_front();
        expect_same("the next guarded object", guarded.as_ref().map(|guarded| guarded.tag as usize), id)?;
        let (Some(guarded), Some(id)) = (guarded, id) else { return Ok(()) };
        model.registrations[id].state = State::Done;
        let target = model.registrations[id].target;
        let root = Handle::of(guarded.object, model.object(target).kind);
        self.state.roots.push(root.ok_or("a guardian handed out an object of another type")?);
        self.state.model.roots.push(target);
        Ok(())
    }

    fn drain(&mut self, callbacks: usize, batches: usize) -> Result<(), Mismatch> {
        let budget = Budget::unlimited().callbacks(callbacks).batches(batches);
        let report = self.heap.drain(budget).map_err(|busy| busy.to_string())?;
        let mut events = self.events();
        let model = &mut self.state.model;
        let drained = model.drain(callbacks, batches, &mut events)?;
        expect_same("callbacks that ran", report.ran, drained.ran)?;
        expect_same("callbacks that panicked", report.panicked, drained.panicked)?;
        expect_same("callbacks left", report.left, model.cleanups.len())?;
        let oldest = model.cleanups.front().map(|&id| model.registrations[id].queued_in);
        let age = oldest.map_or(0, |cycle| model.collections - cycle - 1);
        expect_same("the age of the oldest callback", report.oldest_age_in_cycles, age)?;
        expect_same("what callbacks did", events.next(), None)
    }

    fn shut_down(&mut self, budget: usize) -> Result<(), Mismatch> {
        let options = ShutdownOptions::default().budget(Budget::unlimited().callbacks(budget));
        let report = self.heap.shutdown(options).map_err(|busy| busy.to_string())?;
        let mut events = self.events();
        let model = &mut self.state.model;
        let drained = model.drain(budget, usize::MAX, &mut events)?;
        expect_same("callbacks that ran", report.drained.ran, drained.ran)?;
        let mut at_shutdown = 0;
        while let Some(id) = model.next_at_shutdown() {
            model.take(id);
            model.panics += u64::from(!model.run(id, &mut events)?);
            at_shutdown += 1;
        }
        expect_same("callbacks at shutdown", report.at_shutdown, at_shutdown)?;
        expect_same("what callbacks did", events.next(), None)?;
        expect_same("a shutdown was cut short", report.truncated, false)?;
        model.close();
        compare::check_closed(&mut self.heap, &self.state)
    }

    /// Drops the heap, then the roots.
    fn end(self, stats: Stats) -> Result<Outcome, Mismatch> {
        let Self { heap, mut state, ran, .. } = self;
        drop(heap);
        state.model.close();
        compare::check_dropped(&state, true)?;
        drop(std::mem::take(&mut state.roots));
        let dropped = state.journal.dropped.take();
        Ok(Outcome { stats, ran, dropped })
    }
}

/// The element at an index modulo the length.
pub(crate) fn pick<T>(list: &[T], index: usize) -> Option<&T> {
    list.get(index.checked_rem(list.len())?)
}

impl Tables {
    fn root(&self, index: usize) -> Option<(&Handle, ObjectId)> {
        Some((pick(&self.roots, index)?, *pick(&self.model.roots, index)?))
    }

    pub(crate) fn observer(&self, index: usize) -> Option<(Observer, crate::model::Reference)> {
        Some((*pick(&self.observers, index)?, *pick(&self.model.references, index)?))
    }

    fn is_pending(&self, id: RegistrationId) -> bool {
        self.model.registrations[id].state != State::Done
    }

    pub(crate) fn clone_root(&mut self, index: usize) {
        if let Some((root, id)) = self.root(index) {
            self.roots.push(root.clone());
            self.model.roots.push(id);
        }
    }

    pub(crate) fn drop_root(&mut self, index: usize) {
        if let Some(index) = index.checked_rem(self.roots.len()) {
            self.roots.swap_remove(index);
            self.model.roots.swap_remove(index);
        }
    }

    /// The payload of a new cleanup, and what it holds.
    pub(crate) fn payload(&self, behaviour: Behaviour, held: Option<usize>) -> (Payload, Vec<ObjectId>) {
        let held = held.and_then(|index| self.root(index));
        let held_ids = held.iter().map(|&(_, id)| id).collect();
        let held = held.into_iter().map(|(root, id)| Held { root: root.clone(), id }).collect();
        (self.journal.payload(behaviour, held), held_ids)
    }

    pub(crate) fn registered_cleanup(
        &mut self,
        target: ObjectId,
        behaviour: Behaviour,
        held: Vec<ObjectId>,
        result: Result<Cleanup<Payload>, RegisterError<Payload>>,
    ) -> Result<(), Mismatch> {
        let accepted = self.model.register(target, Some(behaviour), held);
        match result {
            Ok(cleanup) if accepted => {
                self.cleanups.push((cleanup, self.registered()));
                Ok(())
            }
            Err(error) if !accepted && error.reason() == RegisterFailure::SelfRetention => Ok(()),
            Ok(_) => Err("a payload that holds its target was accepted".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) fn registered_guard(
        &mut self,
        target: ObjectId,
        result: Result<Guard, RegisterError<()>>,
    ) -> Result<(), Mismatch> {
        let guard = result.map_err(|error| error.to_string())?;
        self.model.register(target, None, Vec::new());
        self.guards.push((guard, self.registered()));
        Ok(())
    }

    fn registered(&self) -> RegistrationId {
        self.journal.registrations.replace(self.journal.registrations.get() + 1)
    }

    pub(crate) fn cancelled(&mut self, id: RegistrationId, payload: Option<Payload>) -> Result<(), Mismatch> {
        let held: Vec<_> = payload.iter().flat_map(|payload| &payload.held).map(|held| held.id).collect();
        expect_same("what a cancelled payload holds", &held, &self.model.registrations[id].held)?;
        expect_same("cancel", payload.map(|payload| payload.registration), self.model.cancel(id).then_some(id))
    }
}
