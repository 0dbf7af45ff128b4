//! The replay: collect, look who is there, cut, collect again.
//!
//! Owns the heap a dump is in, and the order of these steps. After each collection the heap is compared with the
//! reference, so a replay that ends without an error is a proof that the heap kept what it must and nothing else.

use std::time::{Duration, Instant};

use lacuna::Heap;

use crate::cut::Cut;
use crate::examine::{Expected, Mismatch};
use crate::load::{Loaded, load};
use crate::measure::{Memory, Phases};
use crate::model::Edge;
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::snapshot::Snapshot;

/// A dump in a heap.
pub struct Replay<'s> {
    snapshot: &'s Snapshot,
    loaded: Loaded,
    /// Everything cut so far.
    cut: Cut,
    /// For each node, whether its object was alive after the last collection.
    alive: Vec<bool>,
    build_time: Duration,
}

impl<'s> Replay<'s> {
    /// Builds the dump in a heap.
    pub fn new(snapshot: &'s Snapshot, progress: &Progress) -> Self {
        let start = Instant::now();
        let loaded = load(snapshot, progress);
        Replay {
            snapshot,
            loaded,
            cut: Cut::nothing(),
            alive: vec![true; snapshot.node_count()],
            build_time: start.elapsed(),
        }
    }

    /// How long building took.
    pub fn build_time(&self) -> Duration {
        self.build_time
    }

    /// Bytes of headers and edges of all objects that were built.
    pub fn payload(&self) -> u64 {
        self.loaded.payloads.iter().sum()
    }

    /// Bytes of the length words of all objects that were built.
    pub fn length_words(&self) -> u64 {
        self.loaded.length_words
    }

    /// The heap.
    pub fn heap(&self) -> &Heap {
        &self.loaded.heap
    }

    /// Collects, and compares what is left with the reference.
    ///
    /// # Errors
    ///
    /// At the first difference.
    pub fn collect(&mut self) -> Result<Outcome, Mismatch> {
        let reference = Reference::search(self.snapshot, &self.cut);
        let time = self.timed_collection();
        self.examine(&reference, 0, 0, time)
    }

    /// Removes the edges called `name` from every living object, collects, and compares as [`Replay::collect`] does.
    ///
    /// # Errors
    ///
    /// At the first difference.
    pub fn cut(&mut self, name: &str) -> Result<Outcome, Mismatch> {
        let new = Cut::named(self.snapshot, name);
        let before = self.cut.clone();
        self.cut.add(self.snapshot, name);
        let reference = Reference::search(self.snapshot, &self.cut);

        let snapshot = self.snapshot;
        let index = &self.loaded.index;
        let (cut_edges, cut_at_survivors) = self.loaded.heap.enter(|cx| {
            let mut cut_edges = 0;
            let mut cut_at_survivors = 0;
            for node in 0..snapshot.node_count() as u32 {
                let Some(object) = index[node as usize].upgrade(cx) else {
                    continue;
                };
                for (place, edge) in snapshot.edges_of(node).enumerate() {
                    let edge = snapshot.edge(edge);
                    if new.removes(edge) && !before.removes(edge) {
                        object.set(cx, place, Edge::Empty);
                        cut_edges += 1;
                        cut_at_survivors += u64::from(reference.alive[node as usize]);
                    }
                }
            }
            (cut_edges, cut_at_survivors)
        });
        let time = self.timed_collection();
        self.examine(&reference, cut_edges, cut_at_survivors, time)
    }

    /// Lets go of the root and collects: nothing must be left.
    ///
    /// # Errors
    ///
    /// When an object is.
    pub fn release(&mut self) -> Result<Outcome, Mismatch> {
        self.loaded.root = Box::new(());
        let nothing = Reference { alive: vec![false; self.snapshot.node_count()] };
        let time = self.timed_collection();
        self.examine(&nothing, 0, 0, time)
    }

    fn timed_collection(&mut self) -> Duration {
        let start = Instant::now();
        self.loaded.heap.collect();
        start.elapsed()
    }

    fn examine(
        &mut self,
        reference: &Reference,
        cut_edges: u64,
        cut_at_survivors: u64,
        time: Duration,
    ) -> Result<Outcome, Mismatch> {
        let mut outcome = Outcome {
            cut_edges,
            cut_at_survivors,
            types: Vec::new(),
            weak_kept: 0,
            weak_cleared: 0,
            time,
            phases: Phases::of(&self.loaded.heap),
            memory: Memory::of(&self.loaded.heap),
        };
        let expected = Expected { snapshot: self.snapshot, cut: &self.cut, reference, before: &self.alive };
        let Loaded { heap, index, payloads, .. } = &mut self.loaded;
        heap.enter(|cx| expected.compare(cx, index, payloads, &mut outcome))?;
        let expected = outcome.survivors().objects;
        let found = outcome.memory.live_objects;
        if found != expected {
            return Err(Mismatch::Count { expected, found });
        }
        self.alive.clone_from(&reference.alive);
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    //! That the comparison finds a difference, whatever it is.

    use super::*;
    use crate::input::{DEFAULT_LIMIT, read_from};
    use crate::model::Node;

    /// The root holds 1, which holds 2, and has a weak edge to 2.
    const DUMP: &str = concat!(
        r#"{"snapshot":{"meta":{"node_fields":["type","name","self_size","edge_count"],"node_types":[["object"]],"#,
        r#""edge_fields":["type","name_or_index","to_node"],"edge_types":[["property","weak"]]}},"#,
        r#""nodes":[0,0,8,2, 0,0,8,1, 0,0,8,0],"edges":[0,0,4, 1,0,8, 0,0,8],"strings":["x"]}"#
    );

    /// What a collection reports after `damage`, which gets the objects of all nodes.
    fn after(damage: impl for<'gc> FnOnce(&lacuna::Mutator<'gc>, [Node<'gc>; 3])) -> String {
        let snapshot = read_from(DUMP.as_bytes(), DEFAULT_LIMIT).expect("the dump is sound");
        let mut replay = Replay::new(&snapshot, &Progress::hidden());
        replay.collect().expect("the heap agrees with the search");
        let Loaded { heap, index, .. } = &mut replay.loaded;
        heap.enter(|cx| {
            let object = |node: usize| index[node].upgrade(cx).expect("everything is alive");
            damage(cx, [object(0), object(1), object(2)]);
        });
        match replay.collect() {
            Ok(_) => "no difference".to_owned(),
            Err(mismatch) => mismatch.to_string(),
        }
    }

    #[test]
    fn no_damage_no_difference() {
        assert_eq!(after(|_, _| ()), "no difference");
    }

    #[test]
    fn an_object_that_died_is_missed() {
        assert_eq!(
            after(|cx, [_, one, _]| one.set(cx, 0, Edge::Empty)),
            "node 2: expected an object that lives by a search over the dump, found one that died in the heap"
        );
    }

    #[test]
    fn an_object_that_lives_is_noticed() {
        let snapshot = read_from(DUMP.as_bytes(), DEFAULT_LIMIT).expect("the dump is sound");
        let mut replay = Replay::new(&snapshot, &Progress::hidden());
        let Loaded { heap, index, .. } = &mut replay.loaded;
        let leak = heap.enter(|cx| index[2].upgrade(cx).map(|object| object.root(cx)));
        let mismatch = replay.cut("x").expect_err("a root holds node 2");
        assert_eq!(
            mismatch.to_string(),
            "node 2: expected one that died by a search over the dump, found an object that lives in the heap"
        );
        drop(leak);
    }

    #[test]
    fn a_wrong_edge_is_noticed() {
        assert_eq!(
            after(|cx, [root, _, two]| root.set(cx, 1, Edge::from(two))),
            "node 0: expected edge 1 to be a weak edge to node 2 by a search over the dump, found a strong edge to \
             node 2 in the heap"
        );
        assert_eq!(
            after(|cx, [root, one, _]| root.set(cx, 1, Edge::from(one.downgrade(cx)))),
            "node 0: expected edge 1 to be a weak edge to node 2 by a search over the dump, found a weak edge to \
             node 1 in the heap"
        );
    }

    #[test]
    fn an_object_of_nobody_is_counted() {
        let snapshot = read_from(DUMP.as_bytes(), DEFAULT_LIMIT).expect("the dump is sound");
        let mut replay = Replay::new(&snapshot, &Progress::hidden());
        let leak = replay.loaded.heap.enter(|cx| {
            let tag = crate::model::Tag { node: 0, name: 0, size: 0 };
            Node::alloc(cx, crate::snapshot::NodeKind::Object, tag, 0).root(cx)
        });
        assert_eq!(
            replay.collect().expect_err("a root holds another object"),
            Mismatch::Count { expected: 3, found: 4 }
        );
        drop(leak);
    }
}
