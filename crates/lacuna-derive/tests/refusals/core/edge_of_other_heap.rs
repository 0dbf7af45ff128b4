//! Two heaps have two brands.

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
            other.alloc(Node { next: GcCell::new(Some(node)) });
        });
    });
}
