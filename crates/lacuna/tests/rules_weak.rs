//! The rules of liveness and weak references, one by one: what keeps an object alive, when a weak reference dies, and
//! who may still hold one.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use lacuna::{
    Budget, Config, Gc, GcCell, GcRefCell, Heap, ObserveError, Opaque, RegisterFailure, Root, Trace, Weak, WeakLong,
    WrongHeap,
};

#[derive(Trace)]
struct Node<'gc> {
    id: u32,
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

type NodeRoot = Root<Node<'static>>;

fn node(heap: &mut Heap, id: u32) -> NodeRoot {
    heap.alloc_with::<Node<'_>>(|_| Node { id, next: GcCell::new(None) })
}

fn link(heap: &mut Heap, from: &NodeRoot, to: &NodeRoot) {
    heap.enter(|cx| from.get(cx).set(cx, |node| &node.next, Some(to.get(cx))));
}

fn nothing(_: &mut Heap, (): ()) {}

#[test]
fn rule_01_roots_and_fields_of_live_objects_keep_alive() {
    let mut heap = Heap::new();
    let [a, b, c] = [1, 2, 3].map(|id| node(&mut heap, id));
    link(&mut heap, &a, &b);
    link(&mut heap, &b, &c);
    let weak = [&a, &b, &c].map(|root| heap.downgrade(root));
    drop((b, c));
    heap.collect();
    assert!(weak.iter().all(|&weak| heap.upgrade(weak).is_some()));
    assert_eq!(heap.stats().live_objects, 3);

    heap.enter(|cx| a.get(cx).set(cx, |node| &node.next, None));
    heap.collect();
    assert_eq!(weak.map(|weak| heap.is_dead(weak)), [false, true, true]);
    assert_eq!(heap.stats().live_objects, 1);
}

#[test]
fn rule_01_edges_in_every_part_of_an_object_keep_alive_whichever_parts_have_any() {
    type Leaf<'gc> = Gc<'gc, String>;
    let mut heap = Heap::new();
    let (roots, weak) = heap.enter(|cx| {
        let mut weak = Vec::new();
        let mut leaf = |name: &str| {
            let leaf: Leaf<'_> = cx.alloc(name.into());
            weak.push(leaf.downgrade(cx));
            leaf
        };
        let header_only = cx.alloc_tail(leaf("header, bytes behind"), [1_u8; 300]);
        let tail_only = cx.alloc_tail(1_u8, [leaf("tail, a byte before")]);
        let both = cx.alloc_tail(leaf("header"), [leaf("first of tail"), leaf("last of tail")]);
        let owned = cx.alloc((vec![leaf("in a vector")], Some(Box::new(leaf("in a box"))), [leaf("in an array")]));
        let slice = cx.alloc_slice([Ok::<_, Leaf<'_>>(1), Err(leaf("in an enum"))]);
        let roots = (header_only.root(cx), tail_only.root(cx), both.root(cx), owned.root(cx), slice.root(cx));
        (roots, weak)
    });
    heap.collect();
    for &weak in &weak {
        assert!(heap.upgrade(weak).is_some_and(|leaf| !heap.get(&leaf).is_empty()));
    }
    assert_eq!((weak.len(), heap.stats().live_objects), (9, 14));
    drop(roots);
    heap.collect();
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn rule_01_the_payload_of_an_armed_a_queued_and_a_running_cleanup_keeps_alive() {
    let mut heap = Heap::new();
    let (target, held) = (heap.alloc(1_u8), heap.alloc(String::from("held")));
    let weak = heap.downgrade(&held);
    heap.cleanup(&target, held, |heap, held| {
        heap.collect();
        assert_eq!(heap.get(&held), "held");
    })
    .unwrap();
    heap.collect();
    assert!(!heap.is_dead(weak), "the cleanup is armed");
    drop(target);
    heap.collect();
    heap.collect();
    assert!(!heap.is_dead(weak), "the cleanup is queued");
    let report = heap.drain(Budget::unlimited()).unwrap();
    assert_eq!((report.ran, report.panicked), (1, 0));
    heap.collect();
    assert!(heap.is_dead(weak), "the cleanup has run");
}

#[test]
fn rule_01_a_queued_guardian_keeps_its_object_and_all_it_leads_to_alive() {
    let mut heap = Heap::new();
    let [a, b] = [1, 2].map(|id| node(&mut heap, id));
    link(&mut heap, &a, &b);
    heap.guard(&a, 0).unwrap();
    drop((a, b));
    for _ in 0..3 {
        heap.collect();
        assert_eq!(heap.stats().live_objects, 2);
    }
    drop(heap.next_guarded().unwrap());
    heap.collect();
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn rule_01_nothing_else_keeps_alive() {
    let mut heap = Heap::new();
    let object = heap.alloc(String::from("object"));
    let _weak = heap.downgrade(&object);
    let _long = heap.downgrade_long(&object);
    let _cleanup = heap.cleanup(&object, (), nothing).unwrap();
    let cancelled = heap.guard(&object, 0).unwrap();
    assert!(heap.unguard(cancelled));
    drop(object);
    heap.collect();
    assert_eq!(heap.stats().live_objects, 0);
    assert_eq!(heap.stats().weak_slots, 0);
}

#[test]
fn rule_02_one_collection_frees_everything_unreachable_and_queues_its_callbacks() {
    let mut heap = Heap::new();
    let ring: Vec<_> = (0..100).map(|id| node(&mut heap, id)).collect();
    for id in 0..100 {
        link(&mut heap, &ring[id], &ring[(id + 1) % 100]);
    }
    let weak: Vec<_> = ring.iter().map(|root| heap.downgrade(root)).collect();
    for root in &ring {
        heap.cleanup(root, (), nothing).unwrap();
    }
    drop(ring);
    heap.collect();
    assert_eq!(heap.stats().live_objects, 0);
    assert_eq!(heap.stats().queued_cleanups, 100);
    assert!(weak.iter().all(|&weak| heap.is_dead(weak)));
}

#[test]
fn rule_03_a_root_keeps_its_object_until_the_last_of_its_clones_is_dropped() {
    let mut heap = Heap::new();
    let root = heap.alloc(String::from("kept"));
    let weak = heap.downgrade(&root);
    let clone = root.clone();
    drop(root);
    heap.collect();
    assert_eq!(heap.get(&clone), "kept");
    assert!(Root::ptr_eq(&clone, &heap.upgrade(weak).unwrap()));
    drop(clone);
    heap.collect();
    assert!(heap.is_dead(weak));
}

#[test]
fn rule_04_what_was_upgraded_at_any_point_before_a_collection_survives_it() {
    let mut heap = Heap::new();
    let [a, b] = [1, 2].map(|id| node(&mut heap, id));
    link(&mut heap, &a, &b);
    let weak = heap.downgrade(&b);
    drop(b);
    for _ in 0..10 {
        heap.collect();
        let upgraded = heap.upgrade(weak).unwrap();
        // The only other way to it is cut after the upgrade.
        heap.enter(|cx| a.get(cx).set(cx, |node| &node.next, None));
        heap.collect();
        assert_eq!(heap.with(&upgraded, |node| node.id), 2);
        link(&mut heap, &a, &upgraded);
    }
}

#[test]
fn rule_05_all_weak_references_to_an_object_die_before_any_callback_runs() {
    #[derive(Trace)]
    struct Holder {
        weak: Weak<str>,
    }
    type Seen = (Vec<Weak<str>>, WeakLong<str>, Root<Holder>);
    let mut heap = Heap::new();
    let object = heap.alloc_str("observed");
    let many: Vec<_> = (0..1000).map(|_| heap.downgrade(&object)).collect();
    let long = heap.downgrade_long(&object);
    let weak = heap.downgrade(&object);
    let inside = heap.alloc(Holder { weak });
    let seen: Seen = (many, long, inside);
    heap.cleanup(&object, seen, |heap, (many, long, inside)| {
        assert!(many.iter().all(|&weak| heap.is_dead(weak) && heap.upgrade(weak).is_none()));
        assert!(heap.is_dead_long(long));
        assert!(heap.is_dead(heap.get(&inside).weak));
    })
    .unwrap();
    drop(object);
    heap.collect();
    let report = heap.drain(Budget::unlimited()).unwrap();
    assert_eq!((report.ran, report.panicked), (1, 0));
}

#[test]
fn rule_05_weak_references_to_a_whole_dead_structure_die_together() {
    let mut heap = Heap::new();
    let ring: Vec<_> = (0..50).map(|id| node(&mut heap, id)).collect();
    for id in 0..50 {
        link(&mut heap, &ring[id], &ring[(id + 7) % 50]);
    }
    let weak: Vec<_> = ring.iter().map(|root| heap.downgrade(root)).collect();
    let count = |heap: &Heap| weak.iter().filter(|&&weak| heap.is_dead(weak)).count();
    for root in ring {
        assert_eq!(count(&heap), 0, "the ring is connected, so all of it lives while one root does");
        drop(root);
        heap.collect();
    }
    assert_eq!(count(&heap), 50);
}

#[test]
fn rule_06_looking_at_a_weak_reference_never_extends_a_life() {
    let mut heap = Heap::new();
    let (object, other) = (heap.alloc(1), heap.alloc(1));
    let weak = heap.downgrade(&object);
    let long = heap.downgrade_long(&object);
    assert!(!heap.is_dead(weak) && !heap.is_dead_long(long));
    assert!(heap.refers_to(weak, &object));
    assert!(!heap.refers_to(weak, &other));
    heap.enter(|cx| assert!(!cx.is_dead(weak)));
    drop(object);
    heap.collect();
    assert!(heap.is_dead(weak) && heap.is_dead_long(long));
    assert!(!heap.refers_to(weak, &other));
}

#[test]
fn rule_06_an_upgrade_within_a_scope_is_a_pointer_and_keeps_nothing() {
    let mut heap = Heap::new();
    let object = heap.alloc(41);
    let weak = heap.downgrade(&object);
    let read = heap.enter(|cx| {
        drop(object);
        // Nothing is freed in a scope.
        *cx.upgrade(weak).unwrap() + 1
    });
    assert_eq!(read, 42);
    heap.collect();
    heap.enter(|cx| assert!(cx.upgrade(weak).is_none()));
}

#[test]
fn rule_07_a_resurrected_object_has_dead_short_and_live_long_references() {
    let mut heap = Heap::new();
    let object = heap.alloc(String::from("back"));
    let (short, long) = (heap.downgrade(&object), heap.downgrade_long(&object));
    heap.guard(&object, 0).unwrap();
    drop(object);
    heap.collect();
    assert!(heap.is_dead(short));
    assert!(!heap.is_dead_long(long));

    let back = heap.next_guarded().unwrap().object.downcast::<String>().unwrap();
    assert!(heap.upgrade(short).is_none(), "what died stays dead");
    assert!(Root::ptr_eq(&back, &heap.upgrade_long(long).unwrap()));
    let again = heap.downgrade(&back);
    assert_ne!(short, again);
    assert_eq!(long, heap.downgrade_long(&back));
    assert!(heap.upgrade(again).is_some());
    assert!(heap.upgrade(short).is_none());

    drop(back);
    heap.collect();
    assert!(heap.is_dead(again) && heap.is_dead_long(long));
}

#[test]
fn rule_07_each_resurrection_kills_the_short_references_made_since_the_last() {
    let mut heap = Heap::new();
    let mut object = heap.alloc(String::from("phoenix"));
    let long = heap.downgrade_long(&object);
    let mut dead = Vec::new();
    for _ in 0..20 {
        dead.push(heap.downgrade(&object));
        heap.guard(&object, 0).unwrap();
        drop(object);
        heap.collect();
        object = heap.next_guarded().unwrap().object.downcast().unwrap();
        assert!(dead.iter().all(|&weak| heap.is_dead(weak)));
        assert!(!heap.is_dead_long(long));
    }
    assert_eq!(dead.iter().collect::<HashSet<_>>().len(), 20);
}

fn hash_of(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn rule_09_weak_references_are_equal_by_identity_for_ever() {
    let mut heap = Heap::new();
    let (one, same_value) = (heap.alloc(7), heap.alloc(7));
    let (weak, again, other) = (heap.downgrade(&one), heap.downgrade(&one), heap.downgrade(&same_value));
    assert_eq!(weak, again);
    assert_eq!(hash_of(weak), hash_of(again));
    assert_ne!(weak, other);
    let hash = hash_of(weak);
    let mut names = HashMap::from([(weak, "one"), (other, "other")]);
    drop(one);
    heap.collect();
    assert_eq!(weak, again);
    assert_eq!(hash_of(weak), hash);
    assert_eq!(names.remove(&again), Some("one"));
}

#[test]
fn rule_09_null_equals_null_only() {
    let mut heap = Heap::new();
    let null = Weak::<u8>::null();
    assert_eq!(null, Weak::default());
    assert_eq!(hash_of(null), hash_of(Weak::<u8>::default()));
    assert!(heap.upgrade(null).is_none());
    assert!(heap.is_dead(null));
    let object = heap.alloc(0_u8);
    assert_ne!(null, heap.downgrade(&object));
    assert!(heap.enter(|cx| cx.upgrade(null).is_none()));
    assert!(heap.upgrade_long(WeakLong::<str>::null()).is_none());
}

#[test]
fn rule_09_every_kind_of_object_can_be_observed() {
    trait Named<'gc> {
        fn name(&self) -> &'static str;
    }
    lacuna::trace_dyn!(Named<'gc>);
    impl<'gc> Named<'gc> for u32 {
        fn name(&self) -> &'static str {
            "u32"
        }
    }
    let mut heap = Heap::new();
    let (weak, roots) = heap.enter(|cx| {
        let unit = cx.alloc(());
        let text = cx.alloc_str("text");
        let row = cx.alloc_slice([1, 2, 3]);
        let empty = cx.alloc_slice(<[u8; 0]>::default());
        let large = cx.alloc([1_u8; 100_000]);
        let tail = cx.alloc_tail(1_u8, [2_u16, 3]);
        let named: Gc<'_, dyn Named<'_>> = cx.alloc(5_u32).cast(|number| number as _);
        let weak = (
            unit.downgrade(cx),
            text.downgrade(cx),
            row.downgrade(cx),
            empty.downgrade(cx),
            large.downgrade(cx),
            tail.downgrade(cx),
            named.downgrade(cx),
        );
        let roots =
            (unit.root(cx), text.root(cx), row.root(cx), empty.root(cx), large.root(cx), tail.root(cx), named.root(cx));
        (weak, roots)
    });
    heap.collect();
    heap.enter(|cx| {
        assert_eq!(*cx.upgrade(weak.0).unwrap(), ());
        assert_eq!(*cx.upgrade(weak.1).unwrap(), *"text");
        assert_eq!(*cx.upgrade(weak.2).unwrap(), [1, 2, 3]);
        assert_eq!(cx.upgrade(weak.3).unwrap().len(), 0);
        assert_eq!(cx.upgrade(weak.4).unwrap()[99_999], 1);
        assert_eq!(cx.upgrade(weak.5).unwrap().tail, [2, 3]);
        assert_eq!(cx.upgrade(weak.6).unwrap().name(), "u32");
    });
    drop(roots);
    heap.collect();
    let dead = [
        heap.is_dead(weak.0),
        heap.is_dead(weak.1),
        heap.is_dead(weak.2),
        heap.is_dead(weak.3),
        heap.is_dead(weak.4),
        heap.is_dead(weak.5),
        heap.is_dead(weak.6),
    ];
    assert_eq!(dead, [true; 7]);
    assert_eq!(heap.stats().weak_slots, 0);
}

/// Counts how many of its kind were dropped.
struct Counted(Rc<std::cell::Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn trap_03_an_unswept_dead_object_is_never_upgraded() {
    let dropped = Rc::new(std::cell::Cell::new(0));
    let mut heap = Heap::with_config(Config::default().min_heap(1 << 20));
    let mut objects: Vec<_> = (0..2000).map(|_| heap.alloc(Opaque(Counted(Rc::clone(&dropped))))).collect();
    let weak: Vec<_> = objects.iter().map(|root| heap.downgrade(root)).collect();
    let mut keep = 0;
    objects.retain(|_| {
        keep += 1;
        keep % 3 == 0
    });
    // An automatic collection leaves the dead values to be dropped by later allocations.
    heap.add_external(2 << 20);
    heap.enter(|_| ());
    heap.sub_external(2 << 20);
    assert_eq!(heap.stats().collections, 1);
    assert_eq!(dropped.get(), 0);
    let mut between = HashSet::new();
    for round in 0..1000 {
        for (index, &weak) in weak.iter().enumerate().skip(round % 7).step_by(7) {
            assert_eq!(heap.upgrade(weak).is_some(), index % 3 == 2, "reference {index} in round {round}");
        }
        between.insert(dropped.get());
        drop(heap.alloc(Opaque(Counted(Rc::clone(&dropped)))));
    }
    assert!(between.len() > 2, "the sweep happened in several steps, and upgrades in between");
    heap.collect();
    assert_eq!(heap.stats().live_objects, objects.len());
}

#[test]
fn trap_11_a_reused_slot_never_shows_its_new_object_to_old_references() {
    let mut heap = Heap::new();
    // One object stays observed, so that the table is never given back as a whole.
    let keeper = heap.alloc(0_u64);
    let kept = heap.downgrade(&keeper);
    let mut old: Vec<(Weak<u64>, WeakLong<u64>)> = Vec::new();
    for id in 1..500 {
        let object = heap.alloc(id);
        let (short, long) = (heap.downgrade(&object), heap.downgrade_long(&object));
        assert!(old.iter().all(|&(other, _)| other != short));
        assert!(old.iter().all(|&(_, other)| other != long));
        assert!(old.iter().all(|&(short, long)| heap.is_dead(short) && heap.is_dead_long(long)));
        assert_eq!(*heap.get(&heap.upgrade(short).unwrap()), id);
        old.push((short, long));
        drop(object);
        heap.collect();
    }
    assert_eq!(*heap.get(&heap.upgrade(kept).unwrap()), 0);
    assert!(heap.stats().weak_bytes < 10_000, "slots are reused");
}

#[test]
fn trap_11_old_references_stay_dead_when_the_whole_table_was_given_back() {
    let mut heap = Heap::new();
    let mut old = Vec::new();
    for id in 0..200 {
        let objects: Vec<_> = (0..1 + id % 5).map(|_| heap.alloc(id)).collect();
        let new: Vec<_> = objects.iter().map(|object| heap.downgrade(object)).collect();
        assert!(old.iter().all(|&weak| heap.is_dead(weak) && !new.contains(&weak)));
        old.extend(new);
        drop(objects);
        heap.collect();
    }
    assert_eq!(heap.stats().weak_slots, 0);
}

#[test]
fn trap_23_debug_of_references_touches_no_object() {
    struct Hostile;
    impl fmt::Debug for Hostile {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("an object was formatted")
        }
    }
    let mut heap = Heap::new();
    let object = heap.alloc(Opaque(Hostile));
    let (weak, long) = (heap.downgrade(&object), heap.downgrade_long(&object));
    let alive = format!("{weak:?} {long:?} {object:?}");
    heap.enter(|cx| format!("{:?}", object.get(cx)));
    drop(object);
    heap.collect();
    assert!(alive.starts_with(&format!("{weak:?} {long:?}")), "the text of a reference does not depend on its object");
    assert_eq!(format!("{:?}", Weak::<u8>::null()), "Weak(null)");
}

#[test]
fn trap_25_a_root_within_an_object_is_strong_and_goes_with_the_object() {
    let mut heap = Heap::new();
    let inner = heap.alloc(String::from("inner"));
    let weak = heap.downgrade(&inner);
    let outer = heap.alloc(Some(inner));
    heap.collect();
    assert!(!heap.is_dead(weak));
    drop(outer);
    heap.collect(); // drops the outer object, and the root in it
    heap.collect();
    assert!(heap.is_dead(weak));
}

#[test]
fn trap_25_a_cycle_through_a_root_lives_until_it_is_cut_or_the_heap_ends() {
    #[derive(Trace)]
    struct Cyclic {
        own: GcRefCell<Option<Root<Cyclic>>>,
        _counted: Opaque<Counted>,
    }
    let dropped = Rc::new(std::cell::Cell::new(0));
    let mut heap = Heap::new();
    let mut weak = Vec::new();
    for _ in 0..2 {
        let object = heap.alloc(Cyclic { own: GcRefCell::default(), _counted: Opaque(Counted(Rc::clone(&dropped))) });
        weak.push(heap.downgrade(&object));
        heap.enter(|cx| *object.get(cx).borrow_mut(cx, |object| &object.own) = Some(object.clone()));
    }
    heap.collect();
    assert!(!heap.is_dead(weak[0]) && !heap.is_dead(weak[1]), "a root is a root, wherever it is kept");
    let cut = heap.upgrade(weak[0]).unwrap();
    heap.enter(|cx| drop(cut.get(cx).borrow_mut(cx, |object| &object.own).take()));
    drop(cut);
    heap.collect();
    assert_eq!(weak.iter().map(|&weak| heap.is_dead(weak)).collect::<Vec<_>>(), [true, false]);
    assert_eq!(dropped.get(), 1);
    drop(heap);
    assert_eq!(dropped.get(), 2);
}

#[test]
fn trap_25_a_payload_with_a_root_of_its_target_is_refused_however_deep_it_lies() {
    let mut heap = Heap::new();
    let object = heap.alloc(1_u32);
    let payload = vec![None, Some((1, Box::new([object.clone(), object.clone()])))];
    let error = heap.cleanup(&object, payload, |_, _| ()).unwrap_err();
    assert_eq!(error.reason(), RegisterFailure::SelfRetention);
    assert_eq!(error.into_payload().len(), 2);
}

#[test]
fn a_cache_of_weak_references_forgets_what_nobody_holds() {
    let mut heap = Heap::new();
    let mut cache: HashMap<u32, Weak<String>> = HashMap::new();
    let mut made = 0;
    let mut get = |heap: &mut Heap, key: u32| {
        if let Some(page) = cache.get(&key).and_then(|&weak| heap.upgrade(weak)) {
            return page;
        }
        made += 1;
        let page = heap.alloc(format!("page {key}"));
        cache.insert(key, heap.downgrade(&page));
        page
    };
    let first = get(&mut heap, 1);
    assert!(Root::ptr_eq(&first, &get(&mut heap, 1)));
    drop(get(&mut heap, 2));
    heap.collect();
    let second = get(&mut heap, 2);
    assert_eq!(heap.get(&second), "page 2");
    assert!(Root::ptr_eq(&first, &get(&mut heap, 1)));
    assert_eq!(made, 3);
}

#[test]
fn children_lead_to_their_parent_without_holding_it() {
    #[derive(Trace)]
    struct Tree<'gc> {
        children: GcRefCell<Vec<Gc<'gc, Tree<'gc>>>>,
        parent: GcCell<Weak<Tree<'static>>>,
    }
    fn tree<'gc>() -> Tree<'gc> {
        Tree { children: GcRefCell::default(), parent: GcCell::default() }
    }
    let mut heap = Heap::new();
    let (parent, child) = heap.enter(|cx| {
        let (parent, child) = (cx.alloc(tree()), cx.alloc(tree()));
        parent.borrow_mut(cx, |tree| &tree.children).push(child);
        child.set(cx, |tree| &tree.parent, parent.downgrade(cx));
        (parent.root(cx), child.root(cx))
    });
    heap.collect();
    let up = heap.with(&child, |child| child.parent.get());
    assert!(Root::ptr_eq(&heap.upgrade(up).unwrap(), &parent));
    drop(parent);
    heap.collect();
    assert!(heap.upgrade(up).is_none());
    assert_eq!(heap.stats().live_objects, 1);
}

#[test]
fn a_weak_table_filled_and_emptied_at_random_never_disagrees() {
    let mut heap = Heap::with_config(Config::default().min_heap(60_000));
    let mut random = 0x9E37_79B9_u32;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random as usize
    };
    let mut strong: Vec<Option<Root<[usize; 4]>>> = (0..200).map(|_| None).collect();
    let mut weak = vec![(Weak::null(), WeakLong::null(), 0); 200];
    for step in 0..20_000 {
        let slot = next() % 200;
        match next() % 4 {
            0 | 1 => {
                let object = heap.alloc([step; 4]);
                weak[slot] = (heap.downgrade(&object), heap.downgrade_long(&object), step);
                strong[slot] = Some(object);
            }
            2 => strong[slot] = None,
            _ => {
                let (short, long, value) = weak[slot];
                let (one, other) = (heap.upgrade(short), heap.upgrade_long(long));
                assert_eq!(one.is_some(), other.is_some(), "without guardians both kinds agree");
                assert!(strong[slot].is_none() || one.is_some(), "what is held lives");
                assert!(one.is_none_or(|object| *heap.get(&object) == [value; 4]));
            }
        }
    }
    assert!(heap.stats().collections > 2);
    heap.collect();
    for (strong, &(short, long, _)) in strong.iter().zip(&weak) {
        assert_eq!([heap.is_dead(short), heap.is_dead_long(long)], [strong.is_none(); 2]);
    }
}

#[test]
fn rule_20_a_weak_reference_outlives_its_heap_and_reads_dead_there_and_is_an_error_elsewhere() {
    let (mut heap, mut other) = (Heap::new(), Heap::new());
    let object = heap.alloc(String::from("object"));
    let (weak, long) = (heap.try_downgrade(&object).unwrap(), heap.try_downgrade_long(&object).unwrap());
    assert_eq!(other.try_downgrade(&object).unwrap_err(), ObserveError::WrongHeap(WrongHeap));
    assert_eq!(other.try_downgrade_long(&object).unwrap_err(), ObserveError::WrongHeap(WrongHeap));
    assert_eq!(heap.try_get(&object).unwrap(), "object");
    assert_eq!(other.try_get(&object).unwrap_err(), WrongHeap);
    assert_eq!(heap.try_with(&object, |object| object.len()), Ok(6));
    assert_eq!(other.try_with(&object, |_| unreachable!("it is not called")), Err::<(), _>(WrongHeap));
    assert!(heap.try_upgrade(weak).unwrap().is_some() && heap.try_upgrade_long(long).unwrap().is_some());
    heap.enter(|cx| {
        assert_eq!(object.get(cx).try_downgrade(cx), Ok(weak));
        assert_eq!(object.get(cx).try_downgrade_long(cx), Ok(long));
        assert!(cx.try_upgrade(weak).unwrap().is_some() && cx.try_upgrade_long(long).unwrap().is_some());
    });
    let shut_down = heap.shutdown(lacuna::ShutdownOptions::default());
    assert!(shut_down.is_ok() && heap.try_upgrade(weak).unwrap().is_none());
    assert_eq!(heap.try_get(&object).unwrap_err(), WrongHeap);
    drop(heap);
    assert_eq!(other.try_upgrade(weak).unwrap_err(), WrongHeap);
    assert_eq!(other.try_upgrade_long(long).unwrap_err(), WrongHeap);
    other.enter(|cx| {
        assert_eq!(cx.try_upgrade(weak).unwrap_err(), WrongHeap);
        assert_eq!(cx.try_upgrade_long(long).unwrap_err(), WrongHeap);
        assert!(cx.try_upgrade(Weak::<u8>::null()).unwrap().is_none());
    });
    assert!(other.try_upgrade(Weak::<u8>::null()).unwrap().is_none());
}

#[test]
fn trap_01_what_is_upgraded_between_collections_and_stored_in_an_old_object_lives() {
    for zeal in [false, true] {
        let mut heap = Heap::with_config(Config::default().zeal(zeal));
        let old = node(&mut heap, 0);
        heap.collect(); // the object that will lead to it was marked long ago
        for id in 1..50 {
            let fresh = node(&mut heap, id);
            let weak = heap.downgrade(&fresh);
            drop(fresh);
            heap.enter(|cx| {
                // Unreachable, and not yet collected: this reference may bring it back, for good.
                if let Some(object) = cx.upgrade(weak) {
                    old.get(cx).set(cx, |node| &node.next, Some(object));
                }
            });
            let alive = !heap.is_dead(weak);
            heap.collect();
            heap.collect();
            assert_eq!(!heap.is_dead(weak), alive);
            let next = heap.with(&old, |node| node.next.get().map(|next| next.id));
            assert_eq!(next.is_some_and(|next| next == id), alive);
            heap.verify().unwrap();
        }
    }
}

#[test]
fn trap_02_code_that_runs_in_a_collection_sees_it_done_or_not_begun() {
    // The only code of the program that runs in one is `Drop`, after the decision: all references agree by then.
    struct Witness(Rc<dyn Fn()>);
    impl Drop for Witness {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    let mut heap = Heap::new();
    let kept = heap.alloc(String::from("kept"));
    let seen = Rc::new(std::cell::Cell::new(0));
    let (root, count) = (kept.clone(), Rc::clone(&seen));
    // A root made in the sweep is of an object that was found alive.
    let witness: Rc<dyn Fn()> = Rc::new(move || {
        let again = root.clone();
        assert!(Root::ptr_eq(&again, &root));
        count.set(count.get() + 1);
    });
    let weak: Vec<_> = (0..200)
        .map(|_| {
            let object = heap.alloc(Opaque(Witness(Rc::clone(&witness))));
            heap.downgrade(&object)
        })
        .collect();
    heap.collect();
    assert_eq!(seen.get(), 200);
    assert!(weak.iter().all(|&weak| heap.is_dead(weak)));
    assert_eq!(heap.get(&kept), "kept");
    heap.verify().unwrap();
}

#[test]
fn trap_24_hostile_hash_and_equality_around_weak_references_meet_identity_only() {
    /// Panics whenever it is compared or hashed.
    struct Hostile;
    impl PartialEq for Hostile {
        fn eq(&self, _: &Self) -> bool {
            panic!("compared")
        }
    }
    impl Hash for Hostile {
        fn hash<H: Hasher>(&self, _: &mut H) {
            panic!("hashed")
        }
    }
    let mut heap = Heap::new();
    let objects: Vec<_> = (0..20).map(|_| heap.alloc(Opaque(Hostile))).collect();
    let weak: HashSet<_> = objects.iter().map(|object| heap.downgrade(object)).collect();
    assert_eq!(weak.len(), 20);
    drop(objects);
    heap.collect();
    assert!(weak.iter().all(|&one| weak.contains(&one) && heap.is_dead(one)));
}
