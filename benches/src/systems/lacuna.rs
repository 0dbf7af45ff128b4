//! `lacuna`: what all this is about; and `lacuna-drop`, the same with a plain [`Drop`] in `finalize`.
//!
//! Caveats:
//!
//! - Scopes are entered in slices of work, one tree or `SLICE` operations each, since nothing is freed within one.
//!   Collections are the automatic ones, on leaving a scope, except where the workload asks for one.
//! - What lives across scopes is held by roots, and arrays are slices in the heap.
//! - `finalize` registers a cleanup for each object, with a payload, to be drained after the collection: more than the
//!   peers offer, some of which have only `Drop`. `lacuna-drop` is the comparison with those.

#![forbid(unsafe_code)]

use std::ops::Range;
use std::time::Duration;

use lacuna::{Budget, Config, Ephemerons, Gc, GcCell, Heap, MarkOrder, Mutator, Root, Trace, Weak};

use super::{Role, System, count_cleanup, take_cleanups};
use crate::report::{
    Clock, Outcome, Steps, Unsupported, WEAK_ROUNDS, ephemeron_figures, mark_figures, median_collection, timed,
    weak_figures,
};
use crate::rng::XorShift64;
use crate::workload::{
    GCBENCH_ARRAY, Length, Order, PAUSE_SLOTS, PAUSE_STEP, bt_rounds, gcbench_array_check, gcbench_element,
    gcbench_rounds, nodes_in,
};

/// lacuna.
#[derive(Debug)]
pub struct Lacuna {
    stop_the_world: bool,
}

impl Lacuna {
    /// As it comes.
    pub const DEFAULT: Self = Self { stop_the_world: false };
    /// With collections of the whole heap only.
    pub const STOP_THE_WORLD: Self = Self { stop_the_world: true };

    fn config(&self) -> Config {
        if self.stop_the_world { Config::default().minor_step(None) } else { Config::default() }
    }

    fn heap(&self) -> Heap {
        Heap::with_config(self.config())
    }

    /// The settings for programs that cannot wait.
    fn config_for_short_pauses(&self) -> Config {
        if self.stop_the_world { self.config() } else { Config::low_latency() }
    }
}

/// lacuna, with `Drop` instead of cleanups.
#[derive(Debug)]
pub struct LacunaDrop;

/// Operations in one scope.
const SLICE: usize = 4096;

#[derive(Trace)]
struct Tree<'gc> {
    left: Option<Gc<'gc, Tree<'gc>>>,
    right: Option<Gc<'gc, Tree<'gc>>>,
}

impl<'gc> Tree<'gc> {
    fn bottom_up(cx: &Mutator<'gc>, depth: u32) -> Gc<'gc, Tree<'gc>> {
        if depth == 0 {
            return cx.alloc(Tree { left: None, right: None });
        }
        let left = Some(Tree::bottom_up(cx, depth - 1));
        let right = Some(Tree::bottom_up(cx, depth - 1));
        cx.alloc(Tree { left, right })
    }

    fn count(&self) -> u64 {
        1 + self.left.map_or(0, |tree| tree.count()) + self.right.map_or(0, |tree| tree.count())
    }
}

#[derive(Trace)]
struct Node<'gc> {
    left: GcCell<Option<Gc<'gc, Node<'gc>>>>,
    right: GcCell<Option<Gc<'gc, Node<'gc>>>>,
    _integers: [i32; 2],
}

impl<'gc> Node<'gc> {
    fn leaf(cx: &Mutator<'gc>) -> Gc<'gc, Node<'gc>> {
        cx.alloc(Node { left: GcCell::new(None), right: GcCell::new(None), _integers: [0; 2] })
    }

    fn bottom_up(cx: &Mutator<'gc>, depth: u32) -> Gc<'gc, Node<'gc>> {
        if depth == 0 {
            return Node::leaf(cx);
        }
        let left = GcCell::new(Some(Node::bottom_up(cx, depth - 1)));
        let right = GcCell::new(Some(Node::bottom_up(cx, depth - 1)));
        cx.alloc(Node { left, right, _integers: [0; 2] })
    }

    fn top_down(cx: &Mutator<'gc>, depth: u32) -> Gc<'gc, Node<'gc>> {
        let root = Node::leaf(cx);
        Node::populate(cx, root, depth);
        root
    }

    fn populate(cx: &Mutator<'gc>, node: Gc<'gc, Node<'gc>>, depth: u32) {
        if depth > 0 {
            let left = Node::leaf(cx);
            let right = Node::leaf(cx);
            node.set(cx, |node| &node.left, Some(left));
            node.set(cx, |node| &node.right, Some(right));
            Node::populate(cx, left, depth - 1);
            Node::populate(cx, right, depth - 1);
        }
    }

    fn count(&self) -> u64 {
        1 + self.left.get().map_or(0, |node| node.count()) + self.right.get().map_or(0, |node| node.count())
    }
}

#[derive(Trace)]
struct Vertex<'gc> {
    edges: GcCell<[Option<Gc<'gc, Vertex<'gc>>>; 4]>,
    id: u64,
}

#[derive(Trace)]
struct Slot {
    _link: u64,
    payload: u64,
}

#[derive(Trace)]
struct Link<'gc> {
    value: u64,
    next: GcCell<Option<Gc<'gc, Link<'gc>>>>,
}

/// The ends of a queue, which within a scope are held by local variables.
#[derive(Trace)]
struct Ends<'gc> {
    head: GcCell<Option<Gc<'gc, Link<'gc>>>>,
    tail: GcCell<Option<Gc<'gc, Link<'gc>>>>,
}

/// A node of a list, of as many bytes as a collection reads for an entry of `ephemeron`.
#[derive(Trace)]
struct Step<'gc> {
    next: GcCell<Option<Gc<'gc, Step<'gc>>>>,
    rest: [u64; 7],
}

#[derive(Trace)]
struct Object {
    id: u64,
}

#[derive(Trace)]
struct Cleaned {
    _id: u64,
}

impl Drop for Cleaned {
    fn drop(&mut self) {
        count_cleanup();
    }
}

/// An array of references.
type Array<T> = [GcCell<Option<Gc<'static, T>>>];

/// `0..length` in pieces of [`SLICE`].
fn slices(length: usize) -> impl Iterator<Item = Range<usize>> {
    (0..length).step_by(SLICE).map(move |start| start..(start + SLICE).min(length))
}

/// An array of `length` objects, made by `object` in slices.
fn array_of<T, F>(heap: &mut Heap, length: usize, object: F) -> Root<Array<T>>
where
    T: for<'gc> Trace<At<'gc> = T> + 'static,
    F: for<'gc> Fn(&Mutator<'gc>, u64) -> Gc<'gc, T>,
{
    let array: Root<Array<T>> =
        heap.enter(|cx| cx.alloc_slice_with(length, |_| GcCell::new(None::<Gc<'_, T>>)).root(cx));
    for slice in slices(length) {
        heap.enter(|cx| {
            let array = cx.get(&array);
            for i in slice {
                array.set(cx, |array| &array[i], Some(object(cx, i as u64)));
            }
        });
    }
    array
}

/// The first collection of a linked list that is laid out in an order, as the entries of `ephemeron` are: what it costs to
/// follow a chain through memory, whatever the links are made of.
fn marked_list(config: Config, order: &[usize]) -> Duration {
    // A list has no use for the prefetch ring, which is for what has several objects to look at.
    let mut heap = Heap::with_config(config.mark_order(MarkOrder::Plain));
    let first = heap.enter(|cx| {
        let mut all = vec![None; order.len()];
        for &i in order {
            all[i] = Some(cx.alloc(Step { next: GcCell::new(None), rest: [0; 7] }));
        }
        for pair in all.windows(2) {
            let [Some(link), next] = *pair else { unreachable!("all links are made") };
            link.set(cx, |link| &link.next, next);
        }
        all[0].expect("all links are made").root(cx)
    });
    let ((), took) = timed(|| heap.collect());
    assert_eq!(heap.stats().live_objects, order.len(), "links of the list");
    drop(first);
    took
}

/// The graph of `mark`: its first node.
fn graph(heap: &mut Heap, nodes: usize) -> Root<Vertex<'static>> {
    heap.enter(|cx| {
        let all: Vec<_> = (0..nodes as u64).map(|id| cx.alloc(Vertex { edges: GcCell::new([None; 4]), id })).collect();
        let mut rng = XorShift64::new();
        for (i, &node) in all.iter().enumerate() {
            let mut edge = || Some(all[rng.below(nodes)]);
            let edges = [Some(all[(i + 1) % nodes]), edge(), edge(), edge()];
            node.set(cx, |node| &node.edges, edges);
        }
        all[0].root(cx)
    })
}

/// Walks around the graph of `mark`.
fn graph_check(heap: &mut Heap, first: &Root<Vertex<'static>>) -> u64 {
    heap.enter(|cx| {
        let first = cx.get(first);
        let mut sum = 0_u64;
        let mut node = first;
        loop {
            let edges = node.edges.get();
            let id = |edge: usize| edges[edge].map_or(0, |node| node.id);
            sum = sum.wrapping_add(node.id + id(1) + 2 * id(2) + 3 * id(3));
            match edges[0] {
                Some(next) if !Gc::ptr_eq(next, first) => node = next,
                _ => break sum,
            }
        }
    })
}

/// Runs `bt`.
fn trees(heap: &mut Heap, depth: u32) -> u64 {
    let mut check = heap.enter(|cx| Tree::bottom_up(cx, depth + 1).count());
    let long_lived: Root<Tree<'static>> = heap.enter(|cx| Tree::bottom_up(cx, depth).root(cx));
    for (d, trees) in bt_rounds(depth) {
        for _ in 0..trees {
            check += heap.enter(|cx| Tree::bottom_up(cx, d).count());
        }
    }
    check + heap.enter(|cx| cx.get(&long_lived).count())
}

/// The state of `churn`.
struct Churn {
    rng: XorShift64,
    array: Root<[GcCell<Gc<'static, Slot>>]>,
    sequence: u64,
    sum: u64,
}

impl Churn {
    fn new(heap: &mut Heap, slots: usize) -> Churn {
        let array = heap.enter(|cx| {
            let slot = |payload| GcCell::new(cx.alloc(Slot { _link: 0, payload }));
            let slots: Vec<_> = (0..slots as u64).map(slot).collect();
            cx.alloc_slice(slots).root(cx)
        });
        Churn { rng: XorShift64::new(), array, sequence: slots as u64, sum: 0 }
    }

    /// So many steps, in one scope.
    #[inline]
    fn run(&mut self, heap: &mut Heap, steps: u64) {
        let Churn { rng, array, sequence, sum } = self;
        heap.enter(|cx| {
            let array = cx.get(array);
            let slots = array.len();
            for _ in 0..steps {
                let (a, b) = (rng.below(slots), rng.below(slots));
                let link = array[b].get().payload;
                let fresh = cx.alloc(Slot { _link: link, payload: *sequence });
                *sequence += 1;
                array.set(cx, |array| &array[a], fresh);
                *sum = sum.wrapping_add(array[rng.below(slots)].get().payload);
            }
        });
    }
}

impl System for Lacuna {
    fn name(&self) -> &'static str {
        if self.stop_the_world { "lacuna-stw" } else { "lacuna" }
    }

    fn package(&self) -> Option<&'static str> {
        Some("lacuna")
    }

    fn role(&self) -> Role {
        Role::Subject
    }

    fn malloc_based(&self) -> bool {
        false
    }

    fn bt(&self, depth: u32) -> Outcome {
        let clock = Clock::start();
        let mut heap = self.heap();
        let check = trees(&mut heap, depth);
        Ok(clock.stop(check))
    }

    fn gcbench(&self, depth: u32) -> Outcome {
        let clock = Clock::start();
        let mut heap = self.heap();
        heap.enter(|cx| _ = Node::bottom_up(cx, depth));
        let mut check = 1;
        let long_lived: Root<Node<'static>> = heap.enter(|cx| Node::top_down(cx, depth - 2).root(cx));
        let array: Root<[f64]> = heap.enter(|cx| cx.alloc_slice_with(GCBENCH_ARRAY, gcbench_element).root(cx));
        for (d, trees) in gcbench_rounds(depth) {
            for _ in 0..trees {
                heap.enter(|cx| _ = Node::top_down(cx, d));
                check += 1;
            }
            for _ in 0..trees {
                heap.enter(|cx| _ = Node::bottom_up(cx, d));
                check += 1;
            }
        }
        check += heap.enter(|cx| cx.get(&long_lived).count() + gcbench_array_check(&cx.get(&array)));
        Ok(clock.stop(check))
    }

    fn mark(&self, nodes: usize) -> Outcome {
        let clock = Clock::start();
        let mut heap = self.heap();
        let first = graph(&mut heap, nodes);
        let median = median_collection(|| heap.collect());
        let check = graph_check(&mut heap, &first);
        Ok(mark_figures(clock.stop(check), nodes, median))
    }

    fn churn(&self, slots: usize, steps: u64) -> Outcome {
        let clock = Clock::start();
        let mut heap = self.heap();
        let mut churn = Churn::new(&mut heap, slots);
        let mut left = steps;
        while left > 0 {
            let slice = left.min(SLICE as u64);
            churn.run(&mut heap, slice);
            left -= slice;
        }
        Ok(clock.stop(churn.sum).per("ns_per_step", steps))
    }

    fn lists(&self, pushes: u64, length: u64) -> Outcome {
        let clock = Clock::start();
        let mut heap = self.heap();
        let mut sum = 0;
        let ends: Root<Ends<'static>> =
            heap.enter(|cx| cx.alloc(Ends { head: GcCell::new(None), tail: GcCell::new(None) }).root(cx));
        let mut value = 0;
        while value < pushes {
            heap.enter(|cx| {
                let ends = cx.get(&ends);
                let mut head = ends.head.get();
                let mut tail = ends.tail.get();
                for _ in 0..(SLICE as u64).min(pushes - value) {
                    let node = cx.alloc(Link { value, next: GcCell::new(None) });
                    match tail.replace(node) {
                        Some(last) => last.set(cx, |link| &link.next, Some(node)),
                        None => head = Some(node),
                    }
                    if value >= length
                        && let Some(first) = head
                    {
                        sum += first.value;
                        head = first.next.get();
                    }
                    value += 1;
                }
                ends.set(cx, |ends| &ends.head, head);
                ends.set(cx, |ends| &ends.tail, tail);
            });
        }
        sum += heap.enter(|cx| {
            let mut rest = 0;
            let mut head = cx.get(&ends).head.get();
            while let Some(first) = head {
                rest += first.value;
                head = first.next.get();
            }
            rest
        });
        Ok(clock.stop(sum).per("ns_per_op", pushes))
    }

    fn weak(&self, objects: usize) -> Outcome {
        let clock = Clock::start();
        let mut heap = self.heap();
        let all = array_of(&mut heap, objects, |cx, id| cx.alloc(Object { id }));
        let (weaks, made): (Root<[Weak<Object>]>, _) = timed(|| {
            heap.enter(|cx| {
                let all = cx.get(&all);
                let weak = |i: usize| all[i].get().map_or(Weak::null(), |object| object.downgrade(cx));
                cx.alloc_slice_with(objects, weak).root(cx)
            })
        });
        let kept: Root<Array<Object>> = heap.enter(|cx| {
            let all = cx.get(&all);
            cx.alloc_slice_with(objects.div_ceil(2), |i| GcCell::new(all[2 * i].get())).root(cx)
        });
        let ((), collected) = timed(|| {
            drop(all);
            heap.collect();
        });
        let check = heap.enter(|cx| cx.get(&weaks).iter().filter(|&&weak| cx.is_dead(weak)).count() as u64);
        let (seen, upgraded) = timed(|| {
            let mut seen = 0;
            for _ in 0..WEAK_ROUNDS {
                heap.enter(|cx| {
                    for &weak in cx.get(&weaks).iter().step_by(2) {
                        seen += cx.upgrade(weak).map_or(0, |object| object.id);
                    }
                });
            }
            seen
        });
        drop(kept);
        Ok(weak_figures(clock.stop(check), objects, made + collected, upgraded, seen))
    }

    fn ephemeron(&self, entries: usize, order: Order) -> Outcome {
        type Table<'gc> = Ephemerons<Gc<'gc, Object>, Gc<'gc, Object>>;
        let order = order.numbers(entries);
        let clock = Clock::start();
        let mut heap = self.heap();
        let all = array_of(&mut heap, entries + 1, |cx, id| cx.alloc(Object { id }));
        let ((table, head), inserted): ((Root<Table<'static>>, Root<Object>), _) = timed(|| {
            heap.enter(|cx| {
                let all = cx.get(&all);
                let table = cx.alloc(Table::new());
                let object = |i: usize| all[i].get().expect("the array is filled");
                for &i in &order {
                    table.edit(cx).insert(object(i), object(i + 1));
                }
                (table.root(cx), object(0).root(cx))
            })
        });
        drop(all);
        let ((), kept) = timed(|| heap.collect());
        let examined = heap.stats().last.ephemerons_examined;
        let sum = heap.enter(|cx| {
            let (table, head) = (cx.get(&table), cx.get(&head));
            std::iter::successors(table.get(head), |&key| table.get(key)).map(|object| object.id).sum()
        });
        drop(head);
        let ((), cleared) = timed(|| heap.collect());
        let left = heap.with(&table, |table| table.live_count());
        let measured = clock.stop(sum).with("entries", entries as f64).with("examined", examined as f64);
        let measured = measured.with("insert_ms", inserted.as_secs_f64() * 1e3);
        drop((table, heap));
        let measured = measured.with("list_ms", marked_list(self.config(), &order).as_secs_f64() * 1e3);
        Ok(ephemeron_figures(measured, kept, cleared, left))
    }

    fn finalize(&self, objects: usize) -> Outcome {
        fn cleanup(_heap: &mut Heap, (): ()) {
            count_cleanup();
        }
        take_cleanups();
        let clock = Clock::start();
        let mut heap = self.heap();
        let all = array_of(&mut heap, objects, |cx, id| {
            let object = cx.alloc(Object { id });
            cx.cleanup(object, (), cleanup).expect("the payload does not hold the object");
            object
        });
        drop(all);
        heap.collect();
        heap.drain(Budget::unlimited()).expect("no other drain is running");
        Ok(clock.stop(take_cleanups()).per("ns_each", objects as u64))
    }

    fn pause(&self, mebibytes: usize, length: Length) -> Outcome {
        let clock = Clock::start();
        let mut heap = Heap::with_config(self.config_for_short_pauses());
        let first = graph(&mut heap, nodes_in(mebibytes));
        let mut churn = Churn::new(&mut heap, PAUSE_SLOTS);
        // What building has left to be done is no part of the steps.
        heap.collect();
        let mut steps = Steps::begin(length);
        loop {
            churn.run(&mut heap, PAUSE_STEP as u64);
            if !steps.goes_on() {
                break;
            }
        }
        let stats = heap.stats();
        let minor = stats.minor_collections as f64;
        let measured = clock.stop(graph_check(&mut heap, &first));
        let measured = steps.figures(measured, churn.sum);
        Ok(measured.with("minor", minor).with("major", stats.collections as f64 - minor))
    }

    fn bt_beside(&self, depth: u32, mebibytes: usize) -> Outcome {
        let clock = Clock::start();
        let mut heap = Heap::with_config(self.config().growth_factor(1.2));
        let first = graph(&mut heap, nodes_in(mebibytes));
        heap.collect();
        let (check, took) = timed(|| trees(&mut heap, depth));
        let stats = heap.stats();
        let minor = stats.minor_collections as f64;
        let check = check.wrapping_add(graph_check(&mut heap, &first));
        let measured = clock.stop(check).with("bt_seconds", took.as_secs_f64());
        Ok(measured.with("minor", minor).with("major", stats.collections as f64 - minor))
    }

    fn array(&self, edges: usize, length: Length) -> Outcome {
        let clock = Clock::start();
        let mut heap = Heap::with_config(self.config_for_short_pauses());
        let array: Root<[GcCell<Option<Gc<'static, u64>>>]> =
            heap.enter(|cx| cx.alloc_slice((0..edges).map(|_| GcCell::new(None::<Gc<'_, u64>>))).root(cx));
        heap.collect();
        let mut rng = XorShift64::new();
        let mut steps = Steps::begin(length);
        loop {
            heap.enter(|cx| {
                let array = cx.get(&array);
                for _ in 0..PAUSE_STEP {
                    let place = rng.below(edges);
                    let number = cx.alloc(place as u64);
                    array.set(cx, |array| &array[place], Some(number));
                }
            });
            if !steps.goes_on() {
                break;
            }
        }
        let stats = heap.stats();
        let minor = stats.minor_collections as f64;
        let check = heap.enter(|cx| {
            let array = cx.get(&array);
            let right = array
                .iter()
                .enumerate()
                .filter(|(place, element)| element.get().is_none_or(|number| *number == *place as u64));
            right.count() as u64
        });
        let measured = steps.times(clock.stop(check));
        Ok(measured.with("minor", minor).with("major", stats.collections as f64 - minor))
    }
}

const SAME: Unsupported = Unsupported("the same as lacuna");

impl System for LacunaDrop {
    fn name(&self) -> &'static str {
        "lacuna-drop"
    }

    fn package(&self) -> Option<&'static str> {
        Some("lacuna")
    }

    fn role(&self) -> Role {
        Role::Subject
    }

    fn malloc_based(&self) -> bool {
        false
    }

    fn bt(&self, _depth: u32) -> Outcome {
        Err(SAME)
    }

    fn gcbench(&self, _depth: u32) -> Outcome {
        Err(SAME)
    }

    fn mark(&self, _nodes: usize) -> Outcome {
        Err(SAME)
    }

    fn churn(&self, _slots: usize, _steps: u64) -> Outcome {
        Err(SAME)
    }

    fn lists(&self, _pushes: u64, _length: u64) -> Outcome {
        Err(SAME)
    }

    fn weak(&self, _objects: usize) -> Outcome {
        Err(SAME)
    }

    fn ephemeron(&self, _entries: usize, _order: Order) -> Outcome {
        Err(SAME)
    }

    fn finalize(&self, objects: usize) -> Outcome {
        take_cleanups();
        let clock = Clock::start();
        let mut heap = Heap::new();
        let all = array_of(&mut heap, objects, |cx, id| cx.alloc(Cleaned { _id: id }));
        drop(all);
        heap.collect();
        Ok(clock.stop(take_cleanups()).per("ns_each", objects as u64))
    }
}
