//! Filters: which hosts somebody wants, as a small expression over their fields.
//!
//! ```text
//! filter     = and { ("or" | "||") and }
//! and        = not { ("and" | "&&") not }
//! not        = [ "not" | "!" ] ( "(" filter ")" | comparison )
//! comparison = FIELD ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) VALUE
//!            | FIELD "in" "(" VALUE { "," VALUE } ")"
//!            | FIELD                                        (the host has it; or it is true)
//! ```
//!
//! Values are words, `'quoted texts'`, or numbers with units: `4GiB`, `100Mbit`, `99%`, `2h`. A text with a `*` stands for
//! every text of that shape. A comparison with something that a host does not have does not hold; `!=` is the
//! contrary of `=`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::fields::{Field, FieldKind, Measure, Seen, Value};
use crate::query::LabelWish;

mod parse;

/// The longest filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 1024;
/// The deepest nesting of brackets and `not`.
const DEPTH_MAX: usize = 16;

/// Why a text is no filter: the place, and what would be right there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what}\n    {text}\n    {marks}", marks = marks(.text, .at, .length))]
pub struct FilterError {
    /// The filter.
    pub text: String,
    /// The byte at which it is wrong.
    pub at: usize,
    /// How many bytes are wrong.
    pub length: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// `    ^^^^` under the place. The text has no control characters, so that every character is one wide, nearly.
fn marks(text: &str, at: &usize, length: &usize) -> String {
    let before = text.get(..*at).map_or(0, |before| before.chars().count());
    let wide = text.get(*at..*at + *length).map_or(1, |wrong| wrong.chars().count()).max(1);
    format!("{}{}", " ".repeat(before), "^".repeat(wide))
}

/// A filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    text: String,
    root: Node,
}

impl Eq for Filter {}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Text(Field, Comparison, Pattern),
    Number(Field, Comparison, f64),
    OneOfNumbers(Field, Vec<f64>),
    OneOfTexts(Field, Vec<Pattern>),
    Has(Field),
    Is(Field, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Different,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// A text, or all texts of a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    text: String,
    has_stars: bool,
}

impl Pattern {
    fn fits(&self, text: &str) -> bool {
        if !self.has_stars {
            return self.text == text;
        }
        let mut parts = self.text.split('*');
        // There is a first part always.
        let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
        let mut parts = parts.peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        true
    }
}

impl Comparison {
    fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Different => left != right,
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Greater => left > right,
            Self::AtLeast => left >= right,
        }
    }
}

impl Filter {
    /// What labels a host must have for the filter to hold, among other things.
    pub(crate) fn label_wishes(&self) -> Vec<LabelWish<'_>> {
        let mut wishes = Vec::new();
        self.root.add_label_wishes(&mut wishes);
        wishes
    }

    /// True where the host is wanted.
    pub fn matches(&self, seen: &Seen<'_, '_>) -> bool {
        self.root.holds(seen)
    }

    /// True where it depends on a field.
    pub fn asks_for(&self, field: &Field) -> bool {
        self.root.asks_for(field)
    }
}

impl Node {
    fn asks_for(&self, wanted: &Field) -> bool {
        match self {
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().any(|node| node.asks_for(wanted)),
            Self::Not(node) => node.asks_for(wanted),
            Self::Text(field, ..)
            | Self::Number(field, ..)
            | Self::OneOfNumbers(field, _)
            | Self::OneOfTexts(field, _)
            | Self::Has(field)
            | Self::Is(field, _) => field == wanted,
        }
    }

    /// Adds what labels a host must have for this to hold, as far as that is plain to see.
    fn add_label_wishes<'a>(&'a self, wishes: &mut Vec<LabelWish<'a>>) {
        let (label, patterns) = match self {
            Self::All(nodes) => return nodes.iter().for_each(|node| node.add_label_wishes(wishes)),
            Self::Text(Field::Label(label), Comparison::Equal, pattern) => (label, std::slice::from_ref(pattern)),
            Self::OneOfTexts(Field::Label(label), patterns) => (label, patterns.as_slice()),
            _ => return,
        };
        if patterns.iter().all(|pattern| !pattern.has_stars) {
            let values = patterns.iter().map(|pattern| pattern.text.as_str()).collect();
            wishes.push(LabelWish { label, values });
        }
    }

    fn holds(&self, seen: &Seen<'_, '_>) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.holds(seen)),
            Self::Any(nodes) => nodes.iter().any(|node| node.holds(seen)),
            Self::Not(node) => !node.holds(seen),
            Self::Text(field, Comparison::Equal, pattern) => field.texts(seen, &mut |text| pattern.fits(text)),
            Self::Text(field, Comparison::Different, pattern) => !field.texts(seen, &mut |text| pattern.fits(text)),
            Self::Text(field, comparison, pattern) => {
                field.texts(seen, &mut |text| comparison.holds(&text, &pattern.text.as_str()))
            }
            Self::Number(field, comparison, number) => match field.value(seen) {
                Value::Number(value) => comparison.holds(&value, number),
                _ => *comparison == Comparison::Different,
            },
            Self::OneOfNumbers(field, numbers) => {
                matches!(field.value(seen), Value::Number(value) if numbers.contains(&value))
            }
            Self::OneOfTexts(field, patterns) => {
                field.texts(seen, &mut |text| patterns.iter().any(|pattern| pattern.fits(text)))
            }
            Self::Has(field) => match field.kind() {
                FieldKind::Text => field.texts(seen, &mut |_| true),
                FieldKind::Truth | FieldKind::Number(_) => field.value(seen) != Value::Absent,
            },
            Self::Is(field, wanted) => field.value(seen) == Value::Truth(*wanted),
        }
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Ok(Self { text: text.to_owned(), root: parse::parse(text)? })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The units of each measure, and what one is in its base unit.
const fn units(measure: Measure) -> &'static [(&'static str, f64)] {
    match measure {
        Measure::Plain => &[],
        Measure::Bytes => &[
            ("B", 1.0),
            ("KiB", 1024.0),
            ("MiB", 1_048_576.0),
            ("GiB", 1_073_741_824.0),
            ("TiB", 1_099_511_627_776.0),
            ("kB", 1e3),
            ("MB", 1e6),
            ("GB", 1e9),
            ("TB", 1e12),
        ],
        Measure::Bits => &[("bit", 1.0), ("kbit", 1e3), ("Mbit", 1e6), ("Gbit", 1e9)],
        Measure::Part => &[("%", 0.01)],
        Measure::Seconds => &[("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)],
    }
}
