//! Dumps of every shape that is right: other layouts, other orders, other types, other wrappings.

mod dump;

use dump::{META, gzip, small};
use lacuna_sim::input::{DEFAULT_LIMIT, read_from};
use lacuna_sim::progress::Progress;
use lacuna_sim::replay::Replay;
use lacuna_sim::snapshot::{EdgeKind, NodeKind, Snapshot};

fn read(text: &[u8]) -> Snapshot {
    read_from(text, DEFAULT_LIMIT).unwrap_or_else(|error| panic!("expected a sound dump: {error}"))
}

/// What can be seen of a dump, in one string.
fn seen(snapshot: &Snapshot) -> String {
    let mut seen = format!("root {}\n", snapshot.root());
    for node in 0..snapshot.node_count() as u32 {
        seen += &format!(
            "{:?} {} {}:",
            snapshot.node_kind(node),
            snapshot.text(snapshot.node_name(node)),
            snapshot.node_size(node)
        );
        for edge in snapshot.edges_of(node) {
            let edge = snapshot.edge(edge);
            seen += &format!(" {:?} {} {}", edge.kind, edge.name, edge.target);
        }
        seen.push('\n');
    }
    seen
}

#[test]
fn everything_is_read() {
    let snapshot = read(small().as_bytes());
    assert_eq!(
        seen(&snapshot),
        "root 0\n\
         Synthetic root 0: Property 4 1 Context 5 2\n\
         Object kept 40: Weak 6 3 Weak 6 1\n\
         Object dropped 24: Element 0 3\n\
         Text text ä😀 100:\n\
         Object kept 8:\n"
    );
    assert_eq!(snapshot.total_size(), 172);
    assert_eq!(snapshot.find_text("drop"), [5]);
    assert!(snapshot.find_text("nothing").is_empty());
}

#[test]
fn the_heap_does_as_the_dump_says() {
    let snapshot = read(small().as_bytes());
    let mut replay = Replay::new(&snapshot, &Progress::hidden());
    let first = replay.collect().expect("the heap agrees with the search");
    // The node that nothing holds was in the dump all the same.
    assert_eq!((first.survivors().objects, first.dead().objects), (4, 1));
    assert_eq!(first.dead().self_size, 8);
    assert_eq!((first.weak_kept, first.weak_cleared), (2, 0));
    let second = replay.cut("drop").expect("the heap agrees with the search");
    assert_eq!((second.cut_edges, second.cut_at_survivors), (1, 1));
    assert_eq!((second.survivors().objects, second.dead().objects), (2, 2));
    assert_eq!(second.dead().self_size, 124);
    assert_eq!((second.weak_kept, second.weak_cleared), (1, 1));
    let third = replay.cut("weak").expect("the heap agrees with the search");
    assert_eq!(third.cut_edges, 0, "weak edges are not cut");
    assert_eq!((third.weak_kept, third.weak_cleared), (1, 0));
}

#[test]
fn wrapping_makes_no_difference() {
    let text = small();
    let expected = seen(&read(text.as_bytes()));
    assert_eq!(seen(&read(&gzip(text.as_bytes()))), expected);
    // Several gzip members, one after the other, are one text.
    let (start, end) = text.as_bytes().split_at(400);
    assert_eq!(seen(&read(&[gzip(start), gzip(end)].concat())), expected);
    assert_eq!(seen(&read(&["\u{feff}".as_bytes(), text.as_bytes()].concat())), expected);
    let spaced = text.replace(',', " ,\r\n\t").replace(':', " : ");
    assert_eq!(seen(&read(format!("\n{spaced}\n\n").as_bytes())), expected);
}

#[test]
fn the_layout_is_taken_from_the_file() {
    let expected = seen(&read(small().as_bytes()));
    // No trace_node_id, fields in another order, a field nobody knows.
    let text = concat!(
        r#"{"snapshot":{"edge_count":5,"extra_native_bytes":9,"meta":{"#,
        r#""edge_types":["node","number",["property","weak","context","element"],"string_or_number"],"#,
        r#""edge_fields":["to_node","colour","type","name_or_index"],"#,
        r#""node_types":["number","number",["synthetic","object","string"],"string"],"#,
        r#""node_fields":["edge_count","self_size","type","name"],"sample_fields":[]}},"#,
        r#""strings":["root","kept","dropped","text ä😀","keep","drop","weak"],"#,
        r#""edges":[4,0,0,4, 8,-1,2,5, 12,2.5,1,6, 4,"x",1,6, 12,null,3,0],"#,
        r#""nodes":[2,0,0,0, 2,40,1,1, 1,24,1,2, 0,100,2,3, 0,8,1,1]}"#
    );
    assert_eq!(seen(&read(text.as_bytes())), expected);
}

#[test]
fn the_root_may_be_elsewhere() {
    let text = small().replace("\"node_count\"", "\"root_index\":14,\"node_count\"");
    let snapshot = read(text.as_bytes());
    assert_eq!(snapshot.root(), 2);
    let mut replay = Replay::new(&snapshot, &Progress::hidden());
    let first = replay.collect().expect("the heap agrees with the search");
    assert_eq!(first.survivors().objects, 2);
}

#[test]
fn types_of_the_future_are_loaded() {
    let text = small().replace("\"object\"", "\"quantum object\"").replace("\"element\"", "\"entangled\"");
    let snapshot = read(text.as_bytes());
    assert_eq!(snapshot.node_kind(1), NodeKind::Other);
    assert_eq!(snapshot.node_types()[2].name, "quantum object");
    assert_eq!(snapshot.edge(4).kind, EdgeKind::Other);
    let mut replay = Replay::new(&snapshot, &Progress::hidden());
    let first = replay.collect().expect("the heap agrees with the search");
    assert_eq!(first.survivors().objects, 4);
}

#[test]
fn every_type_may_have_more_edges_than_usual() {
    let kinds = [
        "hidden",
        "array",
        "string",
        "object",
        "code",
        "closure",
        "regexp",
        "number",
        "native",
        "synthetic",
        "concatenated string",
        "sliced string",
        "symbol",
        "bigint",
        "object shape",
        "wasm object",
    ];
    for count in [0, 1, 2, 3, 4, 5, 40] {
        // One node of each kind; each has `count` edges, strong and weak in turn, around the ring.
        let names: Vec<String> = kinds.iter().map(|kind| format!("{kind:?}")).collect();
        let mut nodes = Vec::new();
        let mut edges = Vec::new();
        for kind in 0..kinds.len() {
            nodes.push(format!("{kind},0,{},{count}", 8 * kind));
            for place in 0..count {
                let target = (kind + 1 + place / 2) % kinds.len() * 4;
                edges.push(format!("{},0,{target}", place % 2));
            }
        }
        let text = format!(
            concat!(
                r#"{{"snapshot":{{"meta":{{"node_fields":["type","name","self_size","edge_count"],"node_types":[[{}]],"#,
                r#""edge_fields":["type","name_or_index","to_node"],"edge_types":[["property","weak"]]}}}},"#,
                r#""nodes":[{}],"edges":[{}],"strings":["cut"]}}"#
            ),
            names.join(","),
            nodes.join(","),
            edges.join(",")
        );
        let snapshot = read(text.as_bytes());
        let mut replay = Replay::new(&snapshot, &Progress::hidden());
        let alive = if count == 0 { 1 } else { kinds.len() as u64 };
        let first = replay.collect().expect("the heap agrees with the search");
        assert_eq!(first.survivors().objects, alive, "{count} edges");
        let second = replay.cut("cut").expect("the heap agrees with the search");
        assert_eq!(second.survivors().objects, 1, "{count} edges");
        replay.release().expect("the heap agrees with the search");
    }
}

#[test]
fn a_dump_may_be_as_deep_as_it_likes() {
    // A list of a million nodes: reading, searching and collecting must not recurse.
    let count = 1_000_000;
    let mut nodes = String::new();
    let mut edges = String::new();
    for node in 0..count {
        let last = node + 1 == count;
        nodes += if last { "2,0,1,8,0,0,0" } else { "2,0,1,8,1,0,0," };
        if !last {
            edges += &format!("{}2,1,{}", if node == 0 { "" } else { "," }, (node + 1) * 7);
        }
    }
    let text = format!(r#"{{"snapshot":{{{META}}},"nodes":[{nodes}],"edges":[{edges}],"strings":["node","next"]}}"#);
    let snapshot = read(text.as_bytes());
    let mut replay = Replay::new(&snapshot, &Progress::hidden());
    let first = replay.collect().expect("the heap agrees with the search");
    assert_eq!(first.survivors().objects, count as u64);
    let second = replay.cut("next").expect("the heap agrees with the search");
    assert_eq!((second.survivors().objects, second.dead().objects), (1, count as u64 - 1));
}

#[test]
fn strange_strings_are_read() {
    let text = small().replace("\"keep\"", r#""\ud800 \udc00\ud83d\ud83d\ude00 \"\\\/\b\f\n\r\t\u0000""#);
    let snapshot = read(text.as_bytes());
    assert_eq!(snapshot.text(4), "\u{fffd} \u{fffd}\u{fffd}\u{1f600} \"\\/\u{8}\u{c}\n\r\t\0");
}
