//! Replays dumps of real heaps on a lacuna heap.
//!
//! A dump (a `.heapsnapshot` of V8, as Node.js and Chrome write it) is read into columns, built as typed objects with
//! strong and weak edges in a [`lacuna::Heap`], and collected; then edges are cut by name and it is collected again.
//! After each collection the exact set of survivors, and all their edges, are compared with those of a naive search
//! over the dump.
//!
//! Layers, lowest first; a file imports only from lower ones:
//!
//! ```text
//! snapshot/   the dump in columns, its format, its errors
//! progress    the bar on the terminal
//! input       from a name to a dump: files, gzip, limits, formats
//! cut         which edges a name removes
//! reference   what must survive, computed without a heap
//! model       the typed objects a dump is rebuilt from
//! measure     what a heap says about itself
//! load        from a dump to a heap
//! outcome     what a collection did
//! examine     the comparison of a heap with the reference
//! replay      collect, compare, cut, collect again
//! report/     what was found, as text, JSON and a picture
//! args        the command line
//! run         one run, from arguments to an exit code
//! ```
//!
//! The program is the product; this library exists so that its parts can be tested and reused, and promises nothing
//! about its API.

#![forbid(unsafe_code)]

pub mod args;
pub mod cut;
pub mod examine;
pub mod input;
pub mod load;
pub mod measure;
pub mod model;
pub mod outcome;
pub mod progress;
pub mod reference;
pub mod replay;
pub mod report;
pub mod run;
pub mod snapshot;
