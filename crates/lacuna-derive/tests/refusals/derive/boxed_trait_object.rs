//! Behind `dyn` in a box there may be a type for one scope only.

use lacuna::*;

trait Shape<'gc> {
    fn area(&self) -> f64;
}
trace_dyn!(Shape<'gc>);

#[derive(Trace)]
struct Scene<'gc> {
    shape: Box<dyn Shape<'gc> + 'gc>,
}

fn main() {}
