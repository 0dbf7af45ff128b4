//! The contract between a type and the collector: [`Trace`], [`Object`] and [`Visitor`].
#![allow(unsafe_code)]

use core::any::TypeId;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::descriptor::Descriptor;
use super::ephemerons::TableEdge;
use super::gc::Gc;

/// A value whose edges the collector can find.
///
/// Derive it:
///
/// ```
/// use lacuna::{Gc, GcCell, Trace};
///
/// #[derive(Trace)]
/// struct Pair<'gc> {
///     key: u64,
///     value: GcCell<Option<Gc<'gc, Pair<'gc>>>>,
/// }
/// # let mut heap = lacuna::Heap::new();
/// # heap.enter(|cx| { cx.alloc(Pair { key: 1, value: GcCell::new(None) }); });
/// ```
///
/// A type that holds edges has one lifetime parameter, its *brand*: all its edges lead to objects of the heap whose
/// scope the brand names. [`At`](Self::At) renames it.
///
/// # Safety
///
/// - `At<'a>` is `Self` with its brand replaced by `'a` in every place, and nothing else changed; a type without brand
///   is its own `At`. Values are reinterpreted between the two.
/// - [`trace`](Self::trace) passes every edge in `self` to the visitor, also those behind pointers that `self` owns.
///   If [`NEEDS_TRACE`](Self::NEEDS_TRACE) is false there are none. [Tables](crate::Ephemerons) are visited where they
///   lie, not moved elsewhere for that.
/// - If the type can hold edges, dropping it does not look at what they lead to: when it is dropped, those objects may
///   be gone.
/// - `trace` neither allocates in a heap nor drops or makes roots. It may panic; the collection is then abandoned.
/// - `trace` may run on a thread that is not that of the heap, at the same time as the `trace` of other values, where
///   `Config::mark_threads` is above one (feature `parallel`). The thread of the heap does nothing but mark meanwhile, so
///   `trace` may read whatever the value owns or shares, also through an `Rc`; but it writes nothing, not even the count of
///   that `Rc`, save by atomics or under a lock, and uses nothing that belongs to a thread. Where two values share a
///   [table](crate::Ephemerons), one of them visits it. A type whose `trace` does otherwise is kept out of such heaps by
///   whoever implements it.
#[diagnostic::on_unimplemented(
    message = "the collector cannot find the edges of `{Self}`",
    label = "`{Self}` does not implement `Trace`",
    note = "derive it with `#[derive(Trace)]`; an edge that changes goes into a `GcCell` or `GcRefCell`, which are \
            written through their owner, not into `Cell` or `RefCell`",
    note = "a type of another crate that holds no edges can be wrapped in `lacuna::Opaque`, and a field of such a type \
            can be marked `#[trace(skip)]`"
)]
pub unsafe trait Trace: Sized {
    /// The same type in the scope `'a`.
    type At<'a>: for<'b> Trace<At<'b> = Self::At<'b>> + 'a;

    /// Whether a value can hold an edge. The collector never looks into objects of types where it is false.
    const NEEDS_TRACE: bool;

    /// Passes every edge to the visitor, in the order in which a reader would follow them.
    fn trace<V: Visitor>(&self, visitor: &mut V);

    /// Can be named only for types that do not implement `Drop`. What a derived implementation proves, it proves through
    /// this trait, since any other path could be made to lead elsewhere.
    #[doc(hidden)]
    fn __does_not_drop()
    where
        Self: TypesWithEdgesMustNotImplementDrop<Answer = DoesNotDrop>,
    {
    }

    /// Can be called only with a function from a phantom to itself.
    #[doc(hidden)]
    fn __is_phantom<P: ?Sized>(_: fn(PhantomData<P>) -> PhantomData<P>) {}
}

/// A type with edges has no `Drop`: when it is dropped, the objects its edges lead to may be gone. Put what has to be
/// released into a field of a type without edges, or register a cleanup.
///
/// A derived [`Trace`] implements it for the type, which conflicts with the implementation for all types with a `Drop`.
#[doc(hidden)]
pub trait TypesWithEdgesMustNotImplementDrop {
    /// Whether the type implements `Drop`.
    type Answer;
}

#[allow(drop_bounds, reason = "it is about the types with a Drop of their own, not about those that need dropping")]
impl<T: ?Sized + Drop> TypesWithEdgesMustNotImplementDrop for T {
    type Answer = Drops;
}

/// The answer for types that implement `Drop`.
#[doc(hidden)]
#[derive(Debug)]
pub enum Drops {}

/// The answer for types that do not.
#[doc(hidden)]
#[derive(Debug)]
pub enum DoesNotDrop {}

/// What receives the edges of a value. Implemented by the collector only.
pub trait Visitor: Sized + sealed::Sealed {
    /// An edge to an object.
    fn edge<T: ?Sized + Object>(&mut self, target: Gc<'_, T>);

    #[doc(hidden)]
    fn rooted(&mut self, heap: *const (), target: NonNull<u8>);

    #[doc(hidden)]
    fn ephemerons(&mut self, table: TableEdge<'_>);
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// Anything a [`Gc`] can point to: every type that is [`Trace`], `[T]`, `str`, [`WithTail`](crate::WithTail), and trait
/// objects that were declared with [`trace_dyn!`](crate::trace_dyn).
///
/// # Safety
///
/// Implemented by this crate and its macros only.
#[diagnostic::on_unimplemented(
    message = "a `Gc` cannot point to `{Self}`",
    note = "derive `Trace` for a sized type; declare a trait object with `lacuna::trace_dyn!`"
)]
pub unsafe trait Object {
    /// What a pointer needs beside the address of the cell: nothing, except for trait objects.
    #[doc(hidden)]
    type Metadata: Copy + 'static;

    /// The same type in the scope `'a`.
    type Of<'a>: ?Sized + for<'b> Object<Metadata = Self::Metadata, Of<'b> = Self::Of<'b>> + 'a;

    /// Whether an object can hold an edge.
    const EDGES: bool;

    /// The object in a cell.
    ///
    /// # Safety
    ///
    /// The cell holds an object of this type, and the metadata was taken from it.
    #[doc(hidden)]
    unsafe fn object(cell: NonNull<u8>, metadata: Self::Metadata) -> NonNull<Self>;

    /// The identity of the type in its `'static` form; `None` for trait objects, which are stored as something else.
    #[doc(hidden)]
    fn stored_type() -> Option<TypeId>;

    /// Passes every edge to the visitor.
    #[doc(hidden)]
    fn trace_object<V: Visitor>(&self, visitor: &mut V);
}

// SAFETY: the metadata is empty and the cell of a sized value starts with the value.
unsafe impl<T: Trace> Object for T {
    type Metadata = ();
    type Of<'a> = T::At<'a>;
    const EDGES: bool = T::NEEDS_TRACE;

    #[inline(always)]
    unsafe fn object(cell: NonNull<u8>, (): ()) -> NonNull<Self> {
        cell.cast()
    }

    fn stored_type() -> Option<TypeId> {
        Some(TypeId::of::<T::At<'static>>())
    }

    #[inline(always)]
    fn trace_object<V: Visitor>(&self, visitor: &mut V) {
        self.trace(visitor);
    }
}

/// An object whose concrete type, and so its descriptor, is known where it is allocated.
///
/// # Safety
///
/// The descriptor describes cells of `Self`.
pub(crate) unsafe trait Stored: Object<Metadata = ()> {
    const DESCRIPTOR: &'static Descriptor;
}
