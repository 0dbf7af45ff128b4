//! Cells, blocks, chunks and limits, as far as they can be seen from outside.

use std::cell::RefCell;
use std::rc::Rc;

use lacuna::{AutoDrain, Cause, Config, Exhausted, Gc, GcCell, Heap, Opaque, Root, Trace, Weak};

const BLOCK: usize = 16 << 10;
const CHUNK: usize = 2 << 20;

/// Fills a heap with values of one type, checks where they lie and what is in them, and lets some die in between.
fn check_values<T: for<'a> Trace<At<'a> = T> + PartialEq + std::fmt::Debug + 'static>(make: impl Fn(u8) -> T) {
    let mut heap = Heap::new();
    let mut roots = Vec::new();
    for round in 0..3_u8 {
        for id in 0..40_u8 {
            roots.push((heap.alloc(make(id ^ round)), id ^ round));
        }
        let mut places = Vec::new();
        for (root, id) in &roots {
            heap.enter(|cx| {
                let object = root.get(cx);
                assert_eq!(*object, make(*id));
                let place = Gc::addr(object);
                assert_eq!((place % align_of::<T>(), std::ptr::from_ref(&*object).addr()), (0, place));
                places.push((place, place + size_of::<T>().max(1)));
            });
        }
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].0), "two objects overlap");
        let mut position = 0;
        roots.retain(|_| {
            position += 1;
            position % 3 != 0
        });
        heap.collect();
        assert_eq!(heap.stats().live_objects, roots.len());
        heap.verify().unwrap();
    }
}

#[test]
fn values_of_every_alignment_up_to_a_block_lie_where_they_may_and_apart() {
    macro_rules! check {
        ($($align:literal)*) => {$({
            #[derive(Trace, PartialEq, Debug)]
            #[repr(align($align))]
            struct Aligned(u8, [u8; 3]);
            check_values(|id| Aligned(id, [!id; 3]));

            #[derive(Trace, PartialEq, Debug)]
            #[repr(align($align))]
            struct Dropped(String, u8);
            check_values(|id| Dropped(format!("{id}"), id));

            let mut heap = Heap::new();
            heap.enter(|cx| {
                for length in 0..5 {
                    let slice = cx.alloc_slice((0..length).map(|id| Aligned(id, [!id; 3])));
                    assert!(slice.iter().enumerate().all(|(id, value)| value.0 == id as u8));
                    assert_eq!(slice.as_ptr().addr() % $align, 0);
                    let tail = cx.alloc_tail(length, (0..length).map(|id| Aligned(id, [!id; 3])));
                    assert_eq!((tail.header, tail.tail.len()), (length, usize::from(length)));
                    assert_eq!(tail.tail.as_ptr().addr() % $align, 0);
                    let header = cx.alloc_tail(Aligned(length, [0; 3]), 0..length);
                    assert_eq!(std::ptr::from_ref(&header.header).addr() % $align, 0);
                    assert_eq!(header.tail, (0..length).collect::<Vec<_>>());
                }
            });
            heap.collect();
            assert_eq!(heap.stats().live_objects, 0);
        })*};
    }
    check!(2 4 8 16 32 64 128 256 512 1024 2048 4096 8192 16384);
}

#[test]
fn values_of_many_sizes_lie_apart() {
    macro_rules! check {
        ($($size:literal)*) => {$(check_values(|id| [id; $size]);)*};
    }
    check!(0 1 2 3 7 8 9 15 16 17 23 24 25 31 32 40 48 56 72 100 127 128 129 200 255 256 500 1000 1023 1024 1025 2000 2047);
    check!(2048 2730 3000 4000 4095 4096 4097 5000 5461 8000 8191 8192 8193 9000 16000 16383 16384 16385 20000 20480);
}

#[test]
fn slices_of_every_length_up_to_twenty_kibibytes_hold_what_was_put_in() {
    let mut heap = Heap::new();
    let lengths = (0..600).chain((600..20_480).step_by(61)).chain([8183, 8184, 8185, 16376, 16377, 20_480]);
    let roots: Vec<(usize, Root<[u8]>, Root<str>)> = lengths
        .map(|length| {
            heap.enter(|cx| {
                let bytes = cx.alloc_slice((0..length).map(|index| (index * 7 + length) as u8)).root(cx);
                (length, bytes, cx.alloc_str(&"é".repeat(length / 2)).root(cx))
            })
        })
        .collect();
    for _ in 0..2 {
        heap.collect();
        for (length, bytes, text) in &roots {
            let bytes = heap.get(bytes);
            assert_eq!(bytes.len(), *length);
            assert!(bytes.iter().enumerate().all(|(index, &byte)| byte == (index * 7 + length) as u8));
            assert_eq!(heap.get(text), "é".repeat(length / 2));
        }
    }
    heap.verify().unwrap();
    drop(roots);
    heap.collect();
    assert_eq!(heap.stats().used_bytes, 0);
}

#[test]
fn objects_of_several_mebibytes_come_and_go_with_memory_of_their_own() {
    type Cell<T> = GcCell<Option<T>>;
    #[derive(Trace)]
    struct Link<'gc>(Cell<Gc<'gc, [Cell<Gc<'gc, Link<'gc>>>]>>);
    let mut heap = Heap::with_config(Config::default().collect_automatically(false));
    let (first, weak) = heap.enter(|cx| {
        // An array of 12 MB that leads to a small object that leads back, and one of 5 MB of bytes.
        let array = cx.alloc_slice((0..1_500_000).map(|_| GcCell::new(None)));
        let link = cx.alloc(Link(GcCell::new(Some(array))));
        array.set(cx, |array| &array[1_499_999], Some(link));
        let bytes = cx.alloc_slice(vec![9_u8; 5_000_000]);
        (link.root(cx), (array.downgrade(cx), bytes.downgrade(cx)))
    });
    assert!(heap.stats().reserved_bytes >= 17_000_000);
    heap.collect();
    assert!(heap.is_dead(weak.1), "nobody holds the bytes");
    let reserved = heap.stats().reserved_bytes;
    assert!((12_000_000..16_500_000).contains(&reserved), "{reserved} bytes are reserved");
    heap.with(&first, |link| {
        let array = link.0.get().unwrap();
        assert_eq!(array.len(), 1_500_000);
        assert!(Gc::ptr_eq(array[1_499_999].get().unwrap(), link));
    });
    heap.verify().unwrap();
    drop(first);
    heap.collect();
    assert!(heap.is_dead(weak.0));
    assert!(heap.stats().reserved_bytes <= CHUNK);
}

#[test]
fn a_block_whose_objects_are_dead_becomes_one_of_another_type() {
    let mut heap = Heap::new();
    let mut most = 0;
    macro_rules! fill {
        ($($value:expr),*) => {$({
            let roots: Vec<_> = (0..2000).map(|_| heap.alloc($value)).collect();
            let weak = heap.downgrade(&roots[0]);
            most = most.max(heap.stats().reserved_bytes);
            heap.verify().unwrap();
            drop(roots);
            heap.collect();
            assert!(heap.is_dead(weak));
            assert_eq!(heap.stats().used_bytes, 0);
        })*};
    }
    // 200 kB each: in one chunk if blocks change hands, in many if they don't.
    for _ in 0..5 {
        fill!(
            [1_u8; 100],
            [1_u16; 50],
            [1_u32; 25],
            String::from("a string in a block of dropped values"),
            (7_u64, 8_u8)
        );
        fill!(Some(Box::new(5_u32)), [0_u128; 6], vec![1_u8, 2], (), [7_i8; 90]);
    }
    assert_eq!(most, CHUNK);
}

#[test]
fn chunks_are_given_back_down_to_what_is_to_be_kept() {
    for keep in [0, CHUNK, 3 * CHUNK] {
        let mut heap = Heap::with_config(Config::default().keep_empty(keep));
        let roots: Vec<_> = (0..10_000).map(|_| heap.alloc([0_u8; 2000])).collect();
        assert!(heap.stats().reserved_bytes >= 9 * CHUNK);
        drop(roots);
        heap.collect();
        assert_eq!(heap.stats().reserved_bytes, keep);
        let again = heap.alloc([1_u8; 2000]);
        heap.collect();
        assert_eq!(heap.get(&again)[1999], 1);
        assert_eq!(heap.stats().reserved_bytes, keep.max(CHUNK));
    }
}

#[test]
fn handles_are_as_small_as_promised() {
    assert_eq!(size_of::<Gc<'_, [u32]>>(), 8);
    assert_eq!(size_of::<Option<Gc<'_, str>>>(), 8);
    assert_eq!(size_of::<Option<Root<String>>>(), 8);
    assert_eq!(size_of::<Weak<String>>(), 12);
}

#[test]
fn an_empty_heap_holds_no_memory_for_objects() {
    let mut heap = Heap::new();
    let stats = heap.stats();
    assert_eq!((stats.reserved_bytes, stats.used_bytes, stats.root_bytes, stats.weak_bytes), (0, 0, 0, 0));
    heap.collect();
    assert_eq!(heap.stats().reserved_bytes, 0);
}

#[test]
fn a_sparse_block_is_filled_again_before_new_memory_is_taken() {
    let mut heap = Heap::new();
    let mut roots: Vec<_> = (0..20_000_u64).map(|id| heap.alloc([id; 4])).collect();
    let mut position = 0;
    roots.retain(|_| {
        position += 1;
        position % 10 == 0
    });
    heap.collect();
    let used = heap.stats().used_bytes;
    let fresh: Vec<_> = (0..18_000 - 600).map(|id| heap.alloc([id; 4])).collect();
    assert!(heap.stats().used_bytes <= used, "free cells come first");
    assert!(roots.iter().enumerate().all(|(index, root)| heap.get(root)[3] == (index as u64 + 1) * 10 - 1));
    assert!(fresh.iter().enumerate().all(|(index, root)| heap.get(root)[3] == index as u64));
    heap.verify().unwrap();
}

#[test]
fn at_the_limit_an_allocation_collects_and_then_gives_the_value_back() {
    let mut heap = Heap::with_config(Config::default().heap_limit(Some(8 * BLOCK)));
    let mut roots = Vec::new();
    let refused = loop {
        match heap.try_alloc(vec![roots.len(); 3]) {
            Ok(root) => roots.push(root),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.reason(), Exhausted::Limit);
    assert_eq!(refused.into_value(), vec![roots.len(); 3]);
    assert_eq!(heap.stats().last.cause, Cause::Exhausted);
    assert!(heap.stats().collections < 20, "near the limit, it is not collected all the time");
    assert!(heap.stats().used_bytes <= 8 * BLOCK);
    assert!(roots.len() > 4000, "{} vectors fit into 128 KiB", roots.len());
    // Objects of other types are refused as well, and all are still there.
    assert_eq!(heap.try_alloc([7_u8; 100]).unwrap_err().into_value(), [7; 100]);
    heap.enter(|cx| {
        assert_eq!(cx.try_alloc(String::from("x")).unwrap_err().into_value(), "x");
        assert_eq!(cx.try_alloc_str("x").unwrap_err(), Exhausted::Limit);
        let rest = cx.try_alloc_slice(vec![1, 2, 3]).unwrap_err().into_value();
        assert_eq!(rest.collect::<Vec<i32>>(), [1, 2, 3]);
        assert_eq!(cx.try_alloc([0_u8; 10_000]).unwrap_err().reason(), Exhausted::Limit);
    });
    assert!(roots.iter().enumerate().all(|(index, root)| heap.get(root)[2] == index));
    heap.verify().unwrap();

    // What dies makes room, for the same type at once and for others when whole blocks are free.
    roots.truncate(10);
    assert!(heap.try_alloc(vec![0_usize; 3]).is_ok());
    assert!(heap.try_alloc([7_u8; 100]).is_ok());
    heap.set_limit(None);
    assert!(heap.try_alloc(Opaque([0_u8; 30 * BLOCK])).is_ok());
}

#[test]
fn the_limit_counts_external_bytes() {
    let mut heap = Heap::with_config(Config::default().heap_limit(Some(1 << 20)));
    heap.add_external((1 << 20) - 2 * BLOCK);
    let one = heap.try_alloc(1_u8).unwrap();
    let other = heap.try_alloc(1_u16).unwrap();
    assert_eq!(heap.try_alloc(1_u32).unwrap_err().reason(), Exhausted::Limit);
    heap.sub_external(BLOCK);
    let third = heap.try_alloc(1_u32).unwrap();
    heap.add_external(usize::MAX / 4);
    assert_eq!(heap.try_alloc(1_u64).unwrap_err().reason(), Exhausted::Limit);
    heap.collect();
    assert_eq!((*heap.get(&one), *heap.get(&other), *heap.get(&third)), (1, 1, 1));
}

#[test]
fn the_death_of_an_object_with_external_bytes_makes_room_below_the_limit() {
    let config = Config::default().heap_limit(Some(1 << 20)).auto_drain(AutoDrain::Off);
    let mut heap = Heap::with_config(config);
    for round in 0..20 {
        // Each would fill the limit together with the one before.
        let object = heap.try_alloc([round; 4]).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let cleanup = heap.cleanup(&object, (), |_, ()| ()).unwrap();
        heap.set_external(cleanup, 1 << 20);
        drop(object);
        // No cell is free without a block, and no block is allowed: a collection is needed, and is enough.
        heap.try_alloc([round as u8; 3000]).unwrap();
    }
}

#[test]
fn the_hook_for_want_of_memory_is_called_before_the_panic_and_not_for_what_can_fail() {
    let calls: Rc<RefCell<Vec<Exhausted>>> = Rc::default();
    let seen = Rc::clone(&calls);
    let mut heap = Heap::with_config(Config::default().heap_limit(Some(4 * BLOCK)));
    heap.on_out_of_memory(move |reason| seen.borrow_mut().push(reason));
    assert!(heap.try_alloc([0_u8; 5 * BLOCK]).is_err());
    assert!(calls.borrow().is_empty());
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| heap.alloc([0_u8; 5 * BLOCK]))).unwrap_err();
    assert!(panic.downcast::<String>().unwrap().starts_with("allocation failed: the heap limit is reached"));
    assert_eq!(*calls.borrow(), [Exhausted::Limit]);
    for refused in [
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| heap.enter(|cx| cx.alloc([0_u8; 5 * BLOCK])[0]))),
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            heap.enter(|cx| cx.alloc_slice(vec![0_u8; 5 * BLOCK])[0])
        })),
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            heap.alloc_str(&"x".repeat(5 * BLOCK));
            0
        })),
    ] {
        refused.unwrap_err();
    }
    assert_eq!(*calls.borrow(), [Exhausted::Limit; 4]);
    heap.verify().unwrap();
}

#[test]
fn a_length_that_no_memory_has_is_an_error() {
    let mut heap = Heap::new();
    heap.enter(|cx| {
        let endless = (0..usize::MAX / 2).map(|_| 0_u64);
        let error = cx.try_alloc_slice(endless).unwrap_err();
        assert_eq!(error.reason(), Exhausted::System);
        assert_eq!(error.into_value().next(), Some(0), "nothing was taken from the iterator");
    });
    assert_eq!(heap.stats().reserved_bytes, 0);
}

/// A heap at its limit, in which everything is garbage.
fn full_of_garbage() -> Heap {
    let mut heap = Heap::with_config(Config::default().heap_limit(Some(6 * BLOCK)));
    heap.enter(|cx| while cx.try_alloc([0_u8; 1000]).is_ok() {});
    heap
}

#[test]
fn an_allocation_by_handle_at_the_limit_makes_room_first() {
    full_of_garbage().alloc([0_u8; 3000]);
    full_of_garbage().alloc_str(&"x".repeat(2500));
    full_of_garbage().alloc_str(&"x".repeat(2 * BLOCK));
}

#[test]
fn an_allocation_with_a_scope_at_the_limit_makes_room_first() {
    full_of_garbage().alloc_with::<[u8; 2000]>(|_| [0; 2000]);
}

#[test]
fn a_program_of_scopes_never_reaches_its_limit_with_garbage() {
    let mut heap = Heap::with_config(Config::default().heap_limit(Some(4 << 20)));
    for _ in 0..1000 {
        heap.enter(|cx| (0..10).for_each(|id| assert_eq!(cx.alloc([id; 1000])[999], id)));
    }
}

#[test]
fn external_bytes_move_the_trigger_of_the_next_collection() {
    let mut heap = Heap::with_config(Config::default().min_heap(1 << 20));
    heap.add_external(512 << 10);
    heap.enter(|_| ());
    assert_eq!(heap.stats().collections, 0);
    heap.add_external(512 << 10);
    heap.enter(|_| ());
    assert_eq!((heap.stats().collections, heap.stats().last.cause), (1, Cause::Goal));
    assert_eq!(heap.stats().goal_bytes, 2 << 20, "external bytes are alive as long as they are counted");
    heap.enter(|cx| cx.add_external(1 << 20));
    assert_eq!(heap.stats().collections, 2);
    heap.sub_external(2 << 20);
    heap.enter(|_| ());
    heap.collect();
    assert_eq!(heap.stats().goal_bytes, 1 << 20);
}

#[test]
fn a_heap_that_does_not_collect_automatically_collects_at_its_limit_only() {
    let config = Config::default().min_heap(0).collect_automatically(false).heap_limit(Some(1 << 20));
    let mut heap = Heap::with_config(config);
    for _ in 0..100 {
        heap.alloc([0_u64; 100]);
    }
    assert_eq!(heap.stats().collections, 0);
    for _ in 0..2000 {
        heap.alloc([0_u64; 100]);
    }
    assert!(heap.stats().collections > 0);
    assert_eq!(heap.stats().last.cause, Cause::Exhausted);
}

#[test]
fn the_size_of_the_heap_stays_within_its_growth_factor() {
    let mut heap = Heap::with_config(Config::default().min_heap(1 << 20).growth_factor(2.0));
    let live: Vec<_> = (0..20_000_u64).map(|id| heap.alloc([id; 16])).collect(); // 2.5 MB
    let mut most = 0;
    for id in 0..200_000_u64 {
        heap.alloc([id; 16]);
        most = most.max(heap.stats().used_bytes);
    }
    assert!(heap.stats().collections > 5);
    assert!(most < 3 * 20_000 * 128, "{most} bytes were in use for 2.5 MB of live objects");
    assert_eq!(heap.get(&live[19_999])[15], 19_999);
}

#[test]
fn slices_strings_and_values_of_scopes_are_allocated_with_handles_and_fail_at_the_limit() {
    let mut heap = Heap::with_config(Config::default().heap_limit(Some(400 << 10)));
    let words: Root<[String]> = heap.alloc_slice(["a", "b", "c"].map(String::from));
    assert_eq!(heap.get(&words), ["a", "b", "c"]);
    // Garbage makes room.
    for _ in 0..20 {
        heap.try_alloc_str(&"x".repeat(150_000)).unwrap();
        heap.alloc_slice(vec![7_u64; 20_000]);
        heap.try_alloc_with::<[u8; 100_000]>(|_| [1; 100_000]).unwrap();
    }
    let (text, mut calls) = ("x".repeat(500_000), 0);
    assert_eq!(heap.try_alloc_str(&text).unwrap_err(), Exhausted::Limit);
    let refused = heap.try_alloc_with::<[u8; 500_000]>(|_| {
        calls += 1;
        [1; 500_000]
    });
    assert_eq!((refused.unwrap_err(), calls), (Exhausted::Limit, 2));
    heap.enter(|cx| {
        let tail = cx.try_alloc_tail(String::from("header"), [1_u8, 2, 3]).unwrap();
        assert_eq!((tail.header.as_str(), &tail.tail), ("header", &[1, 2, 3][..]));
        let error = cx.try_alloc_tail(String::from("header"), vec![0_u64; 100_000]).unwrap_err();
        assert_eq!(error.reason(), Exhausted::Limit);
        let (header, tail) = error.into_value();
        assert_eq!((header.as_str(), tail.len()), ("header", 100_000));
    });
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| heap.alloc_slice(vec![0_u8; 1 << 20])));
    assert!(panics.is_err());
    heap.collect();
    assert_eq!(heap.stats().live_objects, 1);
    heap.verify().unwrap();
}
