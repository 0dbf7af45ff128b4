//! A pointer ends with its scope, also by way of a variable outside.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn main() {
    let mut heap = Heap::new();
    let mut kept = Vec::new();
    heap.enter(|cx| kept.push(cx.alloc(Node { next: GcCell::new(None) })));
}
