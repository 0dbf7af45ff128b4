//! The price of the small things, beside the same thing without a collector.
//!
//! `Box` and `Rc` are measured in the same run as lacuna, because only the ratio means anything on a shared machine.

use std::hint::black_box;
use std::rc::Rc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

/// Allocating and freeing a box of `BYTES` bytes.
fn boxed<const BYTES: usize>(c: &mut Criterion) {
    c.benchmark_group("box alloc and free").bench_function(BenchmarkId::from_parameter(BYTES), |b| {
        b.iter(|| drop(black_box(Box::new([0_u8; BYTES]))));
    });
}

/// Making and dropping one more handle to a value that lives on.
fn rc_handle(c: &mut Criterion) {
    let value = Rc::new(7_u64);
    let weak = Rc::downgrade(&value);
    let mut group = c.benchmark_group("rc");
    group.bench_function("clone and drop", |b| b.iter(|| drop(black_box(Rc::clone(black_box(&value))))));
    group.bench_function("upgrade and drop", |b| b.iter(|| drop(black_box(black_box(&weak).upgrade()))));
    group.finish();
}

criterion_group!(benches, boxed::<16>, boxed::<32>, boxed::<64>, rc_handle);
criterion_main!(benches);
