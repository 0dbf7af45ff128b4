//! The payload of a cleanup holds no edges of the scope.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn main() {
    let mut heap = Heap::new();
    heap.enter(|cx| {
        let node = cx.alloc(Node { next: GcCell::new(None) });
        let _ = cx.cleanup(node, node, |_, _| ());
    });
}
