//! [`WeakValueMap`]: keys to objects that the map does not keep alive.
//!
//! A table of `(key, weak reference)`. The collector does not know of it: a reference reads dead by itself, and an entry
//! whose reference does counts as absent from then on. A reference names one object for ever, so the death of a value
//! that was replaced cannot touch its successor.

use core::borrow::Borrow;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::iter::FusedIterator;

use hashbrown::DefaultHashBuilder;
use lacuna::{
    Gc, Heap, Mutator, Object, OccupiedWeakEntry, Root, Trace, VacantWeakEntry, Weak, WeakTable, WeakTableEntry,
    WeakTableIter,
};

use crate::access::Access;
use crate::pruning::{Watermark, is_sparse};
use crate::show::Show;

/// A map from keys to objects that it does not keep alive. An entry whose object has died is absent, for every method.
///
/// For caches, and for finding objects by name or number. The keys are owned, and compared by `Eq` and `Hash` as in a
/// [`HashMap`](std::collections::HashMap).
///
/// What only looks takes a `&Heap` or a `&Mutator` and gives out roots or scope pointers; see [`Access`]. What begins to
/// observe an object takes `&mut Heap` and a root, or, with the ending `_in`, a scope and its pointer.
///
/// # Where it lives
///
/// Anywhere: its weak references are no edges. Outside of the heap, or as a field of an object: it implements
/// [`Trace`] if its keys do, and then the edges in its *keys* are strong. Such a field is a
/// [`GcRefCell`](lacuna::GcRefCell):
///
/// ```
/// use lacuna::{Gc, GcRefCell, Heap, Trace};
/// use lacuna_collections::WeakValueMap;
///
/// /// An interpreter's weak dictionary, from names in the heap to objects.
/// #[derive(Trace)]
/// struct WeakDictionary<'gc> {
///     entries: GcRefCell<WeakValueMap<Name<'gc>, Object>>,
/// }
///
/// #[derive(Trace, Clone, Copy)]
/// struct Name<'gc>(Gc<'gc, str>);
/// # impl PartialEq for Name<'_> { fn eq(&self, other: &Self) -> bool { *self.0 == *other.0 } }
/// # impl Eq for Name<'_> {}
/// # impl std::hash::Hash for Name<'_> { fn hash<H: std::hash::Hasher>(&self, h: &mut H) { self.0.hash(h) } }
///
/// #[derive(Trace)]
/// struct Object(u32);
///
/// let mut heap = Heap::new();
/// let dictionary = heap.enter(|cx| {
///     let dictionary = cx.alloc(WeakDictionary { entries: GcRefCell::default() });
///     let one = cx.alloc(Object(1));
///     dictionary.borrow_mut(cx, |d| &d.entries).insert_in(cx, Name(cx.alloc_str("one")), one);
///     assert_eq!(dictionary.entries.borrow().get(cx, &Name(cx.alloc_str("one"))).unwrap().0, 1);
///     dictionary.root(cx)
/// });
/// heap.collect();
/// heap.enter(|cx| {
///     assert!(dictionary.get(cx).entries.borrow().get(cx, &Name(cx.alloc_str("one"))).is_none());
/// });
/// ```
///
/// # Size
///
/// An entry takes the key and 8 bytes, and its object a weak slot of the heap. Dead entries are removed by methods with
/// `&mut self` that are given a heap: whenever the map would have twice the entries of the last time, so that it costs a
/// constant per insertion, and by [`prune`](Self::prune). There is no `len`, which would change under the program's
/// hands: [`len_upper_bound`](Self::len_upper_bound) and [`live_count`](Self::live_count) say what they promise.
///
/// # Panics
///
/// Methods that are given another heap than that of the objects panic, and those that call `Eq`, `Hash` or `Drop` of a
/// key pass a panic on. The map can be used further.
#[derive(Trace)]
pub struct WeakValueMap<
    K,
    #[trace(fixed)] V: ?Sized + Object + 'static,
    #[trace(fixed)] S: 'static = DefaultHashBuilder,
> {
    entries: WeakTable<K, V>,
    #[trace(skip)]
    hasher: S,
    watermark: Watermark,
}

impl<K, V: ?Sized + Object> WeakValueMap<K, V> {
    /// An empty map. Allocates nothing.
    pub fn new() -> Self {
        Self::with_hasher(DefaultHashBuilder::default())
    }

    /// An empty map with room for so many entries.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::with_capacity_and_hasher(capacity, DefaultHashBuilder::default())
    }
}

impl<K, V: ?Sized + Object, S> WeakValueMap<K, V, S> {
    /// An empty map that hashes with `hasher`. Allocates nothing.
    pub const fn with_hasher(hasher: S) -> Self {
        Self { entries: WeakTable::new(), hasher, watermark: Watermark::new() }
    }

    /// An empty map with room for so many entries, that hashes with `hasher`.
    pub fn with_capacity_and_hasher(capacity: usize, hasher: S) -> Self {
        Self { entries: WeakTable::with_capacity(capacity), hasher, watermark: Watermark::new() }
    }

    /// What makes the hashers.
    pub fn hasher(&self) -> &S {
        &self.hasher
    }

    /// How many entries there is room for, dead ones included.
    pub fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// The number of entries, with those counted in that are dead and not removed yet. Never less than
    /// [`live_count`](Self::live_count). Takes constant time.
    pub fn len_upper_bound(&self) -> usize {
        self.entries.len()
    }

    /// The number of live entries. Looks at every entry.
    ///
    /// It is exact now, and an upper bound after the next collection.
    pub fn live_count<A: Access>(&self, heap: &A) -> usize {
        self.entries.iter().filter(|&(_, weak)| !heap.is_dead(weak)).count()
    }

    /// Whether there is no live entry. Looks at entries until it finds one.
    pub fn is_empty<A: Access>(&self, heap: &A) -> bool {
        self.entries.iter().all(|(_, weak)| heap.is_dead(weak))
    }

    /// Removes all entries. Keeps the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.watermark = Watermark::new();
    }

    /// The live entries, in no particular order.
    ///
    /// The heap is borrowed meanwhile, so none dies. To collect between entries, use a [`cursor`](Self::cursor).
    pub fn iter<'m, A: Access>(&'m self, heap: &'m A) -> Iter<'m, K, V, A> {
        Iter { cursor: self.cursor(), heap }
    }

    /// The keys of the live entries, in no particular order.
    pub fn keys<'m, A: Access>(&'m self, heap: &'m A) -> impl FusedIterator<Item = &'m K> {
        self.entries.iter().filter(|&(_, weak)| !heap.is_dead(weak)).map(|(key, _)| key)
    }

    /// The objects of the live entries, in no particular order.
    pub fn values<'m, A: Access>(&'m self, heap: &'m A) -> impl FusedIterator<Item = A::Handle<V>> {
        self.iter(heap).map(|(_, value)| value)
    }

    /// A walk over the entries during which the heap may be used in any way, and collected.
    ///
    /// It gives out those that are alive at that moment.
    ///
    /// ```
    /// use lacuna::Heap;
    /// use lacuna_collections::WeakValueMap;
    ///
    /// let mut heap = Heap::new();
    /// let mut map = WeakValueMap::new();
    /// let roots: Vec<_> = (0..10).map(|i| heap.alloc(i)).collect();
    /// for (i, root) in roots.iter().enumerate() {
    ///     map.insert(&mut heap, i, root);
    /// }
    /// let mut cursor = map.cursor();
    /// assert!(cursor.next(&heap).is_some());
    /// drop(roots);
    /// heap.collect();
    /// assert!(cursor.next(&heap).is_none());
    /// ```
    pub fn cursor(&self) -> Cursor<'_, K, V> {
        Cursor { entries: self.entries.iter() }
    }

    /// The keys with their weak references, in no particular order. Some may be dead: this needs no heap, so it cannot
    /// know.
    pub fn iter_weak(&self) -> impl FusedIterator<Item = (&K, Weak<V>)> {
        self.entries.iter()
    }

    /// Shows the live entries, with `Debug` of the keys; of the objects it shows the weak references.
    ///
    /// ```
    /// use lacuna::Heap;
    /// use lacuna_collections::WeakValueMap;
    ///
    /// let mut heap = Heap::new();
    /// let mut map = WeakValueMap::new();
    /// let one = heap.alloc(1);
    /// map.insert(&mut heap, "one", &one);
    /// assert_eq!(format!("{:?}", map.debug(&heap)), r#"{"one": Weak(0:0)}"#);
    /// ```
    pub fn debug<'m, A: Access>(&'m self, heap: &'m A) -> impl fmt::Debug + 'm
    where
        K: fmt::Debug,
    {
        Show(move |f: &mut fmt::Formatter<'_>| {
            f.debug_map().entries(self.iter_weak().filter(|(_, weak)| !heap.is_dead(*weak))).finish()
        })
    }
}

impl<K: Eq + Hash, V: ?Sized + Object, S: BuildHasher> WeakValueMap<K, V, S> {
    /// Makes room for so many more entries, after removing the dead ones if there is none.
    pub fn reserve<A: Access>(&mut self, heap: &A, additional: usize) {
        if self.entries.capacity() - self.entries.len() < additional {
            self.prune(heap);
            self.entries.reserve(additional, |key| self.hasher.hash_one(key));
        }
    }

    /// Removes the dead entries, and returns how many those were. Gives back memory if few are left.
    ///
    /// Looks at every entry. Methods that insert do it by themselves when it is worth it, so this is for a map that is
    /// no longer inserted into, or for memory that is needed now.
    pub fn prune<A: Access>(&mut self, heap: &A) -> usize {
        let before = self.entries.len();
        self.entries.retain(|_, weak| !heap.is_dead(weak));
        self.watermark = Watermark::after(self.entries.len(), heap.collections());
        if is_sparse(self.entries.len(), self.entries.capacity()) {
            self.entries.shrink_to(2 * self.entries.len(), |key| self.hasher.hash_one(key));
        }
        before - self.entries.len()
    }

    /// Removes the dead entries and gives back all memory that the others do not need.
    pub fn shrink_to_fit<A: Access>(&mut self, heap: &A) {
        self.prune(heap);
        self.entries.shrink_to(0, |key| self.hasher.hash_one(key));
    }

    #[inline]
    fn find<Q: ?Sized + Eq + Hash>(&self, key: &Q) -> Option<(&K, Weak<V>)>
    where
        K: Borrow<Q>,
    {
        self.entries.find(self.hasher.hash_one(key), |other| other.borrow() == key)
    }

    /// The object of a key.
    #[inline]
    #[track_caller]
    pub fn get<A: Access, Q: ?Sized + Eq + Hash>(&self, heap: &A, key: &Q) -> Option<A::Handle<V>>
    where
        K: Borrow<Q>,
    {
        heap.upgrade(self.find(key)?.1)
    }

    /// The object of a key, and the key that is stored.
    #[track_caller]
    pub fn get_key_value<A: Access, Q: ?Sized + Eq + Hash>(&self, heap: &A, key: &Q) -> Option<(&K, A::Handle<V>)>
    where
        K: Borrow<Q>,
    {
        let (key, weak) = self.find(key)?;
        Some((key, heap.upgrade(weak)?))
    }

    /// A weak reference to the object of a key.
    #[inline]
    #[track_caller]
    pub fn get_weak<A: Access, Q: ?Sized + Eq + Hash>(&self, heap: &A, key: &Q) -> Option<Weak<V>>
    where
        K: Borrow<Q>,
    {
        self.find(key).map(|(_, weak)| weak).filter(|&weak| !heap.is_dead(weak))
    }

    /// Whether the key has an object. Does not extend the object's life.
    #[inline]
    #[track_caller]
    pub fn contains_key<A: Access, Q: ?Sized + Eq + Hash>(&self, heap: &A, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get_weak(heap, key).is_some()
    }

    /// Gives a key an object, and returns the one it had. A key that has a live object stays, and `key` is dropped, as in
    /// a [`HashMap`](std::collections::HashMap); otherwise `key` is stored.
    ///
    /// # Panics
    ///
    /// If the root belongs to another heap, or there is no memory for the object's weak slot.
    ///
    /// ```
    /// use lacuna::Heap;
    /// use lacuna_collections::WeakValueMap;
    ///
    /// let mut heap = Heap::new();
    /// let (old, new) = (heap.alloc(1), heap.alloc(2));
    /// let mut map = WeakValueMap::new();
    /// assert!(map.insert(&mut heap, "number", &old).is_none());
    /// assert!(map.insert(&mut heap, "number", &new).is_some());
    ///
    /// drop(old); // the death of the old object does not concern the new one
    /// heap.collect();
    /// assert_eq!(heap.get(&map.get(&heap, "number").unwrap()), &2);
    /// ```
    #[track_caller]
    pub fn insert(&mut self, heap: &mut Heap, key: K, value: &Root<V>) -> Option<Root<V>> {
        let place = self.place(&*heap, &key);
        let weak = heap.downgrade(value);
        put(place, &*heap, key, weak)
    }

    /// [`insert`](Self::insert), in a scope.
    ///
    /// # Panics
    ///
    /// If there is no memory for the object's weak slot.
    #[inline]
    pub fn insert_in<'gc, U: ?Sized + Object<Of<'static> = V>>(
        &mut self,
        cx: &Mutator<'gc>,
        key: K,
        value: Gc<'gc, U>,
    ) -> Option<Gc<'gc, V::Of<'gc>>> {
        let place = self.place(cx, &key);
        put(place, cx, key, value.downgrade(cx))
    }

    /// Gives a key the object of a weak reference, and returns the one it had. A dead reference leaves the key without
    /// object.
    ///
    /// # Panics
    ///
    /// If the reference belongs to another heap.
    #[track_caller]
    pub fn insert_weak<A: Access>(&mut self, heap: &A, key: K, value: Weak<V>) -> Option<A::Handle<V>> {
        if heap.is_dead(value) {
            return self.remove(heap, &key);
        }
        put(self.place(heap, &key), heap, key, value)
    }

    /// The place of a key.
    ///
    /// Whoever observes an object to put there does so afterwards: the search is what takes longest, and the processor
    /// begins with it early then.
    #[inline]
    #[track_caller]
    fn place<A: Access>(&mut self, heap: &A, key: &K) -> WeakTableEntry<'_, K, V> {
        if self.watermark.is_reached(self.entries.len()) {
            self.prune_before_growth(heap);
        }
        let hash = self.hasher.hash_one(key);
        let Self { entries, hasher, .. } = self;
        entries.entry(hash, |other| other == key, |key| hasher.hash_one(key))
    }

    #[cold]
    #[inline(never)]
    fn prune_before_growth<A: Access>(&mut self, heap: &A) {
        let collections = heap.collections();
        if self.watermark.is_still_valid(collections) {
            self.watermark = Watermark::after(self.entries.len(), collections);
        } else {
            self.prune(heap);
        }
    }

    /// Removes a key, and returns the object it had.
    #[track_caller]
    pub fn remove<A: Access, Q: ?Sized + Eq + Hash>(&mut self, heap: &A, key: &Q) -> Option<A::Handle<V>>
    where
        K: Borrow<Q>,
    {
        self.remove_entry(heap, key).map(|(_, value)| value)
    }

    /// Removes a key, and returns the stored key with the object it had.
    #[track_caller]
    pub fn remove_entry<A: Access, Q: ?Sized + Eq + Hash>(&mut self, heap: &A, key: &Q) -> Option<(K, A::Handle<V>)>
    where
        K: Borrow<Q>,
    {
        let (key, weak) = self.entries.remove(self.hasher.hash_one(key), |other| other.borrow() == key)?;
        Some((key, heap.upgrade(weak)?))
    }

    /// Removes some live entry and returns it; `None` if there is none.
    #[track_caller]
    pub fn pop<A: Access>(&mut self, heap: &A) -> Option<(K, A::Handle<V>)> {
        let (key, weak) = self.entries.pop_if(|_, weak| !heap.is_dead(weak))?;
        Some((key, heap.upgrade(weak)?))
    }

    /// Keeps the live entries that `keep` wants, and removes all others.
    ///
    /// If `keep` panics, the entries it was not asked about stay.
    #[track_caller]
    pub fn retain<A: Access>(&mut self, heap: &A, mut keep: impl FnMut(&K, A::Handle<V>) -> bool) {
        self.entries.retain(|key, weak| heap.upgrade(weak).is_some_and(|value| keep(key, value)));
        self.watermark = Watermark::after(self.entries.len(), heap.collections());
    }

    /// Removes all entries and returns the live ones. Keeps the memory.
    pub fn drain<'m, A: Access>(&'m mut self, heap: &'m A) -> impl FusedIterator<Item = (K, A::Handle<V>)> {
        self.watermark = Watermark::new();
        self.entries.drain().filter_map(|(key, weak)| Some((key, heap.upgrade(weak)?)))
    }

    /// The place of a key, to look and then insert with one search.
    ///
    /// The entry does not borrow the heap. That of a live object keeps the object alive, as a root does.
    ///
    /// ```
    /// use lacuna::{Heap, Root};
    /// use lacuna_collections::WeakValueMap;
    ///
    /// fn page(pages: &mut WeakValueMap<String, String>, heap: &mut Heap, address: &str) -> Root<String> {
    ///     pages.entry(heap, address.into()).or_insert_with(heap, |heap| heap.alloc(format!("<html>{address}")))
    /// }
    ///
    /// let (mut heap, mut pages) = (Heap::new(), WeakValueMap::new());
    /// let one = page(&mut pages, &mut heap, "/index");
    /// let two = page(&mut pages, &mut heap, "/index");
    /// assert!(Root::ptr_eq(&one, &two));
    /// ```
    #[track_caller]
    pub fn entry<A: Access>(&mut self, heap: &A, key: K) -> Entry<'_, K, V, A> {
        let access = core::marker::PhantomData;
        match self.place(heap, &key) {
            WeakTableEntry::Occupied(place) => match heap.upgrade(place.weak()) {
                Some(value) => Entry::Occupied(OccupiedEntry { place, value }),
                None => Entry::Vacant(VacantEntry { place: place.remove().1, key, access }),
            },
            WeakTableEntry::Vacant(place) => Entry::Vacant(VacantEntry { place, key, access }),
        }
    }
}

/// Puts a live reference in its key's place, and returns the object that was there.
#[inline]
#[track_caller]
fn put<K, V: ?Sized + Object, A: Access>(
    place: WeakTableEntry<'_, K, V>,
    heap: &A,
    key: K,
    weak: Weak<V>,
) -> Option<A::Handle<V>> {
    match place {
        WeakTableEntry::Occupied(mut entry) => {
            let old = heap.upgrade(entry.replace(weak));
            if old.is_none() {
                // The caller's key is dropped here, or the dead entry's, whose `Drop` may panic: the entry is whole.
                *entry.key_mut() = key;
            }
            old
        }
        WeakTableEntry::Vacant(entry) => {
            entry.insert(key, weak);
            None
        }
    }
}

impl<K, V: ?Sized + Object, S: Default> Default for WeakValueMap<K, V, S> {
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

impl<K: Clone, V: ?Sized + Object, S: Clone> Clone for WeakValueMap<K, V, S> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), hasher: self.hasher.clone(), watermark: self.watermark }
    }
}

/// Says how many entries there are at most. For the entries see [`debug`](WeakValueMap::debug), which needs the heap.
impl<K, V: ?Sized + Object, S> fmt::Debug for WeakValueMap<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakValueMap").field("len_upper_bound", &self.len_upper_bound()).finish_non_exhaustive()
    }
}

/// Needs no heap, so it removes no dead entries; the next method that inserts with a heap does. Of equal keys the last
/// one's object counts. Panics if the references belong to different heaps.
impl<K: Eq + Hash, V: ?Sized + Object, S: BuildHasher> Extend<(K, Weak<V>)> for WeakValueMap<K, V, S> {
    fn extend<I: IntoIterator<Item = (K, Weak<V>)>>(&mut self, entries: I) {
        for (key, weak) in entries {
            let hash = self.hasher.hash_one(&key);
            if weak == Weak::null() {
                self.entries.remove(hash, |other| *other == key);
                continue;
            }
            let Self { entries, hasher, .. } = self;
            entries.entry(hash, |other| *other == key, |key| hasher.hash_one(key)).insert(key, weak);
        }
    }
}

impl<K: Eq + Hash, V: ?Sized + Object, S: BuildHasher + Default> FromIterator<(K, Weak<V>)> for WeakValueMap<K, V, S> {
    fn from_iter<I: IntoIterator<Item = (K, Weak<V>)>>(entries: I) -> Self {
        let mut map = Self::default();
        map.extend(entries);
        map
    }
}

/// The live entries of a [`WeakValueMap`]. Made by [`WeakValueMap::iter`].
pub struct Iter<'m, K, V: ?Sized + Object + 'static, A> {
    cursor: Cursor<'m, K, V>,
    heap: &'m A,
}

impl<'m, K, V: ?Sized + Object, A: Access> Iterator for Iter<'m, K, V, A> {
    type Item = (&'m K, A::Handle<V>);

    #[track_caller]
    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.next(self.heap)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.cursor.left_upper_bound()))
    }
}

impl<K, V: ?Sized + Object, A: Access> FusedIterator for Iter<'_, K, V, A> {}

impl<K, V: ?Sized + Object, A> Clone for Iter<'_, K, V, A> {
    fn clone(&self) -> Self {
        Self { cursor: self.cursor.clone(), heap: self.heap }
    }
}

impl<K, V: ?Sized + Object, A> fmt::Debug for Iter<'_, K, V, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("left_upper_bound", &self.cursor.left_upper_bound()).finish_non_exhaustive()
    }
}

/// A walk over a [`WeakValueMap`] that does not borrow the heap. Made by [`WeakValueMap::cursor`].
pub struct Cursor<'m, K, V: ?Sized + Object + 'static> {
    entries: WeakTableIter<'m, K, V>,
}

impl<'m, K, V: ?Sized + Object> Cursor<'m, K, V> {
    /// The next entry that is alive now.
    #[track_caller]
    pub fn next<A: Access>(&mut self, heap: &A) -> Option<(&'m K, A::Handle<V>)> {
        for (key, weak) in self.entries.by_ref() {
            if let Some(value) = heap.upgrade(weak) {
                return Some((key, value));
            }
        }
        None
    }

    /// How many entries the walk will give out at most.
    pub fn left_upper_bound(&self) -> usize {
        self.entries.len()
    }
}

impl<K, V: ?Sized + Object> Clone for Cursor<'_, K, V> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone() }
    }
}

impl<K, V: ?Sized + Object> fmt::Debug for Cursor<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("left_upper_bound", &self.left_upper_bound()).finish_non_exhaustive()
    }
}

/// The place of a key in a [`WeakValueMap`]. Made by [`WeakValueMap::entry`].
pub enum Entry<'m, K, V: ?Sized + Object + 'static, A: Access> {
    /// The key has a live object.
    Occupied(OccupiedEntry<'m, K, V, A>),
    /// The key has none.
    Vacant(VacantEntry<'m, K, V, A>),
}

/// The place of a key that has a live object.
pub struct OccupiedEntry<'m, K, V: ?Sized + Object + 'static, A: Access> {
    place: OccupiedWeakEntry<'m, K, V>,
    value: A::Handle<V>,
}

/// The place of a key that has no object.
pub struct VacantEntry<'m, K, V: ?Sized + Object + 'static, A: Access> {
    place: VacantWeakEntry<'m, K, V>,
    key: K,
    access: core::marker::PhantomData<fn(&A)>,
}

impl<K, V: ?Sized + Object, A: Access> Entry<'_, K, V, A> {
    /// The key.
    pub fn key(&self) -> &K {
        match self {
            Self::Occupied(entry) => entry.key(),
            Self::Vacant(entry) => entry.key(),
        }
    }
}

impl<K, V: ?Sized + Object> Entry<'_, K, V, Heap> {
    /// The object of the key, or this one.
    ///
    /// # Panics
    ///
    /// As [`VacantEntry::insert`].
    #[track_caller]
    pub fn or_insert(self, heap: &mut Heap, value: &Root<V>) -> Root<V> {
        match self {
            Self::Occupied(entry) => entry.value,
            Self::Vacant(entry) => entry.insert(heap, value),
        }
    }

    /// The object of the key, or the one that `fill` makes. May collect, as far as `fill` may.
    ///
    /// If `fill` panics, the key has no object.
    ///
    /// # Panics
    ///
    /// As [`VacantEntry::insert`].
    #[track_caller]
    pub fn or_insert_with(self, heap: &mut Heap, fill: impl FnOnce(&mut Heap) -> Root<V>) -> Root<V> {
        match self {
            Self::Occupied(entry) => entry.value,
            Self::Vacant(entry) => {
                let value = fill(heap);
                entry.insert(heap, &value)
            }
        }
    }
}

impl<'gc, K, V: ?Sized + Object> Entry<'_, K, V, Mutator<'gc>> {
    /// The object of the key, or this one.
    ///
    /// # Panics
    ///
    /// As [`VacantEntry::insert`].
    pub fn or_insert<U>(self, cx: &Mutator<'gc>, value: Gc<'gc, U>) -> Gc<'gc, U>
    where
        U: ?Sized + Object<Of<'static> = V>,
        V: Object<Of<'gc> = U>,
    {
        match self {
            Self::Occupied(entry) => entry.value,
            Self::Vacant(entry) => entry.insert(cx, value),
        }
    }

    /// The object of the key, or the one that `fill` makes. If `fill` panics, the key has no object.
    ///
    /// # Panics
    ///
    /// As [`VacantEntry::insert`].
    pub fn or_insert_with<U>(self, cx: &Mutator<'gc>, fill: impl FnOnce(&Mutator<'gc>) -> Gc<'gc, U>) -> Gc<'gc, U>
    where
        U: ?Sized + Object<Of<'static> = V>,
        V: Object<Of<'gc> = U>,
    {
        match self {
            Self::Occupied(entry) => entry.value,
            Self::Vacant(entry) => entry.insert(cx, fill(cx)),
        }
    }
}

impl<K, V: ?Sized + Object, A: Access> OccupiedEntry<'_, K, V, A> {
    /// The key that is stored.
    pub fn key(&self) -> &K {
        self.place.key()
    }

    /// The object.
    pub fn get(&self) -> A::Handle<V> {
        self.value.clone()
    }

    /// Removes the key, and returns the object it had.
    pub fn remove(self) -> A::Handle<V> {
        self.remove_entry().1
    }

    /// Removes the key, and returns it with the object it had.
    pub fn remove_entry(self) -> (K, A::Handle<V>) {
        let ((key, _), _) = self.place.remove();
        (key, self.value)
    }
}

impl<K, V: ?Sized + Object> OccupiedEntry<'_, K, V, Heap> {
    /// Gives the key another object, and returns the one it had.
    ///
    /// # Panics
    ///
    /// As [`VacantEntry::insert`].
    #[track_caller]
    pub fn insert(&mut self, heap: &mut Heap, value: &Root<V>) -> Root<V> {
        self.place.replace(heap.downgrade(value));
        core::mem::replace(&mut self.value, value.clone())
    }
}

impl<'gc, K, V: ?Sized + Object> OccupiedEntry<'_, K, V, Mutator<'gc>> {
    /// Gives the key another object, and returns the one it had.
    ///
    /// # Panics
    ///
    /// As [`VacantEntry::insert`].
    pub fn insert<U>(&mut self, cx: &Mutator<'gc>, value: Gc<'gc, U>) -> Gc<'gc, U>
    where
        U: ?Sized + Object<Of<'static> = V>,
        V: Object<Of<'gc> = U>,
    {
        self.place.replace(value.downgrade(cx));
        core::mem::replace(&mut self.value, value)
    }
}

impl<K, V: ?Sized + Object, A: Access> VacantEntry<'_, K, V, A> {
    /// The key that would be stored.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// The key, back.
    pub fn into_key(self) -> K {
        self.key
    }
}

impl<K, V: ?Sized + Object> VacantEntry<'_, K, V, Heap> {
    /// Gives the key an object, and returns that.
    ///
    /// # Panics
    ///
    /// If the root belongs to another heap, or there is no memory for the object's weak slot.
    #[track_caller]
    pub fn insert(self, heap: &mut Heap, value: &Root<V>) -> Root<V> {
        self.place.insert(self.key, heap.downgrade(value));
        value.clone()
    }
}

impl<'gc, K, V: ?Sized + Object> VacantEntry<'_, K, V, Mutator<'gc>> {
    /// Gives the key an object, and returns that.
    ///
    /// # Panics
    ///
    /// If there is no memory for the object's weak slot.
    pub fn insert<U: ?Sized + Object<Of<'static> = V>>(self, cx: &Mutator<'gc>, value: Gc<'gc, U>) -> Gc<'gc, U> {
        self.place.insert(self.key, value.downgrade(cx));
        value
    }
}

impl<K: fmt::Debug, V: ?Sized + Object, A: Access> fmt::Debug for Entry<'_, K, V, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Occupied(entry) => entry.fmt(f),
            Self::Vacant(entry) => entry.fmt(f),
        }
    }
}

impl<K: fmt::Debug, V: ?Sized + Object, A: Access> fmt::Debug for OccupiedEntry<'_, K, V, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OccupiedEntry").field("key", self.key()).finish_non_exhaustive()
    }
}

impl<K: fmt::Debug, V: ?Sized + Object, A: Access> fmt::Debug for VacantEntry<'_, K, V, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VacantEntry").field(self.key()).finish()
    }
}
