//! The figures of the bundled dump, which an independent reader computed: by the naive search alone, and by a heap.

use lacuna_sim::cut::Cut;
use lacuna_sim::input::{DEFAULT_LIMIT, Source, read};
use lacuna_sim::progress::Progress;
use lacuna_sim::reference::{Figures, Reference};
use lacuna_sim::replay::Replay;
use lacuna_sim::snapshot::Snapshot;

/// Name, edges left out, survivors, dead, their bytes, weak edges of survivors to the dead.
const CUTS: [(&str, u64, u64, u64, u64, u64); 3] = [
    ("exports", 674, 202_679, 2204, 254_472, 156),
    ("map", 178_870, 194_368, 10515, 988_424, 2460),
    ("cache", 28, 204_339, 544, 71264, 31),
];

fn bundled() -> Snapshot {
    read(&Source::Bundled, DEFAULT_LIMIT, &Progress::hidden()).expect("the bundled dump is sound")
}

#[test]
fn the_dump_is_what_it_should_be() {
    let snapshot = bundled();
    assert_eq!(snapshot.node_count(), 204_883);
    assert_eq!(snapshot.edge_count(), 823_380);
    assert_eq!(snapshot.total_size(), 17_849_978);
    assert_eq!(snapshot.strong_edge_count(), 823_380 - 29944);
    let mut targets: Vec<u32> = (0..snapshot.edge_count())
        .map(|edge| snapshot.edge(edge))
        .filter(|edge| !edge.kind.is_strong())
        .map(|edge| edge.target)
        .collect();
    targets.sort_unstable();
    targets.dedup();
    assert_eq!(targets.len(), 14266);
}

#[test]
fn the_search_finds_the_figures() {
    let snapshot = bundled();
    let figures = |cut: &Cut| Reference::search(&snapshot, cut).figures(&snapshot, cut);
    assert_eq!(
        figures(&Cut::nothing()),
        Figures { cut_edges: 0, cut_at_survivors: 0, survivors: 204_883, dead: 0, dead_size: 0, weak_to_dead: 0 }
    );
    for (name, cut, survivors, dead, dead_size, weak) in CUTS {
        let found = figures(&Cut::named(&snapshot, name));
        assert_eq!(found.cut_at_survivors as u64, cut, "{name}");
        assert_eq!(found.survivors as u64, survivors, "{name}");
        assert_eq!(found.dead as u64, dead, "{name}");
        assert_eq!(found.dead_size, dead_size, "{name}");
        assert_eq!(found.weak_to_dead as u64, weak, "{name}");
    }
}

#[test]
fn a_heap_finds_the_figures() {
    let snapshot = bundled();
    for (name, cut, survivors, dead, dead_size, weak) in CUTS {
        let mut replay = Replay::new(&snapshot, &Progress::hidden());
        let whole = replay.collect().expect("the heap agrees with the search");
        assert_eq!(whole.survivors().objects, 204_883);
        assert_eq!(whole.survivors().self_size, 17_849_978);
        assert_eq!(whole.dead().objects, 0);
        assert_eq!((whole.weak_kept, whole.weak_cleared), (29944, 0));

        let rest = replay.cut(name).expect("the heap agrees with the search");
        assert_eq!(rest.cut_at_survivors, cut, "{name}");
        assert_eq!(rest.survivors().objects, survivors, "{name}");
        assert_eq!(rest.dead().objects, dead, "{name}");
        assert_eq!(rest.dead().self_size, dead_size, "{name}");
        assert_eq!(rest.weak_cleared, weak, "{name}");
        replay.heap().verify().expect("the heap is consistent");

        let nothing = replay.release().expect("nothing is left");
        assert_eq!(nothing.survivors().objects, 0);
        assert_eq!(nothing.dead().objects, survivors);
        replay.heap().verify().expect("the heap is consistent");
    }
}

#[test]
fn cuts_continue_where_the_one_before_ended() {
    let snapshot = bundled();
    let mut replay = Replay::new(&snapshot, &Progress::hidden());
    replay.collect().expect("the heap agrees with the search");
    let mut cut = Cut::nothing();
    for (name, ..) in CUTS {
        cut.add(&snapshot, name);
        let outcome = replay.cut(name).expect("the heap agrees with the search");
        let expected = Reference::search(&snapshot, &cut).figures(&snapshot, &cut);
        assert_eq!(outcome.survivors().objects, expected.survivors as u64, "{name}");
    }
    // A second time there is nothing to cut, and nothing dies.
    let again = replay.cut("map").expect("the heap agrees with the search");
    assert_eq!((again.cut_edges, again.dead().objects, again.weak_cleared), (0, 0, 0));
}
