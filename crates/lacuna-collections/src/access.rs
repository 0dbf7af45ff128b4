//! [`Access`]: the two ways to reach a heap, so that every method that only looks is written once.

use lacuna::{Ephemerons, Gc, Heap, Mutator, Object, Root, Weak, WeakLong};

mod sealed {
    pub trait Sealed {}
    impl Sealed for lacuna::Heap {}
    impl Sealed for lacuna::Mutator<'_> {}
}

/// A heap from outside ([`Heap`]) or inside a scope ([`Mutator`]).
///
/// The methods of the collections that take an `&impl Access` take either, and give out what fits: a [`Root`] from
/// outside, a [`Gc`] in a scope.
///
/// ```
/// use lacuna::{Ephemerons, Gc, Heap, Root};
/// use lacuna_collections::WeakValueMap;
///
/// let mut heap = Heap::new();
/// let mut map = WeakValueMap::new();
/// let page = heap.alloc(String::from("<html>"));
/// map.insert(&mut heap, "index", &page);
///
/// let root: Option<Root<String>> = map.get(&heap, "index");
/// assert_eq!(heap.get(&root.unwrap()), "<html>");
/// heap.enter(|cx| {
///     let object: Option<Gc<String>> = map.get(cx, "index");
///     assert_eq!(*object.unwrap(), "<html>");
/// });
/// ```
pub trait Access: sealed::Sealed {
    /// What is given out: [`Root<T>`] or [`Gc<'gc, T>`](Gc).
    type Handle<T: ?Sized + Object + 'static>: Clone;

    #[doc(hidden)]
    fn upgrade<T: ?Sized + Object + 'static>(&self, weak: Weak<T>) -> Option<Self::Handle<T>>;

    #[doc(hidden)]
    fn upgrade_long<T: ?Sized + Object + 'static>(&self, weak: WeakLong<T>) -> Option<Self::Handle<T>>;

    #[doc(hidden)]
    fn is_dead<T: ?Sized + Object + 'static>(&self, weak: Weak<T>) -> bool;

    #[doc(hidden)]
    fn is_dead_long<T: ?Sized + Object + 'static>(&self, weak: WeakLong<T>) -> bool;

    /// The address of the object, which is no other live object's.
    #[doc(hidden)]
    fn addr<T: ?Sized + Object + 'static>(&self, handle: &Self::Handle<T>) -> usize;

    #[doc(hidden)]
    fn content<'h, T: ?Sized + Plain>(&'h self, handle: &'h Self::Handle<T>) -> &'h T;

    #[doc(hidden)]
    fn lookup<K: ?Sized + Object + 'static, V: ?Sized + Object + 'static>(
        &self,
        table: &Root<Table<K, V>>,
        key: &Self::Handle<K>,
    ) -> Option<Self::Handle<V>>;

    #[doc(hidden)]
    fn entries<K: ?Sized + Object + 'static, V: ?Sized + Object + 'static>(
        &self,
        table: &Root<Table<K, V>>,
    ) -> Vec<(Self::Handle<K>, Self::Handle<V>)>;

    #[doc(hidden)]
    fn entry_count<K: ?Sized + Object + 'static, V: ?Sized + Object + 'static>(
        &self,
        table: &Root<Table<K, V>>,
    ) -> usize;

    /// Collections so far.
    #[doc(hidden)]
    fn collections(&self) -> u64;
}

/// The ephemeron table of a [`WeakKeyMap`](crate::WeakKeyMap), in its `'static` form.
pub type Table<K, V> = Ephemerons<Gc<'static, K>, Gc<'static, V>>;

/// An object without edges: its type is the same in every scope. Implemented for all such types.
pub trait Plain: for<'a> Object<Of<'a> = Self> + 'static {}

impl<T: ?Sized + for<'a> Object<Of<'a> = T> + 'static> Plain for T {}

impl Access for Heap {
    type Handle<T: ?Sized + Object + 'static> = Root<T>;

    #[inline]
    #[track_caller]
    fn upgrade<T: ?Sized + Object + 'static>(&self, weak: Weak<T>) -> Option<Root<T>> {
        self.upgrade(weak)
    }

    #[inline]
    #[track_caller]
    fn upgrade_long<T: ?Sized + Object + 'static>(&self, weak: WeakLong<T>) -> Option<Root<T>> {
        self.upgrade_long(weak)
    }

    #[inline]
    #[track_caller]
    fn is_dead<T: ?Sized + Object + 'static>(&self, weak: Weak<T>) -> bool {
        self.is_dead(weak)
    }

    #[inline]
    #[track_caller]
    fn is_dead_long<T: ?Sized + Object + 'static>(&self, weak: WeakLong<T>) -> bool {
        self.is_dead_long(weak)
    }

    #[inline]
    #[track_caller]
    #[expect(clippy::redundant_closure, reason = "the path names the function for one scope only")]
    fn addr<T: ?Sized + Object + 'static>(&self, root: &Root<T>) -> usize {
        self.with(root, |object| Gc::addr(object))
    }

    #[inline]
    #[track_caller]
    fn content<'h, T: ?Sized + Plain>(&'h self, root: &'h Root<T>) -> &'h T {
        self.get(root)
    }

    #[inline]
    #[track_caller]
    fn lookup<K: ?Sized + Object + 'static, V: ?Sized + Object + 'static>(
        &self,
        table: &Root<Table<K, V>>,
        key: &Root<K>,
    ) -> Option<Root<V>> {
        self.read(|reader| {
            let value = reader.get(table).get(reader.get(key))?;
            Some(reader.root::<V>(value))
        })
    }

    fn entries<K: ?Sized + Object + 'static, V: ?Sized + Object + 'static>(
        &self,
        table: &Root<Table<K, V>>,
    ) -> Vec<(Root<K>, Root<V>)> {
        self.read(|reader| {
            let entries = reader.get(table).entries();
            entries.into_iter().map(|(key, value)| (reader.root::<K>(key), reader.root::<V>(value))).collect()
        })
    }

    fn entry_count<K: ?Sized + Object + 'static, V: ?Sized + Object + 'static>(
        &self,
        table: &Root<Table<K, V>>,
    ) -> usize {
        self.with(table, |table| table.live_count())
    }

    fn collections(&self) -> u64 {
        self.stats().collections
    }
}

impl<'gc> Access for Mutator<'gc> {
    type Handle<T: ?Sized + Object + 'static> = Gc<'gc, T::Of<'gc>>;

    #[inline]
    #[track_caller]
    fn upgrade<T: ?Sized + Object + 'static>(&self, weak: Weak<T>) -> Option<Gc<'gc, T::Of<'gc>>> {
        self.upgrade(weak)
    }

    #[inline]
    #[track_caller]
    fn upgrade_long<T: ?Sized + Object + 'static>(&self, weak: WeakLong<T>) -> Option<Gc<'gc, T::Of<'gc>>> {
        self.upgrade_long(weak)
    }

    #[inline]
    #[track_caller]
    fn is_dead<T: ?Sized + Object + 'static>(&self, weak: Weak<T>) -> bool {
        self.is_dead(weak)
    }

    #[inline]
    #[track_caller]
    fn is_dead_long<T: ?Sized + Object + 'static>(&self, weak: WeakLong<T>) -> bool {
        self.upgrade_long(weak).is_none()
    }

    #[inline]
    fn addr<T: ?Sized + Object + 'static>(&self, object: &Gc<'gc, T::Of<'gc>>) -> usize {
        Gc::addr(*object)
    }

    #[inline]
    fn content<'h, T: ?Sized + Plain>(&'h self, object: &'h Gc<'gc, T::Of<'gc>>) -> &'h T {
        object
    }

    #[inline]
    #[track_caller]
    fn lookup<K: ?Sized + Object + 'static, V: ?Sized + Object + 'static>(
        &self,
        table: &Root<Table<K, V>>,
        key: &Gc<'gc, K::Of<'gc>>,
    ) -> Option<Gc<'gc, V::Of<'gc>>> {
        table.get(self).get(*key)
    }

    fn entries<K: ?Sized + Object + 'static, V: ?Sized + Object + 'static>(
        &self,
        table: &Root<Table<K, V>>,
    ) -> Vec<(Gc<'gc, K::Of<'gc>>, Gc<'gc, V::Of<'gc>>)> {
        table.get(self).entries()
    }

    fn entry_count<K: ?Sized + Object + 'static, V: ?Sized + Object + 'static>(
        &self,
        table: &Root<Table<K, V>>,
    ) -> usize {
        table.get(self).live_count()
    }

    fn collections(&self) -> u64 {
        self.stats().collections
    }
}
