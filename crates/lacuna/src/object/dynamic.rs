//! Trait objects.
#![allow(unsafe_code)]

use core::ptr::NonNull;

use super::gc::Gc;
use super::trace::Object;

/// A pointer to a trait object, whatever the trait and its lifetimes.
///
/// It has the size of a pointer to any trait object, checked where it is made; only the type that made one takes it
/// apart again.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Fat(#[allow(dead_code, reason = "taken apart by transmuting")] [*const (); 2]);

impl Fat {
    /// # Safety
    ///
    /// `T` is a trait object type.
    #[doc(hidden)]
    pub const unsafe fn new<T: ?Sized>(pointer: NonNull<T>) -> Self {
        const { assert!(size_of::<NonNull<T>>() == size_of::<Self>()) };
        // SAFETY: both are two words, pointers each.
        unsafe { core::mem::transmute_copy(&pointer) }
    }

    /// # Safety
    ///
    /// It was made from a pointer to `T`, up to lifetimes.
    #[doc(hidden)]
    pub const unsafe fn pointer<T: ?Sized>(self) -> NonNull<T> {
        const { assert!(size_of::<NonNull<T>>() == size_of::<Self>()) };
        // SAFETY: the caller's.
        unsafe { core::mem::transmute_copy(&self) }
    }
}

/// An object that is reached through a pointer to a trait object.
///
/// # Safety
///
/// Implemented by [`trace_dyn!`](crate::trace_dyn) only, for trait objects.
#[doc(hidden)]
pub unsafe trait Dynamic: Object<Metadata = Fat> {}

impl<'gc, T: ?Sized + Object> Gc<'gc, T> {
    /// The same object, as a trait object.
    ///
    /// ```
    /// use lacuna::{Gc, Heap, Trace};
    ///
    /// trait Shape<'gc> {
    ///     fn area(&self) -> f64;
    /// }
    /// lacuna::trace_dyn!(Shape<'gc>);
    ///
    /// #[derive(Trace)]
    /// struct Square(f64);
    /// impl<'gc> Shape<'gc> for Square {
    ///     fn area(&self) -> f64 {
    ///         self.0 * self.0
    ///     }
    /// }
    ///
    /// let mut heap = Heap::new();
    /// heap.enter(|cx| {
    ///     let shape: Gc<dyn Shape> = cx.alloc(Square(3.0)).cast(|square| square as _);
    ///     assert_eq!(shape.area(), 9.0);
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// If the closure returns another object than the one it was given.
    pub fn cast<U>(self, to_dyn: impl for<'x> FnOnce(&'x T) -> &'x U) -> Gc<'gc, U>
    where
        U: ?Sized + Dynamic + Object<Of<'gc> = U>,
    {
        let object = NonNull::from(to_dyn(&self));
        assert_eq!(
            object.cast::<u8>(),
            NonNull::from(&*self).cast::<u8>(),
            "the closure given to Gc::cast must return the object it was given"
        );
        // SAFETY: [INV-GC-1] holds for the cell. The new pointer is only used to reach the trait object, which lies at
        // the start of the object and lives in it: the closure could not have borrowed it from elsewhere, or the
        // addresses would differ. `Dynamic` is implemented for trait objects only.
        unsafe { Gc::from_cell(self.cell(), Fat::new(object)) }
    }
}

/// Lets a [`Gc`](crate::Gc) point to objects of a trait, which has at most one lifetime parameter, its brand.
///
/// See [`Gc::cast`](crate::Gc::cast). Such an object is traced as what it was allocated as, so the trait needs no
/// supertrait.
#[macro_export]
macro_rules! trace_dyn {
    ($name:ident<$brand:lifetime>) => {
        $crate::trace_dyn!(@ $brand, dyn $name<$brand> + $brand, dyn $name<'__other> + '__other);
    };
    ($name:ident) => {
        $crate::trace_dyn!(@ 'gc, dyn $name + 'gc, dyn $name + '__other);
    };
    (@ $brand:lifetime, $here:ty, $there:ty) => {
        // SAFETY: a trait object is only reached through metadata that was made from a pointer to it.
        const _: () = {
            unsafe impl<$brand> $crate::Object for $here {
                type Metadata = $crate::__private::Fat;
                type Of<'__other> = $there;
                const EDGES: bool = true;
                unsafe fn object(
                    _: ::core::ptr::NonNull<u8>,
                    metadata: $crate::__private::Fat,
                ) -> ::core::ptr::NonNull<Self> {
                    unsafe { metadata.pointer() }
                }
                fn stored_type() -> ::core::option::Option<::core::any::TypeId> {
                    ::core::option::Option::None
                }
                fn trace_object<V: $crate::Visitor>(&self, _: &mut V) {
                    ::core::unreachable!("an object is traced as what it was allocated as");
                }
            }
            unsafe impl<$brand> $crate::__private::Dynamic for $here {}
        };
    };
}
