//! Collections for [`lacuna`] that do not keep alive what they hold.
#![forbid(unsafe_code)]

mod access;
mod pruning;
pub mod weak_value_map;

pub use access::{Access, Observe, Plain};
pub use hashbrown::DefaultHashBuilder;
pub use weak_value_map::WeakValueMap;
