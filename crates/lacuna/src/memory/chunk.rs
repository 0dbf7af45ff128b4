//! Chunks: regions from the global allocator that carry their own side tables.
//!
//! ```text
//!   0        colour·16 KiB          +48 KiB                              2 MiB
//!   | blocks … | marks | occupied | dirty | kinds | infos | blocks …       |
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
//! - `[INV-CHUNK-4]` A pair of granules is dirty exactly while the heap remembers it: the marked objects that start in it
//!   may have been written since, while marks were set or counted. In a pause, when nothing is remembered, it is dirty
//!   while one of its marked cells is [deferred](super::deferred).
//! - `[INV-CHUNK-5]` A cell that is not occupied holds no object, unless a cursor has listed it since its block was
//!   counted.
//! - `[INV-CHUNK-6]` A large object begins with a block. In a shared chunk all of it lies within the first [`CHUNK_SIZE`]
//!   bytes; a chunk with more bytes ends with a [`segment_table`], which its object does not reach.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;
#[cfg(feature = "parallel")]
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
    /// One bit for each granule: the cell that starts there was not free when its block was counted last.
    occupied: [Cell<u64>; MARK_WORDS],
    /// One bit for each two granules: a marked object that starts there was written since it was looked into.
    dirty: [Cell<u64>; MARK_WORDS / 2],
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
        if bytes > CHUNK_SIZE {
            let table = segment_table(bytes);
            // SAFETY: the last bytes of the allocation, which are more than those of the table.
            unsafe { base.add(bytes - table).write_bytes(0, table) };
        }
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
fn mark_word<'a>(cell: NonNull<u8>) -> (&'a Cell<u64>, u64) {
    let addr = cell.addr().get();
    let word = cell.as_ptr().map_addr(|addr| (addr & !(CHUNK_SIZE - 1)) | ((addr / GRANULE / 8) & WORDS));
    // SAFETY: [INV-CHUNK-1], [INV-CHUNK-2] the pointer leads to a word of the marks of the cell's chunk; they are cells, so
    // shared references may coexist.
    (unsafe { &*word.cast() }, 1 << (addr / GRANULE % 64))
}

/// The bits of an offset from the start of a chunk to a word of its marks, for all colours.
const WORDS: usize = COLOURS * BLOCK_SIZE - size_of::<u64>();

const _: () = assert!(MARK_WORDS * size_of::<u64>() == BLOCK_SIZE, "a colour is as many bytes as the marks take");
const _: () = assert!(core::mem::offset_of!(SideTables, marks) == 0);

/// Marks the cell; says whether it was unmarked before.
#[inline(always)]
pub(crate) fn mark(cell: NonNull<u8>) -> bool {
    let (word, bit) = mark_word(cell);
    let marks = word.get();
    if marks & bit != 0 {
        return false;
    }
    word.set(marks | bit);
    true
}

/// [`mark`], while other threads mark cells of the same heap. Of those that mark one cell at the same time, one is told
/// that it was unmarked.
///
/// # Safety
///
/// Other threads touch the marks of the heap by this function only.
#[cfg(feature = "parallel")]
#[inline(always)]
pub(crate) unsafe fn mark_shared(cell: NonNull<u8>) -> bool {
    let (word, bit) = mark_word(cell);
    // SAFETY: the word is aligned to its size and lives with its chunk. All that touch it meanwhile do so atomically, as
    // the caller knows.
    let word = unsafe { AtomicU64::from_ptr(word.as_ptr()) };
    // Nothing is published with a mark: what was written before was seen when the threads began, and what they write is
    // seen when they have ended.
    word.load(Relaxed) & bit == 0 && word.fetch_or(bit, Relaxed) & bit == 0
}

/// A set of the granules whose marks are taken away together: those of 256 bytes.
pub(crate) type Group = u16;

/// How many those are.
pub(crate) const GROUP: usize = Group::BITS as usize;

/// Takes the mark of a cell away, and those `of_group` of all cells that start in the same group, unless one of them is
/// dirty. Returns which were taken, as [`give_marks_back`] and [`Block::cells_of_group`](super::block::Block::cells_of_group)
/// want it.
#[inline(always)]
pub(crate) fn take_marks(cell: NonNull<u8>, of_group: bool) -> Group {
    let ((word, bit), (dirty, pair)) = (mark_word(cell), dirty_word(cell));
    let (marks, first) = (word.get(), first_of_group(cell));
    let is_any_dirty = dirty.get() >> (pair & !(GROUP / 2 - 1)) & ((1 << (GROUP / 2)) - 1) != 0;
    let taken = if is_any_dirty || !of_group { bit } else { marks & u64::from(Group::MAX) << first };
    word.set(marks & !taken);
    (taken >> first) as Group
}

/// Marks the cells again whose marks were [taken](take_marks) with that of a cell.
pub(crate) fn give_marks_back(cell: NonNull<u8>, taken: Group) {
    let word = mark_word(cell).0;
    word.set(word.get() | u64::from(taken) << first_of_group(cell));
}

/// The first bit of a cell's group in its word of marks.
#[inline(always)]
fn first_of_group(cell: NonNull<u8>) -> usize {
    (cell.addr().get() / GRANULE % 64) & !(GROUP - 1)
}

/// The word of the dirty bits that has the bit of a cell's pair of granules, and the number of the bit.
#[inline(always)]
fn dirty_word<'a>(cell: NonNull<u8>) -> (&'a Cell<u64>, usize) {
    let addr = cell.addr().get();
    let colour = (addr / GRANULE / 8) & (WORDS & !(BLOCK_SIZE - 1));
    let word = core::mem::offset_of!(SideTables, dirty) + ((addr / GRANULE / 16) & (BLOCK_SIZE / 2 - size_of::<u64>()));
    let word = cell.as_ptr().map_addr(|addr| (addr & !(CHUNK_SIZE - 1)) + colour + word);
    // SAFETY: [INV-CHUNK-1], [INV-CHUNK-2] the pointer leads to a word of the dirty bits of the cell's chunk; they are
    // cells, so shared references may coexist.
    (unsafe { &*word.cast() }, addr / (2 * GRANULE) % 64)
}

/// Makes the cell's pair of granules dirty.
pub(crate) fn make_dirty(cell: NonNull<u8>) {
    let (word, bit) = dirty_word(cell);
    word.set(word.get() | 1 << bit);
}

/// Whether the cell's pair of granules is dirty.
#[inline(always)]
pub(crate) fn is_dirty(cell: NonNull<u8>) -> bool {
    let (word, bit) = dirty_word(cell);
    word.get() >> bit & 1 != 0
}

/// Makes the cell's pair of granules clean.
pub(crate) fn make_clean(cell: NonNull<u8>) {
    let (word, bit) = dirty_word(cell);
    word.set(word.get() & !(1 << bit));
}

/// Bytes of a segment: a part of a large object that is dirty by itself.
pub(crate) const SEGMENT: usize = 128;

/// Bytes of the table of dirty segments at the end of a chunk of so many bytes that holds one huge object. The chunk's own
/// tables cover only its first part.
pub(crate) const fn segment_table(bytes: usize) -> usize {
    (bytes / SEGMENT / 64 + 1) * size_of::<u64>()
}

/// Bytes, in blocks, that have to follow the first so many bytes of a chunk for its [`segment_table`] to lie behind them.
/// The table has bits for its own segments, too, so it is longer than one for the first bytes alone.
pub(crate) const fn room_for_segment_table(before: usize) -> usize {
    // Of `before + room` bytes the table takes a bit for each segment, and a word at most for the last ones, which has to be
    // no more than `room`.
    let (bytes_of_byte, word) = (SEGMENT * 8, SEGMENT * 64);
    (before / (bytes_of_byte - 1) + word / (bytes_of_byte - 1) + 3).next_multiple_of(BLOCK_SIZE)
}

/// The word that has the dirty bit of the segment that a byte of a large object lies in, and the number of the bit.
/// `[INV-CHUNK-6]`
#[inline]
fn segment_word<'a>(run: NonNull<u8>, offset: usize) -> (&'a Cell<u64>, usize) {
    let chunk = Chunk::of(run);
    let bytes = chunk.tables().bytes.get();
    if bytes == CHUNK_SIZE {
        // A segment has four pairs of granules, and the object's first pair says whether it is dirty as a whole.
        let (start, second) = (offset & !(SEGMENT - 1), 2 * GRANULE);
        return dirty_word(run.map_addr(|addr| addr.saturating_add(start + second)));
    }
    let segment = offset / SEGMENT;
    let word = bytes - segment_table(bytes) + segment / 64 * size_of::<u64>();
    // SAFETY: [INV-CHUNK-1], [INV-CHUNK-6] the table lies at the end of the chunk, initialised, and has a bit for each
    // segment that the object can have. Its words are only ever shared, as cells.
    let word = unsafe { chunk.base().add(word).cast::<Cell<u64>>().as_ref() };
    (word, segment % 64)
}

/// Makes the segment dirty that a byte of a large object lies in; says whether it was clean before.
#[inline]
pub(crate) fn make_segment_dirty(run: NonNull<u8>, offset: usize) -> bool {
    let (word, bit) = segment_word(run, offset);
    let dirty = word.get();
    word.set(dirty | 1 << bit);
    dirty >> bit & 1 == 0
}

/// Makes the segment clean that a byte of a large object lies in.
pub(crate) fn make_segment_clean(run: NonNull<u8>, offset: usize) {
    let (word, bit) = segment_word(run, offset);
    word.set(word.get() & !(1 << bit));
}

/// Whether the cell is marked.
#[inline(always)]
pub(crate) fn is_marked(cell: NonNull<u8>) -> bool {
    let (word, bit) = mark_word(cell);
    word.get() & bit != 0
}

/// Whether the cell is marked and not dirty.
#[inline(always)]
pub(crate) fn is_marked_and_clean(cell: NonNull<u8>) -> bool {
    // The bit is taken out by a shift: that is one instruction, where building a mask takes two.
    mark_word(cell).0.get() >> (cell.addr().get() / GRANULE % 64) & 1 != 0 && !is_dirty(cell)
}

impl SideTables {
    /// The marks of one block.
    #[inline]
    pub(crate) fn marks(&self, block: usize) -> &BlockBits {
        let first = block * BLOCK_WORDS;
        self.marks[first..first + BLOCK_WORDS].try_into().expect("the slice has that length")
    }

    /// The occupied cells of one block.
    #[inline]
    pub(crate) fn occupied(&self, block: usize) -> &BlockBits {
        let first = block * BLOCK_WORDS;
        self.occupied[first..first + BLOCK_WORDS].try_into().expect("the slice has that length")
    }

    /// The dirty bits of one block.
    pub(crate) fn dirty(&self, block: usize) -> &[Cell<u64>; BLOCK_WORDS / 2] {
        let first = block * BLOCK_WORDS / 2;
        self.dirty[first..first + BLOCK_WORDS / 2].try_into().expect("the slice has that length")
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
