//! Plots as SVG, which every browser shows: what share of samples took at most how long, and how a cost grows.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::stats::Samples;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
/// Room for numbers left and below, and for the title above.
const MARGIN: f64 = 48.0;
const COLOURS: [&str; 6] = ["#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#566573"];

/// One line of a plot: its name and its points, from left to right.
type Line = (String, Vec<(f64, f64)>);

/// What share of each series took at most how many milliseconds.
pub(crate) fn distribution(path: &Path, title: &str, series: &[(&str, &Samples)]) -> Result<()> {
    let lines: Vec<Line> = series
        .iter()
        .map(|(name, samples)| {
            let all = samples.sorted();
            let share = 100.0 / count(all.len());
            let points = all.iter().enumerate().map(|(at, value)| (*value, count(at + 1) * share));
            (format!("{name}: p50 {:.1} ms", samples.quantile(0.5)), points.collect())
        })
        .collect();
    write(path, &draw(title, ["milliseconds", "percent"], &lines))
}

/// The samples of each series in the order of their measurement.
pub(crate) fn curve(path: &Path, title: &str, below: &str, series: &[(&str, &Samples)]) -> Result<()> {
    let lines: Vec<Line> = series
        .iter()
        .map(|(name, samples)| {
            let points = samples.all().iter().enumerate().map(|(at, value)| (count(at), *value));
            ((*name).to_owned(), points.collect())
        })
        .collect();
    write(path, &draw(title, [below, "milliseconds"], &lines))
}

fn write(path: &Path, svg: &str) -> Result<()> {
    fs::write(path, svg).with_context(|| format!("failed to write {}", path.display()))
}

fn draw(title: &str, axes: [&str; 2], lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let right = points().map(|point| point.0).fold(f64::MIN_POSITIVE, f64::max);
    let top = points().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| MARGIN + value / right * (WIDTH - 2.0 * MARGIN);
    let y = |value: f64| HEIGHT - MARGIN - value / top * (HEIGHT - 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"22\" font-size=\"15\">{}</text>\n",
        escaped(title)
    );
    for part in 0..=4 {
        let share = f64::from(part) / 4.0;
        let (across, up) = (x(right * share), y(top * share));
        let (end, bottom) = (WIDTH - MARGIN, HEIGHT - MARGIN);
        let _ = writeln!(
            svg,
            "<path d=\"M{MARGIN} {up:.1}H{end}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <text x=\"{across:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            MARGIN - 6.0,
            up + 4.0,
            Short(top * share),
            bottom + 16.0,
            Short(right * share),
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><text x=\"8\" y=\"40\">{}</text>",
        WIDTH - MARGIN,
        HEIGHT - 12.0,
        escaped(axes[0]),
        escaped(axes[1])
    );
    for ((name, points), (number, colour)) in lines.iter().zip(COLOURS.iter().cycle().enumerate()) {
        let path: Vec<_> =
            points.iter().map(|(across, up)| format!("{:.1},{:.1}", x(*across), y(*up))).collect();
        let below = 40.0 + 15.0 * count(number);
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\
             <text x=\"{}\" y=\"{below}\" fill=\"{colour}\">{}</text>",
            path.join(" "),
            MARGIN + 12.0,
            escaped(name)
        );
    }
    svg + "</svg>\n"
}

/// Few digits, as many as tell the marks of an axis apart.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = usize::from(self.0 < 20.0);
        write!(f, "{:.digits$}", self.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand samples")]
fn count(samples: usize) -> f64 {
    samples as f64
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_a_line_with_its_name_inside_the_frame() {
        let lines =
            [("a < b".to_owned(), vec![(0.0, 0.0), (5.0, 10.0)]), ("c".to_owned(), vec![(10.0, 2.0)])];
        let svg = draw("costs", ["pods", "ms"], &lines);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("a &lt; b") && svg.contains(">costs<"), "{svg}");
        assert!(svg.contains("points=\"48.0,352.0 360.0,48.0\""), "{svg}");
        assert!(svg.contains("points=\"672.0,291.2\""), "{svg}");
    }
}
