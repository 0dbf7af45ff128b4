//! The target of an edge has its brand, too.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

#[derive(Trace)]
enum Mixed<'gc> {
    Half(Gc<'gc, Node<'static>>),
}

fn main() {}
