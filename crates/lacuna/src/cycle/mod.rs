//! One collection: mark, weak pass, sweep.

pub(crate) mod collector;
pub(crate) mod core;
pub(crate) mod ephemerons;
pub(crate) mod failures;
pub(crate) mod major;
pub(crate) mod mark;
pub(crate) mod pacing;
pub(crate) mod sweep;
pub(crate) mod verify;
pub(crate) mod weak_pass;
pub(crate) mod work;
