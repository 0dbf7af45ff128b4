//! `WeakKeyMap`: values that live as long as their keys, and lead wherever they like.

mod heaps;

use std::panic::{AssertUnwindSafe, catch_unwind};

use heaps::{Node, NodeRoot, id, node, on_each, ring};
use lacuna::{Ephemerons, Gc, Heap, Root, Trace};
use lacuna_collections::WeakKeyMap;

type Map = WeakKeyMap<Node<'static>, Node<'static>>;

fn link(heap: &mut Heap, from: &NodeRoot, to: &NodeRoot) {
    heap.enter(|cx| from.get(cx).set(cx, |node| &node.next, Some(to.get(cx))));
}

fn filled(heap: &mut Heap, entries: u32) -> (Map, Vec<NodeRoot>) {
    let map = Map::new(heap);
    let keys: Vec<_> = (0..entries).map(|id| ring(heap, id)).collect();
    for key in &keys {
        let value = node(heap, 1000 + id(heap, key));
        assert!(map.insert(heap, key, &value).is_none());
    }
    (map, keys)
}

#[test]
fn rule_08_a_value_that_leads_to_its_own_key_is_collected() {
    // What leaks in Python's WeakKeyDictionary and Java's WeakHashMap.
    on_each(|heap| {
        let map = Map::new(heap);
        for id in 0..100 {
            let (key, value) = (node(heap, id), node(heap, 1000 + id));
            link(heap, &value, &key);
            link(heap, &key, &value);
            map.insert(heap, &key, &value);
        }
        heap.collect();
        assert_eq!(map.live_count(heap), 0);
        assert_eq!(heap.stats().live_objects, 1); // the table
    });
}

#[test]
fn rule_08_a_chain_of_values_that_lead_to_the_next_key_lives_by_its_head() {
    on_each(|heap| {
        let map = Map::new(heap);
        let keys: Vec<_> = (0..100).map(|id| node(heap, id)).collect();
        for pair in keys.windows(2) {
            let value = node(heap, 0);
            link(heap, &value, &pair[1]);
            map.insert(heap, &pair[0], &value);
        }
        let head = keys[0].clone();
        drop(keys);
        heap.collect();
        assert_eq!(map.live_count(heap), 99);
        drop(head);
        heap.collect();
        assert_eq!(map.live_count(heap), 0);
    });
}

#[test]
fn rule_25_a_dead_entry_is_absent_for_every_method() {
    on_each(|heap| {
        let (map, mut keys) = filled(heap, 6);
        keys.truncate(3);
        heap.collect();
        assert_eq!((map.live_count(heap), map.is_empty(heap)), (3, false));
        assert!(map.len_upper_bound(heap) >= 3);
        let found: Vec<_> = map.entries(heap).iter().map(|(k, v)| (id(heap, k), id(heap, v))).collect();
        assert_eq!(found, [(0, 1000), (1, 1001), (2, 1002)]);
        assert_eq!((map.keys(heap).len(), map.values(heap).len()), (3, 3));
        let other = node(heap, 7);
        assert!(map.get(heap, &other).is_none() && !map.contains_key(heap, &other));
        assert!(map.remove(heap, &other).is_none());
        assert_eq!(map.remove(heap, &keys[0]).map(|value| id(heap, &value)), Some(1000));
        assert_eq!(map.insert(heap, &keys[1], &other).map(|value| id(heap, &value)), Some(1001));
        let mut asked = 0;
        map.retain(heap, |heap, key, value| {
            asked += 1;
            assert!(map.contains_key(heap, key));
            id(heap, value) == 7
        });
        assert_eq!((asked, map.live_count(heap)), (2, 1));
        map.prune(heap);
        assert_eq!(map.live_count(heap), 1);
        map.clear(heap);
        assert!(map.is_empty(heap));
    });
}

#[test]
fn rule_25_a_value_is_made_once_and_never_dead() {
    on_each(|heap| {
        let map = Map::new(heap);
        let key = node(heap, 1);
        for _ in 0..3 {
            let value = map.get_or_insert_with(heap, &key, |heap| {
                heap.collect();
                node(heap, 2)
            });
            assert_eq!(id(heap, &value), 2);
            heap.collect();
        }
        let other = node(heap, 3);
        let failed = catch_unwind(AssertUnwindSafe(|| map.get_or_insert_with(heap, &other, |_| panic!("no value"))));
        assert!(failed.is_err() && map.get(heap, &other).is_none());
        assert_eq!(map.live_count(heap), 1);
    });
}

#[test]
fn rule_25_entries_die_in_the_middle_of_a_walk() {
    // Python: test_weak_keys_destroy_while_iterating
    on_each(|heap| {
        let (map, mut keys) = filled(heap, 40);
        let mut cursor = map.cursor(heap);
        let mut seen = 0;
        while let Some((key, value)) = cursor.next(heap) {
            assert_eq!(id(heap, &key) + 1000, id(heap, &value));
            seen += 1;
            keys.pop();
            if seen % 2 == 0 {
                map.remove(heap, &key); // also those that were seen may go
            }
            heap.collect();
        }
        assert!((20..40).contains(&seen));
        drop(keys);
        heap.collect();
        assert_eq!(map.live_count(heap), 0);
    });
}

#[test]
fn rule_25_counts_only_shrink_while_members_die() {
    // Python: test_weak_keyed_len_race, test_weak_keyed_len_cycles
    for threshold in 1..100 {
        let mut heap = Heap::new();
        let (map, mut keys) = filled(&mut heap, 100);
        let mut before = map.live_count(&heap);
        while !keys.is_empty() {
            keys.truncate(keys.len().saturating_sub(threshold));
            heap.collect();
            let now = map.live_count(&heap);
            assert!(now <= before && now == keys.len());
            before = now;
        }
    }
}

#[test]
fn trap_11_a_cell_that_is_used_again_is_another_key() {
    let mut heap = Heap::new();
    let map: WeakKeyMap<u32, u32> = WeakKeyMap::new(&mut heap);
    for round in 0..300 {
        let (key, value) = (heap.alloc(round), heap.alloc(round));
        assert!(map.get(&heap, &key).is_none());
        map.insert(&mut heap, &key, &value);
        assert_eq!(map.live_count(&heap), 1);
        drop((key, value));
        heap.collect();
    }
}

#[test]
fn in_a_scope_the_map_is_its_table() {
    on_each(|heap| {
        let (map, keys) = filled(heap, 5);
        heap.enter(|cx| {
            let key = keys[3].get(cx);
            assert_eq!(map.get(cx, &key).unwrap().id, 1003);
            assert!(map.contains_key(cx, &key));
            let value = map.table(cx).get(keys[4].get(cx)).unwrap();
            map.table(cx).edit(cx).insert(key, value);
            assert_eq!(map.entries(cx).iter().map(|(_, value)| value.id).max(), Some(1004));
            assert_eq!(map.live_count(cx), 5);
        });
        assert_eq!(map.get(heap, &keys[3]).map(|value| id(heap, &value)), Some(1004));
        let again = Map::from_root(map.clone().into_root());
        drop(map);
        heap.collect();
        assert_eq!(again.live_count(heap), 5);
    });
}

/// The in-heap form: a field of an object, whose values are plain data.
#[derive(Trace)]
struct Debugger<'gc> {
    hits: Ephemerons<Gc<'gc, Node<'gc>>, u32>,
}

#[test]
fn in_the_heap_a_table_is_a_field() {
    on_each(|heap| {
        let key = node(heap, 1);
        let debugger = heap.enter(|cx| {
            let debugger = cx.alloc(Debugger { hits: Ephemerons::new() });
            for _ in 0..3 {
                let hits = debugger.hits.get(key.get(cx)).unwrap_or(0);
                debugger.edit_ephemerons(cx, |debugger| &debugger.hits).insert(key.get(cx), hits + 1);
            }
            debugger.root(cx)
        });
        heap.collect();
        heap.enter(|cx| assert_eq!(debugger.get(cx).hits.get(key.get(cx)), Some(3)));
        drop(key);
        heap.collect();
        heap.enter(|cx| assert_eq!(debugger.get(cx).hits.live_count(), 0));
    });
}

#[test]
fn another_heap_is_refused() {
    let (mut one, mut other) = (Heap::new(), Heap::new());
    let (map, keys) = filled(&mut one, 2);
    let foreign = node(&mut other, 1);
    assert!(catch_unwind(AssertUnwindSafe(|| map.get(&other, &foreign))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| map.get(&one, &foreign))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| map.insert(&mut one, &foreign, &keys[0]))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| map.insert(&mut one, &keys[0], &foreign))).is_err());
    assert_eq!(map.live_count(&one), 2);
}

#[test]
fn rule_01_the_map_keeps_its_values_and_not_its_keys() {
    on_each(|heap| {
        let map: WeakKeyMap<str, String> = WeakKeyMap::new(heap);
        let key: Root<str> = heap.alloc_str("key");
        let value = heap.alloc(String::from("value"));
        map.insert(heap, &key, &value);
        let (weak_key, weak_value) = (heap.downgrade(&key), heap.downgrade(&value));
        drop(value);
        heap.collect();
        assert!(!heap.is_dead(weak_value));
        drop(key);
        heap.collect();
        assert!(heap.is_dead(weak_key) && heap.is_dead(weak_value));
    });
}
