//! Bounds have to hold at every scope, and these cannot be said about every scope.

use lacuna::*;

#[derive(Trace)]
struct Short<T>(T)
where
    T: Iterator,
    T::Item: Clone;

#[derive(Trace)]
struct Binding<T, U: Iterator<Item = T>>(T, U);

fn main() {}
