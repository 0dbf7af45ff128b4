//! Guardians: getting an object back when nobody else holds it. Here, a pool of buffers that refills itself.
//!
//! `cargo run -p lacuna --example guardians`

use lacuna::{Gc, GcCell, Heap, Root, Trace};

fn main() {
    pool();
    cycles();
    twice();
    println!("every guarded object came back, once for each registration");
}

// ANCHOR: pool
/// Buffers that are expensive to make. Whoever takes one just drops it; the guardian finds it.
#[derive(Default)]
struct Pool {
    free: Vec<Root<Vec<u8>>>,
    made: usize,
}

const BUFFERS: u64 = 1;

impl Pool {
    fn take(&mut self, heap: &mut Heap) -> Root<Vec<u8>> {
        let buffer = self.free.pop().unwrap_or_else(|| {
            self.made += 1;
            heap.alloc(vec![0; 4096])
        });
        // A registration hands its object out once, so each taker needs a new one.
        heap.guard(&buffer, BUFFERS).expect("a root of this heap can be guarded while it is open");
        buffer
    }

    /// Called after collections.
    fn refill(&mut self, heap: &mut Heap) {
        while let Some(guarded) = heap.next_guarded() {
            if guarded.tag == BUFFERS {
                self.free.extend(guarded.object.downcast::<Vec<u8>>());
            }
        }
    }
}

fn pool() {
    let (mut heap, mut pool) = (Heap::new(), Pool::default());
    for _ in 0..10 {
        let buffer = pool.take(&mut heap);
        assert_eq!(heap.get(&buffer).len(), 4096);
        drop(buffer);
        heap.collect();
        pool.refill(&mut heap);
    }
    assert_eq!(pool.made, 1);
}
// ANCHOR_END: pool

// ANCHOR: cycles
#[derive(Trace)]
struct Peer<'gc> {
    name: &'static str,
    other: GcCell<Option<Gc<'gc, Peer<'gc>>>>,
}

fn cycles() {
    let mut heap = Heap::new();
    let (a, b) = heap.enter(|cx| {
        let a = cx.alloc(Peer { name: "a", other: GcCell::new(None) });
        let b = cx.alloc(Peer { name: "b", other: GcCell::new(Some(a)) });
        a.set(cx, |peer| &peer.other, Some(b));
        (a.root(cx), b.root(cx))
    });
    heap.guard(&a, 0).unwrap();
    heap.guard(&b, 0).unwrap();
    drop((a, b));
    heap.collect();

    // Both come in the same batch, newest registration first, and each finds the other intact.
    for (name, other) in [("b", "a"), ("a", "b")] {
        let peer = heap.next_guarded().unwrap().object.downcast::<Peer<'_>>().unwrap();
        heap.with(&peer, |peer| {
            assert_eq!(peer.name, name);
            assert_eq!(peer.other.get().unwrap().name, other);
        });
    }
    assert!(heap.next_guarded().is_none());
}
// ANCHOR_END: cycles

fn twice() {
    // ANCHOR: twice
    let mut heap = Heap::new();
    let object = heap.alloc(1);
    heap.guard(&object, 10).unwrap();
    heap.guard(&object, 20).unwrap();
    let taken_back = heap.guard(&object, 30).unwrap();
    assert!(heap.unguard(taken_back));
    drop(object);

    heap.collect();
    assert_eq!(heap.stats().live_objects, 1); // its memory is still in use
    let tags: Vec<u64> = std::iter::from_fn(|| heap.next_guarded()).map(|guarded| guarded.tag).collect();
    assert_eq!(tags, [20, 10]);
    heap.collect(); // freed by the next collection at the earliest
    assert_eq!(heap.stats().live_objects, 0);
    // ANCHOR_END: twice
}
