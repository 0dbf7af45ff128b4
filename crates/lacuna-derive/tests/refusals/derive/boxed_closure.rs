//! What a closure captures cannot be traced.

use lacuna::*;

#[derive(Trace)]
struct Callback<'gc> {
    call: Box<dyn Fn() + 'gc>,
}

fn main() {}
