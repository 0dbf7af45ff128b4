//! Sets of granules: one bit for each 16 bytes of a block.

use core::cell::Cell;

/// Bytes that one bit stands for. Cells are at least this long, so that two cells never start in the same granule.
pub(crate) const GRANULE: usize = 16;

/// Words in the bitmap of one block.
pub(crate) const BLOCK_WORDS: usize = super::chunk::BLOCK_SIZE / GRANULE / 64;

/// One bit for each granule of a block.
pub(crate) type BlockBits = [Cell<u64>; BLOCK_WORDS];

/// Positions of the set bits of `word`, lowest first.
pub(crate) fn ones(mut word: u64) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        (word != 0).then(|| {
            let bit = word.trailing_zeros();
            word &= word - 1;
            bit
        })
    })
}

/// How many bits are set.
pub(crate) fn count(bits: &BlockBits) -> u32 {
    bits.iter().map(|word| word.get().count_ones()).sum()
}

/// Where the cells of one size start within a block.
///
/// Cell sizes are multiples of 8, so a cell starts at the beginning of its granule or 8 bytes into it.
pub(crate) struct CellStarts {
    /// Granules in which a cell starts.
    pub(crate) granules: [u64; BLOCK_WORDS],
    /// Those of them whose cell starts 8 bytes into the granule.
    pub(crate) halves: [u64; BLOCK_WORDS],
}

impl CellStarts {
    /// The starts of `cells` cells of `size` bytes each, the first at the beginning of the block.
    pub(crate) fn new(size: usize, cells: usize) -> Self {
        debug_assert!(size >= GRANULE && size.is_multiple_of(8));
        let mut starts = Self { granules: [0; BLOCK_WORDS], halves: [0; BLOCK_WORDS] };
        for offset in (0..cells).map(|cell| cell * size) {
            let granule = offset / GRANULE;
            let (word, bit) = (granule / 64, 1 << (granule % 64));
            starts.granules[word] |= bit;
            if !offset.is_multiple_of(GRANULE) {
                starts.halves[word] |= bit;
            }
        }
        starts
    }

    /// The byte offset in the block of the cell that starts in the granule at `bit` of `word`.
    pub(crate) fn offset(&self, word: usize, bit: u32) -> usize {
        let half = (self.halves[word] >> bit) & 1;
        (word * 64 + bit as usize) * GRANULE + half as usize * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_of_every_size_are_found_again() {
        for size in (16..=8192).step_by(8) {
            let cells = super::super::chunk::BLOCK_SIZE / size;
            let starts = CellStarts::new(size, cells);
            let mut found = 0;
            for (word, &granules) in starts.granules.iter().enumerate() {
                for bit in ones(granules) {
                    assert_eq!(starts.offset(word, bit), found * size);
                    found += 1;
                }
            }
            assert_eq!(found, cells, "cells of {size} bytes");
        }
    }
}
