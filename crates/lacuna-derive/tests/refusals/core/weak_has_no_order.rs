//! Weak references are equal by identity and have no order.

use lacuna::*;

fn main() {
    let (one, other) = (Weak::<u32>::null(), Weak::<u32>::null());
    let _ = one < other;
    let _ = std::collections::BTreeSet::from([one, other]);
}
