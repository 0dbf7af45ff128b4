//! An edge cannot leave a scope that only reads.

use lacuna::*;

fn main() {
    let mut heap = Heap::new();
    let one = heap.alloc(1);
    let edge = heap.read(|reader| reader.get(&one));
    heap.collect();
    println!("{}", *edge);
}
