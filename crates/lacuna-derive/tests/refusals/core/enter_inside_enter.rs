//! A heap has one scope at a time.

use lacuna::*;

fn main() {
    let mut heap = Heap::new();
    heap.enter(|_| heap.enter(|_| ()));
}
