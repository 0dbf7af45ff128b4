//! [`Mutator`]: what a program does inside a scope.
//!
//! - `[INV-MUT-1]` The [`Core`] is borrowed from its cell only within functions of this file and for steps during which
//!   no user code runs. `Drop` implementations of dead objects may run while a cell is looked for, and can reach the
//!   mutator, through a scoped thread-local for one: the state is not borrowed then.
//! - `[INV-MUT-2]` A `Mutator<'gc>` is the mutator of the heap that `'gc` names, which is borrowed exclusively as long as
//!   `'gc` lasts.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::cleanup::Cleanup;
use super::guard::Guard;
use super::root::Root;
use super::weak::{Weak, WeakId, WeakLong};
use crate::cycle::core::{Core, Refused, Wanted};
use crate::cycle::failures::Failures;
use crate::cycle::sweep;
use crate::edges::callback::{Call, Callback, WithFunction};
use crate::edges::finalizers::{Action, RegistrationId};
use crate::edges::roots::{HeapId, RootSlot, RootTable};
use crate::edges::weak::Kind;
use crate::error::{AllocError, Exhausted, RegisterError, RegisterFailure};
use crate::heap::Heap;
use crate::object::descriptor::{Descriptor, ObjectRef, suspect};
use crate::object::edges::HeldRoot;
use crate::object::gc::{Brand, Gc};
use crate::object::sequence::{self, WithTail};
use crate::object::trace::{Object, Stored, Trace};
use crate::stats::Stats;

/// The hook that is called before an allocation panics.
pub(crate) type OutOfMemoryHook = Box<dyn FnMut(Exhausted)>;

/// Access to a heap inside a scope. Given to the closure of [`Heap::enter`].
///
/// Inside a scope nothing is freed and no collection runs; objects are allocated, read and changed at the price of
/// plain pointers.
pub struct Mutator<'gc> {
    core: UnsafeCell<Core>,
    on_out_of_memory: Cell<Option<OutOfMemoryHook>>,
    brand: Brand<'gc>,
}

impl Mutator<'static> {
    pub(crate) fn new(core: Core) -> Self {
        Self { core: UnsafeCell::new(core), on_out_of_memory: Cell::new(None), brand: PhantomData }
    }

    /// The state, between scopes.
    pub(crate) fn core_mut(&mut self) -> &mut Core {
        self.core.get_mut()
    }

    /// The state, while nobody changes it.
    pub(crate) fn core_ref(&self) -> &Core {
        // SAFETY: [INV-MUT-1] nobody borrows it exclusively now, and no scope is open, since a scope borrows the heap
        // that owns this mutator exclusively.
        unsafe { &*self.core.get() }
    }

    pub(crate) fn set_out_of_memory_hook(&mut self, hook: Option<OutOfMemoryHook>) {
        self.on_out_of_memory.set(hook);
    }

    /// Opens a scope.
    pub(crate) fn enter<R>(&mut self, scope: impl for<'gc> FnOnce(&'gc Mutator<'gc>) -> R) -> R {
        let mutator: *const Mutator<'static> = self;
        // SAFETY: the brand is the only difference. [INV-MUT-2] the closure works for any brand, so for one that names
        // this exclusive borrow.
        scope(unsafe { &*mutator.cast::<Mutator<'_>>() })
    }
}

impl Mutator<'static> {
    /// Opens a scope that only reads, inside which the heap stays borrowed for reading.
    pub(crate) fn read<R>(&self, scope: impl for<'gc> FnOnce(&'gc Reader<'gc>) -> R) -> R {
        let mutator: *const Mutator<'static> = self;
        // SAFETY: the brand is the only difference. [INV-GC-1] the closure works for any brand, so for one that names this
        // borrow of the heap, during which nothing is freed. A reader does nothing that a shared heap does not do.
        scope(&Reader { mutator: unsafe { &*mutator.cast::<Mutator<'_>>() } })
    }
}

/// Access to a heap for reading. Given to the closure of [`Heap::read`].
pub struct Reader<'gc> {
    mutator: &'gc Mutator<'gc>,
}

impl<'gc> Reader<'gc> {
    /// The object of a root.
    ///
    /// # Panics
    ///
    /// If the root belongs to another heap.
    #[inline]
    #[track_caller]
    pub fn get<T: ?Sized + Object>(&self, root: &Root<T>) -> Gc<'gc, T::Of<'gc>> {
        root.get(self.mutator)
    }

    /// The object of a weak reference, unless it is dead.
    ///
    /// # Panics
    ///
    /// If the reference belongs to another heap.
    #[inline]
    #[track_caller]
    pub fn upgrade<T: ?Sized + Object>(&self, weak: Weak<T>) -> Option<Gc<'gc, T::Of<'gc>>> {
        self.mutator.upgrade(weak)
    }

    /// A root of an object. What is expected of the result says which type it names.
    #[inline]
    pub fn root<T: ?Sized + Object>(&self, object: Gc<'gc, T::Of<'gc>>) -> Root<T> {
        self.mutator.root(object)
    }
}

impl core::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl<'gc> Mutator<'gc> {
    /// Runs one step on the state.
    #[inline(always)]
    fn with<R>(&self, step: impl FnOnce(&mut Core) -> R) -> R {
        // SAFETY: [INV-MUT-1] callers pass steps that run no user code that could come back here.
        step(unsafe { &mut *self.core.get() })
    }

    #[inline(always)]
    pub(crate) fn roots(&self) -> &RootTable {
        // SAFETY: [INV-MUT-1] nobody borrows the state exclusively now. The owner of the table never changes, and what
        // it leads to lies elsewhere.
        unsafe { &(*self.core.get()).roots }
    }

    /// Whether a root belongs to this heap.
    #[inline(always)]
    pub(crate) fn owns(&self, slot: &RootSlot) -> bool {
        core::ptr::eq(slot.table(), self.roots())
    }

    /// Allocates an object.
    ///
    /// No collection runs. About as fast as bumping a pointer.
    ///
    /// # Panics
    ///
    /// If there is no memory, after calling the hook set with [`Heap::on_out_of_memory`]; see
    /// [`try_alloc`](Self::try_alloc).
    #[inline(always)]
    pub fn alloc<T: Trace<At<'gc> = T>>(&self, value: T) -> Gc<'gc, T> {
        match self.take_cell::<T>() {
            // SAFETY: the cell is unused and has the size and alignment of a `T`; then it holds one.
            Ok(cell) => unsafe {
                cell.cast::<T>().write(value);
                Gc::from_cell(cell, ())
            },
            Err(reason) => self.out_of_memory(reason),
        }
    }

    /// Allocates an object, or gives the value back.
    ///
    /// No collection runs, also at the heap limit: that happens between scopes only.
    ///
    /// # Errors
    ///
    /// If there is no memory, or the heap is at its limit.
    #[inline]
    pub fn try_alloc<T: Trace<At<'gc> = T>>(&self, value: T) -> Result<Gc<'gc, T>, AllocError<T>> {
        match self.take_cell::<T>() {
            // SAFETY: as in `alloc`.
            Ok(cell) => unsafe {
                cell.cast::<T>().write(value);
                Ok(Gc::from_cell(cell, ()))
            },
            Err(reason) => Err(AllocError::new(value, reason)),
        }
    }

    /// A cell for a `T`. The caller writes the value before anything else happens.
    #[inline(always)]
    fn take_cell<T: Trace>(&self) -> Result<NonNull<u8>, Exhausted> {
        let wanted = const { Wanted::sized(<T as Stored>::DESCRIPTOR) };
        let cell = self.with(|core| {
            if const { <T as Stored>::DESCRIPTOR.cell_size % 16 == 8 } {
                core.take_cell::<true>(wanted)
            } else {
                core.take_cell::<false>(wanted)
            }
        });
        match cell {
            Some(cell) => Ok(cell),
            None => self.find_cell(wanted),
        }
    }

    /// A cell, from wherever there is one. Sweeps blocks on the way, which runs `Drop` of dead objects: that code may
    /// reach this mutator, so the state is not borrowed meanwhile.
    #[cold]
    #[inline(never)]
    fn find_cell(&self, wanted: Wanted) -> Result<NonNull<u8>, Exhausted> {
        loop {
            let (block, space) = match self.with(|core| core.find_cell(wanted)) {
                Ok(cell) => return Ok(cell),
                Err(Refused::Exhausted(reason)) => return Err(reason),
                Err(Refused::Unswept { block, space }) => (block, space),
            };
            let mut failures = Failures::default();
            sweep::drop_dead(block, &mut failures, self.with(|core| core.config.zeal));
            self.with(|core| core.swept(space, block, failures));
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn out_of_memory(&self, reason: Exhausted) -> ! {
        if let Some(mut hook) = self.on_out_of_memory.take() {
            hook(reason);
            self.on_out_of_memory.set(Some(hook));
        }
        panic!("allocation failed: {reason}");
    }

    /// Allocates a slice of as many elements as the iterator says it has.
    ///
    /// # Panics
    ///
    /// If there is no memory, as for [`alloc`](Self::alloc); if the iterator yields fewer elements than it says, or
    /// panics: the elements it had yielded are then freed by the next collection.
    pub fn alloc_slice<T, I>(&self, elements: I) -> Gc<'gc, [T]>
    where
        T: Trace<At<'gc> = T>,
        I: IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    {
        match self.sequence((), elements.into_iter(), <[T]>::DESCRIPTOR) {
            // SAFETY: the cell holds a sequence with an empty header, which is a slice.
            Ok(cell) => unsafe { Gc::from_cell(cell, ()) },
            Err((_, _, reason)) => self.out_of_memory(reason),
        }
    }

    /// Allocates a slice, or gives the elements back.
    ///
    /// # Errors
    ///
    /// If there is no memory, or the heap is at its limit.
    ///
    /// # Panics
    ///
    /// As [`alloc_slice`](Self::alloc_slice), except for the lack of memory.
    pub fn try_alloc_slice<T, I>(&self, elements: I) -> Result<Gc<'gc, [T]>, AllocError<I::IntoIter>>
    where
        T: Trace<At<'gc> = T>,
        I: IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    {
        match self.sequence((), elements.into_iter(), <[T]>::DESCRIPTOR) {
            // SAFETY: as in `alloc_slice`.
            Ok(cell) => Ok(unsafe { Gc::from_cell(cell, ()) }),
            Err((_, elements, reason)) => Err(AllocError::new(elements, reason)),
        }
    }

    /// Allocates a slice of `length` elements, each made from its index.
    ///
    /// # Panics
    ///
    /// As [`alloc_slice`](Self::alloc_slice).
    pub fn alloc_slice_with<T: Trace<At<'gc> = T>>(
        &self,
        length: usize,
        element: impl FnMut(usize) -> T,
    ) -> Gc<'gc, [T]> {
        self.alloc_slice((0..length).map(element))
    }

    /// Allocates a header followed by elements, in one object.
    ///
    /// # Panics
    ///
    /// As [`alloc_slice`](Self::alloc_slice).
    pub fn alloc_tail<H, T, I>(&self, header: H, tail: I) -> Gc<'gc, WithTail<H, T>>
    where
        H: Trace<At<'gc> = H>,
        T: Trace<At<'gc> = T>,
        I: IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    {
        match self.sequence(header, tail.into_iter(), WithTail::<H, T>::DESCRIPTOR) {
            // SAFETY: the cell holds a sequence with this header.
            Ok(cell) => unsafe { Gc::from_cell(cell, ()) },
            Err((_, _, reason)) => self.out_of_memory(reason),
        }
    }

    fn take_cell_with_bytes(&self, descriptor: &'static Descriptor, bytes: usize) -> Result<NonNull<u8>, Exhausted> {
        let wanted = Wanted::with_bytes(descriptor, bytes);
        match self.with(|core| core.take_cell::<false>(wanted)) {
            Some(cell) => Ok(cell),
            None => self.find_cell(wanted),
        }
    }

    fn sequence<H: Trace, T: Trace, I: ExactSizeIterator<Item = T>>(
        &self,
        header: H,
        elements: I,
        descriptor: &'static Descriptor,
    ) -> Result<NonNull<u8>, (H, I, Exhausted)> {
        let length = elements.len();
        let cell = match sequence::checked_bytes::<H, T>(length) {
            Some(bytes) => self.take_cell_with_bytes(descriptor, bytes),
            None => Err(Exhausted::System),
        };
        match cell {
            Ok(cell) => {
                // SAFETY: the cell is unused and has room for that many elements. No collection runs in a scope.
                unsafe { sequence::fill(cell, header, length, elements) };
                Ok(cell)
            }
            Err(reason) => Err((header, elements, reason)),
        }
    }

    /// Allocates a string.
    ///
    /// # Panics
    ///
    /// If there is no memory, as for [`alloc`](Self::alloc).
    pub fn alloc_str(&self, text: &str) -> Gc<'gc, str> {
        match self.try_alloc_str(text) {
            Ok(text) => text,
            Err(error) => self.out_of_memory(error),
        }
    }

    /// Allocates a string.
    ///
    /// # Errors
    ///
    /// If there is no memory, or the heap is at its limit.
    pub fn try_alloc_str(&self, text: &str) -> Result<Gc<'gc, str>, Exhausted> {
        let bytes = sequence::checked_bytes::<(), u8>(text.len()).ok_or(Exhausted::System)?;
        let cell = self.take_cell_with_bytes(<str>::DESCRIPTOR, bytes)?;
        // SAFETY: the cell is unused and has room for the bytes; then it holds a string.
        unsafe {
            sequence::fill_bytes(cell, text.as_bytes());
            Ok(Gc::from_cell(cell, ()))
        }
    }

    /// The object of a root, as a pointer of this scope.
    ///
    /// # Panics
    ///
    /// If the root belongs to another heap.
    #[inline]
    #[track_caller]
    pub fn get<T: ?Sized + Object>(&self, root: &Root<T>) -> Gc<'gc, T::Of<'gc>> {
        // The brand of `self` is `'gc`, however short the borrow.
        root.get(self)
    }

    /// A root of an object: [`Gc::root`], where what is expected of the result says which type it names.
    #[inline]
    pub fn root<T: ?Sized + Object>(&self, object: Gc<'gc, T::Of<'gc>>) -> Root<T> {
        // SAFETY: [INV-GC-1] the cell holds an object, in the heap of the scope.
        let slot = self.roots().take(unsafe { ObjectRef::new(object.cell()) });
        // SAFETY: the slot holds that object. `Of` renames the brand only, and a `T` that a root can name has the brand
        // 'static.
        unsafe { Root::from_slot(slot, object.metadata()) }
    }

    /// The object of a weak reference, unless it is dead.
    ///
    /// # Panics
    ///
    /// If the reference belongs to another heap.
    #[inline(always)]
    #[track_caller]
    pub fn upgrade<T: ?Sized + Object>(&self, weak: Weak<T>) -> Option<Gc<'gc, T::Of<'gc>>> {
        let object = self.observed(weak.id(), Weak::<T>::KIND)?;
        // SAFETY: the reference is alive, so the object is the one it was made of, of type `T` up to the brand.
        Some(unsafe { Gc::from_cell(object.cell(), weak.metadata()) })
    }

    /// The object of a long weak reference, unless it is dead.
    ///
    /// # Panics
    ///
    /// If the reference belongs to another heap.
    #[inline(always)]
    #[track_caller]
    pub fn upgrade_long<T: ?Sized + Object>(&self, weak: WeakLong<T>) -> Option<Gc<'gc, T::Of<'gc>>> {
        let object = self.observed(weak.id(), WeakLong::<T>::KIND)?;
        // SAFETY: as in `upgrade`.
        Some(unsafe { Gc::from_cell(object.cell(), weak.metadata()) })
    }

    /// Whether a weak reference is dead. Does not extend the object's life.
    ///
    /// # Panics
    ///
    /// If the reference belongs to another heap.
    #[track_caller]
    pub fn is_dead<T: ?Sized + Object>(&self, weak: Weak<T>) -> bool {
        self.observed(weak.id(), Weak::<T>::KIND).is_none()
    }

    #[inline(always)]
    #[track_caller]
    pub(crate) fn observed(&self, id: WeakId, kind: Kind) -> Option<ObjectRef> {
        // SAFETY: [INV-MUT-1] nobody borrows the state exclusively now.
        observed(unsafe { &*self.core.get() }, id, kind)
    }

    /// Observes an object.
    #[inline]
    pub(crate) fn observe<T: ?Sized + Object>(&self, object: Gc<'gc, T>, kind: Kind) -> WeakId {
        // SAFETY: [INV-GC-1] the cell holds an object, in the heap of the scope.
        match self.with(|core| observe(core, unsafe { ObjectRef::new(object.cell()) }, kind)) {
            Ok(id) => id,
            Err(reason) => self.out_of_memory(reason),
        }
    }

    /// Makes it possible for ephemerons to wait for an object.
    pub(crate) fn make_key(&self, cell: NonNull<u8>) -> Result<(), Exhausted> {
        // Nothing is read from the object.
        let object = suspect(cell);
        self.with(|core| {
            let slot = core.weak.attach(object)?;
            core.weak.make_key(slot)
        })
    }

    /// Registers a callback that gets `payload` once the object is gone. See [`Heap::cleanup`].
    ///
    /// # Errors
    ///
    /// As [`Heap::cleanup`].
    pub fn cleanup<T: ?Sized + Object, P: Trace + 'static>(
        &self,
        object: Gc<'gc, T>,
        payload: P,
        function: fn(&mut Heap, P),
    ) -> Result<Cleanup<P>, RegisterError<P>> {
        // SAFETY: [INV-GC-1].
        let object = unsafe { ObjectRef::new(object.cell()) };
        // What the payload holds is found by its own code, before the state is borrowed.
        let callback = prepare(self.roots().token(), object, WithFunction { function, payload })?;
        registered(self.with(|core| register_cleanup(core, object, callback)))
    }

    /// Registers the object with a guardian, which hands it back when nobody else holds it. See [`Heap::guard`].
    ///
    /// # Errors
    ///
    /// As [`Heap::guard`].
    pub fn guard<T: ?Sized + Object>(&self, object: Gc<'gc, T>, tag: u64) -> Result<Guard, RegisterError<()>> {
        // SAFETY: [INV-GC-1].
        let object = unsafe { ObjectRef::new(object.cell()) };
        self.with(|core| register_guardian(core, object, tag))
    }

    /// Cancels a cleanup. See [`Heap::cancel`].
    pub fn cancel<P: 'static>(&self, cleanup: Cleanup<P>) -> Option<P> {
        // A panic runs the user's hook, so it is not raised while the state is borrowed.
        assert!(self.with(|core| core.id) == cleanup.heap, "{}", crate::error::WrongHeap);
        let callback = self.with(|core| cancel(core, cleanup))?;
        // SAFETY: the cleanup of this id was registered with a payload of this type.
        Some(unsafe { callback.into_payload() })
    }

    /// Counts `bytes` that the heap's objects hold outside of it. See [`Heap::add_external`].
    pub fn add_external(&self, bytes: usize) {
        self.with(|core| core.add_external(bytes, 0));
    }

    /// Counts bytes out again. See [`Heap::sub_external`].
    pub fn sub_external(&self, bytes: usize) {
        self.with(|core| core.add_external(0, bytes));
    }

    /// The statistics of the heap.
    pub fn stats(&self) -> Stats {
        self.with(|core| core.stats())
    }
}

impl core::fmt::Debug for Mutator<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Mutator").finish_non_exhaustive()
    }
}

#[inline(always)]
#[track_caller]
pub(crate) fn observed(core: &Core, id: WeakId, kind: Kind) -> Option<ObjectRef> {
    if id.heap != Some(core.id) {
        assert!(id.heap.is_none(), "{}", crate::error::WrongHeap);
        return None;
    }
    core.weak.target(id.slot, id.generation, kind)
}

#[inline]
pub(crate) fn observe(core: &mut Core, object: ObjectRef, kind: Kind) -> Result<WeakId, Exhausted> {
    let slot = core.weak.attach(object)?;
    Ok(WeakId { heap: Some(core.id), slot, generation: core.weak.generation(slot, kind) })
}

/// A callback, unless its payload holds a root of the target, an object of the heap that the token stands for.
pub(crate) fn prepare<C: Call>(
    heap: *const (),
    target: ObjectRef,
    call: C,
) -> Result<Callback, RegisterError<C::Payload>> {
    let mut held = HeldRoot::of(heap, target.cell());
    call.find(&mut held);
    if held.found {
        return Err(RegisterError::new(call.into_payload(), RegisterFailure::SelfRetention));
    }
    Callback::new(call).map_err(|call| RegisterError::new(call.into_payload(), RegisterFailure::OutOfMemory))
}

/// Registers a callback, or gives it back. Its payload is the caller's business.
pub(crate) fn register_cleanup(
    core: &mut Core,
    target: ObjectRef,
    callback: Callback,
) -> Result<(RegistrationId, HeapId), (RegisterFailure, Callback)> {
    let heap = core.id;
    match register(core, target, Action::Cleanup(callback)) {
        Ok(id) => Ok((id, heap)),
        Err((reason, Action::Cleanup(callback))) => Err((reason, callback)),
        Err((_, Action::Guardian { .. })) => unreachable!("a cleanup was to be registered"),
    }
}

/// What users get for a callback whose payload is a `P`.
pub(crate) fn registered<P: 'static>(
    result: Result<(RegistrationId, HeapId), (RegisterFailure, Callback)>,
) -> Result<Cleanup<P>, RegisterError<P>> {
    match result {
        Ok((id, heap)) => Ok(Cleanup::new(id, heap)),
        // SAFETY: the callers made the callback from a payload of this type.
        Err((reason, callback)) => Err(RegisterError::new(unsafe { callback.into_payload() }, reason)),
    }
}

pub(crate) fn register_guardian(core: &mut Core, target: ObjectRef, tag: u64) -> Result<Guard, RegisterError<()>> {
    let heap = core.id;
    register(core, target, Action::Guardian { tag })
        .map(|id| Guard { id, heap })
        .map_err(|(reason, _)| RegisterError::new((), reason))
}

fn register(core: &mut Core, target: ObjectRef, action: Action) -> Result<RegistrationId, (RegisterFailure, Action)> {
    if core.closed {
        return Err((RegisterFailure::Closed, action));
    }
    match core.weak.attach(target) {
        Ok(slot) => core
            .finalizers
            .register(&mut core.weak, slot, action)
            .map_err(|(_, action)| (RegisterFailure::OutOfMemory, action)),
        Err(_) => Err((RegisterFailure::OutOfMemory, action)),
    }
}

/// Takes a pending cleanup's callback out.
///
/// # Panics
///
/// If the cleanup belongs to another heap.
#[track_caller]
pub(crate) fn cancel<P>(core: &mut Core, cleanup: Cleanup<P>) -> Option<Callback> {
    assert!(cleanup.heap == core.id, "{}", crate::error::WrongHeap);
    let taken = core.finalizers.take(&mut core.weak, cleanup.id)?;
    core.add_external(0, taken.details.external);
    core.stats.cancelled += 1;
    match taken.action {
        Action::Cleanup(callback) => Some(callback),
        Action::Guardian { .. } => unreachable!("a cleanup's id names a cleanup"),
    }
}
