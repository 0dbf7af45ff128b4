//! A type parameter may turn out to hold edges.

use lacuna::*;

#[derive(Trace)]
struct Wrapper<T>(T);

impl<T> Drop for Wrapper<T> {
    fn drop(&mut self) {}
}

fn main() {}
