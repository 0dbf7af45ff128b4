//! Weak references: a cache, their equality, and the difference between the two kinds.
//!
//! `cargo run -p lacuna --example weak_references`

use std::collections::HashMap;

use lacuna::{Gc, GcCell, Heap, Root, Trace, Weak};

fn main() {
    turns();
    cache();
    parents();
    identity();
    short_and_long();
    println!("weak references read dead at the same moment, and stay dead");
}

// ANCHOR: cache
/// Pages by address; a page that nobody uses any more is not kept for it.
#[derive(Default)]
struct Cache {
    pages: HashMap<String, Weak<String>>,
    loads: usize,
}

impl Cache {
    fn page(&mut self, heap: &mut Heap, address: &str) -> Root<String> {
        let cached = self.pages.get(address).and_then(|&weak| heap.upgrade(weak));
        cached.unwrap_or_else(|| {
            self.loads += 1;
            let page = heap.alloc(format!("<html>{address}</html>"));
            self.pages.insert(address.to_owned(), heap.downgrade(&page));
            page
        })
    }

    /// Weak references are not removed by themselves.
    fn prune(&mut self, heap: &Heap) {
        self.pages.retain(|_, weak| !heap.is_dead(*weak));
    }
}

fn cache() {
    let (mut heap, mut cache) = (Heap::new(), Cache::default());
    let page = cache.page(&mut heap, "/index");
    let same = cache.page(&mut heap, "/index");
    assert!(Root::ptr_eq(&page, &same) && cache.loads == 1);

    drop((page, same));
    heap.collect();
    cache.prune(&heap);
    assert!(cache.pages.is_empty());
    cache.page(&mut heap, "/index");
    assert_eq!(cache.loads, 2);
}
// ANCHOR_END: cache

// ANCHOR: parents
/// The child does not own its parent. (With a tracing collector that is a matter of meaning, not of leaks: two strong
/// edges would be freed as well.)
#[derive(Trace)]
struct Element<'gc> {
    name: &'static str,
    parent: GcCell<Weak<Element<'static>>>,
    child: GcCell<Option<Gc<'gc, Element<'gc>>>>,
}

impl<'gc> Element<'gc> {
    fn new(name: &'static str) -> Self {
        Element { name, parent: GcCell::default(), child: GcCell::new(None) }
    }
}

fn parents() {
    let mut heap = Heap::new();
    let (parent, child) = heap.enter(|cx| {
        let parent = cx.alloc(Element::new("ul"));
        let child = cx.alloc(Element::new("li"));
        parent.set(cx, |parent| &parent.child, Some(child));
        child.set(cx, |child| &child.parent, parent.downgrade(cx));
        (parent.root(cx), child.root(cx))
    });
    heap.enter(|cx| {
        let parent = cx.upgrade(child.get(cx).parent.get()).unwrap(); // a pointer, not a root: no bookkeeping
        assert_eq!(parent.name, "ul");
    });
    drop(parent);
    heap.collect();
    let parent = heap.with(&child, |child| child.parent.get());
    assert!(heap.is_dead(parent));
}
// ANCHOR_END: parents

fn identity() {
    // ANCHOR: identity
    let mut heap = Heap::new();
    let one = heap.alloc(7);
    let other = heap.alloc(7);
    let weak = heap.downgrade(&one);
    assert_eq!(weak, heap.downgrade(&one)); // the same object
    assert_ne!(weak, heap.downgrade(&other)); // an equal value, another object
    assert!(heap.refers_to(weak, &one));

    let by_identity = HashMap::from([(weak, "one")]);
    drop(one);
    heap.collect();
    assert_eq!(by_identity[&weak], "one"); // equality and hash outlive the object

    let reused = heap.alloc(8); // may well get the cell and the weak slot of the dead object
    assert_ne!(weak, heap.downgrade(&reused));
    assert_eq!(Weak::<i32>::null(), Weak::default()); // never had a target
    // ANCHOR_END: identity
}

fn turns() {
    // ANCHOR: turns
    let mut heap = Heap::new();
    let page = heap.alloc("<html>".to_owned());
    let cached = heap.downgrade(&page);
    drop(page);
    heap.turn(|heap| {
        assert!(heap.upgrade(cached).is_some()); // alive now, so alive to the end of the turn
        heap.collect();
        heap.enter(|cx| assert!(cx.upgrade(cached).is_some()));
    });
    heap.collect();
    assert!(heap.is_dead(cached));
    // ANCHOR_END: turns
}

fn short_and_long() {
    // ANCHOR: short_and_long
    let mut heap = Heap::new();
    let object = heap.alloc("buffer".to_owned());
    let short = heap.downgrade(&object);
    let long = heap.downgrade_long(&object);
    heap.guard(&object, 0).unwrap();
    drop(object);
    heap.collect(); // unreachable, but its guardian brings it back
    assert!(heap.is_dead(short));
    assert!(!heap.is_dead_long(long));

    let object = heap.next_guarded().unwrap().object.downcast::<String>().unwrap();
    assert!(heap.is_dead(short)); // a weak reference that is dead stays dead
    let new = heap.downgrade(&object);
    assert!(new != short && !heap.is_dead(new));

    drop(object);
    heap.collect(); // now it is gone for good
    assert!(heap.is_dead(new) && heap.is_dead_long(long));
    // ANCHOR_END: short_and_long
}
