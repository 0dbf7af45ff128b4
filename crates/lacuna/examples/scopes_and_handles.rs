//! The two ways to use a heap, and how they mix.
//!
//! `cargo run -p lacuna --example scopes_and_handles`

use lacuna::{Config, Gc, GcCell, Heap, Mutator, Root, Trace};

// ANCHOR: types
#[derive(Trace)]
struct Tree<'gc> {
    value: i64,
    left: Option<Gc<'gc, Tree<'gc>>>,
    right: Option<Gc<'gc, Tree<'gc>>>,
}

/// Functions that use the heap take the mutator and work in any scope.
fn build<'gc>(cx: &Mutator<'gc>, depth: u32) -> Gc<'gc, Tree<'gc>> {
    let (left, right) = match depth {
        0 => (None, None),
        _ => (Some(build(cx, depth - 1)), Some(build(cx, depth - 1))),
    };
    cx.alloc(Tree { value: i64::from(depth), left, right })
}

fn sum(tree: Gc<'_, Tree<'_>>) -> i64 {
    tree.value + tree.left.map_or(0, sum) + tree.right.map_or(0, sum)
}
// ANCHOR_END: types

fn main() {
    scopes();
    handles();
    slices();
    println!("scopes and handles agree");
}

fn scopes() {
    // ANCHOR: scopes
    let mut heap = Heap::new();
    let total = heap.enter(|cx| sum(build(cx, 10))); // plain values leave a scope freely
    assert_eq!(total, 2036);

    let kept: Root<Tree<'static>> = heap.enter(|cx| build(cx, 3).root(cx)); // objects leave it as roots
    let again = heap.enter(|cx| sum(kept.get(cx))); // and come back as pointers
    assert_eq!(again, 11);
    // ANCHOR_END: scopes
}

fn handles() {
    // ANCHOR: handles
    let mut heap = Heap::new();

    // A value without edges: allocate it, and borrow it as long as the heap is borrowed.
    let name: Root<String> = heap.alloc("lacuna".to_owned());
    assert_eq!(heap.get(&name).len(), 6);

    // A value with edges is made inside a scope of its own ...
    let leaf = heap.alloc_with::<Tree<'_>>(|_| Tree { value: 2, left: None, right: None });
    let tree = heap.alloc_with::<Tree<'_>>(|cx| Tree { value: 5, left: Some(leaf.get(cx)), right: None });
    // ... and read inside one.
    assert_eq!(heap.with(&tree, sum), 7);
    // ANCHOR_END: handles
}

// ANCHOR: slices
#[derive(Trace)]
struct Counter {
    steps: GcCell<u64>,
}

fn slices() {
    let mut heap = Heap::with_config(Config::default().min_heap(1 << 20));
    let counter = heap.alloc(Counter { steps: GcCell::new(0) });
    while heap.get(&counter).steps.get() < 1_000_000 {
        // One scope for each slice of the work. A collection can run only between two of them.
        heap.enter(|cx| {
            let counter = counter.get(cx);
            for _ in 0..10_000 {
                cx.alloc([0_u64; 4]); // garbage
                counter.set(cx, |counter| &counter.steps, counter.steps.get() + 1);
            }
        });
    }
    let stats = heap.stats();
    assert!(stats.collections > 10);
    assert!(stats.reserved_bytes < 8 << 20); // 32 million bytes were allocated
}
// ANCHOR_END: slices
