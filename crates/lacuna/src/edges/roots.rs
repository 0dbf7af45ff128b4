//! The root table: a slot for every root, in pages that never move.
//!
//! A root is the address of its slot; the page that the slot lies in names the table. So a root is one word, is made
//! and dropped in constant time without knowing its heap, and may outlive it.
//!
//! - `[INV-ROOT-1]` A [`RootSlot`] points to a slot of a live page, taken and not given back; each value is given back
//!   once, by whoever owns it.
//! - `[INV-ROOT-2]` A table and its pages live as long as the heap lives, a slot is taken, callbacks run, or a turn is
//!   open.
//! - `[INV-ROOT-3]` A taken slot holds the address of a cell with an object, kept alive by it until the heap is closed.
//!   A free slot holds [`FREE`], the last of each page and [`RootTable::none`] hold [`LIMIT`].
//! - `[INV-ROOT-5]` The table's cursor leads to a slot of one of its pages or to its own `none`.
//! - `[INV-ROOT-4]` Tables, pages and slots are used by one thread: nothing that leads to them is `Send`.
#![allow(unsafe_code)]

use alloc::alloc::{alloc, dealloc, handle_alloc_error};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::cell::{Cell, RefCell};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashMap;

use crate::error::Exhausted;
use crate::object::descriptor::ObjectRef;

/// Bytes of a page, and its alignment: what leads from a slot to the page's header.
const PAGE: usize = 4096;
/// Slots of a page, the last of which is never free, so that it ends each pass.
const SLOTS: usize = PAGE / size_of::<*mut u8>() - 4;

#[repr(C, align(4096))]
struct Page {
    table: NonNull<RootTable>,
    /// Slots that were taken when the cursor left the page last; once the heap is gone, also those taken since.
    taken: Cell<usize>,
    /// Slots given back since then. From [`ORPHANED`] on the heap is gone.
    freed: Cell<usize>,
    /// The cursor was in the page since the last collection, so that it may lead to objects that no collection has seen.
    recent: Cell<bool>,
    slots: [Cell<*mut u8>; SLOTS],
}

const _: () = assert!(size_of::<Page>() == PAGE);

/// Slots of a page that must be free for the cursor to pass it again: so it finds one after four looks on average, and at
/// most a quarter of the table is free and not used.
const WORTHWHILE: usize = SLOTS / 4;

/// Pages that are asked in turn whether they are worth passing, before a new one is made.
const ASKED: usize = 8;

const ORPHANED: usize = 1 << (usize::BITS - 1);

/// The identity of a heap, different for all heaps that a process ever makes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct HeapId(core::num::NonZeroU32);

impl HeapId {
    /// The identity of no heap.
    pub(crate) const NOBODY: Self = Self(core::num::NonZeroU32::MAX);

    /// Not zero.
    #[inline(always)]
    pub(crate) fn number(self) -> u32 {
        self.0.get()
    }

    fn next() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let last = LAST
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| (last < u32::MAX - 1).then_some(last + 1))
            .expect("a process can make 4294967294 heaps; reuse heaps instead of making one for each task");
        Self(core::num::NonZeroU32::MIN.saturating_add(last))
    }
}

/// The slots of one heap's roots, and what outlives the heap while roots do.
pub(crate) struct RootTable {
    /// The pointer that the allocator returned for the table, which alone may free it.
    this: Cell<Option<NonNull<RootTable>>>,
    id: HeapId,
    /// The slot to be taken next, if it is free.
    cursor: Cell<NonNull<Cell<*mut u8>>>,
    /// Where the cursor is while there is no page, and once the heap is gone.
    none: Cell<*mut u8>,
    /// The page that is asked next.
    turn: Cell<usize>,
    /// Slots that are taken, counted once the heap is gone.
    orphans: Cell<usize>,
    pages: RefCell<Vec<NonNull<Page>>>,
    /// The recent ones of them. Has room for all.
    recent: RefCell<Vec<NonNull<Page>>>,
    heap_lives: Cell<bool>,
    /// Callbacks of the heap are running. Kept here, where it can be reset even if a callback moved the heap away; keeps
    /// the table alive meanwhile.
    draining: Cell<bool>,
    /// Turns that are open, one inside the other. Kept here for the same reasons.
    turns: Cell<u32>,
    /// What the innermost of them keeps alive, by weak slot.
    kept: RefCell<HashMap<u32, RootSlot>>,
    /// Slots taken for what any turn keeps alive.
    kept_in_turns: Cell<usize>,
}

/// What a free slot holds.
const FREE: *mut u8 = ptr::without_provenance_mut(1);
/// What a place holds that is no slot.
const LIMIT: *mut u8 = ptr::without_provenance_mut(3);

/// A taken slot.
#[derive(PartialEq, Eq)]
pub(crate) struct RootSlot(NonNull<Cell<*mut u8>>);

/// The heap's hold on its table.
pub(crate) struct TableOwner(NonNull<RootTable>);

impl TableOwner {
    pub(crate) fn new() -> Self {
        Self::with_id(HeapId::next())
    }

    /// Another table for the same heap, which the roots made so far do not belong to.
    pub(crate) fn renewed(&self) -> Self {
        Self::with_id(self.id)
    }

    fn with_id(id: HeapId) -> Self {
        let table = RootTable {
            this: Cell::new(None),
            id,
            cursor: Cell::new(NonNull::dangling()),
            none: Cell::new(LIMIT),
            turn: Cell::new(0),
            orphans: Cell::new(0),
            pages: RefCell::new(Vec::new()),
            recent: RefCell::new(Vec::new()),
            heap_lives: Cell::new(true),
            draining: Cell::new(false),
            turns: Cell::new(0),
            kept: RefCell::new(HashMap::new()),
            kept_in_turns: Cell::new(0),
        };
        let table = Self(NonNull::from(Box::leak(Box::new(table))));
        table.this.set(Some(table.0));
        table.cursor.set(table.none());
        table
    }
}

impl core::ops::Deref for TableOwner {
    type Target = RootTable;
    #[inline(always)]
    fn deref(&self) -> &RootTable {
        // SAFETY: [INV-ROOT-2] the heap lives. The table is only ever shared; what changes lies in cells.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for TableOwner {
    fn drop(&mut self) {
        self.orphans.set(self.taken());
        self.heap_lives.set(false);
        self.cursor.set(self.none());
        for page in self.pages.borrow().iter() {
            // SAFETY: [INV-ROOT-2] pages live as long as their table; they are only ever shared.
            let page = unsafe { page.as_ref() };
            page.taken.set(page.count());
            page.freed.set(ORPHANED);
        }
        // SAFETY: the heap gives its hold up here.
        unsafe { free_if_unused(self.0) };
    }
}

/// # Safety
///
/// Nobody uses the table or its pages any more.
unsafe fn free_table(table: NonNull<RootTable>) {
    // SAFETY: the table was made as a box, and the caller gives it up.
    let table = unsafe { Box::from_raw(table.as_ptr()) };
    for page in table.pages.borrow().iter() {
        // SAFETY: the page was allocated with this layout, and the caller gives it up.
        unsafe { dealloc(page.as_ptr().cast(), Layout::new::<Page>()) };
    }
}

impl RootTable {
    #[inline(always)]
    pub(crate) fn id(&self) -> HeapId {
        self.id
    }

    /// What tells this table from others, to those who know no tables.
    pub(crate) fn token(&self) -> *const () {
        ptr::from_ref(self).cast()
    }

    /// Roots that exist, what turns keep alive not counted. Takes time in proportion to the number of pages.
    pub(crate) fn roots(&self) -> usize {
        self.taken() - self.kept_in_turns.get()
    }

    /// Slots that are taken.
    fn taken(&self) -> usize {
        if !self.heap_lives.get() {
            return self.orphans.get();
        }
        let current = self.current_page();
        let taken = |page: &NonNull<Page>| {
            let here = current == Some(*page);
            // SAFETY: [INV-ROOT-2] pages live as long as their table; they are only ever shared.
            let page = unsafe { page.as_ref() };
            if here { page.count() } else { page.taken.get() - page.freed.get() }
        };
        self.pages.borrow().iter().map(taken).sum()
    }

    /// The page that the cursor is in.
    fn current_page(&self) -> Option<NonNull<Page>> {
        let cursor = self.cursor.get();
        (cursor != self.none()).then(|| page_of(cursor))
    }

    /// Bytes of the table.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.borrow().len() * PAGE
    }

    fn this(&self) -> NonNull<Self> {
        self.this.get().expect("it is set when the table is made")
    }

    /// Marks the begin of a drain, until the value is dropped; `None` if one is under way.
    pub(crate) fn begin_drain(&self) -> Option<DrainGuard> {
        if self.draining.replace(true) {
            return None;
        }
        Some(DrainGuard(self.this()))
    }

    /// Whether a drain is under way.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Opens a turn, until the value is dropped.
    pub(crate) fn begin_turn(&self) -> TurnGuard {
        self.turns.set(self.turns.get() + 1);
        TurnGuard { table: self.this(), outer: self.kept.take() }
    }

    /// Whether a turn is open.
    pub(crate) fn in_turn(&self) -> bool {
        self.turns.get() > 0
    }

    /// Keeps the object of a weak slot alive until the end of the turn that is open.
    #[cold]
    pub(crate) fn keep(&self, slot: u32, object: ObjectRef) {
        self.kept.borrow_mut().entry(slot).or_insert_with(|| {
            self.kept_in_turns.set(self.kept_in_turns.get() + 1);
            self.take(object)
        });
    }

    /// A slot that keeps `object` alive.
    #[inline]
    pub(crate) fn take(&self, object: ObjectRef) -> RootSlot {
        // SAFETY: [INV-ROOT-5] the cursor leads to a cell that lives as long as the table; it is only ever shared.
        if unsafe { self.cursor.get().as_ref() }.get() != FREE {
            return self.take_elsewhere(object);
        }
        self.take_next(object)
    }

    /// Takes the slot at the cursor, which is free.
    #[inline(always)]
    fn take_next(&self, object: ObjectRef) -> RootSlot {
        let slot = self.cursor.get();
        // SAFETY: [INV-ROOT-5], [INV-ROOT-3] a free slot is one of a page, and not the last, so another follows it.
        unsafe {
            slot.as_ref().set(object.cell().as_ptr());
            self.cursor.set(slot.add(1));
        }
        RootSlot(slot)
    }

    #[cold]
    #[inline(never)]
    fn take_elsewhere(&self, object: ObjectRef) -> RootSlot {
        if self.advance().is_err() {
            handle_alloc_error(Layout::new::<Page>());
        }
        let slot = self.take_next(object);
        if !self.heap_lives.get() {
            // Each root of a heap that is gone is counted, so all are taken and given back the slow way.
            self.orphans.set(self.orphans.get() + 1);
            // SAFETY: [INV-ROOT-1] the slot was taken, so its page lives.
            let taken = unsafe { &slot.page().as_ref().taken };
            taken.set(taken.get() + 1);
            self.cursor.set(self.none());
        }
        slot
    }

    /// Makes room for one more slot, so that the next [`take`](Self::take) cannot fail.
    #[inline]
    pub(crate) fn reserve(&self) -> Result<(), Exhausted> {
        // SAFETY: as in `take`.
        if unsafe { self.cursor.get().as_ref() }.get() == FREE { Ok(()) } else { self.advance() }
    }

    fn none(&self) -> NonNull<Cell<*mut u8>> {
        // SAFETY: the pointer that the allocator returned leads to the table, of which this is a field.
        unsafe { NonNull::new_unchecked(&raw mut (*self.this().as_ptr()).none) }
    }

    /// Moves the cursor to a free slot: the next of its page, or the first of a page of which enough were given back, or
    /// of a new one.
    #[cold]
    #[inline(never)]
    fn advance(&self) -> Result<(), Exhausted> {
        if self.pass() {
            return Ok(());
        }
        if let Some(page) = self.current_page() {
            // SAFETY: [INV-ROOT-2] pages live as long as their table; they are only ever shared.
            let page = unsafe { page.as_ref() };
            page.taken.set(page.count());
            page.freed.set(0);
            self.cursor.set(self.none());
        }
        for _ in 0..ASKED {
            let Some(page) = self.page_in_turn() else { break };
            // SAFETY: [INV-ROOT-2] pages live as long as their table; they are only ever shared.
            let Page { taken, freed, .. } = unsafe { page.as_ref() };
            if SLOTS - 1 + freed.get() % ORPHANED - taken.get() >= WORTHWHILE {
                self.enter(page);
                if self.pass() {
                    return Ok(());
                }
            }
            self.turn.set(self.turn.get() + 1);
        }
        self.grow()
    }

    /// Moves the cursor to the first slot of a page.
    fn enter(&self, page: NonNull<Page>) {
        // SAFETY: [INV-ROOT-2] pages live as long as their table; they are only ever shared.
        if !unsafe { page.as_ref() }.recent.replace(true) {
            self.recent.borrow_mut().push(page);
        }
        self.cursor.set(first_slot(page));
    }

    /// The objects that roots in the page of a number keep alive; `None` if there are fewer pages.
    ///
    /// A page keeps its number or gets a higher one.
    pub(crate) fn targets_in_page(&self, number: usize) -> Option<impl Iterator<Item = ObjectRef>> {
        let page = *self.pages.borrow().get(number)?;
        Some(targets_of(page))
    }

    /// The objects that roots in the page keep alive in which the next root will be made.
    pub(crate) fn targets_in_current_page(&self) -> impl Iterator<Item = ObjectRef> {
        self.current_page().into_iter().flat_map(targets_of)
    }

    /// The objects that roots in the page that became recent last keep alive, after which it is recent no more; `None` if
    /// there is none but the one that the cursor is in.
    pub(crate) fn recent_page(&self) -> Option<impl Iterator<Item = ObjectRef>> {
        let mut recent = self.recent.borrow_mut();
        let position = recent.iter().rposition(|&page| Some(page) != self.current_page())?;
        let page = recent.swap_remove(position);
        // SAFETY: [INV-ROOT-2] pages live as long as their table; they are only ever shared.
        unsafe { page.as_ref() }.recent.set(false);
        Some(targets_of(page))
    }

    /// Recent pages, the one that the cursor is in left out.
    pub(crate) fn recent_pages(&self) -> usize {
        let current = self.current_page();
        self.recent.borrow().iter().filter(|&&page| Some(page) != current).count()
    }

    /// All roots lead to objects that a collection has seen, until more are made.
    pub(crate) fn forget_recent(&self) {
        let mut recent = self.recent.borrow_mut();
        let current = self.current_page();
        // SAFETY: [INV-ROOT-2] as above.
        recent.drain(..).for_each(|page| unsafe { page.as_ref() }.recent.set(false));
        if let Some(page) = current {
            // SAFETY: [INV-ROOT-2] as above.
            unsafe { page.as_ref() }.recent.set(true);
            recent.push(page);
        }
    }

    fn page_in_turn(&self) -> Option<NonNull<Page>> {
        let pages = self.pages.borrow();
        pages.get(self.turn.get() % pages.len().max(1)).copied()
    }

    /// Moves the cursor on to the next free slot of its page; says whether there is one.
    fn pass(&self) -> bool {
        let mut slot = self.cursor.get();
        loop {
            // SAFETY: [INV-ROOT-5]
            let content = unsafe { slot.as_ref() }.get();
            if content == FREE || content == LIMIT {
                self.cursor.set(slot);
                return content == FREE;
            }
            // SAFETY: the last slot of a page holds the limit, so another slot follows this one.
            slot = unsafe { slot.add(1) };
        }
    }

    /// Adds a page, and moves the cursor to its first slot.
    ///
    /// It gets the place of the page in turn. So it is the first that is asked when it is full, and after it come those
    /// that were not asked yet: all are, before the table has grown by a quarter.
    fn grow(&self) -> Result<(), Exhausted> {
        self.pages.borrow_mut().try_reserve(1).map_err(|_| Exhausted::System)?;
        let room = self.pages.borrow().len() + 1 - self.recent.borrow().len();
        self.recent.borrow_mut().try_reserve(room).map_err(|_| Exhausted::System)?;
        // SAFETY: a page has more than zero bytes.
        let page = NonNull::new(unsafe { alloc(Layout::new::<Page>()) }.cast::<Page>()).ok_or(Exhausted::System)?;
        let freed = if self.heap_lives.get() { 0 } else { ORPHANED };
        // SAFETY: the allocation has the size and alignment of a page, and is written before anyone else sees it.
        unsafe {
            (&raw mut (*page.as_ptr()).table).write(self.this());
            (&raw mut (*page.as_ptr()).taken).write(Cell::new(0));
            (&raw mut (*page.as_ptr()).freed).write(Cell::new(freed));
            (&raw mut (*page.as_ptr()).recent).write(Cell::new(false));
            let slots = (&raw mut (*page.as_ptr()).slots).cast::<Cell<*mut u8>>();
            for index in 0..SLOTS {
                slots.add(index).write(Cell::new(if index == SLOTS - 1 { LIMIT } else { FREE }));
            }
        }
        self.enter(page);
        let mut pages = self.pages.borrow_mut();
        pages.push(page);
        let (last, turn) = (pages.len() - 1, self.turn.get() % pages.len());
        pages.swap(turn, last);
        self.turn.set(turn);
        Ok(())
    }

    /// The objects that roots keep alive.
    ///
    /// A page is borrowed only while the iterator stands still, so that roots may be dropped in between.
    pub(crate) fn targets(&self) -> impl Iterator<Item = ObjectRef> {
        Self::targets_in(&self.pages)
    }

    /// The objects that roots in recent pages keep alive: all that were rooted since the last collection, and others.
    pub(crate) fn recent_targets(&self) -> impl Iterator<Item = ObjectRef> {
        Self::targets_in(&self.recent)
    }

    fn targets_in(pages: &RefCell<Vec<NonNull<Page>>>) -> impl Iterator<Item = ObjectRef> {
        let mut position = 0;
        core::iter::from_fn(move || {
            let page = *pages.borrow().get(position)?;
            position += 1;
            Some(targets_of(page))
        })
        .flatten()
    }
}

/// The objects that roots in a page keep alive.
fn targets_of(page: NonNull<Page>) -> impl Iterator<Item = ObjectRef> {
    let mut position = 0;
    core::iter::from_fn(move || {
        while position < SLOTS {
            // SAFETY: [INV-ROOT-2] pages live as long as their table; they are only ever shared.
            let content = unsafe { &(*page.as_ptr()).slots[position] }.get();
            position += 1;
            if content.addr() & 1 == 0 {
                // SAFETY: [INV-ROOT-3] a taken slot holds the address of a cell with a live object.
                return Some(unsafe { ObjectRef::new(NonNull::new_unchecked(content)) });
            }
        }
        None
    })
}

impl Page {
    /// Slots that are taken.
    fn count(&self) -> usize {
        self.slots[..SLOTS - 1].iter().filter(|slot| slot.get() != FREE).count()
    }
}

/// The page of a slot.
#[inline(always)]
fn page_of(slot: NonNull<Cell<*mut u8>>) -> NonNull<Page> {
    // SAFETY: the slot lies in a page, which is aligned to its size and not at address zero.
    unsafe { NonNull::new_unchecked(slot.as_ptr().map_addr(|addr| addr & !(PAGE - 1)).cast::<Page>()) }
}

/// The first slot of a page, as a pointer that leads to the whole page.
fn first_slot(page: NonNull<Page>) -> NonNull<Cell<*mut u8>> {
    // SAFETY: [INV-ROOT-2] the page lives.
    unsafe { NonNull::new_unchecked((&raw mut (*page.as_ptr()).slots).cast()) }
}

/// The time during which callbacks run.
pub(crate) struct DrainGuard(NonNull<RootTable>);

impl Drop for DrainGuard {
    fn drop(&mut self) {
        // SAFETY: [INV-ROOT-2] the table lives while a drain is under way.
        unsafe { self.0.as_ref() }.draining.set(false);
        // SAFETY: the guard gives its hold up here.
        unsafe { free_if_unused(self.0) };
    }
}

/// The time in which weak targets that were observed are kept alive.
pub(crate) struct TurnGuard {
    table: NonNull<RootTable>,
    /// What the turn around this one keeps alive.
    outer: HashMap<u32, RootSlot>,
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        // SAFETY: [INV-ROOT-2] the table lives while a turn is open.
        let table = unsafe { self.table.as_ref() };
        let kept = table.kept.replace(core::mem::take(&mut self.outer));
        table.kept_in_turns.set(table.kept_in_turns.get() - kept.len());
        drop(kept);
        table.turns.set(table.turns.get() - 1);
        // SAFETY: the guard gives its hold up here.
        unsafe { free_if_unused(self.table) };
    }
}

/// # Safety
///
/// The caller had a hold on the table, as a heap, a drain, a turn or a root, and gives it up.
#[cold]
unsafe fn free_if_unused(table: NonNull<RootTable>) {
    // SAFETY: [INV-ROOT-2] nobody frees it before the last hold on it is given up, which happens here or later.
    let shared = unsafe { table.as_ref() };
    let held = shared.heap_lives.get() || shared.draining.get() || shared.in_turn();
    if !held && shared.orphans.get() == 0 {
        // SAFETY: [INV-ROOT-2] neither heap nor drain nor turn nor root needs it any more.
        unsafe { free_table(table) };
    }
}

impl RootSlot {
    #[inline(always)]
    fn page(&self) -> NonNull<Page> {
        // [INV-ROOT-1] the slot lies in a live page; its address was derived from that of the page.
        page_of(self.0)
    }

    /// The table it belongs to.
    #[inline(always)]
    pub(crate) fn table(&self) -> &RootTable {
        // SAFETY: [INV-ROOT-1], [INV-ROOT-2] the slot is taken, so its page and table live.
        unsafe { self.page().as_ref().table.as_ref() }
    }

    /// The heap it belongs to.
    #[inline(always)]
    pub(crate) fn heap(&self) -> HeapId {
        self.table().id
    }

    /// The cell it keeps alive. Meaningless once the heap is gone.
    #[inline(always)]
    pub(crate) fn cell(&self) -> NonNull<u8> {
        // SAFETY: [INV-ROOT-1], [INV-ROOT-3] a taken slot holds the address of a cell, which is not null.
        unsafe { NonNull::new_unchecked(self.0.as_ref().get()) }
    }

    /// Another slot for the same object.
    #[inline]
    pub(crate) fn duplicate(&self) -> Self {
        // SAFETY: [INV-ROOT-3] the slot holds an object; if the heap is gone, nobody will look at it.
        self.table().take(unsafe { ObjectRef::new(self.cell()) })
    }
}

impl Drop for RootSlot {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: [INV-ROOT-1] the slot is ours, so its page lives.
        let (slot, page) = unsafe { (self.0.as_ref(), self.page().as_ref()) };
        slot.set(FREE);
        let freed = page.freed.get() + 1;
        page.freed.set(freed);
        if freed > ORPHANED {
            // SAFETY: [INV-ROOT-1] it is given back here and nowhere else.
            unsafe { give_back_orphan(page.table) };
        }
    }
}

/// # Safety
///
/// The caller gives back a slot of the table, whose heap is gone.
#[cold]
#[inline(never)]
unsafe fn give_back_orphan(table: NonNull<RootTable>) {
    // SAFETY: [INV-ROOT-2] the table lives, since the slot is counted until here.
    let shared = unsafe { table.as_ref() };
    shared.orphans.set(shared.orphans.get() - 1);
    // SAFETY: the caller's.
    unsafe { free_if_unused(table) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::descriptor::suspect;

    fn object(number: usize) -> ObjectRef {
        suspect(NonNull::new(ptr::without_provenance_mut(number * 16 + 16)).expect("it is not null"))
    }

    /// Makes and drops roots at random, most of the time as many as there are pages for.
    #[test]
    fn slots_are_taken_once_and_found_again() {
        let table = TableOwner::new();
        let mut held: Vec<(RootSlot, usize)> = Vec::new();
        let mut random = 1_u64;
        for step in 0..if cfg!(miri) { 5_000 } else { 60_000 } {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let wanted = step / 2000 % 4 * 700;
            if held.len() < wanted || random >> 63 == 0 && held.len() < wanted + 600 {
                held.push((table.take(object(step)), step));
            } else if !held.is_empty() {
                held.swap_remove((random >> 33) as usize % held.len());
            }
            if step % 97 == 0 {
                assert_eq!(table.roots(), held.len());
                let mut targets: Vec<_> = table.targets().map(|object| object.cell().addr().get() / 16 - 1).collect();
                let mut expected: Vec<_> = held.iter().map(|&(_, number)| number).collect();
                targets.sort_unstable();
                expected.sort_unstable();
                assert_eq!(targets, expected);
            }
        }
        // A third of the slots at least is taken when there are most.
        assert!(table.bytes() / size_of::<*mut u8>() < 3 * 3000);
    }

    #[test]
    fn roots_outlive_their_heap_and_are_cloned_and_dropped_without_it() {
        let table = TableOwner::new();
        let held: Vec<_> = (0..1000).map(|number| table.take(object(number))).collect();
        drop(table);
        let clones: Vec<_> = held.iter().map(RootSlot::duplicate).collect();
        assert_eq!(held[0].table().roots(), 2000);
        drop(held);
        assert_eq!(clones[999].cell(), object(999).cell());
        assert_eq!(clones[999].table().roots(), 1000);
    }
}
