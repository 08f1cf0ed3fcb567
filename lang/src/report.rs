//! Diagnostics as `miette` reports.

use std::fmt;
use std::sync::Arc;

use miette::{LabeledSpan, NamedSource, SourceCode};

use crate::diagnostic::{Diagnostic, Severity};
use crate::excerpt::{Excerpt, LINE_BYTES_MAX};
use crate::source::{FileId, Sources};

/// A [`Diagnostic`] together with its sources, for `miette`'s handlers.
///
/// A `miette` diagnostic has one source file, so places in other files become related diagnostics.
#[derive(Debug)]
pub struct Report {
    code: String,
    severity: miette::Severity,
    message: String,
    help: Option<String>,
    source: Option<NamedSource<Arc<str>>>,
    labels: Vec<LabeledSpan>,
    related: Vec<Report>,
}

/// Turns a diagnostic into a `miette` report.
pub fn report(diagnostic: &Diagnostic, sources: &Sources) -> Report {
    let severity = match diagnostic.severity {
        Severity::Error => miette::Severity::Error,
        Severity::Warning => miette::Severity::Warning,
    };
    let mut help: Vec<String> = diagnostic.notes.clone();
    if diagnostic.repeated > 0 {
        help.push(format!("the same {} more times", diagnostic.repeated));
    }
    help.extend(diagnostic.help.clone());
    let main = diagnostic.labels.first().map(|label| label.span.file);
    // Of a file that could not be read there is nothing to show; the message names it.
    let main = main.filter(|file| !(diagnostic.code.starts_with("E01") && sources.get(*file).text.is_empty()));
    // What the standard library says helps nobody to mend a slip; only the way of a live value begins there.
    let helps = |file: FileId| diagnostic.code == "E0407" || !sources.is_standard(file);
    let mut others: Vec<FileId> = Vec::new();
    for label in diagnostic.labels.iter().filter(|label| main.is_some() && helps(label.span.file)) {
        if Some(label.span.file) != main && !others.contains(&label.span.file) {
            others.push(label.span.file);
        }
    }
    let related = others.into_iter().map(|file| {
        let (source, labels, _) = shown(diagnostic, file, sources);
        Report {
            code: String::new(),
            severity: miette::Severity::Advice,
            message: format!("in {}", sources.get(file).name),
            help: None,
            source: Some(source),
            labels,
            related: Vec::new(),
        }
    });
    let main = main.map(|file| shown(diagnostic, file, sources));
    if let (Some((_, _, true)), Some(span)) = (&main, diagnostic.primary())
        && let source = sources.get(span.file)
        && let at = source.position(span.start)
        && source.line(at.line).len() > LINE_BYTES_MAX
    {
        help.insert(0, format!("line {} is long and shown in part; the place is column {}", at.line, at.column));
    }
    let (source, labels) = match main {
        Some((source, labels, _)) => (Some(source), labels),
        None => (None, Vec::new()),
    };
    Report {
        code: diagnostic.code.to_owned(),
        severity,
        message: diagnostic.message.clone(),
        help: (!help.is_empty()).then(|| help.join("\n")),
        source,
        labels,
        related: related.collect(),
    }
}

/// What is shown of a file, the places in it, and whether lines were cut.
fn shown(diagnostic: &Diagnostic, file: FileId, sources: &Sources) -> (NamedSource<Arc<str>>, Vec<LabeledSpan>, bool) {
    let source = sources.get(file);
    let labels: Vec<_> = diagnostic.labels.iter().filter(|label| label.span.file == file).collect();
    let places: Vec<usize> = labels.iter().map(|label| label.span.start).collect();
    let excerpt = Excerpt::new(&source.text, &places);
    let spans = labels.into_iter().map(|label| {
        let text = (!label.text.is_empty()).then(|| label.text.clone());
        let start = excerpt.place(label.span.start);
        let span = (start, excerpt.place(label.span.end).saturating_sub(start));
        if label.primary {
            LabeledSpan::new_primary_with_span(text, span)
        } else {
            LabeledSpan::new_with_span(text, span)
        }
    });
    let spans = spans.collect();
    let is_cut = excerpt.is_cut();
    let text = if is_cut { Arc::from(&*excerpt.text) } else { Arc::clone(&source.text) };
    (NamedSource::new(&*source.name, text), spans, is_cut)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl miette::Diagnostic for Report {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.code.is_empty()).then(|| Box::new(&self.code) as Box<dyn fmt::Display>)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        if self.related.is_empty() {
            return None;
        }
        Some(Box::new(self.related.iter().map(|report| report as &dyn miette::Diagnostic)))
    }
}
