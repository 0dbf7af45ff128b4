//! Which field is alive?

use lacuna::*;

#[derive(Trace)]
union Either<'gc> {
    number: u64,
    edge: Gc<'gc, str>,
}

fn main() {}
