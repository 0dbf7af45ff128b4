//! Objects with a length of their own: slices, strings, and a header with a tail.
//!
//! ```text
//! | length | padding | header | padding | element 0 | element 1 | …
//! 0        8         data_offset
//! ```
//!
//! - `[INV-SEQ-1]` A cell that holds a sequence begins with the number of its initialised elements. It changes only
//!   while the sequence is built.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::any::TypeId;
use core::ops::Range;
use core::ptr::{self, NonNull};

use super::marker::{Marker, Sharing};
use super::trace::{Object, Trace, Visitor};

/// A header followed by elements, in one object: what a record with a variable number of fields needs.
///
/// Made by [`Mutator::alloc_tail`](crate::Mutator::alloc_tail).
///
/// ```
/// use lacuna::{Gc, Heap, WithTail};
///
/// let mut heap = Heap::new();
/// heap.enter(|cx| {
///     let frame: Gc<WithTail<&str, u32>> = cx.alloc_tail("main", [1, 2, 3]);
///     assert_eq!(frame.header, "main");
///     assert_eq!(&frame.tail, [1, 2, 3]);
/// });
/// ```
#[repr(C)]
#[derive(Debug)]
pub struct WithTail<H, T> {
    /// What is there once.
    pub header: H,
    /// The elements.
    pub tail: [T],
}

/// The element types' layout behind the length word, for `length` elements.
const fn data_layout<H, T>(length: usize) -> Option<Layout> {
    let Ok(tail) = Layout::array::<T>(length) else { return None };
    match Layout::new::<H>().extend(tail) {
        Ok((layout, _)) => Some(layout.pad_to_align()),
        Err(_) => None,
    }
}

const fn data_align<H, T>() -> usize {
    if align_of::<H>() > align_of::<T>() { align_of::<H>() } else { align_of::<T>() }
}

/// The alignment of a cell with such a sequence.
pub(crate) const fn cell_align<H, T>() -> usize {
    if data_align::<H, T>() < align_of::<usize>() { align_of::<usize>() } else { data_align::<H, T>() }
}

/// Where the header is, or the first element if there is none.
const fn data_offset<H, T>() -> usize {
    cell_align::<H, T>()
}

/// Where the first element is.
const fn tail_offset<H, T>() -> usize {
    data_offset::<H, T>() + size_of::<H>().next_multiple_of(align_of::<T>())
}

/// Bytes that a sequence of `length` elements takes, or `None` if no address space has that many.
pub(crate) fn checked_bytes<H, T>(length: usize) -> Option<usize> {
    data_layout::<H, T>(length)?.size().checked_add(data_offset::<H, T>()).filter(|&bytes| bytes <= isize::MAX as usize)
}

/// Bytes that a sequence that exists takes.
pub(crate) fn bytes<H, T>(length: usize) -> usize {
    checked_bytes::<H, T>(length).expect("the sequence was allocated, so its size is representable")
}

/// The number of elements.
///
/// # Safety
///
/// `[INV-SEQ-1]`.
#[inline(always)]
pub(crate) unsafe fn length(cell: NonNull<u8>) -> usize {
    // SAFETY: [INV-SEQ-1].
    unsafe { cell.cast::<usize>().read() }
}

/// # Safety
///
/// `[INV-SEQ-1]` for a sequence with this header and element.
unsafe fn header<'a, H, T>(cell: NonNull<u8>) -> &'a H {
    // SAFETY: the header lies at that offset of the cell, initialised.
    unsafe { cell.add(data_offset::<H, T>()).cast::<H>().as_ref() }
}

/// # Safety
///
/// `[INV-SEQ-1]` for a sequence with this header and element.
unsafe fn tail<'a, H, T>(cell: NonNull<u8>) -> &'a [T] {
    // SAFETY: [INV-SEQ-1] that many elements lie at that offset of the cell, initialised.
    unsafe { NonNull::slice_from_raw_parts(cell.add(tail_offset::<H, T>()).cast(), length(cell)).as_ref() }
}

/// Elements that are traced before the collector looks at other objects.
const PIECE: usize = 128;

/// # Safety
///
/// `[INV-SEQ-1]` for a sequence with this header and element.
pub(crate) unsafe fn mark<H: Trace, T: Trace, S: Sharing>(cell: NonNull<u8>, marker: &mut Marker<S>) {
    // SAFETY: the caller's.
    unsafe {
        header::<H, T>(cell).trace(marker);
        mark_piece::<H, T, S>(cell, 0..length(cell), marker);
    }
}

/// Marks what the first elements of a range lead to, and queues the rest of it.
///
/// # Safety
///
/// `[INV-SEQ-1]` for a sequence with this header and element.
pub(crate) unsafe fn mark_piece<H: Trace, T: Trace, S: Sharing>(
    cell: NonNull<u8>,
    range: Range<usize>,
    marker: &mut Marker<S>,
) {
    if !T::NEEDS_TRACE {
        return;
    }
    // SAFETY: the caller's.
    let elements = unsafe { tail::<H, T>(cell) };
    let Range { start, end } = range;
    let next = end.min(start + PIECE);
    for element in &elements[start..next] {
        element.trace(marker);
    }
    if next < end {
        marker.push_piece(cell, next..end);
    }
}

/// Marks what the header and elements lead to that lie, also in part, in a range of the cell's bytes.
///
/// # Safety
///
/// `[INV-SEQ-1]` for a sequence with this header and element.
pub(crate) unsafe fn mark_range<H: Trace, T: Trace, S: Sharing>(
    cell: NonNull<u8>,
    range: Range<usize>,
    marker: &mut Marker<S>,
) {
    let first = tail_offset::<H, T>();
    if range.start < first && H::NEEDS_TRACE {
        // SAFETY: the caller's.
        unsafe { header::<H, T>(cell) }.trace(marker);
    }
    if T::NEEDS_TRACE && size_of::<T>() > 0 {
        // SAFETY: the caller's.
        let elements = unsafe { tail::<H, T>(cell) };
        let end = range.end.saturating_sub(first).div_ceil(size_of::<T>()).min(elements.len());
        let start = (range.start.saturating_sub(first) / size_of::<T>()).min(end);
        elements[start..end].iter().for_each(|element| element.trace(marker));
    }
}

/// Fills a cell with a sequence.
///
/// Elements are counted as they are written, so that an iterator that panics leaves a shorter sequence behind, which
/// the collector frees like any other.
///
/// # Safety
///
/// The cell is unused and has room for the header and `length` elements. If the sequence has edges or is dropped, the
/// collector does not look at the cell before this function has returned or unwound.
pub(crate) unsafe fn fill<H, T>(cell: NonNull<u8>, header: H, length: usize, mut elements: impl Iterator<Item = T>) {
    // SAFETY: the cell has room for the length and the header.
    unsafe {
        cell.cast::<usize>().write(0);
        cell.add(data_offset::<H, T>()).cast::<H>().write(header);
    }
    // SAFETY: the offset is within the cell.
    let first = unsafe { cell.add(tail_offset::<H, T>()).cast::<T>() };
    for index in 0..length {
        let element = elements.next().expect("the iterator yields as many elements as it says");
        // SAFETY: the cell has room for `length` elements; the first `index + 1` are then initialised.
        unsafe {
            first.add(index).write(element);
            cell.cast::<usize>().write(index + 1);
        }
    }
}

/// Fills a cell with a copy of bytes.
///
/// # Safety
///
/// The cell is unused and has room for them.
pub(crate) unsafe fn fill_bytes(cell: NonNull<u8>, bytes: &[u8]) {
    // SAFETY: the cell has room for the length and the bytes, which are not in it.
    unsafe {
        cell.cast::<usize>().write(bytes.len());
        cell.add(tail_offset::<(), u8>()).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
    }
}

// SAFETY: the object is the elements, as many as the cell says.
unsafe impl<T: Trace> Object for [T] {
    type Metadata = ();
    type Of<'a> = [T::At<'a>];
    const EDGES: bool = T::NEEDS_TRACE;

    #[inline(always)]
    unsafe fn object(cell: NonNull<u8>, (): ()) -> NonNull<Self> {
        // SAFETY: [INV-SEQ-1].
        unsafe { NonNull::slice_from_raw_parts(cell.add(tail_offset::<(), T>()).cast(), length(cell)) }
    }

    fn stored_type() -> Option<TypeId> {
        Some(TypeId::of::<[T::At<'static>]>())
    }

    fn trace_object<V: Visitor>(&self, visitor: &mut V) {
        if T::NEEDS_TRACE {
            self.iter().for_each(|element| element.trace(visitor));
        }
    }
}

// SAFETY: the object is the bytes, as many as the cell says; they were copied from a string.
unsafe impl Object for str {
    type Metadata = ();
    type Of<'a> = str;
    const EDGES: bool = false;

    #[inline(always)]
    unsafe fn object(cell: NonNull<u8>, (): ()) -> NonNull<Self> {
        // SAFETY: [INV-SEQ-1].
        let bytes = unsafe { <[u8] as Object>::object(cell, ()) };
        // A pointer to bytes and one to a string have the same metadata.
        NonNull::new(bytes.as_ptr() as *mut str).expect("it was not null before")
    }

    fn stored_type() -> Option<TypeId> {
        Some(TypeId::of::<str>())
    }

    fn trace_object<V: Visitor>(&self, _: &mut V) {}
}

// SAFETY: the object starts with the header, which is followed by the elements, as many as the cell says.
unsafe impl<H: Trace, T: Trace> Object for WithTail<H, T> {
    type Metadata = ();
    type Of<'a> = WithTail<H::At<'a>, T::At<'a>>;
    const EDGES: bool = H::NEEDS_TRACE || T::NEEDS_TRACE;

    #[inline(always)]
    unsafe fn object(cell: NonNull<u8>, (): ()) -> NonNull<Self> {
        // SAFETY: [INV-SEQ-1]; the offset is within the cell.
        let (data, length) = unsafe { (cell.add(data_offset::<H, T>()), length(cell)) };
        // The unsized tail gives the pointer the metadata of a slice.
        NonNull::new(ptr::slice_from_raw_parts_mut(data.as_ptr().cast::<T>(), length) as *mut Self)
            .expect("it was not null before")
    }

    fn stored_type() -> Option<TypeId> {
        Some(TypeId::of::<WithTail<H::At<'static>, T::At<'static>>>())
    }

    fn trace_object<V: Visitor>(&self, visitor: &mut V) {
        self.header.trace(visitor);
        self.tail.trace_object(visitor);
    }
}
