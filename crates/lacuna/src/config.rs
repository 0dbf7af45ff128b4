//! What can be set, in one place.

/// How a heap behaves. Every setting has a default; [`Heap::new`](crate::Heap::new) uses them all.
///
/// Four presets stand for what most programs want, and are a start for settings of one's own:
///
/// | preset | for | `increment_step` | `minor_step` | `min_heap` | `growth_factor` | `huge_pages` | automatic |
/// |---|---|---|---|---|---|---|---|
/// | [`throughput`](Self::throughput) | batch jobs | none | 1 MiB | 64 MiB | 3 | yes | yes |
/// | [`balanced`](Self::balanced), the default | most | none | 1 MiB | 32 MiB | 2 | yes | yes |
/// | [`low_latency`](Self::low_latency) | games, user interfaces, servers | 16 KiB | 256 KiB | 32 MiB | 2 | no | yes |
/// | [`never`](Self::never) | short scripts | none | 1 MiB | 32 MiB | 2 | yes | no |
///
/// ```
/// use lacuna::{Config, Heap};
///
/// let heap = Heap::with_config(Config::default().heap_limit(Some(64 << 20)).min_heap(1 << 20));
/// # drop(heap);
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Config {
    pub(crate) heap_limit: Option<usize>,
    pub(crate) min_heap: usize,
    pub(crate) growth_factor: f64,
    pub(crate) square_root: Option<usize>,
    pub(crate) minor_step: Option<usize>,
    pub(crate) increment_step: Option<usize>,
    pub(crate) automatic: bool,
    pub(crate) auto_drain: AutoDrain,
    pub(crate) keep_empty: usize,
    pub(crate) huge_pages: bool,
    pub(crate) measure_times: bool,
    pub(crate) mark_order: MarkOrder,
    #[cfg(feature = "parallel")]
    pub(crate) mark_threads: usize,
    pub(crate) zeal: bool,
}

/// In which order marking visits objects. It changes how long a collection takes, and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MarkOrder {
    /// Whichever of the others suits the heap, found by sampling while marking.
    Sampled,
    /// The object found last first: the fastest where objects lie in memory in the order of their edges.
    Plain,
    /// By way of a ring of prefetched objects: the fastest where they are scattered over more than the caches hold.
    Ring,
}

/// When callbacks run without [`Heap::drain`](crate::Heap::drain) being called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AutoDrain {
    /// When a scope ends, and before [`Heap::alloc`](crate::Heap::alloc) allocates: each time 16 of them, or an eighth
    /// of those that wait if that is more, so that a flood of callbacks drains fast without one long stop.
    AtSafepoints,
    /// Never.
    Off,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            heap_limit: None,
            min_heap: 32 << 20,
            growth_factor: 2.0,
            square_root: None,
            minor_step: Some(1 << 20),
            increment_step: None,
            automatic: true,
            auto_drain: AutoDrain::AtSafepoints,
            keep_empty: 2 << 20,
            huge_pages: true,
            measure_times: false,
            mark_order: MarkOrder::Sampled,
            #[cfg(feature = "parallel")]
            mark_threads: 1,
            zeal: false,
        }
    }
}

impl Config {
    /// As little time in collections as possible: they are rare, and each is done at once.
    pub fn throughput() -> Self {
        Self { min_heap: 64 << 20, growth_factor: 3.0, ..Self::default() }
    }

    /// The default.
    pub fn balanced() -> Self {
        Self::default()
    }

    /// Short stops: major collections in increments, small minor collections, and memory taken from the system in small
    /// pages, since clearing a huge one takes as long as a large increment.
    ///
    /// ```
    /// use lacuna::{Config, Heap};
    ///
    /// let mut heap = Heap::with_config(Config::low_latency());
    /// # heap.alloc(1);
    /// ```
    pub fn low_latency() -> Self {
        Self { increment_step: Some(16 << 10), minor_step: Some(256 << 10), huge_pages: false, ..Self::default() }
    }

    /// Collects when it is told to, or when there is no memory left.
    pub fn never() -> Self {
        Self { automatic: false, ..Self::default() }
    }

    /// The bytes that the heap may take for objects, with [external bytes](crate::Heap::add_external) and those of
    /// [ephemeron tables](crate::Ephemerons) counted in; `None`, the default, for as many as the system gives.
    ///
    /// Objects are accounted for by the block (16 KiB), so a limit below some hundred KiB leaves few types room. The heap
    /// is collected in time to leave scopes, which do not collect, a part of the room below the limit. When a scope ends in
    /// which there was no memory for an object, everything is collected.
    pub fn heap_limit(mut self, bytes: Option<usize>) -> Self {
        self.heap_limit = bytes;
        self
    }

    /// The size in bytes below which no automatic major collection runs. Default 32 MiB: about a
    /// large third-level cache, and enough that a program with little live data hardly collects.
    pub fn min_heap(mut self, bytes: usize) -> Self {
        self.min_heap = bytes;
        self
    }

    /// How much the live bytes may grow before the next automatic collection. Default 2: collect when they have
    /// doubled, so that at most half the heap is garbage and marking costs at most one object for each one allocated.
    ///
    /// # Panics
    ///
    /// If the factor is not above 1.
    pub fn growth_factor(mut self, factor: f64) -> Self {
        assert!(factor > 1.0, "a growth factor of {factor} would collect all the time; it must be above 1");
        (self.growth_factor, self.square_root) = (factor, None);
        self
    }

    /// Lets the heap grow with the square root of what is alive, and not in proportion to it: a heap with `bytes` alive may
    /// grow by as much as it has, one with four times that by half as much, one with a fourth by twice. Of several heaps
    /// that share a machine's memory, each then gets the part with which all of them together spend the least time
    /// collecting (Kirisame, Shenoy and Panchekha, "Optimal heap limits for reducing browser memory use", 2022; rates of
    /// allocation and collection are taken to be the same, since a heap reads no clock). Replaces
    /// [`growth_factor`](Self::growth_factor).
    ///
    /// # Panics
    ///
    /// If `bytes` is zero.
    pub fn square_root_growth(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "a heap that may not grow would collect all the time; give the size at which it may double");
        self.square_root = Some(bytes);
        self
    }

    /// The bytes of cells handed out after which a *minor* collection runs: one that frees what has died of the objects
    /// made since the last collection, and looks at no others but those that were written since. Default 1 MiB: about a
    /// second-level cache, so that the memory of new objects is used again while it is there. `None` for none, and
    /// `Some(usize::MAX)` for those that [`Heap::collect_minor`](crate::Heap::collect_minor) asks for.
    ///
    /// Where minor collections do not pay, because most new objects live on, the interval grows, and they are left out
    /// for some major collections.
    pub fn minor_step(mut self, bytes: Option<usize>) -> Self {
        self.minor_step = bytes;
        self
    }

    /// The bytes of cells handed out between two *increments* of a major collection, which is then not done at once, but a
    /// piece at a time whenever a scope ends. It begins before the size is reached at which it would have been done at
    /// once: as late as increments can still be short, which is when a work unit of marking has to be done for each eight
    /// bytes allocated. Each increment does as much as is needed to be ready in time, however fast the program allocates.
    /// Default `None`: collections are done at once.
    ///
    /// Accounting is by the block, so less than 16 KiB makes no difference.
    pub fn increment_step(mut self, bytes: Option<usize>) -> Self {
        self.increment_step = bytes;
        self
    }

    /// Whether the heap is collected automatically. Default true. Without, only what the program calls
    /// ([`Heap::collect`](crate::Heap::collect) and the like) and the heap limit start a collection.
    pub fn collect_automatically(mut self, automatic: bool) -> Self {
        self.automatic = automatic;
        self
    }

    /// When callbacks run by themselves. Default [`AutoDrain::AtSafepoints`].
    pub fn auto_drain(mut self, auto_drain: AutoDrain) -> Self {
        self.auto_drain = auto_drain;
        self
    }

    /// Bytes of empty chunks that an explicit collection does not give back to the system. Default 2 MiB, one chunk. An
    /// automatic collection keeps as many as the heap will need before the next one.
    pub fn keep_empty(mut self, bytes: usize) -> Self {
        self.keep_empty = bytes;
        self
    }

    /// Whether memory is asked for in huge pages, from the third chunk on and where the system has them. Default true: it
    /// takes a third off marking a large scattered heap. Without, the first use of new memory is spread over more and
    /// shorter stops, since the system clears 4 KiB at a time and not 2 MiB. Tables beside the objects (of weak slots, of
    /// `HugePages`) ask for them in any case, when they are that large.
    pub fn huge_pages(mut self, huge_pages: bool) -> Self {
        self.huge_pages = huge_pages;
        self
    }

    /// Whether collections read the clock, for [`CycleStats`](crate::CycleStats). Default false. Needs the feature
    /// `std`.
    pub fn measure_times(mut self, measure: bool) -> Self {
        self.measure_times = measure;
        self
    }

    /// In which order marking visits objects. Default [`MarkOrder::Sampled`]; the others are there to measure it against.
    pub fn mark_order(mut self, order: MarkOrder) -> Self {
        self.mark_order = order;
        self
    }

    /// How many threads mark, that of the heap included. Default 1. Needs the feature `parallel`.
    ///
    /// The others are started when a collection has much to mark in one stop, and end before it goes on; the
    /// program sees nothing of them, save in a hand-written [`Trace`](crate::Trace), in the order in which the
    /// values of dead [ephemerons](crate::Ephemerons) are dropped, which may differ from run to run, and in the
    /// statistics of what marking did. If one cannot be started, the rest do its work; but where memory runs out in
    /// the very moment that a thread is started, the standard library ends the process.
    ///
    /// ```
    /// # #[cfg(feature = "parallel")] {
    /// use lacuna::{Config, Heap};
    ///
    /// let mut heap = Heap::with_config(Config::default().mark_threads(2));
    /// let list: Vec<_> = (0..100).map(|i| heap.alloc(i)).collect();
    /// heap.collect();
    /// assert!(list.iter().enumerate().all(|(i, root)| *heap.get(root) == i));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If there are none.
    #[cfg(feature = "parallel")]
    pub fn mark_threads(mut self, threads: usize) -> Self {
        assert!(threads > 0, "no thread would mark; there must be at least 1");
        self.mark_threads = threads;
        self
    }

    /// Whether the heap looks for mistakes in itself and in hand-written `Trace` implementations, at a great cost:
    /// it collects at every chance, fills freed cells with a pattern, and verifies itself after each step. Where a
    /// [minor](Self::minor_step) collection is due it runs one, otherwise it collects everything. Default false.
    pub fn zeal(mut self, zeal: bool) -> Self {
        self.zeal = zeal;
        self
    }
}
