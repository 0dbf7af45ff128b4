//! The right to allocate ends with its scope.

use lacuna::*;

fn main() {
    let mut heap = Heap::new();
    let cx = heap.enter(|cx| cx);
    cx.alloc(7_u32);
}
