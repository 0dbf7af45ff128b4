//! Enums of every form.
#![deny(warnings)]
#![forbid(unsafe_code)]
#![allow(dead_code)]

use lacuna::{Gc, GcCell, Trace};

#[derive(Trace)]
enum Never {}

#[derive(Trace)]
enum Value<'gc> {
    Nil,
    Number(f64),
    Text(Gc<'gc, str>),
    Pair { car: GcCell<Gc<'gc, Value<'gc>>>, cdr: GcCell<Gc<'gc, Value<'gc>>> },
    List(Vec<Value<'gc>>),
    Boxed(Box<Inner<'gc>>),
}

/// Mutual recursion through `Box`.
#[derive(Trace)]
struct Inner<'gc> {
    value: Option<Box<Value<'gc>>>,
}

#[derive(Clone, Copy, Trace)]
enum Colour {
    Red,
    Green = 7,
}

#[derive(Trace)]
enum Either<A, B> {
    Left(A),
    Right { right: B },
}

fn main() {
    assert!(Value::NEEDS_TRACE && !Never::NEEDS_TRACE && !Colour::NEEDS_TRACE);
    assert!(!Either::<u32, String>::NEEDS_TRACE && Either::<u32, Gc<'static, str>>::NEEDS_TRACE);
}
