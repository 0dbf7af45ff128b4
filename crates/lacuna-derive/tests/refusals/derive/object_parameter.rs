//! A parameter is bounded by `Trace`, which is an `Object` of its own size.

use lacuna::*;

#[derive(Trace)]
struct Boxed<'gc, T: Object + 'gc> {
    edge: Gc<'gc, T>,
}

fn main() {}
