//! The core under another name.
#![deny(warnings)]
#![allow(dead_code)]

mod deep {
    pub mod engine {
        pub use lacuna::*;
    }
}

#[derive(deep::engine::Trace)]
#[trace(crate = crate::deep::engine)]
struct Node<'gc, T: deep::engine::Trace + 'gc> {
    next: deep::engine::Gc<'gc, Node<'gc, T>>,
    value: T,
}

fn main() {}
