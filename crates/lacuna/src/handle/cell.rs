//! Fields that change: [`GcCell`] and [`GcRefCell`].
//!
//! Objects are shared, so what changes in them lies in a cell, and a cell is written through the object that owns it:
//! `owner.set(cx, |object| &object.field, value)`. So the collector learns which object changed.
//!
//! - `[INV-CELL-1]` A reference to the content of a `GcCell` exists only inside functions of this file, and no user
//!   code runs while it does; so the content may be replaced whenever it does not.
//! - `[INV-CELL-2]` A `GcRefCell` whose `state` is `n > 0` has `n` shared borrows of its content, one whose state is
//!   [`WRITING`] has one exclusive one, and one whose state is 0 has none. The collector reads the content only between
//!   scopes, when no borrow exists, whatever the state says: a guard that was forgotten may have left it behind.
//! - `[INV-CELL-3]` A cell that is written lies within the bytes of the object it is written through.
#![allow(unsafe_code)]

use core::cell::{Cell, UnsafeCell};
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::{self, NonNull};

use super::mutator::Mutator;
use crate::object::gc::Gc;
use crate::object::trace::{Object, Trace, Visitor};

/// A field that can be replaced as a whole, written through its owner with [`Gc::set`].
///
/// ```
/// use lacuna::{Gc, GcCell, Heap, Trace};
///
/// #[derive(Trace)]
/// struct Counter {
///     count: GcCell<u32>,
/// }
///
/// let mut heap = Heap::new();
/// heap.enter(|cx| {
///     let counter = cx.alloc(Counter { count: GcCell::new(1) });
///     counter.set(cx, |counter| &counter.count, 2);
///     assert_eq!(counter.count.get(), 2);
/// });
/// ```
#[repr(transparent)]
pub struct GcCell<T>(UnsafeCell<T>);

impl<T> GcCell<T> {
    /// A cell that holds `value`.
    #[inline(always)]
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// A copy of the content.
    #[inline(always)]
    pub fn get(&self) -> T
    where
        T: Copy,
    {
        // SAFETY: [INV-CELL-1] nobody else has a reference to the content.
        unsafe { *self.0.get() }
    }

    /// The content, of a cell that is not in the heap or not yet.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    /// The content, of a cell that is not in the heap or no longer.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }

    /// Puts a value in, and returns the one that was there.
    #[inline(always)]
    fn replace(&self, value: T) -> T {
        // SAFETY: [INV-CELL-1] nobody else has a reference to the content; the old value is moved out, not dropped.
        unsafe { ptr::replace(self.0.get(), value) }
    }
}

impl<T: Default> Default for GcCell<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for GcCell<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for GcCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GcCell").field(&self.get()).finish()
    }
}

// SAFETY: the content is all there is.
unsafe impl<T: Trace> Trace for GcCell<T> {
    type At<'a> = GcCell<T::At<'a>>;
    const NEEDS_TRACE: bool = T::NEEDS_TRACE;

    #[inline(always)]
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        // SAFETY: [INV-CELL-1] nobody else has a reference to the content, and tracing does not write cells.
        unsafe { &*self.0.get() }.trace(visitor);
    }
}

/// A field that is changed in place, written through its owner with [`Gc::borrow_mut`]; borrows are checked when they
/// are made, as in [`RefCell`](core::cell::RefCell).
///
/// ```
/// use lacuna::{Gc, GcRefCell, Heap, Trace};
///
/// #[derive(Trace)]
/// struct Stack<'gc> {
///     items: GcRefCell<Vec<Gc<'gc, str>>>,
/// }
///
/// let mut heap = Heap::new();
/// heap.enter(|cx| {
///     let stack = cx.alloc(Stack { items: GcRefCell::new(Vec::new()) });
///     stack.borrow_mut(cx, |stack| &stack.items).push(cx.alloc_str("one"));
///     assert_eq!(&**stack.items.borrow().last().unwrap(), "one");
/// });
/// ```
pub struct GcRefCell<T> {
    state: Cell<isize>,
    content: UnsafeCell<T>,
}

/// There is an exclusive borrow.
const WRITING: isize = -1;

impl<T> GcRefCell<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> Self {
        Self { state: Cell::new(0), content: UnsafeCell::new(value) }
    }

    /// Borrows the content for reading.
    ///
    /// # Panics
    ///
    /// If it is borrowed for writing.
    #[track_caller]
    pub fn borrow(&self) -> Ref<'_, T> {
        self.try_borrow().expect("the GcRefCell is borrowed for writing; drop the RefMut first")
    }

    /// Borrows the content for reading, unless it is borrowed for writing.
    pub fn try_borrow(&self) -> Option<Ref<'_, T>> {
        let state = self.state.get();
        if !(0..isize::MAX).contains(&state) {
            return None;
        }
        self.state.set(state + 1);
        // SAFETY: the pointer is that of a field.
        let content = unsafe { NonNull::new_unchecked(self.content.get()) };
        Some(Ref { content, state: &self.state, borrow: PhantomData })
    }

    /// The content, of a cell that is not in the heap or not yet.
    pub fn get_mut(&mut self) -> &mut T {
        self.content.get_mut()
    }

    /// The content, of a cell that is not in the heap or no longer.
    pub fn into_inner(self) -> T {
        self.content.into_inner()
    }

    fn try_borrow_mut(&self) -> Option<RefMut<'_, T>> {
        if self.state.get() != 0 {
            return None;
        }
        self.state.set(WRITING);
        // SAFETY: the pointer is that of a field.
        let content = unsafe { NonNull::new_unchecked(self.content.get()) };
        Some(RefMut { content, state: &self.state, borrow: PhantomData })
    }
}

impl<T: Default> Default for GcRefCell<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for GcRefCell<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for GcRefCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_borrow() {
            Some(content) => f.debug_tuple("GcRefCell").field(&*content).finish(),
            None => f.write_str("GcRefCell(<borrowed for writing>)"),
        }
    }
}

// SAFETY: the content is all there is.
unsafe impl<T: Trace> Trace for GcRefCell<T> {
    type At<'a> = GcRefCell<T::At<'a>>;
    const NEEDS_TRACE: bool = T::NEEDS_TRACE;

    #[inline(always)]
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        // SAFETY: [INV-CELL-2] no exclusive borrow exists outside of scopes, and tracing makes none.
        unsafe { &*self.content.get() }.trace(visitor);
    }
}

/// A borrow of the content of a [`GcRefCell`] for reading.
pub struct Ref<'a, T> {
    /// A pointer, since a reference would have to be the only way to the content for as long as a function has the
    /// `Ref`, even after it has dropped it.
    content: NonNull<T>,
    state: &'a Cell<isize>,
    borrow: PhantomData<&'a T>,
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: [INV-CELL-2] this is a shared borrow, so there is no exclusive one.
        unsafe { self.content.as_ref() }
    }
}

impl<T> Clone for Ref<'_, T> {
    fn clone(&self) -> Self {
        self.state.set(self.state.get().checked_add(1).expect("too many borrows"));
        Self { content: self.content, state: self.state, borrow: PhantomData }
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> Drop for Ref<'_, T> {
    fn drop(&mut self) {
        self.state.set(self.state.get() - 1);
    }
}

/// A borrow of the content of a [`GcRefCell`] for writing.
pub struct RefMut<'a, T> {
    /// A pointer, for the same reason as in [`Ref`].
    content: NonNull<T>,
    state: &'a Cell<isize>,
    borrow: PhantomData<&'a mut T>,
}

impl<T> Deref for RefMut<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: [INV-CELL-2] this is the only borrow.
        unsafe { self.content.as_ref() }
    }
}

impl<T> DerefMut for RefMut<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: [INV-CELL-2] this is the only borrow.
        unsafe { self.content.as_mut() }
    }
}

impl<T: fmt::Debug> fmt::Debug for RefMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> Drop for RefMut<'_, T> {
    fn drop(&mut self) {
        self.state.set(0);
    }
}

impl<'gc, T: ?Sized + Object> Gc<'gc, T> {
    /// Replaces the content of a field, and drops what was in it.
    ///
    /// The closure names the field. It has to lie in the object itself: not in another object, nor in a box or vector
    /// that the object owns (those go into a [`GcRefCell`] as a whole).
    ///
    /// # Panics
    ///
    /// If the closure returns a cell that is not part of this object.
    #[inline(always)]
    #[track_caller]
    pub fn set<V>(self, cx: &Mutator<'gc>, field: impl for<'x> FnOnce(&'x T) -> &'x GcCell<V>, value: V) {
        drop(self.replace(cx, field, value));
    }

    /// Replaces the content of a field, and returns what was in it. Otherwise like [`set`](Self::set).
    ///
    /// # Panics
    ///
    /// If the closure returns a cell that is not part of this object.
    #[inline(always)]
    #[track_caller]
    pub fn replace<V>(self, cx: &Mutator<'gc>, field: impl for<'x> FnOnce(&'x T) -> &'x GcCell<V>, value: V) -> V {
        let cell = field(self.as_ref());
        self.written(cx, ptr::from_ref(cell));
        cell.replace(value)
    }

    /// Borrows a field for writing. The closure names the field, as for [`set`](Self::set).
    ///
    /// # Panics
    ///
    /// If the field is borrowed, or the closure returns a cell that is not part of this object.
    #[track_caller]
    pub fn borrow_mut<V>(
        self,
        cx: &Mutator<'gc>,
        field: impl for<'x> FnOnce(&'x T) -> &'x GcRefCell<V>,
    ) -> RefMut<'gc, V> {
        self.try_borrow_mut(cx, field).expect("the GcRefCell is borrowed; drop the Ref or RefMut first")
    }

    /// Borrows a field for writing, unless it is borrowed.
    ///
    /// # Panics
    ///
    /// If the closure returns a cell that is not part of this object.
    #[track_caller]
    pub fn try_borrow_mut<V>(
        self,
        cx: &Mutator<'gc>,
        field: impl for<'x> FnOnce(&'x T) -> &'x GcRefCell<V>,
    ) -> Option<RefMut<'gc, V>> {
        let cell = field(self.as_ref());
        self.written(cx, ptr::from_ref(cell));
        cell.try_borrow_mut()
    }

    /// `[INV-CELL-3]`, and then the write barrier.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn written<C>(self, cx: &Mutator<'gc>, cell: *const C) {
        let object = self.as_ref();
        let offset = cell.addr().wrapping_sub(ptr::from_ref(object).addr());
        let bytes = size_of_val(object);
        assert!(
            offset <= bytes && size_of::<C>() <= bytes - offset,
            "the cell is not part of the object it is written through: name a field of the object itself, and put boxes \
             and collections into a GcRefCell as a whole"
        );
        if T::EDGES {
            cx.remember(self.cell(), cell.addr() - self.cell().addr().get());
        }
    }
}
