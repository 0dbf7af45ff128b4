//! Written without the owner knowing.

use lacuna::*;
use std::cell::Cell;

#[derive(Trace)]
struct Cheat<'gc> {
    edge: Cell<Option<Gc<'gc, str>>>,
}

fn main() {}
