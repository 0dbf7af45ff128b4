//! Attacks: safe programs that try to reach undefined behaviour, or to break a promise of the documentation.
//!
//! docs/design/soundness.md says why each of them fails. Run them under a sanitizer now and then: much of what they
//! look for shows only there. A test that is marked `ignore` shows a bug that is known and not fixed.
#![deny(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Mutex;

use lacuna::{
    AnyRoot, AutoDrain, Budget, Cleanup, Config, Exhausted, Gc, GcCell, GcRefCell, Guard, Heap, Mutator, Opaque, Ref,
    RegisterFailure, Root, ShutdownOptions, Trace, Weak, WeakLong, WithTail,
};

#[derive(Trace)]
struct Node<'gc> {
    name: String,
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
    all: GcRefCell<Vec<Gc<'gc, Node<'gc>>>>,
}

fn node<'gc>(cx: &Mutator<'gc>, name: &str) -> Gc<'gc, Node<'gc>> {
    cx.alloc(Node { name: name.into(), next: GcCell::new(None), all: GcRefCell::new(Vec::new()) })
}

/// Small limits, so that collections happen, and with all checks on.
fn zealous() -> Heap {
    Heap::with_config(Config::default().zeal(true))
}

fn panics<R>(step: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(step)).is_err()
}

/// Counts its drops, and runs something in each.
struct Dropped {
    count: Rc<Cell<usize>>,
    action: Option<Box<dyn FnMut()>>,
}

impl Drop for Dropped {
    fn drop(&mut self) {
        self.count.set(self.count.get() + 1);
        if let Some(action) = &mut self.action {
            action();
        }
    }
}

fn dropped(count: &Rc<Cell<usize>>) -> Opaque<Dropped> {
    Opaque(Dropped { count: count.clone(), action: None })
}

fn dropped_with(count: &Rc<Cell<usize>>, action: impl FnMut() + 'static) -> Opaque<Dropped> {
    Opaque(Dropped { count: count.clone(), action: Some(Box::new(action)) })
}

/// Leaks a value, and remembers where, so that leak checkers look for other leaks only.
fn leaked<'a, T: 'a>(value: T) -> &'a mut T {
    static PLACES: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let place = Box::leak(Box::new(value));
    PLACES.lock().unwrap().push(std::ptr::from_mut(place).expose_provenance());
    place
}

// --- Brands, heaps and ids --------------------------------------------------------------------------------------

#[test]
fn a_root_is_refused_by_every_heap_but_its_own() {
    let (mut one, mut two) = (Heap::new(), Heap::new());
    let root = one.alloc(String::from("one"));
    two.enter(|cx| {
        assert!(root.try_get(cx).is_err());
        assert!(panics(|| root.get(cx)));
        assert!(panics(|| cx.get(&root)));
    });
    assert!(panics(|| two.get(&root).len()));
    assert!(panics(|| two.with(&root, |text| text.len())));
    assert!(panics(|| two.downgrade(&root)));
    assert!(panics(|| two.downgrade_long(&root)));
    assert_eq!(two.guard(&root, 0).unwrap_err().reason(), RegisterFailure::WrongHeap);
    let refused = two.cleanup(&root, String::from("payload"), |_, _| unreachable!()).unwrap_err();
    assert_eq!((refused.reason(), refused.into_payload().as_str()), (RegisterFailure::WrongHeap, "payload"));
}

#[test]
fn ids_of_one_heap_mean_nothing_to_another_heap() {
    let (mut one, mut two) = (Heap::new(), Heap::new());
    let (mine, theirs) = (one.alloc(1), two.alloc(2));
    let weak = one.downgrade(&mine);
    let long = one.downgrade_long(&mine);
    let cleanup = one.cleanup(&mine, 7_u64, |_, _| ()).unwrap();
    let guard = one.guard(&mine, 0).unwrap();
    // Their twins have the same indices and generations, and payloads of another type.
    let _ = (two.downgrade(&theirs), two.downgrade_long(&theirs));
    let twin = two.cleanup(&theirs, String::from("payload"), |_, _| ()).unwrap();
    let _ = two.guard(&theirs, 0).unwrap();

    assert!(panics(|| two.upgrade(weak)));
    assert!(panics(|| two.upgrade_long(long)));
    assert!(panics(|| two.is_dead(weak)));
    assert!(panics(|| two.cancel(cleanup)));
    assert!(panics(|| two.run_now(cleanup)));
    assert!(panics(|| two.enter(|cx| cx.cancel(cleanup))));
    assert!(panics(|| two.enter(|cx| cx.upgrade(weak).is_some())));
    assert!(!two.is_pending(cleanup));
    assert!(two.peek(cleanup).is_none());
    assert!(!two.set_external(cleanup, 1));
    assert!(!two.set_label(cleanup, "label"));
    assert!(!two.set_at_shutdown(cleanup, true));
    assert!(!two.unguard(guard));
    assert_eq!(two.peek(twin).map(String::as_str), Some("payload"));
    assert_eq!(one.cancel(cleanup), Some(7));
}

#[test]
fn scopes_of_two_heaps_open_inside_each_other() {
    let (mut one, mut two) = (zealous(), zealous());
    let (first, second) = one.enter(|outer| {
        two.enter(|inner| {
            let a = node(outer, "a");
            let b = node(inner, "b");
            a.set(outer, |a| &a.next, Some(a));
            b.set(inner, |b| &b.next, Some(b));
            (a.root(outer), b.root(inner))
        })
    });
    one.collect();
    two.collect();
    assert_eq!(one.with(&first, |a| a.next.get().unwrap().name.clone()), "a");
    assert_eq!(two.with(&second, |b| b.next.get().unwrap().name.clone()), "b");
}

#[test]
fn a_heap_that_was_leaked_works_like_any_other() {
    let heap: &'static mut Heap = leaked(zealous());
    let root = heap.enter(|cx| node(cx, "leaked").root(cx));
    heap.collect();
    let heap: &'static Heap = heap;
    assert_eq!(heap.with(&root, |node| node.name.clone()), "leaked");
}

#[test]
fn roots_and_ids_may_outlive_their_heap() {
    let count = Rc::new(Cell::new(0));
    let mut heap = Heap::new();
    let root = heap.alloc(dropped(&count));
    let weak = heap.downgrade(&root);
    let cleanup = heap.cleanup(&root, 1, |_, _| unreachable!()).unwrap();
    let any = AnyRoot::from(heap.alloc(String::from("any")));
    drop(heap);
    assert_eq!(count.get(), 1);

    // Enough clones to need new pages of a table whose heap is gone.
    let clones: Vec<_> = (0..2000).map(|_| root.clone()).collect();
    assert!(Root::ptr_eq(&root, &clones[1999]));
    let mut other = Heap::new();
    let stranger = other.alloc(1);
    assert!(other.enter(|cx| root.try_get(cx).is_err()));
    assert!(panics(|| other.upgrade(weak)));
    assert!(!other.is_pending(cleanup));
    assert_eq!(any.type_name(), "alloc::string::String");
    let text = any.downcast::<String>().unwrap();
    assert!(panics(|| other.get(&text).len()));
    assert_eq!(*other.get(&stranger), 1);
}

#[test]
fn a_callback_may_replace_or_drop_the_heap_that_runs_it() {
    let count = Rc::new(Cell::new(0));
    for keep in [true, false] {
        let moved_out = Rc::new(RefCell::new(None));
        let mut heap = zealous();
        let survivor = heap.alloc(dropped(&count));
        let target = heap.alloc(1);
        for _ in 0..3 {
            let moved_out = moved_out.clone();
            heap.cleanup_with(&target, survivor.clone(), move |heap, payload| {
                let old = std::mem::take(heap);
                if keep {
                    moved_out.borrow_mut().get_or_insert(old);
                }
                drop(payload);
                heap.alloc(String::from("in the new heap"));
                heap.collect();
            })
            .unwrap();
        }
        drop(target);
        heap.collect();
        assert_eq!(heap.drain(Budget::unlimited()).unwrap().ran, 1, "the other callbacks left with their heap");
        assert!(heap.drain(Budget::unlimited()).is_ok());
        assert!(heap.enter(|cx| survivor.try_get(cx).is_err()));
        if let Some(mut old) = moved_out.take() {
            assert_eq!(old.get(&survivor).0.count.get(), 0);
            assert_eq!(old.drain(Budget::unlimited()).unwrap().ran, 1);
        }
        // What the second callback moved out again, with a third one in it.
        drop(moved_out.take());
        drop(survivor);
    }
    assert_eq!(count.get(), 2);
}

#[test]
fn two_heaps_may_be_swapped_while_both_run_callbacks() {
    let other = Rc::new(RefCell::new(zealous()));
    let mut heap = zealous();
    let (target, theirs) = (heap.alloc(1), other.borrow_mut().alloc(2));
    let inner = other.clone();
    heap.cleanup_with(&target, (), move |heap, ()| std::mem::swap(heap, &mut inner.borrow_mut())).unwrap();
    drop(target);
    heap.collect();
    heap.drain(Budget::unlimited()).unwrap();
    assert_eq!(*heap.get(&theirs), 2);
    assert!(heap.drain(Budget::unlimited()).is_ok());
    assert!(other.borrow_mut().drain(Budget::unlimited()).is_ok());
}

#[test]
fn a_callback_can_neither_drain_nor_shut_down() {
    let mut heap = zealous();
    let target = heap.alloc(1);
    heap.cleanup(&target, (), |heap, ()| {
        assert!(heap.drain(Budget::unlimited()).is_err());
        assert!(heap.shutdown(ShutdownOptions::default()).is_err());
        heap.collect();
        heap.enter(|cx| node(cx, "scope in a callback").root(cx));
    })
    .unwrap();
    drop(target);
    heap.collect();
    let report = heap.drain(Budget::unlimited()).unwrap();
    assert_eq!((report.ran, report.panicked), (1, 0));
}

// --- Memory ----------------------------------------------------------------------------------------------------

#[derive(Trace, Clone, Copy, PartialEq, Debug)]
struct Bytes<const N: usize>([u8; N]);

#[derive(Trace, Clone, Copy)]
#[repr(align(32))]
struct Align32([u8; 40]);

#[derive(Trace, Clone, Copy)]
#[repr(align(4096))]
struct Align4096(u8);

#[derive(Trace, Clone, Copy)]
#[repr(align(16384))]
struct Align16384(u8);

#[test]
fn cells_of_every_size_and_alignment_are_apart_and_aligned() {
    fn check<T: for<'a> Trace<At<'a> = T> + 'static>(make: impl Fn(u8) -> T) {
        let mut heap = zealous();
        heap.enter(|cx| {
            let mut places = Vec::new();
            for i in 0..40 {
                let single = cx.alloc(make(i)).as_ref();
                places.push((std::ptr::from_ref(single).addr(), size_of_val(single), align_of_val(single)));
                let several = cx.alloc_slice_with(usize::from(i), |_| make(i)).as_ref();
                places.push((several.as_ptr().addr(), size_of_val(several), align_of_val(several)));
                let tail = cx.alloc_tail(make(i), (0..i).map(&make)).as_ref();
                places.push((std::ptr::from_ref(&tail.header).addr(), size_of_val(tail), align_of_val(tail)));
                assert_eq!(tail.tail.len(), usize::from(i));
            }
            places.sort_unstable();
            assert!(places.iter().all(|(addr, _, align)| addr % align == 0));
            assert!(places.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
        });
        heap.collect();
        assert_eq!(heap.stats().live_objects, 0);
        heap.verify().unwrap();
    }
    check(|i| Bytes([i; 1]));
    check(|i| Bytes([i; 3]));
    check(|i| Bytes([i; 17]));
    check(|i| Bytes([i; 24]));
    check(|i| Bytes([i; 8176]));
    check(|i| Bytes([i; 8184]));
    check(|i| Bytes([i; 8192]));
    check(|i| Bytes([i; 8193]));
    check(|i| Bytes([i; 16384]));
    check(|i| Align32([i; 40]));
    check(Align4096);
    check(Align16384);
    check(|i| vec![i; 3]);
    check(|i| [vec![i], vec![], vec![]]);
}

#[test]
fn zero_sized_objects_are_aligned() {
    #[derive(Trace)]
    #[repr(align(64))]
    struct Nothing;
    Heap::new().enter(|cx| {
        for _ in 0..4 {
            assert_eq!(Gc::addr(cx.alloc(Nothing)) % 64, 0);
        }
    });
}

#[test]
fn lengths_that_no_address_space_has_are_refused() {
    struct Endless(usize);
    impl Iterator for Endless {
        type Item = u64;
        fn next(&mut self) -> Option<u64> {
            unreachable!("nothing is taken before there is room")
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (self.0, Some(self.0))
        }
    }
    impl ExactSizeIterator for Endless {}
    let mut heap = Heap::new();
    heap.enter(|cx| {
        for length in [usize::MAX, usize::MAX / 8, isize::MAX as usize / 8, isize::MAX as usize / 8 - 1] {
            assert_eq!(cx.try_alloc_slice(Endless(length)).unwrap_err().reason(), Exhausted::System);
            assert!(panics(|| cx.alloc_tail(String::from("header"), Endless(length))));
        }
    });
    heap.collect();
    heap.verify().unwrap();
}

#[test]
fn iterators_that_lie_about_their_length_harm_nobody() {
    struct Liar {
        says: Vec<usize>,
        yields: usize,
        count: Rc<Cell<usize>>,
    }
    impl Iterator for Liar {
        type Item = Opaque<Dropped>;
        fn next(&mut self) -> Option<Opaque<Dropped>> {
            self.yields = self.yields.checked_sub(1)?;
            Some(dropped(&self.count))
        }
    }
    impl ExactSizeIterator for Liar {
        fn len(&self) -> usize {
            self.says[self.yields % self.says.len()]
        }
    }
    let count = Rc::new(Cell::new(0));
    let mut heap = zealous();
    let liar = |says: &[usize], yields| Liar { says: says.to_vec(), yields, count: count.clone() };
    heap.enter(|cx| {
        assert!(panics(|| cx.alloc_slice(liar(&[10], 3))));
        assert_eq!(cx.alloc_slice(liar(&[3], 10)).len(), 3);
        assert_eq!(cx.alloc_slice(liar(&[5, 1000, 0], 9)).len(), 5);
        assert!(panics(|| cx.alloc_tail(dropped(&count), liar(&[700], 500))));
    });
    heap.collect();
    assert_eq!(count.get(), 3 + 3 + 5 + 1 + 500);
    heap.verify().unwrap();
}

#[test]
fn an_iterator_may_allocate_and_panic_while_its_slice_is_built() {
    let count = Rc::new(Cell::new(0));
    let mut heap = zealous();
    let roots = heap.enter(|cx| {
        let mut roots = Vec::new();
        for stop in [0, 1, 70, 500] {
            let built = catch_unwind(AssertUnwindSafe(|| {
                cx.alloc_slice_with(500, |index| {
                    assert_ne!(index, stop, "stopped");
                    let inner = cx.alloc_slice_with(index % 9, |_| dropped(&count));
                    (cx.alloc(index), inner, dropped(&count))
                })
            }));
            roots.extend(built.ok().map(|slice| slice.root(cx)));
        }
        roots
    });
    heap.collect();
    assert_eq!(roots.len(), 1);
    heap.with(&roots[0], |slice| {
        for (index, (number, inner, _)) in slice.iter().enumerate() {
            assert_eq!((**number, inner.len()), (index, index % 9));
        }
    });
    let inner = |length: usize| (0..length).map(|index| index % 9 + 1).sum::<usize>();
    assert_eq!(count.get(), inner(0) + inner(1) + inner(70));
    drop(roots);
    heap.collect();
    assert_eq!(count.get(), inner(0) + inner(1) + inner(70) + inner(500));
}

#[test]
fn a_list_of_a_million_nodes_needs_no_stack() {
    std::thread::Builder::new()
        .stack_size(128 << 10)
        .spawn(|| {
            let mut heap = Heap::new();
            let first = heap.enter(|cx| {
                let mut list = node(cx, "last");
                for _ in 0..1_000_000 {
                    let next = node(cx, "");
                    next.set(cx, |node| &node.next, Some(list));
                    list = next;
                }
                list.root(cx)
            });
            heap.collect();
            assert_eq!(heap.stats().live_objects, 1_000_001);
            heap.verify().unwrap();
            drop(first);
            heap.collect();
            assert_eq!(heap.stats().live_objects, 0);
        })
        .unwrap()
        .join()
        .unwrap();
}

// --- Cells -----------------------------------------------------------------------------------------------------

#[derive(Trace)]
struct Cells {
    number: GcCell<u32>,
    boxed: Box<GcCell<u32>>,
    list: GcRefCell<Vec<GcCell<u32>>>,
    nested: GcRefCell<(GcCell<u32>, GcRefCell<String>)>,
    nothing: GcCell<()>,
    text: GcRefCell<String>,
}

fn cells<'gc>(cx: &Mutator<'gc>) -> Gc<'gc, Cells> {
    cx.alloc(Cells {
        number: GcCell::new(0),
        boxed: Box::new(GcCell::new(0)),
        list: GcRefCell::new(vec![GcCell::new(0)]),
        nested: GcRefCell::new((GcCell::new(0), GcRefCell::new(String::new()))),
        nothing: GcCell::new(()),
        text: GcRefCell::new(String::from("text")),
    })
}

#[test]
fn a_projection_that_leads_out_of_the_object_is_refused() {
    let mut heap = zealous();
    heap.enter(|cx| {
        let (one, two) = (cells(cx), cells(cx));
        let elsewhere: &'static GcCell<u32> = leaked(GcCell::new(0));
        assert!(panics(|| one.set(cx, |one| &one.boxed, 1)));
        assert!(panics(|| one.set(cx, |_| elsewhere, 1)));
        assert!(panics(|| one.set(cx, |one| &leaked(one.list.borrow())[0], 1)));
        assert!(panics(|| one.borrow_mut(cx, |_| leaked(GcRefCell::new(1)))));
        // Cells without size have nothing that could be written, wherever they lie.
        one.set(cx, |one| &one.nothing, ());
        let number: Gc<'_, GcCell<u32>> = cx.alloc(GcCell::new(0));
        number.set(cx, |number| number, 7);
        assert_eq!((number.get(), one.number.get(), two.number.get(), elsewhere.get()), (7, 0, 0, 0));
    });
}

#[test]
fn a_cell_in_a_borrowed_cell_is_written_only_beside_shared_borrows() {
    let mut heap = zealous();
    heap.enter(|cx| {
        let object = cells(cx);
        // The only way to name it is to forget a shared borrow of what surrounds it.
        object.set(cx, |object| &leaked(object.nested.borrow()).0, 5);
        assert!(object.try_borrow_mut(cx, |object| &object.nested).is_none());
        let mut inner = object.borrow_mut(cx, |object| &leaked(object.nested.borrow()).1);
        inner.push_str("inner");
        assert_eq!(object.nested.borrow().0.get(), 5);
        assert!(object.nested.borrow().1.try_borrow().is_none());
    });
}

#[test]
fn a_projection_that_borrows_what_it_names_is_refused_by_the_borrow() {
    let mut heap = zealous();
    heap.enter(|cx| {
        let object = cells(cx);
        let mut first = None;
        let second = object.try_borrow_mut(cx, |named| {
            first = object.try_borrow_mut(cx, |object| &object.text);
            &named.text
        });
        assert!(first.is_some() && second.is_none());
        drop(first);
        assert!(panics(|| object.borrow_mut(cx, |named| {
            std::mem::forget(named.text.borrow());
            &named.text
        })));
    });
}

#[test]
fn a_forgotten_borrow_stays_a_borrow_and_the_collector_does_not_mind() {
    let mut heap = zealous();
    let list = heap.enter(|cx| {
        let list = node(cx, "list");
        list.borrow_mut(cx, |list| &list.all).push(node(cx, "kept"));
        std::mem::forget(list.borrow_mut(cx, |list| &list.all));
        list.root(cx)
    });
    heap.collect();
    heap.enter(|cx| {
        let list = list.get(cx);
        assert!(list.all.try_borrow().is_none());
        assert!(list.try_borrow_mut(cx, |list| &list.all).is_none());
        assert!(panics(|| list.all.borrow().len()));
    });
    assert_eq!(heap.stats().live_objects, 2);
    heap.verify().unwrap();
}

#[test]
fn the_old_value_of_a_cell_may_look_at_its_object_when_it_is_dropped() {
    thread_local!(static SEEN: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) });
    #[derive(Trace)]
    struct Owner {
        number: GcCell<u32>,
        value: GcCell<Option<Opaque<Dropped>>>,
        list: GcRefCell<Vec<Opaque<Dropped>>>,
    }
    let count = Rc::new(Cell::new(0));
    let heap = Rc::new(RefCell::new(zealous()));
    let inner = heap.clone();
    heap.borrow_mut().enter(|cx| {
        let note = move || SEEN.with_borrow_mut(|seen| seen.push(u32::from(inner.try_borrow_mut().is_err())));
        let owner = cx.alloc(Owner {
            number: GcCell::new(1),
            value: GcCell::new(Some(dropped_with(&count, note.clone()))),
            list: GcRefCell::new(vec![dropped_with(&count, note), dropped(&count)]),
        });
        owner.set(cx, |owner| &owner.value, Some(dropped_with(&count, || panic!("dropped in set"))));
        assert!(panics(|| owner.set(cx, |owner| &owner.value, None)));
        owner.borrow_mut(cx, |owner| &owner.list).retain(|_| owner.list.try_borrow().is_some());
        owner.set(cx, |owner| &owner.number, 2);
    });
    assert_eq!(count.get(), 4);
    assert_eq!(SEEN.take(), [1, 1], "a heap in a scope is not to be had");
}

/// With references in `Ref` and `RefMut` instead of pointers an optimised build prints 64: a function that takes one by
/// value tells the compiler that nobody else writes the content until it returns.
#[test]
fn a_borrow_that_is_dropped_lets_go_of_the_content() {
    #[derive(Trace)]
    struct Block {
        words: GcRefCell<[u64; 32]>,
    }
    #[inline(never)]
    fn sum(words: &[u64; 32]) -> u64 {
        words.iter().sum()
    }
    #[inline(never)]
    fn sum_before<'gc>(cx: &Mutator<'gc>, block: Gc<'gc, Block>, borrowed: Ref<'gc, [u64; 32]>) -> u64 {
        let before = *borrowed;
        drop(borrowed);
        *block.borrow_mut(cx, |block| &block.words) = [2; 32];
        sum(&before)
    }
    Heap::new().enter(|cx| {
        let block = cx.alloc(Block { words: GcRefCell::new([1; 32]) });
        assert_eq!(sum_before(cx, block, block.as_ref().words.borrow()), 32);
    });
}

// --- Drop ------------------------------------------------------------------------------------------------------

#[test]
fn drop_may_drop_clone_and_stash_roots_and_use_other_heaps() {
    thread_local!(static STASH: RefCell<Vec<Root<String>>> = const { RefCell::new(Vec::new()) });
    #[derive(Trace)]
    struct Keeper {
        root: Root<String>,
        #[trace(skip)]
        other: Rc<RefCell<Heap>>,
    }
    impl Drop for Keeper {
        fn drop(&mut self) {
            STASH.with_borrow_mut(|stash| stash.push(self.root.clone()));
            let mut other = self.other.borrow_mut();
            other.alloc(vec![1, 2, 3]);
            other.collect();
        }
    }
    let other = Rc::new(RefCell::new(Heap::new()));
    for at_once in [true, false] {
        let mut heap = Heap::with_config(Config::default().min_heap(1));
        let root = heap.alloc(String::from("stashed"));
        heap.enter(|cx| {
            for _ in 0..3000 {
                cx.alloc(Keeper { root: root.clone(), other: other.clone() });
            }
        });
        drop(root);
        if at_once {
            heap.collect();
        }
        // Else the dead are swept here, one block at a time.
        heap.enter(|cx| {
            for index in 0..3000 {
                let root = cx.alloc(String::new()).root(cx);
                let keeper = cx.alloc(Keeper { root, other: other.clone() });
                assert!(keeper.root.get(cx).is_empty(), "{index}");
            }
        });
        let stash = STASH.take();
        assert!(stash.len() >= 3000);
        heap.collect();
        assert!(stash.iter().all(|root| heap.get(root) == "stashed" || heap.get(root).is_empty()));
        drop((heap, stash));
        STASH.take();
    }
}

#[test]
fn every_dead_object_is_dropped_once_however_many_of_them_panic() {
    let count = Rc::new(Cell::new(0));
    for way in 0..3 {
        count.set(0);
        let mut heap = Heap::with_config(Config::default().min_heap(1));
        let reported = Rc::new(Cell::new(0));
        let reports = reported.clone();
        heap.on_error(move |_| {
            reports.set(reports.get() + 1);
            panic!("the hook panics, too");
        });
        heap.enter(|cx| {
            for index in 0..1000 {
                cx.alloc(dropped_with(&count, move || assert_ne!(index % 3, 0, "dropped")));
                // Every other one needs blocks of its own.
                let length = index % 2 * 10_000;
                cx.alloc_tail(dropped_with(&count, || panic!("dropped")), (0..length).map(|_| 0_u8));
            }
        });
        match way {
            0 => heap.collect(),
            1 => heap.enter(|cx| (0..1000).for_each(|_| _ = cx.alloc(dropped(&count)))),
            _ => drop(heap),
        }
        assert!(count.get() >= 2000);
    }
}

#[test]
fn a_heap_is_dropped_quietly_though_payloads_panic() {
    #[derive(Trace)]
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("payload");
        }
    }
    let mut heap = Heap::new();
    let root = heap.alloc(1);
    for _ in 0..2 {
        let _ = heap.cleanup(&root, Panics, |_, _| ()).unwrap();
    }
    drop(heap);
}

#[test]
fn objects_may_own_heaps_and_die_with_them() {
    let count = Rc::new(Cell::new(0));
    let mut outer = zealous();
    for _ in 0..20 {
        let mut inner = zealous();
        let root = inner.alloc(dropped(&count));
        inner.cleanup(&root, dropped(&count), |_, _| ()).unwrap();
        outer.alloc(Opaque((inner, root)));
    }
    outer.collect();
    drop(outer);
    assert_eq!(count.get(), 40);
}

// --- Hooks and callbacks ----------------------------------------------------------------------------------------

#[test]
fn hooks_may_own_the_heap_and_panic() {
    let heap = Rc::new(RefCell::new(Heap::with_config(Config::default().heap_limit(Some(64 << 10)))));
    let (calls, inner) = (Rc::new(Cell::new(0)), Rc::downgrade(&heap));
    let called = calls.clone();
    heap.borrow_mut().on_out_of_memory(move |reason| {
        called.set(called.get() + 1);
        assert_eq!(reason, Exhausted::Limit);
        assert!(inner.upgrade().unwrap().try_borrow_mut().is_err());
        panic!("the hook panics");
    });
    let fill = |cx: &Mutator<'_>| (0..100).for_each(|_| _ = cx.alloc(Bytes([0; 8000])));
    assert!(panics(|| heap.borrow_mut().enter(|cx| fill(cx))));
    assert!(panics(|| heap.borrow_mut().enter(|cx| fill(cx))));
    assert_eq!(calls.get(), 1, "a hook that panics is gone");
    heap.borrow_mut().collect();
    assert!(heap.borrow_mut().try_alloc(1).is_ok());
    heap.borrow().verify().unwrap();
}

#[test]
fn a_payload_comes_out_as_what_went_in_or_is_dropped() {
    #[derive(Trace, Clone, Copy, PartialEq, Debug)]
    #[repr(align(64))]
    struct Aligned;
    let count = Rc::new(Cell::new(0));
    let mut heap = zealous();
    let target = heap.alloc(1);
    let nothing = heap.cleanup(&target, Aligned, |_, _| ()).unwrap();
    let large = heap.cleanup_with(&target, [7_u64; 40], |_, _| ()).unwrap();
    let owned = heap.cleanup(&target, dropped(&count), |_, _| ()).unwrap();
    assert_eq!(std::ptr::from_ref(heap.peek(nothing).unwrap()).addr() % 64, 0);
    assert_eq!(heap.peek(large), Some(&[7; 40]));
    assert_eq!(heap.cancel(nothing), Some(Aligned));
    assert_eq!(heap.cancel(nothing), None);
    assert_eq!(heap.cancel(large), Some([7; 40]));
    drop(heap.cancel(owned));
    assert_eq!(count.get(), 1);
    // Their entries are used again: the old ids do not mean the new registrations, whose payloads are of other types.
    let again: Vec<Cleanup<String>> =
        (0..3).map(|index| heap.cleanup(&target, index.to_string(), |_, _| ()).unwrap()).collect();
    assert!(heap.peek(nothing).is_none() && heap.peek(large).is_none() && heap.peek(owned).is_none());
    assert!(!heap.run_now(owned));
    assert_eq!(heap.peek(again[2]).map(String::as_str), Some("2"));
}

#[test]
fn queued_registrations_can_be_cancelled_in_any_order_while_callbacks_run() {
    let mut heap = zealous();
    let ran = Rc::new(Cell::new(0));
    let ids: Rc<RefCell<Vec<Cleanup<u32>>>> = Rc::default();
    let target = heap.alloc(1);
    for index in 0..50 {
        let (ran, inner) = (ran.clone(), ids.clone());
        let id = heap.cleanup_with(&target, index, move |heap, index| {
            ran.set(ran.get() + 1);
            let others = inner.borrow().clone();
            for &other in others.iter().filter(|_| index % 2 == 0).take(3) {
                heap.cancel(other);
            }
            for &other in others.iter().rev().take(1) {
                heap.run_now(other);
            }
            let fresh = heap.alloc(2);
            heap.cleanup(&fresh, String::new(), |_, _| ()).unwrap();
            drop(fresh);
            heap.collect();
        });
        ids.borrow_mut().push(id.unwrap());
    }
    let guards: Vec<Guard> = (0..50).map(|tag| heap.guard(&target, tag).unwrap()).collect();
    drop(target);
    heap.collect();
    assert!(guards.iter().step_by(2).all(|&guard| heap.unguard(guard)));
    while heap.next_guarded().is_some() {}
    heap.collect();
    let _ = heap.drain(Budget::unlimited()).unwrap();
    assert!(ids.borrow().iter().all(|&id| !heap.is_pending(id)));
    assert!(ran.get() > 0 && ran.get() <= 50);
    heap.verify().unwrap();
}

// --- Types -----------------------------------------------------------------------------------------------------

trait Shape<'gc> {
    fn name(&self) -> String;
    fn next(&self) -> Option<Gc<'gc, Node<'gc>>>;
}
lacuna::trace_dyn!(Shape<'gc>);

impl<'gc> Shape<'gc> for Node<'gc> {
    fn name(&self) -> String {
        self.name.clone()
    }
    fn next(&self) -> Option<Gc<'gc, Node<'gc>>> {
        self.next.get()
    }
}

impl<'gc> Shape<'gc> for String {
    fn name(&self) -> String {
        self.clone()
    }
    fn next(&self) -> Option<Gc<'gc, Node<'gc>>> {
        None
    }
}

mod brandless {
    pub(super) trait Brandless {
        fn number(&self) -> u32;
    }
    lacuna::trace_dyn!(Brandless);
}

impl brandless::Brandless for u32 {
    fn number(&self) -> u32 {
        *self
    }
}

#[test]
fn a_trait_object_points_to_the_object_it_was_made_from_or_to_its_start() {
    let mut heap = zealous();
    let (whole, start, weak, leaf) = heap.enter(|cx| {
        let object = node(cx, "object");
        object.set(cx, |object| &object.next, Some(object));
        let other: &String = &object.as_ref().name;
        assert!(panics(|| node(cx, "x").cast::<dyn Shape<'_>>(|_| leaked(other.clone()))));
        let text = cx.alloc((String::from("start"), 1_u8));
        // It lives in the tuple, and the tuple is what is traced.
        let start = catch_unwind(AssertUnwindSafe(|| text.cast::<dyn Shape<'_>>(|pair| &pair.0).root(cx)));
        let whole = object.cast::<dyn Shape<'_>>(|object| object);
        let leaf = cx.alloc(7_u32).cast::<dyn brandless::Brandless>(|leaf| leaf);
        (whole.root(cx), start.ok(), whole.downgrade(cx), leaf.root(cx))
    });
    for _ in 0..3 {
        heap.collect();
        heap.enter(|cx| {
            assert_eq!(whole.get(cx).next().unwrap().name, "object");
            assert_eq!(cx.upgrade(weak).unwrap().name(), "object");
            assert_eq!(leaf.get(cx).number(), 7);
            if let Some(start) = &start {
                assert_eq!(start.get(cx).name(), "start");
            }
        });
    }
    drop(whole);
    heap.collect();
    assert!(heap.upgrade(weak).is_none());
    assert!(heap.upgrade(Weak::<dyn Shape<'_>>::null()).is_none());
    assert!(heap.upgrade_long(WeakLong::<dyn Shape<'_>>::default()).is_none());
}

#[test]
fn a_root_of_an_unknown_type_becomes_a_root_of_its_own_type_only() {
    let mut heap = zealous();
    let node: Root<Node<'static>> = heap.enter(|cx| node(cx, "node").root(cx));
    let any = AnyRoot::from(node);
    let any = any.downcast::<Option<Gc<'static, Node<'static>>>>().unwrap_err();
    let any = any.downcast::<str>().unwrap_err();
    assert_eq!(heap.with(&any.downcast::<Node<'static>>().unwrap(), |node| node.name.clone()), "node");

    let any = AnyRoot::from(heap.alloc_str("text"));
    let any = any.downcast::<[u8]>().unwrap_err();
    let any = any.downcast::<WithTail<(), u8>>().unwrap_err();
    let any = any.downcast::<String>().unwrap_err();
    assert_eq!(heap.get(&any.downcast::<str>().unwrap()), "text");

    let any = AnyRoot::from(heap.enter(|cx| cx.alloc_slice([1_u8]).root(cx)));
    assert!(!any.is::<[i8]>() && !any.is::<[u8; 1]>() && !any.is::<dyn Shape<'static>>() && any.is::<[u8]>());

    // Function pointers that differ in a lifetime are different types.
    let any = AnyRoot::from(heap.alloc(Opaque(str::len as for<'a> fn(&'a str) -> usize)));
    assert!(any.downcast::<Opaque<fn(&'static str) -> usize>>().is_err());
}

#[test]
fn a_weak_reference_never_sees_the_object_that_took_the_place() {
    let mut heap = zealous();
    let mut dead: Vec<Weak<String>> = Vec::new();
    for round in 0..50 {
        let roots: Vec<_> = (0..20).map(|index| heap.alloc(format!("{round} {index}"))).collect();
        let weaks: Vec<_> = roots.iter().map(|root| heap.downgrade(root)).collect();
        assert!(dead.iter().all(|&weak| heap.upgrade(weak).is_none()));
        assert!(dead.iter().all(|weak| !weaks.contains(weak)));
        for (index, &weak) in weaks.iter().enumerate() {
            assert_eq!(*heap.get(&heap.upgrade(weak).unwrap()), format!("{round} {index}"));
        }
        dead.extend(weaks);
        drop(roots);
        heap.collect();
    }
    assert!(heap.stats().weak_slots == 0);
}

#[test]
fn what_leads_into_a_heap_stays_on_its_thread() {
    /// Prefers the inherent constant, which exists only if the bound holds.
    macro_rules! is {
        ($type:ty: $bound:ident) => {{
            #[allow(dead_code)]
            trait No {
                const ANSWER: bool = false;
            }
            impl<T: ?Sized> No for T {}
            struct Ask<T: ?Sized>(std::marker::PhantomData<T>);
            #[allow(dead_code)]
            impl<T: ?Sized + $bound> Ask<T> {
                const ANSWER: bool = true;
            }
            <Ask<$type>>::ANSWER
        }};
    }
    macro_rules! neither {
        ($($type:ty),* $(,)?) => { $(
            assert!(!is!($type: Send), "{} is Send", stringify!($type));
            assert!(!is!($type: Sync), "{} is Sync", stringify!($type));
        )* };
    }
    assert!(is!(Cleanup<u8>: Send) && is!(Guard: Send));
    neither!(
        Heap,
        Mutator<'static>,
        Gc<'static, u8>,
        Gc<'static, dyn Shape<'static>>,
        Root<u8>,
        Root<dyn Shape<'static>>,
        AnyRoot,
        lacuna::Guarded,
        Weak<u8>,
        WeakLong<u8>,
        Ref<'static, u8>,
        lacuna::RefMut<'static, u8>,
    );
    assert!(!is!(GcCell<u8>: Sync) && !is!(GcRefCell<u8>: Sync));
}

// --- The end of a heap, and the books ---------------------------------------------------------------------------

#[test]
fn after_a_shutdown_roots_lead_nowhere() {
    let mut heap = Heap::new();
    let text = heap.alloc(String::from("dropped by the shutdown"));
    heap.shutdown(ShutdownOptions::default()).unwrap();
    assert!(panics(|| heap.get(&text).len()));
    assert!(panics(|| heap.with(&text, |text| text.len())));
    assert!(heap.enter(|cx| text.try_get(cx).is_err()));
    assert!(panics(|| heap.downgrade(&text)));
}

#[test]
fn after_a_shutdown_allocation_panics() {
    let mut heap = Heap::new();
    heap.alloc(String::new());
    heap.shutdown(ShutdownOptions::default()).unwrap();
    assert!(panics(|| heap.alloc(String::from("too late"))));
    assert!(panics(|| heap.enter(|cx| Gc::addr(cx.alloc(1)))));
    assert!(panics(|| heap.alloc_str("too late")));
}

#[test]
fn a_root_whose_heap_is_gone_becomes_a_root_of_an_unknown_type() {
    let mut heap = Heap::new();
    let root = heap.alloc(5_u32);
    drop(heap);
    assert_eq!(AnyRoot::from(root).type_name(), "u32");
}

#[test]
fn external_bytes_without_bound_disturb_no_collection() {
    let mut heap = Heap::new();
    let root = heap.alloc(1);
    for _ in 0..2 {
        let cleanup = heap.cleanup(&root, (), |_, ()| ()).unwrap();
        heap.set_external(cleanup, usize::MAX);
    }
    drop(root);
    heap.collect();
    heap.collect();
}

#[test]
fn settings_without_bound_disturb_no_collection() {
    let mut heap = Heap::with_config(Config::default().keep_empty(usize::MAX));
    heap.alloc(1);
    heap.collect();
    let mut heap = Heap::new();
    heap.alloc(1);
    heap.add_external(usize::MAX);
    heap.alloc(1);
}

#[test]
fn zeal_does_not_mind_a_sweep_that_drops_roots() {
    #[derive(Trace)]
    struct Holder(Root<u32>);
    let mut heap = zealous();
    let root = heap.alloc(1);
    heap.alloc(Holder(root));
    heap.collect();
}

#[test]
fn a_heap_that_was_shut_down_is_sound() {
    let mut heap = zealous();
    let root = heap.alloc(String::new());
    heap.collect();
    heap.shutdown(ShutdownOptions::default()).unwrap();
    heap.verify().unwrap();
    heap.collect();
    drop(root);
}

#[test]
fn a_payload_may_hold_roots_of_other_heaps() {
    for _ in 0..8 {
        let mut gone = Heap::new();
        let foreign = gone.alloc(1);
        drop(gone);
        let mut heap = Heap::new();
        let root = heap.alloc(1);
        heap.cleanup(&root, foreign, |_, _| ()).unwrap();
    }
}

#[test]
fn a_callback_sees_as_many_roots_as_there_are() {
    let mut heap = Heap::new();
    let root = heap.alloc(1);
    heap.cleanup(&root, (), |heap, ()| assert_eq!(heap.stats().roots, 0)).unwrap();
    drop(root);
    heap.collect();
    assert_eq!(heap.drain(Budget::unlimited()).unwrap().panicked, 0);
}

scoped_tls_hkt::scoped_thread_local!(static IN_SCOPE: for<'a> &'a (dyn Fn() + 'a));

#[test]
fn a_drop_may_reach_the_scope_that_sweeps_it() {
    #[derive(Trace)]
    struct Greedy(#[allow(dead_code)] u64);
    impl Drop for Greedy {
        fn drop(&mut self) {
            if IN_SCOPE.is_set() {
                IN_SCOPE.with(|allocate| allocate());
            }
        }
    }
    let mut heap = Heap::with_config(Config::default().min_heap(1));
    let mut kept = Vec::new();
    heap.enter(|cx| {
        for id in 0..5000 {
            let object = cx.alloc(Greedy(id));
            if id % 7 == 0 {
                kept.push(object.root(cx));
            }
        }
    });
    assert_eq!(heap.stats().collections, 1, "blocks are left to be swept");
    heap.enter(|cx| {
        let allocate = || {
            // Types that the heap has no space for yet, and the one whose block is being swept.
            cx.alloc([0_u8; 1]);
            cx.alloc([0_u8; 20]);
            cx.alloc([0_u8; 30]);
            cx.alloc([0_u8; 40]);
            IN_SCOPE.set(&|| (), || cx.alloc(Greedy(1)));
        };
        IN_SCOPE.set(&allocate, || (0..3000).for_each(|id| _ = cx.alloc(Greedy(id))));
    });
    heap.verify().unwrap();
    assert!(kept.iter().enumerate().all(|(index, root)| heap.get(root).0 == index as u64 * 7));
}

#[test]
fn roots_that_come_and_go_beside_old_ones_need_no_more_memory_each_time() {
    let mut heap = Heap::new();
    let object = heap.alloc(1);
    let old: Vec<_> = (0..5000).map(|_| object.clone()).collect();
    let wave = || drop((0..20_000).map(|_| object.clone()).collect::<Vec<_>>());
    wave();
    let bytes = heap.stats().root_bytes;
    for _ in 0..10 {
        wave();
    }
    assert!(heap.stats().root_bytes < bytes + bytes / 2, "{bytes} bytes became {}", heap.stats().root_bytes);
    assert_eq!(heap.stats().roots, old.len() + 1);
}

#[test]
fn roots_that_come_and_go_after_their_heap_need_no_more_memory_each_time() {
    let object = Heap::new().alloc(1);
    let old: Vec<_> = (0..if cfg!(miri) { 600 } else { 5000 }).map(|_| object.clone()).collect();
    for wave in 0..10 {
        let roots: Vec<_> = (0..if cfg!(miri) { 100 } else { 20_000 }).map(|_| object.clone()).collect();
        assert!(Root::ptr_eq(&roots[wave], &old[wave]));
    }
}

#[test]
fn external_bytes_of_a_cleanup_that_is_sent_away_are_counted_out() {
    let mut heap = Heap::new();
    let object = heap.alloc(1);
    let cleanup = heap.cleanup_send(&object, 1_u64, |_| ()).unwrap();
    drop(object);
    heap.collect();
    assert!(heap.set_external(cleanup, 1 << 20));
    assert_eq!(heap.drain_send(1).run().ran, 1);
    assert_eq!(heap.stats().external_bytes, 0);
}

#[test]
fn cleanups_that_are_sent_away_leave_nothing_behind_one_that_waits() {
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    let waits = heap.alloc(0);
    heap.cleanup(&waits, (), |_, ()| ()).unwrap();
    drop(waits);
    heap.collect();
    let mut bytes = 0;
    for round in 0..100 {
        for number in 0..100 {
            let object = heap.alloc(number);
            heap.cleanup_send(&object, number, |_| ()).unwrap();
        }
        heap.collect();
        assert_eq!(heap.drain_send(usize::MAX).len(), 100);
        if round == 10 {
            bytes = heap.stats().finalizer_bytes;
        }
    }
    assert_eq!(heap.stats().finalizer_bytes, bytes);
}

#[test]
fn a_shutdown_takes_time_in_proportion_to_its_callbacks() {
    let callbacks = if cfg!(miri) { 100 } else { 60_000 };
    let mut heap = Heap::new();
    let object = heap.alloc(1);
    for _ in 0..callbacks {
        let cleanup = heap.cleanup(&object, (), |_, ()| ()).unwrap();
        heap.set_at_shutdown(cleanup, true);
    }
    let start = std::time::Instant::now();
    assert_eq!(heap.shutdown(ShutdownOptions::default()).unwrap().at_shutdown, callbacks);
    // It took ten seconds while each of them was looked for among all.
    assert!(start.elapsed().as_secs() < 4, "{:?}", start.elapsed());
}

#[test]
fn a_panic_hook_may_use_the_scope_that_panics() {
    let foreign = Heap::new().enter(|cx| cx.alloc(1_u32).downgrade(cx));
    let mut heap = zealous();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {
        if IN_SCOPE.is_set() {
            IN_SCOPE.with(|allocate| allocate());
        }
    }));
    let result = catch_unwind(AssertUnwindSafe(|| {
        heap.enter(|cx| {
            let own = cx.alloc(7_u32).downgrade(cx);
            let allocated = Cell::new(0);
            let allocate = || {
                for number in 0..10_u32 {
                    cx.alloc(number).downgrade(cx);
                    allocated.set(allocated.get() + 1);
                }
            };
            IN_SCOPE.set(&allocate, || {
                assert!(panics(|| cx.upgrade(foreign)));
                assert!(panics(|| cx.is_dead(foreign)));
            });
            assert_eq!(allocated.get(), 20);
            assert_eq!(*cx.upgrade(own).unwrap(), 7);
        });
    }));
    std::panic::set_hook(before);
    result.unwrap();
}

/// Numbers that are in use, each by one value, which gives its number back when it is dropped.
#[derive(Clone, Default)]
struct Register(Rc<RefCell<(u64, std::collections::BTreeSet<u64>)>>);

impl Register {
    fn number(&self) -> Number {
        let (next, used) = &mut *self.0.borrow_mut();
        *next += 1;
        used.insert(*next);
        Number { number: *next, register: self.clone() }
    }

    fn holds(&self, number: u64) -> bool {
        self.0.borrow().1.contains(&number)
    }
}

struct Number {
    number: u64,
    register: Register,
}

impl Drop for Number {
    fn drop(&mut self) {
        let was_used = self.register.0.borrow_mut().1.remove(&self.number);
        if !was_used {
            eprintln!("{} was dropped twice", self.number);
            std::process::abort();
        }
        if IN_SCOPE.is_set() {
            IN_SCOPE.with(|reached| reached());
        }
        if self.number.is_multiple_of(5) && !std::thread::panicking() {
            std::panic::resume_unwind(Box::new("a Drop that panics"));
        }
    }
}

#[derive(Trace)]
struct Numbered<const BYTES: usize> {
    #[trace(skip)]
    number: Number,
    #[trace(skip)]
    _filling: [u8; BYTES],
}

/// Objects of several sizes, of which a part that changes is rooted, with hardly more memory than they need: so blocks are
/// entered full and empty, swept and unswept, and cursors are retired in the middle.
#[test]
fn values_are_dropped_once_however_blocks_are_filled_and_emptied() {
    fn allocate<'gc, const BYTES: usize>(cx: &Mutator<'gc>, register: &Register) -> Option<AnyRoot> {
        let value = Numbered { number: register.number(), _filling: [0; BYTES] };
        match cx.try_alloc(value) {
            Ok(object) => {
                let root: Root<Numbered<BYTES>> = object.root(cx);
                Some(root.into())
            }
            Err(error) => {
                drop(catch_unwind(AssertUnwindSafe(|| drop(error))));
                None
            }
        }
    }
    fn is_whole<const BYTES: usize>(heap: &Heap, root: AnyRoot, register: &Register) -> Result<(), AnyRoot> {
        let root = root.downcast::<Numbered<BYTES>>()?;
        assert!(register.holds(heap.get(&root).number.number));
        Ok(())
    }
    for seed in 0..if cfg!(miri) { 2 } else { 12_u64 } {
        let register = Register::default();
        let mut config = Config::default().min_heap(1 << (12 + seed % 8)).zeal(seed % 4 == 3);
        if seed % 3 == 0 {
            config = config.heap_limit(Some(1 << 20));
        }
        let mut heap = Heap::with_config(config);
        let mut random = seed;
        let mut next = move |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let mut kept: Vec<AnyRoot> = Vec::new();
        for _ in 0..if cfg!(miri) { 3 } else { 30 } {
            let (size, one_in) = (next(6), 1 + next(12));
            let count = if cfg!(miri) { 20 } else { next(1000) };
            heap.enter(|cx| {
                // A `Drop` that is run by a sweep allocates, too, one level deep.
                let reached = || {
                    IN_SCOPE.set(&|| (), || {
                        allocate::<0>(cx, &register);
                        let text = cx.alloc_str("reached").downgrade(cx);
                        assert_eq!(&*cx.upgrade(text).unwrap(), "reached");
                    });
                };
                IN_SCOPE.set(&reached, || {
                    for _ in 0..count {
                        let root = match size {
                            0 => allocate::<0>(cx, &register),
                            1 => allocate::<1>(cx, &register),
                            2 => allocate::<40>(cx, &register),
                            3 => allocate::<500>(cx, &register),
                            4 => allocate::<5000>(cx, &register),
                            _ => next(20).eq(&0).then(|| allocate::<20_000>(cx, &register)).flatten(),
                        };
                        if next(one_in) == 0 {
                            kept.extend(root);
                        }
                    }
                });
            });
            for _ in 0..next(kept.len() as u64 + 1) {
                kept.swap_remove(next(kept.len() as u64) as usize);
            }
            if next(4) == 0 {
                heap.collect();
            }
        }
        heap.verify().unwrap();
        for root in kept {
            is_whole::<0>(&heap, root, &register)
                .or_else(|root| is_whole::<1>(&heap, root, &register))
                .or_else(|root| is_whole::<40>(&heap, root, &register))
                .or_else(|root| is_whole::<500>(&heap, root, &register))
                .or_else(|root| is_whole::<5000>(&heap, root, &register))
                .or_else(|root| is_whole::<20_000>(&heap, root, &register))
                .unwrap();
        }
        drop(heap);
        assert_eq!(register.0.borrow().1.len(), 0);
    }
}

/// Callbacks of all kinds, taken out of the queue by every way there is: each payload comes out at most once, and what
/// was never handed over is dropped once.
#[test]
fn payloads_come_out_once_by_whatever_way_they_are_taken_out() {
    thread_local!(static SEEN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) });
    fn see(number: u64) {
        SEEN.with_borrow_mut(|seen| seen.push(number));
    }
    for seed in 1..if cfg!(miri) { 2 } else { 20_u64 } {
        let mut random = seed;
        let mut next = move |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off).zeal(seed % 2 == 0));
        let mut objects: Vec<Root<u64>> = Vec::new();
        let mut plain: Vec<Cleanup<u64>> = Vec::new();
        let mut told: Vec<lacuna::Notification<u64>> = Vec::new();
        let mut registered = 0;
        for step in 0..if cfg!(miri) { 150 } else { 1000 } {
            match next(14) {
                0..4 => objects.push(heap.alloc(step)),
                4..8 if !objects.is_empty() => {
                    let object = &objects[next(objects.len() as u64) as usize];
                    registered += 1;
                    match next(4) {
                        0 => plain.push(heap.cleanup(object, registered, |_, number| see(number)).unwrap()),
                        1 => plain.push(heap.cleanup_send(object, registered, see).unwrap()),
                        2 => {
                            let weak = heap.downgrade(object);
                            told.push(heap.notify(weak, registered, |_, _, number| see(number)).unwrap());
                        }
                        _ => {
                            let owner = &objects[next(objects.len() as u64) as usize];
                            let weak = heap.downgrade(object);
                            let notification =
                                heap.notify_owned(weak, owner, registered, |_, _, number| see(number)).unwrap();
                            told.push(notification);
                        }
                    }
                }
                8 if !objects.is_empty() => {
                    objects.swap_remove(next(objects.len() as u64) as usize);
                }
                9 => heap.collect(),
                10 if !plain.is_empty() => {
                    let cleanup = plain[next(plain.len() as u64) as usize];
                    if next(2) == 0 {
                        heap.cancel(cleanup).into_iter().for_each(see);
                    } else {
                        heap.run_now(cleanup);
                    }
                }
                11 if !told.is_empty() => {
                    heap.cancel(told[next(told.len() as u64) as usize]).into_iter().for_each(see);
                }
                12 => _ = heap.drain_send(next(8) as usize).run(),
                13 => _ = heap.drain(Budget::unlimited().callbacks(next(6) as usize)).unwrap(),
                _ => {}
            }
        }
        heap.collect();
        let waiting = heap.stats().queued_cleanups + heap.stats().queued_notifications;
        let sent = heap.drain_send(usize::MAX).run().ran;
        assert_eq!(heap.drain(Budget::unlimited()).unwrap().ran + sent, waiting);
        let mut seen = SEEN.take();
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count, "a payload came out twice");
        assert!(seen.iter().all(|&number| 0 < number && number <= registered));
        heap.verify().unwrap();
    }
}

#[test]
fn a_batch_may_be_dropped_anywhere_with_payloads_that_panic() {
    struct Payload(std::sync::Arc<Mutex<u32>>, u32);
    impl Drop for Payload {
        fn drop(&mut self) {
            *self.0.lock().unwrap_or_else(|error| error.into_inner()) += 1;
            assert!(self.1 != 3, "the third");
        }
    }
    let dropped = std::sync::Arc::new(Mutex::new(0));
    let mut heap = Heap::new();
    for number in 0..10 {
        let object = heap.alloc(number);
        heap.cleanup_send(&object, Payload(dropped.clone(), number), drop).unwrap();
    }
    heap.collect();
    let (one, two) = (heap.drain_send(5), heap.drain_send(5));
    drop(heap);
    assert!(
        std::thread::spawn(move || drop(one)).join().is_err() != std::thread::spawn(move || drop(two)).join().is_err()
    );
    assert_eq!(*dropped.lock().unwrap(), 10);
}

#[test]
fn a_turn_bears_whatever_happens_to_its_heap() {
    let keep = |heap: &mut Heap, number: u32| {
        let object = heap.alloc(number);
        heap.downgrade(&object)
    };
    // Replaced, and so dropped, while both its turns are open.
    let mut heap = zealous();
    let kept = heap.turn(|heap| {
        let weak = keep(heap, 1);
        heap.turn(|heap| {
            keep(heap, 2);
            let root = heap.upgrade(weak).unwrap();
            *heap = Heap::new();
            keep(heap, 3);
            root
        })
    });
    drop(kept.clone());
    assert!(panics(|| heap.get(&kept)));
    drop((heap, kept));
    // Shut down in it.
    let mut heap = zealous();
    let weak = heap.turn(|heap| {
        let weak = keep(heap, 1);
        heap.turn(|heap| heap.shutdown(ShutdownOptions::default()).unwrap());
        assert!(heap.is_dead(weak));
        weak
    });
    assert!(heap.is_dead(weak) && heap.upgrade(weak).is_none());
    // Swapped for another, that has a turn of its own, and left with a panic.
    let (mut one, mut two) = (zealous(), zealous());
    assert!(panics(|| {
        one.turn(|one| {
            two.turn(|two| {
                keep(one, 1);
                keep(two, 2);
                std::mem::swap(one, two);
                keep(one, 3);
                keep(two, 4);
                assert_eq!(one.stats().roots + two.stats().roots, 0);
                panic!("in two turns");
            });
        });
    }));
    for heap in [&mut one, &mut two] {
        heap.collect();
        assert_eq!(heap.stats().live_objects, 0, "nothing is kept after the turns");
        let weak = keep(heap, 5);
        assert!(heap.upgrade(weak).is_some());
        heap.collect();
        assert!(heap.is_dead(weak));
        heap.verify().unwrap();
    }
}

/// Values of a dead table are dropped by a sweep that a scope causes, and change a living table of that scope.
#[test]
fn a_value_that_a_sweep_drops_may_change_other_tables() {
    type Table<'gc> = lacuna::Ephemerons<Gc<'gc, u32>, Opaque<Reaching>>;
    struct Reaching;
    impl Drop for Reaching {
        fn drop(&mut self) {
            if IN_SCOPE.is_set() {
                IN_SCOPE.with(|reached| reached());
            }
        }
    }
    // A minor collection leaves the sweeping to whoever wants the cells.
    let mut heap = Heap::with_config(Config::default().minor_step(Some(1 << 14)));
    let tables = if cfg!(miri) { 400 } else { 3000 };
    let (keys, table) = heap.enter(|cx| {
        let keys: Vec<Root<u32>> = (0..10_u32).map(|number| cx.alloc(number).root(cx)).collect();
        for number in 0..tables {
            let dead: Gc<'_, Table<'_>> = cx.alloc(Table::new());
            dead.edit(cx).insert(keys[number % 10].get(cx), Opaque(Reaching));
        }
        let table: Root<lacuna::Ephemerons<Gc<'static, u32>, Opaque<Reaching>>> = cx.alloc(Table::new()).root(cx);
        (keys, table)
    });
    heap.enter(|cx| {
        let table = table.get(cx);
        let count = Cell::new(0);
        let reached = || {
            count.set(count.get() + 1);
            IN_SCOPE.set(&|| (), || {
                let key = cx.alloc(1_u32);
                table.edit(cx).insert(key, Opaque(Reaching));
                table.edit(cx).insert(keys[3].get(cx), Opaque(Reaching));
                if table.live_count() > 197 {
                    table.edit(cx).retain(|_, _| false);
                    table.edit(cx).prune();
                }
            });
        };
        IN_SCOPE.set(&reached, || {
            for _ in 0..tables {
                let other = cx.alloc(Table::new());
                other.edit(cx).insert(keys[0].get(cx), Opaque(Reaching));
            }
        });
        assert!(count.get() > tables / 2, "{} of {tables} were dropped in the scope", count.get());
        assert!(table.live_count() > 0);
        table.edit(cx).clear();
        table.edit(cx).insert(keys[3].get(cx), Opaque(Reaching));
    });
    heap.verify().unwrap();
    heap.collect();
    heap.enter(|cx| assert_eq!(table.get(cx).live_count(), 1));
}

#[test]
fn a_table_in_a_cell_is_changed_only_if_it_can_never_move_again() {
    type Table<'gc> = lacuna::Ephemerons<Gc<'gc, u32>, Gc<'gc, String>>;
    #[derive(Trace)]
    struct Holder<'gc> {
        table: GcRefCell<Table<'gc>>,
    }
    for forgets in [false, true] {
        let mut heap = zealous();
        let key = heap.alloc(1_u32);
        let holder: Root<Holder<'static>> = heap.alloc_with::<Holder<'_>>(|_| Holder { table: GcRefCell::default() });
        heap.enter(|cx| {
            let (holder, key) = (holder.get(cx), key.get(cx));
            if forgets {
                let table = holder.edit_ephemerons(cx, |holder| &**leaked(holder.table.borrow()));
                table.insert(key, cx.alloc(String::from("kept")));
                table.insert(cx.alloc(2), cx.alloc(String::from("dead")));
            }
            assert_eq!(holder.try_borrow_mut(cx, |holder| &holder.table).is_none(), forgets);
        });
        heap.collect();
        heap.enter(|cx| {
            let (holder, key) = (holder.get(cx), key.get(cx));
            assert_eq!(holder.table.borrow().get(key).is_some_and(|value| *value == "kept"), forgets);
            match holder.try_borrow_mut(cx, |holder| &holder.table) {
                Some(mut table) => assert!(!forgets && std::mem::take(&mut *table).is_empty()),
                None => assert!(forgets && holder.table.borrow().live_count() == 1),
            }
        });
        drop(key);
        heap.collect();
        assert_eq!(heap.stats().live_objects, 1);
    }
}
