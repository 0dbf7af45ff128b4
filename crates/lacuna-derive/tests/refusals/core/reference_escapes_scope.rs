//! A reference into an object ends with its scope.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn main() {
    let mut heap = Heap::new();
    let number: &u32 = heap.enter(|cx| &*Box::leak(Box::new(cx.alloc(7_u32))));
    drop(number);
}
