//! Attacks on increments: safe programs that try to have a major collection done in pieces lose an object, keep a dead one,
//! run something twice or never, panic where it should not, or not end.
//!
//! docs/design/soundness.md says why each of them fails.
#![deny(unsafe_code)]

use std::cell::Cell;

use std::rc::Rc;
use std::time::Duration;

use lacuna::{AutoDrain, Config, Gc, GcCell, Heap, Opaque, Phase, Root, StepBudget};

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
    finish(&mut heap);

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
        let all: Root<[Gc<'static, (Opaque<Counted>, [u64; 10])>]> = heap.enter(|cx| {
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
