//! A strong reference, a weak reference, and what is left when the strong one is gone.
//!
//! `cargo run -p lacuna --example first_heap`

use lacuna::{Gc, GcCell, Heap, Root, Trace};

fn main() {
    seed();
    cycle();
    println!("what nobody held is gone");
}

fn seed() {
    // ANCHOR: seed
    #[derive(Trace)]
    struct MyClass {
        name: String,
    }

    let mut heap = Heap::new();
    let object = heap.alloc(MyClass { name: "referent".to_owned() }); // a strong reference: a root
    let weak = heap.downgrade(&object); // a weak reference

    heap.collect();
    assert!(heap.upgrade(weak).is_some()); // the root keeps the object alive
    assert_eq!(heap.get(&object).name, "referent");

    drop(object); // Python: del obj
    heap.collect();
    assert!(heap.upgrade(weak).is_none()); // Python: ref() returns None
    // ANCHOR_END: seed
}

// ANCHOR: node
#[derive(Trace)]
struct Node<'gc> {
    id: u32,
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}
// ANCHOR_END: node

fn cycle() {
    // ANCHOR: cycle
    let mut heap = Heap::new();
    let first: Root<Node<'static>> = heap.enter(|cx| {
        let a = cx.alloc(Node { id: 1, next: GcCell::new(None) });
        let b = cx.alloc(Node { id: 2, next: GcCell::new(Some(a)) });
        a.set(cx, |node| &node.next, Some(b)); // a and b lead to each other
        a.root(cx)
    });

    let ids = heap.with(&first, |node| {
        let next = node.next.get().unwrap();
        (node.id, next.id)
    });
    assert_eq!(ids, (1, 2));

    let weak = heap.downgrade(&first);
    drop(first);
    heap.collect();
    assert!(heap.is_dead(weak)); // a cycle is no leak
    assert_eq!(heap.stats().live_objects, 0);
    // ANCHOR_END: cycle
}
