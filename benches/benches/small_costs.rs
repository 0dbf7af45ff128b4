//! The price of the small things, beside the same thing without a collector.
//!
//! `Box` and `Rc` are measured in the same run as lacuna, because only the ratio means anything on a shared machine.

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lacuna::{AutoDrain, Config, Gc, GcCell, Heap, Mutator, Root, Trace};
use lacuna_benches::rng::XorShift64;

/// Bytes of the cells that an allocation benchmark fills: half a second-level cache, so that it is the allocator that is
/// measured and not the memory behind it.
const ARENA: usize = 512 << 10;

#[derive(Trace)]
struct Bytes<const WORDS: usize>([u64; WORDS]);

/// A heap that collects only when told to, and keeps its memory.
fn quiet_heap() -> Heap {
    Heap::with_config(Config::default().collect_automatically(false).auto_drain(AutoDrain::Off).keep_empty(1 << 30))
}

/// Allocating objects into blocks of which `percent` of the cells are taken, at random.
fn allocation<const WORDS: usize>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("allocate {} bytes", WORDS * 8));
    group.bench_function("box, and free", |b| b.iter(|| drop(black_box(Box::new([0_u64; WORDS])))));
    for percent in [0, 50, 90] {
        let mut heap = quiet_heap();
        let cells = ARENA / (WORDS * 8);
        let mut rng = XorShift64::new();
        let kept: Root<[Gc<'static, Bytes<WORDS>>]> = heap.enter(|cx| {
            let all = (0..cells).map(|_| cx.alloc(Bytes([0; WORDS])));
            let kept: Vec<_> = all.filter(|_| rng.below(100) < percent).collect();
            cx.alloc_slice(kept).root(cx)
        });
        heap.collect();
        let free = cells - heap.with(&kept, |kept| kept.len());
        group.bench_function(BenchmarkId::new("lacuna, percent taken", percent), |b| {
            b.iter_custom(|iterations| {
                let mut left = iterations as usize;
                let mut elapsed = Duration::ZERO;
                while left > 0 {
                    let batch = left.min(free);
                    let start = Instant::now();
                    heap.enter(|cx| allocate::<WORDS>(cx, batch));
                    elapsed += start.elapsed();
                    heap.collect();
                    left -= batch;
                }
                elapsed
            });
        });
    }
    group.finish();
}

#[inline(never)]
fn allocate<const WORDS: usize>(cx: &Mutator<'_>, objects: usize) {
    for i in 0..objects {
        black_box(cx.alloc(Bytes([i as u64; WORDS])));
    }
}

/// Allocating objects that die at once, with the collections that this causes.
fn short_lived(c: &mut Criterion) {
    let mut heap = Heap::new();
    c.bench_function("short-lived, 16 bytes, collections included", |b| {
        b.iter_custom(|iterations| {
            let start = Instant::now();
            let mut left = iterations as usize;
            while left > 0 {
                let batch = left.min(4096);
                heap.enter(|cx| allocate::<2>(cx, batch));
                left -= batch;
            }
            start.elapsed()
        });
    });
}

/// Making and dropping one more handle to an object that lives on.
fn handles(c: &mut Criterion) {
    let value = Rc::new(7_u64);
    let weak = Rc::downgrade(&value);
    let mut group = c.benchmark_group("handle");
    group.bench_function("rc clone and drop", |b| b.iter(|| drop(black_box(Rc::clone(black_box(&value))))));
    group.bench_function("rc upgrade and drop", |b| b.iter(|| drop(black_box(black_box(&weak).upgrade()))));
    let mut heap = quiet_heap();
    heap.enter(|cx| {
        let object = cx.alloc(7_u64);
        let weak = object.downgrade(cx);
        let root = object.root(cx);
        group.bench_function("root and drop", |b| b.iter(|| drop(black_box(black_box(object).root(cx)))));
        group.bench_function("root clone and drop", |b| b.iter(|| drop(black_box(black_box(&root).clone()))));
        group.bench_function("upgrade in a scope", |b| b.iter(|| black_box(cx.upgrade(black_box(weak)))));
        group.bench_function("root to pointer", |b| b.iter(|| black_box(black_box(&root).get(cx))));
    });
    let root = heap.alloc(7_u64);
    let weak = heap.downgrade(&root);
    group.bench_function("upgrade to a root and drop", |b| b.iter(|| drop(black_box(heap.upgrade(black_box(weak))))));
    group.finish();
}

#[derive(Trace)]
struct Field {
    value: GcCell<u64>,
}

/// Writing a field through its owner.
fn writes(c: &mut Criterion) {
    let mut group = c.benchmark_group("write");
    let plain = Box::new(Cell::new(0_u64));
    group.bench_function("plain cell", |b| b.iter(|| black_box(&plain).set(black_box(1))));
    quiet_heap().enter(|cx| {
        let object = cx.alloc(Field { value: GcCell::new(0) });
        group.bench_function("through the owner", |b| {
            b.iter(|| black_box(object).set(cx, |object| &object.value, black_box(1)));
        });
    });
    group.finish();
}

criterion_group!(
    benches,
    allocation::<2>,
    allocation::<3>,
    allocation::<4>,
    allocation::<6>,
    allocation::<8>,
    short_lived,
    handles,
    writes
);
criterion_main!(benches);
