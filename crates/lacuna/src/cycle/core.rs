//! The state of a heap, and how cells are handed out.

use alloc::vec::Vec;
use core::any::TypeId;
use core::cell::Cell;
use core::ptr::NonNull;

use hashbrown::HashMap;

use super::barrier::Written;
use super::failures::{Failure, Failures, Step};
use super::major::Stage;
use super::pacing::Pacing;
use super::sweep::{self, Rest};
use crate::config::Config;
use crate::edges::finalizers::{Class, Finalizers, Taken};
use crate::edges::roots::{HeapId, TableOwner};
use crate::edges::weak::{LAST_GENERATION, WeakSlots};
use crate::error::Exhausted;
use crate::memory::block::Block;
use crate::memory::cursor::{Cursor, CursorTable};
use crate::memory::larges::Larges;
use crate::memory::pool::Pool;
use crate::memory::space::{LARGEST_CELL, Refill, Space};
use crate::object::descriptor::{Descriptor, ObjectRef};
use crate::object::marker::Marker;
use crate::object::stack::Stack;
use crate::stats::{CycleStats, Stats};

/// Everything that belongs to one heap, except what outlives it.
pub(crate) struct Core {
    pub(crate) cursors: CursorTable,
    /// The heap's identity, here as well as in the root table, which is a load further away.
    pub(crate) id: HeapId,
    /// What the fast paths of observing compare with: the heap's identity, or in a turn nobody's, so that they fail.
    pub(crate) fast_id: Cell<HeapId>,
    /// Below which generation a weak reference is made fast: the last one, or in a turn the first, so that none is.
    pub(crate) fast_below: Cell<u32>,
    pub(crate) roots: TableOwner,
    pub(crate) weak: WeakSlots,
    pub(crate) pacing: Pacing,
    pub(crate) spaces: Vec<Space>,
    /// The space of each type and size class.
    by_type: HashMap<(TypeId, usize), u32>,
    pub(crate) larges: Larges,
    pub(crate) finalizers: Finalizers,
    pub(crate) marker: Marker,
    /// Whether writes to marked objects are remembered, so that a minor collection can run.
    pub(crate) armed: bool,
    /// The dirty objects, each marked when it was written. While marks are set or counted, one for each dirty pair of granules.
    pub(crate) remembered: Stack<Written>,
    /// The dirty segments of large objects, each by the object and the offset of a byte in it.
    pub(crate) segments: Stack<(ObjectRef, usize)>,
    /// The next collection has to be a major one: one is under way and is marking, or was abandoned, or a dirty object
    /// could not be remembered.
    pub(crate) major_only: bool,
    /// Where the heap is between two major collections.
    pub(crate) stage: Stage,
    /// Work units of marking that it has done.
    pub(crate) marked_units: usize,
    /// Those that it had done when it began to catch up.
    pub(crate) marked_before: usize,
    /// Work units of what was remembered when its last increment ended.
    pub(crate) left_remembered: usize,
    /// What the major collection has done that is under way, or else the last one.
    pub(crate) cycle: CycleStats,
    /// There was no memory for an object since the last major collection.
    pub(crate) refused: bool,
    pub(crate) failures: Failures,
    pub(crate) config: Config,
    pub(crate) stats: Stats,
    /// Callbacks that had run, had panicked, and registrations that were cancelled, at the last collection.
    counted: [u64; 3],
    /// Sweeps and drops that [`Core::find_cell`] was refused for and that are under way, one inside the other.
    sweeps: u32,
    /// The heap was shut down.
    pub(crate) closed: bool,
    /// Last, since the others point into it.
    pub(crate) pool: Pool,
}

impl Core {
    pub(crate) fn new(config: Config) -> Self {
        let roots = TableOwner::new();
        let mut core = Self {
            cursors: CursorTable::new(),
            id: roots.id(),
            fast_id: Cell::new(roots.id()),
            fast_below: Cell::new(LAST_GENERATION),
            roots,
            weak: WeakSlots::default(),
            pacing: Pacing::new(&config),
            spaces: Vec::new(),
            by_type: HashMap::new(),
            larges: Larges::default(),
            finalizers: Finalizers::default(),
            marker: Marker::default(),
            armed: config.minor_step.is_some(),
            remembered: Stack::default(),
            segments: Stack::default(),
            major_only: false,
            stage: Stage::Idle,
            marked_units: 0,
            marked_before: 0,
            left_remembered: 0,
            cycle: CycleStats::default(),
            refused: false,
            failures: Failures::default(),
            config,
            stats: Stats::default(),
            counted: [0; 3],
            sweeps: 0,
            closed: false,
            pool: Pool::default(),
        };
        core.pool.charge(core.pacing.tables.clone());
        core.apply_limit();
        if !config.huge_pages {
            core.pool.use_small_pages();
        }
        core
    }

    /// Tells the pool how many bytes the limit leaves beside the external ones.
    pub(crate) fn apply_limit(&mut self) {
        self.pool.set_limit(self.config.heap_limit.map(|limit| limit.saturating_sub(self.pacing.external)));
    }

    /// Counts bytes outside the heap in, or out.
    pub(crate) fn add_external(&mut self, added: usize, removed: usize) {
        let external = self.pacing.external.saturating_add(added).saturating_sub(removed);
        self.pacing.set_external(external, self.stage != Stage::Idle);
        self.apply_limit();
    }

    /// A cell that is at hand for an object of a type and size class.
    #[inline(always)]
    pub(crate) fn take_cell(&mut self, wanted: Wanted) -> Option<NonNull<u8>> {
        self.cursors.take(wanted.key())
    }

    /// A cell, from wherever there is one.
    pub(crate) fn find_cell(&mut self, wanted: Wanted) -> Result<NonNull<u8>, Refused> {
        loop {
            let reason = match self.look_for_cell(wanted) {
                Err(Refused::Exhausted(reason)) if reason != Exhausted::Closed => reason,
                found => return found,
            };
            // What the last collection has found dead, and has not counted or dropped yet, may do.
            match if self.may_sweep() { sweep::count_rest(self) } else { Rest::None } {
                Rest::None => return Err(self.refuse(reason)),
                Rest::Counted => {}
                Rest::Large(run) => {
                    self.sweeps += 1;
                    return Err(Refused::Dead { block: run, large: true });
                }
                Rest::Unswept(block) => {
                    self.sweeps += 1;
                    return Err(Refused::Dead { block, large: false });
                }
            }
        }
    }

    /// Whether a cell may cost a sweep. A sweep runs code of the program, which may allocate and cause another one, of as
    /// many as there are blocks; so there is an end to that.
    fn may_sweep(&self) -> bool {
        self.sweeps < SWEEPS_IN_SWEEPS
    }

    fn look_for_cell(&mut self, wanted: Wanted) -> Result<NonNull<u8>, Refused> {
        let key = wanted.key();
        let place = CursorTable::place(key);
        if self.cursors.at(place).key() != key {
            // Cursors are retired when the heap is closed, so that every allocation comes here.
            if self.closed {
                return Err(Refused::Exhausted(Exhausted::Closed));
            }
            if wanted.cell_size > LARGEST_CELL {
                return Ok(self.take_large(wanted)?);
            }
            self.place_cursor(place, wanted)?;
        }
        let may_sweep = self.may_sweep();
        let cursor = self.cursors.at(place);
        if cursor.is_empty() {
            let space = cursor.space;
            let refill = self.spaces[space as usize].refill(cursor, &mut self.pool, may_sweep);
            match refill? {
                Refill::Filled { entered } => self.pacing.allocated += entered,
                Refill::Unswept(block) => {
                    self.sweeps += 1;
                    return Err(Refused::Unswept { block, space });
                }
            }
        }
        Ok(self.cursors.at(place).take().expect("the cursor was refilled"))
    }

    /// Has everything collected when the scope is over, in which there is no memory for an object.
    #[cold]
    fn refuse(&mut self, reason: Exhausted) -> Refused {
        self.refused = true;
        Refused::Exhausted(reason)
    }

    /// Takes a block or run back whose values were dropped because [`Self::find_cell`] was refused.
    pub(crate) fn freed(&mut self, block: Block, failures: Failures) {
        self.sweeps -= 1;
        self.failures.absorb(failures);
        self.pool.give_back(block);
    }

    /// Takes a block back that was swept because [`Self::find_cell`] was refused.
    pub(crate) fn swept(&mut self, space: u32, block: Block, failures: Failures) {
        self.sweeps -= 1;
        self.failures.absorb(failures);
        self.spaces[space as usize].swept(block);
    }

    /// Puts the cursor of a type and size class into its place.
    fn place_cursor(&mut self, place: usize, wanted: Wanted) -> Result<(), Exhausted> {
        let space = self.space(wanted)?;
        let Space { parked, drops, .. } = &mut self.spaces[space as usize];
        let cursor = parked
            .take()
            .or_else(|| self.cursors.place_of_space(space).and_then(|elsewhere| self.cursors.remove(elsewhere)))
            .unwrap_or(Cursor::new(wanted.key(), space, *drops));
        if let Some(evicted) = self.cursors.remove(place) {
            let space = evicted.space as usize;
            self.spaces[space].parked = Some(evicted);
        }
        self.cursors.put(place, wanted.key(), cursor);
        Ok(())
    }

    /// The space of a type and size class, made if there is none.
    fn space(&mut self, wanted: Wanted) -> Result<u32, Exhausted> {
        let Wanted { descriptor, class, cell_size } = wanted;
        let named = ((descriptor.type_id)(), class);
        if let Some(&space) = self.by_type.get(&named) {
            return Ok(space);
        }
        self.spaces.try_reserve(1).map_err(|_| Exhausted::System)?;
        self.by_type.try_reserve(1).map_err(|_| Exhausted::System)?;
        let space = self.spaces.len() as u32;
        let kind = core::ptr::from_ref(descriptor).cast();
        self.spaces.push(Space::new(kind, cell_size, descriptor.drops, self.config.zeal));
        self.by_type.insert(named, space);
        Ok(space)
    }

    /// Blocks of its own for one object.
    #[cold]
    fn take_large(&mut self, wanted: Wanted) -> Result<NonNull<u8>, Exhausted> {
        let Wanted { descriptor, cell_size, .. } = wanted;
        self.larges.reserve()?;
        let block = self.pool.take_run(cell_size)?;
        block.begin_run(core::ptr::from_ref(descriptor).cast(), cell_size, descriptor.has_length(), descriptor.drops);
        self.larges.push(block);
        self.pacing.allocated += cell_size;
        Ok(block.base())
    }

    /// Takes the unused cells back from all cursors. No scope is open.
    pub(crate) fn retire_cursors(&mut self) {
        // Where a panic cannot be caught, one may have ended a sweep.
        self.sweeps = 0;
        for cursor in self.cursors.serving() {
            cursor.retire();
            *cursor = Cursor::new(0, 0, false);
        }
        for space in &mut self.spaces {
            if let Some(mut cursor) = space.parked.take() {
                cursor.retire();
            }
        }
    }

    /// Whether there is anything to do between scopes.
    #[inline]
    pub(crate) fn wants_safepoint(&self) -> bool {
        self.wants_minor() || self.wants_major() || self.finalizers.queued_callbacks() > 0 || self.config.zeal
    }

    /// Whether a major collection is due, or an increment of it.
    #[inline]
    pub(crate) fn wants_major(&self) -> bool {
        self.pacing.is_due() || self.pacing.is_crowded(self.pool.used()) || self.refused
    }

    /// Whether a minor collection is due, if no major one is.
    #[inline]
    pub(crate) fn wants_minor(&self) -> bool {
        self.pacing.is_minor_due()
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
            space.shrink();
        }
        self.larges.shrink();
        self.remembered.shrink(0);
        self.segments.shrink(0);
    }

    /// Has the fast paths of observing fail while a turn is open, and only then.
    pub(crate) fn follow_turn(&self) {
        let in_turn = self.roots.in_turn();
        self.fast_id.set(if in_turn { HeapId::NOBODY } else { self.id });
        self.fast_below.set(if in_turn { 0 } else { LAST_GENERATION });
    }

    /// How many collections ago what waits was queued, the last one not counted; 0 if nothing waits.
    pub(crate) fn age_of(&self, queued_in: Option<u32>) -> u64 {
        let age = |cycle| (self.stats.collections as u32).wrapping_sub(cycle).saturating_sub(1);
        queued_in.map_or(0, |cycle| u64::from(age(cycle)))
    }

    /// Adds what a collection queued to the totals, and tells it what the program did since the one before.
    pub(crate) fn count_callbacks(&mut self, cycle: &mut CycleStats) {
        let queued = (cycle.cleanups_queued + cycle.notifications_queued) as u64;
        let totals = &mut self.stats;
        totals.batches += u64::from(queued > 0);
        totals.callbacks_queued += queued;
        totals.notifications_silenced += cycle.notifications_silenced as u64;
        let now = [totals.callbacks_run, totals.callbacks_panicked, totals.cancelled];
        let before = core::mem::replace(&mut self.counted, now);
        [cycle.callbacks_run, cycle.callbacks_panicked, cycle.cancelled] =
            core::array::from_fn(|kind| now[kind] - before[kind]);
    }

    /// Counts a callback that was taken out as running. Returns what a failure is to say of it.
    #[inline(always)]
    pub(crate) fn begin_callback(&mut self, taken: &Taken) -> Step {
        self.stats.callbacks_run += 1;
        if taken.external() > 0 {
            self.add_external(0, taken.external());
        }
        Step::callback(self.id, taken)
    }

    /// Records that a callback has panicked.
    pub(crate) fn callback_panicked(&mut self, failure: Failure) {
        self.stats.callbacks_panicked += 1;
        self.failures.record(Some(failure));
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
            ephemeron_bytes: self.pacing.tables.bytes(),
            external_bytes: self.pacing.external,
            goal_bytes: self.pacing.goal,
            major_due: self.wants_major(),
            roots: self.roots.roots(),
            weak_slots: self.weak.in_use(),
            armed: self.finalizers.armed(),
            queued_cleanups: self.finalizers.queued(Class::Cleanup),
            queued_notifications: self.finalizers.queued(Class::Notification),
            queued_guardians: self.finalizers.queued(Class::Guardian),
            oldest_age_in_cycles: self.age_of(self.finalizers.oldest_queued_in()),
            panics: self.failures.total,
            ..self.stats
        }
    }
}

/// Sweeps inside each other from which on an allocation causes none.
const SWEEPS_IN_SWEEPS: u32 = 16;

/// A cell for an object of a type.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    descriptor: &'static Descriptor,
    /// The size class, of objects with a length of their own.
    class: usize,
    /// Bytes of the cell; more than [`LARGEST_CELL`] for an object with blocks of its own.
    cell_size: usize,
}

/// Why there is no cell yet.
pub(crate) enum Refused {
    Exhausted(Exhausted),
    /// The block is to be swept while nobody borrows the state, since that runs the user's code, and then handed to
    /// [`Core::swept`].
    Unswept {
        block: Block,
        space: u32,
    },
    /// The large object, or all values of the block, are dead. They are to be dropped while nobody borrows the state, and the
    /// block, which is in no list any more, then handed to [`Core::freed`].
    Dead {
        block: Block,
        large: bool,
    },
}

impl From<Exhausted> for Refused {
    fn from(reason: Exhausted) -> Self {
        Self::Exhausted(reason)
    }
}

impl Wanted {
    /// A cell for an object of a sized type.
    #[inline(always)]
    pub(crate) const fn sized(descriptor: &'static Descriptor) -> Self {
        Self { descriptor, class: 0, cell_size: descriptor.cell_size }
    }

    /// A cell for an object of so many bytes, of a type whose objects have a length of their own.
    pub(crate) fn with_bytes(descriptor: &'static Descriptor, bytes: usize) -> Self {
        let (class, cell_size) = size_class(bytes, descriptor.align).unwrap_or((CLASSES, bytes.max(LARGEST_CELL + 1)));
        Self { descriptor, class, cell_size }
    }

    /// What names the cursor of the type and size class.
    #[inline(always)]
    fn key(self) -> usize {
        core::ptr::from_ref(self.descriptor).addr() + self.class
    }
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
