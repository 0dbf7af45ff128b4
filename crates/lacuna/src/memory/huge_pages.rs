//! Asking the system for huge pages.
//!
//! A chunk has the size and alignment of a huge page of most machines. Where the system gives one on request, the first
//! touch of a chunk costs one page fault instead of 512, and the address of a scattered object is found in the
//! translation cache far more often. It is advice: memory comes from the global allocator all the same, and where the
//! system knows no huge pages, or the feature `huge-pages` is off, nothing happens.
#![allow(unsafe_code)]

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// The alignment and least size of what is worth advising.
const HUGE: usize = 2 << 20;

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
