//! Findings, hovers, proposals and definitions in the protocol's words.

use lsp_types::{
    CompletionItem, CompletionItemKind, CompletionTextEdit, DiagnosticRelatedInformation, DiagnosticSeverity,
    Documentation, Location, MarkupContent, MarkupKind, NumberOrString, TextEdit, Uri,
};
use tycoon_lang::diagnostic::{Diagnostic, Severity};
use tycoon_lang::editor::{Proposal, ProposalKind, Proposals};
use tycoon_lang::{Edit, Sources, Span};

use crate::lsp::documents::uri_of;
use crate::lsp::position::range;

/// Where a span is; none for the standard library, the command line and the environment, which are no files.
pub fn location(sources: &Sources, span: Span) -> Option<Location> {
    let source = sources.get(span.file);
    if sources.is_standard(span.file) {
        return None;
    }
    let uri = uri_of(&source.name)?;
    Some(Location { uri, range: range(&source.text, span.start..span.end) })
}

/// A change of a text that mends a diagnostic.
#[derive(Clone, Debug)]
pub struct Mend {
    /// The document that is changed.
    pub uri: Uri,
    /// The change.
    pub edit: TextEdit,
    /// What it does, for a menu.
    pub title: String,
    /// The diagnostic that it mends.
    pub diagnostic: lsp_types::Diagnostic,
}

/// A diagnostic with its place, and how it can be mended.
pub fn diagnostic(sources: &Sources, found: &Diagnostic) -> Option<(Uri, lsp_types::Diagnostic, Option<Mend>)> {
    let place = location(sources, found.primary()?)?;
    let mut message = found.message.clone();
    for label in found.labels.iter().filter(|label| label.primary && !label.text.is_empty()) {
        message.push_str(&format!(": {}", label.text));
    }
    for note in &found.notes {
        message.push_str(&format!("\nnote: {note}"));
    }
    if let Some(help) = &found.help {
        message.push_str(&format!("\nhelp: {help}"));
    }
    let others = found.labels.iter().filter(|label| !label.primary);
    let others = others.filter_map(|label| {
        let location = location(sources, label.span)?;
        Some(DiagnosticRelatedInformation { location, message: label.text.clone() })
    });
    let others: Vec<_> = others.collect();
    let shown = lsp_types::Diagnostic {
        range: place.range,
        severity: Some(match found.severity {
            Severity::Error => DiagnosticSeverity::ERROR,
            Severity::Warning => DiagnosticSeverity::WARNING,
        }),
        code: Some(NumberOrString::String(found.code.to_owned())),
        source: Some("tycoon".to_owned()),
        message,
        related_information: (!others.is_empty()).then_some(others),
        ..lsp_types::Diagnostic::default()
    };
    let mend = found.suggestion.as_ref().and_then(|edit| mend(sources, edit, &shown));
    Some((place.uri, shown, mend))
}

fn mend(sources: &Sources, edit: &Edit, diagnostic: &lsp_types::Diagnostic) -> Option<Mend> {
    let place = location(sources, edit.span)?;
    let old = sources.text(edit.span);
    let title = match (old.is_empty(), edit.replacement.is_empty()) {
        (true, _) => format!("insert `{}`", edit.replacement.trim()),
        (_, true) => format!("remove `{old}`"),
        _ => format!("replace `{old}` by `{}`", edit.replacement),
    };
    let edit = TextEdit { range: place.range, new_text: edit.replacement.clone() };
    Some(Mend { uri: place.uri, edit, title, diagnostic: diagnostic.clone() })
}

/// Proposals as the protocol has them; `text` is the document's.
pub fn completions(text: &str, proposals: Proposals) -> Vec<CompletionItem> {
    let range = range(text, proposals.range);
    let item = |(number, proposal): (usize, Proposal)| CompletionItem {
        kind: Some(match proposal.kind {
            ProposalKind::Attribute => CompletionItemKind::FIELD,
            ProposalKind::Part => CompletionItemKind::STRUCT,
            ProposalKind::Kind => CompletionItemKind::CLASS,
            ProposalKind::Component => CompletionItemKind::MODULE,
            ProposalKind::Value => CompletionItemKind::ENUM_MEMBER,
            ProposalKind::Word => CompletionItemKind::KEYWORD,
            ProposalKind::Function => CompletionItemKind::FUNCTION,
            ProposalKind::Name => CompletionItemKind::VARIABLE,
        }),
        detail: (!proposal.detail.is_empty()).then_some(proposal.detail),
        documentation: (!proposal.doc.is_empty()).then(|| Documentation::MarkupContent(markdown(proposal.doc))),
        // The editor would sort by the alphabet otherwise.
        sort_text: Some(format!("{number:05}")),
        text_edit: Some(CompletionTextEdit::Edit(TextEdit { range, new_text: proposal.text.clone() })),
        label: proposal.text,
        ..CompletionItem::default()
    };
    proposals.list.into_iter().enumerate().map(item).collect()
}

/// Markdown for the editor.
pub fn markdown(value: String) -> MarkupContent {
    MarkupContent { kind: MarkupKind::Markdown, value }
}
