//! Allocation cursors, and the table in which the cursor of a type is found in about a nanosecond.
//!
//! A cursor holds the free cells of one word of a block's mark bits: taking a cell is a count of trailing zeros,
//! whether the block was empty or nine tenths full, and touches neither the bitmap nor the cell's neighbours.

use core::ptr::NonNull;

use super::bitmap::GRANULE;
use super::block::Block;

/// Where the next cells of one space come from.
///
/// `[INV-CURSOR-1]` A set bit of `free` stands for a cell of `block` that holds no value and that nobody else hands
/// out: it is unmarked, and its word was passed to no cursor before since the last collection.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Cursor {
    /// Which type and size class it serves; 0 while it serves none.
    key: usize,
    /// Free cells of the current word, by granule.
    free: u64,
    /// Those of the word's cells that start 8 bytes into their granule.
    halves: u64,
    /// The first byte that the current word covers.
    base: NonNull<u8>,
    /// The free cells that the current word had when the cursor reached it.
    taken: u64,
    pub(crate) block: Option<Block>,
    /// The word of `block` after the current one.
    pub(crate) next_word: usize,
    pub(crate) space: u32,
    /// Whether the values in its blocks are dropped, so that their allocated bits have to be kept.
    drops: bool,
}

impl Cursor {
    /// A cursor without cells.
    pub(crate) const fn new(key: usize, space: u32, drops: bool) -> Self {
        Self { key, free: 0, halves: 0, base: NonNull::dangling(), taken: 0, block: None, next_word: 0, space, drops }
    }

    /// Which type and size class it serves; 0 while it serves none.
    pub(crate) fn key(&self) -> usize {
        self.key
    }

    /// Whether it has no cell.
    pub(crate) fn is_empty(&self) -> bool {
        self.free == 0
    }

    /// Takes a cell. `HALVES`: the cell size is an odd multiple of 8.
    #[inline(always)]
    pub(crate) fn take<const HALVES: bool>(&mut self) -> Option<NonNull<u8>> {
        let free = self.free;
        if free == 0 {
            return None;
        }
        let bit = free.trailing_zeros();
        self.free = free & (free - 1);
        let half = if HALVES { (self.halves >> bit & 1) as usize * 8 } else { 0 };
        // The base is aligned to the bytes that a word covers, so the offset fills its low bits.
        Some(self.base.map_addr(|addr| addr | (bit as usize * GRANULE + half)))
    }

    /// Moves on to the cells of another word of its block.
    pub(crate) fn enter_word(&mut self, word: usize, free: u64, halves: u64) {
        let block = self.block.expect("the word is one of the cursor's block");
        self.base = block.cell(word * 64 * GRANULE);
        (self.free, self.taken, self.halves) = (free, free, halves);
        self.next_word = word + 1;
    }

    /// Whether the cell that starts in a granule of a block is one it will hand out.
    pub(crate) fn has_free(&self, block: Block, granule: usize) -> bool {
        self.block == Some(block) && granule / 64 + 1 == self.next_word && self.free >> (granule % 64) & 1 != 0
    }

    /// Records the cells handed out of the current word in the block's allocated bits, if it has them.
    pub(crate) fn write_back(&mut self) {
        if !self.drops {
            return;
        }
        let handed_out = core::mem::replace(&mut self.taken, self.free) & !self.free;
        if handed_out != 0
            && let Some(allocated) = self.block.and_then(Block::allocated)
        {
            let word = &allocated[self.next_word - 1];
            word.set(word.get() | handed_out);
        }
    }
}

const ENTRIES: usize = 64;

/// Direct-mapped: a key has one place, where its cursor is or is not.
pub(crate) struct CursorTable([Cursor; ENTRIES]);

impl CursorTable {
    pub(crate) const fn new() -> Self {
        Self([Cursor::new(0, 0, false); ENTRIES])
    }

    /// The place of a key. Keys are multiples of 64, plus a size class: neighbours get neighbouring places.
    #[inline(always)]
    pub(crate) fn place(key: usize) -> usize {
        (key / 64).wrapping_add(key) % ENTRIES
    }

    /// A cell of the key's cursor, if that is in its place and has one.
    #[inline(always)]
    pub(crate) fn take<const HALVES: bool>(&mut self, key: usize) -> Option<NonNull<u8>> {
        let cursor = &mut self.0[Self::place(key)];
        if cursor.key == key { cursor.take::<HALVES>() } else { None }
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
        self.0[place] = Cursor { key, ..cursor };
    }
}
