//! When a table looks for dead entries: [`Watermark`].
//!
//! The collector never touches a table of this crate, so dead entries stay until a method with `&mut self` removes them.
//! A table that has doubled since it was last looked through is looked through again, before it grows, unless there was
//! no collection since. So that costs a constant per insertion, and at most half of a table that is inserted into has
//! been dead for longer than it took to insert the other half.

use lacuna::Trace;

/// Tables smaller than this are not worth a look.
const SMALLEST: usize = 16;

/// How many entries a table may have before dead ones are looked for.
#[derive(Clone, Copy, Trace)]
pub(crate) struct Watermark {
    entries: usize,
    /// Collections there had been at the last look: what was alive then is dead only if there have been more.
    collections: u64,
}

impl Watermark {
    /// That of an empty table.
    pub(crate) const fn new() -> Self {
        Self { entries: SMALLEST, collections: u64::MAX }
    }

    #[inline(always)]
    pub(crate) fn is_reached(self, entries: usize) -> bool {
        entries >= self.entries
    }

    /// Whether there was no collection since the last look.
    pub(crate) fn is_still_valid(self, collections: u64) -> bool {
        self.collections == collections
    }

    /// That of a table in which a look has left so many entries.
    pub(crate) fn after(entries: usize, collections: u64) -> Self {
        Self { entries: entries.saturating_mul(2).max(SMALLEST), collections }
    }
}

/// Whether a table that has room for `capacity` entries should give some of it back.
pub(crate) fn is_sparse(entries: usize, capacity: usize) -> bool {
    capacity > 4 * entries.max(SMALLEST)
}
