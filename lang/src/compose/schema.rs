//! Declarations: `param`, and in the standard library `argument`, `record` and `item`.

use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::expression::ast::Variable;
use crate::nearest::{alternatives, nearest};
use crate::resolver::Resolver;
use crate::source::Span;
use crate::standard;
use crate::statement::{Reading, StatementId, Token};
use crate::symbol::Symbol;
use crate::types::Type;
use crate::value::Value;

/// What other languages call types, and what they are called here.
const FOREIGN_TYPES: [(&str, &str); 12] = [
    ("int", "integer"),
    ("uint", "integer"),
    ("bool", "boolean"),
    ("str", "string"),
    ("text", "string"),
    ("float", "number"),
    ("double", "number"),
    ("size", "bytes"),
    ("memory", "bytes"),
    ("time", "duration"),
    ("address", "ip"),
    ("money", "credits"),
];

/// What an attribute may hold.
#[derive(Clone, Debug)]
pub(crate) struct Declaration {
    pub(crate) name: Symbol,
    /// The statement.
    pub(crate) statement: StatementId,
    /// Where its name stands.
    pub(crate) span: Span,
    pub(crate) ty: Type,
    /// Filled by position, in records and items.
    pub(crate) positional: bool,
    /// Nothing need be written.
    pub(crate) optional: bool,
    /// Taken from the place of use.
    pub(crate) context: bool,
    pub(crate) liveness: Liveness,
    pub(crate) least: Option<(Value, Span)>,
    pub(crate) most: Option<(Value, Span)>,
    pub(crate) one_of: Vec<(Value, Span)>,
    /// The statement `default=…`.
    pub(crate) default: Option<StatementId>,
    pub(crate) doc: Option<Arc<str>>,
    /// What a condition sees.
    pub(crate) sees: Arc<[Arc<Variable>]>,
}

/// What an attribute has to do with live values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// Its value must be known before anything runs.
    Static,
    /// It may hold a live value.
    Accepted,
    /// It is one where nothing is written, and what is written must be known before anything runs.
    Source,
}

/// `record name { … }` in a kind.
#[derive(Clone, Debug)]
pub(crate) struct RecordDeclaration {
    pub(crate) statement: StatementId,
}

/// `item word key=… { … }` in a kind.
#[derive(Clone, Debug)]
pub(crate) struct ItemDeclaration {
    pub(crate) statement: StatementId,
    /// The attribute that tells items apart; ordered items have none.
    pub(crate) key: Option<Symbol>,
    pub(crate) ordered: bool,
}

impl Resolver<'_> {
    /// Reads `param name …` or `argument name …`.
    pub(crate) fn declaration(&mut self, statement: StatementId, positional: bool) -> Option<Declaration> {
        let (name, span) = self.declared_name(statement, "param")?;
        let in_standard = self.is_standard(self.statements[statement].file);
        let list = self.flag(statement, "list");
        let one_of_statement = self.child_statement(statement, "one-of");
        let mut is_known = true;
        let ty = match self.property(statement, "type") {
            // A type that is not known has been reported; the param is there all the same.
            Some(property) => self.type_named(property).unwrap_or_else(|| {
                is_known = false;
                Type::Any
            }),
            None if one_of_statement.is_some() => Type::Word,
            None if in_standard => Type::Any,
            None => Type::Text,
        };
        self.known_properties(
            statement,
            &["type", "default", "min", "max", "doc", "optional", "context", "list", "live"],
            &["one-of", "sees"],
        );
        let least = self.bound(statement, "min", &ty);
        let most = self.bound(statement, "max", &ty);
        let one_of = one_of_statement.map(|one_of| self.one_of(one_of, &ty)).unwrap_or_default();
        let liveness = match self.property(statement, "live").and_then(|property| self.plain_text(property, 0)) {
            Some((word, _)) if &*word == "source" => Liveness::Source,
            Some((word, _)) if &*word == "accepted" => Liveness::Accepted,
            _ if !in_standard => Liveness::Accepted,
            _ => Liveness::Static,
        };
        let sees = self.child_statement(statement, "sees").map(|sees| self.seen(sees)).unwrap_or_default();
        let doc = self.property(statement, "doc").and_then(|property| self.plain_text(property, 0)).map(|(doc, _)| doc);
        Some(Declaration {
            name,
            statement,
            span,
            ty: if list { Type::List(Box::new(ty)) } else { ty },
            positional,
            optional: self.flag(statement, "optional") || !is_known,
            context: self.flag(statement, "context"),
            liveness,
            least,
            most,
            one_of,
            default: self.property(statement, "default"),
            doc,
            sees,
        })
    }

    /// The name that a declaring statement gives, checked.
    pub(crate) fn declared_name(&mut self, statement: StatementId, word: &str) -> Option<(Symbol, Span)> {
        self.mend_equals(statement, word);
        let Some((name, span)) = self.plain_text(statement, 0) else {
            let place = self.statements[statement].span;
            let message = format!("this `{word}` has no name");
            self.report(
                Diagnostic::new("E0208", message, place, "a name is missing").help(format!("write `{word} name …`")),
            );
            return None;
        };
        if !super::names::is_name(&name) || super::names::is_reserved(&name) {
            let message = format!("`{name}` cannot be a name");
            let help = if super::names::is_reserved(&name) {
                "the language keeps this word for itself; choose another name"
            } else {
                "use letters, digits, `-` and `_`, with a letter first"
            };
            self.report(Diagnostic::new("E0208", message, span, "not a name").help(help));
            return None;
        }
        if word != "let"
            && word != "output"
            && let Some(extra) = self.statements[statement].arguments.get(1)
        {
            let error = Diagnostic::new("E0212", format!("a `{word}` has one name"), extra.span, "one too many");
            self.report(error.help("remove it; a default is written `default=…`, a prototype `extends=…`"));
            return None;
        }
        Some((self.names.intern(&name), span))
    }

    /// A statement of the block of another one.
    pub(crate) fn child_statement(&self, statement: StatementId, name: &str) -> Option<StatementId> {
        let body = &self.statements[statement].body;
        body.iter()
            .copied()
            .find(|id| !self.statements[*id].is_property && self.text(self.statements[*id].word()) == name)
    }

    /// A property that is `#true` or `#false`; false where it is missing.
    pub(crate) fn flag(&mut self, statement: StatementId, name: &str) -> bool {
        let Some(property) = self.property(statement, name) else { return false };
        let argument = self.statements[property].arguments.first().cloned();
        match argument.map(|literal| (literal.token, literal.span)) {
            Some((Token::Boolean(value), _)) => value,
            Some((_, span)) => {
                let message = format!("`{name}` is either `#true` or `#false`");
                self.report(Diagnostic::new("E0401", message, span, "a boolean is expected").suggest(span, "#true"));
                false
            }
            None => false,
        }
    }

    /// The type that `type=…` names.
    pub(crate) fn type_named(&mut self, property: StatementId) -> Option<Type> {
        let Some((name, span)) = self.plain_text(property, 0) else {
            let span = self.statements[property].span;
            let error = Diagnostic::new("E0212", "a type is one word", span, "not a word");
            self.report(error.help("write for example `type=bytes`"));
            return None;
        };
        let found = Type::from_name(&name, standard::is_kind);
        if found.is_none() {
            let mut error = Diagnostic::new("E0202", format!("there is no type `{name}`"), span, "unknown type");
            let names: Vec<&str> = Type::names().collect();
            let kinds = standard::KINDS.iter().map(|(kind, _)| *kind);
            let foreign = FOREIGN_TYPES.iter().find(|(foreign, _)| *foreign == &*name).map(|(_, ty)| *ty);
            error = match foreign.or_else(|| nearest(&name, names.iter().copied().chain(kinds))) {
                Some(meant) => error.help(format!("did you mean `{meant}`?")).suggest(span, meant),
                None => error.help(format!("types are {}, and the names of kinds", alternatives(&names, "and"))),
            };
            self.report(error);
        }
        found
    }

    /// Refuses properties and lines that a declaration does not have.
    fn known_properties(&mut self, statement: StatementId, properties: &[&str], children: &[&str]) {
        for id in self.statements[statement].body.clone() {
            let part = &self.statements[id];
            let known = if part.is_property { properties } else { children };
            let name = Arc::clone(self.names.text(part.word()));
            if part.is_single() && known.contains(&&*name) {
                continue;
            }
            let span = part.name_span;
            let mut error = Diagnostic::new("E0201", format!("a declaration has no `{name}`"), span, "not known here");
            error = match nearest(&name, known.iter().copied()) {
                Some(meant) => error.help(format!("did you mean `{meant}`?")).suggest(span, meant),
                None => error.help(format!("it may have {}", alternatives(known, "and"))),
            };
            self.report(error);
        }
    }

    fn bound(&mut self, statement: StatementId, name: &str, ty: &Type) -> Option<(Value, Span)> {
        let property = self.property(statement, name)?;
        let literal = self.statements[property].arguments.first().cloned()?;
        self.literal_of_type(&literal.token, literal.reading, literal.span, ty)
    }

    fn one_of(&mut self, statement: StatementId, ty: &Type) -> Vec<(Value, Span)> {
        let literals = self.statements[statement].arguments.clone();
        if literals.is_empty() {
            let span = self.statements[statement].span;
            let error = Diagnostic::new("E0212", "`one-of` lists no choices", span, "choices are missing");
            self.report(error.help("write them behind it: `one-of small large`"));
        }
        literals
            .iter()
            .filter_map(|literal| self.literal_of_type(&literal.token, literal.reading, literal.span, ty))
            .collect()
    }

    fn literal_of_type(&mut self, token: &Token, reading: Reading, span: Span, ty: &Type) -> Option<(Value, Span)> {
        if reading != Reading::Plain {
            let error = Diagnostic::new("E0212", "a declaration's bounds are literal", span, "computed");
            self.report(error.help("write the value itself, or check it with `assert`"));
            return None;
        }
        match ty.read(token) {
            Ok(value) => Some((value, span)),
            Err(mismatch) => {
                self.report_mismatch(&mismatch, span, None);
                None
            }
        }
    }

    /// Reports a literal or value that is not of its type.
    pub(crate) fn report_mismatch(
        &mut self,
        mismatch: &crate::types::Mismatch,
        span: Span,
        declared: Option<&Declaration>,
    ) {
        let code = if mismatch.wrong_unit { "E0402" } else { "E0401" };
        let label = match declared {
            Some(declaration) => format!("expected: {}", declaration.ty),
            None => "not of this type".to_owned(),
        };
        let mut error = Diagnostic::new(code, mismatch.message.clone(), span, label);
        if let Some(declaration) = declared {
            error = error.label(declaration.span, format!("declared here as {}", declaration.ty));
        }
        error = match &mismatch.instead {
            Some(instead) => {
                let because = mismatch.because.as_ref().map(|because| format!("; {because}")).unwrap_or_default();
                error.help(format!("write `{instead}`{because}")).suggest(span, instead.clone())
            }
            None => error.help(mismatch.help.clone()),
        };
        self.report(error);
    }

    /// `sees host=host-facts price=rate`
    fn seen(&mut self, statement: StatementId) -> Arc<[Arc<Variable>]> {
        let properties = self.statements[statement].body.clone();
        let variables = properties.into_iter().filter_map(|property| {
            let name = Arc::clone(self.names.text(self.statements[property].word()));
            let ty = self.type_named(property)?;
            Some(Arc::new(Variable { name, ty }))
        });
        let variables: Vec<Arc<Variable>> = variables.collect();
        variables.into()
    }
}
