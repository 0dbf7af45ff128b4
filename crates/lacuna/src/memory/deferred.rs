//! A set of marked cells that needs no memory of its own: what a pause has no room to queue.
//!
//! A cell of the set has the dirty bit of its pair of granules set, so that another marked cell of the pair is in it, too:
//! that is allowed. Dirty bits are all clear when a pause begins to decide, since the objects that
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
    /// The next of the list; the block itself, if it is the last; `None` while it is in no list.
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
        if link.next.get().is_none() {
            link.next.set(Some(self.first.unwrap_or(block)));
            self.first = Some(block);
        }
    }

    /// Takes the marked cells of a pair of granules out.
    pub(crate) fn pop(&mut self) -> Option<impl Iterator<Item = NonNull<u8>> + use<>> {
        loop {
            let block = self.first?;
            if let Some(pair) = dirty_pair(block) {
                make_clean(pair);
                return Some(Block::marked_in_pair(pair));
            }
            let next = block.info().deferred.next.take();
            self.first = next.filter(|&next| next != block);
        }
    }
}

/// Where the first dirty pair of granules of a block begins.
fn dirty_pair(block: Block) -> Option<NonNull<u8>> {
    let (word, bit) =
        block.dirty().iter().enumerate().find_map(|(word, bits)| Some((word, ones(bits.get()).next()?)))?;
    Some(block.cell((word * 64 + bit as usize) * 2 * GRANULE))
}
