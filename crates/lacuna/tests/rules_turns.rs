//! The rule of turns: what is observed in one stays alive to its end, and nothing is kept outside of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lacuna::{Budget, Config, Gc, Heap, Root, ShutdownOptions, Weak, WeakLong};

fn in_zeal() -> Heap {
    Heap::with_config(Config::default().zeal(true))
}

#[test]
fn rule_24_what_is_upgraded_in_a_turn_stays_alive_to_its_end() {
    let mut heap = Heap::new();
    let object = heap.alloc(String::from("object"));
    let (weak, long) = (heap.downgrade(&object), heap.downgrade_long(&object));
    let other = heap.alloc(1_u8);
    let (unseen, looked_at) = (heap.downgrade(&other), heap.downgrade_long(&other));
    let mut roots = Some((object, other));
    heap.turn(|heap| {
        assert!(heap.upgrade(weak).is_some());
        roots = None;
        for _ in 0..3 {
            heap.collect();
            assert!(!heap.is_dead(weak) && !heap.is_dead_long(long));
            heap.verify().unwrap();
        }
        assert!(heap.is_dead(unseen), "nobody upgraded it");
        assert_eq!(heap.stats().roots, 0, "what a turn keeps is not a root of the program");
    });
    assert!(!heap.is_dead(weak), "nothing was collected since");
    heap.collect();
    assert!(heap.is_dead(weak) && heap.is_dead_long(long) && heap.is_dead_long(looked_at));
    assert_eq!(heap.stats().live_objects, 0);
}

#[test]
fn rule_24_looking_keeps_nothing_alive() {
    let mut heap = Heap::new();
    let object = heap.alloc(1_u8);
    let weak = heap.downgrade(&object);
    heap.turn(|heap| {
        assert!(!heap.is_dead(weak) && heap.refers_to(weak, &object));
        assert!(heap.retaining_path(weak).is_some());
        heap.enter(|cx| assert!(!cx.is_dead(weak)));
        heap.notify(weak, (), |_, _, ()| ()).unwrap();
        drop(object);
        heap.collect();
        assert!(heap.is_dead(weak));
        assert!(heap.upgrade(weak).is_none());
        assert!(heap.upgrade(Weak::<u8>::null()).is_none() && heap.upgrade_long(WeakLong::<u8>::null()).is_none());
    });
}

#[test]
fn rule_24_what_is_observed_for_the_first_time_or_again_is_kept_also_in_scopes() {
    let mut heap = in_zeal();
    let before = heap.turn(|heap| {
        let made = heap.enter(|cx| {
            let long = cx.alloc(2_u16).downgrade_long(cx);
            let object: Gc<'_, str> = cx.alloc_str("text");
            (cx.alloc(1_u8).downgrade(cx), long, object.downgrade(cx))
        });
        let object = heap.alloc(3_u32);
        let direct = (heap.downgrade(&object), heap.downgrade_long(&object));
        drop(object);
        heap.collect();
        heap.enter(|cx| {
            assert_eq!(cx.upgrade(made.0).as_deref(), Some(&1));
            assert_eq!(cx.upgrade_long(made.1).as_deref(), Some(&2));
            assert_eq!(cx.upgrade(made.2).as_deref(), Some("text"));
            assert_eq!(cx.upgrade(direct.0).as_deref(), Some(&3));
        });
        assert!(!heap.is_dead_long(direct.1));
        made
    });
    heap.collect();
    heap.enter(|cx| assert!(cx.upgrade(before.0).is_none() && cx.upgrade_long(before.1).is_none()));
    assert_eq!(heap.stats().weak_slots, 0);
}

#[test]
fn rule_24_the_list_is_cleared_also_by_a_panic() {
    let mut heap = Heap::new();
    let object = heap.alloc(1_u8);
    let weak = heap.downgrade(&object);
    let mut object = Some(object);
    let result = catch_unwind(AssertUnwindSafe(|| {
        heap.turn(|heap| {
            heap.upgrade(weak).unwrap();
            object = None;
            heap.collect();
            assert!(!heap.is_dead(weak));
            std::panic::panic_any(7);
        });
    }));
    assert!(result.is_err());
    heap.collect();
    assert!(heap.is_dead(weak));
    // The fast paths are back.
    let object = heap.alloc(2_u8);
    let weak = heap.downgrade(&object);
    assert!(heap.upgrade(weak).is_some());
    drop(object);
    heap.collect();
    assert!(heap.is_dead(weak));
}

#[test]
fn rule_24_a_turn_within_a_turn_keeps_to_its_own_end() {
    let mut heap = Heap::new();
    let objects: Vec<Root<u8>> = (0..3).map(|id| heap.alloc(id)).collect();
    let weak: Vec<_> = objects.iter().map(|object| heap.downgrade(object)).collect();
    let mut objects = Some(objects);
    let alive = |heap: &Heap| weak.iter().map(|&weak| !heap.is_dead(weak)).collect::<Vec<_>>();
    heap.turn(|heap| {
        heap.upgrade(weak[0]).unwrap();
        heap.turn(|heap| {
            heap.upgrade(weak[0]).unwrap();
            heap.upgrade(weak[1]).unwrap();
            objects = None;
            heap.collect();
            assert_eq!(alive(heap), [true, true, false]);
        });
        heap.collect();
        assert_eq!(alive(heap), [true, false, false]);
        assert!(heap.upgrade(weak[0]).is_some());
    });
    heap.collect();
    assert_eq!(alive(&heap), [false; 3]);
}

#[test]
fn rule_24_what_a_guardian_brought_back_is_kept_by_its_new_references() {
    let mut heap = Heap::new();
    let object = heap.alloc(1_u8);
    heap.guard(&object, 0).unwrap();
    let old = heap.downgrade(&object);
    drop(object);
    let (short, long) = heap.turn(|heap| {
        heap.collect();
        let back = heap.next_guarded().unwrap().object.downcast::<u8>().unwrap();
        let made = (heap.downgrade(&back), heap.downgrade_long(&back));
        drop(back);
        heap.collect();
        assert!(!heap.is_dead(made.0) && !heap.is_dead_long(made.1) && heap.is_dead(old));
        made
    });
    heap.collect();
    assert!(heap.is_dead(short) && heap.is_dead_long(long));
}

#[test]
fn rule_24_callbacks_that_run_in_a_turn_are_part_of_it() {
    let mut heap = Heap::new();
    let (object, dying) = (heap.alloc(1_u8), heap.alloc(2_u8));
    let weak = heap.downgrade(&object);
    heap.cleanup(&dying, weak, |heap, weak| drop(heap.upgrade(weak).unwrap())).unwrap();
    drop(dying);
    heap.turn(|heap| {
        heap.collect();
        assert_eq!(heap.drain(Budget::unlimited()).unwrap().panicked, 0);
        drop(object);
        heap.collect();
        assert!(!heap.is_dead(weak));
    });
    heap.collect();
    assert!(heap.is_dead(weak));
}

#[test]
fn a_heap_that_leaves_in_its_turn_and_one_that_ends_in_it_do_no_harm() {
    let mut heap = Heap::new();
    let weak = {
        let object = heap.alloc(String::from("object"));
        heap.downgrade(&object)
    };
    let mut taken = heap.turn(|heap| {
        heap.upgrade(weak).unwrap();
        let taken = std::mem::take(heap);
        let other = heap.alloc(1_u8);
        let weak = heap.downgrade(&other);
        drop(other);
        heap.collect();
        assert!(heap.is_dead(weak), "the new heap is in no turn");
        taken
    });
    taken.collect();
    assert!(taken.is_dead(weak), "the turn is over for the old one, too");
    let object = taken.alloc(1_u8);
    let again = taken.downgrade(&object);
    assert!(taken.upgrade(again).is_some());
    drop(object);
    taken.collect();
    assert!(taken.is_dead(again));
    // A heap that is dropped, and one that is shut down, in a turn.
    heap.turn(|heap| {
        let object = heap.alloc(String::from("object"));
        heap.downgrade(&object);
        *heap = Heap::new();
    });
    heap.turn(|heap| {
        let object = heap.alloc(String::from("object"));
        let weak = heap.downgrade(&object);
        heap.shutdown(ShutdownOptions::default()).unwrap();
        assert!(heap.upgrade(weak).is_none());
    });
    assert_eq!(heap.stats().roots, 0);
}
