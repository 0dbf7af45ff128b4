//! A destructor could follow edges to objects that are already gone.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

impl Drop for Node<'_> {
    fn drop(&mut self) {}
}

fn main() {}
