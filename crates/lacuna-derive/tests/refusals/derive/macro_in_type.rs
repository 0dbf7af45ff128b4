//! A macro might expand to something else the next time.

use lacuna::*;

macro_rules! edge {
    ($brand:lifetime) => { Gc<$brand, str> };
}

#[derive(Trace)]
struct Generated<'gc> {
    edge: Option<edge!('gc)>,
}

fn main() {}
