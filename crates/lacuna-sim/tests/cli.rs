//! The program as a user types it: what it prints, where, and its exit codes.

mod dump;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use dump::{gzip, small};
use serde_json::Value;

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lacuna-sim"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the program can be started")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the program prints UTF-8")
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("standard output is one JSON document")
}

/// A file for one test.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).expect("the directory for tests can be written");
    path
}

fn path(path: &std::path::Path) -> &str {
    path.to_str().expect("the directory for tests has a name in UTF-8")
}

#[test]
fn without_arguments_the_bundled_dump_is_replayed_and_exports_cut() {
    let output = sim(&[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "", "no bar, as standard error is no terminal");
    let out = text(&output.stdout);
    for figure in ["204883", "823380", "17849978", "202679", "2204", "254472", "156", "cut exports"] {
        assert!(out.contains(figure), "{figure} is missing in\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "no escape sequences");
    assert!(out.lines().all(|line| line == line.trim_end()));
}

#[test]
fn json_has_the_figures() {
    let report = json(&sim(&["--json"]));
    let expected = [
        ("/dump/nodes", 204_883),
        ("/dump/edges", 823_380),
        ("/dump/weak_edges", 29944),
        ("/dump/self_size_bytes", 17_849_978),
        ("/built/objects", 204_883),
        ("/collections/0/survivors/objects", 204_883),
        ("/collections/0/dead/objects", 0),
        ("/collections/0/memory/live_objects", 204_883),
        ("/collections/1/edges_cut_at_survivors", 674),
        ("/collections/1/survivors/objects", 202_679),
        ("/collections/1/dead/objects", 2204),
        ("/collections/1/dead/self_size_bytes", 254_472),
        ("/collections/1/weak_edges/cleared", 156),
        ("/collections/1/memory/live_objects", 202_679),
        ("/released/survivors/objects", 0),
        ("/released/memory/live_objects", 0),
    ];
    for (pointer, value) in expected {
        assert_eq!(report.pointer(pointer).and_then(Value::as_u64), Some(value), "{pointer}");
    }
    assert_eq!(report.pointer("/collections/0/cut"), Some(&Value::Null));
    assert_eq!(report.pointer("/collections/1/cut").and_then(Value::as_str), Some("exports"));
    for pointer in
        ["/collections/0/phases/mark_seconds", "/collections/0/phases/sweep_seconds", "/collections/0/collect_seconds"]
    {
        assert!(report.pointer(pointer).is_some_and(Value::is_f64), "{pointer}");
    }
    let types = report["collections"][1]["types"].as_array().expect("a list of types");
    let sum = |group: &str| -> u64 { types.iter().filter_map(|kind| kind[group]["objects"].as_u64()).sum() };
    assert_eq!((sum("survivors"), sum("dead")), (202_679, 2204));
    assert!(types.iter().any(|kind| kind["type"] == "object shape"));
}

#[test]
fn a_file_is_replayed_with_the_cuts_asked_for() {
    let dump = file("small.heapsnapshot", small().as_bytes());
    let none = json(&sim(&[path(&dump), "--json"]));
    assert_eq!(none["collections"].as_array().map(Vec::len), Some(1));

    let two = sim(&["replay", "--cut", "drop", path(&dump), "--json", "--cut", "absent"]);
    let report = json(&two);
    assert_eq!(report["collections"].as_array().map(Vec::len), Some(3));
    assert_eq!(report["collections"][1]["dead"]["objects"], 2);
    assert_eq!(report["collections"][2]["dead"]["objects"], 0);
    assert!(text(&two.stderr).contains("no living object has an edge called `absent`"));
    let quiet = sim(&["--quiet", path(&dump), "--cut", "absent"]);
    assert_eq!(text(&quiet.stderr), "");
}

#[test]
fn standard_input_is_a_file_too() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lacuna-sim"))
        .args(["-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    stdin.write_all(&gzip(small().as_bytes())).expect("the program reads");
    drop(stdin);
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!(json(&output)["dump"]["source"], "standard input");
}

#[test]
fn a_chart_is_drawn() {
    let dump = file("chart.heapsnapshot", small().replace("\"object\"", "\"a<b&\\u0007c\"").as_bytes());
    let chart = file("chart.svg", b"");
    let output = sim(&[path(&dump), "--cut", "drop", "--chart", path(&chart)]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains('\u{7}'), "control characters of the dump are not passed on");
    let svg = fs::read_to_string(&chart).expect("the chart was written");
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    assert!(svg.contains("a&lt;b&amp;\u{fffd}c"));
    assert!(svg.contains("synthetic"));
}

#[test]
fn failures_have_codes_and_one_line() {
    let wrong = file("wrong.heapsnapshot", small().replace("2,4,7,", "2,4,8,").as_bytes());
    let dump = file("codes.heapsnapshot", small().as_bytes());
    let absent = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("absent");
    let inside = absent.join("chart.svg");
    let cases: [(&[&str], i32, &str); 7] = [
        (&[path(&wrong)], 3, "edge 0: expected `to_node` to be a multiple of 7"),
        (&[path(&wrong), "--json"], 3, "wrong.heapsnapshot: byte "),
        (&[path(&absent)], 3, "can't be opened"),
        (&[env!("CARGO_TARGET_TMPDIR")], 3, "can't be read"),
        (&["--max-bytes", "1M"], 3, "longer than 1048576 bytes"),
        (&[path(&dump), "--chart", path(&inside)], 4, "can't write the chart"),
        (&["--max-bytes", "lots"], 2, "expected a number of bytes"),
    ];
    for (arguments, code, message) in cases {
        let output = sim(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        assert!(text(&output.stderr).contains(message), "{arguments:?}: {}", text(&output.stderr));
        if code != 2 {
            assert_eq!(text(&output.stderr).lines().count(), 1, "{arguments:?}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let dump = file("pipe.heapsnapshot", small().as_bytes());
    let mut child = Command::new(env!("CARGO_BIN_EXE_lacuna-sim"))
        .args([path(&dump), "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!(text(&output.stderr), "");
    assert_ne!(output.status.code(), Some(101));
}

#[test]
fn help_and_version_are_there() {
    let help = sim(&["--help"]);
    for option in ["--cut", "--json", "--chart", "--quiet", "--max-bytes", "Exit codes"] {
        assert!(text(&help.stdout).contains(option), "{option}");
    }
    assert!(text(&sim(&["--version"]).stdout).starts_with("lacuna-sim "));
}
