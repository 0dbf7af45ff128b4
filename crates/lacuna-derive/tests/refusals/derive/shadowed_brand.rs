//! The compiler itself refuses a second lifetime of the brand's name.

use lacuna::*;

#[derive(Trace)]
struct Native<'gc> {
    edge: Gc<'gc, str>,
    call: for<'gc> fn(Gc<'gc, str>),
}

fn main() {}
