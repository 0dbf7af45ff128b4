//! The results as text: Markdown that is also readable as it stands.

use std::fmt::Write;

use super::results::{Comparison, End, Group};

/// One table for each figure, and a line about the machine.
pub fn render(comparison: &Comparison) -> String {
    let mut text = String::new();
    for group in &comparison.groups {
        text.push_str(&table(group, comparison.time_limit_seconds));
        text.push('\n');
    }
    let (runs, machine) = (comparison.runs, comparison.machine.sentence());
    _ = writeln!(text, "Medians of {runs} interleaved run(s); less is better. {machine}.");
    text
}

fn table(group: &Group, time_limit: u16) -> String {
    let baseline = group.baseline.as_deref().unwrap_or("nothing");
    let mut rows = vec![[
        "system".to_owned(),
        "median".to_owned(),
        format!("× {baseline}"),
        "min – max".to_owned(),
        "peak MiB".to_owned(),
    ]];
    rows.extend(group.rows.iter().map(|row| {
        let peak = row.peak_kib.map_or_else(String::new, |kib| format!("{:.0}", kib / 1024.0));
        let spread = format!("{} – {}", short(row.min), short(row.max));
        [row.system.clone(), short(row.median), short(row.ratio), spread, peak]
    }));
    let width: [usize; 5] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));

    let mut text = format!("**{}**, {}\n\n", group.workload, group.unit);
    for (number, row) in rows.iter().enumerate() {
        _ = write!(text, "| {:<1$} |", row[0], width[0]);
        for column in 1..row.len() {
            _ = write!(text, " {:>1$} |", row[column], width[column]);
        }
        text.push('\n');
        if number == 0 {
            _ = write!(text, "|{}|", "-".repeat(width[0] + 2));
            for width in &width[1..] {
                _ = write!(text, "{}:|", "-".repeat(width + 1));
            }
            text.push('\n');
        }
    }
    text.push('\n');
    if let (Some(peer), Some(baseline)) = (group.best_peer(), &group.baseline) {
        _ = writeln!(text, "Best other collector: {}, {} × {baseline}.", peer.system, short(peer.ratio));
    }
    for missing in &group.missing {
        _ = match &missing.end {
            End::TooSlow => writeln!(text, "{}: took longer than {time_limit} s.", missing.system),
            End::Unsupported { why } => writeln!(text, "{}: {why}.", missing.system),
            End::Failed { why } => writeln!(text, "{}: FAILED, {why}.", missing.system),
        };
    }
    text
}

/// Three significant digits.
pub fn short(value: f64) -> String {
    let digits = if value > 0.0 { 2 - value.log10().floor() as i32 } else { 2 };
    format!("{value:.*}", digits.clamp(0, 6) as usize)
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::sample;
    use super::*;

    #[test]
    fn three_digits() {
        let all: Vec<_> = [0.0, 0.001_234_5, 0.5, 1.0, 23.456, 99.96, 345.6, 12_345.6].into_iter().map(short).collect();
        assert_eq!(all, ["0.00", "0.00123", "0.500", "1.00", "23.5", "100.0", "346", "12346"]);
    }

    #[test]
    fn tables_line_up() {
        let text = render(&sample());
        let expected = "\
**bt 10**, s

| system   | median | × rc |     min – max | peak MiB |
|----------|-------:|-----:|--------------:|---------:|
| rc       |  0.250 | 1.00 | 0.250 – 0.250 |          |
| gc-arena |  0.500 | 2.00 | 0.400 – 0.900 |        0 |

Best other collector: gc-arena, 2.00 × rc.
boa_gc: took longer than 60 s.
box: no trees.
";
        assert!(text.starts_with(expected), "{text}");
    }
}
