//! A visitor that lists edges, for everything that reads the graph without changing it.

use alloc::vec::Vec;
use core::ptr::NonNull;

use super::gc::Gc;
use super::trace::{Object, Visitor, sealed};

/// The cells that the edges of an object lead to, in the order in which they were visited.
#[derive(Default)]
pub(crate) struct EdgeList {
    pub(crate) edges: Vec<NonNull<u8>>,
    /// The targets of roots that the visited value holds.
    pub(crate) rooted: Vec<NonNull<u8>>,
}

impl sealed::Sealed for EdgeList {}

impl Visitor for EdgeList {
    fn edge<T: ?Sized + Object>(&mut self, target: Gc<'_, T>) {
        self.edges.push(target.cell());
    }

    fn rooted(&mut self, target: NonNull<u8>) {
        self.rooted.push(target);
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

    fn rooted(&mut self, _: NonNull<u8>) {}
}
