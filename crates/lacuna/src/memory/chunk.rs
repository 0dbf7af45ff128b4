//! Chunks: regions from the global allocator that carry their own side tables.
//!
//! ```text
//!   0        colour·16 KiB          +48 KiB                              2 MiB
//!   | blocks … | marks | dirty | kinds | infos | blocks …                  |
//! ```
//!
//! The side tables of a chunk start at a *colour* taken from the chunk's address. Were they at the same offset in
//! each chunk, the mark words of all chunks would compete for the same few sets of the cache: 8 colours of 16 KiB
//! spread them over the 128 KiB that one way of a common second-level cache covers.
//!
//! Invariants:
//!
//! - `[INV-CHUNK-1]` A [`Chunk`] points to a live allocation of its `bytes`, aligned to [`CHUNK_SIZE`], whose
//!   [`SideTables`] are initialised. Only [`super::pool::Pool`] makes and frees chunks, and it frees one only when no
//!   block of it is in use.
//! - `[INV-CHUNK-2]` Every pointer to a block or cell is derived from the pointer the allocator returned for its
//!   chunk, so the chunk's tables may be reached from it by changing its address alone.
//! - `[INV-CHUNK-3]` A cell starts within the first [`CHUNK_SIZE`] bytes of its chunk, also where the chunk is larger
//!   because it holds one huge object.
//! - `[INV-CHUNK-4]` A cell is dirty exactly while its object, which is marked, is among those that the heap remembers.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

use super::bitmap::{BLOCK_WORDS, BlockBits, GRANULE};
use super::block::BlockInfo;
use super::huge_pages::advise;

/// Bytes of a chunk, and its alignment.
pub(crate) const CHUNK_SIZE: usize = 2 << 20;
/// Bytes of a block, and its alignment.
pub(crate) const BLOCK_SIZE: usize = 16 << 10;
/// Blocks in a chunk, the ones its side tables lie in included.
pub(crate) const BLOCKS_PER_CHUNK: usize = CHUNK_SIZE / BLOCK_SIZE;
/// Blocks that the side tables take.
pub(crate) const TABLE_BLOCKS: usize = size_of::<SideTables>().div_ceil(BLOCK_SIZE);

const COLOURS: usize = 8;
/// Blocks before the first one that can't belong to the side tables, whatever the chunk's colour.
pub(crate) const LAST_TABLE_BLOCK: usize = COLOURS - 1 + TABLE_BLOCKS;
const MARK_WORDS: usize = CHUNK_SIZE / GRANULE / 64;

const _: () = assert!(BLOCKS_PER_CHUNK == u128::BITS as usize, "a chunk's free blocks are the bits of a u128");
const _: () = assert!(size_of::<SideTables>() <= TABLE_BLOCKS * BLOCK_SIZE && TABLE_BLOCKS == 3);

/// What the collector knows about the blocks and cells of one chunk.
#[repr(C)]
pub(crate) struct SideTables {
    /// One bit for each granule: an object that starts there was reached.
    marks: [Cell<u64>; MARK_WORDS],
    /// One bit for each granule: the marked object that starts there was written since the last collection.
    dirty: [Cell<u64>; MARK_WORDS],
    /// For each block a word of the layer above: what its cells hold. Null where the block is free.
    kinds: [Cell<*const ()>; BLOCKS_PER_CHUNK],
    blocks: [BlockInfo; BLOCKS_PER_CHUNK],
    /// Blocks not in use.
    pub(crate) free: Cell<u128>,
    /// This chunk's position in the pool.
    pub(crate) position: Cell<usize>,
    /// Bytes of the allocation: [`CHUNK_SIZE`], or more where it holds one huge object.
    pub(crate) bytes: Cell<usize>,
}

/// A chunk, by its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chunk(NonNull<u8>);

impl Chunk {
    /// Asks the global allocator for a chunk of `bytes` with no block in use, in huge pages if that is wanted and possible.
    pub(crate) fn allocate(bytes: usize, huge_pages: bool) -> Option<Self> {
        let layout = Self::layout(bytes)?;
        // SAFETY: the layout has at least CHUNK_SIZE bytes, so its size is not zero.
        let base = NonNull::new(unsafe { alloc::alloc::alloc(layout) })?;
        if huge_pages {
            advise(base.as_ptr(), bytes);
        }
        let chunk = Self(base);
        // SAFETY: the allocation is CHUNK_SIZE bytes at least and the tables end within them (asserted above). All
        // zeroes is a valid `SideTables`: cells of integers, null pointers and `Option`s whose `None` is null.
        unsafe { chunk.tables_ptr().write_bytes(0, 1) };
        let tables = chunk.tables();
        tables.bytes.set(bytes);
        tables.free.set(chunk.usable_blocks());
        Some(chunk)
    }

    /// Gives the chunk back.
    ///
    /// # Safety
    ///
    /// No block of it is in use and no pointer into it is used again.
    pub(crate) unsafe fn free(self) {
        let layout = Self::layout(self.tables().bytes.get()).expect("it was allocated with this layout");
        // SAFETY: [INV-CHUNK-1] the chunk came from this allocator with this layout; the caller is done with it.
        unsafe { alloc::alloc::dealloc(self.0.as_ptr(), layout) };
    }

    fn layout(bytes: usize) -> Option<Layout> {
        debug_assert!(bytes >= CHUNK_SIZE);
        Layout::from_size_align(bytes, CHUNK_SIZE).ok()
    }

    /// The chunk that a block or cell lies in.
    #[inline(always)]
    pub(crate) fn of(cell: NonNull<u8>) -> Self {
        let base = cell.as_ptr().map_addr(|addr| addr & !(CHUNK_SIZE - 1));
        // SAFETY: [INV-CHUNK-3] the masked address is that of the chunk, which the allocator did not place at zero.
        Self(unsafe { NonNull::new_unchecked(base) })
    }

    /// The first byte.
    pub(crate) fn base(self) -> NonNull<u8> {
        self.0
    }

    #[inline(always)]
    fn tables_ptr(self) -> NonNull<SideTables> {
        self.0.map_addr(|addr| addr | (colour(addr.get()) * BLOCK_SIZE)).cast()
    }

    /// The chunk's side tables, for as long as the caller knows the chunk to be live.
    #[inline(always)]
    pub(crate) fn tables<'a>(self) -> &'a SideTables {
        // SAFETY: [INV-CHUNK-1] the tables are initialised and live as long as the chunk; all their fields are cells,
        // so a shared reference may coexist with others. [INV-CHUNK-2] the pointer may reach them.
        unsafe { self.tables_ptr().as_ref() }
    }

    /// The blocks of a fresh chunk that may hold cells: all but those of the side tables.
    pub(crate) fn usable_blocks(self) -> u128 {
        let tables = (1 << TABLE_BLOCKS) - 1;
        !(tables << colour(self.0.addr().get()))
    }

    /// The index of the block that follows the side tables.
    pub(crate) fn block_after_tables(self) -> usize {
        colour(self.0.addr().get()) + TABLE_BLOCKS
    }

    /// Forgets all marks.
    pub(crate) fn clear_marks(self) {
        // SAFETY: [INV-CHUNK-1]; the marks are cells of integers and zero is a valid value of each.
        unsafe { (&raw const self.tables().marks).cast::<Cell<u64>>().cast_mut().write_bytes(0, MARK_WORDS) };
    }
}

#[inline(always)]
fn colour(addr: usize) -> usize {
    (addr / CHUNK_SIZE) % COLOURS
}

/// The word of a chunk's marks that has the bit of a cell, and the bit.
///
/// Colour and place in the table are the same bits of the address, one above the other, so that one mask finds both.
#[inline(always)]
fn mark_word(cell: NonNull<u8>) -> (NonNull<Cell<u64>>, u64) {
    let addr = cell.addr().get();
    let word = cell.as_ptr().map_addr(|addr| (addr & !(CHUNK_SIZE - 1)) | ((addr / GRANULE / 8) & WORDS));
    // SAFETY: [INV-CHUNK-3] the masked address is that of the chunk, which the allocator did not place at zero.
    (unsafe { NonNull::new_unchecked(word.cast()) }, 1 << (addr / GRANULE % 64))
}

/// The bits of an offset from the start of a chunk to a word of its marks, for all colours.
const WORDS: usize = COLOURS * BLOCK_SIZE - size_of::<u64>();

const _: () = assert!(MARK_WORDS * size_of::<u64>() == BLOCK_SIZE, "a colour is as many bytes as the marks take");
const _: () = assert!(core::mem::offset_of!(SideTables, marks) == 0);
const _: () = assert!(core::mem::offset_of!(SideTables, dirty) == MARK_WORDS * size_of::<u64>());

/// The word of the marks and that of the dirty bits that have the bit of a cell, and the bit.
#[inline(always)]
fn words<'a>(cell: NonNull<u8>) -> (&'a Cell<u64>, &'a Cell<u64>, u64) {
    let (marks, bit) = mark_word(cell);
    // SAFETY: [INV-CHUNK-1], [INV-CHUNK-2] the pointer leads into the tables of the cell's chunk, where the words of the
    // dirty bits follow those of the marks; all are cells, so shared references may coexist.
    unsafe { (marks.as_ref(), marks.add(MARK_WORDS).as_ref(), bit) }
}

/// Marks the cell; says whether it was unmarked before.
#[inline(always)]
pub(crate) fn mark(cell: NonNull<u8>) -> bool {
    let (word, _, bit) = words(cell);
    let marks = word.get();
    if marks & bit != 0 {
        return false;
    }
    word.set(marks | bit);
    true
}

/// Makes the cell dirty.
pub(crate) fn make_dirty(cell: NonNull<u8>) {
    let (_, word, bit) = words(cell);
    word.set(word.get() | bit);
}

/// Makes the cell clean.
pub(crate) fn make_clean(cell: NonNull<u8>) {
    let (_, word, bit) = words(cell);
    word.set(word.get() & !bit);
}

/// Whether the cell is marked.
#[inline(always)]
pub(crate) fn is_marked(cell: NonNull<u8>) -> bool {
    let (word, _, bit) = words(cell);
    word.get() & bit != 0
}

/// Whether the cell is marked and not dirty.
#[inline(always)]
pub(crate) fn is_marked_and_clean(cell: NonNull<u8>) -> bool {
    let (marks, dirty, _) = words(cell);
    // One bit is taken out at the end: that is one instruction, where building a mask for it takes two.
    (marks.get() & !dirty.get()) >> (cell.addr().get() / GRANULE % 64) & 1 != 0
}

impl SideTables {
    /// The marks of one block.
    #[inline]
    pub(crate) fn marks(&self, block: usize) -> &BlockBits {
        let first = block * BLOCK_WORDS;
        self.marks[first..first + BLOCK_WORDS].try_into().expect("the slice has that length")
    }

    /// What the cells of one block hold.
    #[inline(always)]
    pub(crate) fn kind(&self, block: usize) -> &Cell<*const ()> {
        &self.kinds[block]
    }

    /// The rest of what is known of one block.
    #[inline]
    pub(crate) fn block(&self, block: usize) -> &BlockInfo {
        &self.blocks[block]
    }
}

/// What the layer above said the cells of this cell's block hold.
#[inline(always)]
pub(crate) fn kind_of(cell: NonNull<u8>) -> *const () {
    let block = cell.addr().get() % CHUNK_SIZE / BLOCK_SIZE;
    Chunk::of(cell).tables().kind(block).get()
}
