//! What each workload must answer, worked out without any heap.
//!
//! A benchmark is also a test: [`expected`] knows the answer for every size, by formula where there is one and by
//! replaying the random numbers on plain integers where there is none. The published answers are in the tests.

use crate::rng::XorShift64;
use crate::workload::{Workload, bt_rounds, gcbench_rounds, nodes_in, tree_size};

/// The one right answer.
///
/// `churn` takes as many steps as the workload itself, on an array of integers; ask after the clock has stopped.
pub fn expected(workload: &Workload) -> u64 {
    match *workload {
        Workload::Bt { depth } => {
            let temporary: u64 = bt_rounds(depth).map(|(d, trees)| trees * tree_size(d)).sum();
            tree_size(depth + 1) + temporary + tree_size(depth)
        }
        Workload::Gcbench { depth } => {
            let temporary: u64 = gcbench_rounds(depth).map(|(_, trees)| 2 * trees).sum();
            1 + temporary + tree_size(depth - 2) + 1
        }
        Workload::Mark { nodes } => marked(nodes),
        Workload::Churn { slots, steps } => churned(slots, steps),
        Workload::Lists { pushes, .. } => pushes * (pushes - 1) / 2,
        Workload::Weak { objects } => objects as u64 / 2,
        Workload::Ephemeron { entries, .. } => entries as u64 * (entries as u64 + 1) / 2,
        Workload::Finalize { objects } => objects as u64,
        // What the steps of `pause` add up to depends on how many there were: see `churned`.
        Workload::Pause { mebibytes, .. } => marked(nodes_in(mebibytes)),
        Workload::BtBeside { depth, mebibytes } => {
            expected(&Workload::Bt { depth }).wrapping_add(marked(nodes_in(mebibytes)))
        }
        // Each element holds its own number or nothing.
        Workload::Array { edges, .. } => edges as u64,
    }
}

/// The answer of `mark`.
fn marked(nodes: usize) -> u64 {
    // Edge 0 is a ring through all nodes in order, so the walk meets node i when its random edges are drawn.
    let mut rng = XorShift64::new();
    let node = |id| id + (1..=3).map(|k| k * rng.below(nodes) as u64).sum::<u64>();
    (0..nodes as u64).map(node).fold(0, u64::wrapping_add)
}

/// What `steps` of `churn` see, in the order of the definition: the answer of `churn`, without bound.
pub fn churned(slots: usize, steps: u64) -> u64 {
    let mut rng = XorShift64::new();
    let mut payloads: Vec<u64> = (0..slots as u64).collect();
    let mut sum = 0_u64;
    for step in 0..steps {
        let a = rng.below(slots);
        let _linked = rng.below(slots);
        payloads[a] = slots as u64 + step;
        sum = sum.wrapping_add(payloads[rng.below(slots)]);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_answers() {
        for (workload, answer) in [
            ("bt:10", 135_854),
            ("bt:14", 3_222_190),
            ("bt:16", 14_985_902),
            ("bt:18", 68_332_206),
            ("gcbench:16", 55_169),
            ("gcbench:18", 220_697),
            ("mark:10000", 350_242_354),
            ("mark:100000", 35_058_429_629),
            ("mark:2000000", 14_000_605_832_130),
            ("churn:1000x100000", 5_001_056_302),
            ("churn:1000000x20000000", 200_507_218_700_531),
            ("lists:100000x1000", 4_999_950_000),
            ("lists:20000000x100000", 199_999_990_000_000),
            ("weak:1000000", 500_000),
            ("ephemeron:100", 5050),
            ("ephemeron:1000", 500_500),
            ("ephemeron:1000xreverse", 500_500),
            ("finalize:500000", 500_000),
        ] {
            assert_eq!(expected(&workload.parse().unwrap()), answer, "{workload}");
        }
    }
}
