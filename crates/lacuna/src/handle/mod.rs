//! What users hold.

pub(crate) mod cell;
pub(crate) mod drain;
pub(crate) mod ephemerons;
pub(crate) mod guard;
pub(crate) mod mutator;
pub(crate) mod registration;
pub(crate) mod root;
pub(crate) mod send;
pub(crate) mod weak;
#[cfg(feature = "hashbrown-fields")]
pub(crate) mod weak_table;
