//! Spaces: the blocks that hold cells of one kind and size.

use alloc::vec::Vec;

use super::bitmap::CellStarts;
use super::block::{self, Block};
use super::cursor::{CellLists, Cursor};
use super::pool::Pool;
use super::shrink::shrink;
use crate::error::Exhausted;

/// The largest cell; an object that needs more is a large object with blocks of its own.
pub(crate) const LARGEST_CELL: usize = 8 << 10;

/// A block of which less than one cell in so many is free is nearly full.
const NEARLY_FULL: usize = 7;

/// Blocks that are counted at the most before an allocation takes a fresh one.
const COUNTED_AT_ONCE: usize = 32;

/// The blocks of one kind and cell size, and which of them may still have free cells.
pub(crate) struct Space {
    pub(crate) kind: *const (),
    pub(crate) cell_size: usize,
    pub(crate) drops: bool,
    pub(crate) starts: CellStarts,
    /// Whether free cells are filled with a pattern.
    poisons: bool,
    /// The blocks that are counted.
    pub(crate) blocks: Vec<Block>,
    /// Blocks of which the last major collection has not told the free cells yet: those from the position `counted` on.
    /// Has room for all blocks, like the lists below.
    uncounted: Vec<Block>,
    counted: usize,
    /// Occupied cells of the blocks that are counted.
    pub(crate) live: usize,
    /// Position in `blocks` of the first that no cursor has passed since it was counted.
    next: usize,
    /// No block before this position has nothing but dead values, unless a cursor has passed it.
    searched: usize,
    /// Blocks before it that have free cells again: those that were swept after cursors had passed them by, and those of
    /// which a minor collection has told the free cells.
    ready: Vec<Block>,
    /// Blocks before it that were left out because they are nearly full.
    nearly_full: Vec<Block>,
    /// Blocks that cursors entered since the last collection.
    entered: Vec<Block>,
    /// The space's cursor while it has no place in the cursor table.
    pub(crate) parked: Option<Cursor>,
    /// What it goes through.
    lists: CellLists,
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
    pub(crate) fn new(kind: *const (), cell_size: usize, drops: bool, poisons: bool) -> Self {
        let cells = block::cell_bytes(drops) / cell_size;
        Self {
            kind,
            cell_size,
            drops,
            starts: CellStarts::new(cell_size, cells),
            poisons,
            blocks: Vec::new(),
            uncounted: Vec::new(),
            counted: 0,
            live: 0,
            next: 0,
            searched: 0,
            ready: Vec::new(),
            nearly_full: Vec::new(),
            entered: Vec::new(),
            parked: None,
            lists: CellLists::default(),
        }
    }

    /// All blocks.
    pub(crate) fn all_blocks(&self) -> impl Iterator<Item = Block> {
        self.blocks.iter().chain(&self.uncounted[self.counted..]).copied()
    }

    /// Takes all blocks off it: the heap is about to drop all objects.
    pub(crate) fn take_blocks(&mut self) -> Vec<Block> {
        let mut blocks = core::mem::take(&mut self.blocks);
        blocks.extend(self.uncounted.drain(self.counted..));
        blocks
    }

    /// Gives a cursor without cells free ones: from the space's next block that is not nearly full, else from a block of the
    /// pool, and if that has none, from a block that is nearly full. Counts some blocks if there are others.
    ///
    /// Unless it `may_sweep`, only blocks of the pool and those that are nearly full come into question.
    ///
    /// A nearly full block is the last choice, because its few free cells lie far apart: finding them and touching their
    /// memory costs a multiple of an allocation elsewhere. At most a seventh of the memory is left unused for that.
    pub(crate) fn refill(
        &mut self,
        cursor: &mut Cursor,
        pool: &mut Pool,
        may_sweep: bool,
    ) -> Result<Refill, Exhausted> {
        let mut entered = 0;
        loop {
            let worth_entering = if may_sweep { self.ready.pop().or_else(|| self.next_block(pool)) } else { None };
            let block = match worth_entering {
                Some(block) => block,
                None => match self.add_block(pool) {
                    Ok(block) => block,
                    Err(reason) => {
                        self.nearly_full.pop_if(|block| may_sweep || !block.info().unswept.get()).ok_or(reason)?
                    }
                },
            };
            if block.info().unswept.get() {
                return Ok(Refill::Unswept(block));
            }
            let has_cells = match cursor.enter(block, &self.starts, &mut self.lists) {
                Ok(has_cells) => has_cells,
                Err(reason) => {
                    self.ready.push(block);
                    return Err(reason);
                }
            };
            entered += block.free_cells() * self.cell_size;
            self.entered.push(block);
            if has_cells {
                return Ok(Refill::Filled { entered });
            }
        }
    }

    /// The next block that is worth entering.
    fn next_block(&mut self, pool: &mut Pool) -> Option<Block> {
        let mut counts = COUNTED_AT_ONCE;
        loop {
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
            counts -= 1;
            if counts == 0 || self.count_next(pool).is_none() {
                return None;
            }
        }
    }

    /// Begins to tell the free cells of all blocks from their marks. Until it is told of a block, no cursor enters it.
    pub(crate) fn begin_count(&mut self) {
        debug_assert!(self.is_counted() && self.uncounted.capacity() >= self.blocks.len());
        core::mem::swap(&mut self.blocks, &mut self.uncounted);
        (self.counted, self.live, self.next, self.searched) = (0, 0, 0, 0);
        for list in [&mut self.blocks, &mut self.ready, &mut self.nearly_full, &mut self.entered] {
            list.clear();
        }
        self.parked = None;
    }

    /// Whether all blocks are counted.
    pub(crate) fn is_counted(&self) -> bool {
        self.counted == self.uncounted.len()
    }

    /// Tells the free cells of the next block that is not counted, or gives it back if it has no others. Returns it, unless
    /// it was given back; `None` if all are counted.
    pub(crate) fn count_next(&mut self, pool: &mut Pool) -> Option<Option<Block>> {
        let block = *self.uncounted.get(self.counted)?;
        self.counted += 1;
        if self.is_counted() {
            self.uncounted.clear();
            self.counted = 0;
        }
        let live = block.count();
        self.live += live as usize;
        let dead = block.has_dead();
        block.info().unswept.set(dead);
        if live == 0 && !dead {
            pool.give_back(block);
            return Some(None);
        }
        if self.poisons && !dead {
            block.poison(&self.starts);
        }
        self.blocks.push(block);
        Some(Some(block))
    }

    fn add_block(&mut self, pool: &mut Pool) -> Result<Block, Exhausted> {
        self.blocks.try_reserve(self.uncounted.len() + 1).map_err(|_| Exhausted::System)?;
        for list in [&mut self.uncounted, &mut self.ready, &mut self.nearly_full, &mut self.entered] {
            list.try_reserve_exact(self.blocks.capacity() - list.len()).map_err(|_| Exhausted::System)?;
        }
        let block = pool.take_block()?;
        block.format(self.kind, self.cell_size, self.drops);
        // Before those that no cursor has passed, if there are any, of which the first makes room.
        let last = self.blocks.len();
        self.blocks.push(block);
        self.blocks.swap(self.next, last);
        self.next += 1;
        Ok(block)
    }

    /// Takes the next block off it that has nothing but dead values and that no cursor has passed. The last takes its
    /// position.
    pub(crate) fn take_dead(&mut self) -> Option<Block> {
        self.searched = self.searched.max(self.next);
        while let Some(block) = self.blocks.get(self.searched) {
            if block.info().live.get() == 0 && block.info().unswept.get() {
                return Some(self.blocks.swap_remove(self.searched));
            }
            self.searched += 1;
        }
        None
    }

    /// Gives the block at a position back if it has been swept and has no object, and no cursor has passed it; says whether
    /// it did. The last takes its position.
    pub(crate) fn give_back_if_empty(&mut self, position: usize, pool: &mut Pool) -> bool {
        let empty = position >= self.next && self.blocks[position].info().live.get() == 0;
        if empty {
            pool.give_back(self.blocks.swap_remove(position));
        }
        empty
    }

    /// Takes a block back that [`Self::refill`] found unswept and that has been swept since.
    pub(crate) fn swept(&mut self, block: Block) {
        self.ready.push(block);
    }

    /// Tells the free cells of the blocks that cursors entered since the last collection, and lets cursors enter those again
    /// that are worth it: the one entered first is the next. Returns how many more cells are occupied than before.
    pub(crate) fn recount_entered(&mut self) -> usize {
        let before = self.live;
        while let Some(block) = self.entered.pop() {
            self.live -= block.info().live.get() as usize;
            self.live += block.count() as usize;
            let dead = block.has_dead();
            block.info().unswept.set(dead);
            if self.poisons && !dead {
                block.poison(&self.starts);
            }
            let free = block.free_cells();
            if free * NEARLY_FULL >= block.capacity() {
                self.ready.push(block);
            } else if free > 0 {
                self.nearly_full.push(block);
            }
        }
        self.parked = None;
        self.live - before
    }

    /// Gives back what only more blocks needed.
    pub(crate) fn shrink(&mut self) {
        shrink(&mut self.blocks, 0);
        for list in [&mut self.uncounted, &mut self.ready, &mut self.nearly_full, &mut self.entered] {
            shrink(list, self.blocks.capacity());
        }
    }
}
