//! [`Gc`]: the pointer to an object, valid within one scope.
//!
//! - `[INV-GC-1]` The cell of a `Gc<'gc, T>` holds an initialised object of the type `T`, up to the brand, and lies in
//!   the heap that `'gc` names. Nothing of that heap is freed while a value with the brand `'gc` can be used: the brand
//!   is made by [`Heap::enter`](crate::Heap::enter) and its like, for a closure during which the heap is borrowed, and
//!   it is invariant, so that it equals no other scope's.
//! - `[INV-GC-2]` An object is never moved, and between its allocation and the end of the last scope in which a `Gc` to
//!   it exists, only shared references to it are made. What changes lies in a [`GcCell`](crate::GcCell) or
//!   [`GcRefCell`](crate::GcRefCell).
#![allow(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;

use super::trace::{Object, Trace, Visitor};

/// A lifetime that equals only itself.
pub(crate) type Brand<'gc> = PhantomData<fn(&'gc ()) -> &'gc ()>;

/// A pointer to an object of the heap, usable within the scope `'gc`.
///
/// It is one word (three for trait objects), `Copy`, and dereferences to the object at the price of a plain pointer. It
/// keeps nothing alive by itself, nor needs to: within the scope nothing is freed. An object that is to outlive the
/// scope is stored in a field of another object, or [rooted](Self::root).
///
/// ```
/// use lacuna::{Gc, Heap};
///
/// let mut heap = Heap::new();
/// let sum = heap.enter(|cx| {
///     let one = cx.alloc(1);
///     let list: Gc<[i32]> = cx.alloc_slice([*one, 2, 3]);
///     list.iter().sum::<i32>()
/// });
/// assert_eq!(sum, 6);
/// ```
pub struct Gc<'gc, T: ?Sized + Object + 'gc> {
    cell: NonNull<u8>,
    metadata: T::Metadata,
    brand: Brand<'gc>,
    object: PhantomData<*const T>,
}

impl<'gc, T: ?Sized + Object> Gc<'gc, T> {
    /// A pointer to the object in `cell`.
    ///
    /// # Safety
    ///
    /// `[INV-GC-1]`; the metadata is that of the object.
    #[inline(always)]
    pub(crate) unsafe fn from_cell(cell: NonNull<u8>, metadata: T::Metadata) -> Self {
        Self { cell, metadata, brand: PhantomData, object: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn cell(self) -> NonNull<u8> {
        self.cell
    }

    #[inline(always)]
    pub(crate) fn metadata(self) -> T::Metadata {
        self.metadata
    }

    /// The object, borrowed for the whole scope instead of for as long as this pointer is.
    #[inline(always)]
    #[expect(clippy::should_implement_trait, reason = "AsRef would borrow the pointer, which is what this avoids")]
    pub fn as_ref(self) -> &'gc T {
        // SAFETY: [INV-GC-1] the cell holds such an object until the scope ends; [INV-GC-2] it is only shared.
        unsafe { T::object(self.cell, self.metadata).as_ref() }
    }

    /// Whether two pointers lead to the same object.
    #[inline]
    pub fn ptr_eq<U: ?Sized + Object>(this: Self, other: Gc<'gc, U>) -> bool {
        this.cell == other.cell
    }

    /// The address of the object: different for all objects alive at the same time, constant while the object lives.
    #[inline]
    pub fn addr(this: Self) -> usize {
        this.cell.addr().get()
    }
}

impl<T: ?Sized + Object> Clone for Gc<'_, T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized + Object> Copy for Gc<'_, T> {}

impl<T: ?Sized + Object> Deref for Gc<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: as in `as_ref`.
        unsafe { T::object(self.cell, self.metadata).as_ref() }
    }
}

/// Prints the address only: the object may lead back here.
impl<T: ?Sized + Object> fmt::Debug for Gc<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gc({:#x})", self.cell.addr())
    }
}

// SAFETY: the only edge is the pointer itself; `At` renames its brand and that of what it leads to.
unsafe impl<T: ?Sized + Object> Trace for Gc<'_, T> {
    type At<'a> = Gc<'a, T::Of<'a>>;
    const NEEDS_TRACE: bool = true;

    #[inline(always)]
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        visitor.edge(*self);
    }
}
