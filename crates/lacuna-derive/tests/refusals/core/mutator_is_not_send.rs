//! One thread per heap: `Mutator` stays on it.

use lacuna::*;

fn send<T: Send>() {}
fn share<T: Sync>() {}

fn main() {
    send::<Mutator<'static>>();
    share::<Mutator<'static>>();
}
