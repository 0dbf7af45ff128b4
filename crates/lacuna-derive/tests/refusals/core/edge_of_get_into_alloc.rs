//! Nor can it be allocated from.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn main() {
    let (mut one, mut other) = (Heap::new(), Heap::new());
    let root = one.alloc(Node { next: GcCell::new(None) });
    let node = one.get(&root);
    other.alloc(Node { next: GcCell::new(node.next.get()) });
}
