//! A visitor that lists edges, for everything that reads the graph without changing it.

use alloc::vec::Vec;
use core::ptr::NonNull;

use super::gc::Gc;
use super::trace::{Object, Visitor, sealed};

/// The cells that the edges of an object lead to, in the order in which they were visited.
#[derive(Default)]
pub(crate) struct EdgeList {
    pub(crate) edges: Vec<NonNull<u8>>,
    /// The roots that the visited value holds: what names their heap, and their targets.
    pub(crate) rooted: Vec<(*const (), NonNull<u8>)>,
}

impl sealed::Sealed for EdgeList {}

impl Visitor for EdgeList {
    fn edge<T: ?Sized + Object>(&mut self, target: Gc<'_, T>) {
        self.edges.push(target.cell());
    }

    fn rooted(&mut self, heap: *const (), target: NonNull<u8>) {
        self.rooted.push((heap, target));
    }
}

impl EdgeList {
    /// The targets of the roots of one heap.
    pub(crate) fn rooted_in(&self, heap: *const ()) -> impl Iterator<Item = NonNull<u8>> {
        self.rooted.iter().filter(move |(other, _)| *other == heap).map(|&(_, target)| target)
    }
}

/// Whether a value holds a root of one object. Lists nothing, so that it needs no memory.
pub(crate) struct HeldRoot {
    heap: *const (),
    target: NonNull<u8>,
    pub(crate) found: bool,
}

impl HeldRoot {
    /// Looks for roots of the object in the cell, of the heap that the first names.
    pub(crate) fn of(heap: *const (), target: NonNull<u8>) -> Self {
        Self { heap, target, found: false }
    }
}

impl sealed::Sealed for HeldRoot {}

impl Visitor for HeldRoot {
    fn edge<T: ?Sized + Object>(&mut self, _: Gc<'_, T>) {}

    fn rooted(&mut self, heap: *const (), target: NonNull<u8>) {
        self.found |= heap == self.heap && target == self.target;
    }
}

/// Whether a value holds any edge.
#[derive(Default)]
pub(crate) struct AnyEdge(pub(crate) bool);

impl sealed::Sealed for AnyEdge {}

impl Visitor for AnyEdge {
    fn edge<T: ?Sized + Object>(&mut self, _: Gc<'_, T>) {
        self.0 = true;
    }

    fn rooted(&mut self, _: *const (), _: NonNull<u8>) {}
}
