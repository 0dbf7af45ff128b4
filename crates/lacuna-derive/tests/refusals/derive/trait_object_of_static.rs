//! A trait object follows the brand as well.

use lacuna::*;

trait Shape<'gc> {
    fn area(&self) -> f64;
}
trace_dyn!(Shape<'gc>);

#[derive(Trace)]
struct Scene<'gc> {
    mine: Gc<'gc, dyn Shape<'gc>>,
    foreign: Gc<'gc, dyn Shape<'static>>,
}

fn main() {}
