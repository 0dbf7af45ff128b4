//! The brand is the only lifetime.

use lacuna::*;

#[derive(Trace)]
struct Two<'gc, 'text> {
    edge: Gc<'gc, str>,
    text: &'text str,
}

fn main() {}
