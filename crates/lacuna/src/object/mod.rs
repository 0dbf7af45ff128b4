//! Typed cells: what can be stored, how its edges are found, how it is dropped.

pub(crate) mod descriptor;
pub(crate) mod dynamic;
pub(crate) mod edges;
pub(crate) mod ephemerons;
pub(crate) mod gc;
pub(crate) mod marker;
pub(crate) mod sequence;
pub(crate) mod stack;
pub(crate) mod trace;
pub(crate) mod trace_std;
