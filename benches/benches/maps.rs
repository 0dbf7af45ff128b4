//! Operations of weak maps, beside hashbrown's map of roots with the same keys and hasher. For the map by identity, which
//! brings a hash of its own, the strong map's keys are the objects' addresses.
//!
//! Both maps are of the same objects, and what a lookup gives is read: a pointer in a scope, where the strong map's root
//! is turned into one, or a root outside, where it is cloned.

use std::hash::BuildHasher;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hashbrown::{DefaultHashBuilder, HashMap};
use lacuna::{Config, Gc, Heap, Root};
use lacuna_benches::rng::XorShift64;
use lacuna_collections::{WeakKeyMap, WeakValueMap};

type Strong<S> = HashMap<u64, Root<u64>, S>;
type Weak<S> = WeakValueMap<u64, u64, S>;

const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

fn quiet_heap() -> Heap {
    Heap::with_config(Config::default().collect_automatically(false).keep_empty(1 << 30))
}

/// Different keys, in no order.
fn keys(entries: usize) -> Vec<u64> {
    let mut rng = XorShift64::new();
    (0..entries as u64).map(|i| (rng.below(1 << 24) as u64) << 32 | i).collect()
}

/// The keys in another order, each once.
fn shuffled(keys: &[u64]) -> Vec<u64> {
    let (mut keys, mut rng) = (keys.to_vec(), XorShift64::new());
    for i in (1..keys.len()).rev() {
        keys.swap(i, rng.below(i + 1));
    }
    keys
}

fn lookups(c: &mut Criterion) {
    for size in SIZES {
        let hasher = DefaultHashBuilder::default();
        let mut heap = quiet_heap();
        let keys = keys(size);
        let mut strong = Strong::with_hasher(hasher.clone());
        let mut weak = Weak::with_hasher(hasher);
        for &key in &keys {
            let root = heap.alloc(key);
            weak.insert(&mut heap, key, &root);
            strong.insert(key, root);
        }
        let order = shuffled(&keys);
        let mut group = c.benchmark_group(format!("map of {size}"));
        let mut next = cycle(&order);
        group.bench_function("get, hashbrown, root cloned", |b| {
            b.iter(|| black_box(strong.get(&next()).cloned()).is_some());
        });
        let mut next = cycle(&order);
        group.bench_function("get, weak, root", |b| b.iter(|| black_box(weak.get(&heap, &next())).is_some()));
        let mut next = cycle(&order);
        group.bench_function("get, hashbrown, object read", |b| {
            b.iter(|| strong.get(&next()).map(|root| *heap.get(root)));
        });
        heap.enter(|cx| {
            let mut next = cycle(&order);
            group.bench_function("get in a scope, hashbrown, object read", |b| {
                b.iter(|| strong.get(&next()).map(|root| *root.get(cx)));
            });
            let mut next = cycle(&order);
            group.bench_function("get in a scope, weak, object read", |b| {
                b.iter(|| weak.get(cx, &next()).map(|object| *object));
            });
        });
        let mut next = cycle(&order);
        group.bench_function("miss, hashbrown", |b| b.iter(|| strong.get(&!next()).is_some()));
        let mut next = cycle(&order);
        group.bench_function("miss, weak", |b| b.iter(|| weak.get(&heap, &!next()).is_some()));
        group.finish();
    }
}

fn cycle<T: Copy>(keys: &[T]) -> impl FnMut() -> T {
    let mut i = 0;
    move || {
        i = if i + 1 == keys.len() { 0 } else { i + 1 };
        keys[i]
    }
}

/// Times filling a map with all the keys, again and again, per key.
fn fills(iterations: u64, entries: usize, mut fill: impl FnMut() -> Duration) -> Duration {
    let rounds = iterations.div_ceil(entries as u64).max(1);
    let total: Duration = (0..rounds).map(|_| fill()).sum();
    total.mul_f64(iterations as f64 / (rounds * entries as u64) as f64)
}

fn insertions(c: &mut Criterion) {
    for size in SIZES {
        let hasher = DefaultHashBuilder::default();
        let keys = keys(size);
        let mut group = c.benchmark_group(format!("map of {size}"));
        insert_new(&mut group, size, &keys, &hasher, true);
        insert_new(&mut group, size, &keys, &hasher, false);

        let mut heap = quiet_heap();
        let roots: Vec<Root<u64>> = keys.iter().map(|&key| heap.alloc(key)).collect();
        let mut strong = Strong::with_hasher(hasher.clone());
        let mut weak = Weak::with_hasher(hasher.clone());
        for (key, root) in keys.iter().zip(&roots) {
            weak.insert(&mut heap, *key, root);
            strong.insert(*key, root.clone());
        }
        let order = shuffled(&keys);
        let (mut next, mut i) = (cycle(&order), 0);
        group.bench_function("replace, hashbrown", |b| {
            b.iter(|| {
                i = if i + 1 == size { 0 } else { i + 1 };
                strong.insert(next(), roots[i].clone()).is_some()
            });
        });
        let (mut next, mut i) = (cycle(&order), 0);
        group.bench_function("replace, weak", |b| {
            b.iter(|| {
                i = if i + 1 == size { 0 } else { i + 1 };
                weak.insert(&mut heap, next(), &roots[i]).is_some()
            });
        });
        group.finish();
    }
}

/// Fills new maps. The objects are observed before if `observed`, so that no weak slot is made; otherwise both maps are
/// filled with objects of a heap that has just been made.
fn insert_new<S: BuildHasher + Clone + 'static>(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    size: usize,
    keys: &[u64],
    hasher: &S,
    observed: bool,
) {
    let suffix = if observed { "objects observed before" } else { "objects new" };
    let prepare = || {
        let mut heap = quiet_heap();
        let roots: Vec<Root<u64>> = keys.iter().map(|&key| heap.alloc(key)).collect();
        if observed {
            for root in &roots {
                heap.downgrade(root);
            }
        }
        (heap, roots)
    };
    group.bench_function(BenchmarkId::new("insert, hashbrown", suffix), |b| {
        let mut prepared = observed.then(prepare);
        b.iter_custom(|iterations| {
            fills(iterations, size, || {
                if !observed {
                    prepared = Some(prepare());
                }
                let (_, roots) = prepared.as_ref().expect("it was prepared");
                let start = Instant::now();
                let mut map = Strong::with_hasher(hasher.clone());
                for (key, root) in keys.iter().zip(roots) {
                    map.insert(*key, root.clone());
                }
                black_box(&map);
                start.elapsed()
            })
        });
    });
    group.bench_function(BenchmarkId::new("insert, weak", suffix), |b| {
        let mut prepared = observed.then(prepare);
        b.iter_custom(|iterations| {
            fills(iterations, size, || {
                if !observed {
                    prepared = Some(prepare());
                }
                let (heap, roots) = prepared.as_mut().expect("it was prepared");
                let start = Instant::now();
                let mut map = Weak::with_hasher(hasher.clone());
                for (key, root) in keys.iter().zip(roots.iter()) {
                    map.insert(heap, *key, root);
                }
                black_box(&map);
                start.elapsed()
            })
        });
    });
}

#[expect(clippy::redundant_closure, reason = "the path names the function for one scope only")]
fn addr(heap: &Heap, root: &Root<u64>) -> usize {
    heap.with(root, |object| Gc::addr(object))
}

/// Values of objects.
fn by_identity(c: &mut Criterion) {
    for size in SIZES {
        let mut heap = quiet_heap();
        let keys: Vec<Root<u64>> = keys(size).into_iter().map(|key| heap.alloc(key)).collect();
        let value = heap.alloc(7_u64);
        let weak: WeakKeyMap<u64, u64> = WeakKeyMap::new(&mut heap);
        let mut strong: HashMap<usize, Root<u64>> = HashMap::new();
        for key in &keys {
            weak.insert(&mut heap, key, &value);
            strong.insert(addr(&heap, key), value.clone());
        }
        let mut order: Vec<&Root<u64>> = keys.iter().collect();
        let mut rng = XorShift64::new();
        for i in (1..order.len()).rev() {
            order.swap(i, rng.below(i + 1));
        }
        let mut group = c.benchmark_group(format!("map by identity of {size}"));
        let mut next = cycle(&order);
        group.bench_function("get, hashbrown, root cloned", |b| {
            b.iter(|| strong.get(&addr(&heap, next())).cloned().is_some());
        });
        let mut next = cycle(&order);
        group.bench_function("get, weak, root", |b| b.iter(|| weak.get(&heap, next()).is_some()));
        heap.enter(|cx| {
            let mut next = cycle(&order);
            group.bench_function("get in a scope, hashbrown, object read", |b| {
                b.iter(|| strong.get(&Gc::addr(next().get(cx))).map(|root| *root.get(cx)));
            });
            let mut next = cycle(&order);
            group.bench_function("get in a scope, weak, object read", |b| {
                b.iter(|| weak.get(cx, &next().get(cx)).map(|object| *object));
            });
        });
        group.bench_function("insert, hashbrown", |b| {
            b.iter_custom(|iterations| {
                fills(iterations, size, || {
                    let start = Instant::now();
                    let mut map: HashMap<usize, Root<u64>> = HashMap::new();
                    for key in &keys {
                        map.insert(addr(&heap, key), value.clone());
                    }
                    black_box(&map);
                    start.elapsed()
                })
            });
        });
        group.bench_function("insert, weak", |b| {
            b.iter_custom(|iterations| {
                fills(iterations, size, || {
                    let start = Instant::now();
                    let map: WeakKeyMap<u64, u64> = WeakKeyMap::new(&mut heap);
                    for key in &keys {
                        map.insert(&mut heap, key, &value);
                    }
                    let elapsed = start.elapsed();
                    drop(map);
                    heap.collect(); // its table is an object
                    elapsed
                })
            });
        });
        group.finish();
    }
}

criterion_group!(benches, lookups, insertions, by_identity);
criterion_main!(benches);
