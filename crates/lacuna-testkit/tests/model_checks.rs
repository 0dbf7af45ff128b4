//! The checks that a weak reference, an ephemeron and a finalizer have to stand, each by way of the naive model: every
//! short program of a few small worlds, and random ones whose emphasis is on what a check is about.
//!
//! The fourth, for which the allocator fails, has a test binary of its own; the fifth is
//! `rules_ephemerons::rule_08c_…model_check_5_…`.

use std::time::Instant;

use lacuna_testkit::Operation::*;
use lacuna_testkit::explore::{Action, World, explore};
use lacuna_testkit::{Behaviour, Kind, Operation, Program, Setup, run};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

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

/// A chain, and an object that nothing leads to, while a collection marks.
const CHAIN: World = World {
    name: "a chain while a collection marks",
    begin: &[
        Enter,
        Allocate(Kind::Pair, 0, [0, 0]),
        Allocate(Kind::Tracked, 0, [0, 0]),
        Allocate(Kind::Tracked, 0, [0, 0]),
        Allocate(Kind::Tracked, 0, [0, 0]),
        Unlink(0, 0),
        Unlink(0, 1),
        Unlink(1, 0),
        Unlink(2, 0),
        Unlink(3, 0),
        Link(0, 0, 1, false),
        Link(1, 0, 2, false),
        Root(0),
        Downgrade(1, false),
        Downgrade(2, false),
        Downgrade(3, false),
        Exit,
        BeginMajor,
        Step(1),
    ],
    actions: &[
        Action::Upgrade(0),
        Action::Upgrade(1),
        Action::Upgrade(2),
        Action::Link(0, 1, 2),
        Action::Link(0, 1, 3),
        Action::Link(2, 0, 3),
        Action::Unlink(0, 0),
        Action::Unlink(1, 0),
        Action::DropRoot(0),
        Action::DropRoot(1),
        Action::DropRoot(2),
        Action::DropRoot(3),
        Action::Step(1),
        Action::Step(70),
        Action::Begin,
        Action::CollectMinor,
        Action::Collect,
    ],
};

/// A table, a key and its value, which a guardian brings back, while a collection marks.
const MARKED_TABLE: World = World {
    name: "a table while a collection marks",
    begin: &[
        Enter,
        Allocate(Kind::Table, 0, [0, 0]),
        Allocate(Kind::Tracked, 0, [0, 0]),
        Allocate(Kind::Tracked, 0, [0, 0]),
        Allocate(Kind::Tracked, 0, [0, 0]),
        Unlink(1, 0),
        Unlink(2, 0),
        Unlink(3, 0),
        Link(1, 0, 2, false),
        Root(0),
        Root(1),
        Root(3),
        Downgrade(2, false),
        Downgrade(3, true),
        Exit,
        Insert(0, [1, 1], 2),
        Guard(2),
        BeginMajor,
        Step(1),
    ],
    actions: &[
        Action::Upgrade(0),
        Action::Upgrade(1),
        Action::Link(3, 0, 2),
        Action::Unlink(1, 0),
        Action::DropRoot(1),
        Action::DropRoot(2),
        Action::DropRoot(3),
        Action::Insert(0, [2, 2], 3),
        Action::Insert(0, [1, 1], 2),
        Action::Remove(0, [1, 1]),
        Action::LookUp(0, [1, 1]),
        Action::NextGuarded,
        Action::Step(1),
        Action::Step(70),
        Action::Begin,
        Action::CollectMinor,
    ],
};

/// Objects that are made, change hands and die while a collection marks and sweeps.
const NEW_OBJECTS: World = World {
    name: "new objects while a collection is under way",
    begin: &[
        AllocateRooted(Kind::Token),
        Enter,
        Allocate(Kind::Pair, 0, [0, 0]),
        Unlink(0, 0),
        Unlink(0, 1),
        Root(0),
        Exit,
        Downgrade(0, false),
        Downgrade(1, false),
        BeginMajor,
        Step(1),
        Step(1),
    ],
    actions: &[
        Action::Allocate(0, 5),
        Action::Link(1, 0, 2),
        Action::Link(1, 1, 3),
        Action::Link(1, 0, 0),
        Action::Unlink(1, 0),
        Action::DropRoot(0),
        Action::DropRoot(2),
        Action::DropRoot(3),
        Action::Upgrade(0),
        Action::Step(1),
        Action::Step(70),
        Action::Begin,
        Action::CollectMinor,
        Action::Collect,
    ],
};

/// Explores worlds up to a depth each, or the one that `LACUNA_DEPTH` says.
fn explore_all(setup: Setup, worlds: &[(World, usize)]) {
    let asked_for = std::env::var("LACUNA_DEPTH").ok().and_then(|depth| depth.parse().ok());
    for &(ref world, depth) in worlds {
        let depth = asked_for.unwrap_or(depth);
        let start = Instant::now();
        let mut sequences = 0;
        for length in 1..=depth {
            sequences += explore(world, setup, length).unwrap_or_else(|difference| panic!("{difference}"));
        }
        println!("the world of {}: {sequences} sequences to depth {depth} in {:.1?}", world.name, start.elapsed());
        assert!(sequences > depth, "hardly anything can be done");
    }
}

/// The depths are those that take some seconds on a machine that has other things to do.
#[test]
fn model_check_1_every_interleaving_in_small_worlds() {
    explore_all(Setup::QUIET, &[(GUARDED_KEY, 5), (GUARDED_TABLE, 5), (GUARDED_CYCLE, 6), (TWO_TABLES, 5)]);
}

/// Whatever uses the heap collects it, and freed cells are filled.
#[test]
fn model_check_1_every_interleaving_in_small_worlds_in_zeal() {
    explore_all(Setup::ZEAL, &[(GUARDED_KEY, 4), (GUARDED_TABLE, 4), (GUARDED_CYCLE, 5), (TWO_TABLES, 4)]);
}

/// And several threads mark.
#[cfg(feature = "parallel")]
#[test]
fn model_check_1_every_interleaving_in_small_worlds_that_several_threads_mark() {
    explore_all(Setup::THREADS, &[(GUARDED_KEY, 3), (GUARDED_TABLE, 3), (GUARDED_CYCLE, 4), (TWO_TABLES, 3)]);
}

/// Collects in increments, when it is told to.
const INCREMENTS: Setup = Setup { increment_step: Some(0), ..Setup::QUIET };

#[test]
fn model_check_1_every_interleaving_with_increments_in_small_worlds() {
    explore_all(INCREMENTS, &[(CHAIN, 5), (MARKED_TABLE, 5), (NEW_OBJECTS, 5)]);
}

#[test]
fn model_check_1_every_interleaving_with_increments_in_small_worlds_in_zeal() {
    explore_all(Setup { zeal: true, ..INCREMENTS }, &[(CHAIN, 4), (MARKED_TABLE, 4), (NEW_OBJECTS, 4)]);
}

/// And several threads mark what increments have left.
#[cfg(feature = "parallel")]
#[test]
fn model_check_1_every_interleaving_with_increments_in_small_worlds_that_several_threads_mark() {
    let setup = Setup { zeal: true, mark_threads: 2, ..INCREMENTS };
    explore_all(setup, &[(CHAIN, 3), (MARKED_TABLE, 3), (NEW_OBJECTS, 3)]);
}

/// Programs for each property; more with `PROPTEST_CASES`.
fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default);
    let seeds = FileFailurePersistence::Direct("proptest-regressions/model_checks.txt");
    ProptestConfig {
        cases,
        max_shrink_iters: 20_000,
        failure_persistence: Some(Box::new(seeds)),
        ..ProptestConfig::default()
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    use Kind::{Bag, Big, Pair, Pairs, Row, Table, Token, Tracked};
    prop::sample::select(vec![Tracked, Tracked, Token, Pair, Bag, Big, Row, Table, Table, Pairs])
}

fn behaviours() -> impl Strategy<Value = Behaviour> {
    use Behaviour::{Allocate, Collect, Keep, Nest, Nothing, Panic, Register};
    prop::sample::select(vec![Nothing, Panic, Allocate, Collect, Nest, Keep, Register])
}

/// A graph that changes, and collections of it.
fn changes() -> impl Strategy<Value = Operation> {
    let index = || 0..16_usize;
    prop_oneof![
        3 => (kinds(), index(), index()).prop_map(|(kind, one, other)| Allocate(kind, 1, [one, other])),
        2 => (index(), 0..3_usize, index(), any::<bool>()).prop_map(|(from, field, to, named)| Link(from, field, to, named)),
        1 => (index(), 0..3_usize).prop_map(|(from, field)| Unlink(from, field)),
        3 => index().prop_map(DropRoot),
        2 => Just(Collect),
    ]
}

/// Many weak references to few objects, and callbacks that look at all of them.
fn observations() -> impl Strategy<Value = Operation> {
    let index = || 0..16_usize;
    prop_oneof![
        6 => (index(), any::<bool>()).prop_map(|(object, long)| Downgrade(object, long)),
        2 => (index(), behaviours(), prop::option::of(index()))
            .prop_map(|(object, behaviour, held)| Cleanup(object, behaviour, held)),
        3 => (index(), behaviours(), prop::option::of(index()), prop::option::of(index()))
            .prop_map(|(weak, behaviour, owner, held)| Notify(weak, behaviour, owner, held)),
        2 => index().prop_map(Guard),
        1 => index().prop_map(RunNow),
        2 => Just(NextGuarded),
        2 => (1..8_usize).prop_map(|callbacks| Drain(callbacks, usize::MAX)),
        1 => Just(Turn),
        1 => Just(EndTurn),
    ]
}

/// Everything that gives an object out which only a weak reference, an entry or a guardian led to.
fn returns() -> impl Strategy<Value = Operation> {
    let index = || 0..16_usize;
    let keys = || [0..16_usize, 0..16_usize];
    prop_oneof![
        3 => (index(), any::<bool>()).prop_map(|(object, long)| Downgrade(object, long)),
        4 => (0..64_usize).prop_map(Upgrade),
        5 => (index(), keys(), index()).prop_map(|(table, keys, value)| Insert(table, keys, value)),
        4 => (index(), keys()).prop_map(|(table, keys)| LookUp(table, keys)),
        3 => (index(), 0..8_usize).prop_map(|(table, entry)| Iterate(table, entry)),
        2 => index().prop_map(Guard),
        2 => Just(NextGuarded),
        1 => (index(), Just(Behaviour::Keep), prop::option::of(index()))
            .prop_map(|(object, behaviour, held)| Cleanup(object, behaviour, held)),
        1 => Just(Drain(usize::MAX, usize::MAX)),
    ]
}

/// Increments of a few units, and collections that meet them.
fn increments() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => prop::sample::select(vec![1, 1, 2, 5, 70, 300]).prop_map(Step),
        2 => Just(BeginMajor),
        1 => Just(CollectMinor),
    ]
}

/// Operations of one kind and changes, some of them several to a scope.
fn programs(what: impl Strategy<Value = Operation> + 'static, longest: usize) -> impl Strategy<Value = Vec<Operation>> {
    let scopes = prop::sample::select(vec![Enter, Exit]);
    prop::collection::vec(prop_oneof![4 => changes(), 5 => what, 1 => scopes], 1..longest)
}

fn check(program: &[Operation], setup: Setup) -> Result<(), TestCaseError> {
    run(&Program(program.to_vec()), setup).map(drop).map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(cases(400))]

    // Rules 5, 6 and 7: the weak references to an object die together, before any callback that is about it runs. The
    // comparison looks after each step, and each callback for itself.
    #[test]
    fn model_check_2_all_weak_references_to_an_object_agree(program in programs(observations(), 150)) {
        check(&program, Setup::QUIET)?;
        check(&program, Setup { auto_drain: true, ..Setup::TIGHT })?;
        check(&program, Setup::ZEAL)?;
    }

    // Rule 3: freed cells are filled in zeal, and objects know by a canary of their own whether they were dropped.
    #[test]
    fn model_check_3_what_was_given_out_is_not_freed_while_its_root_lives(program in programs(returns(), 150)) {
        check(&program, Setup::ZEAL)?;
        check(&program, Setup { zeal: true, ..Setup::TIGHT })?;
    }

    // Rules 2, 4, 6, 8 and 27 to 30: what is upgraded, looked up, moved or handed back between any two increments.
    #[test]
    fn model_check_3_what_was_given_out_between_increments_is_not_freed_while_its_root_lives(
        program in programs(prop_oneof![returns(), increments(), increments(), observations()], 200),
    ) {
        check(&program, INCREMENTS)?;
        check(&program, Setup { zeal: true, ..INCREMENTS })?;
        check(&program, Setup { increment_step: Some(0), ..Setup::TIGHT })?;
    }
}
