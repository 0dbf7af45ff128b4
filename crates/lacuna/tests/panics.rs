//! Panics in every place where a user's code runs: the heap is as good as before, and everything is still dropped once.
#![allow(unsafe_code, reason = "a Trace that panics has to be written by hand")]

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::rc::Rc;

use lacuna::{
    Budget, Config, FailureKind, Gc, GcCell, GcRefCell, Heap, Opaque, Phase, Root, StepBudget, Trace, Visitor,
};

/// Whether `step` panicked.
fn panics<R>(step: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(step)).is_err()
}

#[derive(Clone, Default)]
struct Count(Rc<Cell<usize>>);

impl Count {
    fn get(&self) -> usize {
        self.0.get()
    }
}

/// Counts its drop, and panics if it was told to.
struct Grenade {
    drops: Count,
    live: bool,
}

impl Drop for Grenade {
    fn drop(&mut self) {
        self.drops.0.set(self.drops.0.get() + 1);
        assert!(!self.live, "dropped");
    }
}

fn grenade(drops: &Count, live: bool) -> Opaque<Grenade> {
    Opaque(Grenade { drops: drops.clone(), live })
}

#[test]
fn every_dead_object_is_dropped_once_though_every_other_drop_panics() {
    for zeal in [false, true] {
        let drops = Count::default();
        let mut heap = Heap::with_config(Config::default().zeal(zeal));
        let failures: Rc<RefCell<Vec<_>>> = Rc::default();
        let seen = Rc::clone(&failures);
        heap.on_error(move |failure| seen.borrow_mut().push((failure.kind, failure.message.clone())));
        heap.enter(|cx| {
            for index in 0..100 {
                cx.alloc(grenade(&drops, index % 2 == 0));
                cx.alloc((grenade(&drops, index % 2 == 0), [0_u8; 10_000]));
            }
        });
        heap.collect();
        assert_eq!(drops.get(), 200);
        assert_eq!(heap.stats().panics, 100);
        assert_eq!(failures.borrow().len(), 100);
        assert!(failures.borrow().iter().all(|failure| *failure == (FailureKind::Drop, Some("dropped".into()))));
        heap.collect();
        assert_eq!(drops.get(), 200);
        assert_eq!(heap.stats().live_objects, 0);
        heap.verify().unwrap();
    }
}

#[test]
fn a_drop_that_panics_while_cells_are_taken_leaves_the_allocation_alone() {
    let drops = Count::default();
    let mut heap = Heap::with_config(Config::default().min_heap(1 << 20));
    let kept: Vec<_> =
        (0..500).map(|_| (heap.alloc(grenade(&drops, true)), heap.alloc(grenade(&drops, false)))).collect();
    let kept: Vec<Root<_>> = kept.into_iter().map(|(_, kept)| kept).collect();
    // An automatic collection leaves the dead to the allocations that come after it.
    heap.add_external(2 << 20);
    heap.enter(|_| ());
    heap.sub_external(2 << 20);
    assert_eq!((heap.stats().collections, drops.get()), (1, 0));
    let fresh: Vec<_> = (0..1000).map(|_| heap.alloc(grenade(&drops, false))).collect();
    assert_eq!(drops.get(), 500);
    assert_eq!(heap.stats().panics, 500);
    heap.verify().unwrap();
    drop((kept, fresh));
    heap.collect();
    assert_eq!(drops.get(), 2000);
}

#[test]
fn a_heap_is_dropped_quietly_though_its_objects_panic() {
    let drops = Count::default();
    let mut heap = Heap::new();
    let roots: Vec<_> = (0..50).map(|_| heap.alloc(grenade(&drops, true))).collect();
    drop(heap);
    assert_eq!(drops.get(), 50);
    drop(roots);
}

#[test]
fn a_heap_is_dropped_quietly_while_its_thread_unwinds() {
    let drops = Count::default();
    assert!(panics(|| {
        let mut heap = Heap::new();
        let object = heap.alloc(grenade(&drops, true));
        heap.cleanup(&object, grenade(&drops, true), |_, _| ()).unwrap();
        panic!("the thread unwinds");
    }));
    assert_eq!(drops.get(), 2);
}

/// Panics when it is traced while the fuse is lit.
struct Mine<'gc> {
    fuse: Rc<Cell<bool>>,
    next: Option<Gc<'gc, Mine<'gc>>>,
    drops: Count,
}

// SAFETY: the only edge is visited, and `At` renames the only brand.
unsafe impl Trace for Mine<'_> {
    type At<'a> = Mine<'a>;
    const NEEDS_TRACE: bool = true;
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        assert!(!self.fuse.get(), "traced");
        self.next.trace(visitor);
    }
}

/// Counts.
struct Dropped(Count);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_trace_that_panics_abandons_the_collection_and_the_next_one_makes_up_for_it() {
    for zeal in [false, true] {
        let fuse = Rc::new(Cell::new(false));
        let drops = Count::default();
        let mut heap = Heap::with_config(Config::default().zeal(zeal).min_heap(64 << 20));
        let (list, weak_live, weak_dead) = heap.enter(|cx| {
            let mut next = None;
            for _ in 0..1000 {
                cx.alloc(Opaque(Dropped(drops.clone()))); // garbage
                next = Some(cx.alloc(Mine { fuse: Rc::clone(&fuse), next, drops: drops.clone() }));
            }
            let dead = cx.alloc(Opaque(Dropped(drops.clone()))).downgrade(cx);
            let list = next.unwrap();
            (list.root(cx), list.next.unwrap().downgrade(cx), dead)
        });
        let before = if zeal { 1 } else { 0 };
        fuse.set(true);
        for attempt in 0..3 {
            assert!(panics(|| heap.collect()));
            assert_eq!(heap.stats().collections, before);
            // Meanwhile the heap can be used in every way but to be traced.
            assert!(heap.upgrade(weak_live).is_some());
            let more: Vec<_> = if zeal { Vec::new() } else { (0..2000).map(|id| heap.alloc(id)).collect() };
            assert!(more.iter().enumerate().all(|(id, root)| *heap.get(root) == id), "attempt {attempt}");
        }
        fuse.set(false);
        if !zeal {
            assert!(heap.upgrade(weak_dead).is_some(), "no collection has said otherwise");
            heap.verify().unwrap();
        }
        heap.collect();
        assert_eq!(drops.get(), 1001);
        assert!(heap.is_dead(weak_dead));
        let length = heap.with(&list, |list| {
            let (mut length, mut at) = (1, Some(list));
            while let Some(next) = at.and_then(|at| at.next) {
                assert_eq!(next.drops.get(), 1001);
                length += 1;
                at = Some(next);
            }
            length
        });
        assert_eq!(length, 1000);
        drop(list);
        heap.collect();
        assert_eq!(heap.stats().live_objects, 0);
        heap.verify().unwrap();
    }
}

#[test]
fn a_trace_that_panics_after_a_pause_leaves_what_is_not_counted_yet_to_be_counted() {
    const OWNERS: usize = 300;
    #[derive(Trace)]
    struct Owner<'gc> {
        mine: GcCell<Option<Gc<'gc, Mine<'gc>>>>,
        dead: Opaque<Option<Dropped>>,
    }
    for minor in [true, false] {
        let (mut steps, mut swept) = (0, 0);
        loop {
            let fuse = Rc::new(Cell::new(false));
            let (drops, mines) = (Count::default(), Count::default());
            let config = Config::default().collect_automatically(false);
            let zeal = steps % 8 == 7;
            let config = config.zeal(zeal);
            #[cfg(feature = "parallel")]
            let config = config.mark_threads(1 + steps % 2);
            let mut heap = Heap::with_config(config);
            let own = || (Rc::clone(&fuse), mines.clone());
            fn mine<'gc>((fuse, drops): (Rc<Cell<bool>>, Count), next: Option<Gc<'gc, Mine<'gc>>>) -> Mine<'gc> {
                Mine { fuse, next, drops }
            }
            let mut owners: Vec<Root<Owner<'static>>> = heap.enter(|cx| {
                let owner = |_| {
                    cx.alloc((Opaque(Some(Dropped(drops.clone()))), [0_u8; 9000]));
                    let dead = Opaque(Some(Dropped(drops.clone())));
                    cx.alloc(Owner { mine: GcCell::new(Some(cx.alloc(mine(own(), None)))), dead }).root(cx)
                };
                (0..OWNERS).map(owner).collect()
            });
            owners.truncate(OWNERS / 2);
            heap.begin_major();
            while heap.step(StepBudget::units(50)) == Phase::Marking {}
            (0..steps).for_each(|_| _ = heap.step(StepBudget::units(200)));
            let phase = heap.phase();
            let write = |heap: &mut Heap| {
                heap.enter(|cx| {
                    for owner in &owners {
                        let before = cx.get(owner).mine.get();
                        cx.get(owner).set(cx, |owner| &owner.mine, Some(cx.alloc(mine(own(), before))));
                        cx.alloc((Opaque(Some(Dropped(drops.clone()))), [0_u8; 9000]));
                    }
                });
            };
            write(&mut heap);
            fuse.set(true);
            assert!(panics(|| if minor { heap.collect_minor() } else { heap.collect() }));
            fuse.set(false);
            write(&mut heap);
            // It goes on where it was.
            while heap.step(StepBudget::units(50)) != Phase::Idle {}
            write(&mut heap);
            heap.collect_minor();
            heap.verify().unwrap();
            heap.begin_major();
            while heap.step(StepBudget::units(500)) != Phase::Idle {}
            heap.verify().unwrap();
            for owner in &owners {
                heap.with(owner, |owner| {
                    let chain = std::iter::successors(owner.mine.get(), |mine| mine.next);
                    assert_eq!((chain.count(), owner.dead.0.is_some()), (4, true));
                });
            }
            assert_eq!(drops.get(), OWNERS + OWNERS / 2 + 3 * OWNERS / 2);
            drop(owners);
            heap.collect();
            assert_eq!(drops.get(), 2 * OWNERS + 3 * OWNERS / 2);
            assert_eq!(heap.stats().live_objects, 0);
            if phase == Phase::Idle && !zeal {
                break;
            }
            swept += usize::from(phase == Phase::Sweeping);
            steps += 1;
        }
        assert!(swept > 20, "{swept} points after the pause");
    }
}

#[test]
fn a_trace_that_panics_in_a_minor_collection_has_the_next_one_look_at_everything() {
    #[derive(Trace)]
    struct Owner<'gc> {
        mine: GcCell<Option<Gc<'gc, Mine<'gc>>>>,
        dead: Opaque<Option<Dropped>>,
    }
    for lit_in in 0..3 {
        let fuse = Rc::new(Cell::new(false));
        let (drops, mines) = (Count::default(), Count::default());
        let mut heap = Heap::with_config(Config::default().collect_automatically(false));
        let owners: Vec<Root<Owner<'static>>> = heap.enter(|cx| {
            let owner = || cx.alloc(Owner { mine: GcCell::new(None), dead: Opaque(None) }).root(cx);
            (0..500).map(|_| owner()).collect()
        });
        heap.collect();
        for round in 0..3 {
            let weak: Vec<_> = heap.enter(|cx| {
                owners
                    .iter()
                    .map(|owner| {
                        let mine = Mine { fuse: Rc::clone(&fuse), next: None, drops: mines.clone() };
                        let mine =
                            cx.alloc(Mine { next: Some(cx.alloc(mine)), fuse: Rc::clone(&fuse), drops: mines.clone() });
                        cx.get(owner).set(cx, |owner| &owner.mine, Some(mine));
                        // Garbage of the same type, new and with something to be dropped.
                        cx.alloc(Owner { mine: GcCell::new(Some(mine)), dead: Opaque(Some(Dropped(drops.clone()))) });
                        mine.downgrade(cx)
                    })
                    .collect()
            });
            if round == lit_in {
                fuse.set(true);
                for _ in 0..2 {
                    assert!(panics(|| heap.collect_minor()));
                    // Nothing that was there before is handed out again, and what is written now counts, too.
                    heap.enter(|cx| {
                        for owner in &owners {
                            let mine = cx.get(owner).mine.get().unwrap();
                            let copy = Mine { fuse: Rc::clone(&fuse), next: Some(mine), drops: mines.clone() };
                            cx.get(owner).set(cx, |owner| &owner.mine, Some(cx.alloc(copy)));
                        }
                    });
                }
                fuse.set(false);
            }
            heap.collect_minor();
            assert_eq!(heap.stats().last.minor, round != lit_in, "marking that was abandoned is made up for");
            heap.verify().unwrap();
            heap.collect_minor();
            assert!(heap.stats().last.minor);
            assert!(weak.iter().all(|&weak| !heap.is_dead(weak)));
            heap.enter(|cx| {
                for owner in &owners {
                    let mut length = 0;
                    let mut at = cx.get(owner).mine.get();
                    while let Some(mine) = at {
                        (length, at) = (length + 1, mine.next);
                    }
                    assert_eq!(length, if round == lit_in { 4 } else { 2 });
                }
            });
        }
        heap.collect();
        assert_eq!(drops.get(), 1500);
        drop(owners);
        heap.collect();
        assert_eq!(heap.stats().live_objects, 0);
    }
}

#[test]
fn a_trace_that_panics_while_guardians_are_looked_after_loses_none() {
    let fuse = Rc::new(Cell::new(false));
    let mut heap = Heap::new();
    for tag in 0..10 {
        let mine =
            heap.alloc_with::<Mine<'_>>(|_| Mine { fuse: Rc::clone(&fuse), next: None, drops: Count::default() });
        heap.guard(&mine, tag).unwrap();
        heap.cleanup(&mine, (), |_, ()| ()).unwrap();
    }
    fuse.set(true);
    assert!(panics(|| heap.collect()), "what guardians hand back is traced");
    fuse.set(false);
    heap.collect();
    let mut tags: Vec<_> = std::iter::from_fn(|| heap.next_guarded()).map(|guarded| guarded.tag).collect();
    tags.sort_unstable();
    assert_eq!(tags, (0..10).collect::<Vec<_>>());
    heap.collect();
    assert_eq!(heap.stats().queued_cleanups, 10);
    assert_eq!(heap.stats().live_objects, 0);
    heap.verify().unwrap();
}

#[test]
fn an_automatic_collection_that_panics_passes_the_panic_on_and_allocation_goes_on() {
    let fuse = Rc::new(Cell::new(true));
    let mut heap = Heap::with_config(Config::default().min_heap(64 << 10));
    let mine = heap.alloc_with::<Mine<'_>>(|_| Mine { fuse: Rc::clone(&fuse), next: None, drops: Count::default() });
    let weak = heap.downgrade(&mine);
    let mut panicked = 0;
    for id in 0..5000_u64 {
        panicked += u32::from(panics(|| drop(heap.alloc([id; 8]))));
    }
    assert!(panicked > 0);
    assert!(!heap.is_dead(weak));
    fuse.set(false);
    drop(heap.alloc(0));
    heap.collect();
    assert_eq!(heap.stats().live_objects, 1);
    drop(mine);
    heap.collect();
    assert!(heap.is_dead(weak));
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        // Without content, since what is thrown here is forgotten for good.
        panic_any(());
    }
}

#[test]
fn a_panic_whose_payload_panics_when_dropped_is_one_failure_like_any_other() {
    /// Its own panic payload is a bomb.
    struct Throws;
    impl Drop for Throws {
        fn drop(&mut self) {
            panic_any(Bomb);
        }
    }
    let mut heap = Heap::new();
    let messages: Rc<RefCell<Vec<_>>> = Rc::default();
    let seen = Rc::clone(&messages);
    heap.on_error(move |failure| seen.borrow_mut().push((failure.kind, failure.message.clone())));
    let object = heap.alloc(Opaque(Throws));
    let ran = Count::default();
    heap.cleanup(&object, Opaque(ran.clone()), |_, ran| ran.0.0.set(1)).unwrap();
    heap.cleanup(&object, (), |_, ()| panic_any(Bomb)).unwrap();
    drop(object);
    heap.collect();
    let report = heap.drain(Budget::unlimited()).unwrap();
    assert_eq!((report.ran, report.panicked, ran.get()), (2, 1, 1));
    assert_eq!(*messages.borrow(), [(FailureKind::Drop, None), (FailureKind::Cleanup, None)]);
    heap.verify().unwrap();
}

#[test]
fn an_error_hook_that_panics_is_called_again_for_the_next_failure() {
    let mut heap = Heap::new();
    let calls = Count::default();
    let seen = calls.clone();
    heap.on_error(move |_| {
        seen.0.set(seen.get() + 1);
        panic_any(Bomb);
    });
    for _ in 0..3 {
        let object = heap.alloc(0_u8);
        for _ in 0..2 {
            heap.cleanup(&object, (), |_, ()| panic!("callback")).unwrap();
        }
        drop(object);
        heap.collect();
        assert_eq!(heap.drain(Budget::unlimited()).unwrap().panicked, 2);
    }
    assert_eq!(calls.get(), 6);
}

#[test]
fn a_callback_that_replaces_the_error_hook_keeps_its_choice() {
    let mut heap = Heap::new();
    let (first, second) = (Count::default(), Count::default());
    let counted = |count: &Count| {
        let count = count.clone();
        move |_: &lacuna::Failure| count.0.set(count.get() + 1)
    };
    heap.on_error(counted(&first));
    let hook = Opaque(second.clone());
    let object = heap.alloc(0_u8);
    heap.cleanup(&object, hook, |heap, hook| {
        heap.on_error(move |_| hook.0.0.set(hook.get() + 1));
        panic!("callback");
    })
    .unwrap();
    drop(object);
    heap.collect();
    heap.drain(Budget::unlimited()).unwrap();
    assert_eq!((first.get(), second.get()), (0, 1));
}

#[test]
fn run_now_passes_a_panic_on_and_the_cleanup_is_consumed() {
    let mut heap = Heap::new();
    let drops = Count::default();
    let object = heap.alloc(0_u8);
    let id = heap.cleanup(&object, Opaque(Dropped(drops.clone())), |_, _| panic!("callback")).unwrap();
    assert!(panics(|| heap.run_now(id)));
    assert!(!heap.is_pending(id));
    assert_eq!(drops.get(), 1);
    assert_eq!(heap.stats().panics, 0, "nothing was caught");
    heap.drain(Budget::unlimited()).expect("no callback is running");
    heap.verify().unwrap();
}

#[test]
fn a_scope_that_panics_leaves_the_heap_as_it_is() {
    #[derive(Trace)]
    struct Node<'gc> {
        next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
        list: GcRefCell<Vec<Gc<'gc, Node<'gc>>>>,
    }
    let mut heap = Heap::new();
    let kept = heap.alloc_with::<Node<'_>>(|_| Node { next: GcCell::new(None), list: GcRefCell::default() });
    let mut smuggled = None;
    assert!(panics(|| heap.enter(|cx| {
        let new = cx.alloc(Node { next: GcCell::new(None), list: GcRefCell::default() });
        kept.get(cx).set(cx, |node| &node.next, Some(new));
        smuggled = Some(new.root(cx));
        let mut list = kept.get(cx).borrow_mut(cx, |node| &node.list);
        list.push(new);
        panic!("in a scope");
    })));
    heap.enter(|cx| {
        let kept = kept.get(cx);
        assert!(Gc::ptr_eq(kept.next.get().unwrap(), smuggled.as_ref().unwrap().get(cx)));
        assert_eq!(kept.list.borrow().len(), 1, "the borrow ended with the panic");
    });
    heap.collect();
    assert_eq!(heap.stats().live_objects, 2);
    heap.verify().unwrap();
    assert!(panics(|| heap.alloc_with::<Opaque<Grenade>>(|_| panic!("while the value is made"))));
    heap.verify().unwrap();
}

/// Yields so many, then panics, or ends if it was told to lie.
struct Unreliable {
    drops: Count,
    good: usize,
    lies: bool,
}

impl Iterator for Unreliable {
    type Item = Opaque<Dropped>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.good == 0 {
            assert!(self.lies, "the iterator panics");
            return None;
        }
        self.good -= 1;
        Some(Opaque(Dropped(self.drops.clone())))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (1000, Some(1000))
    }
}

impl ExactSizeIterator for Unreliable {}

#[test]
fn the_elements_that_an_iterator_yielded_before_it_failed_are_dropped_once() {
    for (zeal, lies) in [(false, false), (false, true), (true, false), (true, true)] {
        let drops = Count::default();
        let mut heap = Heap::with_config(Config::default().zeal(zeal));
        for good in [0, 1, 7, 999] {
            let before = drops.get();
            let iterator = || Unreliable { drops: drops.clone(), good, lies };
            assert!(panics(|| heap.enter(|cx| cx.alloc_slice(iterator()).len())));
            assert!(panics(|| heap.enter(|cx| cx.try_alloc_slice(iterator()).is_ok())));
            let header = Opaque(Dropped(drops.clone()));
            assert!(panics(|| heap.enter(|cx| cx.alloc_tail(header, iterator()).tail.len())));
            heap.verify().unwrap();
            heap.collect();
            assert_eq!(drops.get() - before, 3 * good + 1);
            assert_eq!(heap.stats().live_objects, 0);
        }
    }
}

#[test]
fn a_length_that_panics_allocates_nothing() {
    struct NoLength;
    impl Iterator for NoLength {
        type Item = u8;
        fn next(&mut self) -> Option<u8> {
            None
        }
    }
    impl ExactSizeIterator for NoLength {
        fn len(&self) -> usize {
            panic!("no length")
        }
    }
    let mut heap = Heap::new();
    let drops = Count::default();
    let header = Opaque(Dropped(drops.clone()));
    assert!(panics(|| heap.enter(|cx| cx.alloc_tail(header, NoLength).tail.len())));
    assert_eq!(drops.get(), 1);
    assert_eq!(heap.stats().used_bytes, 0);
}

#[test]
fn a_hook_for_want_of_memory_that_panics_replaces_the_panic() {
    let mut heap = Heap::with_config(Config::default().heap_limit(Some(1 << 20)));
    let calls = Count::default();
    let seen = calls.clone();
    heap.on_out_of_memory(move |_| {
        seen.0.set(seen.get() + 1);
        panic!("hook");
    });
    assert!(panics(|| heap.enter(|cx| cx.alloc_slice(vec![0_u8; 2 << 20]).len())));
    assert_eq!(calls.get(), 1);
    let small = heap.alloc(1);
    assert_eq!(*heap.get(&small), 1);
    heap.verify().unwrap();
}

#[test]
fn dropping_roots_while_a_panic_unwinds_is_fine() {
    let mut heap = Heap::new();
    assert!(panics(|| {
        let roots: Vec<_> = (0..1000).map(|id| heap.alloc(id)).collect();
        assert_eq!(roots.len(), 0, "unwinds through the roots");
    }));
    assert_eq!(heap.stats().roots, 0);
    heap.collect();
    assert_eq!(heap.stats().live_objects, 0);
}
