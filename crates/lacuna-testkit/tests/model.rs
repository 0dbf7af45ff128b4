//! Random programs against the naive model. What was found once is kept in `proptest-regressions` and tried first.

use lacuna_testkit::{Program, Setup, run};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

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
    ProptestConfig { cases, max_shrink_iters: 20_000, ..ProptestConfig::default() }
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
