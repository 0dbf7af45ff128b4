//! So does every edge read from it.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn main() {
    let mut heap = Heap::new();
    let root = heap.alloc(Node { next: GcCell::new(None) });
    let next = heap.get(&root).next.get();
    heap.collect();
    drop(next.map(|node| node.next.get()));
}
