//! Spaces: the blocks that hold cells of one kind and size.

use alloc::vec::Vec;

use super::bitmap::CellStarts;
use super::block::{self, Block};
use super::cursor::Cursor;
use super::pool::Pool;
use super::shrink::shrink;
use crate::error::Exhausted;

/// The largest cell; an object that needs more is a large object with blocks of its own.
pub(crate) const LARGEST_CELL: usize = 8 << 10;

/// A block of which less than one cell in so many is free is nearly full.
const NEARLY_FULL: usize = 8;

/// The blocks of one kind and cell size, and which of them may still have free cells.
pub(crate) struct Space {
    pub(crate) kind: *const (),
    pub(crate) cell_size: usize,
    pub(crate) drops: bool,
    pub(crate) starts: CellStarts,
    pub(crate) blocks: Vec<Block>,
    /// Position in `blocks` of the first that no cursor has passed since the last collection.
    next: usize,
    /// Blocks before it that have free cells again: those that were swept after cursors had passed them by, and those of
    /// which a minor collection has told the free cells. Has room for all blocks, like the next two.
    ready: Vec<Block>,
    /// Blocks before it that were left out because they are nearly full.
    nearly_full: Vec<Block>,
    /// Blocks that cursors entered since the last collection.
    entered: Vec<Block>,
    /// The space's cursor while it has no place in the cursor table.
    pub(crate) parked: Option<Cursor>,
}

/// What came of refilling a cursor.
pub(crate) enum Refill {
    /// It has cells. In the blocks that it entered for them, so many bytes were free.
    Filled { entered: usize },
    /// The next block still holds dead values. It has to be swept, which runs the user's code, and be
    /// [given back](Space::swept); until then no cursor enters it.
    Unswept(Block),
}

impl Space {
    pub(crate) fn new(kind: *const (), cell_size: usize, drops: bool) -> Self {
        let cells = block::cell_bytes(drops) / cell_size;
        Self {
            kind,
            cell_size,
            drops,
            starts: CellStarts::new(cell_size, cells),
            blocks: Vec::new(),
            next: 0,
            ready: Vec::new(),
            nearly_full: Vec::new(),
            entered: Vec::new(),
            parked: None,
        }
    }

    /// Gives a cursor without cells free ones: from the space's next block that is not nearly full, else from a block of the
    /// pool, and if that has none, from a block that is nearly full.
    ///
    /// A nearly full block is the last choice, because its few free cells lie far apart: finding them and touching their
    /// memory costs a multiple of an allocation elsewhere. At most an eighth of the memory is left unused for that.
    pub(crate) fn refill(&mut self, cursor: &mut Cursor, pool: &mut Pool) -> Result<Refill, Exhausted> {
        let mut entered = 0;
        loop {
            let block = match self.ready.pop().or_else(|| self.next_block()) {
                Some(block) => block,
                None => match self.add_block(pool) {
                    Ok(block) => block,
                    Err(reason) => self.nearly_full.pop().ok_or(reason)?,
                },
            };
            if block.info().unswept.get() {
                return Ok(Refill::Unswept(block));
            }
            entered += block.free_cells() * self.cell_size;
            self.entered.push(block);
            if cursor.enter(block, &self.starts)? {
                return Ok(Refill::Filled { entered });
            }
        }
    }

    /// The next block that is worth entering.
    fn next_block(&mut self) -> Option<Block> {
        while let Some(&block) = self.blocks.get(self.next) {
            self.next += 1;
            let free = block.free_cells();
            if free * NEARLY_FULL >= block.capacity() {
                return Some(block);
            }
            if free > 0 {
                self.nearly_full.push(block);
            }
        }
        None
    }

    fn add_block(&mut self, pool: &mut Pool) -> Result<Block, Exhausted> {
        self.blocks.try_reserve(1).map_err(|_| Exhausted::System)?;
        for list in [&mut self.ready, &mut self.nearly_full, &mut self.entered] {
            list.try_reserve_exact(self.blocks.capacity() - list.len()).map_err(|_| Exhausted::System)?;
        }
        let block = pool.take_block()?;
        block.format(self.kind, self.cell_size, self.drops);
        self.blocks.push(block);
        self.next += 1;
        Ok(block)
    }

    /// Takes a block back that [`Self::refill`] found unswept and that has been swept since.
    pub(crate) fn swept(&mut self, block: Block) {
        self.ready.push(block);
    }

    /// Calls `count` with each block that cursors entered since the last collection, so that it tells which of their cells
    /// are free, and lets cursors enter those again that are worth it: the one entered first is the next.
    pub(crate) fn reenter(&mut self, mut count: impl FnMut(Block, &CellStarts)) {
        while let Some(block) = self.entered.pop() {
            count(block, &self.starts);
            let free = block.free_cells();
            if free * NEARLY_FULL >= block.capacity() {
                self.ready.push(block);
            } else if free > 0 {
                self.nearly_full.push(block);
            }
        }
        self.parked = None;
    }

    /// Gives back what only more blocks needed.
    pub(crate) fn shrink(&mut self) {
        shrink(&mut self.blocks, 0);
        for list in [&mut self.ready, &mut self.nearly_full, &mut self.entered] {
            shrink(list, self.blocks.capacity());
        }
    }

    /// Lets cursors pass all blocks again, after a collection has told their free cells.
    pub(crate) fn rewind(&mut self) {
        self.next = 0;
        self.forget_lists();
        self.parked = None;
    }

    /// Lets no cursor pass a block before the next collection: which of their cells are free is not known.
    pub(crate) fn exhaust(&mut self) {
        self.next = self.blocks.len();
        self.forget_lists();
        self.parked = None;
    }

    fn forget_lists(&mut self) {
        self.ready.clear();
        self.nearly_full.clear();
        self.entered.clear();
    }
}
