//! The chunks of one heap, and which of their blocks are free.

#![allow(unsafe_code)]

use alloc::vec::Vec;

use super::block::Block;
use super::chunk::{BLOCK_SIZE, BLOCKS_PER_CHUNK, CHUNK_SIZE, Chunk, LAST_TABLE_BLOCK, room_for_segment_table};
use super::ledger::Ledger;
use crate::error::Exhausted;

/// Blocks in the longest run that is looked for in a shared chunk; a longer one gets a chunk of its own.
const LONGEST_RUN: usize = 96;

/// Chunks of a heap that is too small to ask for huge pages, which would be resident as a whole.
const SMALL_HEAP_CHUNKS: usize = 2;

/// Hands out blocks and runs of blocks, from chunks that it gets from and returns to the global allocator.
#[derive(Default)]
pub(crate) struct Pool {
    chunks: Vec<Chunk>,
    /// No chunk before this position has a free block.
    hint: usize,
    /// Bytes of all chunks.
    reserved: usize,
    /// Bytes of the blocks in use.
    used: usize,
    /// What `used` may not exceed, together with what is charged.
    limit: Option<usize>,
    charged: Ledger,
    /// Whether chunks are never in huge pages.
    small_pages: bool,
}

impl Pool {
    /// Asks for no huge pages from now on.
    pub(crate) fn use_small_pages(&mut self) {
        self.small_pages = true;
    }

    /// Has what is charged in a ledger count towards the limit.
    pub(crate) fn charge(&mut self, ledger: Ledger) {
        self.charged = ledger;
    }

    /// Refuses blocks from now on that would make [`Self::used`], with what is charged, exceed `limit` bytes.
    pub(crate) fn set_limit(&mut self, limit: Option<usize>) {
        self.limit = limit;
    }

    /// Bytes held from the global allocator.
    pub(crate) fn reserved(&self) -> usize {
        self.reserved
    }

    /// Bytes of the blocks in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Bytes that the side tables take.
    pub(crate) fn table_bytes(&self) -> usize {
        self.chunks.len() * size_of::<super::chunk::SideTables>()
    }

    /// The chunks, in no particular order.
    pub(crate) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Takes one block. Its marks are clear and no cell of it is occupied; the caller formats it.
    pub(crate) fn take_block(&mut self) -> Result<Block, Exhausted> {
        self.take_run(BLOCK_SIZE)
    }

    /// Takes as many adjacent blocks as `bytes` need. Their marks are clear and no cell of them is occupied.
    pub(crate) fn take_run(&mut self, bytes: usize) -> Result<Block, Exhausted> {
        let blocks = bytes.div_ceil(BLOCK_SIZE);
        let taken = self.used.saturating_add(self.charged.bytes());
        if self.limit.is_some_and(|limit| blocks > limit.saturating_sub(taken) / BLOCK_SIZE) {
            return Err(Exhausted::Limit);
        }
        if blocks > LONGEST_RUN {
            return self.take_huge(bytes);
        }
        while self.hint < self.chunks.len() && self.chunks[self.hint].tables().free.get() == 0 {
            self.hint += 1;
        }
        let found = self.chunks[self.hint..].iter().find_map(|chunk| {
            let first = first_run(chunk.tables().free.get(), blocks)?;
            Some((*chunk, first))
        });
        let (chunk, first) = match found {
            Some(place) => place,
            None => {
                let chunk = self.add_chunk(CHUNK_SIZE)?;
                (chunk, first_run(chunk.tables().free.get(), blocks).expect("a fresh chunk has a run of that length"))
            }
        };
        let free = &chunk.tables().free;
        free.set(free.get() & !run_mask(first, blocks));
        let block = Block::at(chunk, first);
        block.info().run.set(blocks as u32);
        self.used += blocks * BLOCK_SIZE;
        Ok(block)
    }

    /// A chunk of its own for one object. Nothing else is placed in it, since the tables cover only its first part.
    fn take_huge(&mut self, bytes: usize) -> Result<Block, Exhausted> {
        let chunk = self.add_chunk(bytes_of_huge(bytes).ok_or(Exhausted::System)?)?;
        chunk.tables().free.set(0);
        let block = Block::at(chunk, chunk.block_after_tables());
        block.info().run.set(bytes.div_ceil(BLOCK_SIZE) as u32);
        self.used += bytes.div_ceil(BLOCK_SIZE) * BLOCK_SIZE;
        Ok(block)
    }

    fn add_chunk(&mut self, bytes: usize) -> Result<Chunk, Exhausted> {
        self.chunks.try_reserve(1).map_err(|_| Exhausted::System)?;
        let huge_pages = self.chunks.len() >= SMALL_HEAP_CHUNKS && !self.small_pages;
        let chunk = Chunk::allocate(bytes, huge_pages).ok_or(Exhausted::System)?;
        chunk.tables().position.set(self.chunks.len());
        self.chunks.push(chunk);
        self.reserved += bytes;
        Ok(chunk)
    }

    /// Takes a block, or the run that begins at it, back. Clears what its tables say of cells.
    ///
    /// A chunk that becomes empty is kept until [`Self::release_empty`], except that of a huge object.
    pub(crate) fn give_back(&mut self, block: Block) {
        let (chunk, first) = (block.chunk(), block.index());
        let tables = chunk.tables();
        let blocks = block.info().run.replace(0) as usize;
        self.used -= blocks * BLOCK_SIZE;
        block.kind().set(core::ptr::null());
        if tables.bytes.get() > CHUNK_SIZE {
            self.remove(chunk);
            return;
        }
        for index in first..first + blocks {
            tables.marks(index).iter().chain(tables.occupied(index)).for_each(|word| word.set(0));
        }
        tables.free.set(tables.free.get() | run_mask(first, blocks));
        self.hint = self.hint.min(tables.position.get());
    }

    /// Gives empty chunks back to the allocator as long as the rest holds at least `keep` bytes.
    pub(crate) fn release_empty(&mut self, keep: usize) {
        for position in (0..self.chunks.len()).rev() {
            if self.reserved < keep.saturating_add(CHUNK_SIZE) {
                break;
            }
            self.release_at(position);
        }
    }

    /// Gives one empty chunk back to the allocator, if the rest holds at least `keep` bytes; says whether there was one.
    pub(crate) fn release_empty_chunk(&mut self, keep: usize) -> bool {
        self.reserved >= keep.saturating_add(CHUNK_SIZE)
            && (0..self.chunks.len()).rev().any(|position| self.release_at(position))
    }

    /// Gives a chunk back to the allocator if it is empty; says whether it was.
    fn release_at(&mut self, position: usize) -> bool {
        let chunk = self.chunks[position];
        let empty = chunk.tables().free.get() == chunk.usable_blocks();
        if empty {
            self.remove(chunk);
        }
        empty
    }

    fn remove(&mut self, chunk: Chunk) {
        let position = chunk.tables().position.get();
        self.reserved -= chunk.tables().bytes.get();
        self.chunks.swap_remove(position);
        if let Some(moved) = self.chunks.get(position) {
            moved.tables().position.set(position);
            self.hint = self.hint.min(position);
        }
        self.hint = self.hint.min(self.chunks.len());
        // SAFETY: [INV-CHUNK-1] the chunk is no longer in the pool, and none of its blocks is in use.
        unsafe { chunk.free() };
        if self.chunks.is_empty() {
            self.chunks = Vec::new();
        }
    }

    /// Checks the pool's own books; the message says what does not add up.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let mut reserved = 0;
        for (position, chunk) in self.chunks.iter().enumerate() {
            let tables = chunk.tables();
            reserved += tables.bytes.get();
            if tables.position.get() != position {
                return Err("a chunk does not know its position in the pool");
            }
            if position < self.hint && tables.free.get() != 0 {
                return Err("a chunk before the hint has a free block");
            }
        }
        if reserved != self.reserved { Err("reserved bytes do not add up") } else { Ok(()) }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for chunk in self.chunks.drain(..) {
            // SAFETY: [INV-CHUNK-1] the heap that owned the blocks is gone with the pool.
            unsafe { chunk.free() };
        }
    }
}

/// Bytes of a chunk for one object of so many.
fn bytes_of_huge(bytes: usize) -> Option<usize> {
    // The object follows the tables, whose place is known only once the chunk is there: room for any. More than one chunk's
    // bytes tell such a chunk from a shared one.
    let before = bytes.checked_next_multiple_of(BLOCK_SIZE)?.checked_add(LAST_TABLE_BLOCK * BLOCK_SIZE)?;
    Some(before.checked_add(room_for_segment_table(before))?.max(CHUNK_SIZE + BLOCK_SIZE))
}

fn run_mask(first: usize, blocks: usize) -> u128 {
    (u128::MAX >> (BLOCKS_PER_CHUNK - blocks)) << first
}

/// The first position with `length` set bits in a row.
fn first_run(free: u128, length: usize) -> Option<usize> {
    let mut starts = free;
    let mut covered = 1;
    while covered < length {
        let step = covered.min(length - covered);
        starts &= starts >> step;
        covered += step;
    }
    (starts != 0).then(|| starts.trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::chunk::segment_table;

    #[test]
    fn runs_are_found_where_they_are() {
        assert_eq!(first_run(0b0110_1110, 1), Some(1));
        assert_eq!(first_run(0b0110_1110, 3), Some(1));
        assert_eq!(first_run(0b0110_1110, 4), None);
        assert_eq!(first_run(u128::MAX, 128), Some(0));
        assert_eq!(first_run(u128::MAX << 5, 96), Some(5));
    }

    #[test]
    fn blocks_go_out_and_come_back() {
        let mut pool = Pool::default();
        let blocks: Vec<_> = (0..300).map(|_| pool.take_block().unwrap()).collect();
        assert_eq!(pool.chunks().len(), 3);
        pool.check().unwrap();
        for block in blocks {
            pool.give_back(block);
        }
        assert_eq!(pool.used(), 0);
        pool.release_empty(0);
        assert_eq!(pool.reserved(), 0);
        pool.check().unwrap();
    }

    #[test]
    fn a_huge_run_does_not_reach_the_table_of_its_segments() {
        let blocks = (LONGEST_RUN + 1..5000).chain((0..40).map(|power| 1 << power >> 1));
        for bytes in
            blocks.flat_map(|blocks| [blocks * BLOCK_SIZE, blocks * BLOCK_SIZE + 1, blocks * BLOCK_SIZE * 1023])
        {
            let total = bytes_of_huge(bytes).unwrap();
            let room = total - LAST_TABLE_BLOCK * BLOCK_SIZE - bytes;
            assert!(segment_table(total) <= room, "{bytes} bytes");
            assert!(
                room <= 3 * BLOCK_SIZE + bytes / 1000 || total == CHUNK_SIZE + BLOCK_SIZE,
                "{room} bytes of {bytes}"
            );
        }
    }

    #[test]
    fn a_huge_run_has_its_own_chunk() {
        let mut pool = Pool::default();
        let block = pool.take_run(5 << 20).unwrap();
        assert!(pool.reserved() >= 5 << 20);
        let small = pool.take_block().unwrap();
        assert_ne!(block.chunk(), small.chunk());
        pool.give_back(block);
        assert_eq!(pool.reserved(), CHUNK_SIZE);
        pool.check().unwrap();
        assert!(pool.take_run(usize::MAX / 2).is_err());
    }
}
