//! Asking the memory for a cell before it is needed.
#![allow(unsafe_code)]

use core::ptr::NonNull;

/// Starts to load the cache line at `cell`. Has no effect but on time.
#[inline(always)]
pub(crate) fn prefetch(cell: NonNull<u8>) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch of any address is allowed.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(cell.as_ptr().cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = cell;
}
