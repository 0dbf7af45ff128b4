//! Maps, sets and lists that do not keep alive what they hold, for objects of [`lacuna`].
//!
//! | type | holds | for |
//! | --- | --- | --- |
//! | [`WeakValueMap`] | keys, and objects weakly | caches; finding objects by name or number |
//! | [`WeakKeyMap`] | objects weakly, and objects as long as those live | attaching data to objects from outside |
//! | [`WeakSet`] | objects weakly, by identity | "all that there are"; marks |
//! | [`InternSet`] | objects weakly, one for each value | symbols, hash consing |
//! | [`SoftCache`] | what was used last strongly, all else weakly | caches that are to outlive their users |
//! | [`Listeners`] | objects weakly, with what to call | observers |
//!
//! ```
//! use lacuna::Heap;
//! use lacuna_collections::WeakValueMap;
//!
//! let mut heap = Heap::new();
//! let mut pages = WeakValueMap::new();
//! let page = pages.entry(&heap, "index").or_insert_with(&mut heap, |heap| heap.alloc(String::from("<html>")));
//! assert!(pages.contains_key(&heap, "index"));
//!
//! drop(page);
//! heap.collect();
//! assert!(!pages.contains_key(&heap, "index"));
//! ```
//!
//! # What all of them promise
//!
//! - *Dead is absent.* An entry is present until the collection that finds its object unreachable, and absent for every
//!   method from then on. Nothing revives it, also not a new object in the place of the old one.
//! - *A collection cannot hurt.* It changes none of these tables. An iterator borrows the heap, so nothing dies under
//!   it; a `cursor` does not, and gives out what is alive when it is asked.
//! - *Sizes say what they promise.* There is no `len`: `len_upper_bound` takes constant time and counts what has died and
//!   was not removed yet, `live_count` is exact until the next collection.
//! - *Memory comes back.* Dead entries are removed when a table is inserted into, at a constant cost per insertion, or by
//!   `prune`.
//! - *Code of the program may misbehave.* `Eq`, `Hash`, `Drop` and closures that panic or drop roots leave a table whole.
//!
//! # From outside and from inside
//!
//! A heap is reached from outside by a `&Heap` and roots, or in a scope by a `&Mutator` and pointers. Methods that only
//! look take either, see [`Access`]. Those that begin to observe an object take a `&mut Heap` and a root, and have a twin
//! with the ending `_in` for scopes.
//!
//! A table may also *be* inside, as a field of an object: [`WeakValueMap`], [`WeakSet`] and [`InternSet`] in a
//! [`GcRefCell`](lacuna::GcRefCell), [`Listeners`] as it is, and in the place of a [`WeakKeyMap`] the
//! [`Ephemerons`](lacuna::Ephemerons) that it is a handle of.
#![forbid(unsafe_code)]

mod access;
pub mod intern_set;
pub mod listeners;
mod pruning;
mod show;
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
