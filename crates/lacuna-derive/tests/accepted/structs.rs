//! Structs of every form, with and without a brand.
#![deny(warnings)]
#![forbid(unsafe_code)]
#![allow(dead_code)]

use lacuna::{Gc, GcCell, GcRefCell, Trace};
use std::marker::PhantomData;

#[derive(Trace)]
struct Node<'gc> {
    id: u32,
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
    me: GcCell<Option<Gc<'gc, Self>>>,
    children: GcRefCell<Vec<Gc<'gc, Node<'gc>>>>,
}

#[derive(Trace)]
struct Pair<'gc>(Gc<'gc, Node<'gc>>, [Option<Gc<'gc, Node<'gc>>>; 3]);

#[derive(Trace)]
struct Unit;

#[derive(Trace)]
struct Empty {}

#[derive(Trace)]
struct Leaf {
    name: String,
    size: (u32, usize),
}

/// The brand may be called anything and appear in unusual places.
#[derive(Trace)]
struct r#Raw<'brand> {
    r#type: Gc<'brand, str>,
    r#fn: Gc<'brand, [Gc<'brand, Node<'brand>>]>,
    boxed: Box<[GcCell<Gc<'brand, str>>]>,
}

#[derive(Trace)]
struct Token<'gc> {
    brand: PhantomData<fn(&'gc ()) -> &'gc ()>,
    anything: PhantomData<std::rc::Rc<str>>,
}

type Edge<'gc> = Option<Gc<'gc, Node<'gc>>>;

#[derive(Trace)]
struct Aliased<'gc> {
    edge: Edge<'gc>,
}

macro_rules! make {
    ($name:ident, $lt:lifetime, $ty:ty) => {
        #[derive(Trace)]
        struct $name<$lt> {
            field: $ty,
            other: Gc<$lt, $name<$lt>>,
        }
    };
}
make!(FromMacro, 'gc, u32);

fn main() {
    fn local() {
        #[derive(Trace)]
        struct Local<'gc>(Gc<'gc, Node<'gc>>);
    }
    assert!(Node::NEEDS_TRACE && Pair::NEEDS_TRACE && r#Raw::NEEDS_TRACE);
    assert!(!Unit::NEEDS_TRACE && !Empty::NEEDS_TRACE && !Leaf::NEEDS_TRACE && !Token::NEEDS_TRACE);
}
