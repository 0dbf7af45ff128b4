//! The rules of notifications: who is told of a death, when, in which order, and who is not.

use std::cell::RefCell;
use std::rc::Rc;

use lacuna::{
    AutoDrain, Budget, Config, FailureKind, Gc, GcCell, Heap, Notification, Opaque, RegisterFailure, Retained, Root,
    ShutdownOptions, Trace, Weak,
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

type Log = Opaque<Rc<RefCell<Vec<u32>>>>;

fn log() -> Log {
    Opaque::default()
}

fn note(_: &mut Heap, (log, id): (Log, u32)) {
    log.borrow_mut().push(id);
}

fn told(_: &mut Heap, _: Notification<(Log, u32)>, (log, id): (Log, u32)) {
    log.borrow_mut().push(id);
}

fn entries(log: &Log) -> Vec<u32> {
    std::mem::take(&mut log.borrow_mut())
}

/// A heap in which nothing runs before it is drained.
fn quiet() -> Heap {
    Heap::with_config(Config::default().auto_drain(AutoDrain::Off))
}

fn drain(heap: &mut Heap) -> (usize, usize) {
    let report = heap.drain(Budget::unlimited()).unwrap();
    (report.ran, report.panicked)
}

/// Collects and drains; returns how many callbacks ran.
fn settle(heap: &mut Heap) -> usize {
    heap.collect();
    heap.verify().unwrap();
    drain(heap).0
}

#[test]
fn rule_14_a_notification_is_told_once_when_the_reference_has_died() {
    let mut heap = quiet();
    let log = log();
    let object = heap.alloc(String::from("observed"));
    let weak = heap.downgrade(&object);
    type Payload = (Log, Weak<String>);
    let id = heap
        .notify(weak, (log.clone(), weak), |heap, id: Notification<Payload>, (log, weak)| {
            assert!(heap.is_dead(weak), "it reads dead inside");
            assert!(!heap.is_pending(id) && heap.peek(id).is_none() && heap.cancel(id).is_none());
            log.borrow_mut().push(1);
        })
        .unwrap();
    assert_eq!(settle(&mut heap), 0);
    assert!(heap.is_pending(id));
    drop(object);
    heap.collect();
    assert_eq!((heap.stats().queued_notifications, heap.stats().last.notifications_queued), (1, 1));
    assert_eq!(drain(&mut heap), (1, 0));
    assert_eq!(entries(&log), [1]);
    assert_eq!(settle(&mut heap), 0, "once");
    assert_eq!((heap.stats().weak_slots, heap.stats().armed), (0, 0));
}

#[test]
fn rule_14_the_callback_gets_the_id_that_registration_returned() {
    let mut heap = quiet();
    let object = heap.alloc(0_u8);
    let weak = heap.downgrade(&object);
    thread_local!(static GOT: RefCell<Vec<Notification<u32>>> = const { RefCell::new(Vec::new()) });
    let ids: Vec<_> = (0..3)
        .map(|number| heap.notify(weak, number, |_, id, _: u32| GOT.with_borrow_mut(|got| got.push(id))).unwrap())
        .collect();
    drop(object);
    settle(&mut heap);
    assert_eq!(GOT.take(), ids.into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn rule_14_all_references_are_dead_before_any_callback_runs() {
    let mut heap = quiet();
    let log = log();
    let objects: Vec<_> = (0..10).map(|id| heap.alloc(id)).collect();
    let weak: Vec<Weak<i32>> = objects.iter().map(|object| heap.downgrade(object)).collect();
    for &one in &weak {
        let payload = (log.clone(), Opaque(weak.clone()));
        heap.notify(one, payload, |heap, _, (log, weak)| {
            assert!(weak.iter().all(|&weak| heap.is_dead(weak)));
            log.borrow_mut().push(0);
        })
        .unwrap();
    }
    drop(objects);
    assert_eq!(settle(&mut heap), 10);
    assert_eq!(heap.stats().panics, 0);
}

#[test]
fn rule_14_an_owner_that_lives_is_told() {
    let mut heap = quiet();
    let log = log();
    let [owner, target] = [1, 2].map(|id| node(&mut heap, id));
    let weak = heap.downgrade(&target);
    heap.notify_owned(weak, &owner, (log.clone(), 1), told).unwrap();
    heap.enter(|cx| cx.notify_owned(weak, owner.get(cx), (log.clone(), 2), told).unwrap());
    heap.enter(|cx| cx.notify(weak, (log.clone(), 3), told).unwrap());
    drop(target);
    assert_eq!(settle(&mut heap), 3);
    assert_eq!(entries(&log), [3, 2, 1]);
    drop(owner);
    assert_eq!(settle(&mut heap), 0);
    assert_eq!(heap.stats().weak_slots, 0);
}

#[test]
fn rule_14_an_owner_that_dies_first_takes_the_notification_with_it() {
    let mut heap = quiet();
    let log = log();
    let held = Rc::new(());
    let [owner, target] = [1, 2].map(|id| node(&mut heap, id));
    let weak = heap.downgrade(&target);
    type Payload = (Log, Opaque<Rc<()>>);
    let payload = (log.clone(), Opaque(Rc::clone(&held)));
    let id = heap.notify_owned(weak, &owner, payload, |_, _, (log, _): Payload| log.borrow_mut().push(1)).unwrap();
    heap.notify(weak, (log.clone(), 2), told).unwrap();
    drop(owner);
    heap.collect();
    assert!(!heap.is_pending(id), "silenced");
    assert_eq!(Rc::strong_count(&held), 1, "its payload is dropped at the end of the collection");
    assert_eq!((heap.stats().notifications_silenced, heap.stats().last.notifications_silenced), (1, 1));
    assert_eq!(heap.stats().armed, 1);
    drop(target);
    assert_eq!(settle(&mut heap), 1);
    assert_eq!(entries(&log), [2]);
}

#[test]
fn rule_14_an_owner_found_unreachable_with_its_target_is_not_told() {
    let mut heap = quiet();
    let log = log();
    let [owner, target] = [1, 2].map(|id| node(&mut heap, id));
    let weak = heap.downgrade(&target);
    heap.notify_owned(weak, &owner, (log.clone(), 1), told).unwrap();
    heap.notify(weak, (log.clone(), 2), told).unwrap();
    drop((owner, target));
    assert_eq!(settle(&mut heap), 1);
    assert_eq!(entries(&log), [2], "whoever is outside is told");
}

#[test]
fn rule_14_a_garbage_owner_stays_silent_though_a_guardian_brings_it_back() {
    let mut heap = quiet();
    let log = log();
    let [owner, target] = [1, 2].map(|id| node(&mut heap, id));
    let weak = heap.downgrade(&target);
    heap.notify_owned(weak, &owner, (log.clone(), 1), told).unwrap();
    heap.guard(&owner, 0).unwrap();
    drop((owner, target));
    heap.collect();
    let owner = heap.next_guarded().unwrap();
    assert!(heap.is_dead(weak));
    assert_eq!(settle(&mut heap), 0);
    assert_eq!(heap.stats().notifications_silenced, 1);
    drop(owner);
    assert_eq!(settle(&mut heap), 0);
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn rule_14_a_notification_is_told_though_a_guardian_brings_the_target_back() {
    let mut heap = quiet();
    let log = log();
    let target = node(&mut heap, 1);
    let weak = heap.downgrade(&target);
    heap.notify(weak, (log.clone(), 1), told).unwrap();
    heap.cleanup(&target, (log.clone(), 2), note).unwrap();
    heap.guard(&target, 0).unwrap();
    drop(target);
    assert_eq!(settle(&mut heap), 1);
    assert_eq!(entries(&log), [1], "its short references died; it did not");
    let target: NodeRoot = heap.next_guarded().unwrap().object.downcast().unwrap();
    assert_eq!(heap.notify(weak, (log.clone(), 3), told).unwrap_err().reason(), RegisterFailure::Dead);
    let again = heap.downgrade(&target);
    heap.notify(again, (log.clone(), 4), told).unwrap();
    drop(target);
    assert_eq!(settle(&mut heap), 2);
    assert_eq!(entries(&log), [2, 4]);
}

#[test]
fn rule_14_an_object_may_own_the_notification_of_its_own_death_and_is_not_told() {
    let mut heap = quiet();
    let log = log();
    let object = node(&mut heap, 1);
    let weak = heap.downgrade(&object);
    for id in 0..3 {
        heap.notify_owned(weak, &object, (log.clone(), id), told).unwrap();
        heap.cleanup(&object, (log.clone(), 10 + id), note).unwrap();
    }
    drop(object);
    assert_eq!(settle(&mut heap), 3);
    assert_eq!(entries(&log), [12, 11, 10]);
    assert_eq!(heap.stats().notifications_silenced, 3);
}

#[test]
fn rule_14_a_dead_or_null_reference_is_an_error_that_gives_the_payload_back() {
    let (mut heap, mut other) = (quiet(), quiet());
    let object = heap.alloc(1_u8);
    let weak = heap.downgrade(&object);
    let foreign = other.alloc(1_u8);
    let reason = |result: Result<Notification<String>, lacuna::RegisterError<String>>| {
        let error = result.unwrap_err();
        let reason = error.reason();
        assert_eq!(error.into_payload(), "payload");
        reason
    };
    let payload = || String::from("payload");
    let nothing = |_: &mut Heap, _, _: String| ();
    assert_eq!(reason(other.notify(weak, payload(), nothing)), RegisterFailure::WrongHeap);
    assert_eq!(reason(heap.notify_owned(weak, &foreign, payload(), nothing)), RegisterFailure::WrongHeap);
    assert_eq!(reason(heap.notify(Weak::<u8>::null(), payload(), nothing)), RegisterFailure::Dead);
    drop(object);
    heap.collect();
    assert_eq!(reason(heap.notify(weak, payload(), nothing)), RegisterFailure::Dead);
    assert_eq!(reason(heap.enter(|cx| cx.notify(weak, payload(), nothing))), RegisterFailure::Dead);
    heap.shutdown(ShutdownOptions::default()).unwrap();
    assert_eq!(reason(heap.notify(weak, payload(), nothing)), RegisterFailure::Closed);
}

#[test]
fn rule_12_within_a_batch_cleanups_come_before_notifications_and_the_newest_first() {
    let mut heap = quiet();
    let log = log();
    let objects: Vec<_> = (0..6).map(|id| node(&mut heap, id)).collect();
    let owner = node(&mut heap, 9);
    for (id, object) in [0, 3, 1, 4, 2, 5, 0, 3].into_iter().enumerate() {
        let weak = heap.downgrade(&objects[object]);
        heap.notify(weak, (log.clone(), 100 + id as u32), told).unwrap();
        heap.cleanup(&objects[object], (log.clone(), id as u32), note).unwrap();
        heap.notify_owned(weak, &owner, (log.clone(), 200 + id as u32), told).unwrap();
    }
    let mut objects = objects.into_iter();
    drop(objects.by_ref().take(3).collect::<Vec<_>>());
    heap.collect();
    drop(objects);
    heap.collect();
    assert_eq!(drain(&mut heap), (24, 0));
    let batch = |ids: [u32; 4]| {
        let notifications = ids.into_iter().flat_map(|id| [200 + id, 100 + id]);
        ids.into_iter().chain(notifications).collect::<Vec<_>>()
    };
    assert_eq!(entries(&log), [batch([6, 4, 2, 0]), batch([7, 5, 3, 1])].concat());
}

#[test]
fn rule_16_a_notification_that_panics_is_reported_and_the_others_run() {
    let mut heap = quiet();
    let failures: Rc<RefCell<Vec<_>>> = Rc::default();
    let seen = Rc::clone(&failures);
    heap.on_error(move |failure| {
        seen.borrow_mut().push((failure.kind, failure.registration, failure.label, failure.message.clone()));
    });
    let log = log();
    let object = heap.alloc(0_u8);
    let weak = heap.downgrade(&object);
    heap.notify(weak, (log.clone(), 1), told).unwrap();
    let bad = heap.notify(weak, 17, |_, _, number: i32| std::panic::panic_any(format!("observer {number}"))).unwrap();
    assert!(heap.set_label(bad, "redraw"));
    heap.notify(weak, (log.clone(), 3), told).unwrap();
    drop(object);
    heap.collect();
    assert_eq!(drain(&mut heap), (3, 1));
    assert_eq!(entries(&log), [3, 1]);
    let expected = (FailureKind::Notification, Some(bad.id()), Some("redraw"), Some(String::from("observer 17")));
    assert_eq!(*failures.borrow(), [expected]);
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::panic_any("the payload of the silenced");
    }
}

#[test]
fn rule_16_the_payload_of_a_silenced_notification_may_panic() {
    let mut heap = quiet();
    let failures: Rc<RefCell<Vec<_>>> = Rc::default();
    let seen = Rc::clone(&failures);
    heap.on_error(move |failure| {
        assert_eq!((failure.kind, failure.label), (FailureKind::Drop, Some("bomb")));
        seen.borrow_mut().push(failure.registration);
    });
    let mut registered = Vec::new();
    let [owner, target] = [1, 2].map(|id| node(&mut heap, id));
    let weak = heap.downgrade(&target);
    for _ in 0..3 {
        let id = heap.notify_owned(weak, &owner, Opaque(Bomb), |_, _, _| ()).unwrap();
        heap.set_label(id, "bomb");
        registered.push(id.id());
    }
    drop(owner);
    heap.collect();
    assert!(registered.iter().all(|&id| failures.borrow().contains(&Some(id))));
    assert_eq!((failures.borrow().len(), heap.stats().panics, heap.stats().notifications_silenced), (3, 3, 3));
    heap.verify().unwrap();
}

#[test]
fn rule_17_what_a_silenced_payload_roots_is_strong_until_it_is_dropped_with_it() {
    let mut heap = quiet();
    let [owner, target, rooted] = [1, 2, 3].map(|id| node(&mut heap, id));
    let (weak, seen) = (heap.downgrade(&target), heap.downgrade(&rooted));
    heap.notify_owned(weak, &owner, rooted, |_, _, _| ()).unwrap();
    drop(owner);
    heap.collect();
    assert!(!heap.is_dead(seen), "it was rooted when the marking ended");
    heap.collect();
    assert!(heap.is_dead(seen));
}

#[test]
fn rule_18_a_payload_that_holds_the_target_is_an_error_and_one_that_leads_to_the_owner_is_found() {
    let mut heap = quiet();
    let [owner, target, way] = [1, 2, 3].map(|id| node(&mut heap, id));
    let weak = heap.downgrade(&target);
    let error = heap.notify(weak, target.clone(), |_, _, _| ()).unwrap_err();
    assert_eq!(error.reason(), RegisterFailure::SelfRetention);
    drop(error);
    link(&mut heap, &way, &owner);
    assert!(heap.check_registrations().is_empty());
    let id = heap.notify_owned(weak, &owner, way.clone(), |_, _, _| ()).unwrap();
    heap.set_label(id, "observer");
    let found = heap.check_registrations();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].label, found[0].retains, found[0].path.types().len()), (Some("observer"), Retained::Owner, 2));
    // The owner lives until it was told.
    let alive = heap.downgrade(&owner);
    drop((owner, way));
    settle(&mut heap);
    assert!(!heap.is_dead(alive));
    drop(target);
    assert_eq!(settle(&mut heap), 1);
    settle(&mut heap);
    assert!(heap.is_dead(alive));
}

#[test]
fn rule_18_a_way_back_through_a_root_inside_an_object_is_found() {
    let mut heap = quiet();
    let target = heap.alloc(String::from("target"));
    let holder = heap.alloc(Some(target.clone()));
    let outer = heap.alloc(vec![holder.clone()]);
    let id = heap.cleanup(&target, outer, |_, _| ()).unwrap();
    heap.set_label(id, "three roots");
    let found = heap.check_registrations();
    assert_eq!((found.len(), found[0].label, found[0].retains), (1, Some("three roots"), Retained::Target));
    let path = found[0].path.types();
    assert!(path.len() == 3 && path[2].contains("String"), "{path:?}");
    // The root of another heap is no way back.
    let mut other = Heap::new();
    let foreign = other.alloc(0_u8);
    let innocent = heap.alloc(1_u8);
    let holder = heap.alloc(foreign);
    heap.cleanup(&innocent, holder, |_, _| ()).unwrap();
    assert_eq!(heap.check_registrations().len(), 1);
}

#[test]
fn rule_19_a_notification_is_cancelled_or_run_at_once_while_armed_and_while_queued_and_at_most_once() {
    for owned in [false, true] {
        let mut heap = quiet();
        let log = log();
        let [target, owner] = [0, 1].map(|id| node(&mut heap, id));
        let weak = heap.downgrade(&target);
        let ids: Vec<_> = (0..4)
            .map(|id| match owned {
                false => heap.notify(weak, (log.clone(), id), told).unwrap(),
                true => heap.notify_owned(weak, &owner, (log.clone(), id), told).unwrap(),
            })
            .collect();
        let check = |heap: &mut Heap, cancelled: usize, run: usize| {
            let (cancelled, run, id) = (ids[cancelled], ids[run], cancelled as u32);
            assert!(heap.is_pending(cancelled) && heap.is_pending(run));
            assert!(heap.set_at_shutdown(run, true));
            assert_eq!(heap.peek(cancelled).unwrap().1, id);
            assert_eq!(heap.cancel(cancelled).unwrap().1, id);
            assert!(heap.run_now(run));
            assert_eq!(entries(&log), [id + 1]);
            for id in [cancelled, run] {
                assert!(!heap.is_pending(id) && heap.peek(id).is_none());
                assert!(heap.cancel(id).is_none() && !heap.run_now(id) && !heap.set_at_shutdown(id, true));
            }
            heap.verify().unwrap();
        };
        check(&mut heap, 0, 1);
        assert_eq!(heap.stats().armed, 2);
        drop(target);
        heap.collect();
        assert_eq!(heap.stats().queued_notifications, 2);
        check(&mut heap, 2, 3);
        assert_eq!(drain(&mut heap), (0, 0));
        assert_eq!((heap.stats().callbacks_run, heap.stats().cancelled), (2, 2));
        drop(owner);
        settle(&mut heap);
        assert_eq!((heap.stats().weak_slots, heap.stats().notifications_silenced), (0, 0));
    }
}

#[test]
fn rule_19_a_queued_notification_is_told_though_its_owner_dies_before_the_drain() {
    let mut heap = quiet();
    let log = log();
    let [target, owner] = [0, 1].map(|id| node(&mut heap, id));
    let weak = heap.downgrade(&target);
    heap.notify_owned(weak, &owner, (log.clone(), 1), told).unwrap();
    drop(target);
    heap.collect();
    drop(owner);
    assert_eq!(settle(&mut heap), 1, "the owner was reachable when the target died");
    assert_eq!(entries(&log), [1]);
}

#[test]
fn rule_20_a_notification_runs_at_shutdown_if_it_was_asked_to() {
    let mut heap = quiet();
    let log = log();
    let object = heap.alloc(String::from("alive"));
    let weak = heap.downgrade(&object);
    let chosen = heap
        .notify(weak, (log.clone(), weak), |heap, _, (log, weak)| {
            assert!(!heap.is_dead(weak), "references are still valid");
            log.borrow_mut().push(1);
        })
        .unwrap();
    heap.notify(weak, (log.clone(), 2), told).unwrap();
    assert!(heap.set_at_shutdown(chosen, true));
    let cleanup = heap.cleanup(&object, (log.clone(), 3), note).unwrap();
    heap.set_at_shutdown(cleanup, true);
    assert_eq!(heap.shutdown(ShutdownOptions::default()).unwrap().at_shutdown, 2);
    assert_eq!(entries(&log), [3, 1], "newest first, of whatever kind");
}

#[test]
fn rule_20_a_heap_that_is_dropped_drops_payloads_of_notifications_in_every_state() {
    let held = Rc::new(());
    let log = log();
    let mut heap = quiet();
    let [target, dead, owner] = [0, 1, 2].map(|id| node(&mut heap, id));
    for object in [&target, &dead] {
        let weak = heap.downgrade(object);
        let payload = || (log.clone(), Opaque(Rc::clone(&held)));
        type Payload = (Log, Opaque<Rc<()>>);
        let callback = |_: &mut Heap, _, (log, _): Payload| log.borrow_mut().push(1);
        heap.notify(weak, payload(), callback).unwrap();
        heap.notify_owned(weak, &owner, payload(), callback).unwrap();
    }
    drop(dead);
    heap.collect();
    assert_eq!(Rc::strong_count(&held), 5);
    drop(heap);
    assert_eq!(Rc::strong_count(&held), 1);
    assert_eq!(entries(&log), []);
    drop((target, owner));
}

#[test]
fn rule_26_statistics_tell_what_was_queued_run_cancelled_and_silenced() {
    let mut heap = quiet();
    let log = log();
    let [owner, a, b] = [0, 1, 2].map(|id| node(&mut heap, id));
    let [weak_a, weak_b] = [&a, &b].map(|object| heap.downgrade(object));
    heap.notify_owned(weak_a, &owner, (log.clone(), 0), told).unwrap();
    heap.notify(weak_a, (log.clone(), 1), told).unwrap();
    heap.notify(weak_b, 2, |_, _, _: i32| panic!("told")).unwrap();
    let cancelled = heap.notify(weak_b, (log.clone(), 3), told).unwrap();
    let external = heap.cleanup(&a, (log.clone(), 4), note).unwrap();
    heap.set_external(external, 777);
    heap.guard(&b, 0).unwrap();
    assert_eq!(heap.stats().armed, 6);
    heap.cancel(cancelled);
    drop((owner, a, b));
    heap.collect();
    let stats = heap.stats();
    let last = stats.last;
    assert_eq!((last.cleanups_queued, last.guardians_queued), (1, 1));
    assert_eq!((last.notifications_queued, last.notifications_silenced), (2, 1));
    assert_eq!((last.external_released, last.cancelled, last.callbacks_run), (777, 1, 0));
    assert_eq!((last.short_cleared, last.long_cleared), (3, 2));
    assert_eq!((stats.batches, stats.callbacks_queued, stats.notifications_silenced), (1, 3, 1));
    assert_eq!((stats.queued_cleanups, stats.queued_notifications, stats.oldest_age_in_cycles), (1, 2, 0));
    heap.collect();
    assert_eq!((heap.stats().batches, heap.stats().oldest_age_in_cycles), (1, 1));
    assert_eq!(drain(&mut heap), (3, 1));
    let stats = heap.stats();
    assert_eq!((stats.callbacks_run, stats.callbacks_panicked, stats.cancelled), (3, 1, 1));
    assert_eq!((stats.queued_notifications, stats.oldest_age_in_cycles), (0, 0));
    heap.collect();
    let last = heap.stats().last;
    assert_eq!((last.callbacks_run, last.callbacks_panicked, last.cancelled), (3, 1, 0));
    assert_eq!(entries(&log), [4, 1]);
}

#[test]
fn callbacks_in_a_garbage_cycle_are_silent_whatever_leads_to_what() {
    // By which way the owner, the target and a bystander lead to each other.
    let ways: [&[(usize, usize)]; 4] = [&[], &[(0, 1), (1, 0)], &[(0, 1)], &[(0, 2), (2, 1), (1, 0)]];
    for way in ways {
        let mut heap = Heap::with_config(Config::default().zeal(true).auto_drain(AutoDrain::Off));
        let log = log();
        let nodes: Vec<_> = (0..3).map(|id| node(&mut heap, id)).collect();
        way.iter().for_each(|&(from, to)| link(&mut heap, &nodes[from], &nodes[to]));
        let weak = heap.downgrade(&nodes[1]);
        heap.notify_owned(weak, &nodes[0], (log.clone(), 1), told).unwrap();
        drop(nodes);
        assert_eq!(settle(&mut heap), 0, "{way:?}");
        assert_eq!(heap.stats().live_objects, 0);
    }
}

#[test]
fn an_owner_that_reaches_the_target_and_lives_keeps_it_from_dying_and_an_outside_one_is_told_of_a_cycle() {
    let mut heap = quiet();
    let log = log();
    let [owner, target, outside] = [0, 1, 2].map(|id| node(&mut heap, id));
    link(&mut heap, &owner, &target);
    link(&mut heap, &target, &owner);
    let weak = heap.downgrade(&target);
    heap.notify_owned(weak, &owner, (log.clone(), 1), told).unwrap();
    heap.notify_owned(weak, &outside, (log.clone(), 2), told).unwrap();
    drop(target);
    assert_eq!(settle(&mut heap), 0);
    drop(owner);
    assert_eq!(settle(&mut heap), 1);
    assert_eq!(entries(&log), [2]);
    assert_eq!(settle(&mut heap), 0);
}

#[test]
fn notifications_on_owners_of_notifications_are_silent_inside_and_told_outside() {
    let mut heap = quiet();
    let log = log();
    let [a, b, c, outside] = [0, 1, 2, 3].map(|id| node(&mut heap, id));
    let [wa, wb, wc] = [&a, &b, &c].map(|object| heap.downgrade(object));
    heap.notify_owned(wa, &b, (log.clone(), 1), told).unwrap();
    heap.notify_owned(wb, &c, (log.clone(), 2), told).unwrap();
    heap.notify_owned(wc, &a, (log.clone(), 3), told).unwrap();
    heap.notify_owned(wb, &outside, (log.clone(), 4), told).unwrap();
    drop((a, b, c));
    assert_eq!(settle(&mut heap), 1);
    assert_eq!(entries(&log), [4]);
    assert_eq!(heap.stats().notifications_silenced, 3);
}

#[test]
fn an_observer_of_two_objects_is_told_by_each_and_cancels_the_other() {
    let mut heap = quiet();
    let log = log();
    type Ids = Opaque<Rc<RefCell<Vec<Notification<Both>>>>>;
    #[derive(Trace)]
    struct Both(Log, Ids);
    fn first(heap: &mut Heap, id: Notification<Both>, Both(log, ids): Both) {
        for other in ids.take().into_iter().filter(|&other| other != id) {
            assert!(heap.cancel(other).is_some());
        }
        log.borrow_mut().push(1);
    }
    for together in [false, true] {
        let (function, receiver) = (heap.alloc(1_u8), heap.alloc(2_u16));
        let ids: Ids = Opaque::default();
        let payload = || Both(log.clone(), ids.clone());
        let weak = (heap.downgrade(&function), heap.downgrade(&receiver));
        let made = vec![heap.notify(weak.0, payload(), first).unwrap(), heap.notify(weak.1, payload(), first).unwrap()];
        *ids.borrow_mut() = made;
        drop(function);
        if !together {
            settle(&mut heap);
        }
        drop(receiver);
        settle(&mut heap);
        assert_eq!(entries(&log), [1], "exactly once, whichever dies first");
        ids.take();
    }
}

#[test]
fn a_callback_may_observe_collect_and_register_again_and_nothing_is_told_twice() {
    let mut heap = quiet();
    let log = log();
    fn again(heap: &mut Heap, id: Notification<(Log, u32)>, (log, left): (Log, u32)) {
        heap.collect();
        assert!(!heap.is_pending(id));
        log.borrow_mut().push(left);
        if left > 0 {
            let object = heap.alloc(left);
            let weak = heap.downgrade(&object);
            heap.notify(weak, (log, left - 1), again).unwrap();
            drop(object);
            heap.collect();
        }
    }
    let object = heap.alloc(0_u8);
    let weak = heap.downgrade(&object);
    heap.notify(weak, (log.clone(), 5), again).unwrap();
    drop(object);
    heap.collect();
    assert_eq!(drain(&mut heap), (6, 0));
    assert_eq!(entries(&log), [5, 4, 3, 2, 1, 0]);
}

#[test]
fn a_reference_held_only_by_its_own_target_dies_with_it() {
    #[derive(Trace)]
    struct Holder<'gc> {
        own: GcCell<Weak<Holder<'static>>>,
        next: Option<Gc<'gc, u8>>,
    }
    let mut heap = quiet();
    let log = log();
    let object: Root<Holder<'static>> =
        heap.alloc_with::<Holder<'_>>(|_| Holder { own: GcCell::new(Weak::null()), next: None });
    let weak = heap.downgrade(&object);
    heap.enter(|cx| {
        let object = object.get(cx);
        object.set(cx, |holder| &holder.own, weak);
        assert!(object.next.is_none() && cx.upgrade(object.own.get()).is_some());
    });
    heap.notify_owned(weak, &object, (log.clone(), 1), told).unwrap();
    drop(object);
    assert_eq!(settle(&mut heap), 0);
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn trap_18_a_pause_that_queues_and_silences_thousands_uses_the_room_reserved_when_they_were_registered() {
    let mut heap = quiet();
    let owners = [node(&mut heap, 1), node(&mut heap, 2)];
    let objects: Vec<_> = (0..1000).map(|id| node(&mut heap, id)).collect();
    for object in &objects {
        let weak = heap.downgrade(object);
        heap.notify(weak, (), |_, _, ()| ()).unwrap();
        for owner in &owners {
            heap.notify_owned(weak, owner, (), |_, _, ()| ()).unwrap();
        }
        heap.cleanup(object, (), |_, ()| ()).unwrap();
    }
    let reserved = heap.stats().finalizer_bytes;
    let [kept, dropped] = owners;
    drop((objects, dropped));
    heap.collect();
    assert_eq!(heap.stats().finalizer_bytes, reserved);
    let stats = heap.stats();
    assert_eq!((stats.queued_notifications, stats.queued_cleanups, stats.notifications_silenced), (2000, 1000, 1000));
    drop(kept);
}

/// What a program knows of a registration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Cleanup,
    Notification { owner: Option<usize> },
    Guardian,
}

/// What is reached from some objects.
fn closure(edges: &[Vec<usize>], from: impl Iterator<Item = usize>) -> Vec<bool> {
    let mut reached = vec![false; edges.len()];
    let mut pending: Vec<usize> = from.collect();
    while let Some(object) = pending.pop() {
        if !std::mem::replace(&mut reached[object], true) {
            pending.extend(&edges[object]);
        }
    }
    reached
}

/// Random graphs and registrations, against the rules written down as sets.
#[test]
fn random_programs_queue_and_silence_what_the_rules_say() {
    #[derive(Trace)]
    struct Knot<'gc>(usize, GcCell<Option<Gc<'gc, Knot<'gc>>>>, GcCell<Option<Gc<'gc, Knot<'gc>>>>);
    const OBJECTS: usize = 12;

    let mut random = 0x1234_5678_9ABC_DEF1_u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 20) as usize % below
    };
    let mut total = [0; 4];
    for round in 0..400 {
        let config = Config::default().auto_drain(AutoDrain::Off).zeal(round % 4 == 0).collect_automatically(false);
        let mut heap = Heap::with_config(config);
        let log = log();
        let edges: Vec<Vec<usize>> =
            (0..OBJECTS).map(|_| (0..next(3)).map(|_| next(OBJECTS)).collect::<Vec<_>>()).collect();
        let mut roots: Vec<Option<Root<Knot<'static>>>> = heap.enter(|cx| {
            let knots: Vec<_> =
                (0..OBJECTS).map(|id| cx.alloc(Knot(id, GcCell::default(), GcCell::default()))).collect();
            for (id, targets) in edges.iter().enumerate() {
                for (position, &target) in targets.iter().enumerate() {
                    let knot = knots[id];
                    match position {
                        0 => knot.set(cx, |knot| &knot.1, Some(knots[target])),
                        _ => knot.set(cx, |knot| &knot.2, Some(knots[target])),
                    }
                }
            }
            knots.iter().map(|knot| Some(knot.root(cx))).collect()
        });
        // Zeal would collect in the middle of a step; the objects are all rooted until then.
        let mut armed: Vec<(usize, usize, Kind)> = Vec::new();
        for number in 0..30 {
            let (target, owner) = (next(OBJECTS), next(OBJECTS));
            let root = roots[target].as_ref().unwrap();
            let weak = heap.downgrade(root);
            let payload = (log.clone(), number as u32);
            let kind = match next(5) {
                0 => {
                    heap.cleanup(root, payload, note).unwrap();
                    Kind::Cleanup
                }
                1 => {
                    heap.notify(weak, payload, told).unwrap();
                    Kind::Notification { owner: None }
                }
                2 if next(2) == 0 => {
                    heap.guard(root, number).unwrap();
                    Kind::Guardian
                }
                _ => {
                    heap.notify_owned(weak, roots[owner].as_ref().unwrap(), payload, told).unwrap();
                    Kind::Notification { owner: Some(owner) }
                }
            };
            armed.push((number as usize, target, kind));
        }
        let (mut alive, mut silenced) = ([true; OBJECTS], 0);
        while alive.contains(&true) {
            for root in &mut roots {
                root.take_if(|_| next(3) == 0);
            }
            // The rules, as sets.
            let strong = closure(&edges, (0..OBJECTS).filter(|&id| roots[id].is_some()));
            let unreachable = |id: usize| alive[id] && !strong[id];
            let before = armed.len();
            armed.retain(
                |(_, _, kind)| !matches!(kind, Kind::Notification { owner: Some(owner) } if unreachable(*owner)),
            );
            silenced += before - armed.len();
            let take = |armed: &mut Vec<(usize, usize, Kind)>, wanted: &dyn Fn(usize, Kind) -> bool| -> Vec<_> {
                let taken: Vec<_> =
                    armed.iter().rev().filter(|(_, target, kind)| wanted(*target, *kind)).copied().collect();
                armed.retain(|(_, target, kind)| !wanted(*target, *kind));
                taken
            };
            let guarded = take(&mut armed, &|target, kind| kind == Kind::Guardian && unreachable(target));
            let told =
                take(&mut armed, &|target, kind| matches!(kind, Kind::Notification { .. }) && unreachable(target));
            let kept = closure(&edges, guarded.iter().map(|&(_, target, _)| target));
            let dead = |id: usize| unreachable(id) && !kept[id];
            let cleaned = take(&mut armed, &|target, kind| kind == Kind::Cleanup && dead(target));
            alive = std::array::from_fn(|id| alive[id] && !dead(id));

            heap.collect();
            assert_eq!(heap.stats().notifications_silenced as usize, silenced);
            assert_eq!(heap.stats().live_objects, alive.iter().filter(|&&alive| alive).count());
            assert_eq!(heap.stats().armed, armed.len());
            drain(&mut heap);
            let expected: Vec<u32> = cleaned.iter().chain(&told).map(|&(number, ..)| number as u32).collect();
            assert_eq!(entries(&log), expected, "round {round}");
            for &(number, target, _) in &guarded {
                let back = heap.next_guarded().unwrap();
                assert_eq!(back.tag, number as u64);
                let root: Root<Knot<'static>> = back.object.downcast().unwrap();
                assert_eq!(heap.with(&root, |knot| knot.0), target);
                if next(2) == 0 {
                    roots[target] = Some(root);
                }
            }
            assert!(heap.next_guarded().is_none());
            heap.verify().unwrap();
            for (sum, count) in total.iter_mut().zip([cleaned.len(), told.len(), guarded.len(), silenced]) {
                *sum += count;
            }
        }
        assert!(armed.is_empty());
    }
    assert!(total.iter().all(|&sum| sum > 400), "the programs show something of everything: {total:?}");
}

#[test]
fn rule_20_a_silenced_notification_does_not_run_at_shutdown() {
    let mut heap = quiet();
    let log = log();
    let [owner, target] = [0, 1].map(|id| node(&mut heap, id));
    let weak = heap.downgrade(&target);
    let silenced = heap.notify_owned(weak, &owner, (log.clone(), 1), told).unwrap();
    let told = heap.notify(weak, (log.clone(), 2), told).unwrap();
    assert!(heap.set_at_shutdown(silenced, true) && heap.set_at_shutdown(told, true));
    drop(owner);
    heap.collect();
    assert_eq!(heap.shutdown(ShutdownOptions::default()).unwrap().at_shutdown, 1);
    assert_eq!(entries(&log), [2]);
}
