//! Nothing says what the associated type is at another scope.

use lacuna::*;

#[derive(Trace)]
struct Peeked<T>
where
    T: Iterator,
    <T as Iterator>::Item: Trace,
{
    rest: T,
    next: Option<T::Item>,
}

fn main() {}
