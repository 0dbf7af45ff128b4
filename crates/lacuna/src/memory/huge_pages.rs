//! Asking the system for huge pages.
//!
//! A chunk has the size and alignment of a huge page of most machines. Where the system gives one on request, the first
//! touch of a chunk costs one page fault instead of 512, and the address of a scattered object is found in the
//! translation cache far more often. It is advice: memory comes from the global allocator all the same, and where the
//! system knows no huge pages, or the feature `huge-pages` is off, nothing happens.
//!
//! Tables have other sizes. A large one is aligned to a huge page, and made longer by up to a third if all of it can have
//! huge pages then.
//!
//! - `[INV-HUGE-1]` What [`allocate`] gives for a layout is an allocation of the layout [`whole`] makes of it.
#![allow(unsafe_code)]

use alloc::alloc::{alloc, dealloc};
use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;

/// The alignment and least size of what is worth advising.
const HUGE: usize = 2 << 20;

/// Whether there is anybody to advise.
const ADVISES: bool = cfg!(all(feature = "huge-pages", target_os = "linux", not(miri)));

/// Advises huge pages for the part of an allocation that can have them, before it is touched.
///
/// The allocation belongs to the caller; its content is not changed.
pub(crate) fn advise(start: *mut u8, bytes: usize) {
    let first = start.addr().next_multiple_of(HUGE);
    let end = (start.addr() + bytes) & !(HUGE - 1);
    if first < end {
        request(start.with_addr(first), end - first);
    }
}

/// Makes room for so many more elements of a vector that is read at random. Like [`Vec::try_reserve`], but where huge pages
/// are worth it the vector moves to a place that can have them, since pages that are moved stay as small as they were.
pub(crate) fn reserve<T>(vector: &mut Vec<T>, additional: usize) -> Result<(), TryReserveError> {
    if additional <= vector.capacity() - vector.len() {
        return Ok(());
    }
    let room = vector.len().saturating_add(additional).max(vector.capacity().saturating_mul(2));
    let mut larger: Vec<T> = Vec::new();
    if room.saturating_mul(size_of::<T>()) < HUGE || larger.try_reserve_exact(room).is_err() {
        return vector.try_reserve(additional);
    }
    advise(larger.as_mut_ptr().cast(), larger.capacity() * size_of::<T>());
    larger.append(vector);
    *vector = larger;
    Ok(())
}

#[cfg(all(feature = "huge-pages", target_os = "linux", not(miri)))]
fn request(start: *mut u8, bytes: usize) {
    // SAFETY: the range lies within an allocation of the caller, and the advice changes no content. It may be refused.
    unsafe { libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE) };
}

#[cfg(not(all(feature = "huge-pages", target_os = "linux", not(miri))))]
fn request(_: *mut u8, _: usize) {}

/// The layout of an allocation that has room for `layout`, with huge pages if that is large.
fn whole(layout: Layout) -> Layout {
    if !ADVISES || layout.size() < HUGE || layout.align() > HUGE {
        return layout;
    }
    let bytes = match layout.size().checked_next_multiple_of(HUGE) {
        Some(rounded) if rounded - layout.size() <= layout.size() / 3 => rounded,
        _ => layout.size(),
    };
    Layout::from_size_align(bytes, HUGE).unwrap_or(layout)
}

/// Memory for a table, from the global allocator; `None` if there is none, or the layout has no bytes.
#[inline]
pub(crate) fn allocate(layout: Layout) -> Option<NonNull<u8>> {
    if layout.size() == 0 {
        return None;
    }
    let layout = whole(layout);
    // SAFETY: the layout has more than zero bytes.
    let memory = NonNull::new(unsafe { alloc(layout) })?;
    if layout.size() >= HUGE {
        advise(memory.as_ptr(), layout.size());
    }
    Some(memory)
}

/// Gives memory of a table back.
///
/// # Safety
///
/// It came from [`allocate`] with this layout, and is not used again.
#[inline]
pub(crate) unsafe fn free(memory: NonNull<u8>, layout: Layout) {
    // SAFETY: [INV-HUGE-1]
    unsafe { dealloc(memory.as_ptr(), whole(layout)) };
}

/// An allocator for tables: the global one, with huge pages for what is large.
///
/// Where the system gives no huge pages on request, or the feature `huge-pages` is off, it is the global allocator and
/// nothing else. For a [`HashTable`](hashbrown::HashTable), which with it can be a field like any other:
///
/// ```
/// use hashbrown::HashTable;
/// use lacuna::HugePages;
///
/// let mut numbers: HashTable<u64, HugePages> = HashTable::new_in(HugePages);
/// numbers.insert_unique(7, 7, |number| *number);
/// assert_eq!(numbers.find(7, |number| *number == 7), Some(&7));
/// ```
#[cfg(feature = "hashbrown-fields")]
#[derive(Clone, Copy, Default, Debug)]
pub struct HugePages;

// SAFETY: memory stays valid until it is given back, whatever becomes of the allocator, of which all values are alike.
#[cfg(feature = "hashbrown-fields")]
unsafe impl allocator_api2::alloc::Allocator for HugePages {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, allocator_api2::alloc::AllocError> {
        let memory = match layout.size() {
            // Nothing is read or written there, and `deallocate` knows it by its size.
            0 => NonNull::without_provenance(layout.align().try_into().expect("an alignment is not zero")),
            _ => allocate(layout).ok_or(allocator_api2::alloc::AllocError)?,
        };
        Ok(NonNull::slice_from_raw_parts(memory, layout.size()))
    }

    unsafe fn deallocate(&self, memory: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: it came from `allocate` with a layout of this size and alignment, as the caller knows.
            unsafe { free(memory, layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_tables_are_aligned_and_small_ones_are_as_they_were() {
        for bytes in [1, 4096, HUGE - 1, HUGE, HUGE + 1, HUGE * 5 / 3, 3 * HUGE + 16] {
            let layout = Layout::from_size_align(bytes, 16).unwrap();
            let room = whole(layout);
            assert!(room.size() >= bytes && room.size() <= bytes + bytes / 3 && room.align() >= 16);
            if ADVISES && bytes >= HUGE {
                assert_eq!(room.align(), HUGE);
            } else {
                assert_eq!(room, layout);
            }
            let memory = allocate(layout).unwrap();
            // SAFETY: the allocation has that many bytes, and is given back with the layout it was made with.
            unsafe {
                memory.write_bytes(7, bytes);
                assert_eq!(memory.add(bytes - 1).read(), 7);
                free(memory, layout);
            }
        }
        assert_eq!(allocate(Layout::new::<()>()), None);
        // Miri ends the program instead.
        if !cfg!(miri) {
            assert_eq!(allocate(Layout::from_size_align(isize::MAX as usize - 16, 16).unwrap()), None);
        }
    }
}
