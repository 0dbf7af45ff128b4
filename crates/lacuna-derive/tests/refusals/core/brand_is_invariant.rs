//! A brand neither shrinks nor grows.

use lacuna::*;

fn shorten<'long: 'short, 'short>(gc: Gc<'long, str>) -> Gc<'short, str> {
    gc
}

fn lengthen<'long: 'short, 'short>(gc: Gc<'short, str>) -> Gc<'long, str> {
    gc
}

fn main() {}
