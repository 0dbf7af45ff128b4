//! A fixed edge does not pass beside a parameter.

use lacuna::*;

#[derive(Trace)]
struct Node<'gc> {
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

#[derive(Trace)]
struct Mixed<T> {
    value: T,
    foreign: (T, Gc<'static, Node<'static>>),
}

fn main() {}
