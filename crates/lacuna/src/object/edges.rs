//! A visitor that lists edges, for everything that reads the graph without changing it.

use alloc::vec::Vec;
use core::ptr::NonNull;

use hashbrown::HashMap;

use super::ephemerons::TableEdge;
use super::gc::Gc;
use super::trace::{Object, Visitor, sealed};

/// The cells that the edges of an object lead to, in the order in which they were visited.
#[derive(Default)]
pub(crate) struct EdgeList {
    pub(crate) edges: Vec<NonNull<u8>>,
    /// The roots that the visited value holds: what names their heap, and their targets.
    pub(crate) rooted: Vec<(*const (), NonNull<u8>)>,
    /// The edges in the values of ephemerons.
    pub(crate) dependent: Vec<DependentEdge>,
    /// The keys of ephemerons.
    pub(crate) keys: Vec<NonNull<u8>>,
    /// The keys of the ephemerons in whose values the visit is.
    depends_on: Vec<NonNull<u8>>,
}

/// An edge that keeps its target alive if the object that holds it and all keys are alive.
pub(crate) struct DependentEdge {
    keys: Vec<NonNull<u8>>,
    pub(crate) target: NonNull<u8>,
}

impl sealed::Sealed for EdgeList {}

impl Visitor for EdgeList {
    fn edge<T: ?Sized + Object>(&mut self, target: Gc<'_, T>) {
        if self.depends_on.is_empty() {
            self.edges.push(target.cell());
        } else {
            self.dependent.push(DependentEdge { keys: self.depends_on.clone(), target: target.cell() });
        }
    }

    fn rooted(&mut self, heap: *const (), target: NonNull<u8>) {
        self.rooted.push((heap, target));
    }

    fn ephemerons(&mut self, TableEdge(table): TableEdge<'_>) {
        table.list(self);
    }
}

impl EdgeList {
    /// Lists what `visit` passes on, the edges as ones that depend also on what `keys` adds.
    pub(crate) fn depending(&mut self, keys: impl FnOnce(&mut Vec<NonNull<u8>>), visit: impl FnOnce(&mut Self)) {
        let outer = self.depends_on.len();
        keys(&mut self.depends_on);
        self.keys.extend_from_slice(&self.depends_on[outer..]);
        visit(self);
        self.depends_on.truncate(outer);
    }

    /// The targets of the roots of one heap.
    pub(crate) fn rooted_in(&self, heap: *const ()) -> impl Iterator<Item = NonNull<u8>> {
        self.rooted.iter().filter(move |(other, _)| *other == heap).map(|&(_, target)| target)
    }
}

/// Dependent edges of which a key was not reached yet, each by one such key. Each belongs to an `O`.
pub(crate) struct Waiting<O> {
    by_key: HashMap<NonNull<u8>, Vec<(O, DependentEdge)>>,
}

impl<O> Default for Waiting<O> {
    fn default() -> Self {
        Self { by_key: HashMap::new() }
    }
}

impl<O> Waiting<O> {
    /// Gives a dependent edge back if all its keys are reached, and keeps it otherwise.
    pub(crate) fn admit(
        &mut self,
        owner: O,
        edge: DependentEdge,
        is_reached: impl Fn(NonNull<u8>) -> bool,
    ) -> Option<(O, NonNull<u8>)> {
        match edge.keys.iter().copied().find(|&key| !is_reached(key)) {
            Some(key) => {
                self.by_key.entry(key).or_default().push((owner, edge));
                None
            }
            None => Some((owner, edge.target)),
        }
    }

    /// Takes out the edges that waited for an object, which is reached now.
    pub(crate) fn reached(&mut self, object: NonNull<u8>) -> Vec<(O, DependentEdge)> {
        self.by_key.remove(&object).unwrap_or_default()
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

    /// A payload is in no scope, so the table is empty.
    fn ephemerons(&mut self, _: TableEdge<'_>) {}
}

/// How many edges a value holds: what it costs to look at them. An ephemeron counts for as many as take its memory.
#[derive(Default)]
pub(crate) struct EdgeCount(pub(crate) usize);

const EDGES_OF_AN_EPHEMERON: usize = 4;

impl sealed::Sealed for EdgeCount {}

impl Visitor for EdgeCount {
    #[inline(always)]
    fn edge<T: ?Sized + Object>(&mut self, _: Gc<'_, T>) {
        self.0 += 1;
    }

    fn rooted(&mut self, _: *const (), _: NonNull<u8>) {}

    fn ephemerons(&mut self, TableEdge(table): TableEdge<'_>) {
        self.0 += table.live() * EDGES_OF_AN_EPHEMERON;
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

    fn ephemerons(&mut self, TableEdge(table): TableEdge<'_>) {
        self.0 |= table.live() > 0;
    }
}

/// The cell that the first edge of a value leads to.
#[derive(Default)]
pub(crate) struct FirstEdge(pub(crate) Option<NonNull<u8>>);

impl sealed::Sealed for FirstEdge {}

impl Visitor for FirstEdge {
    #[inline(always)]
    fn edge<T: ?Sized + Object>(&mut self, target: Gc<'_, T>) {
        self.0 = self.0.or(Some(target.cell()));
    }

    fn rooted(&mut self, _: *const (), _: NonNull<u8>) {}

    fn ephemerons(&mut self, _: TableEdge<'_>) {}
}
