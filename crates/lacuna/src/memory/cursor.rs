//! Allocation cursors, and the table in which the cursor of a type is found in about a nanosecond.
//!
//! A cursor goes through a list of the free cells of its block, read from the occupied bits when it enters the block: taking
//! one costs the same whether the block was empty or nine tenths full, and touches neither the bitmap nor the cell's
//! neighbours. The list of a block without live cells is the same for all of a space, and made once.
//!
//! The cell that is handed out next is read from the list one step ahead. Loads after the write of a value wait until the
//! processor knows where that write goes, and were that an offset in the list yet to be read, each allocation would wait
//! for the one before: twice the time.
//!
//! - `[INV-CURSOR-1]` The next cell, and those of its block for which the offsets from `top` down to the end of the list
//!   stand, hold no value, and nobody else hands them out: they are not occupied, and no cursor passed their block before
//!   since it was counted.
//! - `[INV-CURSOR-2]` While there is a next cell, `list` points to [`END`], and from there to `top` it is one of the
//!   [`CellLists`] of the cursor's space. A space has one cursor at most, and its lists are changed when that enters a block,
//!   and otherwise never.
#![allow(unsafe_code)]

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::ptr::NonNull;

use super::bitmap::{BLOCK_WORDS, CellStarts, GRANULE, ones};
use super::block::Block;
use super::chunk::BLOCK_SIZE;
use crate::error::Exhausted;

/// What an offset in a cursor's list is counted in: cell sizes are multiples of it.
const UNIT: usize = 8;

/// Offsets that [`list_words`] writes at once.
const GROUP: usize = 8;

/// Cells that start in one word of mark bits, at most.
const WORD: usize = 64;

/// The first of a cursor's offsets, after which there are no more. No cell has it: a block is shorter.
const END: u16 = u16::MAX;

/// Where the next cells of one space come from.
#[repr(align(64))]
pub(crate) struct Cursor {
    /// Which type and size class it serves; 0 while it serves none.
    key: usize,
    /// The cell that is handed out next.
    next: Option<NonNull<u8>>,
    /// The offset of the one after it.
    top: *const u16,
    /// The first byte of the block, once it is in one.
    base: NonNull<u8>,
    /// The list's beginning.
    list: *const u16,
    in_block: bool,
    pub(crate) space: u32,
    /// Whether the values in its blocks are dropped, so that their allocated bits have to be kept.
    drops: bool,
}

const _: () = assert!(size_of::<Cursor>() == 64);

impl Cursor {
    /// A cursor without cells.
    pub(crate) const fn new(key: usize, space: u32, drops: bool) -> Self {
        let (base, list) = (NonNull::dangling(), core::ptr::null());
        Self { key, next: None, top: list, base, list, in_block: false, space, drops }
    }

    /// Which type and size class it serves; 0 while it serves none.
    pub(crate) fn key(&self) -> usize {
        self.key
    }

    /// Whether it has no cell.
    pub(crate) fn is_empty(&self) -> bool {
        self.next.is_none()
    }

    /// Takes a cell.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Option<NonNull<u8>> {
        let cell = self.next?;
        // SAFETY: [INV-CURSOR-2] there is a next cell, so this points to an offset of the list.
        let offset = unsafe { *self.top };
        self.top = self.top.wrapping_sub(1);
        self.next = self.cell_at(offset);
        Some(cell)
    }

    #[inline(always)]
    fn cell_at(&self, offset: u16) -> Option<NonNull<u8>> {
        // The base is aligned to the size of a block, so the offset fills its low bits.
        (offset != END).then(|| self.base.map_addr(|addr| addr | (usize::from(offset) * UNIT)))
    }

    /// Moves on to another block of its space; says whether it has free cells. The cursor has none left.
    pub(crate) fn enter(
        &mut self,
        block: Block,
        starts: &CellStarts,
        lists: &mut CellLists,
    ) -> Result<bool, Exhausted> {
        let list = lists.of(block, starts).map_err(|_| Exhausted::System)?;
        let last = list.len() - 1;
        (self.in_block, self.base) = (true, block.base());
        self.next = self.cell_at(list[last]);
        self.list = list.as_ptr();
        self.top = self.list.wrapping_add(last).wrapping_sub(1);
        if self.drops
            && let Some(allocated) = block.allocated()
        {
            for (word, allocated) in allocated.iter().enumerate() {
                // As if all had been handed out: what was not is taken back when the cursor is retired.
                allocated.set(allocated.get() | starts.granules[word] & !block.occupied()[word].get());
            }
        }
        Ok(self.next.is_some())
    }

    fn block(&self) -> Option<Block> {
        self.in_block.then(|| Block::of(self.base))
    }

    /// The granules of its block at which the cells start that it has not handed out.
    fn unused(&self) -> impl Iterator<Item = usize> {
        let below = self.top.addr().wrapping_sub(self.list.addr()) / size_of::<u16>();
        let listed = 1..=if self.next.is_some() { below } else { 0 };
        // SAFETY: [INV-CURSOR-2] there is a next cell, so these are offsets of the list.
        let listed = listed.map(|at| unsafe { *self.list.add(at) });
        let listed = listed.map(|offset| usize::from(offset) * UNIT / GRANULE);
        listed.chain(self.next.map(|cell| cell.addr().get() % BLOCK_SIZE / GRANULE))
    }

    /// Whether the cell that starts in a granule of a block is one it will hand out.
    pub(crate) fn has_free(&self, block: Block, granule: usize) -> bool {
        self.block() == Some(block) && self.unused().any(|unused| unused == granule)
    }

    /// Gives its cells back. It may not be asked for any after that.
    pub(crate) fn retire(&mut self) {
        if self.drops
            && let Some(allocated) = self.block().and_then(Block::allocated)
        {
            for granule in self.unused() {
                let word = &allocated[granule / 64];
                word.set(word.get() & !(1 << (granule % 64)));
            }
        }
        (self.next, self.in_block) = (None, false);
    }
}

/// What the cursor of a space goes through: [`END`], then offsets of free cells in a block, in [`UNIT`]s, the last in memory
/// first; behind them room for what is written too much. They are kept from one cursor to the next, so that they are filled
/// with zeros once only.
#[derive(Default)]
pub(crate) struct CellLists {
    /// Those of a block without live cells, or nothing yet.
    whole: Vec<u16>,
    /// Those of another block.
    some: Vec<u16>,
}

impl CellLists {
    /// The list for a block of the space.
    fn of(&mut self, block: Block, starts: &CellStarts) -> Result<&[u16], TryReserveError> {
        let whole = block.info().live.get() == 0;
        let list = if whole { &mut self.whole } else { &mut self.some };
        let made = !list.is_empty();
        if !made {
            *list = list_of(1 + block.capacity() + WORD + GROUP)?;
        }
        let cells = if whole && made { block.capacity() } else { list_cells(&mut list[1..], block, starts) };
        Ok(&list[..=cells])
    }
}

/// A list with room for so many offsets, of which the first is [`END`].
fn list_of(room: usize) -> Result<Vec<u16>, TryReserveError> {
    let mut list = Vec::new();
    list.try_reserve_exact(room)?;
    list.resize(room, 0);
    list[0] = END;
    Ok(list)
}

/// Writes the offsets of the free cells of a block into a list that has room for all cells, a word's and a group's
/// more. Returns how many there are.
fn list_cells(list: &mut [u16], block: Block, starts: &CellStarts) -> usize {
    let free = block.occupied().iter().zip(&starts.granules).map(|(occupied, granules)| granules & !occupied.get());
    let units = (block.info().cell_size.get() / UNIT) as u16;
    match units {
        2 => list_words::<2, 8, 72>(list, free, |word| word as u16 * 64, |offset| offset),
        4 => list_words::<4, 4, 40>(list, free.map(every_second), |word| word as u16 * 32, |offset| offset),
        6 => {
            let (granules, cells) = &FIRST_OF_THREE;
            let free = free.zip(granules).map(|(free, first)| every_third(free >> first));
            list_words::<6, 3, 40>(list, free, |word| cells[word % BLOCK_WORDS], |offset| offset)
        }
        8 => list_words::<8, 2, 24>(list, free.map(every_fourth), |word| word as u16 * 16, |offset| offset),
        3 | 5 | 7 => {
            // The first cell that does not start before the granule; exact, since there are 2¹⁰ granules.
            let reciprocal = (1_u32 << 16).div_ceil(u32::from(units)) as u16;
            let cell = |bit: u16| ((u32::from(bit * 2 + (units - 1)) * u32::from(reciprocal)) >> 16) as u16;
            list_words::<1, 8, 72>(list, free, |word| word as u16 * 64, |bit| cell(bit) * units)
        }
        _ => list_few(list, free, starts),
    }
}

/// For each word the granule in which its first cell of three granules starts, and the number of that cell.
const FIRST_OF_THREE: ([u8; BLOCK_WORDS], [u16; BLOCK_WORDS]) = {
    let (mut granules, mut cells) = ([0; BLOCK_WORDS], [0; BLOCK_WORDS]);
    let mut word = 0;
    while word < BLOCK_WORDS {
        granules[word] = (2 * word % 3) as u8;
        cells[word] = (word * 64).div_ceil(3) as u16;
        word += 1;
    }
    (granules, cells)
};

/// The bits at even positions, next to each other.
fn every_second(word: u64) -> u64 {
    let word = (word | word >> 1) & 0x3333_3333_3333_3333;
    let word = (word | word >> 2) & 0x0F0F_0F0F_0F0F_0F0F;
    let word = (word | word >> 4) & 0x00FF_00FF_00FF_00FF;
    let word = (word | word >> 8) & 0x0000_FFFF_0000_FFFF;
    (word | word >> 16) & 0x0000_0000_FFFF_FFFF
}

/// The bits at positions that are multiples of three, next to each other.
fn every_third(word: u64) -> u64 {
    let word = word & 0x9249_2492_4924_9249;
    let word = (word | word >> 2) & 0x30C3_0C30_C30C_30C3;
    let word = (word | word >> 4) & 0xF00F_00F0_0F00_F00F;
    let word = (word | word >> 8) & 0x00FF_0000_FF00_00FF;
    let word = (word | word >> 16) & 0xFFFF_0000_0000_FFFF;
    (word | word >> 32) & 0xFFFF_FFFF
}

/// The bits at positions that are multiples of four, next to each other.
fn every_fourth(word: u64) -> u64 {
    let word = (word | word >> 3) & 0x0303_0303_0303_0303;
    let word = (word | word >> 6) & 0x000F_000F_000F_000F;
    let word = (word | word >> 12) & 0x0000_00FF_0000_00FF;
    (word | word >> 24) & 0xFFFF
}

/// The offsets that the set bits of each byte stand for, the highest first, where a bit stands for `UNITS`.
struct Offsets<const UNITS: u16>;

impl<const UNITS: u16> Offsets<UNITS> {
    const OF_BYTE: &[[u16; GROUP]; 256] = &{
        // Where no bit is set the value does not matter, but were it 0, the last would be 0 in all groups, and the compiler
        // would make four moves of one.
        let mut offsets = [[UNITS; GROUP]; 256];
        let mut byte = 0_usize;
        while byte < 256 {
            let (mut bit, mut count) = (8, 0);
            while bit > 0 {
                bit -= 1;
                if byte >> bit & 1 == 1 {
                    offsets[byte][count] = bit * UNITS;
                    count += 1;
                }
            }
            byte += 1;
        }
        offsets
    };
}

/// How many bits of each byte are set.
static COUNTS: [u8; 256] = {
    let mut counts = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        counts[byte] = (byte as u8).count_ones() as u8;
        byte += 1;
    }
    counts
};

/// Writes the offset of each set bit of the words into a list, the last first, and returns how many there are. A bit stands
/// for so many `UNITS`, and a word has so many `BYTES`; `number` is that of its first bit. `offset` tells the offset from
/// what the bits stand for, where that is another. `WINDOW` is a power of two that is no less than the bits of a word,
/// and a group more.
///
/// A byte at a time, and eight offsets for each, however many of its bits are set: what is written too much lies beyond
/// the end, and there is no branch that could not be foreseen (Lemire, "Iterating over set bits quickly", 2018).
#[inline(always)]
fn list_words<const UNITS: u16, const BYTES: usize, const WINDOW: usize>(
    list: &mut [u16],
    words: impl DoubleEndedIterator<Item = u64> + ExactSizeIterator,
    number: impl Fn(usize) -> u16,
    offset: impl Fn(u16) -> u16,
) -> usize {
    const { assert!((WINDOW - GROUP).is_power_of_two() && WINDOW - GROUP >= BYTES * 8) };
    let mut length = 0;
    for (word, bits) in words.enumerate().rev() {
        let first = number(word) * UNITS;
        // One check for all groups of the word: the mask changes nothing, and shows that they lie in the window.
        let Some(window) = list[length..].first_chunk_mut::<WINDOW>() else { return length };
        let mut written = 0;
        for byte in (0..BYTES).rev() {
            let bits = usize::from(bits.to_le_bytes()[byte]);
            let group = Offsets::<UNITS>::OF_BYTE[bits].map(|place| offset(first + (byte as u16 * 8 * UNITS + place)));
            let from = written & (WINDOW - GROUP - 1);
            window[from..from + GROUP].copy_from_slice(&group);
            written += usize::from(COUNTS[bits]);
        }
        length += written;
    }
    length
}

/// As [`list_words`], for cells so large that a word of mark bits has few.
fn list_few(list: &mut [u16], words: impl Iterator<Item = u64>, starts: &CellStarts) -> usize {
    let mut length = 0;
    for (word, bits) in words.enumerate() {
        for bit in ones(bits) {
            list[length] = (starts.offset(word, bit) / UNIT) as u16;
            length += 1;
        }
    }
    list[..length].reverse();
    length
}

const _: () = assert!(BLOCK_SIZE / UNIT <= END as usize);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::block::cell_bytes;
    use crate::memory::chunk::mark;
    use crate::memory::pool::Pool;

    #[test]
    fn a_list_has_the_free_cells_of_every_size_in_order() {
        let mut pool = Pool::default();
        let mut random = 1_u64;
        let step = if cfg!(miri) { 136 } else { 8 };
        for size in (16..=512).step_by(step).chain([1000, 4096, 8192]) {
            for percent in [0, 50, 90, 100] {
                let block = pool.take_block().unwrap();
                block.format(core::ptr::dangling(), size, false);
                let cells = cell_bytes(false) / size;
                let taken = |random: &mut u64| {
                    *random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (*random >> 33) % 100 < percent
                };
                let free: Vec<usize> = (0..cells).map(|cell| cell * size).filter(|_| !taken(&mut random)).collect();
                for offset in (0..cells).map(|cell| cell * size).filter(|offset| !free.contains(offset)) {
                    mark(block.cell(offset));
                }
                block.count();
                let starts = CellStarts::new(size, cells);
                // The second cursor finds the lists of the first.
                let mut lists = CellLists::default();
                for _ in 0..2 {
                    let mut cursor = Cursor::new(64, 0, false);
                    assert_eq!(cursor.enter(block, &starts, &mut lists), Ok(!free.is_empty()));
                    let unused = cursor.unused().map(|granule| granule * GRANULE);
                    assert!(unused.eq(free.iter().rev().map(|offset| offset & !(GRANULE - 1))));
                    let listed: Vec<usize> =
                        core::iter::from_fn(|| cursor.take()).map(|cell| cell.addr().get() % BLOCK_SIZE).collect();
                    assert_eq!(listed, free, "cells of {size} bytes");
                }
                pool.give_back(block);
            }
        }
    }
}
