//! The layout of a dump, as its first object describes it.
//!
//! Owns `snapshot`: which numbers make a node and an edge, in which order, and what the numbers of types mean. Engines
//! add fields with time (`trace_node_id`, `detachedness`) and put them where they like; a reader that trusts `meta`
//! reads them all. What a replay needs is asked for here; other fields are passed over.

use std::io::Read;

use super::error::ParseError;
use super::json::Json;
use super::kinds::{EdgeKind, NodeKind};
use super::members::{MAX_NAME, once, read_array, read_names, read_object};

/// Fields accepted in a node or an edge.
const MAX_FIELDS: usize = 64;
/// Types accepted for nodes or edges: their numbers are kept in a byte.
const MAX_TYPES: usize = 256;

/// What one field of a node means to a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeField {
    Type,
    Name,
    SelfSize,
    EdgeCount,
    Ignored,
}

/// What one field of an edge means to a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EdgeField {
    Type,
    Name,
    Target,
    Ignored,
}

/// A type that `meta` lists.
#[derive(Clone, Debug)]
pub struct NodeType {
    /// As the dump calls it.
    pub name: String,
    /// As this program understands it.
    pub kind: NodeKind,
}

/// What `snapshot` says.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) node_fields: Vec<NodeField>,
    pub(crate) edge_fields: Vec<EdgeField>,
    pub(crate) node_types: Vec<NodeType>,
    pub(crate) edge_types: Vec<EdgeKind>,
    pub(crate) node_count: Option<u64>,
    pub(crate) edge_count: Option<u64>,
    /// Index into `nodes` of the root's first field.
    pub(crate) root_index: u64,
}

/// Reads the value of the key `snapshot`.
pub(crate) fn read_header<R: Read>(json: &mut Json<R>) -> Result<Header, ParseError> {
    let mut meta = None;
    let mut node_count = None;
    let mut edge_count = None;
    let mut root_index = None;
    let start = json.offset();
    read_object(json, "`snapshot` to be an object", |json, key| match key {
        "meta" => once(json, key, &mut meta, Meta::read),
        "node_count" => {
            once(json, key, &mut node_count, |json| json.unsigned("`node_count` to be an unsigned integer"))
        }
        "edge_count" => {
            once(json, key, &mut edge_count, |json| json.unsigned("`edge_count` to be an unsigned integer"))
        }
        "root_index" => {
            once(json, key, &mut root_index, |json| json.unsigned("`root_index` to be an unsigned integer"))
        }
        _ => json.skip_value(),
    })?;
    let Some(meta) = meta else {
        return Err(ParseError::at(start, "`snapshot` to hold `meta`, the layout of the dump", "none"));
    };
    meta.resolve(start, node_count, edge_count, root_index.unwrap_or(0))
}

/// `meta` as it stands in the file; a list that isn't there is `None`.
#[derive(Default)]
struct Meta {
    node_fields: Option<Vec<String>>,
    node_types: Option<Vec<Type>>,
    edge_fields: Option<Vec<String>>,
    edge_types: Option<Vec<Type>>,
}

/// The type of a field: an enumeration, or a word such as `number`.
enum Type {
    Word,
    OneOf(Vec<String>),
}

impl Meta {
    fn read<R: Read>(json: &mut Json<R>) -> Result<Self, ParseError> {
        let mut meta = Meta::default();
        read_object(json, "`meta` to be an object", |json, key| match key {
            "node_fields" => once(json, key, &mut meta.node_fields, |json| read_names(json, MAX_FIELDS)),
            "edge_fields" => once(json, key, &mut meta.edge_fields, |json| read_names(json, MAX_FIELDS)),
            "node_types" => once(json, key, &mut meta.node_types, read_types),
            "edge_types" => once(json, key, &mut meta.edge_types, read_types),
            _ => json.skip_value(),
        })?;
        Ok(meta)
    }

    fn resolve(
        self,
        start: u64,
        node_count: Option<u64>,
        edge_count: Option<u64>,
        root_index: u64,
    ) -> Result<Header, ParseError> {
        let absent = |list: &str| ParseError::at(start, format!("`meta` to hold the list `{list}`"), "none");
        let node_fields = self.node_fields.ok_or_else(|| absent("node_fields"))?;
        let edge_fields = self.edge_fields.ok_or_else(|| absent("edge_fields"))?;
        let node_types = self.node_types.ok_or_else(|| absent("node_types"))?;
        let edge_types = self.edge_types.ok_or_else(|| absent("edge_types"))?;

        require(start, "node_fields", &node_fields, &["type", "name", "self_size", "edge_count"])?;
        require(start, "edge_fields", &edge_fields, &["type", "name_or_index", "to_node"])?;
        let node_types = enumeration(start, "node", &node_fields, node_types)?;
        let edge_types = enumeration(start, "edge", &edge_fields, edge_types)?;
        Ok(Header {
            node_fields: node_fields
                .iter()
                .map(|field| match field.as_str() {
                    "type" => NodeField::Type,
                    "name" => NodeField::Name,
                    "self_size" => NodeField::SelfSize,
                    "edge_count" => NodeField::EdgeCount,
                    _ => NodeField::Ignored,
                })
                .collect(),
            edge_fields: edge_fields
                .iter()
                .map(|field| match field.as_str() {
                    "type" => EdgeField::Type,
                    "name_or_index" => EdgeField::Name,
                    "to_node" => EdgeField::Target,
                    _ => EdgeField::Ignored,
                })
                .collect(),
            node_types: node_types.into_iter().map(|name| NodeType { kind: NodeKind::named(&name), name }).collect(),
            edge_types: edge_types.iter().map(|name| EdgeKind::named(name)).collect(),
            node_count,
            edge_count,
            root_index,
        })
    }
}

/// Each of `wanted` exactly once among `fields`.
fn require(start: u64, list: &str, fields: &[String], wanted: &[&str]) -> Result<(), ParseError> {
    for name in wanted {
        let times = fields.iter().filter(|field| field == name).count();
        if times != 1 {
            return Err(ParseError::at(start, format!("`{list}` to hold `{name}` once"), format!("it {times} times")));
        }
    }
    Ok(())
}

/// The names of types, which stand in the list of types at the place of the field `type`.
fn enumeration(start: u64, what: &str, fields: &[String], types: Vec<Type>) -> Result<Vec<String>, ParseError> {
    let place = fields.iter().position(|field| field == "type").unwrap_or(0);
    match types.into_iter().nth(place) {
        Some(Type::OneOf(names)) => Ok(names),
        Some(Type::Word) | None => Err(ParseError::at(
            start,
            format!("entry {place} of `{what}_types`, for the field `type`, to be a list of names"),
            "something else",
        )),
    }
}

fn read_types<R: Read>(json: &mut Json<R>) -> Result<Vec<Type>, ParseError> {
    let mut types = Vec::new();
    read_array(json, MAX_FIELDS, |json| {
        types.push(if json.peek_token()? == Some(b'[') {
            Type::OneOf(read_names(json, MAX_TYPES)?)
        } else {
            let mut word = String::new();
            json.string(&mut word, MAX_NAME, "a list of names, or a word in quotes")?;
            Type::Word
        });
        Ok(())
    })?;
    Ok(types)
}
