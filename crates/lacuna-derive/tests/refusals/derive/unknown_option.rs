//! Options are spelled right and in the right place.

use lacuna::*;

#[derive(Trace)]
#[trace(skip)]
struct OnType {
    number: u32,
}

#[derive(Trace)]
struct OnField {
    #[trace(ignore)]
    number: u32,
}

#[derive(Trace)]
enum OnVariant {
    #[trace(skip)]
    Number(u32),
}

fn main() {}
