//! The report as a picture: objects by type, alive and dead, as SVG.
//!
//! Owns the drawing. Two columns of bars, because a cut kills a few thousand of a few hundred thousand objects: on the
//! left what is there, alive and dead in one bar; on the right the dead alone, on a scale of their own.

use std::fmt;

use plotters::coord::Shift;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Collection, Report, Type, printable};

const WIDTH: u32 = 1000;
const TOP: i32 = 96;
const ROW: i32 = 26;
const BAR: i32 = 16;
const FOOT: i32 = 24;
/// Characters of text in a line.
const LINE: usize = 100;
/// Left ends of the two columns of bars, and the longest bar of each.
const COLUMNS: [(i32, i32); 2] = [(160, 360), (640, 240)];

const ALIVE: RGBColor = RGBColor(58, 110, 165);
const DEAD: RGBColor = RGBColor(214, 96, 49);
const INK: RGBColor = RGBColor(40, 40, 40);
const FAINT: RGBColor = RGBColor(120, 120, 120);
const FONT: &str = "sans-serif";

/// The picture could not be drawn.
#[derive(Debug)]
pub struct ChartError(String);

impl fmt::Display for ChartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ChartError {}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for ChartError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        ChartError(error.to_string())
    }
}

/// The histogram by type after the last collection, as an SVG document.
///
/// # Errors
///
/// When drawing fails.
pub fn draw(report: &Report) -> Result<String, ChartError> {
    let collection = report.last();
    let mut types: Vec<&Type> = collection.types.iter().collect();
    types.sort_by_key(|kind| std::cmp::Reverse(total(kind)));
    let height = TOP + ROW * types.len() as i32 + FOOT;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        head(&area, report, collection)?;
        let most = types.iter().map(|kind| total(kind)).max().unwrap_or(0);
        let most_dead = types.iter().map(|kind| kind.dead.objects).max().unwrap_or(0);
        for (row, kind) in types.into_iter().enumerate() {
            let y = TOP + ROW * row as i32;
            bars(&area, y, kind, most, most_dead)?;
        }
        area.present()?;
    }
    Ok(svg)
}

fn total(kind: &Type) -> u64 {
    kind.survivors.objects + kind.dead.objects
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn head(area: &Area<'_>, report: &Report, collection: &Collection) -> Result<(), ChartError> {
    let title = format!("{}: objects by type, {}", report.dump.source, collection.title());
    write(area, (20, 26), &title, 18, INK, HPos::Left)?;
    let figures = format!(
        "{} alive, {} died ({} bytes in the dump), {} weak edges cleared",
        collection.survivors.objects,
        collection.dead.objects,
        collection.dead.self_size_bytes,
        collection.weak_edges.cleared,
    );
    write(area, (20, 50), &figures, 14, FAINT, HPos::Left)?;
    let [(left, _), (right, _)] = COLUMNS;
    let y = TOP - 16;
    rectangle(area, (left, y - 5), (10, 10), ALIVE)?;
    write(area, (left + 16, y), "alive", 13, INK, HPos::Left)?;
    rectangle(area, (left + 66, y - 5), (10, 10), DEAD)?;
    write(area, (left + 82, y), "died", 13, INK, HPos::Left)?;
    write(area, (right, y), "died, on a scale of their own", 13, INK, HPos::Left)
}

fn bars(area: &Area<'_>, y: i32, kind: &Type, most: u64, most_dead: u64) -> Result<(), ChartError> {
    let [(left, wide), (right, narrow)] = COLUMNS;
    let middle = y + BAR / 2;
    write(area, (left - 10, middle), &kind.name, 13, INK, HPos::Right)?;
    let alive = length(kind.survivors.objects, most, wide);
    let dead = length(kind.dead.objects, most, wide);
    rectangle(area, (left, y), (alive, BAR), ALIVE)?;
    rectangle(area, (left + alive, y), (dead, BAR), DEAD)?;
    let count = kind.survivors.objects.to_string();
    write(area, (left + alive + dead + 6, middle), &count, 12, FAINT, HPos::Left)?;
    if kind.dead.objects > 0 {
        let dead = length(kind.dead.objects, most_dead, narrow);
        rectangle(area, (right, y), (dead, BAR), DEAD)?;
        let count = kind.dead.objects.to_string();
        write(area, (right + dead + 6, middle), &count, 12, FAINT, HPos::Left)?;
    }
    Ok(())
}

/// The length of a bar for `count` where `most` gets `longest`; whatever exists can be seen.
fn length(count: u64, most: u64, longest: i32) -> i32 {
    if count == 0 {
        return 0;
    }
    let share = count as f64 / most.max(1) as f64;
    ((share * f64::from(longest)).round() as i32).max(1)
}

fn rectangle(
    area: &Area<'_>,
    (x, y): (i32, i32),
    (width, height): (i32, i32),
    colour: RGBColor,
) -> Result<(), ChartError> {
    if width > 0 {
        area.draw(&Rectangle::new([(x, y), (x + width, y + height)], colour.filled()))?;
    }
    Ok(())
}

fn write(
    area: &Area<'_>,
    at: (i32, i32),
    text: &str,
    size: u32,
    colour: RGBColor,
    side: HPos,
) -> Result<(), ChartError> {
    let style = TextStyle::from((FONT, size).into_font()).color(&colour).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(shortened(&printable(text)), at, style))?;
    Ok(())
}

/// `text`, without its middle if it is too long for a line.
fn shortened(text: &str) -> String {
    let length = text.chars().count();
    if length <= LINE {
        return text.to_owned();
    }
    let head: String = text.chars().take(LINE / 2).collect();
    let tail: String = text.chars().skip(length - LINE / 2).collect();
    format!("{head}…{tail}")
}
