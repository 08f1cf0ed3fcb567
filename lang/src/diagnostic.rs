//! What is wrong with a description, where, and how to mend it.

use std::fmt;

use serde::Serialize;

use crate::codes;
use crate::source::{Sources, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The description cannot be used.
    Error,
    /// The description can be used, but something looks unintended.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// A place that takes part, and what it has to do with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What is there. May be empty.
    pub text: String,
    /// True for the one place that is wrong; the others explain it.
    pub primary: bool,
}

/// A change of the text that would mend it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edit {
    /// What is replaced; an empty span inserts.
    pub span: Span,
    /// What stands there afterwards.
    pub replacement: String,
}

/// One error or warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The stable code, for example `E0201`; [`codes::find`] explains it.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, understandable without the source.
    pub message: String,
    /// The places: the primary one first.
    pub labels: Vec<Label>,
    /// Facts that belong to it but to no place.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
    /// What to do, as a change of the text.
    pub suggestion: Option<Edit>,
    /// How many more times exactly this was found at the same place, for example in other instances of a `count`.
    pub repeated: u32,
}

impl Diagnostic {
    /// An error or warning (by its code's letter) at `span`.
    pub(crate) fn new(code: &'static str, message: impl Into<String>, span: Span, label: impl Into<String>) -> Self {
        debug_assert!(codes::find(code).is_some(), "{code} is not in the list of codes");
        let severity = if code.starts_with('W') { Severity::Warning } else { Severity::Error };
        Self {
            code,
            severity,
            message: readable(message.into()),
            labels: vec![Label { span, text: readable(label.into()), primary: true }],
            notes: Vec::new(),
            help: None,
            suggestion: None,
            repeated: 0,
        }
    }

    /// The same with another place.
    #[must_use]
    pub(crate) fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: readable(text.into()), primary: false });
        self
    }

    /// The same with another place, if there is one.
    #[must_use]
    pub(crate) fn label_if(self, span: Option<Span>, text: impl Into<String>) -> Self {
        match span {
            Some(span) => self.label(span, text),
            None => self,
        }
    }

    /// The same with a note.
    #[must_use]
    pub(crate) fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(readable(text.into()));
        self
    }

    /// The same with advice.
    #[must_use]
    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(readable(text.into()));
        self
    }

    /// The same with a change of the text that mends it.
    #[must_use]
    pub(crate) fn suggest(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.suggestion = Some(Edit { span, replacement: replacement.into() });
        self
    }

    /// The place that is wrong.
    pub fn primary(&self) -> Option<Span> {
        self.labels.iter().find(|label| label.primary).map(|label| label.span)
    }

    /// The diagnostic as plain text, with the lines of source it points at; for logs, pipes and tests.
    pub fn to_text(&self, sources: &Sources) -> String {
        let mut out = format!("{}[{}]: {}\n", self.severity, self.code, self.message);
        for label in &self.labels {
            out.push_str(&label_text(label, sources));
        }
        for note in &self.notes {
            out.push_str(&format!("  note: {note}\n"));
        }
        if self.repeated > 0 {
            out.push_str(&format!("  note: the same {} more times\n", self.repeated));
        }
        if let Some(help) = &self.help {
            out.push_str(&format!("  help: {help}\n"));
        }
        if let Some(edit) = &self.suggestion {
            let place = sources.describe(edit.span);
            let old = sources.text(edit.span);
            out.push_str(&match (old.is_empty(), edit.replacement.is_empty()) {
                (true, _) => format!("  fix: {place}: insert `{}`\n", edit.replacement),
                (_, true) => format!("  fix: {place}: remove `{old}`\n"),
                _ => format!("  fix: {place}: `{old}` -> `{}`\n", edit.replacement),
            });
        }
        out
    }
}

/// A message that quotes what is long quotes a part of it.
fn readable(text: String) -> String {
    const LETTERS_MAX: usize = 1_000;
    const BEGIN: usize = 300;
    const END: usize = 100;
    if text.len() <= LETTERS_MAX {
        return text;
    }
    let count = text.chars().count();
    if count <= LETTERS_MAX {
        return text;
    }
    text.chars().take(BEGIN).chain(['…']).chain(text.chars().skip(count - END)).collect()
}

/// One place with its line, underlined.
fn label_text(label: &Label, sources: &Sources) -> String {
    const WIDTH: usize = 120;
    let source = sources.get(label.span.file);
    let at = source.position(label.span.start);
    let end = source.position(label.span.end.max(label.span.start));
    let line: Vec<char> = source.line(at.line).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let arrow = if label.primary { "-->" } else { ":::" };
    let start = (at.column - 1).min(line.len());
    let stop = if end.line == at.line { (end.column - 1).min(line.len()) } else { line.len() };
    // Of a long line only the part around the place is shown.
    let first = if start > WIDTH * 2 / 3 { start - WIDTH / 3 } else { 0 };
    let last = line.len().min(first + WIDTH);
    let shown: String = line[first..last].iter().collect();
    let cut = if first > 0 { "…" } else { "" };
    let width = stop.min(last).saturating_sub(start).max(1);
    let mark = if label.primary { "^" } else { "-" };
    let number = at.line.to_string();
    let margin = " ".repeat(start - first + cut.chars().count());
    let underline = format!("{margin}{} {}", mark.repeat(width), label.text);
    let mut out = format!("  {arrow} {}:{}:{}\n", source.name, at.line, at.column);
    out.push_str(&format!("   {number} | {cut}{shown}{}\n", if last < line.len() { "…" } else { "" }));
    out.push_str(&format!("   {} | {}\n", " ".repeat(number.len()), underline.trim_end()));
    out
}

/// Code, primary place and its label: what makes two diagnostics one.
type Sameness = (&'static str, Option<(Span, String)>);

/// Collects diagnostics, without saying the same thing twice.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    list: Vec<Diagnostic>,
    /// Which of the list has this code with this primary place and label.
    seen: std::collections::BTreeMap<Sameness, usize>,
    limit: usize,
    left_out: usize,
}

impl Diagnostics {
    /// At most `limit` diagnostics.
    pub(crate) fn new(limit: usize) -> Self {
        Self { list: Vec::new(), seen: Default::default(), limit, left_out: 0 }
    }

    /// Adds one. The same code with the same words at the same place, as in the next instance of a `count`, is only
    /// counted.
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        let primary = diagnostic.labels.iter().find(|label| label.primary);
        let key = (diagnostic.code, primary.map(|label| (label.span, label.text.clone())));
        if let Some(known) = self.seen.get(&key) {
            if let Some(known) = self.list.get_mut(*known)
                && known.message != diagnostic.message
            {
                known.repeated = known.repeated.saturating_add(1);
            }
            return;
        }
        if self.list.len() >= self.limit {
            self.left_out += 1;
            return;
        }
        self.seen.insert(key, self.list.len());
        self.list.push(diagnostic);
    }

    /// True where there is at least one error.
    pub(crate) fn has_errors(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// All, errors first, then by file and place.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.list.sort_by_key(|d| (d.severity, d.primary().map(|span| (span.file, span.start)), d.code));
        if let Some(last) = self.list.last_mut().filter(|_| self.left_out > 0) {
            last.notes.push(format!("{} more errors and warnings were left out", self.left_out));
        }
        self.list
    }
}
