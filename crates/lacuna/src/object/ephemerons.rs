//! Ephemeron tables as the collector sees them: which ones it has reached, and which entries wait for a key.
//!
//! ```text
//!                      every key is marked
//!   live <------------------------------------------+
//!    |   a key is unmarked                          |
//!    +-------------------------> watching ----------+
//!    |                              |
//!    |  (values without edges)      |  the key is dead
//!    +----------------------------->+-------------> dead ----------> empty
//!                                                         value dropped
//! ```
//!
//! Outside of collections there are only live and empty entries. A watching entry is in the list of the entries that
//! wait for the same key; the list begins at the key's weak slot, and its links lie in the entries.
//!
//! - `[INV-EPH-1]` A [`Reached`] names a table that the marker was shown in this collection, thus one that lies in an
//!   object which lives on. It neither moves nor goes away before the collection ends, since nobody has access to the
//!   heap until then, and all of them are forgotten by then.
//! - `[INV-EPH-2]` The keys of a live entry of a reachable table lead to objects: the collection that finds a key dead
//!   kills the entry before it frees the key.
//! - `[INV-EPH-3]` Between collections, the live entries at places that count as seen have old keys, and their values lead
//!   to old objects only: a minor collection has nothing to find there.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::ops::Range;
use core::ptr::NonNull;

use super::descriptor::ObjectRef;
use super::edges::EdgeList;
use super::marker::Marker;

/// A table of any type of keys and values.
pub(crate) trait EphemeronTable {
    fn header(&self) -> &Header;

    /// Whether values can hold edges. If not, the table is left alone until its entries with dead keys are killed.
    fn converges(&self) -> bool;

    /// Entries that are not dead.
    fn live(&self) -> usize;

    /// Places for entries, empty ones and dead ones counted.
    fn places(&self) -> u32;

    /// Bytes that it takes beside itself.
    fn bytes(&self) -> usize;

    /// Calls `each` with the first unmarked key of each entry in a range that has one, and with what its value leads to, if
    /// that is found at once.
    fn each_end(&self, range: Range<u32>, each: &mut dyn FnMut(ObjectRef));

    /// Looks at the live entries of a range. Visits the values of those whose keys are all marked, up to the first entry with
    /// one that is not.
    fn examine(&self, range: Range<u32>, marker: &mut Marker, tally: &mut Tally) -> Option<Unresolved>;

    /// Looks at one entry again that is taken out of the list of a key. Visits its value if all keys are marked; otherwise
    /// says which is not. Returns the entry behind it in the list as well.
    fn examine_again(&self, entry: u32, marker: &mut Marker, tally: &mut Tally)
    -> (Option<Waiter>, Option<Unresolved>);

    /// Puts an entry into the list of a key, before another.
    fn watch(&self, entry: u32, next: Option<Waiter>);

    /// Starts to load an entry.
    fn prefetch(&self, entry: u32);

    /// Calls `each` with the keys of all watching entries.
    fn watched_keys(&self, each: &mut dyn FnMut(ObjectRef));

    /// Makes all watching entries live ones.
    fn stop_watching(&self);

    /// Calls `each` with the keys that entries in a range wait for.
    fn awaited_keys(&self, range: Range<u32>, each: &mut dyn FnMut(ObjectRef));

    /// Kills the entries in a range that wait for a key, and calls `each` with that.
    fn kill_waiting(&self, range: Range<u32>, each: &mut dyn FnMut(ObjectRef));

    /// Kills the entries with an unmarked key, from a place on. Returns how many.
    fn kill_unmarked(&self, from: u32, tally: &mut Tally) -> usize;

    /// Drops the value of a dead entry, which runs code of the program; says whether there was one. The entry is empty
    /// also if that panics.
    fn drop_one_dead(&self) -> bool;

    /// Lists the entries: the keys as such, the edges of the values as edges that depend on them.
    fn list(&self, list: &mut EdgeList);
}

/// An entry that has to wait for a key.
pub(crate) struct Unresolved {
    pub(crate) entry: u32,
    pub(crate) key: ObjectRef,
    /// What the value leads to, if that is found at once.
    pub(crate) value: Option<ObjectRef>,
}

/// What was done with entries in a collection.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) examined: usize,
    pub(crate) resolved: usize,
}

/// What the collector keeps in each table.
pub(crate) struct Header {
    /// The table itself, from when it is reached to when the collection has forgotten it.
    table: Cell<Option<NonNull<dyn EphemeronTable>>>,
    /// The next in a list of tables.
    next: Cell<Option<Reached>>,
    /// Places at the start whose entries a collection has looked at. `[INV-EPH-3]`
    seen: Cell<u32>,
    /// Watching entries.
    watching: Cell<u32>,
}

impl Header {
    pub(crate) const fn new() -> Self {
        Self { table: Cell::new(None), next: Cell::new(None), seen: Cell::new(0), watching: Cell::new(0) }
    }

    pub(crate) fn seen(&self) -> u32 {
        self.seen.get()
    }

    pub(crate) fn set_seen(&self, places: u32) {
        self.seen.set(places);
    }

    /// Whether any entry waits for a key.
    pub(crate) fn is_watching(&self) -> bool {
        self.watching.get() > 0
    }

    /// Counts an entry that waits for a key from now on.
    #[inline(always)]
    pub(crate) fn watches(&self) {
        self.watching.set(self.watching.get() + 1);
    }

    /// Counts an entry out that waits no more.
    #[inline(always)]
    pub(crate) fn watches_no_more(&self) {
        self.watching.set(self.watching.get() - 1);
    }

    /// Says that the entry at a place has another value.
    #[inline(always)]
    pub(crate) fn changed(&self, place: u32) {
        self.seen.set(self.seen.get().min(place));
    }
}

/// An edge to a table, as a visitor is given it.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct TableEdge<'a>(pub(crate) &'a (dyn EphemeronTable + 'a));

impl core::fmt::Debug for TableEdge<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("TableEdge")
    }
}

/// A table that was reached in this collection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached(NonNull<Header>);

impl Reached {
    fn header<'a>(self) -> &'a Header {
        // SAFETY: [INV-EPH-1] the table lives until the collection ends; it is only shared.
        unsafe { self.0.as_ref() }
    }

    /// The next in the list.
    pub(crate) fn next(self) -> Option<Self> {
        self.header().next.get()
    }

    /// The table, for use within the collection.
    pub(crate) fn table<'a>(self) -> &'a dyn EphemeronTable {
        let table = self.header().table.get().expect("a reached table knows itself");
        // SAFETY: [INV-EPH-1] as above.
        unsafe { table.as_ref() }
    }
}

/// Tables, each of which is in no other list.
#[derive(Default)]
pub(crate) struct TableList {
    first: Option<Reached>,
}

impl TableList {
    /// Adds a table, unless it is in a list already.
    pub(crate) fn reach(&mut self, TableEdge(table): TableEdge<'_>) {
        let header = table.header();
        if header.table.get().is_some() {
            return;
        }
        let table: NonNull<dyn EphemeronTable + '_> = NonNull::from(table);
        // SAFETY: only the lifetime that the trait object may not outlive is forgotten. [INV-EPH-1] stands for it.
        let table: NonNull<dyn EphemeronTable> =
            unsafe { core::mem::transmute::<NonNull<dyn EphemeronTable + '_>, NonNull<dyn EphemeronTable>>(table) };
        header.table.set(Some(table));
        self.push(Reached(NonNull::from(header)));
    }

    pub(crate) fn push(&mut self, table: Reached) {
        table.header().next.set(self.first.replace(table));
    }

    pub(crate) fn pop(&mut self) -> Option<Reached> {
        let table = self.first?;
        self.first = table.header().next.take();
        Some(table)
    }

    /// Forgets the first table. Returns it, for use before the collection ends.
    pub(crate) fn forget_one<'a>(&mut self) -> Option<&'a dyn EphemeronTable> {
        let reached = self.pop()?;
        let table = reached.table();
        reached.header().table.set(None);
        Some(table)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Reached> {
        core::iter::successors(self.first, |table| table.next())
    }
}

/// An entry that waits for a key.
#[derive(Clone, Copy)]
pub(crate) struct Waiter {
    pub(crate) table: Reached,
    pub(crate) entry: u32,
    /// The number of the weak slot of what the value leads to, as far as it is known: what will be looked for next, in a
    /// chain. A hint.
    pub(crate) leads_to: u32,
}

impl Waiter {
    /// What is not known to lead to any slot.
    pub(crate) const NOWHERE: u32 = u32::MAX;
}

/// What an entry is in a collection. See the top of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Live,
    Watching,
    Dead,
    Empty,
}

/// The collector's part of an entry.
pub(crate) struct Link {
    /// The table of the next entry that waits for the same key.
    table: Cell<Option<Reached>>,
    /// The next entry that waits for the same key; the next dead one of the table, if this one is dead.
    entry: Cell<u32>,
    state: Cell<State>,
}

impl Link {
    /// That of a live entry.
    pub(crate) fn new() -> Self {
        Self { table: Cell::new(None), entry: Cell::new(0), state: Cell::new(State::Live) }
    }

    pub(crate) fn state(&self) -> State {
        self.state.get()
    }

    /// Whether the entry counts: its keys were not found dead, and it was not removed.
    #[inline(always)]
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state.get(), State::Live | State::Watching)
    }

    /// The next entry that waits for the same key.
    pub(crate) fn next(&self) -> Option<Waiter> {
        self.table.get().map(|table| Waiter { table, entry: self.entry.get(), leads_to: Waiter::NOWHERE })
    }

    /// Makes it watching, before another that waits for the same key.
    pub(crate) fn watch(&self, next: Option<Waiter>) {
        self.table.set(next.map(|next| next.table));
        self.entry.set(next.map_or(0, |next| next.entry));
        self.state.set(State::Watching);
    }

    /// Makes it live: nothing is waited for any more.
    pub(crate) fn settle(&self) {
        self.table.set(None);
        self.state.set(State::Live);
    }

    /// Makes it dead, before another dead one of the table.
    pub(crate) fn die(&self, next_dead: u32) {
        self.table.set(None);
        self.entry.set(next_dead);
        self.state.set(State::Dead);
    }

    /// Makes it empty. Returns the next dead one, if it was dead.
    pub(crate) fn empty(&self) -> u32 {
        self.table.set(None);
        self.state.set(State::Empty);
        self.entry.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_takes_two_words() {
        assert_eq!(size_of::<Link>(), 16);
        assert_eq!(size_of::<Option<Waiter>>(), 16);
    }
}
