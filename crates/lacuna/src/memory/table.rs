//! A table that grows without moving what it holds.
//!
//! Segment `k` has `64 · 2ᵏ` entries, so that an entry's place is found with a count of leading zeros, a growing table
//! copies nothing, and its large segments can have huge pages from the start.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use super::huge_pages::advise;
use crate::error::Exhausted;

/// Entries of the first segment, as a power of two.
const FIRST: u32 = 6;

/// Entries by index, from 0 on.
pub(crate) struct Table<T> {
    segments: [Vec<T>; SEGMENTS],
    length: u32,
}

/// Segments that hold as many entries as an index can name.
const SEGMENTS: usize = (u32::BITS - FIRST + 1) as usize;

impl<T> Table<T> {
    pub(crate) const fn new() -> Self {
        Self { segments: [const { Vec::new() }; SEGMENTS], length: 0 }
    }

    /// The segment of an entry and its place in it.
    #[inline(always)]
    fn place(index: u32) -> (usize, usize) {
        let counted = u64::from(index) + (1 << FIRST);
        let segment = counted.ilog2() - FIRST;
        (segment as usize, (counted - (1 << (segment + FIRST))) as usize)
    }

    pub(crate) fn length(&self) -> u32 {
        self.length
    }

    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let (segment, place) = Self::place(index);
        self.segments.get(segment)?.get(place)
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let (segment, place) = Self::place(index);
        self.segments.get_mut(segment)?.get_mut(place)
    }

    /// Makes room for one more entry.
    #[inline]
    pub(crate) fn reserve(&mut self) -> Result<(), Exhausted> {
        let (segment, _) = Self::place(self.length);
        if self.segments[segment].capacity() > 0 { Ok(()) } else { self.add_segment(segment) }
    }

    #[cold]
    fn add_segment(&mut self, segment: usize) -> Result<(), Exhausted> {
        if self.length >= u32::MAX / 2 {
            return Err(Exhausted::System);
        }
        let entries = 1_usize << (segment as u32 + FIRST);
        let mut added: Vec<T> = Vec::new();
        added.try_reserve_exact(entries).map_err(|_| Exhausted::System)?;
        advise(added.as_mut_ptr().cast(), entries * size_of::<T>());
        self.segments[segment] = added;
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
        self.segments[Self::place(index).0].push(entry);
        self.length += 1;
        index
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.segments.iter().flatten()
    }

    /// Bytes of the table.
    pub(crate) fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.capacity() * size_of::<T>()).sum()
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
        let (segment, place) = Self::place(index);
        &self.segments[segment][place]
    }
}

impl<T> IndexMut<u32> for Table<T> {
    #[inline(always)]
    fn index_mut(&mut self, index: u32) -> &mut T {
        let (segment, place) = Self::place(index);
        &mut self.segments[segment][place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
