//! Attacks on minor collections: safe programs that try to have one lose an object, keep a dead one, or run something twice.
//!
//! docs/design/soundness.md says why each of them fails.
#![deny(unsafe_code)]

use lacuna::{Config, Heap};

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
