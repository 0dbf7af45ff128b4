//! A stack that never moves what is on it: marking a large heap makes it grow to many megabytes, and so does a program that
//! writes much of it meanwhile. Copying those would be a long stop in a short increment, or in a write.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// Entries of a segment, at most.
pub(super) const SEGMENT: usize = 4096;

/// A stack of segments.
pub(crate) struct Stack<T> {
    /// The entries that were pushed last. At most [`SEGMENT`].
    pub(super) top: Vec<T>,
    /// Full segments below, the last of them on top.
    full: Vec<Vec<T>>,
    /// An empty segment, so that a stack that grows and shrinks about the end of one asks for memory once.
    spare: Vec<T>,
}

impl<T> Default for Stack<T> {
    fn default() -> Self {
        Self { top: Vec::new(), full: Vec::new(), spare: Vec::new() }
    }
}

impl<T> Stack<T> {
    /// Makes room for so many entries, less than a segment, from the start.
    pub(crate) fn reserve(&mut self, entries: usize) -> Result<(), TryReserveError> {
        if self.top.capacity() < entries { self.top.try_reserve_exact(entries - self.top.len()) } else { Ok(()) }
    }

    /// Makes room for one more on the top, where there is none.
    pub(crate) fn grow(&mut self) -> Result<(), TryReserveError> {
        if self.top.capacity() < SEGMENT {
            return self.top.try_reserve_exact(self.top.len().max(RESERVE_LEAST).min(SEGMENT - self.top.len()));
        }
        self.full.try_reserve(1)?;
        if self.spare.capacity() == 0 {
            self.spare.try_reserve_exact(SEGMENT)?;
        }
        let full = core::mem::replace(&mut self.top, core::mem::take(&mut self.spare));
        self.full.push(full);
        Ok(())
    }

    /// Whether there is room for one more on the top.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.top.len() < self.top.capacity()
    }

    /// Puts an entry on top.
    #[inline(always)]
    pub(crate) fn push(&mut self, entry: T) -> Result<(), TryReserveError> {
        if !self.has_room() {
            self.grow()?;
        }
        self.top.push(entry);
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<T> {
        match self.top.pop() {
            Some(entry) => Some(entry),
            None => self.pop_below(),
        }
    }

    /// The entry that so many others are above, if it is in the topmost segment.
    #[inline]
    pub(crate) fn below_top(&self, others: usize) -> Option<&T> {
        self.top.len().checked_sub(others + 1).map(|i| &self.top[i])
    }

    #[cold]
    #[inline(never)]
    fn pop_below(&mut self) -> Option<T> {
        let below = self.full.pop()?;
        let empty = core::mem::replace(&mut self.top, below);
        if self.spare.capacity() < empty.capacity() {
            self.spare = empty;
        }
        self.top.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.top.is_empty() && self.full.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.full.len() * SEGMENT + self.top.len()
    }

    /// Takes a full segment from the bottom, if there is one.
    #[cfg(feature = "parallel")]
    pub(crate) fn take_lowest(&mut self) -> Option<Vec<T>> {
        // The others stay in the order in which they are.
        (!self.full.is_empty()).then(|| self.full.remove(0))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.full.iter().flatten().chain(&self.top)
    }

    /// Empties it, and gives all memory back but that of the first segment.
    pub(crate) fn clear(&mut self) {
        if let Some(first) = self.full.drain(..).next() {
            self.top = first;
        }
        self.top.clear();
        self.spare = Vec::new();
    }

    /// Gives back what only more entries needed, if it is empty.
    pub(crate) fn shrink(&mut self, entries: usize) {
        if !self.is_empty() {
            return;
        }
        crate::memory::shrink::shrink(&mut self.top, entries);
        (self.full, self.spare) = (Vec::new(), Vec::new());
    }
}

/// Entries that are made room for at once at the least.
const RESERVE_LEAST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_comes_back_in_reverse() {
        let mut stack = Stack::default();
        let mut model = Vec::new();
        let mut random = 1_u64;
        for step in 0..200_000_u32 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            // Grows for a while, and then shrinks.
            if random >> 33 & 3 < if step / 50_000 % 2 == 0 { 3 } else { 1 } {
                stack.push(step).unwrap();
                model.push(step);
            } else {
                assert_eq!(stack.pop(), model.pop());
            }
            assert_eq!((stack.is_empty(), stack.len()), (model.is_empty(), model.len()));
        }
        assert!(model.iter().eq(stack.iter()));
        stack.clear();
        assert!(stack.is_empty() && stack.pop().is_none());
    }
}
