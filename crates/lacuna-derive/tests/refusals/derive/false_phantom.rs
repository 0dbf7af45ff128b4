//! `PhantomData` is known by what it is.

use lacuna::*;

struct PhantomData<T>(T);

#[derive(Trace)]
struct Cheat<'gc> {
    hidden: PhantomData<Gc<'gc, str>>,
}

fn main() {}
