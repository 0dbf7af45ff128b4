//! The same program does the same: collections, statistics, orders.

use std::cell::RefCell;
use std::rc::Rc;

use lacuna::{Budget, Config, Gc, GcCell, Heap, Opaque, Stats, Trace};

#[derive(Trace)]
struct Node<'gc> {
    token: Opaque<Token>,
    edges: [GcCell<Option<Gc<'gc, Node<'gc>>>>; 2],
}

/// Objects that a run without zeal allocates.
const OBJECTS: u32 = 20_000;

/// Notes its drop.
struct Token(u32, Rc<RefCell<Vec<u32>>>);

impl Drop for Token {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0);
    }
}

#[derive(PartialEq, Debug)]
struct Trail {
    stats: Vec<Stats>,
    dropped: Vec<u32>,
    ran: Vec<u32>,
    handed_out: Vec<u64>,
}

/// Builds, changes and drops graphs, collecting as the heap sees fit.
fn play(zeal: bool) -> Trail {
    let config = Config::default().min_heap(128 << 10).growth_factor(1.3).zeal(zeal);
    let mut heap = Heap::with_config(config);
    let dropped: Rc<RefCell<Vec<u32>>> = Rc::default();
    let ran: Opaque<Rc<RefCell<Vec<u32>>>> = Opaque::default();
    let mut stats = Vec::new();
    let mut handed_out = Vec::new();
    let mut roots = Vec::new();
    let mut random = 0x1234_5678_u32;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random as usize % below
    };
    for id in 0..if zeal { 300 } else { OBJECTS } {
        let root = heap.alloc_with::<Node<'_>>(|cx| {
            let edges = [0, 1].map(|_| match roots.len() {
                0 => GcCell::new(None),
                count => GcCell::new(Some(cx.get(&roots[next(count)]))),
            });
            Node { token: Opaque(Token(id, Rc::clone(&dropped))), edges }
        });
        match next(8) {
            0 => drop(heap.cleanup(&root, (ran.clone(), id), |_, (ran, id)| ran.borrow_mut().push(id)).unwrap()),
            1 => drop(heap.guard(&root, u64::from(id)).unwrap()),
            2 => drop(heap.downgrade(&root)),
            _ => {}
        }
        roots.push(root);
        if roots.len() > 20 {
            let (one, other) = (next(roots.len()), next(roots.len()));
            heap.enter(|cx| roots[one].get(cx).set(cx, |node| &node.edges[0], Some(cx.get(&roots[other]))));
            roots.swap_remove(next(roots.len()));
        }
        if next(300) == 0 {
            roots.truncate(3);
        }
        if next(10) == 0 {
            handed_out.extend(heap.next_guarded().map(|guarded| guarded.tag));
        }
        if id % 100 == 0 {
            stats.push(heap.stats());
        }
    }
    heap.drain(Budget::unlimited()).unwrap();
    stats.push(heap.stats());
    drop(heap);
    for stats in &mut stats {
        // Whether an object counts as near depends on where the system puts chunks.
        stats.last.objects_prefetched = 0;
    }
    let dropped = dropped.borrow().clone();
    let ran = ran.borrow().clone();
    Trail { stats, dropped, ran, handed_out }
}

#[test]
fn the_same_program_gives_the_same_statistics_drops_callbacks_and_objects_back() {
    let first = play(false);
    assert!(first.stats.last().unwrap().collections > 5);
    assert!(!first.ran.is_empty() && !first.handed_out.is_empty());
    assert_eq!(first.dropped.len(), OBJECTS as usize);
    for _ in 0..3 {
        // Whatever else the process has allocated in between.
        let _noise = vec![0_u8; 3 << 20];
        assert_eq!(play(false), first);
    }
}

#[test]
fn the_same_program_in_zeal_gives_the_same_too() {
    assert_eq!(play(true), play(true));
}

#[test]
fn two_heaps_that_take_turns_do_not_disturb_each_other() {
    let steps = |heap: &mut Heap, round: u64| {
        let objects: Vec<_> = (0..50).map(|id| heap.alloc([id * round; 4])).collect();
        let weak = heap.downgrade(&objects[7]);
        heap.add_external(1000);
        if round.is_multiple_of(7) {
            heap.collect();
        }
        assert_eq!(heap.get(&heap.upgrade(weak).unwrap()), &[7 * round; 4]);
        heap.stats()
    };
    let mut alone = Heap::new();
    let expected: Vec<_> = (0..40).map(|round| steps(&mut alone, round)).collect();
    let mut heaps = [Heap::new(), Heap::new()];
    for round in 0..40 {
        for heap in &mut heaps {
            let mut stats = steps(heap, round);
            let mut expected = expected[round as usize];
            (stats.last.objects_prefetched, expected.last.objects_prefetched) = (0, 0);
            assert_eq!(stats, expected);
        }
    }
}
