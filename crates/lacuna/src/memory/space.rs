//! Spaces: the blocks that hold cells of one kind and size.

use alloc::vec::Vec;

use super::bitmap::{BLOCK_WORDS, CellStarts};
use super::block::{self, Block};
use super::cursor::Cursor;
use super::pool::Pool;
use crate::error::Exhausted;

/// The largest cell; an object that needs more is a large object with blocks of its own.
pub(crate) const LARGEST_CELL: usize = 8 << 10;

/// The blocks of one kind and cell size, and which of them may still have free cells.
pub(crate) struct Space {
    pub(crate) kind: *const (),
    pub(crate) cell_size: usize,
    pub(crate) drops: bool,
    pub(crate) starts: CellStarts,
    pub(crate) blocks: Vec<Block>,
    /// Position in `blocks` of the first that no cursor has passed since the last collection.
    next: usize,
    /// The space's cursor while it has no place in the cursor table.
    pub(crate) parked: Option<Cursor>,
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
            parked: None,
        }
    }

    /// Gives an empty cursor of this space free cells, from its block, from the space's next blocks, or from a block
    /// of the pool. Returns the bytes of free cells of the blocks that it entered on the way.
    ///
    /// `sweep` is called on blocks that still hold dead values.
    pub(crate) fn refill(
        &mut self,
        cursor: &mut Cursor,
        pool: &mut Pool,
        sweep: &mut dyn FnMut(Block),
    ) -> Result<usize, Exhausted> {
        cursor.write_back();
        let mut entered = 0;
        loop {
            if let Some(block) = cursor.block {
                for (word, marks) in block.marks().iter().enumerate().skip(cursor.next_word) {
                    let free = self.starts.granules[word] & !marks.get();
                    if free != 0 {
                        cursor.enter_word(word, free, self.starts.halves[word]);
                        return Ok(entered);
                    }
                }
                cursor.next_word = BLOCK_WORDS;
            }
            let block = match self.blocks.get(self.next) {
                Some(&block) => block,
                None => {
                    self.blocks.try_reserve(1).map_err(|_| Exhausted::System)?;
                    let block = pool.take_block()?;
                    block.format(self.kind, self.cell_size, self.drops);
                    self.blocks.push(block);
                    block
                }
            };
            self.next += 1;
            if block.info().unswept.get() {
                sweep(block);
            }
            entered += (block.capacity() - block.info().live.get() as usize) * self.cell_size;
            cursor.block = Some(block);
            cursor.next_word = 0;
        }
    }

    /// Lets cursors pass all blocks again, after a collection has told their free cells.
    pub(crate) fn rewind(&mut self) {
        self.next = 0;
        self.parked = None;
    }

    /// Lets no cursor pass a block before the next collection: which of their cells are free is not known.
    pub(crate) fn exhaust(&mut self) {
        self.next = self.blocks.len();
        self.parked = None;
    }
}
