//! A table that grows without moving what it holds.
//!
//! Its memory comes in segments, each as large as all before it together, so that a growing table copies nothing and its
//! large segments can have huge pages from the start. A directory leads to them in pages of [`PAGE`] entries, so that
//! finding an entry is a shift, a mask and two loads, whatever the size of its segment.
//!
//! - `[INV-TABLE-1]` The first `length` entries are initialised. Entry `i` lies at place `i % PAGE` of the page
//!   `pages[i / PAGE]`, each page within one segment; segments are live allocations that only the table frees.
#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::alloc::Layout;
use core::marker::PhantomData;
use core::ops::{Index, IndexMut};
use core::ptr::NonNull;

use super::huge_pages;
use crate::error::Exhausted;

/// Entries to which one place of the directory leads.
const PAGE: usize = 256;

/// Entries by index, from 0 on.
pub(crate) struct Table<T> {
    pages: Vec<NonNull<T>>,
    length: u32,
    /// Each with its number of entries.
    segments: Vec<(NonNull<T>, usize)>,
    entries: PhantomData<T>,
}

impl<T> Table<T> {
    pub(crate) const fn new() -> Self {
        Self { pages: Vec::new(), length: 0, segments: Vec::new(), entries: PhantomData }
    }

    /// The place of an entry that there is room for.
    #[inline(always)]
    fn place(&self, index: usize) -> NonNull<T> {
        debug_assert!(index < self.pages.len() * PAGE);
        // SAFETY: [INV-TABLE-1] the callers' index is below the length, or below the room that was made.
        unsafe { self.pages.get_unchecked(index / PAGE).add(index % PAGE) }
    }

    pub(crate) fn length(&self) -> u32 {
        self.length
    }

    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        // SAFETY: [INV-TABLE-1] entries below the length are initialised.
        (index < self.length).then(|| unsafe { self.place(index as usize).as_ref() })
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        // SAFETY: as above, and the table is borrowed exclusively.
        (index < self.length).then(|| unsafe { self.place(index as usize).as_mut() })
    }

    /// Makes room for one more entry.
    #[inline]
    pub(crate) fn reserve(&mut self) -> Result<(), Exhausted> {
        if (self.length as usize) < self.pages.len() * PAGE { Ok(()) } else { self.add_segment() }
    }

    #[cold]
    fn add_segment(&mut self) -> Result<(), Exhausted> {
        if self.length >= u32::MAX / 2 {
            return Err(Exhausted::System);
        }
        let entries = (self.length as usize).max(PAGE);
        self.segments.try_reserve(1).map_err(|_| Exhausted::System)?;
        self.pages.try_reserve(entries / PAGE).map_err(|_| Exhausted::System)?;
        let layout = Layout::array::<T>(entries).map_err(|_| Exhausted::System)?;
        const { assert!(size_of::<T>() > 0) };
        let segment = huge_pages::allocate(layout).ok_or(Exhausted::System)?.cast::<T>();
        self.segments.push((segment, entries));
        // SAFETY: each page begins within the segment, of which the number of entries is a multiple of that of a page.
        self.pages.extend((0..entries / PAGE).map(|page| unsafe { segment.add(page * PAGE) }));
        Ok(())
    }

    /// Adds an entry and returns its index.
    #[inline]
    pub(crate) fn push(&mut self, entry: T) -> Result<u32, Exhausted> {
        self.reserve()?;
        Ok(self.push_reserved(entry))
    }

    /// Adds an entry for which room was made, and returns its index.
    #[inline]
    pub(crate) fn push_reserved(&mut self, entry: T) -> u32 {
        let index = self.length;
        assert!((index as usize) < self.pages.len() * PAGE, "room was made for the entry");
        // SAFETY: [INV-TABLE-1] there is room at the end, which is not initialised yet.
        unsafe { self.place(index as usize).write(entry) };
        self.length += 1;
        index
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        // SAFETY: [INV-TABLE-1] entries below the length are initialised.
        (0..self.length as usize).map(|index| unsafe { self.place(index).as_ref() })
    }

    /// Bytes of the table.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.len() * PAGE * size_of::<T>() + self.pages.capacity() * size_of::<NonNull<T>>()
    }
}

impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        let length = core::mem::take(&mut self.length) as usize;
        if core::mem::needs_drop::<T>() {
            for index in 0..length {
                // SAFETY: [INV-TABLE-1] the entry is initialised, and no longer counted in the length.
                unsafe { self.place(index).drop_in_place() };
            }
        }
        for (segment, entries) in self.segments.drain(..) {
            let layout = Layout::array::<T>(entries).expect("it was allocated with this layout");
            // SAFETY: [INV-TABLE-1] nobody else frees it, and its entries were dropped.
            unsafe { huge_pages::free(segment.cast(), layout) };
        }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Index<u32> for Table<T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, index: u32) -> &T {
        self.get(index).expect("the index is that of an entry")
    }
}

impl<T> IndexMut<u32> for Table<T> {
    #[inline(always)]
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.get_mut(index).expect("the index is that of an entry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::rc::Rc;

    #[test]
    fn entries_are_where_their_index_says() {
        let mut table = Table::new();
        for i in 0..10_000 {
            assert_eq!(table.get(i), None);
            assert_eq!(table.push(i * 3), Ok(i));
        }
        assert!((0..10_000).all(|i| table[i] == i * 3));
        assert!(table.iter().copied().eq((0..10_000).map(|i| i * 3)));
        assert_eq!(table.length(), 10_000);
        table[9_999] = 1;
        assert_eq!(table.get(9_999), Some(&1));
    }

    #[test]
    fn entries_are_dropped_with_the_table() {
        let counted = Rc::new(());
        let mut table = Table::new();
        for _ in 0..1000 {
            table.push(counted.clone()).unwrap();
        }
        drop(table);
        assert_eq!(Rc::strong_count(&counted), 1);
    }
}
