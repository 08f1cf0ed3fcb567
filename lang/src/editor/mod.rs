//! What an editor asks about a description that is being written: what is wrong, what stands at a place, where it is
//! declared, and what could be written there.
//!
//! Places are bytes of the file's text. Every question resolves the file anew, through the same [`Loader`] that
//! knows the editor's unsaved texts. [`complete`] works on texts that are not KDL yet as well; see `mend`.

mod complete;
mod definition;
mod expressions;
mod hover;
mod mend;
mod place;

use std::ops::Range;

use crate::diagnostic::Diagnostic;
use crate::load::{Failure, check, load, on_large_stack};
use crate::options::Options;
use crate::resolver::Resolver;
use crate::source::{FileId, Loader, Sources, Span};

/// Everything that is to be said about a file.
#[derive(Clone, Debug)]
pub struct Findings {
    /// All files that took part.
    pub sources: Sources,
    /// Errors and warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// Finds everything that is wrong with a file, be it a pool or a library, and what looks unintended.
pub fn diagnose(path: &str, loader: &dyn Loader, options: &Options) -> Findings {
    let checked = match check(path, loader, options) {
        Ok(checked) => checked,
        Err(Failure { sources, diagnostics }) => return Findings { sources, diagnostics },
    };
    // What is said of the one pool that a command would take, where it does not stand once; a library has none.
    if let ([_], []) = (&checked.pools[..], &checked.resolved[..])
        && let Err(Failure { sources, diagnostics }) = load(path, loader, options)
    {
        return Findings { sources, diagnostics };
    }
    Findings { sources: checked.sources, diagnostics: checked.warnings }
}

/// What is known of what stands at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hover {
    /// The bytes of the text that it is about.
    pub range: Range<usize>,
    /// What it is, as Markdown.
    pub markdown: String,
}

/// What stands at a place: a kind, an attribute with its value, a name of an expression.
pub fn hover(path: &str, loader: &dyn Loader, options: &Options, at: usize) -> Option<Hover> {
    prepared(path, loader, options, |resolver, main| resolver.hover_at(main, at))
}

/// A place in some file.
#[derive(Clone, Debug)]
pub struct Definition {
    /// All files that took part.
    pub sources: Sources,
    /// The place.
    pub span: Span,
}

/// Where that is declared what stands at a place: a template, an attribute, a component, a name, an imported file.
/// `None` where nothing is there, or where it belongs to the standard library.
pub fn definition(path: &str, loader: &dyn Loader, options: &Options, at: usize) -> Option<Definition> {
    prepared(path, loader, options, |resolver, main| {
        let span = resolver.definition_at(main, at)?;
        let in_library = resolver.is_standard(span.file);
        (!in_library).then(|| Definition { sources: std::mem::take(&mut resolver.sources), span })
    })
}

/// What a proposal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalKind {
    /// An attribute, param or property.
    Attribute,
    /// A record or item.
    Part,
    /// A kind of components, or a template.
    Kind,
    /// A component.
    Component,
    /// A value.
    Value,
    /// A word of the language.
    Word,
    /// A function of expressions.
    Function,
    /// A param, let or other name of expressions.
    Name,
}

/// Something that could be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// What is inserted.
    pub text: String,
    /// What it is.
    pub kind: ProposalKind,
    /// Its type, in few words. May be empty.
    pub detail: String,
    /// What it means. May be empty.
    pub doc: String,
}

/// What could be written at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposals {
    /// The bytes of the text that a proposal replaces: what is written of the word so far.
    pub range: Range<usize>,
    /// The proposals, the most likely first.
    pub list: Vec<Proposal>,
}

/// What could be written at a place of `text`, which is the text of `path` and need not be sound.
pub fn complete(path: &str, text: &str, loader: &dyn Loader, options: &Options, at: usize) -> Proposals {
    complete::complete(path, text, loader, options, at)
}

/// Reads, composes and checks a file, and asks something about it.
fn prepared<T: Send>(
    path: &str,
    loader: &dyn Loader,
    options: &Options,
    ask: impl FnOnce(&mut Resolver<'_>, FileId) -> Option<T> + Send,
) -> Option<T> {
    on_large_stack(|| {
        let mut resolver = Resolver::new(options, loader);
        let main = resolver.prepare(path);
        resolver.check_file(main, &mut Vec::new());
        ask(&mut resolver, main)
    })
}
