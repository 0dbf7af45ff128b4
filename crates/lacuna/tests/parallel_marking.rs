//! Marking by several threads: the same objects live and die as with one, whatever goes wrong meanwhile.
#![cfg(feature = "parallel")]
#![allow(unsafe_code, reason = "implements `Trace` by hand, to see in which thread it runs")]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, ThreadId};

use lacuna::{Config, Ephemerons, Gc, GcCell, Heap, MarkOrder, Opaque, Phase, Root, StepBudget, Trace, Visitor, Weak};

/// More than is visited before other threads are started, so that they are.
const MANY: usize = 150_000;

#[derive(Trace)]
struct Node<'gc> {
    id: usize,
    edges: GcCell<[Option<Gc<'gc, Node<'gc>>>; 3]>,
    _dropped: Opaque<Dropped>,
}

/// Counts.
struct Dropped(Rc<Cell<usize>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % end
    }
}

/// What a search from a node reaches, as an answer to compare with.
fn reachable(edges: &[[Option<usize>; 3]], from: usize) -> Vec<bool> {
    let mut reached = vec![false; edges.len()];
    let mut pending = vec![from];
    while let Some(node) = pending.pop() {
        if !std::mem::replace(&mut reached[node], true) {
            pending.extend(edges[node].iter().flatten());
        }
    }
    reached
}

#[test]
fn rule_02_several_threads_mark_what_one_would() {
    for (threads, order) in
        [(2, MarkOrder::Sampled), (2, MarkOrder::Plain), (3, MarkOrder::Ring), (4, MarkOrder::Sampled)]
    {
        let mut heap =
            Heap::with_config(Config::default().mark_threads(threads).mark_order(order).collect_automatically(false));
        let mut random = Numbers(threads as u64);
        let drops = Rc::new(Cell::new(0));
        let mut edges = vec![[None; 3]; MANY];
        for node in &mut edges {
            // A third of the edges lead nowhere, so that a part of the graph is not reached.
            node.fill_with(|| Some(random.below(MANY * 3 / 2)).filter(|&to| to < MANY));
        }
        let (root, weak): (Root<Node<'static>>, Vec<Weak<Node<'static>>>) = heap.enter(|cx| {
            let node = |id| {
                let _dropped = Opaque(Dropped(Rc::clone(&drops)));
                cx.alloc(Node { id, edges: GcCell::new([None; 3]), _dropped })
            };
            let all: Vec<_> = (0..MANY).map(node).collect();
            for (node, to) in all.iter().zip(&edges) {
                node.set(cx, |node| &node.edges, to.map(|to| to.map(|to| all[to])));
            }
            (all[0].root(cx), all.iter().map(|node| node.downgrade(cx)).collect())
        });
        let expected = reachable(&edges, 0);
        let live = expected.iter().filter(|&&reached| reached).count();
        assert!(live > MANY / 2 && live < MANY, "{live} of {MANY} are reached");
        for _ in 0..3 {
            heap.collect();
            assert_eq!(heap.stats().live_objects, live, "{threads} threads, {order:?}");
            assert_eq!(heap.stats().last.objects_traced, live, "each object is visited once");
            assert_eq!(drops.get(), MANY - live);
            assert!(weak.iter().zip(&expected).all(|(&weak, &reached)| heap.is_dead(weak) != reached));
        }
        heap.verify().unwrap();
        assert_eq!(heap.with(&root, |root| root.id), 0);
        drop(root);
        heap.collect();
        assert_eq!((heap.stats().live_objects, drops.get()), (0, MANY));
    }
}

/// Notes in which thread it is traced.
struct Witness<'gc> {
    seen: &'static Seen,
    below: [Option<Gc<'gc, Witness<'gc>>>; 2],
}

#[derive(Default)]
struct Seen {
    threads: Mutex<Vec<ThreadId>>,
    /// Whether a thread that is not the heap's panics.
    elsewhere: AtomicBool,
    /// Visits after which the thread that makes the next one panics.
    fuse: AtomicUsize,
}

// SAFETY: all edges are visited, and `At` renames the only brand. What it writes may be written by several threads.
unsafe impl Trace for Witness<'_> {
    type At<'a> = Witness<'a>;
    const NEEDS_TRACE: bool = true;
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        if self.below[0].is_none() {
            let mut threads = self.seen.threads.lock().unwrap();
            if !threads.contains(&thread::current().id()) {
                threads.push(thread::current().id());
            }
            let other = threads[0] != thread::current().id();
            drop(threads);
            assert!(!(other && self.seen.elsewhere.load(SeqCst)), "traced elsewhere");
            if self.seen.fuse.load(SeqCst) > 0 {
                assert!(self.seen.fuse.fetch_sub(1, SeqCst) != 1, "the fuse has burnt");
            }
        }
        self.below.trace(visitor);
    }
}

fn seen() -> &'static Seen {
    let seen: &Seen = Box::leak(Box::default());
    seen.threads.lock().unwrap().push(thread::current().id());
    seen
}

/// A binary tree.
fn tree<'gc>(cx: &lacuna::Mutator<'gc>, seen: &'static Seen, leaves: usize) -> Gc<'gc, Witness<'gc>> {
    let mut level: Vec<_> = (0..leaves).map(|_| cx.alloc(Witness { seen, below: [None; 2] })).collect();
    while level.len() > 1 {
        let parents = level.chunks(2).map(|pair| {
            let below = [Some(pair[0]), pair.get(1).copied()];
            cx.alloc(Witness { seen, below })
        });
        level = parents.collect();
    }
    level[0]
}

#[test]
fn other_threads_take_part_when_there_is_much_to_mark_and_only_then() {
    let mut heap = Heap::with_config(Config::default().mark_threads(3).collect_automatically(false));
    let seen = seen();
    let small = heap.enter(|cx| tree(cx, seen, 1000).root(cx));
    heap.collect();
    assert_eq!(seen.threads.lock().unwrap().len(), 1, "a thousand objects are not worth a thread");
    let large = heap.enter(|cx| tree(cx, seen, 1 << 18).root(cx));
    // When a thread is slow to start, the others may be done first.
    for _ in 0..100 {
        heap.collect();
        if seen.threads.lock().unwrap().len() > 1 {
            break;
        }
    }
    assert!(seen.threads.lock().unwrap().len() > 1, "no other thread has ever marked");
    heap.verify().unwrap();
    drop((small, large));
    heap.collect();
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn trap_16_a_panic_in_any_thread_abandons_the_collection_and_the_next_one_makes_up_for_it() {
    let mut heap = Heap::with_config(Config::default().mark_threads(2).collect_automatically(false));
    let seen = seen();
    let (root, dead) = heap.enter(|cx| {
        let dead = tree(cx, seen, 10).downgrade(cx);
        (tree(cx, seen, 1 << 18).root(cx), dead)
    });
    let collections = heap.stats().collections;
    // Some of these panic in the heap's thread and some in the other one.
    for fuse in [100_000, 20_000, 200_000, 1, 150_000] {
        seen.fuse.store(fuse, SeqCst);
        let panic = catch_unwind(AssertUnwindSafe(|| heap.collect())).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"the fuse has burnt"));
        assert_eq!(heap.stats().collections, collections);
        assert!(heap.upgrade(dead).is_some(), "no collection has said otherwise");
    }
    seen.fuse.store(0, SeqCst);
    seen.elsewhere.store(true, SeqCst);
    // As above: the other thread need not come to mark a leaf.
    let panicked = (0..100).any(|_| catch_unwind(AssertUnwindSafe(|| heap.collect())).is_err());
    assert!(panicked, "no panic has come from another thread");
    seen.elsewhere.store(false, SeqCst);
    heap.collect();
    heap.verify().unwrap();
    assert!(heap.is_dead(dead));
    assert_eq!(heap.stats().live_objects, (1 << 19) - 1);
    drop(root);
    heap.collect();
    assert_eq!(heap.stats().live_objects, 0);
}

type Key<'gc> = Gc<'gc, Node<'gc>>;

#[test]
fn rule_08_tables_that_other_threads_reach_converge() {
    const TABLES: usize = 60_000;
    let mut heap = Heap::with_config(Config::default().mark_threads(3).collect_automatically(false));
    let drops = Rc::new(Cell::new(0));
    let (root, first) = heap.enter(|cx| {
        let node = |id| {
            let _dropped = Opaque(Dropped(Rc::clone(&drops)));
            cx.alloc(Node { id, edges: GcCell::new([None; 3]), _dropped })
        };
        let keys: Vec<Key<'_>> = (0..=TABLES).map(node).collect();
        // A chain through all tables, which lie in memory in another order.
        let tables: Vec<_> = (0..TABLES)
            .map(|table| {
                let at = table * 7919 % TABLES;
                let table = cx.alloc(Ephemerons::<Key<'_>, Key<'_>>::new());
                table.edit(cx).insert(keys[at], keys[at + 1]);
                // An entry that dies.
                table.edit(cx).insert(node(at), keys[at]);
                table
            })
            .collect();
        let padding = tree(cx, seen(), 1 << 15);
        (cx.alloc((tables, padding)).root(cx), keys[0].root(cx))
    });
    for round in 0..3 {
        heap.collect();
        let last = heap.stats().last;
        let cleared = if round == 0 { TABLES } else { 0 };
        assert_eq!((last.ephemerons_resolved, last.ephemerons_cleared), (TABLES, cleared));
        assert!(last.ephemerons_examined <= 4 * last.ephemeron_entries, "linear");
        assert_eq!(drops.get(), TABLES);
    }
    heap.verify().unwrap();
    drop(first);
    heap.collect();
    assert_eq!(heap.stats().last.ephemerons_cleared, TABLES);
    assert_eq!(drops.get(), 2 * TABLES + 1);
    drop(root);
    heap.collect();
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn long_arrays_and_values_of_all_kinds_are_marked_in_zeal() {
    let (long, rounds) = if cfg!(miri) { (200, 2) } else { (5000, 20) };
    let mut heap = Heap::with_config(Config::default().mark_threads(2).zeal(true));
    let drops = Rc::new(Cell::new(0));
    let roots = heap.enter(|cx| {
        let node = |id| {
            let _dropped = Opaque(Dropped(Rc::clone(&drops)));
            cx.alloc(Node { id, edges: GcCell::new([None; 3]), _dropped })
        };
        let array = cx.alloc_slice((0..long).map(node).collect::<Vec<_>>());
        let tables = [(); 5].map(|()| {
            let table = cx.alloc(Ephemerons::<Key<'_>, Key<'_>>::new());
            table.edit(cx).insert(array[3], node(0));
            table
        });
        let tail = cx.alloc_tail(tables, [Some(node(0)), None]);
        node(0);
        [cx.alloc((array, Vec::new())), cx.alloc((array, vec![Box::new(tail)]))].map(|object| object.root(cx))
    });
    for _ in 0..rounds {
        heap.collect_minor();
        heap.collect();
        assert_eq!(heap.stats().last.ephemerons_resolved, 5);
        assert_eq!((heap.stats().live_objects, drops.get()), (long + 15, 1));
    }
    drop(roots);
    heap.collect();
    assert_eq!((heap.stats().live_objects, drops.get()), (0, long + 7));
}

#[test]
fn a_heap_marks_with_one_thread_at_least() {
    let panic = catch_unwind(|| Config::default().mark_threads(0)).unwrap_err();
    assert!(panic.downcast_ref::<&str>().is_some_and(|message| message.contains("at least 1")));
}

/// Has a table, and notices if two threads visit it at the same time.
struct Watched<'gc> {
    table: Ephemerons<Gc<'gc, u64>, Gc<'gc, u64>>,
    next: GcCell<Option<Gc<'gc, Watched<'gc>>>>,
    inside: AtomicBool,
    disturbed: Rc<AtomicBool>,
}

// SAFETY: both fields with edges are visited, `At` renames the only brand, and what is written is atomic.
unsafe impl Trace for Watched<'_> {
    type At<'a> = Watched<'a>;
    const NEEDS_TRACE: bool = true;
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        if self.inside.swap(true, SeqCst) {
            self.disturbed.store(true, SeqCst);
        }
        let begun = std::time::Instant::now();
        while begun.elapsed().as_micros() < 20 {
            thread::yield_now();
        }
        self.table.trace(visitor);
        self.next.trace(visitor);
        self.inside.store(false, SeqCst);
    }
}

#[test]
fn what_has_a_table_is_visited_by_one_thread_at_a_time_however_often_it_was_written() {
    const TABLES: usize = if cfg!(miri) { 6 } else { 48 };
    for round in 0..if cfg!(miri) { 2 } else { 6 } {
        let disturbed = Rc::new(AtomicBool::new(false));
        let config = Config::default().mark_threads(2 + round % 2).zeal(true).collect_automatically(false);
        let mut heap = Heap::with_config(config);
        let keys: Root<[Gc<'static, u64>]> =
            heap.enter(|cx| cx.alloc_slice((0..TABLES).map(|key| cx.alloc(key as u64))).root(cx));
        let watched: Root<[Gc<'static, Watched<'static>>]> = heap.enter(|cx| {
            let keys = keys.get(cx);
            let watched = |place: usize| {
                let (inside, disturbed) = (AtomicBool::new(false), Rc::clone(&disturbed));
                let new = cx.alloc(Watched { table: Ephemerons::new(), next: GcCell::new(None), inside, disturbed });
                new.edit_ephemerons(cx, |new| &new.table).insert(keys[place], cx.alloc(place as u64));
                new
            };
            cx.alloc_slice((0..TABLES).map(watched)).root(cx)
        });
        for write in 1..4 {
            heap.begin_major();
            // Some are visited, some are not, and then each is written.
            (0..round * TABLES / 4).for_each(|_| _ = heap.step(StepBudget::units(1)));
            heap.enter(|cx| {
                for (place, watched) in watched.get(cx).iter().enumerate() {
                    let key = keys.get(cx)[(place + write) % TABLES];
                    watched.edit_ephemerons(cx, |watched| &watched.table).insert(key, cx.alloc(place as u64));
                }
            });
            while heap.step(StepBudget::units(50)) != Phase::Idle {}
            heap.enter(|cx| {
                for (place, watched) in watched.get(cx).iter().enumerate() {
                    for write in 0..=write {
                        let key = keys.get(cx)[(place + write) % TABLES];
                        assert_eq!(watched.table.get(key).map(|value| *value), Some(place as u64));
                    }
                }
            });
        }
        assert!(!disturbed.load(SeqCst), "two threads were in one table");
    }
}

/// Panics when it is traced on a thread that is not that of the heap, while the fuse is lit.
struct Mine<'gc> {
    table: Ephemerons<Gc<'gc, u64>, Gc<'gc, u64>>,
    heap_thread: ThreadId,
    lit: Rc<AtomicBool>,
    next: GcCell<Option<Gc<'gc, Mine<'gc>>>>,
    _dropped: Opaque<Dropped>,
}

// SAFETY: both fields with edges are visited, and `At` renames the only brand.
unsafe impl Trace for Mine<'_> {
    type At<'a> = Mine<'a>;
    const NEEDS_TRACE: bool = true;
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        assert!(!self.lit.load(SeqCst) || thread::current().id() == self.heap_thread, "on another thread");
        self.table.trace(visitor);
        self.next.trace(visitor);
    }
}

#[test]
fn trap_16_a_panic_in_another_thread_gives_up_what_increments_have_marked() {
    const MINES: usize = 300;
    let mut panicked = 0;
    for round in 0..if cfg!(miri) { 3 } else { 16 } {
        let (lit, drops) = (Rc::new(AtomicBool::new(false)), Rc::new(Cell::new(0)));
        let mut heap = Heap::with_config(Config::default().mark_threads(3).zeal(true).collect_automatically(false));
        let key = heap.alloc(7_u64);
        let mine = |cx: &lacuna::Mutator<'_>| {
            let _ = cx.stats();
            (thread::current().id(), Rc::clone(&lit), Opaque(Dropped(Rc::clone(&drops))))
        };
        let mines: Root<[Gc<'static, Mine<'static>>]> = heap.enter(|cx| {
            let new = |_| {
                let (heap_thread, lit, _dropped) = mine(cx);
                cx.alloc(Mine { table: Ephemerons::new(), heap_thread, lit, next: GcCell::new(None), _dropped })
            };
            (0..MINES).for_each(|place| _ = new(place));
            cx.alloc_slice((0..MINES).map(new)).root(cx)
        });
        heap.begin_major();
        (0..round * 12).for_each(|_| _ = heap.step(StepBudget::units(5)));
        let write = |heap: &mut Heap, write: u64| {
            heap.enter(|cx| {
                for mines in mines.get(cx).windows(2) {
                    mines[0].edit_ephemerons(cx, |mine| &mine.table).insert(key.get(cx), cx.alloc(write));
                    mines[0].set(cx, |mine| &mine.next, Some(mines[1]));
                }
            });
        };
        lit.store(true, SeqCst);
        // What is written faster than it is looked at again is left for the pause, in which other threads mark.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            while heap.phase() == Phase::Marking {
                write(&mut heap, 1);
                heap.step(StepBudget::units(10));
            }
        }));
        panicked += usize::from(outcome.is_err());
        lit.store(false, SeqCst);
        heap.verify().unwrap();
        write(&mut heap, 2);
        match round % 3 {
            0 => heap.collect(),
            1 => heap.collect_minor(),
            _ => heap.begin_major(),
        }
        while heap.step(StepBudget::units(100)) != Phase::Idle {}
        heap.enter(|cx| {
            for mine in &mines.get(cx)[..MINES - 1] {
                assert_eq!(mine.table.get(key.get(cx)).map(|value| *value), Some(2));
            }
        });
        heap.collect();
        assert_eq!(drops.get(), MINES);
        drop(mines);
        heap.collect();
        assert_eq!(drops.get(), 2 * MINES);
    }
    assert!(panicked > 0, "no other thread took part");
}
