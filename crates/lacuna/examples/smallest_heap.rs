//! What `Config::min_heap` does to three programs: time against that with the default, medians of interleaved runs.
//!
//! Short-lived trees, which gain by rare collections; and slots of which one after the other is replaced, few and many,
//! which gain by a heap that fits into the caches. The decision record on the default rests on it.
//!
//! `cargo run --release -p lacuna --example smallest_heap`

use std::time::Instant;

use lacuna::{Config, Gc, GcCell, Heap, Mutator, Trace};

#[derive(Trace)]
struct Tree<'gc> {
    left: Option<Gc<'gc, Tree<'gc>>>,
    right: Option<Gc<'gc, Tree<'gc>>>,
}

fn tree<'gc>(cx: &Mutator<'gc>, depth: u32) -> Gc<'gc, Tree<'gc>> {
    let child = || (depth > 0).then(|| tree(cx, depth - 1));
    let (left, right) = (child(), child());
    cx.alloc(Tree { left, right })
}

fn count(tree: &Tree<'_>) -> u64 {
    1 + tree.left.map_or(0, |tree| count(&tree)) + tree.right.map_or(0, |tree| count(&tree))
}

fn trees(heap: &mut Heap) -> u64 {
    let kept = heap.enter(|cx| tree(cx, 15).root(cx));
    let trees = (4..=15).step_by(2).flat_map(|depth| std::iter::repeat_n(depth, 1 << (19 - depth)));
    let nodes: u64 = trees.map(|depth| heap.enter(|cx| count(&tree(cx, depth)))).sum();
    nodes + heap.enter(|cx| count(&kept.get(cx)))
}

#[derive(Trace)]
struct Fresh {
    link: u64,
    payload: u64,
}

fn slots(heap: &mut Heap, slots: usize) -> u64 {
    let mut state = 88_172_645_463_325_252_u64;
    let mut below = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % slots as u64) as usize
    };
    let array = heap.enter(|cx| {
        let first = |_| GcCell::new(Some(cx.alloc(Fresh { link: 0, payload: 1 })));
        cx.alloc_slice_with(slots, first).root(cx)
    });
    let mut sum = 0;
    for _ in 0..1500 {
        heap.enter(|cx| {
            let array = array.get(cx);
            for _ in 0..4096 {
                let (replaced, neighbour) = (below(), array[below()].get().expect("every slot is full"));
                let fresh = cx.alloc(Fresh { link: neighbour.payload, payload: neighbour.link + 1 });
                array.set(cx, |array| &array[replaced], Some(fresh));
                sum += fresh.payload;
            }
        });
    }
    sum
}

const SIZES: [usize; 7] = [32, 1, 4, 8, 16, 64, 128];
type Program = fn(&mut Heap) -> u64;
const PROGRAMS: [(&str, Program); 3] =
    [("trees", trees), ("1000 slots", |heap| slots(heap, 1000)), ("100000 slots", |heap| slots(heap, 100_000))];
const RUNS: usize = 7;

fn main() {
    let mut times = vec![vec![Vec::new(); PROGRAMS.len()]; SIZES.len()];
    for _ in 0..RUNS {
        for (size, row) in SIZES.iter().zip(&mut times) {
            for ((_, program), cell) in PROGRAMS.iter().zip(row) {
                let mut heap = Heap::with_config(Config::default().min_heap(size << 20));
                let start = Instant::now();
                assert!(program(&mut heap) > 0);
                cell.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[RUNS / 2]
    };
    let medians: Vec<Vec<f64>> = times.iter_mut().map(|row| row.iter_mut().map(median).collect()).collect();
    println!("min_heap   {}", PROGRAMS.map(|(name, _)| format!("{name:>14}")).concat());
    for (size, row) in SIZES.iter().zip(&medians) {
        let ratios = row.iter().zip(&medians[0]).map(|(time, default)| format!("{:>14.2}", time / default));
        println!("{size:>4} MiB   {}", ratios.collect::<String>());
    }
}
