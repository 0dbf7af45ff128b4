//! Guardians: getting an object back when nobody else holds it.
#![allow(unsafe_code)]

use core::any::TypeId;
use core::fmt;

use super::root::Root;
use crate::edges::finalizers::RegistrationId;
use crate::edges::roots::{HeapId, RootSlot};
use crate::object::descriptor::ObjectRef;
use crate::object::trace::Object;

/// Names a guardian. Made by [`Heap::guard`](crate::Heap::guard).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Guard {
    pub(crate) id: RegistrationId,
    pub(crate) heap: HeapId,
}

/// An object that became unreachable and was handed back by its guardian.
#[derive(Debug)]
pub struct Guarded {
    /// The object, alive again for as long as this root lives.
    pub object: AnyRoot,
    /// What the guardian was registered with.
    pub tag: u64,
}

/// A root of an object whose type is not known at compile time.
pub struct AnyRoot {
    slot: RootSlot,
    type_id: TypeId,
    type_name: &'static str,
}

impl AnyRoot {
    pub(crate) fn new(slot: RootSlot, object: ObjectRef) -> Self {
        let descriptor = object.descriptor();
        Self { slot, type_id: (descriptor.type_id)(), type_name: (descriptor.type_name)() }
    }

    /// Whether the object is stored as a `T`, written in its `'static` form.
    pub fn is<T: ?Sized + Object>(&self) -> bool {
        T::stored_type() == Some(self.type_id)
    }

    /// The name of the type that the object is stored as, for people.
    pub fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// The root of a `T`, if the object is stored as one.
    ///
    /// # Errors
    ///
    /// Gives the root back if it is not.
    pub fn downcast<T: ?Sized + Object<Metadata = ()>>(self) -> Result<Root<T>, Self> {
        if self.is::<T>() {
            // SAFETY: the slot holds an object whose type in its static form has the identity of that of `T`.
            Ok(unsafe { Root::from_slot(self.slot, ()) })
        } else {
            Err(self)
        }
    }
}

impl<T: ?Sized + Object<Metadata = ()>> From<Root<T>> for AnyRoot {
    fn from(root: Root<T>) -> Self {
        // The object is not asked: the heap may be gone.
        let type_id = T::stored_type().expect("an object that needs no metadata is stored as what it is");
        Self { slot: root.into_slot(), type_id, type_name: core::any::type_name::<T>() }
    }
}

impl fmt::Debug for AnyRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyRoot<{}>", self.type_name())
    }
}
