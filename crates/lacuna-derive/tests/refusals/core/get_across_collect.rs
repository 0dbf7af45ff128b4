//! What `get` lends ends before the next collection.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn main() {
    let mut heap = Heap::new();
    let root = heap.alloc(Node { next: GcCell::new(None) });
    let node = heap.get(&root);
    heap.collect();
    drop(node.next.get());
}
