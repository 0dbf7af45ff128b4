//! An object is written with the mutator of its own heap.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn main() {
    let (mut one, mut other) = (Heap::new(), Heap::new());
    one.enter(|one| {
        let node = one.alloc(Node { next: GcCell::new(None) });
        other.enter(|other| node.set(other, |node| &node.next, None));
    });
}
