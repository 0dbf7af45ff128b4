//! [`Root`]: what keeps an object alive from outside the heap.
#![allow(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;

use super::mutator::Mutator;
use crate::edges::roots::RootSlot;
use crate::error::WrongHeap;
use crate::object::descriptor::ObjectRef;
use crate::object::gc::Gc;
use crate::object::trace::{Object, Trace, Visitor};

/// A strong reference to an object from outside the heap. The object lives at least as long as the root.
///
/// It names the stored type in its `'static` form: `Root<Node<'static>>` for a `Node<'gc>`. Making, cloning and
/// dropping one takes constant time, and no collection runs. It is one word (three for trait objects). It may outlive
/// its heap; it can then only be dropped.
///
/// Rust drops a root at the end of its scope, never earlier, so an object needs no other means to be kept alive while
/// native code uses it.
///
/// ```
/// use lacuna::{Heap, Root};
///
/// let mut heap = Heap::new();
/// let name: Root<str> = heap.enter(|cx| cx.alloc_str("lacuna").root(cx));
/// heap.collect();
/// assert_eq!(heap.get(&name), "lacuna");
/// ```
pub struct Root<T: ?Sized + Object + 'static> {
    slot: RootSlot,
    metadata: T::Metadata,
    object: PhantomData<*const T>,
}

impl<T: ?Sized + Object> Root<T> {
    /// # Safety
    ///
    /// The slot holds an object of this type, up to the brand, and the metadata is that of the object.
    #[inline(always)]
    pub(crate) unsafe fn from_slot(slot: RootSlot, metadata: T::Metadata) -> Self {
        Self { slot, metadata, object: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn slot(&self) -> &RootSlot {
        &self.slot
    }

    pub(crate) fn into_slot(self) -> RootSlot {
        self.slot
    }

    pub(crate) fn metadata(&self) -> T::Metadata {
        self.metadata
    }

    /// The object, as a pointer of the scope.
    ///
    /// # Panics
    ///
    /// If the root belongs to another heap.
    #[inline]
    #[track_caller]
    pub fn get<'gc>(&self, cx: &Mutator<'gc>) -> Gc<'gc, T::Of<'gc>> {
        match self.try_get(cx) {
            Ok(object) => object,
            Err(error) => panic!("{error}"),
        }
    }

    /// The object, as a pointer of the scope.
    ///
    /// # Errors
    ///
    /// If the root belongs to another heap.
    #[inline]
    pub fn try_get<'gc>(&self, cx: &Mutator<'gc>) -> Result<Gc<'gc, T::Of<'gc>>, WrongHeap> {
        if !cx.owns(&self.slot) {
            return Err(WrongHeap);
        }
        // SAFETY: [INV-ROOT-3] the slot keeps an object of this type alive, in the heap of the scope. `Of` renames the
        // brand only.
        Ok(unsafe { Gc::from_cell(self.slot.cell(), self.metadata) })
    }

    /// Whether two roots keep the same object alive.
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        this.slot.heap() == other.slot.heap() && this.slot.cell() == other.slot.cell()
    }
}

impl<T: ?Sized + Object> Clone for Root<T> {
    #[inline]
    fn clone(&self) -> Self {
        Self { slot: self.slot.duplicate(), metadata: self.metadata, object: PhantomData }
    }
}

/// Prints neither the object nor its address, which would mean nothing once the heap is gone.
impl<T: ?Sized + Object> fmt::Debug for Root<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root<{}>", core::any::type_name::<T>())
    }
}

// SAFETY: a root has no brand. It is strong by itself, so the collector need not be led to its target; a root in an
// object of the same heap keeps itself and everything it leads to alive until it is dropped by other means.
unsafe impl<T: ?Sized + Object> Trace for Root<T> {
    type At<'a> = Self;
    /// So that checks for objects that keep themselves alive see it.
    const NEEDS_TRACE: bool = true;

    fn trace<V: Visitor>(&self, visitor: &mut V) {
        visitor.rooted(self.slot.table().token(), self.slot.cell());
    }
}

impl<'gc, T: ?Sized + Object> Gc<'gc, T> {
    /// A root of the object. No collection runs.
    #[inline]
    pub fn root(self, cx: &Mutator<'gc>) -> Root<T::Of<'static>> {
        // SAFETY: [INV-GC-1] the cell holds an object, in the heap of the scope.
        let slot = cx.roots().take(unsafe { ObjectRef::new(self.cell()) });
        // SAFETY: the slot holds that object; `Of` renames the brand only.
        unsafe { Root::from_slot(slot, self.metadata()) }
    }
}
