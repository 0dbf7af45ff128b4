//! Attacks on increments: safe programs that try to have a major collection done in pieces lose an object, keep a dead one,
//! run something twice or never, panic where it should not, or not end.
//!
//! docs/design/soundness.md says why each of them fails.
#![deny(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use lacuna::{
    AutoDrain, Budget, Cleanup, Config, Ephemerons, EventKind, Gc, GcCell, Guard, Heap, MarkOrder, Mutator, Opaque,
    Phase, Root, ShutdownOptions, StepBudget, Trace, Weak,
};

mod programs;

use programs::{Random, play};

const MIB: usize = 1 << 20;

/// A heap that does nothing by itself.
fn quiet() -> Config {
    Config::default().collect_automatically(false).auto_drain(AutoDrain::Off)
}

/// Goes on with the collection to its end.
fn finish(heap: &mut Heap) {
    for _ in 0..100_000 {
        if heap.step(StepBudget::units(1000)) == Phase::Idle {
            return;
        }
    }
    panic!("the collection does not end");
}

/// Goes on with the collection until its pause is over.
fn up_to_the_pause(heap: &mut Heap) {
    heap.begin_major();
    while heap.step(StepBudget::units(100)) == Phase::Marking {}
    assert_eq!(heap.phase(), Phase::Sweeping);
}

type Row<'gc> = [GcCell<Option<Gc<'gc, u64>>>];

#[test]
fn the_end_of_a_huge_array_is_not_the_table_of_its_segments() {
    // Of this many elements the last lies at the end of a block, and the table for it and what precedes it in the chunk is
    // as long as the blocks that are left for it.
    for (blocks, short) in [(1013, 0), (1013, 1), (2035, 0), (2035, 3), (2036, 0), (3056, 0), (3056, 5)] {
        let length = (blocks * (16 << 10) - 8) / 8 - short;
        let mut heap = Heap::with_config(quiet().huge_pages(false));
        // They lie at another place in each chunk, which follows from the chunk's address.
        let rows: Vec<Root<Row<'static>>> = (0..if cfg!(miri) { 1 } else { 9 })
            .map(|_| heap.enter(|cx| cx.alloc_slice((0..length).map(|_| GcCell::new(None::<Gc<'_, u64>>))).root(cx)))
            .collect();
        heap.collect();
        heap.enter(|cx| {
            for row in &rows {
                let row = row.get(cx);
                for place in (0..64).chain(length - 64..length - 1) {
                    row.set(cx, |row| &row[place * 16 % (length - 1)], Some(cx.alloc(place as u64)));
                    assert!(row[length - 1].get().is_none(), "it was never written");
                }
                row.set(cx, |row| &row[length - 1], Some(cx.alloc(7)));
            }
        });
        heap.collect_minor();
        heap.verify().unwrap();
        heap.enter(|cx| {
            for row in &rows {
                assert_eq!(row.get(cx)[length - 1].get().map(|last| *last), Some(7));
            }
        });
    }
}

#[test]
fn any_budget_and_any_setting_is_borne() {
    let mut heap = Heap::with_config(quiet());
    heap.alloc(1);
    for budget in [StepBudget::time(Duration::MAX), StepBudget::units(usize::MAX)] {
        heap.begin_major();
        assert_eq!(heap.step(budget), Phase::Idle, "everything is done at once");
    }
    heap.begin_major();
    assert_eq!(heap.step(StepBudget::units(0)), Phase::Marking, "nothing is done");
    heap.add_external(usize::MAX);
    while heap.step(StepBudget::units(1)) != Phase::Idle {}

    for step in [0, 1, usize::MAX - 1, usize::MAX] {
        for minor in [Some(0), Some(1), Some(usize::MAX), None] {
            for factor in [f64::INFINITY, f64::MAX, 1.0 + f64::EPSILON] {
                let config = Config::default().increment_step(Some(step)).minor_step(minor).growth_factor(factor);
                for min_heap in [0, 1, 1 << 20, usize::MAX] {
                    let mut heap = Heap::with_config(config.min_heap(min_heap));
                    let lasting = heap.alloc(7_u64);
                    for round in 0..40 {
                        heap.enter(|cx| (0..600).for_each(|_| _ = cx.alloc([round; 8])));
                        match round {
                            10 => heap.add_external(usize::MAX),
                            11 => heap.begin_major(),
                            20 => heap.sub_external(usize::MAX / 2),
                            25 => heap.sub_external(usize::MAX),
                            _ => {}
                        }
                    }
                    finish(&mut heap);
                    assert_eq!(*heap.get(&lasting), 7);
                    heap.collect();
                    assert_eq!(heap.stats().live_objects, 1);
                }
            }
        }
    }
}

/// About a hundred bytes, and counted when it is dropped.
type Heavy = (Opaque<Counted>, [u64; 10]);

/// Counts what was dropped.
struct Counted(Rc<Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn what_is_dead_is_dropped_though_minor_collections_free_all_that_is_new() {
    const DEAD: usize = 400_000;
    for (preset, increments) in [("low latency", true), ("balanced", false)] {
        let config = if increments { Config::low_latency() } else { Config::balanced() };
        let mut heap = Heap::with_config(config);
        let dropped = Rc::new(Cell::new(0));
        let all: Root<[Gc<'static, Heavy>]> = heap.enter(|cx| {
            let object = |_| cx.alloc((Opaque(Counted(Rc::clone(&dropped))), [0_u64; 10]));
            cx.alloc_slice((0..DEAD).map(object)).root(cx)
        });
        heap.collect();
        drop(all);
        heap.begin_major();
        let mut rounds = 0;
        // A part of what is alive when it begins.
        while heap.phase() != Phase::Idle && rounds < 12_000 {
            heap.enter(|cx| (0..50).for_each(|_| _ = cx.alloc([0_u64; 8])));
            rounds += 1;
        }
        let stats = heap.stats();
        assert_eq!(heap.phase(), Phase::Idle, "{preset}: {} of {DEAD} are dropped, {stats:?}", dropped.get());
        assert_eq!(dropped.get(), DEAD, "{preset}");
    }
}

#[test]
fn a_scope_finds_the_memory_of_what_is_dead_before_it_is_counted() {
    // One type, and another; small and large objects; before anything is counted, and after some is.
    for steps in [0, 1, 20] {
        for large in [false, true] {
            let mut heap = Heap::with_config(quiet().heap_limit(Some(8 * MIB)));
            heap.enter(|cx| {
                if large {
                    (0..100).for_each(|_| _ = cx.alloc_slice_with(8000, |_| 0_u64));
                } else {
                    (0..100_000).for_each(|_| _ = cx.alloc([0_u64; 8]));
                }
            });
            up_to_the_pause(&mut heap);
            (0..steps).for_each(|_| _ = heap.step(StepBudget::units(8)));
            heap.enter(|cx| {
                (0..100_000).for_each(|i| assert!(cx.try_alloc([0_u64; 7]).is_ok(), "after {i}: nothing is alive"));
            });
            finish(&mut heap);
            heap.collect();
            assert_eq!(heap.stats().live_objects, 0);
        }
    }
}

#[test]
fn increments_go_on_though_bytes_outside_the_heap_are_let_go() {
    let mut heap = Heap::with_config(Config::default().minor_step(None));
    let dropped = Rc::new(Cell::new(0));
    heap.enter(|cx| (0..100_000).for_each(|_| _ = cx.alloc(Opaque(Counted(Rc::clone(&dropped))))));
    heap.add_external(1 << 30);
    up_to_the_pause(&mut heap);
    heap.sub_external(1 << 30);
    let mut allocated = 0;
    while heap.phase() != Phase::Idle && allocated < 16 * MIB {
        heap.enter(|cx| (0..1000).for_each(|_| _ = cx.alloc([0_u64; 8])));
        allocated += 64_000;
    }
    assert_eq!((heap.phase(), dropped.get()), (Phase::Idle, 100_000));
}

#[test]
fn random_programs_find_everything_as_they_left_it_between_increments() {
    let steps = if cfg!(miri) { 10 } else { 300 };
    let small = Config::default().min_heap(128 << 10).growth_factor(1.2);
    let configs = [
        quiet(),
        Config::default().minor_step(Some(usize::MAX)).increment_step(Some(0)),
        small.increment_step(Some(1)).minor_step(Some(1)),
        small.increment_step(Some(16 << 10)).minor_step(Some(32 << 10)),
        small.increment_step(Some(0)).minor_step(None),
        Config::low_latency().min_heap(256 << 10),
        Config::default().zeal(true).minor_step(Some(16 << 10)).min_heap(512 << 10),
        small.increment_step(Some(0)).heap_limit(Some(64 << 20)),
    ];
    let mut increments = 0;
    for (seed, config) in (1..).zip(configs.into_iter().cycle().take(16)) {
        #[cfg(feature = "parallel")]
        let config = config.mark_threads(1 + seed as usize % 3);
        play(seed, steps, config, |heap, random| {
            match random.below(12) {
                0..3 => heap.begin_major(),
                3 => heap.collect_minor(),
                4 if random.below(8) == 0 => heap.collect(),
                5 => _ = heap.step(StepBudget::time(Duration::from_micros(random.below(50) as u64))),
                6 => heap.add_external(random.below(1 << 20)),
                7 => heap.sub_external(random.below(1 << 20)),
                8 => {
                    // Whatever the stage, each point in it may be the last before a write.
                    heap.begin_major();
                    (0..random.below(30)).for_each(|_| _ = heap.step(StepBudget::units(1)));
                }
                _ => {}
            }
            let most = [3, 40, 700, 9000][random.below(4)];
            let units = random.below(most);
            heap.step(StepBudget::units(units));
            increments += usize::from(heap.phase() != Phase::Idle);
        });
    }
    assert!(increments > 30, "{increments} scopes ran between increments");
}

#[derive(Trace)]
struct Node<'gc> {
    id: u64,
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
    table: Ephemerons<Gc<'gc, Node<'gc>>, Gc<'gc, Node<'gc>>>,
    drop: Opaque<Drops>,
}

type NodeRoot = Root<Node<'static>>;

fn node<'gc>(cx: &Mutator<'gc>, id: u64, drop: Drops) -> Gc<'gc, Node<'gc>> {
    cx.alloc(Node { id, next: GcCell::new(None), table: Ephemerons::new(), drop: Opaque(drop) })
}

/// Does something when it is dropped.
struct Drops(Option<Rc<dyn Fn()>>);

impl Drop for Drops {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

const NOTHING: Drops = Drops(None);

#[test]
fn a_listener_may_panic_at_every_event_and_nothing_is_lost_or_told_twice() {
    let config = Config::default().min_heap(64 << 10).increment_step(Some(0)).minor_step(Some(16 << 10));
    let mut heap = Heap::with_config(config);
    let (told, panics) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new([0; 8])));
    heap.on_event({
        let panics = Rc::clone(&panics);
        move |event| {
            panics.borrow_mut()[match event.kind {
                EventKind::Major => 0,
                EventKind::Minor => 1,
                EventKind::Increment => 2,
                EventKind::Pause => 3,
                _ => 4,
            }] += 1;
            resume_unwind(Box::new(()));
        }
    });
    let (mut lasting, mut made) = (Vec::new(), 0);
    for round in 0..3000_u64 {
        _ = catch_unwind(AssertUnwindSafe(|| {
            heap.enter(|cx| {
                let new = node(cx, round, NOTHING);
                cx.cleanup(new, Opaque(Rc::clone(&told)), |_, told| told.set(told.get() + 1)).unwrap();
                made += 1;
                if round % 2 == 0 {
                    lasting.push(new.root(cx));
                }
            });
        }));
        match round {
            1000 => _ = catch_unwind(AssertUnwindSafe(|| heap.collect())).unwrap_err(),
            2000 => _ = catch_unwind(AssertUnwindSafe(|| heap.collect_minor())).unwrap_err(),
            _ => {}
        }
    }
    for (place, root) in lasting.iter().enumerate() {
        assert_eq!(heap.with(root, |node| node.id), place as u64 * 2);
    }
    assert!(panics.borrow()[..4].iter().all(|&count| count > 0), "{panics:?}");
    heap.on_event(|_| ());
    lasting.clear();
    heap.collect();
    heap.drain(Budget::unlimited()).unwrap();
    assert_eq!((told.get(), heap.stats().live_objects), (made, 0));
}

scoped_tls_hkt::scoped_thread_local!(static IN_SCOPE: for<'a> &'a (dyn Fn() + 'a));

#[test]
fn a_drop_that_a_scope_runs_between_increments_may_use_the_scope() {
    let mut swept = 0;
    for phase_steps in 0..24 {
        let mut heap = Heap::with_config(quiet());
        let reach = Rc::new(|| {
            if IN_SCOPE.is_set() {
                IN_SCOPE.with(|act| act());
            }
        });
        let ran = Cell::new(0);
        let kept: Root<[Gc<'static, Node<'static>>]> =
            heap.enter(|cx| cx.alloc_slice((0..100_u32).map(|id| node(cx, id.into(), NOTHING))).root(cx));
        heap.enter(|cx| {
            for id in 0..2000 {
                node(cx, id, Drops(Some(reach.clone())));
                if id % 100 == 0 {
                    cx.alloc_slice((0..1200).map(|_| Opaque(Drops(Some(reach.clone())))));
                }
            }
        });
        up_to_the_pause(&mut heap);
        (0..phase_steps * phase_steps).for_each(|_| _ = heap.step(StepBudget::units(8)));
        heap.enter(|cx| {
            let kept = kept.get(cx);
            let act = || {
                let count = ran.get();
                ran.set(count + 1);
                // Of the type that is being swept, of another, and a large one.
                let new = IN_SCOPE.set(&|| (), || node(cx, 1000 + count, NOTHING));
                new.downgrade(cx);
                kept[count as usize % 100].set(cx, |node| &node.next, Some(new));
                kept[count as usize % 100].edit_ephemerons(cx, |node| &node.table).insert(new, new);
                cx.cleanup(new, (), |_, ()| ()).unwrap();
                if count.is_multiple_of(64) {
                    cx.alloc_slice((0..3000).map(|_| Opaque(NOTHING)));
                }
            };
            IN_SCOPE.set(&act, || (0..1000).for_each(|id| _ = node(cx, id, NOTHING)));
        });
        heap.verify().unwrap();
        heap.collect_minor();
        heap.verify().unwrap();
        finish(&mut heap);
        heap.collect_minor();
        heap.verify().unwrap();
        heap.enter(|cx| {
            for (place, node) in kept.get(cx).iter().enumerate() {
                let last = (place as u64..ran.get()).step_by(100).last();
                let next = node.next.get();
                assert_eq!(next.map(|next| next.id), last.map(|last| 1000 + last));
                assert_eq!(next.map(|next| node.table.get(next).unwrap().id), last.map(|last| 1000 + last));
            }
        });
        swept += usize::from(ran.get() > 0);
    }
    assert!(swept > 5, "sweeps ran in {swept} scopes");
}

#[test]
fn a_scope_at_the_limit_drops_dead_large_objects_that_may_use_it() {
    let mut heap = Heap::with_config(quiet().heap_limit(Some(8 * MIB)));
    let count = Rc::new(Cell::new(0));
    heap.enter(|cx| {
        for place in 0..60 {
            let count = Rc::clone(&count);
            let act: Rc<dyn Fn()> = Rc::new(move || {
                count.set(count.get() + 1);
                if IN_SCOPE.is_set() {
                    IN_SCOPE.with(|act| act());
                }
                if place % 7 == 0 {
                    resume_unwind(Box::new(()));
                }
            });
            cx.alloc((Opaque(Drops(Some(act))), [0_u64; 12_000]));
        }
    });
    up_to_the_pause(&mut heap);
    heap.enter(|cx| {
        let found = RefCell::new(Vec::new());
        let act = || IN_SCOPE.set(&|| (), || found.borrow_mut().push(cx.try_alloc([7_u64; 500]).unwrap()));
        IN_SCOPE.set(&act, || {
            for _ in 0..50 {
                assert!(cx.try_alloc_slice((0..15_000).map(|_| 0_u64)).is_ok(), "{} are dropped", count.get());
            }
        });
        assert!(found.borrow().len() > 20 && found.borrow().iter().all(|object| object.iter().all(|&word| word == 7)));
    });
    heap.collect();
    assert_eq!((count.get(), heap.stats().panics, heap.stats().live_objects), (60, 9, 0));
}

#[test]
fn a_heap_may_be_replaced_leaked_and_shut_down_by_its_callbacks_between_increments() {
    for steps in 0..60 {
        for end in 0..5 {
            let dropped = Rc::new(Cell::new(0));
            let mut heap = ManuallyDrop::new(Heap::with_config(quiet()));
            let roots: Vec<NodeRoot> = (0..600)
                .map(|id| {
                    let dropped = Rc::clone(&dropped);
                    let count = Drops(Some(Rc::new(move || dropped.set(dropped.get() + 1))));
                    heap.enter(|cx| node(cx, id, count).root(cx))
                })
                .collect();
            let act = move |heap: &mut Heap, dropped: Opaque<Rc<Cell<i32>>>| {
                heap.begin_major();
                (0..steps).for_each(|_| _ = heap.step(StepBudget::units(11)));
                match end {
                    0 => *heap = Heap::new(),
                    1 => assert!(heap.shutdown(ShutdownOptions::default()).is_err(), "it is busy"),
                    2 => std::mem::forget(std::mem::replace(heap, Heap::new())),
                    3 => heap.collect(),
                    _ => heap.collect_minor(),
                }
                heap.step(StepBudget::units(5));
                heap.verify().unwrap();
                dropped.set(dropped.get() + 1000);
            };
            let object = heap.alloc(0);
            heap.cleanup_with(&object, Opaque(Rc::clone(&dropped)), act).unwrap();
            drop(object);
            heap.collect();
            let ran = heap.drain(Budget::unlimited());
            assert_eq!(ran.unwrap().ran, 1);
            let others: Vec<NodeRoot> = roots.to_vec();
            drop(roots);
            if end == 1 {
                heap.shutdown(ShutdownOptions::default()).unwrap();
                heap.step(StepBudget::units(5));
            }
            // Dropped in the middle of what was begun.
            drop(ManuallyDrop::into_inner(heap));
            drop(others);
            assert_eq!(dropped.get(), if end == 2 { 1000 } else { 1600 }, "after {steps} steps, {end}");
        }
    }
}

/// What became of registrations, by number.
type Told = Opaque<Rc<RefCell<Vec<u32>>>>;

/// A payload that is counted when it is dropped.
type Payload = (u64, Opaque<Counted>);

#[test]
fn registrations_are_told_or_taken_back_once_whatever_is_done_between_increments() {
    for seed in 0..if cfg!(miri) { 1 } else { 60 } {
        let random = &mut Random(seed);
        let (told, payloads): (Told, _) = (Told::default(), Rc::new(Cell::new(0)));
        let mut heap = Heap::with_config(quiet().zeal(seed % 8 == 0));
        let mut objects: Vec<NodeRoot> = Vec::new();
        let mut weak: Vec<Weak<Node<'static>>> = Vec::new();
        let mut cleanups: Vec<Cleanup<(Told, usize, Payload)>> = Vec::new();
        let mut guards: Vec<(Guard, u64)> = Vec::new();
        let (mut registered, mut guarded, mut unguarded) = (0, 0_u64, 0_u64);
        let mut handed_out = HashMap::new();
        for _ in 0..800 {
            match random.below(14) {
                0..3 => {
                    let root: NodeRoot = heap.enter(|cx| {
                        let new = node(cx, 0, NOTHING);
                        if let Some(old) = objects.get(random.below(objects.len().max(1))) {
                            new.set(cx, |node| &node.next, Some(old.get(cx)));
                            old.get(cx).set(cx, |node| &node.next, Some(new));
                        }
                        new.root(cx)
                    });
                    weak.push(heap.downgrade(&root));
                    objects.push(root);
                }
                3..5 if !objects.is_empty() => {
                    let root = &objects[random.below(objects.len())];
                    let number = registered;
                    told.borrow_mut().push(0);
                    registered += 1;
                    let payload = (told.clone(), number, (number as u64, Opaque(Counted(Rc::clone(&payloads)))));
                    let id = heap.cleanup(root, payload, |heap, (told, number, _)| {
                        told.borrow_mut()[number] += 1;
                        heap.begin_major();
                        heap.step(StepBudget::units(20));
                        if number % 13 == 0 {
                            resume_unwind(Box::new(()));
                        }
                    });
                    cleanups.push(id.unwrap());
                }
                5 if !objects.is_empty() => {
                    guards.push((heap.guard(&objects[random.below(objects.len())], guarded).unwrap(), guarded));
                    guarded += 1;
                }
                6 if !objects.is_empty() => drop(objects.swap_remove(random.below(objects.len()))),
                7 if !weak.is_empty() => {
                    if let Some(root) = heap.upgrade(weak[random.below(weak.len())]) {
                        assert_eq!(heap.with(&root, |node| node.id), 0);
                        objects.push(root);
                    }
                }
                8 if !cleanups.is_empty() => {
                    let id = cleanups[random.below(cleanups.len())];
                    if let Some((told, number, _)) = heap.cancel(id) {
                        told.borrow_mut()[number] += 1;
                        assert!(!heap.is_pending(id) && heap.peek(id).is_none());
                    }
                }
                9 if !cleanups.is_empty() => {
                    let id = cleanups[random.below(cleanups.len())];
                    let pending = heap.is_pending(id);
                    let ran = catch_unwind(AssertUnwindSafe(|| heap.run_now(id)));
                    assert!(ran.is_err() || ran.ok() == Some(pending));
                }
                10 if !guards.is_empty() => {
                    let (guard, _) = guards[random.below(guards.len())];
                    unguarded += u64::from(heap.unguard(guard));
                }
                11 => {
                    if let Some(guarded) = heap.next_guarded() {
                        *handed_out.entry(guarded.tag).or_insert(0) += 1;
                        let root: NodeRoot = guarded.object.downcast().unwrap();
                        assert_eq!(heap.with(&root, |node| node.id), 0);
                        if random.below(2) == 0 {
                            objects.push(root);
                        }
                    }
                }
                12 => _ = heap.drain(Budget::unlimited().callbacks(random.below(4))).unwrap(),
                _ => match random.below(6) {
                    0 => heap.collect_minor(),
                    1 if random.below(4) == 0 => heap.collect(),
                    _ => heap.begin_major(),
                },
            }
            heap.step(StepBudget::units(random.below(12)));
        }
        heap.verify().unwrap();
        objects.clear();
        for _ in 0..4 {
            heap.begin_major();
            finish(&mut heap);
            heap.drain(Budget::unlimited()).unwrap();
            while let Some(guarded) = heap.next_guarded() {
                *handed_out.entry(guarded.tag).or_insert(0) += 1;
            }
        }
        heap.collect();
        assert!(told.borrow().iter().all(|&times| times == 1), "seed {seed}: {:?}", told.borrow());
        assert!(handed_out.values().all(|&times| times == 1));
        assert_eq!(handed_out.len() as u64 + unguarded, guarded);
        assert_eq!((payloads.get(), heap.stats().live_objects, heap.stats().weak_slots), (registered, 0, 0));
    }
}

#[test]
fn tables_written_between_increments_have_what_was_put_into_them() {
    // Tables in objects of their own, and in a large array, of which only what was written is looked at again.
    type Table<'gc> = Ephemerons<Gc<'gc, Node<'gc>>, Gc<'gc, Node<'gc>>>;
    const TABLES: usize = 300;
    const KEYS: usize = 60;
    for seed in 0..if cfg!(miri) { 1 } else { 24 } {
        let random = &mut Random(seed);
        let config = quiet().zeal(seed % 8 == 7);
        #[cfg(feature = "parallel")]
        let config = config.mark_threads(1 + seed as usize % 2);
        let mut heap = Heap::with_config(config);
        let array: Root<[Table<'static>]> = heap.enter(|cx| cx.alloc_slice((0..TABLES).map(|_| Table::new())).root(cx));
        let key = |heap: &mut Heap| -> NodeRoot { heap.enter(|cx| node(cx, u64::MAX, NOTHING).root(cx)) };
        let mut keys: Vec<(u64, NodeRoot)> = (0..KEYS as u64).map(|id| (id, key(&mut heap))).collect();
        let mut made = KEYS as u64;
        // By table and key. Every other table is that of a key.
        let mut model: HashMap<(usize, u64), u64> = HashMap::new();
        for step in 0..if seed % 8 == 7 { 60 } else { 400_u64 } {
            heap.enter(|cx| {
                for write in 0..random.below(30) as u64 {
                    let (table, key) = (random.below(TABLES), random.below(KEYS));
                    let (id, key) = (keys[key].0, keys[key].1.get(cx));
                    let edit = array.get(cx).edit_ephemerons(cx, |tables| &tables[table]);
                    match random.below(20) {
                        0..14 => {
                            let value = node(cx, step * 100 + write, NOTHING);
                            if random.below(4) == 0 {
                                // It has a table of its own, whose value leads back to the key.
                                value.edit_ephemerons(cx, |node| &node.table).insert(key, key);
                            }
                            edit.insert(key, value);
                            model.insert((table, id), step * 100 + write);
                        }
                        14..18 => {
                            let removed = edit.remove(key).map(|value| value.id);
                            assert_eq!(removed, model.remove(&(table, id)));
                        }
                        18 => {
                            edit.retain(|_, value| value.id % 2 == 0);
                            model.retain(|&(other, _), value| other != table || *value % 2 == 0);
                        }
                        _ => {
                            edit.clear();
                            model.retain(|&(other, _), _| other != table);
                        }
                    }
                }
            });
            if random.below(4) == 0 {
                let place = random.below(KEYS);
                let (gone, _) = std::mem::replace(&mut keys[place], (made, key(&mut heap)));
                made += 1;
                model.retain(|&(_, key), _| key != gone);
            }
            match random.below(12) {
                0..4 => heap.begin_major(),
                4 => heap.collect_minor(),
                5 if random.below(6) == 0 => heap.collect(),
                _ => {}
            }
            let most = [4, 60, 900][random.below(3)];
            heap.step(StepBudget::units(random.below(most)));
            if step % 5 == 0 {
                heap.enter(|cx| {
                    let array = array.get(cx);
                    for (table, entries) in array.iter().enumerate() {
                        for (id, key) in &keys {
                            let value = entries.get(key.get(cx)).map(|value| value.id);
                            assert_eq!(value, model.get(&(table, *id)).copied(), "seed {seed}, step {step}");
                        }
                    }
                });
            }
        }
        heap.collect();
        heap.verify().unwrap();
        let entries = heap.with(&array, |array| array.iter().map(|table| table.live_count()).sum::<usize>());
        assert_eq!(entries, model.len());
    }
}

#[test]
fn objects_without_size_and_of_any_alignment_live_and_die_in_increments() {
    #[derive(Trace)]
    struct Nothing;
    #[derive(Trace)]
    #[repr(align(4096))]
    struct Aligned(GcCell<u8>);
    let mut heap = Heap::with_config(quiet());
    let drops = Rc::new(Cell::new(0));
    let mut held = Vec::new();
    for round in 0..60_usize {
        let drops = Rc::clone(&drops);
        let counted = Drops(Some(Rc::new(move || drops.set(drops.get() + 1))));
        heap.enter(|cx| {
            let none = cx.alloc(Nothing);
            let long = cx.alloc_slice((0..100_000).map(|_| Nothing));
            let empty = cx.alloc_slice((0..0).map(|_| GcCell::new(Some(none))));
            let tail = cx.alloc_tail(Opaque(counted), (0..5000).map(|_| GcCell::new(None::<Gc<'_, Aligned>>)));
            tail.set(cx, |tail| &tail.tail[round], Some(cx.alloc(Aligned(GcCell::new(round as u8)))));
            if round % 2 == 0 {
                held.push((none.root(cx), long.root(cx), empty.root(cx), tail.root(cx), none.downgrade(cx)));
            }
        });
        heap.begin_major();
        (0..round % 17).for_each(|_| _ = heap.step(StepBudget::units(40)));
        if round % 5 == 0 {
            heap.collect_minor();
        }
    }
    finish(&mut heap);
    heap.verify().unwrap();
    for (place, (none, long, empty, tail, weak)) in held.iter().enumerate() {
        assert!(heap.refers_to(*weak, none));
        assert_eq!((heap.with(long, |long| long.len()), heap.with(empty, |empty| empty.len())), (100_000, 0));
        let aligned = heap.with(tail, |tail| {
            let aligned = tail.tail[place * 2].get().unwrap();
            (Gc::addr(aligned) % 4096, aligned.0.get())
        });
        assert_eq!(aligned, (0, place as u8 * 2));
    }
    held.clear();
    heap.collect();
    assert_eq!((drops.get(), heap.stats().live_objects), (60, 0));
}

#[test]
fn a_drop_that_allocates_in_the_sweep_of_its_type_does_not_sweep_all_of_it_on_the_stack() {
    let mut heap = Heap::with_config(quiet());
    let reach: Rc<dyn Fn()> = Rc::new(|| {
        if IN_SCOPE.is_set() {
            IN_SCOPE.with(|act| act());
        }
    });
    heap.enter(|cx| (0..1_000_000).for_each(|id| _ = node(cx, id, Drops(Some(reach.clone())))));
    up_to_the_pause(&mut heap);
    let depth = Cell::new((0, 0));
    heap.enter(|cx| {
        let kept = RefCell::new(Vec::new());
        let act = || {
            let (now, most) = depth.get();
            depth.set((now + 1, most.max(now + 1)));
            let id = kept.borrow().len() as u64;
            let new = node(cx, id, NOTHING);
            kept.borrow_mut().push((id, new));
            depth.set((now, depth.get().1));
        };
        IN_SCOPE.set(&act, || (0..200_000).for_each(|_| _ = node(cx, u64::MAX, NOTHING)));
        // Nobody else has their cells.
        assert!(kept.borrow().len() > 10_000 && kept.borrow().iter().all(|&(id, node)| node.id == id));
        let mut cells: Vec<usize> = kept.borrow().iter().map(|&(_, node)| Gc::addr(node)).collect();
        cells.sort_unstable();
        assert!(cells.windows(2).all(|two| two[0] < two[1]));
    });
    heap.verify().unwrap();
    assert!(depth.get().1 < 100, "{} sweeps were inside each other", depth.get().1);
}

#[test]
fn a_collection_that_was_begun_ends_by_itself_however_the_heap_is_set_up() {
    let mut seen = Vec::new();
    for minor in [None, Some(0), Some(16 << 10), Some(200 << 10), Some(1 << 20)] {
        for increment in [None, Some(0), Some(16 << 10), Some(500 << 10)] {
            for (pattern, min_heap) in [(0, 1 << 20), (1, 1 << 20), (2, 1 << 20), (0, 16 << 20), (2, 16 << 20)] {
                let config = Config::default().minor_step(minor).increment_step(increment).min_heap(min_heap);
                let mut heap = Heap::with_config(config);
                let dropped = Rc::new(Cell::new(0));
                let old: Root<[Gc<'static, Opaque<Counted>>]> = heap.enter(|cx| {
                    let object = |_| cx.alloc(Opaque(Counted(Rc::clone(&dropped))));
                    cx.alloc_slice((0..40_000).map(object)).root(cx)
                });
                heap.collect();
                drop(old);
                let mut lasting = std::collections::VecDeque::new();
                let (mut allocated, mut rounds) = (0, 0);
                heap.begin_major();
                while heap.phase() != Phase::Idle && allocated < 80 * MIB {
                    rounds += 1;
                    heap.enter(|cx| {
                        (0..60).for_each(|_| _ = cx.alloc([0_u64; 8]));
                        if pattern == 1 {
                            lasting.push_back(cx.alloc([1_u64; 6]).root(cx));
                        }
                    });
                    lasting.drain(..lasting.len().saturating_sub(3000));
                    allocated += 60 * 64;
                    if pattern == 2 {
                        match rounds % 3 {
                            0 => heap.add_external(300 << 10),
                            1 => heap.sub_external(200 << 10),
                            _ => heap.sub_external(100 << 10),
                        }
                    }
                }
                let setting = (minor, increment, pattern, min_heap);
                assert_eq!(heap.phase(), Phase::Idle, "{setting:?}");
                seen.push(allocated);
                // What was garbage when it began is dropped when a scope ends that wants the memory, or with the next one.
                heap.begin_major();
                finish(&mut heap);
                assert_eq!(dropped.get(), 40_000, "{setting:?}");
            }
        }
    }
    assert!(seen.iter().max().is_some_and(|&most| most < 40 * MIB), "{seen:?}");
}

/// An array, and what was written into it, by place.
type Written = (Root<Row<'static>>, Weak<Row<'static>>, HashMap<usize, u64>);

#[test]
fn arrays_of_all_sizes_come_and_go_and_are_written_at_any_point() {
    let orders = [MarkOrder::Sampled, MarkOrder::Plain, MarkOrder::Ring];
    for seed in 0..if cfg!(miri) { 1 } else { 12 } {
        let random = &mut Random(seed);
        let automatic = seed % 3 == 2;
        let config = Config::default()
            .collect_automatically(automatic)
            .mark_order(orders[seed as usize % 3])
            .min_heap(4 * MIB)
            .increment_step(Some(0))
            .keep_empty(0)
            .zeal(seed % 6 == 5);
        #[cfg(feature = "parallel")]
        let config = config.mark_threads(1 + seed as usize % 2);
        let mut heap = Heap::with_config(config);
        let mut rows: Vec<Written> = Vec::new();
        let mut gone: Vec<Weak<Row<'static>>> = Vec::new();
        let mut made = 0;
        for step in 0..if seed % 6 == 5 { 60 } else { 500 } {
            let least_bytes = [100, 1000, 8 << 10, 9 << 10, 40 << 10, 1500 << 10, 1600 << 10, 4 << 20][random.below(8)];
            if random.below(3) == 0 {
                let length = least_bytes / 8 + random.below(200);
                let row: Root<Row<'static>> =
                    heap.enter(|cx| cx.alloc_slice((0..length).map(|_| GcCell::new(None::<Gc<'_, u64>>))).root(cx));
                let weak = heap.downgrade(&row);
                rows.push((row, weak, HashMap::new()));
            }
            if rows.len() > 8 || random.below(4) == 0 && !rows.is_empty() {
                gone.push(rows.swap_remove(random.below(rows.len())).1);
            }
            heap.enter(|cx| {
                for (row, _, model) in &mut rows {
                    let row = row.get(cx);
                    for _ in 0..random.below(12) {
                        let place = [0, row.len() - 1, random.below(row.len())][random.below(3)];
                        made += 1;
                        // A new number, that of another place, or none.
                        match random.below(4) {
                            0 => {
                                let from = random.below(row.len());
                                row.set(cx, |row| &row[place], row[from].get());
                                match model.get(&from).copied() {
                                    Some(id) => _ = model.insert(place, id),
                                    None => _ = model.remove(&place),
                                }
                            }
                            1 => {
                                row.set(cx, |row| &row[place], None);
                                model.remove(&place);
                            }
                            _ => {
                                row.set(cx, |row| &row[place], Some(cx.alloc(made)));
                                model.insert(place, made);
                            }
                        }
                    }
                }
            });
            match random.below(10) {
                0..3 => heap.begin_major(),
                3 => heap.collect_minor(),
                4 if random.below(6) == 0 => heap.collect(),
                _ => {}
            }
            let most = [3, 50, 2000, 40_000][random.below(4)];
            heap.step(StepBudget::units(random.below(most)));
            for (row, weak, model) in &rows {
                assert!(!heap.is_dead(*weak) && heap.refers_to(*weak, row), "seed {seed}, step {step}");
                heap.with(row, |row| {
                    assert!(model.iter().all(|(&place, &id)| row[place].get().is_some_and(|found| *found == id)));
                });
            }
        }
        heap.collect();
        assert!(gone.iter().all(|&weak| heap.is_dead(weak)));
        for (row, _, model) in &rows {
            heap.with(row, |row| {
                for (place, cell) in row.iter().enumerate() {
                    assert_eq!(cell.get().map(|found| *found), model.get(&place).copied());
                }
            });
        }
        rows.clear();
        heap.collect();
        assert_eq!((heap.stats().live_objects, heap.stats().reserved_bytes), (0, 0));
    }
}

#[test]
fn values_of_dead_ephemerons_may_do_anything_with_roots_when_a_pause_drops_them() {
    type Values<'gc> = Ephemerons<Gc<'gc, Node<'gc>>, Opaque<Drops>>;
    for round in 0..40 {
        let mut heap = Heap::with_config(quiet());
        let stash: Rc<RefCell<Vec<NodeRoot>>> = Rc::default();
        let ran = Rc::new(Cell::new(0));
        let kept: NodeRoot = heap.enter(|cx| node(cx, 1, NOTHING).root(cx));
        let table: Root<Values<'static>> = heap.enter(|cx| {
            let table = cx.alloc(Values::new());
            for place in 0..200_u64 {
                let only = RefCell::new(Some(node(cx, 2 + place, NOTHING).root(cx)));
                let (stash, ran, kept) = (Rc::clone(&stash), Rc::clone(&ran), kept.clone());
                let act: Rc<dyn Fn()> = Rc::new(move || {
                    ran.set(ran.get() + 1);
                    match place % 4 {
                        // The object is alive: this was the root of it until now.
                        0 => stash.borrow_mut().push(only.take().unwrap()),
                        1 => drop(only.take()),
                        2 => (0..20).for_each(|_| stash.borrow_mut().push(kept.clone())),
                        _ => resume_unwind(Box::new(())),
                    }
                });
                let key = node(cx, 0, NOTHING);
                table.edit(cx).insert(key, Opaque(Drops(Some(act))));
                if place % 10 == 9 {
                    // And some whose keys live.
                    table.edit(cx).insert(node(cx, 0, NOTHING), Opaque(NOTHING));
                }
            }
            table.root(cx)
        });
        heap.begin_major();
        (0..round).for_each(|_| _ = heap.step(StepBudget::units(20)));
        while heap.step(StepBudget::units(7)) == Phase::Marking {
            heap.enter(|cx| kept.get(cx).set(cx, |node| &node.next, Some(node(cx, 1000, NOTHING))));
        }
        assert_eq!((ran.get(), heap.stats().panics, stash.borrow().len()), (200, 50, 1050));
        heap.verify().unwrap();
        heap.enter(|cx| (0..500).for_each(|id| _ = node(cx, id, NOTHING)));
        heap.collect_minor();
        finish(&mut heap);
        for root in stash.borrow().iter() {
            let id = heap.with(root, |node| node.id);
            assert!(id == 1 || (id - 2).is_multiple_of(4));
        }
        assert_eq!(heap.with(&table, |table| table.live_count()), 0);
        stash.borrow_mut().clear();
        heap.collect();
        assert_eq!(heap.stats().live_objects, if heap.with(&kept, |kept| kept.next.get().is_some()) { 3 } else { 2 });
    }
}

#[test]
fn whoever_looks_at_a_heap_between_increments_sees_what_can_be_reached() {
    const NODES: u64 = 50;
    let mut steps = 0;
    loop {
        let mut heap = Heap::with_config(quiet());
        let first: NodeRoot = heap.enter(|cx| {
            let mut first = node(cx, 0, NOTHING);
            for id in 1..NODES {
                node(cx, 1000 + id, NOTHING);
                let new = node(cx, id, NOTHING);
                new.set(cx, |node| &node.next, Some(first));
                new.edit_ephemerons(cx, |node| &node.table).insert(first, first);
                first = new;
            }
            first.root(cx)
        });
        let last: Weak<Node<'static>> = heap.enter(|cx| {
            let chain = std::iter::successors(Some(first.get(cx)), |node| node.next.get());
            chain.last().unwrap().downgrade(cx)
        });
        heap.cleanup(&first, (), |_, ()| ()).unwrap();
        heap.begin_major();
        (0..steps).for_each(|_| _ = heap.step(StepBudget::units(1)));
        assert_eq!(heap.verify().unwrap().objects, NODES as usize);
        assert!(heap.check_registrations().is_empty());
        assert!(heap.retaining_path(last).is_some());
        let mut snapshot = Vec::new();
        heap.snapshot(&mut snapshot).unwrap();
        assert_eq!(heap.stats().roots, 1);
        let phase = heap.phase();
        finish(&mut heap);
        let mut again = Vec::new();
        heap.snapshot(&mut again).unwrap();
        assert_eq!(snapshot.len(), again.len(), "after {steps} steps");
        if phase == Phase::Idle {
            break;
        }
        steps += 1;
    }
    assert!(steps > 20);
}

/// Fills a part of the heap with garbage of a size that has a `Drop`, or says that there is no memory.
fn dropped_garbage<const SIZE: usize>(heap: &mut Heap, bytes: usize, dropped: &Rc<Cell<usize>>) -> bool {
    let object = |cx: &Mutator<'_>| cx.try_alloc((Opaque(Counted(Rc::clone(dropped))), [0_u8; SIZE])).is_ok();
    heap.enter(|cx| (0..bytes / (SIZE + 8)).all(|_| object(cx)))
}

#[test]
fn memory_of_types_with_a_drop_is_there_for_others_at_any_time() {
    for increments in [true, false] {
        for ends in [true, false] {
            let mut heap = Heap::with_config(quiet().heap_limit(Some(8 * MIB)));
            let dropped = Rc::new(Cell::new(0));
            assert!(dropped_garbage::<40>(&mut heap, 3 * MIB, &dropped));
            assert!(dropped_garbage::<56>(&mut heap, 4 * MIB, &dropped));
            up_to_the_pause(&mut heap);
            if ends {
                finish(&mut heap);
            }
            assert!(dropped_garbage::<72>(&mut heap, 6 * MIB, &dropped), "nothing is alive: {increments}, {ends}");
            heap.collect();
            assert_eq!((dropped.get(), heap.stats().live_objects), (3 * MIB / 48 + 4 * MIB / 64 + 6 * MIB / 80, 0));

            // And in a heap that collects by itself.
            let config = Config::default().heap_limit(Some(32 * MIB)).min_heap(MIB);
            let mut heap = Heap::with_config(if increments { config.increment_step(Some(0)) } else { config });
            let types = [dropped_garbage::<8>, dropped_garbage::<40>, dropped_garbage::<88>, dropped_garbage::<152>];
            for (round, garbage) in types.into_iter().cycle().take(20).enumerate() {
                for _ in 0..3 {
                    assert!(garbage(&mut heap, 6 * MIB, &dropped), "round {round}, in increments: {increments}");
                }
            }
        }
    }
}
