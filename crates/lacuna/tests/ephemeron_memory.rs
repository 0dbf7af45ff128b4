//! What ephemeron tables take is counted, byte by byte, and what is counted paces collections and meets the limit.
#![allow(unsafe_code, reason = "a global allocator is unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use lacuna::{Config, Ephemerons, Exhausted, Gc, Heap, Mutator, Root, ShutdownOptions};

thread_local! {
    /// Bytes that this thread has and has not given back.
    static TAKEN: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
    /// Requests of this thread that are granted before all are refused.
    static GRANTED: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn refuses() -> bool {
    match GRANTED.get() {
        0 => true,
        usize::MAX => false,
        granted => {
            GRANTED.set(granted - 1);
            false
        }
    }
}

// SAFETY: passes everything on to the system's allocator, or returns null, which is allowed at any time.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refuses() {
            return std::ptr::null_mut();
        }
        TAKEN.set(TAKEN.get().wrapping_add(layout.size()));
        MOST.set(MOST.get().max(TAKEN.get()));
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        TAKEN.set(TAKEN.get().wrapping_sub(layout.size()));
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) };
    }
}

/// Without edges in its values, so that nothing but the table needs memory for an entry.
type Table<'gc> = Ephemerons<Gc<'gc, u64>, u32>;

const KEYS: u64 = 3000;

fn keys<'gc>(cx: &Mutator<'gc>) -> Vec<Gc<'gc, u64>> {
    (0..KEYS).map(|number| cx.alloc(number)).collect()
}

fn rooted_keys(heap: &mut Heap) -> Vec<Root<u64>> {
    (0..KEYS).map(|number| heap.alloc(number)).collect()
}

fn table(heap: &mut Heap) -> Root<Table<'static>> {
    heap.alloc_with::<Table<'_>>(|_| Table::new())
}

fn fill(heap: &mut Heap, table: &Root<Table<'static>>, keys: &[Root<u64>]) {
    heap.enter(|cx| insert(cx, table.get(cx), keys));
}

fn insert<'gc>(cx: &Mutator<'gc>, table: Gc<'gc, Table<'gc>>, keys: &[Root<u64>]) {
    for key in keys {
        table.edit(cx).insert(key.get(cx), 1);
    }
}

#[test]
fn rule_26_the_bytes_of_a_table_are_those_that_it_takes() {
    Heap::new().enter(|cx| {
        let keys = keys(cx);
        let table = cx.alloc(Table::new());
        let edit = table.edit(cx);
        let before = TAKEN.get();
        let check = || assert_eq!(cx.stats().ephemeron_bytes, TAKEN.get() - before);
        assert_eq!(cx.stats().ephemeron_bytes, 0);
        for &key in &keys {
            edit.insert(key, 1);
            check();
        }
        let full = cx.stats().ephemeron_bytes;
        assert!(full >= keys.len() * 29, "{full} bytes for {} entries", keys.len());
        for &key in &keys[10..] {
            edit.remove(key);
            check();
        }
        edit.prune();
        check();
        assert!(cx.stats().ephemeron_bytes < full / 50, "{} of {full} bytes are left", cx.stats().ephemeron_bytes);
        edit.reserve(keys.len());
        check();
        assert!(cx.stats().ephemeron_bytes >= keys.len() * 29);
        edit.retain(|key, _| *key < 3);
        check();
        edit.clear();
        check();
        assert_eq!(cx.stats().ephemeron_bytes, 0);
    });
}

#[test]
fn rule_26_the_bytes_of_a_table_that_cannot_grow_are_those_that_it_takes() {
    let mut refused = 0;
    for granted in 0..40 {
        Heap::new().enter(|cx| {
            let keys = keys(cx);
            let table = cx.alloc(Table::new());
            let before = TAKEN.get();
            GRANTED.set(granted);
            let inserted = keys.iter().take_while(|key| table.edit(cx).try_insert(**key, 1).is_ok()).count();
            GRANTED.set(usize::MAX);
            refused += usize::from(inserted < keys.len());
            assert_eq!(cx.stats().ephemeron_bytes, TAKEN.get() - before, "after {granted} requests");
            assert_eq!(table.live_count(), inserted);
        });
    }
    assert!(refused > 10, "{refused} tables could not grow");
}

#[test]
fn rule_26_the_bytes_of_a_dead_table_count_until_a_sweep_drops_it() {
    for step in [None, Some(1 << 16)] {
        let mut heap = Heap::with_config(Config::default().increment_step(step).min_heap(1 << 16));
        let keys = rooted_keys(&mut heap);
        let [kept, dead] = [(); 2].map(|()| table(&mut heap));
        fill(&mut heap, &kept, &keys[..100]);
        let bytes = heap.stats().ephemeron_bytes;
        fill(&mut heap, &dead, &keys);
        drop(dead);
        assert!(heap.stats().ephemeron_bytes > bytes);
        if step.is_none() {
            heap.collect();
        }
        for _ in 0..100_000 {
            if heap.stats().ephemeron_bytes == bytes {
                break;
            }
            heap.alloc(0_u64);
        }
        assert_eq!(heap.stats().ephemeron_bytes, bytes);
        heap.verify().unwrap();
        // The keys of the other, which die.
        drop(keys);
        heap.collect();
        assert_eq!(heap.stats().ephemeron_bytes, bytes, "memory is given back when the table is changed");
        heap.enter(|cx| kept.get(cx).edit(cx).prune());
        assert_eq!(heap.stats().ephemeron_bytes, 0);
    }
}

#[test]
fn rule_26_the_bytes_of_a_table_go_with_it_wherever_it_is_dropped() {
    let before = TAKEN.get();
    let mut heap = Heap::new();
    let keys = rooted_keys(&mut heap);
    // By a table that nothing ever led to, in the same scope.
    heap.enter(|cx| {
        let new = cx.alloc(Table::new());
        insert(cx, new, &keys);
        assert_eq!(new.live_count(), keys.len());
    });
    let bytes = heap.stats().ephemeron_bytes;
    assert!(bytes > 0);
    heap.collect_minor();
    heap.collect();
    assert_eq!(heap.stats().ephemeron_bytes, 0);

    let rooted = table(&mut heap);
    fill(&mut heap, &rooted, &keys);
    assert_eq!(heap.stats().ephemeron_bytes, bytes);
    heap.shutdown(ShutdownOptions::default()).unwrap();
    assert_eq!(heap.stats().ephemeron_bytes, 0);
    drop((heap, rooted, keys));
    assert_eq!(TAKEN.get(), before, "nothing is left of the heap");
}

#[test]
fn trap_22_the_bytes_of_tables_bring_the_next_collection_nearer_and_dead_ones_do_not() {
    for (step, minor) in [(None, None), (None, Some(1 << 16)), (Some(1 << 16), None)] {
        let config = Config::default().min_heap(1 << 20).increment_step(step).minor_step(minor);
        let mut heap = Heap::with_config(config);
        let keys = rooted_keys(&mut heap);
        let before = TAKEN.get();
        MOST.set(before);
        let mut bytes = 0;
        for _ in 0..400 {
            let table = table(&mut heap);
            fill(&mut heap, &table, &keys);
            bytes = heap.stats().ephemeron_bytes.max(bytes);
        }
        let collections = heap.stats().collections - heap.stats().minor_collections;
        let all = heap.enter(|cx| {
            let table = cx.alloc(Table::new());
            let before = cx.stats().ephemeron_bytes;
            insert(cx, table, &keys);
            (cx.stats().ephemeron_bytes - before) * 400
        });
        // As many as it takes to keep within a mebibyte, and not for ever fewer, nor twice as many.
        let expected = (all >> 20) as u64;
        assert!((expected / 2..=expected * 2).contains(&collections), "{collections} for {all} bytes, {step:?}");
        assert!(bytes < 2 << 20, "{bytes} bytes of tables");
        assert!(MOST.get() - before < 6 << 20, "{} bytes in all", MOST.get() - before);
        assert!(heap.stats().goal_bytes < 3 << 20, "the goal is {}", heap.stats().goal_bytes);
    }
}

#[test]
fn trap_22_dead_tables_do_not_bring_the_next_collection_nearer() {
    let mut heap = Heap::with_config(Config::default().min_heap(1 << 20).minor_step(None));
    let keys = rooted_keys(&mut heap);
    heap.enter(|cx| {
        for _ in 0..20 {
            insert(cx, cx.alloc(Table::new()), &keys);
        }
        assert!(cx.stats().ephemeron_bytes > 2 << 20);
    });
    // Nothing wants cells of tables any more.
    for number in 0..1000_u64 {
        heap.alloc(number);
    }
    let stats = heap.stats();
    assert_eq!((stats.collections, stats.major_due, stats.ephemeron_bytes), (1, false, 0));
    assert_eq!(stats.goal_bytes, 1 << 20);
}

#[test]
fn trap_22_a_table_without_entries_and_with_memory_is_alive() {
    let mut heap = Heap::with_config(Config::default().min_heap(1 << 20));
    let table = table(&mut heap);
    heap.enter(|cx| table.get(cx).edit(cx).reserve(100_000));
    let bytes = heap.stats().ephemeron_bytes;
    assert!(bytes > 2 << 20);
    for number in 0..100_000_u64 {
        heap.alloc(number);
    }
    assert!(heap.stats().collections < 4, "{} collections", heap.stats().collections);
    heap.collect();
    assert!(heap.stats().goal_bytes >= 2 * bytes);
    assert!(!heap.stats().major_due);
    heap.verify().unwrap();
}

#[test]
fn the_limit_counts_the_bytes_of_tables() {
    let mut heap = Heap::with_config(Config::default().heap_limit(Some(1 << 20)));
    let keys = rooted_keys(&mut heap);
    let array = |heap: &mut Heap| heap.try_alloc([0_u64; 1000]).map_err(|error| error.reason());
    let mut arrays = Vec::new();
    let count = |heap: &mut Heap, arrays: &mut Vec<_>| {
        let reason = loop {
            match array(heap) {
                Ok(root) => arrays.push(root),
                Err(reason) => break reason,
            }
        };
        assert_eq!(reason, Exhausted::Limit);
        arrays.len()
    };
    let without = count(&mut heap, &mut arrays);
    arrays.clear();
    let table = table(&mut heap);
    fill(&mut heap, &table, &keys);
    let bytes = heap.stats().ephemeron_bytes;
    let with = count(&mut heap, &mut arrays);
    let (fewer, expected) = (without - with, bytes / 8000);
    assert!(fewer.abs_diff(expected) <= 4, "{fewer} fewer arrays for {bytes} bytes");
    // The table makes room as soon as it is dropped.
    drop(table);
    assert!(count(&mut heap, &mut arrays) + 4 > without);
    assert_eq!(heap.stats().ephemeron_bytes, 0);
}
