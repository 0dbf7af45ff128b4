//! What a program must not do is refused: with a clear panic, an error that gives everything back, or `None`.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Mutex;

use lacuna::{
    Budget, Busy, Config, Gc, GcCell, GcRefCell, Heap, Opaque, RegisterFailure, Root, ShutdownOptions, Trace, WrongHeap,
};

/// The message of the panic that `step` ends with.
fn panic_of<R>(step: impl FnOnce() -> R) -> String {
    let payload = catch_unwind(AssertUnwindSafe(step)).err().expect("it should have panicked");
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => String::from(*payload.downcast::<&str>().expect("panic messages are strings")),
    }
}

#[test]
fn a_root_is_refused_by_another_heap_wherever_it_is_given() {
    let (mut one, mut other) = (Heap::new(), Heap::new());
    let foreign = other.alloc(7_u32);
    let message = WrongHeap.to_string();
    assert_eq!(panic_of(|| *one.get(&foreign)), message);
    assert_eq!(panic_of(|| one.with(&foreign, |_| ())), message);
    assert_eq!(panic_of(|| one.read(|reader| *reader.get(&foreign))), message);
    assert_eq!(panic_of(|| one.enter(|cx| *foreign.get(cx))), message);
    assert_eq!(panic_of(|| one.enter(|cx| *cx.get(&foreign))), message);
    assert_eq!(panic_of(|| one.downgrade(&foreign)), message);
    assert_eq!(panic_of(|| one.downgrade_long(&foreign)), message);
    one.enter(|cx| assert_eq!(foreign.try_get(cx).err(), Some(WrongHeap)));
    assert_eq!(one.guard(&foreign, 0).unwrap_err().reason(), RegisterFailure::WrongHeap);
    let error = one.cleanup(&foreign, String::from("payload"), |_, _| ()).unwrap_err();
    assert_eq!((error.reason(), error.into_payload().as_str()), (RegisterFailure::WrongHeap, "payload"));
    assert_eq!(one.stats().weak_slots, 0);
    one.verify().unwrap();
    assert_eq!(*other.get(&foreign), 7);
}

#[test]
fn what_is_rooted_while_reading_stays() {
    let mut heap = Heap::with_config(Config::default().zeal(true));
    let pair = heap.alloc_with::<Pair<'_>>(|_| pair());
    let (first, again) = heap.enter(|cx| (pair.get(cx).root(cx), cx.root::<Pair<'static>>(pair.get(cx))));
    let weak = heap.downgrade(&pair);
    let read: Root<Pair<'static>> = heap.read(|reader| {
        let object = reader.upgrade(weak).unwrap();
        assert!(Gc::ptr_eq(object, reader.get(&pair)));
        // A scope of its own in a scope of the same heap.
        let inner: Root<Pair<'static>> = heap.read(|inner| inner.root(inner.get(&pair)));
        assert!(Root::ptr_eq(&inner, &reader.root::<Pair<'static>>(object)));
        reader.root(object)
    });
    assert!(Root::ptr_eq(&read, &first) && Root::ptr_eq(&read, &again));
    drop((pair, first, again));
    heap.collect();
    assert!(!heap.is_dead(weak));
    drop(read);
    heap.collect();
    assert!(heap.is_dead(weak));
    heap.read(|reader| assert!(reader.upgrade(weak).is_none()));
}

#[test]
fn a_weak_reference_is_refused_by_another_heap() {
    let (mut one, mut other) = (Heap::new(), Heap::new());
    let (own, foreign) = (one.alloc(1_u32), other.alloc(1_u32));
    let (weak, long) = (other.downgrade(&foreign), other.downgrade_long(&foreign));
    let message = WrongHeap.to_string();
    assert_eq!(panic_of(|| one.upgrade(weak)), message);
    assert_eq!(panic_of(|| one.upgrade_long(long)), message);
    assert_eq!(panic_of(|| one.is_dead(weak)), message);
    assert_eq!(panic_of(|| one.refers_to(weak, &own)), message);
    assert_eq!(panic_of(|| one.enter(|cx| cx.upgrade(weak).is_some())), message);
    assert!(other.refers_to(weak, &foreign));
    assert!(!other.refers_to(weak, &own), "a root of another heap is another object");
}

#[test]
fn the_id_of_a_cleanup_or_guardian_means_nothing_to_another_heap() {
    let (mut one, mut other) = (Heap::new(), Heap::new());
    // The same position and generation in both heaps, with payloads of different types.
    let (own, foreign) = (one.alloc(1_u8), other.alloc(1_u8));
    let kept = one.cleanup(&own, 1_u64, |_, _| ()).unwrap();
    let cleanup = other.cleanup(&foreign, String::from("payload"), |_, _| ()).unwrap();
    let guard = other.guard(&foreign, 0).unwrap();
    one.guard(&own, 0).unwrap();
    let message = WrongHeap.to_string();
    assert_eq!(panic_of(|| one.cancel(cleanup)), message);
    assert_eq!(panic_of(|| one.run_now(cleanup)), message);
    assert!(!one.is_pending(cleanup));
    assert!(one.peek(cleanup).is_none());
    assert!(!one.set_at_shutdown(cleanup, true));
    assert!(!one.set_label(cleanup, "label"));
    assert!(!one.set_external(cleanup, 100));
    assert!(!one.unguard(guard));
    assert_eq!(one.stats().armed, 2);
    assert_eq!(one.cancel(kept), Some(1));
    assert_eq!(other.cancel(cleanup).as_deref(), Some("payload"));
    assert!(other.unguard(guard));
}

#[test]
fn an_id_is_of_one_registration_for_ever() {
    let mut heap = Heap::new();
    let object = heap.alloc(0_u8);
    let mut old = Vec::new();
    for round in 0..100_u64 {
        let id = heap.cleanup(&object, round, |_, _| ()).unwrap();
        assert!(old.iter().all(|&old| old != id && !heap.is_pending(old)));
        assert_eq!(heap.cancel(id), Some(round));
        old.push(id);
        if round % 3 == 0 {
            heap.collect(); // gives the table back
        }
    }
    let text = heap.cleanup(&object, String::from("text"), |_, _| ()).unwrap();
    assert!(old.iter().all(|&old| heap.cancel(old).is_none()));
    assert_eq!(heap.cancel(text).as_deref(), Some("text"));
}

/// Leaks a value, and remembers where, so that leak checkers look for other leaks only.
fn leaked<'a, T: 'a>(value: T) -> &'a mut T {
    static PLACES: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let place = Box::leak(Box::new(value));
    PLACES.lock().unwrap().push(std::ptr::from_mut(place).expose_provenance());
    place
}

#[derive(Trace)]
struct Pair<'gc> {
    one: GcCell<Option<Gc<'gc, Pair<'gc>>>>,
    list: GcRefCell<Vec<Gc<'gc, Pair<'gc>>>>,
    boxed: Box<GcCell<u32>>,
}

fn pair<'gc>() -> Pair<'gc> {
    Pair { one: GcCell::new(None), list: GcRefCell::new(Vec::new()), boxed: Box::new(GcCell::new(0)) }
}

#[test]
fn a_cell_is_written_through_the_object_it_is_part_of_and_no_other() {
    static ELSEWHERE: i32 = 0;
    let mut heap = Heap::new();
    heap.enter(|cx| {
        let (owner, other) = (cx.alloc(pair()), cx.alloc(pair()));
        owner.set(cx, |pair| &pair.one, Some(other));
        let message = panic_of(|| other.set(cx, |pair| &*pair.boxed, 1));
        assert!(message.contains("not part of the object"), "{message}");
        let message = panic_of(|| owner.set(cx, |pair| &pair.one.get().unwrap().get_ref().one, None));
        assert!(message.contains("not part of the object"), "{message}");
        let message = panic_of(|| owner.borrow_mut(cx, |pair| &pair.one.get().unwrap().get_ref().list).push(owner));
        assert!(message.contains("not part of the object"), "{message}");
        let message = panic_of(|| owner.set(cx, |_| leaked(GcCell::new(&ELSEWHERE)), &ELSEWHERE));
        assert!(message.contains("not part of the object"), "{message}");
        assert_eq!(other.boxed.get(), 0);
        assert!(other.list.borrow().is_empty());
    });
    heap.verify().unwrap();
}

/// A reference for as long as the pointer's scope lasts.
trait GetRef<'gc> {
    type Target;
    fn get_ref<'x>(self) -> &'x Self::Target
    where
        'gc: 'x;
}

impl<'gc> GetRef<'gc> for Gc<'gc, Pair<'gc>> {
    type Target = Pair<'gc>;
    fn get_ref<'x>(self) -> &'x Pair<'gc>
    where
        'gc: 'x,
    {
        Gc::as_ref(self)
    }
}

#[test]
fn borrows_of_one_cell_are_exclusive_or_shared() {
    let mut heap = Heap::new();
    heap.enter(|cx| {
        let object = cx.alloc(pair());
        let shared = object.list.borrow();
        let second = object.list.try_borrow().unwrap();
        assert!(object.try_borrow_mut(cx, |pair| &pair.list).is_none());
        assert!(panic_of(|| object.borrow_mut(cx, |pair| &pair.list)).contains("is borrowed"));
        drop(shared);
        assert!(object.try_borrow_mut(cx, |pair| &pair.list).is_none(), "one shared borrow is left");
        drop(second);
        let mut exclusive = object.borrow_mut(cx, |pair| &pair.list);
        exclusive.push(object);
        assert!(object.list.try_borrow().is_none());
        assert!(panic_of(|| object.list.borrow().len()).contains("borrowed for writing"));
        assert!(object.try_borrow_mut(cx, |pair| &pair.list).is_none());
        drop(exclusive);
        assert_eq!(object.list.borrow().len(), 1);
    });
}

#[test]
fn a_callback_that_drains_or_shuts_down_is_told_to_return_first() {
    let mut heap = Heap::new();
    let object = heap.alloc(0_u8);
    let ran = Rc::new(Cell::new(false));
    heap.cleanup(&object, Opaque(Rc::clone(&ran)), |heap, ran| {
        assert_eq!(heap.drain(Budget::unlimited()), Err(Busy));
        assert_eq!(heap.shutdown(ShutdownOptions::default()), Err(Busy));
        let object = heap.alloc(1_u8);
        assert_eq!(*heap.get(&object), 1, "the heap was not shut down");
        ran.set(true);
    })
    .unwrap();
    drop(object);
    heap.collect();
    heap.drain(Budget::unlimited()).unwrap();
    assert!(ran.get());
    heap.drain(Budget::unlimited()).unwrap();
}

fn after_shutdown(zeal: bool) {
    let mut heap = Heap::with_config(Config::default().zeal(zeal));
    let root = heap.alloc(String::from("object"));
    let list = heap.enter(|cx| cx.alloc_slice([cx.alloc(1), cx.alloc(2)]).root(cx));
    let large = heap.enter(|cx| cx.alloc_slice(vec![0_u8; 5 << 20]).root(cx));
    let (weak, long) = (heap.downgrade(&root), heap.downgrade_long(&root));
    let cleanup = heap.cleanup(&root, 5, |_, _| ()).unwrap();
    let guard = heap.guard(&root, 1).unwrap();
    heap.shutdown(ShutdownOptions::default()).unwrap();

    assert!(heap.upgrade(weak).is_none() && heap.upgrade_long(long).is_none());
    assert!(heap.is_dead(weak) && heap.is_dead_long(long));
    assert!(!heap.refers_to(weak, &root));
    assert!(!heap.is_pending(cleanup) && !heap.unguard(guard));
    assert_eq!(heap.cancel(cleanup), None);
    assert!(heap.next_guarded().is_none());
    let error = heap.cleanup(&root, 6, |_, _| ()).unwrap_err();
    assert_eq!((error.reason(), error.into_payload()), (RegisterFailure::Closed, 6));
    assert_eq!(heap.guard(&root, 0).unwrap_err().reason(), RegisterFailure::Closed);
    assert_eq!(heap.drain(Budget::unlimited()).unwrap().ran, 0);
    assert_eq!(heap.shutdown(ShutdownOptions::default()).unwrap().at_shutdown, 0, "a second shutdown does nothing");
    heap.collect();
    heap.enter(|_| ());
    heap.verify().unwrap();
    assert_eq!(heap.stats().weak_slots, 0);
    drop((root.clone(), list.clone(), large.clone()));
    drop(heap);
    drop((root, list, large));
}

#[test]
fn after_a_shutdown_everything_is_dead_and_nothing_can_be_registered() {
    after_shutdown(false);
}

#[test]
fn after_a_shutdown_a_heap_in_zeal_has_nothing_to_complain_of() {
    after_shutdown(true);
}

#[test]
fn after_a_shutdown_an_object_cannot_be_observed() {
    let mut heap = Heap::new();
    let small = heap.alloc(String::from("object"));
    let huge = heap.enter(|cx| cx.alloc_slice(vec![0_u8; 5 << 20]).root(cx));
    heap.shutdown(ShutdownOptions::default()).unwrap();
    // As for other uses of a root then, a panic or something dead.
    for long in [false, true] {
        let dead = |heap: &mut Heap| match long {
            false => (heap.downgrade(&small), heap.downgrade(&huge)) == (heap.downgrade(&small), heap.downgrade(&huge)),
            true => heap.downgrade_long(&small) == heap.downgrade_long(&small),
        };
        let _ = catch_unwind(AssertUnwindSafe(|| dead(&mut heap)));
    }
    heap.verify().unwrap();
    assert_eq!(heap.stats().weak_slots, 0);
}

#[test]
fn handles_outlive_their_heap_and_can_be_dropped_and_cloned() {
    let (root, weak, cleanup);
    {
        let mut heap = Heap::new();
        root = heap.alloc_str("gone");
        weak = heap.downgrade(&root);
        cleanup = heap.cleanup(&root, 1, |_, _| ()).unwrap();
    }
    let clones: Vec<Root<str>> = (0..2000).map(|_| root.clone()).collect();
    assert!(Root::ptr_eq(&root, &clones[1999]));
    let mut other = Heap::new();
    let own = other.alloc_str("other");
    assert!(!Root::ptr_eq(&root, &own));
    assert_eq!(panic_of(|| other.upgrade(weak)), WrongHeap.to_string());
    assert!(!other.is_pending(cleanup));
    assert_eq!(panic_of(|| other.get(&root).len()), WrongHeap.to_string());
    drop(root);
    drop(clones);
}

#[test]
fn a_value_with_an_edge_cannot_be_allocated_by_handle() {
    // What the types let through at the brand 'static has no edge to give.
    let mut heap = Heap::new();
    let none: Root<Option<Gc<'static, u8>>> = heap.alloc(None);
    heap.with(&none, |none| assert!(none.is_none()));
    let empty: Root<Vec<Gc<'static, u8>>> = heap.alloc(Vec::new());
    heap.with(&empty, |empty| assert!(empty.is_empty()));
}

#[test]
fn a_root_in_a_payload_of_a_heap_that_is_gone_is_not_taken_for_the_target() {
    for _ in 0..20 {
        let huge = |heap: &mut Heap| heap.enter(|cx| cx.alloc_slice(vec![0_u8; 3 << 20]).root(cx));
        let stale = huge(&mut Heap::new());
        let mut heap = Heap::new();
        // Memory of the old heap may well be that of the new one.
        let object = huge(&mut heap);
        let registered = heap.cleanup(&object, stale, |_, _| ());
        assert!(registered.is_ok(), "{registered:?}");
    }
}

#[test]
fn a_growth_factor_that_would_collect_all_the_time_is_refused() {
    assert!(panic_of(|| Config::default().growth_factor(1.0)).contains("above 1"));
    assert!(panic_of(|| Config::default().growth_factor(f64::NAN)).contains("above 1"));
}
