//! `Self` brings the brand with it.

use lacuna::*;

#[derive(Trace)]
struct Cheat<'gc> {
    edge: Gc<'gc, str>,
    #[trace(skip)]
    hidden: Option<Box<Self>>,
}

fn main() {}
