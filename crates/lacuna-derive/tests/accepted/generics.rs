//! Type and const parameters, with bounds that have to hold at every scope.
#![deny(warnings)]
#![forbid(unsafe_code)]
#![allow(dead_code)]

use lacuna::{Gc, GcCell, Heap, Mutator, Object, Root, Trace, Weak};
use std::fmt::{Debug, Display};
use std::marker::PhantomData;

#[derive(Trace)]
struct Wrapper<T>(T);

#[derive(Trace)]
struct Cons<'gc, T: Trace + 'gc> {
    head: T,
    tail: GcCell<Option<Gc<'gc, Cons<'gc, T>>>>,
}

#[derive(Trace)]
struct Buffer<'gc, T: Trace + 'gc = u32, const N: usize = 4> {
    items: [Gc<'gc, T>; N],
    more: [u32; N],
}

#[derive(Trace)]
struct Bounded<'gc, T, U>
where
    T: Trace + Clone + Display + 'gc,
    U: Iterator + Debug,
    for<'x> &'x T: PartialEq,
{
    edge: Gc<'gc, T>,
    items: U,
}

trait Colour<'gc> {
    type Shade;
}

/// Bounds that mention the brand.
#[derive(Trace)]
struct Painted<'gc, T>
where
    T: Colour<'gc>,
    <T as Colour<'gc>>::Shade: Clone,
{
    colour: T,
    brand: PhantomData<&'gc ()>,
}

#[derive(Trace)]
struct Tree<T> {
    value: T,
    children: Vec<Tree<T>>,
}

/// Mutual recursion without a brand has to be announced.
#[derive(Trace)]
#[trace(recursive)]
struct Odd<T> {
    value: T,
    next: Option<Box<Even<T>>>,
}

#[derive(Trace)]
struct Even<T> {
    next: Option<Box<Odd<T>>>,
}

/// Parameters that are the same at every scope: unsized, without `Trace`, in a field that is skipped.
#[derive(Trace)]
struct Observer<'gc, K: Trace + 'gc, #[trace(fixed)] T: ?Sized + Object + 'static, #[trace(fixed)] S>
where
    S: Clone,
{
    keys: Vec<K>,
    target: GcCell<Weak<T>>,
    owner: Gc<'gc, K>,
    #[trace(skip)]
    hasher: Option<S>,
}

#[derive(Trace)]
struct NoEdges<#[trace(fixed)] T: ?Sized + Object + 'static>(Weak<T>, #[trace(skip)] std::cell::RefCell<Vec<Weak<T>>>);

/// So it may be dropped with care.
impl<T: ?Sized + Object> Drop for NoEdges<T> {
    fn drop(&mut self) {}
}

/// Names that the expansion uses itself.
#[derive(Trace)]
struct Names<'any_scope, AnyVisitor: Trace + 'any_scope, F> {
    visitor: Gc<'any_scope, AnyVisitor>,
    stored: F,
}

fn round_trip<T: Trace<At<'static> = T> + 'static>(heap: &mut Heap, value: T) -> Root<Wrapper<T>> {
    heap.alloc(Wrapper(value))
}

fn cons<'gc, T: Trace<At<'gc> = T> + 'gc>(cx: &Mutator<'gc>, head: T) -> Gc<'gc, Cons<'gc, T>> {
    let cell = cx.alloc(Cons { head, tail: GcCell::new(None) });
    cell.set(cx, |cell| &cell.tail, Some(cell));
    cell
}

fn cons_of_numbers(heap: &mut Heap) -> Root<Cons<'static, u32>> {
    heap.enter(|cx| cons(cx, 7_u32).root(cx))
}

fn main() {
    assert!(!Wrapper::<u32>::NEEDS_TRACE && Wrapper::<Gc<'static, u32>>::NEEDS_TRACE);
    assert!(!NoEdges::<str>::NEEDS_TRACE);
    assert!(Odd::<u32>::NEEDS_TRACE && Even::<u32>::NEEDS_TRACE);
}
