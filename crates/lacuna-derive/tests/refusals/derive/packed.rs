//! The collector needs references to the fields.

use lacuna::*;

#[derive(Trace)]
#[repr(C, packed(2))]
struct Packed<'gc> {
    small: u8,
    edge: Gc<'gc, str>,
}

fn main() {}
