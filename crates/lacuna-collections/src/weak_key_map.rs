//! [`WeakKeyMap`]: objects to objects, as long as the key lives.
//!
//! The handle form of the heap's [`Ephemerons`]: a root of a table, and operations in roots. What makes it right, that a
//! value may lead to its own key, is the table's work.

use core::fmt;

use lacuna::{Ephemerons, Gc, Heap, Mutator, Object, Root, Weak};

use crate::access::{Access, Table};

/// A map from objects, by identity, to objects that live as long as their keys and the map do. An entry whose key has
/// died is absent, for every method.
///
/// It attaches objects to other objects from outside, and keeps neither alive by itself. A value may lead to its key,
/// or to another key: unlike the maps of that kind in many languages, this is no leak.
///
/// ```
/// use lacuna::{Gc, Heap, Trace};
/// use lacuna_collections::WeakKeyMap;
///
/// #[derive(Trace)]
/// struct Window(&'static str);
///
/// #[derive(Trace)]
/// struct Layout<'gc> {
///     of: Gc<'gc, Window>,
/// }
///
/// let mut heap = Heap::new();
/// let layouts: WeakKeyMap<Window, Layout<'static>> = WeakKeyMap::new(&mut heap);
/// let window = heap.alloc(Window("main"));
/// let layout = heap.alloc_with::<Layout>(|cx| Layout { of: window.get(cx) }); // leads back to the key
/// layouts.insert(&mut heap, &window, &layout);
///
/// drop(layout);
/// heap.collect();
/// let layout = layouts.get(&heap, &window).unwrap(); // the window keeps it alive
/// assert_eq!(heap.with(&layout, |layout| layout.of.0), "main");
///
/// drop((layout, window));
/// heap.collect();
/// assert_eq!(layouts.live_count(&heap), 0);
/// assert_eq!(heap.stats().live_objects, 1); // the table itself
/// ```
///
/// # In the heap
///
/// The map is a handle of a table, which is an object. In a scope [`table`](Self::table) gives the table, with methods of
/// its own; an object that is to have such a map holds an [`Ephemerons`], whose values need not be objects either.
///
/// # Cost
///
/// A look-up is one probe of a hash table of addresses, and runs no code of the program. See [`Ephemerons`] for the size.
/// Methods that change the map take `&mut Heap`, open a scope, and so may collect when it ends.
///
/// # Panics
///
/// Methods that are given another heap than that of the map, or roots of another heap, panic.
pub struct WeakKeyMap<K: ?Sized + Object + 'static, V: ?Sized + Object + 'static> {
    table: Root<Table<K, V>>,
}

/// The table of a [`WeakKeyMap`] in a scope.
pub type TableIn<'gc, K, V> = Gc<'gc, Ephemerons<Gc<'gc, <K as Object>::Of<'gc>>, Gc<'gc, <V as Object>::Of<'gc>>>>;

impl<K: ?Sized + Object, V: ?Sized + Object> WeakKeyMap<K, V> {
    /// An empty map, in this heap. May collect.
    ///
    /// # Panics
    ///
    /// If there is no memory, as for [`Heap::alloc`].
    pub fn new(heap: &mut Heap) -> Self {
        let table = heap.alloc_with::<Table<K, V>>(|_| Ephemerons::new());
        Self { table: heap.read(|reader| reader.root(reader.get(&table))) }
    }

    /// The map of a table.
    pub fn from_root(table: Root<Table<K, V>>) -> Self {
        Self { table }
    }

    /// A root of the table.
    pub fn into_root(self) -> Root<Table<K, V>> {
        self.table
    }

    /// The table, for use in a scope.
    #[track_caller]
    pub fn table<'gc>(&self, cx: &Mutator<'gc>) -> TableIn<'gc, K, V> {
        self.table.get(cx)
    }

    /// At least the number of entries that are present. Takes constant time.
    #[track_caller]
    pub fn len_upper_bound<A: Access>(&self, heap: &A) -> usize {
        heap.entry_count(&self.table)
    }

    /// The number of entries whose keys no collection has found dead. Takes constant time, since the collector counts.
    #[track_caller]
    pub fn live_count<A: Access>(&self, heap: &A) -> usize {
        heap.entry_count(&self.table)
    }

    /// Whether there is no entry.
    #[track_caller]
    pub fn is_empty<A: Access>(&self, heap: &A) -> bool {
        self.live_count(heap) == 0
    }

    /// The value of a key.
    #[inline]
    #[track_caller]
    pub fn get<A: Access>(&self, heap: &A, key: &A::Handle<K>) -> Option<A::Handle<V>> {
        heap.lookup(&self.table, key)
    }

    /// Whether the key has a value.
    #[track_caller]
    pub fn contains_key<A: Access>(&self, heap: &A, key: &A::Handle<K>) -> bool {
        self.get(heap, key).is_some()
    }

    /// Gives a key a value, and returns the one it had. May collect afterwards.
    ///
    /// # Panics
    ///
    /// If there is no memory for the entry.
    #[track_caller]
    pub fn insert(&self, heap: &mut Heap, key: &Root<K>, value: &Root<V>) -> Option<Root<V>> {
        heap.enter(|cx| {
            let old = self.table(cx).edit(cx).insert(key.get(cx), value.get(cx))?;
            Some(cx.root::<V>(old))
        })
    }

    /// The value of a key, or the one that `fill` makes for it. May collect.
    ///
    /// If `fill` panics, the key has no value; if `fill` gives the key one, that is replaced.
    ///
    /// # Panics
    ///
    /// As [`insert`](Self::insert).
    #[track_caller]
    pub fn get_or_insert_with(
        &self,
        heap: &mut Heap,
        key: &Root<K>,
        fill: impl FnOnce(&mut Heap) -> Root<V>,
    ) -> Root<V> {
        self.get(heap, key).unwrap_or_else(|| {
            let value = fill(heap);
            self.insert(heap, key, &value);
            value
        })
    }

    /// Removes a key, and returns the value it had. May collect afterwards.
    #[track_caller]
    pub fn remove(&self, heap: &mut Heap, key: &Root<K>) -> Option<Root<V>> {
        heap.enter(|cx| {
            let old = self.table(cx).edit(cx).remove(key.get(cx))?;
            Some(cx.root::<V>(old))
        })
    }

    /// Keeps the entries that `keep` wants, in the order in which they were inserted, and removes the others. May collect
    /// afterwards.
    ///
    /// `keep` may read the map. If it panics, the entries it was not asked about stay.
    #[track_caller]
    pub fn retain(&self, heap: &mut Heap, mut keep: impl FnMut(&Heap, &Root<K>, &Root<V>) -> bool) {
        for (key, value) in self.entries(heap) {
            if !keep(heap, &key, &value) {
                heap.enter(|cx| {
                    self.table(cx).edit(cx).remove(key.get(cx));
                });
            }
        }
    }

    /// Removes all entries and gives their memory back. May collect afterwards.
    #[track_caller]
    pub fn clear(&self, heap: &mut Heap) {
        heap.enter(|cx| self.table(cx).edit(cx).clear());
    }

    /// Gives back the memory of dead and removed entries. Inserting and removing does it when it is worth it. May collect
    /// afterwards.
    #[track_caller]
    pub fn prune(&self, heap: &mut Heap) {
        heap.enter(|cx| self.table(cx).edit(cx).prune());
    }

    /// The entries as of now, in the order in which they were inserted. Roots keep their objects alive: for a walk that
    /// keeps nothing alive, use a [`cursor`](Self::cursor).
    #[track_caller]
    pub fn entries<A: Access>(&self, heap: &A) -> Vec<(A::Handle<K>, A::Handle<V>)> {
        heap.entries(&self.table)
    }

    /// The keys as of now, in the order in which they were inserted.
    #[track_caller]
    pub fn keys<A: Access>(&self, heap: &A) -> Vec<A::Handle<K>> {
        self.entries(heap).into_iter().map(|(key, _)| key).collect()
    }

    /// The values as of now, in the order in which their keys were inserted.
    #[track_caller]
    pub fn values<A: Access>(&self, heap: &A) -> Vec<A::Handle<V>> {
        self.entries(heap).into_iter().map(|(_, value)| value).collect()
    }

    /// A walk over the entries there are now, during which the heap and the map may be used in any way, and the heap be
    /// collected. It gives out those that are there at that moment.
    #[track_caller]
    pub fn cursor(&self, heap: &mut Heap) -> Cursor<K, V> {
        let keys = self.keys(heap).iter().map(|key| heap.downgrade(key)).collect::<Vec<_>>();
        Cursor { map: self.clone(), keys: keys.into_iter() }
    }
}

/// Another handle of the same map.
impl<K: ?Sized + Object, V: ?Sized + Object> Clone for WeakKeyMap<K, V> {
    fn clone(&self) -> Self {
        Self { table: self.table.clone() }
    }
}

/// Shows no entries, since those are in the heap.
impl<K: ?Sized + Object, V: ?Sized + Object> fmt::Debug for WeakKeyMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakKeyMap").finish_non_exhaustive()
    }
}

/// A walk over a [`WeakKeyMap`] that keeps no key or value alive. Made by [`WeakKeyMap::cursor`].
pub struct Cursor<K: ?Sized + Object + 'static, V: ?Sized + Object + 'static> {
    map: WeakKeyMap<K, V>,
    keys: std::vec::IntoIter<Weak<K>>,
}

impl<K: ?Sized + Object, V: ?Sized + Object> Cursor<K, V> {
    /// The next entry that is there now.
    #[track_caller]
    pub fn next<A: Access>(&mut self, heap: &A) -> Option<(A::Handle<K>, A::Handle<V>)> {
        self.keys.find_map(|key| {
            let key = heap.upgrade(key)?;
            let value = self.map.get(heap, &key)?;
            Some((key, value))
        })
    }

    /// How many entries the walk will give out at most.
    pub fn left_upper_bound(&self) -> usize {
        self.keys.len()
    }
}

impl<K: ?Sized + Object, V: ?Sized + Object> fmt::Debug for Cursor<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("left_upper_bound", &self.left_upper_bound()).finish_non_exhaustive()
    }
}
