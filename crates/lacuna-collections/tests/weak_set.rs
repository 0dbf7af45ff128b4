//! `WeakSet`: the algebra of sets, with members that die at any moment.

mod heaps;

use std::panic::{AssertUnwindSafe, catch_unwind};

use heaps::{Node, NodeRoot, id, ids, node, on_each, ring};
use lacuna::{Gc, GcCell, GcRefCell, Heap, Root, Trace, Weak};
use lacuna_collections::WeakSet;

type Set = WeakSet<Node<'static>>;

fn nodes(heap: &mut Heap, count: u32) -> Vec<NodeRoot> {
    (0..count).map(|id| ring(heap, id)).collect()
}

fn set<'a>(heap: &mut Heap, members: impl IntoIterator<Item = &'a NodeRoot>) -> Set {
    let mut set = Set::new();
    for member in members {
        set.insert(heap, member);
    }
    set
}

#[test]
fn rule_25_a_dead_member_is_absent_for_every_method() {
    on_each(|heap| {
        let mut roots = nodes(heap, 4);
        let mut members = set(heap, &roots);
        assert!(!members.insert(heap, &roots[0]));
        let weak = heap.downgrade(&roots[3]);
        roots.pop();
        heap.collect();
        assert_eq!((members.live_count(heap), members.len_upper_bound()), (3, 4));
        assert!(!members.insert_weak(heap, weak));
        assert_eq!(ids(heap, members.iter(heap)), [0, 1, 2]);
        assert_eq!(members.clone().drain(heap).count(), 3);
        assert!(members.remove(heap, &roots[0]));
        assert!(!members.remove(heap, &roots[0]));
        assert!(!members.contains(heap, &roots[0]));
        assert!(members.contains(heap, &roots[1]));
        let mut seen = Vec::new();
        members.retain(heap, |member| {
            seen.push(member.clone());
            false
        });
        assert_eq!(ids(heap, seen), [1, 2]);
        assert!(members.is_empty(heap) && members.pop(heap).is_none());
        assert_eq!(members.len_upper_bound(), 0);
    });
}

#[test]
fn rule_25_the_algebra_sees_live_members_only() {
    // Python: test_union, test_intersection, test_difference, test_symmetric_difference, .._update, sub_and_super
    on_each(|heap| {
        let mut roots = nodes(heap, 12);
        let mut one = set(heap, &roots[..8]);
        let mut two = set(heap, &roots[4..]);
        let check = |heap: &Heap, one: &Set, two: &Set, expected: [&[u32]; 4]| {
            assert_eq!(ids(heap, one.union(heap, two)), expected[0]);
            assert_eq!(ids(heap, one.intersection(heap, two)), expected[1]);
            assert_eq!(ids(heap, one.difference(heap, two)), expected[2]);
            assert_eq!(ids(heap, one.symmetric_difference(heap, two)), expected[3]);
            let with = |change: fn(&mut Set, &Heap, &Set)| {
                let mut changed = one.clone();
                change(&mut changed, heap, two);
                ids(heap, changed.iter(heap))
            };
            assert_eq!(with(|s, heap, other| s.union_with(heap, other)), expected[0]);
            assert_eq!(with(|s, heap, other| s.intersection_with(heap, other)), expected[1]);
            assert_eq!(with(|s, heap, other| s.difference_with(heap, other)), expected[2]);
            assert_eq!(with(|s, heap, other| s.symmetric_difference_with(heap, other)), expected[3]);
            assert_eq!(one.is_disjoint(heap, two), expected[1].is_empty());
            assert_eq!(one.is_subset(heap, two), expected[2].is_empty());
            assert_eq!(two.is_superset(heap, one), expected[2].is_empty());
            assert_eq!(one.is_equal(heap, two), expected[3].is_empty());
        };
        let all: Vec<u32> = (0..12).collect();
        check(heap, &one, &two, [&all, &[4, 5, 6, 7], &[0, 1, 2, 3], &[0, 1, 2, 3, 8, 9, 10, 11]]);

        // Members of one, of both and of the other die; some of their cells are used again by members of the other set.
        roots.retain({
            let mut i = 0;
            move |_| {
                i += 1;
                i % 2 == 1
            }
        });
        heap.collect();
        check(heap, &one, &two, [&[0, 2, 4, 6, 8, 10], &[4, 6], &[0, 2], &[0, 2, 8, 10]]);
        let new: Vec<_> = (20..26).map(|id| node(heap, id)).collect();
        for (i, root) in new.iter().enumerate() {
            if i % 2 == 0 { &mut one } else { &mut two }.insert(heap, root);
        }
        check(
            heap,
            &one,
            &two,
            [
                &[0, 2, 4, 6, 8, 10, 20, 21, 22, 23, 24, 25],
                &[4, 6],
                &[0, 2, 20, 22, 24],
                &[0, 2, 8, 10, 20, 21, 22, 23, 24, 25],
            ],
        );
        roots.clear();
        drop(new);
        heap.collect();
        check(heap, &one, &two, [&[], &[], &[], &[]]);
    });
}

#[test]
fn rule_25_operations_of_a_set_with_itself() {
    // Python: test_inplace_on_self
    on_each(|heap| {
        let roots = nodes(heap, 10);
        let full = set(heap, &roots);
        let with_itself = |heap: &Heap, change: fn(&mut Set, &Heap, &Set)| {
            let mut changed = full.clone();
            change(&mut changed, heap, &full);
            changed.live_count(heap)
        };
        assert_eq!(with_itself(heap, |s, heap, other| s.union_with(heap, other)), 10);
        assert_eq!(with_itself(heap, |s, heap, other| s.intersection_with(heap, other)), 10);
        assert_eq!(with_itself(heap, |s, heap, other| s.difference_with(heap, other)), 0);
        assert_eq!(with_itself(heap, |s, heap, other| s.symmetric_difference_with(heap, other)), 0);
        assert!(full.is_subset(heap, &full) && full.is_superset(heap, &full) && full.is_equal(heap, &full));
        assert!(!full.is_disjoint(heap, &full));
    });
}

#[derive(Trace)]
struct Member<'gc> {
    registry: Gc<'gc, Registry<'gc>>,
    me: GcCell<Option<Gc<'gc, Member<'gc>>>>,
}

#[derive(Trace)]
struct Registry<'gc> {
    members: GcRefCell<WeakSet<Member<'static>>>,
    name: Gc<'gc, str>,
}

#[test]
fn rule_25_a_thousand_members_that_lead_to_the_set_and_to_themselves() {
    // Python: test_gc
    on_each(|heap| {
        let (registry, members) = heap.enter(|cx| {
            let registry = cx.alloc(Registry { members: GcRefCell::default(), name: cx.alloc_str("all") });
            let members: Vec<Root<Member<'static>>> = (0..1000)
                .map(|_| {
                    let member = cx.alloc(Member { registry, me: GcCell::new(None) });
                    member.set(cx, |member| &member.me, Some(member));
                    assert!(registry.borrow_mut(cx, |r| &r.members).insert_in(cx, member));
                    member.root(cx)
                })
                .collect();
            assert!(registry.members.borrow().contains(cx, &members[0].get(cx)));
            (registry.downgrade(cx), members)
        });
        assert_eq!(heap.stats().weak_slots, 1001);
        heap.collect();
        let count = |heap: &mut Heap| {
            heap.enter(|cx| cx.upgrade(registry).map(|registry| registry.members.borrow().live_count(cx)))
        };
        assert_eq!(count(heap), Some(1000)); // by way of the members
        let kept = members[500].clone();
        drop(members);
        heap.collect();
        assert_eq!(count(heap), Some(1));
        assert_eq!(heap.with(&kept, |member| member.registry.name.len()), 3);
        drop(kept);
        heap.collect();
        assert_eq!(count(heap), None);
        assert_eq!(heap.stats().live_objects, 0);
        assert_eq!(heap.stats().weak_slots, 0);
    });
}

#[test]
fn trap_11_a_cell_that_is_used_again_is_another_member() {
    let mut heap = Heap::new();
    let mut set = WeakSet::new();
    for round in 0..500_u32 {
        let root = heap.alloc(round); // most often at the address of the one before
        assert!(!set.contains(&heap, &root));
        assert!(set.insert(&mut heap, &root));
        assert_eq!(set.live_count(&heap), 1);
        drop(root);
        heap.collect();
    }
    assert!(set.len_upper_bound() <= 32);
}

#[test]
fn rule_25_members_die_in_the_middle_of_a_walk() {
    // Python: test_weak_destroy_while_iterating, test_weak_destroy_and_mutate_while_iterating
    on_each(|heap| {
        let mut roots = nodes(heap, 40);
        let mut members = set(heap, &roots);
        let copy = members.clone();
        let mut cursor = copy.cursor();
        let mut seen = 0;
        while let Some(member) = cursor.next(heap) {
            seen += 1;
            assert!(members.remove(heap, &member));
            roots.pop();
            heap.collect();
        }
        assert!((20..40).contains(&seen));
        assert!(members.is_empty(heap));
    });
}

#[test]
fn rule_25_counts_only_shrink_while_members_die() {
    // Python: test_len_race
    for threshold in 1..100 {
        let mut heap = Heap::new();
        let mut roots = nodes(&mut heap, 100);
        let members = set(&mut heap, &roots);
        let mut before = members.live_count(&heap);
        while !roots.is_empty() {
            roots.truncate(roots.len().saturating_sub(threshold));
            heap.collect();
            let now = members.live_count(&heap);
            assert!(now <= before && now == roots.len() && now <= members.len_upper_bound());
            before = now;
        }
    }
}

#[test]
fn pop_gives_each_live_member_once() {
    on_each(|heap| {
        let mut roots = nodes(heap, 20);
        let mut members = set(heap, &roots);
        roots.truncate(7);
        heap.collect();
        let mut popped = Vec::new();
        while let Some(member) = members.pop(heap) {
            popped.push(id(heap, &member));
        }
        popped.sort();
        assert_eq!(popped, [0, 1, 2, 3, 4, 5, 6]);
    });
}

#[test]
fn looking_for_an_object_does_not_observe_it() {
    let mut heap = Heap::new();
    let (member, other) = (heap.alloc(1), heap.alloc(2));
    let mut set = WeakSet::new();
    set.insert(&mut heap, &member);
    assert!(!set.contains(&heap, &other) && !set.remove(&heap, &other));
    assert_eq!(heap.stats().weak_slots, 1);
}

#[test]
fn unsized_objects_and_weak_references_of_another_heap() {
    let (mut heap, mut other) = (Heap::new(), Heap::new());
    let (text, foreign) = (heap.alloc_str("text"), other.alloc_str("text"));
    let mut set: WeakSet<str> = WeakSet::new();
    assert!(set.insert(&mut heap, &text));
    let weak = other.downgrade(&foreign);
    assert!(catch_unwind(AssertUnwindSafe(|| set.insert_weak(&heap, weak))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| set.insert(&mut heap, &foreign))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| set.contains(&heap, &foreign))).is_err());
    assert_eq!((set.live_count(&heap), set.len_upper_bound()), (1, 1));
    let own = heap.downgrade(&text);
    set.extend(&heap, [Weak::null(), own]);
    assert_eq!(set.live_count(&heap), 1);
}
