//! Asking the system for huge pages.
//!
//! A chunk has the size and alignment of a huge page of most machines. Where the system gives one on request, the first
//! touch of a chunk costs one page fault instead of 512, and the address of a scattered object is found in the
//! translation cache far more often. It is advice: memory comes from the global allocator all the same, and where the
//! system knows no huge pages, or the feature `huge-pages` is off, nothing happens.
#![allow(unsafe_code)]

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

#[cfg(all(feature = "huge-pages", target_os = "linux", not(miri)))]
fn request(start: *mut u8, bytes: usize) {
    // SAFETY: the range lies within an allocation of the caller, and the advice changes no content. It may be refused.
    unsafe { libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE) };
}

#[cfg(not(all(feature = "huge-pages", target_os = "linux", not(miri))))]
fn request(_: *mut u8, _: usize) {}
