//! [`Mutator`]: what a program does inside a scope.
//!
//! - `[INV-MUT-1]` The [`Core`] is borrowed from its cell only within functions of this file and for steps during which
//!   no user code runs. `Drop` implementations of dead objects may run while a cell is looked for, and can reach the
//!   mutator, through a scoped thread-local for one: the state is not borrowed then. Nor is it where a panic is raised,
//!   since that runs the program's hook.
//! - `[INV-MUT-2]` A `Mutator<'gc>` is the mutator of the heap that `'gc` names, which is borrowed exclusively as long as
//!   `'gc` lasts.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::guard::Guard;
use super::registration::{Cleanup, Notification, Notified, Registered, WithNotification};
use super::root::Root;
use super::send::WithSend;
use super::weak::{Weak, WeakId, WeakLong};
use crate::cycle::core::{Core, Refused, Wanted};
use crate::cycle::failures::Failures;
use crate::cycle::sweep;
use crate::edges::callback::{Call, Callback, WithFunction};
use crate::edges::finalizers::{CallbackId, Class, Taken};
use crate::edges::roots::{HeapId, RootSlot, RootTable};
use crate::edges::weak::{Kind, SlotIndex};
use crate::error::{AllocError, Exhausted, RegisterError, RegisterFailure, WrongHeap};
use crate::heap::Heap;
use crate::memory::ledger::Charge;
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

    /// Remembers an object that is about to be written at an offset: the write barrier.
    #[inline(always)]
    pub(crate) fn remember(&self, cell: NonNull<u8>, offset: usize) {
        self.with(|core| core.remember(cell, offset));
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
        match self.with(|core| core.take_cell(wanted)) {
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
            let refused = match self.with(|core| core.find_cell(wanted)) {
                Ok(cell) => return Ok(cell),
                Err(refused) => refused,
            };
            let mut failures = Failures::default();
            match refused {
                Refused::Exhausted(reason) => return Err(reason),
                Refused::Unswept { block, space } => {
                    sweep::drop_dead(block, &mut failures, self.with(|core| core.config.zeal));
                    self.with(|core| core.swept(space, block, failures));
                }
                Refused::Dead { block, large } => {
                    if large {
                        sweep::drop_large(block, &mut failures);
                    } else {
                        sweep::drop_dead(block, &mut failures, false);
                    }
                    self.with(|core| core.freed(block, failures));
                }
            }
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

    /// Allocates a header followed by elements, or gives both back.
    ///
    /// # Errors
    ///
    /// If there is no memory, or the heap is at its limit.
    ///
    /// # Panics
    ///
    /// As [`alloc_slice`](Self::alloc_slice), except for the lack of memory.
    #[expect(clippy::type_complexity, reason = "a name for the error would hide that it carries both parts")]
    pub fn try_alloc_tail<H, T, I>(
        &self,
        header: H,
        tail: I,
    ) -> Result<Gc<'gc, WithTail<H, T>>, AllocError<(H, I::IntoIter)>>
    where
        H: Trace<At<'gc> = H>,
        T: Trace<At<'gc> = T>,
        I: IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    {
        match self.sequence(header, tail.into_iter(), WithTail::<H, T>::DESCRIPTOR) {
            // SAFETY: as in `alloc_tail`.
            Ok(cell) => Ok(unsafe { Gc::from_cell(cell, ()) }),
            Err((header, tail, reason)) => Err(AllocError::new((header, tail), reason)),
        }
    }

    fn take_cell_with_bytes(&self, descriptor: &'static Descriptor, bytes: usize) -> Result<NonNull<u8>, Exhausted> {
        let wanted = Wanted::with_bytes(descriptor, bytes);
        match self.with(|core| core.take_cell(wanted)) {
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
        let object = self.upgraded(weak.id(), Weak::<T>::KIND)?;
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
        let object = self.upgraded(weak.id(), WeakLong::<T>::KIND)?;
        // SAFETY: as in `upgrade`.
        Some(unsafe { Gc::from_cell(object.cell(), weak.metadata()) })
    }

    /// [`upgrade`](Self::upgrade), with an error instead of a panic.
    ///
    /// # Errors
    ///
    /// If the reference belongs to another heap.
    #[inline]
    pub fn try_upgrade<T: ?Sized + Object>(&self, weak: Weak<T>) -> Result<Option<Gc<'gc, T::Of<'gc>>>, WrongHeap> {
        self.with(|core| check_heap(core, weak.id()))?;
        Ok(self.upgrade(weak))
    }

    /// [`upgrade_long`](Self::upgrade_long), with an error instead of a panic.
    ///
    /// # Errors
    ///
    /// If the reference belongs to another heap.
    #[inline]
    pub fn try_upgrade_long<T: ?Sized + Object>(
        &self,
        weak: WeakLong<T>,
    ) -> Result<Option<Gc<'gc, T::Of<'gc>>>, WrongHeap> {
        self.with(|core| check_heap(core, weak.id()))?;
        Ok(self.upgrade_long(weak))
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
    pub(crate) fn upgraded(&self, id: WeakId, kind: Kind) -> Option<ObjectRef> {
        // SAFETY: [INV-MUT-1] nobody borrows the state exclusively now.
        let core = unsafe { &*self.core.get() };
        // As numbers, where none is zero: one comparison for both questions.
        if id.heap.map_or(0, HeapId::number) == core.fast_id.get().number() {
            // SAFETY: ids are made by `observe` only, this one in this heap.
            unsafe { core.weak.target(id.slot, id.generation, kind) }
        } else {
            // In parts: passed as a whole it would have to lie in memory, for the fast path as well.
            self.upgraded_in_turn(id.heap, id.slot, id.generation, kind)
        }
    }

    /// [`upgraded`](Self::upgraded), in a turn, or of a reference that is null or of another heap.
    #[cold]
    #[inline(never)]
    #[track_caller]
    fn upgraded_in_turn(
        &self,
        heap: Option<HeapId>,
        slot: SlotIndex,
        generation: u32,
        kind: Kind,
    ) -> Option<ObjectRef> {
        // SAFETY: [INV-MUT-1] nobody borrows the state exclusively now.
        of_this_heap(upgraded_in_turn(unsafe { &*self.core.get() }, WeakId { heap, slot, generation }, kind))
    }

    #[inline(always)]
    #[track_caller]
    pub(crate) fn observed(&self, id: WeakId, kind: Kind) -> Option<ObjectRef> {
        // SAFETY: [INV-MUT-1] nobody borrows the state exclusively now.
        of_this_heap(observed(unsafe { &*self.core.get() }, id, kind))
    }

    /// Observes an object.
    #[inline(always)]
    pub(crate) fn observe<T: ?Sized + Object>(&self, object: Gc<'gc, T>, kind: Kind) -> WeakId {
        match self.try_observe(object, kind) {
            Ok(id) => id,
            Err(reason) => self.out_of_memory(reason),
        }
    }

    /// Starts to load what [`make_key`](Self::make_key) needs.
    #[inline(always)]
    pub(crate) fn prefetch_key(&self, cell: NonNull<u8>) {
        self.with(|core| core.weak.prefetch_number(suspect(cell)));
    }

    /// Counts the memory of a table anew.
    pub(crate) fn charge(&self, charge: &mut Charge, bytes: usize) {
        self.with(|core| charge.set(bytes, &core.pacing.tables));
    }

    /// Makes it possible for ephemerons to wait for an object.
    pub(crate) fn make_key(&self, cell: NonNull<u8>) -> Result<(), Exhausted> {
        // Nothing is read from the object.
        let object = suspect(cell);
        self.with(|core| {
            core.marker.reserve_notes().map_err(|_| Exhausted::System)?;
            let slot = core.weak.attach(object)?;
            core.weak.make_key(slot)
        })
    }

    #[inline(always)]
    pub(crate) fn try_observe<T: ?Sized + Object>(&self, object: Gc<'gc, T>, kind: Kind) -> Result<WeakId, Exhausted> {
        // SAFETY: [INV-GC-1] the cell holds an object, in the heap of the scope.
        self.with(|core| observe(core, unsafe { ObjectRef::new(object.cell()) }, kind))
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
        self.register_cleanup(object, WithFunction { function, payload }, Callback::new)
    }

    /// Registers what a cleanup calls, which `make` makes a callback of, and which is made in its place, since moving it costs
    /// as much as all the rest.
    #[inline(always)]
    pub(crate) fn register_cleanup<C: Call>(
        &self,
        target: ObjectRef,
        call: C,
        make: impl FnOnce(C) -> Result<Callback, C>,
    ) -> Result<Cleanup<C::Payload>, RegisterError<C::Payload>> {
        // What the payload holds is found by its own code, before the state is borrowed.
        let mut held = HeldRoot::of(self.roots().token(), target.cell());
        call.find(&mut held);
        if held.found {
            return Err(RegisterError::new(call.into_payload(), RegisterFailure::SelfRetention));
        }
        let slot = match self.with(|core| reserve_registration(core, target)) {
            Ok(slot) => slot,
            Err(reason) => return Err(RegisterError::new(call.into_payload(), reason)),
        };
        match make(call) {
            Ok(callback) => {
                let arm = |core: &mut Core| core.finalizers.arm(&mut core.weak, slot, Class::Cleanup, callback);
                Ok(Cleanup::new(self.with(|core| CallbackId { heap: core.id, id: arm(core) })))
            }
            Err(call) => Err(RegisterError::new(call.into_payload(), RegisterFailure::OutOfMemory)),
        }
    }

    /// Registers a function for [`Heap::drain_send`]. See [`Heap::cleanup_send`].
    ///
    /// # Errors
    ///
    /// As [`Heap::cleanup_send`].
    pub fn cleanup_send<T: ?Sized + Object, P: Send + 'static>(
        &self,
        object: Gc<'gc, T>,
        payload: P,
        function: fn(P),
    ) -> Result<Cleanup<P>, RegisterError<P>> {
        // SAFETY: [INV-GC-1].
        let object = unsafe { ObjectRef::new(object.cell()) };
        self.register_cleanup(object, WithSend { function, payload }, Callback::new_send)
    }

    /// Registers a callback that is told when a weak reference has died. See [`Heap::notify`].
    ///
    /// # Errors
    ///
    /// As [`Heap::notify`].
    pub fn notify<T: ?Sized + Object, P: Trace + 'static>(
        &self,
        weak: Weak<T>,
        payload: P,
        function: fn(&mut Heap, Notification<P>, P),
    ) -> Result<Notification<P>, RegisterError<P>> {
        self.register_notification(weak.id(), None, payload, function)
    }

    /// Like [`notify`](Self::notify), but only as long as `owner` is reachable. See [`Heap::notify_owned`].
    ///
    /// # Errors
    ///
    /// As [`Heap::notify_owned`].
    pub fn notify_owned<T: ?Sized + Object, O: ?Sized + Object, P: Trace + 'static>(
        &self,
        weak: Weak<T>,
        owner: Gc<'gc, O>,
        payload: P,
        function: fn(&mut Heap, Notification<P>, P),
    ) -> Result<Notification<P>, RegisterError<P>> {
        // SAFETY: [INV-GC-1].
        let owner = unsafe { ObjectRef::new(owner.cell()) };
        self.register_notification(weak.id(), Some(owner), payload, function)
    }

    pub(crate) fn register_notification<P: Trace + 'static>(
        &self,
        weak: WeakId,
        owner: Option<ObjectRef>,
        payload: P,
        function: Notified<P>,
    ) -> Result<Notification<P>, RegisterError<P>> {
        let target = match self.with(|core| notified_of(core, weak)) {
            Ok(target) => target,
            Err(reason) => return Err(RegisterError::new(payload, reason)),
        };
        // What the payload holds is found by its own code, before the state is borrowed.
        let callback = prepare(self.roots().token(), target, WithNotification { function, payload })?;
        registered(Notification::new, self.with(|core| register(core, target, owner, Class::Notification, callback)))
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

    /// Cancels a cleanup or notification. See [`Heap::cancel`].
    ///
    /// # Panics
    ///
    /// If it belongs to another heap.
    #[track_caller]
    pub fn cancel<R: Registered>(&self, registration: R) -> Option<R::Payload> {
        let name = registration.name();
        // A panic runs the user's hook, so it is not raised while the state is borrowed.
        assert!(self.with(|core| core.id) == name.heap, "{}", WrongHeap);
        let callback = self.with(|core| cancel(core, name))?;
        // SAFETY: the registration of this id was made with a payload of this type.
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

/// The object of a weak reference, unless it is dead.
#[inline(always)]
pub(crate) fn observed(core: &Core, id: WeakId, kind: Kind) -> Result<Option<ObjectRef>, WrongHeap> {
    if id.heap != Some(core.id) {
        return if id.heap.is_none() { Ok(None) } else { Err(WrongHeap) };
    }
    // SAFETY: ids are made by `observe` only, this one in this heap.
    Ok(unsafe { core.weak.target(id.slot, id.generation, kind) })
}

/// What was found for a weak reference.
///
/// A panic runs the program's hook, which may come back to the scope, so it is raised here, where nobody borrows the
/// state.
///
/// # Panics
///
/// If the reference belongs to another heap.
#[inline(always)]
#[track_caller]
pub(crate) fn of_this_heap(found: Result<Option<ObjectRef>, WrongHeap>) -> Option<ObjectRef> {
    match found {
        Ok(object) => object,
        Err(error) => panic!("{error}"),
    }
}

/// Whether a weak reference is null or belongs to the heap.
pub(crate) fn check_heap(core: &Core, id: WeakId) -> Result<(), WrongHeap> {
    if id.heap.is_none_or(|heap| heap == core.id) { Ok(()) } else { Err(WrongHeap) }
}

/// The object of a weak reference that is being upgraded. In a turn, it is kept alive to the end of that.
fn upgraded_in_turn(core: &Core, id: WeakId, kind: Kind) -> Result<Option<ObjectRef>, WrongHeap> {
    let object = observed(core, id, kind)?;
    if let Some(object) = object {
        keep_in_turn(core, id.slot, object);
    }
    Ok(object)
}

/// Keeps the object of a weak slot alive while a turn is open. If it was ended without the heap, by a callback that put
/// the heap elsewhere, the heap finds out here.
fn keep_in_turn(core: &Core, slot: SlotIndex, object: ObjectRef) {
    core.follow_turn();
    if core.roots.in_turn() {
        core.roots.keep(slot, object);
    }
}

#[inline(always)]
pub(crate) fn observe(core: &mut Core, object: ObjectRef, kind: Kind) -> Result<WeakId, Exhausted> {
    let slot = core.weak.attach(object)?;
    let generation = match core.weak.common_generation(slot, core.fast_below.get()) {
        Some(generation) => generation,
        None => observe_in_turn(core, object, slot, kind)?,
    };
    Ok(WeakId { heap: Some(core.id), slot, generation })
}

/// The generation for a reference of this kind, in a turn, or to an object that a guardian brought back.
#[cold]
#[inline(never)]
fn observe_in_turn(core: &Core, object: ObjectRef, slot: SlotIndex, kind: Kind) -> Result<u32, Exhausted> {
    let generation = core.weak.generation(slot, kind)?;
    keep_in_turn(core, slot, object);
    Ok(generation)
}

/// The weak slot of an object, with room for one more registration.
#[inline(always)]
fn reserve_registration(core: &mut Core, target: ObjectRef) -> Result<SlotIndex, RegisterFailure> {
    if core.closed {
        return Err(RegisterFailure::Closed);
    }
    let slot = core.weak.attach(target).map_err(|_| RegisterFailure::OutOfMemory)?;
    core.finalizers.reserve(&mut core.weak, slot).map_err(|_| RegisterFailure::OutOfMemory)?;
    Ok(slot)
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

/// What users get for a callback whose payload is a `P`.
pub(crate) fn registered<R: Registered>(
    id: fn(CallbackId) -> R,
    result: Result<CallbackId, (RegisterFailure, Callback)>,
) -> Result<R, RegisterError<R::Payload>> {
    match result {
        Ok(name) => Ok(id(name)),
        // SAFETY: the callers made the callback from a payload of this type.
        Err((reason, callback)) => Err(RegisterError::new(unsafe { callback.into_payload() }, reason)),
    }
}

pub(crate) fn register_guardian(core: &mut Core, target: ObjectRef, tag: u64) -> Result<Guard, RegisterError<()>> {
    register(core, target, None, Class::Guardian, Callback::number(tag))
        .map(|CallbackId { heap, id }| Guard { id, heap })
        .map_err(|(reason, _)| RegisterError::new((), reason))
}

/// The object of a weak reference whose death someone wants to be told of.
fn notified_of(core: &Core, weak: WeakId) -> Result<ObjectRef, RegisterFailure> {
    if core.closed {
        return Err(RegisterFailure::Closed);
    }
    let object = observed(core, weak, Kind::Short).map_err(|WrongHeap| RegisterFailure::WrongHeap)?;
    object.ok_or(RegisterFailure::Dead)
}

/// Registers a callback, or what stands in its place, or gives it back. The payload is the caller's business.
pub(crate) fn register(
    core: &mut Core,
    target: ObjectRef,
    owner: Option<ObjectRef>,
    class: Class,
    callback: Callback,
) -> Result<CallbackId, (RegisterFailure, Callback)> {
    if core.closed {
        return Err((RegisterFailure::Closed, callback));
    }
    let Ok(slot) = core.weak.attach(target) else { return Err((RegisterFailure::OutOfMemory, callback)) };
    let registered = match owner.map(|owner| core.weak.attach(owner)) {
        None => core.finalizers.register(&mut core.weak, slot, class, callback),
        Some(Ok(owner)) => core.finalizers.register_owned(&mut core.weak, slot, owner, callback),
        Some(Err(reason)) => Err((reason, callback)),
    };
    match registered {
        Ok(id) => Ok(CallbackId { heap: core.id, id }),
        Err((_, callback)) => Err((RegisterFailure::OutOfMemory, callback)),
    }
}

/// Takes a pending registration's callback out.
///
/// # Panics
///
/// If the registration belongs to another heap.
#[track_caller]
pub(crate) fn cancel(core: &mut Core, name: CallbackId) -> Option<Callback> {
    Some(take(core, name)?.callback)
}

/// Takes a pending registration out, and counts it as cancelled.
#[track_caller]
pub(crate) fn take(core: &mut Core, name: CallbackId) -> Option<Taken> {
    assert!(name.heap == core.id, "{}", WrongHeap);
    let taken = core.finalizers.take(&mut core.weak, name.id)?;
    core.add_external(0, taken.external());
    core.stats.cancelled += 1;
    Some(taken)
}
