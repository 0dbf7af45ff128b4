//! The one line a run prints, and reading it back.
//!
//! `workload=bt system=lacuna size=18 seconds=0.412345 check=68332206 key=value…`, or, for a peer that lacks the
//! feature, `workload=weak system=gc size=1000 unsupported=<why>` with hyphens for spaces, so that the line
//! always splits at spaces and at the first `=`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::answers::churned;
use crate::workload::{Length, PAUSE_SLOTS, PAUSE_STEP, Workload};

/// What came of running a workload on a system.
pub type Outcome = Result<Measured, Unsupported>;

/// The peer lacks a feature; the words say which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(pub &'static str);

/// The answer, and what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// From the start of the workload until the answer was known.
    pub seconds: f64,
    /// The answer.
    pub check: u64,
    /// Further figures.
    pub figures: Vec<(&'static str, f64)>,
}

impl Measured {
    /// Adds a figure.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: f64) -> Measured {
        self.figures.push((key, value));
        self
    }

    /// Adds the time spent per piece of work as a figure.
    #[must_use]
    pub fn per(self, key: &'static str, pieces: u64) -> Measured {
        let nanoseconds = self.seconds * 1e9 / pieces as f64;
        self.with(key, nanoseconds)
    }
}

/// The clock of a workload: monotonic, stopped as soon as the answer is known.
///
/// What is still alive by then is given back after the clock has stopped, in every system.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts counting.
    #[must_use]
    pub fn start() -> Clock {
        Clock { started: Instant::now() }
    }

    /// Stops, with the answer.
    #[must_use]
    pub fn stop(self, check: u64) -> Measured {
        Measured { seconds: self.started.elapsed().as_secs_f64(), check, figures: Vec::new() }
    }
}

/// Times one part of a workload.
pub fn timed<R>(part: impl FnOnce() -> R) -> (R, Duration) {
    let started = Instant::now();
    let result = part();
    (result, started.elapsed())
}

/// How often `mark` collects.
pub const MARK_COLLECTIONS: usize = 5;

/// Runs `collect` five times and gives the median time.
pub fn median_collection(mut collect: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..MARK_COLLECTIONS).map(|_| timed(&mut collect).1).collect();
    times.sort();
    times[MARK_COLLECTIONS / 2]
}

/// The figures of `mark`, from the median time of a collection.
pub fn mark_figures(measured: Measured, nodes: usize, median: Duration) -> Measured {
    let median = median.as_secs_f64();
    measured.with("objects_per_s", nodes as f64 / median).with("collect_ms", median * 1e3)
}

/// The figures of `ephemeron`: the time of the collection that kept all entries, and of the one that cleared them.
///
/// # Panics
///
/// When entries are left.
pub fn ephemeron_figures(measured: Measured, kept: Duration, cleared: Duration, left: usize) -> Measured {
    assert_eq!(left, 0, "entries that are left when their keys are gone");
    measured.with("collect_ms", kept.as_secs_f64() * 1e3).with("clear_ms", cleared.as_secs_f64() * 1e3)
}

/// How often `weak` upgrades each live reference.
pub const WEAK_ROUNDS: u64 = 10;

/// The sum of the ids seen when every live reference of `weak` has been upgraded ten times.
pub const fn weak_upgraded_sum(objects: u64) -> u64 {
    let live = objects.div_ceil(2);
    WEAK_ROUNDS * live * live.saturating_sub(1)
}

/// The figures of `weak`: `collected` is the time to make all references, let go of the objects and collect;
/// `upgraded` the time of all upgrades, which saw ids that add up to `seen`.
///
/// # Panics
///
/// When an upgrade gave the wrong object.
pub fn weak_figures(
    measured: Measured,
    objects: usize,
    collected: Duration,
    upgraded: Duration,
    seen: u64,
) -> Measured {
    let objects = objects as u64;
    assert_eq!(seen, weak_upgraded_sum(objects), "the sum of the ids of all upgraded objects");
    let upgrades = WEAK_ROUNDS * objects.div_ceil(2);
    measured
        .with("ns_per_weak", collected.as_secs_f64() * 1e9 / objects as f64)
        .with("ns_per_upgrade", upgraded.as_secs_f64() * 1e9 / upgrades as f64)
}

/// The steps of `pause` and `array`: how long each takes, and whether to go on.
///
/// On a machine that is shared, the longest steps are those in which another program ran. So each step is put down twice:
/// as it was, and without the time in which its thread was ready and had no processor, where the system tells that.
#[derive(Debug)]
pub struct Steps {
    started: Instant,
    last: Instant,
    length: Duration,
    /// The time of all steps.
    spent: Duration,
    taken: Histogram<u64>,
    run: Histogram<u64>,
    waits: Waits,
}

/// The longest step that is told from longer ones, in nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;

impl Steps {
    /// The first step begins now.
    ///
    /// # Panics
    ///
    /// Never: the bounds of the histograms are constants.
    #[must_use]
    pub fn begin(length: Length) -> Steps {
        let taken = Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are valid");
        let (run, waits) = (taken.clone(), Waits::of_this_thread());
        let now = Instant::now();
        Steps { started: now, last: now, length: length.duration(), spent: Duration::ZERO, taken, run, waits }
    }

    /// Ends a step. Says whether another follows, which begins now.
    pub fn goes_on(&mut self) -> bool {
        let now = Instant::now();
        let step = now - self.last;
        self.spent += step;
        let nanoseconds = step.as_nanos() as u64;
        self.taken.saturating_record(nanoseconds);
        self.run.saturating_record(nanoseconds.saturating_sub(self.waits.since_last()));
        // What all that takes is not counted.
        self.last = Instant::now();
        now - self.started < self.length
    }

    /// The figures of `pause`; the steps saw `seen`.
    ///
    /// # Panics
    ///
    /// When they saw something else than steps on plain integers do.
    pub fn figures(&self, measured: Measured, seen: u64) -> Measured {
        let ops = self.taken.len() * PAUSE_STEP as u64;
        assert_eq!(seen, churned(PAUSE_SLOTS, ops), "the sum of the payloads that the steps saw");
        self.times(measured)
    }

    /// How many operations there were, and how long the steps took.
    #[must_use]
    pub fn times(&self, measured: Measured) -> Measured {
        let ops = self.taken.len() * PAUSE_STEP as u64;
        let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        let quantile = |quantile| microseconds(self.taken.value_at_quantile(quantile));
        measured
            .with("ops", ops as f64)
            .with("ns_per_op", self.spent.as_secs_f64() * 1e9 / ops as f64)
            .with("p50_us", quantile(0.5))
            .with("p99_us", quantile(0.99))
            .with("p999_us", quantile(0.999))
            .with("max_us", microseconds(self.taken.max()))
            .with("p999_run_us", microseconds(self.run.value_at_quantile(0.999)))
            .with("max_run_us", microseconds(self.run.max()))
    }
}

/// How long this thread was ready and had no processor.
#[derive(Debug)]
struct Waits {
    /// Where Linux tells it: time run, time waited, in nanoseconds.
    file: Option<File>,
    last: u64,
}

impl Waits {
    fn of_this_thread() -> Waits {
        let mut waits = Waits { file: File::open("/proc/thread-self/schedstat").ok(), last: 0 };
        waits.since_last();
        waits
    }

    /// The nanoseconds waited since the last call; none where the system does not tell.
    fn since_last(&mut self) -> u64 {
        let waited = self.read().unwrap_or(self.last);
        waited - std::mem::replace(&mut self.last, waited)
    }

    fn read(&mut self) -> Option<u64> {
        let file = self.file.as_mut()?;
        let mut text = [0; 64];
        file.rewind().ok()?;
        let length = file.read(&mut text).ok()?;
        std::str::from_utf8(&text[..length]).ok()?.split(' ').nth(1)?.parse().ok()
    }
}

/// A whole line.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What was run.
    pub workload: Workload,
    /// On which system, build included.
    pub system: String,
    /// What came of it.
    pub outcome: Outcome,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { workload, system, outcome } = self;
        write!(f, "workload={} system={system} size={}", workload.kind(), workload.size())?;
        match outcome {
            Ok(Measured { seconds, check, figures }) => {
                write!(f, " seconds={seconds:.6} check={check}")?;
                for (key, value) in figures {
                    // Counts have no decimals, and in large rates they say nothing.
                    let decimals = if value.fract() == 0.0 || *value >= 1e5 { 0 } else { 3 };
                    write!(f, " {key}={value:.decimals$}")?;
                }
                Ok(())
            }
            Err(Unsupported(why)) => write!(f, " unsupported={}", why.replace(' ', "-")),
        }
    }
}

/// A line read back: every `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    values: BTreeMap<String, String>,
}

impl Line {
    /// Splits a line; `None` if a word has no `=` or a key comes twice.
    pub fn parse(line: &str) -> Option<Line> {
        let mut values = BTreeMap::new();
        for word in line.split_whitespace() {
            let (key, value) = word.split_once('=')?;
            if values.insert(key.to_owned(), value.to_owned()).is_some() {
                return None;
            }
        }
        Some(Line { values })
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The value of a key that holds a number.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.get(key)?.parse().ok()
    }

    /// Why the system cannot run this workload, if so.
    pub fn unsupported(&self) -> Option<String> {
        self.get("unsupported").map(|why| why.replace('-', " "))
    }
}

/// The peak resident size of this process so far, in KiB, where the system tells.
pub fn peak_kib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: Outcome) -> Report {
        Report { workload: "churn:1000x100000".parse().unwrap(), system: "gc-arena+mimalloc".to_owned(), outcome }
    }

    #[test]
    fn one_line_as_specified() {
        let measured = Measured { seconds: 0.412_345_4, check: 5_001_056_302, figures: Vec::new() };
        assert_eq!(
            report(Ok(measured.with("ns_per_step", 41.5).with("objects_per_s", 1.5e7))).to_string(),
            "workload=churn system=gc-arena+mimalloc size=1000x100000 seconds=0.412345 check=5001056302 \
             ns_per_step=41.500 objects_per_s=15000000"
        );
        assert_eq!(
            report(Err(Unsupported("no weak references"))).to_string(),
            "workload=churn system=gc-arena+mimalloc size=1000x100000 unsupported=no-weak-references"
        );
    }

    #[test]
    fn lines_are_read_back() {
        let line = Line::parse("workload=bt seconds=0.5 check=7 unsupported=no-weak-references").unwrap();
        assert_eq!(line.get("workload"), Some("bt"));
        assert_eq!(line.number("seconds"), Some(0.5));
        assert_eq!(line.unsupported().as_deref(), Some("no weak references"));
        assert_eq!(line.number("workload"), None);
        assert_eq!(Line::parse("workload"), None);
        assert_eq!(Line::parse("a=1 a=2"), None);
    }

    #[test]
    fn upgraded_ids_are_the_even_ones() {
        for objects in [2, 3, 10, 11] {
            let even: u64 = (0..objects).step_by(2).sum();
            assert_eq!(weak_upgraded_sum(objects), WEAK_ROUNDS * even);
        }
    }
}
