//! The price of the small things, beside the same thing without a collector.
//!
//! `Box` and `Rc` are measured in the same run as lacuna, because only the ratio means anything on a shared machine.

use std::cell::Cell;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{Bencher, BenchmarkId, Criterion, criterion_group, criterion_main};
use lacuna::{AutoDrain, Config, Gc, GcCell, Heap, Mutator, Opaque, Root, Trace};
use lacuna_benches::rng::XorShift64;

/// Bytes of the cells that an allocation benchmark fills: half a common second-level cache, so that it is the
/// allocator that is measured and not the memory behind it.
const ARENA: usize = 512 << 10;

/// An object of `8 + 8 * REST` bytes of which the first word is written: what filling the others costs is the program's
/// business, and the same wherever the object lies.
#[derive(Trace)]
struct Object<const REST: usize> {
    _first: u64,
    _rest: Opaque<[MaybeUninit<u64>; REST]>,
}

impl<const REST: usize> Object<REST> {
    fn new(first: u64) -> Self {
        Self { _first: first, _rest: Opaque([MaybeUninit::uninit(); REST]) }
    }
}

/// A heap that collects only when told to, and keeps its memory.
fn quiet_heap() -> Heap {
    Heap::with_config(Config::default().collect_automatically(false).auto_drain(AutoDrain::Off).keep_empty(1 << 30))
}

/// Allocating objects into blocks of which `percent` of the cells are taken, at random, beside writing to the same places
/// of an array.
fn allocation<const REST: usize>(c: &mut Criterion) {
    let bytes = size_of::<Object<REST>>();
    let mut group = c.benchmark_group(format!("allocate {bytes} bytes"));
    group.bench_function("box, and free", |b| b.iter(|| drop(black_box(Box::new(Object::<REST>::new(0))))));
    for percent in [0, 50, 90] {
        let mut heap = quiet_heap();
        let cells = ARENA / bytes;
        let mut rng = XorShift64::new();
        let taken: Vec<bool> = (0..cells).map(|_| rng.below(100) < percent).collect();
        let _kept: Root<[Gc<'static, Object<REST>>]> = heap.enter(|cx| {
            let all = taken.iter().map(|&taken| (taken, cx.alloc(Object::new(0))));
            let kept: Vec<_> = all.filter(|&(taken, _)| taken).map(|(_, object)| object).collect();
            cx.alloc_slice(kept).root(cx)
        });
        heap.collect();
        let free: Vec<usize> = (0..cells).filter(|&cell| !taken[cell]).map(|cell| cell * bytes / 8).collect();
        let mut array = vec![0_u64; ARENA / 8];
        group.bench_function(BenchmarkId::new("an array written, percent left out", percent), |b| {
            b.iter_custom(|iterations| in_batches(iterations, free.len(), |batch| write(&mut array, &free[..batch])));
        });
        group.bench_function(BenchmarkId::new("lacuna, percent taken", percent), |b| {
            b.iter_custom(|iterations| {
                in_batches(iterations, free.len(), |batch| {
                    heap.collect();
                    let start = Instant::now();
                    heap.enter(|cx| allocate::<REST>(cx, batch));
                    start.elapsed()
                })
            });
        });
    }
    group.finish();
}

/// The sum of what `step` says of batches of at most `size`.
fn in_batches(iterations: u64, size: usize, mut step: impl FnMut(usize) -> Duration) -> Duration {
    let mut left = iterations as usize;
    let mut elapsed = Duration::ZERO;
    while left > 0 {
        let batch = left.min(size);
        elapsed += step(batch);
        left -= batch;
    }
    elapsed
}

#[inline(never)]
fn write(array: &mut [u64], places: &[usize]) -> Duration {
    let start = Instant::now();
    for (i, &place) in places.iter().enumerate() {
        array[place] = i as u64;
        black_box(&array[place]);
    }
    start.elapsed()
}

#[inline(never)]
fn allocate<const REST: usize>(cx: &Mutator<'_>, objects: usize) {
    for i in 0..objects {
        black_box(cx.alloc(Object::<REST>::new(i as u64)));
    }
}

/// Allocating objects that die at once, with the collections that this causes.
fn short_lived(c: &mut Criterion) {
    let mut heap = Heap::new();
    c.bench_function("short-lived, 16 bytes, collections included", |b| {
        b.iter_custom(|iterations| {
            let start = Instant::now();
            in_batches(iterations, 4096, |batch| {
                heap.enter(|cx| allocate::<1>(cx, batch));
                Duration::ZERO
            });
            start.elapsed()
        });
    });
}

/// Weak references that are read in turn, as a program has them.
const OBSERVED: usize = 1024;

/// Making and dropping one more handle to an object that lives on.
fn handles(c: &mut Criterion) {
    let values: Vec<Rc<u64>> = (0..OBSERVED as u64).map(Rc::new).collect();
    let weak: Vec<_> = values.iter().map(Rc::downgrade).collect();
    let mut group = c.benchmark_group("handle");
    group.bench_function("rc clone and drop", |b| b.iter(|| drop(black_box(Rc::clone(black_box(&values[0]))))));
    group.bench_function("rc upgrade and drop", |b| in_turn(b, &weak, |weak| drop(weak.upgrade())));
    group.bench_function("rc upgrade, read and drop", |b| in_turn(b, &weak, |weak| weak.upgrade().map(|value| *value)));
    let mut heap = quiet_heap();
    heap.enter(|cx| {
        let objects: Vec<_> = (0..OBSERVED as u64).map(|i| cx.alloc(i)).collect();
        let weak: Vec<_> = objects.iter().map(|object| object.downgrade(cx)).collect();
        let root = objects[0].root(cx);
        group.bench_function("root and drop", |b| b.iter(|| drop(black_box(black_box(objects[0]).root(cx)))));
        group.bench_function("root clone and drop", |b| b.iter(|| drop(black_box(black_box(&root).clone()))));
        group.bench_function("root to pointer", |b| b.iter(|| black_box(black_box(&root).get(cx))));
        group.bench_function("upgrade in a scope", |b| in_turn(b, &weak, |&weak| cx.upgrade(weak)));
        group.bench_function("upgrade in a scope, and read", |b| {
            in_turn(b, &weak, |&weak| cx.upgrade(weak).map(|value| *value));
        });
    });
    let roots: Vec<_> = (0..OBSERVED as u64).map(|i| heap.alloc(i)).collect();
    let weak: Vec<_> = roots.iter().map(|root| heap.downgrade(root)).collect();
    group.bench_function("upgrade to a root, read and drop", |b| {
        in_turn(b, &weak, |&weak| heap.upgrade(weak).map(|root| *heap.get(&root)));
    });
    group.finish();
}

/// Uses one reference after the other.
fn in_turn<T, R>(b: &mut Bencher<'_>, references: &[T], mut upgrade: impl FnMut(&T) -> R) {
    b.iter_custom(|iterations| {
        in_batches(iterations, references.len(), |batch| {
            let start = Instant::now();
            for reference in &references[..batch] {
                black_box(upgrade(reference));
            }
            start.elapsed()
        })
    });
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

#[derive(Trace)]
struct Link<'gc> {
    next: GcCell<Option<Gc<'gc, Link<'gc>>>>,
    _id: u64,
}

/// The same without a heap.
struct PlainLink<'a> {
    next: Cell<Option<&'a PlainLink<'a>>>,
    _id: u64,
}

/// Objects that are written one after the other: their cells, marks and dirty bits are in the first-level cache.
const WRITTEN: usize = 512;

type Links = Root<[Gc<'static, Link<'static>>]>;

/// So many objects, in a heap that remembers writes or does not.
fn links(heap: &mut Heap) -> Links {
    heap.enter(|cx| {
        let link = |i| cx.alloc(Link { next: GcCell::new(None), _id: i as u64 });
        cx.alloc_slice_with(WRITTEN, link).root(cx)
    })
}

#[inline(never)]
fn write_links<'gc>(cx: &Mutator<'gc>, links: &[Gc<'gc, Link<'gc>>], to: Option<Gc<'gc, Link<'gc>>>) {
    for link in links {
        link.set(cx, |link| &link.next, to);
    }
}

#[inline(never)]
fn write_plain<'a>(links: &[&'a PlainLink<'a>], to: Option<&'a PlainLink<'a>>) {
    for link in links {
        link.next.set(to);
    }
}

/// Writing an edge, with the barrier that the state of object and heap asks for: the time of one write.
fn barrier(c: &mut Criterion) {
    let mut group = c.benchmark_group("write an edge");
    let passes = |iterations: u64, mut pass: Box<dyn FnMut() -> Duration + '_>| {
        (0..iterations.div_ceil(WRITTEN as u64)).map(|_| pass()).sum::<Duration>()
    };
    let plain: Vec<_> = (0..WRITTEN as u64).map(|id| PlainLink { next: Cell::new(None), _id: id }).collect();
    let all: Vec<_> = plain.iter().collect();
    group.bench_function("plain", |b| {
        b.iter_custom(|iterations| {
            passes(iterations, Box::new(|| elapsed(|| write_plain(black_box(&all), black_box(Some(all[0]))))))
        });
    });
    let whole = Config::default().collect_automatically(false).minor_step(None);
    let minor = Config::default().collect_automatically(false);
    let states = [("heap not armed", whole, true), ("new", minor, false), ("old and dirty", minor, true)];
    for (state, config, old) in states {
        let mut heap = Heap::with_config(config);
        let links = links(&mut heap);
        if old {
            heap.collect();
        }
        heap.enter(|cx| {
            let links = cx.get(&links);
            group.bench_function(state, |b| {
                let write = || elapsed(|| write_links(cx, black_box(&links), black_box(Some(links[0]))));
                b.iter_custom(|iterations| passes(iterations, Box::new(write)));
            });
        });
    }
    let mut heap = Heap::with_config(minor);
    let links = links(&mut heap);
    heap.collect();
    group.bench_function("old and clean", |b| {
        b.iter_custom(|iterations| {
            let write = || {
                let took = heap.enter(|cx| {
                    let links = cx.get(&links);
                    elapsed(|| write_links(cx, black_box(&links), black_box(Some(links[0]))))
                });
                heap.collect_minor();
                took
            };
            passes(iterations, Box::new(write))
        });
    });
    group.finish();
}

/// How long a step takes.
#[inline(always)]
fn elapsed(step: impl FnOnce()) -> Duration {
    let start = Instant::now();
    step();
    start.elapsed()
}

criterion_group!(
    benches,
    allocation::<1>,
    allocation::<2>,
    allocation::<3>,
    allocation::<5>,
    allocation::<7>,
    short_lived,
    handles,
    writes,
    barrier
);
criterion_main!(benches);
