//! Collections for [`lacuna`] that do not keep alive what they hold.
#![forbid(unsafe_code)]

mod access;
pub mod intern_set;
pub mod listeners;
mod pruning;
pub mod soft_cache;
pub mod weak_key_map;
pub mod weak_set;
pub mod weak_value_map;

pub use access::{Access, Plain, Table};
pub use hashbrown::DefaultHashBuilder;
pub use intern_set::InternSet;
pub use listeners::{Listen, Listener, Listeners};
pub use soft_cache::SoftCache;
pub use weak_key_map::WeakKeyMap;
pub use weak_set::WeakSet;
pub use weak_value_map::WeakValueMap;
