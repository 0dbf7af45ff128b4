//! Attacks on minor collections: safe programs that try to have one lose an object, keep a dead one, or run something twice.
//!
//! docs/design/soundness.md says why each of them fails.
#![deny(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use lacuna::{
    AutoDrain, Budget, Config, Ephemerons, Gc, GcCell, GcRefCell, Heap, Mutator, Opaque, Root, Trace, Weak, WithTail,
};

const MIB: usize = 1 << 20;

/// Allocates garbage of a type in one scope, or says that there is no memory.
fn garbage<const SIZE: usize>(heap: &mut Heap, bytes: usize) -> bool {
    heap.enter(|cx| (0..bytes / SIZE).all(|_| cx.try_alloc([0_u8; SIZE]).is_ok()))
}

#[test]
fn memory_of_one_type_is_there_for_another_after_minor_collections() {
    let mut heap = Heap::with_config(Config::default().heap_limit(Some(64 * MIB)));
    let types: [fn(&mut Heap, usize) -> bool; 6] =
        [garbage::<16>, garbage::<48>, garbage::<96>, garbage::<160>, garbage::<200>, garbage::<240>];
    for garbage in types.into_iter().cycle().take(18) {
        for _ in 0..3 {
            assert!(garbage(&mut heap, 15 * MIB), "nothing is alive: {:?}", heap.stats());
        }
    }
    assert!(heap.stats().minor_collections > 0);
}

#[test]
fn memory_does_not_grow_with_the_number_of_types() {
    macro_rules! types {
        ($($size:literal)*) => { [$(garbage::<{ $size * 8 }> as fn(&mut Heap, usize) -> bool),*] };
    }
    let mut heap = Heap::new();
    let types = types!(2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20);
    for garbage in types {
        assert!(garbage(&mut heap, 24 * MIB));
        let used = heap.stats().used_bytes;
        assert!(used < 96 * MIB, "{} MiB are used and nothing is alive", used / MIB);
    }
    assert!(heap.stats().minor_collections > 0);
}

#[test]
fn a_scope_that_found_no_memory_is_followed_by_a_collection() {
    let mut heap = Heap::with_config(Config::default().heap_limit(Some(8 * MIB)));
    let large = |heap: &mut Heap, bytes: usize| {
        heap.enter(|cx| Some(cx.try_alloc_slice((0..bytes).map(|_| 0_u8)).ok()?.root(cx)))
    };
    let old = large(&mut heap, 5 * MIB);
    heap.collect();
    drop(old);
    // Too little is allocated for a collection to be due, however often it is tried.
    assert!(large(&mut heap, 4 * MIB).is_none());
    assert!(large(&mut heap, 4 * MIB).is_some(), "nothing else is alive");
}

/// Any object of the random programs.
#[derive(Trace, Clone, Copy)]
enum Any<'gc> {
    Pair(Gc<'gc, Pair<'gc>>),
    Wide(Gc<'gc, Wide<'gc>>),
    Array(Gc<'gc, Array<'gc>>),
    List(Gc<'gc, List<'gc>>),
    Class(Gc<'gc, Class<'gc>>),
    Shape(Gc<'gc, dyn Shape<'gc> + 'gc>),
}

/// An edge that changes.
type Edge<'gc> = GcCell<Option<Any<'gc>>>;

/// 40 bytes, so that cells start in the middle of granules.
#[derive(Trace)]
struct Pair<'gc> {
    id: u64,
    edges: [Edge<'gc>; 1],
    death: Opaque<Option<Death>>,
}

/// Several to a kibibyte, with an edge at the end.
#[derive(Trace)]
struct Wide<'gc> {
    id: u64,
    _filler: [u64; 33],
    edges: [Edge<'gc>; 3],
    death: Opaque<Option<Death>>,
}

type Array<'gc> = WithTail<(u64, Opaque<Option<Death>>), Edge<'gc>>;

#[derive(Trace)]
struct List<'gc> {
    id: u64,
    items: GcRefCell<Vec<Option<Any<'gc>>>>,
    death: Opaque<Option<Death>>,
}

#[derive(Trace)]
struct Class<'gc> {
    id: u64,
    first: Edge<'gc>,
    /// The key of the second edge, and the edge as its value; the key again, as one whose value is a number.
    key: GcCell<Option<Gc<'gc, Pair<'gc>>>>,
    table: Ephemerons<Gc<'gc, Pair<'gc>>, Any<'gc>>,
    plain: Ephemerons<Gc<'gc, Pair<'gc>>, u64>,
    death: Opaque<Option<Death>>,
}

trait Shape<'gc> {
    fn id(&self) -> u64;
    fn edge(&self) -> &Edge<'gc>;
}
lacuna::trace_dyn!(Shape<'gc>);

#[derive(Trace)]
struct Round<'gc> {
    edge: Edge<'gc>,
    id: u64,
    death: Opaque<Option<Death>>,
}

impl<'gc> Shape<'gc> for Round<'gc> {
    fn id(&self) -> u64 {
        self.id
    }
    fn edge(&self) -> &Edge<'gc> {
        &self.edge
    }
}

/// Notes that an object was dropped, and may do something about it.
struct Death {
    id: u64,
    world: Rc<World>,
}

#[derive(Default)]
struct World {
    dropped: RefCell<HashSet<u64>>,
    /// Roots that the next drops clone, drop and stash.
    stash: RefCell<Vec<AnyHandle>>,
    panics: Cell<u64>,
}

impl Drop for Death {
    fn drop(&mut self) {
        assert!(self.world.dropped.borrow_mut().insert(self.id), "object {} was dropped twice", self.id);
        let mut stash = self.world.stash.borrow_mut();
        if self.id.is_multiple_of(3)
            && let Some(root) = stash.first().cloned()
        {
            // The table of roots grows and shrinks under the collector's feet.
            (0..self.id % 700).for_each(|_| stash.push(root.clone()));
        } else if self.id % 3 == 1 {
            stash.truncate(1);
        }
        drop(stash);
        if self.id.is_multiple_of(11) {
            self.world.panics.set(self.world.panics.get() + 1);
            std::panic::resume_unwind(Box::new(()));
        }
    }
}

type AnyHandle = Root<Holder<'static>>;

/// What programs root: a root names a type, and this one leads to any.
#[derive(Trace)]
struct Holder<'gc>(Any<'gc>);

impl<'gc> Any<'gc> {
    fn id(self) -> u64 {
        match self {
            Any::Pair(object) => object.id,
            Any::Wide(object) => object.id,
            Any::Array(object) => object.header.0,
            Any::List(object) => object.id,
            Any::Class(object) => object.id,
            Any::Shape(object) => object.id(),
        }
    }

    fn edges(self) -> Vec<Option<Any<'gc>>> {
        let cells = |cells: &[Edge<'gc>]| cells.iter().map(|cell| cell.get()).collect();
        match self {
            Any::Pair(object) => cells(&object.edges),
            Any::Wide(object) => cells(&object.edges),
            Any::Array(object) => cells(&object.tail),
            Any::List(object) => object.items.borrow().to_vec(),
            Any::Class(object) => vec![object.first.get(), object.key.get().and_then(|key| object.table.get(key))],
            Any::Shape(object) => vec![object.edge().get()],
        }
    }

    fn set(self, cx: &Mutator<'gc>, random: &mut Random, to: Option<Any<'gc>>, model: &mut Model) {
        let index = random.below(self.edges().len().max(1));
        let edges = model.get_mut(&self.id()).expect("it is reachable");
        let id = to.map(Any::id);
        match self {
            Any::Pair(object) => object.set(cx, |object| &object.edges[index], to),
            Any::Wide(object) => object.set(cx, |object| &object.edges[index], to),
            Any::Array(object) if object.tail.is_empty() => return,
            Any::Array(object) => drop(object.replace(cx, |object| &object.tail[index], to)),
            Any::List(object) => {
                let mut items = object.borrow_mut(cx, |object| &object.items);
                if items.len() < 300 {
                    items.push(to);
                    edges.push(id);
                } else {
                    items.truncate(10);
                    edges.truncate(10);
                }
                return;
            }
            Any::Class(object) if index == 0 => object.set(cx, |object| &object.first, to),
            Any::Class(object) => {
                let Some(to) = to else { return };
                let key = match object.key.get() {
                    Some(key) if random.below(2) == 0 => key,
                    _ => {
                        // Keys are found through the object, so the entry lives as long as it does.
                        let key = cx.alloc(Pair { id: u64::MAX, edges: Default::default(), death: Opaque(None) });
                        object.set(cx, |object| &object.key, Some(key));
                        key
                    }
                };
                object.edit_ephemerons(cx, |object| &object.table).insert(key, to);
                object.edit_ephemerons(cx, |object| &object.plain).insert(key, to.id());
                edges[1] = id;
                return;
            }
            Any::Shape(object) => object.set(cx, |object| object.edge(), to),
        }
        edges[index] = id;
    }
}

/// What the program believes: the edges of each object.
type Model = HashMap<u64, Vec<Option<u64>>>;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }
}

fn make<'gc>(cx: &Mutator<'gc>, random: &mut Random, id: u64, world: &Rc<World>, to: Option<Any<'gc>>) -> Any<'gc> {
    let death = Opaque((random.below(2) == 0).then(|| Death { id, world: Rc::clone(world) }));
    let edge = || Edge::new(to);
    match random.below(20) {
        0..6 => Any::Pair(cx.alloc(Pair { id, edges: [edge()], death })),
        6..10 => Any::Wide(cx.alloc(Wide { id, _filler: [id; 33], edges: [edge(), edge(), edge()], death })),
        10..12 => {
            let length = [0, 1, 20, 400][random.below(4)];
            Any::Array(cx.alloc_tail((id, death), (0..length).map(|_| edge())))
        }
        // A large object.
        12 => Any::Array(cx.alloc_tail((id, death), (0..1000 + random.below(30_000)).map(|_| edge()))),
        13..15 => Any::List(cx.alloc(List { id, items: GcRefCell::new(vec![to; random.below(200)]), death })),
        15..17 => Any::Class(cx.alloc(Class {
            id,
            first: edge(),
            key: GcCell::new(None),
            table: Ephemerons::new(),
            plain: Ephemerons::new(),
            death,
        })),
        _ => Any::Shape(cx.alloc(Round { edge: edge(), id, death }).cast(|round| round as _)),
    }
}

/// Walks over everything that roots lead to, and compares it with what is believed.
fn check(heap: &mut Heap, roots: &[AnyHandle], model: &mut Model, world: &World) {
    let reached = heap.enter(|cx| {
        let mut reached = HashSet::new();
        let mut pending: Vec<Any<'_>> = roots.iter().map(|root| cx.get(root).0).collect();
        while let Some(object) = pending.pop() {
            let id = object.id();
            if !reached.insert(id) {
                continue;
            }
            let believed = model.get(&id).unwrap_or_else(|| panic!("object {id} was never made"));
            let edges = object.edges();
            assert!(edges.iter().map(|edge| edge.map(Any::id)).eq(believed.iter().copied()), "object {id}");
            if let Any::Class(class) = object
                && let Some(key) = class.key.get()
            {
                assert_eq!(class.plain.get(key), class.table.get(key).map(Any::id), "object {id}");
            }
            pending.extend(edges.into_iter().flatten());
        }
        reached
    });
    let dropped = world.dropped.borrow();
    assert!(reached.is_disjoint(&dropped), "an object was dropped that can be reached");
    model.retain(|id, _| reached.contains(id));
}

/// Plays a random program on a heap. Returns how many minor and major collections ran.
fn play(seed: u64, steps: usize, config: Config) -> (u64, u64) {
    let random = &mut Random(seed);
    let world = Rc::new(World::default());
    let mut heap = Heap::with_config(config);
    let mut model = Model::default();
    let mut roots: Vec<AnyHandle> = Vec::new();
    let mut made = 0;
    for step in 0..steps {
        heap.enter(|cx| {
            for _ in 0..random.below(60) {
                let some = |random: &mut Random| {
                    let mut object = cx.get(roots.get(random.below(roots.len().max(1)))?).0;
                    for _ in 0..random.below(6) {
                        let edges = object.edges();
                        match edges.get(random.below(edges.len().max(1))) {
                            Some(&Some(next)) => object = next,
                            _ => break,
                        }
                    }
                    Some(object)
                };
                match random.below(10) {
                    0..6 => {
                        made += 1;
                        let to = some(random);
                        let new = make(cx, random, made, &world, to);
                        let edges = new.edges().iter().map(|edge| edge.map(Any::id)).collect();
                        model.insert(made, edges);
                        match some(random) {
                            Some(owner) if random.below(8) > 0 => owner.set(cx, random, Some(new), &mut model),
                            _ => roots.push(cx.alloc(Holder(new)).root(cx)),
                        }
                    }
                    6..8 => {
                        if let (Some(owner), to) = (some(random), some(random)) {
                            owner.set(cx, random, to, &mut model);
                        }
                    }
                    8 => {
                        if let Some(owner) = some(random) {
                            owner.set(cx, random, None, &mut model);
                        }
                    }
                    _ => {
                        if let Some(object) = some(random) {
                            roots.push(cx.alloc(Holder(object)).root(cx));
                        }
                    }
                }
            }
        });
        while roots.len() > 6 + random.below(12) {
            roots.swap_remove(random.below(roots.len()));
        }
        *world.stash.borrow_mut() = roots.first().cloned().into_iter().collect();
        match random.below(12) {
            0..4 => heap.collect_minor(),
            4 => heap.collect(),
            _ => {}
        }
        if step % 3 == 0 {
            heap.verify().unwrap();
            check(&mut heap, &roots, &mut model, &world);
        }
    }
    check(&mut heap, &roots, &mut model, &world);
    roots.clear();
    world.stash.borrow_mut().clear();
    heap.collect();
    heap.collect();
    assert_eq!(heap.stats().live_objects, 0);
    assert_eq!(heap.stats().panics, world.panics.get());
    let stats = heap.stats();
    (stats.minor_collections, stats.collections - stats.minor_collections)
}

#[test]
fn random_programs_find_everything_as_they_left_it() {
    let steps = if cfg!(miri) { 10 } else { 400 };
    let configs = [
        Config::default().collect_automatically(false),
        Config::default().minor_step(Some(usize::MAX)),
        Config::default().minor_step(Some(64 << 10)).min_heap(256 << 10),
        Config::default().minor_step(Some(4 << 10)).min_heap(128 << 10).growth_factor(1.2),
        Config::default().zeal(true).minor_step(Some(16 << 10)).min_heap(512 << 10),
    ];
    for (seed, config) in (1..).zip(configs.into_iter().cycle().take(10)) {
        let (minor, major) = play(seed, steps, config);
        assert!(minor > 0 && major > 0, "{minor} minor and {major} major collections");
    }
}

#[derive(Trace)]
struct Node<'gc> {
    id: u64,
    next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
}

fn node<'gc>(cx: &Mutator<'gc>, id: u64) -> Gc<'gc, Node<'gc>> {
    cx.alloc(Node { id, next: GcCell::new(None) })
}

type Nodes = Root<[Gc<'static, Node<'static>>]>;

/// Objects that a collection has seen.
fn old_nodes(heap: &mut Heap, count: usize) -> Nodes {
    let nodes: Nodes = heap.enter(|cx| cx.alloc_slice((0..count).map(|id| node(cx, id as u64))).root(cx));
    heap.collect();
    nodes
}

#[test]
fn writes_while_minor_collections_are_left_out_are_seen_when_they_are_not() {
    // All new objects survive, so that minor collections do not pay, are left out, and are tried again.
    let mut heap = Heap::with_config(Config::default().minor_step(Some(16 << 10)).min_heap(256 << 10));
    let old = old_nodes(&mut heap, 2000);
    let (mut minor, mut major, mut changes) = (0, 0, 0);
    let mut lasting = Vec::new();
    for round in 0..4000_u64 {
        heap.enter(|cx| {
            let old = cx.get(&old);
            for i in 0..20 {
                let owner = old[(round * 20 + i) as usize % 2000];
                owner.set(cx, |owner| &owner.next, Some(node(cx, round)));
            }
            if round % 200 < 100 {
                lasting.extend((0..50).map(|id| node(cx, id).root(cx)));
            }
        });
        if round % 200 == 199 {
            lasting.clear();
        }
        let stats = heap.stats();
        let before = (minor, major);
        (minor, major) = (stats.minor_collections, stats.collections - stats.minor_collections);
        changes += u32::from(minor == before.0 && major != before.1);
        heap.enter(|cx| {
            for (i, owner) in cx.get(&old).iter().enumerate() {
                let written = (0..=round).rev().find(|round| (i as u64 + 2000 - round * 20 % 2000) % 2000 < 20);
                assert_eq!(owner.next.get().map(|next| next.id), written);
            }
        });
    }
    assert!(minor > 10 && changes > 10, "{minor} minor and {major} major collections");
}

#[test]
fn callbacks_and_guardians_of_new_objects_run_once_with_minor_collections_inside_them() {
    type Log = Rc<RefCell<Vec<u64>>>;
    let log = Log::default();
    let mut heap = Heap::with_config(Config::default().collect_automatically(false).auto_drain(AutoDrain::Off));
    let old = old_nodes(&mut heap, 10);
    for id in 0..100_u64 {
        let root: Root<Node<'static>> = heap.enter(|cx| node(cx, id).root(cx));
        let log = Rc::clone(&log);
        heap.cleanup_with(&root, old.clone(), move |heap, old| {
            log.borrow_mut().push(id);
            // A new object in an old one, while others die.
            heap.enter(|cx| {
                cx.get(&old)[3].set(cx, |old| &old.next, Some(node(cx, 1000 + id)));
                cx.cleanup(node(cx, 0), (), |_, ()| ()).unwrap();
            });
            heap.collect_minor();
            assert_eq!(heap.enter(|cx| cx.get(&old)[3].next.get().unwrap().id), 1000 + id);
        })
        .unwrap();
        heap.guard(&root, id).unwrap();
    }
    heap.collect_minor();
    assert_eq!(heap.drain(Budget::unlimited()).unwrap().ran, 0, "guardians have them");
    let mut again = 0;
    while let Some(guarded) = heap.next_guarded() {
        let root = guarded.object.downcast::<Node<'static>>().unwrap();
        assert_eq!(heap.with(&root, |node| node.id), guarded.tag);
        if guarded.tag % 2 == 0 && again < 100 {
            // It is old now, and comes back when everything is collected, once.
            heap.guard(&root, guarded.tag).unwrap();
            again += 1;
        }
        drop(root);
        heap.collect_minor();
        heap.verify().unwrap();
    }
    assert_eq!(again, 50);
    assert!(log.borrow().is_empty(), "old objects count as alive");
    heap.collect();
    assert_eq!(heap.stats().queued_guardians, 50);
    heap.drain(Budget::unlimited()).unwrap();
    assert_eq!(log.borrow().len(), 50);
    while heap.next_guarded().is_some() {}
    heap.collect();
    heap.drain(Budget::unlimited()).unwrap();
    let mut ran = log.borrow().clone();
    ran.sort_unstable();
    assert!(ran.into_iter().eq(0..100));
}

scoped_tls_hkt::scoped_thread_local!(static IN_SCOPE: for<'a> &'a (dyn Fn() + 'a));

/// Runs what the scope that sweeps it has left there.
struct Reaching;

impl Drop for Reaching {
    fn drop(&mut self) {
        if IN_SCOPE.is_set() {
            IN_SCOPE.with(|act| act());
        }
    }
}

#[test]
fn a_drop_in_the_sweep_after_a_minor_collection_may_write_to_old_objects() {
    let mut heap = Heap::with_config(Config::default().minor_step(Some(usize::MAX)));
    let old = old_nodes(&mut heap, 100);
    let written = Cell::new(0);
    for _ in 0..20 {
        heap.enter(|cx| (0..3000).for_each(|_| _ = cx.alloc(Opaque(Reaching))));
        heap.collect_minor();
        heap.enter(|cx| {
            let old = cx.get(&old);
            let write = || {
                let id = written.get();
                // The objects are of a type whose blocks are swept as well.
                let new = node(cx, id);
                old[id as usize % 100].set(cx, |old| &old.next, Some(new));
                IN_SCOPE.set(&|| (), || cx.alloc(Opaque(Reaching)));
                written.set(id + 1);
            };
            IN_SCOPE.set(&write, || (0..3000).for_each(|_| _ = cx.alloc(Opaque(Reaching))));
        });
        heap.collect_minor();
        heap.verify().unwrap();
        let end = written.get();
        heap.enter(|cx| {
            for (i, old) in (0..).zip(cx.get(&old).iter()) {
                let last = (i..end).step_by(100).last();
                assert_eq!(old.next.get().map(|next| next.id), last);
            }
        });
    }
    assert!(written.get() > 1000, "sweeps ran in scopes");
}

#[test]
fn observed_objects_die_with_minor_collections_whatever_their_blocks_become() {
    let mut heap = Heap::with_config(Config::default().collect_automatically(false));
    let mut dead = Vec::new();
    for round in 0..30_u64 {
        let kept = heap.enter(|cx| {
            let mut kept = Vec::new();
            for i in 0..400 {
                // Two types take turns, with a large object now and then.
                let (strong, weak) = match (round % 2, i % 50) {
                    (_, 0) => {
                        let large = cx.alloc_slice_with(3000 + i, |_| 0_u64);
                        dead.push(Dead::Large(large.downgrade(cx)));
                        continue;
                    }
                    (0, _) => {
                        let object = cx.alloc([round; 3]);
                        (None, Dead::Small(object.downgrade(cx)))
                    }
                    _ => {
                        let object = node(cx, round);
                        ((i % 7 == 0).then(|| object.root(cx)), Dead::Node(object.downgrade(cx)))
                    }
                };
                match strong {
                    Some(root) => kept.push((root, weak)),
                    None => dead.push(weak),
                }
            }
            kept
        });
        heap.collect_minor();
        assert!(dead.iter().all(|weak| weak.is_dead(&heap)), "round {round}");
        assert!(kept.iter().all(|(_, weak)| !weak.is_dead(&heap)), "round {round}");
        heap.verify().unwrap();
        dead.extend(kept.into_iter().map(|(_, weak)| weak));
        if round % 5 == 4 {
            heap.collect();
            assert_eq!(heap.stats().weak_slots, 0);
        } else {
            dead.retain(|weak| weak.is_dead(&heap));
        }
    }
}

enum Dead {
    Small(Weak<[u64; 3]>),
    Node(Weak<Node<'static>>),
    Large(Weak<[u64]>),
}

impl Dead {
    fn is_dead(&self, heap: &Heap) -> bool {
        match *self {
            Dead::Small(weak) => heap.is_dead(weak),
            Dead::Node(weak) => heap.is_dead(weak),
            Dead::Large(weak) => heap.is_dead(weak),
        }
    }
}

#[test]
fn a_shut_heap_and_a_heap_in_a_turn_bear_minor_collections() {
    let mut heap = Heap::with_config(Config::default().minor_step(Some(usize::MAX)));
    let old = old_nodes(&mut heap, 10);
    heap.turn(|heap| {
        let weak = heap.enter(|cx| {
            let new = node(cx, 7);
            cx.get(&old)[0].set(cx, |old| &old.next, Some(new));
            cx.get(&old)[0].set(cx, |old| &old.next, None);
            new.downgrade(cx)
        });
        heap.collect_minor();
        assert!(heap.stats().last.minor && !heap.is_dead(weak), "the turn keeps it");
        // A write that is remembered, and no collection before the end.
        heap.enter(|cx| cx.get(&old)[1].set(cx, |old| &old.next, Some(node(cx, 8))));
        heap.shutdown(lacuna::ShutdownOptions::default()).unwrap();
        heap.collect_minor();
        assert!(heap.is_dead(weak));
    });
    heap.collect_minor();
    heap.verify().unwrap();
    drop(heap);
    drop(old);
}
