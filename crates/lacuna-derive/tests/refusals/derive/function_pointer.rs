//! A function for one scope would be called in another.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

#[derive(Trace)]
struct Native<'gc> {
    call: fn(&Mutator<'gc>, Gc<'gc, Node<'gc>>),
}

fn main() {}
