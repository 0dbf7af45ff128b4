//! The state of a heap, and how cells are handed out.

use alloc::vec::Vec;
use core::any::TypeId;
use core::ptr::NonNull;

use hashbrown::HashMap;

use super::failures::Failures;
use super::pacing::Pacing;
use super::sweep;
use crate::config::Config;
use crate::edges::finalizers::Finalizers;
use crate::edges::roots::TableOwner;
use crate::edges::weak::WeakSlots;
use crate::error::Exhausted;
use crate::memory::block::Block;
use crate::memory::cursor::{Cursor, CursorTable};
use crate::memory::pool::Pool;
use crate::memory::space::{LARGEST_CELL, Space};
use crate::object::descriptor::Descriptor;
use crate::object::marker::Marker;
use crate::stats::Stats;

/// Everything that belongs to one heap, except what outlives it.
pub(crate) struct Core {
    pub(crate) cursors: CursorTable,
    pub(crate) roots: TableOwner,
    pub(crate) weak: WeakSlots,
    pub(crate) pacing: Pacing,
    pub(crate) spaces: Vec<Space>,
    /// The space of each type and size class.
    by_type: HashMap<(TypeId, usize), usize>,
    /// Blocks that each begin a run with one large object.
    pub(crate) larges: Vec<Block>,
    pub(crate) finalizers: Finalizers,
    pub(crate) marker: Marker,
    pub(crate) failures: Failures,
    pub(crate) config: Config,
    pub(crate) stats: Stats,
    /// The heap was shut down.
    pub(crate) closed: bool,
    /// Last, since the others point into it.
    pub(crate) pool: Pool,
}

impl Core {
    pub(crate) fn new(config: Config) -> Self {
        let mut core = Self {
            cursors: CursorTable::new(),
            roots: TableOwner::new(),
            weak: WeakSlots::default(),
            pacing: Pacing::new(&config),
            spaces: Vec::new(),
            by_type: HashMap::new(),
            larges: Vec::new(),
            finalizers: Finalizers::default(),
            marker: Marker::default(),
            failures: Failures::default(),
            config,
            stats: Stats::default(),
            closed: false,
            pool: Pool::default(),
        };
        core.apply_limit();
        core
    }

    /// Tells the pool how many bytes the limit leaves beside the external ones.
    pub(crate) fn apply_limit(&mut self) {
        self.pool.set_limit(self.config.heap_limit.map(|limit| limit.saturating_sub(self.pacing.external)));
    }

    /// Counts bytes outside the heap in, or out.
    pub(crate) fn add_external(&mut self, added: usize, removed: usize) {
        self.pacing.external = self.pacing.external.saturating_add(added).saturating_sub(removed);
        self.apply_limit();
    }

    /// A cell for an object of a sized type. `HALVES`: its size is an odd multiple of 8.
    #[inline(always)]
    pub(crate) fn take_cell<const HALVES: bool>(
        &mut self,
        descriptor: &'static Descriptor,
    ) -> Result<NonNull<u8>, Exhausted> {
        match self.cursors.take::<HALVES>(key(descriptor, 0)) {
            Some(cell) => Ok(cell),
            None => self.take_cell_slowly(descriptor, 0, descriptor.cell_size),
        }
    }

    /// A cell for an object of so many bytes, of a type whose objects have a length of their own.
    pub(crate) fn take_sized_cell(
        &mut self,
        descriptor: &'static Descriptor,
        bytes: usize,
    ) -> Result<NonNull<u8>, Exhausted> {
        let Some((class, cell_size)) = size_class(bytes, descriptor.align) else {
            return self.take_large(descriptor, bytes);
        };
        match self.cursors.take::<false>(key(descriptor, class)) {
            Some(cell) => Ok(cell),
            None => self.take_cell_slowly(descriptor, class, cell_size),
        }
    }

    #[cold]
    #[inline(never)]
    fn take_cell_slowly(
        &mut self,
        descriptor: &'static Descriptor,
        class: usize,
        cell_size: usize,
    ) -> Result<NonNull<u8>, Exhausted> {
        if self.closed {
            // Cursors are retired when the heap is closed, so that every allocation comes here.
            return Err(Exhausted::Closed);
        }
        if descriptor.is_large() {
            return self.take_large(descriptor, descriptor.cell_size);
        }
        let key = key(descriptor, class);
        let place = CursorTable::place(key);
        if self.cursors.at(place).key() != key {
            let space = self.space(descriptor, class, cell_size)?;
            let cursor = self.spaces[space]
                .parked
                .take()
                .or_else(|| self.cursors.place_of_space(space).and_then(|elsewhere| self.cursors.remove(elsewhere)))
                .unwrap_or(Cursor::new(key, space));
            if let Some(evicted) = self.cursors.remove(place) {
                self.spaces[evicted.space].parked = Some(evicted);
            }
            self.cursors.put(place, key, cursor);
        }
        loop {
            let cursor = self.cursors.at(place);
            if let Some(cell) = cursor.take::<true>() {
                return Ok(cell);
            }
            let failures = &mut self.failures;
            let poison = self.config.zeal;
            self.pacing.allocated += self.spaces[cursor.space].refill(cursor, &mut self.pool, &mut |block| {
                sweep::drop_dead(block, failures, poison);
            })?;
        }
    }

    /// The space of a type and size class, made if there is none.
    fn space(&mut self, descriptor: &'static Descriptor, class: usize, cell_size: usize) -> Result<usize, Exhausted> {
        let kind = ((descriptor.type_id)(), class);
        if let Some(&space) = self.by_type.get(&kind) {
            return Ok(space);
        }
        self.spaces.try_reserve(1).map_err(|_| Exhausted::System)?;
        self.by_type.try_reserve(1).map_err(|_| Exhausted::System)?;
        self.spaces.push(Space::new(core::ptr::from_ref(descriptor).cast(), cell_size, descriptor.drops));
        self.by_type.insert(kind, self.spaces.len() - 1);
        Ok(self.spaces.len() - 1)
    }

    /// Blocks of its own for one object.
    #[cold]
    fn take_large(&mut self, descriptor: &'static Descriptor, bytes: usize) -> Result<NonNull<u8>, Exhausted> {
        if self.closed {
            return Err(Exhausted::Closed);
        }
        self.larges.try_reserve(1).map_err(|_| Exhausted::System)?;
        let block = self.pool.take_run(bytes)?;
        block.begin_run(core::ptr::from_ref(descriptor).cast(), bytes, descriptor.drops);
        self.larges.push(block);
        self.pacing.allocated += bytes;
        Ok(block.base())
    }

    /// Takes the unused cells back from all cursors.
    pub(crate) fn retire_cursors(&mut self) {
        for cursor in self.cursors.serving() {
            cursor.write_back();
            *cursor = Cursor::new(0, 0);
        }
        for space in &mut self.spaces {
            if let Some(mut cursor) = space.parked.take() {
                cursor.write_back();
            }
        }
    }

    /// Whether there is anything to do between scopes.
    #[inline]
    pub(crate) fn wants_safepoint(&self) -> bool {
        self.pacing.is_due() || self.finalizers.queued_cleanups() > 0 || self.config.zeal
    }

    /// Whether a cursor has the cell that starts in a granule among the ones it will hand out.
    pub(crate) fn is_free(&self, block: Block, granule: usize) -> bool {
        let parked = self.spaces.iter().filter_map(|space| space.parked.as_ref());
        self.cursors.iter().chain(parked).any(|cursor| cursor.has_free(block, granule))
    }

    /// Gives back what only a larger past of the heap needed.
    pub(crate) fn release_tables(&mut self) {
        self.weak.release_if_unused();
        self.finalizers.release_if_unused();
        self.marker.shrink(0);
        for space in &mut self.spaces {
            space.blocks.shrink_to_fit();
        }
        self.larges.shrink_to_fit();
    }

    /// The statistics as of now.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            allocated_bytes: self.pacing.allocated,
            used_bytes: self.pool.used(),
            reserved_bytes: self.pool.reserved(),
            table_bytes: self.pool.table_bytes(),
            root_bytes: self.roots.bytes(),
            weak_bytes: self.weak.bytes(),
            finalizer_bytes: self.finalizers.bytes(),
            external_bytes: self.pacing.external,
            goal_bytes: self.pacing.goal,
            roots: self.roots.roots(),
            weak_slots: self.weak.in_use(),
            armed: self.finalizers.armed(),
            queued_cleanups: self.finalizers.queued_cleanups(),
            queued_guardians: self.finalizers.queued_guardians(),
            panics: self.failures.total,
            ..self.stats
        }
    }
}

/// What names the cursor of a type and size class.
#[inline(always)]
fn key(descriptor: &'static Descriptor, class: usize) -> usize {
    core::ptr::from_ref(descriptor).addr() + class
}

/// The smallest size class that holds `bytes` and whose cells are all aligned to `align`: its number and cell size.
///
/// Up to 128 bytes there is a class every 16 bytes, then four for each doubling, so that less than a fifth of a cell
/// above 128 bytes is lost.
fn size_class(bytes: usize, align: usize) -> Option<(usize, usize)> {
    if bytes > LARGEST_CELL {
        return None;
    }
    let first = match bytes {
        0..=128 => bytes.div_ceil(16).max(1) - 1,
        _ => {
            let doubling = (bytes - 1).ilog2() - 7;
            8 + doubling as usize * 4 + (bytes - 1 - (128 << doubling)) / (32 << doubling)
        }
    };
    (first..CLASSES).map(|class| (class, class_size(class))).find(|(_, size)| size.is_multiple_of(align))
}

/// Size classes of objects with a length of their own.
const CLASSES: usize = 8 + 6 * 4;

fn class_size(class: usize) -> usize {
    match class {
        0..8 => (class + 1) * 16,
        _ => {
            let (doubling, quarter) = ((class - 8) / 4, (class - 8) % 4);
            (128 << doubling) + (quarter + 1) * (32 << doubling)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_has_the_smallest_class_that_holds_it() {
        assert_eq!(class_size(CLASSES - 1), LARGEST_CELL);
        for bytes in 0..=LARGEST_CELL {
            let (class, size) = size_class(bytes, 8).unwrap();
            assert_eq!(size, class_size(class));
            assert!(size >= bytes, "{bytes} bytes in a cell of {size}");
            assert!(class == 0 || class_size(class - 1) < bytes, "{bytes} bytes fit into a smaller cell than {size}");
        }
        assert_eq!(size_class(LARGEST_CELL + 1, 8), None);
    }

    #[test]
    fn classes_respect_alignment() {
        for align in [16, 32, 64, 256, 4096] {
            for bytes in [1, 100, 1000, 5000] {
                let (_, size) = size_class(bytes, align).unwrap();
                assert!(size >= bytes && size % align == 0);
            }
        }
    }
}
