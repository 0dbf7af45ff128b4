//! `SoftCache`: what is kept, what is found, and when it is let go of.

mod heaps;

use std::panic::{AssertUnwindSafe, catch_unwind};

use heaps::on_each;
use lacuna::{Config, Heap, Root};
use lacuna_collections::SoftCache;

type Cache = SoftCache<u32, String>;

fn load(cache: &mut Cache, heap: &mut Heap, key: u32) -> Root<String> {
    cache.get_or_insert_with(heap, key, |heap| heap.alloc(format!("{key:05}")))
}

fn alive(cache: &Cache, heap: &mut Heap) -> Vec<u32> {
    heap.collect();
    let mut keys: Vec<_> = cache.known().keys(heap).copied().collect();
    keys.sort();
    keys
}

#[test]
fn rule_21_what_was_used_last_is_kept() {
    on_each(|heap| {
        let mut cache = Cache::new(3);
        for key in 0..5 {
            load(&mut cache, heap, key);
        }
        assert_eq!(alive(&cache, heap), [2, 3, 4]);
        assert!(cache.get(heap, &2).is_some()); // used
        assert!(cache.peek(heap, &3).is_some()); // not used
        load(&mut cache, heap, 5);
        assert_eq!(alive(&cache, heap), [2, 4, 5]);
        assert_eq!(cache.kept_objects(), 3);
        assert!(cache.get(heap, &3).is_none());
    });
}

#[test]
fn rule_21_what_somebody_else_keeps_is_found_and_kept_again() {
    on_each(|heap| {
        let mut cache = Cache::new(2);
        let used = load(&mut cache, heap, 0);
        load(&mut cache, heap, 1);
        load(&mut cache, heap, 2);
        let found = load(&mut cache, heap, 0);
        assert!(Root::ptr_eq(&used, &found));
        drop((used, found));
        assert_eq!(alive(&cache, heap), [0, 2]);
    });
}

#[test]
fn rule_21_bytes_are_bounded_too() {
    on_each(|heap| {
        let mut cache = Cache::new(100).max_bytes(50, |heap, text| heap.get(text).len());
        for key in 0..30 {
            load(&mut cache, heap, key);
            assert!(cache.kept_bytes() <= 50 && cache.kept_bytes() == 5 * cache.kept_objects());
        }
        assert_eq!(alive(&cache, heap).len(), 10);
        let large = cache.get_or_insert_with(heap, 99, |heap| heap.alloc("x".repeat(51)));
        assert_eq!(cache.kept_objects(), 10); // not thrown out for what cannot be kept
        assert!(cache.peek(heap, &99).is_some());
        drop(large);
        heap.collect();
        assert!(cache.peek(heap, &99).is_none());
    });
}

#[test]
fn rule_21_under_pressure_half_is_let_go_of_once_per_collection() {
    let mut heap = Heap::with_config(Config::default().collect_automatically(false));
    let mut cache = SoftCache::new(1000).pressure(64 * 1024);
    for key in 0..40_u32 {
        cache.get_or_insert_with(&mut heap, key, |heap| heap.alloc([0_u64; 512])); // 4 KiB each
    }
    assert_eq!(cache.relieve(&heap), 0); // no collection has found it too much
    assert_eq!(cache.kept_objects(), 40);
    heap.collect();
    assert_eq!(cache.relieve(&heap), 20);
    assert_eq!(cache.relieve(&heap), 0);
    heap.collect();
    assert_eq!(cache.relieve(&heap), 10); // 80 KiB were still too much
    heap.collect();
    assert_eq!(cache.relieve(&heap), 0);
    assert_eq!(cache.kept_objects(), 10);
    let mut keys: Vec<u32> = cache.known().keys(&heap).copied().collect();
    keys.sort();
    assert_eq!(keys, (30..40).collect::<Vec<_>>());
    for key in 100..130_u32 {
        cache.get_or_insert_with(&mut heap, key, |heap| heap.alloc([0_u64; 512]));
    }
    assert_eq!(cache.kept_objects(), 40); // the pressure is gone
}

#[test]
fn rule_21_a_cache_in_use_notices_pressure_by_itself() {
    let mut heap = Heap::with_config(Config::default().min_heap(64 << 10));
    let mut cache: SoftCache<u32, [u64; 512]> = SoftCache::new(10_000).pressure(1 << 20);
    for key in 0..20_000 {
        cache.get_or_insert_with(&mut heap, key, |heap| heap.alloc([0; 512]));
    }
    heap.collect();
    assert!(cache.kept_objects() < 1_000, "{} objects of 4 KiB", cache.kept_objects());
    assert!(heap.stats().live_bytes < 4 << 20);
}

#[test]
fn replaced_and_removed_objects_are_not_kept() {
    on_each(|heap| {
        let mut cache = Cache::new(10);
        load(&mut cache, heap, 1);
        let new = heap.alloc(String::from("new"));
        assert_eq!(cache.insert(heap, 1, &new).map(|old| heap.get(&old).clone()), Some("00001".into()));
        assert_eq!(cache.kept_objects(), 1);
        drop(new);
        heap.collect();
        assert_eq!(heap.get(&cache.remove(heap, &1).unwrap()), "new");
        assert_eq!(cache.kept_objects(), 0);
        heap.collect();
        assert_eq!(heap.stats().live_objects, 0);
        for key in 0..10 {
            load(&mut cache, heap, key);
        }
        cache.trim(4);
        assert_eq!(alive(&cache, heap), [6, 7, 8, 9]);
        cache.clear();
        assert_eq!((alive(&cache, heap).len(), cache.kept_bytes()), (0, 0));
    });
}

#[test]
fn a_fill_that_panics_changes_nothing() {
    on_each(|heap| {
        let mut cache = Cache::new(2);
        load(&mut cache, heap, 1);
        let failed = catch_unwind(AssertUnwindSafe(|| {
            cache.get_or_insert_with(heap, 2, |_| panic!("no object"));
        }));
        assert!(failed.is_err());
        assert_eq!(cache.kept_objects(), 1);
        load(&mut cache, heap, 2);
        assert_eq!(alive(&cache, heap), [1, 2]);
    });
}

#[test]
fn the_list_agrees_with_a_naive_one() {
    let mut heap = Heap::new();
    let mut cache = Cache::new(7);
    let mut naive: Vec<u32> = Vec::new();
    let mut random = 7_u32;
    for _ in 0..5_000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let key = (random >> 16) % 12;
        naive.retain(|&other| other != key);
        if random >> 30 == 0 {
            cache.remove(&heap, &key);
        } else {
            load(&mut cache, &mut heap, key);
            naive.push(key);
            if naive.len() > 7 {
                naive.remove(0);
            }
        }
        assert_eq!(cache.kept_objects(), naive.len());
        if random.is_multiple_of(50) {
            let mut sorted = naive.clone();
            sorted.sort();
            assert_eq!(alive(&cache, &mut heap), sorted);
        }
    }
}

#[test]
fn weights_without_bound_add_up() {
    let mut heap = Heap::new();
    let mut cache = SoftCache::<u32, u32>::new(10).max_bytes(usize::MAX, |_, _| usize::MAX);
    for id in 0..3 {
        cache.get_or_insert_with(&mut heap, id, |heap| heap.alloc(id));
    }
    assert_eq!(cache.kept_objects(), 1, "two would be more than that many bytes");
    cache.trim(0);
    assert_eq!((cache.kept_objects(), cache.kept_bytes()), (0, 0));
}
