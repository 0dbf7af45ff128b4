//! A cell is written through its owner only.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn main() {
    let mut heap = Heap::new();
    heap.enter(|cx| {
        let node = cx.alloc(Node { next: GcCell::new(None) });
        node.next.set(Some(node));
    });
}
