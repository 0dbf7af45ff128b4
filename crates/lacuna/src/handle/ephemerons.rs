//! [`Ephemerons`]: tables that attach values to objects without keeping the objects alive.
//!
//! The table is a vector of entries, in the order of insertion, and an index of them by the addresses of their keys,
//! which are constant while the keys live. The collector only marks entries as dead; entries move, and memory is given
//! back, in methods that change the table. The index still leads to dead entries then, among which the address of a key
//! may be found again that belongs to another object by now: so an entry is only found if it is live.
//!
//! Code of the program (`Clone`, `Drop` and `Trace` of values, closures) may come back to the same table. Borrows of the
//! content are checked for that reason, and what is dropped is moved out before. The collector borrows the content when
//! no scope is open, and so no method is running.
//!
//! `unsafe` is needed here to implement [`Trace`].
#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::cell::{Cell, Ref, RefCell, RefMut};
use core::fmt;
use core::mem;
use core::ops::Range;
use core::ptr::{self, NonNull};

use hashbrown::HashTable;

use super::mutator::Mutator;
use crate::error::{AllocError, Exhausted};
use crate::memory::bitmap::GRANULE;
use crate::memory::chunk::is_marked;
use crate::memory::huge_pages;
use crate::memory::ledger::Charge;
use crate::memory::prefetch::prefetch;
use crate::memory::shrink::shrink;
use crate::object::descriptor::{ObjectRef, suspect};
use crate::object::edges::{EdgeList, FirstEdge};
use crate::object::ephemerons::{EphemeronTable, Header, Link, State, TableEdge, Tally, Unresolved, Waiter};
use crate::object::gc::Gc;
use crate::object::marker::Marker;
use crate::object::trace::{Object, Trace, Visitor};

/// What an entry of [`Ephemerons`] is found by: an object, or a tuple or array of objects. Objects are told apart by
/// identity, not by value.
///
/// An entry with several keys dies with the first of them.
pub trait Keys: Copy + sealed::Sealed {
    /// The same keys in the scope `'a`.
    type In<'a>: for<'b> Keys<In<'b> = Self::In<'b>> + 'a;

    /// The first key for which the test holds.
    #[doc(hidden)]
    fn find(&self, test: &mut impl FnMut(NonNull<u8>) -> bool) -> Option<NonNull<u8>>;

    #[doc(hidden)]
    fn same(&self, other: &Self) -> bool;

    #[doc(hidden)]
    fn hash(&self, before: u64) -> u64;
}

/// Granules whose objects lie together in the index.
const NEIGHBOURS: u64 = 16;

mod sealed {
    pub trait Sealed {}
}

impl<T: ?Sized + Object> sealed::Sealed for Gc<'_, T> {}

impl<T: ?Sized + Object> Keys for Gc<'_, T> {
    type In<'a> = Gc<'a, T::Of<'a>>;

    #[inline(always)]
    fn find(&self, test: &mut impl FnMut(NonNull<u8>) -> bool) -> Option<NonNull<u8>> {
        Some(self.cell()).filter(|&cell| test(cell))
    }

    #[inline(always)]
    fn same(&self, other: &Self) -> bool {
        self.cell() == other.cell()
    }

    #[inline(always)]
    fn hash(&self, before: u64) -> u64 {
        // Objects that lie next to each other are often keys one after the other, so their places in the index lie next
        // to each other: the low four bits of the hash, which begin a search within one cache line, are those of the
        // object's granule, the others those of the sixteen granules around it. The same four bits go to the top as well,
        // by which the index tells the entries of one line apart.
        let granule = self.cell().addr().get() as u64 / GRANULE as u64;
        // Both halves of the product count: the index uses the high bits and the low ones.
        let product = u128::from(before ^ (granule / NEIGHBOURS)) * 0x9E37_79B9_7F4A_7C15;
        let hash = (product >> 64) as u64 ^ product as u64;
        let within = granule % NEIGHBOURS;
        ((hash & !(NEIGHBOURS - 1)) | within) ^ (within << 59)
    }
}

macro_rules! tuples {
    ($($name:ident $field:tt),+) => {
        impl<$($name: Keys),+> sealed::Sealed for ($($name,)+) {}

        impl<$($name: Keys),+> Keys for ($($name,)+) {
            type In<'a> = ($($name::In<'a>,)+);

            #[inline(always)]
            fn find(&self, test: &mut impl FnMut(NonNull<u8>) -> bool) -> Option<NonNull<u8>> {
                None$(.or_else(|| self.$field.find(test)))+
            }

            #[inline(always)]
            fn same(&self, other: &Self) -> bool {
                $(self.$field.same(&other.$field))&&+
            }

            #[inline(always)]
            fn hash(&self, hash: u64) -> u64 {
                $(let hash = self.$field.hash(hash);)+
                hash
            }
        }
    };
}

tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);

impl<K: Keys, const N: usize> sealed::Sealed for [K; N] {}

impl<K: Keys, const N: usize> Keys for [K; N] {
    type In<'a> = [K::In<'a>; N];

    #[inline(always)]
    fn find(&self, test: &mut impl FnMut(NonNull<u8>) -> bool) -> Option<NonNull<u8>> {
        const { assert!(N > 0, "an ephemeron has at least one key") };
        self.iter().find_map(|key| key.find(test))
    }

    #[inline(always)]
    fn same(&self, other: &Self) -> bool {
        self.iter().zip(other).all(|(key, other)| key.same(other))
    }

    #[inline(always)]
    fn hash(&self, hash: u64) -> u64 {
        self.iter().fold(hash, |hash, key| key.hash(hash))
    }
}

/// A table of values by objects, in which an entry lives as long as the table **and** all its keys do.
///
/// It attaches data to objects from outside, as a property table, a memo or a proxy table does, and keeps neither keys
/// nor values alive on its own: a value may lead to its own key, or to the table, and both are collected all the same.
/// What the value of an entry leads to is alive if the table and the keys are alive without it.
///
/// It is a part of the heap: an object ([`Mutator::alloc`]) or a field of one. It is read directly, and changed through
/// [`Gc::edit`], or [`Gc::edit_ephemerons`] where it is a field. Keys are compared by identity. A value that changes in
/// place is an object of its own.
///
/// Dead entries are absent for every method. They are found by collections, all those of a collection at once, when the
/// weak references to their keys die; what a [guardian](crate::Heap::guard) brings back keeps its entries. Their values
/// are dropped before the collection returns. Memory is given back when the table changes the next time, or by
/// [`prune`](EphemeronEdit::prune).
///
/// A look-up is one probe of a hash table. An entry takes 16 bytes beside keys and value (24 if `Option<V>` is larger than
/// `V`), and 5 to 10 in the index, which the heap [counts](crate::Stats::ephemeron_bytes) towards the next collection and
/// its limit; if values can hold edges each key is [observed](crate::Weak), which takes another 32. A
/// collection looks at each entry at most once for each of its keys, and once more.
///
/// ```
/// use lacuna::{Ephemerons, Gc, Heap, Trace};
///
/// #[derive(Trace)]
/// struct Function {
///     name: &'static str,
/// }
///
/// #[derive(Trace, Clone, Copy)]
/// struct Compiled<'gc> {
///     of: Gc<'gc, Function>, // leads back to the key
///     instructions: u32,
/// }
///
/// let mut heap = Heap::new();
/// let (table, main) = heap.enter(|cx| {
///     let table = cx.alloc(Ephemerons::new());
///     let [main, old] = ["main", "old"].map(|name| cx.alloc(Function { name }));
///     table.edit(cx).insert(main, Compiled { of: main, instructions: 12 });
///     table.edit(cx).insert(old, Compiled { of: old, instructions: 7 });
///     (table.root(cx), main.root(cx))
/// });
/// heap.collect();
/// heap.enter(|cx| {
///     let (table, main) = (table.get(cx), main.get(cx));
///     assert_eq!(table.get(main).unwrap().instructions, 12);
///     assert_eq!(table.live_count(), 1);
/// });
/// ```
pub struct Ephemerons<K, V> {
    header: Header,
    content: RefCell<Content<K, V>>,
    /// Entries that are live.
    live: Cell<usize>,
    /// The first of the dead entries whose values were not dropped yet, or [`NONE`].
    first_dead: Cell<u32>,
    /// Walks over the entries during which none may move.
    walks: Cell<u32>,
}

/// No entry.
const NONE: u32 = u32::MAX;

struct Content<K, V> {
    entries: Vec<Entry<K, V>>,
    /// Positions of entries, by the addresses of their keys: all live and some dead ones.
    index: HashTable<u32>,
    /// The memory of both.
    charge: Charge,
}

struct Entry<K, V> {
    keys: K,
    /// `None` only if the entry is empty.
    value: Option<V>,
    link: Link,
}

const READ: &str = "the table is being changed: by the code around this call, further up";
const CHANGED: &str = "the table is being read or changed: by the code around this call, further up";

impl<K, V> Ephemerons<K, V> {
    /// An empty table. Takes no memory beside itself before the first insertion.
    pub const fn new() -> Self {
        Self {
            header: Header::new(),
            content: RefCell::new(Content::new()),
            live: Cell::new(0),
            first_dead: Cell::new(NONE),
            walks: Cell::new(0),
        }
    }

    /// At least the number of entries whose keys can be reached: a collection that ran now would leave no more. Takes
    /// constant time.
    pub fn len_upper_bound(&self) -> usize {
        self.live.get()
    }

    /// Entries that are present: those whose keys no collection has found dead. Takes constant time, since the collector
    /// counts.
    pub fn live_count(&self) -> usize {
        self.live.get()
    }

    /// Whether no entry is present.
    pub fn is_empty(&self) -> bool {
        self.live.get() == 0
    }

    #[track_caller]
    fn read(&self) -> Ref<'_, Content<K, V>> {
        self.content.try_borrow().expect(READ)
    }

    #[track_caller]
    fn change(&self) -> RefMut<'_, Content<K, V>> {
        self.content.try_borrow_mut().expect(CHANGED)
    }
}

impl<K: Keys, V> Ephemerons<K, V> {
    /// A copy of the value of an entry.
    ///
    /// # Panics
    ///
    /// If the table is being changed, by the `Clone` of a value further up for one.
    #[inline]
    #[track_caller]
    pub fn get(&self, keys: K) -> Option<V>
    where
        V: Clone,
    {
        self.with(keys, V::clone)
    }

    /// Reads the value of an entry. The table cannot be changed meanwhile.
    ///
    /// # Panics
    ///
    /// If the table is being changed.
    #[inline]
    #[track_caller]
    pub fn with<R>(&self, keys: K, read: impl FnOnce(&V) -> R) -> Option<R> {
        let content = self.read();
        let entry = content.find(keys)?;
        content.entries[entry as usize].value.as_ref().map(read)
    }

    /// Whether there is an entry with these keys.
    ///
    /// # Panics
    ///
    /// If the table is being changed.
    #[inline]
    #[track_caller]
    pub fn contains_key(&self, keys: K) -> bool {
        self.read().find(keys).is_some()
    }

    /// The keys of all entries, in the order in which they were inserted, as of now: what happens to the table meanwhile
    /// does not hurt. Without memory for the vector the process ends, as for any vector.
    ///
    /// # Panics
    ///
    /// If the table is being changed.
    #[track_caller]
    pub fn keys(&self) -> Vec<K> {
        self.read().live().map(|entry| entry.keys).collect()
    }

    /// The keys and copies of the values of all entries, in the order in which they were inserted, as of now. Without
    /// memory for the vector the process ends, as for any vector.
    ///
    /// # Panics
    ///
    /// If the table is being changed.
    #[track_caller]
    pub fn entries(&self) -> Vec<(K, V)>
    where
        V: Clone,
    {
        self.read().live().filter_map(|entry| Some((entry.keys, entry.value.clone()?))).collect()
    }
}

impl<K, V> Content<K, V> {
    const fn new() -> Self {
        Self { entries: Vec::new(), index: HashTable::new(), charge: Charge::none() }
    }

    fn range(&self, range: &Range<u32>) -> &[Entry<K, V>] {
        let end = self.entries.len().min(range.end as usize);
        self.entries.get(range.start as usize..end).unwrap_or_default()
    }

    fn live(&self) -> impl Iterator<Item = &Entry<K, V>> {
        self.entries.iter().filter(|entry| entry.link.is_live())
    }
}

impl<K: Keys, V> Content<K, V> {
    /// The position of the live entry with these keys.
    #[inline]
    fn find(&self, keys: K) -> Option<u32> {
        let found = |&entry: &u32| {
            let entry = &self.entries[entry as usize];
            entry.keys.same(&keys) && entry.link.is_live()
        };
        self.index.find(keys.hash(0), found).copied()
    }

    /// Whether there is room for so many more entries.
    #[inline(always)]
    fn has_room(&self, additional: usize) -> bool {
        let Self { entries, index, .. } = self;
        let room = entries.capacity().min(NONE as usize - 1) - entries.len();
        additional <= room && additional <= index.capacity() - index.len()
    }

    /// Makes room for so many more entries. What memory it takes is to be counted afterwards, also if there is not enough.
    fn grow(&mut self, additional: usize) -> Result<(), Exhausted> {
        if self.entries.len().saturating_add(additional) >= NONE as usize {
            return Err(Exhausted::System);
        }
        let Self { entries, index, .. } = self;
        huge_pages::reserve(entries, additional).map_err(|_| Exhausted::System)?;
        if additional > index.capacity() - index.len() {
            // Made anew in the order of the entries, of which the index's own way of growing would visit each at random.
            // With half as many again, an index from which much was removed is not made anew all the time.
            let mut larger = HashTable::new();
            let positions = index.len().saturating_add(additional.max(index.len() / 2));
            larger.try_reserve(positions, |_| 0).map_err(|_| Exhausted::System)?;
            *index = larger;
            self.fill_index();
        }
        Ok(())
    }

    /// Puts the live entries into the index, which is empty and has room for them.
    fn fill_index(&mut self) {
        let Self { entries, index, .. } = self;
        for (position, entry) in entries.iter().enumerate() {
            if entry.link.is_live() {
                index.insert_unique(entry.keys.hash(0), position as u32, |&entry| entries[entry as usize].keys.hash(0));
            }
        }
    }

    /// Moves the live entries together.
    fn compact(&mut self) {
        self.entries.retain(|entry| entry.link.is_live());
        self.index.clear();
        // There is room: the index had at least as many entries.
        self.fill_index();
    }

    /// Gives room back that compact entries do not need, if there is a smaller place.
    fn shrink(&mut self) {
        let Self { entries, index, .. } = self;
        shrink(entries, 0);
        let hash = |&entry: &u32| entries[entry as usize].keys.hash(0);
        let mut smaller = HashTable::new();
        if index.capacity() > 2 * entries.len() && smaller.try_reserve(entries.len(), hash).is_ok() {
            for position in index.drain() {
                smaller.insert_unique(hash(&position), position, hash);
            }
            *index = smaller;
        }
    }
}

impl<'gc, K: Keys<In<'gc> = K>, V: Trace> Gc<'gc, Ephemerons<K, V>> {
    /// Access to the table for changing it.
    #[inline(always)]
    pub fn edit<'cx>(self, cx: &'cx Mutator<'gc>) -> EphemeronEdit<'cx, 'gc, K, V> {
        cx.remember(self.cell(), 0);
        EphemeronEdit { table: self.as_ref(), cx }
    }
}

impl<'gc, T: ?Sized + Object> Gc<'gc, T> {
    /// Access to a table that is a field of the object, for changing it. The closure names the field, as for
    /// [`set`](Self::set).
    ///
    /// ```
    /// use lacuna::{Ephemerons, Gc, Heap, Trace};
    ///
    /// #[derive(Trace)]
    /// struct Class<'gc> {
    ///     labels: Ephemerons<Gc<'gc, str>, u32>,
    /// }
    ///
    /// let mut heap = Heap::new();
    /// heap.enter(|cx| {
    ///     let class = cx.alloc(Class { labels: Ephemerons::new() });
    ///     let member = cx.alloc_str("member");
    ///     class.edit_ephemerons(cx, |class| &class.labels).insert(member, 7);
    ///     assert_eq!(class.labels.get(member), Some(7));
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// If the closure returns a table that is not part of this object.
    #[track_caller]
    pub fn edit_ephemerons<'cx, K: Keys<In<'gc> = K>, V: Trace>(
        self,
        cx: &'cx Mutator<'gc>,
        field: impl for<'x> FnOnce(&'x T) -> &'x Ephemerons<K, V>,
    ) -> EphemeronEdit<'cx, 'gc, K, V> {
        let table = field(self.as_ref());
        self.written(cx, ptr::from_ref(table));
        EphemeronEdit { table, cx }
    }
}

/// Access to [`Ephemerons`] for changing them. It borrows nothing: there may be many at a time, and none of them is in
/// the way of another.
///
/// No method runs a collection.
pub struct EphemeronEdit<'cx, 'gc, K, V> {
    table: &'gc Ephemerons<K, V>,
    cx: &'cx Mutator<'gc>,
}

impl<K, V> Clone for EphemeronEdit<'_, '_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for EphemeronEdit<'_, '_, K, V> {}

impl<K, V> fmt::Debug for EphemeronEdit<'_, '_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EphemeronEdit").field(self.table).finish()
    }
}

impl<K: Keys, V: Trace> EphemeronEdit<'_, '_, K, V> {
    /// Sets the value for these keys. Returns the one that was there.
    ///
    /// # Panics
    ///
    /// If there is no memory, after calling the hook set with
    /// [`Heap::on_out_of_memory`](crate::Heap::on_out_of_memory); if the table is being read or changed, by a closure
    /// further up for one.
    #[track_caller]
    pub fn insert(self, keys: K, value: V) -> Option<V> {
        match self.try_insert(keys, value) {
            Ok(before) => before,
            Err(error) => {
                let reason = error.reason();
                drop(error);
                self.cx.out_of_memory(reason)
            }
        }
    }

    /// Sets the value for these keys, or gives it back. Returns the one that was there.
    ///
    /// # Errors
    ///
    /// If there is no memory for the entry and what a collection needs for it.
    ///
    /// # Panics
    ///
    /// If the table is being read or changed.
    #[track_caller]
    pub fn try_insert(self, keys: K, value: V) -> Result<Option<V>, AllocError<V>> {
        let mut content = self.table.change();
        if V::NEEDS_TRACE {
            // Loaded while the index is searched.
            keys.find(&mut |key| {
                self.cx.prefetch_key(key);
                false
            });
        }
        if let Some(entry) = content.find(keys) {
            self.table.header.changed(entry);
            return Ok(content.entries[entry as usize].value.replace(value));
        }
        match self.make_room(&mut content, keys) {
            Ok(()) => {
                let Content { entries, index, .. } = &mut *content;
                let position = entries.len() as u32;
                entries.push(Entry { keys, value: Some(value), link: Link::new() });
                index.insert_unique(keys.hash(0), position, |&entry| entries[entry as usize].keys.hash(0));
                self.table.live.set(self.table.live.get() + 1);
                Ok(None)
            }
            Err(reason) => Err(AllocError::new(value, reason)),
        }
    }

    /// Makes room for an entry, also for what collections need for it.
    #[inline]
    fn make_room(self, content: &mut Content<K, V>, keys: K) -> Result<(), Exhausted> {
        self.compact_if_mostly_dead(content);
        let dead = content.entries.len() - self.table.live.get();
        // At a quarter, the room made is worth the moving.
        if content.entries.len() == content.entries.capacity() && dead > content.entries.len() / 4 {
            self.compact(content);
        }
        if !content.has_room(1) {
            self.grow(content, 1)?;
        }
        if V::NEEDS_TRACE {
            let mut result = Ok(());
            keys.find(&mut |key| {
                result = self.cx.make_key(key);
                result.is_err()
            });
            return result;
        }
        Ok(())
    }

    /// Makes room for so many more entries.
    #[cold]
    fn grow(self, content: &mut Content<K, V>, additional: usize) -> Result<(), Exhausted> {
        let result = content.grow(additional);
        self.count(content);
        result
    }

    /// Gives room back that compact entries do not need.
    fn shrink(self, content: &mut Content<K, V>) {
        content.shrink();
        self.count(content);
    }

    /// Has the memory of the table counted as it is now.
    fn count(self, content: &mut Content<K, V>) {
        let bytes = content.entries.capacity() * size_of::<Entry<K, V>>() + content.index.allocation_size();
        self.cx.charge(&mut content.charge, bytes);
    }

    /// Moves the live entries together, unless somebody walks over them.
    fn compact(self, content: &mut Content<K, V>) {
        if self.table.walks.get() == 0 {
            self.table.first_dead.set(NONE);
            let seen = content.range(&(0..self.table.header.seen())).iter();
            self.table.header.set_seen(seen.filter(|entry| entry.link.is_live()).count() as u32);
            content.compact();
        }
    }

    /// Moves the live entries together, and gives memory back, if most entries are dead.
    fn compact_if_mostly_dead(self, content: &mut Content<K, V>) {
        let live = self.table.live.get();
        if content.entries.len() - live > live.max(FEW) {
            self.compact(content);
            self.shrink(content);
        }
    }

    /// Removes the entry with these keys. Returns its value.
    ///
    /// # Panics
    ///
    /// If the table is being read or changed.
    #[track_caller]
    pub fn remove(self, keys: K) -> Option<V> {
        let mut content = self.table.change();
        let entry = content.find(keys)?;
        let value = self.empty(&mut content, entry);
        self.compact_if_mostly_dead(&mut content);
        value
    }

    /// Takes the value out of a live entry.
    fn empty(self, content: &mut Content<K, V>, entry: u32) -> Option<V> {
        let Content { entries, index, .. } = content;
        let Entry { keys, value, link } = &mut entries[entry as usize];
        if let Ok(found) = index.find_entry(keys.hash(0), |&other| other == entry) {
            found.remove();
        }
        link.empty();
        self.table.live.set(self.table.live.get() - 1);
        value.take()
    }

    /// Keeps the entries for which `keep` returns true, and drops the values of the others. Visits them in the order in
    /// which they were inserted. `keep` may read the table but not change it; `Drop` of the values may change it, and it
    /// is not said whether an entry inserted by that is visited.
    ///
    /// # Panics
    ///
    /// If the table is being read or changed. If `keep` or a `Drop` panics, the entries that were not visited stay.
    #[track_caller]
    pub fn retain(self, mut keep: impl FnMut(K, &V) -> bool) {
        let walk = Walk::over(&self.table.walks);
        for entry in 0_u32.. {
            let content = self.table.read();
            let Some(Entry { keys, value, link }) = content.entries.get(entry as usize) else { break };
            let keeps = match value {
                Some(value) if link.is_live() => keep(*keys, value),
                _ => true,
            };
            drop(content);
            if !keeps {
                let value = self.empty(&mut self.table.change(), entry);
                drop(value);
            }
        }
        drop(walk);
        self.compact_if_mostly_dead(&mut self.table.change());
    }

    /// Removes all entries and gives their memory back.
    ///
    /// # Panics
    ///
    /// If the table is being read or changed.
    #[track_caller]
    pub fn clear(self) {
        let content = mem::replace(&mut *self.table.change(), Content::new());
        self.table.header.set_seen(0);
        self.table.live.set(0);
        self.table.first_dead.set(NONE);
        drop(content);
    }

    /// Makes room for so many more entries. Their keys may still need memory when they are inserted.
    ///
    /// # Panics
    ///
    /// If there is no memory, as for [`insert`](Self::insert); if the table is being read or changed.
    #[track_caller]
    pub fn reserve(self, additional: usize) {
        let mut content = self.table.change();
        let result = if content.has_room(additional) { Ok(()) } else { self.grow(&mut content, additional) };
        drop(content);
        if let Err(reason) = result {
            self.cx.out_of_memory(reason);
        }
    }

    /// Gives back what dead and removed entries took, and what more entries than there are would need.
    ///
    /// Takes time in proportion to the table. Inserting and removing does the same now and then.
    ///
    /// # Panics
    ///
    /// If the table is being read or changed.
    #[track_caller]
    pub fn prune(self) {
        let mut content = self.table.change();
        self.compact(&mut content);
        self.shrink(&mut content);
    }
}

/// Fewer dead entries than this are not worth moving the others for.
const FEW: usize = 16;

/// A walk over the entries, during which none moves.
struct Walk<'a>(&'a Cell<u32>);

impl<'a> Walk<'a> {
    fn over(walks: &'a Cell<u32>) -> Self {
        walks.set(walks.get() + 1);
        Self(walks)
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<K, V> Default for Ephemerons<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

/// Prints the number of entries only: keys and values are not touched.
impl<K, V> fmt::Debug for Ephemerons<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ephemerons({})", self.live.get())
    }
}

// SAFETY: the collector decides itself which values it visits, since it is given the table. Keys are no edges: an entry
// is dead for everybody before one of its keys is freed [INV-EPH-2]. Dropping the table drops the values, and the keys,
// which are plain pointers. `At` renames the brand of both.
unsafe impl<K: Keys, V: Trace> Trace for Ephemerons<K, V> {
    type At<'a> = Ephemerons<K::In<'a>, V::At<'a>>;
    const NEEDS_TRACE: bool = true;

    fn trace<Vis: Visitor>(&self, visitor: &mut Vis) {
        visitor.ephemerons(TableEdge(self));
    }
}

impl<K: Keys, V: Trace> Entry<K, V> {
    /// Visits the value if all keys are marked; otherwise says which is not.
    #[inline(always)]
    fn examine(&self, marker: &mut Marker, tally: &mut Tally) -> Option<ObjectRef> {
        tally.examined += 1;
        let unmarked = self.keys.find(&mut |key| !is_marked(key));
        if unmarked.is_none() {
            // Before the code of the program runs: if it panics nothing is left to be done.
            self.link.settle();
            tally.resolved += 1;
            self.value.trace(marker);
        }
        unmarked.map(suspect)
    }
}

impl<K: Keys, V> Entry<K, V> {
    /// The key that the entry waits for: the first that is unmarked.
    #[inline(always)]
    fn awaited_key(&self) -> Option<ObjectRef> {
        let waits = self.link.state() == State::Watching;
        if waits { self.keys.find(&mut |key| !is_marked(key)).map(suspect) } else { None }
    }
}

impl<K, V: Trace> Entry<K, V> {
    /// The first object that the value leads to, if that is found at once.
    #[inline(always)]
    fn leads_to(&self) -> Option<ObjectRef> {
        // A small value without drop glue owns no memory, so there is not much to go through.
        if mem::needs_drop::<V>() || size_of::<V>() > SMALL {
            return None;
        }
        let mut first = FirstEdge::default();
        self.value.trace(&mut first);
        first.0.map(suspect)
    }
}

/// Bytes of a value that is gone through for what it leads to before its time.
const SMALL: usize = 4 * size_of::<usize>();

impl<K: Keys, V: Trace> Ephemerons<K, V> {
    fn die(&self, entries: &[Entry<K, V>], entry: u32) {
        let link = &entries[entry as usize].link;
        if mem::needs_drop::<V>() {
            link.die(self.first_dead.replace(entry));
        } else {
            link.empty();
        }
        self.live.set(self.live.get() - 1);
    }
}

impl<K: Keys, V: Trace> EphemeronTable for Ephemerons<K, V> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn converges(&self) -> bool {
        V::NEEDS_TRACE
    }

    fn live(&self) -> usize {
        self.live.get()
    }

    fn places(&self) -> u32 {
        self.content.borrow().entries.len() as u32
    }

    fn bytes(&self) -> usize {
        self.content.borrow().charge.bytes()
    }

    fn each_end(&self, range: Range<u32>, each: &mut dyn FnMut(ObjectRef)) {
        for entry in self.content.borrow().range(&range) {
            if entry.link.is_live()
                && let Some(key) = entry.keys.find(&mut |key| !is_marked(key))
            {
                each(suspect(key));
                entry.leads_to().into_iter().for_each(&mut *each);
            }
        }
    }

    fn examine(&self, range: Range<u32>, marker: &mut Marker, tally: &mut Tally) -> Option<Unresolved> {
        for (entry, position) in self.content.borrow().range(&range).iter().zip(range.start..) {
            if entry.link.state() == State::Live
                && let Some(key) = entry.examine(marker, tally)
            {
                return Some(Unresolved { entry: position, key, value: entry.leads_to() });
            }
        }
        None
    }

    fn examine_again(
        &self,
        entry: u32,
        marker: &mut Marker,
        tally: &mut Tally,
    ) -> (Option<Waiter>, Option<Unresolved>) {
        let content = self.content.borrow();
        let again = &content.entries[entry as usize];
        self.header.watches_no_more();
        let next = again.link.next();
        let unmarked = again.examine(marker, tally);
        (next, unmarked.map(|key| Unresolved { entry, key, value: again.leads_to() }))
    }

    fn prefetch(&self, entry: u32) {
        if let Some(entry) = self.content.borrow().entries.get(entry as usize) {
            prefetch(NonNull::from(entry).cast());
            // It may lie across two lines.
            prefetch(NonNull::from(&entry.link).cast());
        }
    }

    fn watch(&self, entry: u32, next: Option<Waiter>) {
        self.header.watches();
        self.content.borrow().entries[entry as usize].link.watch(next);
    }

    fn watched_keys(&self, each: &mut dyn FnMut(ObjectRef)) {
        for entry in self.content.borrow().entries.iter().filter(|entry| entry.link.state() == State::Watching) {
            entry.keys.find(&mut |key| {
                each(suspect(key));
                false
            });
        }
    }

    fn stop_watching(&self) {
        let content = self.content.borrow();
        content.entries.iter().filter(|entry| entry.link.state() == State::Watching).for_each(|entry| {
            self.header.watches_no_more();
            entry.link.settle();
        });
    }

    fn awaited_keys(&self, range: Range<u32>, each: &mut dyn FnMut(ObjectRef)) {
        for entry in self.content.borrow().range(&range) {
            entry.awaited_key().into_iter().for_each(&mut *each);
        }
    }

    fn kill_waiting(&self, range: Range<u32>, each: &mut dyn FnMut(ObjectRef)) {
        let content = self.content.borrow();
        for (entry, position) in content.range(&range).iter().zip(range.start..) {
            if let Some(key) = entry.awaited_key() {
                each(key);
                self.header.watches_no_more();
                self.die(&content.entries, position);
            }
        }
    }

    fn kill_unmarked(&self, from: u32, tally: &mut Tally) -> usize {
        let content = self.content.borrow();
        let before = self.live.get();
        for (entry, position) in content.entries.iter().zip(0..).skip(from as usize) {
            if entry.link.is_live() {
                tally.examined += 1;
                if entry.keys.find(&mut |key| !is_marked(key)).is_some() {
                    self.die(&content.entries, position);
                }
            }
        }
        before - self.live.get()
    }

    fn drop_one_dead(&self) -> bool {
        let first = self.first_dead.get();
        if first == NONE {
            return false;
        }
        let mut content = self.content.borrow_mut();
        let Entry { value, link, .. } = &mut content.entries[first as usize];
        self.first_dead.set(link.empty());
        let value = value.take();
        drop(content);
        drop(value);
        true
    }

    fn list(&self, list: &mut EdgeList) {
        for entry in self.content.borrow().live() {
            list.depending(
                |keys| {
                    entry.keys.find(&mut |key| {
                        keys.push(key);
                        false
                    });
                },
                |list| entry.value.trace(list),
            );
        }
    }
}
