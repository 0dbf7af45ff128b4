//! There is no `&mut` to an object in the heap.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn main() {
    let mut heap = Heap::new();
    heap.enter(|cx| {
        let mut node = cx.alloc(Node { next: GcCell::new(None) });
        node.next = GcCell::new(Some(node));
    });
}
