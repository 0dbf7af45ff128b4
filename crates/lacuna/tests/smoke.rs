//! The first example.

use lacuna::{Gc, GcCell, Heap, Root, Trace};

#[derive(Trace)]
struct Node<'gc> {
    id: u32,
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

#[test]
fn the_seeds_example() {
    let mut heap = Heap::new();
    let first: Root<Node<'static>> = heap.enter(|cx| {
        let a = cx.alloc(Node { id: 1, next: GcCell::new(None) });
        let b = cx.alloc(Node { id: 2, next: GcCell::new(Some(a)) });
        a.set(cx, |n| &n.next, Some(b));
        a.root(cx)
    });
    let weak = heap.downgrade(&first);
    heap.collect();
    assert!(heap.upgrade(weak).is_some());
    assert_eq!(heap.with(&first, |node| node.id), 1);
    heap.verify().unwrap();
    drop(first);
    heap.collect();
    assert!(heap.upgrade(weak).is_none());
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn sizes() {
    assert_eq!(size_of::<lacuna::Weak<u32>>(), 12);
    assert_eq!(size_of::<Gc<'_, [u32]>>(), 8);
    assert_eq!(size_of::<Option<Root<Node<'static>>>>(), 8);
}
