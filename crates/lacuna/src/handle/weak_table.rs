//! [`WeakTable`]: a hash table from keys to weak references of one heap.
//!
//! A [`Weak`] is 12 bytes, four of which say which heap it belongs to; beside a key of 8 bytes it takes 16. Where all
//! belong to the same heap it is enough to keep that once.
//!
//! - `[INV-WTAB-1]` While a table has entries, they are what was [left](Observer::of) of weak references to objects of type
//!   `V`, all of the heap that the table names. It names another only while it has none.
#![allow(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use hashbrown::hash_table::{self, HashTable};

use super::weak::{Weak, WeakId};
use crate::edges::roots::HeapId;
use crate::edges::weak::SlotIndex;
use crate::error::WrongHeap;
use crate::memory::huge_pages::HugePages;
use crate::object::trace::{Object, Trace, Visitor};

/// A weak reference without its heap.
struct Observer<V: ?Sized + Object> {
    slot: SlotIndex,
    generation: u32,
    metadata: MaybeUninit<V::Metadata>,
    object: PhantomData<*const V>,
}

impl<V: ?Sized + Object> Clone for Observer<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V: ?Sized + Object> Copy for Observer<V> {}

impl<V: ?Sized + Object> Observer<V> {
    /// # Safety
    ///
    /// The reference had a target.
    #[inline(always)]
    unsafe fn of(weak: Weak<V>) -> Self {
        let WeakId { slot, generation, .. } = weak.id();
        // SAFETY: the caller knows that the reference had a target.
        let metadata = MaybeUninit::new(unsafe { weak.metadata() });
        Self { slot, generation, metadata, object: PhantomData }
    }

    /// # Safety
    ///
    /// It is what was left of a reference of this heap.
    #[inline(always)]
    unsafe fn weak(self, heap: Option<HeapId>) -> Weak<V> {
        let id = WeakId { heap, slot: self.slot, generation: self.generation };
        // SAFETY: the id is that of a reference of this type, which had a target and thus metadata.
        unsafe { Weak::new(id, self.metadata.assume_init()) }
    }
}

/// A hash table of keys with weak references, all of one heap: 8 bytes for each beside the key, where a [`Weak`] takes 12
/// (more for trait objects).
///
/// What weak maps are made of; it is a table like `hashbrown::HashTable`, which knows neither hashes nor equality of
/// its keys: the caller brings both. It does not look at the heap, so what is dead stays in it until it is removed.
///
/// The first reference decides which heap that is; a table that is empty takes any again. As a field of an object, the
/// edges in its keys are traced.
///
/// ```
/// use lacuna::{Heap, Weak, WeakTable};
///
/// let mut heap = Heap::new();
/// let one = heap.alloc(String::from("one"));
/// let mut table: WeakTable<u64, String> = WeakTable::new();
/// let hash = |key: &u64| *key;
///
/// table.entry(7, |key| *key == 7, hash).insert(7, heap.downgrade(&one));
/// let (_, weak) = table.find(7, |key| *key == 7).unwrap();
/// assert!(heap.upgrade(weak).is_some());
/// ```
pub struct WeakTable<K, V: ?Sized + Object + 'static> {
    entries: HashTable<(K, Observer<V>), HugePages>,
    /// `None` while nothing was ever put into it. `[INV-WTAB-1]`
    heap: Option<HeapId>,
}

impl<K, V: ?Sized + Object> WeakTable<K, V> {
    /// An empty table. Allocates nothing.
    pub const fn new() -> Self {
        Self { entries: HashTable::new_in(HugePages), heap: None }
    }

    /// An empty table with room for so many entries.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { entries: HashTable::with_capacity_in(capacity, HugePages), heap: None }
    }

    /// How many entries there is room for.
    pub fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// The number of entries, those of dead objects included.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Removes all entries. Keeps the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Makes room for so many more entries. `hash` tells the hash of a key that is in it.
    pub fn reserve(&mut self, additional: usize, hash: impl Fn(&K) -> u64) {
        self.entries.reserve(additional, |(key, _)| hash(key));
    }

    /// Gives memory back that is not needed for so many entries, or for as many as there are, if those are more.
    pub fn shrink_to(&mut self, capacity: usize, hash: impl Fn(&K) -> u64) {
        self.entries.shrink_to(capacity, |(key, _)| hash(key));
    }

    #[inline(always)]
    fn weak(&self, observer: Observer<V>) -> Weak<V> {
        // SAFETY: [INV-WTAB-1] whoever has it has it from the table.
        unsafe { observer.weak(self.heap) }
    }

    /// The entry with a hash whose key `is` the one that is looked for.
    #[inline]
    pub fn find(&self, hash: u64, mut is: impl FnMut(&K) -> bool) -> Option<(&K, Weak<V>)> {
        let (key, observer) = self.entries.find(hash, |(key, _)| is(key))?;
        Some((key, self.weak(*observer)))
    }

    /// The place of the key with a hash that `is` the one looked for. `hash_of` tells the hash of a key that is in the table.
    #[inline]
    pub fn entry(
        &mut self,
        hash: u64,
        mut is: impl FnMut(&K) -> bool,
        hash_of: impl Fn(&K) -> u64,
    ) -> WeakTableEntry<'_, K, V> {
        if self.entries.is_empty() {
            self.heap = None;
        }
        match self.entries.entry(hash, |(key, _)| is(key), |(key, _)| hash_of(key)) {
            hash_table::Entry::Occupied(place) => {
                WeakTableEntry::Occupied(OccupiedWeakEntry { place, heap: &mut self.heap })
            }
            hash_table::Entry::Vacant(place) => WeakTableEntry::Vacant(VacantWeakEntry { place, heap: &mut self.heap }),
        }
    }

    /// Removes the entry with a hash whose key `is` the one looked for, and returns it.
    #[inline]
    pub fn remove(&mut self, hash: u64, mut is: impl FnMut(&K) -> bool) -> Option<(K, Weak<V>)> {
        let ((key, observer), _) = self.entries.find_entry(hash, |(key, _)| is(key)).ok()?.remove();
        Some((key, self.weak(observer)))
    }

    /// Removes some entry that is `wanted` and returns it.
    pub fn pop_if(&mut self, mut wanted: impl FnMut(&K, Weak<V>) -> bool) -> Option<(K, Weak<V>)> {
        let found = self.entries.iter_buckets().find(|&bucket| {
            let entry = self.entries.get_bucket(bucket);
            entry.is_some_and(|(key, observer)| wanted(key, self.weak(*observer)))
        })?;
        let ((key, observer), _) = self.entries.get_bucket_entry(found).ok()?.remove();
        Some((key, self.weak(observer)))
    }

    /// Keeps the entries that `keep` says. If it panics, those stay that it was not asked about.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, Weak<V>) -> bool) {
        let heap = self.heap;
        // SAFETY: [INV-WTAB-1] the observers are those of the table.
        self.entries.retain(|(key, observer)| keep(key, unsafe { observer.weak(heap) }));
    }

    /// All entries, in no particular order.
    #[inline]
    pub fn iter(&self) -> WeakTableIter<'_, K, V> {
        WeakTableIter { entries: self.entries.iter(), heap: self.heap }
    }

    /// Removes all entries and returns them. Keeps the memory.
    pub fn drain(&mut self) -> impl ExactSizeIterator<Item = (K, Weak<V>)> + core::iter::FusedIterator {
        let heap = self.heap;
        // SAFETY: [INV-WTAB-1] the observers are those of the table.
        self.entries.drain().map(move |(key, observer)| (key, unsafe { observer.weak(heap) }))
    }
}

/// What a reference leaves in a table that names a heap, or does not yet.
///
/// # Panics
///
/// If the reference belongs to another heap, or never had a target.
#[inline(always)]
#[track_caller]
fn admit<V: ?Sized + Object>(heap: &mut Option<HeapId>, weak: Weak<V>) -> Observer<V> {
    let id = weak.id();
    if id.heap != *heap || heap.is_none() {
        assert!(id.heap.is_some(), "a weak reference without target belongs to no heap, so no table can have it");
        assert!(heap.is_none(), "{WrongHeap}");
        *heap = id.heap;
    }
    // SAFETY: it belongs to a heap, so it had a target.
    unsafe { Observer::of(weak) }
}

/// The place of a key in a [`WeakTable`]. Made by [`WeakTable::entry`].
pub enum WeakTableEntry<'t, K, V: ?Sized + Object + 'static> {
    /// The key is in the table.
    Occupied(OccupiedWeakEntry<'t, K, V>),
    /// It is not.
    Vacant(VacantWeakEntry<'t, K, V>),
}

/// The place of a key that is in a [`WeakTable`].
pub struct OccupiedWeakEntry<'t, K, V: ?Sized + Object + 'static> {
    place: hash_table::OccupiedEntry<'t, (K, Observer<V>), HugePages>,
    heap: &'t mut Option<HeapId>,
}

/// The place of a key that is not in a [`WeakTable`].
pub struct VacantWeakEntry<'t, K, V: ?Sized + Object + 'static> {
    place: hash_table::VacantEntry<'t, (K, Observer<V>), HugePages>,
    heap: &'t mut Option<HeapId>,
}

impl<K, V: ?Sized + Object> WeakTableEntry<'_, K, V> {
    /// Puts the key there with a reference. What was there is dropped.
    ///
    /// # Panics
    ///
    /// If the reference belongs to another heap than that of the others in the table, or never had a target. Nothing is
    /// changed then.
    #[inline]
    #[track_caller]
    pub fn insert(self, key: K, weak: Weak<V>) {
        match self {
            Self::Occupied(mut entry) => {
                entry.replace(weak);
                *entry.key_mut() = key;
            }
            Self::Vacant(entry) => entry.insert(key, weak),
        }
    }
}

impl<'t, K, V: ?Sized + Object> OccupiedWeakEntry<'t, K, V> {
    /// The key.
    #[inline]
    pub fn key(&self) -> &K {
        &self.place.get().0
    }

    /// The key, to be changed into another of the same hash.
    #[inline]
    pub fn key_mut(&mut self) -> &mut K {
        &mut self.place.get_mut().0
    }

    /// The reference.
    #[inline]
    pub fn weak(&self) -> Weak<V> {
        // SAFETY: [INV-WTAB-1] it is in the table.
        unsafe { self.place.get().1.weak(*self.heap) }
    }

    /// Puts another reference there, and returns the one that was.
    ///
    /// # Panics
    ///
    /// As [`WeakTableEntry::insert`].
    #[inline]
    #[track_caller]
    pub fn replace(&mut self, weak: Weak<V>) -> Weak<V> {
        let observer = admit(self.heap, weak);
        let old = core::mem::replace(&mut self.place.get_mut().1, observer);
        // SAFETY: [INV-WTAB-1] it was in the table.
        unsafe { old.weak(*self.heap) }
    }

    /// Removes the entry. Returns it, and its place, which still takes references of the same heap only.
    #[inline]
    pub fn remove(self) -> ((K, Weak<V>), VacantWeakEntry<'t, K, V>) {
        let weak = self.weak();
        let ((key, _), place) = self.place.remove();
        ((key, weak), VacantWeakEntry { place, heap: self.heap })
    }
}

impl<K, V: ?Sized + Object> VacantWeakEntry<'_, K, V> {
    /// Puts a key there with a reference.
    ///
    /// # Panics
    ///
    /// As [`WeakTableEntry::insert`].
    #[inline]
    #[track_caller]
    pub fn insert(self, key: K, weak: Weak<V>) {
        let observer = admit(self.heap, weak);
        self.place.insert((key, observer));
    }
}

/// The entries of a [`WeakTable`]. Made by [`WeakTable::iter`].
pub struct WeakTableIter<'t, K, V: ?Sized + Object + 'static> {
    entries: hash_table::Iter<'t, (K, Observer<V>)>,
    heap: Option<HeapId>,
}

impl<'t, K, V: ?Sized + Object> Iterator for WeakTableIter<'t, K, V> {
    type Item = (&'t K, Weak<V>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (key, observer) = self.entries.next()?;
        // SAFETY: [INV-WTAB-1] it is in the table, which is borrowed.
        Some((key, unsafe { observer.weak(self.heap) }))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl<K, V: ?Sized + Object> ExactSizeIterator for WeakTableIter<'_, K, V> {}

impl<K, V: ?Sized + Object> core::iter::FusedIterator for WeakTableIter<'_, K, V> {}

impl<K, V: ?Sized + Object> Clone for WeakTableIter<'_, K, V> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), heap: self.heap }
    }
}

impl<'t, K, V: ?Sized + Object> IntoIterator for &'t WeakTable<K, V> {
    type Item = (&'t K, Weak<V>);
    type IntoIter = WeakTableIter<'t, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K, V: ?Sized + Object> Default for WeakTable<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Clone, V: ?Sized + Object> Clone for WeakTable<K, V> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), heap: self.heap }
    }
}

impl<K: fmt::Debug, V: ?Sized + Object> fmt::Debug for WeakTable<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<K: fmt::Debug, V: ?Sized + Object> fmt::Debug for WeakTableEntry<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Occupied(entry) => entry.fmt(f),
            Self::Vacant(entry) => entry.fmt(f),
        }
    }
}

impl<K: fmt::Debug, V: ?Sized + Object> fmt::Debug for OccupiedWeakEntry<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OccupiedWeakEntry").field("key", self.key()).field("weak", &self.weak()).finish()
    }
}

impl<K, V: ?Sized + Object> fmt::Debug for VacantWeakEntry<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VacantWeakEntry").finish_non_exhaustive()
    }
}

impl<K, V: ?Sized + Object> fmt::Debug for WeakTableIter<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakTableIter").field("left", &self.entries.len()).finish()
    }
}

// SAFETY: the keys are all that can hold edges; what is left of weak references is 'static and no edge. The types differ in
// the keys only, as those differ in their brands.
unsafe impl<K: Trace, V: ?Sized + Object + 'static> Trace for WeakTable<K, V> {
    type At<'a> = WeakTable<K::At<'a>, V>;
    const NEEDS_TRACE: bool = K::NEEDS_TRACE;
    #[inline(always)]
    fn trace<R: Visitor>(&self, visitor: &mut R) {
        if K::NEEDS_TRACE {
            self.entries.iter().for_each(|(key, _)| key.trace(visitor));
        }
    }
}
