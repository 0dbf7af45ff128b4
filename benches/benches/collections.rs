//! What a collection costs: marking in each order on a scattered and on an ordered heap, and sweeping.
//!
//! The times are those that the heap measures for the phase in question, so that only that phase counts.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lacuna::{AutoDrain, Budget, Config, CycleStats, Gc, GcCell, Heap, MarkOrder, Root, Trace};
use lacuna_benches::rng::XorShift64;

/// Objects in the graphs: some hundred MB, more than any cache.
const NODES: usize = 10_000_000;

#[derive(Trace)]
struct Node<'gc> {
    edges: GcCell<[Option<Gc<'gc, Node<'gc>>>; 4]>,
    _id: u64,
}

/// A graph in which edge 0 leads to the next node in memory, and the others wherever `target` says.
fn graph(config: Config, nodes: usize, mut target: impl FnMut(usize, usize) -> usize) -> (Heap, Root<Node<'static>>) {
    let mut heap = Heap::with_config(config.measure_times(true));
    let root = heap.enter(|cx| {
        let node = |id| cx.alloc(Node { edges: GcCell::new([None; 4]), _id: id });
        let all: Vec<_> = (0..nodes as u64).map(node).collect();
        for (i, &node) in all.iter().enumerate() {
            let edges =
                std::array::from_fn(|edge| Some(all[if edge == 0 { (i + 1) % nodes } else { target(i, edge) }]));
            node.set(cx, |node| &node.edges, edges);
        }
        all[0].root(cx)
    });
    (heap, root)
}

/// Collects as often as asked; the sum of the times of one phase.
fn collect(heap: &mut Heap, times: u64, phase: impl Fn(&CycleStats) -> Option<Duration>) -> Duration {
    (0..times)
        .map(|_| {
            heap.collect();
            phase(&heap.stats().last).expect("the heap measures times")
        })
        .sum()
}

fn marking(c: &mut Criterion) {
    let mut group = c.benchmark_group("mark 10 million nodes");
    group.sample_size(10).throughput(Throughput::Elements(NODES as u64));
    for (name, order) in [("plain", MarkOrder::Plain), ("sampled", MarkOrder::Sampled)] {
        let mut rng = XorShift64::new();
        let (mut heap, _root) = graph(Config::default().mark_order(order), NODES, |_, _| rng.below(NODES));
        group.bench_function(format!("scattered, {name}"), |b| {
            b.iter_custom(|times| collect(&mut heap, times, |cycle| cycle.mark_time));
        });
    }
    for (name, order) in [("plain", MarkOrder::Plain), ("sampled", MarkOrder::Sampled)] {
        let (mut heap, _root) = graph(Config::default().mark_order(order), NODES, |i, edge| (i + edge + 1) % NODES);
        group.bench_function(format!("ordered, {name}"), |b| {
            b.iter_custom(|times| collect(&mut heap, times, |cycle| cycle.mark_time));
        });
    }
    group.finish();
}

/// Marking by one and by two threads, in turns as criterion makes them: compare what was measured within a minute.
#[cfg(feature = "parallel")]
fn marking_by_threads(c: &mut Criterion) {
    const NODES: usize = 2_000_000;
    let mut group = c.benchmark_group("mark 2 million nodes by threads");
    group.sample_size(30).throughput(Throughput::Elements(NODES as u64));
    for threads in [1, 2] {
        let config = Config::default().mark_threads(threads);
        let mut rng = XorShift64::new();
        let (mut heap, _root) = graph(config, NODES, |_, _| rng.below(NODES));
        group.bench_function(format!("scattered, {threads}"), |b| {
            b.iter_custom(|times| collect(&mut heap, times, |cycle| cycle.mark_time));
        });
        let (mut heap, _root) = graph(config, NODES, |i, edge| (i + edge + 1) % NODES);
        group.bench_function(format!("ordered, {threads}"), |b| {
            b.iter_custom(|times| collect(&mut heap, times, |cycle| cycle.mark_time));
        });
    }
    group.finish();
}

#[cfg(not(feature = "parallel"))]
fn marking_by_threads(_: &mut Criterion) {}

/// Sweeping a heap of which every second object died, without and with `Drop`.
fn sweeping(c: &mut Criterion) {
    const OBJECTS: usize = 8 << 20;
    let mut group = c.benchmark_group("sweep");
    group.sample_size(10).throughput(Throughput::Bytes(OBJECTS as u64 * 32));
    let mut heap = Heap::with_config(Config::default().measure_times(true).keep_empty(1 << 30));
    let _kept: Root<[Gc<'static, [u64; 4]>]> = heap.enter(|cx| {
        let all = (0..OBJECTS).map(|i| (i, cx.alloc([0_u64; 4])));
        let kept: Vec<_> = all.filter(|(i, _)| i % 2 == 0).map(|(_, object)| object).collect();
        cx.alloc_slice(kept).root(cx)
    });
    group.bench_function("nothing to drop", |b| {
        b.iter_custom(|times| collect(&mut heap, times, |cycle| cycle.sweep_time));
    });
    group.finish();
}

/// Objects with a cleanup, from being made to the callback having run: a million at a time, in a heap that has done it
/// before, so that its tables are there.
fn cleanups(c: &mut Criterion) {
    const OBJECTS: u64 = 1_000_000;
    fn nothing(_: &mut Heap, (): ()) {}
    let mut heap = Heap::with_config(Config::default().collect_automatically(false).auto_drain(AutoDrain::Off));
    let mut million = || {
        let start = Instant::now();
        heap.enter(|cx| {
            for i in 0..OBJECTS {
                cx.cleanup(cx.alloc(i), (), nothing).expect("there is memory");
            }
        });
        heap.collect_minor();
        let report = heap.drain(Budget::unlimited()).expect("no other drain is running");
        assert_eq!(report.ran as u64, OBJECTS);
        start.elapsed()
    };
    million();
    let mut group = c.benchmark_group("cleanup");
    group.sample_size(10).throughput(Throughput::Elements(OBJECTS));
    group.bench_function("a million made, dead, collected and run", |b| {
        b.iter_custom(|times| (0..times).map(|_| million()).sum());
    });
    group.finish();
}

criterion_group!(benches, marking, marking_by_threads, sweeping, cleanups);
criterion_main!(benches);
