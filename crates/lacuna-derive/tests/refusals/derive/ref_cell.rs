//! Written without the owner knowing, in a variant of an enum.

use lacuna::*;
use std::cell::RefCell;

#[derive(Trace)]
enum Cheat<'gc> {
    Nothing,
    Many(u32, RefCell<Vec<Gc<'gc, str>>>),
}

fn main() {}
