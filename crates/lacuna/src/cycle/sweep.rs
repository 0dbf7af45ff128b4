//! Sweeping: from mark bits to free cells.
//!
//! A cell is free if it was unmarked when its block was *counted*: that takes the marks for the occupied bits, which are
//! the free list; nothing else has to be built. What is left to do is to drop dead values of the types that need it, and
//! to give empty blocks back.
//!
//! ```text
//!            count                  drop_dead
//!   marked ----------> unswept ------------------> swept
//!     |                (dead values in it)           ^
//!     +----------------------------------------------+
//!                      (nothing to drop)
//! ```
//!
//! A block is unswept until a cursor wants its cells, or the memory of a block with nothing but dead values is wanted, the
//! next collection that is done at once begins, the increments of this one get to it, or the collection was explicit.
#![allow(unsafe_code)]

use super::core::Core;
use super::failures::{FailureKind, Failures, catch};
use super::pacing::UNITS_OF_BLOCK;
use super::work::Work;
use crate::memory::bitmap::{CellStarts, count, ones};
use crate::memory::block::Block;
use crate::memory::chunk::is_marked;
use crate::memory::larges::Counted;
use crate::memory::space::Space;
use crate::object::descriptor::object_at;

/// The number of marked objects.
pub(crate) fn marked(core: &Core) -> usize {
    let small = core.spaces.iter().flat_map(Space::all_blocks).map(|block| count(block.marks()) as usize);
    small.sum::<usize>() + core.larges.iter().filter(|block| is_marked(block.base())).count()
}

/// Counts blocks of which the last major collection has not told the free cells, from a space on, as far as the work goes;
/// gives those without objects back, finds those with dead values, and frees large objects. Returns the space to go on
/// with; `None` if all is counted.
pub(crate) fn count_some(core: &mut Core, mut space: usize, work: &mut Work) -> Option<usize> {
    while let Some(counting) = core.spaces.get_mut(space) {
        while counting.count_next(&mut core.pool).is_some() {
            work.spend(UNITS_OF_BLOCK);
            if work.is_spent() {
                return Some(space);
            }
        }
        space += 1;
    }
    while let Some(counted) = core.larges.count_next() {
        if let Counted::Dead(run) = counted {
            free_large(core, run);
            work.spend(UNITS_OF_RUN);
        }
        work.spend(1);
        if work.is_spent() {
            return Some(space);
        }
    }
    None
}

/// Work units of freeing a large object.
const UNITS_OF_RUN: usize = 64;

/// Tells the free cells of what was allocated since the last collection: of the blocks that cursors have entered, and of
/// new large objects. No block is given back, since the next allocations will want them.
///
/// Returns by how many objects and bytes there is more alive than after the collection before.
pub(crate) fn count_recent(core: &mut Core) -> (usize, usize) {
    let (mut objects, mut bytes) = (0, 0);
    for space in &mut core.spaces {
        let survived = space.recount_entered();
        objects += survived;
        bytes += survived * space.cell_size;
    }
    let large_bytes = core.larges.live_bytes;
    while let Some(counted) = core.larges.count_new() {
        match counted {
            Counted::Live => objects += 1,
            Counted::Dead(run) => free_large(core, run),
        }
    }
    (objects, bytes + core.larges.live_bytes - large_bytes)
}

/// What a collection has left to do that gives memory back.
pub(crate) enum Rest {
    None,
    Counted,
    /// A dead large object, which is in no list any more, has to be [dropped](drop_large), and there may be more.
    Large(Block),
    /// A block of nothing but dead values, which is in no list any more, has to be [swept](drop_dead), and there may be more.
    Unswept(Block),
}

/// Counts what the last major collection has not counted yet, as far as that runs no code of the program. If there is
/// nothing to count, looks for what is to be dropped.
pub(crate) fn count_rest(core: &mut Core) -> Rest {
    let Core { spaces, larges, pool, .. } = core;
    let mut rest = Rest::None;
    for space in spaces {
        while space.count_next(pool).is_some() {
            rest = Rest::Counted;
        }
    }
    while let Some(counted) = larges.count_next() {
        rest = Rest::Counted;
        match counted {
            Counted::Dead(run) if run.info().drops.get() => return Rest::Large(run),
            Counted::Dead(run) => pool.give_back(run),
            Counted::Live => {}
        }
    }
    if let Rest::None = rest
        && let Some(block) = spaces_with_drops(&mut core.spaces).find_map(Space::take_dead)
    {
        return Rest::Unswept(block);
    }
    rest
}

fn spaces_with_drops(spaces: &mut [Space]) -> impl Iterator<Item = &mut Space> {
    spaces.iter_mut().filter(|space| space.drops)
}

fn free_large(core: &mut Core, block: Block) {
    if block.info().drops.get() {
        drop_large(block, &mut core.failures);
    }
    core.pool.give_back(block);
}

/// Drops a large object that was found dead, once.
pub(crate) fn drop_large(block: Block, failures: &mut Failures) {
    let object = object_at(block, 0);
    // SAFETY: the object is unmarked after marking, so nobody can reach it; it is in no list any more.
    failures.record(catch(FailureKind::Drop, None, || unsafe { object.drop() }));
}

/// Drops the dead values of a block.
///
/// An object is taken out of the allocated bits before its `Drop` runs, so that one that panics is not dropped twice.
pub(crate) fn drop_dead(block: Block, failures: &mut Failures, poison_cells: bool) {
    let allocated = block.allocated().expect("only blocks whose values are dropped are unswept");
    let cell_size = block.info().cell_size.get();
    let starts = CellStarts::new(cell_size, block.capacity());
    for (word, (allocated, occupied)) in allocated.iter().zip(block.occupied()).enumerate() {
        let dead = allocated.get() & !occupied.get();
        allocated.set(allocated.get() & !dead);
        for bit in ones(dead) {
            let object = object_at(block, starts.offset(word, bit));
            // SAFETY: the object was unmarked after marking, so nobody can reach it; its bit is clear, so this is the only
            // time it is dropped.
            failures.record(catch(FailureKind::Drop, None, || unsafe { object.drop() }));
        }
    }
    block.info().unswept.set(false);
    if poison_cells {
        block.poison(&starts);
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

/// Drops the dead values of blocks from a place on, as far as the work goes. Returns the place to go on from; `None` if none
/// are left.
pub(crate) fn drop_some(
    core: &mut Core,
    mut space: usize,
    mut block: usize,
    work: &mut Work,
) -> Option<(usize, usize)> {
    while let Some(sweeping) = core.spaces.get_mut(space) {
        while sweeping.drops
            && let Some(&swept) = sweeping.blocks.get(block)
        {
            work.spend(1);
            let unswept = swept.info().unswept.get();
            if unswept {
                work.spend(swept.free_cells());
                drop_dead(swept, &mut core.failures, core.config.zeal);
            }
            // Another takes its place.
            if !unswept || !sweeping.give_back_if_empty(block, &mut core.pool) {
                block += 1;
            }
            if work.is_spent() {
                return Some((space, block));
            }
        }
        (space, block) = (space + 1, 0);
    }
    None
}

/// Drops every object of the heap, in the order of memory.
pub(crate) fn drop_everything(core: &mut Core) {
    for position in 0..core.spaces.len() {
        if !core.spaces[position].drops {
            continue;
        }
        for block in core.spaces[position].take_blocks() {
            block.occupied().iter().for_each(|word| word.set(0));
            drop_dead(block, &mut core.failures, false);
            core.pool.give_back(block);
        }
    }
    while let Some(block) = core.larges.pop() {
        free_large(core, block);
    }
}
