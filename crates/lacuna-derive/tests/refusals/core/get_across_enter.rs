//! A scope may collect when it returns.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn main() {
    let mut heap = Heap::new();
    let root = heap.alloc(Node { next: GcCell::new(None) });
    let node = heap.get(&root);
    heap.enter(|_| ());
    drop(node.next.get());
}
