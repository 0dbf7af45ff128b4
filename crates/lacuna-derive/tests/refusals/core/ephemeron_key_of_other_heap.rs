//! A key belongs to the heap of the table.

use lacuna::*;

fn main() {
    let mut heap = Heap::new();
    let mut other = Heap::new();
    heap.enter(|cx| {
        let table = cx.alloc(Ephemerons::new());
        other.enter(|other| {
            table.edit(cx).insert(other.alloc(1), 2);
        });
    });
}
