//! The objects that programs are made of: one kind for each way in which the heap stores something.

use std::rc::Rc;

use lacuna::{
    AnyRoot, Cleanup, Gc, GcCell, GcRefCell, Guard, Heap, Mutator, Opaque, RegisterError, Root, Trace, Weak, WeakLong,
    WithTail,
};

use crate::callbacks::{Journal, Payload, callback};
use crate::model::ObjectId;

/// What an object is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A number: no edges, no `Drop`.
    Leaf,
    /// A value of no bytes.
    Unit,
    /// A number aligned to 256 bytes.
    Aligned,
    /// A value that is dropped.
    Token,
    /// Two fields. Its size is an odd multiple of 8.
    Pair,
    /// A field, and a value that is dropped.
    Tracked,
    /// A vector of edges, borrowed and changed in place.
    Bag,
    /// A field, and too many bytes for a block.
    Big,
    /// A slice of fields.
    Row,
    /// A header with a field, and a tail of fields.
    Record,
    /// A string.
    Text,
    /// A slice of bytes.
    Bytes,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::Leaf,
        Self::Unit,
        Self::Aligned,
        Self::Token,
        Self::Pair,
        Self::Tracked,
        Self::Bag,
        Self::Big,
        Self::Row,
        Self::Record,
        Self::Text,
        Self::Bytes,
    ];

    /// Fields of a new object.
    pub(crate) fn fields(self, length: usize) -> usize {
        match self {
            Self::Leaf | Self::Unit | Self::Aligned | Self::Token | Self::Bag | Self::Text | Self::Bytes => 0,
            Self::Pair => 2,
            Self::Tracked | Self::Big => 1,
            Self::Row => elements(length),
            Self::Record => elements(length) + 1,
        }
    }

    /// Whether dropping the object is noted.
    pub(crate) fn is_dropped(self) -> bool {
        matches!(self, Self::Token | Self::Tracked)
    }

    /// Whether it can be reached as a [`Named`].
    pub(crate) fn is_named(self) -> bool {
        matches!(self, Self::Leaf | Self::Pair)
    }
}

/// Fields of a row: none, a few, more than a piece, too many for a block.
fn elements(length: usize) -> usize {
    [0, 1, 3, 40, 130, 500][length % 6]
}

/// Bytes of a text: up to too many for a block.
fn bytes(length: usize) -> usize {
    [0, 5, 100, 3000, 9000, 20000][length % 6]
}

fn text(id: ObjectId, length: usize) -> String {
    let letter = char::from(b'a' + (id % 26) as u8);
    std::iter::repeat_n(letter, bytes(length)).collect()
}

type Field<'gc> = GcCell<Option<Edge<'gc>>>;

#[derive(Trace)]
pub(crate) struct Leaf {
    id: ObjectId,
}

#[derive(Trace)]
pub(crate) struct Unit;

#[derive(Trace)]
#[repr(align(256))]
pub(crate) struct Aligned {
    id: ObjectId,
}

#[derive(Trace)]
pub(crate) struct Pair<'gc> {
    id: ObjectId,
    left: Field<'gc>,
    right: Field<'gc>,
}

const _: () = assert!(size_of::<Pair<'_>>() % 16 == 8);

#[derive(Trace)]
pub(crate) struct Tracked<'gc> {
    token: Opaque<Token>,
    next: Field<'gc>,
}

#[derive(Trace)]
pub(crate) struct Bag<'gc> {
    id: ObjectId,
    items: GcRefCell<Vec<Edge<'gc>>>,
}

const FILLER: usize = 9000;

#[derive(Trace)]
pub(crate) struct Big<'gc> {
    id: ObjectId,
    filler: [u8; FILLER],
    next: Field<'gc>,
}

#[derive(Trace)]
pub(crate) struct Head<'gc> {
    id: ObjectId,
    first: Field<'gc>,
}

/// Notes in the journal when it is dropped.
pub(crate) struct Token {
    id: ObjectId,
    journal: Option<Rc<Journal>>,
}

impl Token {
    fn new(id: ObjectId, journal: &Rc<Journal>) -> Self {
        Self { id, journal: Some(Rc::clone(journal)) }
    }

    /// Drops it without a note: it was never an object.
    fn forget(mut self) {
        self.journal = None;
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if let Some(journal) = &self.journal {
            journal.dropped.borrow_mut().push(self.id);
        }
    }
}

/// What some objects are reached as.
pub(crate) trait Named<'gc> {
    fn matches(&self, kind: Kind, id: ObjectId) -> bool;
    fn edges(&self) -> Vec<Option<Edge<'gc>>>;
}

lacuna::trace_dyn!(Named<'gc>);

impl<'gc> Named<'gc> for Leaf {
    fn matches(&self, kind: Kind, id: ObjectId) -> bool {
        kind == Kind::Leaf && self.id == id
    }
    fn edges(&self) -> Vec<Option<Edge<'gc>>> {
        Vec::new()
    }
}

impl<'gc> Named<'gc> for Pair<'gc> {
    fn matches(&self, kind: Kind, id: ObjectId) -> bool {
        kind == Kind::Pair && self.id == id
    }
    fn edges(&self) -> Vec<Option<Edge<'gc>>> {
        vec![self.left.get(), self.right.get()]
    }
}

/// A pointer to an object of any kind.
#[derive(Clone, Copy, Trace)]
pub(crate) enum Edge<'gc> {
    Leaf(Gc<'gc, Leaf>),
    Unit(Gc<'gc, Unit>),
    Aligned(Gc<'gc, Aligned>),
    Token(Gc<'gc, Opaque<Token>>),
    Pair(Gc<'gc, Pair<'gc>>),
    Tracked(Gc<'gc, Tracked<'gc>>),
    Bag(Gc<'gc, Bag<'gc>>),
    Big(Gc<'gc, Big<'gc>>),
    Row(Gc<'gc, [GcCell<Option<Edge<'gc>>>]>),
    Record(Gc<'gc, WithTail<Head<'gc>, GcCell<Option<Edge<'gc>>>>>),
    Text(Gc<'gc, str>),
    Bytes(Gc<'gc, [u8]>),
    Dyn(Gc<'gc, dyn Named<'gc>>),
}

impl<'gc> Edge<'gc> {
    /// Allocates an object of a kind; `None` if there is no memory.
    pub(crate) fn allocate(
        cx: &Mutator<'gc>,
        kind: Kind,
        length: usize,
        id: ObjectId,
        edges: [Option<Edge<'gc>>; 2],
        journal: &Rc<Journal>,
    ) -> Option<Self> {
        let [left, right] = edges.map(GcCell::new);
        let row = |count: usize| (0..count).map(move |index| GcCell::new(edges.get(index).copied().flatten()));
        Some(match kind {
            Kind::Leaf => Self::Leaf(cx.try_alloc(Leaf { id }).ok()?),
            Kind::Unit => Self::Unit(cx.try_alloc(Unit).ok()?),
            Kind::Aligned => Self::Aligned(cx.try_alloc(Aligned { id }).ok()?),
            Kind::Token => match cx.try_alloc(Opaque(Token::new(id, journal))) {
                Ok(token) => Self::Token(token),
                Err(error) => {
                    error.into_value().0.forget();
                    return None;
                }
            },
            Kind::Pair => Self::Pair(cx.try_alloc(Pair { id, left, right }).ok()?),
            Kind::Tracked => match cx.try_alloc(Tracked { token: Opaque(Token::new(id, journal)), next: left }) {
                Ok(tracked) => Self::Tracked(tracked),
                Err(error) => {
                    error.into_value().token.0.forget();
                    return None;
                }
            },
            Kind::Bag => {
                let items = GcRefCell::new(edges.iter().flatten().copied().collect());
                Self::Bag(cx.try_alloc(Bag { id, items }).ok()?)
            }
            Kind::Big => Self::Big(cx.try_alloc(Big { id, filler: [id as u8; FILLER], next: left }).ok()?),
            Kind::Row => Self::Row(cx.try_alloc_slice(row(elements(length))).ok()?),
            Kind::Record => {
                let tail = (0..elements(length)).map(|index| GcCell::new(if index == 0 { edges[1] } else { None }));
                Self::Record(cx.alloc_tail(Head { id, first: left }, tail))
            }
            Kind::Text => Self::Text(cx.try_alloc_str(&text(id, length)).ok()?),
            Kind::Bytes => Self::Bytes(cx.try_alloc_slice(vec![id as u8; bytes(length)]).ok()?),
        })
    }

    /// The edges that a new object of a kind gets out of two given ones.
    pub(crate) fn initial(kind: Kind, length: usize, edges: [Option<ObjectId>; 2]) -> Vec<Option<ObjectId>> {
        if kind == Kind::Bag {
            return edges.into_iter().flatten().map(Some).collect();
        }
        (0..kind.fields(length)).map(|index| edges.get(index).copied().flatten()).collect()
    }

    /// Lets a field lead to another object, or to none. To a bag one is added, or the last taken away.
    pub(crate) fn set(self, cx: &Mutator<'gc>, field: usize, target: Option<Edge<'gc>>) {
        match self {
            Self::Pair(pair) if field == 0 => pair.set(cx, |pair| &pair.left, target),
            Self::Pair(pair) => pair.set(cx, |pair| &pair.right, target),
            Self::Tracked(tracked) => tracked.set(cx, |tracked| &tracked.next, target),
            Self::Big(big) => big.set(cx, |big| &big.next, target),
            Self::Row(row) => row.set(cx, |row| &row[field], target),
            Self::Record(record) if field == 0 => record.set(cx, |record| &record.header.first, target),
            Self::Record(record) => record.set(cx, |record| &record.tail[field - 1], target),
            Self::Bag(bag) => {
                let mut items = bag.borrow_mut(cx, |bag| &bag.items);
                match target {
                    Some(target) => items.push(target),
                    None => drop(items.pop()),
                }
            }
            _ => {}
        }
    }

    /// The edges of the object.
    pub(crate) fn edges(self) -> Vec<Option<Edge<'gc>>> {
        match self {
            Self::Pair(pair) => pair.edges(),
            Self::Tracked(tracked) => vec![tracked.next.get()],
            Self::Big(big) => vec![big.next.get()],
            Self::Row(row) => row.iter().map(GcCell::get).collect(),
            Self::Record(record) => {
                std::iter::once(&record.header.first).chain(&record.tail).map(GcCell::get).collect()
            }
            Self::Bag(bag) => bag.items.borrow().iter().copied().map(Some).collect(),
            Self::Dyn(named) => named.edges(),
            _ => Vec::new(),
        }
    }

    /// Whether the object is of a kind and its content that of the object with an id.
    pub(crate) fn matches(self, kind: Kind, length: usize, id: ObjectId) -> bool {
        match (self, kind) {
            (Self::Leaf(leaf), Kind::Leaf) => leaf.id == id,
            (Self::Unit(_), Kind::Unit) => true,
            (Self::Aligned(aligned), Kind::Aligned) => {
                aligned.id == id && std::ptr::from_ref(&*aligned).addr().is_multiple_of(256)
            }
            (Self::Token(token), Kind::Token) => token.id == id && token.journal.is_some(),
            (Self::Pair(pair), Kind::Pair) => pair.id == id,
            (Self::Tracked(tracked), Kind::Tracked) => tracked.token.id == id && tracked.token.journal.is_some(),
            (Self::Bag(bag), Kind::Bag) => bag.id == id,
            (Self::Big(big), Kind::Big) => big.id == id && big.filler.iter().all(|&byte| byte == id as u8),
            (Self::Row(row), Kind::Row) => row.len() == elements(length),
            (Self::Record(record), Kind::Record) => record.header.id == id && record.tail.len() == elements(length),
            (Self::Text(found), Kind::Text) => *found == *text(id, length),
            (Self::Bytes(found), Kind::Bytes) => found.len() == bytes(length) && found.iter().all(|&b| b == id as u8),
            (Self::Dyn(named), _) => named.matches(kind, id),
            _ => false,
        }
    }

    /// The same edge as a trait object, if its kind can be one.
    pub(crate) fn named(self) -> Self {
        match self {
            Self::Leaf(leaf) => Self::Dyn(leaf.cast(|leaf| leaf as _)),
            Self::Pair(pair) => Self::Dyn(pair.cast(|pair| pair as _)),
            other => other,
        }
    }
}

macro_rules! per_kind {
    ($($kind:ident: $object:ty;)*) => {
        /// A root of an object of any kind.
        #[derive(Clone, Trace)]
        pub(crate) enum Handle {
            $($kind(Root<$object>),)*
        }

        /// A weak reference to an object of any kind.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Observer {
            $($kind(AnyWeak<$object>),)*
        }

        impl<'gc> Edge<'gc> {
            pub(crate) fn addr(self) -> usize {
                match self { $(Self::$kind(object) => Gc::addr(object),)* }
            }

            pub(crate) fn root(self, cx: &Mutator<'gc>) -> Handle {
                match self { $(Self::$kind(object) => Handle::$kind(object.root(cx)),)* }
            }

            pub(crate) fn observe(self, cx: &Mutator<'gc>, long: bool) -> Observer {
                match self {
                    $(Self::$kind(object) => Observer::$kind(match long {
                        false => AnyWeak::Short(object.downgrade(cx)),
                        true => AnyWeak::Long(object.downgrade_long(cx)),
                    }),)*
                }
            }

            pub(crate) fn cleanup(
                self,
                cx: &Mutator<'gc>,
                payload: Payload,
            ) -> Result<Cleanup<Payload>, RegisterError<Payload>> {
                match self { $(Self::$kind(object) => cx.cleanup(object, payload, callback),)* }
            }

            pub(crate) fn guard(self, cx: &Mutator<'gc>, tag: u64) -> Result<Guard, RegisterError<()>> {
                match self { $(Self::$kind(object) => cx.guard(object, tag),)* }
            }
        }

        impl Handle {
            pub(crate) fn edge<'gc>(&self, cx: &Mutator<'gc>) -> Edge<'gc> {
                match self { $(Self::$kind(root) => Edge::$kind(root.get(cx)),)* }
            }

            pub(crate) fn with<R>(&self, heap: &Heap, read: impl for<'gc> FnOnce(Edge<'gc>) -> R) -> R {
                match self { $(Self::$kind(root) => heap.with(root, |object| read(Edge::$kind(object))),)* }
            }

            pub(crate) fn observe(&self, heap: &mut Heap, long: bool) -> Observer {
                match self {
                    $(Self::$kind(root) => Observer::$kind(match long {
                        false => AnyWeak::Short(heap.downgrade(root)),
                        true => AnyWeak::Long(heap.downgrade_long(root)),
                    }),)*
                }
            }

            pub(crate) fn cleanup(
                &self,
                heap: &mut Heap,
                payload: Payload,
            ) -> Result<Cleanup<Payload>, RegisterError<Payload>> {
                match self { $(Self::$kind(root) => heap.cleanup(root, payload, callback),)* }
            }

            pub(crate) fn guard(&self, heap: &mut Heap, tag: u64) -> Result<Guard, RegisterError<()>> {
                match self { $(Self::$kind(root) => heap.guard(root, tag),)* }
            }
        }

        impl Observer {
            pub(crate) fn upgrade(self, heap: &Heap) -> Option<Handle> {
                match self {
                    $(Self::$kind(AnyWeak::Short(weak)) => heap.upgrade(weak).map(Handle::$kind),
                      Self::$kind(AnyWeak::Long(weak)) => heap.upgrade_long(weak).map(Handle::$kind),)*
                }
            }

            pub(crate) fn upgrade_in<'gc>(self, cx: &Mutator<'gc>) -> Option<Edge<'gc>> {
                match self {
                    $(Self::$kind(AnyWeak::Short(weak)) => cx.upgrade(weak).map(Edge::$kind),
                      Self::$kind(AnyWeak::Long(weak)) => cx.upgrade_long(weak).map(Edge::$kind),)*
                }
            }

            pub(crate) fn is_dead(self, heap: &Heap) -> bool {
                match self {
                    $(Self::$kind(AnyWeak::Short(weak)) => heap.is_dead(weak),
                      Self::$kind(AnyWeak::Long(weak)) => heap.is_dead_long(weak),)*
                }
            }
        }
    };
}

type Cell = GcCell<Option<Edge<'static>>>;
type Row = [Cell];
type Record = WithTail<Head<'static>, Cell>;
type DynNamed = dyn Named<'static>;

per_kind! {
    Leaf: Leaf;
    Unit: Unit;
    Aligned: Aligned;
    Token: Opaque<Token>;
    Pair: Pair<'static>;
    Tracked: Tracked<'static>;
    Bag: Bag<'static>;
    Big: Big<'static>;
    Row: Row;
    Record: Record;
    Text: str;
    Bytes: [u8];
    Dyn: DynNamed;
}

/// A weak reference of either kind.
pub(crate) enum AnyWeak<T: ?Sized + lacuna::Object + 'static> {
    Short(Weak<T>),
    Long(WeakLong<T>),
}

impl<T: ?Sized + lacuna::Object> Clone for AnyWeak<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized + lacuna::Object> Copy for AnyWeak<T> {}

impl<T: ?Sized + lacuna::Object> PartialEq for AnyWeak<T> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Short(one), Self::Short(other)) => one == other,
            (Self::Long(one), Self::Long(other)) => one == other,
            _ => false,
        }
    }
}

impl<T: ?Sized + lacuna::Object> Eq for AnyWeak<T> {}

impl Handle {
    /// Allocates an object of a kind by handle; `None` if there is no memory. The second is the kind it became: those
    /// that need a scope are replaced by a leaf.
    pub(crate) fn allocate(heap: &mut Heap, kind: Kind, id: ObjectId, journal: &Rc<Journal>) -> Option<Self> {
        match kind {
            Kind::Token => match heap.try_alloc(Opaque(Token::new(id, journal))) {
                Ok(root) => Some(Self::Token(root)),
                Err(error) => {
                    error.into_value().0.forget();
                    None
                }
            },
            Kind::Unit => heap.try_alloc(Unit).ok().map(Self::Unit),
            Kind::Aligned => heap.try_alloc(Aligned { id }).ok().map(Self::Aligned),
            _ => heap.try_alloc(Leaf { id }).ok().map(Self::Leaf),
        }
    }

    /// The kind that [`allocate`](Self::allocate) makes when it is asked for one.
    pub(crate) fn allocated_kind(kind: Kind) -> Kind {
        match kind {
            Kind::Token | Kind::Unit | Kind::Aligned => kind,
            _ => Kind::Leaf,
        }
    }

    /// The root of an object that was handed back.
    pub(crate) fn of(object: AnyRoot, kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Leaf => Self::Leaf(object.downcast().ok()?),
            Kind::Unit => Self::Unit(object.downcast().ok()?),
            Kind::Aligned => Self::Aligned(object.downcast().ok()?),
            Kind::Token => Self::Token(object.downcast().ok()?),
            Kind::Pair => Self::Pair(object.downcast().ok()?),
            Kind::Tracked => Self::Tracked(object.downcast().ok()?),
            Kind::Bag => Self::Bag(object.downcast().ok()?),
            Kind::Big => Self::Big(object.downcast().ok()?),
            Kind::Row => Self::Row(object.downcast().ok()?),
            Kind::Record => Self::Record(object.downcast().ok()?),
            Kind::Text => Self::Text(object.downcast().ok()?),
            Kind::Bytes => Self::Bytes(object.downcast().ok()?),
        })
    }
}
