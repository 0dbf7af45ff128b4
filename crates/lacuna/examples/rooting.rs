//! What a root costs, what it promises, and the leak that it can make.
//!
//! `cargo run -p lacuna --example rooting`

use lacuna::{Gc, GcRefCell, Heap, Root, Trace};

// ANCHOR: world
/// Many long-lived objects behind one root: cheaper to mark than a root for each.
#[derive(Trace)]
struct World<'gc> {
    names: GcRefCell<Vec<Gc<'gc, str>>>,
}
// ANCHOR_END: world

fn main() {
    clones();
    one_root_for_many();
    wrong_heap();
    root_in_the_heap();
    println!("every root let go of what it held");
}

fn clones() {
    // ANCHOR: clones
    let mut heap = Heap::new();
    let one: Root<str> = heap.alloc_str("shared");
    let two = one.clone(); // another root of the same object
    assert!(Root::ptr_eq(&one, &two));
    assert_eq!(heap.stats().roots, 2);

    drop(one);
    heap.collect();
    assert_eq!(heap.get(&two), "shared"); // the other one holds it
    // ANCHOR_END: clones
}

fn one_root_for_many() {
    // ANCHOR: one_root
    let mut heap = Heap::new();
    let world = heap.alloc_with::<World<'_>>(|_| World { names: GcRefCell::default() });
    for slice in 0..10 {
        heap.enter(|cx| {
            let world = world.get(cx);
            for name in 0..100 {
                let name = cx.alloc_str(&format!("name {slice}:{name}"));
                world.borrow_mut(cx, |world| &world.names).push(name);
            }
        });
    }
    heap.collect();
    assert_eq!(heap.stats().roots, 1);
    assert_eq!(heap.stats().live_objects, 1001);
    // ANCHOR_END: one_root
}

fn wrong_heap() {
    // ANCHOR: wrong_heap
    let mut mine = Heap::new();
    let mut yours = Heap::new();
    let root = mine.alloc(1);
    yours.enter(|cx| assert!(root.try_get(cx).is_err())); // `get` would panic

    drop(mine); // a root may outlive its heap
    drop(root); // and can then only be dropped
    // ANCHOR_END: wrong_heap
}

// ANCHOR: root_in_heap
/// A root inside an object holds its target like any other root, so this holds itself.
#[derive(Trace)]
struct Selfish {
    me: GcRefCell<Option<Root<Selfish>>>,
}

fn root_in_the_heap() {
    let mut heap = Heap::new();
    let selfish = heap.alloc(Selfish { me: GcRefCell::new(None) });
    let weak = heap.downgrade(&selfish);
    let own = selfish.clone();
    heap.enter(|cx| *selfish.get(cx).borrow_mut(cx, |selfish| &selfish.me) = Some(own));
    drop(selfish);
    heap.collect();
    assert!(!heap.is_dead(weak)); // a leak: use an edge (`Gc`) inside the heap, not a root

    heap.enter(|cx| {
        let selfish = cx.upgrade(weak).unwrap();
        let me = selfish.borrow_mut(cx, |selfish| &selfish.me).take();
        drop(me);
    });
    heap.collect();
    assert!(heap.is_dead(weak));
}
// ANCHOR_END: root_in_heap
