//! What an empty heap costs: resident bytes, measured over many heaps, since the system counts in pages.
//!
//! `cargo run --release -p lacuna --example empty_heap`

mod resident;

use lacuna::Heap;
use resident::resident;

const HEAPS: u64 = 256;

fn main() {
    drop(Heap::new()); // the code's own pages are not the heap's
    let mut heaps = Vec::with_capacity(HEAPS as usize);
    let Some(before) = resident() else {
        println!("not measured: this system does not tell resident sizes in /proc/self/statm");
        return;
    };
    heaps.extend((0..HEAPS).map(|_| Heap::new()));
    let after = resident().expect("it was measured before");
    let each = (after - before) as f64 / HEAPS as f64;
    println!("an empty heap: {each:.0} bytes resident (mean of {HEAPS}), {} reserved", heaps[0].stats().reserved_bytes);

    assert!(each <= f64::from(64 << 10));
    assert_eq!(heaps[0].stats().reserved_bytes, 0); // the first object brings the first chunk

    let root = heaps[0].alloc(1_u64);
    println!("with its first object: {} bytes reserved, a chunk; resident are the pages touched", {
        heaps[0].stats().reserved_bytes
    });
    drop(root);
}
