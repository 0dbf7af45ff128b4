//! Every rule and every trap has a test that is named after it, and the book's page on them tells the truth about that.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const RULES: usize = 30;
const TRAPS: usize = 26;

/// The names of functions in the crates that speak of rules or traps, this crate left out.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root().join("crates/lacuna"), root().join("crates/lacuna-collections")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                // The attribute may have others below it; within `proptest!` it is there as well.
                let mut marked = false;
                for line in text.lines().map(str::trim) {
                    if let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
                        if marked && (name.starts_with("rule_") || name.starts_with("trap_")) {
                            found.insert(name.to_owned());
                        }
                        marked = false;
                    } else if line == "#[test]" {
                        marked = true;
                    }
                }
            }
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn page() -> String {
    fs::read_to_string(root().join("docs/design/rules-and-traps.md")).unwrap()
}

/// Whether a name speaks of a rule or trap: `rule_08c_trap_06_…` does of both.
fn is_about(name: &str, kind: &str, number: usize) -> bool {
    name.split(&format!("{kind}_")).skip(1).any(|rest| rest.starts_with(&format!("{number:02}")))
}

#[test]
fn every_rule_and_every_trap_has_a_test() {
    let (tests, page) = (tests(), page());
    let missing = |kind: &str, count: usize| -> Vec<usize> {
        (1..=count).filter(|&number| !tests.iter().any(|name| is_about(name, kind, number))).collect()
    };
    assert_eq!(missing("rule", RULES), [0; 0], "rules without a test");
    // A trap may have a sentence instead, if it cannot occur.
    let cannot_occur = page.split("## What cannot occur").nth(1).unwrap();
    let traps: Vec<usize> = missing("trap", TRAPS)
        .into_iter()
        .filter(|number| !cannot_occur.contains(&format!("**T{number}.**")))
        .collect();
    assert_eq!(traps, [0; 0], "traps with neither a test nor a reason");
}

#[test]
fn the_page_has_each_rule_and_trap_and_its_tests_exist() {
    let (tests, page) = (tests(), page());
    let entries: Vec<(String, usize)> = [("rule", RULES), ("trap", TRAPS)]
        .into_iter()
        .flat_map(|(kind, count)| (1..=count).map(move |number| (kind.to_owned(), number)))
        .collect();
    for (kind, number) in entries {
        let title = if kind == "rule" { format!("**{number}.**") } else { format!("**T{number}.**") };
        let entry = page.split(&title).nth(1).unwrap_or_else(|| panic!("{kind} {number} is not on the page"));
        let entry = entry.split("\n**").next().unwrap();
        for name in entry.lines().filter_map(|line| line.strip_prefix("- `")).map(|line| line.trim_end_matches('`')) {
            assert!(tests.contains(name), "the page names {name}, which does not exist");
            assert!(is_about(name, &kind, number), "{name} is listed for {kind} {number}");
        }
        assert!(entry.contains("- `") || kind == "trap", "rule {number} lists no test");
    }
}
