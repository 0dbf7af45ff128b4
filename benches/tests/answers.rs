//! Every system gives the stated answer to every workload, or says why it cannot.

use lacuna_benches::driver;
use lacuna_benches::report::Line;
use lacuna_benches::systems;
use lacuna_benches::workload::Workload;

/// Small sizes, odd ones among them, that cross the boundaries of slices.
const WORKLOADS: [&str; 20] = [
    "bt:1",
    "bt:4",
    "bt:11",
    "gcbench:6",
    "gcbench:11",
    "mark:1",
    "mark:10000",
    "churn:1x10",
    "churn:1000x100000",
    "lists:10x100",
    "lists:100000x1000",
    "weak:2",
    "weak:10001",
    "ephemeron:1",
    "ephemeron:500",
    "ephemeron:500xreverse",
    "finalize:10001",
    "pause:1x0.02s",
    "bt-beside:8x1",
    "array:100000x0.02s",
];

#[test]
fn every_system_gives_the_stated_answers() {
    for system in systems::ALL {
        for text in WORKLOADS {
            let workload: Workload = text.parse().unwrap();
            // `run_in_process` checks the answer.
            let report = driver::run_in_process(workload, system).unwrap_or_else(|error| panic!("{error}"));
            let line = Line::parse(&report.to_string()).expect("the line can be read back");
            if line.unsupported().is_none() {
                for figure in workload.kind().figures() {
                    assert!(line.number(figure.key).is_some(), "{report} lacks {}", figure.key);
                }
            }
        }
    }
}

#[test]
fn collectors_run_what_they_should() {
    for (system, lacking) in [
        ("gc-arena", &["ephemeron:10", "bt-beside:4x1"][..]),
        ("boa_gc", &["bt-beside:4x1"]),
        ("gc", &["weak:10", "ephemeron:10", "bt-beside:4x1"]),
        ("safe-gc", &["weak:10", "ephemeron:10", "bt-beside:4x1"]),
        ("dumpster", &["weak:10", "ephemeron:10", "bt-beside:4x1"]),
        ("lacuna", &[]),
        ("lacuna-stw", &[]),
        ("rc", &["mark:10", "ephemeron:10", "pause:1x0.01s", "bt-beside:4x1"]),
        ("box", &["mark:10", "lists:10x1", "weak:10", "ephemeron:10", "pause:1x0.01s", "bt-beside:4x1"]),
    ] {
        let system = systems::find(system).unwrap();
        for text in [
            "bt:4",
            "gcbench:6",
            "mark:10",
            "churn:2x2",
            "lists:10x1",
            "weak:10",
            "ephemeron:10",
            "finalize:10",
            "pause:1x0.01s",
            "bt-beside:4x1",
        ] {
            let report = driver::run_in_process(text.parse().unwrap(), system).unwrap();
            assert_eq!(report.outcome.is_err(), lacking.contains(&text), "{report}");
        }
    }
}

#[test]
fn steps_of_pause_are_counted_and_timed() {
    for name in ["lacuna", "lacuna-stw", "gc-arena"] {
        let report = driver::run("pause:1x0.05s".parse().unwrap(), systems::find(name).unwrap()).unwrap();
        let line = Line::parse(&report.to_string()).unwrap();
        let number = |key: &str| line.number(key).unwrap();
        assert_eq!(line.get("size"), Some("1x0.05s"));
        assert!(number("ops") >= 1000.0 && number("ops") % 1000.0 == 0.0, "{report}");
        let in_order = ["p50_us", "p99_us", "p999_us", "max_us"].map(number);
        assert!(in_order[0] > 0.0 && in_order.is_sorted(), "{report}");
        assert!(number("ops") * number("ns_per_op") >= 0.05e9 * 0.5, "{report}");
    }
}
