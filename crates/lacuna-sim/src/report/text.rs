//! The report for people: plain text in columns.
//!
//! Owns the layout. Numbers that can be checked against another tool are printed in full, digits only; sizes are
//! repeated in larger units where that helps.

use std::io::{self, Write};

use super::{Collection, Report, Type, printable};

/// The widest bar of the histogram, in characters.
const BAR: usize = 24;

/// Writes `report` as text.
///
/// # Errors
///
/// When `out` can't be written.
pub fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let dump = &report.dump;
    let source = printable(&dump.source);
    writeln!(out, "lacuna-sim {}: replay of {source}", report.version)?;
    writeln!(out)?;
    writeln!(
        out,
        "dump    {} nodes, {} edges ({} strong, {} weak), {} bytes ({})",
        dump.nodes,
        dump.edges,
        dump.strong_edges,
        dump.weak_edges,
        dump.self_size_bytes,
        binary(dump.self_size_bytes),
    )?;
    writeln!(out, "        read in {}", time(dump.read_seconds))?;
    built(report, out)?;
    writeln!(out)?;
    collections(report, out)?;
    writeln!(out)?;
    memory(report, out)?;
    writeln!(out)?;
    histogram(report.last(), out)?;
    writeln!(out)?;
    writeln!(
        out,
        "After each collection the survivors, their headers and all their edges were compared with those that a\n\
         breadth-first search over the dump finds: no difference."
    )
}

fn built(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let built = &report.built;
    writeln!(
        out,
        "heap    {} objects, {} bytes ({}) of headers and edges: {} per object",
        built.objects,
        built.payload_bytes,
        binary(built.payload_bytes),
        per(built.payload_bytes, built.objects as u64),
    )?;
    writeln!(out, "        built in {}", time(built.build_seconds))
}

/// What the objects cost beyond what is in them, all being alive, and what is left when none is.
fn memory(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let collection = report.first();
    let memory = &collection.memory;
    let payload = collection.survivors.payload_bytes;
    let mut table = Table::new(&["memory, nothing cut", "bytes", "per object", "share"]);
    let mut row = |what: &str, bytes: u64| {
        table.row(vec![
            what.to_owned(),
            bytes.to_string(),
            per(bytes, memory.live_objects),
            format!("{:.1} %", bytes as f64 * 100.0 / payload.max(1) as f64),
        ]);
    };
    row("headers and edges", payload);
    if collection.dead.objects == 0 {
        row("  and length words", payload + report.built.length_word_bytes);
    }
    row("  in cells", memory.cell_bytes);
    row("  in blocks", memory.block_bytes);
    row("  from the system", memory.reserved_bytes);
    row("of it, side tables", memory.table_bytes);
    row("weak slots, one per object", memory.weak_bytes);
    row("root table", memory.root_bytes);
    table.write(out)?;
    writeln!(
        out,
        "\n  When the root was let go, {} bytes ({}) from the system were left.",
        report.released.memory.reserved_bytes,
        binary(report.released.memory.reserved_bytes),
    )
}

fn collections(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::new(&[
        "collection",
        "edges cut",
        "alive",
        "died",
        "bytes died",
        "weak cleared",
        "mark",
        "weak",
        "sweep",
        "in all",
    ]);
    for collection in &report.collections {
        table.row(collection_row(collection, printable(&collection.title()).into_owned()));
    }
    table.row(collection_row(&report.released, "root let go".to_owned()));
    table.write(out)
}

fn collection_row(collection: &Collection, title: String) -> Vec<String> {
    vec![
        title,
        collection.edges_cut_at_survivors.to_string(),
        collection.survivors.objects.to_string(),
        collection.dead.objects.to_string(),
        collection.dead.self_size_bytes.to_string(),
        collection.weak_edges.cleared.to_string(),
        optional_time(collection.phases.mark_seconds),
        optional_time(collection.phases.weak_seconds),
        optional_time(collection.phases.sweep_seconds),
        time(collection.collect_seconds),
    ]
}

fn histogram(collection: &Collection, out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::new(&["type", "alive", "bytes", "here", "died", "bytes", "here"]);
    let mut types: Vec<&Type> = collection.types.iter().collect();
    types.sort_by_key(|kind| std::cmp::Reverse(kind.survivors.objects + kind.dead.objects));
    let most = types.iter().map(|kind| kind.survivors.objects + kind.dead.objects).max().unwrap_or(0);
    let cells = |name: String, kind: [&super::Objects; 2]| {
        let mut row = vec![name];
        for objects in kind {
            row.push(objects.objects.to_string());
            row.push(objects.self_size_bytes.to_string());
            row.push(objects.payload_bytes.to_string());
        }
        row
    };
    for kind in types {
        let mut row = cells(printable(&kind.name).into_owned(), [&kind.survivors, &kind.dead]);
        row.push(bar(kind.survivors.objects, kind.dead.objects, most));
        table.row(row);
    }
    table.row(cells("all".to_owned(), [&collection.survivors, &collection.dead]));
    writeln!(
        out,
        "By type after the last of these, {} (bytes: in the dumped program; here: headers and edges in this heap;\n\
         █ alive, ░ died):\n",
        printable(&collection.title())
    )?;
    table.write(out)
}

/// A bar of alive and dead objects; whatever exists can be seen.
fn bar(alive: u64, dead: u64, most: u64) -> String {
    let length = |count: u64| {
        let length = (count as f64 / most.max(1) as f64 * BAR as f64).round() as usize;
        length.max(usize::from(count > 0))
    };
    format!("{}{}", "█".repeat(length(alive)), "░".repeat(length(dead)))
}

/// Rows of cells; the first column is text, the others are numbers, and what goes beyond the headings is drawn as it is.
struct Table {
    rows: Vec<Vec<String>>,
    columns: usize,
}

impl Table {
    fn new(headings: &[&str]) -> Self {
        Table { columns: headings.len(), rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()] }
    }

    fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let widths: Vec<usize> = (0..self.columns)
            .map(|column| {
                let lengths = self.rows.iter().filter_map(|row| row.get(column));
                lengths.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::from("  ");
            for (column, cell) in row.iter().enumerate() {
                match widths.get(column) {
                    Some(width) if column == 0 => line.push_str(&format!("{cell:<width$}")),
                    Some(width) => line.push_str(&format!("  {cell:>width$}")),
                    None => line.push_str(&format!("  {cell}")),
                }
            }
            writeln!(out, "{}", line.trim_end())?;
            if number == 0 {
                let rule: usize = widths.iter().sum::<usize>() + 2 * (self.columns - 1);
                writeln!(out, "  {}", "─".repeat(rule))?;
            }
        }
        Ok(())
    }
}

/// A number of bytes in the largest unit that leaves a whole part.
fn binary(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "bytes";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") }
}

fn per(bytes: u64, objects: u64) -> String {
    format!("{:.1}", bytes as f64 / objects.max(1) as f64)
}

fn optional_time(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), time)
}

fn time(seconds: f64) -> String {
    if seconds >= 1.0 { format!("{seconds:.2} s") } else { format!("{:.2} ms", seconds * 1e3) }
}
