//! The links of the book and of the pages beside it lead somewhere, and the parts of programs that it shows exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The pages of the book, and the Markdown files at the top of the repository.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let mut folders = vec![root().join("docs")];
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        pages.extend(is_markdown(&path).then_some(path));
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if is_markdown(&path) {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

fn is_markdown(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// The lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let mut anchor = String::new();
    for character in heading.trim().chars() {
        if character.is_alphanumeric() || character == '_' || character == '-' {
            anchor.extend(character.to_lowercase());
        } else if character.is_whitespace() {
            anchor.push('-');
        }
    }
    anchor
}

fn anchors(text: &str) -> BTreeSet<String> {
    prose(text).filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn links_lead_somewhere() {
    let (mut wrong, mut links) = (Vec::new(), 0);
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for line in prose(&text) {
            for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                if link.starts_with("http") {
                    continue;
                }
                links += 1;
                let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
                let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
                if !target.exists() {
                    wrong.push(format!("{}: no file {link}", page.display()));
                } else if !fragment.is_empty() && !anchors(&fs::read_to_string(target).unwrap()).contains(fragment) {
                    wrong.push(format!("{}: no heading {link}", page.display()));
                }
            }
        }
    }
    assert!(links > 100, "only {links} links were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_summary_has_every_page() {
    let docs = root().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    for page in pages() {
        let Ok(name) = page.strip_prefix(&docs) else { continue };
        let name = name.to_str().unwrap();
        assert!(name == "SUMMARY.md" || summary.contains(&format!("({name})")), "{name} is not in the summary");
    }
}

#[test]
fn the_parts_of_programs_that_are_shown_exist() {
    let mut parts = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for include in text.split("{{#include ").skip(1).filter_map(|rest| rest.split("}}").next()) {
            let (path, name) = include.split_once(':').unwrap_or((include, ""));
            let source = fs::read_to_string(page.parent().unwrap().join(path))
                .unwrap_or_else(|error| panic!("{} includes {include}: {error}", page.display()));
            let has = |mark: &str| source.lines().any(|line| line.trim() == format!("// {mark}: {name}"));
            assert!(
                name.is_empty() || (has("ANCHOR") && has("ANCHOR_END")),
                "{} includes {include}, which has no such part",
                page.display()
            );
            parts += 1;
        }
    }
    assert!(parts > 50, "only {parts} parts were found");
}

/// What `weakref.__all__` has in CPython 3.13, what else can be reached in the module, and the parts of `finalize`.
const PYTHON_NAMES: [&str; 25] = [
    "ref",
    "proxy",
    "getweakrefcount",
    "getweakrefs",
    "WeakKeyDictionary",
    "ReferenceType",
    "ProxyType",
    "CallableProxyType",
    "ProxyTypes",
    "WeakValueDictionary",
    "WeakSet",
    "WeakMethod",
    "finalize",
    "KeyedRef",
    "_IterationGuard",
    "_remove_dead_weakref",
    "ReferenceError",
    "__callback__",
    "keyrefs",
    "valuerefs",
    "itervaluerefs",
    "alive",
    "peek",
    "detach",
    "atexit",
];

#[test]
fn the_page_on_pythons_weakref_has_every_name() {
    let page = fs::read_to_string(root().join("docs/guide/python-weakref.md")).unwrap();
    let table = page.split("## All names").nth(1).unwrap().split("\n## ").next().unwrap();
    let named: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    for name in PYTHON_NAMES {
        assert!(named.contains(name), "{name} is not in the table");
    }
}
