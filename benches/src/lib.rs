//! Workloads with known answers, run on lacuna and its peers.
//!
//! The driver is the executable of this package (`run` and `compare`); this library holds what it, its tests and the
//! criterion benches share: the [random numbers](rng), the [workloads](workload), their [answers], the
//! [output line](report), and one implementation of each workload per [system](systems).

#![forbid(unsafe_code)]

pub mod answers;
pub mod compare;
pub mod driver;
pub mod report;
pub mod rng;
pub mod systems;
pub mod workload;
