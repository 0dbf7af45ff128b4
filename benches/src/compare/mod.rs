//! Comparing systems: the command `compare`.
//!
//! A straight line: [plan](Plan) what to run, [build] both executables, [run](child) every workload on every system as
//! a process of its own, interleaved, so that a slow minute of the machine hits all of them alike, and write down the
//! [results] as a [table], as JSON and as a [chart].

pub mod build;
pub mod chart;
pub mod child;
pub mod machine;
pub mod results;
pub mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use self::build::{Build, Executable};
use self::child::Child;
use self::results::{Cell, Comparison, End};
use crate::answers::expected;
use crate::systems::{self, MIMALLOC, System};
use crate::workload::{Kind, ParseError, Workload};

/// The workloads compared unless told otherwise; the flag says whether `--quick` keeps them.
const DEFAULT_WORKLOADS: [(&str, bool); 11] = [
    ("bt:16", true),
    ("bt:18", true),
    ("gcbench:18", true),
    ("mark:2000000", true),
    ("churn:100000x5000000", true),
    ("churn:1000000x20000000", false),
    ("lists:10000000x1000000", true),
    ("weak:1000000", true),
    ("ephemeron:10000", true),
    ("ephemeron:1000000", true),
    ("finalize:500000", true),
];

/// What to compare.
#[derive(Args, Clone, Debug)]
pub struct Plan {
    /// Workloads, with sizes (`churn:1000x100000`) or without (all the usual sizes).
    #[arg(long, value_delimiter = ',', value_name = "WORKLOAD[:SIZE[xSIZE]]")]
    pub workloads: Vec<WorkloadChoice>,
    /// Systems; a name without `+mimalloc` stands for both builds where the allocator matters.
    #[arg(long, value_delimiter = ',', value_name = "NAME", value_parser = known_system)]
    pub systems: Vec<String>,
    /// How often to run each workload on each system.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    pub runs: u16,
    /// Leave out the longest workload, and run everything twice at most.
    #[arg(long)]
    pub quick: bool,
    /// Leave out the build with mimalloc.
    #[arg(long)]
    pub no_mimalloc: bool,
    /// Seconds that a run may take.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..), value_name = "SECONDS")]
    pub time_limit: u16,
    /// Where to put the results [default: `compare` in the target directory].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// A workload on the command line of `compare`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadChoice {
    /// All the usual sizes.
    All(Kind),
    /// One size.
    One(Workload),
}

impl std::str::FromStr for WorkloadChoice {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<WorkloadChoice, ParseError> {
        if text.contains(':') { text.parse().map(WorkloadChoice::One) } else { text.parse().map(WorkloadChoice::All) }
    }
}

fn known_system(name: &str) -> Result<String, String> {
    let base = name.strip_suffix(MIMALLOC).unwrap_or(name);
    if systems::find(base).is_some() {
        return Ok(name.to_owned());
    }
    let names: Vec<_> = systems::ALL.into_iter().map(|system| system.name()).collect();
    Err(format!("there is no system `{base}`; there are {}", names.join(", ")))
}

/// A system in a build.
#[derive(Clone, Copy)]
pub struct Contestant {
    /// The system.
    pub system: &'static dyn System,
    /// The build.
    pub build: Build,
}

impl Contestant {
    /// The name in reports.
    pub fn name(&self) -> String {
        format!("{}{}", self.system.name(), self.build.suffix())
    }
}

impl fmt::Debug for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl Plan {
    fn workloads(&self) -> Vec<Workload> {
        let usual = || {
            DEFAULT_WORKLOADS
                .into_iter()
                .filter(|&(_, in_quick)| in_quick || !self.quick)
                .map(|(text, _)| text.parse::<Workload>().expect("the usual workloads are valid"))
        };
        if self.workloads.is_empty() {
            return usual().collect();
        }
        let chosen = self.workloads.iter().flat_map(|choice| match *choice {
            WorkloadChoice::All(kind) => usual().filter(|workload| workload.kind() == kind).collect(),
            WorkloadChoice::One(workload) => vec![workload],
        });
        let mut workloads: Vec<Workload> = Vec::new();
        for workload in chosen {
            if !workloads.contains(&workload) {
                workloads.push(workload);
            }
        }
        workloads
    }

    fn contestants(&self) -> Vec<Contestant> {
        let named = |name: &str| self.systems.iter().any(|chosen| chosen == name);
        let mut contestants = Vec::new();
        for system in systems::ALL {
            for build in [Build::System, Build::Mimalloc] {
                let contestant = Contestant { system, build };
                let by_default = build == Build::System || system.malloc_based();
                let wanted = if self.systems.is_empty() {
                    by_default
                } else {
                    (named(system.name()) && by_default) || named(&contestant.name())
                };
                if wanted && !(self.no_mimalloc && build == Build::Mimalloc) {
                    contestants.push(contestant);
                }
            }
        }
        contestants
    }

    fn runs(&self) -> usize {
        usize::from(if self.quick { self.runs.min(2) } else { self.runs })
    }
}

/// Why there is no comparison, or not a good one.
#[derive(Debug)]
pub enum CompareError {
    /// This executable was built for debugging.
    NotOptimized,
    /// A build failed.
    Build(String),
    /// A file could not be written.
    File(PathBuf, io::Error),
    /// The chart could not be drawn.
    Chart(String),
    /// Some runs crashed or gave a wrong answer; the results are written all the same.
    Failures(Vec<String>),
}

impl fmt::Display for CompareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompareError::NotOptimized => f.write_str("this is a build for debugging: add `--release`"),
            CompareError::Build(why) => f.write_str(why),
            CompareError::File(path, error) => write!(f, "{}: {error}", path.display()),
            CompareError::Chart(why) => write!(f, "the chart could not be drawn: {why}"),
            CompareError::Failures(failures) => {
                write!(f, "{} failed:", failures.len())?;
                failures.iter().try_for_each(|failure| write!(f, "\n  {failure}"))
            }
        }
    }
}

impl std::error::Error for CompareError {}

/// Carries out a plan: prints the table, and writes `compare.md`, `compare.json` and `compare.svg`.
pub fn compare(plan: &Plan) -> Result<(), CompareError> {
    if cfg!(debug_assertions) {
        return Err(CompareError::NotOptimized);
    }
    let out = plan.out.clone().unwrap_or_else(|| build::target_dir().join("compare"));
    create_dir(&out)?;

    let mut contestants = plan.contestants();
    let executables = build::executables(&contestants)?;
    contestants.retain(|contestant| executables.iter().any(|executable| executable.build == contestant.build));

    let machine = machine::Machine::here(&contestants);
    let cells = run_interleaved(plan, &contestants, &executables);
    let comparison = Comparison::new(machine, plan.runs(), plan.time_limit, &contestants, &cells);

    let table = table::render(&comparison);
    println!("{table}");
    let json = serde_json::to_string_pretty(&comparison).expect("plain data turns into JSON");
    write(&out.join("compare.md"), &table)?;
    write(&out.join("compare.json"), &json)?;
    write(&out.join("compare.svg"), &chart::render(&comparison)?)?;
    println!("Written to {}: compare.md, compare.json, compare.svg", out.display());

    let failures = comparison.failures();
    if failures.is_empty() { Ok(()) } else { Err(CompareError::Failures(failures)) }
}

/// Every workload on every contestant, round after round.
fn run_interleaved(
    plan: &Plan,
    contestants: &[Contestant],
    executables: &[Executable],
) -> BTreeMap<(Workload, String), Cell> {
    let workloads = plan.workloads();
    let answers: BTreeMap<Workload, u64> = workloads.iter().map(|workload| (*workload, expected(workload))).collect();
    let limit = Duration::from_secs(plan.time_limit.into());
    let mut cells: BTreeMap<(Workload, String), Cell> = BTreeMap::new();

    let bar = ProgressBar::new((plan.runs() * workloads.len() * contestants.len()) as u64);
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:40}] {pos}/{len} (eta {eta}) {msg}");
    bar.set_style(style.expect("the template is valid").progress_chars("=> "));

    for round in 0..plan.runs() {
        for workload in &workloads {
            for turn in 0..contestants.len() {
                // Another one begins each round, so that nobody always runs after the same neighbour.
                let contestant = contestants[(turn + round) % contestants.len()];
                let name = contestant.name();
                bar.set_message(format!("{workload} on {name}"));
                let cell = cells.entry((*workload, name.clone())).or_default();
                if cell.end.is_none() {
                    let executable = executables.iter().find(|executable| executable.build == contestant.build);
                    let child = Child { executable: &executable.expect("it was built").path, workload, system: &name };
                    cell.add(child.run(limit), answers[workload]);
                    if let Some(End::Failed { why }) = &cell.end {
                        bar.println(format!("{workload} on {name} failed: {why}"));
                    }
                }
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    cells
}

fn create_dir(path: &Path) -> Result<(), CompareError> {
    fs::create_dir_all(path).map_err(|error| CompareError::File(path.to_owned(), error))
}

fn write(path: &Path, content: &str) -> Result<(), CompareError> {
    fs::write(path, content).map_err(|error| CompareError::File(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            workloads: Vec::new(),
            systems: Vec::new(),
            runs: 5,
            quick: false,
            no_mimalloc: false,
            time_limit: 60,
            out: None,
        }
    }

    fn names(plan: &Plan) -> Vec<String> {
        plan.contestants().iter().map(Contestant::name).collect()
    }

    #[test]
    fn a_name_stands_for_the_builds_that_differ() {
        let all = names(&plan());
        assert!(all.contains(&"gc-arena".to_owned()) && all.contains(&"gc-arena+mimalloc".to_owned()));
        assert!(all.contains(&"bump".to_owned()) && !all.contains(&"bump+mimalloc".to_owned()));

        let some = Plan { systems: vec!["rc".to_owned(), "box+mimalloc".to_owned()], ..plan() };
        assert_eq!(names(&some), ["rc", "rc+mimalloc", "box+mimalloc"]);
        assert_eq!(names(&Plan { no_mimalloc: true, ..some }), ["rc"]);
    }

    #[test]
    fn workloads_are_all_sizes_or_one() {
        let text = |plan: &Plan| plan.workloads().iter().map(Workload::to_string).collect::<Vec<_>>();
        assert_eq!(text(&plan()).len(), 11);
        assert_eq!(text(&Plan { quick: true, ..plan() }).len(), 10);
        let workloads = ["bt", "bt:18", "weak:10"].map(|choice| choice.parse().unwrap()).to_vec();
        assert_eq!(text(&Plan { workloads, ..plan() }), ["bt 16", "bt 18", "weak 10"]);
        assert!("bt:x".parse::<WorkloadChoice>().is_err());
    }
}
