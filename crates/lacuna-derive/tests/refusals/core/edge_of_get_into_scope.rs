//! An edge read without a scope cannot be stored in one.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn main() {
    let (mut one, mut other) = (Heap::new(), Heap::new());
    let root = one.alloc(Node { next: GcCell::new(None) });
    let node = one.get(&root);
    other.enter(|other| {
        other.alloc(Node { next: GcCell::new(node.next.get()) });
    });
}
