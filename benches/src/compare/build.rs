//! The two executables: one with the system allocator, one with mimalloc.
//!
//! This process is one of them. The other is built by cargo into a directory of its own, so that neither replaces the
//! other, and this one is copied, so that a build meanwhile does not replace it either.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{CompareError, Contestant};
use crate::systems::MIMALLOC;

/// Which allocator an executable has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// That of the system.
    System,
    /// mimalloc.
    Mimalloc,
}

impl Build {
    /// The build of this process.
    pub const THIS: Build = if cfg!(feature = "mimalloc") { Build::Mimalloc } else { Build::System };

    /// The ending of system names.
    pub const fn suffix(self) -> &'static str {
        match self {
            Build::System => "",
            Build::Mimalloc => MIMALLOC,
        }
    }

    const fn file_name(self) -> &'static str {
        match self {
            Build::System => "system-allocator",
            Build::Mimalloc => "mimalloc",
        }
    }
}

/// An executable that is ready to run.
#[derive(Clone, Debug)]
pub struct Executable {
    /// Its allocator.
    pub build: Build,
    /// Where it is.
    pub path: PathBuf,
}

/// The target directory of the workspace, as far as cargo has told this process.
pub fn target_dir() -> PathBuf {
    if let Some(dir) = env::var_os("CARGO_TARGET_DIR") {
        return dir.into();
    }
    match env::var_os("CARGO_MANIFEST_DIR") {
        Some(package) => Path::new(&package).parent().unwrap_or(Path::new(".")).join("target"),
        None => "target".into(),
    }
}

/// Makes the executables that the contestants need.
///
/// Where mimalloc cannot be built, says so and leaves it out.
pub fn executables(contestants: &[Contestant]) -> Result<Vec<Executable>, CompareError> {
    let dir = target_dir().join("compare-build");
    fs::create_dir_all(&dir).map_err(|error| CompareError::File(dir.clone(), error))?;
    let mut executables = Vec::new();
    for build in [Build::System, Build::Mimalloc] {
        if !contestants.iter().any(|contestant| contestant.build == build) {
            continue;
        }
        let built = if build == Build::THIS {
            env::current_exe().map_err(|error| CompareError::Build(format!("where is this executable? {error}")))?
        } else {
            match cargo_build(build, &dir) {
                Ok(path) => path,
                Err(why) if build == Build::Mimalloc => {
                    eprintln!("{why}; going on without the systems that end in `{MIMALLOC}`");
                    continue;
                }
                Err(why) => return Err(CompareError::Build(why)),
            }
        };
        let path = dir.join(build.file_name()).with_extension(env::consts::EXE_EXTENSION);
        fs::copy(&built, &path).map_err(|error| CompareError::File(path.clone(), error))?;
        executables.push(Executable { build, path });
    }
    Ok(executables)
}

/// Builds this package with or without mimalloc and gives the executable.
fn cargo_build(build: Build, target_dir: &Path) -> Result<PathBuf, String> {
    if build == Build::Mimalloc && !has_c_compiler() {
        return Err("mimalloc needs a C compiler, and there is none (`cc`, or what `CC` names)".to_owned());
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--package", env!("CARGO_PKG_NAME"), "--message-format=json-render-diagnostics"]);
    cargo.arg("--target-dir").arg(target_dir);
    if build == Build::Mimalloc {
        cargo.args(["--features", "mimalloc"]);
    }
    if let Some(package) = env::var_os("CARGO_MANIFEST_DIR") {
        cargo.current_dir(package);
    }
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo could not be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("the build with {} failed", build.file_name()));
    }
    executable_of(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| "cargo named no executable".to_owned())
}

/// Finds the executable in cargo's messages.
fn executable_of(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == env!("CARGO_PKG_NAME"))
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

fn has_c_compiler() -> bool {
    // Elsewhere compilers are found by other means than their name.
    if cfg!(windows) {
        return true;
    }
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let status = Command::new(compiler).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_executable_among_the_messages() {
        let messages = r#"
            {"reason":"compiler-artifact","target":{"name":"mimalloc"},"executable":null}
            {"reason":"compiler-artifact","target":{"name":"lacuna-benches"},"executable":"some/where"}
            {"reason":"build-finished","success":true}"#;
        assert_eq!(executable_of(messages), Some(PathBuf::from("some/where")));
        assert_eq!(executable_of("nothing"), None);
    }
}
