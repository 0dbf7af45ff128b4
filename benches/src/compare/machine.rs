//! The facts about the machine that matter to a reader of the figures. No names and no paths.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::process::Command;
use std::thread;

use serde::Serialize;

use super::Contestant;
use super::build::Build;

/// Where the runs took place.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Operating system and architecture.
    pub platform: String,
    /// Model of the processor, where known.
    pub processor: Option<String>,
    /// Processors that this process may use.
    pub cores: Option<usize>,
    /// Main memory in GiB, where known.
    pub memory_gib: Option<u64>,
    /// Processes that wanted to run at the start, on average over a minute: other work disturbs the figures.
    pub load: Option<f64>,
    /// The compiler.
    pub rustc: Option<String>,
    /// The allocators, by build.
    pub allocators: Vec<String>,
    /// The versions of what was compared.
    pub packages: BTreeMap<String, String>,
}

impl Machine {
    /// This machine.
    pub fn here(contestants: &[Contestant]) -> Machine {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut allocators = Vec::new();
        if contestants.iter().any(|contestant| contestant.build == Build::System) {
            let libc = first_line(Command::new("getconf").arg("GNU_LIBC_VERSION"));
            allocators.push(libc.unwrap_or_else(|| "system".to_owned()));
        }
        if contestants.iter().any(|contestant| contestant.build == Build::Mimalloc) {
            allocators.push(format!("mimalloc (package {})", version("mimalloc").unwrap_or_default()));
        }
        let packages = contestants.iter().filter_map(|contestant| contestant.system.package());
        Machine {
            platform: format!("{} {}", env::consts::OS, env::consts::ARCH),
            processor: proc_value("/proc/cpuinfo", "model name"),
            cores: thread::available_parallelism().ok().map(Into::into),
            memory_gib: proc_value("/proc/meminfo", "MemTotal").and_then(|text| kib(&text)).map(|kib| kib >> 20),
            load: fs::read_to_string("/proc/loadavg").ok().and_then(|text| text.split(' ').next()?.parse().ok()),
            rustc: first_line(Command::new(rustc).arg("--version")),
            allocators,
            packages: packages.filter_map(|name| Some((name.to_owned(), version(name)?))).collect(),
        }
    }

    /// In one sentence.
    pub fn sentence(&self) -> String {
        let mut facts = vec![self.platform.clone()];
        facts.extend(self.processor.clone());
        facts.extend(self.cores.map(|cores| format!("{cores} cores")));
        facts.extend(self.memory_gib.map(|gib| format!("{gib} GiB")));
        facts.extend(self.load.map(|load| format!("load {load} at the start")));
        facts.extend(self.rustc.clone());
        facts.extend(self.allocators.iter().cloned());
        facts.extend(self.packages.iter().map(|(name, version)| format!("{name} {version}")));
        facts.join(", ")
    }
}

/// The version of a package in the lock file this was built with.
pub fn version(package: &str) -> Option<String> {
    version_in(include_str!("../../../Cargo.lock"), package)
}

fn version_in(lock: &str, package: &str) -> Option<String> {
    let mut lines = lock.lines();
    let name = format!("name = \"{package}\"");
    lines.find(|line| *line == name)?;
    Some(lines.next()?.strip_prefix("version = \"")?.strip_suffix('"')?.to_owned())
}

fn proc_value(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kib(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse().ok()
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.lines().next()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systems;

    #[test]
    fn every_peer_has_a_version() {
        for package in systems::ALL.into_iter().filter_map(|system| system.package()) {
            assert!(version(package).is_some(), "{package}");
        }
        assert_eq!(version("no-such-package"), None);
    }
}
