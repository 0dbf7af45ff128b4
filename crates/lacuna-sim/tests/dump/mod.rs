//! Small dumps for tests, as text.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// The layout of Node.js 20, with fewer types.
pub(crate) const META: &str = r#""meta":{"node_fields":["type","name","id","self_size","edge_count","trace_node_id","detachedness"],"node_types":[["hidden","string","object","synthetic"],"string","number","number","number","number","number"],"edge_fields":["type","name_or_index","to_node"],"edge_types":[["context","element","property","weak"],"string_or_number","node"]}"#;

/// Five nodes: the root, an object it holds under `keep`, one under `drop`, a string held by that one, and an object
/// that nothing holds. The kept object has weak edges to the string and to itself.
pub(crate) fn small() -> String {
    format!(
        concat!(
            r#"{{"snapshot":{{{meta},"node_count":5,"edge_count":5,"trace_function_count":0}},"#,
            r#""nodes":[3,0,1,0,2,0,0, 2,1,3,40,2,0,0, 2,2,5,24,1,0,0, 1,3,7,100,0,0,0, 2,1,9,8,0,0,0],"#,
            r#""edges":[2,4,7, 0,5,14, 3,6,21, 3,6,7, 1,0,21],"#,
            r#""trace_tree":[0,[1,[2,[]]],"x"],"samples":[],"locations":[1,2.5,-3e4,true,null],"#,
            r#""strings":["root","kept","dropped","text \u00e4\ud83d\ude00","keep","drop","weak"]}}"#
        ),
        meta = META
    )
}

/// `text` compressed.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}
