//! Objects and tables that have survived collections, while young ones come and go: what was found alive once and is still
//! reachable is never cleared, and what an old table holds weakly dies like anything else.
//!
//! The collections are those that allocation brings about, since they are the ones that may do less than everything.

use lacuna::{Config, Ephemerons, Gc, GcCell, GcRefCell, Heap, Root, Trace, Weak};

#[derive(Trace)]
struct Node<'gc> {
    id: u32,
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

type Table<'gc> = Ephemerons<Gc<'gc, Node<'gc>>, Gc<'gc, Node<'gc>>>;

fn node<'gc>(cx: &lacuna::Mutator<'gc>, id: u32) -> Gc<'gc, Node<'gc>> {
    cx.alloc(Node { id, next: GcCell::new(None) })
}

fn heaps() -> impl Iterator<Item = Heap> {
    [false, true].into_iter().map(|zeal| Heap::with_config(Config::default().min_heap(1 << 20).zeal(zeal)))
}

/// Makes garbage until the heap has collected by itself `times` times.
fn collected(heap: &mut Heap, times: u64) {
    let end = heap.stats().collections + times;
    while heap.stats().collections < end {
        heap.enter(|cx| {
            cx.alloc_slice_with(1000, |_| 0_u64);
        });
    }
}

#[test]
fn trap_12_nothing_that_is_old_and_reachable_is_cleared_or_queued() {
    for mut heap in heaps() {
        let table: Root<Table<'static>> = heap.enter(|cx| cx.alloc(Table::new()).root(cx));
        let keys: Vec<Root<Node<'static>>> = heap.enter(|cx| (0..100).map(|id| node(cx, id).root(cx)).collect());
        let mut held = Vec::new();
        for key in &keys {
            heap.guard(key, 0).unwrap();
            heap.cleanup(key, (), |_, ()| unreachable!("its object is alive")).unwrap();
            let weak = heap.downgrade(key);
            heap.notify(weak, (), |_, _, ()| unreachable!("its object is alive")).unwrap();
            let value = heap.enter(|cx| {
                let value = node(cx, 1000 + key.get(cx).id);
                table.get(cx).edit(cx).insert(key.get(cx), value);
                value.downgrade(cx)
            });
            held.push((weak, heap.downgrade_long(key), value));
        }
        collected(&mut heap, 10);
        for (index, &(weak, long, value)) in held.iter().enumerate() {
            assert!(!heap.is_dead(weak) && !heap.is_dead_long(long) && !heap.is_dead(value), "object {index}");
        }
        let stats = heap.stats();
        assert_eq!((stats.queued_guardians, stats.callbacks_queued, stats.armed), (0, 0, 300));
        heap.enter(|cx| {
            for (id, key) in (1000..).zip(&keys) {
                assert_eq!(table.get(cx).get(key.get(cx)).unwrap().id, id);
            }
        });
        heap.verify().unwrap();
        // Nor does the end of the heap run what was not asked to.
        heap.shutdown(lacuna::ShutdownOptions::default()).unwrap();
    }
}

#[derive(Trace)]
struct Listing {
    members: GcRefCell<Vec<Weak<Node<'static>>>>,
}

#[test]
fn trap_13_what_is_put_into_an_old_weak_table_dies_in_the_next_collection() {
    for mut heap in heaps() {
        let (listing, table) = heap.enter(|cx| {
            let listing = cx.alloc(Listing { members: GcRefCell::default() });
            (listing.root(cx), cx.alloc(Table::new()).root(cx))
        });
        let kept = heap.enter(|cx| node(cx, 0).root(cx));
        collected(&mut heap, 3); // the tables are old
        for round in 1..20 {
            heap.enter(|cx| {
                let (listing, table) = (listing.get(cx), table.get(cx));
                let young = node(cx, round);
                let mut members = listing.borrow_mut(cx, |listing| &listing.members);
                members.clear();
                members.extend([young.downgrade(cx), kept.get(cx).downgrade(cx)]);
                table.edit(cx).insert(young, kept.get(cx)); // a young key, an old value
                table.edit(cx).insert(kept.get(cx), young); // an old key, a young value
                table.edit(cx).insert(kept.get(cx), kept.get(cx)); // which is replaced at once
            });
            collected(&mut heap, 1);
            heap.enter(|cx| {
                let (listing, table) = (listing.get(cx), table.get(cx));
                let alive: Vec<bool> =
                    listing.members.borrow().iter().map(|&member| cx.upgrade(member).is_some()).collect();
                assert_eq!(alive, [false, true], "round {round}");
                assert_eq!(table.live_count(), 1);
                assert_eq!(table.get(kept.get(cx)).unwrap().id, 0);
            });
        }
    }
}

#[test]
fn trap_14_clearing_and_overwriting_keep_nothing_alive() {
    for mut heap in heaps() {
        let old = heap.enter(|cx| cx.alloc(GcCell::new(Weak::<Node<'static>>::null())).root(cx));
        let owner = heap.enter(|cx| node(cx, 0).root(cx));
        collected(&mut heap, 3);
        for id in 1..20 {
            // Written over in an old object: a strong edge and a weak reference. Their targets die in the next collection.
            let [edge, weak] = heap.enter(|cx| {
                let [edge, weak] = [node(cx, id), node(cx, id)];
                owner.get(cx).set(cx, |node| &node.next, Some(edge));
                owner.get(cx).set(cx, |node| &node.next, None);
                old.get(cx).set(cx, |cell| cell, weak.downgrade(cx));
                [edge.downgrade(cx), weak.downgrade(cx)]
            });
            collected(&mut heap, 1);
            assert!(heap.is_dead(edge) && heap.is_dead(weak), "round {id}");
            assert!(heap.with(&old, |cell| cell.get()) == weak, "the collector wrote into no object");
        }
    }
}
