//! Literals that are not of their type, and what was most likely meant by them.

use std::sync::Arc;

use crate::compose::Write;
use crate::compose::schema::Declaration;
use crate::diagnostic::Diagnostic;
use crate::expression::parser::{Place, parse};
use crate::resolver::Resolver;
use crate::source::{FileId, Span};
use crate::statement::{Literal, Reading, Token};
use crate::symbol::Interner;
use crate::types::{Mismatch, Type};

impl Resolver<'_> {
    /// Reports a literal that is not of its type. A name where a value is expected was to be computed.
    pub(crate) fn report_literal(
        &mut self,
        mut mismatch: Mismatch,
        literal: &Literal,
        write: &Write,
        declaration: Option<&Declaration>,
    ) {
        if let Token::Text(text) = &literal.token
            && literal.reading == Reading::Plain
        {
            self.propose_annotation(&mut mismatch, text, literal, write, declaration);
        }
        self.report_mismatch(&mismatch, literal.span, declaration);
    }

    /// Proposes the annotation that a text lacks: `($)` before an expression of names that are declared here, `(f)`
    /// before a text with `${…}`.
    fn propose_annotation(
        &self,
        mismatch: &mut Mismatch,
        text: &str,
        literal: &Literal,
        write: &Write,
        declaration: Option<&Declaration>,
    ) {
        let ty = declaration.map_or(&Type::Integer, |declaration| declaration.ty.element());
        let is_never_text = matches!(ty, Type::Boolean | Type::Integer | Type::Number);
        let file = literal.span.file;
        let written = self.sources.text(literal.span);
        if let Some(name) = text.strip_prefix('$').filter(|name| self.is_visible(name, write.scope, file)) {
            mismatch.instead = Some(format!("($){name}"));
            mismatch.because = Some("`($)` stands before what is computed".to_owned());
        } else if self.is_visible(text, write.scope, file) {
            mismatch.instead = Some(format!("($){text}"));
            mismatch.because = Some(format!("`{text}` is declared here, and only `($)` computes"));
        } else if let Some(inside) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
            mismatch.instead = Some(if is_never_text { inside.to_owned() } else { format!("\"{inside}\"") });
            mismatch.because = Some("text stands between double quotes; single ones are for expressions".to_owned());
        } else if let Some(inside) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'))
            && !inside.contains(['{', '}', '"'])
        {
            mismatch.instead = Some(format!("($)\"{inside}\""));
            mismatch.because = Some("plain text is not filled in; `($)` computes".to_owned());
        } else if text.contains("${") && !is_never_text {
            mismatch.instead = Some(format!("(f){written}"));
            let mut because = "`${…}` is filled in only where `(f)` stands before the text".to_owned();
            if let Some(unknown) = self.unknown_number(text, write, file) {
                because.push_str(&format!("; nothing is called `{unknown}` here: the number of each is `index`"));
            }
            mismatch.because = Some(because);
        } else if let Some(braced) = self.braced(written, write, file).filter(|_| !is_never_text) {
            mismatch.instead = Some(format!("(f){braced}"));
            mismatch.because = Some("`(f)` before a text fills in what stands in `${…}`".to_owned());
        } else if text.contains([' ', '.', '(', '+', '*', '/', '%']) && self.is_expression_of_names(text, write, file) {
            mismatch.instead = Some(format!("($){written}"));
            mismatch.because = Some("plain text never computes; `($)` does".to_owned());
        }
    }

    /// The text with `${name}` for every `$name` of something that an expression sees here; `None` where there is none.
    fn braced(&self, written: &str, write: &Write, file: FileId) -> Option<String> {
        let mut fixed = String::with_capacity(written.len() + 4);
        let mut rest = written;
        let mut found = false;
        while let Some((before, after)) = rest.split_once('$') {
            fixed.push_str(before);
            let is_part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
            let name = &after[..after.find(|letter| !is_part(letter)).unwrap_or(after.len())];
            rest = &after[name.len()..];
            if name == "index" || self.is_visible(name, write.scope, file) {
                found = true;
                fixed.push_str(&format!("${{{name}}}"));
            } else {
                fixed.push('$');
                fixed.push_str(name);
            }
        }
        fixed.push_str(rest);
        found.then_some(fixed)
    }

    /// A short name in `${…}` that nothing has, as one gives it to the number of an instance: `i`, `n`, `nr`.
    fn unknown_number<'a>(&self, text: &'a str, write: &Write, file: FileId) -> Option<&'a str> {
        let mut inside =
            text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(inside, _)| inside.trim());
        inside.find(|name| is_like_a_number(name) && !self.is_visible(name, write.scope, file))
    }

    /// True for an expression with a name that is declared in the text around.
    fn is_expression_of_names(&self, text: &str, write: &Write, file: FileId) -> bool {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
        let mut words = text.split(|letter| !is_part(letter)).filter(|word| !word.is_empty());
        let sees_a_name = words.any(|word| {
            let first = word.split('.').next().unwrap_or_default();
            matches!(first, "index" | "each" | "this" | "parent") || self.is_visible(first, write.scope, file)
        });
        sees_a_name && {
            let place = Place { literal: Span::new(file, 0, 0), text_start: None };
            parse(text, place, &mut Interner::default()).is_ok()
        }
    }

    /// Warns of a plain text with `${name}` where that is a name of the description: it stays as it stands. What is
    /// meant for a shell has names of its own.
    pub(crate) fn unfilled(&mut self, write: &Write) {
        for at in write.first..write.end {
            let Some(literal) = self.statements[write.holder].arguments.get(at) else { continue };
            let Token::Text(text) = &literal.token else { continue };
            if literal.reading != Reading::Plain {
                continue;
            }
            if !text.contains("${") {
                let (text, span) = (Arc::clone(text), literal.span);
                self.uncomputed(&text, span, write);
                continue;
            }
            let (text, span) = (Arc::clone(text), literal.span);
            let mut inside = text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(inside, _)| inside);
            let Some(name) = inside.find(|inside| self.is_meant_here(inside, write, span.file)) else { continue };
            let message = format!("`${{{name}}}` is not filled in: it stands in a plain text");
            let warning = Diagnostic::new("W0005", message, span, "stays as it is");
            let help = "write `(f)` before the text to fill it in, and `$${` there for what shall stay";
            self.report(warning.help(help).suggest(Span { end: span.start, ..span }, "(f)"));
        }
    }

    /// Warns of an output or let whose value is a path of the description, without quotes: it is only text.
    fn uncomputed(&mut self, text: &str, span: Span, write: &Write) {
        let word = self.text(self.statements[write.holder].word());
        let is_bare_path = text.contains('.') && self.sources.text(span) == text;
        let first = text.split('.').next().unwrap_or_default();
        if !is_bare_path || !matches!(word, "output" | "let") || !self.is_meant_here(text, write, span.file) {
            return;
        }
        let message = format!("`{text}` is not computed: it is plain text");
        let warning = Diagnostic::new("W0005", message, span, format!("does not look at `{first}`"));
        let help = format!("write `($){text}` to compute it, or put it between quotes if it is text");
        self.report(warning.help(help).suggest(Span { end: span.start, ..span }, "($)"));
    }

    /// True where what stands between `${` and `}` names something of the description.
    fn is_meant_here(&self, inside: &str, write: &Write, file: FileId) -> bool {
        let inside = inside.trim();
        let (first, has_parts) = inside.split_once('.').map_or((inside, false), |(first, _)| (first, true));
        let is_builtin = has_parts && matches!(first, "each" | "this" | "parent" | "pool");
        is_builtin || self.is_visible(first, write.scope, file)
    }
}

/// True for names that one gives to the number of an instance, which is called `index`.
pub(crate) fn is_like_a_number(name: &str) -> bool {
    matches!(name, "i" | "nr" | "no" | "num" | "idx")
}
