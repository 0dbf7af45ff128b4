//! Bugs that were found in other collectors, each as a test that this one does not have it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use lacuna::{Budget, Config, Gc, GcCell, GcRefCell, Heap, Opaque, Root, Trace};

#[derive(Trace)]
struct Node<'gc> {
    id: usize,
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

/// Where callbacks put what outlives them.
type Kept<T> = Opaque<Rc<RefCell<Vec<Root<T>>>>>;

fn zealous() -> Heap {
    Heap::with_config(Config::default().zeal(true))
}

/// Notes its drop.
struct Token(Rc<RefCell<Vec<usize>>>, usize);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.borrow_mut().push(self.1);
    }
}

#[test]
fn an_object_that_only_the_value_being_allocated_leads_to_is_not_collected() {
    // In zeal every allocation by handle collects before it allocates.
    let mut heap = zealous();
    let mut list: Option<Root<Node<'static>>> = None;
    for id in 0..200 {
        let before = list.take();
        let new = heap.alloc_with::<Node<'_>>(|cx| {
            let next = before.as_ref().map(|root| root.get(cx));
            // The only root goes before the value is in the heap.
            drop(before);
            let middle = cx.alloc(Node { id: id + 1000, next: GcCell::new(next) });
            Node { id, next: GcCell::new(Some(middle)) }
        });
        list = Some(new);
    }
    heap.collect();
    assert_eq!(heap.stats().live_objects, 400);
    heap.with(list.as_ref().unwrap(), |node| {
        let mut at = Some(node);
        for id in (0..200).rev() {
            let (node, middle) = (at.unwrap(), at.unwrap().next.get().unwrap());
            assert_eq!((node.id, middle.id), (id, id + 1000));
            at = middle.next.get();
        }
        assert!(at.is_none());
    });
}

#[test]
fn a_value_that_holds_roots_is_allocated_with_what_they_lead_to() {
    let mut heap = zealous();
    let inner = heap.alloc(String::from("inner"));
    let weak = heap.downgrade(&inner);
    let outer = heap.alloc(Some(inner));
    heap.collect();
    let inner = heap.upgrade(weak).unwrap();
    assert_eq!(heap.get(&inner), "inner");
    drop(outer);
}

#[test]
fn a_finalizer_may_allocate() {
    for zeal in [false, true] {
        let mut heap = Heap::with_config(Config::default().zeal(zeal));
        let kept: Kept<[usize; 8]> = Opaque::default();
        for id in 0..50 {
            let object = heap.alloc(id);
            heap.cleanup(&object, (kept.clone(), id), |heap, (kept, id)| {
                for copy in 0..10 {
                    let object = heap.alloc([id; 8]);
                    if copy == 5 {
                        kept.borrow_mut().push(object);
                    }
                }
            })
            .unwrap();
        }
        heap.collect();
        heap.drain(Budget::unlimited()).unwrap();
        assert_eq!(heap.stats().panics, 0);
        heap.collect();
        assert_eq!(kept.borrow().len(), 50);
        let mut ids: Vec<_> = kept.borrow().iter().map(|object| heap.get(object)[7]).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..50).collect::<Vec<_>>());
    }
}

#[test]
fn a_child_taken_out_of_a_guarded_object_outlives_it() {
    for zeal in [false, true] {
        let mut heap = Heap::with_config(Config::default().zeal(zeal));
        heap.enter(|cx| {
            let child = cx.alloc(Node { id: 2, next: GcCell::new(None) });
            let parent = cx.alloc(Node { id: 1, next: GcCell::new(Some(child)) });
            cx.guard(parent, 0).unwrap();
        });
        heap.collect();
        let parent = heap.next_guarded().unwrap().object.downcast::<Node<'static>>().unwrap();
        let child = heap.enter(|cx| parent.get(cx).next.get().unwrap().root(cx));
        let weak = heap.enter(|cx| parent.get(cx).downgrade(cx));
        drop(parent);
        heap.collect();
        assert!(heap.is_dead(weak));
        heap.enter(|cx| assert_eq!(child.get(cx).id, 2));
        assert_eq!(heap.stats().live_objects, 1);
        heap.verify().unwrap();
    }
}

#[test]
fn a_child_kept_by_the_payload_of_a_cleanup_outlives_it() {
    let mut heap = zealous();
    let (parent, child) = (heap.alloc(1), heap.alloc(String::from("child")));
    let kept: Kept<String> = Opaque::default();
    heap.cleanup(&parent, (child, kept.clone()), |_, (child, kept)| kept.borrow_mut().push(child)).unwrap();
    drop(parent);
    heap.collect();
    heap.drain(Budget::unlimited()).unwrap();
    heap.collect();
    heap.collect();
    assert_eq!(heap.get(&kept.borrow()[0]), "child");
}

#[test]
fn a_drop_that_panics_in_the_sweep_does_not_crash_the_next_collections() {
    struct Panics(Rc<Cell<usize>>);
    impl Drop for Panics {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            std::panic::resume_unwind(Box::new("dropped"));
        }
    }
    let drops = Rc::new(Cell::new(0));
    let mut heap = zealous();
    for round in 1..20 {
        let kept: Vec<_> = (0..5).map(|_| heap.alloc(Opaque(Panics(Rc::clone(&drops))))).collect();
        heap.collect();
        assert_eq!(heap.stats().live_objects, 5);
        drop(kept);
        heap.collect();
        assert_eq!(drops.get(), 5 * round);
        assert_eq!(heap.stats().live_objects, 0);
    }
    heap.verify().unwrap();
}

#[test]
fn a_resurrected_object_is_whole_and_is_freed_when_it_dies_again() {
    let dropped: Rc<RefCell<Vec<usize>>> = Rc::default();
    #[derive(Trace)]
    struct Owner<'gc> {
        token: Opaque<Token>,
        text: String,
        child: GcCell<Option<Gc<'gc, Owner<'gc>>>>,
    }
    let mut heap = zealous();
    heap.enter(|cx| {
        let mut child = None;
        for id in 0..10 {
            let token = Opaque(Token(Rc::clone(&dropped), id));
            child = Some(cx.alloc(Owner { token, text: format!("owner {id}"), child: GcCell::new(child) }));
        }
        cx.guard(child.unwrap(), 0).unwrap();
    });
    heap.collect();
    assert!(dropped.borrow().is_empty(), "nothing is dropped that a guardian hands back");
    let owner = heap.next_guarded().unwrap().object.downcast::<Owner<'static>>().unwrap();
    for _ in 0..3 {
        heap.collect();
        heap.with(&owner, |owner| {
            let mut at = Some(owner);
            for id in (0..10).rev() {
                assert_eq!(at.unwrap().text, format!("owner {id}"));
                assert_eq!(at.unwrap().token.1, id);
                at = at.unwrap().child.get();
            }
        });
    }
    drop(owner);
    heap.collect();
    dropped.borrow_mut().sort_unstable();
    assert_eq!(*dropped.borrow(), (0..10).collect::<Vec<_>>());
}

const MILLION: usize = 1_000_000;

/// Runs a step on a thread with a stack too small for any recursion over a list.
fn on_a_small_stack(step: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(256 << 10).spawn(step).unwrap().join().unwrap();
}

#[test]
fn a_list_of_a_million_nodes_is_marked_verified_and_dropped_without_recursion() {
    on_a_small_stack(|| {
        let mut heap = Heap::new();
        let list = heap.enter(|cx| {
            let mut next = None;
            for id in 0..MILLION {
                next = Some(cx.alloc(Node { id, next: GcCell::new(next) }));
            }
            next.unwrap().root(cx)
        });
        heap.collect();
        assert_eq!(heap.stats().live_objects, MILLION);
        assert_eq!(heap.verify().unwrap().objects, MILLION);
        drop(list);
        heap.collect();
        assert_eq!(heap.stats().live_objects, 0);
    });
}

#[test]
fn a_list_of_a_million_nodes_with_values_to_drop_is_dropped_without_recursion_also_with_its_heap() {
    #[derive(Trace)]
    struct Owner<'gc> {
        _counted: Opaque<Counted>,
        _next: Option<Gc<'gc, Owner<'gc>>>,
    }
    struct Counted(Rc<Cell<usize>>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    for with_heap in [false, true] {
        on_a_small_stack(move || {
            let drops = Rc::new(Cell::new(0));
            let mut heap = Heap::new();
            let list = heap.enter(|cx| {
                let mut next = None;
                for _ in 0..MILLION {
                    next = Some(cx.alloc(Owner { _counted: Opaque(Counted(Rc::clone(&drops))), _next: next }));
                }
                next.unwrap().root(cx)
            });
            heap.collect();
            assert_eq!(drops.get(), 0);
            drop(list);
            if with_heap {
                drop(heap);
            } else {
                heap.collect();
            }
            assert_eq!(drops.get(), MILLION);
        });
    }
}

#[test]
fn a_chain_of_a_million_weakly_observed_nodes_dies_at_once() {
    on_a_small_stack(|| {
        let mut heap = Heap::new();
        let (list, weak) = heap.enter(|cx| {
            let mut next = None;
            let mut weak = Vec::new();
            for id in 0..200_000 {
                let node = cx.alloc(Node { id, next: GcCell::new(next) });
                weak.push(node.downgrade(cx));
                next = Some(node);
            }
            (next.unwrap().root(cx), weak)
        });
        heap.collect();
        assert!(weak.iter().all(|&weak| !heap.is_dead(weak)));
        drop(list);
        heap.collect();
        assert!(weak.iter().all(|&weak| heap.is_dead(weak)));
        assert_eq!(heap.stats().weak_slots, 0);
    });
}

#[test]
fn an_array_of_four_million_edges_is_traced_in_pieces() {
    const EDGES: usize = 4_000_000;
    let mut heap = Heap::new();
    let array = heap.enter(|cx| {
        let cells: Vec<_> = (0..1000).map(|id| cx.alloc(Node { id, next: GcCell::new(None) })).collect();
        cx.alloc_slice((0..EDGES).map(|index| GcCell::new(Some(cells[index % 1000])))).root(cx)
    });
    heap.collect();
    assert_eq!(heap.stats().live_objects, 1001);
    // Every piece is visited: objects that only the first, the last and some middle elements lead to.
    let weak = heap.enter(|cx| {
        let array = array.get(cx);
        [0, 127, 128, 129, 1_999_999, EDGES - 129, EDGES - 128, EDGES - 1].map(|index| {
            let node = cx.alloc(Node { id: index, next: GcCell::new(None) });
            array.set(cx, |array| &array[index], Some(node));
            node.downgrade(cx)
        })
    });
    heap.collect();
    assert!(weak.iter().all(|&weak| !heap.is_dead(weak)));
    assert_eq!(heap.stats().live_objects, 1009);
    heap.enter(|cx| {
        let array = array.get(cx);
        array.iter().enumerate().for_each(|(index, _)| array.set(cx, |array| &array[index], None));
    });
    heap.collect();
    assert_eq!(heap.stats().live_objects, 1);
    drop(array);
    heap.collect();
    assert_eq!(heap.stats().used_bytes, 0);
}

#[test]
fn a_long_array_that_leads_to_long_lists_is_marked_within_a_small_stack() {
    on_a_small_stack(|| {
        let mut heap = Heap::new();
        let root = heap.enter(|cx| {
            let rows = (0..300).map(|_| {
                let mut next = None;
                for id in 0..300 {
                    next = Some(cx.alloc(Node { id, next: GcCell::new(next) }));
                }
                cx.alloc_slice((0..300).map(|_| next))
            });
            let rows: Vec<_> = rows.collect();
            cx.alloc_slice(rows).root(cx)
        });
        heap.collect();
        assert_eq!(heap.stats().live_objects, 300 * 301 + 1);
        drop(root);
    });
}

#[test]
fn the_memory_of_a_dead_object_that_is_weakly_held_is_used_again() {
    let mut heap = Heap::new();
    let mut held = Vec::new();
    let mut used = 0;
    for round in 0..20 {
        for id in 0..2000 {
            let object = heap.alloc([id; 16]);
            held.push(heap.downgrade(&object));
        }
        let large = heap.enter(|cx| cx.alloc_slice(vec![1_u8; 200_000]).root(cx));
        let weak = heap.downgrade(&large);
        let most = heap.stats().used_bytes;
        drop(large);
        heap.collect();
        assert!(heap.is_dead(weak));
        if round == 0 {
            used = most;
        }
        assert!(most <= used, "round {round} needs {most} bytes, the first needed {used}");
        assert_eq!(heap.stats().used_bytes, 0);
        assert_eq!(heap.stats().weak_slots, 0);
    }
    assert!(held.iter().all(|&weak| heap.is_dead(weak)));
}

#[test]
fn memory_goes_back_to_the_system() {
    let mut heap = Heap::new();
    let roots: Vec<_> = (0..300_000_u64).map(|id| heap.alloc([id; 12])).collect();
    let weak: Vec<_> = roots.iter().map(|root| heap.downgrade(root)).collect();
    let most = heap.stats();
    assert!(most.reserved_bytes > 28 << 20);
    drop(roots);
    heap.collect();
    let least = heap.stats();
    assert!(least.reserved_bytes <= 2 << 20, "{} bytes are still reserved", least.reserved_bytes);
    assert_eq!((least.used_bytes, least.weak_bytes, least.finalizer_bytes), (0, 0, 0));
    assert!(weak.iter().all(|&weak| heap.is_dead(weak)));
}

/// A chain in which each object holds the next one's registration alive is not an ephemeron, but the shape that makes
/// other collectors quadratic: what each pass finds keeps one more object alive.
#[test]
fn a_chain_through_guardians_and_payloads_is_marked_in_linear_time() {
    let time = |length: usize| {
        let mut heap = Heap::new();
        let mut next: Option<Root<usize>> = None;
        for id in 0..length {
            let object = heap.alloc(id);
            heap.cleanup(&object, next.take(), |_, _| ()).unwrap();
            next = Some(object);
        }
        let start = Instant::now();
        heap.collect();
        assert_eq!(heap.stats().live_objects, length);
        drop(next);
        (start.elapsed(), heap)
    };
    let fastest = |length| (0..3).map(|_| time(length).0).min().unwrap();
    let (short, long) = (fastest(2_000), fastest(20_000));
    assert!(long < short * 60 + Duration::from_millis(20), "{short:?} for the short chain, {long:?} for the long one");
}

#[test]
fn a_borrowed_cell_is_traced_by_nobody_and_a_forgotten_borrow_hides_nothing() {
    #[derive(Trace)]
    struct Holder<'gc> {
        list: GcRefCell<Vec<Gc<'gc, Node<'gc>>>>,
    }
    let mut heap = zealous();
    let (holder, weak) = heap.enter(|cx| {
        let holder = cx.alloc(Holder { list: GcRefCell::default() });
        let node = cx.alloc(Node { id: 1, next: GcCell::new(None) });
        let mut list = holder.borrow_mut(cx, |holder| &holder.list);
        list.push(node);
        std::mem::forget(list);
        (holder.root(cx), node.downgrade(cx))
    });
    heap.collect();
    assert!(!heap.is_dead(weak));
    heap.with(&holder, |holder| assert!(holder.list.try_borrow().is_none()));
}
