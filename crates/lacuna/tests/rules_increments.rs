//! Major collections in increments: what the program does between two of them, at each point at which it can.
#![allow(unsafe_code, reason = "a Trace that panics has to be written by hand")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use lacuna::{
    AutoDrain, Budget, Config, Ephemerons, Gc, GcCell, GcRefCell, Heap, Mutator, Opaque, Phase, Root, ShutdownOptions,
    StepBudget, Trace, Visitor, Weak,
};

type Table<'gc> = Ephemerons<Gc<'gc, Node<'gc>>, Gc<'gc, Node<'gc>>>;
type NodeRoot = Root<Node<'static>>;
type WeakNode = Weak<Node<'static>>;

#[derive(Trace)]
struct Node<'gc> {
    id: u32,
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
    many: GcRefCell<Vec<Gc<'gc, Node<'gc>>>>,
    table: Table<'gc>,
    canary: Opaque<Canary>,
}

/// Which nodes were dropped, in order.
type Log = Rc<RefCell<Vec<u32>>>;

struct Canary {
    id: u32,
    log: Log,
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.log.borrow_mut().push(std::mem::replace(&mut self.id, u32::MAX));
    }
}

fn node<'gc>(cx: &Mutator<'gc>, log: &Log, id: u32) -> Gc<'gc, Node<'gc>> {
    cx.alloc(Node {
        id,
        next: GcCell::new(None),
        many: GcRefCell::new(Vec::new()),
        table: Table::new(),
        canary: Opaque(Canary { id, log: Rc::clone(log) }),
    })
}

fn link<'gc>(cx: &Mutator<'gc>, from: Gc<'gc, Node<'gc>>, to: Option<Gc<'gc, Node<'gc>>>) {
    from.set(cx, |node| &node.next, to);
}

/// The node so many edges on.
fn after<'gc>(mut node: Gc<'gc, Node<'gc>>, edges: usize) -> Gc<'gc, Node<'gc>> {
    for _ in 0..edges {
        node = node.next.get().unwrap();
    }
    node
}

/// The ids along a chain; panics at a node that was dropped.
fn ids(heap: &Heap, first: &NodeRoot) -> Vec<u32> {
    heap.with(first, |first| {
        let chain = std::iter::successors(Some(first), |node| node.next.get());
        chain.inspect(|node| assert_eq!(node.id, node.canary.0.id, "it was dropped")).map(|node| node.id).collect()
    })
}

/// What most tests begin with: a chain that a root leads to, garbage before and behind it in memory, and small and large
/// objects of other types.
struct World {
    heap: Heap,
    log: Log,
    first: NodeRoot,
    /// To each node of the chain.
    weak: Vec<WeakNode>,
    /// To nodes that nothing leads to.
    garbage: Vec<WeakNode>,
    large: Vec<Root<[u8]>>,
}

const CHAIN: u32 = 40;
const GARBAGE: u32 = 12;
/// Ids from here on are those of garbage.
const DEAD: u32 = 1000;

impl World {
    fn new() -> Self {
        let mut heap = Heap::with_config(Config::default().collect_automatically(false).auto_drain(AutoDrain::Off));
        let log = Log::default();
        let (first, weak, garbage) = heap.enter(|cx| {
            let mut garbage = Vec::new();
            let mut first: Option<Gc<'_, Node<'_>>> = None;
            let mut weak = Vec::new();
            for id in (0..CHAIN).rev() {
                if id % (CHAIN / GARBAGE) == 0 && garbage.len() < GARBAGE as usize {
                    garbage.push(node(cx, &log, DEAD + garbage.len() as u32).downgrade(cx));
                }
                let new = node(cx, &log, id);
                link(cx, new, first);
                weak.push(new.downgrade(cx));
                first = Some(new);
            }
            weak.reverse();
            (first.unwrap().root(cx), weak, garbage)
        });
        let large = (0..6).map(|byte| heap.alloc_slice(vec![byte; 20_000])).collect::<Vec<Root<[u8]>>>();
        let mut world = Self { heap, log, first, weak, garbage, large };
        // Half of the large objects are garbage.
        world.large.truncate(3);
        world
    }

    /// Begins a collection and does so many increments of a unit each.
    fn begin(&mut self, steps: usize) -> Phase {
        self.heap.begin_major();
        assert_eq!(self.heap.phase(), Phase::Marking);
        for _ in 0..steps {
            self.heap.step(StepBudget::units(1));
        }
        self.heap.verify().unwrap();
        self.heap.phase()
    }

    /// Ends the collection that is under way, in increments.
    fn finish(&mut self) {
        finish(&mut self.heap);
    }

    fn node<R>(&mut self, edges: usize, scope: impl for<'gc> FnOnce(&'gc Mutator<'gc>, Gc<'gc, Node<'gc>>) -> R) -> R {
        let Self { heap, first, .. } = self;
        heap.enter(|cx| scope(cx, after(first.get(cx), edges)))
    }

    /// What was dropped so far, each once.
    fn dropped(&self) -> BTreeSet<u32> {
        let log = self.log.borrow();
        let once: BTreeSet<u32> = log.iter().copied().collect();
        assert_eq!(once.len(), log.len(), "each is dropped once");
        once
    }

    /// Checks that chain and large objects are as they were, that the garbage is gone, and what was dropped is what is not
    /// in the chain.
    fn check(&mut self, chain: &[u32], garbage_is_dropped: bool) {
        self.heap.verify().unwrap();
        assert_eq!(ids(&self.heap, &self.first), chain);
        for (byte, large) in self.large.iter().enumerate() {
            assert!(self.heap.get(large).iter().all(|&found| usize::from(found) == byte));
        }
        assert!(self.garbage.iter().all(|&weak| self.heap.is_dead(weak)));
        let dropped = self.dropped();
        assert!(chain.iter().all(|id| !dropped.contains(id)), "{dropped:?} was dropped");
        if garbage_is_dropped {
            assert!((DEAD..DEAD + GARBAGE).all(|id| dropped.contains(&id)));
        }
    }
}

fn finish(heap: &mut Heap) {
    let mut steps = 0;
    while heap.phase() != Phase::Idle {
        heap.step(StepBudget::units(50));
        heap.verify().unwrap();
        steps += 1;
        assert!(steps < 10_000, "the collection does not end");
    }
}

/// Does something after each number of increments, in a world of its own, until that is the number in which the collection
/// ends; says in which phase it is done.
fn at_every_point(mut act: impl FnMut(World, Phase)) {
    let mut seen = [0; 3];
    for steps in 0.. {
        let mut world = World::new();
        let phase = world.begin(steps);
        act(world, phase);
        match phase {
            Phase::Marking => seen[0] += 1,
            Phase::Sweeping => seen[1] += 1,
            _ => {
                seen[2] += 1;
                break;
            }
        }
    }
    assert!(seen[0] > CHAIN as usize && seen[1] > 5, "{seen:?}");
}

const ALL: [u32; CHAIN as usize] = {
    let mut ids = [0; CHAIN as usize];
    let mut id = 0;
    while id < CHAIN {
        ids[id as usize] = id;
        id += 1;
    }
    ids
};

#[test]
fn rule_02_what_is_garbage_when_a_collection_begins_is_gone_when_it_ends() {
    at_every_point(|mut world, _| {
        world.finish();
        world.check(&ALL, true);
        assert_eq!(world.heap.stats().live_objects, CHAIN as usize + 3);
        assert_eq!(world.dropped().len(), GARBAGE as usize);
        assert_eq!((world.heap.stats().collections, world.heap.stats().minor_collections), (1, 0));
    });
}

#[test]
fn rule_02_what_dies_while_a_collection_marks_is_gone_after_the_next() {
    at_every_point(|mut world, _| {
        world.node(20, |cx, middle| link(cx, middle, None));
        world.finish();
        assert!(world.weak[..21].iter().all(|&weak| !world.heap.is_dead(weak)));
        world.heap.begin_major();
        world.finish();
        world.check(&ALL[..21], true);
        assert!(world.weak[21..].iter().all(|&weak| world.heap.is_dead(weak)));
        assert_eq!(world.dropped().len(), (GARBAGE + CHAIN - 21) as usize);
    });
}

#[test]
fn rule_06_trap_01_what_is_upgraded_between_any_two_increments_lives_and_is_whole() {
    at_every_point(|mut world, _| {
        let middle = world.heap.upgrade(world.weak[20]).unwrap();
        // Nothing else leads to it any more.
        world.first = middle;
        world.finish();
        world.check(&ALL[20..], true);
        // It stays so in the collections after.
        world.heap.collect_minor();
        world.check(&ALL[20..], true);
        world.heap.collect();
        world.check(&ALL[20..], true);
        assert_eq!(world.dropped().len(), (GARBAGE + 20) as usize);
    });
}

#[test]
fn rule_06_trap_01_what_is_upgraded_in_a_scope_between_increments_and_stored_lives() {
    for holder in [0, 5, 19] {
        at_every_point(|mut world, _| {
            let weak = world.weak[21];
            world.node(19, |cx, last| link(cx, last, None));
            world.node(holder, |cx, holder| {
                let found = cx.upgrade(weak).unwrap();
                holder.borrow_mut(cx, |node| &node.many).push(found);
            });
            world.finish();
            world.heap.collect_minor();
            world.check(&ALL[..20], true);
            world.node(holder, |_, holder| {
                let many = holder.many.borrow();
                assert_eq!((many[0].id, after(many[0], (CHAIN - 22) as usize).id), (21, CHAIN - 1));
                assert!(
                    std::iter::successors(Some(many[0]), |node| node.next.get())
                        .all(|node| node.id == node.canary.0.id)
                );
            });
        });
    }
}

#[test]
fn rule_06_trap_03_garbage_can_be_upgraded_until_marking_ends_and_not_after() {
    at_every_point(|mut world, phase| {
        let found = world.heap.upgrade(world.garbage[3]);
        assert_eq!(found.is_some(), phase == Phase::Marking);
        for (index, &weak) in world.garbage.iter().enumerate() {
            assert_eq!(world.heap.is_dead(weak), phase != Phase::Marking, "garbage {index}");
            let in_scope = world.heap.enter(|cx| cx.upgrade(weak).is_some());
            assert_eq!(in_scope, phase == Phase::Marking);
        }
        world.finish();
        world.garbage.remove(3);
        world.check(&ALL, false);
        if let Some(found) = found {
            assert_eq!(ids(&world.heap, &found), [DEAD + 3]);
            assert!(!world.dropped().contains(&(DEAD + 3)));
            assert_eq!(world.dropped().len(), (GARBAGE - 1) as usize);
        }
    });
}

#[test]
fn rule_04_rule_05_rule_30_trap_02_between_increments_a_collection_has_decided_everything_or_nothing() {
    let mut world = World::new();
    let log = Rc::clone(&world.log);
    let told = Told::default();
    let (long, keys) = world.node(7, |cx, table| {
        let mut keys = Vec::new();
        for id in 0..10 {
            let [key, value] = [700 + id, 710 + id].map(|id| node(cx, &log, id));
            table.edit_ephemerons(cx, |node| &node.table).insert(key, value);
            cx.cleanup(key, (told.clone(), id), tell).unwrap();
            keys.push(key.downgrade(cx));
        }
        (cx.upgrade(keys[0]).unwrap().downgrade_long(cx), keys)
    });
    world.heap.begin_major();
    let mut seen = BTreeSet::new();
    while world.heap.phase() != Phase::Idle {
        world.heap.step(StepBudget::units(1));
        let decided = world.heap.phase() != Phase::Marking;
        seen.insert(decided);
        let mut dead: Vec<bool> = keys.iter().map(|&key| world.heap.is_dead(key)).collect();
        dead.extend(world.garbage.iter().map(|&weak| world.heap.is_dead(weak)));
        dead.push(world.heap.is_dead_long(long));
        assert!(dead.iter().all(|&dead| dead == decided), "{dead:?}");
        let entries = world.node(7, |_, table| (table.table.live_count(), table.table.keys().len()));
        assert_eq!(entries, if decided { (0, 0) } else { (10, 10) });
        assert_eq!(world.heap.stats().queued_cleanups, if decided { 10 } else { 0 });
        assert_eq!(told.borrow().len(), 0);
        assert!(world.dropped().is_empty() || decided);
    }
    assert_eq!(seen.len(), 2);
    world.heap.drain(Budget::unlimited()).unwrap();
    assert_eq!(*told.borrow(), (0..10).rev().collect::<Vec<u32>>());
    world.check(&ALL, true);
}

#[test]
fn rule_13_trap_15_a_callback_may_begin_a_collection_and_do_increments_of_it() {
    fn step(heap: &mut Heap, (told, rest): (Told, u32)) {
        heap.begin_major();
        heap.step(StepBudget::units(rest as usize % 7 + 1));
        told.borrow_mut().push(rest);
        assert!(heap.drain(Budget::unlimited()).is_err());
        if rest > 0 {
            let object = heap.alloc(rest);
            heap.cleanup(&object, (told, rest - 1), step).unwrap();
        }
        heap.verify().unwrap();
    }
    for config in [Config::default(), Config::default().zeal(true), Config::default().collect_automatically(false)] {
        let told = Told::default();
        let mut heap = Heap::with_config(config);
        let object = heap.alloc(0);
        heap.cleanup(&object, (told.clone(), 60), step).unwrap();
        drop(object);
        for _ in 0..3000 {
            heap.begin_major();
            heap.step(StepBudget::units(3));
            heap.enter(|_| ());
        }
        assert_eq!(*told.borrow(), (0..=60).rev().collect::<Vec<u32>>());
        heap.collect();
        assert_eq!(heap.stats().live_objects, 0);
    }
}

#[test]
fn rule_06_trap_14_looking_between_increments_extends_no_life() {
    let mut world = World::new();
    world.heap.begin_major();
    while world.heap.phase() != Phase::Idle {
        let marking = world.heap.phase() == Phase::Marking;
        for &weak in &world.garbage {
            assert_eq!(world.heap.is_dead(weak), !marking);
            assert!(!world.heap.refers_to(weak, &world.first));
            // A root, and a pointer, that are gone before the next increment.
            drop(world.heap.upgrade(weak));
            world.heap.enter(|cx| assert_eq!(cx.upgrade(weak).is_some(), marking));
        }
        world.heap.verify().unwrap();
        world.heap.step(StepBudget::units(1));
    }
    world.check(&ALL, true);
    assert_eq!(world.dropped().len(), GARBAGE as usize);
}

#[test]
fn rule_29_an_edge_that_moves_between_objects_between_increments_keeps_its_target_alive() {
    // From behind what is marked to before it, and the other way round.
    for (from, to) in [(CHAIN - 2, 0), (CHAIN - 2, 10), (1, CHAIN - 3), (30, 32)] {
        at_every_point(|mut world, _| {
            let (from, to) = (from as usize, to as usize);
            world.node(0, |cx, first| {
                let (source, destination) = (after(first, from), after(first, to));
                let moved = source.next.get().unwrap();
                destination.borrow_mut(cx, |node| &node.many).push(moved);
                link(cx, source, moved.next.get());
                link(cx, moved, None);
            });
            world.finish();
            let expected: Vec<u32> = ALL.iter().copied().filter(|&id| id as usize != from + 1).collect();
            world.check(&expected, true);
            let to = expected.iter().position(|&id| id as usize == to).unwrap();
            world.node(to, |_, holder| {
                let many = holder.many.borrow();
                assert_eq!((many.len(), many[0].id, many[0].canary.0.id), (1, from as u32 + 1, from as u32 + 1));
            });
            world.heap.collect();
            assert_eq!(world.dropped().len(), GARBAGE as usize);
        });
    }
}

#[test]
fn rule_29_an_edge_that_moves_within_an_array_between_increments_keeps_its_target_alive() {
    type Row<'gc> = [GcCell<Option<Gc<'gc, Node<'gc>>>>];
    // In a cell, in blocks of its own, and in a chunk of its own; with the units of a step.
    for (length, units) in [(700, 1), (3000, 4), (250_000, 4000)] {
        for (from, to) in
            [(length - 1, 0), (0, length - 1), (length / 2, 5), (127, 128), (128, 127), (15, 16), (16, 15)]
        {
            let mut steps = 0;
            loop {
                let log = Log::default();
                let mut heap = Heap::with_config(Config::default().collect_automatically(false));
                let row: Root<Row<'static>> = heap.enter(|cx| {
                    let row = cx.alloc_slice((0..length).map(|_| GcCell::new(None)));
                    row.set(cx, |row| &row[from], Some(node(cx, &log, 7)));
                    row.root(cx)
                });
                heap.begin_major();
                for _ in 0..steps {
                    heap.step(StepBudget::units(units));
                }
                let phase = heap.phase();
                heap.enter(|cx| {
                    let row = row.get(cx);
                    let moved = row.replace(cx, |row| &row[from], None);
                    row.set(cx, |row| &row[to], moved);
                });
                heap.verify().unwrap();
                while heap.step(StepBudget::units(units)) != Phase::Idle {}
                assert_eq!(heap.with(&row, |row| row[to].get().unwrap().canary.0.id), 7);
                heap.collect_minor();
                assert_eq!(heap.with(&row, |row| row[to].get().unwrap().canary.0.id), 7);
                assert_eq!(log.borrow().len(), 0);
                if phase == Phase::Idle {
                    break;
                }
                steps += 1;
            }
            assert!(steps > length / 128 * 16 / units.max(16), "the array is visited in pieces");
        }
    }
}

/// Roots that fill several pages of the table.
const ROOTS: usize = 1300;

#[test]
fn rule_03_roots_that_are_made_cloned_and_dropped_between_increments_keep_alive() {
    at_every_point(|mut world, _| {
        let log = Rc::clone(&world.log);
        // In a page of their own, and in place of old ones.
        let made: Vec<NodeRoot> =
            (0..3).map(|index| world.heap.enter(|cx| node(cx, &log, 500 + index).root(cx))).collect();
        let clones: Vec<NodeRoot> = world.weak[30..].iter().map(|&weak| world.heap.upgrade(weak).unwrap()).collect();
        let again: Vec<NodeRoot> = clones.to_vec();
        drop(clones);
        world.first = again[0].clone();
        world.finish();
        world.check(&ALL[30..], true);
        for (index, root) in made.iter().enumerate() {
            assert_eq!(ids(&world.heap, root), [500 + index as u32]);
        }
        for (index, root) in again.iter().enumerate() {
            assert_eq!(ids(&world.heap, root), ALL[30 + index..]);
        }
        drop((made, again));
        world.heap.collect();
        assert_eq!(world.dropped().len(), (GARBAGE + 30 + 3) as usize);
    });
}

#[test]
fn rule_03_roots_in_many_pages_may_change_places_between_increments() {
    let mut steps = 0;
    loop {
        let log = Log::default();
        let mut heap = Heap::with_config(Config::default().collect_automatically(false));
        let mut roots: Vec<NodeRoot> =
            heap.enter(|cx| (0..ROOTS).map(|id| node(cx, &log, id as u32).root(cx)).collect());
        heap.begin_major();
        for _ in 0..steps {
            heap.step(StepBudget::units(40));
        }
        let phase = heap.phase();
        // From pages that are looked at last to those that were first, and back.
        let moved: Vec<NodeRoot> = roots.drain(600..).collect();
        roots.truncate(100);
        let back: Vec<NodeRoot> = moved.to_vec();
        drop(moved);
        let first: Vec<NodeRoot> = roots.to_vec();
        drop(roots);
        heap.step(StepBudget::units(40));
        finish(&mut heap);
        for (id, root) in (0..100).chain(600..ROOTS as u32).zip(first.iter().chain(&back)) {
            assert_eq!(ids(&heap, root), [id]);
        }
        drop((first, back));
        heap.collect();
        assert_eq!(log.borrow().len(), ROOTS);
        if phase == Phase::Idle {
            break;
        }
        steps += 1;
    }
    assert!(steps > 10);
}

#[test]
fn rule_29_trap_04_an_entry_inserted_between_increments_keeps_its_value_whatever_is_marked_already() {
    // Keys, tables and values that are reached early and late: the number of edges from the root.
    for (table, key, value_before) in [(0, 38, false), (38, 0, false), (0, 1, true), (20, 20, true), (37, 38, true)] {
        at_every_point(|mut world, _| {
            let log = Rc::clone(&world.log);
            world.node(0, |cx, first| {
                let (table, key) = (after(first, table), after(first, key));
                // Either a new object or one that was garbage or marked before.
                let last = after(first, CHAIN as usize - 1);
                let value = if value_before { last } else { node(cx, &log, 600) };
                if value_before {
                    link(cx, after(first, CHAIN as usize - 2), None);
                }
                table.edit_ephemerons(cx, |node| &node.table).insert(key, value);
                // One whose key is dead when the scope ends, and one of garbage.
                table.edit_ephemerons(cx, |node| &node.table).insert(node(cx, &log, 601), node(cx, &log, 602));
            });
            world.finish();
            let chain = if value_before { &ALL[..ALL.len() - 1] } else { &ALL[..] };
            world.check(chain, true);
            let id = if value_before { CHAIN - 1 } else { 600 };
            let look = |world: &mut World| {
                world.node(0, |_, first| {
                    let (table, key) = (after(first, table), after(first, key));
                    let value = table.table.get(key).unwrap();
                    assert_eq!((value.id, value.canary.0.id), (id, id));
                    table.table.live_count()
                })
            };
            look(&mut world);
            world.heap.collect();
            assert_eq!(look(&mut world), 1);
            let dropped = world.dropped();
            assert!(dropped.contains(&601) && dropped.contains(&602) && !dropped.contains(&id));
        });
    }
}

#[test]
fn rule_29_trap_05_a_value_that_was_looked_up_between_increments_lives_though_its_key_dies() {
    let mut steps = 0;
    loop {
        let mut world = World::new();
        let log = Rc::clone(&world.log);
        let key = world.node(35, |cx, table| {
            let [key, value] = [700, 701].map(|id| node(cx, &log, id));
            table.edit_ephemerons(cx, |node| &node.table).insert(key, value);
            key.root(cx)
        });
        let phase = world.begin(steps);
        let value: NodeRoot =
            world.node(35, |cx, table| table.table.get(key.get(cx)).expect("the key is rooted").root(cx));
        drop(key);
        // Out of the table, or with it, or not at all.
        match steps % 3 {
            0 => world.node(35, |cx, table| table.edit_ephemerons(cx, |node| &node.table).clear()),
            1 => world.node(34, |cx, before| link(cx, before, None)),
            _ => {}
        }
        world.finish();
        assert_eq!(ids(&world.heap, &value), [701]);
        world.check(if steps % 3 == 1 { &ALL[..35] } else { &ALL }, true);
        world.heap.collect();
        assert_eq!(ids(&world.heap, &value), [701]);
        assert!(world.dropped().contains(&700));
        drop(value);
        world.heap.collect();
        assert!(world.dropped().contains(&701));
        if phase == Phase::Idle {
            break;
        }
        steps += 1;
    }
    assert!(steps > CHAIN as usize);
}

#[test]
fn rule_29_trap_07_a_table_that_goes_away_between_increments_keeps_nothing() {
    at_every_point(|mut world, _| {
        let log = Rc::clone(&world.log);
        let root: Root<Table<'static>> = world.node(0, |cx, first| {
            let table = cx.alloc(Table::new());
            let value = node(cx, &log, 800);
            value.edit_ephemerons(cx, |node| &node.table).insert(first, value);
            table.edit(cx).insert(first, value);
            table.root(cx)
        });
        world.heap.step(StepBudget::units(1));
        drop(root);
        world.finish();
        world.heap.collect();
        world.check(&ALL, true);
        assert!(world.dropped().contains(&800));
    });
}

/// Where callbacks note what they were told.
type Told = Opaque<Rc<RefCell<Vec<u32>>>>;

fn tell(_: &mut Heap, (told, id): (Told, u32)) {
    told.borrow_mut().push(id);
}

#[test]
fn rule_10_rule_11_rule_14_what_is_registered_between_increments_is_told_once() {
    at_every_point(|mut world, phase| {
        let told = Told::default();
        // On garbage that was upgraded, and on what lives.
        let mut expected = Vec::new();
        for (index, &weak) in world.garbage.clone().iter().enumerate() {
            let Some(root) = world.heap.upgrade(weak) else { continue };
            let id = DEAD + index as u32;
            match index % 3 {
                0 => _ = world.heap.cleanup(&root, (told.clone(), id), tell).unwrap(),
                1 => {
                    let tell = |heap: &mut Heap, _, payload: (Told, u32)| tell(heap, payload);
                    _ = world.heap.notify(weak, (told.clone(), id), tell).unwrap();
                }
                _ => _ = world.heap.guard(&root, u64::from(id)).unwrap(),
            }
            expected.push(id);
        }
        assert_eq!(expected.is_empty(), phase != Phase::Marking);
        let first = world.first.clone();
        world.heap.cleanup(&first, (told.clone(), 1), tell).unwrap();
        world.heap.guard(&first, 2).unwrap();
        drop(first);
        world.finish();
        world.heap.drain(Budget::unlimited()).unwrap();
        let mut seen: Vec<u32> = told.borrow().clone();
        while let Some(guarded) = world.heap.next_guarded() {
            let root: NodeRoot = guarded.object.downcast().unwrap();
            assert_eq!(ids(&world.heap, &root), [guarded.tag as u32]);
            seen.push(guarded.tag as u32);
        }
        seen.sort_unstable();
        assert_eq!(seen, expected);
        world.heap.collect();
        world.heap.drain(Budget::unlimited()).unwrap();
        world.check(&ALL, true);
        assert_eq!(world.dropped().len(), GARBAGE as usize);
        assert!(world.heap.next_guarded().is_none());
    });
}

#[test]
fn rule_10_what_a_guardian_brought_back_between_increments_lives() {
    let mut steps = 0;
    loop {
        let mut world = World::new();
        let log = Rc::clone(&world.log);
        world.heap.enter(|cx| {
            let guarded = node(cx, &log, 900);
            link(cx, guarded, Some(node(cx, &log, 901)));
            cx.guard(guarded, 9).unwrap();
        });
        world.heap.collect();
        assert_eq!(world.heap.stats().queued_guardians, 1);
        let phase = world.begin(steps);
        let root: NodeRoot = world.heap.next_guarded().unwrap().object.downcast().unwrap();
        world.finish();
        assert_eq!(ids(&world.heap, &root), [900, 901]);
        world.check(&ALL, true);
        drop(root);
        world.heap.collect();
        assert!(world.dropped().contains(&900) && world.dropped().contains(&901));
        if phase == Phase::Idle {
            break;
        }
        steps += 1;
    }
    assert!(steps > CHAIN as usize);
}

#[test]
fn rule_02_collecting_at_any_point_leaves_nothing_that_is_dead() {
    at_every_point(|mut world, _| {
        world.node(20, |cx, middle| link(cx, middle, None));
        world.large.truncate(2);
        world.heap.collect();
        assert_eq!(world.heap.phase(), Phase::Idle);
        world.check(&ALL[..21], true);
        assert_eq!(world.heap.stats().live_objects, 23);
        assert_eq!(world.dropped().len(), (GARBAGE + CHAIN - 21) as usize);
        assert!(world.weak[21..].iter().all(|&weak| world.heap.is_dead(weak)));
    });
}

#[test]
fn rule_27_minor_collections_at_any_point_free_what_is_new_and_keep_what_is_old() {
    at_every_point(|mut world, phase| {
        let log = Rc::clone(&world.log);
        let (kept, dead) = world.node(30, |cx, old| {
            // What is new hangs on what is old, or on a root, or on nothing.
            let [kept, rooted, dead] = [300, 301, 302].map(|id| node(cx, &log, id));
            old.borrow_mut(cx, |node| &node.many).push(kept);
            (rooted.root(cx), dead.downgrade(cx))
        });
        let large: Weak<[u8]> = {
            let root = world.heap.alloc_slice(vec![1; 30_000]);
            world.heap.downgrade(&root)
        };
        world.heap.collect_minor();
        world.heap.verify().unwrap();
        // While marking that ends the collection instead.
        assert_eq!(world.heap.stats().last.minor, phase != Phase::Marking);
        assert_ne!(world.heap.phase(), Phase::Marking);
        assert!(world.heap.is_dead(dead) && world.heap.is_dead(large));
        assert_eq!(ids(&world.heap, &kept), [301]);
        world.node(30, |_, old| assert_eq!(old.many.borrow()[0].canary.0.id, 300));
        for _ in 0..3 {
            let log = Rc::clone(&world.log);
            world.heap.enter(|cx| drop(node(cx, &log, 400).root(cx)));
            world.heap.step(StepBudget::units(1));
            world.heap.collect_minor();
            assert!(world.heap.stats().last.minor || phase == Phase::Idle);
            world.log.borrow_mut().retain(|&id| id != 400);
        }
        world.finish();
        world.check(&ALL, true);
        assert_eq!(world.heap.stats().live_objects, CHAIN as usize + 3 + 2);
        drop(kept);
        world.heap.collect();
        assert!(world.dropped().contains(&301) && world.dropped().contains(&302));
        assert_eq!(world.heap.stats().live_objects, CHAIN as usize + 3 + 1);
    });
}

#[test]
fn rule_20_a_shutdown_at_any_point_drops_everything_once_and_leaves_nothing_to_go_on_with() {
    at_every_point(|mut world, _| {
        // Some is dirty, and some of it lies in memory of its own.
        let large: Root<[GcCell<Option<Gc<'static, Node<'static>>>>]> =
            world.heap.enter(|cx| cx.alloc_slice((0..300_000).map(|_| GcCell::new(None::<Gc<'_, Node<'_>>>))).root(cx));
        world.heap.step(StepBudget::units(1));
        world.node(10, |cx, old| {
            link(cx, old, old.next.get());
            large.get(cx).set(cx, |row| &row[299_999], Some(old));
        });
        world.heap.shutdown(ShutdownOptions::default()).unwrap();
        assert_eq!(world.heap.phase(), Phase::Idle);
        assert_eq!(world.dropped().len(), (CHAIN + GARBAGE) as usize);
        assert!(world.weak.iter().all(|&weak| world.heap.upgrade(weak).is_none()));
        for _ in 0..3 {
            world.heap.step(StepBudget::units(100));
            world.heap.collect_minor();
            world.heap.begin_major();
            world.heap.collect();
            world.heap.enter(|_| ());
            world.heap.verify().unwrap();
        }
        assert_eq!(world.heap.phase(), Phase::Idle);
    });
}

#[test]
fn rule_20_a_heap_that_is_dropped_at_any_point_drops_everything_once() {
    at_every_point(|world, _| {
        let World { heap, log, first, large, .. } = world;
        drop(heap);
        drop((first, large));
        let once: BTreeSet<u32> = log.borrow().iter().copied().collect();
        assert_eq!((once.len(), log.borrow().len()), ((CHAIN + GARBAGE) as usize, (CHAIN + GARBAGE) as usize));
    });
}

#[test]
fn a_heap_may_be_moved_and_swapped_between_increments() {
    at_every_point(|mut world, _| {
        let mut other = World::new();
        other.begin(3);
        std::mem::swap(&mut world.heap, &mut other.heap);
        world.heap.step(StepBudget::units(7));
        other.heap.step(StepBudget::units(3));
        std::mem::swap(&mut world.heap, &mut other.heap);
        for mut world in [world, other] {
            world.finish();
            world.check(&ALL, true);
        }
    });
}

#[test]
fn large_objects_may_be_allocated_and_freed_at_any_point() {
    at_every_point(|mut world, _| {
        let (new, new_weak): (Vec<Root<[u8]>>, Vec<_>) = (0..5)
            .map(|byte| {
                let root = world.heap.alloc_slice(vec![byte + 100; 17_000 + usize::from(byte) * 9000]);
                let weak = world.heap.downgrade(&root);
                (root, weak)
            })
            .unzip();
        let gone = world.large.pop().map(|root| world.heap.downgrade(&root)).unwrap();
        let new: Vec<_> = new.into_iter().step_by(2).collect();
        // One more at each step.
        let mut more: Vec<Root<[u8]>> = Vec::new();
        while world.heap.phase() != Phase::Idle {
            more.push(world.heap.alloc_slice(vec![more.len() as u8; 20_000]));
            if more.len().is_multiple_of(3) {
                more.swap_remove(more.len() / 2);
            }
            world.heap.step(StepBudget::units(3));
            world.heap.verify().unwrap();
        }
        world.check(&ALL, true);
        for (index, root) in new.iter().enumerate() {
            assert!(world.heap.get(root).iter().all(|&byte| usize::from(byte) == 100 + index * 2));
        }
        assert!(more.iter().all(|root| {
            let bytes = world.heap.get(root);
            bytes.iter().all(|byte| *byte == bytes[0])
        }));
        world.heap.collect();
        assert!(world.heap.is_dead(gone));
        let dead = new_weak.iter().map(|&weak| world.heap.is_dead(weak)).collect::<Vec<_>>();
        assert_eq!(dead, [false, true, false, true, false]);
        assert_eq!(world.heap.stats().live_objects, CHAIN as usize + 2 + 3 + more.len());
    });
}

#[test]
fn rule_17_a_drop_between_increments_may_drop_and_clone_roots() {
    /// Drops a root when it is dropped, and clones another.
    struct Reaching {
        gone: Option<NodeRoot>,
        cloned: NodeRoot,
        into: Rc<RefCell<Vec<NodeRoot>>>,
    }
    impl Drop for Reaching {
        fn drop(&mut self) {
            self.gone.take();
            self.into.borrow_mut().push(self.cloned.clone());
            assert!(self.into.borrow().len().is_multiple_of(2), "every other one panics");
        }
    }
    let mut steps = 0;
    loop {
        let mut world = World::new();
        let clones = Rc::new(RefCell::new(Vec::new()));
        for index in 0..20 {
            let gone = world.heap.upgrade(world.garbage[index % 10]);
            let cloned = world.heap.upgrade(world.weak[index]).unwrap();
            world.heap.alloc(Opaque(Reaching { gone, cloned, into: Rc::clone(&clones) }));
            let large = Reaching { gone: None, cloned: world.first.clone(), into: Rc::clone(&clones) };
            world.heap.alloc((Opaque(large), [0_u8; 10_000]));
        }
        let phase = world.begin(steps);
        world.finish();
        for _ in 0..2 {
            world.heap.collect();
        }
        world.check(&ALL, true);
        assert_eq!((clones.borrow().len(), world.heap.stats().panics), (40, 20));
        for root in clones.borrow().iter() {
            ids(&world.heap, root);
        }
        if phase == Phase::Idle {
            break;
        }
        steps += 1;
    }
}

/// Panics when it is traced while the fuse is lit.
struct Mine<'gc> {
    fuse: Rc<Cell<bool>>,
    next: GcCell<Option<Gc<'gc, Mine<'gc>>>>,
    canary: Canary,
}

// SAFETY: the only edge is visited, and `At` renames the only brand.
unsafe impl Trace for Mine<'_> {
    type At<'a> = Mine<'a>;
    const NEEDS_TRACE: bool = true;
    fn trace<V: Visitor>(&self, visitor: &mut V) {
        assert!(!self.fuse.get(), "traced");
        self.next.trace(visitor);
    }
}

#[test]
fn rule_16_a_trace_that_panics_in_an_increment_gives_the_collection_up_and_nothing_is_lost() {
    let mut steps = 0;
    loop {
        let (fuse, log) = (Rc::new(Cell::new(false)), Log::default());
        let mut heap = Heap::with_config(Config::default().collect_automatically(false));
        let mine = |cx: &Mutator<'_>, id| {
            let (fuse, log) = (Rc::clone(&fuse), Rc::clone(&log));
            let _ = cx.stats();
            (fuse, Canary { id, log })
        };
        let first: Root<Mine<'static>> = heap.enter(|cx| {
            let mut first = None;
            for id in 0..60 {
                let (fuse, canary) = mine(cx, id);
                first = Some(cx.alloc(Mine { fuse, next: GcCell::new(first), canary }));
                let (fuse, canary) = mine(cx, 100 + id);
                cx.alloc(Mine { fuse, next: GcCell::new(first), canary });
            }
            first.unwrap().root(cx)
        });
        heap.begin_major();
        for _ in 0..steps {
            heap.step(StepBudget::units(1));
        }
        let before = heap.phase();
        fuse.set(true);
        let panicked =
            catch_unwind(AssertUnwindSafe(|| while heap.step(StepBudget::units(5)) != Phase::Idle {})).is_err();
        fuse.set(false);
        // At the end everything is traced already.
        assert!(panicked == (before == Phase::Marking) || (!panicked && steps > 60));
        heap.verify().unwrap();
        assert_eq!(heap.phase(), Phase::Idle);
        // Written, so that a minor collection would have to know.
        heap.enter(|cx| {
            let (fuse, canary) = mine(cx, 300);
            let first = first.get(cx);
            let new = cx.alloc(Mine { fuse, next: GcCell::new(first.next.get()), canary });
            first.set(cx, |mine| &mine.next, Some(new));
        });
        match steps % 3 {
            0 => heap.collect(),
            1 => heap.collect_minor(),
            _ => {
                heap.begin_major();
                finish(&mut heap);
            }
        }
        heap.verify().unwrap();
        let length = heap.with(&first, |first| {
            let chain = std::iter::successors(Some(first), |mine| mine.next.get());
            chain.inspect(|mine| assert_ne!(mine.canary.id, u32::MAX)).count()
        });
        assert_eq!(length, 61);
        heap.collect();
        assert_eq!(log.borrow().len(), 60);
        drop(first);
        heap.collect();
        assert_eq!(log.borrow().len(), 121);
        if before == Phase::Idle {
            break;
        }
        steps += 1;
    }
    assert!(steps > 60);
}

#[test]
fn a_program_that_writes_everything_between_increments_does_not_put_the_end_of_marking_off() {
    const NODES: usize = 3000;
    for units in [1, 50, 1000] {
        let log = Log::default();
        let mut heap = Heap::with_config(Config::default().collect_automatically(false));
        let nodes: Vec<NodeRoot> = heap.enter(|cx| (0..NODES).map(|id| node(cx, &log, id as u32).root(cx)).collect());
        heap.begin_major();
        let mut steps = 0;
        while heap.phase() == Phase::Marking {
            heap.enter(|cx| {
                for (index, root) in nodes.iter().enumerate() {
                    link(cx, root.get(cx), Some(nodes[(index + 1) % NODES].get(cx)));
                }
            });
            heap.step(StepBudget::units(units));
            steps += 1;
            assert!(steps * units.max(10) < 20 * NODES * 10, "marking does not end with {units} units");
        }
        finish(&mut heap);
        assert_eq!(heap.stats().live_objects, NODES);
    }
}

#[test]
fn marking_ends_within_the_goal_whatever_the_program_writes() {
    const NODES: usize = 20_000;
    let log = Log::default();
    let mut heap =
        Heap::with_config(Config::default().min_heap(16 << 20).increment_step(Some(64 << 10)).minor_step(None));
    let nodes: Vec<NodeRoot> = heap.enter(|cx| (0..NODES).map(|id| node(cx, &log, id as u32).root(cx)).collect());
    let (mut above, mut collections) = (0, 0);
    for round in 0..600_usize {
        heap.enter(|cx| {
            for (index, root) in nodes.iter().enumerate().skip(round % 7).step_by(7) {
                cx.alloc([round as u64; 8]);
                link(cx, root.get(cx), Some(nodes[(index + round) % NODES].get(cx)));
            }
        });
        let stats = heap.stats();
        let size = stats.live_bytes + stats.allocated_bytes;
        above = above.max(size.saturating_sub(stats.goal_bytes));
        collections = collections.max(stats.collections);
    }
    assert!(collections >= 3, "{collections} collections");
    // What a scope allocates is collected when it ends.
    assert!(above < 1 << 20, "{above} bytes above the goal");
    assert!(heap.stats().last.increments >= 2, "not all at once");
    heap.verify().unwrap();
}

#[test]
fn a_step_does_no_more_than_it_may() {
    const NODES: usize = 20_000;
    for units in [1, 10, 100, 1000] {
        let mut heap = Heap::with_config(Config::default().collect_automatically(false));
        let log = Log::default();
        let first: NodeRoot = heap.enter(|cx| {
            let mut first = None;
            for id in 0..NODES {
                let new = node(cx, &log, id as u32);
                link(cx, new, first);
                first = Some(new);
            }
            first.unwrap().root(cx)
        });
        heap.begin_major();
        let mut steps = 0;
        while heap.phase() == Phase::Marking {
            heap.step(StepBudget::units(units));
            steps += 1;
        }
        let last = heap.stats().last;
        assert_eq!((last.objects_traced, last.increments), (NODES, steps as u64));
        assert!(steps >= NODES / units && steps <= NODES / units + 40, "{steps} steps of {units} units");
        assert_eq!(heap.stats().collections, 1);
        finish(&mut heap);
        assert_eq!(heap.with(&first, |first| first.id) as usize, NODES - 1);
    }
}

#[test]
fn a_step_that_may_take_no_time_does_something_all_the_same() {
    let mut world = World::new();
    world.heap.begin_major();
    for _ in 0..10_000 {
        if world.heap.step(StepBudget::time(std::time::Duration::ZERO)) == Phase::Idle {
            break;
        }
    }
    assert_eq!(world.heap.phase(), Phase::Idle, "so a loop of such steps ends");
    world.check(&ALL, true);
}

#[test]
fn at_the_limit_a_collection_in_increments_makes_way_for_one_that_is_done_at_once() {
    let used = World::new().heap.stats().used_bytes;
    at_every_point(|mut world, _| {
        world.heap.set_limit(Some(used));
        // Garbage has as many bytes, and is to be collected first.
        let large = world.heap.try_alloc([1_u8; 20_000]).expect("garbage makes room");
        assert_eq!(world.heap.get(&large)[19_999], 1);
        world.finish();
        world.check(&ALL, true);
        assert!(world.heap.stats().used_bytes <= used);
        world.heap.set_limit(Some(0));
        world.heap.begin_major();
        world.heap.step(StepBudget::units(3));
        assert!(world.heap.try_alloc([1_u8; 20_000]).is_err());
        world.finish();
        world.check(&ALL, true);
    });
}

#[test]
fn rule_12_the_same_program_does_the_same_in_increments() {
    let run = || {
        let mut trail = Vec::new();
        let log = Log::default();
        let config = Config::default().min_heap(300 << 10).increment_step(Some(0)).growth_factor(1.3);
        let mut heap = Heap::with_config(config);
        let mut roots: Vec<NodeRoot> = Vec::new();
        for round in 0..4000_u32 {
            let root: NodeRoot = heap.enter(|cx| {
                let new = node(cx, &log, round);
                if let Some(root) = roots.get(round as usize * 7 % (roots.len() + 1)) {
                    link(cx, new, Some(root.get(cx)));
                    link(cx, root.get(cx), Some(new));
                }
                new.root(cx)
            });
            roots.push(root);
            if round % 3 != 0 {
                roots.swap_remove(round as usize * 31 % roots.len());
            }
            let stats = heap.stats();
            trail.push((heap.phase(), stats.collections, stats.live_objects, stats.used_bytes, log.borrow().len()));
        }
        let dropped = log.borrow().clone();
        (trail, dropped)
    };
    let (one, two) = (run(), run());
    assert!(one == two);
    assert!(one.0.iter().any(|point| point.0 == Phase::Marking) && one.0.last().unwrap().1 > 2);
}

#[test]
fn in_zeal_a_program_goes_through_all_stages_and_everything_is_verified() {
    let log = Log::default();
    let mut heap = Heap::with_config(Config::default().zeal(true));
    let first: NodeRoot = heap.enter(|cx| node(cx, &log, 0).root(cx));
    let mut seen = BTreeSet::new();
    for id in 1..200_u32 {
        heap.begin_major();
        heap.enter(|cx| {
            let (first, new) = (first.get(cx), node(cx, &log, id));
            link(cx, new, first.next.get());
            link(cx, first, Some(new));
            node(cx, &log, DEAD + id);
        });
        seen.insert(heap.phase() as u8);
    }
    assert_eq!(ids(&heap, &first).len(), 200);
    assert!(seen.len() >= 2, "{seen:?}");
    heap.collect();
    assert_eq!(log.borrow().len(), 199);
}

#[test]
fn rule_24_what_a_turn_keeps_lives_through_a_collection_in_increments() {
    let mut world = World::new();
    let (garbage, weak) = (world.garbage.clone(), world.weak.clone());
    let World { heap, log, first, .. } = &mut world;
    heap.begin_major();
    heap.turn(|heap| {
        for (index, &weak) in garbage.iter().enumerate() {
            heap.step(StepBudget::units(1));
            drop(heap.upgrade(weak));
            assert!(!heap.is_dead(weak), "garbage {index}");
        }
        heap.enter(|cx| link(cx, first.get(cx), None));
        heap.upgrade(weak[30]);
        finish(heap);
        assert!(garbage.iter().all(|&weak| !heap.is_dead(weak)));
        assert!(weak[30..].iter().all(|&weak| !heap.is_dead(weak)));
        assert_eq!(log.borrow().len(), 0);
    });
    heap.begin_major();
    finish(heap);
    world.check(&[0], true);
}

/// Sixteen bytes, so that four of them share a cache line, and two each dirty bit.
#[derive(Trace)]
struct Pair<'gc> {
    left: GcCell<Option<Gc<'gc, u64>>>,
    right: GcCell<Option<Gc<'gc, u64>>>,
}

#[test]
fn rule_29_neighbours_of_different_ages_are_written_between_increments_and_minor_collections() {
    type Slots<'gc> = [GcCell<Gc<'gc, Pair<'gc>>>];
    const SLOTS: usize = 3000;
    for zeal in [false, true] {
        let mut heap = Heap::with_config(Config::default().zeal(zeal).collect_automatically(false));
        let slots: Root<Slots<'static>> = heap.enter(|cx| {
            let pair = |_| GcCell::new(cx.alloc(Pair { left: GcCell::new(None), right: GcCell::new(None) }));
            cx.alloc_slice_with(SLOTS, pair).root(cx)
        });
        let mut model = vec![[None; 2]; SLOTS];
        let mut random = 88172645463325252_u64;
        let mut below = |bound: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % bound as u64) as usize
        };
        for step in 0..if zeal { 60 } else { 2000 } {
            heap.enter(|cx| {
                let slots: Gc<'_, Slots<'_>> = slots.get(cx);
                for write in 0..below(40) {
                    let (place, value) = (below(SLOTS), (step * 64 + write) as u64);
                    match below(8) {
                        // A new neighbour, where an old one was or will be.
                        0 => {
                            let pair = Pair { left: GcCell::new(Some(cx.alloc(value))), right: GcCell::new(None) };
                            slots.set(cx, |slots| &slots[place], cx.alloc(pair));
                            model[place] = [Some(value), None];
                        }
                        1 => {
                            slots[place].get().set(cx, |pair| &pair.right, None);
                            model[place][1] = None;
                        }
                        2..5 => {
                            slots[place].get().set(cx, |pair| &pair.left, Some(cx.alloc(value)));
                            model[place][0] = Some(value);
                        }
                        _ => {
                            let moved = slots[below(SLOTS)].get().left.get();
                            slots[place].get().set(cx, |pair| &pair.right, moved);
                            model[place][1] = moved.map(|value| *value);
                        }
                    }
                }
            });
            match below(10) {
                0 => heap.begin_major(),
                1 => heap.collect_minor(),
                2 if below(20) == 0 => heap.collect(),
                _ => {
                    heap.step(StepBudget::units(below(600)));
                }
            }
            heap.enter(|cx| {
                let slots: Gc<'_, Slots<'_>> = slots.get(cx);
                for (slot, expected) in slots.iter().zip(&model) {
                    let pair = slot.get();
                    let found = [pair.left.get(), pair.right.get()].map(|value| value.map(|value| *value));
                    assert_eq!(found, *expected, "after step {step}");
                }
            });
        }
    }
}

/// Counts how often it is traced.
struct Traced(Rc<Cell<usize>>);

// SAFETY: there is no edge, and the heap has one thread.
unsafe impl Trace for Traced {
    type At<'a> = Self;
    const NEEDS_TRACE: bool = true;
    fn trace<V: Visitor>(&self, _: &mut V) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_large_array_of_tables_is_visited_a_few_times_however_it_is_written_between_increments() {
    type Small<'gc> = Ephemerons<Gc<'gc, u64>, Gc<'gc, u64>>;
    #[derive(Trace)]
    struct Element<'gc> {
        table: Small<'gc>,
        /// Has a table as well, and is visited between two pieces of the array.
        other: Gc<'gc, Small<'gc>>,
        traced: Traced,
    }
    const ELEMENTS: usize = 20_000;
    let mut heap = Heap::with_config(Config::default().collect_automatically(false));
    let traced = Rc::new(Cell::new(0));
    let key = heap.alloc(7_u64);
    let arrays: Vec<Root<[Element<'static>]>> = (0..2)
        .map(|_| {
            heap.enter(|cx| {
                let element = |_| {
                    let other = cx.alloc(Small::new());
                    other.edit(cx).insert(key.get(cx), cx.alloc(1));
                    Element { table: Small::new(), other, traced: Traced(Rc::clone(&traced)) }
                };
                let array = cx.alloc_slice((0..ELEMENTS).map(element));
                for place in 0..ELEMENTS {
                    array.edit_ephemerons(cx, |array| &array[place].table).insert(key.get(cx), cx.alloc(2));
                }
                array.root(cx)
            })
        })
        .collect();
    for write in 0..2_u64 {
        traced.set(0);
        heap.begin_major();
        let mut steps = 0;
        while heap.phase() == Phase::Marking {
            heap.step(StepBudget::units(5000));
            steps += 1;
            if steps % 4 == 0 {
                // By turns in the one and in the other.
                heap.enter(|cx| {
                    for place in (0..ELEMENTS).step_by(97) {
                        for array in &arrays {
                            let edit = array.get(cx).edit_ephemerons(cx, |array| &array[place].table);
                            edit.insert(key.get(cx), cx.alloc(write + 10));
                        }
                    }
                });
            }
        }
        while heap.step(StepBudget::units(5000)) != Phase::Idle {}
        heap.verify().unwrap();
        assert!(traced.get() <= 12 * ELEMENTS, "{} visits of {} elements", traced.get(), 2 * ELEMENTS);
        for array in &arrays {
            heap.enter(|cx| {
                let array = array.get(cx);
                for (place, element) in array.iter().enumerate() {
                    let expected = if place % 97 == 0 { write + 10 } else { 2 };
                    assert_eq!(element.table.get(key.get(cx)).map(|value| *value), Some(expected));
                    assert_eq!(element.other.get(key.get(cx)).map(|value| *value), Some(1));
                }
            });
        }
    }
}
