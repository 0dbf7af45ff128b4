//! Allocation cursors, and the table in which the cursor of a type is found in about a nanosecond.
//!
//! A cursor holds a list of the free cells of its block, read from the mark bits when it enters the block: taking one
//! costs the same whether the block was empty or nine tenths full, and touches neither the bitmap nor the cell's
//! neighbours.

use alloc::vec::Vec;
use core::ptr::NonNull;

use super::bitmap::{CellStarts, GRANULE};
use super::block::Block;
use super::chunk::BLOCK_SIZE;
use crate::error::Exhausted;

/// What an offset in a cursor's list is counted in: cell sizes are multiples of it.
const UNIT: usize = 8;

/// Offsets that [`push_word`] writes at once at the most.
const GROUP: usize = 8;

/// Where the next cells of one space come from.
///
/// `[INV-CURSOR-1]` The offsets from `next` on stand for cells of `block` that hold no value and that nobody else hands
/// out: they are unmarked, and no cursor passed their block before since the last collection.
#[repr(align(64))]
pub(crate) struct Cursor {
    /// Which type and size class it serves; 0 while it serves none.
    key: usize,
    /// Offsets of free cells in the block, in [`UNIT`]s, in the order of memory.
    offsets: Vec<u16>,
    /// How many of them were handed out.
    next: usize,
    /// The block's first byte.
    base: NonNull<u8>,
    block: Option<Block>,
    /// Whether the list is that of a block without live cells, which is the same for all of them.
    whole: bool,
    pub(crate) space: u32,
    /// Whether the values in its blocks are dropped, so that their allocated bits have to be kept.
    drops: bool,
}

const _: () = assert!(size_of::<Cursor>() == 64);

impl Cursor {
    /// A cursor without cells.
    pub(crate) const fn new(key: usize, space: u32, drops: bool) -> Self {
        let base = NonNull::dangling();
        Self { key, offsets: Vec::new(), next: 0, base, block: None, whole: false, space, drops }
    }

    /// Which type and size class it serves; 0 while it serves none.
    pub(crate) fn key(&self) -> usize {
        self.key
    }

    /// Whether it has no cell.
    pub(crate) fn is_empty(&self) -> bool {
        self.next == self.offsets.len()
    }

    /// Takes a cell.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Option<NonNull<u8>> {
        let offset = usize::from(*self.offsets.get(self.next)?) * UNIT;
        self.next += 1;
        // The base is aligned to the size of a block, so the offset fills its low bits.
        Some(self.base.map_addr(|addr| addr | offset))
    }

    /// Moves on to another block; says whether it has free cells. The cursor has none left.
    pub(crate) fn enter(&mut self, block: Block, starts: &CellStarts) -> Result<bool, Exhausted> {
        let room = block.capacity() + GROUP;
        self.offsets.try_reserve_exact(room.saturating_sub(self.offsets.len())).map_err(|_| Exhausted::System)?;
        (self.block, self.base, self.next) = (Some(block), block.base(), 0);
        let whole = block.info().live.get() == 0;
        if !(whole && self.whole) {
            self.list_cells(block, starts);
            self.whole = whole;
        }
        if self.drops
            && let Some(allocated) = block.allocated()
        {
            for (word, allocated) in allocated.iter().enumerate() {
                // As if all had been handed out: what was not is taken back when the cursor is retired.
                allocated.set(allocated.get() | starts.granules[word] & !block.marks()[word].get());
            }
        }
        Ok(!self.offsets.is_empty())
    }

    /// Lists the free cells of its block, for which there is room.
    fn list_cells(&mut self, block: Block, starts: &CellStarts) {
        self.offsets.resize(block.capacity() - block.info().live.get() as usize + GROUP, 0);
        let list = &mut *self.offsets;
        // A group is what a word of a block that is nearly full has free.
        let dense = starts.granules[0].count_ones() > 32;
        let mut cells = 0;
        for (word, marks) in block.marks().iter().enumerate() {
            let (free, halves) = (starts.granules[word] & !marks.get(), starts.halves[word]);
            cells = match (dense, halves) {
                (true, 0) => push_word::<8>(list, cells, word, free, |_| 0),
                (false, 0) => push_word::<4>(list, cells, word, free, |_| 0),
                (true, _) => push_word::<8>(list, cells, word, free, |bit| (halves >> (bit % 64)) as u16 & 1),
                (false, _) => push_word::<4>(list, cells, word, free, |bit| (halves >> (bit % 64)) as u16 & 1),
            };
        }
        self.offsets.truncate(cells);
    }

    /// The granules of its block at which the cells start that it has not handed out.
    fn unused(&self) -> impl Iterator<Item = usize> {
        self.offsets[self.next..].iter().map(|&offset| usize::from(offset) * UNIT / GRANULE)
    }

    /// Whether the cell that starts in a granule of a block is one it will hand out.
    pub(crate) fn has_free(&self, block: Block, granule: usize) -> bool {
        self.block == Some(block) && self.unused().any(|unused| unused == granule)
    }

    /// Gives its cells back. It may not be asked for any after that.
    pub(crate) fn retire(&mut self) {
        if self.drops
            && let Some(allocated) = self.block.and_then(Block::allocated)
        {
            for granule in self.unused() {
                let word = &allocated[granule / 64];
                word.set(word.get() & !(1 << (granule % 64)));
            }
        }
        (self.offsets, self.next, self.block) = (Vec::new(), 0, None);
    }
}

/// Writes the offsets of a word's free cells into a list of `length`, and returns its new length.
///
/// A group at a time, without asking how many are left: what is written too much lies beyond the end, and a branch that
/// cannot be foreseen for each cell would cost more (Lemire, "Iterating over set bits quickly", 2018).
#[inline(always)]
fn push_word<const GROUP: usize>(
    list: &mut [u16],
    mut length: usize,
    word: usize,
    mut free: u64,
    half: impl Fn(u32) -> u16,
) -> usize {
    const UNITS: u16 = (GRANULE / UNIT) as u16;
    let first = word as u16 * 64 * UNITS;
    while free != 0 {
        for _ in 0..GROUP {
            let bit = free.trailing_zeros();
            list[length] = first.wrapping_add(bit as u16 * UNITS).wrapping_add(half(bit));
            length += usize::from(free != 0);
            free &= free.wrapping_sub(1);
        }
    }
    length
}

const _: () = assert!(BLOCK_SIZE / UNIT <= u16::MAX as usize);

const ENTRIES: usize = 64;

/// Direct-mapped: a key has one place, where its cursor is or is not.
pub(crate) struct CursorTable([Cursor; ENTRIES]);

impl CursorTable {
    pub(crate) const fn new() -> Self {
        Self([const { Cursor::new(0, 0, false) }; ENTRIES])
    }

    /// The place of a key. Keys are multiples of 64, plus a size class: neighbours get neighbouring places.
    #[inline(always)]
    pub(crate) fn place(key: usize) -> usize {
        (key / 64).wrapping_add(key) % ENTRIES
    }

    /// A cell of the key's cursor, if that is in its place and has one.
    #[inline(always)]
    pub(crate) fn take(&mut self, key: usize) -> Option<NonNull<u8>> {
        let cursor = &mut self.0[Self::place(key)];
        if cursor.key == key { cursor.take() } else { None }
    }

    /// The cursor at a place, whatever key it has.
    pub(crate) fn at(&mut self, place: usize) -> &mut Cursor {
        &mut self.0[place]
    }

    /// The cursors that serve a key.
    pub(crate) fn serving(&mut self) -> impl Iterator<Item = &mut Cursor> {
        self.0.iter_mut().filter(|cursor| cursor.key != 0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Cursor> {
        self.0.iter()
    }

    /// The place where the cursor of a space is.
    pub(crate) fn place_of_space(&self, space: u32) -> Option<usize> {
        self.0.iter().position(|cursor| cursor.key != 0 && cursor.space == space)
    }

    /// Leaves a place empty and returns the cursor that was there.
    pub(crate) fn remove(&mut self, place: usize) -> Option<Cursor> {
        let cursor = core::mem::replace(&mut self.0[place], Cursor::new(0, 0, false));
        (cursor.key != 0).then_some(cursor)
    }

    /// Puts a cursor into a place under a key.
    pub(crate) fn put(&mut self, place: usize, key: usize, cursor: Cursor) {
        self.0[place] = cursor;
        self.0[place].key = key;
    }
}
