//! [`InternSet`]: one object for each value.
//!
//! A table of `(hash, long weak reference)`. The hash is taken when an object comes in and never again, so a table that
//! grows runs no code of the program and touches no object. A dead entry equals nothing.
//!
//! The references are long: an object that a guardian has brought back is still the one for its value, and a second one
//! would be a mistake.

use core::borrow::Borrow;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::iter::FusedIterator;

use hashbrown::DefaultHashBuilder;
use hashbrown::hash_table::HashTable;
use lacuna::{Gc, Heap, HugePages, Mutator, Object, Root, Trace, WeakLong};

use crate::access::{Access, Plain};
use crate::pruning::{Watermark, is_sparse};

/// A set of objects of which no two are equal, that does not keep them alive: of equal values, all who
/// [`intern`](Self::intern) one share an object while any of them has it. A member that has died is absent, for every
/// method.
///
/// So equality of interned objects is that of their identity. Members are compared by `Eq` and `Hash` of their content,
/// which must not change.
///
/// A guardian that brings an object back keeps it a member.
///
/// It holds no edges, so it may live outside of the heap or be a field of an object, there in a
/// [`GcRefCell`](lacuna::GcRefCell).
///
/// ```
/// use lacuna::{Heap, Root};
/// use lacuna_collections::InternSet;
///
/// let mut heap = Heap::new();
/// let mut symbols: InternSet<str> = InternSet::new();
/// let one = symbols.intern_str(&mut heap, "lambda");
/// let two = symbols.intern_str(&mut heap, "lambda");
/// assert!(Root::ptr_eq(&one, &two));
///
/// drop((one, two));
/// heap.collect();
/// assert!(!symbols.contains(&heap, "lambda"));
/// ```
///
/// # Size
///
/// A member takes 24 bytes, and the object a weak slot of the heap. Dead members are removed as in a
/// [`WeakValueMap`](crate::WeakValueMap).
///
/// # Panics
///
/// Methods that are given another heap than that of the objects panic, and those that call `Eq` or `Hash` pass a panic
/// on. The set can be used further, and has not changed.
#[derive(Trace)]
pub struct InternSet<#[trace(fixed)] T: ?Sized + Object + 'static, #[trace(fixed)] S: 'static = DefaultHashBuilder> {
    #[trace(skip)]
    members: HashTable<Member<T>, HugePages>,
    #[trace(skip)]
    hasher: S,
    watermark: Watermark,
}

struct Member<T: ?Sized + Object + 'static> {
    hash: u64,
    weak: WeakLong<T>,
}

impl<T: ?Sized + Object> Clone for Member<T> {
    fn clone(&self) -> Self {
        Self { hash: self.hash, weak: self.weak }
    }
}

impl<T: ?Sized + Object> InternSet<T> {
    /// An empty set. Allocates nothing.
    pub fn new() -> Self {
        Self::with_hasher(DefaultHashBuilder::default())
    }

    /// An empty set with room for so many members.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut set = Self::new();
        set.members = HashTable::with_capacity_in(capacity, HugePages);
        set
    }
}

impl<T: ?Sized + Object, S> InternSet<T, S> {
    /// An empty set that hashes with `hasher`. Allocates nothing.
    pub const fn with_hasher(hasher: S) -> Self {
        Self { members: HashTable::new_in(HugePages), hasher, watermark: Watermark::new() }
    }

    /// How many members there is room for, dead ones included.
    pub fn capacity(&self) -> usize {
        self.members.capacity()
    }

    /// The number of members, with those counted in that are dead and not removed yet. Never less than
    /// [`live_count`](Self::live_count). Takes constant time.
    pub fn len_upper_bound(&self) -> usize {
        self.members.len()
    }

    /// The number of live members. Looks at every member.
    pub fn live_count<A: Access>(&self, heap: &A) -> usize {
        self.members.iter().filter(|member| !heap.is_dead_long(member.weak)).count()
    }

    /// Whether there is no live member. Looks at members until it finds one.
    pub fn is_empty<A: Access>(&self, heap: &A) -> bool {
        self.members.iter().all(|member| heap.is_dead_long(member.weak))
    }

    /// Removes all members. Keeps the memory. The objects live on, so equal ones may come to exist beside them.
    pub fn clear(&mut self) {
        self.members.clear();
        self.watermark = Watermark::new();
    }

    /// Removes the dead members, and returns how many those were. Gives back memory if few are left.
    ///
    /// Looks at every member. Methods that insert do it by themselves when it is worth it.
    pub fn prune<A: Access>(&mut self, heap: &A) -> usize {
        let before = self.members.len();
        self.members.retain(|member| !heap.is_dead_long(member.weak));
        self.watermark = Watermark::after(self.members.len(), heap.collections());
        if is_sparse(self.members.len(), self.members.capacity()) {
            self.members.shrink_to(2 * self.members.len(), |member| member.hash);
        }
        before - self.members.len()
    }

    #[cold]
    #[inline(never)]
    fn prune_before_growth<A: Access>(&mut self, heap: &A) {
        let collections = heap.collections();
        if self.watermark.is_still_valid(collections) {
            self.watermark = Watermark::after(self.members.len(), collections);
        } else {
            self.prune(heap);
        }
    }

    /// Removes the dead members and gives back all memory that the others do not need.
    pub fn shrink_to_fit<A: Access>(&mut self, heap: &A) {
        self.prune(heap);
        self.members.shrink_to_fit(|member| member.hash);
    }

    /// The live members, in no particular order.
    pub fn iter<'s, A: Access>(&'s self, heap: &'s A) -> impl FusedIterator<Item = A::Handle<T>> + Clone {
        self.members.iter().filter_map(|member| heap.upgrade_long(member.weak))
    }

    /// Weak references to the members, in no particular order. Some may be dead: this needs no heap, so it cannot know.
    pub fn iter_weak(&self) -> impl FusedIterator<Item = WeakLong<T>> + Clone {
        self.members.iter().map(|member| member.weak)
    }

    /// Keeps the live members that `keep` wants, and removes all others.
    ///
    /// If `keep` panics, the members it was not asked about stay.
    #[track_caller]
    pub fn retain<A: Access>(&mut self, heap: &A, mut keep: impl FnMut(A::Handle<T>) -> bool) {
        self.members.retain(|member| heap.upgrade_long(member.weak).is_some_and(&mut keep));
        self.watermark = Watermark::after(self.members.len(), heap.collections());
    }

    /// Adds the only object of its value.
    #[track_caller]
    fn put<A: Access>(&mut self, heap: &A, hash: u64, weak: WeakLong<T>) {
        if self.watermark.is_reached(self.members.len()) {
            self.prune_before_growth(heap);
        }
        self.members.insert_unique(hash, Member { hash, weak }, |member| member.hash);
    }
}

impl<T: ?Sized + Plain, S: BuildHasher> InternSet<T, S> {
    #[track_caller]
    fn find<A: Access, Q: ?Sized + Eq + Hash>(&self, heap: &A, hash: u64, value: &Q) -> Option<A::Handle<T>>
    where
        T: Borrow<Q>,
    {
        let mut found = None;
        self.members.find(hash, |member| {
            // A hash that is equal in full is almost always that of an equal value.
            if member.hash == hash
                && let Some(object) = heap.upgrade_long(member.weak)
                && heap.content::<T>(&object).borrow() == value
            {
                found = Some(object);
            }
            found.is_some()
        });
        found
    }

    /// The object of a value.
    #[track_caller]
    pub fn get<A: Access, Q: ?Sized + Eq + Hash>(&self, heap: &A, value: &Q) -> Option<A::Handle<T>>
    where
        T: Borrow<Q>,
    {
        self.find(heap, self.hasher.hash_one(value), value)
    }

    /// Whether the value has an object.
    #[track_caller]
    pub fn contains<A: Access, Q: ?Sized + Eq + Hash>(&self, heap: &A, value: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.get(heap, value).is_some()
    }

    /// Removes the object of a value and returns it. It lives on, so an equal one may come to exist beside it.
    #[track_caller]
    pub fn remove<A: Access, Q: ?Sized + Eq + Hash>(&mut self, heap: &A, value: &Q) -> Option<A::Handle<T>>
    where
        T: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(value);
        let mut found = None;
        let entry = self.members.find_entry(hash, |member| {
            if member.hash == hash
                && let Some(object) = heap.upgrade_long(member.weak)
                && heap.content::<T>(&object).borrow() == value
            {
                found = Some(object);
            }
            found.is_some()
        });
        entry.ok()?.remove();
        found
    }

    /// The object of the value that `object` has: an equal member, or else `object`, which becomes one.
    ///
    /// # Panics
    ///
    /// If the root belongs to another heap, or there is no memory for the object's weak slot.
    #[track_caller]
    pub fn intern_root(&mut self, heap: &mut Heap, object: &Root<T>) -> Root<T>
    where
        T: Eq + Hash,
    {
        let value = heap.get(object);
        let hash = self.hasher.hash_one(value);
        if let Some(found) = self.find(heap, hash, value) {
            return found;
        }
        let weak = heap.downgrade_long(object);
        self.put(heap, hash, weak);
        object.clone()
    }
}

impl<T: Plain + Eq + Hash, S: BuildHasher> InternSet<T, S> {
    /// The object of a value, made if there is none. May collect before it is made.
    ///
    /// # Panics
    ///
    /// If there is no memory, as for [`Heap::alloc`].
    ///
    /// ```
    /// use lacuna::{Heap, Root, Trace};
    /// use lacuna_collections::InternSet;
    ///
    /// #[derive(Trace, PartialEq, Eq, Hash)]
    /// struct Colour(u8, u8, u8);
    ///
    /// let mut heap = Heap::new();
    /// let mut palette = InternSet::new();
    /// let red = palette.intern(&mut heap, Colour(255, 0, 0));
    /// assert!(Root::ptr_eq(&red, &palette.intern(&mut heap, Colour(255, 0, 0))));
    /// assert!(!Root::ptr_eq(&red, &palette.intern(&mut heap, Colour(0, 0, 255))));
    /// ```
    #[track_caller]
    pub fn intern(&mut self, heap: &mut Heap, value: T) -> Root<T>
    where
        T: Trace<At<'static> = T>,
    {
        let hash = self.hasher.hash_one(&value);
        if let Some(found) = self.find(heap, hash, &value) {
            return found;
        }
        let object = heap.alloc(value);
        let weak = heap.downgrade_long(&object);
        self.put(heap, hash, weak);
        object
    }
}

impl<T: Object + 'static, S: BuildHasher> InternSet<T, S> {
    /// The object of a value, made if there is none: [`intern`](Self::intern) in a scope, where the value may hold edges.
    /// For hash consing, let edges be equal if they lead to the same object.
    ///
    /// # Panics
    ///
    /// If there is no memory, as for [`Mutator::alloc`].
    ///
    /// ```
    /// use std::hash::{Hash, Hasher};
    ///
    /// use lacuna::{Gc, Heap, Trace};
    /// use lacuna_collections::InternSet;
    ///
    /// #[derive(Trace, Clone, Copy)]
    /// struct Term<'gc>(u32, Option<Gc<'gc, Term<'gc>>>);
    ///
    /// impl Term<'_> {
    ///     fn shape(&self) -> (u32, Option<usize>) {
    ///         (self.0, self.1.map(Gc::addr))
    ///     }
    /// }
    /// impl PartialEq for Term<'_> {
    ///     fn eq(&self, other: &Self) -> bool {
    ///         self.shape() == other.shape()
    ///     }
    /// }
    /// impl Eq for Term<'_> {}
    /// impl Hash for Term<'_> {
    ///     fn hash<H: Hasher>(&self, state: &mut H) {
    ///         self.shape().hash(state);
    ///     }
    /// }
    ///
    /// let mut terms: InternSet<Term<'static>> = InternSet::new();
    /// Heap::new().enter(|cx| {
    ///     let leaf = terms.intern_in(cx, Term(1, None));
    ///     let same_leaf = terms.intern_in(cx, Term(1, None));
    ///     let one = terms.intern_in(cx, Term(2, Some(leaf)));
    ///     let two = terms.intern_in(cx, Term(2, Some(same_leaf)));
    ///     assert!(Gc::ptr_eq(one, two));
    /// });
    /// ```
    pub fn intern_in<'gc, U>(&mut self, cx: &Mutator<'gc>, value: U) -> Gc<'gc, U>
    where
        U: Trace<At<'gc> = U> + Object<Of<'static> = T> + Eq + Hash,
        T: Object<Of<'gc> = U>,
    {
        let hash = self.hasher.hash_one(&value);
        let mut found = None;
        self.members.find(hash, |member| {
            if member.hash == hash
                && let Some(object) = cx.upgrade_long(member.weak)
                && *object == value
            {
                found = Some(object);
            }
            found.is_some()
        });
        found.unwrap_or_else(|| {
            let object = cx.alloc(value);
            self.put(cx, hash, object.downgrade_long(cx));
            object
        })
    }
}

impl<S: BuildHasher> InternSet<str, S> {
    /// The object of a string, made if there is none. May collect before it is made.
    ///
    /// # Panics
    ///
    /// If there is no memory, as for [`Heap::alloc_str`].
    #[track_caller]
    pub fn intern_str(&mut self, heap: &mut Heap, text: &str) -> Root<str> {
        let hash = self.hasher.hash_one(text);
        if let Some(found) = self.find(heap, hash, text) {
            return found;
        }
        let object = heap.alloc_str(text);
        let weak = heap.downgrade_long(&object);
        self.put(heap, hash, weak);
        object
    }

    /// [`intern_str`](Self::intern_str), in a scope.
    ///
    /// # Panics
    ///
    /// If there is no memory, as for [`Mutator::alloc_str`].
    pub fn intern_str_in<'gc>(&mut self, cx: &Mutator<'gc>, text: &str) -> Gc<'gc, str> {
        let hash = self.hasher.hash_one(text);
        if let Some(found) = self.find(cx, hash, text) {
            return found;
        }
        let object = cx.alloc_str(text);
        self.put(cx, hash, object.downgrade_long(cx));
        object
    }
}

impl<T: ?Sized + Object, S: Default> Default for InternSet<T, S> {
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

impl<T: ?Sized + Object, S: Clone> Clone for InternSet<T, S> {
    fn clone(&self) -> Self {
        Self { members: self.members.clone(), hasher: self.hasher.clone(), watermark: self.watermark }
    }
}

/// Says how many members there are at most.
impl<T: ?Sized + Object, S> fmt::Debug for InternSet<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InternSet").field("len_upper_bound", &self.len_upper_bound()).finish_non_exhaustive()
    }
}
