//! Heap snapshots in the format of V8, which the memory panel of Chrome DevTools opens.
//!
//! The format is JSON: `snapshot.meta` names the fields, `nodes` and `edges` are flat arrays of integers, an edge's
//! target is the position of its first field in `nodes`, a node's edges follow those of the node before it, and names
//! are positions in `strings`. Node 0 is a synthetic root.

use std::format;
use std::io::{self, Write};
use std::vec::Vec;

use hashbrown::HashMap;

use super::graph::Walk;
use crate::cycle::core::Core;
use crate::object::descriptor::ObjectRef;

const META: &str = r#"{"node_fields":["type","name","id","self_size","edge_count"],"node_types":[["hidden","array","string","object","code","closure","regexp","number","native","synthetic","concatenated string","sliced string","symbol","bigint","object shape"],"string","number","number","number"],"edge_fields":["type","name_or_index","to_node"],"edge_types":[["context","element","property","internal","hidden","shortcut","weak"],"string_or_number","node"],"trace_function_info_fields":[],"trace_node_fields":[],"sample_fields":[],"location_fields":[]}"#;

/// Fields of a node.
const FIELDS: usize = 5;
const OBJECT: usize = 3;
const SYNTHETIC: usize = 9;
const ELEMENT: usize = 1;

/// Writes everything that can be reached.
pub(crate) fn write(core: &Core, mut out: impl Write) -> io::Result<()> {
    let mut walk = Walk::from_roots(core);
    let mut positions: HashMap<ObjectRef, usize> = HashMap::new();
    let mut order: Vec<(ObjectRef, Vec<ObjectRef>)> = Vec::new();
    while let Some((object, edges)) = walk.next() {
        positions.insert(object, order.len() + 1);
        order.push((object, edges));
    }
    // The value of an ephemeron hangs on the object that holds the table; the format has no edge from two nodes.
    for (holder, target) in core::mem::take(&mut walk.dependent) {
        order[positions[&holder] - 1].1.push(target);
    }
    let mut rooted: Vec<ObjectRef> = core.roots.targets().collect();
    rooted.extend(core.finalizers.guarded_slots().filter_map(|slot| core.weak.slot(slot).object()));
    rooted.sort_unstable_by_key(|object| positions[object]);
    rooted.dedup();

    let edges: usize = rooted.len() + order.iter().map(|(_, edges)| edges.len()).sum::<usize>();
    write!(out, "{{\"snapshot\":{{\"meta\":{META},\"node_count\":{},\"edge_count\":{edges}", order.len() + 1)?;
    write!(out, ",\"trace_function_count\":0}},\n\"nodes\":[{SYNTHETIC},0,1,0,{}", rooted.len())?;
    let mut strings = Strings::new("(roots)");
    for (position, (object, edges)) in order.iter().enumerate() {
        let name = strings.position((object.descriptor().type_name)());
        // Ids of objects are odd in snapshots that V8 writes.
        let id = position * 2 + 3;
        write!(out, ",\n{OBJECT},{name},{id},{},{}", object.bytes(), edges.len())?;
    }
    write!(out, "],\n\"edges\":[")?;
    let mut separator = "";
    let all = core::iter::once(&rooted).chain(order.iter().map(|(_, edges)| edges));
    for edges in all {
        for (index, target) in edges.iter().enumerate() {
            write!(out, "{separator}{ELEMENT},{index},{}", positions[target] * FIELDS)?;
            separator = ",\n";
        }
    }
    write!(out, "],\n\"trace_function_infos\":[],\"trace_tree\":[],\"samples\":[],\"locations\":[],\n\"strings\":[")?;
    let mut separator = "";
    for name in &strings.names {
        // Names of Rust types have neither quotes nor control characters; `Debug` escapes what they might have, and what
        // it escapes with braces JSON does not know.
        let quoted = format!("{name:?}").replace("\\'", "'");
        write!(out, "{separator}{quoted}")?;
        separator = ",\n";
    }
    writeln!(out, "]}}")?;
    out.flush()
}

/// Names, each with its position.
struct Strings {
    names: Vec<&'static str>,
    positions: HashMap<&'static str, usize>,
}

impl Strings {
    fn new(first: &'static str) -> Self {
        Self { names: Vec::from([first]), positions: HashMap::from([(first, 0)]) }
    }

    fn position(&mut self, name: &'static str) -> usize {
        *self.positions.entry(name).or_insert_with(|| {
            self.names.push(name);
            self.names.len() - 1
        })
    }
}
