//! The types V8 gives to the nodes and edges of a dump.
//!
//! Owns their names, and what each means for a replay: which broad type an object has, which edges hold their target
//! and which carry a name. A dump numbers its types itself (`meta` lists them), and newer engines add some, so a name
//! that isn't known here is no error: such an object is `Other`, such an edge holds its target and has no name.

/// The broad type of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// Not visible to the program: maps' internals, engine bookkeeping.
    Hidden,
    /// The backing store of elements or properties.
    Array,
    /// A flat string.
    Text,
    /// An ordinary object.
    Object,
    /// Compiled code and what belongs to it.
    Code,
    /// A function with its context.
    Closure,
    /// A regular expression.
    RegExp,
    /// A number that isn't a small integer.
    Number,
    /// Memory of the embedder, seen from the heap.
    Native,
    /// Made for the dump: the root and groups of roots.
    Synthetic,
    /// Two strings joined, not yet flat.
    Concatenated,
    /// A part of another string.
    Sliced,
    /// A symbol.
    Symbol,
    /// An integer of any length.
    BigInt,
    /// A map, also called hidden class: the layout that objects share.
    Shape,
    /// A type this program doesn't know.
    Other,
}

impl NodeKind {
    /// The kind of the type that `meta` calls `name`.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "hidden" => NodeKind::Hidden,
            "array" => NodeKind::Array,
            "string" => NodeKind::Text,
            "object" => NodeKind::Object,
            "code" => NodeKind::Code,
            "closure" => NodeKind::Closure,
            "regexp" => NodeKind::RegExp,
            "number" => NodeKind::Number,
            "native" => NodeKind::Native,
            "synthetic" => NodeKind::Synthetic,
            "concatenated string" => NodeKind::Concatenated,
            "sliced string" => NodeKind::Sliced,
            "symbol" => NodeKind::Symbol,
            "bigint" => NodeKind::BigInt,
            "object shape" => NodeKind::Shape,
            _ => NodeKind::Other,
        }
    }
}

/// The type of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EdgeKind {
    /// A variable of a function's context; named.
    Context,
    /// An element of an array; numbered.
    Element,
    /// A property of an object; named.
    Property,
    /// A field of the engine's own; named.
    Internal,
    /// As `Internal`, numbered.
    Hidden,
    /// A way past an object the user would not want to see; named.
    Shortcut,
    /// Does not hold its target; named.
    Weak,
    /// A type this program doesn't know.
    Other,
}

impl EdgeKind {
    /// The kind of the type that `meta` calls `name`.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "context" => EdgeKind::Context,
            "element" => EdgeKind::Element,
            "property" => EdgeKind::Property,
            "internal" => EdgeKind::Internal,
            "hidden" => EdgeKind::Hidden,
            "shortcut" => EdgeKind::Shortcut,
            "weak" => EdgeKind::Weak,
            _ => EdgeKind::Other,
        }
    }

    /// Whether the edge keeps its target alive.
    pub fn is_strong(self) -> bool {
        self != EdgeKind::Weak
    }

    /// Whether the second field of the edge is an entry of the table of strings.
    pub(crate) fn has_name(self) -> bool {
        self.can_be_cut() || self == EdgeKind::Weak
    }

    /// Whether a name given by the user is looked for on edges of this type.
    pub fn can_be_cut(self) -> bool {
        matches!(self, EdgeKind::Context | EdgeKind::Property | EdgeKind::Internal | EdgeKind::Shortcut)
    }
}
