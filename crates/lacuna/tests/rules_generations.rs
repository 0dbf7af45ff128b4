//! Minor collections: what is old counts as alive, what is new dies, and a write to an old object is remembered.

use std::cell::Cell;
use std::rc::Rc;

use lacuna::{Config, Ephemerons, Gc, GcCell, GcRefCell, Heap, Mutator, Root, Trace, Weak, WithTail};

/// A heap that collects only when it is told to, and is verified after each step.
fn heap() -> Heap {
    Heap::with_config(Config::default().collect_automatically(false))
}

fn minor(heap: &mut Heap) {
    heap.collect_minor();
    assert!(heap.stats().last.minor, "it was a minor collection");
    heap.verify().unwrap();
}

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
    many: GcRefCell<Vec<Gc<'gc, Node<'gc>>>>,
    inner: Inner<'gc>,
    id: u64,
}

#[derive(Trace, Default)]
struct Inner<'gc> {
    deep: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn node<'gc>(id: u64) -> Node<'gc> {
    Node { next: GcCell::new(None), many: GcRefCell::new(Vec::new()), inner: Inner::default(), id }
}

fn old_node(heap: &mut Heap) -> Root<Node<'static>> {
    let root = heap.alloc_with::<Node<'_>>(|_| node(0));
    minor(heap);
    root
}

#[test]
fn new_objects_die_in_a_minor_collection_and_old_ones_in_the_next_major_one() {
    let mut heap = heap();
    let old = heap.alloc(1_u64);
    let old_weak = heap.downgrade(&old);
    heap.collect();
    drop(old);
    let new = heap.alloc(2_u64);
    let new_weak = heap.downgrade(&new);
    drop(new);
    minor(&mut heap);
    assert!(heap.is_dead(new_weak));
    assert!(!heap.is_dead(old_weak), "the old object counts as alive");
    heap.collect();
    assert!(heap.is_dead(old_weak));
    assert!(!heap.stats().last.minor);
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn what_survives_a_minor_collection_is_old() {
    let mut heap = heap();
    let roots: Vec<_> = (0..5000_u64).map(|i| heap.alloc(i)).collect();
    minor(&mut heap);
    assert_eq!(heap.stats().live_objects, 5000);
    let weak: Vec<_> = roots.iter().map(|root| heap.downgrade(root)).collect();
    drop(roots);
    minor(&mut heap);
    assert!(weak.iter().all(|&weak| !heap.is_dead(weak)));
    heap.collect();
    assert!(weak.iter().all(|&weak| heap.is_dead(weak)));
}

#[test]
fn rule_28_a_write_to_an_old_object_keeps_what_it_leads_to_alive_whichever_way_it_is_written() {
    let mut heap = heap();
    type Write = for<'gc> fn(&'gc lacuna::Mutator<'gc>, Gc<'gc, Node<'gc>>, Gc<'gc, Node<'gc>>);
    let writes: [Write; 4] = [
        |cx, old, new| old.set(cx, |old| &old.next, Some(new)),
        |cx, old, new| {
            old.replace(cx, |old| &old.next, Some(new));
        },
        |cx, old, new| old.borrow_mut(cx, |old| &old.many).push(new),
        |cx, old, new| old.set(cx, |old| &old.inner.deep, Some(new)),
    ];
    for write in writes {
        let old = old_node(&mut heap);
        let new = heap.enter(|cx| {
            // What is written leads on to another that nobody else holds.
            let new = cx.alloc(node(1));
            new.set(cx, |new| &new.next, Some(cx.alloc(node(2))));
            write(cx, cx.get(&old), new);
            new.downgrade(cx)
        });
        for _ in 0..3 {
            minor(&mut heap);
            let id = heap.enter(|cx| cx.upgrade(new).unwrap().next.get().unwrap().id);
            assert_eq!(id, 2);
        }
    }
}

#[test]
fn rule_28_elements_of_old_arrays_and_tails_are_written_through_their_owner() {
    let mut heap = heap();
    type Cells<'gc> = [GcCell<Option<Gc<'gc, Node<'gc>>>>];
    type Tail<'gc> = WithTail<u64, GcCell<Option<Gc<'gc, Node<'gc>>>>>;
    // One that is a large object, and one that is not.
    for length in [10, 100_000] {
        let slice: Root<Cells<'static>> =
            heap.enter(|cx| cx.alloc_slice_with(length, |_| GcCell::new(None::<Gc<'_, Node<'_>>>)).root(cx));
        let tail: Root<Tail<'static>> =
            heap.enter(|cx| cx.alloc_tail(1_u64, (0..length).map(|_| GcCell::new(None::<Gc<'_, Node<'_>>>))).root(cx));
        minor(&mut heap);
        let weak: Vec<Weak<Node<'static>>> = heap.enter(|cx| {
            let (a, b) = (cx.alloc(node(1)), cx.alloc(node(2)));
            cx.get(&slice).set(cx, |slice| &slice[length - 1], Some(a));
            cx.get(&tail).set(cx, |tail| &tail.tail[length / 2], Some(b));
            vec![a.downgrade(cx), b.downgrade(cx)]
        });
        minor(&mut heap);
        minor(&mut heap);
        assert!(weak.iter().all(|&weak| !heap.is_dead(weak)));
        heap.enter(|cx| {
            cx.get(&slice).set(cx, |slice| &slice[length - 1], None);
            cx.get(&tail).set(cx, |tail| &tail.tail[length / 2], None);
        });
        minor(&mut heap);
        assert!(weak.iter().all(|&weak| !heap.is_dead(weak)), "they are old by now");
        heap.collect();
        assert!(weak.iter().all(|&weak| heap.is_dead(weak)));
    }
}

#[test]
fn trap_12_a_minor_collection_decides_nothing_over_old_objects() {
    let mut heap = heap();
    let old = heap.alloc(7_u64);
    let (short, long) = (heap.downgrade(&old), heap.downgrade_long(&old));
    let cleaned = Rc::new(Cell::new(0));
    let count = Rc::clone(&cleaned);
    heap.cleanup_with(&old, (), move |_, ()| count.set(count.get() + 1)).unwrap();
    heap.guard(&old, 9).unwrap();
    minor(&mut heap);
    drop(old);
    for _ in 0..3 {
        minor(&mut heap);
        heap.drain(lacuna::Budget::unlimited()).unwrap();
        assert!(!heap.is_dead(short) && !heap.is_dead_long(long));
        assert!(heap.next_guarded().is_none());
    }
    assert_eq!(cleaned.get(), 0);
    heap.collect();
    assert!(heap.is_dead(short) && !heap.is_dead_long(long), "the guardian has it");
    drop(heap.next_guarded().unwrap());
    heap.collect();
    heap.drain(lacuna::Budget::unlimited()).unwrap();
    assert!(heap.is_dead_long(long));
    assert_eq!(cleaned.get(), 1);
}

#[test]
fn rule_27_new_observed_objects_die_in_minor_collections_with_their_callbacks_queued() {
    let mut heap = heap();
    // Old observed objects in the same blocks.
    let old: Vec<_> = (0..100_u64).map(|i| heap.alloc(i)).collect();
    let old_weak: Vec<_> = old.iter().map(|root| heap.downgrade(root)).collect();
    heap.collect();
    let ran = Rc::new(Cell::new(0));
    for round in 1..=3 {
        let weak: Vec<Weak<u64>> = (0..100_u64)
            .map(|i| {
                let new = heap.alloc(i);
                let ran = Rc::clone(&ran);
                heap.cleanup_with(&new, (), move |_, ()| ran.set(ran.get() + 1)).unwrap();
                if i % 10 == 0 {
                    heap.guard(&new, i).unwrap();
                }
                heap.downgrade(&new)
            })
            .collect();
        minor(&mut heap);
        assert!(weak.iter().all(|&weak| heap.is_dead(weak)));
        assert_eq!(heap.stats().last.guardians_queued, 10);
        heap.drain(lacuna::Budget::unlimited()).unwrap();
        assert_eq!(ran.get(), 90 * round + 10 * (round - 1));
        while heap.next_guarded().is_some() {}
        // What a guardian handed out is old, so it dies in a major collection.
        heap.collect();
        heap.drain(lacuna::Budget::unlimited()).unwrap();
        assert_eq!(ran.get(), 100 * round);
    }
    assert!(old_weak.iter().all(|&weak| !heap.is_dead(weak)));
    drop(old);
    heap.collect();
    assert!(old_weak.iter().all(|&weak| heap.is_dead(weak)));
}

/// What a minor collection looked at in tables after `change`, and whether the whole heap is as it should be.
fn examined_after(heap: &mut Heap, change: impl for<'gc> FnOnce(&'gc Mutator<'gc>)) -> usize {
    heap.enter(change);
    minor(heap);
    heap.verify().unwrap();
    heap.stats().last.ephemerons_examined
}

#[test]
fn rule_27_a_minor_collection_looks_at_the_entries_of_an_old_table_that_were_inserted_since() {
    const OLD: u64 = 1000;
    type Table<'gc> = Ephemerons<Gc<'gc, u64>, Gc<'gc, u64>>;
    type Plain<'gc> = Ephemerons<Gc<'gc, u64>, u64>;
    let mut heap = heap();
    let (table, plain, keys) = heap.enter(|cx| {
        let (table, plain) = (cx.alloc(Table::new()), cx.alloc(Plain::new()));
        let keys: Vec<Root<u64>> = (0..OLD)
            .map(|i| {
                let key = cx.alloc(i);
                table.edit(cx).insert(key, cx.alloc(i));
                plain.edit(cx).insert(key, i);
                key.root(cx)
            })
            .collect();
        (table.root(cx), plain.root(cx), keys)
    });
    minor(&mut heap);
    assert_eq!(heap.stats().last.ephemerons_examined, 2 * OLD as usize);
    assert_eq!(examined_after(&mut heap, |_| ()), 0);

    // One entry whose key lives on, which is looked at once, and one whose key dies.
    let mut newest = None;
    let examined = examined_after(&mut heap, |cx| {
        let key = cx.alloc(OLD);
        table.get(cx).edit(cx).insert(key, cx.alloc(OLD));
        table.get(cx).edit(cx).insert(cx.alloc(0), cx.alloc(0));
        newest = Some(key.root(cx));
    });
    assert_eq!(examined, 2);
    assert_eq!(heap.with(&table, |table| table.live_count()), OLD as usize + 1);
    let examined = examined_after(&mut heap, |cx| {
        plain.get(cx).edit(cx).insert(newest.as_ref().unwrap().get(cx), 7);
        plain.get(cx).edit(cx).insert(cx.alloc(0), 0);
    });
    assert_eq!(examined, 2);
    assert_eq!(heap.with(&plain, |plain| plain.live_count()), OLD as usize + 1);

    // A new value of an old entry is found, also when entries have moved.
    let value =
        |heap: &mut Heap, key: u64| heap.enter(|cx| table.get(cx).get(keys[key as usize].get(cx)).map(|value| *value));
    let examined = examined_after(&mut heap, |cx| {
        table.get(cx).edit(cx).insert(keys[990].get(cx), cx.alloc(12345));
    });
    assert!((1..=12).contains(&examined), "{examined}");
    assert_eq!(value(&mut heap, 990), Some(12345));
    let examined = examined_after(&mut heap, |cx| {
        let edit = table.get(cx).edit(cx);
        for key in &keys[..900] {
            edit.remove(key.get(cx));
        }
        edit.prune();
        edit.insert(keys[5].get(cx), cx.alloc(54321));
    });
    assert_eq!(examined, 1);
    assert_eq!((value(&mut heap, 5), value(&mut heap, 990)), (Some(54321), Some(12345)));
    assert_eq!(heap.with(&table, |table| table.live_count()), 102);

    // After it was emptied, everything is new.
    let examined = examined_after(&mut heap, |cx| {
        let edit = table.get(cx).edit(cx);
        edit.clear();
        for key in &keys[..10] {
            edit.insert(key.get(cx), cx.alloc(1));
        }
    });
    assert_eq!(examined, 10);
    assert_eq!(value(&mut heap, 9), Some(1));
    // A major collection looks at all.
    heap.collect();
    assert_eq!(heap.stats().last.ephemerons_examined, 10 + OLD as usize + 1);
}

#[test]
fn trap_13_a_new_key_in_an_old_table_dies_in_a_minor_collection_and_its_entry_with_it() {
    let mut heap = heap();
    type Table<'gc> = Ephemerons<Gc<'gc, u64>, Gc<'gc, str>>;
    let table: Root<Table<'static>> = heap.enter(|cx| cx.alloc(Table::new()).root(cx));
    type Plain<'gc> = Ephemerons<Gc<'gc, u64>, u32>;
    let plain: Root<Plain<'static>> = heap.enter(|cx| cx.alloc(Plain::new()).root(cx));
    heap.collect();
    for round in 0..4 {
        let (kept, lost, value) = heap.enter(|cx| {
            let (kept, lost) = (cx.alloc(1_u64), cx.alloc(2_u64));
            let value = cx.alloc_str("kept with its key");
            cx.get(&table).edit(cx).insert(kept, value);
            cx.get(&table).edit(cx).insert(lost, cx.alloc_str("lost with its key"));
            cx.get(&plain).edit(cx).insert(kept, 1);
            cx.get(&plain).edit(cx).insert(lost, 2);
            (kept.root(cx), lost.downgrade(cx), value.downgrade(cx))
        });
        minor(&mut heap);
        assert!(heap.is_dead(lost) && !heap.is_dead(value));
        heap.enter(|cx| {
            assert_eq!(&*cx.get(&table).get(kept.get(cx)).unwrap(), "kept with its key");
            assert_eq!(cx.get(&plain).get(kept.get(cx)), Some(1));
            assert_eq!(cx.get(&table).live_count(), 1);
            assert_eq!(cx.get(&plain).live_count(), 1);
        });
        // The key is old now: a minor collection leaves it, a major one does not.
        drop(kept);
        minor(&mut heap);
        assert_eq!(heap.enter(|cx| cx.get(&table).live_count()), 1, "round {round}");
        heap.collect();
        assert_eq!(heap.enter(|cx| cx.get(&table).live_count() + cx.get(&plain).live_count()), 0);
        assert!(heap.is_dead(value));
    }
}

#[test]
fn rule_28_a_new_value_for_an_old_key_in_an_old_table_lives() {
    let mut heap = heap();
    type Table<'gc> = Ephemerons<Gc<'gc, u64>, Gc<'gc, str>>;
    let (table, key): (Root<Table<'static>>, _) =
        heap.enter(|cx| (cx.alloc(Table::new()).root(cx), cx.alloc(1_u64).root(cx)));
    heap.collect();
    for text in ["one", "two"] {
        heap.enter(|cx| {
            cx.get(&table).edit(cx).insert(key.get(cx), cx.alloc_str(text));
        });
        minor(&mut heap);
        minor(&mut heap);
        assert_eq!(
            heap.enter(|cx| cx.get(&table).get(key.get(cx)).map(|text| text.to_string())).as_deref(),
            Some(text)
        );
    }
}

struct Counted(Rc<Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn values_that_are_dropped_are_dropped_once_whichever_collection_finds_them() {
    let dropped = Rc::new(Cell::new(0));
    let mut heap = heap();
    let mut made = 0;
    let mut kept = Vec::new();
    for round in 0..20 {
        for i in 0..700 {
            let root = heap.alloc(lacuna::Opaque(Counted(Rc::clone(&dropped))));
            made += 1;
            if (i + round) % 3 == 0 {
                kept.push(root);
            }
        }
        if round % 4 == 3 {
            kept.truncate(kept.len() / 2);
        }
        if round % 7 == 6 {
            heap.collect();
        } else {
            minor(&mut heap);
        }
        heap.verify().unwrap();
    }
    heap.collect();
    assert_eq!(dropped.get() + kept.len(), made);
    drop(kept);
    heap.collect();
    assert_eq!(dropped.get(), made);
}

#[test]
fn large_objects_come_and_go_with_minor_collections() {
    let mut heap = heap();
    let old = heap.enter(|cx| cx.alloc_slice(vec![1_u64; 10_000]).root(cx));
    let old_weak = heap.downgrade(&old);
    minor(&mut heap);
    let used = heap.stats().used_bytes;
    for _ in 0..10 {
        let (kept, weak) = heap.enter(|cx| {
            let lost = cx.alloc_slice(vec![2_u64; 50_000]);
            let kept = cx.alloc_slice(vec![3_u64; 20_000]);
            (kept.root(cx), (lost.downgrade(cx), kept.downgrade(cx)))
        });
        minor(&mut heap);
        assert!(heap.is_dead(weak.0) && !heap.is_dead(weak.1) && !heap.is_dead(old_weak));
        assert_eq!(heap.get(&kept)[19_999], 3);
        drop(kept);
        heap.collect();
        assert_eq!(heap.stats().used_bytes, used);
    }
}

#[test]
fn a_new_root_of_a_new_object_is_seen_wherever_its_slot_lies() {
    let mut heap = heap();
    // Many pages of roots, with holes that the table fills later.
    let mut roots: Vec<Option<Root<u64>>> = (0..20_000).map(|i| Some(heap.alloc(i))).collect();
    heap.collect();
    for round in 0..5_u64 {
        for i in (round as usize..roots.len()).step_by(3) {
            roots[i] = None;
        }
        for i in (0..roots.len()).rev() {
            if roots[i].is_none() {
                roots[i] = Some(heap.alloc(i as u64));
            }
            if i % 4999 == 0 {
                minor(&mut heap);
            }
        }
    }
    assert!(roots.iter().enumerate().all(|(i, root)| *heap.get(root.as_ref().unwrap()) == i as u64));
}

#[test]
fn a_mutator_that_writes_everything_between_minor_collections_makes_progress() {
    let mut heap = heap();
    let all: Root<[Gc<'static, Node<'static>>]> =
        heap.enter(|cx| cx.alloc_slice_with(1000, |i| cx.alloc(node(i as u64))).root(cx));
    for round in 0..200_u64 {
        heap.enter(|cx| {
            for (i, old) in cx.get(&all).iter().enumerate() {
                old.set(cx, |old| &old.next, Some(cx.alloc(node(round * 1000 + i as u64))));
            }
        });
        minor(&mut heap);
        // Each has another successor, and those before are old by now.
        assert_eq!(heap.stats().live_objects as u64, 1001 + 1000 * (round % 50 + 1));
        if round % 50 == 49 {
            heap.collect();
            heap.enter(|cx| cx.get(&all).iter().for_each(|old| old.set(cx, |old| &old.next, None)));
            heap.collect();
            assert_eq!(heap.stats().live_objects, 1001);
        }
    }
}

#[test]
fn without_a_step_everything_is_collected() {
    let mut heap = Heap::with_config(Config::default().minor_step(None));
    let old = heap.alloc(1_u64);
    let weak = heap.downgrade(&old);
    heap.collect();
    drop(old);
    heap.collect_minor();
    assert!(!heap.stats().last.minor && heap.is_dead(weak));
    assert_eq!(heap.stats().minor_collections, 0);
}

#[test]
fn minor_collections_run_by_themselves_where_they_pay_and_are_left_out_where_not() {
    // Live data that major collections have to mark, and new objects of which none or all survive.
    for survive in [false, true] {
        let mut heap = Heap::with_config(Config::default().minor_step(Some(64 << 10)).min_heap(4 << 20));
        let _live: Root<[Gc<'static, Node<'static>>]> =
            heap.enter(|cx| cx.alloc_slice_with(20_000, |i| cx.alloc(node(i as u64))).root(cx));
        heap.collect();
        let mut kept = Vec::new();
        for _ in 0..20_000 {
            let new = heap.alloc([1_u64; 32]);
            if survive {
                kept.push(new);
            }
        }
        let stats = heap.stats();
        let majors = stats.collections - stats.minor_collections;
        if survive {
            assert!(stats.minor_collections <= 5 * majors, "{} minor, {majors} major", stats.minor_collections);
        } else {
            assert_eq!(majors, 1, "only the explicit one");
            assert!(stats.minor_collections >= 40, "{}", stats.minor_collections);
        }
        assert!(kept.iter().all(|root| heap.get(root)[31] == 1));
    }
}

#[test]
fn minor_collections_are_left_out_where_what_is_written_owns_much() {
    #[derive(Trace)]
    struct Registry<'gc> {
        items: GcRefCell<Vec<Gc<'gc, u64>>>,
        table: Ephemerons<Gc<'gc, u64>, Gc<'gc, u64>>,
    }
    // A vector, or a table, that every minor collection would have to go through because of one write.
    for table in [false, true] {
        let mut heap = Heap::with_config(Config::default().minor_step(Some(64 << 10)).min_heap(4 << 20));
        let registry: Root<Registry<'static>> =
            heap.enter(|cx| cx.alloc(Registry { items: GcRefCell::default(), table: Ephemerons::new() }).root(cx));
        let _keys: Root<[Gc<'static, u64>]> = heap.enter(|cx| {
            let keys = cx.alloc_slice_with(50_000, |i| cx.alloc(i as u64));
            if table {
                let table = registry.get(cx).edit_ephemerons(cx, |registry| &registry.table);
                keys.iter().for_each(|&key| _ = table.insert(key, key));
            } else {
                registry.get(cx).borrow_mut(cx, |registry| &registry.items).extend(keys.iter());
            }
            keys.root(cx)
        });
        heap.collect();
        for _ in 0..20_000 {
            heap.enter(|cx| {
                let new = cx.alloc(1_u64);
                if table {
                    registry.get(cx).edit_ephemerons(cx, |registry| &registry.table).insert(new, new);
                } else {
                    registry.get(cx).borrow_mut(cx, |registry| &registry.items)[0] = new;
                }
                cx.alloc([0_u8; 400]);
            });
        }
        let stats = heap.stats();
        assert!(stats.minor_collections < 30, "{} of {} collections", stats.minor_collections, stats.collections);
    }
}

/// Rule 28, for objects that lie beside the one that is written, of all sizes of cells: their marks go with its.
#[test]
fn rule_28_neighbours_of_a_written_object_live_and_are_written_as_well() {
    fn check<const WORDS: usize>() {
        #[derive(Trace)]
        struct Wide<'gc, const WORDS: usize> {
            edge: GcCell<Option<Gc<'gc, u64>>>,
            _rest: [u64; WORDS],
        }
        const OBJECTS: usize = 300;
        let mut heap = heap();
        let all: Root<[Gc<'static, Wide<'static, WORDS>>]> = heap.enter(|cx| {
            let all = (0..OBJECTS).map(|_| cx.alloc(Wide { edge: GcCell::new(None), _rest: [0; WORDS] }));
            let all: Vec<_> = all.collect();
            cx.alloc_slice(all).root(cx)
        });
        heap.collect();
        let mut expected = [None; OBJECTS];
        for round in 0..6_usize {
            heap.enter(|cx| {
                // Far from each other, beside each other, and some twice.
                for i in (0..OBJECTS).step_by([97, 1, 13, 3, 2, 1][round]).chain([5, 6, 5]) {
                    let number = (round * 1000 + i) as u64;
                    all.get(cx)[i].set(cx, |object| &object.edge, Some(cx.alloc(number)));
                    expected[i] = Some(number);
                }
            });
            heap.verify().unwrap();
            minor(&mut heap);
            heap.enter(|cx| {
                let all = all.get(cx);
                let seen = all.iter().map(|object| object.edge.get().map(|edge| *edge));
                assert!(seen.eq(expected), "cells of {} bytes, round {round}", size_of::<Wide<'static, WORDS>>());
            });
        }
        let live = heap.verify().unwrap().objects;
        heap.collect();
        assert_eq!(heap.stats().live_objects, expected.iter().flatten().count() + OBJECTS + 1);
        assert!(live >= heap.stats().live_objects);
    }
    check::<1>();
    check::<2>();
    check::<3>();
    check::<4>();
    check::<5>();
    check::<9>();
    check::<30>();
    check::<31>();
    check::<40>();
}

/// To look into neighbours is cheap only where their edges lie in their cells.
#[test]
fn the_neighbours_of_a_written_object_are_looked_into_unless_they_may_own_much() {
    #[derive(Trace)]
    struct Owner<'gc>(GcRefCell<Vec<Gc<'gc, u64>>>);
    #[derive(Trace)]
    struct Link<'gc>(GcCell<Option<Gc<'gc, u64>>>);
    let mut heap = heap();
    let (owners, links) = heap.enter(|cx| {
        let owners: Vec<_> = (0..64).map(|_| cx.alloc(Owner(GcRefCell::default()))).collect();
        let links: Vec<_> = (0..64).map(|_| cx.alloc(Link(GcCell::new(None)))).collect();
        (cx.alloc_slice(owners).root(cx), cx.alloc_slice(links).root(cx))
    });
    heap.collect();
    heap.enter(|cx| owners.get(cx)[20].borrow_mut(cx, |owner| &owner.0).push(cx.alloc(1)));
    minor(&mut heap);
    assert_eq!(heap.stats().last.objects_traced, 1);
    heap.enter(|cx| links.get(cx)[20].set(cx, |link| &link.0, Some(cx.alloc(1))));
    minor(&mut heap);
    assert_eq!(heap.stats().last.objects_traced, 256 / 16);
}
