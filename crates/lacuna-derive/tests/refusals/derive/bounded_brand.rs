//! The brand stands for any scope.

use lacuna::*;

#[derive(Trace)]
struct Bounded<'gc: 'static> {
    edge: Gc<'gc, str>,
}

#[derive(Trace)]
struct BoundedLater<'gc>
where
    'gc: 'static,
{
    edge: Gc<'gc, str>,
}

fn main() {}
