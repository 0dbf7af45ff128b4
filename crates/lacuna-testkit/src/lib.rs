//! Programs of heap operations, a naive model of what they must do, and the driver that runs a program on both.
//!
//! A [`Program`] is a list of [`Operation`]s decoded from bytes, so that property tests and fuzzers speak the same
//! language; every sequence of bytes is a program. [`run`] plays it on a real heap and on the [`model`], and
//! compares after each step: the statistics, every weak reference, which callbacks ran and in which order, which values
//! were dropped, and everything that can be reached, object by object.
//!
//! ```
//! use lacuna_testkit::{Program, Setup, run};
//!
//! let program = Program::decode(b"any bytes at all are a program of some kind");
//! run(&program, Setup::DEFAULT).unwrap();
//! ```
#![deny(unsafe_code)]

mod callbacks;
mod compare;
mod driver;
pub mod explore;
pub mod model;
mod objects;
mod operations;
mod scope;

pub use driver::{Outcome, Setup, run, run_starved};
pub use objects::Kind;
pub use operations::{Behaviour, Operation, Program};
