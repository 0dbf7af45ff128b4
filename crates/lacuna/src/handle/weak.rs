//! [`Weak`] and [`WeakLong`]: references that observe without owning.
#![allow(unsafe_code)]

use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use super::mutator::Mutator;
use crate::edges::roots::HeapId;
use crate::edges::weak::{Kind, SlotIndex};
use crate::error::Exhausted;
use crate::object::gc::Gc;
use crate::object::trace::{Object, Trace, Visitor};

/// What a weak reference of either kind consists of. Equality and hash are those of the observed object's identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct WeakId {
    /// `None`: never had a target.
    pub(crate) heap: Option<HeapId>,
    pub(crate) slot: SlotIndex,
    pub(crate) generation: u32,
}

/// The id of references that never had a target.
const NULL: WeakId = WeakId { heap: None, slot: 0, generation: 0 };

macro_rules! weak_reference {
    ($(#[$doc:meta])* $name:ident, $kind:expr, $null:literal) => {
        $(#[$doc])*
        pub struct $name<T: ?Sized + Object + 'static> {
            id: WeakId,
            /// Initialised unless the id is `NULL`.
            metadata: MaybeUninit<T::Metadata>,
            object: PhantomData<*const T>,
        }

        impl<T: ?Sized + Object> $name<T> {
            /// # Safety
            ///
            /// The id is that of an object of this type, up to the brand, and the metadata is that of the object.
            #[inline(always)]
            pub(crate) unsafe fn new(id: WeakId, metadata: T::Metadata) -> Self {
                Self { id, metadata: MaybeUninit::new(metadata), object: PhantomData }
            }

            #[doc = $null]
            pub const fn null() -> Self {
                Self { id: NULL, metadata: MaybeUninit::uninit(), object: PhantomData }
            }

            #[inline(always)]
            pub(crate) fn id(self) -> WeakId {
                self.id
            }

            /// # Safety
            ///
            /// The reference had a target.
            #[inline(always)]
            pub(crate) unsafe fn metadata(self) -> T::Metadata {
                // SAFETY: only references without target have none.
                unsafe { self.metadata.assume_init() }
            }

            pub(crate) const KIND: Kind = $kind;
        }

        impl<T: ?Sized + Object> Clone for $name<T> {
            #[inline(always)]
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T: ?Sized + Object> Copy for $name<T> {}

        impl<T: ?Sized + Object> PartialEq for $name<T> {
            #[inline]
            fn eq(&self, other: &Self) -> bool {
                self.id == other.id
            }
        }

        impl<T: ?Sized + Object> Eq for $name<T> {}

        impl<T: ?Sized + Object> Hash for $name<T> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.id.hash(state);
            }
        }

        impl<T: ?Sized + Object> Default for $name<T> {
            fn default() -> Self {
                Self::null()
            }
        }

        /// Prints numbers only: the object is not touched, and may be gone.
        impl<T: ?Sized + Object> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.id.heap {
                    Some(_) => write!(f, "{}({}:{})", stringify!($name), self.id.slot, self.id.generation),
                    None => write!(f, "{}(null)", stringify!($name)),
                }
            }
        }

        // SAFETY: it is not an edge, and its type is 'static.
        unsafe impl<T: ?Sized + Object> Trace for $name<T> {
            type At<'a> = Self;
            const NEEDS_TRACE: bool = false;
            #[inline(always)]
            fn trace<V: Visitor>(&self, _: &mut V) {}
        }
    };
}

weak_reference! {
    /// A reference that does not keep its object alive, and reads dead from the moment the object stops being strongly
    /// reachable.
    ///
    /// All weak references to an object die in the same collection, before any callback runs and before its memory is
    /// reused. If a guardian brings the object back they stay dead; new ones can be made.
    ///
    /// It is 12 bytes (more for trait objects), `Copy`, and may be stored anywhere, in the heap or out of it, longer than
    /// object and heap live. Two are equal if they were made of the same object, dead or alive. It names the stored type
    /// in its `'static` form, like [`Root`](crate::Root).
    ///
    /// Every object can be observed; one that is takes 16 bytes in a table (24 with a cleanup or guardian), and its block
    /// 4 for each of its cells and 128 more.
    ///
    /// ```
    /// use lacuna::Heap;
    ///
    /// let mut heap = Heap::new();
    /// let page = heap.alloc(String::from("<html>"));
    /// let cached = heap.downgrade(&page);
    /// assert!(heap.upgrade(cached).is_some());
    /// drop(page);
    /// heap.collect();
    /// assert!(heap.upgrade(cached).is_none());
    /// ```
    Weak, Kind::Short, "A reference that never had a target. It reads dead and equals only its like."
}

weak_reference! {
    /// Like [`Weak`](crate::Weak), but it reads dead only when the object is gone for good: a guardian that brings the
    /// object back keeps it alive.
    ///
    /// For tables in which an object must not be found missing and made a second time while it still exists: interning,
    /// identity tables.
    WeakLong, Kind::Long, "A reference that never had a target. It reads dead and equals only its like."
}

impl<'gc, T: ?Sized + Object> Gc<'gc, T> {
    /// A weak reference to the object. No collection runs.
    ///
    /// # Panics
    ///
    /// If there is no memory for the object's weak slot.
    #[inline]
    pub fn downgrade(self, cx: &Mutator<'gc>) -> Weak<T::Of<'static>> {
        // SAFETY: the id is that of this object, whose type `Of` renames the brand of.
        unsafe { Weak::new(cx.observe(self, Kind::Short), self.metadata()) }
    }

    /// A long weak reference to the object. No collection runs.
    ///
    /// # Panics
    ///
    /// If there is no memory for the object's weak slot.
    #[inline]
    pub fn downgrade_long(self, cx: &Mutator<'gc>) -> WeakLong<T::Of<'static>> {
        // SAFETY: as above.
        unsafe { WeakLong::new(cx.observe(self, Kind::Long), self.metadata()) }
    }

    /// [`downgrade`](Self::downgrade), with an error instead of a panic.
    ///
    /// # Errors
    ///
    /// If there is no memory for the object's weak slot.
    pub fn try_downgrade(self, cx: &Mutator<'gc>) -> Result<Weak<T::Of<'static>>, Exhausted> {
        let id = cx.try_observe(self, Kind::Short)?;
        // SAFETY: as above.
        Ok(unsafe { Weak::new(id, self.metadata()) })
    }

    /// [`downgrade_long`](Self::downgrade_long), with an error instead of a panic.
    ///
    /// # Errors
    ///
    /// If there is no memory for the object's weak slot.
    pub fn try_downgrade_long(self, cx: &Mutator<'gc>) -> Result<WeakLong<T::Of<'static>>, Exhausted> {
        let id = cx.try_observe(self, Kind::Long)?;
        // SAFETY: as above.
        Ok(unsafe { WeakLong::new(id, self.metadata()) })
    }
}
