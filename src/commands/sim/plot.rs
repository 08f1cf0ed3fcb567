//! A plot of simulations as SVG: efficiency above, the price of a host below, over the rounds of each first run.

use std::fmt::Write as _;

use tycoon_market::simulation::Sample;

use super::report::Outcome;
use crate::commands::market::number;

/// The width of the picture, and the frame of the panels, in pixels.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const PANEL: f64 = 240.0;
const GAP: f64 = 60.0;
const TOP: f64 = 40.0;
const LEGEND_LINE: f64 = 18.0;
/// Points of one line; longer runs are thinned out.
const POINTS_MAX: usize = 2000;
/// Colours that can be told apart, also by those who see red and green alike (Okabe and Ito), less yellow.
const COLORS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"];
/// Dashes for when the colours are used up.
const DASHES: [&str; 3] = ["", "6 3", "2 3"];

/// Draws the outcomes.
pub fn svg(outcomes: &[Outcome]) -> String {
    let height = TOP + 2.0 * (PANEL + GAP) + LEGEND_LINE * outcomes.len() as f64 + 10.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let rounds =
        outcomes.iter().filter_map(|outcome| samples(outcome).last()).map(|last| last.round).max().unwrap_or(0);
    panel(&mut text, outcomes, "efficiency", TOP, f64::from(rounds.max(1)), false, |sample| sample.efficiency);
    let below = TOP + PANEL + GAP;
    panel(
        &mut text,
        outcomes,
        "mean price of a host, credits per second",
        below,
        f64::from(rounds.max(1)),
        true,
        |sample| sample.price,
    );
    for (index, outcome) in outcomes.iter().enumerate() {
        let y = TOP + 2.0 * (PANEL + GAP) + LEGEND_LINE * index as f64;
        let end = LEFT + 30.0;
        let _ = writeln!(text, "<line x1=\"{LEFT}\" y1=\"{y}\" x2=\"{end}\" y2=\"{y}\" {}/>", stroke(index));
        let _ = writeln!(text, "<text x=\"{}\" y=\"{}\">{}</text>", end + 8.0, y + 4.0, escape(&outcome.name));
    }
    text.push_str("</svg>\n");
    text
}

fn samples(outcome: &Outcome) -> &[Sample] {
    outcome.runs.first().map_or(&[], |run| run.samples.as_slice())
}

fn panel(
    text: &mut String,
    outcomes: &[Outcome],
    title: &str,
    top: f64,
    rounds: f64,
    starts_at_zero: bool,
    value: impl Fn(&Sample) -> f64,
) {
    let all = || outcomes.iter().flat_map(samples).map(&value).filter(|value| value.is_finite());
    let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let (low, high, step) = scale(if starts_at_zero { least.min(0.0) } else { least }, most);
    let x = |round: f64| LEFT + (WIDTH - LEFT - RIGHT) * round / rounds;
    let y = |value: f64| top + PANEL * (1.0 - (value - low) / (high - low));
    let _ = writeln!(text, "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>", top - 10.0, escape(title));
    let lines = ((high - low) / step).round() as usize;
    for line in 0..=lines {
        let mark = low + step * line as f64;
        let at = y(mark);
        let end = WIDTH - RIGHT;
        let _ = writeln!(text, "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{end}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>");
        let label = number((mark / step).round() * step);
        let _ = writeln!(text, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 6.0, at + 4.0);
    }
    let (_, last, step) = scale(0.0, rounds);
    for mark in 0..=(last / step).round() as usize {
        let round = step * mark as f64;
        if round <= rounds {
            let below = top + PANEL + 16.0;
            let _ = writeln!(
                text,
                "<text x=\"{:.1}\" y=\"{below}\" text-anchor=\"middle\">{}</text>",
                x(round),
                number(round)
            );
        }
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    let _ = writeln!(text, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">round</text>", top + PANEL + 32.0);
    for (index, outcome) in outcomes.iter().enumerate() {
        let list = samples(outcome);
        let every = list.len().div_ceil(POINTS_MAX).max(1);
        let points: Vec<String> = list
            .iter()
            .enumerate()
            .filter(|(place, _)| place.is_multiple_of(every) || place + 1 == list.len())
            .filter(|(_, sample)| value(sample).is_finite())
            .map(|(_, sample)| format!("{:.1},{:.1}", x(f64::from(sample.round)), y(value(sample))))
            .collect();
        let _ = writeln!(text, "<polyline points=\"{}\" fill=\"none\" {}/>", points.join(" "), stroke(index));
    }
}

/// A scale from at most `least` to at least `most` in round steps: its ends and its step.
fn scale(least: f64, most: f64) -> (f64, f64, f64) {
    if !(least.is_finite() && most.is_finite()) {
        return (0.0, 1.0, 0.5);
    }
    let width = (most - least).max(most.abs() * 1e-3).max(1e-9);
    let rough = width / 5.0;
    let size = 10_f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|factor| factor * size).into_iter().find(|step| *step >= rough).unwrap_or(rough);
    let low = (least / step).floor() * step;
    let high = ((most / step).ceil() * step).max(low + step);
    (low, high, step)
}

fn stroke(index: usize) -> String {
    let color = COLORS[index % COLORS.len()];
    let dash = DASHES[index / COLORS.len() % DASHES.len()];
    format!("stroke=\"{color}\" stroke-width=\"1.5\" stroke-dasharray=\"{dash}\"")
}

/// Text within XML. Names of scenarios have no control characters.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_has_round_steps_and_holds_everything() {
        for (least, most) in [(0.0, 1.0), (0.44, 0.79), (3.0, 3.0), (0.0, 0.0), (1e-9, 2e-9), (0.0, 299.0)] {
            let (low, high, step) = scale(least, most);
            assert!(low <= least && high >= most && step > 0.0 && high > low, "{least} {most}: {low} {high} {step}");
            assert!((high - low) / step < 13.0, "{least} {most}: {low} {high} {step}");
        }
    }

    #[test]
    fn names_cannot_break_the_picture() {
        let outcome = Outcome { name: "<script>&\"".to_owned(), runs: Vec::new() };
        let drawn = svg(&[outcome]);
        assert!(drawn.contains("&lt;script&gt;&amp;&quot;") && !drawn.contains("<script>"), "{drawn}");
    }
}
