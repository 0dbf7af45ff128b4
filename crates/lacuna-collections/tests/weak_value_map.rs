//! `WeakValueMap`: what a map promises, with values that die at any moment.

mod heaps;

use std::cell::{Cell, RefCell};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use heaps::{Node, NodeRoot, id, ids, node, on_each, ring};
use lacuna::{Gc, GcCell, GcRefCell, Heap, Opaque, Root, Trace, Weak};
use lacuna_collections::WeakValueMap;
use lacuna_collections::weak_value_map::Entry;

type Map<K> = WeakValueMap<K, Node<'static>>;

fn filled(heap: &mut Heap, entries: u32) -> (Map<u32>, Vec<NodeRoot>) {
    let mut map = Map::new();
    let roots: Vec<_> = (0..entries).map(|id| ring(heap, id)).collect();
    for (key, root) in (0..).zip(&roots) {
        assert!(map.insert(heap, key, root).is_none());
    }
    (map, roots)
}

#[test]
fn rule_25_a_dead_entry_is_absent_for_every_method() {
    on_each(|heap| {
        let (mut map, mut roots) = filled(heap, 3);
        roots.remove(1);
        heap.collect();
        assert!(map.get(heap, &1).is_none());
        assert!(map.get_weak(heap, &1).is_none());
        assert!(map.get_key_value(heap, &1).is_none());
        assert!(!map.contains_key(heap, &1));
        assert_eq!((map.live_count(heap), map.len_upper_bound()), (2, 3));
        assert_eq!(ids(heap, map.values(heap)), [0, 2]);
        let mut keys: Vec<_> = map.keys(heap).copied().collect();
        keys.sort();
        assert_eq!(keys, [0, 2]);
        assert!(map.iter(heap).all(|(key, value)| *key == id(heap, &value)));
        assert!(!format!("{:?}", map.debug(heap)).contains("1:"));
        assert!(matches!(map.clone().entry(heap, 1), Entry::Vacant(_)));
        assert!(map.clone().remove(heap, &1).is_none());
        assert!(map.clone().remove_entry(heap, &1).is_none());
        assert_eq!(map.clone().drain(heap).count(), 2);
        let mut seen = 0;
        map.clone().retain(heap, |key, _| {
            seen += 1;
            assert_ne!(*key, 1);
            true
        });
        assert_eq!(seen, 2);
        let other = ring(heap, 9);
        assert!(map.insert(heap, 1, &other).is_none());
        assert_eq!(map.len_upper_bound(), 3);
        assert_eq!(map.live_count(heap), 3);
        drop((roots, other));
        heap.collect();
        assert!(map.is_empty(heap));
        assert!(map.pop(heap).is_none());
        assert_eq!(map.prune(heap), 3);
        assert_eq!(map.len_upper_bound(), 0);
    });
}

#[test]
fn rule_25_members_of_cycles_die_with_an_iterator_open() {
    // Python: test_weak_valued_len_cycles
    on_each(|heap| {
        let (map, roots) = filled(heap, 20);
        let mut cursor = map.cursor();
        assert!(cursor.next(heap).is_some());
        drop(roots);
        heap.collect();
        assert_eq!(map.live_count(heap), 0);
        assert!(cursor.next(heap).is_none());
    });
}

#[test]
fn trap_26_the_current_element_of_a_walk_is_alive_and_counted() {
    let mut heap = Heap::new();
    let (map, roots) = filled(&mut heap, 20);
    let mut cursor = map.cursor();
    let current = cursor.next(&heap).unwrap();
    drop(roots);
    heap.collect();
    assert_eq!(map.live_count(&heap), 1);
    drop(current);
    heap.collect();
    assert_eq!(map.live_count(&heap), 0);
}

#[test]
fn rule_25_counts_only_shrink_while_members_die() {
    // Python: test_weak_valued_len_race
    for threshold in 1..100 {
        let mut heap = Heap::new();
        let mut map = Map::new();
        let mut kept = Vec::new();
        for id in 0..100 {
            let root = ring(&mut heap, id);
            map.insert(&mut heap, id, &root);
            kept.push(root);
            if (id + 1) % threshold == 0 {
                kept.clear();
                heap.collect();
            }
            assert!(map.live_count(&heap) <= map.len_upper_bound());
        }
        let before = (map.live_count(&heap), map.len_upper_bound());
        assert!(before.0 <= before.1 && before.1 <= 100);
        assert!(before.0 >= kept.len());
        let mut cursor = map.cursor();
        drop(cursor.next(&heap));
        kept.clear();
        heap.collect();
        let after = (map.live_count(&heap), map.len_upper_bound());
        assert_eq!(after, (0, before.1));
    }
}

#[test]
fn rule_25_entries_die_in_the_middle_of_a_walk() {
    // Python: test_weak_values_destroy_while_iterating
    on_each(|heap| {
        let (map, mut roots) = filled(heap, 50);
        let mut cursor = map.cursor();
        let mut seen = Vec::new();
        while let Some((key, _)) = cursor.next(heap) {
            seen.push(*key);
            // One that was seen and one that was not, if there are such.
            let seen_one = roots.iter().position(|root| seen.contains(&id(heap, root)));
            for victim in [seen_one, Some(0)].into_iter().flatten() {
                if roots.len() > 1 {
                    roots.swap_remove(victim.min(roots.len() - 1));
                }
            }
            heap.collect();
        }
        assert!(seen.len() < 50);
        assert_eq!(map.live_count(heap), roots.len());
    });
}

#[test]
fn rule_25_every_method_works_while_dead_entries_wait() {
    // Python: testcontext of test_weak_values_destroy_while_iterating
    type Change = fn(&mut Map<u32>, &mut Heap) -> usize;
    let changes: [Change; 8] = [
        |map, heap| {
            map.remove(heap, &0);
            4
        },
        |map, heap| {
            assert!(map.remove_entry(heap, &7).is_none());
            5
        },
        |map, heap| {
            assert!(map.pop(heap).is_some());
            4
        },
        |map, _| {
            map.clear();
            0
        },
        |map, heap| {
            map.retain(heap, |key, _| *key < 2);
            2
        },
        |map, heap| map.drain(heap).count() - 5,
        |map, heap| {
            map.shrink_to_fit(heap);
            assert_eq!(map.len_upper_bound(), 5);
            5
        },
        |map, heap| {
            let new = map.get(heap, &0).unwrap();
            for key in 100..200 {
                map.insert(heap, key, &new);
            }
            105
        },
    ];
    for change in changes {
        on_each(|heap| {
            let (mut map, mut roots) = filled(heap, 10);
            roots.truncate(5);
            heap.collect();
            let expected = change(&mut map, heap);
            assert_eq!(map.live_count(heap), expected);
        });
    }
}

#[test]
fn rule_25_pop_gives_each_live_entry_once() {
    on_each(|heap| {
        let (mut map, mut roots) = filled(heap, 30);
        roots.retain({
            let mut i = 0;
            move |_| {
                i += 1;
                i % 3 == 0
            }
        });
        heap.collect();
        let mut popped = Vec::new();
        while let Some((key, value)) = map.pop(heap) {
            assert_eq!(key, id(heap, &value));
            popped.push(key);
        }
        popped.sort();
        assert_eq!(popped, ids(heap, roots.iter().cloned()));
        assert_eq!(popped.len(), 10);
    });
}

#[test]
fn rule_25_an_entry_is_never_dead() {
    // Python: test_weak_valued_setdefault, test_threaded_weak_valued_setdefault
    on_each(|heap| {
        let mut map = Map::new();
        for round in 0..40 {
            let made = map.entry(heap, "key").or_insert_with(heap, |heap| ring(heap, round));
            assert_eq!(id(heap, &made), round); // that of the round before is dead
            heap.collect();
            let found = map.entry(heap, "key").or_insert_with(heap, |_| unreachable!("it is alive"));
            assert!(Root::ptr_eq(&made, &found));
            let Entry::Occupied(entry) = map.entry(heap, "key") else { panic!("it is alive") };
            drop((made, found));
            heap.collect(); // the entry keeps it alive
            assert_eq!(id(heap, &entry.get()), round);
            drop(entry);
            heap.collect();
            assert!(!map.contains_key(heap, "key"));
        }
    });
}

#[test]
fn rule_25_a_fill_that_panics_leaves_the_key_without_object() {
    on_each(|heap| {
        let mut map = Map::new();
        drop(map.entry(heap, "key").or_insert_with(heap, |heap| node(heap, 1)));
        heap.collect();
        let failed = catch_unwind(AssertUnwindSafe(|| {
            map.entry(heap, "key").or_insert_with(heap, |heap| {
                heap.collect();
                panic!("no object")
            })
        }));
        assert!(failed.is_err());
        assert!(!map.contains_key(heap, "key"));
        let new = map.entry(heap, "key").or_insert_with(heap, |heap| node(heap, 2));
        assert_eq!(id(heap, &new), 2);
        assert_eq!(map.len_upper_bound(), 1);
    });
}

#[test]
fn rule_25_the_death_of_a_replaced_value_does_not_concern_the_new_one() {
    // bpo-28427
    on_each(|heap| {
        let (mut map, roots) = filled(heap, 1);
        let mut old = roots;
        for round in 1..50 {
            let new = ring(heap, round);
            let before = map.insert(heap, 0, &new);
            assert_eq!(before.map(|before| id(heap, &before)), Some(round - 1));
            old = vec![new]; // the one before dies in this or a later collection
            if round % 2 == 0 {
                heap.collect();
            }
            assert_eq!(id(heap, &map.get(heap, &0).unwrap()), round);
        }
        drop(old);
        heap.collect();
        assert!(map.get(heap, &0).is_none());
    });
}

#[test]
fn trap_11_a_weak_slot_that_is_used_again_does_not_revive_an_entry() {
    let mut heap = Heap::new();
    let mut map = WeakValueMap::new();
    for round in 0..1000_u32 {
        let root = heap.alloc(round); // gets the cell and the slot of the one before
        map.insert(&mut heap, round, &root);
        let live: Vec<_> = map.iter(&heap).map(|(key, value)| (*key, *heap.get(&value))).collect();
        assert_eq!(live, [(round, round)]);
        drop(root);
        heap.collect();
        assert!(map.is_empty(&heap));
    }
    assert!(map.len_upper_bound() <= 32);
}

#[test]
fn rule_25_a_map_that_is_inserted_into_does_not_collect_dead_entries() {
    let mut heap = Heap::new();
    let mut map = WeakValueMap::new();
    let keep = heap.alloc(0);
    for key in 0..100_u32 {
        map.insert(&mut heap, key, &keep);
    }
    for key in 100..20_000_u32 {
        let root = heap.alloc(key);
        map.insert(&mut heap, key, &root);
        drop(root);
        if key % 50 == 0 {
            heap.collect();
        }
        assert!(map.len_upper_bound() <= 2 * (100 + 50 + 50), "{} entries", map.len_upper_bound());
    }
    assert!(map.capacity() <= 1000);
    heap.collect();
    map.shrink_to_fit(&heap);
    assert_eq!(map.len_upper_bound(), 100);
}

#[test]
fn rule_25_pruning_gives_memory_back() {
    let mut heap = Heap::new();
    let (mut map, mut roots) = filled(&mut heap, 10_000);
    assert!(map.capacity() >= 10_000);
    roots.truncate(10);
    heap.collect();
    assert_eq!(map.prune(&heap), 9_990);
    assert!(map.capacity() < 200);
    assert_eq!(map.live_count(&heap), 10);
}

#[test]
fn a_dead_reference_inserted_leaves_the_key_without_object() {
    on_each(|heap| {
        let (mut map, roots) = filled(heap, 1);
        let dead = {
            let root = node(heap, 7);
            heap.downgrade(&root)
        };
        heap.collect();
        assert_eq!(map.insert_weak(heap, 0, dead).map(|old| id(heap, &old)), Some(0));
        assert!(map.is_empty(heap));
        assert!(map.insert_weak(heap, 0, Weak::null()).is_none());
        let weak = heap.downgrade(&roots[0]);
        assert!(map.insert_weak(heap, 0, weak).is_none());
        assert!(map.contains_key(heap, &0));
    });
}

#[test]
fn maps_are_made_of_pairs_and_of_other_maps() {
    on_each(|heap| {
        let (map, mut roots) = filled(heap, 4);
        let mut copy: Map<u32> = map.iter_weak().map(|(key, weak)| (key + 2, weak)).collect();
        copy.extend(map.iter_weak().map(|(key, weak)| (*key, weak)));
        roots.pop();
        heap.collect();
        let mut entries: Vec<_> = copy.iter(heap).map(|(key, value)| (*key, id(heap, &value))).collect();
        entries.sort();
        assert_eq!(entries, [(0, 0), (1, 1), (2, 2), (4, 2)]);
    });
}

/// A key with an identity that equality does not see.
#[derive(Clone, Debug)]
struct Labelled(u32, &'static str);

impl PartialEq for Labelled {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Labelled {}

impl Hash for Labelled {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[test]
fn rule_25_the_key_of_a_dead_entry_is_replaced_too() {
    let mut heap = Heap::new();
    let mut map = Map::new();
    let (one, two) = (node(&mut heap, 1), node(&mut heap, 2));
    map.insert(&mut heap, Labelled(0, "first"), &one);
    map.insert(&mut heap, Labelled(0, "second"), &two);
    assert_eq!(map.get_key_value(&heap, &Labelled(0, "")).unwrap().0.1, "first"); // as in a HashMap
    drop(two);
    heap.collect();
    map.insert(&mut heap, Labelled(0, "third"), &one);
    assert_eq!(map.get_key_value(&heap, &Labelled(0, "")).unwrap().0.1, "third"); // the key was absent
}

/// A key whose `Eq` drops roots of the map's values, and can panic.
struct Hostile {
    number: u32,
    roots: Rc<RefCell<Vec<NodeRoot>>>,
    panics: Rc<Cell<bool>>,
}

impl PartialEq for Hostile {
    fn eq(&self, other: &Self) -> bool {
        self.roots.borrow_mut().pop();
        assert!(!self.panics.get(), "hostile Eq");
        self.number == other.number
    }
}

impl Eq for Hostile {}

impl Hash for Hostile {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.number % 4).hash(state); // many collisions
    }
}

#[test]
fn trap_24_keys_whose_eq_drops_values_and_panics() {
    // Python: test_weak_keyed_cascading_deletes
    on_each(|heap| {
        let roots = Rc::new(RefCell::new(Vec::new()));
        let panics = Rc::new(Cell::new(false));
        let key = |number| Hostile { number, roots: roots.clone(), panics: panics.clone() };
        let mut map = Map::new();
        for number in 0..100 {
            let root = ring(heap, number);
            map.insert(heap, key(number), &root);
            roots.borrow_mut().push(root.clone());
            roots.borrow_mut().push(root.clone());
            roots.borrow_mut().push(root);
            if number % 7 == 0 {
                heap.collect();
            }
        }
        panics.set(true);
        let mut panicked = 0;
        for number in 0..100 {
            let removed = catch_unwind(AssertUnwindSafe(|| map.remove(heap, &key(number)).is_some()));
            assert!(!matches!(removed, Ok(true)), "a key was found without a comparison");
            let new = node(heap, number);
            let inserted = catch_unwind(AssertUnwindSafe(|| map.insert(heap, key(number), &new).is_some()));
            assert!(!matches!(inserted, Ok(true)), "a key was found without a comparison");
            panicked += usize::from(removed.is_err());
            assert!(map.iter(heap).all(|(key, value)| key.number == id(heap, &value)));
        }
        assert!(panicked > 0);
        panics.set(false);
        roots.borrow_mut().clear();
        heap.collect();
        assert!(map.is_empty(heap));
        let new = node(heap, 5);
        map.insert(heap, key(5), &new);
        assert_eq!(id(heap, &map.get(heap, &key(5)).unwrap()), 5);
    });
}

#[test]
fn a_key_whose_drop_panics_leaves_the_map_whole() {
    struct Bomb(u32);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0.is_multiple_of(5) && !std::thread::panicking() {
                panic!("dropped {}", self.0);
            }
        }
    }
    impl PartialEq for Bomb {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }
    impl Eq for Bomb {}
    impl Hash for Bomb {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }
    let mut heap = Heap::new();
    let mut map = Map::new();
    let roots: Vec<_> = (0..50).map(|id| node(&mut heap, id)).collect();
    for (key, root) in (0..).zip(&roots) {
        map.insert(&mut heap, Bomb(key), root);
    }
    let kept = roots[7].clone();
    drop(roots);
    heap.collect();
    let mut panicked = 0;
    while catch_unwind(AssertUnwindSafe(|| map.prune(&heap))).is_err() {
        panicked += 1;
        assert!(map.len_upper_bound() >= 1);
    }
    assert_eq!(panicked, 10);
    assert_eq!(map.len_upper_bound(), 1);
    assert_eq!(id(&heap, &kept), 7);
    let keys: Vec<u32> = map.keys(&heap).map(|key| key.0).collect();
    assert_eq!(keys, [7]);
}

#[test]
fn another_heap_is_refused_and_nothing_changes() {
    let (mut one, mut other) = (Heap::new(), Heap::new());
    let (mut map, roots) = filled(&mut one, 3);
    let foreign = node(&mut other, 9);
    assert!(catch_unwind(AssertUnwindSafe(|| map.get(&other, &0))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| map.live_count(&other))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| map.prune(&other))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| map.insert(&mut one, 5, &foreign))).is_err());
    assert_eq!((map.live_count(&one), map.len_upper_bound()), (3, 3));
    drop(roots);
}

#[test]
fn a_map_outlives_its_heap() {
    let mut heap = Heap::new();
    let (map, roots) = filled(&mut heap, 3);
    drop(heap);
    assert_eq!(map.len_upper_bound(), 3);
    assert!(format!("{map:?}").contains('3'));
    drop((map, roots));
}

/// An interpreter's weak dictionary: an object of the heap, keys with edges, weak values.
#[derive(Trace)]
struct Dictionary<'gc> {
    entries: GcRefCell<WeakValueMap<Name<'gc>, Node<'static>>>,
    me: GcCell<Option<Gc<'gc, Dictionary<'gc>>>>,
}

#[derive(Trace, Clone, Copy)]
struct Name<'gc>(Gc<'gc, str>);

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}

impl Eq for Name<'_> {}

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[test]
fn rule_25_in_the_heap_keys_are_strong_and_values_weak() {
    on_each(|heap| {
        let (dictionary, values, names) = heap.enter(|cx| {
            let dictionary = cx.alloc(Dictionary { entries: GcRefCell::default(), me: GcCell::new(None) });
            dictionary.set(cx, |d| &d.me, Some(dictionary));
            let mut values = Vec::new();
            let mut names = Vec::new();
            for id in 0..40 {
                let name = Name(cx.alloc_str(&format!("name {id}")));
                let value = cx.alloc(Node { id, next: GcCell::new(None) });
                names.push(name.0.downgrade(cx));
                values.push(value.root(cx));
                assert!(dictionary.borrow_mut(cx, |d| &d.entries).insert_in(cx, name, value).is_none());
            }
            (dictionary.root(cx), values, names)
        });
        heap.collect();
        assert!(names.iter().all(|&name| !heap.is_dead(name))); // strong
        heap.enter(|cx| {
            let dictionary = dictionary.get(cx);
            let wanted = Name(cx.alloc_str("name 17"));
            assert_eq!(dictionary.entries.borrow().get(cx, &wanted).unwrap().id, 17);
            let entries = dictionary.entries.borrow();
            assert_eq!(entries.live_count(cx), 40);
            assert!(entries.iter(cx).all(|(name, value)| *name.0 == *format!("name {}", value.id)));
        });
        let kept = values[17].clone();
        drop(values);
        heap.collect();
        heap.enter(|cx| {
            let entries = dictionary.get(cx);
            let found = entries.entries.borrow().values(cx).map(|value| value.id).collect::<Vec<_>>();
            assert_eq!(found, [17]);
            let mut entries = entries.borrow_mut(cx, |d| &d.entries);
            let name = Name(cx.alloc_str("name 18"));
            let made =
                entries.entry(cx, name).or_insert_with(cx, |cx| cx.alloc(Node { id: 18, next: GcCell::new(None) }));
            assert_eq!(made.id, 18);
            assert_eq!(entries.prune(cx), 38);
        });
        heap.collect();
        assert_eq!(names.iter().filter(|&&name| !heap.is_dead(name)).count(), 1); // those of pruned entries are gone
        assert_eq!(id(heap, &kept), 17);
        // The map leads to its owner; that is no leak.
        let weak = heap.downgrade(&dictionary);
        drop(dictionary);
        heap.collect();
        assert!(heap.is_dead(weak));
    });
}

#[test]
fn a_map_without_edges_may_be_in_an_object_of_any_kind() {
    let mut heap = Heap::new();
    let value = heap.alloc(5);
    let owner = heap.alloc(Opaque(RefCell::new(WeakValueMap::<u32, i32>::new())));
    const { assert!(!<WeakValueMap<u32, i32>>::NEEDS_TRACE) };
    let weak = heap.downgrade(&value);
    heap.get(&owner).borrow_mut().insert_weak(&heap, 1, weak);
    assert!(heap.get(&owner).borrow().contains_key(&heap, &1));
    drop(value);
    heap.collect();
    assert!(heap.get(&owner).borrow().is_empty(&heap));
}

#[test]
fn rule_25_random_deaths_while_a_map_is_copied() {
    // Python: test_threaded_weak_value_dict_copy
    let mut heap = Heap::new();
    let (map, mut roots) = filled(&mut heap, 7_000);
    let mut copy = Map::new();
    let mut cursor = map.cursor();
    let mut random = 12345_u32;
    let mut steps = 0;
    while let Some((key, value)) = cursor.next(&heap) {
        copy.insert(&mut heap, *key, &value);
        drop(value);
        for _ in 0..2 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if !roots.is_empty() {
                roots.swap_remove(random as usize % roots.len());
            }
        }
        steps += 1;
        if steps % 500 == 0 {
            heap.collect();
        }
    }
    heap.collect();
    assert!(copy.live_count(&heap) <= roots.len());
    assert!(copy.iter(&heap).all(|(key, value)| *key == id(&heap, &value)));
}

/// A key whose `Eq`, `Hash`, `Clone` and `Drop` do what they are told, and panic now and then.
struct Unruly {
    number: u32,
    chance: Rc<Cell<u32>>,
}

impl Unruly {
    /// Panics once in so many times, unless there is a panic already.
    fn misbehaves(&self, of: u32) -> bool {
        let random = self.chance.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.chance.set(random);
        if (random >> 8).is_multiple_of(of) && !std::thread::panicking() {
            std::panic::resume_unwind(Box::new(()));
        }
        random >> 30 == 0
    }
}

impl PartialEq for Unruly {
    fn eq(&self, other: &Self) -> bool {
        // Neither reflexive nor symmetric.
        self.misbehaves(40) || self.number == other.number
    }
}

impl Eq for Unruly {}

impl Hash for Unruly {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let wrong = self.misbehaves(40);
        (if wrong { self.number + 1 } else { self.number }).hash(state);
    }
}

impl Clone for Unruly {
    fn clone(&self) -> Self {
        self.misbehaves(200);
        Self { number: self.number, chance: self.chance.clone() }
    }
}

impl Drop for Unruly {
    fn drop(&mut self) {
        self.misbehaves(100);
    }
}

#[test]
fn keys_that_lie_and_panic_at_any_moment_break_nothing() {
    let mut heap = Heap::with_config(lacuna::Config::default().zeal(true));
    let chance = Rc::new(Cell::new(1));
    let mut map: WeakValueMap<Unruly, Node<'static>> = WeakValueMap::new();
    let mut roots: Vec<NodeRoot> = Vec::new();
    let mut panicked = 0;
    for step in 0..if cfg!(miri) { 300 } else { 6_000_u32 } {
        if roots.len() > 50 {
            roots.clear();
        }
        roots.push(node(&mut heap, step));
        let key = |number: u32| Unruly { number, chance: chance.clone() };
        let result = catch_unwind(AssertUnwindSafe(|| {
            let root = roots.last().unwrap();
            match step % 11 {
                0..4 => drop(map.insert(&mut heap, key(step % 64), root)),
                4 => drop(map.remove(&heap, &key(step % 32))),
                5 => drop(map.get(&heap, &key(step % 32))),
                6 => {
                    _ = map.entry(&heap, key(step % 64)).or_insert_with(&mut heap, |heap| {
                        heap.collect();
                        node(heap, step)
                    });
                }
                7 => map.retain(&heap, |key, _| !key.misbehaves(60)),
                8 => map.shrink_to_fit(&heap),
                9 => map = map.clone(),
                _ => _ = map.drain(&heap).take(3).map(|(key, _)| key.number).sum::<u32>(),
            }
        }));
        panicked += u32::from(result.is_err());
        // What it says of itself still adds up.
        let live = map.live_count(&heap);
        assert!(live <= map.len_upper_bound());
        assert_eq!(map.iter(&heap).count(), live);
        assert!(map.values(&heap).all(|value| id(&heap, &value) <= step));
    }
    assert!(panicked > 10, "{panicked}");
    while catch_unwind(AssertUnwindSafe(|| map.clear())).is_err() {}
    std::mem::forget(map);
    heap.verify().unwrap();
}
