//! What a heap says about itself.
//!
//! Owns the translation of the heap's statistics into the figures of a report.

use std::time::Duration;

use lacuna::Heap;
use serde::Serialize;

/// The memory of a heap after a collection.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// Objects the heap counts as alive.
    pub live_objects: u64,
    /// Bytes of their cells: headers and edges, length words, and what is lost to rounding.
    pub cell_bytes: u64,
    /// Bytes of the blocks that hold cells, free ones included.
    pub block_bytes: u64,
    /// Bytes of side tables: marks and block tables.
    pub table_bytes: u64,
    /// Bytes held from the system for blocks and side tables.
    pub reserved_bytes: u64,
    /// Objects with a weak slot. The replay has a weak reference to each object it built.
    pub weak_slots: u64,
    /// Bytes of the weak slots.
    pub weak_bytes: u64,
    /// Bytes of the root table.
    pub root_bytes: u64,
}

/// How long the parts of a collection took, as far as the heap tells.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Phases {
    /// Finding what is reachable.
    pub mark_seconds: Option<f64>,
    /// Clearing weak slots.
    pub weak_seconds: Option<f64>,
    /// Freeing what isn't reachable.
    pub sweep_seconds: Option<f64>,
}

impl Memory {
    /// What `heap` uses now.
    pub fn of(heap: &Heap) -> Self {
        let stats = heap.stats();
        Memory {
            live_objects: stats.live_objects as u64,
            cell_bytes: stats.live_bytes as u64,
            block_bytes: stats.used_bytes as u64,
            table_bytes: stats.table_bytes as u64,
            reserved_bytes: stats.reserved_bytes as u64,
            weak_slots: stats.weak_slots as u64,
            weak_bytes: stats.weak_bytes as u64,
            root_bytes: stats.root_bytes as u64,
        }
    }
}

impl Phases {
    /// The parts of the last collection of `heap`.
    pub fn of(heap: &Heap) -> Self {
        let last = heap.stats().last;
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        Phases {
            mark_seconds: seconds(last.mark_time),
            weak_seconds: seconds(last.weak_time),
            sweep_seconds: seconds(last.sweep_time),
        }
    }
}
