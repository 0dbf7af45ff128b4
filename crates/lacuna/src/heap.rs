//! [`Heap`]: the public shell around the collector.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use crate::config::{AutoDrain, Config};
use crate::cycle::collector::{self, Clock};
use crate::cycle::core::Core;
use crate::cycle::failures::{self, ErrorHook, Failure, Step};
use crate::cycle::major::{self, Stage};
use crate::cycle::sweep;
use crate::cycle::verify::{self, VerifyError, VerifyReport};
use crate::cycle::work::{StepBudget, Work};
use crate::edges::callback::{Call, Callback, WithClosure, WithFunction};
use crate::edges::finalizers::Taken;
use crate::edges::roots::{HeapId, TurnGuard};
use crate::edges::weak::Kind;
use crate::error::{AllocError, Busy, Exhausted, ObserveError, RegisterError, RegisterFailure, WrongHeap};
use crate::export::retaining::{self, RetainingPath, SelfRetention};
use crate::handle::drain::{Budget, Drain, DrainReport, ShutdownOptions, ShutdownReport};
use crate::handle::guard::{AnyRoot, Guard, Guarded};
use crate::handle::mutator::{self, Mutator, Reader};
use crate::handle::registration::sealed::Named as _;
use crate::handle::registration::{Cleanup, Notification, Registered};
use crate::handle::root::Root;
use crate::handle::send::{SendBatch, WithSend};
use crate::handle::weak::{Weak, WeakId, WeakLong};
use crate::object::descriptor::ObjectRef;
use crate::object::edges::AnyEdge;
use crate::object::gc::Gc;
use crate::object::trace::{Object, Trace};
use crate::stats::{Cause, Event, EventKind, Phase, Stats};

/// Work units of an increment in zeal.
const ZEAL_UNITS: usize = 100;

/// A garbage-collected heap.
///
/// There are two ways to use it, which mix freely. *Scopes*: [`enter`](Self::enter) gives access by plain pointers
/// ([`Gc`]) while nothing is freed. *Handles*: [`alloc`](Self::alloc) returns [`Root`]s, which live across collections.
///
/// A collection, or an increment of one, runs when a scope ends or a handle is allocated and the heap has grown to its goal
/// or enough was allocated for a [minor](Self::collect_minor) one, when one is called for, and never at any other point. A
/// heap belongs to one thread; a program can have many.
///
/// ```
/// use lacuna::{Gc, GcCell, Heap, Root, Trace};
///
/// #[derive(Trace)]
/// struct Node<'gc> {
///     id: u32,
///     next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
/// }
///
/// let mut heap = Heap::new();
/// let first: Root<Node<'static>> = heap.enter(|cx| {
///     let a = cx.alloc(Node { id: 1, next: GcCell::new(None) });
///     let b = cx.alloc(Node { id: 2, next: GcCell::new(Some(a)) });
///     a.set(cx, |node| &node.next, Some(b)); // a cycle
///     a.root(cx)
/// });
/// let weak = heap.downgrade(&first);
/// heap.collect();
/// assert!(heap.upgrade(weak).is_some());
/// drop(first);
/// heap.collect();
/// assert!(heap.upgrade(weak).is_none());
/// ```
pub struct Heap {
    mutator: Box<Mutator<'static>>,
    on_error: Option<ErrorHook>,
    on_event: Option<Listener>,
}

/// What is told of each stop.
type Listener = Box<dyn FnMut(&Event)>;

impl Heap {
    /// An empty heap with the default [`Config`]. Takes no memory for objects before the first is allocated.
    pub fn new() -> Self {
        Self::with_config(Config::default())
    }

    /// An empty heap.
    pub fn with_config(config: Config) -> Self {
        Self { mutator: Box::new(Mutator::new(Core::new(config))), on_error: None, on_event: None }
    }

    #[inline(always)]
    pub(crate) fn core(&mut self) -> &mut Core {
        self.mutator.core_mut()
    }

    /// The heap's identity.
    pub(crate) fn id(&self) -> HeapId {
        self.mutator.core_ref().id
    }

    /// Runs `scope` with access to the heap, and returns what it returns.
    ///
    /// Inside, nothing is freed and no collection runs, so a long computation should enter many times. When the scope ends,
    /// a collection or an increment of one runs if it is due, and callbacks run as [`Config::auto_drain`] says. If `scope`
    /// panics, the panic passes through and the heap stays as it is.
    pub fn enter<R>(&mut self, scope: impl for<'gc> FnOnce(&'gc Mutator<'gc>) -> R) -> R {
        let result = self.mutator.enter(scope);
        if self.mutator.core_mut().wants_safepoint() {
            self.safepoint();
        }
        result
    }

    /// Runs `turn`, and keeps alive to its end the object of every weak reference that is made or upgraded in it, as
    /// those of JavaScript are kept to the end of a job.
    ///
    /// So a weak reference that was found alive in a turn stays so in the whole turn, also across scopes and
    /// collections. Looking, as with [`is_dead`](Self::is_dead), keeps nothing alive. A turn within a turn keeps what is
    /// observed in it to its own end. Outside of turns nothing is kept, and nothing is paid for that.
    ///
    /// A panic in `turn` ends the turn and passes through.
    ///
    /// ```
    /// use lacuna::Heap;
    ///
    /// let mut heap = Heap::new();
    /// let weak = heap.turn(|heap| {
    ///     let object = heap.alloc(17);
    ///     let weak = heap.downgrade(&object);
    ///     drop(object);
    ///     heap.collect();
    ///     assert!(!heap.is_dead(weak));
    ///     weak
    /// });
    /// heap.collect();
    /// assert!(heap.is_dead(weak));
    /// ```
    pub fn turn<R>(&mut self, turn: impl FnOnce(&mut Self) -> R) -> R {
        let open = Turn::begin(self);
        turn(open.heap)
    }

    /// Collects if that is due, and runs callbacks if that is wanted.
    #[cold]
    fn safepoint(&mut self) {
        let core = self.core();
        if core.config.zeal && core.stage != Stage::Idle {
            self.advance(&mut Work::units(ZEAL_UNITS));
        } else if core.config.zeal && core.wants_minor() {
            self.collect_minor_because(Cause::Zeal);
        } else if core.config.zeal {
            self.collect_because(Cause::Zeal, false);
        } else if core.refused {
            self.collect_because(Cause::Exhausted, true);
        } else if core.config.automatic {
            self.pay_debt();
        }
        let core = self.core();
        let waiting = core.finalizers.queued_callbacks();
        if waiting > 0 && core.config.auto_drain == AutoDrain::AtSafepoints && !core.closed {
            // A callback that is running drains no others; they run after it.
            let _ = self.drain(Budget::unlimited().callbacks((waiting / 8).max(16)));
        }
    }

    /// Collects, if that is due, or does an increment of it.
    fn pay_debt(&mut self) {
        let core = self.core();
        if core.stage == Stage::Idle && core.wants_major() {
            if core.config.increment_step.is_none() {
                return self.collect_because(Cause::Goal, false);
            }
            major::begin(core, Cause::Goal);
        }
        if core.pacing.is_due() {
            let mut work = major::due_work(core);
            self.advance(&mut work);
        } else if core.wants_minor() && !core.stage.is_marking() {
            self.collect_minor_because(Cause::Step);
        }
    }

    fn advance(&mut self, work: &mut Work) {
        self.stop(EventKind::Increment, |core| major::advance(core, work));
    }

    /// Stops the program for a collection or a part of one, and tells who wants to know.
    fn stop(&mut self, kind: EventKind, collect: impl FnOnce(&mut Core) -> Result<(), VerifyError>) {
        #[cfg(feature = "tracing")]
        let span = tracing::debug_span!(target: "lacuna", "stop", kind = tracing::field::Empty).entered();
        let core = self.core();
        let (collections, bytes_before) = (core.stats.collections, core.pacing.size());
        let mut clock = Clock::start(core.config.measure_times);
        let traced = if kind == EventKind::Increment { core.cycle.objects_traced } else { 0 };
        let verdict = collect(core);
        let paused = core.stats.collections > collections;
        // Whether an increment comes to the pause is known only now.
        let ended = if kind == EventKind::Increment && paused { EventKind::Pause } else { kind };
        #[cfg(feature = "tracing")]
        span.record("kind", tracing::field::debug(ended));
        if !paused && kind != EventKind::Increment {
            // There was no memory to collect with, or it would not have paid.
            return self.after_collection(verdict);
        }
        let mut time = None;
        clock.lap_into(&mut time);
        #[cfg(feature = "std")]
        if let Some(time) = time {
            core.stats.stops.add(time);
        }
        let cycle = if kind == EventKind::Minor { core.stats.last } else { core.cycle };
        let event = Event {
            kind: ended,
            cause: cycle.cause,
            phase: core.stage.phase(),
            objects_traced: cycle.objects_traced.saturating_sub(traced),
            bytes_before,
            bytes_after: core.pacing.size(),
            time,
            pause: cycle.weak_time.filter(|_| paused),
        };
        self.after_collection(verdict);
        self.tell(&event);
    }

    /// Sets what is told of each stop for a collection: what it was, why, and how much was done. It is called between
    /// scopes, after the stop.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use lacuna::{EventKind, Heap};
    ///
    /// let mut heap = Heap::new();
    /// let majors = Rc::new(Cell::new(0));
    /// let counter = Rc::clone(&majors);
    /// heap.on_event(move |event| {
    ///     if event.kind == EventKind::Major {
    ///         counter.set(counter.get() + 1);
    ///     }
    /// });
    /// heap.collect();
    /// assert_eq!(majors.get(), 1);
    /// ```
    ///
    /// # Panics
    ///
    /// Not itself; but a listener that panics does so in whatever has ended with a collection.
    pub fn on_event(&mut self, listener: impl FnMut(&Event) + 'static) {
        self.on_event = Some(Box::new(listener));
    }

    fn tell(&mut self, event: &Event) {
        if let Some(listener) = &mut self.on_event {
            listener(event);
        }
    }

    /// Where the heap is between two major collections.
    pub fn phase(&self) -> Phase {
        self.mutator.core_ref().stage.phase()
    }

    /// Begins a major collection that is done in increments, unless one is under way.
    ///
    /// It does nothing else. The increments are done by [`step`](Self::step), and what that does not do, by the heap itself:
    /// when a scope ends, and before a handle is allocated, after each [`increment_step`](crate::Config::increment_step)
    /// bytes of cells handed out. Where there is no such step, and major collections that the heap begins itself are done at
    /// once, those of one that the program has begun come after each 64 KiB all the same, each as long as is needed for
    /// marking to end before the size is reached at which the heap would collect. Only a heap that [does not collect
    /// automatically](crate::Config::collect_automatically) leaves all increments to the program.
    ///
    /// [`collect`](Self::collect) does not wait for increments: it collects everything at once.
    ///
    /// ```
    /// use lacuna::{Heap, Phase, StepBudget};
    ///
    /// let mut heap = Heap::new();
    /// let weak = {
    ///     let object = heap.alloc(1);
    ///     heap.downgrade(&object)
    /// };
    /// heap.begin_major();
    /// assert_eq!(heap.phase(), Phase::Marking);
    /// while heap.step(StepBudget::units(1000)) != Phase::Idle {
    ///     // a frame of a game
    /// }
    /// assert!(heap.is_dead(weak));
    /// ```
    pub fn begin_major(&mut self) {
        let core = self.core();
        if core.stage == Stage::Idle {
            major::begin(core, Cause::Explicit);
        }
    }

    /// Goes on with the major collection that is under way, as far as the budget goes; begins one if one is due. Returns
    /// where the heap is then.
    ///
    /// For programs that have time now and want to be undisturbed later: between two frames, or while they wait. What
    /// `Drop` and callbacks do is not counted. A budget of some time does something also if there is none left, so a loop of
    /// steps ends; one of no work units does nothing. A program that hangs more onto old objects between two steps than a step
    /// may do puts the end off, up to where the heap goes on by itself.
    ///
    /// # Panics
    ///
    /// If a hand-written `Trace` panics. The collection is given up then, and nothing of it is felt.
    pub fn step(&mut self, budget: StepBudget) -> Phase {
        let core = self.core();
        if core.stage == Stage::Idle && core.wants_major() {
            major::begin(core, Cause::Goal);
        }
        if self.core().stage != Stage::Idle {
            self.advance(&mut Work::of(budget));
        }
        self.phase()
    }

    /// Frees what has died of the objects made since the last collection, and looks at no other objects but those that
    /// were written since: the others count as alive, and what is unreachable among them waits for the next
    /// [`collect`](Self::collect).
    ///
    /// Takes time in proportion to the live objects among the new ones, the roots made and the objects written since. If
    /// [`Config::minor_step`] is `None`, or automatic minor collections were found not to pay for now, everything is
    /// collected. While a major collection is marking, that is finished instead.
    ///
    /// # Panics
    ///
    /// As [`collect`](Self::collect).
    pub fn collect_minor(&mut self) {
        self.collect_minor_because(Cause::Explicit);
    }

    fn collect_minor_because(&mut self, cause: Cause) {
        let core = self.core();
        if core.stage.is_marking() {
            self.stop(EventKind::Increment, major::finish_marking);
        } else if core.armed && !core.major_only {
            self.stop(EventKind::Minor, |core| collector::collect_minor(core, cause));
        } else {
            self.collect_because(cause, false);
        }
    }

    fn collect_because(&mut self, cause: Cause, at_once: bool) {
        self.stop(EventKind::Major, |core| collector::collect(core, cause, at_once));
    }

    fn after_collection(&mut self, verdict: Result<(), VerifyError>) {
        if self.core().config.zeal {
            self.expect_sound(verdict);
        }
        self.drop_silenced();
        self.report_failures();
    }

    /// Drops the payloads of notifications whose owners are gone.
    fn drop_silenced(&mut self) {
        while let Some(taken) = self.core().finalizers.next_silenced() {
            self.drop_payload(taken);
        }
    }

    /// In zeal, panics if the heap is not sound.
    fn expect_sound(&self, verdict: Result<(), VerifyError>) {
        if let Err(error) = verdict.and_then(|()| self.verify().map(drop)) {
            panic!("the heap is not sound: {error}");
        }
    }

    /// Collects the whole heap: everything that is not [kept alive](crate#what-keeps-an-object-alive) is freed, weak
    /// references to it read dead, its callbacks are queued, and memory is given back to the system.
    ///
    /// Takes time in proportion to what is alive. Runs `Drop` of dead objects and of the values of dead entries of
    /// [`Ephemerons`](crate::Ephemerons), but no callbacks: those run in [`drain`](Self::drain).
    ///
    /// # Panics
    ///
    /// If a hand-written `Trace` panics. The heap can be used further; what was to be freed is freed by the next
    /// collection.
    pub fn collect(&mut self) {
        self.collect_because(Cause::Explicit, true);
    }

    /// Allocates an object, rooted. May collect before.
    ///
    /// The value can hold no edges yet, since those exist inside a scope only: use [`alloc_with`](Self::alloc_with) for
    /// a value that does.
    ///
    /// # Panics
    ///
    /// If there is no memory, as for [`Mutator::alloc`].
    #[track_caller]
    pub fn alloc<T: Trace<At<'static> = T>>(&mut self, value: T) -> Root<T> {
        match self.try_alloc(value) {
            Ok(root) => root,
            Err(error) => self.mutator.out_of_memory(error.reason()),
        }
    }

    /// Allocates an object, rooted, or gives the value back. May collect before, and collects everything if there is no
    /// memory.
    ///
    /// # Errors
    ///
    /// If there is no memory even then, or the heap is at its limit.
    ///
    /// # Panics
    ///
    /// If the value holds an edge.
    #[track_caller]
    pub fn try_alloc<T: Trace<At<'static> = T>>(&mut self, value: T) -> Result<Root<T>, AllocError<T>> {
        expect_no_edge(&value);
        if self.core().wants_safepoint() {
            self.safepoint();
        }
        let value = match self.try_alloc_once(value) {
            Ok(root) => return Ok(root),
            Err(error) => error.into_value(),
        };
        self.collect_because(Cause::Exhausted, true);
        self.try_alloc_once(value)
    }

    fn try_alloc_once<T: Trace<At<'static> = T>>(&mut self, value: T) -> Result<Root<T>, AllocError<T>> {
        // The value's type is that of the brand 'static, and the pointer is rooted before anything else happens.
        let mutator = &*self.mutator;
        if let Err(reason) = mutator.roots().reserve() {
            return Err(AllocError::new(value, reason));
        }
        mutator.try_alloc(value).map(|object| object.root(mutator))
    }

    /// Allocates the object that the closure makes, rooted. May collect before.
    ///
    /// ```
    /// use lacuna::{Gc, Heap, Root, Trace};
    ///
    /// #[derive(Trace)]
    /// struct Cons<'gc>(i32, Option<Gc<'gc, Cons<'gc>>>);
    ///
    /// let mut heap = Heap::new();
    /// let tail: Root<Cons<'static>> = heap.alloc(Cons(2, None));
    /// let list = heap.alloc_with::<Cons>(|cx| Cons(1, Some(tail.get(cx))));
    /// assert_eq!(heap.with(&list, |list| list.0 + list.1.unwrap().0), 3);
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no memory, as for [`Mutator::alloc`].
    pub fn alloc_with<T: Trace>(
        &mut self,
        value: impl for<'gc> FnOnce(&'gc Mutator<'gc>) -> T::At<'gc>,
    ) -> Root<T::At<'static>> {
        if self.core().wants_safepoint() {
            self.safepoint();
        }
        self.mutator.enter(|cx| cx.alloc(value(cx)).root(cx))
    }

    /// Like [`alloc_with`](Self::alloc_with), but an error instead of a panic if there is no memory. May collect before,
    /// and collects everything if there is no memory; the closure is then called once more.
    ///
    /// # Errors
    ///
    /// If there is no memory even then, or the heap is at its limit. The value, which cannot leave its scope, is dropped.
    pub fn try_alloc_with<T: Trace>(
        &mut self,
        mut value: impl for<'gc> FnMut(&'gc Mutator<'gc>) -> T::At<'gc>,
    ) -> Result<Root<T::At<'static>>, Exhausted> {
        if self.core().wants_safepoint() {
            self.safepoint();
        }
        self.try_twice(|cx| {
            let value = value(cx);
            cx.roots().reserve()?;
            cx.try_alloc(value).map(|object| object.root(cx)).map_err(|error| error.reason())
        })
    }

    /// Makes a root in a scope; if there is no memory for it, collects everything and tries again.
    fn try_twice<T: ?Sized + Object>(
        &mut self,
        mut make: impl for<'gc> FnMut(&'gc Mutator<'gc>) -> Result<Root<T>, Exhausted>,
    ) -> Result<Root<T>, Exhausted> {
        if let Ok(root) = self.mutator.enter(&mut make) {
            return Ok(root);
        }
        self.collect_because(Cause::Exhausted, true);
        self.mutator.enter(make)
    }

    /// Allocates a slice of as many elements as the iterator says it has, rooted. May collect before, and collects
    /// everything if there is no memory.
    ///
    /// The elements can hold no edges yet, as in [`alloc`](Self::alloc); for some that do there is
    /// [`Mutator::alloc_slice`].
    ///
    /// ```
    /// use lacuna::{Heap, Root};
    ///
    /// let mut heap = Heap::new();
    /// let squares: Root<[u32]> = heap.alloc_slice((0..4).map(|i| i * i));
    /// assert_eq!(heap.get(&squares), [0, 1, 4, 9]);
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no memory even then, as for [`Mutator::alloc`]; if the iterator yields fewer elements than it says, or
    /// an element holds an edge.
    #[track_caller]
    pub fn alloc_slice<T, I>(&mut self, elements: I) -> Root<[T]>
    where
        T: Trace<At<'static> = T>,
        I: IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    {
        if self.core().wants_safepoint() {
            self.safepoint();
        }
        // The elements' type is that of the brand 'static, which no scope has; that none holds an edge is looked at all
        // the same. The pointer is rooted before anything else happens.
        let elements = elements.into_iter().inspect(expect_no_edge);
        let once = |mutator: &Mutator<'static>, elements| match mutator.roots().reserve() {
            Ok(()) => mutator.try_alloc_slice(elements).map(|slice| slice.root(mutator)),
            Err(reason) => Err(AllocError::new(elements, reason)),
        };
        let elements = match once(&self.mutator, elements) {
            Ok(root) => return root,
            Err(error) => error.into_value(),
        };
        self.collect_because(Cause::Exhausted, true);
        match once(&self.mutator, elements) {
            Ok(root) => root,
            Err(error) => self.mutator.out_of_memory(error.reason()),
        }
    }

    /// Allocates a string, rooted. May collect before, and collects everything if there is no memory.
    ///
    /// # Panics
    ///
    /// If there is no memory even then, as for [`Mutator::alloc`].
    #[track_caller]
    pub fn alloc_str(&mut self, text: &str) -> Root<str> {
        match self.try_alloc_str(text) {
            Ok(root) => root,
            Err(reason) => self.mutator.out_of_memory(reason),
        }
    }

    /// Allocates a string, rooted. May collect before, and collects everything if there is no memory.
    ///
    /// # Errors
    ///
    /// If there is no memory even then, or the heap is at its limit.
    pub fn try_alloc_str(&mut self, text: &str) -> Result<Root<str>, Exhausted> {
        if self.core().wants_safepoint() {
            self.safepoint();
        }
        self.try_twice(|cx| {
            cx.roots().reserve()?;
            cx.try_alloc_str(text).map(|text| text.root(cx))
        })
    }

    /// The object of a root, of a type without brand: one that is the same in every scope, and so can hold no edges. For
    /// others there is [`with`](Self::with).
    ///
    /// ```compile_fail
    /// use lacuna::{Gc, Heap};
    /// let mut heap = Heap::new();
    /// let list = heap.enter(|cx| cx.alloc(Some(cx.alloc(1))).root(cx));
    /// heap.get(&list); // an edge must not leave its scope
    /// ```
    ///
    /// # Panics
    ///
    /// If the root belongs to another heap.
    #[track_caller]
    pub fn get<T: ?Sized + for<'a> Object<Of<'a> = T>>(&self, root: &Root<T>) -> &T {
        assert!(core::ptr::eq(root.slot().table(), &*self.mutator.core_ref().roots), "{WrongHeap}");
        // SAFETY: [INV-ROOT-3] the root keeps an object of this type alive while the heap lives, and it is borrowed. A
        // type that is its own `Of` has no brand that could be mistaken for another.
        unsafe { T::object(root.slot().cell(), root.metadata()).as_ref() }
    }

    /// Reads the object of a root.
    ///
    /// # Panics
    ///
    /// If the root belongs to another heap.
    #[track_caller]
    pub fn with<T: ?Sized + Object, R>(
        &self,
        root: &Root<T>,
        read: impl for<'gc> FnOnce(Gc<'gc, T::Of<'gc>>) -> R,
    ) -> R {
        assert!(core::ptr::eq(root.slot().table(), &*self.mutator.core_ref().roots), "{WrongHeap}");
        // SAFETY: [INV-ROOT-3] the root keeps an object of this type alive. [INV-GC-1] the closure works for any brand,
        // so for one that names this borrow of the heap, during which nothing is freed.
        read(unsafe { Gc::from_cell(root.slot().cell(), root.metadata()) })
    }

    /// [`get`](Self::get), with an error instead of a panic.
    ///
    /// # Errors
    ///
    /// If the root belongs to another heap.
    pub fn try_get<T: ?Sized + for<'a> Object<Of<'a> = T>>(&self, root: &Root<T>) -> Result<&T, WrongHeap> {
        self.target(root)?;
        Ok(self.get(root))
    }

    /// [`with`](Self::with), with an error instead of a panic.
    ///
    /// # Errors
    ///
    /// If the root belongs to another heap; `read` is then not called.
    pub fn try_with<T: ?Sized + Object, R>(
        &self,
        root: &Root<T>,
        read: impl for<'gc> FnOnce(Gc<'gc, T::Of<'gc>>) -> R,
    ) -> Result<R, WrongHeap> {
        self.target(root)?;
        Ok(self.with(root, read))
    }

    /// Runs `scope` with access to the heap for reading, and returns what it returns: [`with`](Self::with) for any number
    /// of roots, and a way to root what they lead to.
    ///
    /// ```
    /// use lacuna::{Gc, Heap, Root, Trace};
    ///
    /// #[derive(Trace)]
    /// struct Pair<'gc>(Gc<'gc, str>, Gc<'gc, str>);
    ///
    /// let mut heap = Heap::new();
    /// let pair = heap.alloc_with::<Pair>(|cx| Pair(cx.alloc_str("key"), cx.alloc_str("value")));
    /// let value: Root<str> = heap.read(|reader| reader.root(reader.get(&pair).1));
    /// assert_eq!(heap.get(&value), "value");
    /// ```
    pub fn read<R>(&self, scope: impl for<'gc> FnOnce(&'gc Reader<'gc>) -> R) -> R {
        self.mutator.read(scope)
    }

    /// A weak reference to the object of a root. No collection runs.
    ///
    /// # Panics
    ///
    /// If the root belongs to another heap, or there is no memory for the object's weak slot.
    #[inline]
    #[track_caller]
    pub fn downgrade<T: ?Sized + Object>(&mut self, root: &Root<T>) -> Weak<T> {
        // SAFETY: the id is that of the root's object.
        unsafe { Weak::new(self.observe(root, Kind::Short), root.metadata()) }
    }

    /// A long weak reference to the object of a root. No collection runs.
    ///
    /// # Panics
    ///
    /// If the root belongs to another heap, or there is no memory for the object's weak slot.
    #[inline]
    #[track_caller]
    pub fn downgrade_long<T: ?Sized + Object>(&mut self, root: &Root<T>) -> WeakLong<T> {
        // SAFETY: the id is that of the root's object.
        unsafe { WeakLong::new(self.observe(root, Kind::Long), root.metadata()) }
    }

    /// [`downgrade`](Self::downgrade), with an error instead of a panic.
    ///
    /// # Errors
    ///
    /// If the root belongs to another heap, or there is no memory for the object's weak slot.
    pub fn try_downgrade<T: ?Sized + Object>(&mut self, root: &Root<T>) -> Result<Weak<T>, ObserveError> {
        let id = self.try_observe(root, Kind::Short)?;
        // SAFETY: the id is that of the root's object.
        Ok(unsafe { Weak::new(id, root.metadata()) })
    }

    /// [`downgrade_long`](Self::downgrade_long), with an error instead of a panic.
    ///
    /// # Errors
    ///
    /// As [`try_downgrade`](Self::try_downgrade).
    pub fn try_downgrade_long<T: ?Sized + Object>(&mut self, root: &Root<T>) -> Result<WeakLong<T>, ObserveError> {
        let id = self.try_observe(root, Kind::Long)?;
        // SAFETY: the id is that of the root's object.
        Ok(unsafe { WeakLong::new(id, root.metadata()) })
    }

    #[inline(always)]
    #[track_caller]
    fn observe<T: ?Sized + Object>(&mut self, root: &Root<T>, kind: Kind) -> WeakId {
        match self.try_observe(root, kind) {
            Ok(id) => id,
            Err(ObserveError::Exhausted(reason)) => self.mutator.out_of_memory(reason),
            Err(ObserveError::WrongHeap(error)) => panic!("{error}"),
        }
    }

    #[inline(always)]
    fn try_observe<T: ?Sized + Object>(&mut self, root: &Root<T>, kind: Kind) -> Result<WeakId, ObserveError> {
        let object = self.target(root)?;
        Ok(mutator::observe(self.core(), object, kind)?)
    }

    #[inline(always)]
    fn target<T: ?Sized + Object>(&self, root: &Root<T>) -> Result<ObjectRef, WrongHeap> {
        if !core::ptr::eq(root.slot().table(), &*self.mutator.core_ref().roots) {
            return Err(WrongHeap);
        }
        // SAFETY: [INV-ROOT-3] the root's slot holds an object of this heap.
        Ok(unsafe { ObjectRef::new(root.slot().cell()) })
    }

    /// A root of the object of a weak reference, unless it is dead. No collection runs.
    ///
    /// # Panics
    ///
    /// If the reference belongs to another heap.
    #[inline(always)]
    #[track_caller]
    pub fn upgrade<T: ?Sized + Object>(&self, weak: Weak<T>) -> Option<Root<T>> {
        let core = self.mutator.core_ref();
        let object = self.mutator.upgraded(weak.id(), Kind::Short)?;
        // SAFETY: the reference is alive, so the object is the one it was made of.
        Some(unsafe { Root::from_slot(core.roots.take(object), weak.metadata()) })
    }

    /// A root of the object of a long weak reference, unless it is dead. No collection runs.
    ///
    /// # Panics
    ///
    /// If the reference belongs to another heap.
    #[inline(always)]
    #[track_caller]
    pub fn upgrade_long<T: ?Sized + Object>(&self, weak: WeakLong<T>) -> Option<Root<T>> {
        let core = self.mutator.core_ref();
        let object = self.mutator.upgraded(weak.id(), Kind::Long)?;
        // SAFETY: the reference is alive, so the object is the one it was made of.
        Some(unsafe { Root::from_slot(core.roots.take(object), weak.metadata()) })
    }

    /// [`upgrade`](Self::upgrade), with an error instead of a panic.
    ///
    /// A null reference belongs to every heap, and one of this heap reads dead after a [`shutdown`](Self::shutdown). One
    /// whose heap is gone is an error in every other.
    ///
    /// # Errors
    ///
    /// If the reference belongs to another heap.
    pub fn try_upgrade<T: ?Sized + Object>(&self, weak: Weak<T>) -> Result<Option<Root<T>>, WrongHeap> {
        mutator::check_heap(self.mutator.core_ref(), weak.id())?;
        Ok(self.upgrade(weak))
    }

    /// [`upgrade_long`](Self::upgrade_long), with an error instead of a panic.
    ///
    /// # Errors
    ///
    /// As [`try_upgrade`](Self::try_upgrade).
    pub fn try_upgrade_long<T: ?Sized + Object>(&self, weak: WeakLong<T>) -> Result<Option<Root<T>>, WrongHeap> {
        mutator::check_heap(self.mutator.core_ref(), weak.id())?;
        Ok(self.upgrade_long(weak))
    }

    /// Whether a weak reference is dead. Does not extend the object's life.
    ///
    /// # Panics
    ///
    /// If the reference belongs to another heap.
    #[inline]
    #[track_caller]
    pub fn is_dead<T: ?Sized + Object>(&self, weak: Weak<T>) -> bool {
        self.mutator.observed(weak.id(), Kind::Short).is_none()
    }

    /// Whether a long weak reference is dead. Does not extend the object's life.
    ///
    /// # Panics
    ///
    /// If the reference belongs to another heap.
    #[inline]
    #[track_caller]
    pub fn is_dead_long<T: ?Sized + Object>(&self, weak: WeakLong<T>) -> bool {
        self.mutator.observed(weak.id(), Kind::Long).is_none()
    }

    /// Whether a weak reference is alive and leads to the object of a root. Does not extend the object's life.
    ///
    /// # Panics
    ///
    /// If the reference belongs to another heap.
    #[track_caller]
    pub fn refers_to<T: ?Sized + Object>(&self, weak: Weak<T>, root: &Root<T>) -> bool {
        let target = self.mutator.observed(weak.id(), Kind::Short);
        target.is_some_and(|object| self.target(root) == Ok(object))
    }

    /// Registers a callback that gets `payload` after the object is gone for good.
    ///
    /// It is queued by the collection that finds the object dead, newest first, and run by [`drain`](Self::drain), at
    /// most once. It may use the heap in every way but drain it. Roots in the payload are strong from now on, so what
    /// the callback needs is still there when it runs; *a payload that leads to the object itself keeps it alive for
    /// ever*. That the callback is a plain function makes it hard to capture the object by accident.
    ///
    /// ```
    /// use lacuna::{Budget, Heap};
    ///
    /// let mut heap = Heap::new();
    /// let connection = heap.alloc(17);
    /// heap.cleanup(&connection, "socket 17", |_, name| println!("closing {name}")).unwrap();
    /// drop(connection);
    /// heap.collect();
    /// assert_eq!(heap.drain(Budget::unlimited()).unwrap().ran, 1);
    /// ```
    ///
    /// # Errors
    ///
    /// If the payload holds a root of the object, the root belongs to another heap, the heap was shut down, or there is
    /// no memory. The error carries the payload.
    pub fn cleanup<T: ?Sized + Object, P: Trace + 'static>(
        &mut self,
        root: &Root<T>,
        payload: P,
        function: fn(&mut Self, P),
    ) -> Result<Cleanup<P>, RegisterError<P>> {
        self.register(root, WithFunction { function, payload }, Callback::new)
    }

    /// Like [`cleanup`](Self::cleanup), with a closure. What it captures is not looked into: a root of the object in it
    /// keeps the object alive for ever.
    ///
    /// # Errors
    ///
    /// As [`cleanup`](Self::cleanup).
    pub fn cleanup_with<T: ?Sized + Object, P: Trace + 'static>(
        &mut self,
        root: &Root<T>,
        payload: P,
        closure: impl FnOnce(&mut Self, P) + 'static,
    ) -> Result<Cleanup<P>, RegisterError<P>> {
        self.register(root, WithClosure { closure, payload, context: PhantomData }, Callback::new)
    }

    fn register<T: ?Sized + Object, C: Call>(
        &mut self,
        root: &Root<T>,
        call: C,
        make: impl FnOnce(C) -> Result<Callback, C>,
    ) -> Result<Cleanup<C::Payload>, RegisterError<C::Payload>> {
        match self.target(root) {
            Ok(object) => self.mutator.register_cleanup(object, call, make),
            Err(WrongHeap) => Err(RegisterError::new(call.into_payload(), self.why_not_ours())),
        }
    }

    /// Like [`cleanup`](Self::cleanup), for what needs no heap and may run on another thread.
    ///
    /// [`drain_send`](Self::drain_send) hands it out, to be run anywhere; a [`drain`](Self::drain) that comes first runs
    /// it here. The payload can be sent, so it holds no roots.
    ///
    /// # Errors
    ///
    /// If the root belongs to another heap, the heap was shut down, or there is no memory. The error carries the
    /// payload.
    pub fn cleanup_send<T: ?Sized + Object, P: Send + 'static>(
        &mut self,
        root: &Root<T>,
        payload: P,
        function: fn(P),
    ) -> Result<Cleanup<P>, RegisterError<P>> {
        self.register(root, WithSend { function, payload }, Callback::new_send)
    }

    /// Registers a callback that is told when a weak reference has died: after the collection in which the object stops
    /// being strongly reachable, also if a guardian then brings it back.
    ///
    /// It is queued and run like a [cleanup](Self::cleanup), after the cleanups of its batch, newest first, at most once.
    /// It gets its own id and `payload`, never the object. Roots in the payload are strong from now on; *a payload that
    /// leads to the object keeps it alive for ever*.
    ///
    /// ```
    /// use lacuna::{Budget, Heap};
    ///
    /// let mut heap = Heap::new();
    /// let page = heap.alloc(String::from("<html>"));
    /// let cached = heap.downgrade(&page);
    /// heap.notify(cached, "index.html", |_, _, name| println!("{name} left the cache")).unwrap();
    /// drop(page);
    /// heap.collect();
    /// assert_eq!(heap.drain(Budget::unlimited()).unwrap().ran, 1);
    /// ```
    ///
    /// # Errors
    ///
    /// If the reference is dead or null, the payload holds a root of the object, the reference belongs to another heap,
    /// the heap was shut down, or there is no memory. The error carries the payload.
    pub fn notify<T: ?Sized + Object, P: Trace + 'static>(
        &mut self,
        weak: Weak<T>,
        payload: P,
        function: fn(&mut Self, Notification<P>, P),
    ) -> Result<Notification<P>, RegisterError<P>> {
        self.mutator.register_notification(weak.id(), None, payload, function)
    }

    /// Like [`notify`](Self::notify), but told only if `owner` is still reachable when the reference dies.
    ///
    /// For an observer in the heap, that does not want to be called when it is garbage itself. A notification whose
    /// owner became unreachable is dropped, also if the same collection finds the target unreachable, and also if a
    /// guardian brings the owner back. Its payload is dropped at the end of that collection. The owner is not kept
    /// alive, unless the payload leads to it: then it lives until it was told.
    ///
    /// # Errors
    ///
    /// As [`notify`](Self::notify); also if the owner belongs to another heap.
    pub fn notify_owned<T: ?Sized + Object, O: ?Sized + Object, P: Trace + 'static>(
        &mut self,
        weak: Weak<T>,
        owner: &Root<O>,
        payload: P,
        function: fn(&mut Self, Notification<P>, P),
    ) -> Result<Notification<P>, RegisterError<P>> {
        match self.target(owner) {
            Ok(owner) => self.mutator.register_notification(weak.id(), Some(owner), payload, function),
            Err(WrongHeap) => Err(RegisterError::new(payload, self.why_not_ours())),
        }
    }

    /// Why a root does not belong to the heap. After a shutdown, none does.
    fn why_not_ours(&self) -> RegisterFailure {
        if self.mutator.core_ref().closed { RegisterFailure::Closed } else { RegisterFailure::WrongHeap }
    }

    /// Cancels a cleanup or notification that has not run, and returns its payload. Takes constant time.
    ///
    /// # Panics
    ///
    /// If it belongs to another heap.
    #[track_caller]
    pub fn cancel<R: Registered>(&mut self, registration: R) -> Option<R::Payload> {
        let callback = mutator::cancel(self.core(), registration.name())?;
        // SAFETY: the registration of this id was made with a payload of this type.
        Some(unsafe { callback.into_payload() })
    }

    /// Runs a cleanup or notification now, if it has not run and was not cancelled; says whether it did. A panic in it
    /// passes through.
    ///
    /// # Panics
    ///
    /// If it belongs to another heap.
    #[track_caller]
    pub fn run_now<R: Registered>(&mut self, registration: R) -> bool {
        let Some(taken) = mutator::take(self.core(), registration.name()) else { return false };
        let stats = &mut self.core().stats;
        stats.cancelled -= 1;
        stats.callbacks_run += 1;
        // Whoever runs it, it is a callback, and runs no others inside itself.
        let _running = self.core().roots.begin_drain();
        taken.callback.call(self, taken.id);
        true
    }

    /// Whether a cleanup or notification has neither run nor been cancelled, nor lost its owner.
    pub fn is_pending<R: Registered>(&self, registration: R) -> bool {
        let (core, name) = (self.mutator.core_ref(), registration.name());
        name.heap == core.id && core.finalizers.is_pending(name.id)
    }

    /// The payload of a pending cleanup or notification.
    pub fn peek<R: Registered>(&self, registration: R) -> Option<&R::Payload> {
        let (core, name) = (self.mutator.core_ref(), registration.name());
        if name.heap != core.id {
            return None;
        }
        // SAFETY: the registration of this id was made with a payload of this type.
        core.finalizers.callback(name.id).map(|callback| unsafe { callback.payload() })
    }

    /// Sets whether a pending cleanup or notification also runs at [`shutdown`](Self::shutdown), its target reachable or
    /// not. Default false. Does nothing to one that is not pending; says whether it was.
    pub fn set_at_shutdown<R: Registered>(&mut self, registration: R, at_shutdown: bool) -> bool {
        let (core, name) = (self.core(), registration.name());
        name.heap == core.id
            && core.finalizers.change_details(name.id, |details| details.at_shutdown = at_shutdown).is_some()
    }

    /// Names a pending cleanup or notification in [`Failure`]s; says whether it was pending.
    pub fn set_label<R: Registered>(&mut self, registration: R, label: &'static str) -> bool {
        let (core, name) = (self.core(), registration.name());
        name.heap == core.id && core.finalizers.change_details(name.id, |details| details.label = Some(label)).is_some()
    }

    /// Sets how many bytes the object of a pending cleanup holds outside the heap. They count towards the next
    /// collection until the object is dead or the cleanup cancelled. Says whether it was pending.
    pub fn set_external<P: 'static>(&mut self, cleanup: Cleanup<P>, bytes: usize) -> bool {
        let (core, name) = (self.core(), cleanup.name());
        if name.heap != core.id {
            return false;
        }
        match core.finalizers.change_details(name.id, |details| details.external = bytes) {
            Some(before) => {
                core.add_external(bytes, before.external);
                true
            }
            None => false,
        }
    }

    /// Registers an object with a guardian: when nobody else holds the object, [`next_guarded`](Self::next_guarded)
    /// hands it back, once for each registration, with `tag`.
    ///
    /// Everything the object leads to stays intact until then, cycles included. Short weak references to it read dead,
    /// long ones do not. Its memory is freed at the earliest by the collection after the one that queued it.
    ///
    /// ```
    /// use lacuna::Heap;
    ///
    /// let mut heap = Heap::new();
    /// let buffer = heap.alloc(vec![0_u8; 4096]);
    /// heap.guard(&buffer, 7).unwrap();
    /// drop(buffer);
    /// heap.collect();
    /// let guarded = heap.next_guarded().unwrap();
    /// assert_eq!(guarded.tag, 7);
    /// let buffer = guarded.object.downcast::<Vec<u8>>().unwrap();
    /// assert_eq!(heap.get(&buffer).len(), 4096);
    /// ```
    ///
    /// # Errors
    ///
    /// If the root belongs to another heap, the heap was shut down, or there is no memory.
    pub fn guard<T: ?Sized + Object>(&mut self, root: &Root<T>, tag: u64) -> Result<Guard, RegisterError<()>> {
        match self.target(root) {
            Ok(object) => mutator::register_guardian(self.core(), object, tag),
            Err(WrongHeap) => Err(RegisterError::new((), self.why_not_ours())),
        }
    }

    /// Takes a guardian back; says whether it had not handed its object out.
    pub fn unguard(&mut self, guard: Guard) -> bool {
        let core = self.core();
        let pending = guard.heap == core.id && core.finalizers.take(&mut core.weak, guard.id).is_some();
        core.stats.cancelled += u64::from(pending);
        pending
    }

    /// The next guarded object that became unreachable: batch by batch, newest registration first.
    pub fn next_guarded(&mut self) -> Option<Guarded> {
        let core = self.core();
        let Taken { slot, callback, .. } = core.finalizers.next_guardian()?;
        let tag = callback.as_number().expect("a guardian's tag is in the place of a callback");
        let object = core.weak.slot(slot).object().expect("queued guardians keep their targets alive");
        Some(Guarded { object: AnyRoot::new(core.roots.take(object), object), tag })
    }

    /// Runs queued callbacks: batch by batch, cleanups before notifications, newest registration first. What they queue
    /// comes after.
    ///
    /// A callback that panics is reported to the [error hook](Self::on_error), and the others run all the same (without
    /// the feature `std`, or with `panic = "abort"`, that is impossible).
    ///
    /// # Errors
    ///
    /// If called by a callback.
    pub fn drain(&mut self, budget: Budget) -> Result<DrainReport, Busy> {
        let running = self.core().roots.begin_drain().ok_or(Busy)?;
        let mut drain = Drain::new(budget);
        loop {
            // One guard for many callbacks: a panic ends the stretch, and a new one begins behind it.
            let mut running = None;
            let outcome = failures::guard(|| drain.run_stretch(self, &mut running));
            let panicked = outcome.is_err();
            if let (Err(panic), Some(step)) = (outcome, running) {
                drain.report.panicked += 1;
                self.core().callback_panicked(step.failure(panic));
            }
            let zeal = self.core().config.zeal && running.is_some();
            if zeal {
                self.expect_sound(Ok(()));
            }
            if !panicked && !zeal {
                break;
            }
        }
        let mut report = drain.report;
        drop(running);
        self.report_failures();
        let core = self.core();
        report.left = core.finalizers.queued_callbacks();
        let oldest = core.finalizers.next_queued_in();
        report.oldest_age_in_cycles = core.age_of(oldest);
        Ok(report)
    }

    /// Takes up to `limit` queued cleanups out that were registered with [`cleanup_send`](Self::cleanup_send), in the
    /// order in which [`drain`](Self::drain) would run them, so that another thread can. Runs nothing.
    ///
    /// Takes time in proportion to what is queued, callbacks of other kinds included.
    ///
    /// ```
    /// use lacuna::Heap;
    ///
    /// let mut heap = Heap::new();
    /// let file = heap.alloc(17);
    /// heap.cleanup_send(&file, String::from("upload-17.part"), |path| println!("removing {path}")).unwrap();
    /// drop(file);
    /// heap.collect();
    /// let batch = heap.drain_send(usize::MAX);
    /// let report = std::thread::spawn(|| batch.run()).join().unwrap();
    /// assert_eq!(report.ran, 1);
    /// ```
    pub fn drain_send(&mut self, limit: usize) -> SendBatch {
        let core = self.core();
        let (heap, mut batch) = (core.id, SendBatch::new());
        let mut external = 0_usize;
        core.finalizers.take_sendable(limit, |taken| {
            external = external.saturating_add(taken.external());
            let step = Step::callback(heap, &taken);
            batch.push(taken.id, taken.callback.into_send().expect("only cleanups that can be sent are taken"), step);
        });
        core.add_external(0, external);
        core.stats.callbacks_sent += batch.len() as u64;
        batch
    }

    /// Runs a callback that was taken out.
    fn run(&mut self, taken: Taken) {
        let step = self.core().begin_callback(&taken);
        if let Some(failure) = step.run(|| taken.callback.call(self, taken.id)) {
            self.core().callback_panicked(failure);
        }
        if self.core().config.zeal {
            self.expect_sound(Ok(()));
        }
    }

    /// Drops the payload of a registration that was taken out.
    fn drop_payload(&mut self, taken: Taken) {
        let step = Step::payload(self.id(), &taken);
        let failure = step.run(|| drop(taken.callback));
        self.core().failures.record(failure);
    }

    /// Sets what is called with each panic that was caught. Without a hook they are only counted, in
    /// [`Stats::panics`].
    pub fn on_error(&mut self, hook: impl FnMut(&Failure) + 'static) {
        self.on_error = Some(Box::new(hook));
    }

    fn report_failures(&mut self) {
        let failures = self.core().failures.take();
        if failures.is_empty() {
            return;
        }
        let Some(mut hook) = self.on_error.take() else { return };
        for failure in &failures {
            // A hook that panics has nobody to report to.
            let _ = failures::guard(|| hook(failure));
        }
        self.on_error.get_or_insert(hook);
    }

    /// Sets what is called before an allocation panics because there is no memory.
    pub fn on_out_of_memory(&mut self, hook: impl FnMut(Exhausted) + 'static) {
        self.mutator.set_out_of_memory_hook(Some(Box::new(hook)));
    }

    /// Ends the heap's life in an orderly way: runs the callbacks that are queued, then those that were to run
    /// [at shutdown](Self::set_at_shutdown), newest first, whether or not their objects are reachable, weak references
    /// still valid; then drops all objects. Guarded objects are not handed out.
    ///
    /// Afterwards weak references read dead, roots may only be dropped, and allocation panics. Dropping a heap without
    /// this runs no callbacks.
    ///
    /// # Errors
    ///
    /// If called by a callback.
    pub fn shutdown(&mut self, options: ShutdownOptions) -> Result<ShutdownReport, Busy> {
        if self.core().roots.is_draining() {
            return Err(Busy);
        }
        self.core().config.automatic = false;
        let mut report = ShutdownReport { drained: self.drain(options.budget)?, ..ShutdownReport::default() };
        let before = self.core().finalizers.registered();
        let mut extra = 0;
        let running = self.core().roots.begin_drain();
        loop {
            let core = self.core();
            let Some(taken) = core.finalizers.next_at_shutdown(&mut core.weak) else { break };
            if taken.number > before {
                if extra == options.max_extra {
                    report.truncated = true;
                    self.drop_payload(taken);
                    break;
                }
                extra += 1;
            }
            report.at_shutdown += 1;
            self.run(taken);
        }
        drop(running);
        self.close();
        // The roots that are left lead nowhere from now on.
        let core = self.core();
        core.roots = core.roots.renewed();
        self.report_failures();
        Ok(report)
    }

    /// Kills all weak references and drops all payloads and objects.
    fn close(&mut self) {
        let core = self.core();
        if core.closed {
            return;
        }
        core.closed = true;
        // What is marked and queued, and what is dirty, is forgotten before it is dropped.
        major::abandon(core);
        core.stage = Stage::Idle;
        core.retire_cursors();
        let mut from = 0;
        loop {
            let core = self.core();
            let Some(taken) = core.finalizers.forget_one(&mut core.weak, &mut from) else { break };
            self.drop_payload(taken);
        }
        let core = self.core();
        core.weak.clear();
        sweep::drop_everything(core);
    }

    /// Counts `bytes` that objects of this heap hold outside of it: they bring the next collection nearer, and count
    /// against the [limit](Config::heap_limit). No collection runs.
    pub fn add_external(&mut self, bytes: usize) {
        self.core().add_external(bytes, 0);
    }

    /// Counts bytes out that were counted in with [`add_external`](Self::add_external).
    pub fn sub_external(&mut self, bytes: usize) {
        self.core().add_external(0, bytes);
    }

    /// Changes the [limit](Config::heap_limit). A limit below what is in use lets no allocation succeed until enough is
    /// freed.
    pub fn set_limit(&mut self, bytes: Option<usize>) {
        self.core().config.heap_limit = bytes;
        self.core().apply_limit();
    }

    /// Counts what the heap holds and has done. Takes time in proportion to the number of
    /// blocks with observed objects.
    pub fn stats(&self) -> Stats {
        self.mutator.core_ref().stats()
    }

    /// Why is this alive? A shortest path of strong edges from a root to the object of a weak reference; `None` if it is
    /// dead, or unreachable and not yet collected. Takes time and memory in proportion to what is alive.
    ///
    /// # Panics
    ///
    /// If the reference belongs to another heap.
    #[track_caller]
    pub fn retaining_path<T: ?Sized + Object>(&self, weak: Weak<T>) -> Option<RetainingPath> {
        let core = self.mutator.core_ref();
        retaining::path_to(core, self.mutator.observed(weak.id(), Kind::Short)?)
    }

    /// Finds the cleanups and notifications whose payload roots what leads to their object, which never run, and the
    /// notifications whose payload does so to their owner, which lives until they run. Roots within objects are followed.
    /// Takes time in proportion to the heap for each registration. What closures capture is not seen.
    pub fn check_registrations(&self) -> Vec<SelfRetention> {
        retaining::check_registrations(self.mutator.core_ref())
    }

    /// Writes everything that can be reached as a heap snapshot, which the memory panel of Chrome DevTools opens (with
    /// the file name extension `heapsnapshot`). Give it a buffered writer.
    ///
    /// # Errors
    ///
    /// If the writer fails.
    #[cfg(feature = "std")]
    pub fn snapshot(&self, out: impl std::io::Write) -> std::io::Result<()> {
        crate::export::chrome::write(self.mutator.core_ref(), out)
    }

    /// Walks the whole heap in the simplest way and compares what it finds with what the collector believes: a second
    /// opinion. Takes time and memory in proportion to what is alive.
    ///
    /// # Errors
    ///
    /// Says what is wrong. In a program without `unsafe` code of its own, that is a bug in lacuna.
    pub fn verify(&self) -> Result<VerifyReport, VerifyError> {
        verify::verify(self.mutator.core_ref())
    }
}

/// Panics if a value holds an edge.
///
/// An edge of a scope can't get here, since `T` has the brand 'static, which no scope has. This is a second lock on that
/// door.
#[track_caller]
fn expect_no_edge<T: Trace<At<'static> = T>>(value: &T) {
    if T::NEEDS_TRACE {
        let mut found = AnyEdge::default();
        value.trace(&mut found);
        assert!(!found.0, "a value that holds edges is allocated in the scope of its edges: use Heap::alloc_with");
    }
}

/// A turn that is open on a heap.
struct Turn<'a> {
    heap: &'a mut Heap,
    kept: Option<TurnGuard>,
}

impl<'a> Turn<'a> {
    fn begin(heap: &'a mut Heap) -> Self {
        let kept = heap.core().roots.begin_turn();
        heap.core().follow_turn();
        Self { heap, kept: Some(kept) }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.kept = None;
        // The heap may be another one by now, to which this means nothing.
        self.heap.core().follow_turn();
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Heap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Drops all objects and payloads. Runs no callbacks and does not panic.
impl Drop for Heap {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::handle::cell::GcCell;

    type Link = GcCell<Option<Gc<'static, u64>>>;

    /// Breaks `[INV-CYCLE-2]`: forgets that marked objects were written, which lead to a new one.
    fn forget_writes(heap: &mut Heap, objects: &Root<Link>, array: &Root<[Link]>, in_array: bool) {
        heap.enter(|cx| {
            let new = Some(cx.alloc(7_u64));
            match in_array {
                true => array.get(cx).set(cx, |array| &array[2999], new),
                false => objects.get(cx).set(cx, |link| link, new),
            }
        });
        heap.verify().unwrap();
        heap.core().forget_remembered();
    }

    #[test]
    fn a_write_that_is_not_remembered_is_found_by_verifying() {
        for in_array in [false, true] {
            for marking in [false, true] {
                let mut heap = Heap::with_config(Config::default().collect_automatically(false));
                let object: Root<Link> = heap.alloc(GcCell::new(None));
                let array: Root<[Link]> = heap.alloc_slice((0..3000).map(|_| GcCell::new(None)));
                heap.collect();
                if marking {
                    heap.begin_major();
                    while heap.core().cycle.objects_traced < 2 {
                        heap.step(StepBudget::units(1));
                    }
                    while !heap.core().marker.is_empty() {
                        heap.step(StepBudget::units(1));
                    }
                    assert_eq!(heap.phase(), Phase::Marking);
                }
                forget_writes(&mut heap, &object, &array, in_array);
                let error = format!("{}", heap.verify().unwrap_err());
                assert!(error.contains("is not dirty"), "{error}");
                // What was to be found by the next collection is found by one that does not rely on writes.
                heap.collect();
                heap.verify().unwrap();
                assert_eq!(heap.stats().live_objects, 3);
            }
        }
    }

    #[test]
    fn an_object_that_is_queued_or_dirty_may_lead_to_one_that_is_not_marked() {
        let mut heap = Heap::with_config(Config::default().collect_automatically(false));
        let object: Root<Link> = heap.alloc(GcCell::new(None));
        heap.enter(|cx| object.get(cx).set(cx, |link| link, Some(cx.alloc(1))));
        heap.begin_major();
        while heap.core().marker.is_empty() {
            heap.verify().unwrap();
            heap.step(StepBudget::units(1));
        }
        heap.verify().unwrap();
        let queued = heap.core().marker.pop().unwrap();
        heap.verify().unwrap_err();
        heap.core().marker.requeue(queued);
        while heap.step(StepBudget::units(1)) != Phase::Idle {
            heap.verify().unwrap();
        }
    }
}
