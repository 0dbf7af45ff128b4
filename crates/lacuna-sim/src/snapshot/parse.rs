//! The file as a whole: its top-level keys, and the long lists of numbers.
//!
//! Owns the order of reading. `snapshot` must come first, as every engine writes it, because it says how to read the
//! rest; `nodes`, `edges` and `strings` may come in any order. Numbers go straight into columns: memory is what the columns take, and grows with what was read, never with
//! what a count in the file claims.

use std::io::Read;

use super::check::{assemble, target};
use super::error::{Item, ParseError};
use super::json::Json;
use super::members::{once, read_object};
use super::meta::{EdgeField, Header, NodeField, read_header};
use super::{Edges, Nodes, Snapshot, Texts};

/// Entries reserved on the word of the file alone.
const TRUSTED_COUNT: u64 = 1 << 16;

/// Bytes accepted in one entry of the table of strings.
const MAX_TEXT: usize = 1 << 30;

/// Reads a dump in V8's heap snapshot format.
///
/// # Errors
///
/// When the text isn't such a dump, contradicts itself, or can't be read; the error names the place. Never panics.
pub fn parse(reader: impl Read) -> Result<Snapshot, ParseError> {
    let json = &mut Json::new(reader);
    let mut header: Option<Header> = None;
    let mut nodes: Option<Nodes> = None;
    let mut edges: Option<Edges> = None;
    let mut texts: Option<Texts> = None;
    read_object(json, "`{`, the beginning of a heap snapshot", |json, key| match key {
        "snapshot" => once(json, key, &mut header, read_header),
        "nodes" => {
            let header = before(json, header.as_ref(), key)?;
            once(json, key, &mut nodes, |json| read_nodes(json, header))
        }
        "edges" => {
            let header = before(json, header.as_ref(), key)?;
            once(json, key, &mut edges, |json| read_edges(json, header, nodes.as_ref().map(Nodes::len)))
        }
        "strings" => once(json, key, &mut texts, read_texts),
        _ => json.skip_value(),
    })?;
    json.expect_end()?;

    let absent = |key: &str| ParseError::contradiction(None, format!("the key `{key}` in the dump"), "none");
    let header = header.ok_or_else(|| absent("snapshot"))?;
    let nodes = nodes.ok_or_else(|| absent("nodes"))?;
    let edges = edges.ok_or_else(|| absent("edges"))?;
    let texts = texts.ok_or_else(|| absent("strings"))?;
    assemble(header, nodes, edges, texts)
}

/// The header, if it came before `key`.
fn before<'h, R: Read>(json: &Json<R>, header: Option<&'h Header>, key: &str) -> Result<&'h Header, ParseError> {
    header.ok_or_else(|| {
        ParseError::at(json.offset(), format!("`snapshot`, which says how to read the rest, before `{key}`"), "none")
    })
}

/// Calls `record` with the number of each record of a flat list, the cursor being before its first field; an error
/// from there is told which record it concerns.
fn records<R: Read>(
    json: &mut Json<R>,
    list: &str,
    item: fn(usize) -> Item,
    mut record: impl FnMut(&mut Json<R>, usize) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    json.expect(b'[', &format!("`{list}` to be a list"))?;
    if json.take(b']')? {
        return Ok(());
    }
    for index in 0.. {
        if index >= u32::MAX as usize {
            return Err(ParseError::at(json.offset(), format!("at most {} records in `{list}`", u32::MAX), "more"));
        }
        record(json, index).map_err(|error| error.about(item(index)))?;
        if !json.more(b']')? {
            break;
        }
    }
    Ok(())
}

/// The comma before the `place`-th field of a record; none before the first.
#[inline]
fn separator<R: Read>(json: &mut Json<R>, place: usize, fields: usize) -> Result<(), ParseError> {
    if place > 0 && !json.take(b',')? {
        return Err(json.unexpected(&format!("`,` and field {place} of {fields}")));
    }
    Ok(())
}

fn read_nodes<R: Read>(json: &mut Json<R>, header: &Header) -> Result<Nodes, ParseError> {
    let mut nodes = Nodes::default();
    let expected = header.node_count.unwrap_or(0).min(TRUSTED_COUNT) as usize;
    nodes.reserve(expected);
    let mut total = 0_u64;
    let mut edges = 0_u64;
    nodes.first_edge.push(0);
    records(json, "nodes", Item::Node, |json, _| {
        for (place, field) in header.node_fields.iter().enumerate() {
            separator(json, place, header.node_fields.len())?;
            match field {
                NodeField::Type => {
                    let number = below(json, header.node_types.len(), "the number of a node type")?;
                    nodes.types.push(number as u8);
                }
                NodeField::Name => {
                    let name = below(json, u32::MAX as usize, "the number of a string")?;
                    nodes.names.push(name);
                }
                NodeField::SelfSize => {
                    let start = json.offset();
                    let size = json.unsigned("the size of a node in bytes")?;
                    total = total
                        .checked_add(size)
                        .ok_or_else(|| ParseError::at(start, "sizes of nodes that add up to less than 2^64", "more"))?;
                    nodes.sizes.push(size);
                }
                NodeField::EdgeCount => {
                    let start = json.offset();
                    edges = edges.saturating_add(json.unsigned("the number of edges of a node")?);
                    let first = u32::try_from(edges)
                        .map_err(|_| ParseError::at(start, "edge counts that add up to less than 2^32", "more"))?;
                    nodes.first_edge.push(first);
                }
                NodeField::Ignored => json.skip_value()?,
            }
        }
        Ok(())
    })?;
    nodes.total_size = total;
    Ok(nodes)
}

fn read_edges<R: Read>(json: &mut Json<R>, header: &Header, nodes: Option<usize>) -> Result<Edges, ParseError> {
    let mut edges = Edges::default();
    let expected = header.edge_count.unwrap_or(0).min(TRUSTED_COUNT) as usize;
    edges.reserve(expected);
    let width = header.node_fields.len() as u64;
    records(json, "edges", Item::Edge, |json, _| {
        for (place, field) in header.edge_fields.iter().enumerate() {
            separator(json, place, header.edge_fields.len())?;
            match field {
                EdgeField::Type => {
                    let number = below(json, header.edge_types.len(), "the number of an edge type")?;
                    edges.kinds.push(header.edge_types[number as usize]);
                }
                EdgeField::Name => {
                    let limit = u32::MAX as usize;
                    let name = below(json, limit, "the number of a string or an element")?;
                    edges.names.push(name);
                }
                EdgeField::Target => {
                    let start = json.offset();
                    let place = json.unsigned("`to_node`, a place in `nodes`")?;
                    let target = target(place, width, nodes.unwrap_or(u32::MAX as usize))
                        .map_err(|expected| ParseError::at(start, expected, place.to_string()))?;
                    edges.targets.push(target);
                }
                EdgeField::Ignored => json.skip_value()?,
            }
        }
        Ok(())
    })?;
    Ok(edges)
}

/// An unsigned integer below `limit`.
#[inline]
fn below<R: Read>(json: &mut Json<R>, limit: usize, what: &str) -> Result<u32, ParseError> {
    json.peek_token()?;
    let start = json.offset();
    let number = json.unsigned(what)?;
    match u32::try_from(number) {
        Ok(number) if (number as usize) < limit => Ok(number),
        _ => Err(ParseError::at(start, format!("{what}, below {limit}"), number.to_string())),
    }
}

fn read_texts<R: Read>(json: &mut Json<R>) -> Result<Texts, ParseError> {
    let mut texts = Texts::default();
    records(json, "strings", Item::Text, |json, _| {
        json.string(&mut texts.text, MAX_TEXT, "a string in quotes")?;
        texts.ends.push(texts.text.len());
        Ok(())
    })?;
    Ok(texts)
}
