//! Descriptors: what the collector knows of a type.
//!
//! - `[INV-DESC-1]` The kind word of a block in use is the address of the [`Descriptor`] of the type whose objects its
//!   cells hold, up to the brand.
#![allow(unsafe_code)]

use core::any::{TypeId, type_name};
use core::marker::PhantomData;
use core::ops::Range;
use core::ptr::{self, NonNull};

use super::edges::{EdgeCount, EdgeList};
#[cfg(feature = "parallel")]
use super::marker::Shared;
use super::marker::{Alone, MarkEdges, Marker, Sharing, visit_plain, visit_ring};
use super::sequence::{self, WithTail};
use super::trace::{Object, Stored, Trace};
use crate::memory::bitmap::GRANULE;
use crate::memory::block::Block;
use crate::memory::chunk::kind_of;

/// How the cells of one type are laid out, traced and dropped.
///
/// Aligned so that an address plus a size class below 64 is different for every pair of them.
#[repr(align(64))]
pub(crate) struct Descriptor {
    /// Bytes of a cell of a sized type; 0 where each object has its own length.
    pub(crate) cell_size: usize,
    pub(crate) align: usize,
    /// Whether objects can hold edges.
    pub(crate) edges: bool,
    /// Whether dropping an object does anything.
    pub(crate) drops: bool,
    /// How objects are visited where one thread marks.
    pub(crate) visits: Visits<Alone>,
    /// How objects are visited where several threads mark.
    #[cfg(feature = "parallel")]
    pub(crate) shared_visits: Visits<Shared>,
    list: unsafe fn(NonNull<u8>, &mut EdgeList),
    count: unsafe fn(NonNull<u8>, &mut EdgeCount),
    drop: unsafe fn(NonNull<u8>),
    bytes: unsafe fn(NonNull<u8>) -> usize,
    pub(crate) type_name: fn() -> &'static str,
    /// The type's identity in the static form, the same whatever scope it was described in.
    pub(crate) type_id: fn() -> TypeId,
}

/// How the objects of a type are visited by a marker.
pub(crate) struct Visits<S> {
    /// Marks what the object leads to; of a long array the first piece only.
    mark: unsafe fn(NonNull<u8>, &mut Marker<S>),
    /// [`visit_plain`] for the type.
    plain: unsafe fn(&mut Marker<S>, *const (), usize) -> usize,
    /// [`visit_ring`] for the type.
    ring: unsafe fn(&mut Marker<S>, *const (), usize) -> usize,
    /// Marks what the first of the elements in a range lead to, and queues the rest.
    mark_piece: unsafe fn(NonNull<u8>, Range<usize>, &mut Marker<S>),
    /// Marks what lies in a range of the cell's bytes leads to; it may be more, up to the whole object.
    mark_range: unsafe fn(NonNull<u8>, Range<usize>, &mut Marker<S>),
}

/// An object, as the collector handles it: by its cell.
///
/// `[INV-OBJ-1]` The cell holds an initialised object of the type that its block's descriptor describes. Whoever makes
/// an `ObjectRef` keeps it no longer than the object lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ObjectRef(NonNull<u8>);

impl ObjectRef {
    /// # Safety
    ///
    /// `[INV-OBJ-1]`.
    #[inline(always)]
    pub(crate) unsafe fn new(cell: NonNull<u8>) -> Self {
        Self(cell)
    }

    #[inline(always)]
    pub(crate) fn cell(self) -> NonNull<u8> {
        self.0
    }

    #[inline(always)]
    pub(crate) fn descriptor(self) -> &'static Descriptor {
        // SAFETY: [INV-OBJ-1] the block is in use, so [INV-DESC-1] its kind is the address of a descriptor, and
        // descriptors are constants.
        unsafe { &*kind_of(self.0).cast::<Descriptor>() }
    }

    /// Marks what the object leads to.
    #[inline(always)]
    pub(crate) fn mark_edges<S: Sharing>(self, marker: &mut Marker<S>) {
        // SAFETY: [INV-OBJ-1], [INV-DESC-1]: the function is that of the object's type.
        unsafe { (S::visits(self.descriptor()).mark)(self.0, marker) };
    }

    /// Visits queued objects of this object's type, the one queued last first; returns how many.
    pub(crate) fn visit_plain<S: Sharing>(self, marker: &mut Marker<S>, limit: usize) -> usize {
        // SAFETY: [INV-DESC-1] the kind of the object's block stands for the descriptor's type.
        unsafe { (S::visits(self.descriptor()).plain)(marker, kind_of(self.0), limit) }
    }

    /// Visits queued objects by way of the prefetch ring, those of this object's type the fastest; returns how many.
    pub(crate) fn visit_ring<S: Sharing>(self, marker: &mut Marker<S>, limit: usize) -> usize {
        // SAFETY: [INV-DESC-1] the kind of the object's block stands for the descriptor's type.
        unsafe { (S::visits(self.descriptor()).ring)(marker, kind_of(self.0), limit) }
    }

    /// Marks what a piece of an array leads to.
    pub(crate) fn mark_piece<S: Sharing>(self, range: Range<usize>, marker: &mut Marker<S>) {
        // SAFETY: as in `mark_edges`.
        unsafe { (S::visits(self.descriptor()).mark_piece)(self.0, range, marker) };
    }

    /// Marks what lies in a range of the cell's bytes leads to.
    pub(crate) fn mark_range(self, range: Range<usize>, marker: &mut Marker) {
        // SAFETY: as in `mark_edges`.
        unsafe { (self.descriptor().visits.mark_range)(self.0, range, marker) };
    }

    /// Lists the object's edges.
    pub(crate) fn list_edges(self, list: &mut EdgeList) {
        // SAFETY: as in `mark_edges`.
        unsafe { (self.descriptor().list)(self.0, list) };
    }

    /// The object's edges, those in what it owns outside of its cell included. An ephemeron counts for several.
    pub(crate) fn count_edges(self) -> usize {
        let mut count = EdgeCount::default();
        // SAFETY: as in `mark_edges`.
        unsafe { (self.descriptor().count)(self.0, &mut count) };
        count.0
    }

    /// Bytes of the object itself, without the rest of its cell.
    pub(crate) fn bytes(self) -> usize {
        // SAFETY: as in `mark_edges`.
        unsafe { (self.descriptor().bytes)(self.0) }
    }

    /// Drops the object.
    ///
    /// # Safety
    ///
    /// Nobody uses the object any more.
    pub(crate) unsafe fn drop(self) {
        // SAFETY: [INV-OBJ-1], [INV-DESC-1]; the caller gives the object up.
        unsafe { (self.descriptor().drop)(self.0) };
    }
}

/// The object that starts at a byte offset of a block in use.
///
/// `[INV-OBJ-2]` The collector asks only for cells that are marked or allocated, which hold objects.
pub(crate) fn object_at(block: Block, offset: usize) -> ObjectRef {
    debug_assert!(!block.kind().get().is_null());
    // SAFETY: [INV-OBJ-2] is [INV-OBJ-1] for this cell.
    unsafe { ObjectRef::new(block.cell(offset)) }
}

/// What is said to be an object. Nothing is read from it before that is checked.
pub(crate) fn suspect(cell: NonNull<u8>) -> ObjectRef {
    ObjectRef(cell)
}

/// The largest alignment a cell can have: that of a block.
const LARGEST_ALIGN: usize = crate::memory::chunk::BLOCK_SIZE;

/// Bytes of a cell for a value of this layout: at least a granule, a multiple of 8 and of the alignment.
const fn cell_size(size: usize, align: usize) -> usize {
    assert!(align <= LARGEST_ALIGN, "objects aligned to more than 16 KiB are not supported");
    let align = if align < 8 { 8 } else { align };
    let size = if size < GRANULE { GRANULE } else { size };
    size.next_multiple_of(align)
}

/// Bytes of a cache line, on most machines.
const LINE: usize = 64;

/// Objects that are a `T`.
struct Value<T>(PhantomData<T>);

impl<T: Trace> MarkEdges for Value<T> {
    const REACH: usize = if size_of::<T>() < LINE { size_of::<T>().saturating_sub(1) } else { LINE };

    #[inline(always)]
    unsafe fn mark_edges<S: Sharing>(cell: NonNull<u8>, marker: &mut Marker<S>) {
        // SAFETY: [INV-OBJ-1] the cell holds a `T`, which nobody changes meanwhile.
        unsafe { cell.cast::<T>().as_ref() }.trace(marker);
    }
}

/// Objects that are a sequence of this header and element.
struct Sequence<H, T>(PhantomData<(H, T)>);

impl<H: Trace, T: Trace> MarkEdges for Sequence<H, T> {
    const REACH: usize = LINE;

    #[inline(always)]
    unsafe fn mark_edges<S: Sharing>(cell: NonNull<u8>, marker: &mut Marker<S>) {
        // SAFETY: [INV-OBJ-1] the cell holds such a sequence.
        unsafe { sequence::mark::<H, T, S>(cell, marker) };
    }
}

impl<S: Sharing> Visits<S> {
    const fn sized<T: Trace>() -> Self {
        Self {
            mark: Value::<T>::mark_edges,
            plain: visit_plain::<Value<T>, S>,
            ring: visit_ring::<Value<T>, S>,
            mark_piece: |_, _, _| unreachable!("sized objects are traced in one piece"),
            // SAFETY: [INV-OBJ-1] the cell holds a `T`.
            mark_range: |cell, _, marker| unsafe { Value::<T>::mark_edges(cell, marker) },
        }
    }

    const fn sequence<H: Trace, T: Trace>() -> Self {
        Self {
            mark: Sequence::<H, T>::mark_edges,
            plain: visit_plain::<Sequence<H, T>, S>,
            ring: visit_ring::<Sequence<H, T>, S>,
            // SAFETY: [INV-OBJ-1] the cell holds a sequence of this header and element.
            mark_piece: |cell, range, marker| unsafe { sequence::mark_piece::<H, T, S>(cell, range, marker) },
            // SAFETY: as above.
            mark_range: |cell, range, marker| unsafe { sequence::mark_range::<H, T, S>(cell, range, marker) },
        }
    }
}

impl Descriptor {
    /// Whether each object has its own length.
    pub(crate) fn has_length(&self) -> bool {
        self.cell_size == 0
    }

    const fn sized<T: Trace>() -> Self {
        Self {
            cell_size: cell_size(size_of::<T>(), align_of::<T>()),
            align: align_of::<T>(),
            edges: T::NEEDS_TRACE,
            drops: core::mem::needs_drop::<T>(),
            visits: Visits::sized::<T>(),
            #[cfg(feature = "parallel")]
            shared_visits: Visits::sized::<T>(),
            // SAFETY: [INV-OBJ-1] the cell holds a `T`, which nobody changes meanwhile.
            list: |cell, list| unsafe { cell.cast::<T>().as_ref() }.trace(list),
            // SAFETY: as above.
            count: |cell, count| unsafe { cell.cast::<T>().as_ref() }.trace(count),
            // SAFETY: as above; the caller of `ObjectRef::drop` gives it up.
            drop: |cell| unsafe { ptr::drop_in_place(cell.cast::<T>().as_ptr()) },
            bytes: |_| size_of::<T>(),
            type_name: type_name::<T>,
            type_id: TypeId::of::<T::At<'static>>,
        }
    }

    const fn sequence<H: Trace, T: Trace, O: ?Sized + Object<Metadata = ()>>(type_id: fn() -> TypeId) -> Self {
        assert!(align_of::<H>() <= LARGEST_ALIGN && align_of::<T>() <= LARGEST_ALIGN);
        Self {
            cell_size: 0,
            align: sequence::cell_align::<H, T>(),
            edges: H::NEEDS_TRACE || T::NEEDS_TRACE,
            drops: core::mem::needs_drop::<H>() || core::mem::needs_drop::<T>(),
            visits: Visits::sequence::<H, T>(),
            #[cfg(feature = "parallel")]
            shared_visits: Visits::sequence::<H, T>(),
            // SAFETY: [INV-OBJ-1] the cell holds a sequence of this header and element.
            list: |cell, list| unsafe { O::object(cell, ()).as_ref() }.trace_object(list),
            // SAFETY: as above.
            count: |cell, count| unsafe { O::object(cell, ()).as_ref() }.trace_object(count),
            // SAFETY: as above; the caller of `ObjectRef::drop` gives it up.
            drop: |cell| unsafe { ptr::drop_in_place(O::object(cell, ()).as_ptr()) },
            // SAFETY: as above.
            bytes: |cell| unsafe { sequence::bytes::<H, T>(sequence::length(cell)) },
            type_name: type_name::<O>,
            type_id,
        }
    }
}

// SAFETY: the descriptor is made for `T`.
unsafe impl<T: Trace> Stored for T {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::sized::<T>();
}

// SAFETY: a slice is a sequence with an empty header.
unsafe impl<T: Trace> Stored for [T] {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::sequence::<(), T, [T]>(TypeId::of::<[T::At<'static>]>);
}

// SAFETY: a string is a sequence of bytes with an empty header.
unsafe impl Stored for str {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::sequence::<(), u8, str>(TypeId::of::<str>);
}

// SAFETY: the sequence is made for `H` and `T`.
unsafe impl<H: Trace, T: Trace> Stored for WithTail<H, T> {
    const DESCRIPTOR: &'static Descriptor =
        &Descriptor::sequence::<H, T, Self>(TypeId::of::<WithTail<H::At<'static>, T::At<'static>>>);
}
