//! `InternSet`: one object for each value, whatever its `Eq` and `Hash` do.

mod heaps;

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use heaps::on_each;
use lacuna::{Gc, GcRefCell, Heap, Root, Trace};
use lacuna_collections::InternSet;

#[test]
fn rule_25_equal_values_share_an_object_while_it_lives() {
    on_each(|heap| {
        let mut set: InternSet<str> = InternSet::new();
        let roots: Vec<_> = (0..200).map(|i| set.intern_str(heap, &format!("name {}", i % 50))).collect();
        assert!(roots.iter().zip(&roots[50..]).all(|(one, two)| Root::ptr_eq(one, two)));
        assert_eq!(set.live_count(heap), 50);
        assert!(!Root::ptr_eq(&roots[0], &roots[1]));
        assert_eq!(heap.get(&set.get(heap, "name 7").unwrap()), "name 7");
        drop(roots);
        heap.collect();
        assert!(set.is_empty(heap) && set.get(heap, "name 7").is_none());
        let again = set.intern_str(heap, "name 7");
        assert_eq!(set.live_count(heap), 1);
        drop(again);
    });
}

#[test]
fn rule_07_an_object_that_a_guardian_brings_back_is_still_the_one_for_its_value() {
    on_each(|heap| {
        let mut set = InternSet::new();
        let object = set.intern(heap, String::from("symbol"));
        let short = heap.downgrade(&object);
        heap.guard(&object, 0).unwrap();
        drop(object);
        heap.collect();
        assert!(heap.is_dead(short));
        let found = set.intern(heap, String::from("symbol"));
        let back = heap.next_guarded().unwrap().object.downcast::<String>().unwrap();
        assert!(Root::ptr_eq(&found, &back));
        drop((found, back));
        heap.collect();
        assert!(!set.contains(heap, "symbol"));
    });
}

#[test]
fn an_existing_object_becomes_the_one_for_its_value() {
    let mut heap = Heap::new();
    let mut set = InternSet::new();
    let (one, two) = (heap.alloc(7), heap.alloc(7));
    assert!(Root::ptr_eq(&set.intern_root(&mut heap, &one), &one));
    assert!(Root::ptr_eq(&set.intern_root(&mut heap, &two), &one));
    assert!(Root::ptr_eq(&set.remove(&heap, &7).unwrap(), &one));
    assert!(Root::ptr_eq(&set.intern_root(&mut heap, &two), &two));
    set.retain(&heap, |_| false);
    assert_eq!(set.len_upper_bound(), 0);
}

/// A value whose `Eq` and `Hash` count, and panic when told to.
#[derive(Trace)]
struct Hostile(u32);

thread_local! {
    static CALLS_LEFT: Cell<u32> = const { Cell::new(u32::MAX) };
    static HASHED: Cell<u32> = const { Cell::new(0) };
}

fn call() {
    CALLS_LEFT.with(|left| {
        assert!(left.get() > 0, "hostile");
        left.set(left.get() - 1);
    });
}

impl PartialEq for Hostile {
    fn eq(&self, other: &Self) -> bool {
        call();
        self.0 == other.0
    }
}

impl Eq for Hostile {}

impl Hash for Hostile {
    fn hash<H: Hasher>(&self, state: &mut H) {
        call();
        HASHED.with(|hashed| hashed.set(hashed.get() + 1));
        (self.0 % 8).hash(state);
    }
}

#[test]
fn trap_24_values_whose_eq_and_hash_panic() {
    on_each(|heap| {
        let mut set = InternSet::new();
        let mut roots = Vec::new();
        for round in 0..300_u32 {
            CALLS_LEFT.with(|left| left.set(round % 7));
            let before = set.len_upper_bound();
            match catch_unwind(AssertUnwindSafe(|| set.intern(heap, Hostile(round % 40)))) {
                Ok(root) => roots.push(root),
                Err(_) => assert_eq!(set.len_upper_bound(), before),
            }
            if round % 50 == 0 {
                roots.clear();
                heap.collect();
            }
        }
        CALLS_LEFT.with(|left| left.set(u32::MAX));
        for value in 0..40 {
            let one = set.intern(heap, Hostile(value));
            assert_eq!(heap.get(&one).0, value);
            let two = set.intern(heap, Hostile(value));
            assert!(Root::ptr_eq(&one, &two));
            roots.push(one);
        }
        assert_eq!(set.live_count(heap), 40);
    });
}

#[test]
fn rule_09_the_hash_is_taken_once_and_dead_entries_are_not_compared() {
    let mut heap = Heap::new();
    let mut set = InternSet::with_capacity(0);
    CALLS_LEFT.with(|left| left.set(u32::MAX));
    HASHED.with(|hashed| hashed.set(0));
    let roots: Vec<_> = (0..100).map(|value| set.intern(&mut heap, Hostile(value))).collect();
    assert_eq!(HASHED.with(Cell::get), 100); // though the table grew
    drop(roots);
    heap.collect();
    CALLS_LEFT.with(|left| left.set(1)); // the hash of the value itself
    let new = set.intern(&mut heap, Hostile(3));
    CALLS_LEFT.with(|left| left.set(u32::MAX));
    set.shrink_to_fit(&heap);
    assert_eq!((set.len_upper_bound(), HASHED.with(Cell::get)), (1, 101));
    drop(new);
}

/// A term of a language, with edges; equal if its parts are the same objects.
#[derive(Trace, Clone, Copy)]
struct Term<'gc> {
    operator: u32,
    operands: [Option<Gc<'gc, Term<'gc>>>; 2],
}

impl Term<'_> {
    fn shape(&self) -> (u32, [Option<usize>; 2]) {
        (self.operator, self.operands.map(|operand| operand.map(Gc::addr)))
    }
}

impl PartialEq for Term<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.shape() == other.shape()
    }
}

impl Eq for Term<'_> {}

impl Hash for Term<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.shape().hash(state);
    }
}

#[derive(Trace)]
struct Machine {
    terms: GcRefCell<InternSet<Term<'static>>>,
}

#[test]
fn rule_25_hash_consing_across_collections_with_the_set_in_the_heap() {
    // OCaml: ephetest3, results are physically equal to the canonical ones
    on_each(|heap| {
        let machine = heap.enter(|cx| cx.alloc(Machine { terms: GcRefCell::default() }).root(cx));
        let build = |heap: &mut Heap, depth: u32| {
            heap.enter(|cx| {
                let mut terms = machine.get(cx).borrow_mut(cx, |machine| &machine.terms);
                let mut top = None;
                for operator in 0..depth {
                    top = Some(terms.intern_in(cx, Term { operator, operands: [top; 2] }));
                }
                top.unwrap().root(cx)
            })
        };
        let one = build(heap, 30);
        heap.collect();
        let two = build(heap, 30);
        assert!(Root::ptr_eq(&one, &two));
        let small = build(heap, 10);
        drop((one, two));
        heap.collect();
        let live = |heap: &mut Heap| heap.enter(|cx| machine.get(cx).terms.borrow().live_count(cx));
        assert_eq!(live(heap), 10);
        assert!(Root::ptr_eq(&build(heap, 10), &small));
        drop(small);
        heap.collect();
        assert_eq!(live(heap), 0);
    });
}

#[test]
fn rule_25_a_set_that_is_used_for_ever_does_not_grow() {
    let mut heap = Heap::new();
    let mut set: InternSet<str> = InternSet::new();
    for i in 0..5_000 {
        heap.enter(|cx| assert_eq!(&*set.intern_str_in(cx, &format!("temporary {i}")), format!("temporary {i}")));
        if i % 20 == 0 {
            heap.collect();
        }
    }
    assert!(set.len_upper_bound() < 100 && set.capacity() < 200);
}
