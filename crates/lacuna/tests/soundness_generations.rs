//! Attacks on minor collections: safe programs that try to have one lose an object, keep a dead one, or run something twice.
//!
//! docs/design/soundness.md says why each of them fails.
#![deny(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lacuna::{AutoDrain, Budget, Config, Gc, GcCell, Heap, Mutator, Opaque, Root, Trace, Weak};

mod programs;

use programs::play;

const MIB: usize = 1 << 20;

/// Allocates garbage of a type in one scope, or says that there is no memory.
fn garbage<const SIZE: usize>(heap: &mut Heap, bytes: usize) -> bool {
    heap.enter(|cx| (0..bytes / SIZE).all(|_| cx.try_alloc([0_u8; SIZE]).is_ok()))
}

#[test]
fn memory_of_one_type_is_there_for_another_after_minor_collections() {
    let mut heap = Heap::with_config(Config::default().heap_limit(Some(64 * MIB)));
    let types: [fn(&mut Heap, usize) -> bool; 6] =
        [garbage::<16>, garbage::<48>, garbage::<96>, garbage::<160>, garbage::<200>, garbage::<240>];
    for garbage in types.into_iter().cycle().take(18) {
        for _ in 0..3 {
            assert!(garbage(&mut heap, 15 * MIB), "nothing is alive: {:?}", heap.stats());
        }
    }
    assert!(heap.stats().minor_collections > 0);
}

#[test]
fn memory_does_not_grow_with_the_number_of_types() {
    macro_rules! types {
        ($($size:literal)*) => { [$(garbage::<{ $size * 8 }> as fn(&mut Heap, usize) -> bool),*] };
    }
    let mut heap = Heap::new();
    let types = types!(2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20);
    for garbage in types {
        assert!(garbage(&mut heap, 24 * MIB));
        let used = heap.stats().used_bytes;
        assert!(used < 96 * MIB, "{} MiB are used and nothing is alive", used / MIB);
    }
    assert!(heap.stats().minor_collections > 0);
}

#[test]
fn a_scope_that_found_no_memory_is_followed_by_a_collection() {
    let mut heap = Heap::with_config(Config::default().heap_limit(Some(8 * MIB)));
    let large = |heap: &mut Heap, bytes: usize| {
        heap.enter(|cx| Some(cx.try_alloc_slice((0..bytes).map(|_| 0_u8)).ok()?.root(cx)))
    };
    let old = large(&mut heap, 5 * MIB);
    heap.collect();
    drop(old);
    // Too little is allocated for a collection to be due, however often it is tried.
    assert!(large(&mut heap, 4 * MIB).is_none());
    assert!(large(&mut heap, 4 * MIB).is_some(), "nothing else is alive");
}

#[test]
fn random_programs_find_everything_as_they_left_it() {
    let steps = if cfg!(miri) { 10 } else { 400 };
    let configs = [
        Config::default().collect_automatically(false),
        Config::default().minor_step(Some(usize::MAX)),
        Config::default().minor_step(Some(64 << 10)).min_heap(256 << 10),
        Config::default().minor_step(Some(4 << 10)).min_heap(128 << 10).growth_factor(1.2),
        Config::default().zeal(true).minor_step(Some(16 << 10)).min_heap(512 << 10),
    ];
    for (seed, config) in (1..).zip(configs.into_iter().cycle().take(10)) {
        let (minor, major) = play(seed, steps, config, |heap, random| match random.below(12) {
            0..4 => heap.collect_minor(),
            4 => heap.collect(),
            _ => {}
        });
        assert!(minor > 0 && major > 0, "{minor} minor and {major} major collections");
    }
}

#[derive(Trace)]
struct Node<'gc> {
    id: u64,
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn node<'gc>(cx: &Mutator<'gc>, id: u64) -> Gc<'gc, Node<'gc>> {
    cx.alloc(Node { id, next: GcCell::new(None) })
}

type Nodes = Root<[Gc<'static, Node<'static>>]>;

/// Objects that a collection has seen.
fn old_nodes(heap: &mut Heap, count: usize) -> Nodes {
    let nodes: Nodes = heap.enter(|cx| cx.alloc_slice((0..count).map(|id| node(cx, id as u64))).root(cx));
    heap.collect();
    nodes
}

#[test]
fn writes_while_minor_collections_are_left_out_are_seen_when_they_are_not() {
    // All new objects survive, so that minor collections do not pay, are left out, and are tried again.
    let mut heap = Heap::with_config(Config::default().minor_step(Some(16 << 10)).min_heap(256 << 10));
    let old = old_nodes(&mut heap, 2000);
    let (mut minor, mut major, mut changes) = (0, 0, 0);
    let mut lasting = Vec::new();
    for round in 0..4000_u64 {
        heap.enter(|cx| {
            let old = cx.get(&old);
            for i in 0..20 {
                let owner = old[(round * 20 + i) as usize % 2000];
                owner.set(cx, |owner| &owner.next, Some(node(cx, round)));
            }
            if round % 200 < 100 {
                lasting.extend((0..50).map(|id| node(cx, id).root(cx)));
            }
        });
        if round % 200 == 199 {
            lasting.clear();
        }
        let stats = heap.stats();
        let before = (minor, major);
        (minor, major) = (stats.minor_collections, stats.collections - stats.minor_collections);
        changes += u32::from(minor == before.0 && major != before.1);
        heap.enter(|cx| {
            for (i, owner) in cx.get(&old).iter().enumerate() {
                let written = (0..=round).rev().find(|round| (i as u64 + 2000 - round * 20 % 2000) % 2000 < 20);
                assert_eq!(owner.next.get().map(|next| next.id), written);
            }
        });
    }
    assert!(minor > 10 && changes > 10, "{minor} minor and {major} major collections");
}

#[test]
fn callbacks_and_guardians_of_new_objects_run_once_with_minor_collections_inside_them() {
    type Log = Rc<RefCell<Vec<u64>>>;
    let log = Log::default();
    let mut heap = Heap::with_config(Config::default().collect_automatically(false).auto_drain(AutoDrain::Off));
    let old = old_nodes(&mut heap, 10);
    for id in 0..100_u64 {
        let root: Root<Node<'static>> = heap.enter(|cx| node(cx, id).root(cx));
        let log = Rc::clone(&log);
        heap.cleanup_with(&root, old.clone(), move |heap, old| {
            log.borrow_mut().push(id);
            // A new object in an old one, while others die.
            heap.enter(|cx| {
                cx.get(&old)[3].set(cx, |old| &old.next, Some(node(cx, 1000 + id)));
                cx.cleanup(node(cx, 0), (), |_, ()| ()).unwrap();
            });
            heap.collect_minor();
            assert_eq!(heap.enter(|cx| cx.get(&old)[3].next.get().unwrap().id), 1000 + id);
        })
        .unwrap();
        heap.guard(&root, id).unwrap();
    }
    heap.collect_minor();
    assert_eq!(heap.drain(Budget::unlimited()).unwrap().ran, 0, "guardians have them");
    let mut again = 0;
    while let Some(guarded) = heap.next_guarded() {
        let root = guarded.object.downcast::<Node<'static>>().unwrap();
        assert_eq!(heap.with(&root, |node| node.id), guarded.tag);
        if guarded.tag % 2 == 0 && again < 100 {
            // It is old now, and comes back when everything is collected, once.
            heap.guard(&root, guarded.tag).unwrap();
            again += 1;
        }
        drop(root);
        heap.collect_minor();
        heap.verify().unwrap();
    }
    assert_eq!(again, 50);
    assert!(log.borrow().is_empty(), "old objects count as alive");
    heap.collect();
    assert_eq!(heap.stats().queued_guardians, 50);
    heap.drain(Budget::unlimited()).unwrap();
    assert_eq!(log.borrow().len(), 50);
    while heap.next_guarded().is_some() {}
    heap.collect();
    heap.drain(Budget::unlimited()).unwrap();
    let mut ran = log.borrow().clone();
    ran.sort_unstable();
    assert!(ran.into_iter().eq(0..100));
}

scoped_tls_hkt::scoped_thread_local!(static IN_SCOPE: for<'a> &'a (dyn Fn() + 'a));

/// Runs what the scope that sweeps it has left there.
struct Reaching;

impl Drop for Reaching {
    fn drop(&mut self) {
        if IN_SCOPE.is_set() {
            IN_SCOPE.with(|act| act());
        }
    }
}

#[test]
fn a_drop_in_the_sweep_after_a_minor_collection_may_write_to_old_objects() {
    let mut heap = Heap::with_config(Config::default().minor_step(Some(usize::MAX)));
    let old = old_nodes(&mut heap, 100);
    let written = Cell::new(0);
    for _ in 0..20 {
        heap.enter(|cx| (0..3000).for_each(|_| _ = cx.alloc(Opaque(Reaching))));
        heap.collect_minor();
        heap.enter(|cx| {
            let old = cx.get(&old);
            let write = || {
                let id = written.get();
                // The objects are of a type whose blocks are swept as well.
                let new = node(cx, id);
                old[id as usize % 100].set(cx, |old| &old.next, Some(new));
                IN_SCOPE.set(&|| (), || cx.alloc(Opaque(Reaching)));
                written.set(id + 1);
            };
            IN_SCOPE.set(&write, || (0..3000).for_each(|_| _ = cx.alloc(Opaque(Reaching))));
        });
        heap.collect_minor();
        heap.verify().unwrap();
        let end = written.get();
        heap.enter(|cx| {
            for (i, old) in (0..).zip(cx.get(&old).iter()) {
                let last = (i..end).step_by(100).last();
                assert_eq!(old.next.get().map(|next| next.id), last);
            }
        });
    }
    assert!(written.get() > 1000, "sweeps ran in scopes");
}

#[test]
fn observed_objects_die_with_minor_collections_whatever_their_blocks_become() {
    let mut heap = Heap::with_config(Config::default().collect_automatically(false));
    let mut dead = Vec::new();
    for round in 0..30_u64 {
        let kept = heap.enter(|cx| {
            let mut kept = Vec::new();
            for i in 0..400 {
                // Two types take turns, with a large object now and then.
                let (strong, weak) = match (round % 2, i % 50) {
                    (_, 0) => {
                        let large = cx.alloc_slice_with(3000 + i, |_| 0_u64);
                        dead.push(Dead::Large(large.downgrade(cx)));
                        continue;
                    }
                    (0, _) => {
                        let object = cx.alloc([round; 3]);
                        (None, Dead::Small(object.downgrade(cx)))
                    }
                    _ => {
                        let object = node(cx, round);
                        ((i % 7 == 0).then(|| object.root(cx)), Dead::Node(object.downgrade(cx)))
                    }
                };
                match strong {
                    Some(root) => kept.push((root, weak)),
                    None => dead.push(weak),
                }
            }
            kept
        });
        heap.collect_minor();
        assert!(dead.iter().all(|weak| weak.is_dead(&heap)), "round {round}");
        assert!(kept.iter().all(|(_, weak)| !weak.is_dead(&heap)), "round {round}");
        heap.verify().unwrap();
        dead.extend(kept.into_iter().map(|(_, weak)| weak));
        if round % 5 == 4 {
            heap.collect();
            assert_eq!(heap.stats().weak_slots, 0);
        } else {
            dead.retain(|weak| weak.is_dead(&heap));
        }
    }
}

enum Dead {
    Small(Weak<[u64; 3]>),
    Node(Weak<Node<'static>>),
    Large(Weak<[u64]>),
}

impl Dead {
    fn is_dead(&self, heap: &Heap) -> bool {
        match *self {
            Dead::Small(weak) => heap.is_dead(weak),
            Dead::Node(weak) => heap.is_dead(weak),
            Dead::Large(weak) => heap.is_dead(weak),
        }
    }
}

#[test]
fn a_shut_heap_and_a_heap_in_a_turn_bear_minor_collections() {
    let mut heap = Heap::with_config(Config::default().minor_step(Some(usize::MAX)));
    let old = old_nodes(&mut heap, 10);
    heap.turn(|heap| {
        let weak = heap.enter(|cx| {
            let new = node(cx, 7);
            cx.get(&old)[0].set(cx, |old| &old.next, Some(new));
            cx.get(&old)[0].set(cx, |old| &old.next, None);
            new.downgrade(cx)
        });
        heap.collect_minor();
        assert!(heap.stats().last.minor && !heap.is_dead(weak), "the turn keeps it");
        // A write that is remembered, and no collection before the end.
        heap.enter(|cx| cx.get(&old)[1].set(cx, |old| &old.next, Some(node(cx, 8))));
        heap.shutdown(lacuna::ShutdownOptions::default()).unwrap();
        heap.collect_minor();
        assert!(heap.is_dead(weak));
    });
    heap.collect_minor();
    heap.verify().unwrap();
    drop(heap);
    drop(old);
}
