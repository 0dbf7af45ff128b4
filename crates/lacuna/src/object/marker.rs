//! The visitor that marks: where each edge of the heap ends up during a collection.
//!
//! An object is marked when the first edge to it is found, so that none is ever queued twice; if it cannot hold edges
//! it is then finished and its memory is not touched at all.
#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::ptr::NonNull;

use super::descriptor::ObjectRef;
use super::ephemerons::{TableEdge, TableList};
use super::gc::Gc;
use super::trace::{Object, Visitor, sealed};
use crate::memory::block::Block;
use crate::memory::chunk::{kind_of, mark};
use crate::memory::deferred::DeferredCells;
use crate::memory::prefetch::prefetch;
use crate::memory::shrink::shrink;

/// The rest of an array of which a piece was traced.
struct Piece {
    array: ObjectRef,
    from: usize,
}

/// Objects that are marked and whose edges are not visited yet.
///
/// `[INV-MARK-1]` Every object that was marked since the marks were cleared, and can hold edges, is in the queue, was
/// visited, or is deferred, or `overflowed` is set.
#[derive(Default)]
pub(crate) struct Marker {
    stack: Vec<ObjectRef>,
    pieces: Vec<Piece>,
    /// The queue could not grow, so that some marked objects are not in it. They are found again by going through all
    /// marked objects of the heap.
    overflowed: bool,
    /// Observed objects that are marked from now on are noted, since ephemerons wait for some of them.
    watching: bool,
    noted: Vec<ObjectRef>,
    /// Nothing is asked for any more. What there is no room for is deferred.
    frozen: bool,
    /// Marked objects that are to be looked at again: their edges are to be visited, or they were to be noted.
    deferred: DeferredCells,
    /// Ephemeron tables that were reached and not examined yet.
    pub(crate) fresh: TableList,
    /// Those that were examined.
    pub(crate) examined: TableList,
}

/// Entries that the queue has room for from the start: enough to go on with, slowly, when there is no more memory.
const RESERVE: usize = 256;

/// Objects that can be noted, from the first ephemeron on whose value can hold edges: far more than a chain needs.
const NOTES: usize = 256;

impl Marker {
    /// Reserves the least room that marking needs; what it allocates beyond that it can do without.
    pub(crate) fn reserve(&mut self) -> Result<(), alloc::collections::TryReserveError> {
        self.stack.try_reserve(RESERVE)?;
        self.pieces.try_reserve(RESERVE)
    }

    /// Reserves the least room that ephemerons need.
    pub(crate) fn reserve_notes(&mut self) -> Result<(), alloc::collections::TryReserveError> {
        if self.noted.capacity() < NOTES { self.noted.try_reserve_exact(NOTES) } else { Ok(()) }
    }

    /// Gives back what a large heap made the queue grow to.
    pub(crate) fn shrink(&mut self, entries: usize) {
        shrink(&mut self.stack, entries.max(RESERVE));
        shrink(&mut self.pieces, RESERVE);
        shrink(&mut self.noted, NOTES);
    }

    /// Marks an object and queues it.
    pub(crate) fn mark_object(&mut self, object: ObjectRef) {
        if mark(object.cell()) {
            if self.watching {
                self.note(object);
            }
            if object.descriptor().edges {
                self.push(object);
            }
        }
    }

    /// Notes observed objects that are marked from now on.
    pub(crate) fn watch(&mut self) {
        self.watching = true;
    }

    #[cold]
    #[inline(never)]
    fn note(&mut self, object: ObjectRef) {
        if !Block::is_observed(object.cell()) {
            return;
        }
        if self.noted.len() < self.noted.capacity() {
            self.noted.push(object);
        } else {
            self.deferred.add(object.cell());
        }
    }

    /// Asks for no more memory, until everything is [forgotten](Self::clear): what there is no room for is deferred.
    pub(crate) fn freeze(&mut self) {
        self.frozen = true;
    }

    /// A marked object that was deferred. Whoever takes it looks at it again.
    pub(crate) fn pop_deferred(&mut self) -> Option<ObjectRef> {
        // SAFETY: [INV-OBJ-1] the cells are those of objects that were marked in this collection.
        self.deferred.pop().map(|cell| unsafe { ObjectRef::new(cell) })
    }

    /// An observed object that was marked while they were noted.
    pub(crate) fn pop_noted(&mut self) -> Option<ObjectRef> {
        self.noted.pop()
    }

    /// Whether nothing is queued, noted or deferred.
    pub(crate) fn is_settled(&self) -> bool {
        let Self { stack, pieces, overflowed, noted, deferred, .. } = self;
        stack.is_empty() && pieces.is_empty() && !overflowed && noted.is_empty() && deferred.is_empty()
    }

    #[inline(always)]
    fn push(&mut self, object: ObjectRef) {
        if self.stack.len() == self.stack.capacity() && !self.grow(object) {
            return;
        }
        // SAFETY: there is room for one more.
        unsafe {
            self.stack.as_mut_ptr().add(self.stack.len()).write(object);
            self.stack.set_len(self.stack.len() + 1);
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, object: ObjectRef) -> bool {
        if self.frozen {
            self.deferred.add(object.cell());
            return false;
        }
        let grown = self.stack.try_reserve(1).is_ok();
        self.overflowed |= !grown;
        grown
    }

    /// Queues an object that is marked already, so that its edges are visited again.
    pub(crate) fn requeue(&mut self, object: ObjectRef) {
        self.push(object);
    }

    /// Queues the elements of an array from an index on.
    pub(crate) fn push_piece(&mut self, cell: NonNull<u8>, from: usize) {
        if self.frozen && self.pieces.len() == self.pieces.capacity() {
            // All of the array is visited again.
            self.deferred.add(cell);
            return;
        }
        if self.pieces.try_reserve(1).is_err() {
            self.overflowed = true;
            return;
        }
        // SAFETY: [INV-OBJ-1] the cell is that of an array that is being traced.
        self.pieces.push(Piece { array: unsafe { ObjectRef::new(cell) }, from });
    }

    /// The object that was queued last.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<ObjectRef> {
        self.stack.pop()
    }

    /// Visits another piece of an array, if any waits.
    pub(crate) fn visit_piece(&mut self) -> bool {
        match self.pieces.pop() {
            Some(Piece { array, from }) => {
                array.mark_piece(from, self);
                true
            }
            None => false,
        }
    }

    /// Whether objects were left out of the queue since the last call.
    pub(crate) fn take_overflow(&mut self) -> bool {
        core::mem::take(&mut self.overflowed)
    }

    /// Forgets everything queued, noted and deferred, and may ask for memory again.
    pub(crate) fn clear(&mut self) {
        while self.deferred.pop().is_some() {}
        self.stack.clear();
        self.pieces.clear();
        self.noted.clear();
        (self.overflowed, self.watching, self.frozen) = (false, false, false);
    }
}

/// How the edges of the objects of one type are marked.
///
/// The loops that visit objects are compiled for each type, since most objects that are queued one after the other have
/// the same: its edges are then marked without a call.
pub(crate) trait MarkEdges {
    /// Bytes from the start of an object to the last one worth prefetching with it: an object may straddle two cache
    /// lines.
    const REACH: usize;

    /// Marks what the object leads to; of a long array the first piece only.
    ///
    /// # Safety
    ///
    /// `[INV-OBJ-1]` for an object of this type.
    unsafe fn mark_edges(cell: NonNull<u8>, marker: &mut Marker);
}

/// Visits queued objects, the one queued last first, as long as they have the type `M`, which `kind` stands for, and at
/// most `limit`. Returns how many.
///
/// # Safety
///
/// `[INV-DESC-1]` Blocks of the kind hold objects of the type `M`.
pub(crate) unsafe fn visit_plain<M: MarkEdges>(marker: &mut Marker, kind: *const (), limit: usize) -> usize {
    for visits in 0..limit {
        match marker.stack.pop_if(|object| kind_of(object.cell()) == kind) {
            // SAFETY: the queue holds objects, and this one's block has the kind.
            Some(object) => unsafe { M::mark_edges(object.cell(), marker) },
            None => return visits,
        }
    }
    limit
}

/// Objects in the prefetch ring.
const RING: usize = 16;

/// Visits queued objects by way of the prefetch ring: about `limit` of any type, those of the type `M`, which `kind` stands
/// for, the fastest. Returns how many.
///
/// # Safety
///
/// `[INV-DESC-1]` Blocks of the kind hold objects of the type `M`.
pub(crate) unsafe fn visit_ring<M: MarkEdges>(marker: &mut Marker, kind: *const (), limit: usize) -> usize {
    let mut ring: [Option<ObjectRef>; RING] = [None; RING];
    let mut visits = 0;
    let mut position = 0;
    // Places of the ring that were found empty in a row: when all were, and nothing is queued, the stretch is over.
    let mut empty = 0;
    while empty < RING {
        let next = if visits < limit { marker.pop() } else { None };
        if let Some(object) = next {
            prefetch(object.cell());
            prefetch(object.cell().map_addr(|addr| addr.saturating_add(M::REACH)));
            empty = 0;
        }
        match core::mem::replace(&mut ring[position], next) {
            Some(object) => {
                if kind_of(object.cell()) == kind {
                    // SAFETY: the ring holds objects, and this one's block has the kind.
                    unsafe { M::mark_edges(object.cell(), marker) };
                } else {
                    object.mark_edges(marker);
                }
                visits += 1;
                empty = 0;
            }
            None => empty += usize::from(next.is_none()),
        }
        position = (position + 1) % RING;
    }
    visits
}

impl sealed::Sealed for Marker {}

impl Visitor for Marker {
    #[inline(always)]
    fn edge<T: ?Sized + Object>(&mut self, target: Gc<'_, T>) {
        if mark(target.cell()) {
            // SAFETY: [INV-GC-1] the cell of a `Gc` holds an object; it was reached, so it lives until the next
            // collection, and the marker forgets it before.
            let object = unsafe { ObjectRef::new(target.cell()) };
            if self.watching {
                self.note(object);
            }
            if T::EDGES {
                self.push(object);
            }
        }
    }

    /// Roots are found in the root table.
    #[inline(always)]
    fn rooted(&mut self, _: *const (), _: NonNull<u8>) {}

    /// What the values lead to is decided when everything else is marked.
    fn ephemerons(&mut self, table: TableEdge<'_>) {
        if table.0.live() > 0 {
            self.fresh.reach(table);
        }
    }
}
