//! A type without a brand holds no edges.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

#[derive(Trace)]
struct Plain {
    foreign: GcCell<Option<Gc<'static, Node<'static>>>>,
}

fn main() {}
