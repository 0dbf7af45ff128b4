//! What must agree between the parts of a dump.
//!
//! Owns the invariants of [`Snapshot`] that no single number shows: counts that are as claimed, edges that all belong to
//! a node, names and targets that exist, a root. A dump becomes a [`Snapshot`] here and nowhere else.

use super::error::{Item, ParseError};
use super::meta::Header;
use super::{Edges, Nodes, Snapshot, Texts};

/// The number of the node whose first field is at `place`, or what was expected of `place`.
pub(super) fn target(place: u64, width: u64, nodes: usize) -> Result<u32, String> {
    if !place.is_multiple_of(width) {
        return Err(format!("`to_node` to be a multiple of {width}, the number of node fields"));
    }
    let node = place / width;
    match u32::try_from(node) {
        Ok(node) if (node as usize) < nodes => Ok(node),
        _ => Err(format!("`to_node` to be the place of one of the {nodes} nodes")),
    }
}

/// The checks that need the whole file.
pub(super) fn assemble(header: Header, nodes: Nodes, edges: Edges, texts: Texts) -> Result<Snapshot, ParseError> {
    let claims = [("node", "nodes", header.node_count, nodes.len()), ("edge", "edges", header.edge_count, edges.len())];
    for (what, list, claimed, held) in claims {
        if let Some(claimed) = claimed.filter(|&claimed| claimed != held as u64) {
            return Err(ParseError::contradiction(
                None,
                format!("`{list}` to hold {claimed} records, as `{what}_count` says"),
                held.to_string(),
            ));
        }
    }
    let counted = nodes.first_edge.last().copied().unwrap_or(0);
    if counted as usize != edges.len() {
        return Err(ParseError::contradiction(
            None,
            format!("{counted} edges, the sum of the nodes' `edge_count`"),
            edges.len().to_string(),
        ));
    }
    let in_table = |name: u32| (name as usize) < texts.len();
    let outside = |item, name: u32| {
        ParseError::contradiction(
            Some(item),
            format!("a name among the {} entries of `strings`", texts.len()),
            format!("number {name}"),
        )
    };
    for (index, &name) in nodes.names.iter().enumerate() {
        if !in_table(name) {
            return Err(outside(Item::Node(index), name));
        }
    }
    for (index, (&kind, &name)) in edges.kinds.iter().zip(&edges.names).enumerate() {
        if kind.has_name() && !in_table(name) {
            return Err(outside(Item::Edge(index), name));
        }
    }
    for (index, &target) in edges.targets.iter().enumerate() {
        if target as usize >= nodes.len() {
            return Err(ParseError::contradiction(
                Some(Item::Edge(index)),
                format!("`to_node` to be the place of one of the {} nodes", nodes.len()),
                format!("that of node {target}"),
            ));
        }
    }
    let root = target(header.root_index, header.node_fields.len() as u64, nodes.len()).map_err(|_| {
        ParseError::contradiction(
            None,
            format!("a root: `root_index` at one of the {} nodes", nodes.len()),
            format!("place {}", header.root_index),
        )
    })?;
    Ok(Snapshot { node_types: header.node_types, nodes, edges, texts, root })
}
