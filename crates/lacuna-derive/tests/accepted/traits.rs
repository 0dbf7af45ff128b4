//! Edges to trait objects.
#![deny(warnings)]
#![allow(dead_code)]

use lacuna::{Gc, Trace, trace_dyn};

trait Shape<'gc> {
    fn area(&self) -> f64;
}
trace_dyn!(Shape<'gc>);

#[derive(Trace)]
struct Square<'gc> {
    side: f64,
    around: Option<Gc<'gc, dyn Shape<'gc>>>,
}

impl<'gc> Shape<'gc> for Square<'gc> {
    fn area(&self) -> f64 {
        self.side * self.side
    }
}

#[derive(Trace)]
struct Scene<'gc> {
    shapes: Vec<Gc<'gc, dyn Shape<'gc>>>,
    first: Option<Gc<'gc, dyn Shape<'gc>>>,
}

fn main() {}
