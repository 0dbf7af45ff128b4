//! Bytes and cells; nothing here knows what an object is.
//!
//! ```text
//! chunk   2 MiB from the global allocator, aligned to its size, with its own side tables
//! block   16 KiB of a chunk; cells of one kind, or part of a run that holds one large object
//! cell    the bytes of one object; at least 16, no header
//! ```

pub(crate) mod bitmap;
pub(crate) mod block;
pub(crate) mod chunk;
pub(crate) mod column;
pub(crate) mod cursor;
pub(crate) mod deferred;
pub(crate) mod huge_pages;
pub(crate) mod larges;
pub(crate) mod ledger;
pub(crate) mod pool;
pub(crate) mod prefetch;
pub(crate) mod shrink;
pub(crate) mod space;
pub(crate) mod table;
