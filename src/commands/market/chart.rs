//! Small charts on the terminal: a line of past prices, and bars. Where nothing is shown on a terminal, or no colours are
//! wanted, they are plain text.

use super::number;
use crate::output::Style;

/// The columns of a full bar.
const BAR_COLUMNS: usize = 32;
/// Eighths of a block, by height and by width.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const WIDTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
/// The steps of a plain line.
const PLAIN_HEIGHTS: [char; 5] = ['_', '.', '-', '=', '#'];

/// A line of values as high as they are between the least and the greatest, and both of these.
pub fn line(values: &[f64], style: Style) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    let heights: &[char] = if style.color { &HEIGHTS } else { &PLAIN_HEIGHTS };
    let height = |value: f64| {
        let part = if most > least { (value - least) / (most - least) } else { 0.0 };
        heights[((part * heights.len() as f64) as usize).min(heights.len() - 1)]
    };
    let drawn: String = values.iter().copied().map(height).collect();
    let range = if most > least { format!("{} to {}", number(least), number(most)) } else { number(most) };
    format!("{}  {range}", style.cyan(&drawn))
}

/// A bar as long as `value` is of `most`.
pub fn bar(value: f64, most: f64, style: Style) -> String {
    let part = if most > 0.0 { (value / most).clamp(0.0, 1.0) } else { 0.0 };
    if !style.color {
        return "#".repeat((part * BAR_COLUMNS as f64).round() as usize);
    }
    let eighths = (part * (BAR_COLUMNS * 8) as f64).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(WIDTHS[eighths % 8 - 1]);
    }
    style.cyan(&bar)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { color: false, width: 80 };
    const COLOR: Style = Style { color: true, width: 80 };

    #[test]
    fn a_line_goes_from_the_least_to_the_greatest() {
        assert_eq!(line(&[1.0, 2.0, 3.0], PLAIN), "_-#  1 to 3");
        assert!(line(&[1.0, 2.0, 3.0], COLOR).contains("▁▅█"));
        assert_eq!(line(&[0.5, 0.5], PLAIN), "__  0.5");
        assert_eq!(line(&[0.0], PLAIN), "_  0");
    }

    #[test]
    fn a_bar_is_as_long_as_its_part() {
        assert_eq!(bar(1.0, 2.0, PLAIN), "#".repeat(16));
        assert!(bar(1.0, 2.0, COLOR).contains(&"█".repeat(16)));
        assert!(bar(1.0, 64.0, COLOR).contains('▌'));
        assert_eq!((bar(1.0, 0.0, PLAIN), bar(0.0, 1.0, PLAIN)), (String::new(), String::new()));
    }
}
