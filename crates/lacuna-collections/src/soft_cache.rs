//! [`SoftCache`]: a weak map, in front of it roots of what was used last.
//!
//! The map knows every object that is still around; the list decides which are kept around for the cache's sake. So an
//! object that has fallen off the list and is in use elsewhere is still found, and comes back onto the list.

use core::borrow::Borrow;
use core::fmt;
use core::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashMap};
use lacuna::{Heap, Object, Root, Weak};

use crate::weak_value_map::WeakValueMap;

/// So often an operation looks at how full the heap is.
const OPERATIONS_PER_LOOK: u32 = 64;

/// A cache that keeps alive what was used last, as much as it is allowed, and finds everything else for as long as
/// somebody else keeps it alive.
///
/// How much is a number of objects, and if wanted of [bytes](Self::max_bytes). Under [pressure](Self::pressure), when a
/// collection has left too much in the heap, the cache lets go of half of what it keeps and does not keep more again, and
/// of half of that after the next collection, until one has left less. The heap does not call the cache: it looks by
/// itself, during every 64th operation, and when [`relieve`](Self::relieve) is called.
///
/// It holds roots, so it belongs outside of the heap. An object that leads to its own cache does not keep it.
///
/// ```
/// use lacuna::{Heap, Root};
/// use lacuna_collections::SoftCache;
///
/// fn load(cache: &mut SoftCache<u32, String>, heap: &mut Heap, id: u32) -> Root<String> {
///     cache.get_or_insert_with(heap, id, |heap| heap.alloc(format!("page {id}")))
/// }
///
/// let mut heap = Heap::new();
/// let mut cache = SoftCache::new(2);
/// let used = load(&mut cache, &mut heap, 1);
/// load(&mut cache, &mut heap, 2);
/// load(&mut cache, &mut heap, 3);
/// load(&mut cache, &mut heap, 4);
/// heap.collect();
/// assert!(cache.peek(&heap, &1).is_some()); // fell off the list, but is in use
/// assert!(cache.peek(&heap, &2).is_none()); // fell off the list
/// assert!(cache.peek(&heap, &4).is_some()); // one of the two used last
/// ```
pub struct SoftCache<K, V: ?Sized + Object + 'static, S: 'static = DefaultHashBuilder> {
    known: WeakValueMap<K, V, S>,
    kept: Kept<V>,
    max_objects: usize,
    max_bytes: usize,
    weigh: fn(&Heap, &Root<V>) -> usize,
    pressure: usize,
    /// Objects that may be kept after the last look at the heap: `max_objects` unless it was under pressure.
    allowed: usize,
    /// Collections there had been at the last look: until the next one, nothing new is known.
    looked_at: Option<u64>,
    operations: u32,
}

impl<K: Eq + Hash, V: ?Sized + Object> SoftCache<K, V> {
    /// A cache that keeps at most so many objects alive.
    pub fn new(max_objects: usize) -> Self {
        Self::with_hasher(max_objects, DefaultHashBuilder::default())
    }
}

impl<K: Eq + Hash, V: ?Sized + Object, S: BuildHasher> SoftCache<K, V, S> {
    /// A cache that keeps at most so many objects alive, and hashes keys with `hasher`.
    pub fn with_hasher(max_objects: usize, hasher: S) -> Self {
        Self {
            known: WeakValueMap::with_hasher(hasher),
            kept: Kept::new(),
            max_objects,
            max_bytes: usize::MAX,
            weigh: |_, _| 0,
            pressure: usize::MAX,
            allowed: max_objects,
            looked_at: None,
            operations: 0,
        }
    }

    /// Also keeps at most so many bytes, as `weigh` counts them when an object comes onto the list. One that alone has
    /// more is not kept.
    ///
    /// ```
    /// use lacuna::Heap;
    /// use lacuna_collections::SoftCache;
    ///
    /// let mut heap = Heap::new();
    /// let mut cache = SoftCache::<u32, String>::new(100).max_bytes(1000, |heap, text| heap.get(text).len());
    /// for id in 0..100 {
    ///     cache.get_or_insert_with(&mut heap, id, |heap| heap.alloc("x".repeat(300)));
    /// }
    /// assert_eq!((cache.kept_objects(), cache.kept_bytes()), (3, 900));
    /// ```
    pub fn max_bytes(mut self, max_bytes: usize, weigh: fn(&Heap, &Root<V>) -> usize) -> Self {
        self.max_bytes = max_bytes;
        self.weigh = weigh;
        self
    }

    /// Lets go of objects when a collection has left at least so many bytes in the heap, external bytes counted in.
    ///
    /// Between two collections the heap may grow by its [growth factor](lacuna::Config::growth_factor), so the pressure
    /// should begin well below a heap limit: at half of it, say.
    pub fn pressure(mut self, bytes: usize) -> Self {
        self.pressure = bytes;
        self
    }

    /// Objects that are kept alive.
    pub fn kept_objects(&self) -> usize {
        self.kept.by_id.len()
    }

    /// Bytes of those objects, as they were weighed.
    pub fn kept_bytes(&self) -> usize {
        self.kept.bytes.try_into().unwrap_or(usize::MAX)
    }

    /// The map of all objects that are alive, kept or not.
    pub fn known(&self) -> &WeakValueMap<K, V, S> {
        &self.known
    }

    /// The object of a key, which counts as used now.
    #[track_caller]
    pub fn get<Q: ?Sized + Eq + Hash>(&mut self, heap: &Heap, key: &Q) -> Option<Root<V>>
    where
        K: Borrow<Q>,
    {
        let weak = self.known.get_weak(heap, key)?;
        let object = heap.upgrade(weak)?;
        self.used(heap, weak, &object);
        Some(object)
    }

    /// The object of a key, which does not count as used.
    #[track_caller]
    pub fn peek<Q: ?Sized + Eq + Hash>(&self, heap: &Heap, key: &Q) -> Option<Root<V>>
    where
        K: Borrow<Q>,
    {
        self.known.get(heap, key)
    }

    /// The object of a key, made by `fill` if there is none. It counts as used now. May collect, as far as `fill` may.
    ///
    /// If `fill` panics, the cache has not changed.
    #[track_caller]
    pub fn get_or_insert_with(&mut self, heap: &mut Heap, key: K, fill: impl FnOnce(&mut Heap) -> Root<V>) -> Root<V> {
        let object = self.known.entry(heap, key).or_insert_with(heap, fill);
        let weak = heap.downgrade(&object);
        self.used(heap, weak, &object);
        object
    }

    /// Gives a key an object, and returns the one it had. The new one counts as used now; the old one is not kept any
    /// more.
    ///
    /// # Panics
    ///
    /// If the root belongs to another heap, or there is no memory for the object's weak slot.
    #[track_caller]
    pub fn insert(&mut self, heap: &mut Heap, key: K, value: &Root<V>) -> Option<Root<V>> {
        let old = self.known.insert(heap, key, value);
        if let Some(old) = &old {
            self.kept.remove(heap.downgrade(old));
        }
        let weak = heap.downgrade(value);
        self.used(heap, weak, value);
        old
    }

    /// Removes a key, and returns the object it had, which is not kept any more.
    #[track_caller]
    pub fn remove<Q: ?Sized + Eq + Hash>(&mut self, heap: &Heap, key: &Q) -> Option<Root<V>>
    where
        K: Borrow<Q>,
    {
        let weak = self.known.get_weak(heap, key)?;
        let object = self.known.remove(heap, key);
        self.kept.remove(weak);
        object
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.kept = Kept::new();
        self.known.clear();
    }

    /// Lets go of the objects used least recently, until at most so many are kept. They are found as long as somebody
    /// else keeps them alive.
    pub fn trim(&mut self, objects: usize) {
        while self.kept.by_id.len() > objects {
            self.kept.remove_oldest();
        }
    }

    /// Looks at what the last collection has left, unless that was seen before, and lets go of half of the objects that
    /// are kept if it is too much. Returns how many that were.
    ///
    /// Operations of the cache do this by themselves now and then.
    pub fn relieve(&mut self, heap: &Heap) -> usize {
        if self.pressure == usize::MAX {
            return 0;
        }
        let stats = heap.stats();
        if self.looked_at.replace(stats.collections) == Some(stats.collections) {
            return 0;
        }
        let before = self.kept.by_id.len();
        let is_pressed = stats.live_bytes.saturating_add(stats.external_bytes) >= self.pressure;
        self.allowed = if is_pressed { before / 2 } else { self.max_objects };
        self.trim(self.allowed);
        before - self.kept.by_id.len()
    }

    /// Puts an object to the front of the list, and lets go of what is too much at its end.
    #[track_caller]
    fn used(&mut self, heap: &Heap, weak: Weak<V>, object: &Root<V>) {
        if !self.kept.touch(weak) {
            let bytes = (self.weigh)(heap, object);
            if bytes <= self.max_bytes && self.allowed > 0 {
                self.kept.add(weak, object.clone(), bytes);
            }
        }
        while self.kept.by_id.len() > self.allowed || self.kept.bytes > self.max_bytes as u128 {
            self.kept.remove_oldest();
        }
        self.operations += 1;
        if self.operations >= OPERATIONS_PER_LOOK {
            self.operations = 0;
            self.relieve(heap);
        }
    }
}

impl<K, V: ?Sized + Object, S> fmt::Debug for SoftCache<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftCache")
            .field("kept_objects", &self.kept.by_id.len())
            .field("kept_bytes", &self.kept.bytes)
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

/// No place in the list.
const END: usize = usize::MAX;

/// Roots in the order of their use. Places of objects that were removed are used again.
struct Kept<V: ?Sized + Object + 'static> {
    by_id: HashMap<Weak<V>, usize>,
    places: Vec<Place<V>>,
    free: Vec<usize>,
    newest: usize,
    oldest: usize,
    /// As many as no number of objects exceeds, whatever they weigh.
    bytes: u128,
}

struct Place<V: ?Sized + Object + 'static> {
    /// `None` where the place is free.
    object: Option<Root<V>>,
    weak: Weak<V>,
    bytes: usize,
    newer: usize,
    older: usize,
}

impl<V: ?Sized + Object> Kept<V> {
    fn new() -> Self {
        Self { by_id: HashMap::new(), places: Vec::new(), free: Vec::new(), newest: END, oldest: END, bytes: 0 }
    }

    /// Makes an object the newest. Returns whether it is in the list.
    fn touch(&mut self, weak: Weak<V>) -> bool {
        let Some(&place) = self.by_id.get(&weak) else {
            return false;
        };
        if self.newest != place {
            self.unlink(place);
            self.link(place);
        }
        true
    }

    /// Adds an object that is not in the list.
    fn add(&mut self, weak: Weak<V>, object: Root<V>, bytes: usize) {
        let new = Place { object: Some(object), weak, bytes, newer: END, older: END };
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place] = new;
                place
            }
            None => {
                self.places.push(new);
                self.places.len() - 1
            }
        };
        self.by_id.insert(weak, place);
        self.bytes += bytes as u128;
        self.link(place);
    }

    fn remove(&mut self, weak: Weak<V>) {
        if let Some(place) = self.by_id.remove(&weak) {
            self.unlink(place);
            self.places[place].object = None;
            self.bytes -= self.places[place].bytes as u128;
            self.free.push(place);
        }
    }

    fn remove_oldest(&mut self) {
        if let Some(oldest) = self.places.get(self.oldest) {
            self.remove(oldest.weak);
        }
    }

    /// Links a place in as the newest.
    fn link(&mut self, place: usize) {
        let newest = core::mem::replace(&mut self.newest, place);
        (self.places[place].newer, self.places[place].older) = (END, newest);
        match self.places.get_mut(newest) {
            Some(second) => second.newer = place,
            None => self.oldest = place,
        }
    }

    fn unlink(&mut self, place: usize) {
        let (newer, older) = (self.places[place].newer, self.places[place].older);
        match self.places.get_mut(newer) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        match self.places.get_mut(older) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
    }
}
