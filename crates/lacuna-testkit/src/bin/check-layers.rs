//! Checks that a file of the core imports only from its own layer and lower ones, and that `unsafe` stays where it may be.
//!
//! `cargo run -p lacuna-testkit --bin check-layers` prints what is wrong, one line each, and exits with 1 if anything is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The layers of `crates/lacuna/src`, lowest first. A folder is a layer; so is a file at the top.
const LAYERS: [&[&str]; 7] = [
    &["config", "error", "stats"],
    &["memory"],
    &["object"],
    &["edges"],
    &["cycle"],
    &["export"],
    // The shell and the handles lean on each other: a callback is given a `Heap`.
    &["handle", "heap", "lib"],
];

/// The files that may contain `unsafe`, each for the reason its opening comment gives.
const UNSAFE: &[&str] = &[
    "memory/block.rs",
    "memory/chunk.rs",
    "memory/column.rs",
    "memory/cursor.rs",
    "memory/huge_pages.rs",
    "memory/pool.rs",
    "memory/prefetch.rs",
    "memory/table.rs",
    "object/descriptor.rs",
    "object/dynamic.rs",
    "object/ephemerons.rs",
    "object/gc.rs",
    "object/marker.rs",
    "object/sequence.rs",
    "object/trace.rs",
    "object/trace_std.rs",
    "edges/callback.rs",
    "edges/roots.rs",
    "edges/weak.rs",
    "cycle/sweep.rs",
    "handle/cell.rs",
    "handle/ephemerons.rs",
    "handle/guard.rs",
    "handle/mutator.rs",
    "handle/root.rs",
    "handle/weak.rs",
    "handle/weak_table.rs",
    "heap.rs",
];

fn main() -> ExitCode {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lacuna/src");
    let mut files = Vec::new();
    if let Err(error) = collect(&source, &mut files) {
        eprintln!("cannot read the core's source: {error}");
        return ExitCode::FAILURE;
    }
    files.sort();
    let mut wrong = Vec::new();
    for file in &files {
        match fs::read_to_string(file) {
            Ok(text) => check(&name_of(&source, file), &text, &mut wrong),
            Err(error) => wrong.push(format!("{}: {error}", file.display())),
        }
    }
    for line in &wrong {
        println!("{line}");
    }
    println!("{} files, {} layers, {} findings", files.len(), LAYERS.len(), wrong.len());
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// A file's path below the source folder, with slashes.
fn name_of(source: &Path, file: &Path) -> String {
    let below = file.strip_prefix(source).unwrap_or(file);
    below.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// The layer of the module that a path in the crate begins with.
fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|names| names.contains(&module))
}

fn check(name: &str, text: &str, wrong: &mut Vec<String>) {
    let module = name.split('/').next().unwrap_or(name).trim_end_matches(".rs");
    let Some(own) = layer_of(module) else {
        wrong.push(format!("{name}: `{module}` is in no layer; add it to LAYERS in check-layers"));
        return;
    };
    let mut uses_unsafe = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start() == "#[cfg(test)]" {
            break;
        }
        let code = line.split("//").next().unwrap_or("");
        for path in code.split("crate::").skip(1) {
            let target: String = path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if layer_of(&target).is_some_and(|layer| layer > own) {
                wrong.push(format!("{name}:{}: imports `{target}`, which is a higher layer", number + 1));
            }
        }
        uses_unsafe |= code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
    }
    match (uses_unsafe, UNSAFE.contains(&name)) {
        (true, false) => wrong.push(format!("{name}: `unsafe` is not allowed here")),
        (false, true) => wrong.push(format!("{name}: has no `unsafe`; take it off the list in check-layers")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, text: &str) -> usize {
        let mut wrong = Vec::new();
        check(name, text, &mut wrong);
        wrong.len()
    }

    #[test]
    fn a_lower_layer_may_be_imported_and_a_higher_one_not() {
        assert_eq!(findings("cycle/mark.rs", "use crate::memory::pool::Pool;"), 0);
        assert_eq!(findings("cycle/mark.rs", "use crate::cycle::core::Core;"), 0);
        assert_eq!(findings("memory/space.rs", "use crate::cycle::core::Core;"), 1);
        assert_eq!(findings("memory/space.rs", "// use crate::cycle::core::Core;"), 0);
    }

    #[test]
    fn unsafe_is_confined() {
        assert_eq!(findings("memory/space.rs", "unsafe { x() }"), 1);
        assert_eq!(findings("memory/space.rs", "/// This is unsafe."), 0);
        assert_eq!(findings("memory/chunk.rs", "unsafe { x() }"), 0);
        assert_eq!(findings("memory/chunk.rs", ""), 1);
    }

    #[test]
    fn a_file_without_layer_is_found() {
        assert_eq!(findings("helpers/mod.rs", ""), 1);
    }
}
