//! Files that are wrong, truncated or hostile: always an error that names the place, never a panic.

mod dump;

use dump::{META, gzip, small};
use lacuna_sim::input::{DEFAULT_LIMIT, InputError, read_from};
use lacuna_sim::progress::Progress;
use lacuna_sim::replay::Replay;
use lacuna_sim::snapshot::{MAX_NESTING, Snapshot};

fn try_read(text: &[u8]) -> Result<Snapshot, InputError> {
    read_from(text, DEFAULT_LIMIT)
}

/// The message for `text`, which must be refused.
fn refused(text: impl AsRef<[u8]>) -> String {
    match try_read(text.as_ref()) {
        Ok(_) => panic!("expected an error for {}", text.as_ref().escape_ascii()),
        Err(error) => error.to_string(),
    }
}

/// What is read must also be loaded and collected without a panic, and the heap must agree with the search.
fn survive(text: &[u8]) {
    if let Ok(snapshot) = try_read(text) {
        let mut replay = Replay::new(&snapshot, &Progress::hidden());
        replay.collect().expect("the heap agrees with the search");
        replay.cut("keep").expect("the heap agrees with the search");
        replay.release().expect("the heap agrees with the search");
    }
}

#[test]
fn truncated_anywhere() {
    let text = small();
    for length in 0..text.len() {
        let message = refused(&text.as_bytes()[..length]);
        assert!(message.contains("byte "), "{length}: {message}");
        assert!(message.contains("expected "), "{length}: {message}");
    }
}

#[test]
fn truncated_anywhere_in_gzip() {
    let bytes = gzip(small().as_bytes());
    for length in 0..bytes.len() {
        let message = refused(&bytes[..length]);
        assert!(message.contains("byte "), "{length}: {message}");
    }
}

#[test]
fn any_byte_replaced() {
    let text = small().into_bytes();
    for place in 0..text.len() {
        for byte in [0, b' ', b'"', b'\\', b'-', b'0', b'9', b',', b'[', b']', b'{', b'}', 0x80, 0xff] {
            let mut text = text.clone();
            text[place] = byte;
            survive(&text);
        }
    }
}

#[test]
fn any_bit_flipped_in_gzip() {
    let bytes = gzip(small().as_bytes());
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[place] ^= 1 << bit;
            survive(&bytes);
        }
    }
}

#[test]
fn any_number_replaced() {
    let text = small();
    let numbers: Vec<(usize, usize)> = {
        let mut numbers = Vec::new();
        let mut start = None;
        for (place, byte) in text.bytes().enumerate() {
            match (byte.is_ascii_digit(), start) {
                (true, None) => start = Some(place),
                (false, Some(from)) => {
                    numbers.push((from, place));
                    start = None;
                }
                _ => {}
            }
        }
        numbers
    };
    let replacements = [
        "",
        "0",
        "1",
        "3",
        "7",
        "14",
        "28",
        "35",
        "255",
        "256",
        "65536",
        "4294967294",
        "4294967295",
        "4294967296",
        "30064771065",
        "9223372036854775807",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999",
        "-1",
        "1.0",
        "1e9",
        "null",
        "[]",
        "\"1\"",
    ];
    for (start, end) in numbers {
        for replacement in replacements {
            survive(format!("{}{replacement}{}", &text[..start], &text[end..]).as_bytes());
        }
    }
}

#[test]
fn pieces_removed_repeated_and_exchanged() {
    let text = small().into_bytes();
    let mut state = 88_172_645_463_325_252_u64;
    let mut below = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % limit as u64) as usize
    };
    for _ in 0..20_000 {
        let mut text = text.clone();
        for _ in 0..1 + below(4) {
            let length = 1 + below(40);
            let from = below(text.len().saturating_sub(length).max(1));
            let to = (from + length).min(text.len());
            let piece = text[from..to].to_vec();
            match below(3) {
                0 => {
                    text.drain(from..to);
                }
                1 => {
                    let place = below(text.len() + 1);
                    text.splice(place..place, piece);
                }
                _ => {
                    let place = below(text.len() - piece.len() + 1);
                    text[place..place + piece.len()].copy_from_slice(&piece);
                }
            }
            if text.is_empty() {
                break;
            }
        }
        survive(&text);
    }
}

#[test]
fn messages_name_the_place_and_what_was_expected() {
    let text = small();
    let cases: &[(&str, &str, &str)] = &[
        // A count that isn't true.
        ("\"node_count\":5", "\"node_count\":6", "expected `nodes` to hold 6 records, as `node_count` says, found 5"),
        (
            "\"edge_count\":5",
            "\"edge_count\":18446744073709551615",
            "expected `edges` to hold 18446744073709551615 records, as `edge_count` says, found 5",
        ),
        // Edges that belong to nobody.
        ("2,1,9,8,0,0,0", "2,1,9,8,1,0,0", "expected 6 edges, the sum of the nodes' `edge_count`, found 5"),
        // A place between two nodes, and one behind them all.
        ("2,4,7,", "2,4,8,", "edge 0: expected `to_node` to be a multiple of 7, the number of node fields, found 8"),
        ("3,6,7,", "3,6,35,", "edge 3: expected `to_node` to be the place of one of the 5 nodes, found 35"),
        // Names that aren't in the table.
        ("2,2,5,24", "2,7,5,24", "node 2: expected a name among the 7 entries of `strings`, found number 7"),
        ("0,5,14", "0,9,14", "edge 1: expected a name among the 7 entries of `strings`, found number 9"),
        // Types that aren't in the list.
        ("1,3,7,100", "4,3,7,100", "node 3: expected the number of a node type, below 4, found 4"),
        ("0,5,14", "4,5,14", "edge 1: expected the number of an edge type, below 4, found 4"),
        // Numbers that aren't.
        ("2,1,3,40", "2,1,3,-40", "node 1: expected the size of a node in bytes, found `-`"),
        (
            "2,1,3,40",
            "2,1,3,4.0",
            "node 1: expected the size of a node in bytes, found a number with a fraction or an exponent",
        ),
        (
            "2,1,3,40",
            "2,1,3,18446744073709551616",
            "node 1: expected the size of a node in bytes, found an integer of more than 64 bits",
        ),
        (
            "2,1,3,40,2",
            "2,1,3,18446744073709551615,2",
            "node 2: expected sizes of nodes that add up to less than 2^64, found more",
        ),
        ("2,1,3,40,2", "2,1,3,40,4294967296", "node 1: expected edge counts that add up to less than 2^32, found more"),
        // A record that ends early.
        ("2,1,9,8,0,0,0]", "2,1,9,8,0,0]", "node 4: expected `,` and field 6 of 7, found `]`"),
        ("2,1,9,8,0,0,0]", "2,1,9,8,0,0,0,]", "node 5: expected the number of a node type, found `]`"),
        // The layout.
        ("\"meta\"", "\"mete\"", "expected `snapshot` to hold `meta`, the layout of the dump, found none"),
        ("\"node_fields\"", "\"fields\"", "expected `meta` to hold the list `node_fields`, found none"),
        ("\"self_size\"", "\"size\"", "expected `node_fields` to hold `self_size` once, found it 0 times"),
        ("\"id\"", "\"type\"", "expected `node_fields` to hold `type` once, found it 2 times"),
        ("\"to_node\"", "\"to\"", "expected `edge_fields` to hold `to_node` once, found it 0 times"),
        (
            r#"[["context","element","property","weak"],"#,
            r#"["#,
            "expected entry 0 of `edge_types`, for the field `type`, to be a list of names, found something else",
        ),
        // Keys.
        ("\"samples\"", "\"nodes\"", "expected the key `nodes` once, found it a second time"),
        ("\"samples\":[]", "\"snapshot\":{}", "expected the key `snapshot` once, found it a second time"),
        ("\"trace_function_count\"", "\"node_count\"", "expected the key `node_count` once, found it a second time"),
        ("\"strings\"", "\"texts\"", "expected the key `strings` in the dump, found none"),
        (
            "{\"snapshot\"",
            "{\"snap\"",
            "expected `snapshot`, which says how to read the rest, before `nodes`, found none",
        ),
        // Strings.
        (
            "\"kept\"",
            "\"k\u{1}pt\"",
            "string 1: expected a control character to be escaped in a string, found the byte 0x01",
        ),
        ("\\u00e4", "\\u00g4", "string 3: expected four hexadecimal digits after `\\u`, found `g`"),
        ("\\u00e4", "\\x00e4", "string 3: expected one of `\"\\/bfnrtu` after `\\`, found `x`"),
        ("\"kept\"", "17", "string 1: expected a string in quotes, found a number"),
        // The grammar of what is passed over.
        ("[1,2.5,", "[1 2.5,", "expected `,` or `]`, found a number"),
        (",true,", ",truth,", "expected the rest of `true`, found `t`"),
    ];
    for (from, to, expected) in cases {
        assert_eq!(text.matches(from).count(), 1, "{from} is not in the dump once");
        let message = refused(text.replace(from, to));
        assert!(message.contains(expected), "{from} -> {to}\n  {message}\n  {expected}");
    }
}

#[test]
fn offsets_are_those_of_the_text() {
    let text = small();
    let place = text.find("2,1,3,40").expect("it is there");
    let wrong = text.replace("2,1,3,40", "2,1,x,40");
    let expected = format!("byte {}, node 1: ", place + 4);
    assert!(refused(&wrong).starts_with(&expected), "{}", refused(&wrong));
    // In gzip, the offset is that of the text inside.
    assert!(refused(gzip(wrong.as_bytes())).starts_with(&expected));
    // Also far behind the first buffer.
    let padded = format!("{}{}", " ".repeat(1_000_000), wrong);
    assert!(refused(&padded).starts_with(&format!("byte {}, node 1: ", place + 4 + 1_000_000)));
    // An error at the end names the end.
    assert!(refused(format!("{text}}}")).starts_with(&format!("byte {}: ", text.len())));
    assert!(refused(&text[..text.len() - 1]).starts_with(&format!("byte {}: ", text.len() - 1)));
}

#[test]
fn other_formats_are_recognised_or_refused() {
    assert!(refused("").contains("found nothing"));
    assert!(refused(" \n ").contains("found the end of the file"));
    assert!(refused(gzip(b"")).contains("found nothing"));
    assert!(refused("JAVA PROFILE 1.0.2\0").contains("HPROF"));
    assert!(refused(gzip(b"JAVA PROFILE 1.0.2\0")).contains("HPROF"));
    assert!(refused("[]").contains("expected a V8 heap snapshot"));
    assert!(refused("\x7fELF\x02\x01").contains("\\x7fELF"));
    assert!(refused(gzip(&gzip(small().as_bytes()))).contains("\\x1f\\x8b"));
    assert!(refused("{}").contains("expected the key `snapshot` in the dump, found none"));
    assert!(refused("{").contains("byte 1: expected a key in quotes, found the end of the file"));
    assert!(refused(r#"{"snapshot":[]}"#).contains("expected `snapshot` to be an object, found `[`"));
    assert!(refused(b"{\"\xff\":1}").contains("expected text in UTF-8"));
}

#[test]
fn an_empty_dump_has_no_root() {
    let text = format!(r#"{{"snapshot":{{{META}}},"nodes":[],"edges":[],"strings":[]}}"#);
    assert!(refused(&text).contains("expected a root: `root_index` at one of the 0 nodes"));
    let elsewhere = small().replace("\"node_count\"", "\"root_index\":35,\"node_count\"");
    assert!(refused(&elsewhere).contains("expected a root: `root_index` at one of the 5 nodes, found place 35"));
    let between = small().replace("\"node_count\"", "\"root_index\":6,\"node_count\"");
    assert!(refused(&between).contains("expected a root"));
}

#[test]
fn edges_before_nodes_are_checked_too() {
    let text = format!(r#"{{"snapshot":{{{META}}},"edges":[2,0,7],"nodes":[0,0,1,0,1,0,0],"strings":["x"]}}"#);
    assert!(
        refused(&text).contains("edge 0: expected `to_node` to be the place of one of the 1 nodes"),
        "{}",
        refused(&text)
    );
}

#[test]
fn absurd_counts_reserve_no_memory() {
    let text = small()
        .replace("\"node_count\":5", "\"node_count\":18446744073709551615")
        .replace("\"edge_count\":5", "\"edge_count\":18446744073709551615");
    assert!(refused(&text).contains("as `node_count` says"));
}

#[test]
fn nesting_is_limited_but_not_by_the_stack() {
    let nested = |levels: usize| {
        small().replace("\"samples\":[]", &format!("\"samples\":{}{}", "[".repeat(levels), "]".repeat(levels)))
    };
    assert!(try_read(nested(MAX_NESTING).as_bytes()).is_ok());
    let message = refused(nested(MAX_NESTING + 1));
    assert!(message.contains("levels of nesting"), "{message}");
    // Unclosed, objects, in `meta`, and where a list of names should be.
    for opening in ["[", "{\"a\":"] {
        refused(format!("{{\"x\":{}", opening.repeat(3_000_000)));
        refused(format!("{{\"snapshot\":{{\"meta\":{{\"x\":{}", opening.repeat(3_000_000)));
        refused(format!("{{\"snapshot\":{{\"meta\":{{\"node_types\":{}", opening.repeat(3_000_000)));
    }
}

#[test]
fn lists_and_names_in_meta_are_limited() {
    let many = vec!["\"x\""; 100_000].join(",");
    let fields = small().replace("\"node_fields\":[", &format!("\"node_fields\":[{many},"));
    assert!(refused(&fields).contains("a list of at most 64 entries"));
    let types = small().replace("[\"hidden\"", &format!("[{many},\"hidden\""));
    assert!(refused(&types).contains("a list of at most 256 entries"));
    let long = small().replace("\"hidden\"", &format!("\"{}\"", "x".repeat(100_000)));
    assert!(refused(&long).contains("a string of at most 1024 bytes"));
}

#[test]
fn a_bomb_stops_at_the_limit() {
    // A megabyte of gzip that expands to a gigabyte of white space, or of one endless string.
    for filler in [b' ', b'x'] {
        let mut text = b"{\"x\":\"".to_vec();
        if filler == b' ' {
            text.pop();
        }
        text.resize(64 << 20, filler);
        let bomb = gzip(&text);
        assert!(bomb.len() < 100_000);
        let Err(error) = read_from(bomb.as_slice(), 1 << 20) else {
            panic!("expected the limit to be reached");
        };
        let message = error.to_string();
        assert!(message.contains("longer than 1048576 bytes, the limit"), "{message}");
        assert!(message.contains("byte "), "{message}");
    }
}

#[test]
fn the_limit_is_exact() {
    let text = small();
    let length = text.len() as u64;
    assert!(read_from(text.as_bytes(), length).is_ok());
    assert!(read_from(gzip(text.as_bytes()).as_slice(), length).is_ok());
    assert!(read_from(text.as_bytes(), length - 1).is_err());
    assert!(read_from(text.as_bytes(), 0).is_err());
}
