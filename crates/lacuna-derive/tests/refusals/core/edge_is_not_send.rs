//! One thread per heap: `Gc` stays on it.

use lacuna::*;

fn send<T: Send>() {}
fn share<T: Sync>() {}

fn main() {
    send::<Gc<'static, u32>>();
    share::<Gc<'static, u32>>();
}
