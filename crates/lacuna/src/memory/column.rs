//! A table in one piece, for entries that are read far more often than made.
//!
//! An entry is found by one load, where a [`Table`](super::table::Table) needs two, one after the other. The price is that
//! the entries are copied when the table grows. So it gets eight times the room at once, as long as it is small, or where
//! pages that were never touched are no memory yet. Elsewhere, and where there is not so much, it doubles.
//!
//! - `[INV-COLUMN-1]` The first `length` entries are initialised, in an allocation that has room for `capacity` of them and
//!   that only the table frees; there is none while the capacity is zero.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ops::{Index, IndexMut};
use core::ptr::NonNull;

use super::huge_pages;
use crate::error::Exhausted;

/// Entries by index, from 0 on. They are plain: nothing is to be done when one is dropped.
pub(crate) struct Column<T: Copy> {
    entries: NonNull<T>,
    length: u32,
    capacity: u32,
}

/// Entries for which there is room at first: a page of memory has them, if one takes 16 bytes.
const FIRST: u32 = 256;

/// Bytes of a table of which it is no matter if it is eight times as large as it need be.
const SMALL: usize = 64 << 10;

impl<T: Copy> Column<T> {
    pub(crate) const fn new() -> Self {
        const { assert!(size_of::<T>() > 0) };
        Self { entries: NonNull::dangling(), length: 0, capacity: 0 }
    }

    pub(crate) fn length(&self) -> u32 {
        self.length
    }

    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        // SAFETY: [INV-COLUMN-1] entries below the length are initialised.
        (index < self.length).then(|| unsafe { self.entries.add(index as usize).as_ref() })
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        // SAFETY: as above, and the table is borrowed exclusively.
        (index < self.length).then(|| unsafe { self.entries.add(index as usize).as_mut() })
    }

    /// Adds an entry and returns its index.
    #[inline(always)]
    pub(crate) fn push(&mut self, entry: T) -> Result<u32, Exhausted> {
        let index = self.length;
        if index == self.capacity {
            self.grow()?;
        }
        // SAFETY: [INV-COLUMN-1] there is room for another entry.
        unsafe { self.entries.add(index as usize).write(entry) };
        self.length = index + 1;
        Ok(index)
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> Result<(), Exhausted> {
        if self.length >= u32::MAX / 2 {
            return Err(Exhausted::System);
        }
        let double = (2 * self.length).max(FIRST);
        let cheap = cfg!(unix) || self.length as usize * size_of::<T>() < SMALL;
        let ample = if cheap { self.length.saturating_mul(8).max(double) } else { double };
        let room = |capacity: u32| {
            let layout = Layout::array::<T>(capacity as usize).ok()?;
            Some((huge_pages::allocate(layout)?.cast::<T>(), capacity))
        };
        let made = match room(ample) {
            None if double < ample => room(double),
            made => made,
        };
        let (entries, capacity) = made.ok_or(Exhausted::System)?;
        // SAFETY: [INV-COLUMN-1] so many are initialised, and the new allocation, which is another, has room for more.
        unsafe { self.entries.copy_to_nonoverlapping(entries, self.length as usize) };
        self.free();
        (self.entries, self.capacity) = (entries, capacity);
        Ok(())
    }

    /// Gives the allocation back; the caller replaces it, or is dropped.
    fn free(&mut self) {
        if self.capacity > 0 {
            let layout = Layout::array::<T>(self.capacity as usize).expect("it was allocated with this layout");
            // SAFETY: [INV-COLUMN-1] nobody else frees it, and the caller uses it no more.
            unsafe { huge_pages::free(self.entries.cast(), layout) };
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        // SAFETY: [INV-COLUMN-1] entries below the length are initialised.
        unsafe { NonNull::slice_from_raw_parts(self.entries, self.length as usize).as_ref() }.iter()
    }

    /// Bytes of the table, without pages that were never touched.
    pub(crate) fn bytes(&self) -> usize {
        let touched = (self.length as usize * size_of::<T>()).next_multiple_of(4096);
        touched.min(self.capacity as usize * size_of::<T>())
    }
}

impl<T: Copy> Drop for Column<T> {
    fn drop(&mut self) {
        self.free();
    }
}

impl<T: Copy> Index<u32> for Column<T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, index: u32) -> &T {
        self.get(index).expect("the index is that of an entry")
    }
}

impl<T: Copy> IndexMut<u32> for Column<T> {
    #[inline(always)]
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.get_mut(index).expect("the index is that of an entry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_where_their_index_says() {
        let mut column = Column::new();
        assert_eq!(column.bytes(), 0);
        for i in 0..10_000 {
            assert_eq!(column.get(i), None);
            assert_eq!(column.push(u64::from(i) * 3), Ok(i));
        }
        assert!(column.iter().copied().eq((0..10_000).map(|i| i * 3)));
        column[9_999] = 1;
        assert_eq!((column.get(9_999), column[9_998]), (Some(&1), 29_994));
        assert_eq!((column.length(), column.bytes()), (10_000, 81_920));
    }
}
