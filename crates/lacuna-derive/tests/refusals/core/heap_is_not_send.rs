//! One thread per heap: `Heap` stays on it.

use lacuna::*;

fn send<T: Send>() {}
fn share<T: Sync>() {}

fn main() {
    send::<Heap>();
    share::<Heap>();
}
