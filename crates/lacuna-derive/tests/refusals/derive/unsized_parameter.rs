//! Values in the heap are sized; only targets of edges may be unsized.

use lacuna::*;

#[derive(Trace)]
struct Inline<'gc, T: ?Sized + Object + 'gc> {
    edge: Gc<'gc, T>,
}

#[derive(Trace)]
struct InClause<'gc, T>
where
    T: Object + ?Sized + 'gc,
{
    edge: Gc<'gc, T>,
}

fn main() {}
