//! The typed objects a dump is rebuilt from.
//!
//! Owns one Rust type for each broad type of V8's, and the three enumerations that name an object of any of them: a
//! pointer, a weak reference, an edge. An object is what it is in a collector's eyes, a small header and its edges; the
//! bytes it took in the dumped program are kept as a number in the header.
//!
//! Two shapes. Types with few edges, always the same number of them, are sized structures: their cells hold nothing
//! but the structure. The others are a header with a tail of edges, in one cell, with a length word. An object that
//! has more edges than the structure of its type is stored as [`Other`], so that any dump can be loaded.
//!
//! Edge `i` of an object is its `i`-th edge in the dump, strong or weak; a strong edge that is cut leaves an
//! [`Edge::Empty`]. An edge is a tag and a pointer, or a tag and a weak reference, in 16 bytes; that is why [`Edge`] is
//! one flat enumeration and not an enumeration of two.

use std::any::Any;

use lacuna::{Gc, GcCell, Mutator, Trace, Weak, WithTail};

use crate::snapshot::NodeKind;

/// What every object knows about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Trace)]
pub struct Tag {
    /// Its number in the dump.
    pub node: u32,
    /// Its name, an entry of the dump's table of strings.
    pub name: u32,
    /// The bytes it took in the dumped program.
    pub size: u64,
}

/// The place of an edge in an object; written through the object.
pub type Slot<'gc> = GcCell<Edge<'gc>>;

/// A new object's edges.
fn empty<'gc>(count: usize) -> impl ExactSizeIterator<Item = Slot<'gc>> {
    (0..count).map(|_| GcCell::new(Edge::Empty))
}

macro_rules! objects {
    (
        fixed { $( $(#[$fixed_doc:meta])* $Fixed:ident / $WeakFixed:ident [$edges:literal] )* }
        tailed { $( $(#[$tailed_doc:meta])* $Tailed:ident / $WeakTailed:ident )* }
    ) => {
        $(
            $(#[$fixed_doc])*
            #[derive(Trace)]
            pub struct $Fixed<'gc> {
                tag: Tag,
                edges: [Slot<'gc>; $edges],
            }
        )*

        $(
            $(#[$tailed_doc])*
            #[derive(Trace)]
            pub struct $Tailed {
                tag: Tag,
            }
        )*

        /// An object, within a scope.
        #[derive(Clone, Copy)]
        #[expect(missing_docs, reason = "each variant is the type of its name")]
        pub enum Node<'gc> {
            $( $Fixed(Gc<'gc, $Fixed<'gc>>), )*
            $( $Tailed(Gc<'gc, WithTail<$Tailed, Slot<'gc>>>), )*
        }

        /// A weak reference to an object, good anywhere.
        #[derive(Clone, Copy)]
        #[expect(missing_docs, reason = "each variant is the type of its name")]
        pub enum WeakNode {
            $( $Fixed(Weak<$Fixed<'static>>), )*
            $( $Tailed(Weak<WithTail<$Tailed, Slot<'static>>>), )*
        }

        /// An edge of an object.
        #[derive(Clone, Copy, Trace)]
        #[expect(missing_docs, reason = "each variant is the type of its name, or a weak reference to it")]
        pub enum Edge<'gc> {
            /// None, or none any more.
            Empty,
            $( $Fixed(Gc<'gc, $Fixed<'gc>>), )*
            $( $Tailed(Gc<'gc, WithTail<$Tailed, Slot<'gc>>>), )*
            $( $WeakFixed(Weak<$Fixed<'static>>), )*
            $( $WeakTailed(Weak<WithTail<$Tailed, Slot<'static>>>), )*
        }

        impl<'gc> Node<'gc> {
            /// Allocates an object with `edges` empty edges, of the type for `kind`.
            pub fn alloc(cx: &Mutator<'gc>, kind: NodeKind, tag: Tag, edges: usize) -> Self {
                match kind {
                    $(
                        NodeKind::$Fixed if edges <= $edges => Node::$Fixed(cx.alloc($Fixed {
                            tag,
                            edges: [const { GcCell::new(Edge::Empty) }; $edges],
                        })),
                        NodeKind::$Fixed => Node::Other(cx.alloc_tail(Other { tag }, empty(edges))),
                    )*
                    $(
                        NodeKind::$Tailed => {
                            Node::$Tailed(cx.alloc_tail($Tailed { tag }, empty(edges)))
                        }
                    )*
                }
            }

            /// What the object knows about itself.
            pub fn tag(self) -> Tag {
                match self {
                    $( Node::$Fixed(object) => object.tag, )*
                    $( Node::$Tailed(object) => object.header.tag, )*
                }
            }

            /// Its edges. A structure with room for more than the object has ends in empty ones.
            pub fn edges(self) -> impl Iterator<Item = Edge<'gc>> {
                let slots: &'gc [Slot<'gc>] = match self {
                    $( Node::$Fixed(object) => &object.as_ref().edges, )*
                    $( Node::$Tailed(object) => &object.as_ref().tail, )*
                };
                slots.iter().map(GcCell::get)
            }

            /// Replaces an edge.
            ///
            /// # Panics
            ///
            /// When the object has no edge of this number.
            pub fn set(self, cx: &Mutator<'gc>, index: usize, edge: Edge<'gc>) {
                match self {
                    $( Node::$Fixed(object) => object.set(cx, |object| &object.edges[index], edge), )*
                    $( Node::$Tailed(object) => object.set(cx, |object| &object.tail[index], edge), )*
                }
            }

            /// The bytes of its header and edges.
            pub fn payload(self) -> usize {
                match self {
                    $( Node::$Fixed(object) => size_of_val(object.as_ref()), )*
                    $( Node::$Tailed(object) => size_of_val(object.as_ref()), )*
                }
            }

            /// The bytes of the word that holds the number of its edges, where that isn't a matter of type.
            pub fn length_word(self) -> usize {
                match self {
                    $( Node::$Fixed(_) => 0, )*
                    $( Node::$Tailed(_) => size_of::<usize>(), )*
                }
            }

            /// A weak reference to it.
            pub fn downgrade(self, cx: &Mutator<'gc>) -> WeakNode {
                match self {
                    $( Node::$Fixed(object) => WeakNode::$Fixed(object.downgrade(cx)), )*
                    $( Node::$Tailed(object) => WeakNode::$Tailed(object.downgrade(cx)), )*
                }
            }

            /// A root that holds it until dropped; which type it has doesn't matter to the holder.
            pub fn root(self, cx: &Mutator<'gc>) -> Box<dyn Any> {
                match self {
                    $( Node::$Fixed(object) => Box::new(object.root(cx)), )*
                    $( Node::$Tailed(object) => Box::new(object.root(cx)), )*
                }
            }
        }

        impl WeakNode {
            /// The object, if it is alive.
            pub fn upgrade<'gc>(self, cx: &Mutator<'gc>) -> Option<Node<'gc>> {
                match self {
                    $( WeakNode::$Fixed(weak) => cx.upgrade(weak).map(Node::$Fixed), )*
                    $( WeakNode::$Tailed(weak) => cx.upgrade(weak).map(Node::$Tailed), )*
                }
            }
        }

        impl<'gc> Edge<'gc> {
            /// The object the edge holds, if it is a strong one.
            pub fn strong(self) -> Option<Node<'gc>> {
                match self {
                    $( Edge::$Fixed(object) => Some(Node::$Fixed(object)), )*
                    $( Edge::$Tailed(object) => Some(Node::$Tailed(object)), )*
                    _ => None,
                }
            }

            /// The weak reference, if it is a weak one.
            pub fn weak(self) -> Option<WeakNode> {
                match self {
                    $( Edge::$WeakFixed(weak) => Some(WeakNode::$Fixed(weak)), )*
                    $( Edge::$WeakTailed(weak) => Some(WeakNode::$Tailed(weak)), )*
                    _ => None,
                }
            }
        }

        impl<'gc> From<Node<'gc>> for Edge<'gc> {
            fn from(node: Node<'gc>) -> Self {
                match node {
                    $( Node::$Fixed(object) => Edge::$Fixed(object), )*
                    $( Node::$Tailed(object) => Edge::$Tailed(object), )*
                }
            }
        }

        impl From<WeakNode> for Edge<'_> {
            fn from(weak: WeakNode) -> Self {
                match weak {
                    $( WeakNode::$Fixed(weak) => Edge::$WeakFixed(weak), )*
                    $( WeakNode::$Tailed(weak) => Edge::$WeakTailed(weak), )*
                }
            }
        }
    };
}

objects! {
    fixed {
        /// A flat string: its map.
        Text / WeakText [1]
        /// A number on the heap: its map.
        Number / WeakNumber [1]
        /// An integer of any length: its map.
        BigInt / WeakBigInt [1]
        /// A symbol: its map and description.
        Symbol / WeakSymbol [2]
        /// A part of a string: its map and the whole.
        Sliced / WeakSliced [2]
        /// Two strings joined: its map and both.
        Concatenated / WeakConcatenated [3]
        /// A regular expression: its map, properties, elements and program.
        RegExp / WeakRegExp [4]
    }
    tailed {
        /// Header of an object of the engine's own.
        Hidden / WeakHidden
        /// Header of a backing store.
        Array / WeakArray
        /// Header of an ordinary object.
        Object / WeakObject
        /// Header of compiled code.
        Code / WeakCode
        /// Header of a function.
        Closure / WeakClosure
        /// Header of memory of the embedder.
        Native / WeakNative
        /// Header of a node made for the dump.
        Synthetic / WeakSynthetic
        /// Header of a map.
        Shape / WeakShape
        /// Header of an object of no type foreseen here, or with more edges than its type foresees.
        Other / WeakOther
    }
}

const _: () = {
    assert!(size_of::<Slot<'static>>() == 16, "a tag, and a pointer or a weak reference");
    assert!(size_of::<Text<'static>>() == 32, "a sized object holds its header and edges and nothing else");
};
