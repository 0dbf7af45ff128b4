//! Blocks: 16 KiB of a chunk.
//!
//! - `[INV-BLOCK-1]` A [`Block`] is in use: its chunk is live and the block is not among the chunk's free ones. Whoever
//!   gives a block back to the pool forgets every copy of it first.
//! - `[INV-BLOCK-2]` In a block whose cells are dropped (`drops`), the last 128 bytes are the *allocated* bits: a bit is
//!   set exactly while the cell that starts there holds a value that was not yet dropped, except for the cells that an
//!   allocation cursor has listed and not handed out.
//! - `[INV-BLOCK-3]` A cell is free exactly if it is not occupied and no cursor has handed it out since its block was
//!   counted; a cursor passes each block at most once between two counts.
//! - `[INV-BLOCK-4]` The table of observed cells of a block is null, or live and begins with [`BlockBits`], in which the
//!   bits of the granules are set in which observed cells start.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::ptr::NonNull;

use super::bitmap::{BLOCK_WORDS, BlockBits, CellStarts, GRANULE, ones};
use super::chunk::{BLOCK_SIZE, CHUNK_SIZE, Chunk, GROUP, Group};
use super::deferred::Link;

/// What is known of one block beside its marks and kind.
#[repr(C)]
pub(crate) struct BlockInfo {
    /// Bytes of a cell; of the object, where the block begins a run.
    pub(crate) cell_size: Cell<usize>,
    /// The number of blocks in the run that begins here; 0 for a free block.
    pub(crate) run: Cell<u32>,
    /// Whether it holds one large object instead of cells.
    large: Cell<bool>,
    /// Whether that is an array.
    array: Cell<bool>,
    /// Cells that fit.
    cells: Cell<u32>,
    /// Occupied cells, as counted last.
    pub(crate) live: Cell<u32>,
    /// ⌈2³² / cell size⌉: replaces the division that finds a cell's index. 0 in a run.
    reciprocal: Cell<u32>,
    /// Whether values in it are dropped.
    pub(crate) drops: Cell<bool>,
    /// Whether it may hold dead values that are not yet dropped.
    pub(crate) unswept: Cell<bool>,
    /// Whether an object in it was observed since the last collection that no collection had seen.
    pub(crate) recent: Cell<bool>,
    /// Its place among the blocks with deferred cells.
    pub(crate) deferred: Link,
    /// The weak slots of its cells, a table of the layer above; null while there is none. `[INV-BLOCK-4]`
    pub(crate) observed: Cell<*mut ()>,
}

const _: () = assert!(size_of::<BlockInfo>() <= 64);

/// A block in use, by its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Block(NonNull<u8>);

/// What a free cell is filled with in zeal.
const POISON: u8 = 0xDB;

/// Bytes at the end of a block that hold its allocated bits, where its values are dropped.
const ALLOCATED_BYTES: usize = BLOCK_WORDS * 8;

/// Bytes of a block that cells may take.
pub(crate) const fn cell_bytes(drops: bool) -> usize {
    if drops { BLOCK_SIZE - ALLOCATED_BYTES } else { BLOCK_SIZE }
}

impl Block {
    /// The block at `index` of `chunk`.
    pub(crate) fn at(chunk: Chunk, index: usize) -> Self {
        Self(chunk.base().map_addr(|addr| addr | (index * BLOCK_SIZE)))
    }

    /// The block that `cell` starts in.
    #[inline]
    pub(crate) fn of(cell: NonNull<u8>) -> Self {
        let base = cell.as_ptr().map_addr(|addr| addr & !(BLOCK_SIZE - 1));
        // SAFETY: the masked address is at or above that of the cell's chunk, which is not zero.
        Self(unsafe { NonNull::new_unchecked(base) })
    }

    /// Its first byte, where its first cell starts.
    #[inline]
    pub(crate) fn base(self) -> NonNull<u8> {
        self.0
    }

    /// Its chunk.
    #[inline]
    pub(crate) fn chunk(self) -> Chunk {
        Chunk::of(self.0)
    }

    /// Its index in its chunk.
    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0.addr().get() % CHUNK_SIZE / BLOCK_SIZE
    }

    /// What is known of it.
    #[inline]
    pub(crate) fn info<'a>(self) -> &'a BlockInfo {
        self.chunk().tables().block(self.index())
    }

    /// What its cells hold.
    #[inline]
    pub(crate) fn kind<'a>(self) -> &'a Cell<*const ()> {
        self.chunk().tables().kind(self.index())
    }

    /// Its mark bits.
    #[inline]
    pub(crate) fn marks<'a>(self) -> &'a BlockBits {
        self.chunk().tables().marks(self.index())
    }

    /// Its occupied bits.
    #[inline]
    pub(crate) fn occupied<'a>(self) -> &'a BlockBits {
        self.chunk().tables().occupied(self.index())
    }

    /// Its dirty bits, one for each pair of granules.
    pub(crate) fn dirty<'a>(self) -> &'a [Cell<u64>; BLOCK_WORDS / 2] {
        self.chunk().tables().dirty(self.index())
    }

    /// Its allocated bits, where its values are dropped and it holds small cells.
    pub(crate) fn allocated<'a>(self) -> Option<&'a BlockBits> {
        if !self.info().drops.get() || self.info().large.get() {
            return None;
        }
        // SAFETY: [INV-BLOCK-1] the block is live; [INV-BLOCK-2] its last bytes, aligned to 8, are the bits, which
        // `format` zeroed and which no cell overlaps. They are cells, so shared references may coexist.
        Some(unsafe { self.0.add(BLOCK_SIZE - ALLOCATED_BYTES).cast::<BlockBits>().as_ref() })
    }

    /// Makes a block fresh from the pool one of small cells.
    pub(crate) fn format(self, kind: *const (), cell_size: usize, drops: bool) {
        let info = self.info();
        info.large.set(false);
        info.cell_size.set(cell_size);
        info.cells.set((cell_bytes(drops) / cell_size) as u32);
        info.reciprocal.set((1u64 << 32).div_ceil(cell_size as u64) as u32);
        info.live.set(0);
        info.drops.set(drops);
        info.unswept.set(false);
        info.recent.set(false);
        self.kind().set(kind);
        if drops {
            // SAFETY: [INV-BLOCK-1] the block is ours and no cell of it is in use yet; the range is its last bytes.
            unsafe { self.0.add(BLOCK_SIZE - ALLOCATED_BYTES).write_bytes(0, ALLOCATED_BYTES) };
        }
    }

    /// Makes a run fresh from the pool one large object of so many bytes.
    pub(crate) fn begin_run(self, kind: *const (), bytes: usize, array: bool, drops: bool) {
        let info = self.info();
        info.large.set(true);
        // So that the index of its cell comes out as 0.
        info.reciprocal.set(0);
        info.array.set(array);
        info.cells.set(1);
        info.cell_size.set(bytes);
        info.live.set(0);
        info.drops.set(drops);
        info.unswept.set(false);
        info.recent.set(false);
        self.kind().set(kind);
    }

    /// Takes the marked cells for the occupied ones from now on. Returns how many there are.
    pub(crate) fn count(self) -> u32 {
        let mut live = 0;
        for (occupied, marks) in self.occupied().iter().zip(self.marks()) {
            occupied.set(marks.get());
            live += marks.get().count_ones();
        }
        self.info().live.set(live);
        live
    }

    /// Whether it has values that are dead and not dropped.
    pub(crate) fn has_dead(self) -> bool {
        self.allocated().is_some_and(|allocated| {
            allocated.iter().zip(self.occupied()).any(|(allocated, occupied)| allocated.get() & !occupied.get() != 0)
        })
    }

    /// Fills the free cells, so that whoever still reads one is found out. No cursor may have listed any, and nothing in
    /// them may be left to drop.
    pub(crate) fn poison(self, starts: &CellStarts) {
        let cell_size = self.info().cell_size.get();
        for (word, granules) in starts.granules.iter().enumerate() {
            for bit in ones(granules & !self.occupied()[word].get()) {
                // SAFETY: [INV-BLOCK-1] the block is live; [INV-BLOCK-3] the cell is free, and lies in it as a whole.
                unsafe { self.cell(starts.offset(word, bit)).write_bytes(POISON, cell_size) };
            }
        }
    }

    /// The marked cells that start in the same pair of granules as a cell.
    pub(crate) fn marked_in_pair(cell: NonNull<u8>) -> impl Iterator<Item = NonNull<u8>> {
        let block = Self::of(cell);
        let first = (cell.addr().get() % BLOCK_SIZE / GRANULE) & !1;
        (first..first + 2)
            .filter(move |granule| block.marks()[granule / 64].get() & 1 << (granule % 64) != 0)
            .map(move |granule| block.cell_in_granule(granule))
    }

    /// The cells whose marks were [taken](super::chunk::take_marks) with that of a cell.
    pub(crate) fn cells_of_group(cell: NonNull<u8>, taken: Group) -> impl Iterator<Item = NonNull<u8>> {
        let (block, first) = (Self::of(cell), (cell.addr().get() % BLOCK_SIZE / GRANULE) & !(GROUP - 1));
        ones(u64::from(taken)).map(move |granule| block.cell_in_granule(first + granule as usize))
    }

    /// The cell that starts in a granule.
    pub(crate) fn cell_in_granule(self, granule: usize) -> NonNull<u8> {
        // It starts at the granule's beginning or in its middle, and does not end before the granule does.
        self.cell_of(self.cell(granule * GRANULE + GRANULE / 2))
    }

    /// Whether a cell is observed.
    pub(crate) fn is_observed(cell: NonNull<u8>) -> bool {
        let Some(table) = NonNull::new(Self::of(cell).info().observed.get()) else { return false };
        // SAFETY: [INV-BLOCK-4] the table begins with the bits; they are cells, so shared references may coexist.
        let bits = unsafe { table.cast::<BlockBits>().as_ref() };
        let granule = cell.addr().get() % BLOCK_SIZE / GRANULE;
        bits[granule / 64].get() & 1 << (granule % 64) != 0
    }

    /// The offset of a byte that stands for a byte of the run's object: itself in an array, of which parts are looked into,
    /// and 0 in what is looked into as a whole. `None` if it begins no run.
    #[inline]
    pub(crate) fn offset_in_run(self, offset: usize) -> Option<usize> {
        let info = self.info();
        // What has no bytes may lie at the end of the object, where another begins.
        let within = if info.array.get() { offset.min(info.cell_size.get() - 1) } else { 0 };
        info.large.get().then_some(within)
    }

    /// Whether it begins a run with one large object.
    pub(crate) fn is_run(self) -> bool {
        self.info().large.get()
    }

    /// The cell at a byte offset.
    #[inline]
    pub(crate) fn cell(self, offset: usize) -> NonNull<u8> {
        debug_assert!(offset < BLOCK_SIZE);
        self.0.map_addr(|addr| addr | offset)
    }

    /// The index of a cell in its block, counted in cells; 0 in a run.
    #[inline]
    pub(crate) fn cell_index(self, cell: NonNull<u8>) -> usize {
        let info = self.info();
        let offset = cell.addr().get() % BLOCK_SIZE;
        // Exact: offset < 2¹⁴ and the reciprocal errs by less than 1, so the product errs by less than 2⁻¹⁸.
        ((offset as u64 * u64::from(info.reciprocal.get())) >> 32) as usize
    }

    /// The cell that a byte lies in.
    pub(crate) fn cell_of(self, byte: NonNull<u8>) -> NonNull<u8> {
        self.cell(self.cell_index(byte) * self.info().cell_size.get())
    }

    /// Cells that fit.
    #[inline]
    pub(crate) fn capacity(self) -> usize {
        self.info().cells.get() as usize
    }

    /// Cells that were free when they were counted last.
    #[inline]
    pub(crate) fn free_cells(self) -> usize {
        self.capacity() - self.info().live.get() as usize
    }
}
