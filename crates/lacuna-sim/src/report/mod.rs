//! What a replay found, ready to be shown.
//!
//! Owns the figures and their names; how they look is the business of [`text`], [`json`] and [`chart`], each of which
//! needs nothing else than a [`Report`]. The names are those of the JSON document: counts are numbers of things,
//! everything in bytes or seconds says so.

pub mod chart;
pub mod json;
pub mod text;

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use crate::measure::{Memory, Phases};
use crate::outcome::{Group, Outcome};
use crate::snapshot::Snapshot;

/// Everything a replay found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version of this program.
    pub version: &'static str,
    /// What was replayed.
    pub dump: Dump,
    /// The heap, built and not yet collected.
    pub built: Built,
    /// The collections: the first with nothing cut, then one for each name.
    pub collections: Vec<Collection>,
    /// The collection after the root was let go.
    pub released: Collection,
}

/// A dump.
#[derive(Clone, Debug, Serialize)]
pub struct Dump {
    /// Where it came from.
    pub source: String,
    /// Nodes.
    pub nodes: usize,
    /// Edges, strong and weak.
    pub edges: usize,
    /// Edges that hold their target.
    pub strong_edges: usize,
    /// Edges that don't.
    pub weak_edges: usize,
    /// The sum of the nodes' sizes in the dumped program.
    pub self_size_bytes: u64,
    /// Reading and checking it.
    pub read_seconds: f64,
}

/// A heap after a dump was built in it.
#[derive(Clone, Debug, Serialize)]
pub struct Built {
    /// Objects: one for each node.
    pub objects: usize,
    /// Their headers and edges.
    pub payload_bytes: u64,
    /// The length words of those whose number of edges isn't a matter of type.
    pub length_word_bytes: u64,
    /// Building them.
    pub build_seconds: f64,
}

/// One collection.
#[derive(Clone, Debug, Serialize)]
pub struct Collection {
    /// The name that was cut before it.
    pub cut: Option<String>,
    /// Edges of that name that were removed from living objects.
    pub edges_cut: u64,
    /// Those of them whose object survived.
    pub edges_cut_at_survivors: u64,
    /// What survived.
    pub survivors: Objects,
    /// What died in it.
    pub dead: Objects,
    /// Weak edges of the survivors.
    pub weak_edges: WeakEdges,
    /// Wall time of the whole collection.
    pub collect_seconds: f64,
    /// The parts of it that the heap measured.
    pub phases: Phases,
    /// The heap's memory afterwards.
    pub memory: Memory,
    /// Whether the survivors, and all their edges, are those a search over the dump finds. A report is made only if so.
    pub agrees_with_reference: bool,
    /// The same by type, in the order of the dump's own list of types; types without objects are left out.
    pub types: Vec<Type>,
}

/// Some objects.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Objects {
    /// How many.
    pub objects: u64,
    /// Bytes they took in the dumped program.
    pub self_size_bytes: u64,
    /// Bytes of their headers and edges here.
    pub payload_bytes: u64,
}

/// Weak edges of survivors.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct WeakEdges {
    /// Those whose target is alive.
    pub kept: u64,
    /// Those whose target died in this collection.
    pub cleared: u64,
}

/// The objects of one type.
#[derive(Clone, Debug, Serialize)]
pub struct Type {
    /// As the dump calls it.
    #[serde(rename = "type")]
    pub name: String,
    /// What survived.
    pub survivors: Objects,
    /// What died in this collection.
    pub dead: Objects,
}

impl From<Group> for Objects {
    fn from(group: Group) -> Self {
        Objects { objects: group.objects, self_size_bytes: group.self_size, payload_bytes: group.payload }
    }
}

impl Dump {
    /// Describes `snapshot`.
    pub fn new(source: String, snapshot: &Snapshot, read: Duration) -> Self {
        let strong_edges = snapshot.strong_edge_count();
        Dump {
            source,
            nodes: snapshot.node_count(),
            edges: snapshot.edge_count(),
            strong_edges,
            weak_edges: snapshot.edge_count() - strong_edges,
            self_size_bytes: snapshot.total_size(),
            read_seconds: read.as_secs_f64(),
        }
    }
}

impl Collection {
    /// Describes the outcome of the collection after `cut`.
    pub fn new(snapshot: &Snapshot, cut: Option<&str>, outcome: &Outcome) -> Self {
        let types = snapshot.node_types().iter().zip(&outcome.types);
        Collection {
            cut: cut.map(str::to_owned),
            edges_cut: outcome.cut_edges,
            edges_cut_at_survivors: outcome.cut_at_survivors,
            survivors: outcome.survivors().into(),
            dead: outcome.dead().into(),
            weak_edges: WeakEdges { kept: outcome.weak_kept, cleared: outcome.weak_cleared },
            collect_seconds: outcome.time.as_secs_f64(),
            phases: outcome.phases,
            memory: outcome.memory,
            agrees_with_reference: true,
            types: types
                .filter(|(_, outcome)| outcome.survivors.objects + outcome.dead.objects > 0)
                .map(|(kind, outcome)| Type {
                    name: kind.name.clone(),
                    survivors: outcome.survivors.into(),
                    dead: outcome.dead.into(),
                })
                .collect(),
        }
    }

    /// What came before it, in words.
    pub fn title(&self) -> String {
        match &self.cut {
            None => "nothing cut".to_owned(),
            Some(name) => format!("cut {name}"),
        }
    }
}

impl Report {
    /// The first collection, of a heap from which nothing was cut.
    pub fn first(&self) -> &Collection {
        self.collections.first().unwrap_or(&self.released)
    }

    /// The last collection before the root was let go.
    pub fn last(&self) -> &Collection {
        self.collections.last().unwrap_or(&self.released)
    }
}

/// Text from a dump or a command line, as it may be shown: a control character could be an instruction to a terminal,
/// and has no place in SVG.
fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(text.replace(char::is_control, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}
