//! The language: operations, and how they are decoded from bytes.
//!
//! An operation is four bytes: what to do, and three numbers, which name things by their position among those that
//! exist, modulo how many there are. So a shrunk or mutated program still means something, and much the same.

use crate::objects::Kind;

/// What to do next.
///
/// `usize` fields name roots, weak references, registrations, or *objects*: those made or found in the current scope,
/// then those that roots hold. Tables and keys are named among the objects that can be some.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Opens a scope; what follows happens in it, as far as it can.
    Enter,
    /// Closes the scope.
    Exit,
    /// Panics out of the scope.
    Panic,
    /// Allocates in a scope an object whose fields lead to two others; outside of one, makes a root of it, too.
    Allocate(Kind, usize, [usize; 2]),
    /// Allocates by handle.
    AllocateRooted(Kind),
    /// Lets a field of an object lead to another, which it may do as a trait object.
    Link(usize, usize, usize, bool),
    /// Empties a field.
    Unlink(usize, usize),
    /// Makes a root of an object.
    Root(usize),
    /// Clones a root.
    CloneRoot(usize),
    /// Drops a root.
    DropRoot(usize),
    /// Makes a weak reference, a long one or not.
    Downgrade(usize, bool),
    /// Makes a root, or in a scope a pointer, of a weak reference.
    Upgrade(usize),
    /// Registers a cleanup on an object, whose payload holds the given root.
    Cleanup(usize, Behaviour, Option<usize>),
    /// Registers a notification on a weak reference, whose owner is the object of a root if there is one, and whose
    /// payload holds another.
    Notify(usize, Behaviour, Option<usize>, Option<usize>),
    /// Cancels a cleanup or notification.
    Cancel(usize),
    /// Runs a cleanup or notification now.
    RunNow(usize),
    /// Sets whether a cleanup or notification runs at shutdown.
    AtShutdown(usize, bool),
    /// Sets the external bytes of a cleanup's object.
    External(usize, usize),
    /// Registers an object with a guardian.
    Guard(usize),
    /// Takes a guardian back.
    Unguard(usize),
    /// Takes the next guarded object.
    NextGuarded,
    /// Puts an entry into a table of ephemerons: its keys, as many as the table wants, and its value.
    Insert(usize, [usize; 2], usize),
    /// Takes an entry out of a table.
    Remove(usize, [usize; 2]),
    /// Looks an entry up, and finds its value.
    LookUp(usize, [usize; 2]),
    /// Goes through a table, and finds a key and a value of one of its entries.
    Iterate(usize, usize),
    /// Lets a table give memory back, or empties it.
    Tidy(usize, bool),
    /// Begins a turn.
    Turn,
    /// Ends the turn that began last.
    EndTurn,
    /// Runs at most so many callbacks of at most so many batches.
    Drain(usize, usize),
    /// Collects.
    Collect,
    /// Collects what was made since the last collection.
    CollectMinor,
    /// Begins a major collection that is done in increments, where the heap is set up for that.
    BeginMajor,
    /// Does an increment of so many work units, likewise.
    Step(usize),
    /// Counts external bytes in.
    AddExternal(usize),
    /// Counts external bytes out.
    SubExternal(usize),
    /// Sets the heap limit to so many blocks more than are in use, or to none.
    Limit(Option<usize>),
    /// Shuts the heap down, with a budget for what is queued. Nothing follows.
    Shutdown(usize),
}

/// What the callback of a cleanup or notification does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behaviour {
    /// Notes that it ran.
    Nothing,
    /// Panics.
    Panic,
    /// Allocates objects and drops their roots.
    Allocate,
    /// Collects.
    Collect,
    /// Tries to drain and to shut down, which must be refused.
    Nest,
    /// Puts the roots in its payload back among the others.
    Keep,
    /// Registers another cleanup on the object that its payload holds.
    Register,
}

/// A list of operations.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Program(pub Vec<Operation>);

impl Program {
    /// The program that the bytes mean. A rest of less than four bytes is ignored.
    pub fn decode(bytes: &[u8]) -> Self {
        let (records, _) = bytes.as_chunks::<4>();
        Self(records.iter().map(|&record| Operation::decode(record)).collect())
    }
}

/// Fields that are written: where a piece of an array begins and ends, and others.
const FIELDS: [usize; 16] = [0, 1, 2, 3, 17, 39, 126, 127, 128, 129, 130, 255, 256, 257, 384, 499];

/// Work units of increments: from one object to more than all.
const UNITS: [usize; 8] = [1, 1, 2, 5, 20, 70, 200, 100_000];

impl Operation {
    /// The operation that four bytes mean.
    pub fn decode([code, a, b, c]: [u8; 4]) -> Self {
        let (x, y, z) = (usize::from(a), usize::from(b), usize::from(c));
        let long = c & 1 == 1;
        match code % 130 {
            0..=3 => Self::Enter,
            4..=5 => Self::Exit,
            6 => Self::Panic,
            7..=20 => Self::Allocate(Kind::ALL[x % Kind::ALL.len()], x / Kind::ALL.len(), [y, z]),
            21..=22 => Self::AllocateRooted(Kind::ALL[x % Kind::ALL.len()]),
            23..=34 => Self::Link(x, FIELDS[z / 2 % FIELDS.len()], y, long),
            35..=36 => Self::Unlink(x, FIELDS[y % FIELDS.len()]),
            37..=40 => Self::Root(x),
            41 => Self::CloneRoot(x),
            42..=50 => Self::DropRoot(x),
            51..=55 => Self::Downgrade(x, long),
            56..=57 => Self::Upgrade(x),
            58..=63 => Self::Cleanup(x, Behaviour::decode(b), (c >= 64).then_some(z)),
            64 => Self::Cancel(x),
            65 => Self::RunNow(x),
            66 => Self::AtShutdown(x, long),
            67 => Self::External(x, y * 997),
            68..=71 => Self::Guard(x),
            72 => Self::Unguard(x),
            73..=75 => Self::NextGuarded,
            76..=77 => Self::Drain(x % 8, if c < 128 { usize::MAX } else { z % 4 }),
            78..=80 => Self::Collect,
            81 => Self::AddExternal(x * 1009),
            82 => Self::SubExternal(x * 1013),
            83 => Self::Limit((b < 160).then_some(x % 32)),
            84 if a < 24 => Self::Shutdown(y % 16),
            85..=92 => Self::Notify(x, Behaviour::decode(b), long.then_some(z >> 2), (c & 2 == 2).then_some(z >> 5)),
            93..=103 => Self::Insert(x, [y & 15, y >> 4], z),
            104..=105 => Self::Remove(x, [y & 15, y >> 4]),
            106..=109 => Self::LookUp(x, [y & 15, y >> 4]),
            110..=111 => Self::Iterate(x, y),
            112 => Self::Tidy(x, b < 32),
            113 => Self::Turn,
            114..=115 => Self::EndTurn,
            116..=117 => Self::Allocate(Kind::TABLES[x % Kind::TABLES.len()], 0, [y, z]),
            118..=121 => Self::CollectMinor,
            122..=123 => Self::BeginMajor,
            124..=129 => Self::Step(UNITS[x % UNITS.len()]),
            _ => Self::Exit,
        }
    }

    /// Whether it can be done within a scope.
    pub(crate) fn is_of_scope(self) -> bool {
        matches!(
            self,
            Self::Exit
                | Self::Panic
                | Self::Allocate(..)
                | Self::Link(..)
                | Self::Unlink(..)
                | Self::Root(_)
                | Self::CloneRoot(_)
                | Self::DropRoot(_)
                | Self::Downgrade(..)
                | Self::Upgrade(_)
                | Self::Cleanup(..)
                | Self::Cancel(_)
                | Self::Guard(_)
                | Self::Insert(..)
                | Self::Remove(..)
                | Self::LookUp(..)
                | Self::Iterate(..)
                | Self::Tidy(..)
                | Self::AddExternal(_)
                | Self::SubExternal(_)
        )
    }

    /// Whether it needs a scope, so that one is opened for it alone.
    pub(crate) fn needs_scope(self) -> bool {
        matches!(
            self,
            Self::Panic
                | Self::Link(..)
                | Self::Unlink(..)
                | Self::Root(_)
                | Self::Insert(..)
                | Self::Remove(..)
                | Self::Tidy(..)
        )
    }

    /// Whether it makes or finds an object, which is rooted at once if no scope is open.
    pub(crate) fn finds(self) -> bool {
        matches!(self, Self::Allocate(..) | Self::LookUp(..) | Self::Iterate(..))
    }
}

impl Behaviour {
    fn decode(byte: u8) -> Self {
        match byte % 12 {
            0..=3 => Self::Nothing,
            4..=5 => Self::Panic,
            6 => Self::Allocate,
            7 => Self::Collect,
            8 => Self::Nest,
            9..=10 => Self::Keep,
            _ => Self::Register,
        }
    }
}
