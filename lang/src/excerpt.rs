//! What of a file is shown: lines of a length that a person reads, around the places that matter.

use std::borrow::Cow;
use std::ops::Range;

/// Lines that are longer, in bytes, are shown in part.
pub(crate) const LINE_BYTES_MAX: usize = 400;
/// So much of a long line is shown before the first place in it, and behind that place's begin.
const BEFORE: usize = 80;
const BEHIND: usize = 160;

/// A text with its long lines cut, and where its bytes are now.
pub(crate) struct Excerpt<'a> {
    /// What is shown.
    pub(crate) text: Cow<'a, str>,
    /// Stretches that were kept: their bytes in the whole text, and where they begin now.
    kept: Vec<(Range<usize>, usize)>,
}

impl<'a> Excerpt<'a> {
    /// Cuts the long lines of a text around these places.
    pub(crate) fn new(text: &'a str, places: &[usize]) -> Self {
        if text.split('\n').all(|line| line.len() <= LINE_BYTES_MAX) {
            return Self { text: Cow::Borrowed(text), kept: Vec::new() };
        }
        let mut shown = String::new();
        let mut kept = Vec::new();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let end = start + line.len();
            let mut stretch = start..end;
            if line.len() > LINE_BYTES_MAX {
                let first = places.iter().copied().filter(|at| (start..=end).contains(at)).min().unwrap_or(start);
                stretch =
                    boundary(text, first.saturating_sub(BEFORE).max(start))..boundary(text, (first + BEHIND).min(end));
            }
            if stretch.start > start {
                shown.push('…');
            }
            kept.push((stretch.clone(), shown.len()));
            shown.push_str(&text[stretch.clone()]);
            if stretch.end < end {
                shown.push('…');
                if line.ends_with('\n') {
                    shown.push('\n');
                }
            }
            start = end;
        }
        Self { text: Cow::Owned(shown), kept }
    }

    /// Where a byte of the whole text is in what is shown; what was cut lies at the cut.
    pub(crate) fn place(&self, at: usize) -> usize {
        let Some(index) = self.kept.partition_point(|(stretch, _)| stretch.start <= at).checked_sub(1) else {
            return if self.kept.is_empty() { at } else { 0 };
        };
        let (stretch, now) = &self.kept[index];
        now + at.min(stretch.end) - stretch.start
    }

    /// True where something was cut.
    pub(crate) fn is_cut(&self) -> bool {
        !self.kept.is_empty()
    }
}

/// The nearest byte at or before this one that begins a character.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lines_stay_as_they_are() {
        let excerpt = Excerpt::new("a\nbc\n", &[2]);
        assert!(!excerpt.is_cut());
        assert_eq!((&*excerpt.text, excerpt.place(3)), ("a\nbc\n", 3));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("short\n{}X{}\nend é\n", "é".repeat(1_000), "b".repeat(1_000));
        let at = text.find('X').unwrap();
        let excerpt = Excerpt::new(&text, &[at]);
        assert!(excerpt.is_cut() && excerpt.text.len() < 300);
        let mut lines = excerpt.text.lines();
        assert_eq!(lines.next(), Some("short"));
        assert!(lines.next().is_some_and(|line| line.starts_with('…') && line.ends_with('…')));
        assert_eq!(lines.next(), Some("end é"));
        assert_eq!(&excerpt.text[excerpt.place(at)..=excerpt.place(at)], "X");
        assert!(excerpt.text[excerpt.place(text.find("end").unwrap())..].starts_with("end é"));
        assert!(excerpt.place(7) <= excerpt.text.len() && excerpt.place(text.len()) <= excerpt.text.len());
    }
}
