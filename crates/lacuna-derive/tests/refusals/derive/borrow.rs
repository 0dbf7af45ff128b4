//! An object outlives every borrow.

use lacuna::*;

#[derive(Trace)]
struct Borrowing<'gc> {
    number: &'gc u32,
}

fn main() {}
