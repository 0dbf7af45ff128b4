//! Random programs against the naive model.
//!
//! What was found once is kept: as seeds in `proptest-regressions`, which are tried first, and the shortest of them as
//! programs here.

use lacuna_testkit::Operation::*;
use lacuna_testkit::{Behaviour, Kind, Operation, Program, Setup, run};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestCaseError};

/// Programs as the records that they are decoded from, so that shrinking leaves operations out.
fn records(longest: usize) -> impl Strategy<Value = Vec<[u8; 4]>> {
    prop::collection::vec(any::<[u8; 4]>(), 1..longest)
}

fn check(records: &[[u8; 4]], setup: Setup) -> Result<(), TestCaseError> {
    let program = Program::decode(records.as_flattened());
    run(&program, setup).map(drop).map_err(TestCaseError::fail)
}

/// Programs for each property; more with `PROPTEST_CASES`.
fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default);
    let seeds = FileFailurePersistence::Direct("proptest-regressions/model.txt");
    ProptestConfig {
        cases,
        max_shrink_iters: 20_000,
        failure_persistence: Some(Box::new(seeds)),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn a_heap_does_what_the_model_says(records in records(200)) {
        check(&records, Setup::DEFAULT)?;
    }

    #[test]
    fn a_heap_in_zeal_does_what_the_model_says(records in records(120)) {
        check(&records, Setup::ZEAL)?;
    }

    #[cfg(feature = "parallel")]
    #[test]
    fn a_heap_that_several_threads_mark_does_what_the_model_says(records in records(120)) {
        check(&records, Setup::THREADS)?;
        check(&records, Setup { zeal: true, mark_threads: 3, ..Setup::TIGHT })?;
    }

    #[test]
    fn a_heap_at_its_limit_does_what_the_model_says(records in records(300)) {
        check(&records, Setup::TIGHT)?;
    }

    #[test]
    fn a_heap_at_its_limit_in_zeal_does_what_the_model_says(records in records(120)) {
        check(&records, Setup { zeal: true, ..Setup::TIGHT })?;
    }

    #[test]
    fn a_heap_that_drains_at_safepoints_and_collects_often_does_what_the_model_says(records in records(300)) {
        check(&records, Setup { auto_drain: true, limit: None, ..Setup::TIGHT })?;
    }
}

/// The program may collect in increments.
const INCREMENTS: [Setup; 5] = [
    Setup::INCREMENTS,
    Setup { zeal: true, ..Setup::INCREMENTS },
    Setup { increment_step: Some(0), ..Setup::TIGHT },
    Setup { increment_step: Some(0), ..Setup::QUIET },
    Setup::INCREMENTS_AND_THREADS,
];

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn a_heap_that_collects_in_increments_does_what_the_model_says(records in records(300)) {
        check(&records, INCREMENTS[0])?;
    }

    #[test]
    fn a_heap_that_collects_in_increments_in_zeal_does_what_the_model_says(records in records(150)) {
        check(&records, INCREMENTS[1])?;
    }

    #[test]
    fn a_heap_at_its_limit_that_collects_in_increments_does_what_the_model_says(records in records(300)) {
        check(&records, INCREMENTS[2])?;
    }

    #[test]
    fn a_heap_that_collects_in_increments_when_told_does_what_the_model_says(records in records(300)) {
        check(&records, INCREMENTS[3])?;
    }

    #[cfg(feature = "parallel")]
    #[test]
    fn a_heap_that_collects_in_increments_and_that_several_threads_mark_does_what_the_model_says(
        records in records(120),
    ) {
        check(&records, Setup::INCREMENTS_AND_THREADS)?;
        check(&records, Setup { zeal: true, mark_threads: 3, ..INCREMENTS[2] })?;
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn the_same_program_gives_the_same_collections_callbacks_and_drops(records in records(200)) {
        let program = Program::decode(records.as_flattened());
        let once = || {
            run(&program, Setup::TIGHT).map(|mut outcome| {
                // Which objects count as near depends on where the system puts chunks.
                outcome.stats.last.objects_prefetched = 0;
                outcome
            })
        };
        prop_assert_eq!(once(), once());
    }
}

fn random_bytes() -> impl FnMut() -> u8 {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    }
}

#[test]
fn random_programs_do_increments_of_all_sizes_and_die_between_them() {
    let mut byte = random_bytes();
    let mut seen = [0; 4];
    for round in 0..400 {
        let mut bytes: Vec<u8> = (0..800).map(|_| byte()).collect();
        // More increments, small ones, and more roots that are dropped.
        for record in bytes.as_chunks_mut::<4>().0 {
            match record[3] % 8 {
                0 => record[0] = 122,
                1..=2 => *record = [124, record[1] % 5, 0, 0],
                3 => record[0] = 42,
                _ => {}
            }
        }
        let setup = INCREMENTS[round % INCREMENTS.len()];
        let outcome = run(&Program::decode(&bytes), setup).unwrap();
        seen[0] += outcome.floating;
        seen[1] += outcome.collections_in_increments;
        seen[2] += outcome.stats.minor_collections as usize;
        seen[3] += usize::from(outcome.is_whole);
    }
    assert!(seen.iter().zip([200, 3000, 500, 380]).all(|(&count, least)| count >= least), "{seen:?}");
}

#[test]
fn random_programs_do_a_bit_of_everything() {
    let mut byte = random_bytes();
    let mut seen = [0; 8];
    for round in 0..300 {
        let bytes: Vec<u8> = (0..800).map(|_| byte()).collect();
        let setup = [Setup::ZEAL, Setup::DEFAULT, Setup::THREADS, Setup::DEFAULT][round % 4];
        let outcome = run(&Program::decode(&bytes), setup).unwrap();
        let (stats, [resolved, cleared]) = (outcome.stats, outcome.ephemerons);
        let notified = stats.callbacks_run - stats.callbacks_panicked;
        seen[0] += resolved;
        seen[1] += cleared;
        seen[2] += stats.notifications_silenced as usize;
        seen[3] += notified as usize;
        seen[4] += stats.callbacks_panicked as usize;
        seen[5] += stats.queued_guardians;
        seen[6] += stats.cancelled as usize;
        seen[7] += outcome.dropped.len();
    }
    assert!(seen.iter().all(|&count| count > 10), "{seen:?}");
}

const SETUPS: [Setup; 9] = [
    Setup::INCREMENTS_AND_THREADS,
    INCREMENTS[0],
    INCREMENTS[1],
    Setup::DEFAULT,
    Setup::ZEAL,
    Setup::THREADS,
    Setup::TIGHT,
    Setup { zeal: true, ..Setup::TIGHT },
    Setup { auto_drain: true, limit: None, ..Setup::TIGHT },
];

/// Programs that told a broken heap from a sound one, each with what was broken.
const FOUND: &[(&str, &[Operation])] = &[
    (
        "a callback that was run by hand could drain",
        &[AllocateRooted(Kind::Leaf), Cleanup(0, Behaviour::Nest, None), RunNow(0), Collect],
    ),
    (
        "the element that begins the second piece of an array was not traced",
        &[
            Enter,
            Allocate(Kind::Leaf, 0, [0, 0]),
            Allocate(Kind::Row, 4, [1, 1]),
            Allocate(Kind::Pair, 0, [0, 0]),
            Link(1, 128, 2, true),
            Downgrade(2, false),
            Root(1),
            Exit,
            Collect,
            Upgrade(0),
        ],
    ),
    (
        "an object that only a guarded one leads to kept its short weak references",
        &[
            Enter,
            Allocate(Kind::Leaf, 0, [0, 0]),
            Allocate(Kind::Pair, 0, [0, 0]),
            Downgrade(0, false),
            Downgrade(0, true),
            Guard(1),
            Exit,
            Collect,
            Upgrade(0),
            Upgrade(1),
            NextGuarded,
            DropRoot(0),
            DropRoot(0),
            Collect,
        ],
    ),
    (
        "what one sweep had dropped was dropped again by the next",
        &[
            AllocateRooted(Kind::Token),
            AllocateRooted(Kind::Token),
            DropRoot(0),
            Collect,
            AllocateRooted(Kind::Token),
            Collect,
            DropRoot(0),
            Collect,
        ],
    ),
    (
        "a registration whose entry was used again answered to its old id",
        &[
            AllocateRooted(Kind::Leaf),
            Cleanup(0, Behaviour::Nothing, None),
            Cancel(0),
            Cleanup(0, Behaviour::Register, None),
            Cancel(0),
            Collect,
            Guard(0),
            Unguard(0),
        ],
    ),
    (
        "the value of a key that only a guardian brought back was freed",
        &[
            Enter,
            Allocate(Kind::Table, 0, [0, 0]),
            Allocate(Kind::Tracked, 0, [0, 0]),
            Unlink(1, 0),
            Allocate(Kind::Token, 0, [0, 0]),
            Insert(0, [1, 1], 2),
            Guard(1),
            Root(0),
            Exit,
            Collect,
            NextGuarded,
            LookUp(0, [1, 1]),
        ],
    ),
    (
        "an owner that a guardian brought back was told",
        &[
            AllocateRooted(Kind::Token),
            AllocateRooted(Kind::Leaf),
            Downgrade(0, false),
            Guard(1),
            Notify(0, Behaviour::Nothing, Some(1), None),
            DropRoot(0),
            DropRoot(0),
            Collect,
            Drain(9, 9),
        ],
    ),
    (
        "one of two keys was enough",
        &[
            Enter,
            Allocate(Kind::Pairs, 0, [0, 0]),
            Allocate(Kind::Leaf, 0, [0, 0]),
            Allocate(Kind::Leaf, 0, [0, 0]),
            Allocate(Kind::Token, 0, [0, 0]),
            Insert(0, [1, 2], 3),
            Root(0),
            Root(1),
            Exit,
            Collect,
            Iterate(0, 0),
        ],
    ),
    (
        "of two keys that were marked at a time one was not noted",
        &[
            Enter,
            Allocate(Kind::Table, 0, [0, 0]),
            Allocate(Kind::Leaf, 0, [0, 0]),
            Allocate(Kind::Leaf, 0, [0, 0]),
            Allocate(Kind::Leaf, 0, [0, 0]),
            Allocate(Kind::Pair, 0, [2, 3]),
            Allocate(Kind::Token, 0, [0, 0]),
            Allocate(Kind::Token, 0, [0, 0]),
            Insert(0, [2, 2], 5),
            Insert(0, [3, 3], 6),
            Insert(0, [1, 1], 4),
            Root(0),
            Root(1),
            Exit,
            Collect,
            LookUp(0, [1, 1]),
        ],
    ),
    (
        "a guarded object kept its short weak references",
        &[AllocateRooted(Kind::Leaf), Downgrade(0, false), Guard(0), DropRoot(0), Collect, Upgrade(0)],
    ),
];

#[test]
fn programs_that_found_something_once_find_nothing_now() {
    for (what, program) in FOUND {
        for setup in SETUPS {
            run(&Program(program.to_vec()), setup).unwrap_or_else(|difference| panic!("{what}: {difference}"));
        }
    }
}
