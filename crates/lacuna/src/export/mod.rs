//! The object graph, read-only.

#[cfg(feature = "std")]
pub(crate) mod chrome;
pub(crate) mod graph;
pub(crate) mod retaining;
