//! Runs a program on a heap and on the model, side by side.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use lacuna::{
    AutoDrain, Budget, Config, Guard, Heap, RegisterError, RegisterFailure, ShutdownOptions, Stats, StepBudget,
};

use crate::callbacks::{Callback, Death, Deliberate, Held, Journal, Payload, Probes, Witness};
use crate::compare;
use crate::model::{Class, Event, Mismatch, Model, ObjectId, Reference, RegistrationId, State};
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
    /// How many threads mark. Without the feature `parallel` it is always one.
    pub mark_threads: usize,
    /// As [`Config::increment_step`]. If there is one, the program can do increments, too.
    pub increment_step: Option<usize>,
}

impl Setup {
    /// What [`Config::default`] says.
    pub const DEFAULT: Self =
        Self { zeal: false, auto_drain: true, limit: None, min_heap: 32 << 20, mark_threads: 1, increment_step: None };
    /// Collects and verifies at every chance, and poisons freed cells.
    pub const ZEAL: Self = Self { zeal: true, ..Self::DEFAULT };
    /// As [`Self::ZEAL`], and two threads mark even if there is nearly nothing to mark.
    pub const THREADS: Self = Self { mark_threads: 2, ..Self::ZEAL };
    /// Collects now and then, and runs into a limit.
    pub const TIGHT: Self = Self { auto_drain: false, limit: Some(600 << 10), min_heap: 100 << 10, ..Self::DEFAULT };
    /// Collects and drains only when it is asked to.
    pub const QUIET: Self = Self { auto_drain: false, ..Self::DEFAULT };
    /// Collects in increments, some by itself and some when it is asked to.
    pub const INCREMENTS: Self = Self { min_heap: 200 << 10, increment_step: Some(0), ..Self::DEFAULT };
    /// As [`Self::INCREMENTS`] in zeal, and two threads end the marking that increments have begun.
    pub const INCREMENTS_AND_THREADS: Self = Self { zeal: true, mark_threads: 2, ..Self::INCREMENTS };

    pub(crate) fn config(self) -> Config {
        let auto_drain = if self.auto_drain { AutoDrain::AtSafepoints } else { AutoDrain::Off };
        let config = Config::default().zeal(self.zeal).auto_drain(auto_drain);
        #[cfg(feature = "parallel")]
        let config = config.mark_threads(self.mark_threads);
        // Minor collections run when the program says so.
        let config = config.minor_step(Some(usize::MAX)).increment_step(self.increment_step);
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
    /// Ephemerons that collections resolved and cleared.
    pub ephemerons: [usize; 2],
    /// The objects whose `Drop` is noted, in the order in which they were dropped.
    pub dropped: Vec<ObjectId>,
    /// Objects that collections kept though they died while these were under way.
    pub floating: usize,
    /// Collections that the program went on in.
    pub collections_in_increments: usize,
    /// Whether all of the program was compared with the model, which follows one collection at a time.
    pub is_whole: bool,
}

/// What the program holds, and what the model knows: everything but the heap, which a scope borrows.
pub(crate) struct Tables {
    pub(crate) model: Model,
    /// The roots, in the order of the model's.
    pub(crate) roots: Vec<Handle>,
    /// Cleanups and notifications.
    pub(crate) callbacks: Vec<(Callback, RegistrationId)>,
    pub(crate) guards: Vec<(Guard, RegistrationId)>,
    pub(crate) journal: Rc<Journal>,
    /// Whether an allocation may fail.
    pub(crate) limited: bool,
    /// Whether a collection may have had no memory to note keys with.
    pub(crate) starved: bool,
    pub(crate) ran: Vec<RegistrationId>,
}

/// How [`Operation::Collect`] is done.
pub(crate) type Collect<'a> = &'a mut dyn FnMut(&mut Heap);

pub(crate) struct Driver<'a> {
    heap: &'a mut Heap,
    pub(crate) state: &'a mut Tables,
    setup: Setup,
    collect: Collect<'a>,
    /// Whether heap and model are compared after each step.
    checks: bool,
}

/// How far a program got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// To its end, or that of a turn.
    Open,
    /// To a shutdown.
    Closed,
    /// To where the model knows no more.
    Lost,
}

/// Turns within turns, at most.
const TURNS: usize = 4;

/// Runs a program on a heap and on the model, and compares them after each step.
///
/// # Errors
///
/// Says where they differ.
pub fn run(program: &Program, setup: Setup) -> Result<Outcome, Mismatch> {
    let mut tables = Tables::new(setup);
    run_with(program, setup, &mut tables, &mut Heap::collect)
}

/// Like [`run`], with collections that may find no memory, wherever `collect` lets it end. Such a collection has to
/// happen as any other, or not at all.
///
/// # Errors
///
/// As [`run`].
pub fn run_starved(program: &Program, setup: Setup, mut collect: impl FnMut(&mut Heap)) -> Result<Outcome, Mismatch> {
    let mut tables = Tables { starved: true, ..Tables::new(setup) };
    run_with(program, setup, &mut tables, &mut collect)
}

fn run_with(program: &Program, setup: Setup, state: &mut Tables, collect: Collect<'_>) -> Result<Outcome, Mismatch> {
    // A heap that differs may be broken: its drop would only hide how.
    let mut heap = ManuallyDrop::new(Heap::with_config(setup.config()));
    let mut position = 0;
    let mut driver = Driver::new(&mut heap, state, setup, collect);
    let played = driver.play(program, &mut position);
    if state.model.lost {
        // What differs then may be right.
        let stats = heap.verify().map(|_| heap.stats()).map_err(|error| at(program, position, &error.to_string()))?;
        drop(ManuallyDrop::into_inner(heap));
        return Ok(state.outcome(stats));
    }
    let progress = played.map_err(|what| at(program, position, &what))?;
    let stats = (progress == Progress::Open).then(|| heap.stats());
    end(ManuallyDrop::into_inner(heap), state, stats).map_err(|what| at(program, position, &what))
}

/// Drops the heap, then the roots.
fn end(heap: Heap, state: &mut Tables, stats: Option<Stats>) -> Result<Outcome, Mismatch> {
    let stats = stats.unwrap_or_else(|| heap.stats());
    drop(heap);
    state.model.close();
    compare::check_dropped(state, true)?;
    drop(std::mem::take(&mut state.roots));
    Ok(state.outcome(stats))
}

fn at(program: &Program, position: usize, what: &str) -> Mismatch {
    let last = &program.0[..(position + 1).min(program.0.len())];
    format!("{what}\nat operation {position} of {last:?}")
}

pub(crate) fn expect_same<T: PartialEq + std::fmt::Debug>(what: &str, heap: T, model: T) -> Result<(), Mismatch> {
    if heap == model { Ok(()) } else { Err(format!("{what}: the heap says {heap:?}, the model {model:?}")) }
}

impl Tables {
    pub(crate) fn new(setup: Setup) -> Self {
        let told = setup.increment_step.is_some();
        Self {
            model: Model::new(told),
            roots: Vec::new(),
            callbacks: Vec::new(),
            guards: Vec::new(),
            journal: Rc::new(Journal { probes: told.then(Probes::default), ..Journal::default() }),
            limited: setup.limit.is_some(),
            starved: false,
            ran: Vec::new(),
        }
    }

    /// Whether the next safepoint collects, as the statistics tell everyone.
    fn is_due(&self, stats: &Stats) -> bool {
        let outside = stats.external_bytes + stats.ephemeron_bytes;
        let at_goal = stats.live_bytes + stats.allocated_bytes + outside >= stats.goal_bytes;
        assert!(stats.major_due || !at_goal || self.model.told, "a collection is due at the goal");
        stats.major_due
    }

    fn outcome(&mut self, stats: Stats) -> Outcome {
        Outcome {
            stats,
            ran: std::mem::take(&mut self.ran),
            ephemerons: self.model.ephemerons,
            dropped: self.journal.dropped.take(),
            floating: self.model.floating,
            collections_in_increments: self.model.in_increments,
            is_whole: !self.model.lost,
        }
    }
}

impl<'a> Driver<'a> {
    pub(crate) fn new(heap: &'a mut Heap, state: &'a mut Tables, setup: Setup, collect: Collect<'a>) -> Self {
        Self { heap, state, setup, collect, checks: true }
    }

    /// Plays a program without turns and shutdown, and compares nothing.
    pub(crate) fn play_unchecked(&mut self, program: &Program) -> Result<(), Mismatch> {
        self.checks = false;
        self.play(program, &mut 0)?;
        self.checks = true;
        Ok(())
    }

    /// Compares the heap with the model. `collected`: all dead values were just dropped.
    pub(crate) fn check(&self, collected: bool) -> Result<(), Mismatch> {
        compare::check(self.heap, self.state, collected)
    }

    /// Drops the roots, and compares what is dropped with them.
    pub(crate) fn end(self) -> Result<(), Mismatch> {
        self.state.roots.clear();
        self.heap.collect();
        self.state.model.roots.clear();
        self.state.model.collect();
        compare::check_dropped(self.state, true)
    }

    /// Plays a program from a position on, until the turn ends in which it is.
    fn play(&mut self, program: &Program, position: &mut usize) -> Result<Progress, Mismatch> {
        while let Some(&operation) = program.0.get(*position) {
            let mut length = 1;
            match operation {
                Operation::Enter => {
                    let rest = &program.0[*position + 1..];
                    let is_end = |op: &Operation| !op.is_of_scope() || *op == Operation::Exit;
                    length += rest.iter().position(is_end).unwrap_or(rest.len());
                    self.scope(&rest[..length - 1])?;
                }
                Operation::Shutdown(budget) => {
                    self.shut_down(budget)?;
                    return Ok(Progress::Closed);
                }
                Operation::Turn if self.state.model.turns.len() < TURNS => {
                    *position += 1;
                    match self.turn(program, position)? {
                        Progress::Open => length = 0,
                        end => return Ok(end),
                    }
                }
                Operation::EndTurn if !self.state.model.turns.is_empty() => {
                    *position += 1;
                    return Ok(Progress::Open);
                }
                operation => self.one(operation)?,
            }
            self.settle();
            if self.state.model.lost {
                return Ok(Progress::Lost);
            }
            if self.checks {
                self.check(operation == Operation::Collect)?;
            }
            *position += length;
        }
        Ok(Progress::Open)
    }

    /// Does one operation, in a scope of its own if it needs one.
    pub(crate) fn one(&mut self, operation: Operation) -> Result<(), Mismatch> {
        let done = match operation {
            // It would be garbage at once.
            operation if operation.finds() => self.scope(&[operation, Operation::Root(0)]),
            operation if operation.needs_scope() => self.scope(&[operation]),
            operation => self.step(operation),
        };
        self.settle();
        done
    }

    /// An operation is done, after which a collection may go on.
    fn settle(&mut self) {
        self.state.model.phase = self.heap.phase();
        self.state.model.went_on();
    }

    fn turn(&mut self, program: &Program, position: &mut usize) -> Result<Progress, Mismatch> {
        let Self { heap, state, setup, collect, checks } = self;
        state.model.turns.push(BTreeSet::new());
        state.journal.in_turn.set(true);
        let progress = heap.turn(|heap| {
            let mut driver = Driver { heap, state, setup: *setup, collect: &mut **collect, checks: *checks };
            driver.play(program, position)
        });
        self.state.model.turns.pop();
        self.state.journal.in_turn.set(!self.state.model.turns.is_empty());
        progress
    }

    /// Plays operations in one scope.
    fn scope(&mut self, operations: &[Operation]) -> Result<(), Mismatch> {
        let Self { heap, state, .. } = self;
        let played = catch_unwind(AssertUnwindSafe(|| {
            heap.enter(|cx| scope::play(cx, state, operations).map(|()| state.is_due(&cx.stats())))
        }));
        match played {
            Ok(result) => self.safepoint(result?),
            Err(panic) if panic.is::<Deliberate>() => Ok(()),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// What callbacks did since the last call. Takes over what they made.
    fn events(&mut self) -> std::vec::IntoIter<Event> {
        let Tables { journal, roots, callbacks, ran, .. } = &mut *self.state;
        journal.look(self.heap);
        let events = journal.events.take();
        roots.extend(journal.kept.take().into_iter().map(|(root, _)| root));
        callbacks.extend(journal.registered.take());
        ran.extend(events.iter().filter_map(|event| match event {
            Event::Ran(id) => Some(*id),
            _ => None,
        }));
        events.into_iter()
    }

    /// Lets the model do what the heap has done at a safepoint.
    fn safepoint(&mut self, due: bool) -> Result<(), Mismatch> {
        let mut events = self.events().peekable();
        let model = &mut self.state.model;
        let mut exhausted = false;
        if model.told {
            exhausted = follow(model, &mut events)?;
        } else if due || self.setup.zeal {
            model.collect();
        }
        let waiting = model.callbacks.len();
        // A collection for want of memory comes before the callbacks, or after them, at the allocation.
        let is_over = exhausted && events.peek().is_none();
        if self.setup.auto_drain && waiting > 0 && !model.lost && !is_over {
            model.drain((waiting / 8).max(16), usize::MAX, &mut events)?;
        }
        follow(model, &mut events)?;
        self.expect_no_more(events)
    }

    /// Lets the model do what the heap has done when it was asked to collect.
    fn collected(&mut self) -> Result<(), Mismatch> {
        let mut events = self.events().peekable();
        follow(&mut self.state.model, &mut events)?;
        self.expect_no_more(events)
    }

    fn expect_no_more(&self, mut events: impl Iterator<Item = Event>) -> Result<(), Mismatch> {
        if self.state.model.lost { Ok(()) } else { expect_same("what callbacks did", events.next(), None) }
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
                    state.observed(observer, target, long);
                }
            }
            Operation::Upgrade(weak) => {
                if let Some((observer, reference)) = state.observer(weak) {
                    let root = observer.upgrade(heap);
                    expect_same("a weak reference lives", root.is_some(), !reference.dead)?;
                    state.roots.extend(root);
                    if !reference.dead {
                        state.model.roots.push(reference.target);
                        state.model.keep(reference.target);
                    }
                }
            }
            Operation::Cleanup(root, behaviour, held) => {
                if let Some((root, target)) = state.root(root) {
                    let root = root.clone();
                    let (payload, held) = state.payload(Death::Object(target), behaviour, held);
                    let result = root.cleanup(heap, payload);
                    let result = result.map(Callback::Cleanup);
                    return state.registered(target, Class::Cleanup(behaviour), held, result);
                }
            }
            Operation::Notify(weak, behaviour, owner, held) => {
                if let Some((observer, reference)) = state.observer(weak)
                    && !reference.long
                {
                    let index = weak % state.model.references.len();
                    let (owner, owner_id) = owner.and_then(|owner| state.root(owner)).unzip();
                    let owner = owner.cloned();
                    let (payload, held) = state.payload(Death::Reference(index), behaviour, held);
                    let result =
                        observer.notify(heap, owner.as_ref(), payload).ok_or("the reference is a short one")?;
                    let result = result.map(Callback::Notification);
                    if reference.dead {
                        let refused = result.err().map(|error| error.reason());
                        return expect_same("a notification of a death past", refused, Some(RegisterFailure::Dead));
                    }
                    return state.registered(reference.target, Class::Notification(behaviour, owner_id), held, result);
                }
            }
            Operation::Guard(root) => {
                if let Some((root, target)) = state.root(root) {
                    let result = root.guard(heap, state.journal.registrations.get() as u64);
                    return state.registered_guard(target, result);
                }
            }
            Operation::Cancel(callback) => {
                if let Some(&(callback, id)) = pick(&state.callbacks, callback) {
                    let payload = callback.cancel(heap);
                    return state.cancelled(id, payload);
                }
            }
            Operation::RunNow(callback) => return self.run_now(callback),
            Operation::AtShutdown(callback, at_shutdown) => {
                if let Some(&(callback, id)) = pick(&state.callbacks, callback) {
                    let set = callback.set_at_shutdown(heap, at_shutdown);
                    expect_same("set_at_shutdown", set, state.is_pending(id))?;
                    state.model.registrations[id].at_shutdown = at_shutdown;
                }
            }
            Operation::External(callback, bytes) => {
                if let Some(&(callback, id)) = pick(&state.callbacks, callback)
                    && let Some(set) = callback.set_external(heap, bytes)
                {
                    let pending = state.is_pending(id);
                    expect_same("set_external", set, pending)?;
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
                (self.collect)(heap);
                let happened = heap.stats().collections > state.model.collections;
                // Without the least that marking needs nothing happens; the first that does keeps it.
                let may_fail = state.starved && state.model.collections == 0;
                expect_same("a collection happens", happened || may_fail, true)?;
                if state.model.told {
                    return self.collected();
                }
                if happened {
                    state.model.collect();
                }
            }
            Operation::BeginMajor if self.setup.increment_step.is_some() => {
                heap.begin_major();
                return self.collected();
            }
            Operation::Step(units) if self.setup.increment_step.is_some() => {
                heap.step(StepBudget::units(units));
                return self.collected();
            }
            Operation::CollectMinor => {
                heap.collect_minor();
                if state.model.told {
                    return self.collected();
                }
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
                let taken = stats.used_bytes + stats.external_bytes + stats.ephemeron_bytes;
                let limit = blocks.map(|blocks| taken + (blocks << 14));
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
            | Operation::Insert(..)
            | Operation::Remove(..)
            | Operation::LookUp(..)
            | Operation::Iterate(..)
            | Operation::Tidy(..)
            | Operation::Turn
            | Operation::EndTurn
            | Operation::BeginMajor
            | Operation::Step(_)
            | Operation::Shutdown(_) => {}
        }
        Ok(())
    }

    fn allocate(&mut self, kind: Kind) -> Result<(), Mismatch> {
        let due = self.state.is_due(&self.heap.stats());
        // Callbacks that run at the safepoint may allocate, too.
        let id = self.state.model.reserve();
        self.state.journal.allocated.set(id + 1);
        let root = Handle::allocate(self.heap, kind, id, &self.state.journal);
        self.safepoint(due)?;
        let collections = self.heap.stats().collections;
        while self.state.limited && self.state.model.collections < collections && !self.state.model.told {
            self.state.model.collect();
        }
        let Some(root) = root else {
            return if self.state.limited { Ok(()) } else { Err("an allocation failed without a limit".into()) };
        };
        self.state.model.insert(id, Handle::allocated_kind(kind), 0, Vec::new());
        self.state.journal.probe(self.heap, &root, id);
        self.state.roots.push(root);
        self.state.model.roots.push(id);
        Ok(())
    }

    fn run_now(&mut self, callback: usize) -> Result<(), Mismatch> {
        let Some(&(callback, id)) = pick(&self.state.callbacks, callback) else { return Ok(()) };
        let pending = self.state.is_pending(id);
        self.state.journal.unqueued.set(true);
        match catch_unwind(AssertUnwindSafe(|| callback.run_now(self.heap))) {
            Ok(ran) => expect_same("run_now", ran, pending)?,
            Err(panic) if panic.is::<Deliberate>() => {}
            Err(panic) => resume_unwind(panic),
        }
        self.state.journal.unqueued.set(false);
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
        expect_same("callbacks left", report.left, model.callbacks.len())?;
        let oldest = model.callbacks.front().map(|&id| model.registrations[id].queued_in);
        let age = oldest.map_or(0, |cycle| model.collections - cycle - 1);
        expect_same("the age of the oldest callback", report.oldest_age_in_cycles, age)?;
        expect_same("what callbacks did", events.next(), None)
    }

    fn shut_down(&mut self, budget: usize) -> Result<(), Mismatch> {
        self.state.journal.unqueued.set(true);
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
        compare::check_closed(self.heap, self.state)
    }
}

/// Lets the model follow the collections that come next among what happened. Says whether one was for want of memory.
fn follow(model: &mut Model, events: &mut Peekable<std::vec::IntoIter<Event>>) -> Result<bool, Mismatch> {
    let mut exhausted = false;
    while let Some(event) = events.next_if(|event| matches!(event, Event::Began | Event::Collected(_))) {
        match event {
            Event::Collected(collected) => {
                exhausted |= collected.exhausted;
                model.follow(&collected)?;
            }
            _ => model.begin(),
        }
    }
    Ok(exhausted)
}

/// The element at an index modulo the length.
pub(crate) fn pick<T>(list: &[T], index: usize) -> Option<&T> {
    list.get(index.checked_rem(list.len())?)
}

impl Tables {
    fn root(&self, index: usize) -> Option<(&Handle, ObjectId)> {
        Some((pick(&self.roots, index)?, *pick(&self.model.roots, index)?))
    }

    pub(crate) fn observer(&self, index: usize) -> Option<(Observer, Reference)> {
        Some((pick(&self.journal.witnesses.borrow(), index)?.observer, *pick(&self.model.references, index)?))
    }

    /// Notes a new weak reference.
    pub(crate) fn observed(&mut self, observer: Observer, target: ObjectId, long: bool) {
        self.model.observe(target, long);
        let revivals = self.model.object(target).revivals;
        self.journal.witnesses.borrow_mut().push(Witness { observer, target, long, revivals });
    }

    pub(crate) fn is_pending(&self, id: RegistrationId) -> bool {
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
    pub(crate) fn payload(&self, death: Death, behaviour: Behaviour, held: Option<usize>) -> (Payload, Vec<ObjectId>) {
        let held = held.and_then(|index| self.root(index));
        let held_ids = held.iter().map(|&(_, id)| id).collect();
        let held = held.into_iter().map(|(root, id)| Held { root: root.clone(), id }).collect();
        (self.journal.payload(death, behaviour, held), held_ids)
    }

    pub(crate) fn registered(
        &mut self,
        target: ObjectId,
        class: Class,
        held: Vec<ObjectId>,
        result: Result<Callback, RegisterError<Payload>>,
    ) -> Result<(), Mismatch> {
        let accepted = self.model.register(target, class, held);
        match result {
            Ok(callback) if accepted => {
                self.callbacks.push((callback, self.count_registration()));
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
        self.model.register(target, Class::Guardian, Vec::new());
        self.guards.push((guard, self.count_registration()));
        Ok(())
    }

    fn count_registration(&self) -> RegistrationId {
        self.journal.registrations.replace(self.journal.registrations.get() + 1)
    }

    pub(crate) fn cancelled(&mut self, id: RegistrationId, payload: Option<Payload>) -> Result<(), Mismatch> {
        let held: Vec<_> = payload.iter().flat_map(|payload| &payload.held).map(|held| held.id).collect();
        expect_same("what a cancelled payload holds", &held, &self.model.registrations[id].held)?;
        expect_same("cancel", payload.map(|payload| payload.registration), self.model.cancel(id).then_some(id))
    }
}
