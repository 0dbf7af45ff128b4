//! A skipped field cannot hold what may be an edge.

use lacuna::*;

#[derive(Trace)]
struct Cheat<T> {
    #[trace(skip)]
    hidden: Vec<T>,
}

fn main() {}
