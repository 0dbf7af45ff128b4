//! What can be run: the workloads, their sizes and the figures each is judged by.
//!
//! A [`Workload`] is always valid: [`Workload::new`] is the only way to make one from user input, and it refuses
//! sizes that would not mean anything. What a workload *does* is defined in each system; what it must *answer* is in
//! [`answers`](crate::answers).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::rng::XorShift64;

/// The name of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// binary-trees of the Computer Language Benchmarks Game.
    Bt,
    /// GCBench by Ellis, Kovac and Boehm.
    Gcbench,
    /// Forced full collections of a scattered graph.
    Mark,
    /// Long-lived slots replaced in random order.
    Churn,
    /// A queue of linked nodes.
    Lists,
    /// Weak references: made, cleared, upgraded.
    Weak,
    /// A weak-key map in which the value of one entry is the key of another.
    Ephemeron,
    /// Cleanups of objects that died.
    Finalize,
    /// How long steps of `churn` take beside live data.
    Pause,
    /// `bt` beside live data, with little room to grow.
    BtBeside,
    /// How long steps take in which a large array is written at random.
    Array,
}

/// A number in a report by which systems are compared; smaller is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The key in the output line.
    pub key: &'static str,
    /// The unit, as a reader of a table wants it.
    pub unit: &'static str,
}

const SECONDS: Figure = Figure { key: "seconds", unit: "s" };

impl Kind {
    /// Every workload of the driver, in the order of tables.
    pub const ALL: [Kind; 11] = [
        Kind::Bt,
        Kind::Gcbench,
        Kind::Mark,
        Kind::Churn,
        Kind::Lists,
        Kind::Weak,
        Kind::Ephemeron,
        Kind::Finalize,
        Kind::Pause,
        Kind::BtBeside,
        Kind::Array,
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Bt => "bt",
            Kind::Gcbench => "gcbench",
            Kind::Mark => "mark",
            Kind::Churn => "churn",
            Kind::Lists => "lists",
            Kind::Weak => "weak",
            Kind::Ephemeron => "ephemeron",
            Kind::Finalize => "finalize",
            Kind::Pause => "pause",
            Kind::BtBeside => "bt-beside",
            Kind::Array => "array",
        }
    }

    /// What each size stands for, and the range it may have.
    const fn sizes(self) -> &'static [Size] {
        match self {
            Kind::Bt => &[Size { name: "DEPTH", least: 1, most: 30 }],
            Kind::Gcbench => &[Size { name: "DEPTH", least: 6, most: 30 }],
            Kind::Mark => &[Size { name: "NODES", least: 1, most: 1 << 31 }],
            Kind::Churn => {
                &[Size { name: "SLOTS", least: 1, most: 1 << 31 }, Size { name: "STEPS", least: 1, most: 1 << 40 }]
            }
            Kind::Lists => {
                &[Size { name: "PUSHES", least: 1, most: 1 << 32 }, Size { name: "LENGTH", least: 1, most: 1 << 31 }]
            }
            Kind::Weak => &[Size { name: "OBJECTS", least: 2, most: 1 << 31 }],
            Kind::Ephemeron => &[Size { name: "ENTRIES", least: 1, most: 1 << 31 }],
            Kind::Finalize => &[Size { name: "OBJECTS", least: 1, most: 1 << 31 }],
            Kind::Pause => &[LIVE],
            Kind::BtBeside => &[Size { name: "DEPTH", least: 1, most: 30 }, LIVE],
            Kind::Array => &[Size { name: "EDGES", least: 1, most: 1 << 31 }],
        }
    }

    /// The figures to compare systems by. Less is better, so operations are compared by the time of one.
    pub const fn figures(self) -> &'static [Figure] {
        match self {
            Kind::Bt | Kind::Gcbench | Kind::Ephemeron => &[SECONDS],
            Kind::Mark => &[Figure { key: "collect_ms", unit: "ms per collection" }],
            Kind::Churn => &[Figure { key: "ns_per_step", unit: "ns per step" }],
            Kind::Lists => &[Figure { key: "ns_per_op", unit: "ns per push and pop" }],
            Kind::Weak => &[
                Figure { key: "ns_per_weak", unit: "ns per weak reference" },
                Figure { key: "ns_per_upgrade", unit: "ns per upgrade" },
            ],
            Kind::Finalize => &[Figure { key: "ns_each", unit: "ns per object" }],
            Kind::Pause | Kind::Array => &[
                Figure { key: "ns_per_op", unit: "ns per operation" },
                Figure { key: "p999_us", unit: "µs, p99.9 of a step of 1000 operations" },
                Figure { key: "max_us", unit: "µs, the longest step of 1000 operations" },
                Figure { key: "p999_run_us", unit: "µs, p99.9 of a step, without waiting for a processor" },
                Figure { key: "max_run_us", unit: "µs, the longest step, without waiting for a processor" },
            ],
            Kind::BtBeside => &[Figure { key: "bt_seconds", unit: "s" }],
        }
    }

    /// How it is called: the name and its sizes.
    pub fn usage(self) -> String {
        let mut usage = self.name().to_owned();
        for size in self.sizes() {
            usage.push(' ');
            usage.push_str(size.name);
        }
        usage
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = ParseError;

    fn from_str(name: &str) -> Result<Kind, ParseError> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| ParseError::UnknownWorkload(name.to_owned()))
    }
}

/// Live data.
const LIVE: Size = Size { name: "MEBIBYTES", least: 1, most: 1 << 16 };

struct Size {
    name: &'static str,
    least: u64,
    most: u64,
}

/// A workload with its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Workload {
    /// `bt DEPTH`
    Bt {
        /// Depth of the long-lived tree.
        depth: u32,
    },
    /// `gcbench DEPTH`
    Gcbench {
        /// Depth of the stretch tree.
        depth: u32,
    },
    /// `mark NODES`
    Mark {
        /// Number of nodes in the graph.
        nodes: usize,
    },
    /// `churn SLOTS STEPS`
    Churn {
        /// Number of long-lived slots.
        slots: usize,
        /// Number of replacements.
        steps: u64,
    },
    /// `lists PUSHES LENGTH`
    Lists {
        /// Number of nodes pushed in all.
        pushes: u64,
        /// Length from which on each push comes with a pop.
        length: u64,
    },
    /// `weak OBJECTS`
    Weak {
        /// Number of objects, each with one weak reference.
        objects: usize,
    },
    /// `ephemeron ENTRIES`
    Ephemeron {
        /// Number of entries, in one chain.
        entries: usize,
        /// The order in which they are inserted.
        order: Order,
    },
    /// `finalize OBJECTS`
    Finalize {
        /// Number of objects, each with one cleanup.
        objects: usize,
    },
    /// `pause MEBIBYTES`
    Pause {
        /// Live data, in nodes of `mark`.
        mebibytes: usize,
        /// How long steps are made.
        length: Length,
    },
    /// `bt-beside DEPTH MEBIBYTES`
    BtBeside {
        /// Depth of the long-lived tree.
        depth: u32,
        /// Live data, in nodes of `mark`.
        mebibytes: usize,
    },
    /// `array EDGES`
    Array {
        /// Elements of the array.
        edges: usize,
        /// How long steps are made.
        length: Length,
    },
}

/// How long `pause` and `array` make steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Length {
    milliseconds: u64,
}

impl Default for Length {
    fn default() -> Length {
        Length { milliseconds: 3000 }
    }
}

impl Length {
    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.milliseconds)
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.duration().as_secs_f64())
    }
}

/// Reads seconds, in steps of a thousandth.
impl FromStr for Length {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Length, ParseError> {
        match text.parse::<f64>() {
            Ok(seconds) if (0.001..=3600.0).contains(&seconds) => {
                Ok(Length { milliseconds: (seconds * 1e3).round() as u64 })
            }
            _ => Err(ParseError::NoLength(text.to_owned())),
        }
    }
}

/// Slots that `pause` churns.
pub const PAUSE_SLOTS: usize = 100_000;
/// Operations in one of its steps, and in one of `array`.
pub const PAUSE_STEP: usize = 1000;

/// Nodes of `mark` in so many mebibytes: 48 bytes each.
pub const fn nodes_in(mebibytes: usize) -> usize {
    (mebibytes << 20) / 48
}

/// The order in which the entries of `ephemeron` are inserted, seen from the head of the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Order {
    /// From the head.
    Forward,
    /// From the end.
    Reverse,
    /// Shuffled.
    #[default]
    Random,
}

impl Order {
    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Order::Forward => "forward",
            Order::Reverse => "reverse",
            Order::Random => "random",
        }
    }

    /// The numbers below `count` in this order.
    pub fn numbers(self, count: usize) -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..count).collect();
        match self {
            Order::Forward => {}
            Order::Reverse => numbers.reverse(),
            Order::Random => {
                let mut rng = XorShift64::new();
                (1..count).rev().for_each(|i| numbers.swap(i, rng.below(i + 1)));
            }
        }
        numbers
    }
}

impl Workload {
    /// The same in another order, where there are orders.
    #[must_use]
    pub fn ordered(self, order: Order) -> Workload {
        match self {
            Workload::Ephemeron { entries, .. } => Workload::Ephemeron { entries, order },
            other => other,
        }
    }

    /// The same for another time, where there is one.
    #[must_use]
    pub fn lasting(self, length: Length) -> Workload {
        match self {
            Workload::Pause { mebibytes, .. } => Workload::Pause { mebibytes, length },
            Workload::Array { edges, .. } => Workload::Array { edges, length },
            other => other,
        }
    }

    /// The time, if there is one and it is not the usual one.
    pub fn unusual_length(&self) -> Option<Length> {
        match *self {
            Workload::Pause { length, .. } | Workload::Array { length, .. } if length != Length::default() => {
                Some(length)
            }
            _ => None,
        }
    }

    /// The order, if it is not the usual one.
    pub fn unusual_order(&self) -> Option<Order> {
        match *self {
            Workload::Ephemeron { order, .. } if order != Order::default() => Some(order),
            _ => None,
        }
    }

    /// Checks the number and the range of `sizes`.
    pub fn new(kind: Kind, sizes: &[u64]) -> Result<Workload, ParseError> {
        let expected = kind.sizes();
        if sizes.len() != expected.len() {
            return Err(ParseError::SizeCount { kind, got: sizes.len() });
        }
        for (&value, size) in sizes.iter().zip(expected) {
            if value < size.least || value > size.most {
                return Err(ParseError::SizeRange { kind, name: size.name, value, least: size.least, most: size.most });
            }
        }
        // In range, so these conversions keep the value on 64-bit targets; elsewhere they are refused.
        let index = |at: usize| {
            usize::try_from(sizes[at]).map_err(|_| ParseError::SizeRange {
                kind,
                name: expected[at].name,
                value: sizes[at],
                least: expected[at].least,
                most: usize::MAX as u64,
            })
        };
        Ok(match kind {
            Kind::Bt => Workload::Bt { depth: index(0)? as u32 },
            Kind::Gcbench => Workload::Gcbench { depth: index(0)? as u32 },
            Kind::Mark => Workload::Mark { nodes: index(0)? },
            Kind::Churn => Workload::Churn { slots: index(0)?, steps: sizes[1] },
            Kind::Lists => Workload::Lists { pushes: sizes[0], length: sizes[1] },
            Kind::Weak => Workload::Weak { objects: index(0)? },
            Kind::Ephemeron => Workload::Ephemeron { entries: index(0)?, order: Order::default() },
            Kind::Finalize => Workload::Finalize { objects: index(0)? },
            Kind::Pause => Workload::Pause { mebibytes: index(0)?, length: Length::default() },
            Kind::BtBeside => Workload::BtBeside { depth: index(0)? as u32, mebibytes: index(1)? },
            Kind::Array => Workload::Array { edges: index(0)?, length: Length::default() },
        })
    }

    /// The name without the sizes.
    pub const fn kind(&self) -> Kind {
        match self {
            Workload::Bt { .. } => Kind::Bt,
            Workload::Gcbench { .. } => Kind::Gcbench,
            Workload::Mark { .. } => Kind::Mark,
            Workload::Churn { .. } => Kind::Churn,
            Workload::Lists { .. } => Kind::Lists,
            Workload::Weak { .. } => Kind::Weak,
            Workload::Ephemeron { .. } => Kind::Ephemeron,
            Workload::Finalize { .. } => Kind::Finalize,
            Workload::Pause { .. } => Kind::Pause,
            Workload::BtBeside { .. } => Kind::BtBeside,
            Workload::Array { .. } => Kind::Array,
        }
    }

    /// The sizes, in the order of the command line.
    pub fn sizes(&self) -> Vec<u64> {
        match *self {
            Workload::Bt { depth } | Workload::Gcbench { depth } => vec![depth.into()],
            Workload::Mark { nodes } => vec![nodes as u64],
            Workload::Churn { slots, steps } => vec![slots as u64, steps],
            Workload::Lists { pushes, length } => vec![pushes, length],
            Workload::Weak { objects } | Workload::Finalize { objects } => vec![objects as u64],
            Workload::Ephemeron { entries, .. } => vec![entries as u64],
            Workload::Pause { mebibytes, .. } => vec![mebibytes as u64],
            Workload::BtBeside { depth, mebibytes } => vec![depth.into(), mebibytes as u64],
            Workload::Array { edges, .. } => vec![edges as u64],
        }
    }

    /// The sizes as the output line has them, joined by `x`, with an unusual order or time behind them.
    pub fn size(&self) -> String {
        let order = self.unusual_order().map_or(String::new(), |order| format!("x{}", order.name()));
        let length = self.unusual_length().map_or(String::new(), |length| format!("x{length}s"));
        join(&self.sizes(), "x") + &order + &length
    }
}

/// The name and the sizes with spaces, as typed: `churn 1000 100000`.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), join(&self.sizes(), " "))?;
        self.unusual_order().map_or(Ok(()), |order| write!(f, " {}", order.name()))?;
        self.unusual_length().map_or(Ok(()), |length| write!(f, " {length}s"))
    }
}

/// Reads `churn:1000x100000`, the form that needs no quotes in a list; also `ephemeron:1000xreverse` and `pause:8x0.2s`.
impl FromStr for Workload {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Workload, ParseError> {
        let (name, sizes) = text.split_once(':').unwrap_or((text, ""));
        let kind = name.parse()?;
        let order = [Order::Forward, Order::Reverse].into_iter().find(|order| sizes.ends_with(order.name()));
        if let Some(order) = order
            && kind == Kind::Ephemeron
        {
            let sizes = sizes.trim_end_matches(order.name()).trim_end_matches('x');
            return format!("{name}:{sizes}").parse().map(|workload: Workload| workload.ordered(order));
        }
        if matches!(kind, Kind::Pause | Kind::Array)
            && let Some((sizes, length)) = sizes.rsplit_once('x')
        {
            let length = length.strip_suffix('s').ok_or_else(|| ParseError::NoLength(length.to_owned()))?.parse()?;
            return format!("{name}:{sizes}").parse().map(|workload: Workload| workload.lasting(length));
        }
        let sizes = sizes
            .split('x')
            .filter(|size| !size.is_empty())
            .map(|size| size.parse().map_err(|_| ParseError::NotANumber(size.to_owned())))
            .collect::<Result<Vec<u64>, ParseError>>()?;
        Workload::new(kind, &sizes)
    }
}

fn join(sizes: &[u64], separator: &str) -> String {
    sizes.iter().map(u64::to_string).collect::<Vec<_>>().join(separator)
}

/// Why the words on the command line are no workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// No workload has this name.
    UnknownWorkload(String),
    /// A size that is not a whole number.
    NotANumber(String),
    /// No number of seconds that a run may have.
    NoLength(String),
    /// Too few or too many sizes.
    SizeCount {
        /// The workload.
        kind: Kind,
        /// How many sizes there were.
        got: usize,
    },
    /// A size out of its range.
    SizeRange {
        /// The workload.
        kind: Kind,
        /// What the size stands for.
        name: &'static str,
        /// What it was.
        value: u64,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::UnknownWorkload(name) => {
                write!(f, "there is no workload `{name}`; there are ")?;
                for (i, kind) in Kind::ALL.iter().enumerate() {
                    write!(f, "{}`{kind}`", if i == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            ParseError::NotANumber(size) => {
                write!(f, "`{size}` is not a size: expected a whole number")
            }
            ParseError::NoLength(text) => write!(f, "`{text}` is not a time: expected 0.001 to 3600 seconds"),
            ParseError::SizeCount { kind, got } => {
                write!(f, "`{kind}` was given {got} size(s), expected `{}`", kind.usage())
            }
            ParseError::SizeRange { kind, name, value, least, most } => {
                write!(f, "{name} of `{kind}` is {value}, expected {least} to {most}")
            }
        }
    }
}

impl std::error::Error for ParseError {}

/// The rounds of `bt`: depth and number of temporary trees.
pub fn bt_rounds(depth: u32) -> impl Iterator<Item = (u32, u64)> {
    (4..=depth).step_by(2).map(move |d| (d, 1 << (depth - d + 4)))
}

/// The rounds of `gcbench`: depth and number of temporary trees of each of the two kinds.
pub fn gcbench_rounds(depth: u32) -> impl Iterator<Item = (u32, u64)> {
    (4..=depth - 2).step_by(2).map(move |d| (d, 2 * tree_size(depth) / tree_size(d)))
}

/// Nodes in a full binary tree.
pub const fn tree_size(depth: u32) -> u64 {
    (1 << (depth + 1)) - 1
}

/// Length of the long-lived array of `gcbench`.
pub const GCBENCH_ARRAY: usize = 500_000;

/// Element `i` of the long-lived array of `gcbench`: 1/i in the first half, zero elsewhere.
#[inline]
pub fn gcbench_element(i: usize) -> f64 {
    if 0 < i && i < GCBENCH_ARRAY / 2 { 1.0 / i as f64 } else { 0.0 }
}

/// The long-lived array of `gcbench`, as a vector.
pub fn gcbench_array() -> Vec<f64> {
    (0..GCBENCH_ARRAY).map(gcbench_element).collect()
}

/// What the array of `gcbench` adds to the answer: one if element 1000 is right.
pub fn gcbench_array_check(array: &[f64]) -> u64 {
    u64::from(array[1000] == 1.0 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let sizes = ["bt:10", "mark:10000", "churn:1000x100000", "lists:100000x1000", "weak:10", "finalize:3"];
        let others = ["ephemeron:10", "ephemeron:10xforward", "ephemeron:10xreverse", "pause:8", "pause:8x0.2s"];
        for text in sizes.into_iter().chain(others).chain(["bt-beside:10x4", "array:7", "array:7x0.2s"]) {
            let workload: Workload = text.parse().unwrap();
            assert_eq!(format!("{}:{}", workload.kind(), workload.size()), text);
            let order = workload.unusual_order().unwrap_or_default();
            let length = workload.unusual_length().unwrap_or_default();
            let same = Workload::new(workload.kind(), &workload.sizes());
            let same = same.map(|workload| workload.ordered(order).lasting(length));
            assert_eq!(same, Ok(workload));
        }
    }

    #[test]
    fn errors_say_what_was_expected() {
        let error = |text: &str| text.parse::<Workload>().unwrap_err().to_string();
        assert_eq!(
            error("bd:3"),
            "there is no workload `bd`; there are `bt`, `gcbench`, `mark`, `churn`, `lists`, `weak`, `ephemeron`, \
             `finalize`, `pause`, `bt-beside`, `array`"
        );
        assert_eq!(error("bt"), "`bt` was given 0 size(s), expected `bt DEPTH`");
        assert_eq!(error("churn:5"), "`churn` was given 1 size(s), expected `churn SLOTS STEPS`");
        assert_eq!(error("bt:31"), "DEPTH of `bt` is 31, expected 1 to 30");
        assert_eq!(error("pause:8x2"), "`2` is not a time: expected 0.001 to 3600 seconds");
        assert_eq!(error("bt:deep"), "`deep` is not a size: expected a whole number");
        assert_eq!(error("mark:0"), "NODES of `mark` is 0, expected 1 to 2147483648");
    }

    #[test]
    fn rounds_are_as_defined() {
        assert_eq!(bt_rounds(8).collect::<Vec<_>>(), [(4, 256), (6, 64), (8, 16)]);
        assert_eq!(gcbench_rounds(8).collect::<Vec<_>>(), [(4, 32), (6, 8)]);
    }
}
