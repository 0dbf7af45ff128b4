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
//!   A free slot holds the address of the next free one with the lowest bit set, or just that bit if it is the last.
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
const SLOTS: usize = PAGE / size_of::<*mut u8>() - 1;

#[repr(C, align(4096))]
struct Page {
    table: NonNull<RootTable>,
    slots: [Cell<*mut u8>; SLOTS],
}

const _: () = assert!(size_of::<Page>() == PAGE);

/// The identity of a heap, different for all heaps that a process ever makes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct HeapId(core::num::NonZeroU32);

impl HeapId {
    /// The identity of no heap.
    pub(crate) const NOBODY: Self = Self(core::num::NonZeroU32::MAX);

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
    free: Cell<*mut u8>,
    /// Slots that are taken.
    taken: Cell<usize>,
    pages: RefCell<Vec<NonNull<Page>>>,
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

/// The last free slot's content.
const END: *mut u8 = ptr::without_provenance_mut(1);

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
            free: Cell::new(END),
            taken: Cell::new(0),
            pages: RefCell::new(Vec::new()),
            heap_lives: Cell::new(true),
            draining: Cell::new(false),
            turns: Cell::new(0),
            kept: RefCell::new(HashMap::new()),
            kept_in_turns: Cell::new(0),
        };
        let table = Self(NonNull::from(Box::leak(Box::new(table))));
        table.this.set(Some(table.0));
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
        self.heap_lives.set(false);
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

    /// Roots that exist, what turns keep alive not counted.
    pub(crate) fn roots(&self) -> usize {
        self.taken.get() - self.kept_in_turns.get()
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
        if self.free.get() == END && self.grow().is_err() {
            handle_alloc_error(Layout::new::<Page>());
        }
        let slot = self.free.get().map_addr(|addr| addr & !1).cast::<Cell<*mut u8>>();
        // SAFETY: [INV-ROOT-3] the list of free slots holds addresses of slots in live pages, and it is not empty.
        let slot = unsafe { NonNull::new_unchecked(slot) };
        // SAFETY: as above; slots are cells and only ever shared.
        self.free.set(unsafe { slot.as_ref() }.replace(object.cell().as_ptr()));
        self.taken.set(self.taken.get() + 1);
        RootSlot(slot)
    }

    /// Makes room for one more slot, so that the next [`take`](Self::take) cannot fail.
    #[inline]
    pub(crate) fn reserve(&self) -> Result<(), Exhausted> {
        if self.free.get() == END { self.grow() } else { Ok(()) }
    }

    #[cold]
    #[inline(never)]
    fn grow(&self) -> Result<(), Exhausted> {
        self.pages.borrow_mut().try_reserve(1).map_err(|_| Exhausted::System)?;
        // SAFETY: a page has more than zero bytes.
        let page = NonNull::new(unsafe { alloc(Layout::new::<Page>()) }.cast::<Page>()).ok_or(Exhausted::System)?;
        // SAFETY: the allocation has the size and alignment of a page, and is written before anyone else sees it.
        // Each slot leads to the next, and the last to the end; the first is where the list begins.
        unsafe {
            (&raw mut (*page.as_ptr()).table).write(self.this());
            let slots = (&raw mut (*page.as_ptr()).slots).cast::<Cell<*mut u8>>();
            let mut next = END;
            for index in (0..SLOTS).rev() {
                let slot = slots.add(index);
                slot.write(Cell::new(next));
                next = slot.cast::<u8>().map_addr(|addr| addr | 1);
            }
            self.free.set(next);
        }
        self.pages.borrow_mut().push(page);
        Ok(())
    }

    /// The objects that roots keep alive.
    ///
    /// A page is borrowed only while the iterator stands still, so that roots may be dropped in between.
    pub(crate) fn targets(&self) -> impl Iterator<Item = ObjectRef> {
        let mut position = 0;
        core::iter::from_fn(move || {
            loop {
                let page = *self.pages.borrow().get(position / SLOTS)?;
                // SAFETY: [INV-ROOT-2] pages live as long as their table; they are only ever shared.
                let content = unsafe { &(*page.as_ptr()).slots[position % SLOTS] }.get();
                position += 1;
                if content.addr() & 1 == 0 {
                    // SAFETY: [INV-ROOT-3] a taken slot holds the address of a cell with a live object.
                    return Some(unsafe { ObjectRef::new(NonNull::new_unchecked(content)) });
                }
            }
        })
    }
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
    if !held && shared.taken.get() == 0 {
        // SAFETY: [INV-ROOT-2] neither heap nor drain nor turn nor root needs it any more.
        unsafe { free_table(table) };
    }
}

impl RootSlot {
    #[inline(always)]
    fn table_ptr(&self) -> NonNull<RootTable> {
        let page = self.0.as_ptr().map_addr(|addr| addr & !(PAGE - 1)).cast::<Page>();
        // SAFETY: [INV-ROOT-1] the slot lies in a live page, which is aligned to its size and whose first field never
        // changes. The slot's address was derived from that of the page.
        unsafe { (*page).table }
    }

    /// The table it belongs to.
    #[inline(always)]
    pub(crate) fn table(&self) -> &RootTable {
        // SAFETY: [INV-ROOT-2] the slot is taken, so its table lives.
        unsafe { self.table_ptr().as_ref() }
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
        let table = self.table_ptr();
        // SAFETY: [INV-ROOT-1] the slot is ours; [INV-ROOT-2] so its table lives.
        let (slot, shared) = unsafe { (self.0.as_ref(), table.as_ref()) };
        slot.set(shared.free.replace(self.0.as_ptr().cast::<u8>().map_addr(|addr| addr | 1)));
        shared.taken.set(shared.taken.get() - 1);
        if !shared.heap_lives.get() {
            // SAFETY: [INV-ROOT-1] it is given back here and nowhere else.
            unsafe { free_if_unused(table) };
        }
    }
}
