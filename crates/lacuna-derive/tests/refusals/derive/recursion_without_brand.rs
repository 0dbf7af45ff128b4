//! Types that contain each other have to say so.

use lacuna::*;

#[derive(Trace)]
struct Odd {
    next: Option<Box<Even>>,
}

#[derive(Trace)]
struct Even {
    next: Option<Box<Odd>>,
}

fn main() {
    let _ = Odd::NEEDS_TRACE;
}
