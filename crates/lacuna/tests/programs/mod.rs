//! Random programs, which link and write objects of many shapes between collections, and compare each edge with what was
//! written.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use lacuna::{Config, Ephemerons, Gc, GcCell, GcRefCell, Heap, Mutator, Opaque, Root, Trace, WithTail};

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

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
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

/// Plays a random program on a heap, with something between any two scopes. Returns how many minor and major collections
/// ran.
pub(crate) fn play(
    seed: u64,
    steps: usize,
    config: Config,
    mut between: impl FnMut(&mut Heap, &mut Random),
) -> (u64, u64) {
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
        between(&mut heap, random);
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
