//! What `get` lends ends with the heap.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn main() {
    let mut heap = Heap::new();
    let root = heap.alloc(Node { next: GcCell::new(None) });
    let node = heap.get(&root);
    drop(heap);
    drop(node.next.get());
}
