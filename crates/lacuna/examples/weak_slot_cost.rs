//! What finding the weak slot of an object costs, beside a hash map from addresses: medians, in nanoseconds.
//!
//! The map has a hash function of two instructions, which is hard to beat. The decision record on weak slots rests on it.
//!
//! `cargo run --release -p lacuna --example weak_slot_cost`

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Instant;

use lacuna::{Config, Gc, Heap};

/// Multiplies by a number without pattern.
#[derive(Default)]
struct Multiply(u64);

impl Hasher for Multiply {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only addresses are hashed");
    }
    fn write_usize(&mut self, address: usize) {
        self.0 = (address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(26);
    }
}

type Map = HashMap<usize, u32, BuildHasherDefault<Multiply>>;

const OBJECTS: usize = 1_000_000;
const RUNS: usize = 5;

fn timed<R>(times: &mut Vec<f64>, step: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = step();
    times.push(start.elapsed().as_secs_f64() * 1e9 / OBJECTS as f64);
    result
}

fn main() {
    let mut times = [const { Vec::new() }; 4];
    let [made, inserted, found, looked_up] = &mut times;
    for _ in 0..RUNS {
        let mut heap = Heap::with_config(Config::default().collect_automatically(false));
        heap.enter(|cx| {
            let objects: Vec<Gc<'_, [u64; 2]>> = (0..OBJECTS).map(|i| cx.alloc([i as u64; 2])).collect();
            let first: Vec<_> = timed(made, || objects.iter().map(|object| object.downgrade(cx)).collect());
            let second: Vec<_> = timed(found, || objects.iter().map(|object| object.downgrade(cx)).collect());
            assert!(first == second);

            let mut map = Map::default();
            timed(inserted, || map.extend(objects.iter().enumerate().map(|(i, object)| (Gc::addr(*object), i as u32))));
            let slots: Vec<u32> = timed(looked_up, || objects.iter().map(|object| map[&Gc::addr(*object)]).collect());
            assert!(slots.iter().enumerate().all(|(i, &slot)| i == slot as usize));
        });
        println!("bytes for each observed object: {:.1}", heap.stats().weak_bytes as f64 / OBJECTS as f64);
    }
    let names = ["new slot, block table", "new entry, hash map", "found again, block table", "found again, hash map"];
    for (name, times) in names.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        println!("{name:<26} {:>6.1} ns", times[RUNS / 2]);
    }
}
