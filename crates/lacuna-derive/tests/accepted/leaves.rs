//! Fields that hold no edges and need no `Trace`.
#![deny(warnings)]
#![forbid(unsafe_code)]
#![allow(dead_code)]

use lacuna::{Gc, Heap, Mutator, Opaque, Root, Trace, Weak};
use std::cell::Cell;
use std::rc::Rc;

#[derive(Trace)]
struct Native<'gc> {
    name: Gc<'gc, str>,
    arity: u32,
    call: for<'any> fn(&'any Mutator<'any>, Gc<'any, str>) -> Gc<'any, str>,
    fallback: fn(u32) -> !,
    #[trace(skip)]
    hook: Option<for<'any> fn(&Mutator<'any>, Gc<'any, Native<'any>>)>,
    #[trace(skip)]
    calls: Cell<u64>,
    #[trace(skip)]
    shared: Rc<[u8]>,
    opened: Opaque<std::time::Instant>,
}

/// Skipping answers the question that recursion would ask in a circle.
#[derive(Trace)]
enum Expression {
    Number(f64),
    Sum(#[trace(skip)] Box<Expression>, #[trace(skip)] Box<Expression>),
}

/// Weak references and roots are stored by the type's form outside of scopes.
#[derive(Trace)]
struct Handles<'gc> {
    weak: Weak<Native<'static>>,
    root: Root<Native<'static>>,
    edge: Gc<'gc, Native<'gc>>,
}

/// `Drop` is welcome where no edge can be.
#[derive(Trace)]
struct Noisy {
    name: String,
}

impl Drop for Noisy {
    fn drop(&mut self) {}
}

#[derive(Trace)]
struct Holder<'gc> {
    noisy: Noisy,
    edge: Gc<'gc, Noisy>,
}

fn main() {
    assert!(!Expression::NEEDS_TRACE && !Noisy::NEEDS_TRACE);
    let _ = Heap::new;
}
