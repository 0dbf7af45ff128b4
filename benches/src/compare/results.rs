//! What the runs gave: medians, spreads, and ratios against lacuna.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Contestant;
use super::build::Build;
use super::child::Ended;
use super::machine::Machine;
use crate::report::Line;
use crate::systems::Role;
use crate::workload::Workload;

/// The system that the others are measured by, if it took part.
pub const BASELINE: &str = "lacuna";

/// All runs of a workload on a contestant.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// What each run printed.
    pub lines: Vec<Line>,
    /// Why there are no more runs, if so.
    pub end: Option<End>,
}

/// Why a contestant has no figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "end")]
pub enum End {
    /// It took longer than the time limit.
    TooSlow,
    /// It lacks a feature.
    Unsupported {
        /// Which.
        why: String,
    },
    /// It crashed or gave a wrong answer.
    Failed {
        /// How.
        why: String,
    },
}

impl Cell {
    /// Adds a run. `answer` is what it should have answered.
    pub fn add(&mut self, ended: Ended, answer: u64) {
        let line = match ended {
            Ended::Printed(line) => line,
            Ended::TooSlow => return self.end = Some(End::TooSlow),
            Ended::Failed(why) => return self.end = Some(End::Failed { why }),
        };
        if let Some(why) = line.unsupported() {
            self.end = Some(End::Unsupported { why });
        } else if line.get("check") == Some(answer.to_string().as_str()) {
            self.lines.push(line);
        } else {
            let why = format!("answered {}, expected {answer}", line.get("check").unwrap_or("nothing"));
            self.end = Some(End::Failed { why });
        }
    }
}

/// Everything there is to say.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Where it ran.
    pub machine: Machine,
    /// Runs of each.
    pub runs: usize,
    /// Seconds that a run may take.
    pub time_limit_seconds: u16,
    /// One group for each figure of each workload.
    pub groups: Vec<Group>,
}

/// One figure of one workload, on all contestants.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// The workload, as typed.
    pub workload: String,
    /// The key of the figure.
    pub figure: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The contestant that ratios refer to: lacuna, or the fastest if lacuna has no figure.
    pub baseline: Option<String>,
    /// Contestants with a figure, fastest first.
    pub rows: Vec<Row>,
    /// Contestants without.
    pub missing: Vec<Missing>,
}

/// A contestant with a figure.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub system: String,
    /// What it is.
    #[serde(skip)]
    pub role: Role,
    /// Its build.
    #[serde(skip)]
    pub build: Build,
    /// The median of all runs.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// The median over the median of the baseline.
    pub ratio: f64,
    /// The median of the peak resident sizes, in KiB.
    pub peak_kib: Option<f64>,
    /// Every run, in order.
    pub values: Vec<f64>,
}

/// A contestant without a figure.
#[derive(Clone, Debug, Serialize)]
pub struct Missing {
    /// Its name.
    pub system: String,
    /// Why.
    #[serde(flatten)]
    pub end: End,
}

impl Comparison {
    /// Puts the runs together.
    pub fn new(
        machine: Machine,
        runs: usize,
        time_limit_seconds: u16,
        contestants: &[Contestant],
        cells: &BTreeMap<(Workload, String), Cell>,
    ) -> Comparison {
        let mut workloads: Vec<Workload> = cells.keys().map(|(workload, _)| *workload).collect();
        workloads.dedup();
        let mut groups = Vec::new();
        for workload in workloads {
            for figure in workload.kind().figures() {
                let mut group = Group {
                    workload: workload.to_string(),
                    figure: figure.key,
                    unit: figure.unit,
                    baseline: None,
                    rows: Vec::new(),
                    missing: Vec::new(),
                };
                for contestant in contestants {
                    if let Some(cell) = cells.get(&(workload, contestant.name())) {
                        group.add(contestant, cell);
                    }
                }
                group.finish();
                groups.push(group);
            }
        }
        Comparison { machine, runs, time_limit_seconds, groups }
    }

    /// What crashed or gave a wrong answer.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for group in &self.groups {
            for missing in &group.missing {
                if let End::Failed { why } = &missing.end {
                    failures.push(format!("{} on {}: {why}", group.workload, missing.system));
                }
            }
        }
        failures.dedup();
        failures
    }
}

impl Group {
    fn add(&mut self, contestant: &Contestant, cell: &Cell) {
        let values: Vec<f64> = cell.lines.iter().filter_map(|line| line.number(self.figure)).collect();
        let peaks: Vec<f64> = cell.lines.iter().filter_map(|line| line.number("peak_kib")).collect();
        let system = contestant.name();
        if let Some(end) = cell.end.clone() {
            self.missing.push(Missing { system, end });
        } else if let Some(median) = median(&values) {
            self.rows.push(Row {
                system,
                role: contestant.system.role(),
                build: contestant.build,
                median,
                min: values.iter().copied().fold(f64::INFINITY, f64::min),
                max: values.iter().copied().fold(0.0, f64::max),
                ratio: 1.0,
                peak_kib: self::median(&peaks),
                values,
            });
        }
    }

    /// Sorts the rows and works out the ratios.
    fn finish(&mut self) {
        self.rows.sort_by(|a, b| a.median.total_cmp(&b.median));
        let baseline = self.rows.iter().find(|row| row.system == BASELINE).or(self.rows.first());
        let Some((name, median)) = baseline.map(|row| (row.system.clone(), row.median)) else {
            return;
        };
        for row in &mut self.rows {
            row.ratio = row.median / median;
        }
        self.baseline = Some(name);
    }

    /// The fastest collector that is not lacuna.
    pub fn best_peer(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.role == Role::Peer)
    }
}

/// The middle value, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::systems;

    fn line(text: &str) -> Ended {
        Ended::Printed(Line::parse(text).unwrap())
    }

    /// Four contestants on `bt 10`: two with figures, one too slow, one without the feature.
    pub(in super::super) fn sample() -> Comparison {
        let contestants: Vec<Contestant> = ["gc-arena", "rc", "boa_gc", "box"]
            .map(|name| Contestant { system: systems::find(name).unwrap(), build: Build::System })
            .to_vec();
        let workload: Workload = "bt:10".parse().unwrap();
        let mut cells: BTreeMap<(Workload, String), Cell> = BTreeMap::new();
        let mut add = |name: &str, ended| cells.entry((workload, name.to_owned())).or_default().add(ended, 135_854);
        for seconds in ["0.5", "0.4", "0.9"] {
            add("gc-arena", line(&format!("seconds={seconds} check=135854 peak_kib=100")));
        }
        add("rc", line("seconds=0.25 check=135854"));
        add("boa_gc", Ended::TooSlow);
        add("box", line("unsupported=no-trees"));
        Comparison::new(Machine::here(&contestants), 3, 60, &contestants, &cells)
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }

    #[test]
    fn without_lacuna_the_fastest_is_the_baseline() {
        let comparison = sample();
        let [group] = &comparison.groups[..] else { panic!("one figure") };
        assert_eq!(group.baseline.as_deref(), Some("rc"));
        let ratios: Vec<_> = group.rows.iter().map(|row| (row.system.as_str(), row.ratio, row.min, row.max)).collect();
        assert_eq!(ratios, [("rc", 1.0, 0.25, 0.25), ("gc-arena", 2.0, 0.4, 0.9)]);
        assert_eq!(group.best_peer().map(|row| row.system.as_str()), Some("gc-arena"));
        assert_eq!(group.missing.len(), 2);
        assert!(comparison.failures().is_empty());
    }

    #[test]
    fn a_wrong_answer_is_a_failure() {
        let mut cell = Cell::default();
        cell.add(line("seconds=0.1 check=7"), 8);
        assert_eq!(cell.end, Some(End::Failed { why: "answered 7, expected 8".to_owned() }));
    }
}
