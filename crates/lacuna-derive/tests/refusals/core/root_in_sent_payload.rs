//! What another thread gets must not hold a root: roots belong to the heap's thread.

use lacuna::Heap;

fn main() {
    let mut heap = Heap::new();
    let (object, held) = (heap.alloc(1), heap.alloc(2));
    heap.cleanup_send(&object, held, |_| ()).unwrap();
}
