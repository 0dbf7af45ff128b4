//! Ephemerons, letter by letter of rule 8: when a value lives, what finding that out costs, and what the code of a
//! program may do meanwhile.
#![allow(unsafe_code, reason = "a Trace that panics has to be written by hand")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use lacuna::{
    Config, Ephemerons, FailureKind, Gc, GcCell, GcRefCell, Heap, MarkOrder, Opaque, Root, Trace, Visitor, Weak,
};

/// A key or a value, which may lead to anything.
#[derive(Trace)]
struct Node<'gc> {
    id: u32,
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
    table: GcCell<Option<Gc<'gc, Table<'gc>>>>,
}

type Key<'gc> = Gc<'gc, Node<'gc>>;
type Table<'gc> = Ephemerons<Key<'gc>, Key<'gc>>;

fn node<'gc>(cx: &lacuna::Mutator<'gc>, id: u32) -> Key<'gc> {
    cx.alloc(Node { id, next: GcCell::new(None), table: GcCell::new(None) })
}

fn heaps() -> impl Iterator<Item = Heap> {
    let zeal = Config::default().zeal(true);
    [Config::default(), zeal.mark_order(MarkOrder::Ring), zeal].into_iter().map(Heap::with_config)
}

/// Collects, and looks at everything a second time.
fn collect(heap: &mut Heap) {
    heap.collect();
    heap.verify().unwrap();
}

type NodeRoot = Root<Node<'static>>;
type TableRoot = Root<Table<'static>>;

#[test]
fn rule_08a_a_value_lives_while_its_table_and_its_key_do() {
    for mut heap in heaps() {
        let (table, key, value) = heap.enter(|cx| {
            let table = cx.alloc(Table::new());
            let [key, value] = [1, 2].map(|id| node(cx, id));
            assert_eq!(table.edit(cx).insert(key, value).map(|node| node.id), None);
            (table.root(cx), key.root(cx), value.downgrade(cx))
        });
        collect(&mut heap);
        heap.enter(|cx| assert_eq!(table.get(cx).get(key.get(cx)).unwrap().id, 2));
        let last = heap.stats().last;
        assert_eq!((last.ephemeron_entries, last.ephemerons_resolved, last.ephemerons_cleared), (1, 1, 0));
        drop(key);
        collect(&mut heap);
        assert!(heap.is_dead(value));
        assert_eq!(heap.with(&table, |table| (table.live_count(), table.len_upper_bound())), (0, 0));
        assert_eq!(heap.stats().last.ephemerons_cleared, 1);
        assert_eq!(heap.stats().live_objects, 1);
    }
}

#[test]
fn rule_08a_a_value_that_leads_to_its_key_keeps_neither_alive() {
    for mut heap in heaps() {
        let table = heap.enter(|cx| {
            let table = cx.alloc(Table::new());
            let [key, value] = [1, 2].map(|id| node(cx, id));
            value.set(cx, |node| &node.next, Some(key));
            table.edit(cx).insert(key, value);
            table.edit(cx).insert(node(cx, 3), value);
            // The key itself as the value.
            table.edit(cx).insert(value, value);
            table.root(cx)
        });
        assert_eq!(heap.with(&table, |table| table.live_count()), if heap.stats().collections > 0 { 0 } else { 3 });
        collect(&mut heap);
        assert!(heap.with(&table, |table| table.is_empty() && table.keys().is_empty()));
        assert_eq!(heap.stats().live_objects, 1);
    }
}

#[test]
fn rule_08a_a_value_that_leads_to_its_table_does_not_keep_it_alive() {
    for mut heap in heaps() {
        let (table, key) = heap.enter(|cx| {
            let table = cx.alloc(Table::new());
            let [key, value] = [1, 2].map(|id| node(cx, id));
            value.set(cx, |node| &node.table, Some(table));
            table.edit(cx).insert(key, value);
            (table.root(cx), key.root(cx))
        });
        collect(&mut heap);
        assert_eq!(heap.stats().live_objects, 3);
        drop(table);
        collect(&mut heap);
        assert_eq!(heap.stats().live_objects, 1);
        drop(key);
    }
}

#[test]
fn rule_08a_key_and_value_alive_or_not() {
    for (key_lives, value_lives) in [(false, false), (false, true), (true, false), (true, true)] {
        for mut heap in heaps() {
            let (table, key, value) = heap.enter(|cx| {
                let table = cx.alloc(Table::new());
                let [key, value] = [1, 2].map(|id| node(cx, id));
                table.edit(cx).insert(key, value);
                (table.root(cx), key.root(cx), value.root(cx))
            });
            let weak = (heap.downgrade(&key), heap.downgrade(&value));
            let kept = (key_lives.then_some(key), value_lives.then_some(value));
            collect(&mut heap);
            assert_eq!(heap.is_dead(weak.0), !key_lives);
            assert_eq!(heap.is_dead(weak.1), !key_lives && !value_lives);
            assert_eq!(heap.with(&table, |table| table.live_count()), usize::from(key_lives));
            drop(kept);
        }
    }
}

#[test]
fn rule_08a_an_entry_and_the_weak_references_to_its_key_die_in_the_same_collection() {
    for mut heap in heaps() {
        let (table, key) = heap.enter(|cx| {
            let (table, key) = (cx.alloc(Table::new()), node(cx, 1));
            table.edit(cx).insert(key, node(cx, 2));
            (table.root(cx), key.root(cx))
        });
        let weak = heap.downgrade(&key);
        for _ in 0..3 {
            collect(&mut heap);
            assert_eq!(heap.with(&table, |table| table.live_count()), usize::from(!heap.is_dead(weak)));
        }
        drop(key);
        collect(&mut heap);
        assert!(heap.is_dead(weak));
        assert!(heap.with(&table, |table| table.is_empty()));
    }
}

#[test]
fn rule_08b_an_entry_with_several_keys_needs_all_of_them() {
    type Triple<'gc> = Ephemerons<(Key<'gc>, Key<'gc>, Gc<'gc, str>), Key<'gc>>;
    for dropped in 0..4 {
        for mut heap in heaps() {
            let (table, a, b, c, value) = heap.enter(|cx| {
                let table = cx.alloc(Triple::new());
                let (a, b, c, value) = (node(cx, 1), node(cx, 2), cx.alloc_str("three"), node(cx, 4));
                table.edit(cx).insert((a, b, c), value);
                assert!(table.contains_key((a, b, c)) && !table.contains_key((b, a, c)));
                (table.root(cx), a.root(cx), b.root(cx), c.root(cx), value.downgrade(cx))
            });
            collect(&mut heap);
            assert!(!heap.is_dead(value));
            let kept = ((dropped != 0).then_some(a), (dropped != 1).then_some(b), (dropped != 2).then_some(c));
            collect(&mut heap);
            assert_eq!(heap.is_dead(value), dropped != 3);
            assert_eq!(heap.with(&table, |table| table.live_count()), usize::from(dropped == 3));
            drop(kept);
        }
    }
}

#[test]
fn rule_08b_keys_that_are_reached_one_after_the_other_through_other_entries() {
    for mut heap in heaps() {
        // The entry waits for one key, then for the next; both become reachable through values only.
        let (roots, last) = heap.enter(|cx| {
            let pairs = cx.alloc(Ephemerons::<[Key<'_>; 2], Key<'_>>::new());
            let single = cx.alloc(Table::new());
            let [start, first, second, value, last] = [1, 2, 3, 4, 5].map(|id| node(cx, id));
            pairs.edit(cx).insert([second, first], value);
            pairs.edit(cx).insert([value, value], last);
            single.edit(cx).insert(first, second);
            single.edit(cx).insert(start, first);
            ((pairs.root(cx), single.root(cx), start.root(cx)), last.downgrade(cx))
        });
        collect(&mut heap);
        assert!(!heap.is_dead(last));
        let stats = heap.stats().last;
        assert_eq!((stats.ephemeron_entries, stats.ephemerons_resolved), (4, 4));
        assert!(stats.ephemerons_examined <= 4 * 4, "{stats:?}");
        drop(roots);
        collect(&mut heap);
        assert!(heap.is_dead(last));
        assert_eq!(heap.stats().live_objects, 0);
    }
}

/// Numbers below `count`, in an order that looks random.
fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for i in (1..count).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(i, (state % (i as u64 + 1)) as usize);
    }
    order
}

/// A chain in which the value of an entry is the key of the next, inserted into so many tables in turn in this order.
fn chain(heap: &mut Heap, order: &[usize], tables: usize) -> (Vec<TableRoot>, NodeRoot) {
    heap.enter(|cx| {
        let tables: Vec<_> = (0..tables).map(|_| cx.alloc(Table::new())).collect();
        let nodes: Vec<_> = (0..=order.len()).map(|id| node(cx, id as u32)).collect();
        for &i in order {
            tables[i % tables.len()].edit(cx).insert(nodes[i], nodes[i + 1]);
        }
        (tables.iter().map(|table| table.root(cx)).collect(), nodes[0].root(cx))
    })
}

/// The counter of rule 8c, for chains in one table and spread over several, up to a table for each entry.
#[test]
fn rule_08c_trap_06_model_check_5_convergence_is_linear_whatever_the_order() {
    let count = 2000;
    let forward: Vec<usize> = (0..count).collect();
    let reverse: Vec<usize> = (0..count).rev().collect();
    for order in [forward, reverse, shuffled(count)] {
        for tables in [1, 2, 10, count] {
            for zeal in [false, true] {
                let mut heap = Heap::with_config(Config::default().zeal(zeal));
                let (tables, head) = chain(&mut heap, &order, tables);
                heap.collect();
                let last = heap.stats().last;
                assert_eq!(last.ephemeron_entries, count);
                assert_eq!(last.ephemerons_resolved, count);
                assert!(last.ephemerons_examined <= 4 * count, "{} looks at {count} entries", last.ephemerons_examined);
                assert_eq!(heap.stats().live_objects, count + 1 + tables.len());
                drop(head);
                heap.collect();
                let last = heap.stats().last;
                assert_eq!((last.ephemerons_resolved, last.ephemerons_cleared), (0, count));
                assert!(last.ephemerons_examined <= 4 * count);
                assert_eq!(heap.stats().live_objects, tables.len());
                heap.verify().unwrap();
            }
        }
    }
}

/// The same with two keys: each entry waits for the value of the one before, and for the one before that.
#[test]
fn rule_08c_model_check_5_convergence_is_linear_with_two_keys() {
    let count = 2000;
    let forward: Vec<usize> = (0..count).collect();
    let reverse: Vec<usize> = (0..count).rev().collect();
    for order in [forward, reverse, shuffled(count)] {
        for tables in [1, 7] {
            let mut heap = Heap::new();
            let (tables, head) = heap.enter(|cx| {
                type Pairs<'gc> = Ephemerons<[Key<'gc>; 2], Key<'gc>>;
                let tables: Vec<_> = (0..tables).map(|_| cx.alloc(Pairs::new())).collect();
                let nodes: Vec<_> = (0..count + 2).map(|id| node(cx, id as u32)).collect();
                for &i in &order {
                    tables[i % tables.len()].edit(cx).insert([nodes[i + 1], nodes[i]], nodes[i + 2]);
                }
                nodes[0].set(cx, |node| &node.next, Some(nodes[1]));
                (tables.iter().map(|table| table.root(cx)).collect::<Vec<_>>(), nodes[0].root(cx))
            });
            heap.collect();
            let last = heap.stats().last;
            assert_eq!((last.ephemeron_entries, last.ephemerons_resolved), (count, count));
            assert!(last.ephemerons_examined <= 4 * count, "{} looks at {count} entries", last.ephemerons_examined);
            drop(head);
            heap.collect();
            let last = heap.stats().last;
            assert_eq!((last.ephemerons_resolved, last.ephemerons_cleared), (0, count));
            assert!(last.ephemerons_examined <= 4 * count);
            assert_eq!(heap.stats().live_objects, tables.len());
        }
    }
}

#[test]
fn rule_08c_tables_found_one_at_a_time_through_values_of_tables() {
    for mut heap in heaps() {
        // Each table holds the next as the value of one and the same key.
        let (first, key) = heap.enter(|cx| {
            let key = node(cx, 0);
            let mut next = cx.alloc(Table::new());
            for id in 1..=100 {
                let table = cx.alloc(Table::new());
                let holder = node(cx, id);
                holder.set(cx, |node| &node.table, Some(next));
                table.edit(cx).insert(key, holder);
                next = table;
            }
            (next.root(cx), key.root(cx))
        });
        collect(&mut heap);
        assert_eq!(heap.stats().live_objects, 202);
        assert_eq!(heap.stats().last.ephemerons_resolved, 100);
        assert_eq!(heap.stats().last.ephemeron_entries, 100);
        drop(key);
        collect(&mut heap);
        assert_eq!(heap.stats().live_objects, 1);
        drop(first);
    }
}

#[test]
fn rule_08d_values_without_edges_take_no_part_in_convergence() {
    for mut heap in heaps() {
        let (table, kept) = heap.enter(|cx| {
            let table = cx.alloc(Ephemerons::<Key<'_>, u64>::new());
            let nodes: Vec<_> = (0..1000).map(|id| node(cx, id)).collect();
            for &node in &nodes {
                table.edit(cx).insert(node, node.id.into());
            }
            let kept: Vec<_> = nodes.iter().step_by(3).map(|node| node.root(cx)).collect();
            (table.root(cx), kept)
        });
        collect(&mut heap);
        let stats = heap.stats();
        assert_eq!(stats.last.ephemerons_resolved, 0);
        assert!(stats.last.ephemerons_examined <= stats.last.ephemeron_entries);
        assert_eq!(stats.weak_slots, 0, "such keys need not be observed");
        heap.enter(|cx| {
            let table = table.get(cx);
            assert_eq!(table.live_count(), kept.len());
            assert!(kept.iter().all(|key| table.get(key.get(cx)) == Some(key.get(cx).id.into())));
            assert!(
                table
                    .entries()
                    .into_iter()
                    .map(|(key, value)| (u64::from(key.id), value))
                    .eq((0..1000).step_by(3).map(|id| (id, id)))
            );
        });
    }
}

#[test]
fn rule_08e_trap_07_entries_of_a_dead_table_keep_nothing_alive() {
    for mut heap in heaps() {
        let (table, key, value) = heap.enter(|cx| {
            let table = cx.alloc(Table::new());
            let [key, value] = [1, 2].map(|id| node(cx, id));
            value.set(cx, |node| &node.table, Some(table));
            key.set(cx, |node| &node.table, Some(cx.alloc(Table::new())));
            table.edit(cx).insert(key, value);
            (table.downgrade(cx), key.root(cx), value.downgrade(cx))
        });
        collect(&mut heap);
        assert!(heap.is_dead(table) && heap.is_dead(value));
        assert_eq!(heap.stats().last.ephemeron_entries, 0, "only reached tables with entries take part");
        drop(key);
    }
}

#[test]
fn rule_08f_a_table_with_weak_values_is_a_table_whose_values_are_weak() {
    for mut heap in heaps() {
        let (table, key, value) = heap.enter(|cx| {
            let table = cx.alloc(Ephemerons::<Key<'_>, Weak<Node<'static>>>::new());
            let [key, value] = [1, 2].map(|id| node(cx, id));
            table.edit(cx).insert(key, value.downgrade(cx));
            (table.root(cx), key.root(cx), value.root(cx))
        });
        collect(&mut heap);
        let read = |heap: &mut Heap| {
            heap.enter(|cx| table.get(cx).get(key.get(cx)).and_then(|weak| cx.upgrade(weak)).map(|node| node.id))
        };
        assert_eq!(read(&mut heap), Some(2));
        drop(value);
        collect(&mut heap);
        assert_eq!(read(&mut heap), None);
    }
}

#[test]
fn rule_08g_rule_10_what_a_guardian_brings_back_has_its_data_attached() {
    for mut heap in heaps() {
        let (table, key, inner) = heap.enter(|cx| {
            let table = cx.alloc(Table::new());
            let [key, inner, far, farthest] = [1, 2, 3, 4].map(|id| node(cx, id));
            key.set(cx, |node| &node.next, Some(inner));
            // Reverse order: the entries wait when the guarded object is marked.
            table.edit(cx).insert(far, farthest);
            table.edit(cx).insert(inner, far);
            cx.guard(key, 9).unwrap();
            (table.root(cx), key.downgrade(cx), inner.downgrade_long(cx))
        });
        collect(&mut heap);
        assert!(heap.is_dead(key) && !heap.is_dead_long(inner));
        let guarded = heap.next_guarded().unwrap().object.downcast::<Node<'static>>().unwrap();
        heap.enter(|cx| {
            let inner = guarded.get(cx).next.get().unwrap();
            let far = table.get(cx).get(inner).unwrap();
            assert_eq!((far.id, table.get(cx).get(far).unwrap().id), (3, 4));
        });
        drop(guarded);
        collect(&mut heap);
        assert_eq!(heap.with(&table, |table| table.live_count()), 0);
        assert_eq!(heap.stats().live_objects, 1);
    }
}

#[test]
fn rule_10_an_object_that_is_a_live_value_is_not_handed_out() {
    for mut heap in heaps() {
        let roots = heap.enter(|cx| {
            let table = cx.alloc(Table::new());
            let [key, value] = [1, 2].map(|id| node(cx, id));
            table.edit(cx).insert(key, value);
            cx.guard(value, 1).unwrap();
            (table.root(cx), key.root(cx))
        });
        collect(&mut heap);
        assert!(heap.next_guarded().is_none());
        drop(roots);
        collect(&mut heap);
        assert_eq!(heap.next_guarded().unwrap().tag, 1);
    }
}

#[test]
fn rule_05_trap_05_what_a_look_up_returned_and_was_rooted_lives() {
    for mut heap in heaps() {
        let (table, key) = heap.enter(|cx| {
            let (table, key) = (cx.alloc(Table::new()), node(cx, 1));
            table.edit(cx).insert(key, node(cx, 2));
            (table.root(cx), key.root(cx))
        });
        let value = heap.enter(|cx| table.get(cx).get(key.get(cx)).unwrap().root(cx));
        let listed = heap.enter(|cx| table.get(cx).entries()[0].1.root(cx));
        drop((key, table));
        collect(&mut heap);
        assert_eq!(heap.with(&value, |node| node.id), 2);
        assert!(heap.with(&listed, |listed| listed.id == 2));
    }
}

#[test]
fn trap_02_an_entry_found_dead_is_absent_for_every_method() {
    for mut heap in heaps() {
        let (table, kept) = heap.enter(|cx| {
            let table = cx.alloc(Table::new());
            let kept = node(cx, 0);
            table.edit(cx).insert(kept, kept);
            for id in 1..50 {
                table.edit(cx).insert(node(cx, id), kept);
            }
            (table.root(cx), kept.root(cx))
        });
        collect(&mut heap);
        heap.enter(|cx| {
            let (table, kept) = (table.get(cx), kept.get(cx));
            assert_eq!((table.live_count(), table.keys().len(), table.entries().len()), (1, 1, 1));
            let mut seen = 0;
            table.edit(cx).retain(|key, _| {
                seen += 1;
                Gc::ptr_eq(key, kept)
            });
            assert_eq!(seen, 1);
            // Fresh objects lie where the dead keys did.
            for id in 100..200 {
                let fresh = node(cx, id);
                assert!(!table.contains_key(fresh) && table.get(fresh).is_none());
                assert!(table.edit(cx).remove(fresh).is_none());
                assert!(table.edit(cx).insert(fresh, kept).is_none());
                assert!(table.contains_key(fresh));
            }
            assert_eq!(table.live_count(), 101);
        });
    }
}

#[test]
fn trap_04_entries_inserted_and_replaced_between_collections() {
    // {key kept, dropped} x {table old, new} x {value kept, dropped} x {entry new, replaced, moved to another table}
    for case in 0..24 {
        let (key_kept, old_table, value_kept, way) = (case & 1 == 0, case & 2 == 0, case & 4 == 0, case / 8);
        for mut heap in heaps() {
            let early = heap.enter(|cx| cx.alloc(Table::new()).root(cx));
            if old_table {
                collect(&mut heap);
            }
            let (table, key, value) = heap.enter(|cx| {
                let table = if old_table { early.get(cx) } else { cx.alloc(Table::new()) };
                let [key, value] = [1, 2].map(|id| node(cx, id));
                match way {
                    0 => assert!(table.edit(cx).insert(key, value).is_none()),
                    1 => {
                        table.edit(cx).insert(key, node(cx, 3));
                        assert_eq!(table.edit(cx).insert(key, value).unwrap().id, 3);
                    }
                    _ => {
                        let other = cx.alloc(Table::new());
                        other.edit(cx).insert(key, value);
                        let moved = other.edit(cx).remove(key).unwrap();
                        table.edit(cx).insert(key, moved);
                    }
                }
                (table.root(cx), key.root(cx), value.root(cx))
            });
            let weak = heap.downgrade(&value);
            let kept = (key_kept.then_some(key), value_kept.then_some(value));
            for _ in 0..2 {
                collect(&mut heap);
                assert_eq!(heap.is_dead(weak), !key_kept && !value_kept, "case {case}");
                assert_eq!(heap.with(&table, |table| table.live_count()), usize::from(key_kept), "case {case}");
            }
            drop(kept);
        }
    }
}

#[test]
fn rule_25_methods_that_change_the_table_give_memory_back_and_keep_the_order() {
    let mut heap = Heap::new();
    let (table, kept) = heap.enter(|cx| {
        let table = cx.alloc(Ephemerons::<Key<'_>, u32>::new());
        table.edit(cx).reserve(10_000);
        let nodes: Vec<_> = (0..10_000).map(|id| node(cx, id)).collect();
        for &node in &nodes {
            table.edit(cx).insert(node, node.id);
        }
        (table.root(cx), nodes.iter().step_by(100).map(|node| node.root(cx)).collect::<Vec<_>>())
    });
    heap.collect();
    heap.enter(|cx| {
        let table = table.get(cx);
        table.edit(cx).prune();
        assert!(table.entries().into_iter().map(|(_, id)| id).eq((0..10_000).step_by(100)));
        for (index, key) in kept.iter().enumerate() {
            assert_eq!(table.edit(cx).remove(key.get(cx)), Some(index as u32 * 100));
            assert_eq!(table.live_count(), 99 - index);
        }
        table.edit(cx).insert(kept[0].get(cx), 7);
        table.edit(cx).clear();
        assert!(table.is_empty() && table.get(kept[0].get(cx)).is_none());
        table.edit(cx).insert(kept[0].get(cx), 8);
        assert_eq!(table.get(kept[0].get(cx)), Some(8));
    });
}

#[test]
fn rule_26_only_the_entries_that_wait_cost_a_second_look() {
    let mut heap = Heap::new();
    let roots = heap.enter(|cx| {
        let table = cx.alloc(Table::new());
        let keys: Vec<_> = (0..100).map(|id| node(cx, id)).collect();
        for &key in &keys {
            table.edit(cx).insert(key, node(cx, 1000));
        }
        (table.root(cx), keys.iter().map(|key| key.root(cx)).collect::<Vec<_>>())
    });
    heap.collect();
    let last = heap.stats().last;
    assert_eq!((last.ephemeron_entries, last.ephemerons_examined, last.ephemerons_resolved), (100, 100, 100));
    drop(roots);
}

#[derive(Trace)]
struct Class<'gc> {
    name: &'static str,
    labels: Ephemerons<Gc<'gc, str>, Key<'gc>>,
    changing: GcRefCell<Vec<Ephemerons<Key<'gc>, Key<'gc>>>>,
}

#[test]
fn tables_are_fields_also_of_values_in_tables() {
    for mut heap in heaps() {
        let (class, label, value) = heap.enter(|cx| {
            let class = cx.alloc(Class { name: "A", labels: Ephemerons::new(), changing: GcRefCell::new(Vec::new()) });
            let (label, value) = (cx.alloc_str("label"), node(cx, 1));
            class.edit_ephemerons(cx, |class| &class.labels).insert(label, value);
            class.edit_ephemerons(cx, |class| &class.labels).insert(cx.alloc_str("label"), value);
            class.borrow_mut(cx, |class| &class.changing).push(Ephemerons::new());
            (class.root(cx), label.root(cx), value.downgrade(cx))
        });
        collect(&mut heap);
        assert!(!heap.is_dead(value));
        assert_eq!(heap.with(&class, |class| (class.name, class.labels.live_count())), ("A", 1));
        drop(label);
        collect(&mut heap);
        assert!(heap.is_dead(value));
        assert_eq!(heap.with(&class, |class| class.labels.live_count()), 0);
    }
}

#[test]
fn a_table_that_is_a_field_of_a_value_needs_the_keys_of_both() {
    #[derive(Trace)]
    struct Holder<'gc> {
        inner: Ephemerons<Key<'gc>, Key<'gc>>,
    }
    for mut heap in heaps() {
        let (outer, [outer_key, inner_key], value) = heap.enter(|cx| {
            let outer = cx.alloc(Ephemerons::<Key<'_>, Gc<'_, Holder<'_>>>::new());
            let [outer_key, inner_key, value] = [1, 2, 3].map(|id| node(cx, id));
            let holder = cx.alloc(Holder { inner: Ephemerons::new() });
            holder.edit_ephemerons(cx, |holder| &holder.inner).insert(inner_key, value);
            outer.edit(cx).insert(outer_key, holder);
            (outer.root(cx), [outer_key.root(cx), inner_key.root(cx)], value.downgrade(cx))
        });
        let path = heap.retaining_path(value).unwrap();
        assert_eq!(path.types().len(), 3, "table, holder, value");
        collect(&mut heap);
        assert!(!heap.is_dead(value));
        drop(outer_key);
        assert!(heap.retaining_path(value).is_none());
        collect(&mut heap);
        assert!(heap.is_dead(value));
        drop((outer, inner_key));
    }
}

#[test]
#[should_panic(expected = "not part of the object")]
fn a_table_that_lies_elsewhere_is_not_changed_through_the_object() {
    #[derive(Trace)]
    struct Boxed<'gc> {
        table: Box<Ephemerons<Key<'gc>, u32>>,
    }
    let mut heap = Heap::new();
    heap.enter(|cx| {
        let boxed = cx.alloc(Boxed { table: Box::new(Ephemerons::new()) });
        boxed.edit_ephemerons(cx, |boxed| &*boxed.table).insert(node(cx, 1), 1);
    });
}

#[derive(Clone, Default)]
struct Count(Rc<Cell<usize>>);

/// Counts its drop, and panics if it was told to.
struct Grenade {
    drops: Count,
    live: bool,
}

impl Drop for Grenade {
    fn drop(&mut self) {
        self.drops.0.set(self.drops.0.get() + 1);
        assert!(!self.live, "dropped");
    }
}

#[test]
fn values_are_dropped_by_the_collection_once_each_though_every_other_panics() {
    for mut heap in heaps() {
        let drops = Count::default();
        let (plain, edged) = heap.enter(|cx| {
            let plain = cx.alloc(Ephemerons::<Key<'_>, Opaque<Grenade>>::new());
            let edged = cx.alloc(Ephemerons::<Key<'_>, (Opaque<Grenade>, Key<'_>)>::new());
            for id in 0..100 {
                let grenade = || Opaque(Grenade { drops: drops.clone(), live: id % 2 == 0 });
                plain.edit(cx).insert(node(cx, id), grenade());
                let key = node(cx, id);
                edged.edit(cx).insert(key, (grenade(), key));
            }
            (plain.root(cx), edged.root(cx))
        });
        let kinds: Rc<RefCell<Vec<_>>> = Rc::default();
        let seen = Rc::clone(&kinds);
        heap.on_error(move |failure| seen.borrow_mut().push(failure.kind));
        collect(&mut heap);
        assert_eq!(drops.0.get(), 200);
        assert_eq!(heap.stats().panics, 100);
        assert!(kinds.borrow().iter().all(|kind| *kind == FailureKind::Drop));
        assert!(heap.with(&plain, |table| table.is_empty()) && heap.with(&edged, |table| table.is_empty()));
        collect(&mut heap);
        drop(heap);
        assert_eq!(drops.0.get(), 200);
    }
}

#[test]
fn values_of_a_dropped_table_and_of_a_dropped_heap_are_dropped_once() {
    for shutdown in [false, true] {
        let drops = Count::default();
        let mut heap = Heap::new();
        let (kept, key) = heap.enter(|cx| {
            let key = node(cx, 0);
            let tables = [(); 2].map(|()| cx.alloc(Ephemerons::<Key<'_>, Opaque<Grenade>>::new()));
            for table in tables {
                table.edit(cx).insert(key, Opaque(Grenade { drops: drops.clone(), live: false }));
            }
            (tables[0].root(cx), key.root(cx))
        });
        heap.collect();
        assert_eq!(drops.0.get(), 1);
        if shutdown {
            heap.shutdown(lacuna::ShutdownOptions::default()).unwrap();
            assert_eq!(drops.0.get(), 2);
        }
        drop(heap);
        assert_eq!(drops.0.get(), 2);
        drop((kept, key));
    }
}

/// Panics when it is traced, if its fuse says so.
struct Bomb<'gc> {
    fuse: Rc<Cell<u32>>,
    edge: Key<'gc>,
}

// SAFETY: the edge is all there is that could have a brand.
unsafe impl Trace for Bomb<'_> {
    type At<'a> = Bomb<'a>;
    const NEEDS_TRACE: bool = true;
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        match self.fuse.get() {
            0 => {}
            1 => {
                self.fuse.set(0);
                panic!("traced");
            }
            left => self.fuse.set(left - 1),
        }
        self.edge.trace(visitor);
    }
}

#[test]
fn a_trace_that_panics_in_a_value_leaves_every_table_in_order() {
    // The order decides how many entries wait when the panic comes.
    for reverse in [false, true] {
        for fuse_at in 1..=12 {
            let mut heap = Heap::new();
            let fuse = Rc::new(Cell::new(0));
            let (tables, head) = heap.enter(|cx| {
                let tables = [(); 2].map(|()| cx.alloc(Ephemerons::<Key<'_>, Bomb<'_>>::new()));
                let nodes: Vec<_> = (0..=12).map(|id| node(cx, id)).collect();
                let order: Vec<usize> = if reverse { (0..12).rev().collect() } else { (0..12).collect() };
                for i in order {
                    let bomb = Bomb { fuse: Rc::clone(&fuse), edge: nodes[i + 1] };
                    tables[i % 2].edit(cx).insert(nodes[i], bomb);
                }
                // Entries that wait for ever.
                for table in tables {
                    table.edit(cx).insert(node(cx, 100), Bomb { fuse: Rc::clone(&fuse), edge: nodes[3] });
                }
                (tables.map(|table| table.root(cx)), nodes[0].root(cx))
            });
            fuse.set(fuse_at);
            assert!(catch_unwind(AssertUnwindSafe(|| heap.collect())).is_err());
            fuse.set(0);
            heap.verify().unwrap();
            let live =
                |heap: &Heap| tables.iter().map(|root| heap.with(root, |table| table.live_count())).sum::<usize>();
            assert_eq!(live(&heap), 14, "everything counts as alive");
            collect(&mut heap);
            assert_eq!(live(&heap), 12);
            assert_eq!(heap.stats().last.ephemerons_resolved, 12);
            drop(head);
            collect(&mut heap);
            assert_eq!((live(&heap), heap.stats().live_objects), (0, 2));
        }
    }
}

#[test]
fn an_abandoned_collection_does_not_bring_back_a_table_that_is_gone() {
    let mut heap = Heap::new();
    let fuse = Rc::new(Cell::new(0));
    let (table, key) = heap.enter(|cx| {
        let table = cx.alloc(Ephemerons::<Key<'_>, Bomb<'_>>::new());
        let key = node(cx, 1);
        table.edit(cx).insert(key, Bomb { fuse: Rc::clone(&fuse), edge: key });
        table.edit(cx).insert(node(cx, 2), Bomb { fuse: Rc::clone(&fuse), edge: key });
        (table.root(cx), key.root(cx))
    });
    fuse.set(1);
    assert!(catch_unwind(AssertUnwindSafe(|| heap.collect())).is_err());
    drop(table);
    collect(&mut heap);
    assert_eq!(heap.stats().live_objects, 1);
    // Its memory is used by other tables, which are reached for the first time.
    let tables: Vec<TableRoot> = (0..100).map(|_| heap.alloc(Table::new())).collect();
    heap.enter(|cx| {
        for table in &tables {
            table.get(cx).edit(cx).insert(key.get(cx), key.get(cx));
        }
    });
    collect(&mut heap);
    assert_eq!(heap.stats().last.ephemerons_resolved, 100);
}

/// A value whose `Clone` and `Drop` come back to the table.
struct Meddler<'gc> {
    act: Rc<dyn Fn()>,
    edge: Key<'gc>,
}

impl Clone for Meddler<'_> {
    fn clone(&self) -> Self {
        (self.act)();
        Self { act: Rc::clone(&self.act), edge: self.edge }
    }
}

// SAFETY: the edge is all there is that could have a brand.
unsafe impl Trace for Meddler<'_> {
    type At<'a> = Meddler<'a>;
    const NEEDS_TRACE: bool = true;
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        self.edge.trace(visitor);
    }
}

scoped_tls_hkt::scoped_thread_local!(static IN_SCOPE: for<'a> &'a (dyn Fn(u32) + 'a));

#[test]
fn a_clone_may_read_the_table_again_and_is_refused_to_change_it() {
    let mut heap = Heap::new();
    heap.enter(|cx| {
        let table = cx.alloc(Ephemerons::<Key<'_>, Meddler<'_>>::new());
        let key = node(cx, 1);
        let calls = Rc::new(Cell::new(0));
        let depth = Rc::clone(&calls);
        let act: Rc<dyn Fn()> = Rc::new(move || {
            depth.set(depth.get() + 1);
            IN_SCOPE.with(|act| act(depth.get()));
        });
        table.edit(cx).insert(key, Meddler { act, edge: key });
        let act = |call| match call {
            1 => assert_eq!(table.get(key).unwrap().edge.id, 1),
            2 => {}
            _ => drop(table.edit(cx).remove(key)),
        };
        IN_SCOPE.set(&act, || {
            assert_eq!(table.get(key).unwrap().edge.id, 1);
            assert_eq!(calls.get(), 2);
            let refused = catch_unwind(AssertUnwindSafe(|| table.get(key))).err().unwrap();
            assert!(refused.downcast_ref::<String>().unwrap().contains("the table is being read or changed"));
        });
        assert_eq!(table.live_count(), 1);
        table.edit(cx).remove(key).unwrap();
    });
}

#[test]
fn closures_may_read_the_table_and_are_refused_to_change_it() {
    let mut heap = Heap::new();
    heap.enter(|cx| {
        let table = cx.alloc(Table::new());
        let keys: Vec<_> = (0..100).map(|id| node(cx, id)).collect();
        for &key in &keys {
            table.edit(cx).insert(key, key);
        }
        assert_eq!(table.with(keys[0], |_| table.live_count()), Some(100));
        let change = || table.with(keys[0], |_| table.edit(cx).clear());
        assert!(catch_unwind(AssertUnwindSafe(change)).is_err());
        let change = || table.edit(cx).retain(|key, _| table.edit(cx).remove(key).is_some());
        assert!(catch_unwind(AssertUnwindSafe(change)).is_err());
        assert_eq!(table.live_count(), 100);
        // A panic in the middle keeps what was not visited.
        let some = || table.edit(cx).retain(|key, _| if key.id < 50 { false } else { panic!("enough") });
        assert!(catch_unwind(AssertUnwindSafe(some)).is_err());
        assert_eq!(table.live_count(), 50);
        assert!(table.contains_key(keys[50]) && !table.contains_key(keys[49]));
        table.edit(cx).retain(|key, _| key.id % 2 == 0);
        assert_eq!(table.live_count(), 25);
    });
}

/// Changes the table when it is dropped.
struct Parting(u32);

impl Drop for Parting {
    fn drop(&mut self) {
        IN_SCOPE.with(|act| act(self.0));
    }
}

#[test]
fn drops_of_removed_values_may_change_the_table() {
    for way in 0..4 {
        let mut heap = Heap::new();
        heap.enter(|cx| {
            let table = cx.alloc(Ephemerons::<Key<'_>, Opaque<Parting>>::new());
            let keys: Vec<_> = (0..100).map(|id| node(cx, id)).collect();
            let act = |id| {
                if id % 3 == 0 {
                    table.edit(cx).insert(node(cx, 1000 + id), Opaque(Parting(1)));
                } else if id == 50 {
                    table.edit(cx).clear();
                } else if id % 3 == 1 {
                    table.edit(cx).prune();
                }
            };
            IN_SCOPE.set(&act, || {
                keys.iter().for_each(|&key| drop(table.edit(cx).insert(key, Opaque(Parting(key.id)))));
                match way {
                    0 => table.edit(cx).retain(|key, _| key.id >= 1000 || key.id % 5 == 0),
                    1 => table.edit(cx).clear(),
                    2 => keys.iter().for_each(|&key| drop(table.edit(cx).remove(key))),
                    _ => keys.iter().for_each(|&key| drop(table.edit(cx).insert(key, Opaque(Parting(2))))),
                }
                let entries = table.keys();
                assert_eq!(entries.len(), table.live_count());
                assert!(entries.iter().all(|&key| table.contains_key(key)));
                // Without the scope their drops would have nothing to change.
                while !table.is_empty() {
                    let last = *table.keys().last().unwrap();
                    std::mem::forget(table.edit(cx).remove(last));
                }
            });
        });
        heap.verify().unwrap();
    }
}

#[test]
fn printing_touches_neither_keys_nor_values() {
    let mut heap = Heap::new();
    heap.enter(|cx| {
        let table = cx.alloc(Table::new());
        table.edit(cx).insert(node(cx, 1), node(cx, 2));
        assert_eq!(format!("{:?}", &*table), "Ephemerons(1)");
        assert_eq!(format!("{:?}", table.edit(cx)), "EphemeronEdit(Ephemerons(1))");
    });
}

#[test]
fn the_graph_is_read_with_its_ephemerons() {
    let mut heap = Heap::new();
    let (table, head) = chain(&mut heap, &shuffled(50), 3);
    let last = heap.enter(|cx| {
        let mut node = head.get(cx);
        while let Some(next) = table.iter().find_map(|table| table.get(cx).get(node)) {
            node = next;
        }
        node.downgrade(cx)
    });
    let report = heap.verify().unwrap();
    assert_eq!((report.objects, report.edges), (54, 50));
    assert!(heap.retaining_path(last).is_some());
    let mut out = Vec::new();
    heap.snapshot(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains(&format!("\"edge_count\":{}", 50 + 4)), "{}", &text[..600]);
    drop(head);
    assert!(heap.retaining_path(last).is_none());
    assert_eq!(heap.verify().unwrap().objects, 3);
}

#[test]
fn random_tables_agree_with_the_definition() {
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..60 {
        let count = 40;
        let mut heap = Heap::with_config(Config::default().zeal(round % 2 == 0).collect_automatically(false));
        // (table, first key, second key, value), and edges.
        let tables = 4;
        let entries: Vec<[usize; 4]> =
            (0..60).map(|_| [random(tables), random(count), random(count), random(count)]).collect();
        let edges: Vec<[usize; 2]> = (0..10).map(|_| [random(count), random(count)]).collect();
        let holders: Vec<usize> = (0..tables).map(|_| random(count)).collect();
        let rooted: Vec<usize> = (0..3).map(|_| random(count)).collect();
        let (weak, roots) = heap.enter(|cx| {
            type Pairs<'gc> = Ephemerons<(Key<'gc>, Key<'gc>), Key<'gc>>;
            #[derive(Trace)]
            struct Holder<'gc> {
                node: Key<'gc>,
                pairs: Gc<'gc, Pairs<'gc>>,
            }
            let nodes: Vec<_> = (0..count).map(|id| node(cx, id as u32)).collect();
            // A table hangs on a node through an ephemeron of a table that is always there.
            let anchors = cx.alloc(Ephemerons::<Key<'_>, Gc<'_, Holder<'_>>>::new());
            let pairs: Vec<_> = (0..tables).map(|_| cx.alloc(Pairs::new())).collect();
            let mut used = Vec::new();
            for (table, &holder) in holders.iter().enumerate() {
                if !used.contains(&holder) {
                    used.push(holder);
                    let value = cx.alloc(Holder { node: nodes[holder], pairs: pairs[table] });
                    assert_eq!(value.node.id, holder as u32);
                    anchors.edit(cx).insert(nodes[holder], value);
                }
            }
            for &[table, first, second, value] in &entries {
                pairs[table].edit(cx).insert((nodes[first], nodes[second]), nodes[value]);
            }
            for &[from, to] in &edges {
                nodes[from].set(cx, |node| &node.next, Some(nodes[to]));
            }
            let weak: Vec<_> = nodes.iter().map(|node| node.downgrade(cx)).collect();
            let roots: Vec<_> = rooted.iter().map(|&index| nodes[index].root(cx)).collect();
            (weak, (roots, anchors.root(cx)))
        });
        // The definition, by brute force. The last of equal keys counts, and the last edge.
        let mut alive = vec![false; count];
        rooted.iter().for_each(|&index| alive[index] = true);
        loop {
            let before = alive.iter().filter(|&&alive| alive).count();
            for from in 0..count {
                let to = edges.iter().rev().find(|edge| edge[0] == from).map(|edge| edge[1]);
                if let Some(to) = to.filter(|_| alive[from]) {
                    alive[to] = true;
                }
            }
            for (position, &[table, first, second, value]) in entries.iter().enumerate() {
                let replaced = entries[position + 1..].iter().any(|later| later[..3] == [table, first, second]);
                let first_holder = holders.iter().position(|&holder| holder == holders[table]) == Some(table);
                if !replaced && first_holder && alive[holders[table]] && alive[first] && alive[second] {
                    alive[value] = true;
                }
            }
            if before == alive.iter().filter(|&&alive| alive).count() {
                break;
            }
        }
        heap.collect();
        heap.verify().unwrap();
        let found: Vec<bool> = weak.iter().map(|&weak| !heap.is_dead(weak)).collect();
        assert_eq!(found, alive, "round {round}");
        drop(roots);
        heap.collect();
        assert_eq!(heap.stats().live_objects, 0);
    }
}

#[test]
fn random_operations_agree_with_a_model() {
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..20 {
        let mut heap = Heap::with_config(Config::default().zeal(round % 4 == 0).min_heap(1 << 14));
        let tables: Vec<TableRoot> = (0..3).map(|_| heap.alloc(Table::new())).collect();
        let plain: Root<Ephemerons<Key<'static>, u32>> = heap.alloc(Ephemerons::new());
        // By id: the nodes that are rooted, and what the tables have.
        let mut roots: BTreeMap<u32, NodeRoot> = BTreeMap::new();
        let mut model: Vec<BTreeMap<u32, u32>> = vec![BTreeMap::new(); tables.len()];
        let mut plain_model: BTreeMap<u32, u32> = BTreeMap::new();
        let mut ids = 0..;
        for step in 0..200 {
            // Pairs of rooted nodes are put into tables; some entries are taken out.
            for _ in 0..random(8) {
                let id = ids.next().unwrap();
                roots.insert(id, heap.enter(|cx| node(cx, id).root(cx)));
            }
            let rooted: Vec<u32> = roots.keys().copied().collect();
            for _ in 0..random(12) {
                if rooted.is_empty() {
                    break;
                }
                let (table, key, value) =
                    (random(tables.len()), rooted[random(rooted.len())], rooted[random(rooted.len())]);
                let act = random(10);
                heap.enter(|cx| {
                    let edit = tables[table].get(cx).edit(cx);
                    let (key_node, value_node) = (roots[&key].get(cx), roots[&value].get(cx));
                    match act {
                        0 | 1 => {
                            let removed = edit.remove(key_node).map(|node| node.id);
                            assert_eq!(removed, model[table].remove(&key));
                        }
                        2 => {
                            edit.retain(|key, value| (key.id + value.id) % 3 > 0);
                            model[table].retain(|key, value| (*key + *value) % 3 > 0);
                        }
                        3 => edit.prune(),
                        4 => {
                            let before = plain.get(cx).edit(cx).insert(key_node, value);
                            assert_eq!(before, plain_model.insert(key, value));
                        }
                        _ => {
                            let before = edit.insert(key_node, value_node).map(|node| node.id);
                            assert_eq!(before, model[table].insert(key, value));
                        }
                    }
                });
            }
            for id in rooted {
                if random(12) == 0 {
                    roots.remove(&id);
                }
            }
            if step % 5 == 0 {
                heap.collect();
                // Alive by definition: the least set with the roots, closed under entries.
                let mut alive: BTreeSet<u32> = roots.keys().copied().collect();
                while {
                    let entries = model.iter().flatten().filter(|(key, _)| alive.contains(key));
                    let found: Vec<u32> = entries.map(|(_, &value)| value).filter(|id| !alive.contains(id)).collect();
                    alive.extend(&found);
                    !found.is_empty()
                } {}
                model.iter_mut().for_each(|table| table.retain(|key, _| alive.contains(key)));
                plain_model.retain(|key, _| alive.contains(key));
                assert_eq!(heap.stats().live_objects, alive.len() + tables.len() + 1);
                heap.enter(|cx| {
                    for (table, model) in tables.iter().zip(&model) {
                        let found: BTreeMap<u32, u32> =
                            table.get(cx).entries().into_iter().map(|(key, value)| (key.id, value.id)).collect();
                        assert_eq!(&found, model);
                        assert_eq!(table.get(cx).live_count(), model.len());
                        assert!(table.get(cx).entries().iter().all(|&(key, _)| table.get(cx).contains_key(key)));
                    }
                    let found: BTreeMap<u32, u32> =
                        plain.get(cx).entries().into_iter().map(|(key, value)| (key.id, value)).collect();
                    assert_eq!(found, plain_model);
                });
            }
        }
        heap.verify().unwrap();
    }
}
