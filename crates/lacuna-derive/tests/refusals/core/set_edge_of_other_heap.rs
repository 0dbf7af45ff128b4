//! An object cannot be made to point into another heap.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn main() {
    let (mut one, mut other) = (Heap::new(), Heap::new());
    one.enter(|one| {
        let node = one.alloc(Node { next: GcCell::new(None) });
        other.enter(|other| {
            let foreign = other.alloc(Node { next: GcCell::new(None) });
            node.set(one, |node| &node.next, Some(foreign));
        });
    });
}
