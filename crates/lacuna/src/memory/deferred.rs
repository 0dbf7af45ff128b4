//! A set of marked cells that needs no memory of its own: what a pause has no room to queue.
//!
//! A cell of the set has its dirty bit set. Dirty bits are all clear when a pause begins to decide, since the objects that
//! were written have been looked at by then, and nothing is written in a pause. Blocks with cells of the set are in a list
//! whose links lie in their side tables, so that each cell is found again in constant time.

use core::cell::Cell;
use core::ptr::NonNull;

use super::bitmap::{GRANULE, ones};
use super::block::Block;
use super::chunk::{make_clean, make_dirty};

/// What a block knows of its place in the list.
#[derive(Default)]
pub(crate) struct Link {
    listed: Cell<bool>,
    next: Cell<Option<Block>>,
}

#[derive(Default)]
pub(crate) struct DeferredCells {
    first: Option<Block>,
}

impl DeferredCells {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Adds a cell.
    #[cold]
    #[inline(never)]
    pub(crate) fn add(&mut self, cell: NonNull<u8>) {
        make_dirty(cell);
        let block = Block::of(cell);
        let link = &block.info().deferred;
        if !link.listed.replace(true) {
            link.next.set(self.first.replace(block));
        }
    }

    /// Takes a cell out.
    pub(crate) fn pop(&mut self) -> Option<NonNull<u8>> {
        loop {
            let block = self.first?;
            if let Some(cell) = dirty_cell(block) {
                make_clean(cell);
                return Some(cell);
            }
            let link = &block.info().deferred;
            link.listed.set(false);
            self.first = link.next.take();
        }
    }
}

/// The first dirty cell of a block.
fn dirty_cell(block: Block) -> Option<NonNull<u8>> {
    let (word, bit) =
        block.dirty().iter().enumerate().find_map(|(word, bits)| Some((word, ones(bits.get()).next()?)))?;
    // The cell starts in the granule or in its middle, and does not end before the granule does.
    let middle = block.cell((word * 64 + bit as usize) * GRANULE + GRANULE / 2);
    Some(block.cell_of(middle))
}
