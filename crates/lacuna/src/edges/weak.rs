//! The weak-slot table: one slot for each object that is observed, whatever observes it.
//!
//! A slot has two generations. A [`Weak`](crate::Weak) names a slot and its *short* generation, a
//! [`WeakLong`](crate::WeakLong) its *long* one; clearing weak references of a kind is moving that generation on, so
//! all of them read dead at the same moment and no list of them is ever walked.
//!
//! ```text
//!             attach                  short generation + 1               both generations + 1
//!   no slot ----------> observed -------------------------> condemned -------------------------> free
//!                                     object only reachable            object is dead
//!                                     from guardians
//! ```
//!
//! From an object to its slot leads a table that a block gets when its first cell is observed. That table also tells
//! the pause which slots die: those of the block's observed cells that are not marked.
//!
//! - `[INV-WEAK-1]` A slot whose target is not null belongs to the live object in that cell, and the table of the cell's
//!   block leads back to it. Slots of dead objects are freed in the pause, before the sweep.
//! - `[INV-WEAK-2]` The table of a block in use is an allocation made by [`Observed::allocate`] for as many cells as the
//!   block has; it is freed when its last cell stops being observed, or with the weak-slot table.
//! - `[INV-WEAK-3]` A generation never returns: a slot of which one would is never used again.
//! - `[INV-WEAK-4]` While a slot has the short generation of one of its weak references, its target is not null: freeing it
//!   moves that generation on, and at the end of the range, where that is impossible, no reference has it.
#![allow(unsafe_code)]

use alloc::alloc::{alloc_zeroed, dealloc};
use alloc::vec::Vec;
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{self, NonNull};

use crate::error::Exhausted;
use crate::memory::bitmap::{BlockBits, GRANULE, ones};
use crate::memory::block::{Block, BlockInfo};
use crate::memory::chunk::{BLOCK_SIZE, is_marked};
use crate::memory::column::Column;
use crate::memory::prefetch::prefetch;
use crate::memory::table::Table;
use crate::object::descriptor::ObjectRef;
use crate::object::ephemerons::Waiter;

/// The number of a slot in the table.
pub(crate) type SlotIndex = u32;

/// No slot, no registration.
pub(crate) const NONE: u32 = u32::MAX;

/// What is known of an observed object, in 16 bytes: weak references are read far more often than anything else here.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    /// The observed cell, or null where the slot is free.
    target: *mut u8,
    /// The short generation.
    generation: u32,
    /// How far the short generation is ahead of the long one: how often the object came back from a guardian. The next
    /// free slot, or [`NONE`], where the slot is free.
    extra: u32,
}

const _: () = assert!(size_of::<Slot>() == 16);

/// Which weak references of an object die.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Short,
    Long,
}

pub(crate) struct WeakSlots {
    slots: Column<Slot>,
    /// By slot, the newest registration of the object, or [`NONE`]. Only as long as slots have or had any.
    registrations: Table<u32>,
    /// By slot, the newest of the ephemerons that wait for the object. Shorter than the table of slots, or empty, where no
    /// later slot belongs to a key. Nothing waits outside of weak passes.
    waiters: Table<Option<Waiter>>,
    /// Or [`NONE`].
    first_free: u32,
    /// Slots that are free, or not used again.
    unused: usize,
    /// Blocks with observed cells.
    blocks: Vec<Block>,
    /// Those of them in which an object was observed that no collection had seen. Has room for all of them.
    recent: Vec<Block>,
    /// Whether the weak pass decides only over objects that no collection has seen before.
    recent_only: bool,
    /// The generation that a slot starts with which was never used before.
    start: u32,
}

impl Default for WeakSlots {
    fn default() -> Self {
        Self {
            slots: Column::new(),
            registrations: Table::new(),
            waiters: Table::new(),
            first_free: NONE,
            unused: 0,
            blocks: Vec::new(),
            recent: Vec::new(),
            recent_only: false,
            start: 0,
        }
    }
}

impl WeakSlots {
    /// Slots in use.
    pub(crate) fn in_use(&self) -> usize {
        self.slots.length() as usize - self.unused
    }

    /// Bytes of the table and of the blocks' tables.
    pub(crate) fn bytes(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(|block| Observed::layout(block.capacity()).size()).sum();
        let tables = self.slots.bytes() + self.registrations.bytes() + self.waiters.bytes();
        tables + self.blocks.capacity() * size_of::<Block>() + blocks
    }

    /// The object's slot, made if it has none.
    #[inline(always)]
    pub(crate) fn attach(&mut self, object: ObjectRef) -> Result<SlotIndex, Exhausted> {
        let block = Block::of(object.cell());
        let Some(observed) = Observed::of(block) else { return self.attach_first(object) };
        let entry = observed.slot(block.cell_index(object.cell()));
        if entry.get() != 0 {
            return Ok(entry.get() - 1);
        }
        let index = self.attach_new(object, observed.bits, entry, block.info());
        if index == NONE { Err(Exhausted::System) } else { Ok(index) }
    }

    /// Makes a slot for an object of a block that has a table: for an entry of that. [`NONE`] if there is no memory.
    ///
    /// Not a part of what observes, which is small without it. That gives what it has found already.
    #[inline(never)]
    fn attach_new(&mut self, object: ObjectRef, bits: &BlockBits, entry: &Cell<u32>, info: &BlockInfo) -> SlotIndex {
        let Ok(index) = self.take(object) else { return NONE };
        entry.set(index + 1);
        set_observed(bits, object.cell());
        if !info.recent.get() && !is_marked(object.cell()) {
            info.recent.set(true);
            self.recent.push(Block::of(object.cell()));
        }
        index
    }

    /// Makes a slot for an object of a block that has no table.
    #[cold]
    #[inline(never)]
    fn attach_first(&mut self, object: ObjectRef) -> Result<SlotIndex, Exhausted> {
        self.observe_block(Block::of(object.cell()))?;
        self.attach(object)
    }

    /// Makes the table of a block.
    fn observe_block(&mut self, block: Block) -> Result<(), Exhausted> {
        self.blocks.try_reserve(1).map_err(|_| Exhausted::System)?;
        self.recent.try_reserve(self.blocks.len() + 1 - self.recent.len()).map_err(|_| Exhausted::System)?;
        Observed::allocate(block).ok_or(Exhausted::System)?;
        self.blocks.push(block);
        Ok(())
    }

    /// The object's slot, if it has one.
    #[inline(always)]
    pub(crate) fn find(&self, object: ObjectRef) -> Option<SlotIndex> {
        let block = Block::of(object.cell());
        Observed::of(block)?.slot(block.cell_index(object.cell())).get().checked_sub(1)
    }

    /// The slots of the objects so many cells further on in a block, of those that have one.
    pub(crate) fn find_along<const N: usize>(
        &self,
        CellPlace { block, cell }: CellPlace,
        ahead: [isize; N],
    ) -> [Option<SlotIndex>; N] {
        let Some(observed) = Observed::of(block) else { return [None; N] };
        ahead.map(|ahead| observed.slots.get(cell.checked_add_signed(ahead)?)?.get().checked_sub(1))
    }

    /// The newest of the ephemerons that wait for a slot's object.
    pub(crate) fn waiter(&self, index: SlotIndex) -> Option<Waiter> {
        self.waiters.get(index).copied().flatten()
    }

    /// Starts to load what waits for a slot's object.
    pub(crate) fn prefetch_waiters_of(&self, index: SlotIndex) {
        if let Some(waiter) = self.waiters.get(index) {
            prefetch(NonNull::from(waiter).cast());
        }
    }

    /// The object's slot, which is probably the one that is expected, if it has one.
    pub(crate) fn find_expected(&self, object: ObjectRef, expected: SlotIndex) -> Option<SlotIndex> {
        match self.slots.get(expected) {
            Some(slot) if slot.target == object.cell().as_ptr() => Some(expected),
            _ => self.find(object),
        }
    }

    /// Starts to load the number of the object's slot, if it can have one.
    pub(crate) fn prefetch_number(&self, object: ObjectRef) {
        let block = Block::of(object.cell());
        if let Some(observed) = Observed::of(block) {
            prefetch(NonNull::from(observed.slot(block.cell_index(object.cell()))).cast());
        }
    }

    /// Starts to load what waits for the object, if it can be a key.
    pub(crate) fn prefetch_waiter(&self, object: ObjectRef) {
        if let Some(slot) = self.find(object) {
            self.prefetch_waiters_of(slot);
        }
    }

    #[inline(always)]
    fn take(&mut self, object: ObjectRef) -> Result<SlotIndex, Exhausted> {
        let target = object.cell().as_ptr();
        let index = self.first_free;
        let index = if index != NONE {
            let slot = &mut self.slots[index];
            self.first_free = slot.extra;
            (slot.target, slot.extra) = (target, 0);
            self.unused -= 1;
            index
        } else {
            self.slots.push(Slot { target, generation: self.start, extra: 0 })?
        };
        Ok(index)
    }

    #[inline(always)]
    pub(crate) fn slot(&self, index: SlotIndex) -> &Slot {
        &self.slots[index]
    }

    /// The newest registration of a slot's object, or [`NONE`].
    #[inline]
    pub(crate) fn registrations(&self, index: SlotIndex) -> u32 {
        self.registrations.get(index).copied().unwrap_or(NONE)
    }

    /// Where the newest registration of a slot's object is kept, which has, had or may have one.
    #[inline(always)]
    pub(crate) fn registrations_mut(&mut self, index: SlotIndex) -> &mut u32 {
        &mut self.registrations[index]
    }

    /// Takes all registrations of a slot's object off it; returns the newest.
    #[inline(always)]
    pub(crate) fn take_registrations(&mut self, index: SlotIndex) -> u32 {
        self.registrations.get_mut(index).map_or(NONE, |newest| core::mem::replace(newest, NONE))
    }

    /// Makes it possible for a slot's object to have registrations.
    #[inline(always)]
    pub(crate) fn make_target(&mut self, index: SlotIndex) -> Result<(), Exhausted> {
        if index < self.registrations.length() { Ok(()) } else { self.extend_registrations(index) }
    }

    #[cold]
    #[inline(never)]
    fn extend_registrations(&mut self, index: SlotIndex) -> Result<(), Exhausted> {
        while self.registrations.length() <= index | 255 {
            self.registrations.push(NONE)?;
        }
        Ok(())
    }

    /// Makes it possible for ephemerons to wait for a slot's object.
    pub(crate) fn make_key(&mut self, index: SlotIndex) -> Result<(), Exhausted> {
        while self.waiters.length() <= index {
            self.waiters.push(None)?;
        }
        Ok(())
    }

    /// Replaces the newest of the ephemerons that wait for a slot's object, which is a key if there are any.
    pub(crate) fn replace_waiter(&mut self, index: SlotIndex, newest: Option<Waiter>) -> Option<Waiter> {
        if index < self.waiters.length() {
            core::mem::replace(&mut self.waiters[index], newest)
        } else {
            debug_assert!(newest.is_none(), "the object was not made a key");
            None
        }
    }

    /// The generation that a weak reference of either kind to the slot's object gets, if both are the same and it is
    /// below a bound: in the common case.
    #[inline(always)]
    pub(crate) fn common_generation(&self, index: SlotIndex, below: u32) -> Option<u32> {
        let slot = self.slot(index);
        (slot.extra == 0 && slot.generation < below).then_some(slot.generation)
    }

    /// The generation that a weak reference of this kind to the slot's object gets.
    ///
    /// # Errors
    ///
    /// If the object was resurrected 2147483646 times while it had weak references, there is no room for more. That is no
    /// panic, since a panic runs the program's hook, and the state is borrowed here.
    #[cold]
    pub(crate) fn generation(&self, index: SlotIndex, kind: Kind) -> Result<u32, Exhausted> {
        let slot = self.slot(index);
        if slot.generation >= LAST_GENERATION || slot.extra >= FARTHEST {
            return Err(Exhausted::System);
        }
        Ok(match kind {
            Kind::Short => slot.generation,
            Kind::Long => slot.generation - slot.extra,
        })
    }

    /// The object of a slot, if its weak references of this kind and generation are alive.
    ///
    /// # Safety
    ///
    /// There was a weak reference of this slot, generation and kind, of this heap.
    #[inline(always)]
    pub(crate) unsafe fn target(&self, index: SlotIndex, generation: u32, kind: Kind) -> Option<ObjectRef> {
        let slot = self.slots.get(index)?;
        match kind {
            // SAFETY: [INV-WEAK-4] the generation is that of a reference, so the slot is in use.
            Kind::Short if slot.generation == generation => Some(unsafe { slot.known_object() }),
            Kind::Short => None,
            Kind::Long => {
                let object = slot.object()?;
                (slot.generation - slot.extra == generation).then_some(object)
            }
        }
    }

    /// Kills the short weak references of a slot.
    pub(crate) fn clear_short(&mut self, index: SlotIndex) {
        let slot = &mut self.slots[index];
        // At the end of the range there are no references of the last generation: `generation` hands none out.
        if slot.generation < LAST_GENERATION && slot.extra < FARTHEST {
            slot.generation += 1;
            slot.extra += 1;
        }
    }

    /// Kills the weak references of a slot, whose object is dead, and frees the slot.
    ///
    /// The caller has detached the object's registrations.
    #[inline]
    fn free(&mut self, index: SlotIndex) {
        debug_assert_eq!(self.registrations(index), NONE);
        let slot = &mut self.slots[index];
        debug_assert!(self.waiters.get(index).is_none_or(Option::is_none));
        slot.generation = slot.generation.saturating_add(1);
        slot.target = ptr::null_mut();
        slot.extra = NONE;
        // [INV-WEAK-3]
        if slot.generation < LAST_GENERATION {
            slot.extra = core::mem::replace(&mut self.first_free, index);
        }
        self.unused += 1;
    }

    /// Says which objects the next weak pass decides over: all, or those that no collection has seen.
    pub(crate) fn decide_over_recent(&mut self, only: bool) {
        self.recent_only = only;
    }

    /// Calls `visit` with the slot of each observed object that is unmarked. Allocates nothing.
    pub(crate) fn each_condemned(&mut self, mut visit: impl FnMut(&mut Self, SlotIndex)) {
        let blocks = |slots: &Self| if slots.recent_only { slots.recent.len() } else { slots.blocks.len() };
        for position in 0..blocks(self) {
            let block = if self.recent_only { self.recent[position] } else { self.blocks[position] };
            Observed::each_condemned(block, |_, slot| visit(self, slot));
        }
    }

    /// Frees the slots of all unmarked objects, after `visit` has seen each. Allocates nothing.
    pub(crate) fn free_condemned(&mut self, mut visit: impl FnMut(&mut Self, SlotIndex)) -> usize {
        let before = self.unused;
        let mut recent = core::mem::take(&mut self.recent);
        let mut blocks = core::mem::take(&mut self.blocks);
        recent.iter().for_each(|block| block.info().recent.set(false));
        if self.recent_only {
            let mut freed = false;
            for &block in &recent {
                // The run of a large object is given back as soon as that is dead, other blocks by a major collection.
                if self.forget_condemned(block, &mut visit) && block.is_run() {
                    Observed::of(block).expect("listed blocks have a table").free(block);
                    freed = true;
                }
            }
            if freed {
                blocks.retain(|&block| Observed::of(block).is_some());
            }
        } else {
            blocks.retain(|&block| {
                let unused = self.forget_condemned(block, &mut visit);
                if unused {
                    Observed::of(block).expect("listed blocks have a table").free(block);
                }
                !unused
            });
        }
        recent.clear();
        (self.blocks, self.recent) = (blocks, recent);
        self.unused - before
    }

    /// Frees the slots of the unmarked objects of a block; says whether no object of it is observed any more.
    #[inline(always)]
    fn forget_condemned(&mut self, block: Block, visit: &mut impl FnMut(&mut Self, SlotIndex)) -> bool {
        if self.waiters.length() > 0 {
            // Keys are mostly observed in the order of insertion, which need not be that of memory.
            Observed::each_condemned(block, |_, slot| {
                if let Some(slot) = self.slots.get(slot) {
                    prefetch(NonNull::from(slot).cast());
                }
            });
        }
        Observed::each_condemned(block, |entry, slot| {
            visit(self, slot);
            entry.set(0);
            self.free(slot);
        });
        Observed::of(block).expect("listed blocks have a table").forget_unmarked(block)
    }

    /// Starts to load what is known of a slot, if there is one of this number.
    pub(crate) fn prefetch(&self, index: SlotIndex) {
        if let Some(slot) = self.slots.get(index) {
            prefetch(NonNull::from(slot).cast());
        }
        self.prefetch_waiters_of(index);
    }

    /// Gives the table back if nothing is observed any more.
    ///
    /// Slots made later start with a generation that no weak reference has yet.
    pub(crate) fn release_if_unused(&mut self) {
        if self.in_use() > 0 || self.slots.length() == 0 {
            return;
        }
        let start = self.slots.iter().map(|slot| slot.generation).max().unwrap_or(0);
        if start < LAST_GENERATION {
            *self = Self::default();
            self.start = start;
        }
    }

    /// Calls `visit` with each object that has a slot.
    pub(crate) fn each(&self, mut visit: impl FnMut(SlotIndex, ObjectRef)) {
        for (index, slot) in self.slots.iter().enumerate() {
            if let Some(object) = slot.object() {
                visit(index as u32, object);
            }
        }
    }

    /// Frees every slot: the heap is about to drop all objects.
    pub(crate) fn clear(&mut self) {
        for index in 0..self.slots.length() {
            if !self.slots[index].target.is_null() {
                self.take_registrations(index);
                self.free(index);
            }
        }
        self.recent.clear();
        for block in self.blocks.drain(..) {
            Observed::of(block).expect("listed blocks have a table").free(block);
        }
    }
}

impl Drop for WeakSlots {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Where an object lies: in which cell of a block.
#[derive(Clone, Copy)]
pub(crate) struct CellPlace {
    block: Block,
    cell: usize,
}

impl CellPlace {
    pub(crate) fn of(object: ObjectRef) -> Self {
        let block = Block::of(object.cell());
        Self { block, cell: block.cell_index(object.cell()) }
    }

    /// Cells from another place in the same block to here.
    pub(crate) fn distance(self, other: Self) -> Option<isize> {
        (self.block == other.block).then(|| self.cell.wrapping_sub(other.cell).cast_signed())
    }
}

/// The generation of a slot that is not used again; weak references never have it.
pub(crate) const LAST_GENERATION: u32 = u32::MAX - 1;

/// How far a short generation may be ahead of the long one.
const FARTHEST: u32 = (1 << 31) - 1;

impl Slot {
    /// The observed object.
    ///
    /// # Safety
    ///
    /// The slot is in use.
    #[inline(always)]
    unsafe fn known_object(&self) -> ObjectRef {
        debug_assert!(!self.target.is_null());
        // SAFETY: [INV-WEAK-1] the target is not null, as the caller knows, and so is the cell of a live object.
        unsafe { ObjectRef::new(NonNull::new_unchecked(self.target)) }
    }

    /// The observed object, if it lives.
    #[inline(always)]
    pub(crate) fn object(&self) -> Option<ObjectRef> {
        // SAFETY: [INV-WEAK-1] the target is the cell of a live object.
        NonNull::new(self.target).map(|cell| unsafe { ObjectRef::new(cell) })
    }
}

/// A block's table: which of its cells are observed, and each one's slot.
///
/// ```text
/// | observed bits, by granule | slot + 1 or 0, by cell |
/// ```
#[derive(Clone, Copy)]
struct Observed<'a> {
    bits: &'a BlockBits,
    slots: &'a [Cell<u32>],
}

impl Observed<'_> {
    fn layout(cells: usize) -> Layout {
        Layout::new::<BlockBits>()
            .extend(Layout::array::<Cell<u32>>(cells).expect("a block has few cells"))
            .expect("a block has few cells")
            .0
    }

    #[inline(always)]
    fn of(block: Block) -> Option<Self> {
        let table = NonNull::new(block.info().observed.get())?.cast::<u8>();
        // SAFETY: [INV-WEAK-2] the table holds the bits and as many numbers as the block has cells, initialised when it
        // was allocated; both are cells and only ever shared.
        unsafe {
            let slots = table.add(size_of::<BlockBits>()).cast::<Cell<u32>>();
            let slots = NonNull::slice_from_raw_parts(slots, block.capacity()).as_ref();
            Some(Self { bits: table.cast::<BlockBits>().as_ref(), slots })
        }
    }

    fn allocate(block: Block) -> Option<Self> {
        // SAFETY: the layout has at least the bytes of the bits.
        let table = unsafe { alloc_zeroed(Self::layout(block.capacity())) };
        block.info().observed.set(table.cast());
        Self::of(block)
    }

    /// Frees the table of a block. Nobody may use `self` or a copy after that.
    fn free(self, block: Block) {
        let table = block.info().observed.replace(ptr::null_mut());
        // SAFETY: [INV-WEAK-2] it was allocated with this layout, and the block forgot it.
        unsafe { dealloc(table.cast(), Self::layout(block.capacity())) };
    }

    /// Calls `visit` with the entry and the slot of each observed cell of the block that is unmarked.
    #[inline(always)]
    fn each_condemned(block: Block, mut visit: impl FnMut(&Cell<u32>, SlotIndex)) {
        let observed = Observed::of(block).expect("listed blocks have a table");
        for (word, (bits, marks)) in observed.bits.iter().zip(block.marks()).enumerate() {
            for bit in ones(bits.get() & !marks.get()) {
                // The cell starts in the granule or in its middle, and does not end before the granule does.
                let middle = block.cell((word * 64 + bit as usize) * GRANULE + GRANULE / 2);
                let entry = observed.slot(block.cell_index(middle));
                visit(entry, entry.get() - 1);
            }
        }
    }

    /// Takes the unmarked cells out of the bits; says whether none is left.
    fn forget_unmarked(&self, block: Block) -> bool {
        let mut left = 0;
        for (bits, marks) in self.bits.iter().zip(block.marks()) {
            bits.set(bits.get() & marks.get());
            left |= bits.get();
        }
        left == 0
    }

    #[inline(always)]
    fn slot(&self, cell: usize) -> &Cell<u32> {
        &self.slots[cell]
    }
}

/// Sets the bit of a cell.
#[inline(always)]
fn set_observed(bits: &BlockBits, cell: NonNull<u8>) {
    let granule = cell.addr().get() % BLOCK_SIZE / GRANULE;
    let word = &bits[granule / 64];
    word.set(word.get() | 1 << (granule % 64));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::pool::Pool;
    use crate::object::descriptor::object_at;

    /// A block of ten cells, of which the first is observed.
    fn observed() -> (Pool, Block, WeakSlots, SlotIndex) {
        let mut pool = Pool::default();
        let block = pool.take_block().unwrap();
        block.format(ptr::dangling(), 24, false);
        let mut slots = WeakSlots::default();
        let slot = slots.attach(object_at(block, 24)).unwrap();
        (pool, block, slots, slot)
    }

    /// Whether references are alive that were made with a generation that `generation` gave.
    fn is_alive(slots: &WeakSlots, slot: SlotIndex, generation: u32, kind: Kind) -> bool {
        // SAFETY: there could have been such a reference.
        unsafe { slots.target(slot, generation, kind) }.is_some()
    }

    #[test]
    fn a_slot_is_used_again_with_another_generation() {
        let (_pool, block, mut slots, slot) = observed();
        let old = slots.generation(slot, Kind::Short).unwrap();
        assert_eq!(slots.free_condemned(|_, _| ()), 1);
        assert!(!is_alive(&slots, slot, old, Kind::Short));
        let again = slots.attach(object_at(block, 48)).unwrap();
        assert_eq!(again, slot);
        assert!(!is_alive(&slots, slot, old, Kind::Short));
        assert!(is_alive(&slots, slot, slots.generation(slot, Kind::Short).unwrap(), Kind::Short));
    }

    #[test]
    fn trap_11_a_slot_whose_generation_would_wrap_is_retired() {
        let (_pool, block, mut slots, slot) = observed();
        slots.slots[slot].generation = LAST_GENERATION - 1;
        slots.free_condemned(|_, _| ());
        assert_ne!(slots.attach(object_at(block, 48)).unwrap(), slot);
    }

    #[test]
    fn an_object_that_came_back_too_often_gets_no_more_weak_references() {
        let (_pool, _block, mut slots, slot) = observed();
        let old = slots.generation(slot, Kind::Long).unwrap();
        slots.slots[slot].generation = FARTHEST - 1;
        slots.slots[slot].extra = FARTHEST - 1;
        assert_eq!(slots.generation(slot, Kind::Long), Ok(old));
        slots.clear_short(slot);
        assert!(slots.generation(slot, Kind::Short).is_err() && slots.generation(slot, Kind::Long).is_err());
        assert!(is_alive(&slots, slot, old, Kind::Long), "those it has are not concerned");
    }

    #[test]
    fn a_table_that_was_given_back_does_not_revive_old_references() {
        let (_pool, block, mut slots, slot) = observed();
        let old = slots.generation(slot, Kind::Long).unwrap();
        slots.free_condemned(|_, _| ());
        slots.release_if_unused();
        assert_eq!(slots.bytes(), 0);
        assert_eq!(slots.attach(object_at(block, 48)).unwrap(), slot);
        assert!(!is_alive(&slots, slot, old, Kind::Long));
    }
}
