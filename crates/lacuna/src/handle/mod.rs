//! What users hold.

pub(crate) mod cell;
pub(crate) mod cleanup;
pub(crate) mod ephemerons;
pub(crate) mod guard;
pub(crate) mod mutator;
pub(crate) mod root;
pub(crate) mod weak;
