//! Callbacks with their payload, whatever its type.
//!
//! A function with a payload of one word lies in the registration; what is larger gets a box.
//!
//! - `[INV-CALL-1]` The payload words of a [`Callback`] hold a value of the type that its table was made for, in place
//!   or as the address of its box, until it is taken.
#![allow(unsafe_code)]

use alloc::alloc::alloc;
use alloc::boxed::Box;
use core::alloc::Layout;
use core::any::Any;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::{self, NonNull};

use super::finalizers::RegistrationId;
use crate::object::edges::{EdgeList, HeldRoot};
use crate::object::trace::Trace;

/// A value that is called once with the heap.
pub(crate) trait Call: 'static {
    /// What `cancel` gives back.
    type Payload: 'static;

    /// Runs the callback of a registration. `heap` is the [`Heap`](crate::Heap), which this layer does not know.
    fn call(self, heap: &mut dyn Any, id: RegistrationId);

    /// Gives up the callback and keeps the payload.
    fn into_payload(self) -> Self::Payload;

    fn payload(&self) -> &Self::Payload;

    /// Lists the roots that the payload holds.
    fn list_edges(&self, list: &mut EdgeList);

    /// Looks for a root that the payload holds.
    fn find(&self, root: &mut HeldRoot);
}

/// A payload and the function that gets it.
pub(crate) struct WithFunction<C: 'static, P> {
    pub(crate) function: fn(&mut C, P),
    pub(crate) payload: P,
}

impl<C: 'static, P: Trace + 'static> Call for WithFunction<C, P> {
    type Payload = P;

    fn call(self, heap: &mut dyn Any, _: RegistrationId) {
        (self.function)(heap.downcast_mut().expect("callbacks are called with the heap"), self.payload);
    }

    fn into_payload(self) -> P {
        self.payload
    }

    fn payload(&self) -> &P {
        &self.payload
    }

    fn list_edges(&self, list: &mut EdgeList) {
        self.payload.trace(list);
    }

    fn find(&self, root: &mut HeldRoot) {
        self.payload.trace(root);
    }
}

/// A payload and the closure that gets it.
pub(crate) struct WithClosure<C: 'static, P, F> {
    pub(crate) closure: F,
    pub(crate) payload: P,
    pub(crate) context: core::marker::PhantomData<fn(C)>,
}

impl<C: 'static, P: Trace + 'static, F: FnOnce(&mut C, P) + 'static> Call for WithClosure<C, P, F> {
    type Payload = P;

    fn call(self, heap: &mut dyn Any, _: RegistrationId) {
        (self.closure)(heap.downcast_mut().expect("callbacks are called with the heap"), self.payload);
    }

    fn into_payload(self) -> P {
        self.payload
    }

    fn payload(&self) -> &P {
        &self.payload
    }

    fn list_edges(&self, list: &mut EdgeList) {
        self.payload.trace(list);
    }

    fn find(&self, root: &mut HeldRoot) {
        self.payload.trace(root);
    }
}

const WORDS: usize = 2;
type Words = [MaybeUninit<*mut ()>; WORDS];

struct Table {
    call: unsafe fn(*mut Words, &mut dyn Any, RegistrationId),
    drop: unsafe fn(*mut Words),
    list_edges: unsafe fn(*const Words, &mut EdgeList),
    /// Moves the payload to the given place.
    into_payload: unsafe fn(*mut Words, *mut ()),
    payload: unsafe fn(*const Words) -> *const (),
    /// Whether any thread may run or drop the callback.
    send: bool,
}

/// A callback of any type that implements [`Call`].
pub(crate) struct Callback {
    words: Words,
    table: &'static Table,
}

trait Erased: Call + Sized {
    const INLINE: bool = size_of::<Self>() <= size_of::<Words>() && align_of::<Self>() <= align_of::<Words>();

    const TABLE: &'static Table = &table_of::<Self>(false);
    /// `[INV-CALL-2]` Used for values only that are [`Send`].
    const SEND_TABLE: &'static Table = &table_of::<Self>(true);
}

impl<T: Call> Erased for T {}

const fn table_of<T: Call>(send: bool) -> Table {
    Table {
        // SAFETY: [INV-CALL-1] the words hold a `T`; `take` moves it out, and is called once.
        call: |words, heap, id| unsafe { take::<T>(words) }.call(heap, id),
        // SAFETY: as above.
        drop: |words| drop(unsafe { take::<T>(words) }),
        // SAFETY: as above.
        list_edges: |words, list| unsafe { peek::<T>(words) }.list_edges(list),
        // SAFETY: as above; the caller gives a place for a `T::Payload`.
        into_payload: |words, place| unsafe {
            place.cast::<T::Payload>().write(take::<T>(words).into_payload());
        },
        // SAFETY: as above.
        payload: |words| ptr::from_ref(unsafe { peek::<T>(words) }.payload()).cast(),
        send,
    }
}

/// What stands for a number in the place of a callback. Nothing else has this table.
static NUMBER: Table = Table {
    call: |_, _, _| (),
    drop: |_| (),
    list_edges: |_, _| (),
    into_payload: |_, _| unreachable!("a number has no payload"),
    payload: |_| unreachable!("a number has no payload"),
    send: false,
};

/// # Safety
///
/// `[INV-CALL-1]` with `T`; nobody uses the words afterwards.
unsafe fn take<T: Erased>(words: *mut Words) -> T {
    if T::INLINE {
        // SAFETY: the words hold a `T`, suitably aligned.
        unsafe { words.cast::<T>().read() }
    } else {
        // SAFETY: the words hold the address of a box of a `T`.
        *unsafe { words.cast::<Box<T>>().read() }
    }
}

/// # Safety
///
/// `[INV-CALL-1]` with `T`, for as long as the reference is used.
unsafe fn peek<'a, T: Erased>(words: *const Words) -> &'a T {
    if T::INLINE {
        // SAFETY: the words hold a `T`, suitably aligned.
        unsafe { &*words.cast::<T>() }
    } else {
        // SAFETY: the words hold the address of a box of a `T`.
        unsafe { &*words.cast::<Box<T>>() }
    }
}

/// A box to be filled, if there is memory for it.
fn try_box<T>() -> Option<Box<MaybeUninit<T>>> {
    let layout = Layout::new::<T>();
    let place = match layout.size() {
        0 => NonNull::dangling(),
        // SAFETY: the layout has more than zero bytes.
        _ => NonNull::new(unsafe { alloc(layout) }.cast::<MaybeUninit<T>>())?,
    };
    // SAFETY: the place was allocated as a box of a `T` is, or dangles as one of no bytes does.
    Some(unsafe { Box::from_raw(place.as_ptr()) })
}

impl Callback {
    /// A callback, or the value if there is no memory for it.
    pub(crate) fn new<T: Call>(value: T) -> Result<Self, T> {
        Self::with_table(value, T::TABLE)
    }

    /// A callback that any thread may run or drop, or the value if there is no memory for it.
    pub(crate) fn new_send<T: Call + Send>(value: T) -> Result<Self, T> {
        Self::with_table(value, T::SEND_TABLE)
    }

    /// A number in the place of a callback.
    pub(crate) fn number(number: u64) -> Self {
        const { assert!(size_of::<Words>() >= size_of::<u64>()) };
        let mut words: Words = [const { MaybeUninit::uninit() }; WORDS];
        // SAFETY: the words have room for the number.
        unsafe { words.as_mut_ptr().cast::<u64>().write_unaligned(number) };
        Self { words, table: &NUMBER }
    }

    /// The number, if it is one.
    pub(crate) fn as_number(&self) -> Option<u64> {
        // SAFETY: only numbers have this table, and their words hold one.
        ptr::eq(self.table, &raw const NUMBER).then(|| unsafe { self.words.as_ptr().cast::<u64>().read_unaligned() })
    }

    /// Whether any thread may run or drop the callback.
    pub(crate) fn is_send(&self) -> bool {
        self.table.send
    }

    /// The callback, for another thread.
    pub(crate) fn into_send(self) -> Option<SendCallback> {
        self.is_send().then(|| SendCallback(self))
    }

    /// The table is one of those of `T`.
    fn with_table<T: Call>(value: T, table: &'static Table) -> Result<Self, T> {
        let mut words: Words = [const { MaybeUninit::uninit() }; WORDS];
        if T::INLINE {
            // SAFETY: the value fits into the words, which are aligned for it.
            unsafe { words.as_mut_ptr().cast::<T>().write(value) };
        } else {
            let Some(boxed) = try_box() else { return Err(value) };
            let boxed = Box::write(boxed, value);
            // SAFETY: a box is one word.
            unsafe { words.as_mut_ptr().cast::<Box<T>>().write(boxed) };
        }
        Ok(Self { words, table })
    }

    /// Runs the callback.
    pub(crate) fn call(self, heap: &mut dyn Any, id: RegistrationId) {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: [INV-CALL-1]; the words are not used again, since `self` is not dropped.
        unsafe { (this.table.call)(&raw mut this.words, heap, id) };
    }

    /// Lists the roots that the payload holds.
    pub(crate) fn list_edges(&self, list: &mut EdgeList) {
        // SAFETY: [INV-CALL-1].
        unsafe { (self.table.list_edges)(&raw const self.words, list) };
    }

    /// The payload, without the callback having run.
    ///
    /// # Safety
    ///
    /// The callback was made from a [`Call`] with this payload type.
    pub(crate) unsafe fn into_payload<P>(self) -> P {
        let mut this = ManuallyDrop::new(self);
        let mut payload = MaybeUninit::<P>::uninit();
        // SAFETY: [INV-CALL-1]; the place is one for the payload's type, and is then initialised.
        unsafe {
            (this.table.into_payload)(&raw mut this.words, payload.as_mut_ptr().cast());
            payload.assume_init()
        }
    }

    /// # Safety
    ///
    /// The callback was made from a [`Call`] with this payload type.
    pub(crate) unsafe fn payload<P>(&self) -> &P {
        // SAFETY: [INV-CALL-1]; the payload lives in the callback or its box.
        unsafe { &*(self.table.payload)(&raw const self.words).cast::<P>() }
    }
}

/// A callback that any thread may run or drop.
///
/// `[INV-CALL-2]` Its table says that it may be sent, so its words hold a value that is [`Send`].
pub(crate) struct SendCallback(Callback);

// SAFETY: [INV-CALL-2], and the table is a constant.
unsafe impl Send for SendCallback {}

impl SendCallback {
    /// Runs the callback, which gets to see no heap.
    pub(crate) fn call(self, id: RegistrationId) {
        self.0.call(&mut (), id);
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        // SAFETY: [INV-CALL-1]; the words are not used again.
        unsafe { (self.table.drop)(&raw mut self.words) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    fn check<P: Trace + Clone + PartialEq + core::fmt::Debug + 'static>(payload: P) {
        let make = || {
            Callback::new(WithFunction {
                function: |seen: &mut Vec<P>, payload| seen.push(payload),
                payload: payload.clone(),
            })
            .unwrap_or_else(|_| panic!("there is memory"))
        };
        let mut seen: Vec<P> = Vec::new();
        make().call(&mut seen, RegistrationId::new(0, 0));
        assert_eq!(seen, core::slice::from_ref(&payload));
        let callback = make();
        // SAFETY: the payload is a `P`.
        assert_eq!(unsafe { callback.payload::<P>() }, &payload);
        drop(callback);
        // SAFETY: the payload is a `P`.
        assert_eq!(unsafe { make().into_payload::<P>() }, payload);
    }

    #[test]
    fn payloads_of_any_size_come_through() {
        check(());
        check(7_u32);
        check((1_u64, 2_u64));
        check("text".to_string());
        check([1_u128; 9]);
        check((String::new(), 1_u8));
    }

    #[test]
    fn a_number_is_told_from_callbacks_and_only_what_was_made_to_be_sent_can_be() {
        assert_eq!(Callback::number(u64::MAX - 1).as_number(), Some(u64::MAX - 1));
        assert!(!Callback::number(7).is_send());
        let value = || WithFunction { function: |_: &mut u8, _: u64| (), payload: 7_u64 };
        let plain = Callback::new(value()).unwrap_or_else(|_| panic!("there is memory"));
        assert!(plain.as_number().is_none() && plain.into_send().is_none());
        let sent = Callback::new_send(value()).unwrap_or_else(|_| panic!("there is memory"));
        assert!(sent.as_number().is_none() && sent.into_send().is_some());
    }
}
