//! The rules of finalization, one by one: guardians, cleanups, where and in which order callbacks run, and how it ends.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use lacuna::{
    AutoDrain, Budget, Cause, Cleanup, Config, FailureKind, Gc, GcCell, Heap, Opaque, RegisterFailure, Root,
    ShutdownOptions, Trace,
};

#[derive(Trace)]
struct Node<'gc> {
    id: u32,
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

type NodeRoot = Root<Node<'static>>;

fn node(heap: &mut Heap, id: u32) -> NodeRoot {
    heap.alloc_with::<Node<'_>>(|_| Node { id, next: GcCell::new(None) })
}

fn link(heap: &mut Heap, from: &NodeRoot, to: &NodeRoot) {
    heap.enter(|cx| from.get(cx).set(cx, |node| &node.next, Some(to.get(cx))));
}

/// Where callbacks note that they ran.
type Log = Opaque<Rc<RefCell<Vec<u32>>>>;

fn log() -> Log {
    Opaque::default()
}

fn note(_: &mut Heap, (log, id): (Log, u32)) {
    log.borrow_mut().push(id);
}

fn entries(log: &Log) -> Vec<u32> {
    log.borrow().clone()
}

/// Drains everything that is queued; returns how many ran and how many panicked.
fn drain(heap: &mut Heap) -> (usize, usize) {
    let report = heap.drain(Budget::unlimited()).unwrap();
    (report.ran, report.panicked)
}

fn guarded_node(heap: &mut Heap) -> Option<(NodeRoot, u64)> {
    let guarded = heap.next_guarded()?;
    Some((guarded.object.downcast().unwrap(), guarded.tag))
}

#[test]
fn rule_10_guarded_objects_come_back_together_and_intact_even_from_a_cycle() {
    let mut heap = Heap::new();
    let ring: Vec<_> = (0..5).map(|id| node(&mut heap, id)).collect();
    for id in 0..5 {
        link(&mut heap, &ring[id], &ring[(id + 1) % 5]);
        heap.guard(&ring[id], id as u64).unwrap();
    }
    drop(ring);
    heap.collect();
    assert_eq!(heap.stats().queued_guardians, 5);
    let mut tags = Vec::new();
    while let Some((root, tag)) = guarded_node(&mut heap) {
        heap.with(&root, |node| {
            assert_eq!(u64::from(node.id), tag);
            assert_eq!(node.next.get().unwrap().id, (node.id + 1) % 5, "its neighbour is intact");
        });
        tags.push(tag);
        heap.collect();
    }
    assert_eq!(tags, [4, 3, 2, 1, 0]);
    heap.collect();
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn rule_10_other_garbage_is_freed_in_the_same_collection() {
    let mut heap = Heap::new();
    let [guarded, inner, garbage] = [1, 2, 3].map(|id| node(&mut heap, id));
    link(&mut heap, &guarded, &inner);
    link(&mut heap, &garbage, &guarded);
    heap.guard(&guarded, 0).unwrap();
    let weak = heap.downgrade_long(&garbage);
    drop((guarded, inner, garbage));
    heap.collect();
    assert_eq!(heap.stats().live_objects, 2);
    assert!(heap.is_dead_long(weak));
}

#[test]
fn rule_10_an_object_comes_back_once_for_each_registration_and_may_be_registered_again() {
    let mut heap = Heap::new();
    let object = heap.alloc(7_u32);
    heap.guard(&object, 1).unwrap();
    heap.guard(&object, 2).unwrap();
    drop(object);
    heap.collect();
    let [one, other] = [heap.next_guarded().unwrap(), heap.next_guarded().unwrap()];
    assert_eq!([one.tag, other.tag], [2, 1]);
    let [one, other] = [one, other].map(|guarded| guarded.object.downcast::<u32>().unwrap());
    assert!(Root::ptr_eq(&one, &other));
    assert!(heap.next_guarded().is_none());
    heap.guard(&one, 3).unwrap();
    drop((one, other));
    heap.collect();
    assert_eq!(heap.next_guarded().unwrap().tag, 3);
    heap.collect();
    assert!(heap.next_guarded().is_none());
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn rule_11_a_cleanup_runs_after_its_object_is_gone_for_good() {
    let mut heap = Heap::new();
    let log = log();
    let object = heap.alloc(String::from("object"));
    heap.cleanup(&object, (log.clone(), 1), note).unwrap();
    heap.guard(&object, 0).unwrap();
    drop(object);
    heap.collect();
    assert_eq!(drain(&mut heap), (0, 0), "its guardian has it");
    let back = heap.next_guarded().unwrap();
    heap.collect();
    assert_eq!(drain(&mut heap), (0, 0), "the program has it");
    drop(back);
    heap.collect();
    assert_eq!(drain(&mut heap), (1, 0));
    assert_eq!(entries(&log), [1]);
}

#[test]
fn rule_11_what_a_payload_holds_is_cleaned_up_after_the_callback_that_uses_it() {
    let mut heap = Heap::new();
    let log = log();
    let (file, buffer) = (heap.alloc(1_u8), heap.alloc(2_u8));
    heap.cleanup(&file, (log.clone(), 1), note).unwrap();
    // The buffer is flushed to the file, so it names it.
    type Flush = (Log, Root<u8>);
    heap.cleanup(&buffer, (log.clone(), file), |heap, (log, file): Flush| {
        assert_eq!(*heap.get(&file), 1);
        log.borrow_mut().push(2);
    })
    .unwrap();
    drop(buffer);
    heap.collect();
    drain(&mut heap);
    assert_eq!(entries(&log), [2]);
    heap.collect();
    drain(&mut heap);
    assert_eq!(entries(&log), [2, 1]);
}

#[test]
fn rule_12_batches_are_in_order_and_within_one_the_newest_registration_is_first() {
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    let log = log();
    let objects: Vec<_> = (0..6).map(|_| heap.alloc(0_u8)).collect();
    // Registered across objects, so that the order of objects and that of registrations differ.
    for (id, object) in [0, 3, 1, 4, 2, 5, 0, 3].into_iter().enumerate() {
        heap.cleanup(&objects[object], (log.clone(), id as u32), note).unwrap();
    }
    let mut objects = objects.into_iter();
    drop(objects.by_ref().take(3).collect::<Vec<_>>());
    heap.collect();
    drop(objects);
    heap.collect();
    assert_eq!(drain(&mut heap), (8, 0));
    assert_eq!(entries(&log), [6, 4, 2, 0, 7, 5, 3, 1]);
}

#[test]
fn rule_13_callbacks_run_in_drain_and_at_safepoints_and_nowhere_else() {
    let mut heap = Heap::new();
    let log = log();
    let object = heap.alloc(0_u8);
    heap.cleanup(&object, (log.clone(), 1), note).unwrap();
    let weak = heap.downgrade(&object);
    drop(object);
    heap.collect();
    assert!(heap.upgrade(weak).is_none());
    let _ = (heap.stats(), heap.verify().unwrap(), heap.next_guarded());
    heap.collect();
    assert_eq!(entries(&log), []);
    heap.enter(|cx| {
        cx.alloc(1_u8);
        assert_eq!(entries(&log), []);
    });
    assert_eq!(entries(&log), [1], "the end of a scope is a safepoint");
}

#[test]
fn rule_13_a_callback_may_do_everything_but_drain() {
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    let log = log();
    let (object, later, cancelled) = (heap.alloc(0_u8), heap.alloc(1_u8), heap.alloc(2_u8));
    let other: Cleanup<(Log, u32)> = heap.cleanup(&cancelled, (log.clone(), 99), note).unwrap();
    let weak = heap.downgrade(&cancelled);
    let seen = log.clone();
    heap.cleanup_with(&object, (later, cancelled), move |heap, (later, cancelled)| {
        assert!(heap.drain(Budget::unlimited()).is_err());
        let upgraded = heap.upgrade(weak).unwrap();
        assert!(Root::ptr_eq(&upgraded, &cancelled));
        assert!(heap.cancel(other).is_some());
        heap.cleanup(&later, (seen.clone(), 2), note).unwrap();
        let list = heap.alloc_with::<Option<Gc<'_, u8>>>(|cx| Some(later.get(cx)));
        drop(later);
        heap.collect();
        assert_eq!(heap.stats().queued_cleanups, 0);
        drop(list);
        heap.collect();
        assert_eq!(heap.stats().queued_cleanups, 1);
        seen.borrow_mut().push(1);
    })
    .unwrap();
    drop(object);
    heap.collect();
    assert_eq!(drain(&mut heap), (2, 0), "what the first queued ran after it, in the same drain");
    assert_eq!(entries(&log), [1, 2]);
}

#[test]
fn rule_15_a_drain_stops_at_its_budget_and_reports() {
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    let log = log();
    for batch in 0..3 {
        for id in 0..4 {
            let object = heap.alloc(0_u8);
            heap.cleanup(&object, (log.clone(), batch * 10 + id), note).unwrap();
        }
        heap.collect();
    }
    let report = heap.drain(Budget::unlimited().callbacks(3)).unwrap();
    assert_eq!((report.ran, report.left, report.oldest_age_in_cycles), (3, 9, 2));
    let report = heap.drain(Budget::unlimited().batches(1)).unwrap();
    assert_eq!((report.ran, report.left, report.oldest_age_in_cycles), (1, 8, 1));
    let report = heap.drain(Budget::unlimited().time(Duration::ZERO)).unwrap();
    assert_eq!((report.ran, report.left), (0, 8));
    let report = heap.drain(Budget::unlimited().time(Duration::from_secs(3600)).batches(5)).unwrap();
    assert_eq!((report.ran, report.left, report.oldest_age_in_cycles), (8, 0, 0));
    assert_eq!(entries(&log), [3, 2, 1, 0, 13, 12, 11, 10, 23, 22, 21, 20]);
}

#[test]
fn rule_15_a_flood_of_callbacks_drains_geometrically_at_safepoints() {
    let mut heap = Heap::new();
    let log = log();
    let objects: Vec<_> = (0..10_000).map(|_| heap.alloc(0_u8)).collect();
    for object in &objects {
        heap.cleanup(object, (log.clone(), 0), note).unwrap();
    }
    drop(objects);
    heap.collect();
    let mut safepoints = 0;
    let mut before = 0;
    while heap.stats().queued_cleanups > 0 {
        let waiting = heap.stats().queued_cleanups;
        heap.enter(|_| ());
        let ran = entries(&log).len() - before;
        before += ran;
        assert_eq!(ran, waiting.min((waiting / 8).max(16)));
        safepoints += 1;
    }
    assert_eq!(before, 10_000);
    assert!(safepoints < 100, "{safepoints} safepoints for ten thousand callbacks");
}

#[test]
fn rule_15_external_bytes_count_until_the_object_is_dead_or_the_cleanup_cancelled() {
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    let (one, other) = (heap.alloc(1_u8), heap.alloc(2_u8));
    let first = heap.cleanup(&one, (), |_, ()| ()).unwrap();
    let second = heap.cleanup(&other, (), |_, ()| ()).unwrap();
    assert!(heap.set_external(first, 1000));
    assert!(heap.set_external(second, 200));
    assert!(heap.set_external(second, 300));
    assert_eq!(heap.stats().external_bytes, 1300);
    heap.cancel(second);
    assert_eq!(heap.stats().external_bytes, 1000);
    assert!(!heap.set_external(second, 5));
    drop(one);
    heap.collect();
    assert_eq!(heap.stats().external_bytes, 0);
}

#[test]
fn rule_16_a_panic_is_reported_with_its_label_and_the_others_run() {
    let mut heap = Heap::new();
    let failures: Rc<RefCell<Vec<_>>> = Rc::default();
    let seen = Rc::clone(&failures);
    heap.on_error(move |failure| seen.borrow_mut().push((failure.kind, failure.label, failure.message.clone())));
    let log = log();
    let object = heap.alloc(0_u8);
    heap.cleanup(&object, (log.clone(), 1), note).unwrap();
    let bad = heap.cleanup(&object, 17, |_, number: i32| std::panic::panic_any(format!("socket {number}"))).unwrap();
    assert!(heap.set_label(bad, "close the socket"));
    heap.cleanup(&object, (log.clone(), 3), note).unwrap();
    drop(object);
    heap.collect();
    assert_eq!(drain(&mut heap), (3, 1));
    assert_eq!(entries(&log), [3, 1]);
    let expected = (FailureKind::Cleanup, Some("close the socket"), Some(String::from("socket 17")));
    assert_eq!(*failures.borrow(), [expected]);
    assert!(!heap.is_pending(bad), "it was consumed");
    assert_eq!(heap.stats().panics, 1);
    heap.verify().unwrap();
}

#[test]
fn rule_16_a_failure_names_its_registration_whatever_runs_it() {
    fn fail(_: &mut Heap, (): ()) {
        std::panic::panic_any("a callback");
    }
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    let failures: Rc<RefCell<Vec<_>>> = Rc::default();
    let seen = Rc::clone(&failures);
    heap.on_error(move |failure| seen.borrow_mut().push((failure.kind, failure.registration)));
    let object = heap.alloc(0_u8);
    // By a drain, as the third and fifth of six that run under one guard.
    let all: Vec<_> = (0..6)
        .map(|number| match number {
            1 | 3 => heap.cleanup(&object, (), fail).unwrap(),
            _ => heap.cleanup(&object, (), |_, ()| ()).unwrap(),
        })
        .collect();
    drop(object);
    heap.collect();
    assert_eq!(drain(&mut heap), (6, 2));
    let expected = [3, 1].map(|number: usize| (FailureKind::Cleanup, Some(all[number].id())));
    assert_eq!(failures.take(), expected);
    assert_ne!(all[3].id(), all[1].id());
    // By another thread.
    let object = heap.alloc(0_u8);
    let sent = heap.cleanup_send(&object, (), |()| std::panic::panic_any("sent")).unwrap();
    drop(object);
    heap.collect();
    let report = heap.drain_send(usize::MAX).run();
    assert_eq!(report.failures[0].registration, Some(sent.id()));
    // At shutdown, with the next use of the same entry.
    let object = heap.alloc(0_u8);
    let last = heap.cleanup(&object, (), fail).unwrap();
    assert!(heap.set_at_shutdown(last, true));
    assert!(all.iter().all(|old| old.id() != last.id()));
    heap.shutdown(ShutdownOptions::default()).unwrap();
    assert_eq!(failures.take(), [(FailureKind::Cleanup, Some(last.id()))]);
}

#[test]
fn rule_16_the_drop_of_an_object_that_fails_has_no_registration() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any("an object");
        }
    }
    let mut heap = Heap::new();
    let failures: Rc<RefCell<Vec<_>>> = Rc::default();
    let seen = Rc::clone(&failures);
    heap.on_error(move |failure| seen.borrow_mut().push((failure.kind, failure.registration)));
    drop(heap.alloc(Opaque(Bomb)));
    heap.collect();
    assert_eq!(failures.take(), [(FailureKind::Drop, None)]);
}

#[test]
fn rule_17_drop_may_drop_roots_of_its_heap_while_it_is_swept() {
    let mut heap = Heap::new();
    let inner: Vec<_> = (0..100).map(|id| heap.alloc(id)).collect();
    let weak: Vec<_> = inner.iter().map(|root| heap.downgrade(root)).collect();
    for root in inner {
        drop(heap.alloc(Some(root)));
    }
    heap.collect();
    assert_eq!(heap.stats().roots, 0);
    assert!(weak.iter().all(|&weak| !heap.is_dead(weak)));
    heap.verify().unwrap();
    heap.collect();
    assert!(weak.iter().all(|&weak| heap.is_dead(weak)));
}

/// Puts a clone of its root into a place outside when it is dropped.
struct Leaver {
    root: Root<String>,
    place: Rc<RefCell<Vec<Root<String>>>>,
}

impl Drop for Leaver {
    fn drop(&mut self) {
        self.place.borrow_mut().push(self.root.clone());
    }
}

#[test]
fn rule_17_drop_may_make_roots_of_its_heap_while_it_is_swept() {
    let mut heap = Heap::new();
    let place: Rc<RefCell<Vec<Root<String>>>> = Rc::default();
    for id in 0..600 {
        let root = heap.alloc(format!("object {id}"));
        drop(heap.alloc(Opaque(Leaver { root, place: Rc::clone(&place) })));
    }
    heap.collect();
    heap.collect();
    heap.verify().unwrap();
    assert_eq!(heap.stats().live_objects, 600);
    let mut names: Vec<_> = place.borrow().iter().map(|root| heap.get(root).clone()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 600);
}

#[test]
fn rule_17_zeal_does_not_mind_roots_that_the_sweep_drops() {
    let mut heap = Heap::with_config(Config::default().zeal(true));
    let inner = heap.alloc(String::from("inner"));
    let weak = heap.downgrade(&inner);
    drop(heap.alloc(Some(inner)));
    heap.collect();
    assert!(!heap.is_dead(weak), "it was alive when the marking ended");
    heap.collect();
    assert!(heap.is_dead(weak));
}

#[test]
fn rule_18_a_payload_that_holds_the_target_is_an_error_that_gives_it_back() {
    let mut heap = Heap::new();
    let (object, other) = (heap.alloc(1_u8), heap.alloc(2_u8));
    let error = heap.cleanup(&object, object.clone(), |_, _| ()).unwrap_err();
    assert_eq!(error.reason(), RegisterFailure::SelfRetention);
    assert!(Root::ptr_eq(&error.into_payload(), &object));
    let refused = heap.enter(|cx| cx.cleanup(object.get(cx), object.clone(), |_, _| ()).is_err());
    assert!(refused);
    assert_eq!((heap.stats().armed, heap.stats().weak_slots), (0, 0));
    heap.cleanup(&object, other.clone(), |_, _| ()).unwrap();
    assert_eq!(heap.stats().armed, 1);
}

#[test]
fn rule_19_a_cleanup_is_cancelled_or_run_at_once_while_armed_and_while_queued_and_at_most_once() {
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    let log = log();
    let object = heap.alloc(0_u8);
    let mut cleanups: Vec<_> = (0..4).map(|id| heap.cleanup(&object, (log.clone(), id), note).unwrap()).collect();
    let check = |heap: &mut Heap, cancelled: Cleanup<(Log, u32)>, run: Cleanup<(Log, u32)>, id: u32| {
        assert!(heap.is_pending(cancelled) && heap.is_pending(run));
        assert_eq!(heap.peek(cancelled).unwrap().1, id);
        assert_eq!(heap.cancel(cancelled).unwrap().1, id);
        assert!(heap.run_now(run));
        assert_eq!(entries(&log).last(), Some(&(id + 1)));
        for cleanup in [cancelled, run] {
            assert!(!heap.is_pending(cleanup));
            assert!(heap.peek(cleanup).is_none());
            assert!(heap.cancel(cleanup).is_none());
            assert!(!heap.run_now(cleanup));
            assert!(!heap.set_at_shutdown(cleanup, true));
        }
    };
    check(&mut heap, cleanups[0], cleanups[1], 0);
    drop(object);
    heap.collect();
    assert_eq!(heap.stats().queued_cleanups, 2);
    check(&mut heap, cleanups[2], cleanups[3], 2);
    assert_eq!(drain(&mut heap), (0, 0));
    assert_eq!(entries(&log), [1, 3]);
    assert_eq!((heap.stats().callbacks_run, heap.stats().cancelled), (2, 2));
    cleanups.clear(); // dropping the ids does nothing
}

#[test]
fn rule_19_the_rest_still_runs_newest_first_when_some_were_cancelled_or_run_by_hand() {
    let mut heap = Heap::new();
    let log = log();
    let object = heap.alloc(0_u8);
    let cleanups: Vec<_> = (0..6).map(|id| heap.cleanup(&object, (log.clone(), id), note).unwrap()).collect();
    heap.run_now(cleanups[3]);
    heap.cancel(cleanups[4]);
    heap.cancel(cleanups[0]);
    drop(object);
    heap.collect();
    drain(&mut heap);
    assert_eq!(entries(&log), [3, 5, 2, 1]);
}

#[test]
fn rule_19_a_guardian_is_taken_back_while_armed_and_while_queued() {
    let mut heap = Heap::new();
    let objects: Vec<_> = (0..3).map(|id| heap.alloc(id)).collect();
    let guards: Vec<_> = objects.iter().map(|object| heap.guard(object, 0).unwrap()).collect();
    assert!(heap.unguard(guards[0]));
    drop(objects);
    heap.collect();
    assert_eq!(heap.stats().queued_guardians, 2);
    assert!(heap.unguard(guards[1]));
    heap.collect();
    assert_eq!(heap.stats().live_objects, 1, "the one whose guardian still has it");
    assert!(heap.next_guarded().is_some());
    assert!(heap.next_guarded().is_none());
    assert!(guards.into_iter().all(|guard| !heap.unguard(guard)));
}

#[test]
fn rule_19_a_callback_and_its_payload_are_freed_after_it_has_run() {
    let mut heap = Heap::new();
    let alive = Rc::new(());
    let (function, closure, cancelled) = (Rc::clone(&alive), Rc::clone(&alive), Rc::clone(&alive));
    let object = heap.alloc(0_u8);
    heap.cleanup(&object, Opaque(function), |_, _| ()).unwrap();
    heap.cleanup_with(&object, (), move |_, ()| drop(closure)).unwrap();
    let id = heap.cleanup(&object, Opaque(cancelled), |_, _| ()).unwrap();
    assert_eq!(Rc::strong_count(&alive), 4);
    drop(heap.cancel(id));
    drop(object);
    heap.collect();
    assert_eq!(Rc::strong_count(&alive), 3);
    drain(&mut heap);
    assert_eq!(Rc::strong_count(&alive), 1);
}

#[test]
fn rule_20_a_shutdown_drains_then_runs_the_chosen_newest_first_and_those_registered_meanwhile_next() {
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    let failures = Rc::new(Cell::new(0));
    let seen = Rc::clone(&failures);
    heap.on_error(move |_| seen.set(seen.get() + 1));
    let log = log();
    let (dead, alive) = (heap.alloc(String::from("dead")), heap.alloc(String::from("alive")));
    let weak = heap.downgrade(&alive);
    heap.cleanup(&dead, (log.clone(), 10), note).unwrap();
    let chosen = [
        heap.cleanup(&alive, (log.clone(), 1), note).unwrap(),
        // Not chosen: the default is false.
        heap.cleanup(&alive, (log.clone(), 2), note).unwrap(),
        heap.cleanup(&alive, (log.clone(), 3), |_, _| panic!("at shutdown")).unwrap(),
    ];
    heap.set_at_shutdown(chosen[0], true);
    heap.set_at_shutdown(chosen[2], true);
    let (seen, root) = (log.clone(), alive.clone());
    let newest = heap
        .cleanup_with(&dead, (), move |heap, ()| {
            assert_eq!(heap.get(&heap.upgrade(weak).unwrap()), "alive", "weak references are still valid");
            let next = heap.cleanup(&root, (seen.clone(), 5), note).unwrap();
            heap.set_at_shutdown(next, true);
            seen.borrow_mut().push(4);
        })
        .unwrap();
    heap.set_at_shutdown(newest, true);
    heap.guard(&dead, 0).unwrap();
    let queued = heap.alloc(0_u8);
    heap.cleanup(&queued, (log.clone(), 0), note).unwrap();
    drop((queued, dead));
    heap.collect();

    let report = heap.shutdown(ShutdownOptions::default()).unwrap();
    assert_eq!((report.drained.ran, report.at_shutdown, report.truncated), (1, 4, false));
    assert_eq!(entries(&log), [0, 4, 5, 1]);
    assert_eq!(failures.get(), 1);
    assert!(heap.upgrade(weak).is_none());
    assert!(heap.next_guarded().is_none(), "guardians are not run");
    drop(alive);
    drop(heap);
    assert_eq!(entries(&log), [0, 4, 5, 1]);
}

#[test]
fn rule_20_a_heap_that_is_dropped_drops_all_objects_and_runs_no_callback() {
    let log = log();
    let dropped = Rc::new(());
    let mut heap = Heap::new();
    let object = heap.alloc(Opaque(Rc::clone(&dropped)));
    let large = heap.alloc((Opaque(Rc::clone(&dropped)), [0_u8; 50_000]));
    let weak = heap.downgrade(&object);
    let (queued, at_shutdown) = (heap.alloc(1_u8), heap.alloc(2_u8));
    heap.cleanup(&queued, (log.clone(), 1), note).unwrap();
    let id = heap.cleanup(&at_shutdown, (log.clone(), 2), note).unwrap();
    heap.set_at_shutdown(id, true);
    heap.cleanup(&at_shutdown, Opaque(Rc::clone(&dropped)), |_, _| ()).unwrap();
    drop(queued);
    heap.collect();
    assert_eq!(Rc::strong_count(&dropped), 4);
    drop(heap);
    assert_eq!(Rc::strong_count(&dropped), 1);
    assert_eq!(entries(&log), []);
    // Handles outlive the heap; weak references read dead in any other.
    let _ = (weak, large.clone());
    drop((object, large));
}

#[test]
fn rule_22_a_collection_for_want_of_memory_queues_and_drains_nothing() {
    let mut heap = Heap::with_config(Config::default().heap_limit(Some(300 << 10)).auto_drain(AutoDrain::Off));
    let log = log();
    let object = heap.alloc([0_u8; 100_000]);
    heap.cleanup(&object, (log.clone(), 1), note).unwrap();
    drop(object);
    let fill = heap.alloc([0_u8; 100_000]);
    let next = heap.alloc([0_u8; 150_000]);
    assert_eq!(heap.stats().last.cause, Cause::Exhausted);
    assert_eq!(heap.stats().queued_cleanups, 1);
    assert_eq!(entries(&log), []);
    drop((fill, next));
}

#[test]
fn trap_08_all_guardians_of_a_batch_are_found_whatever_leads_to_what() {
    let mut heap = Heap::new();
    let [a, b, c] = [1, 2, 3].map(|id| node(&mut heap, id));
    link(&mut heap, &a, &b);
    link(&mut heap, &b, &c);
    link(&mut heap, &c, &a);
    for (tag, root) in [&a, &b, &c, &a, &b].into_iter().enumerate() {
        heap.guard(root, tag as u64).unwrap();
    }
    drop((a, b, c));
    heap.collect();
    let tags: Vec<_> = std::iter::from_fn(|| heap.next_guarded()).map(|guarded| guarded.tag).collect();
    assert_eq!(tags, [4, 3, 2, 1, 0]);
}

#[test]
fn trap_09_what_only_a_guarded_object_leads_to_is_weakly_dead_and_strongly_there() {
    let mut heap = Heap::new();
    let [outer, inner] = [1, 2].map(|id| node(&mut heap, id));
    link(&mut heap, &outer, &inner);
    let (short, long) = (heap.downgrade(&inner), heap.downgrade_long(&inner));
    heap.guard(&outer, 0).unwrap();
    drop((outer, inner));
    heap.collect();
    assert!(heap.is_dead(short));
    let inner = heap.upgrade_long(long).unwrap();
    assert_eq!(heap.with(&inner, |node| node.id), 2);
    let (outer, _) = guarded_node(&mut heap).unwrap();
    assert_eq!(heap.with(&outer, |node| node.next.get().unwrap().id), 2);
    assert!(heap.is_dead(short));
}

/// What the guardian of an object does when it gets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Unguarded,
    Released,
    Resurrected,
    Cuts,
}

/// Rings and random graphs of objects of all fates: each guarded one comes back exactly once, with intact neighbours;
/// afterwards exactly what the resurrected ones lead to is alive.
#[test]
fn trap_10_any_mixture_of_fates_in_a_cycle_ends_with_the_closure_of_the_resurrected() {
    #[derive(Trace)]
    struct Knot<'gc> {
        id: usize,
        sane: GcCell<u32>,
        edges: [GcCell<Option<Gc<'gc, Knot<'gc>>>>; 3],
    }
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 20) as usize % below
    };
    for round in 0..300 {
        let zeal = round % 3 == 0;
        let mut heap = Heap::with_config(Config::default().zeal(zeal));
        let count = 1 + next(12);
        let fates: Vec<_> =
            (0..count).map(|_| [Fate::Unguarded, Fate::Released, Fate::Resurrected, Fate::Cuts][next(4)]).collect();
        let mut edges: Vec<[Option<usize>; 3]> = (0..count)
            .map(|id| {
                [Some((id + 1) % count), (next(2) == 0).then(|| next(count)), (next(3) == 0).then(|| next(count))]
            })
            .collect();
        let roots: Vec<Root<Knot<'static>>> = heap.enter(|cx| {
            let knots: Vec<_> = (0..count)
                .map(|id| cx.alloc(Knot { id, sane: GcCell::new(0x5AFE), edges: Default::default() }))
                .collect();
            for (id, targets) in edges.iter().enumerate() {
                for (index, target) in targets.iter().enumerate() {
                    knots[id].set(cx, |knot| &knot.edges[index], target.map(|target| knots[target]));
                }
            }
            knots.iter().map(|knot| knot.root(cx)).collect()
        });
        let weak: Vec<_> = roots.iter().map(|root| (heap.downgrade(root), heap.downgrade_long(root))).collect();
        for (id, root) in roots.iter().enumerate().filter(|(id, _)| fates[*id] != Fate::Unguarded) {
            heap.guard(root, id as u64).unwrap();
        }
        drop(roots);
        heap.collect();

        let mut survivors = Vec::new();
        let mut seen = Vec::new();
        while let Some(guarded) = heap.next_guarded() {
            let root = guarded.object.downcast::<Knot<'static>>().unwrap();
            let id = heap.with(&root, |knot| {
                for (edge, target) in knot.edges.iter().zip(edges[knot.id]) {
                    assert_eq!(edge.get().map(|knot| (knot.id, knot.sane.get())), target.map(|id| (id, 0x5AFE)));
                }
                knot.id
            });
            assert_eq!(id as u64, guarded.tag);
            seen.push(id);
            match fates[id] {
                Fate::Cuts => {
                    heap.enter(|cx| {
                        let knot = root.get(cx);
                        (0..3).for_each(|index| knot.set(cx, |knot| &knot.edges[index], None));
                    });
                    edges[id] = [None; 3];
                }
                Fate::Resurrected => survivors.push(root),
                _ => {}
            }
        }
        let guarded: Vec<_> = (0..count).rev().filter(|&id| fates[id] != Fate::Unguarded).collect();
        assert_eq!(seen, guarded, "each once, newest first");
        heap.collect();
        assert!(heap.next_guarded().is_none());
        heap.verify().unwrap();

        let mut alive = vec![false; count];
        let mut pending: Vec<_> = guarded.iter().copied().filter(|&id| fates[id] == Fate::Resurrected).collect();
        while let Some(id) = pending.pop() {
            if !std::mem::replace(&mut alive[id], true) {
                pending.extend(edges[id].iter().flatten());
            }
        }
        for (id, &(short, long)) in weak.iter().enumerate() {
            assert!(heap.is_dead(short), "object {id} of {fates:?}");
            assert_eq!(heap.is_dead_long(long), !alive[id], "object {id} of {fates:?}");
        }
        assert_eq!(heap.stats().live_objects, alive.iter().filter(|&&alive| alive).count());
    }
}

#[test]
fn trap_15_a_callback_that_allocates_and_collects_meets_no_borrow_of_its_own() {
    type Shared = Opaque<Rc<RefCell<Vec<Root<u32>>>>>;
    fn callback(heap: &mut Heap, shared: Shared) {
        let mut shared = shared.borrow_mut();
        for id in 0..50 {
            shared.push(heap.alloc(id));
            heap.collect();
        }
        assert!(heap.drain(Budget::unlimited()).is_err());
    }
    // In zeal each of the callback's allocations is a safepoint that would like to drain.
    let mut heap = Heap::with_config(Config::default().zeal(true));
    let shared: Shared = Opaque::default();
    for _ in 0..3 {
        let object = heap.alloc(0_u8);
        heap.cleanup(&object, shared.clone(), callback).unwrap();
    }
    heap.collect();
    let report = heap.drain(Budget::unlimited()).unwrap();
    assert_eq!(report.panicked, 0, "no callback ran inside another");
    assert_eq!(heap.stats().panics, 0);
    assert_eq!(shared.borrow().len(), 150);
}

#[test]
fn trap_15_a_callback_run_by_hand_runs_no_others_inside_itself() {
    let mut heap = Heap::new();
    let depth = Rc::new(Cell::new(0));
    let callback = |heap: &mut Heap, depth: Opaque<Rc<Cell<u32>>>| {
        depth.set(depth.get() + 1);
        assert_eq!(depth.get(), 1, "callbacks are nested");
        heap.enter(|_| ());
        assert!(heap.drain(Budget::unlimited()).is_err());
        assert!(heap.shutdown(ShutdownOptions::default()).is_err());
        depth.set(depth.get() - 1);
    };
    let object = heap.alloc(0_u8);
    let ids: Vec<_> = (0..3).map(|_| heap.cleanup(&object, Opaque(Rc::clone(&depth)), callback).unwrap()).collect();
    drop(object);
    heap.collect();
    assert!(heap.run_now(ids[1]));
    assert_eq!(drain(&mut heap), (2, 0));
}

#[test]
fn trap_16_every_third_callback_panics_and_all_are_consumed() {
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    let reported = Rc::new(Cell::new(0));
    let seen = Rc::clone(&reported);
    heap.on_error(move |failure| {
        assert_eq!(failure.message.as_deref(), Some("every third"));
        seen.set(seen.get() + 1);
    });
    let log = log();
    for id in 0..30 {
        let object = heap.alloc(id);
        heap.cleanup(&object, (log.clone(), id), |heap, (log, id)| {
            heap.alloc(id);
            log.borrow_mut().push(id);
            assert!(id % 3 != 0, "every third");
        })
        .unwrap();
    }
    heap.collect();
    let report = heap.drain(Budget::unlimited()).unwrap();
    assert_eq!((report.ran, report.panicked, report.left), (30, 10, 0));
    assert_eq!(entries(&log), (0..30).rev().collect::<Vec<_>>());
    assert_eq!(reported.get(), 10);
    heap.collect();
    heap.verify().unwrap();
    assert_eq!(heap.stats().live_objects, 0);
}

/// Drops roots of its heap, and of another, wherever it is dropped.
struct Reentrant(Vec<Root<String>>, Rc<Cell<usize>>);

impl Drop for Reentrant {
    fn drop(&mut self) {
        let clones = self.0.clone();
        self.0.clear();
        drop(clones);
        self.1.set(self.1.get() + 1);
    }
}

#[test]
fn trap_17_a_payload_whose_drop_uses_roots_is_dropped_safely_wherever_that_happens() {
    let (mut heap, mut other) = (Heap::new(), Heap::new());
    let dropped = Rc::new(Cell::new(0));
    let mut payload = |heap: &mut Heap| {
        let roots = vec![heap.alloc(String::from("own")), other.alloc(String::from("other"))];
        Opaque(Reentrant(roots, Rc::clone(&dropped)))
    };
    let object = heap.alloc(0_u8);
    let cleanups: Vec<_> = (0..4)
        .map(|_| {
            let payload = payload(&mut heap);
            heap.cleanup(&object, payload, |_, _| ()).unwrap()
        })
        .collect();
    drop(heap.cancel(cleanups[0]));
    heap.run_now(cleanups[1]);
    let refused = payload(&mut heap);
    let refused = heap.cleanup(&object, (object.clone(), refused), |_, _| ());
    assert_eq!(dropped.get(), 2);
    drop(refused);
    assert_eq!(dropped.get(), 3);
    drop(object);
    heap.collect();
    heap.drain(Budget::unlimited().callbacks(1)).unwrap();
    assert_eq!(dropped.get(), 4);
    drop(heap);
    assert_eq!(dropped.get(), 5);
    other.collect();
    assert_eq!(other.stats().live_objects, 0);
}

#[test]
fn trap_18_a_pause_that_queues_a_thousand_callbacks_uses_the_room_reserved_when_they_were_registered() {
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    let objects: Vec<_> = (0..1000).map(|id| heap.alloc(id)).collect();
    for object in &objects {
        heap.cleanup(object, (), |_, ()| ()).unwrap();
        heap.guard(object, 0).unwrap();
    }
    let reserved = heap.stats().finalizer_bytes;
    drop(objects);
    heap.collect();
    assert_eq!(heap.stats().queued_guardians, 1000);
    assert_eq!(heap.stats().finalizer_bytes, reserved);
    while heap.next_guarded().is_some() {}
    heap.collect();
    assert_eq!(heap.stats().queued_cleanups, 1000);
    assert_eq!(heap.stats().finalizer_bytes, reserved);
}

#[test]
fn trap_19_a_cleanup_that_registers_itself_again_for_ever_ends_with_the_shutdown() {
    type Again = (Log, Root<u8>, Opaque<fn(&mut Heap, &Log, &Root<u8>)>);
    fn register(heap: &mut Heap, log: &Log, object: &Root<u8>) {
        let target = heap.alloc(0_u8);
        let id = heap.cleanup(&target, (log.clone(), object.clone(), Opaque(register as _)), again).unwrap();
        heap.set_at_shutdown(id, true);
    }
    fn again(heap: &mut Heap, (log, object, register): Again) {
        let count = log.borrow().len() as u32;
        log.borrow_mut().push(count);
        (register.0)(heap, &log, &object);
    }
    let mut heap = Heap::new();
    let log = log();
    let object = heap.alloc(0_u8);
    register(&mut heap, &log, &object);
    let report = heap.shutdown(ShutdownOptions::default().max_extra(50)).unwrap();
    assert!(report.truncated);
    assert_eq!(report.at_shutdown, 51);
    assert_eq!(entries(&log).len(), 51);
}

#[test]
fn a_cleanup_that_registers_itself_again_runs_once_in_every_cycle() {
    fn again(heap: &mut Heap, log: Log) {
        log.borrow_mut().push(1);
        let object = heap.alloc(0_u8);
        heap.cleanup(&object, log, again).unwrap();
    }
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    let log = log();
    let object = heap.alloc(0_u8);
    heap.cleanup(&object, log.clone(), again).unwrap();
    drop(object);
    for cycle in 1..=5 {
        heap.collect();
        assert_eq!(drain(&mut heap), (1, 0));
        assert_eq!(entries(&log).len(), cycle);
    }
}

#[test]
fn trap_20_a_callback_cannot_shut_the_heap_down_and_the_order_holds() {
    let mut heap = Heap::new();
    let log = log();
    let object = heap.alloc(0_u8);
    for id in 0..4 {
        let cleanup = heap
            .cleanup(&object, (log.clone(), id), |heap, (log, id)| {
                assert!(heap.shutdown(ShutdownOptions::default()).is_err());
                assert!(heap.drain(Budget::unlimited()).is_err());
                log.borrow_mut().push(id);
            })
            .unwrap();
        heap.set_at_shutdown(cleanup, id % 2 == 0);
    }
    let report = heap.shutdown(ShutdownOptions::default()).unwrap();
    assert_eq!(report.at_shutdown, 2);
    assert_eq!(entries(&log), [2, 0]);
    assert_eq!(heap.stats().panics, 0);
}

#[test]
fn trap_21_guarded_objects_are_gone_after_they_were_handed_out_and_collected() {
    let mut heap = Heap::new();
    let objects: Vec<_> = (0..1000).map(|id| heap.alloc([id; 20])).collect();
    for object in &objects {
        heap.guard(object, 0).unwrap();
    }
    drop(objects);
    heap.collect();
    assert_eq!(heap.stats().live_objects, 1000);
    while heap.next_guarded().is_some() {}
    heap.collect();
    let stats = heap.stats();
    assert_eq!((stats.live_objects, stats.used_bytes, stats.weak_slots, stats.roots), (0, 0, 0, 0));
}

#[test]
fn trap_22_external_bytes_bring_the_next_collection_nearer() {
    let config = Config::default().min_heap(1 << 20);
    let cycles = |external: usize| {
        let mut heap = Heap::with_config(config);
        for _ in 0..1000 {
            let object = heap.alloc(0_u64);
            let cleanup = heap.cleanup(&object, (), |_, ()| ()).unwrap();
            heap.set_external(cleanup, external);
        }
        heap.stats().collections
    };
    assert_eq!(cycles(0), 0);
    assert!(cycles(10_000) >= 5, "10 MB outside a heap of 1 MB is collected for");
}

#[test]
fn a_guardian_may_hand_out_objects_that_are_observed_and_written_while_others_die() {
    let mut heap = Heap::new();
    let [dying, neighbour] = [1, 2].map(|id| node(&mut heap, id));
    link(&mut heap, &dying, &neighbour);
    heap.guard(&dying, 0).unwrap();
    drop((dying, neighbour));
    heap.collect();
    let (dying, _) = guarded_node(&mut heap).unwrap();
    let weak = heap.enter(|cx| {
        let neighbour = dying.get(cx).next.get().unwrap();
        neighbour.set(cx, |node| &node.next, Some(dying.get(cx)));
        neighbour.downgrade(cx)
    });
    heap.collect();
    assert!(heap.upgrade(weak).is_some());
    drop(dying);
    heap.collect();
    assert!(heap.is_dead(weak));
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn half_of_twenty_cleanups_panic_at_shutdown_and_all_run_in_order() {
    let mut heap = Heap::new();
    let log = log();
    let object = heap.alloc(0_u8);
    for id in 0..20 {
        let cleanup = heap
            .cleanup(&object, (log.clone(), id), |_, (log, id)| {
                log.borrow_mut().push(id);
                assert!(id % 2 == 0);
            })
            .unwrap();
        heap.set_at_shutdown(cleanup, true);
    }
    assert_eq!(heap.shutdown(ShutdownOptions::default()).unwrap().at_shutdown, 20);
    assert_eq!(entries(&log), (0..20).rev().collect::<Vec<_>>());
    assert_eq!(heap.stats().panics, 10);
}

#[test]
fn a_callback_that_replaces_the_heap_does_no_harm() {
    let mut heap = Heap::new();
    let log = log();
    for id in 0..3 {
        let object = heap.alloc(String::from("object"));
        heap.cleanup(&object, (log.clone(), id), |heap, (log, id)| {
            log.borrow_mut().push(id);
            if id == 1 {
                *heap = Heap::new();
            }
        })
        .unwrap();
    }
    heap.collect();
    assert_eq!(drain(&mut heap), (2, 0), "the third went with the heap it was registered in");
    assert_eq!(entries(&log), [2, 1]);
    let object = heap.alloc(1);
    assert_eq!(*heap.get(&object), 1);
    assert_eq!(drain(&mut heap), (0, 0));
    heap.verify().unwrap();
}

#[test]
fn inside_a_callback_the_statistics_count_roots_only() {
    let mut heap = Heap::new();
    let kept = heap.alloc(0_u8);
    let object = heap.alloc(1_u8);
    heap.cleanup(&object, (), |heap, ()| assert_eq!(heap.stats().roots, 1)).unwrap();
    drop(object);
    heap.collect();
    assert_eq!(drain(&mut heap), (1, 0));
    assert_eq!(heap.stats().roots, 1);
    drop(kept);
}

thread_local! {
    /// Payloads that batches ran, in order, on this thread.
    static SENT: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

fn sent(id: u32) {
    SENT.with_borrow_mut(|sent| sent.push(id));
    assert!(id != 13, "unlucky");
}

#[test]
fn rule_23_cleanups_without_roots_run_on_another_thread_in_order_and_isolated() {
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    let log = log();
    let object = heap.alloc(0_u8);
    for id in 10..16 {
        heap.cleanup_send(&object, id, sent).unwrap();
        heap.cleanup(&object, (log.clone(), id), note).unwrap();
    }
    let labelled = heap.enter(|cx| cx.cleanup_send(object.get(cx), 13, sent).unwrap());
    heap.set_label(labelled, "the second unlucky one");
    drop(object);
    assert!(heap.drain_send(usize::MAX).is_empty(), "nothing is queued yet");
    heap.collect();
    let (first, rest) = (heap.drain_send(3), heap.drain_send(usize::MAX));
    assert_eq!((first.len(), rest.len(), heap.stats().callbacks_sent), (3, 4, 7));
    assert_eq!(heap.stats().queued_cleanups, 6);
    let (reports, order) = std::thread::spawn(|| ([first.run(), rest.run()], SENT.take())).join().unwrap();
    assert_eq!(order, [13, 15, 14, 13, 12, 11, 10]);
    assert_eq!(reports.each_ref().map(|report| (report.ran, report.failures.len())), [(3, 1), (4, 1)]);
    assert_eq!(reports[0].failures[0].label, Some("the second unlucky one"));
    assert_eq!(reports[1].failures[0].message.as_deref(), Some("unlucky"));
    assert_eq!(drain(&mut heap), (6, 0));
    assert_eq!(entries(&log), [15, 14, 13, 12, 11, 10]);
    assert_eq!((heap.stats().queued_cleanups, heap.stats().panics), (0, 0));
}

#[test]
fn rule_23_a_drain_that_comes_first_runs_them_here_and_they_can_be_cancelled_and_dropped() {
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    let held = std::sync::Arc::new(());
    let object = heap.alloc(0_u8);
    let mut ids: Vec<_> =
        (0..4).map(|_| heap.cleanup_send(&object, std::sync::Arc::clone(&held), drop).unwrap()).collect();
    assert_eq!(std::sync::Arc::strong_count(&held), 5);
    assert!(heap.peek(ids[0]).is_some());
    drop(heap.cancel(ids.remove(0)).unwrap());
    assert!(heap.run_now(ids.remove(0)));
    assert_eq!(std::sync::Arc::strong_count(&held), 3);
    drop(object);
    heap.collect();
    assert!(ids.iter().all(|&id| heap.is_pending(id)));
    heap.drain(Budget::unlimited().callbacks(1)).unwrap();
    assert_eq!(std::sync::Arc::strong_count(&held), 2);
    let batch = heap.drain_send(usize::MAX);
    assert!(!ids.iter().any(|&id| heap.is_pending(id)));
    drop(heap);
    assert_eq!((batch.len(), std::sync::Arc::strong_count(&held)), (1, 2), "a batch outlives its heap");
    drop(batch);
    assert_eq!(std::sync::Arc::strong_count(&held), 1);
}

#[test]
fn rule_15_a_million_queued_callbacks_drain_with_no_step_above_its_budget() {
    const COUNT: usize = 1_000_000;
    const STEP: usize = 10_000;
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    let ran = Rc::new(Cell::new(0));
    heap.enter(|cx| {
        for id in 0..COUNT {
            let object = cx.alloc(id);
            if id % 4 == 0 {
                let weak = object.downgrade(cx);
                let count = |_: &mut Heap, _, ran: Opaque<Rc<Cell<usize>>>| ran.set(ran.get() + 1);
                cx.notify(weak, Opaque(Rc::clone(&ran)), count).unwrap();
            } else {
                let count = |_: &mut Heap, ran: Opaque<Rc<Cell<usize>>>| ran.set(ran.get() + 1);
                cx.cleanup(object, Opaque(Rc::clone(&ran)), count).unwrap();
            }
        }
    });
    heap.collect();
    let stats = heap.stats();
    assert_eq!((stats.queued_cleanups, stats.queued_notifications), (COUNT / 4 * 3, COUNT / 4));
    let mut steps = 0;
    loop {
        let before = ran.get();
        let report = heap.drain(Budget::unlimited().callbacks(STEP)).unwrap();
        assert_eq!((report.ran, report.ran), (ran.get() - before, STEP.min(COUNT - before)));
        steps += 1;
        if report.left == 0 {
            break;
        }
    }
    assert_eq!((ran.get(), steps), (COUNT, COUNT / STEP));
    heap.collect();
    assert_eq!(heap.stats().finalizer_bytes, 0, "the tables are given back");
}

#[test]
fn a_callback_made_silent_by_hand_and_one_called_early_leave_the_order_of_the_rest() {
    // Called by hand, cancelled, then death runs what is left, newest first.
    let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
    let log = log();
    let object = heap.alloc(0_u8);
    let ids: Vec<_> = (1..=5).map(|id| heap.cleanup(&object, (log.clone(), id), note).unwrap()).collect();
    assert!(heap.run_now(ids[1]) && heap.cancel(ids[3]).is_some());
    assert_eq!(entries(&log), [2]);
    drop(object);
    heap.collect();
    drain(&mut heap);
    assert_eq!(entries(&log), [2, 5, 3, 1]);
}

#[test]
fn a_resurrected_object_is_finalized_once_and_other_garbage_is_freed_meanwhile() {
    let mut heap = Heap::new();
    let [a, b] = [1, 2].map(|id| node(&mut heap, id));
    link(&mut heap, &a, &b);
    heap.guard(&a, 0).unwrap();
    let weak = heap.downgrade(&a);
    drop((a, b));
    heap.collect();
    let (back, _) = guarded_node(&mut heap).unwrap();
    for id in 0..100 {
        node(&mut heap, id);
    }
    heap.collect();
    assert_eq!(heap.stats().live_objects, 2, "it and what it leads to");
    drop(back);
    heap.collect();
    assert!(heap.next_guarded().is_none(), "once for each registration");
    assert!(heap.is_dead(weak));
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn trap_26_an_object_kept_by_the_one_that_goes_through_a_list_is_dead_after_it_moved_on() {
    let mut heap = Heap::new();
    let objects: Vec<_> = (0..10).map(|id| heap.alloc(id)).collect();
    let weak: Vec<_> = objects.iter().map(|object| heap.downgrade(object)).collect();
    drop(objects);
    let mut current = heap.upgrade(weak[0]);
    for position in 0..10 {
        heap.collect();
        let alive = weak.iter().filter(|&&weak| !heap.is_dead(weak)).count();
        assert_eq!(alive, usize::from(current.is_some()), "at {position}, the one in hand and no other");
        current = weak.get(position + 1).and_then(|&weak| heap.upgrade(weak));
    }
}

/// In whatever order objects die, and however many batches wait: the order of the queue is that of the rule.
#[test]
fn rule_12_the_order_holds_for_any_order_of_death_and_any_number_of_waiting_batches() {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 20) as usize % below
    };
    for round in 0..60 {
        let mut heap = Heap::with_config(Config::default().auto_drain(AutoDrain::Off));
        let log = log();
        let count = [5, 40, 1000][round % 3];
        let mut objects: Vec<_> = (0..count).map(|id| Some(node(&mut heap, id as u32))).collect();
        let owner = node(&mut heap, 0);
        // Objects and the numbers of their registrations.
        let mut registered = Vec::new();
        for number in 0..count as u32 * 2 {
            let index = next(count);
            let object = objects[index].as_ref().unwrap();
            let weak = heap.downgrade(object);
            let told = |_: &mut Heap, _, (log, id): (Log, u32)| log.borrow_mut().push(id);
            match next(4) {
                0 => {
                    heap.notify(weak, (log.clone(), number), told).unwrap();
                }
                1 => {
                    heap.notify_owned(weak, &owner, (log.clone(), number), told).unwrap();
                }
                kind => {
                    let id = heap.cleanup(object, (log.clone(), number), note).unwrap();
                    if kind == 2 && next(8) == 0 {
                        // Its entry is used again, so that the order of entries is not that of numbers.
                        heap.cancel(id);
                        continue;
                    }
                }
            }
            registered.push((index, number));
        }
        let mut expected_batches = Vec::new();
        while objects.iter().any(Option::is_some) {
            let mut dead = HashSet::new();
            for _ in 0..1 + next(count) {
                let index = next(count);
                if objects[index].take().is_some() {
                    dead.insert(index);
                }
            }
            heap.collect();
            let batch: HashSet<u32> =
                registered.iter().filter(|(index, _)| dead.contains(index)).map(|&(_, number)| number).collect();
            expected_batches.push(batch);
            if next(3) == 0 {
                heap.drain(Budget::unlimited().callbacks(next(50))).unwrap();
            }
        }
        drain(&mut heap);
        let ran = entries(&log);
        assert_eq!(ran.len(), registered.len());
        let mut rest = &ran[..];
        for batch in expected_batches {
            let (ours, others) = rest.split_at(batch.len());
            assert_eq!(ours.iter().copied().collect::<HashSet<_>>(), batch);
            // Newest first twice: cleanups, then notifications.
            assert!(ours.windows(2).filter(|pair| pair[0] < pair[1]).count() <= 1, "{ours:?}");
            rest = others;
        }
    }
}

#[test]
fn rule_20_a_hundred_thousand_cleanups_run_at_shutdown_in_order_and_in_time() {
    let mut heap = Heap::new();
    let log = log();
    let object = heap.alloc(0_u8);
    let ids: Vec<_> = (0..100_000).map(|id| heap.cleanup(&object, (log.clone(), id), note).unwrap()).collect();
    for &id in &ids {
        assert!(heap.set_at_shutdown(id, true));
    }
    // Those that changed their mind, or were cancelled, do not run.
    heap.set_at_shutdown(ids[7], false);
    heap.cancel(ids[9]);
    heap.set_at_shutdown(ids[11], false);
    heap.set_at_shutdown(ids[11], true);
    assert_eq!(heap.shutdown(ShutdownOptions::default()).unwrap().at_shutdown, 99_998);
    assert!(entries(&log).into_iter().eq((0..100_000).rev().filter(|id| ![7, 9].contains(id))));
}
