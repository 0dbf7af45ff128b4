//! A bound on the type itself would have to hold at every scope.

use lacuna::*;

#[derive(Trace)]
struct Clever<T>(T)
where
    Self: Clone;

fn main() {}
