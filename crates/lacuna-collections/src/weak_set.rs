//! [`WeakSet`]: objects by identity, not kept alive.
//!
//! A table of `(address, weak reference)`, hashed by address: an object never moves, and no other live object has its
//! address. So an object can be looked for without observing it. A dead member with the address of a live object is told
//! apart by its reference.

use core::fmt;
use core::iter::FusedIterator;

use hashbrown::hash_table::{self, HashTable};
use lacuna::{Gc, Heap, HugePages, Mutator, Object, Root, Trace, Weak};

use crate::access::Access;
use crate::pruning::{Watermark, is_sparse};
use crate::show::Show;

/// A set of objects, by identity, that does not keep them alive. A member that has died is absent, for every method.
///
/// What only looks takes a `&Heap` or a `&Mutator` and gives out roots or scope pointers; see [`Access`]. What begins to
/// observe an object takes `&mut Heap` and a root, or, with the ending `_in`, a scope and its pointer.
///
/// It holds no edges, so it may live outside of the heap or be a field of an object, there in a
/// [`GcRefCell`](lacuna::GcRefCell). The order of its members is no particular one, and differs from run to run.
///
/// ```
/// use lacuna::Heap;
/// use lacuna_collections::WeakSet;
///
/// let mut heap = Heap::new();
/// let (one, two) = (heap.alloc("session"), heap.alloc("session"));
/// let mut sessions = WeakSet::new();
/// sessions.insert(&mut heap, &one);
/// assert!(sessions.contains(&heap, &one));
/// assert!(!sessions.contains(&heap, &two)); // equal, but another
///
/// drop(one);
/// heap.collect();
/// assert!(sessions.is_empty(&heap));
/// ```
///
/// # Size
///
/// A member takes 24 bytes, and the object a weak slot of the heap. Dead members are removed as in a
/// [`WeakValueMap`](crate::WeakValueMap).
///
/// # Panics
///
/// Methods that are given another heap than that of the objects panic.
#[derive(Trace)]
pub struct WeakSet<#[trace(fixed)] T: ?Sized + Object + 'static> {
    #[trace(skip)]
    members: HashTable<Member<T>, HugePages>,
    watermark: Watermark,
}

struct Member<T: ?Sized + Object + 'static> {
    addr: usize,
    weak: Weak<T>,
}

impl<T: ?Sized + Object> Clone for Member<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized + Object> Copy for Member<T> {}

/// Cells of one type are as far apart as they are large, so the low bits alone would collide.
#[inline]
fn hash(addr: usize) -> u64 {
    let product = (addr as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    product ^ (product >> 32)
}

fn rehash<T: ?Sized + Object>(member: &Member<T>) -> u64 {
    hash(member.addr)
}

impl<T: ?Sized + Object> WeakSet<T> {
    /// An empty set. Allocates nothing.
    pub const fn new() -> Self {
        Self { members: HashTable::new_in(HugePages), watermark: Watermark::new() }
    }

    /// An empty set with room for so many members.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { members: HashTable::with_capacity_in(capacity, HugePages), watermark: Watermark::new() }
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
    ///
    /// It is exact now, and an upper bound after the next collection.
    pub fn live_count<A: Access>(&self, heap: &A) -> usize {
        self.members.iter().filter(|member| !heap.is_dead(member.weak)).count()
    }

    /// Whether there is no live member. Looks at members until it finds one.
    pub fn is_empty<A: Access>(&self, heap: &A) -> bool {
        self.members.iter().all(|member| heap.is_dead(member.weak))
    }

    /// Removes all members. Keeps the memory.
    pub fn clear(&mut self) {
        self.members.clear();
        self.watermark = Watermark::new();
    }

    /// Makes room for so many more members, after removing the dead ones if there is none.
    pub fn reserve<A: Access>(&mut self, heap: &A, additional: usize) {
        if self.members.capacity() - self.members.len() < additional {
            self.prune(heap);
            self.members.reserve(additional, rehash);
        }
    }

    /// Removes the dead members, and returns how many those were. Gives back memory if few are left.
    ///
    /// Looks at every member. Methods that insert do it by themselves when it is worth it.
    pub fn prune<A: Access>(&mut self, heap: &A) -> usize {
        let before = self.members.len();
        self.members.retain(|member| !heap.is_dead(member.weak));
        self.watermark = Watermark::after(self.members.len(), heap.collections());
        if is_sparse(self.members.len(), self.members.capacity()) {
            self.members.shrink_to(2 * self.members.len(), rehash);
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
        self.members.shrink_to_fit(rehash);
    }

    /// Adds an object. Returns whether it is new.
    ///
    /// # Panics
    ///
    /// If the root belongs to another heap, or there is no memory for the object's weak slot.
    #[track_caller]
    pub fn insert(&mut self, heap: &mut Heap, object: &Root<T>) -> bool {
        let addr = Access::addr(heap, object);
        let weak = heap.downgrade(object);
        self.put(heap, Member { addr, weak })
    }

    /// [`insert`](Self::insert), in a scope.
    ///
    /// # Panics
    ///
    /// If there is no memory for the object's weak slot.
    pub fn insert_in<'gc, U: ?Sized + Object<Of<'static> = T>>(
        &mut self,
        cx: &Mutator<'gc>,
        object: Gc<'gc, U>,
    ) -> bool {
        let weak = object.downgrade(cx);
        self.put(cx, Member { addr: Gc::addr(object), weak })
    }

    /// Adds the object of a weak reference. Returns whether it is alive and new.
    #[track_caller]
    pub fn insert_weak<A: Access>(&mut self, heap: &A, weak: Weak<T>) -> bool {
        let addr = heap.upgrade(weak).map(|object| heap.addr(&object));
        addr.is_some_and(|addr| self.put(heap, Member { addr, weak }))
    }

    /// Adds the objects of weak references that are alive.
    #[track_caller]
    pub fn extend<A: Access>(&mut self, heap: &A, weak: impl IntoIterator<Item = Weak<T>>) {
        for weak in weak {
            self.insert_weak(heap, weak);
        }
    }

    /// Puts a live member in. Returns whether it is new.
    #[track_caller]
    fn put<A: Access>(&mut self, heap: &A, new: Member<T>) -> bool {
        if self.watermark.is_reached(self.members.len()) {
            self.prune_before_growth(heap);
        }
        match self.members.entry(hash(new.addr), |member| member.addr == new.addr, rehash) {
            // The object that had the address before, or this one.
            hash_table::Entry::Occupied(mut entry) => {
                core::mem::replace(&mut entry.get_mut().weak, new.weak) != new.weak
            }
            hash_table::Entry::Vacant(entry) => {
                entry.insert(new);
                true
            }
        }
    }

    /// Whether it has this member, given that the member is alive.
    fn has(&self, live: &Member<T>) -> bool {
        self.members.find(hash(live.addr), |member| member.addr == live.addr).is_some_and(|m| m.weak == live.weak)
    }

    /// Whether the object is a member. Does not observe it, nor extend its life.
    #[track_caller]
    pub fn contains<A: Access>(&self, heap: &A, object: &A::Handle<T>) -> bool {
        let addr = heap.addr(object);
        self.members.find(hash(addr), |member| member.addr == addr).is_some_and(|m| !heap.is_dead(m.weak))
    }

    /// Removes an object. Returns whether it was a member.
    #[track_caller]
    pub fn remove<A: Access>(&mut self, heap: &A, object: &A::Handle<T>) -> bool {
        let addr = heap.addr(object);
        match self.members.find_entry(hash(addr), |member| member.addr == addr) {
            Ok(entry) => !heap.is_dead(entry.remove().0.weak),
            Err(_) => false,
        }
    }

    /// Removes some live member and returns it; `None` if there is none.
    #[track_caller]
    pub fn pop<A: Access>(&mut self, heap: &A) -> Option<A::Handle<T>> {
        let (found, object) = self.members.iter_buckets().find_map(|bucket| {
            let object = heap.upgrade(self.members.get_bucket(bucket)?.weak)?;
            Some((bucket, object))
        })?;
        self.members.get_bucket_entry(found).ok()?.remove();
        Some(object)
    }

    /// Keeps the live members that `keep` wants, and removes all others.
    ///
    /// If `keep` panics, the members it was not asked about stay.
    #[track_caller]
    pub fn retain<A: Access>(&mut self, heap: &A, mut keep: impl FnMut(A::Handle<T>) -> bool) {
        self.members.retain(|member| heap.upgrade(member.weak).is_some_and(&mut keep));
        self.watermark = Watermark::after(self.members.len(), heap.collections());
    }

    /// Removes all members and returns the live ones. Keeps the memory.
    pub fn drain<'s, A: Access>(&'s mut self, heap: &'s A) -> impl FusedIterator<Item = A::Handle<T>> {
        self.watermark = Watermark::new();
        self.members.drain().filter_map(|member| heap.upgrade(member.weak))
    }

    /// The live members.
    ///
    /// The heap is borrowed meanwhile, so none dies. To collect between members, use a [`cursor`](Self::cursor).
    pub fn iter<'s, A: Access>(&'s self, heap: &'s A) -> impl FusedIterator<Item = A::Handle<T>> + Clone {
        self.members.iter().filter_map(|member| heap.upgrade(member.weak))
    }

    /// A walk over the members during which the heap may be used in any way, and collected. It gives out those that are
    /// alive at that moment.
    pub fn cursor(&self) -> Cursor<'_, T> {
        Cursor { members: self.members.iter() }
    }

    /// Weak references to the members. Some may be dead: this needs no heap, so it cannot know.
    pub fn iter_weak(&self) -> impl FusedIterator<Item = Weak<T>> + Clone {
        self.members.iter().map(|member| member.weak)
    }

    fn live<'s, A: Access>(&'s self, heap: &'s A) -> impl FusedIterator<Item = &'s Member<T>> + Clone {
        self.members.iter().filter(|member| !heap.is_dead(member.weak))
    }

    /// The objects that are members of both.
    ///
    /// ```
    /// use lacuna::{Heap, Root};
    /// use lacuna_collections::WeakSet;
    ///
    /// let mut heap = Heap::new();
    /// let objects: Vec<Root<u32>> = (0..6).map(|i| heap.alloc(i)).collect();
    /// let (mut even, mut small) = (WeakSet::new(), WeakSet::new());
    /// objects.iter().step_by(2).for_each(|object| assert!(even.insert(&mut heap, object)));
    /// objects.iter().take(3).for_each(|object| assert!(small.insert(&mut heap, object)));
    ///
    /// let mut both: Vec<u32> = even.intersection(&heap, &small).map(|object| *heap.get(&object)).collect();
    /// both.sort();
    /// assert_eq!(both, [0, 2]);
    /// ```
    pub fn intersection<'s, A: Access>(
        &'s self,
        heap: &'s A,
        other: &'s Self,
    ) -> impl FusedIterator<Item = A::Handle<T>> + Clone {
        self.live(heap).filter(|member| other.has(member)).filter_map(|member| heap.upgrade(member.weak))
    }

    /// The members that are not members of `other`.
    pub fn difference<'s, A: Access>(
        &'s self,
        heap: &'s A,
        other: &'s Self,
    ) -> impl FusedIterator<Item = A::Handle<T>> + Clone {
        self.live(heap).filter(|member| !other.has(member)).filter_map(|member| heap.upgrade(member.weak))
    }

    /// The objects that are members of one of them or both, each once.
    pub fn union<'s, A: Access>(
        &'s self,
        heap: &'s A,
        other: &'s Self,
    ) -> impl FusedIterator<Item = A::Handle<T>> + Clone {
        self.iter(heap).chain(other.difference(heap, self))
    }

    /// The objects that are members of one of them and not of the other.
    pub fn symmetric_difference<'s, A: Access>(
        &'s self,
        heap: &'s A,
        other: &'s Self,
    ) -> impl FusedIterator<Item = A::Handle<T>> + Clone {
        self.difference(heap, other).chain(other.difference(heap, self))
    }

    /// Adds the members of `other`.
    #[track_caller]
    pub fn union_with<A: Access>(&mut self, heap: &A, other: &Self) {
        for member in other.live(heap) {
            self.put(heap, *member);
        }
    }

    /// Removes what is not a member of `other`.
    #[track_caller]
    pub fn intersection_with<A: Access>(&mut self, heap: &A, other: &Self) {
        self.retain_members(heap, |member| other.has(member));
    }

    /// Removes the members of `other`.
    #[track_caller]
    pub fn difference_with<A: Access>(&mut self, heap: &A, other: &Self) {
        self.retain_members(heap, |member| !other.has(member));
    }

    /// Removes the members of `other`, and adds those that were not members.
    #[track_caller]
    pub fn symmetric_difference_with<A: Access>(&mut self, heap: &A, other: &Self) {
        for member in other.live(heap) {
            match self.members.find_entry(hash(member.addr), |own| own.addr == member.addr) {
                Ok(entry) if entry.get().weak == member.weak => drop(entry.remove()),
                _ => drop(self.put(heap, *member)),
            }
        }
    }

    fn retain_members<A: Access>(&mut self, heap: &A, mut keep: impl FnMut(&Member<T>) -> bool) {
        self.members.retain(|member| !heap.is_dead(member.weak) && keep(member));
        self.watermark = Watermark::after(self.members.len(), heap.collections());
    }

    /// Whether every member is a member of `other`.
    #[track_caller]
    pub fn is_subset<A: Access>(&self, heap: &A, other: &Self) -> bool {
        self.live(heap).all(|member| other.has(member))
    }

    /// Whether every member of `other` is a member.
    #[track_caller]
    pub fn is_superset<A: Access>(&self, heap: &A, other: &Self) -> bool {
        other.is_subset(heap, self)
    }

    /// Whether they have no member in common.
    #[track_caller]
    pub fn is_disjoint<A: Access>(&self, heap: &A, other: &Self) -> bool {
        !self.live(heap).any(|member| other.has(member))
    }

    /// Whether they have the same members.
    #[track_caller]
    pub fn is_equal<A: Access>(&self, heap: &A, other: &Self) -> bool {
        self.is_subset(heap, other) && other.is_subset(heap, self)
    }

    /// Shows the weak references to the live members.
    pub fn debug<'s, A: Access>(&'s self, heap: &'s A) -> impl fmt::Debug + 's {
        Show(move |f: &mut fmt::Formatter<'_>| {
            f.debug_set().entries(self.live(heap).map(|member| member.weak)).finish()
        })
    }
}

impl<T: ?Sized + Object> Default for WeakSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: ?Sized + Object> Clone for WeakSet<T> {
    fn clone(&self) -> Self {
        Self { members: self.members.clone(), watermark: self.watermark }
    }
}

/// Says how many members there are at most. For the members see [`debug`](WeakSet::debug), which needs the heap.
impl<T: ?Sized + Object> fmt::Debug for WeakSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakSet").field("len_upper_bound", &self.len_upper_bound()).finish_non_exhaustive()
    }
}

/// A walk over a [`WeakSet`] that does not borrow the heap. Made by [`WeakSet::cursor`].
pub struct Cursor<'s, T: ?Sized + Object + 'static> {
    members: hash_table::Iter<'s, Member<T>>,
}

impl<T: ?Sized + Object> Cursor<'_, T> {
    /// The next member that is alive now.
    #[track_caller]
    pub fn next<A: Access>(&mut self, heap: &A) -> Option<A::Handle<T>> {
        self.members.find_map(|member| heap.upgrade(member.weak))
    }

    /// How many members the walk will give out at most.
    pub fn left_upper_bound(&self) -> usize {
        self.members.len()
    }
}

impl<T: ?Sized + Object> Clone for Cursor<'_, T> {
    fn clone(&self) -> Self {
        Self { members: self.members.clone() }
    }
}

impl<T: ?Sized + Object> fmt::Debug for Cursor<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("left_upper_bound", &self.left_upper_bound()).finish_non_exhaustive()
    }
}
