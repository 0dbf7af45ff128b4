//! Memory after everything was dropped and collected once, as the system sees it.
//!
//! What the objects hold by themselves, such as the buffer of a `String`, goes back to the global allocator, and whether
//! that gives it to the system is its own affair; so the objects here hold next to nothing outside the heap.
//!
//! `cargo run --release -p lacuna --example memory_given_back`

mod resident;

use lacuna::{Gc, GcCell, GcRefCell, Heap, Trace};
use resident::resident;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
    payload: [u64; 5],
}

#[derive(Trace)]
struct Graph<'gc> {
    nodes: GcRefCell<Vec<Gc<'gc, Node<'gc>>>>,
}

const NODES: usize = 5_000_000; // of 48 bytes: 240 MB, and 40 MB in the vector

fn main() {
    let Some(start) = resident() else {
        println!("not measured: this system does not tell resident sizes in /proc/self/statm");
        return;
    };
    let mut heap = Heap::new();
    let graph = heap.alloc_with::<Graph<'_>>(|_| Graph { nodes: GcRefCell::default() });
    for _ in 0..100 {
        heap.enter(|cx| {
            let graph = graph.get(cx);
            let mut nodes = graph.borrow_mut(cx, |graph| &graph.nodes);
            for number in 0..NODES / 100 {
                let next = nodes.get(number * 7 % nodes.len().max(1)).copied();
                nodes.push(cx.alloc(Node { next: GcCell::new(next), payload: [number as u64; 5] }));
            }
        });
    }
    assert_eq!(heap.with(&graph, |graph| graph.nodes.borrow()[7].payload[4]), 7);
    heap.collect();
    let (peak, reserved) = (resident().expect("it was measured before"), heap.stats().reserved_bytes);

    drop(graph);
    heap.collect();
    let (after, kept) = (resident().expect("it was measured before"), heap.stats().reserved_bytes);

    println!("                 resident     reserved by the heap");
    println!("at the start  {:>7.1} MiB", mib(start));
    println!("at its peak   {:>7.1} MiB  {:>7.1} MiB", mib(peak), mib(reserved as u64));
    println!("afterwards    {:>7.1} MiB  {:>7.1} MiB", mib(after), mib(kept as u64));
    println!("left          {:>7.1} % of the peak", after as f64 * 100.0 / peak as f64);
    assert_eq!(heap.stats().live_objects, 0);
    assert!(after * 10 <= peak, "more than 10 % of the peak is still resident");
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
