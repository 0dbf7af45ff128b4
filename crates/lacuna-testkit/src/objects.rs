//! The objects that programs are made of: one kind for each way in which the heap stores something.

use std::cell::Cell;
use std::rc::Rc;

use lacuna::{
    AnyRoot, Cleanup, Ephemerons, Gc, GcCell, GcRefCell, Guard, Heap, Mutator, Notification, Opaque, RegisterError,
    Root, Trace, Weak, WeakLong, WithTail,
};

use crate::callbacks::{Journal, Payload, callback, told};
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
    /// Ephemerons of one key whose values are objects.
    Table,
    /// Ephemerons of two keys whose values are objects.
    Pairs,
    /// Ephemerons of one key whose values are numbers.
    Labels,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 15] = [
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
        Self::Table,
        Self::Pairs,
        Self::Labels,
    ];

    /// Tables of ephemerons.
    pub(crate) const TABLES: [Self; 3] = [Self::Table, Self::Pairs, Self::Labels];

    /// Fields of a new object.
    pub(crate) fn fields(self, length: usize) -> usize {
        match self {
            Self::Leaf | Self::Unit | Self::Aligned | Self::Token | Self::Bag | Self::Text | Self::Bytes => 0,
            Self::Table | Self::Pairs | Self::Labels => 0,
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

    /// Whether it can be reached as a [`Named`], and so be a key.
    pub(crate) fn is_named(self) -> bool {
        matches!(self, Self::Leaf | Self::Pair | Self::Tracked | Self::Bag | Self::Big | Self::Table | Self::Pairs)
    }

    /// How many keys an entry has, if it is a table of ephemerons.
    pub fn keys(self) -> Option<usize> {
        match self {
            Self::Table | Self::Labels => Some(1),
            Self::Pairs => Some(2),
            _ => None,
        }
    }

    /// Whether values of the table's entries are objects.
    pub fn has_values(self) -> bool {
        matches!(self, Self::Table | Self::Pairs)
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
    /// What it reads while the token lives follows from its id.
    canary: Cell<u64>,
    journal: Option<Rc<Journal>>,
}

/// The canary of a token that lives.
fn alive(id: ObjectId) -> u64 {
    0x5EED_CAFE_F00D_BEEF ^ id as u64
}

impl Token {
    fn new(id: ObjectId, journal: &Rc<Journal>) -> Self {
        // Its drop needs no memory.
        let mut dropped = journal.dropped.borrow_mut();
        let room = journal.allocated.get() + 1 - dropped.len();
        dropped.reserve(room);
        Self { id, canary: Cell::new(alive(id)), journal: Some(Rc::clone(journal)) }
    }

    /// Whether it lives, as far as its own memory says.
    fn is_intact(&self) -> bool {
        self.canary.get() == alive(self.id)
    }

    /// Drops it without a note: it was never an object.
    fn forget(mut self) {
        self.journal = None;
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.canary.set(!alive(self.id));
        if let Some(journal) = &self.journal {
            journal.dropped.borrow_mut().push(self.id);
        }
    }
}

/// What some objects are reached as.
pub(crate) trait Named<'gc> {
    fn matches(&self, kind: Kind, id: ObjectId) -> bool;
    fn edges(&self) -> Vec<Option<Edge<'gc>>> {
        Vec::new()
    }
    fn entries(&self) -> Vec<Entry<'gc>> {
        Vec::new()
    }
    /// Whether the object's own memory says that it lives.
    fn is_intact(&self) -> bool {
        true
    }
}

/// A key of an ephemeron.
pub(crate) type Key<'gc> = Gc<'gc, dyn Named<'gc>>;

/// Ephemerons of one key.
pub(crate) type Table<'gc> = Ephemerons<Key<'gc>, Edge<'gc>>;

/// Ephemerons of two keys.
pub(crate) type Pairs<'gc> = Ephemerons<[Key<'gc>; 2], Edge<'gc>>;

/// Ephemerons whose values hold no edges.
pub(crate) type Labels<'gc> = Ephemerons<Key<'gc>, ObjectId>;

/// What a table says of a key.
#[derive(Clone, Copy)]
pub(crate) enum Value<'gc> {
    Object(Edge<'gc>),
    Label(ObjectId),
}

/// An entry of a table of any kind.
pub(crate) struct Entry<'gc> {
    pub(crate) keys: Vec<Key<'gc>>,
    pub(crate) value: Value<'gc>,
}

lacuna::trace_dyn!(Named<'gc>);

impl<'gc> Named<'gc> for Leaf {
    fn matches(&self, kind: Kind, id: ObjectId) -> bool {
        kind == Kind::Leaf && self.id == id
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

impl<'gc> Named<'gc> for Tracked<'gc> {
    fn matches(&self, kind: Kind, id: ObjectId) -> bool {
        kind == Kind::Tracked && self.token.id == id && self.is_intact() && self.token.journal.is_some()
    }
    fn is_intact(&self) -> bool {
        self.token.is_intact()
    }
    fn edges(&self) -> Vec<Option<Edge<'gc>>> {
        vec![self.next.get()]
    }
}

impl<'gc> Named<'gc> for Bag<'gc> {
    fn matches(&self, kind: Kind, id: ObjectId) -> bool {
        kind == Kind::Bag && self.id == id
    }
    fn edges(&self) -> Vec<Option<Edge<'gc>>> {
        self.items.borrow().iter().copied().map(Some).collect()
    }
}

impl<'gc> Named<'gc> for Big<'gc> {
    fn matches(&self, kind: Kind, id: ObjectId) -> bool {
        kind == Kind::Big && self.id == id && self.filler.iter().all(|&byte| byte == id as u8)
    }
    fn edges(&self) -> Vec<Option<Edge<'gc>>> {
        vec![self.next.get()]
    }
}

impl<'gc> Named<'gc> for Table<'gc> {
    fn matches(&self, kind: Kind, _: ObjectId) -> bool {
        kind == Kind::Table
    }
    fn entries(&self) -> Vec<Entry<'gc>> {
        let entries = Ephemerons::entries(self).into_iter();
        entries.map(|(key, value)| Entry { keys: vec![key], value: Value::Object(value) }).collect()
    }
}

impl<'gc> Named<'gc> for Pairs<'gc> {
    fn matches(&self, kind: Kind, _: ObjectId) -> bool {
        kind == Kind::Pairs
    }
    fn entries(&self) -> Vec<Entry<'gc>> {
        let entries = Ephemerons::entries(self).into_iter();
        entries.map(|(keys, value)| Entry { keys: keys.to_vec(), value: Value::Object(value) }).collect()
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
    Table(Gc<'gc, Ephemerons<Gc<'gc, dyn Named<'gc>>, Edge<'gc>>>),
    Pairs(Gc<'gc, Ephemerons<[Gc<'gc, dyn Named<'gc>>; 2], Edge<'gc>>>),
    Labels(Gc<'gc, Ephemerons<Gc<'gc, dyn Named<'gc>>, ObjectId>>),
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
            Kind::Table => Self::Table(cx.try_alloc(Table::new()).ok()?),
            Kind::Pairs => Self::Pairs(cx.try_alloc(Pairs::new()).ok()?),
            Kind::Labels => Self::Labels(cx.try_alloc(Labels::new()).ok()?),
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
            Self::Tracked(tracked) => tracked.edges(),
            Self::Big(big) => big.edges(),
            Self::Row(row) => row.iter().map(GcCell::get).collect(),
            Self::Record(record) => {
                std::iter::once(&record.header.first).chain(&record.tail).map(GcCell::get).collect()
            }
            Self::Bag(bag) => bag.edges(),
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
            (Self::Token(token), Kind::Token) => token.id == id && token.is_intact() && token.journal.is_some(),
            (Self::Pair(pair), Kind::Pair) => pair.id == id,
            (Self::Tracked(tracked), Kind::Tracked) => tracked.matches(kind, id),
            (Self::Bag(bag), Kind::Bag) => bag.matches(kind, id),
            (Self::Big(big), Kind::Big) => big.matches(kind, id),
            (Self::Row(row), Kind::Row) => row.len() == elements(length),
            (Self::Record(record), Kind::Record) => record.header.id == id && record.tail.len() == elements(length),
            (Self::Text(found), Kind::Text) => *found == *text(id, length),
            (Self::Bytes(found), Kind::Bytes) => found.len() == bytes(length) && found.iter().all(|&b| b == id as u8),
            (Self::Table(_), Kind::Table) | (Self::Pairs(_), Kind::Pairs) | (Self::Labels(_), Kind::Labels) => true,
            (Self::Dyn(named), _) => named.matches(kind, id),
            _ => false,
        }
    }

    /// The object as a key, if its kind can be one.
    pub(crate) fn key(self) -> Option<Key<'gc>> {
        Some(match self {
            Self::Leaf(leaf) => leaf.cast(|leaf| leaf as _),
            Self::Pair(pair) => pair.cast(|pair| pair as _),
            Self::Tracked(tracked) => tracked.cast(|tracked| tracked as _),
            Self::Bag(bag) => bag.cast(|bag| bag as _),
            Self::Big(big) => big.cast(|big| big as _),
            Self::Table(table) => table.cast(|table| table as _),
            Self::Pairs(pairs) => pairs.cast(|pairs| pairs as _),
            Self::Dyn(named) => named,
            _ => return None,
        })
    }

    /// The same edge as a trait object, if its kind can be one.
    pub(crate) fn named(self) -> Self {
        self.key().map_or(self, Self::Dyn)
    }

    /// Whether it is known what the object is, so that it can be changed.
    pub(crate) fn can_be_changed(self) -> bool {
        !matches!(self, Self::Dyn(_))
    }

    /// The entries of a table, in order.
    pub(crate) fn entries(self) -> Vec<Entry<'gc>> {
        match self {
            Self::Table(table) => Named::entries(&*table),
            Self::Pairs(pairs) => Named::entries(&*pairs),
            Self::Labels(labels) => {
                let entries = labels.entries().into_iter();
                entries.map(|(key, label)| Entry { keys: vec![key], value: Value::Label(label) }).collect()
            }
            Self::Dyn(named) => named.entries(),
            _ => Vec::new(),
        }
    }

    /// What a table has for keys, of which it uses as many as it has.
    pub(crate) fn look_up(self, keys: [Key<'gc>; 2]) -> Option<Value<'gc>> {
        match self {
            Self::Table(table) => table.get(keys[0]).map(Value::Object),
            Self::Pairs(pairs) => pairs.get(keys).map(Value::Object),
            Self::Labels(labels) => labels.get(keys[0]).map(Value::Label),
            _ => None,
        }
    }

    /// Puts an entry into a table, with a number or an object for a value; returns the value that was there.
    pub(crate) fn insert(
        self,
        cx: &Mutator<'gc>,
        keys: [Key<'gc>; 2],
        value: Edge<'gc>,
        label: ObjectId,
    ) -> Option<Value<'gc>> {
        match self {
            Self::Table(table) => table.edit(cx).insert(keys[0], value).map(Value::Object),
            Self::Pairs(pairs) => pairs.edit(cx).insert(keys, value).map(Value::Object),
            Self::Labels(labels) => labels.edit(cx).insert(keys[0], label).map(Value::Label),
            _ => None,
        }
    }

    /// Takes an entry out of a table; returns its value.
    pub(crate) fn remove(self, cx: &Mutator<'gc>, keys: [Key<'gc>; 2]) -> Option<Value<'gc>> {
        match self {
            Self::Table(table) => table.edit(cx).remove(keys[0]).map(Value::Object),
            Self::Pairs(pairs) => pairs.edit(cx).remove(keys).map(Value::Object),
            Self::Labels(labels) => labels.edit(cx).remove(keys[0]).map(Value::Label),
            _ => None,
        }
    }

    /// Lets a table give memory back, after taking all entries out if it is to be `clear`ed.
    pub(crate) fn tidy(self, cx: &Mutator<'gc>, clear: bool) {
        match (self, clear) {
            (Self::Table(table), false) => table.edit(cx).prune(),
            (Self::Table(table), true) => table.edit(cx).clear(),
            (Self::Pairs(pairs), false) => pairs.edit(cx).prune(),
            (Self::Pairs(pairs), true) => pairs.edit(cx).clear(),
            (Self::Labels(labels), false) => labels.edit(cx).prune(),
            (Self::Labels(labels), true) => labels.edit(cx).clear(),
            _ => {}
        }
    }

    /// Whether the object's own memory says that it lives, as far as that can be told without the model.
    pub(crate) fn is_intact(self) -> bool {
        match self {
            Self::Token(token) => token.is_intact(),
            Self::Tracked(tracked) => tracked.is_intact(),
            Self::Dyn(named) => named.is_intact(),
            _ => true,
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

            fn notify_owned<T: ?Sized + lacuna::Object>(
                &self,
                heap: &mut Heap,
                weak: Weak<T>,
                payload: Payload,
            ) -> Result<Notification<Payload>, RegisterError<Payload>> {
                match self { $(Self::$kind(owner) => heap.notify_owned(weak, owner, payload, told),)* }
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

            /// Registers a notification, or says that none can be: the reference is a long one.
            pub(crate) fn notify(
                self,
                heap: &mut Heap,
                owner: Option<&Handle>,
                payload: Payload,
            ) -> Option<Result<Notification<Payload>, RegisterError<Payload>>> {
                Some(match self {
                    $(Self::$kind(AnyWeak::Short(weak)) => match owner {
                        None => heap.notify(weak, payload, told),
                        Some(owner) => owner.notify_owned(heap, weak, payload),
                    },
                    Self::$kind(AnyWeak::Long(_)) => return None,)*
                })
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

type Slot = GcCell<Option<Edge<'static>>>;
type Row = [Slot];
type Record = WithTail<Head<'static>, Slot>;
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
    Table: Table<'static>;
    Pairs: Pairs<'static>;
    Labels: Labels<'static>;
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
            Kind::Table => Self::Table(object.downcast().ok()?),
            Kind::Pairs => Self::Pairs(object.downcast().ok()?),
            Kind::Labels => Self::Labels(object.downcast().ok()?),
        })
    }
}
