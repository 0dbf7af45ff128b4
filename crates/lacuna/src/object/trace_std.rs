//! [`Trace`] for the types of `core`, `alloc` and `std`.
#![allow(unsafe_code)]

use alloc::borrow::{Cow, ToOwned};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, BinaryHeap, LinkedList, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

#[cfg(feature = "hashbrown-fields")]
use hashbrown::HashTable;

use super::trace::{Object, Trace, Visitor};
#[cfg(feature = "hashbrown-fields")]
use crate::memory::huge_pages::HugePages;

macro_rules! leaves {
    ($($type:ty),* $(,)?) => {$(
        // SAFETY: the type has no brand and holds no edges.
        unsafe impl Trace for $type {
            type At<'a> = $type;
            const NEEDS_TRACE: bool = false;
            #[inline(always)]
            fn trace<V: Visitor>(&self, _: &mut V) {}
        }
    )*};
}

leaves!(
    (),
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    String,
    core::num::NonZeroU8,
    core::num::NonZeroU16,
    core::num::NonZeroU32,
    core::num::NonZeroU64,
    core::num::NonZeroUsize,
    core::num::NonZeroI32,
    core::num::NonZeroI64,
    core::time::Duration,
    core::any::TypeId,
    core::cmp::Ordering,
    alloc::ffi::CString,
);

#[cfg(feature = "std")]
leaves!(
    std::path::PathBuf,
    std::ffi::OsString,
    std::time::Instant,
    std::time::SystemTime,
    std::fs::File,
    std::net::TcpStream,
    std::net::IpAddr,
    std::net::SocketAddr,
);

// SAFETY: what a reference that is valid for ever leads to has no brand.
unsafe impl<T: ?Sized + 'static> Trace for &'static T {
    type At<'a> = &'static T;
    const NEEDS_TRACE: bool = false;
    #[inline(always)]
    fn trace<V: Visitor>(&self, _: &mut V) {}
}

macro_rules! functions {
    ($($argument:ident)*) => {
        // SAFETY: a function pointer holds no edges, and one whose type is 'static has no brand.
        unsafe impl<$($argument: 'static,)* R: 'static> Trace for fn($($argument),*) -> R {
            type At<'a> = fn($($argument),*) -> R;
            const NEEDS_TRACE: bool = false;
            #[inline(always)]
            fn trace<V: Visitor>(&self, _: &mut V) {}
        }
    };
}

functions!();
functions!(A);
functions!(A B);
functions!(A B C);
functions!(A B C D);

/// A value of a type that holds no edges and does not implement [`Trace`], such as one of another crate.
///
/// It dereferences to the value.
///
/// ```
/// use lacuna::{Heap, Opaque};
///
/// let mut heap = Heap::new();
/// let pattern = heap.alloc(Opaque(std::sync::Arc::new("[a-z]+")));
/// assert_eq!(**heap.get(&pattern).0, *"[a-z]+");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Opaque<T: 'static>(pub T);

impl<T> Deref for Opaque<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Opaque<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: fmt::Display> fmt::Display for Opaque<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// SAFETY: a type that is 'static has no brand of any scope, so it holds no edges.
unsafe impl<T: 'static> Trace for Opaque<T> {
    type At<'a> = Opaque<T>;
    const NEEDS_TRACE: bool = false;
    #[inline(always)]
    fn trace<V: Visitor>(&self, _: &mut V) {}
}

macro_rules! owners {
    ($($name:ident<$($parameter:ident),+ $(; $other:ident)?>, |$value:ident, $visitor:ident| $visit:expr;)*) => {$(
        // SAFETY: the type owns values of its parameters and nothing else that could hold edges; all are visited, and
        // dropping it drops them without looking at what they lead to.
        unsafe impl<$($parameter: Trace),+ $(, $other: 'static)?> Trace for $name<$($parameter),+ $(, $other)?> {
            type At<'a> = $name<$($parameter::At<'a>),+ $(, $other)?>;
            const NEEDS_TRACE: bool = false $(|| $parameter::NEEDS_TRACE)+;
            #[inline(always)]
            fn trace<Vis: Visitor>(&self, $visitor: &mut Vis) {
                if Self::NEEDS_TRACE {
                    let $value = self;
                    $visit;
                }
            }
        }
    )*};
}

owners! {
    Option<T>, |value, visitor| if let Some(value) = value { value.trace(visitor) };
    Vec<T>, |value, visitor| value.iter().for_each(|value| value.trace(visitor));
    VecDeque<T>, |value, visitor| value.iter().for_each(|value| value.trace(visitor));
    LinkedList<T>, |value, visitor| value.iter().for_each(|value| value.trace(visitor));
    BinaryHeap<T>, |value, visitor| value.iter().for_each(|value| value.trace(visitor));
    BTreeSet<T>, |value, visitor| value.iter().for_each(|value| value.trace(visitor));
    BTreeMap<K, T>, |value, visitor| value.iter().for_each(|(key, value)| {
        key.trace(visitor);
        value.trace(visitor);
    });
    Result<T, E>, |value, visitor| match value {
        Ok(value) => value.trace(visitor),
        Err(error) => error.trace(visitor),
    };
}

#[cfg(feature = "std")]
use std::collections::{HashMap, HashSet};

#[cfg(feature = "std")]
owners! {
    HashMap<K, T; S>, |value, visitor| value.iter().for_each(|(key, value)| {
        key.trace(visitor);
        value.trace(visitor);
    });
    HashSet<T; S>, |value, visitor| value.iter().for_each(|value| value.trace(visitor));
}

#[cfg(feature = "hashbrown-fields")]
owners! {
    HashTable<T>, |value, visitor| value.iter().for_each(|value| value.trace(visitor));
}

// SAFETY: as above; the allocator holds nothing.
#[cfg(feature = "hashbrown-fields")]
unsafe impl<T: Trace> Trace for HashTable<T, HugePages> {
    type At<'a> = HashTable<T::At<'a>, HugePages>;
    const NEEDS_TRACE: bool = T::NEEDS_TRACE;
    #[inline(always)]
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        if T::NEEDS_TRACE {
            self.iter().for_each(|value| value.trace(visitor));
        }
    }
}

// SAFETY: the array's elements are all there is.
unsafe impl<T: Trace, const N: usize> Trace for [T; N] {
    type At<'a> = [T::At<'a>; N];
    const NEEDS_TRACE: bool = T::NEEDS_TRACE;
    #[inline(always)]
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        if T::NEEDS_TRACE {
            self.iter().for_each(|element| element.trace(visitor));
        }
    }
}

// SAFETY: the box owns one object and visits it. Boxes of trait objects are left out: a trait may be implemented for
// one scope only, and `At` would bring the object into another.
unsafe impl<T: ?Sized + Object<Metadata = ()>> Trace for Box<T> {
    type At<'a> = Box<T::Of<'a>>;
    const NEEDS_TRACE: bool = T::EDGES;
    #[inline(always)]
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        if T::EDGES {
            (**self).trace_object(visitor);
        }
    }
}

// SAFETY: there is no value, so there are no edges.
unsafe impl<T: Trace> Trace for PhantomData<T> {
    type At<'a> = PhantomData<T::At<'a>>;
    const NEEDS_TRACE: bool = false;
    #[inline(always)]
    fn trace<V: Visitor>(&self, _: &mut V) {}
}

// SAFETY: what is borrowed is borrowed for ever, and what is owned is 'static: no brand, no edges.
unsafe impl<T: ?Sized + ToOwned + 'static> Trace for Cow<'static, T> {
    type At<'a> = Cow<'static, T>;
    const NEEDS_TRACE: bool = false;
    #[inline(always)]
    fn trace<V: Visitor>(&self, _: &mut V) {}
}

macro_rules! tuples {
    ($($name:ident)+) => {
        // SAFETY: the tuple's fields are all there is.
        unsafe impl<$($name: Trace),+> Trace for ($($name,)+) {
            type At<'a> = ($($name::At<'a>,)+);
            const NEEDS_TRACE: bool = false $(|| $name::NEEDS_TRACE)+;
            #[inline(always)]
            #[allow(non_snake_case, reason = "the fields are named like their types")]
            fn trace<Vis: Visitor>(&self, visitor: &mut Vis) {
                let ($($name,)+) = self;
                $($name.trace(visitor);)+
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);
tuples!(A B C D E F G H I);
tuples!(A B C D E F G H I J);
tuples!(A B C D E F G H I J K);
tuples!(A B C D E F G H I J K L);
