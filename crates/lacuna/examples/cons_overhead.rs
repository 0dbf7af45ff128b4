//! What a million cons cells cost: 16 bytes each, no header, and the side tables beside them.
//!
//! `cargo run --release -p lacuna --example cons_overhead`

use lacuna::{Gc, Heap, Root, Trace};

// ANCHOR: cons
#[derive(Trace)]
struct Cons<'gc> {
    head: Option<Gc<'gc, Cons<'gc>>>,
    tail: Option<Gc<'gc, Cons<'gc>>>,
}

const CELLS: usize = 1_000_000;

fn main() {
    let mut heap = Heap::new();
    let list: Root<Cons<'static>> = heap.enter(|cx| {
        let mut list = cx.alloc(Cons { head: None, tail: None });
        for _ in 1..CELLS {
            list = cx.alloc(Cons { head: Some(list), tail: Some(list) });
        }
        list.root(cx)
    });
    heap.collect();

    let stats = heap.stats();
    let overhead = stats.live_bytes as f64 / stats.live_objects as f64 - size_of::<Cons<'_>>() as f64;
    let tables = stats.table_bytes as f64 * 100.0 / stats.reserved_bytes as f64;
    println!("live objects        {:>10}", stats.live_objects);
    println!("bytes of a value    {:>10}", size_of::<Cons<'_>>());
    println!("bytes of the cells  {:>10}", stats.live_bytes);
    println!("overhead per object {overhead:>10} bytes");
    println!("bytes of the blocks {:>10}", stats.used_bytes);
    println!("from the system     {:>10}", stats.reserved_bytes);
    println!("side tables         {:>10} ({tables:.2} % of it)", stats.table_bytes);

    assert_eq!(size_of::<Cons<'_>>(), 16);
    assert_eq!(stats.live_objects, CELLS);
    assert_eq!(overhead, 0.0);
    assert!(tables <= 3.0);
    assert_eq!(heap.with(&list, length), CELLS);
}
// ANCHOR_END: cons

/// A loop, not a recursion: the list is longer than a stack is deep. (The collector does not recurse, either.)
fn length<'gc>(list: Gc<'gc, Cons<'gc>>) -> usize {
    std::iter::successors(Some(list), |cell| cell.tail).inspect(|cell| assert!(same(cell))).count()
}

fn same(cell: &Cons<'_>) -> bool {
    match (cell.head, cell.tail) {
        (Some(head), Some(tail)) => Gc::ptr_eq(head, tail),
        (head, tail) => head.is_none() && tail.is_none(),
    }
}
