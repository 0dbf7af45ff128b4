//! A heap limit, and what to do when it is reached.
//!
//! `cargo run -p lacuna --example heap_limit`

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use lacuna::{Cause, Config, Exhausted, Heap};

const LIMIT: usize = 4 << 20;

fn main() {
    garbage_goes_first();
    the_value_comes_back();
    the_hook_is_called();
    external_bytes_count();
    println!("the limit held");
}

fn limited() -> Heap {
    Heap::with_config(Config::default().heap_limit(Some(LIMIT)))
}

fn garbage_goes_first() {
    // ANCHOR: garbage
    let mut heap = limited();
    for number in 0..100_000_u64 {
        drop(heap.try_alloc([number; 16]).expect("garbage is collected before an allocation fails"));
    }
    assert_ne!(heap.stats().last.cause, Cause::Exhausted); // collections came before the limit was reached
    assert!(heap.stats().used_bytes <= LIMIT);
    // ANCHOR_END: garbage
}

fn the_value_comes_back() {
    // ANCHOR: comes_back
    let mut heap = limited();
    let mut kept = Vec::new();
    let rejected = loop {
        match heap.try_alloc(vec![kept.len(); 4]) {
            Ok(root) => kept.push(root),
            Err(error) => {
                assert_eq!(error.reason(), Exhausted::Limit);
                break error.into_value();
            }
        }
    };
    assert_eq!(rejected, vec![kept.len(); 4]); // nothing is lost

    kept.truncate(kept.len() / 2);
    assert!(heap.try_alloc(rejected).is_ok()); // it collects by itself

    heap.set_limit(Some(2 * LIMIT)); // or raise the limit
    // ANCHOR_END: comes_back
}

fn the_hook_is_called() {
    // ANCHOR: hook
    let mut heap = limited();
    let seen = Rc::new(Cell::new(None));
    let hook = seen.clone();
    heap.on_out_of_memory(move |reason| hook.set(Some(reason))); // a place to log, or to end the process
    let result = catch_unwind(AssertUnwindSafe(|| {
        // No collection runs inside a scope, so the limit is final here.
        heap.enter(|cx| {
            for number in 0..100_000_u64 {
                cx.alloc([number; 8]);
            }
        });
    }));
    assert!(result.is_err());
    assert_eq!(seen.get(), Some(Exhausted::Limit));

    heap.collect(); // the heap is in order, the scope's objects are garbage
    assert_eq!(heap.stats().live_objects, 0);
    assert!(heap.try_alloc(1).is_ok());
    // ANCHOR_END: hook
}

fn external_bytes_count() {
    // ANCHOR: external
    let mut heap = limited();
    heap.add_external(LIMIT); // what another library holds for the heap's objects
    assert!(heap.try_alloc(1).is_err());
    heap.sub_external(LIMIT);
    assert!(heap.try_alloc(1).is_ok());
    // ANCHOR_END: external
}
