//! Pointers and targets are compared by name: `Gc::ptr_eq`, `*a == *b`.

use lacuna::*;

fn same<'gc>(one: Gc<'gc, u32>, other: Gc<'gc, u32>) -> bool {
    one == other
}

fn main() {}
