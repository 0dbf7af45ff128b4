//! An edge has the brand of the type that holds it.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

#[derive(Trace)]
struct Mixed<'gc> {
    mine: Gc<'gc, Node<'gc>>,
    foreign: Gc<'static, Node<'static>>,
}

fn main() {}
