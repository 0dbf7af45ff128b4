//! The write barrier: which objects were written since a collection has looked into them. `[INV-CYCLE-2]` in
//! [`collector`](super::collector) says why, and `docs/design/increments.md` how.

use core::ptr::NonNull;

use super::core::Core;
use crate::memory::block::Block;
use crate::memory::chunk::{
    Group, give_marks_back, is_marked_and_clean, make_clean, make_dirty, make_segment_clean, make_segment_dirty,
    take_marks,
};
use crate::object::descriptor::{ObjectRef, suspect};

/// One or more dirty objects.
#[derive(Clone, Copy)]
pub(crate) struct Written {
    /// Of the object that was written.
    pub(crate) cell: NonNull<u8>,
    /// The marks that were taken for it; none if its pair of granules is dirty instead.
    pub(crate) taken: Group,
}

impl Written {
    /// The dirty objects, but of those of a dirty pair only the one that was written.
    pub(crate) fn objects(self) -> impl Iterator<Item = ObjectRef> {
        let alone = (self.taken == 0).then_some(self.cell);
        alone.into_iter().chain(Block::cells_of_group(self.cell, self.taken)).map(suspect)
    }

    /// Makes them clean.
    fn forget(self) {
        if self.taken == 0 {
            make_clean(self.cell);
        } else {
            give_marks_back(self.cell, self.taken);
        }
    }
}

impl Core {
    /// Remembers an object that is written, if it is marked and was clean: what it leads to may be unmarked. Of a large
    /// object, the segment that the byte at the offset lies in.
    #[inline(always)]
    pub(crate) fn remember(&mut self, cell: NonNull<u8>, offset: usize) {
        if self.armed && is_marked_and_clean(cell) {
            self.make_dirty(cell, offset);
        }
    }

    #[inline(never)]
    fn make_dirty(&mut self, cell: NonNull<u8>, offset: usize) {
        if Block::of(cell).is_run() || self.stage.needs_marks() || !self.remembered.has_room() {
            return self.make_dirty_slowly(cell, offset);
        }
        // Then the barrier need not look any further than for a new object, and its neighbours are written for as little.
        // The cells are occupied, and marked again by the next collection first of all, so they live until the next major
        // one begins, which forgets what is remembered. What has nothing to drop has all its edges in its cell; to visit a
        // neighbour that owns a large vector would cost more than it saves.
        let taken = take_marks(cell, !Block::of(cell).info().drops.get());
        self.remembered.push(Written { cell, taken }).expect("there is room");
    }

    /// [`make_dirty`](Self::make_dirty) of anything at any time.
    #[cold]
    #[inline(never)]
    fn make_dirty_slowly(&mut self, cell: NonNull<u8>, offset: usize) {
        if let Some(offset) = Block::of(cell).offset_in_run(offset) {
            if make_segment_dirty(cell, offset) {
                self.remember_segment(cell, offset);
            }
        } else if !self.remembered.has_room() && self.remembered.grow().is_err() {
            self.forget_a_write();
        } else if self.stage.needs_marks() {
            make_dirty(cell);
            self.remembered.push(Written { cell, taken: 0 }).expect("there is room");
        } else {
            self.make_dirty(cell, offset);
        }
    }

    /// There is no memory to remember an object with: the next collection visits all marked objects again, or clears the
    /// marks.
    #[cold]
    fn forget_a_write(&mut self) {
        self.major_only = true;
        self.marker.overflow();
    }

    #[cold]
    fn remember_segment(&mut self, cell: NonNull<u8>, offset: usize) {
        if self.segments.push((suspect(cell), offset)).is_err() {
            make_segment_clean(cell, offset);
            self.forget_a_write();
        }
    }

    /// Remembers writes from now on if minor collections are due, or if it is up to the program when they run. To be called
    /// when no marked object leads to an unmarked one.
    pub(crate) fn arm(&mut self) {
        self.armed = self.config.minor_step.is_some() && (self.pacing.wants_minors() || !self.config.automatic);
        if !self.armed {
            self.disarm();
        }
    }

    /// Remembers no writes from now on, so that no minor collection can run before the next major one.
    pub(crate) fn disarm(&mut self) {
        self.armed = false;
        self.forget_remembered();
    }

    /// Makes all objects clean.
    pub(crate) fn forget_remembered(&mut self) {
        while let Some(written) = self.remembered.pop() {
            written.forget();
        }
        while let Some((object, offset)) = self.segments.pop() {
            make_segment_clean(object.cell(), offset);
        }
    }
}
