//! A name that is given another meaning does not switch the proofs off.

extern crate self as core;

pub mod ops {
    pub trait Drop {}
}

pub mod marker {
    pub use std::marker::{PhantomData, Sized};
}

use lacuna::*;

#[derive(Trace)]
struct Edge<'gc> {
    name: Gc<'gc, String>,
}

impl Drop for Edge<'_> {
    fn drop(&mut self) {
        println!("{}", *self.name);
    }
}

fn main() {}
