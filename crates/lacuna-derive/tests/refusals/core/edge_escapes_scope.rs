//! A pointer ends with its scope.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn main() {
    let mut heap = Heap::new();
    let escaped = heap.enter(|cx| cx.alloc(Node { next: GcCell::new(None) }));
    drop(escaped);
}
