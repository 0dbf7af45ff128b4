//! A skipped field cannot hold an edge.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

#[derive(Trace)]
struct Cheat<'gc> {
    #[trace(skip)]
    hidden: Option<Gc<'gc, Node<'gc>>>,
}

fn main() {}
