//! Who points into the heap, and who points without holding.

pub(crate) mod callback;
pub(crate) mod finalizers;
mod queue;
pub(crate) mod roots;
pub(crate) mod weak;
