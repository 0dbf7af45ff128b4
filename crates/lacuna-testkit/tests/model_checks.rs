//! The checks that a weak reference, an ephemeron and a finalizer have to stand, each by way of the naive model: every
//! short program of a few small worlds, and random ones whose emphasis is on what a check is about.
//!
//! The fourth, for which the allocator fails, has a test binary of its own; the fifth is
//! `rules_ephemerons::model_check_5_…`.

use std::time::Instant;

use lacuna_testkit::Operation::*;
use lacuna_testkit::explore::{Action, World, explore};
use lacuna_testkit::{Behaviour, Kind, Setup};

/// A table, a key and its value; the key is guarded, and its death told to the table.
const GUARDED_KEY: World = World {
    name: "a guarded key",
    begin: &[
        Enter,
        Allocate(Kind::Table, 0, [0, 0]),
        Allocate(Kind::Tracked, 0, [0, 0]),
        Allocate(Kind::Pair, 0, [0, 0]),
        Unlink(1, 0),
        Unlink(2, 0),
        Unlink(2, 1),
        Root(0),
        Root(1),
        Root(2),
        Exit,
        Insert(0, [1, 1], 2),
        Downgrade(1, false),
        Downgrade(1, true),
        Downgrade(2, false),
        Guard(1),
        Cleanup(2, Behaviour::Nothing, None),
        Notify(0, Behaviour::Nothing, Some(0), None),
    ],
    actions: &[
        Action::Link(1, 0, 2),
        Action::Link(2, 0, 1),
        Action::Unlink(1, 0),
        Action::DropRoot(0),
        Action::DropRoot(1),
        Action::DropRoot(2),
        Action::Upgrade(0),
        Action::Upgrade(1),
        Action::Upgrade(2),
        Action::Insert(0, [2, 2], 1),
        Action::Remove(0, [1, 1]),
        Action::LookUp(0, [1, 1]),
        Action::Drain,
        Action::NextGuarded,
        Action::Collect,
    ],
};

/// A table of two keys that a guardian brings back, with a chain of entries in it.
const GUARDED_TABLE: World = World {
    name: "a guarded table of two keys",
    begin: &[
        Enter,
        Allocate(Kind::Pairs, 0, [0, 0]),
        Allocate(Kind::Tracked, 0, [0, 0]),
        Allocate(Kind::Tracked, 0, [0, 0]),
        Allocate(Kind::Tracked, 0, [0, 0]),
        Unlink(1, 0),
        Unlink(2, 0),
        Unlink(3, 0),
        Root(0),
        Root(1),
        Root(2),
        Root(3),
        Exit,
        Insert(0, [1, 2], 3),
        Insert(0, [3, 1], 0),
        Downgrade(3, false),
        Downgrade(0, true),
        Downgrade(2, false),
        Guard(0),
        Cleanup(3, Behaviour::Nothing, None),
        Notify(2, Behaviour::Nothing, Some(1), None),
    ],
    actions: &[
        Action::Link(1, 0, 0),
        Action::Link(3, 0, 2),
        Action::DropRoot(0),
        Action::DropRoot(1),
        Action::DropRoot(2),
        Action::DropRoot(3),
        Action::Upgrade(0),
        Action::Upgrade(1),
        Action::Upgrade(2),
        Action::Insert(0, [2, 1], 3),
        Action::Insert(0, [1, 1], 2),
        Action::LookUp(0, [1, 2]),
        Action::Drain,
        Action::NextGuarded,
        Action::Collect,
    ],
};

/// Two objects that lead to each other, both guarded, and a payload that holds one of them.
const GUARDED_CYCLE: World = World {
    name: "a guarded cycle",
    begin: &[
        Enter,
        Allocate(Kind::Tracked, 0, [0, 0]),
        Allocate(Kind::Tracked, 0, [0, 0]),
        Allocate(Kind::Table, 0, [0, 0]),
        Link(0, 0, 1, false),
        Root(0),
        Root(1),
        Root(2),
        Exit,
        Insert(0, [0, 0], 2),
        Downgrade(0, false),
        Downgrade(1, false),
        Downgrade(0, true),
        Guard(0),
        Guard(1),
        Cleanup(0, Behaviour::Keep, Some(1)),
        Notify(1, Behaviour::Collect, Some(0), None),
        Notify(0, Behaviour::Register, None, Some(2)),
    ],
    actions: &[
        Action::Unlink(0, 0),
        Action::Unlink(1, 0),
        Action::DropRoot(0),
        Action::DropRoot(1),
        Action::DropRoot(2),
        Action::Upgrade(0),
        Action::Upgrade(1),
        Action::Upgrade(2),
        Action::Downgrade(0, false),
        Action::Guard(1),
        Action::Insert(2, [1, 1], 1),
        Action::LookUp(2, [0, 0]),
        Action::Drain,
        Action::NextGuarded,
        Action::Collect,
    ],
};

/// An owner and its target, each the value of the other, in two tables.
const TWO_TABLES: World = World {
    name: "two tables",
    begin: &[
        Enter,
        Allocate(Kind::Table, 0, [0, 0]),
        Allocate(Kind::Table, 0, [0, 0]),
        Allocate(Kind::Tracked, 0, [0, 0]),
        Allocate(Kind::Tracked, 0, [0, 0]),
        Unlink(2, 0),
        Unlink(3, 0),
        Root(0),
        Root(1),
        Root(2),
        Root(3),
        Exit,
        Insert(0, [2, 2], 3),
        Insert(1, [3, 3], 2),
        Downgrade(2, false),
        Downgrade(3, false),
        Downgrade(3, true),
        Guard(3),
        Cleanup(2, Behaviour::Panic, None),
        Notify(1, Behaviour::Nothing, Some(2), None),
    ],
    actions: &[
        Action::Link(2, 0, 1),
        Action::DropRoot(0),
        Action::DropRoot(1),
        Action::DropRoot(2),
        Action::DropRoot(3),
        Action::Upgrade(0),
        Action::Upgrade(2),
        Action::Insert(0, [3, 3], 1),
        Action::Insert(1, [1, 1], 0),
        Action::Remove(1, [3, 3]),
        Action::LookUp(1, [3, 3]),
        Action::Drain,
        Action::NextGuarded,
        Action::Collect,
    ],
};

const WORLDS: [World; 4] = [GUARDED_KEY, GUARDED_TABLE, GUARDED_CYCLE, TWO_TABLES];

/// Explores all worlds up to a depth, or the one that `LACUNA_DEPTH` says.
fn explore_all(setup: Setup, depth: usize) {
    let depth = std::env::var("LACUNA_DEPTH").ok().and_then(|depth| depth.parse().ok()).unwrap_or(depth);
    let start = Instant::now();
    for length in 1..=depth {
        for world in &WORLDS {
            match explore(world, setup, length) {
                Ok(sequences) => println!("{}: {sequences} sequences of {length}, {:?}", world.name, start.elapsed()),
                Err(difference) => panic!("{difference}"),
            }
        }
    }
    println!("explored to depth {depth}");
}

#[test]
fn model_check_1_every_interleaving_in_small_worlds() {
    explore_all(Setup::QUIET, 5);
}

#[test]
fn model_check_1_every_interleaving_in_small_worlds_in_zeal() {
    explore_all(Setup::ZEAL, 4);
}
