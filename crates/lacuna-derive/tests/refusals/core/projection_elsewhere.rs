//! A projection cannot return a cell from outside its object.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn main() {
    let mut heap = Heap::new();
    heap.enter(|cx| {
        let node = cx.alloc(Node { next: GcCell::new(None) });
        let outside = GcCell::new(None);
        node.set(cx, |_| &outside, Some(node));
    });
}
