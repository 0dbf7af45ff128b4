//! What can go wrong, and what to do about it.

use core::fmt;

/// Why there is no memory for a cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Exhausted {
    /// The heap would exceed its limit (see [`Config::heap_limit`](crate::Config::heap_limit)).
    Limit,
    /// The global allocator gave no memory.
    System,
    /// The heap was shut down.
    Closed,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Limit => "the heap limit is reached; drop roots and collect, or raise the limit with Heap::set_limit",
            Self::System => "the global allocator has no memory; drop roots and collect, or free memory elsewhere",
            Self::Closed => "the heap was shut down; nothing can be allocated in it any more",
        })
    }
}

impl core::error::Error for Exhausted {}

/// An allocation failed. Carries the value back, so that nothing is lost.
pub struct AllocError<T> {
    value: T,
    reason: Exhausted,
}

impl<T> AllocError<T> {
    pub(crate) fn new(value: T, reason: Exhausted) -> Self {
        Self { value, reason }
    }

    /// The value that was to be allocated.
    pub fn into_value(self) -> T {
        self.value
    }

    /// Why there was no memory.
    pub fn reason(&self) -> Exhausted {
        self.reason
    }
}

impl<T> fmt::Debug for AllocError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllocError").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for AllocError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "allocation failed: {}", self.reason)
    }
}

impl<T> core::error::Error for AllocError<T> {}

/// A handle was used with a heap that it does not belong to, or whose objects are gone since it was shut down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrongHeap;

impl fmt::Display for WrongHeap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this handle belongs to another heap, or to one that was shut down; use it with the heap that made it",
        )
    }
}

impl core::error::Error for WrongHeap {}

/// Why an object could not be observed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ObserveError {
    /// The root belongs to another heap.
    WrongHeap(WrongHeap),
    /// There is no memory for the object's weak slot.
    Exhausted(Exhausted),
}

impl From<WrongHeap> for ObserveError {
    fn from(error: WrongHeap) -> Self {
        Self::WrongHeap(error)
    }
}

impl From<Exhausted> for ObserveError {
    fn from(error: Exhausted) -> Self {
        Self::Exhausted(error)
    }
}

impl fmt::Display for ObserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongHeap(error) => error.fmt(f),
            Self::Exhausted(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ObserveError {}

/// Why a cleanup, guardian or notification could not be registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RegisterFailure {
    /// The payload holds a root of the target, so the target would never die.
    SelfRetention,
    /// The heap was shut down.
    Closed,
    /// There is no memory for the registration.
    OutOfMemory,
    /// The target, or the owner, belongs to another heap.
    WrongHeap,
    /// The weak reference to be notified of is dead already, or never had a target.
    Dead,
}

impl fmt::Display for RegisterFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SelfRetention => {
                "the payload holds a root of the target, which would keep it alive for ever; \
                 give the payload what the callback needs, not the object"
            }
            Self::Closed => "the heap was shut down and takes no more registrations",
            Self::OutOfMemory => "no memory for the registration; drop roots and collect, then try again",
            Self::Dead => {
                "the weak reference is dead already, or null, and dies no more; \
                 upgrade it first, and do at once what the callback was to do if that gives nothing"
            }
            Self::WrongHeap => "the target belongs to another heap; register it with the heap that made it",
        })
    }
}

/// A registration failed. Carries the payload back, so that nothing is lost.
pub struct RegisterError<P> {
    payload: P,
    reason: RegisterFailure,
}

impl<P> RegisterError<P> {
    pub(crate) fn new(payload: P, reason: RegisterFailure) -> Self {
        Self { payload, reason }
    }

    /// The payload that was to be registered.
    pub fn into_payload(self) -> P {
        self.payload
    }

    /// Why it was not.
    pub fn reason(&self) -> RegisterFailure {
        self.reason
    }
}

impl<P> fmt::Debug for RegisterError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisterError").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<P> fmt::Display for RegisterError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "registration failed: {}", self.reason)
    }
}

impl<P> core::error::Error for RegisterError<P> {}

/// Callbacks of this heap are running already.
///
/// A callback that drains again, or shuts the heap down, would run other callbacks inside itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Busy;

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("callbacks of this heap are running; return from the callback first, what it queued runs after it")
    }
}

impl core::error::Error for Busy {}
