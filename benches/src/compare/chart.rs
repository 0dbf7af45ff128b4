//! The results as a picture: for each figure a group of bars, on one logarithmic axis of ratios.
//!
//! Bars start at 1, which is the baseline: to the right is slower, to the left faster. The thin line is the spread.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::CompareError;
use super::build::Build;
use super::results::{BASELINE, Comparison, End, Group, Row};
use super::table::short;
use crate::systems::Role;

const WIDTH: u32 = 1000;
const LABELS: i32 = 170;
const RIGHT: i32 = WIDTH as i32 - 190;
const TOP: i32 = 96;
const BAR: i32 = 18;
const HEADING: i32 = 30;
const GAP: i32 = 14;
const FONT: &str = "sans-serif";

const INK: RGBColor = RGBColor(0x1f, 0x29, 0x37);
const FAINT: RGBColor = RGBColor(0x6b, 0x72, 0x80);
const GRID: RGBColor = RGBColor(0xe5, 0xe7, 0xeb);

/// The kinds of bars, with their colours, in the order of the legend.
const LEGEND: [(&str, RGBColor); 5] = [
    ("lacuna", RGBColor(0xd9, 0x46, 0x0f)),
    ("collector", RGBColor(0x7d, 0xb1, 0xf0)),
    ("collector, mimalloc", RGBColor(0x1d, 0x5f, 0xbf)),
    ("no collector", RGBColor(0xc4, 0xc8, 0xce)),
    ("no collector, mimalloc", RGBColor(0x84, 0x8b, 0x96)),
];

fn colour(row: &Row) -> RGBColor {
    let index = match (row.role, row.build) {
        (Role::Subject, _) => 0,
        (Role::Peer, Build::System) => 1,
        (Role::Peer, Build::Mimalloc) => 2,
        (Role::Yardstick, Build::System) => 3,
        (Role::Yardstick, Build::Mimalloc) => 4,
    };
    LEGEND[index].1
}

/// From ratios to places.
struct Axis {
    least: f64,
    most: f64,
}

impl Axis {
    /// Whole powers of ten around all ratios, spreads included.
    fn around(groups: &[Group]) -> Axis {
        let mut axis = Axis { least: -0.2, most: 1.0 };
        for (group, row) in groups.iter().flat_map(|group| group.rows.iter().map(move |row| (group, row))) {
            let scale = scale(group);
            axis.least = axis.least.min((row.min * scale).log10() - 0.1);
            axis.most = axis.most.max((row.max * scale).log10() + 0.1);
        }
        axis
    }

    fn x(&self, ratio: f64) -> i32 {
        let place = (ratio.log10() - self.least) / (self.most - self.least);
        LABELS + (place * f64::from(RIGHT - LABELS)).round() as i32
    }

    /// 1, 2 and 5 times the powers of ten that are on the axis.
    fn marks(&self) -> impl Iterator<Item = f64> {
        let powers = self.least.floor() as i32..=self.most.ceil() as i32;
        powers
            .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)))
            .filter(|mark| (self.least..=self.most).contains(&mark.log10()))
    }
}

/// From figures to ratios.
fn scale(group: &Group) -> f64 {
    group.rows.first().map_or(1.0, |row| row.ratio / row.median)
}

/// Contestants that get a line without a bar.
fn without_bar(group: &Group) -> impl Iterator<Item = (&str, &'static str)> {
    group.missing.iter().filter_map(|missing| match missing.end {
        End::TooSlow => Some((missing.system.as_str(), "too slow")),
        End::Failed { .. } => Some((missing.system.as_str(), "failed")),
        End::Unsupported { .. } => None,
    })
}

fn height(group: &Group) -> i32 {
    let lines = group.rows.len() + without_bar(group).count();
    HEADING + BAR * lines as i32 + GAP
}

/// Draws the picture.
pub fn render(comparison: &Comparison) -> Result<String, CompareError> {
    let groups: Vec<&Group> = comparison.groups.iter().filter(|group| !group.rows.is_empty()).collect();
    let bottom = TOP + groups.iter().map(|group| height(group)).sum::<i32>();
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, bottom as u32 + 40)).into_drawing_area();
        draw(&area, comparison, &groups, bottom)
            .and_then(|()| area.present())
            .map_err(|error| CompareError::Chart(error.to_string()))?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn draw<'a>(area: &Area<'a>, comparison: &Comparison, groups: &[&Group], bottom: i32) -> Drawn<'a> {
    area.fill(&WHITE)?;
    let all_have_it = groups.iter().all(|group| group.baseline.as_deref() == Some(BASELINE));
    let otherwise = if all_have_it { "" } else { ", or to the fastest where it is missing" };
    let title = format!("Time relative to {BASELINE}{otherwise}: less is better");
    text(area, (16, 24), &title, 20, INK, HPos::Left)?;
    let runs = format!("medians of {} interleaved run(s), thin line: least to most, logarithmic", comparison.runs);
    text(area, (16, 46), &runs, 13, FAINT, HPos::Left)?;
    let mut x = 16;
    for (name, colour) in LEGEND {
        area.draw(&Rectangle::new([(x, 61), (x + 12, 73)], colour.filled()))?;
        text(area, (x + 18, 67), name, 13, INK, HPos::Left)?;
        x += 44 + 7 * name.len() as i32;
    }

    let axis = Axis::around(&comparison.groups);
    for mark in axis.marks() {
        let x = axis.x(mark);
        let style = if mark == 1.0 { INK } else { GRID };
        area.draw(&PathElement::new([(x, TOP), (x, bottom)], style))?;
        for y in [TOP - 8, bottom + 12] {
            text(area, (x, y), &format!("{mark}×"), 12, FAINT, HPos::Center)?;
        }
    }
    let mut y = TOP;
    for group in groups {
        draw_group(area, &axis, group, y)?;
        y += height(group);
    }
    Ok(())
}

fn draw_group<'a>(area: &Area<'a>, axis: &Axis, group: &Group, top: i32) -> Drawn<'a> {
    let heading = format!("{}, {}", group.workload, group.unit);
    // A white ground keeps the grid out of the words.
    area.draw(&Rectangle::new([(0, top + 4), (24 + 8 * heading.len() as i32, top + 26)], WHITE.filled()))?;
    text(area, (16, top + 16), &heading, 15, INK, HPos::Left)?;
    let scale = scale(group);
    let mut y = top + HEADING;
    for row in &group.rows {
        let middle = y + BAR / 2;
        text(area, (LABELS - 8, middle), &row.system, 13, INK, HPos::Right)?;
        let (one, end) = (axis.x(1.0), axis.x(row.ratio));
        // The baseline itself has no length; it gets a bar that can be seen.
        let ends = [(one.min(end) - 2, y + 3), (one.max(end) + 2, y + BAR - 3)];
        area.draw(&Rectangle::new(ends, colour(row).filled()))?;
        let (least, most) = (axis.x(row.min * scale), axis.x(row.max * scale));
        area.draw(&PathElement::new([(least, middle), (most, middle)], INK))?;
        let label = format!("{}×  ({})", short(row.ratio), short(row.median));
        text(area, (one.max(end).max(most) + 8, middle), &label, 12, INK, HPos::Left)?;
        y += BAR;
    }
    for (system, why) in without_bar(group) {
        text(area, (LABELS - 8, y + BAR / 2), system, 13, FAINT, HPos::Right)?;
        text(area, (axis.x(1.0) + 8, y + BAR / 2), why, 12, FAINT, HPos::Left)?;
        y += BAR;
    }
    Ok(())
}

fn text<'a>(area: &Area<'a>, at: (i32, i32), words: &str, size: i32, ink: RGBColor, side: HPos) -> Drawn<'a> {
    let style = TextStyle::from((FONT, size).into_font()).color(&ink).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(words.to_owned(), at, style))
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::sample;
    use super::*;

    #[test]
    fn every_contestant_is_in_the_picture() {
        let svg = render(&sample()).unwrap();
        for words in ["gc-arena", "2.00×", "bt 10, s", "too slow"] {
            assert!(svg.contains(words), "{words}");
        }
        assert!(!svg.contains("no trees"));
    }

    #[test]
    fn ratio_one_is_the_start_of_bars() {
        let axis = Axis::around(&[]);
        assert!(axis.x(0.8) < axis.x(1.0) && axis.x(1.0) < axis.x(2.0));
        assert_eq!(axis.marks().collect::<Vec<_>>(), [1.0, 2.0, 5.0, 10.0]);
    }
}
