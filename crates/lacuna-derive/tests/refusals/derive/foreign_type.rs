//! A type the collector knows nothing about.

use lacuna::*;

#[derive(Trace)]
struct File {
    path: String,
    changes: std::sync::mpsc::Receiver<u32>,
}

fn main() {}
