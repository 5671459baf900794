//! Plots as SVG, which every browser shows: what share of samples took at most how long, and how a cost grows.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::stats::Samples;

const WIDTH: f64 = 760.0;
/// Of the frame, whatever stands above and below it.
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 60.0;
const END: f64 = WIDTH - 20.0;
/// Room for the marks of the lower axis and its name.
const BELOW: f64 = 46.0;
/// Where the names of the lines begin, how far they are apart, and how many stand side by side.
const NAMES: f64 = 46.0;
const ROW: f64 = 17.0;
const COLUMNS: usize = 2;
/// Steps of an axis, at most.
const STEPS: f64 = 6.0;
const COLOURS: [&str; 8] =
    ["#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#34495e", "#16a085", "#a04000"];

/// One line of a plot.
struct Line {
    name: String,
    /// From left to right.
    points: Vec<(f64, f64)>,
    /// What the line is the middle of, shown behind it.
    behind: Vec<(f64, f64)>,
}

/// What share of each series took at most how many milliseconds.
pub(crate) fn distribution(path: &Path, title: &str, series: &[(&str, &Samples)]) -> Result<()> {
    let line = |(name, samples): &(&str, &Samples)| {
        let all = samples.sorted();
        let share = 100.0 / count(all.len());
        let shares = all.iter().enumerate().map(|(at, value)| (*value, count(at + 1) * share));
        // Up from nothing at the least of them.
        let points = all.first().map(|least| (*least, 0.0)).into_iter().chain(shares).collect();
        Line { name: format!("{name}: p50 {} ms", short(samples.quantile(0.5))), points, behind: Vec::new() }
    };
    let lines: Vec<_> = series.iter().map(line).collect();
    write(path, &draw(title, ["milliseconds", "percent of the samples"], &lines))
}

/// The samples of each series in the order of their measurement, and their running median.
pub(crate) fn curve(path: &Path, title: &str, below: &str, series: &[(&str, &Samples)]) -> Result<()> {
    let line = |(name, samples): &(&str, &Samples)| {
        let points =
            |values: &[f64]| values.iter().enumerate().map(|(at, value)| (count(at), *value)).collect();
        Line {
            name: format!("{name}, running median"),
            points: points(&running_median(samples)),
            behind: points(samples.all()),
        }
    };
    let lines: Vec<_> = series.iter().map(line).collect();
    write(path, &draw(title, [below, "milliseconds"], &lines))
}

/// At each sample the median of those around it, a twentieth of all.
fn running_median(samples: &Samples) -> Vec<f64> {
    let all = samples.all().len();
    let half = (all / 40).max(2);
    (0..all).map(|at| samples.part(at.saturating_sub(half)..(at + half + 1).min(all)).quantile(0.5)).collect()
}

fn write(path: &Path, svg: &str) -> Result<()> {
    fs::write(path, svg).with_context(|| format!("failed to write {}", path.display()))
}

/// An axis from zero to the first round number behind the greatest value.
struct Axis {
    step: f64,
    steps: u32,
}

impl Axis {
    fn up_to(greatest: f64) -> Self {
        let greatest = if greatest > 0.0 { greatest } else { 1.0 };
        let unit = 10_f64.powf((greatest / STEPS).log10().floor());
        let step = [1.0, 2.0, 5.0].map(|factor| factor * unit);
        let step = step.into_iter().find(|step| greatest / step <= STEPS).unwrap_or(10.0 * unit);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few steps; the tolerance is for 0.3 / 0.1"
        )]
        let steps = (greatest / step - 1e-9).ceil() as u32;
        Self { step, steps }
    }

    fn end(&self) -> f64 {
        self.step * f64::from(self.steps)
    }

    fn marks(&self) -> impl Iterator<Item = f64> + '_ {
        (0..=self.steps).map(|at| self.step * f64::from(at))
    }

    /// As many digits as tell the marks apart.
    fn text(&self, mark: f64) -> String {
        let digits = if self.step >= 1.0 {
            0
        } else if self.step >= 0.1 {
            1
        } else {
            2
        };
        format!("{mark:.digits$}")
    }
}

/// Where values are in the picture.
struct Frame {
    across: Axis,
    up: Axis,
    top: f64,
}

impl Frame {
    /// Around all points, below the names of the lines.
    fn around(lines: &[Line]) -> Self {
        let points = || lines.iter().flat_map(|line| line.points.iter().chain(&line.behind));
        let greatest = |pick: fn(&(f64, f64)) -> f64| points().map(pick).fold(0.0, f64::max);
        Self {
            across: Axis::up_to(greatest(|point| point.0)),
            up: Axis::up_to(greatest(|point| point.1)),
            top: NAMES + ROW * count(lines.len().div_ceil(COLUMNS)) + 6.0,
        }
    }

    fn bottom(&self) -> f64 {
        self.top + HEIGHT
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + value / self.across.end() * (END - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom() - value / self.up.end() * HEIGHT
    }

    fn path(&self, points: &[(f64, f64)]) -> String {
        let place = |(across, up): &(f64, f64)| format!("{:.1},{:.1}", self.x(*across), self.y(*up));
        points.iter().map(place).collect::<Vec<_>>().join(" ")
    }

    /// Both axes with their marks and names.
    fn axes(&self, names: [&str; 2]) -> String {
        let (mut svg, bottom) = (String::new(), self.bottom());
        // Writing to a String cannot fail.
        for mark in self.up.marks() {
            let (at, text) = (self.y(mark), self.up.text(mark));
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {at:.1}H{END}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 6.0,
                at + 4.0,
            );
        }
        for mark in self.across.marks() {
            let (at, text) = (self.x(mark), self.across.text(mark));
            let _ = writeln!(
                svg,
                "<path d=\"M{at:.1} {bottom}v4\" stroke=\"#999\"/>\
                 <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
                bottom + 17.0,
            );
        }
        let middle = f64::midpoint(self.top, bottom);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text x=\"16\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 16 {middle})\">{}</text>",
            f64::midpoint(LEFT, END),
            bottom + 37.0,
            escaped(names[0]),
            escaped(names[1])
        );
        svg
    }
}

fn draw(title: &str, names: [&str; 2], lines: &[Line]) -> String {
    let frame = Frame::around(lines);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{}</text>\n{}",
        frame.bottom() + BELOW,
        escaped(title),
        frame.axes(names)
    );
    let coloured = || lines.iter().zip(COLOURS.iter().cycle());
    // All that is behind a line is behind every line.
    for (line, colour) in coloured().filter(|(line, _)| !line.behind.is_empty()) {
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-opacity=\"0.25\"/>",
            frame.path(&line.behind)
        );
    }
    for (number, (line, colour)) in coloured().enumerate() {
        let left = LEFT + (END - LEFT) / count(COLUMNS) * count(number % COLUMNS);
        let row = NAMES + ROW * count(number / COLUMNS);
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"/>\
             <path d=\"M{left} {}h18\" stroke=\"{colour}\" stroke-width=\"3\"/>\
             <text x=\"{}\" y=\"{row}\">{}</text>",
            frame.path(&line.points),
            row - 4.0,
            left + 24.0,
            escaped(&line.name)
        );
    }
    svg + "</svg>\n"
}

/// Milliseconds, with fewer digits the more there are.
fn short(milliseconds: f64) -> String {
    let digits = if milliseconds < 10.0 { 2 } else { 1 };
    format!("{milliseconds:.digits$}")
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

    fn line(name: &str, points: &[(f64, f64)], behind: &[(f64, f64)]) -> Line {
        Line { name: name.to_owned(), points: points.to_vec(), behind: behind.to_vec() }
    }

    #[test]
    fn every_series_is_a_line_with_its_name_and_lies_inside_the_frame() {
        let lines =
            [line("a < b", &[(0.0, 0.0), (5.0, 10.0)], &[]), line("c", &[(10.0, 2.0)], &[(10.0, 3.0)])];
        let svg = draw("costs", ["pods", "ms"], &lines);
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(svg.contains("a &lt; b") && svg.contains(">costs<") && svg.contains(">pods<"), "{svg}");
        // The frame is below one row of names.
        assert!(svg.contains("points=\"60.0,389.0 400.0,69.0\""), "{svg}");
        assert!(svg.contains("points=\"740.0,325.0\""), "{svg}");
    }

    #[test]
    fn axes_end_at_the_next_round_number() {
        let marks = |greatest| {
            let axis = Axis::up_to(greatest);
            axis.marks().map(|mark| axis.text(mark)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(marks(500.0), "0 100 200 300 400 500");
        assert_eq!(marks(23.4), "0 5 10 15 20 25");
        assert_eq!(marks(0.3), "0.00 0.05 0.10 0.15 0.20 0.25 0.30");
        assert_eq!(marks(6.1), "0 2 4 6 8");
        assert_eq!(marks(0.0), "0.0 0.2 0.4 0.6 0.8 1.0");
    }

    #[test]
    fn a_running_median_leaves_outliers_out() {
        let mut samples = Samples::new();
        for value in [1.0, 1.0, 90.0, 1.0, 2.0, 2.0, 90.0, 2.0, 2.0] {
            samples.add_ms(value);
        }
        assert_eq!(
            format!("{:?}", running_median(&samples)),
            "[1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]"
        );
    }
}
