//! What can be set, in one place.

/// How a heap behaves. Every setting has a default; [`Heap::new`](crate::Heap::new) uses them all.
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
    /// The bytes that the heap may take for objects, with [external bytes](crate::Heap::add_external) counted in;
    /// `None`, the default, for as many as the system gives.
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
        self.growth_factor = factor;
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
    /// piece at a time whenever a scope ends. It begins when half of the room up to the size is used up at which it
    /// would have been done at once, and each increment does as much as is needed to be ready in time. `None` for
    /// collections that are done at once.
    pub fn increment_step(mut self, bytes: Option<usize>) -> Self {
        self.increment_step = bytes;
        self
    }

    /// Whether the heap is collected automatically. Default true. Without, only [`Heap::collect`](crate::Heap::collect)
    /// and the heap limit start a collection.
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
    /// shorter stops, since the system clears 4 KiB at a time and not 2 MiB.
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
    /// The others are started when a collection has much to mark, and end before it goes on; the program sees nothing of
    /// them, save in a hand-written [`Trace`](crate::Trace), in the order in which the values of dead
    /// [ephemerons](crate::Ephemerons) are dropped, which may differ from run to run, and in the statistics of what
    /// marking did. If one cannot be started, the rest do its work; but where memory runs out in the very moment that a thread
    /// is started, the standard library ends the process.
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
