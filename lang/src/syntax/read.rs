//! One file: checked, parsed by the `kdl` crate, and turned into statements.

use std::collections::BTreeMap;
use std::sync::Arc;

use kdl::{KdlDocument, KdlEntry, KdlNode, KdlValue};

use crate::diagnostic::Diagnostic;
use crate::files::Unreadable;
use crate::nearest::nearest;
use crate::options::Options;
use crate::source::{FileId, Span};
use crate::statement::{Annotation, Literal, Reading, Statement, StatementId, Statements, Token};
use crate::symbol::{Interner, Symbol};
use crate::syntax::check;

/// Turns bytes into text, refusing what is too large or not UTF-8.
pub(crate) fn decode(name: &str, bytes: Vec<u8>, options: &Options) -> Result<Arc<str>, Unreadable> {
    if bytes.len() > options.max_file_bytes {
        return Err(Unreadable::too_large(name, options.max_file_bytes as u64));
    }
    String::from_utf8(bytes).map(Arc::from).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(at).copied().unwrap_or_default();
        Unreadable {
            code: "E0102",
            message: format!("`{name}` is not UTF-8 text: byte {at} (0x{byte:02x}) begins no character"),
            // The bytes before the place are valid, so the place is the same in what is shown.
            text: Arc::from(String::from_utf8_lossy(error.as_bytes())),
            at,
            help: "save the file as UTF-8, for example with `iconv -t UTF-8`",
        }
    })
}

/// Reads the statements of a file that is already among the sources. Must run on a stack of several MiB.
pub(crate) fn read(
    file: FileId,
    text: &str,
    options: &Options,
    names: &mut Interner,
    statements: &mut Statements,
    problems: &mut Vec<Diagnostic>,
) -> Vec<StatementId> {
    if let Err(error) = check::check(file, text, options.max_depth) {
        problems.push(*error);
        return Vec::new();
    }
    match KdlDocument::parse_v2(text) {
        Ok(document) => {
            let mut reader = Reader { file, text, names, statements, problems };
            document.nodes().iter().map(|node| reader.node(node, None)).collect()
        }
        Err(error) => {
            problems.push(parser_diagnostic(file, text, &error));
            Vec::new()
        }
    }
}

/// What our own check let through: the parser's first message, in one line.
fn parser_diagnostic(file: FileId, text: &str, error: &kdl::KdlError) -> Diagnostic {
    let first = error.diagnostics.iter().min_by_key(|d| d.span.offset());
    let (span, message, help) = match first {
        Some(d) => {
            let start = d.span.offset().min(text.len());
            let end = (start + d.span.len()).min(text.len());
            let message = d.message.clone().or_else(|| d.label.clone()).unwrap_or_else(|| "this is not KDL".into());
            (Span::new(file, start, end), message, d.help.clone())
        }
        None => (Span::new(file, 0, 0), "this is not KDL".to_owned(), None),
    };
    let mut letters = message.chars();
    let message: String = letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
    let diagnostic = Diagnostic::new("E0105", format!("this is not KDL: {message}"), span, "unexpected");
    diagnostic.help(help.unwrap_or_else(|| "a line is `name value… property=value… { block }`".to_owned()))
}

struct Reader<'a> {
    file: FileId,
    text: &'a str,
    names: &'a mut Interner,
    statements: &'a mut Statements,
    problems: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn span(&self, span: miette::SourceSpan) -> Span {
        Span::new(self.file, span.offset(), span.offset() + span.len())
    }

    fn node(&mut self, node: &KdlNode, parent: Option<StatementId>) -> StatementId {
        let name_span = self.span(node.name().span());
        let full_span = self.span(node.span());
        let path = self.path(node.name().value(), name_span);
        let annotation = node.ty().and_then(|ty| self.annotation(ty));
        let last = node.entries().last().map_or(name_span.end, |entry| entry.span().offset() + entry.span().len());
        let span = Span::new(self.file, full_span.start, last.max(name_span.end));
        let id = self.statements.add(Statement {
            file: self.file,
            annotation,
            path,
            name_span,
            arguments: Vec::new(),
            body: Vec::new(),
            has_block: node.children().is_some(),
            is_property: false,
            parent,
            span,
            end: full_span.end.max(span.end),
        });
        let mut arguments = Vec::new();
        let mut body = Vec::new();
        let mut properties = BTreeMap::new();
        for entry in node.entries() {
            match entry.name() {
                None => arguments.push(self.literal(entry)),
                Some(_) => body.extend(self.property(entry, id, &mut properties)),
            }
        }
        for child in node.children().map(KdlDocument::nodes).unwrap_or_default() {
            body.push(self.node(child, Some(id)));
        }
        let statement = self.statements.get_mut(id);
        statement.arguments = arguments;
        statement.body = body;
        id
    }

    /// A name cut at its dots, each part with its own place where the name is bare.
    fn path(&mut self, name: &str, span: Span) -> Vec<(Symbol, Span)> {
        let bare = span.end - span.start == name.len();
        let mut start = span.start;
        let mut path = Vec::with_capacity(1);
        for part in name.split('.') {
            let place = if bare { Span::new(self.file, start, start + part.len()) } else { span };
            if part.is_empty() {
                let message = format!("`{name}` has an empty part");
                self.problems.push(Diagnostic::new("E0208", message, span, "a name is missing beside a dot"));
            }
            path.push((self.names.intern(part), place));
            start += part.len() + 1;
        }
        path
    }

    fn annotation(&mut self, ty: &kdl::KdlIdentifier) -> Option<(Annotation, Span)> {
        const KNOWN: [&str; 3] = ["default", "final", "replace"];
        let span = self.span(ty.span());
        match ty.value() {
            "default" => Some((Annotation::Default, span)),
            "final" => Some((Annotation::Final, span)),
            "replace" => Some((Annotation::Replace, span)),
            other => {
                let message = format!("`({other})` means nothing before a name");
                let mut error = Diagnostic::new("E0211", message, span, "unknown annotation")
                    .help("known are `(default)`, `(final)` and `(replace)`; `($)` and `(f)` stand before a value");
                if let Some(meant) = nearest(other, KNOWN) {
                    error = error.suggest(span, meant);
                }
                self.problems.push(error);
                None
            }
        }
    }

    /// `earlier` are the properties of the same node, by name, with their places.
    fn property(
        &mut self,
        entry: &KdlEntry,
        owner: StatementId,
        earlier: &mut BTreeMap<Symbol, Span>,
    ) -> Option<StatementId> {
        let name = entry.name()?;
        let name_span = self.span(name.span());
        let path = self.path(name.value(), name_span);
        if path.len() > 1 {
            let message = format!("the property `{}` has a dot in its name", name.value());
            let error = Diagnostic::new("E0208", message, name_span, "only one word here");
            self.problems.push(error.help("write it as a line of its own inside the block"));
            return None;
        }
        if let Some(first) = earlier.get(&path[0].0).copied() {
            let message = format!("the property `{}` is written twice", name.value());
            let error = Diagnostic::new("E0107", message, name_span, "the second time");
            self.problems.push(error.label(first, "the first time").help("remove one of them"));
            return None;
        }
        let literal = self.literal(entry);
        let span = self.span(entry.span());
        earlier.insert(path[0].0, span);
        Some(self.statements.add(Statement {
            file: self.file,
            annotation: None,
            path,
            name_span,
            arguments: vec![literal],
            body: Vec::new(),
            has_block: false,
            is_property: true,
            parent: Some(owner),
            span,
            end: span.end,
        }))
    }

    fn literal(&mut self, entry: &KdlEntry) -> Literal {
        let whole = self.span(entry.span());
        let written = entry.format().map_or("", |format| format.value_repr.as_str());
        // The entry's span ends with its value; there is none for the value alone.
        let start = if written.is_empty() { whole.start } else { whole.end.saturating_sub(written.len()) };
        let span = Span::new(self.file, start, whole.end);
        let reading = match entry.ty().map(|ty| (ty.value().to_owned(), self.span(ty.span()))) {
            None => Reading::Plain,
            Some((word, _)) if word == "$" => Reading::Compute,
            Some((word, _)) if word == "f" => Reading::Fill,
            Some((word, place)) => {
                let message = format!("`({word})` means nothing before a value");
                let error = Diagnostic::new("E0211", message, place, "unknown annotation");
                let help = "`($)` computes and `(f)` fills in; types are declared by the schema, not written at values";
                self.problems.push(error.help(help));
                Reading::Wrong
            }
        };
        let token = match entry.value() {
            KdlValue::String(text) => Token::Text(Arc::from(text.as_str())),
            KdlValue::Integer(number) => Token::Integer(*number),
            KdlValue::Float(number) => Token::Decimal(*number),
            KdlValue::Bool(value) => Token::Boolean(*value),
            KdlValue::Null => Token::Null,
        };
        if reading == Reading::Fill && !matches!(token, Token::Text(_)) {
            let error = Diagnostic::new("E0211", "`(f)` fills in a text", span, "this is no text");
            self.problems.push(error.help("put it between quotes, or use `($)` to compute"));
            return Literal {
                token,
                reading: Reading::Wrong,
                span,
                text_start: None,
                id: self.statements.next_literal(),
            };
        }
        let text_start = match &token {
            Token::Text(text) => letter_by_letter(self.text, span, text),
            _ => None,
        };
        Literal { token, reading, span, text_start, id: self.statements.next_literal() }
    }
}

/// Where the text starts in the file, if it stands there without escapes.
fn letter_by_letter(file: &str, span: Span, text: &str) -> Option<usize> {
    let written = file.get(span.start..span.end)?;
    let at = written.find(text).filter(|_| !text.is_empty())?;
    let quotes = written.len().checked_sub(text.len())?;
    (quotes == 2 * at).then_some(span.start + at)
}
