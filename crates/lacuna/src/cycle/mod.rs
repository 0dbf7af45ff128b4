//! One collection: mark, weak pass, sweep.

pub(crate) mod barrier;
pub(crate) mod collector;
pub(crate) mod core;
pub(crate) mod ephemerons;
pub(crate) mod failures;
#[cfg(any(feature = "parallel", all(test, loom)))]
pub(crate) mod hand_over;
pub(crate) mod major;
pub(crate) mod mark;
pub(crate) mod pacing;
#[cfg(feature = "parallel")]
pub(crate) mod parallel;
pub(crate) mod sweep;
pub(crate) mod verify;
pub(crate) mod weak_pass;
pub(crate) mod work;
