//! Marking finds everything, in whichever order it goes.

use lacuna::{Config, Gc, GcCell, Heap, MarkOrder, Root, Trace};

#[derive(Trace)]
struct Node<'gc> {
    edges: GcCell<[Option<Gc<'gc, Node<'gc>>>; 3]>,
    name: Gc<'gc, str>,
}

const ORDERS: [MarkOrder; 3] = [MarkOrder::Sampled, MarkOrder::Plain, MarkOrder::Ring];

/// `count` nodes, of which node 0 leads to all: edge 0 to the next node, the others wherever `target` says.
fn graph(heap: &mut Heap, count: usize, target: impl Fn(usize) -> usize) -> Root<Node<'static>> {
    heap.enter(|cx| {
        let node = |i: usize| {
            let name = cx.alloc_str(&i.to_string());
            cx.alloc(Node { edges: GcCell::new([None; 3]), name })
        };
        let all: Vec<_> = (0..count).map(node).collect();
        for (i, node) in all.iter().enumerate() {
            let edges = [all.get(i + 1), Some(&all[target(i)]), None].map(|edge| edge.copied());
            node.set(cx, |node| &node.edges, edges);
        }
        all[0].root(cx)
    })
}

/// The names on the way along edge 0.
fn walk(heap: &mut Heap, first: &Root<Node<'static>>) -> usize {
    heap.enter(|cx| {
        let mut node = cx.get(first);
        let mut length = 1;
        while let Some(next) = node.edges.get()[0] {
            node = next;
            assert_eq!(*node.name, *length.to_string());
            length += 1;
        }
        length
    })
}

#[test]
fn every_order_finds_every_object() {
    for order in ORDERS {
        // Queues shorter than the ring, about as long, and much longer.
        for count in [1, 2, 15, 16, 17, 31, 33, 200, 5000, 20_000] {
            let mut heap = Heap::with_config(Config::default().mark_order(order).zeal(count <= 5000));
            let first = graph(&mut heap, count, |i| i.wrapping_mul(7919) % count);
            heap.collect();
            assert_eq!(heap.stats().live_objects, 2 * count, "{order:?}");
            assert_eq!(walk(&mut heap, &first), count);
            heap.verify().unwrap();
            drop(first);
            heap.collect();
            assert_eq!(heap.stats().live_objects, 0);
        }
    }
}

#[test]
fn a_long_list_is_no_harder_than_a_short_one() {
    for order in ORDERS {
        let mut heap = Heap::with_config(Config::default().mark_order(order));
        let first = graph(&mut heap, 1_000_000, |i| i);
        heap.collect();
        assert_eq!(heap.stats().live_objects, 2_000_000);
        assert_eq!(walk(&mut heap, &first), 1_000_000);
    }
}

#[test]
fn objects_of_many_types_are_found_behind_each_other() {
    #[derive(Trace)]
    enum Value<'gc> {
        Number(f64),
        Pair(Gc<'gc, (Value<'gc>, Value<'gc>)>),
        List(Gc<'gc, [Value<'gc>]>),
        Text(Gc<'gc, str>),
    }
    fn build<'gc>(cx: &lacuna::Mutator<'gc>, depth: u32) -> Value<'gc> {
        match (depth, depth % 3) {
            (0, _) => Value::Number(1.0),
            (_, 0) => Value::Text(cx.alloc_str("leaf")),
            (_, 1) => Value::Pair(cx.alloc((build(cx, depth - 1), build(cx, depth - 1)))),
            _ => Value::List(cx.alloc_slice_with(5, |_| build(cx, depth - 1))),
        }
    }
    fn sum(value: &Value<'_>) -> f64 {
        match value {
            Value::Number(number) => *number,
            Value::Pair(pair) => sum(&pair.0) + sum(&pair.1),
            Value::List(list) => list.iter().map(sum).sum(),
            Value::Text(text) => text.len() as f64,
        }
    }
    for order in ORDERS {
        let mut heap = Heap::with_config(Config::default().mark_order(order));
        let root = heap.enter(|cx| cx.alloc_slice_with(3000, |i| build(cx, i as u32 % 5)).root(cx));
        let before = heap.with(&root, |values| values.iter().map(sum).sum::<f64>());
        for _ in 0..3 {
            heap.collect();
            heap.enter(|cx| (0..10_000).for_each(|_| _ = cx.alloc_str("overwrites what was freed")));
        }
        heap.verify().unwrap();
        assert_eq!(heap.with(&root, |values| values.iter().map(sum).sum::<f64>()), before);
    }
}
