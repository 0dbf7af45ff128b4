//! One thread per heap: `Root` stays on it.

use lacuna::*;

fn send<T: Send>() {}
fn share<T: Sync>() {}

fn main() {
    send::<Root<u32>>();
    share::<Root<u32>>();
}
