//! Sweeping: from mark bits to free cells.
//!
//! A cell is free if it is unmarked, so the marks are the free list, and nothing has to be built from them. What is
//! left to do is to count, to drop dead values of the types that need it, and to give empty blocks back.
//!
//! ```text
//!            census                 drop_dead
//!   marked ----------> unswept ------------------> swept
//!     |                (dead values in it)           ^
//!     +----------------------------------------------+
//!                      (nothing to drop)
//! ```
//!
//! A block is unswept until a cursor wants its cells, the next collection begins, or the collection was explicit.
#![allow(unsafe_code)]

use super::core::Core;
use super::failures::{FailureKind, Failures, catch};
use crate::memory::bitmap::{CellStarts, count, ones};
use crate::memory::block::Block;
use crate::memory::chunk::is_marked;
use crate::memory::space::Space;
use crate::object::descriptor::object_at;

/// What a freed cell is filled with in zeal.
const POISON: u8 = 0xDB;

/// The number of marked objects.
pub(crate) fn marked(core: &Core) -> usize {
    let small = core.spaces.iter().flat_map(|space| &space.blocks).map(|block| count(block.marks()) as usize);
    small.sum::<usize>() + core.larges.iter().filter(|block| is_marked(block.base())).count()
}

/// Counts what was marked, block by block; gives blocks without live objects back, and finds those with dead values.
///
/// Large objects are freed at once. Returns the number of live objects and the bytes of their cells.
pub(crate) fn census(core: &mut Core) -> (usize, usize) {
    let (mut objects, mut bytes) = (0, 0);
    let poison_cells = core.config.zeal;
    for space in &mut core.spaces {
        let Space { blocks, starts, cell_size, .. } = space;
        let pool = &mut core.pool;
        blocks.retain(|&block| {
            let live = count(block.marks());
            block.info().live.set(live);
            objects += live as usize;
            bytes += live as usize * *cell_size;
            let dead = has_dead(block);
            block.info().unswept.set(dead);
            if poison_cells && !dead {
                poison(block, starts, *cell_size);
            }
            let keep = live > 0 || dead;
            if !keep {
                pool.give_back(block);
            }
            keep
        });
        space.rewind();
    }
    let (large, large_bytes) = large_census(core, 0);
    (objects + large, bytes + large_bytes)
}

/// [`census`] after a minor collection, of what was allocated since the collection before: of the blocks that cursors have
/// entered, and of new large objects. No block is given back, since the next allocations will want them.
///
/// Returns by how many objects and bytes there is more alive than after the collection before.
pub(crate) fn minor_census(core: &mut Core) -> (usize, usize) {
    let (mut objects, mut bytes) = (0, 0);
    let poison_cells = core.config.zeal;
    for space in &mut core.spaces {
        let cell_size = space.cell_size;
        space.reenter(|block, starts| {
            let live = count(block.marks());
            let survived = (live - block.info().live.replace(live)) as usize;
            objects += survived;
            bytes += survived * cell_size;
            let dead = has_dead(block);
            block.info().unswept.set(dead);
            if poison_cells && !dead {
                poison(block, starts, cell_size);
            }
        });
    }
    let (large, large_bytes) = large_census(core, core.old_larges);
    (objects + large, bytes + large_bytes)
}

/// Counts the marked large objects from a position on, and frees the others. All that are left have been seen then.
fn large_census(core: &mut Core, from: usize) -> (usize, usize) {
    let (mut position, mut bytes) = (from, 0);
    while let Some(&block) = core.larges.get(position) {
        if is_marked(block.base()) {
            bytes += block.info().cell_size.get();
            position += 1;
        } else {
            core.larges.swap_remove(position);
            free_large(core, block);
        }
    }
    core.old_larges = position;
    (position - from, bytes)
}

/// Whether a block has values that are dead and not dropped.
fn has_dead(block: Block) -> bool {
    block.allocated().is_some_and(|allocated| {
        allocated.iter().zip(block.marks()).any(|(allocated, marks)| allocated.get() & !marks.get() != 0)
    })
}

fn free_large(core: &mut Core, block: Block) {
    if block.info().drops.get() {
        let object = object_at(block, 0);
        // SAFETY: the object is unmarked after marking, so nobody can reach it; it is in no list any more.
        core.failures.record(catch(FailureKind::Drop, None, || unsafe { object.drop() }));
    }
    core.pool.give_back(block);
}

/// Drops the dead values of a block.
///
/// An object is taken out of the allocated bits before its `Drop` runs, so that one that panics is not dropped twice.
pub(crate) fn drop_dead(block: Block, failures: &mut Failures, poison_cells: bool) {
    let allocated = block.allocated().expect("only blocks whose values are dropped are unswept");
    let cell_size = block.info().cell_size.get();
    let starts = CellStarts::new(cell_size, block.capacity());
    for (word, (allocated, marks)) in allocated.iter().zip(block.marks()).enumerate() {
        let dead = allocated.get() & !marks.get();
        allocated.set(allocated.get() & !dead);
        for bit in ones(dead) {
            let object = object_at(block, starts.offset(word, bit));
            // SAFETY: the object is allocated and unmarked after marking, so nobody can reach it; its bit is clear, so
            // this is the only time it is dropped.
            failures.record(catch(FailureKind::Drop, None, || unsafe { object.drop() }));
        }
    }
    block.info().unswept.set(false);
    if poison_cells {
        poison(block, &starts, cell_size);
    }
}

/// Drops all dead values that are left from the last collection.
///
/// Blocks that become empty by it are given back if `release`, which needs cursors that have passed none of them.
pub(crate) fn finish(core: &mut Core, release: bool) {
    for space in core.spaces.iter_mut().filter(|space| space.drops) {
        for &block in &space.blocks {
            if block.info().unswept.get() {
                drop_dead(block, &mut core.failures, core.config.zeal);
            }
        }
        if release {
            let pool = &mut core.pool;
            space.blocks.retain(|&block| {
                let keep = block.info().live.get() > 0;
                if !keep {
                    pool.give_back(block);
                }
                keep
            });
        }
    }
}

/// Fills the unmarked cells of a block, so that whoever still reads one is found out.
fn poison(block: Block, starts: &CellStarts, cell_size: usize) {
    for (word, granules) in starts.granules.iter().enumerate() {
        for bit in ones(granules & !block.marks()[word].get()) {
            let cell = block.cell(starts.offset(word, bit));
            // SAFETY: the cell is free: unmarked after marking, and dropped where that is needed.
            unsafe { cell.write_bytes(POISON, cell_size) };
        }
    }
}

/// Drops every object of the heap, in the order of memory.
pub(crate) fn drop_everything(core: &mut Core) {
    for position in 0..core.spaces.len() {
        if !core.spaces[position].drops {
            continue;
        }
        let blocks = core::mem::take(&mut core.spaces[position].blocks);
        for block in blocks {
            block.marks().iter().for_each(|word| word.set(0));
            drop_dead(block, &mut core.failures, false);
            core.pool.give_back(block);
        }
    }
    while let Some(block) = core.larges.pop() {
        free_large(core, block);
    }
}
