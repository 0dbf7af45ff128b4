//! Nothing is freed inside a scope.

use lacuna::*;

fn main() {
    let mut heap = Heap::new();
    heap.enter(|_| heap.collect());
}
