//! The visitor that marks: where each edge of the heap ends up during a collection.
//!
//! An object is marked when the first edge to it is found, so that none is ever queued twice; if it cannot hold edges
//! it is then finished and its memory is not touched at all.
//!
//! Several threads can mark a heap, each with a marker of its own.
//!
//! - `[INV-MARK-2]` Markers that are `Shared` are made by `cycle/parallel.rs` only, and used only while the thread of the
//!   heap does nothing but mark by one of them. They test and set marks atomically, so that of the edges to an object one queues it, and take objects from each other by
//!   batches: each object is in one queue at most and visited by one thread, and so is
//!   each element of an array that is visited in pieces. What the heap's thread queues before them it queues once: see
//!   `mark_recent` in `cycle/mark.rs`. Nothing else that the threads read is
//!   written meanwhile, except by a `Trace`, whose contract speaks of it, and an ephemeron table by the thread that visits
//!   the object in which it lies.
#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::Range;
use core::ptr::NonNull;

use super::descriptor::{Descriptor, ObjectRef, Visits};
use super::ephemerons::{TableEdge, TableList};
use super::gc::Gc;
use super::stack::Stack;
use super::trace::{Object, Visitor, sealed};
use crate::memory::block::Block;
#[cfg(feature = "parallel")]
use crate::memory::chunk::mark_shared;
use crate::memory::chunk::{kind_of, mark};
use crate::memory::deferred::DeferredCells;
use crate::memory::prefetch::prefetch;
use crate::memory::shrink::shrink;

/// A range of the elements of an array that are not traced yet.
struct Piece {
    array: ObjectRef,
    range: Range<usize>,
}

/// What of an object is visited at once.
#[derive(Clone, PartialEq, Eq, Default)]
enum Part {
    /// All; of a long array the first piece.
    #[default]
    Whole,
    /// The first of these elements, as many as are a piece.
    Piece(Range<usize>),
    Bytes(Range<usize>),
}

/// Whether other threads mark the same heap at the same time.
pub(crate) trait Sharing: Sized + 'static {
    /// Marks a cell; says whether it was unmarked before.
    fn mark(cell: NonNull<u8>) -> bool;

    /// How objects of a type are visited.
    fn visits(descriptor: &Descriptor) -> &Visits<Self>;
}

/// No other thread marks.
#[derive(Default)]
pub(crate) struct Alone;

impl Sharing for Alone {
    #[inline(always)]
    fn mark(cell: NonNull<u8>) -> bool {
        mark(cell)
    }

    #[inline(always)]
    fn visits(descriptor: &Descriptor) -> &Visits<Self> {
        &descriptor.visits
    }
}

/// Other threads mark. `[INV-MARK-2]`
#[cfg(feature = "parallel")]
#[derive(Default)]
pub(crate) struct Shared;

#[cfg(feature = "parallel")]
impl Sharing for Shared {
    #[inline(always)]
    fn mark(cell: NonNull<u8>) -> bool {
        // SAFETY: [INV-MARK-2] the other threads mark by such markers, too.
        unsafe { mark_shared(cell) }
    }

    #[inline(always)]
    fn visits(descriptor: &Descriptor) -> &Visits<Self> {
        &descriptor.shared_visits
    }
}

/// Objects that are marked and whose edges are not visited yet.
///
/// `[INV-MARK-1]` Every object that was marked since the marks were cleared, and can hold edges, is in the queue, was
/// visited, is deferred, or `overflowed` is set; while several threads mark, the queue is those of all their markers and the batches
/// that no one has accepted yet.
#[derive(Default)]
pub(crate) struct Marker<S = Alone> {
    stack: Stack<ObjectRef>,
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
    /// How many more objects are visited by way of the prefetch ring before the order is chosen again.
    pub(crate) in_ring: usize,
    /// The object that is being visited.
    visited: Option<ObjectRef>,
    /// What of it is.
    part: Part,
    /// The program runs before the collection ends, so that tables may move: the objects that lead to them are listed.
    pub(crate) interrupted: bool,
    /// Objects with ephemeron tables that were visited while that was so, each with the part that has the tables: were all of
    /// a large array visited again for each piece of it, that would take quadratic time.
    owners: Vec<(ObjectRef, Part)>,
    /// Some are not listed, since there was no memory.
    owners_lost: bool,
    /// Ephemeron tables that were reached and not examined yet.
    pub(crate) fresh: TableList,
    /// Those that were examined.
    pub(crate) examined: TableList,
    sharing: PhantomData<S>,
}

/// Entries that the queue has room for from the start: enough to go on with, slowly, when there is no more memory.
const RESERVE: usize = 256;

/// Objects that can be noted, from the first ephemeron on whose value can hold edges: far more than a chain needs.
const NOTES: usize = 256;

impl<S: Sharing> Marker<S> {
    /// Reserves the least room that marking needs; what it allocates beyond that it can do without.
    pub(crate) fn reserve(&mut self) -> Result<(), alloc::collections::TryReserveError> {
        self.stack.reserve(RESERVE)?;
        self.pieces.try_reserve(RESERVE)
    }

    #[inline(always)]
    fn push(&mut self, object: ObjectRef) {
        if !self.stack.has_room() && !self.grow(object) {
            return;
        }
        // SAFETY: there is room for one more.
        unsafe {
            self.stack.top.as_mut_ptr().add(self.stack.top.len()).write(object);
            self.stack.top.set_len(self.stack.top.len() + 1);
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, object: ObjectRef) -> bool {
        if self.frozen {
            self.deferred.add(object.cell());
            return false;
        }
        let grown = self.stack.grow().is_ok();
        self.overflowed |= !grown;
        grown
    }

    /// Queues a range of the elements of an array.
    pub(crate) fn push_piece(&mut self, cell: NonNull<u8>, range: Range<usize>) {
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
        self.pieces.push(Piece { array: unsafe { ObjectRef::new(cell) }, range });
    }

    /// The object that was queued last.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<ObjectRef> {
        self.stack.pop()
    }

    /// Visits an object.
    pub(crate) fn visit(&mut self, object: ObjectRef) {
        self.visited = Some(object);
        object.mark_edges(self);
    }

    /// Lists the object that is being visited among those with ephemeron tables.
    #[cold]
    fn list_owner(&mut self) {
        let owner = self.visited.expect("tables are found while an object is visited");
        if self.owners.last().is_some_and(|(last, part)| *last == owner && *part == self.part) {
            return;
        }
        match self.owners.try_reserve(1) {
            Ok(()) => self.owners.push((owner, self.part.clone())),
            Err(_) => self.owners_lost = true,
        }
    }

    /// Visits another piece of an array, if any waits.
    pub(crate) fn visit_piece(&mut self) -> bool {
        match self.pieces.pop() {
            Some(Piece { array, range }) => {
                self.visit_elements(array, range);
                true
            }
            None => false,
        }
    }

    /// Visits the first of some elements of an array, and queues the rest.
    fn visit_elements(&mut self, array: ObjectRef, range: Range<usize>) {
        (self.visited, self.part) = (Some(array), Part::Piece(range.clone()));
        array.mark_piece(range, self);
        self.part = Part::Whole;
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
}

impl Marker {
    /// Reserves the least room that ephemerons need.
    pub(crate) fn reserve_notes(&mut self) -> Result<(), alloc::collections::TryReserveError> {
        if self.noted.capacity() < NOTES { self.noted.try_reserve_exact(NOTES) } else { Ok(()) }
    }

    /// The program runs no more before the collection ends.
    pub(crate) fn begin_pause(&mut self) {
        self.interrupted = false;
        self.overflowed |= core::mem::take(&mut self.owners_lost);
    }

    /// Visits the parts of objects with ephemeron tables again that are listed, all of which are marked. At once, since some are
    /// listed more than once, and others are queued as well: `[INV-MARK-2]`.
    pub(crate) fn visit_owners(&mut self) {
        debug_assert!(self.pieces.is_empty());
        while let Some((owner, part)) = self.owners.pop() {
            match part {
                Part::Whole => self.visit(owner),
                Part::Piece(range) => self.visit_elements(owner, range),
                Part::Bytes(range) => self.visit_range(owner, range),
            }
            // What follows in an array was visited since, and is listed itself if it has tables.
            self.pieces.clear();
        }
    }

    /// How many objects are queued, pieces of arrays not counted.
    #[cfg(feature = "parallel")]
    pub(crate) fn queue_length(&self) -> usize {
        self.stack.len()
    }

    /// Objects that are queued, or of which a piece is.
    pub(crate) fn queued(&self) -> impl Iterator<Item = ObjectRef> {
        self.stack.iter().copied().chain(self.pieces.iter().map(|piece| piece.array))
    }

    /// Some marked object has to be visited again, and it is not known which.
    pub(crate) fn overflow(&mut self) {
        self.overflowed = true;
    }

    /// Whether objects were left out of the queue.
    pub(crate) fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Whether nothing is queued; there may be objects that the queue had no room for.
    pub(crate) fn is_empty(&self) -> bool {
        self.stack.is_empty() && self.pieces.is_empty()
    }

    /// Gives back what a large heap made the queue grow to.
    pub(crate) fn shrink(&mut self, entries: usize) {
        self.stack.shrink(entries.max(RESERVE));
        shrink(&mut self.pieces, RESERVE);
        shrink(&mut self.noted, NOTES);
        shrink(&mut self.owners, 0);
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

    /// An observed object that was marked while they were noted.
    pub(crate) fn pop_noted(&mut self) -> Option<ObjectRef> {
        self.noted.pop()
    }

    /// Asks for no more memory, until everything is [forgotten](Self::clear): what there is no room for is deferred.
    pub(crate) fn freeze(&mut self) {
        self.frozen = true;
    }

    /// Marked objects that were deferred, and perhaps one next to them. Whoever takes them looks at them again.
    pub(crate) fn pop_deferred(&mut self) -> Option<impl Iterator<Item = ObjectRef> + use<>> {
        // SAFETY: [INV-OBJ-1] marked cells hold objects, from when marking began to the next collection.
        self.deferred.pop().map(|cells| cells.map(|cell| unsafe { ObjectRef::new(cell) }))
    }

    /// Whether nothing is queued, noted or deferred.
    pub(crate) fn is_settled(&self) -> bool {
        let Self { stack, pieces, overflowed, noted, deferred, .. } = self;
        stack.is_empty() && pieces.is_empty() && !overflowed && noted.is_empty() && deferred.is_empty()
    }

    /// Queues an object that is marked already, so that its edges are visited again.
    pub(crate) fn requeue(&mut self, object: ObjectRef) {
        self.push(object);
    }

    /// Visits what lies in a range of an object's bytes.
    pub(crate) fn visit_range(&mut self, object: ObjectRef, range: Range<usize>) {
        (self.visited, self.part) = (Some(object), Part::Bytes(range.clone()));
        object.mark_range(range, self);
        self.part = Part::Whole;
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
        self.owners.clear();
        (self.in_ring, self.part) = (0, Part::Whole);
        (self.overflowed, self.watching, self.frozen) = (false, false, false);
        (self.interrupted, self.owners_lost) = (false, false);
    }
}

/// What one thread has queued and another one visits.
#[cfg(feature = "parallel")]
pub(crate) struct Batch {
    objects: Vec<ObjectRef>,
    piece: Option<Piece>,
}

// SAFETY: [INV-MARK-2] whoever has the batch is the only one to visit what is in it, and what it reads of that nobody
// writes.
#[cfg(feature = "parallel")]
unsafe impl Send for Batch {}

// SAFETY: [INV-MARK-2] as above, for the queue; and the tables that it has reached are reached by no other thread.
#[cfg(feature = "parallel")]
unsafe impl Send for Marker<Shared> {}

/// Objects in a batch, at most: some tens of microseconds of work and some KiB.
#[cfg(feature = "parallel")]
const BATCH: usize = 1024;

#[cfg(feature = "parallel")]
impl Marker {
    /// The queue, for several threads to visit: `[INV-MARK-2]` from now to when all that is left was [taken
    /// back](Self::take_back). No observed objects may be watched for.
    pub(crate) fn share(&mut self) -> Marker<Shared> {
        debug_assert!(!self.watching && self.noted.is_empty(), "only the weak pass looks at observed objects");
        let (stack, pieces) = (core::mem::take(&mut self.stack), core::mem::take(&mut self.pieces));
        Marker { stack, pieces, ..Marker::default() }
    }

    /// Takes over what a shared marker has found and has not visited.
    pub(crate) fn take_back(&mut self, mut shared: Marker<Shared>) {
        if self.stack.is_empty() {
            core::mem::swap(&mut self.stack, &mut shared.stack);
        }
        if self.pieces.capacity() < shared.pieces.capacity() {
            core::mem::swap(&mut self.pieces, &mut shared.pieces);
        }
        while let Some(object) = shared.stack.pop() {
            self.push(object);
        }
        let pieces_left = !shared.pieces.is_empty() && self.pieces.try_reserve(shared.pieces.len()).is_err();
        if !pieces_left {
            self.pieces.append(&mut shared.pieces);
        }
        self.overflowed |= shared.overflowed | pieces_left;
        while let Some(table) = shared.fresh.pop() {
            self.fresh.push(table);
        }
    }
}

#[cfg(feature = "parallel")]
impl Marker<Shared> {
    /// Half of a long array that waits, else half of the queue or a part of it, unless it is shorter than `least` twice: of
    /// what was queued first, since that is likely to lead to more than what was queued last.
    pub(crate) fn split(&mut self, least: usize) -> Option<Batch> {
        if let Some(Piece { array, range }) = self.pieces.first_mut()
            && range.len() / 2 >= BATCH
        {
            let middle = range.start + range.len() / 2;
            let piece = Piece { array: *array, range: middle..range.end };
            range.end = middle;
            return Some(Batch { objects: Vec::new(), piece: Some(piece) });
        }
        if let Some(objects) = self.stack.take_lowest() {
            return Some(Batch { objects, piece: None });
        }
        let top = &mut self.stack.top;
        let half = top.len() / 2;
        if half < least {
            return None;
        }
        let count = half.min(BATCH);
        let mut objects = Vec::new();
        objects.try_reserve_exact(count).ok()?;
        objects.extend_from_slice(&top[..count]);
        // Those queued last fill the gap.
        let left = top.len() - count;
        top.copy_within(left.., 0);
        top.truncate(left);
        Some(Batch { objects, piece: None })
    }

    /// Queues what is in a batch.
    pub(crate) fn accept(&mut self, Batch { objects, piece }: Batch) {
        objects.into_iter().for_each(|object| self.push(object));
        if let Some(Piece { array, range }) = piece {
            self.push_piece(array.cell(), range);
        }
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
    unsafe fn mark_edges<S: Sharing>(cell: NonNull<u8>, marker: &mut Marker<S>);
}

/// Visits queued objects, the one queued last first, as long as they have the type `M`, which `kind` stands for, and at
/// most `limit`. Returns how many.
///
/// # Safety
///
/// `[INV-DESC-1]` Blocks of the kind hold objects of the type `M`.
pub(crate) unsafe fn visit_plain<M: MarkEdges, S: Sharing>(
    marker: &mut Marker<S>,
    kind: *const (),
    limit: usize,
) -> usize {
    for visits in 0..limit {
        match marker.stack.top.pop_if(|object| kind_of(object.cell()) == kind) {
            Some(object) => {
                marker.visited = Some(object);
                // SAFETY: the queue holds objects, and this one's block has the kind.
                unsafe { M::mark_edges(object.cell(), marker) };
            }
            None => return visits,
        }
    }
    limit
}

/// Objects in the prefetch ring.
const RING: usize = 32;

/// Visits queued objects by way of the prefetch ring: about `limit` of any type, those of the type `M`, which `kind` stands
/// for, the fastest. Returns how many.
///
/// # Safety
///
/// `[INV-DESC-1]` Blocks of the kind hold objects of the type `M`.
pub(crate) unsafe fn visit_ring<M: MarkEdges, S: Sharing>(
    marker: &mut Marker<S>,
    kind: *const (),
    limit: usize,
) -> usize {
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
                marker.visited = Some(object);
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

impl<S> sealed::Sealed for Marker<S> {}

impl<S: Sharing> Visitor for Marker<S> {
    #[inline(always)]
    fn edge<T: ?Sized + Object>(&mut self, target: Gc<'_, T>) {
        if S::mark(target.cell()) {
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
        if table.0.live() == 0 && table.0.bytes() == 0 {
            // Whoever puts an entry into it makes its owner dirty.
            return;
        }
        if self.interrupted {
            self.list_owner();
        } else {
            self.fresh.reach(table);
        }
    }
}
