//! The state of one run: what was read, composed and evaluated so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::compose::{Class, ClassId};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::evaluate::instance::Instance;
use crate::expression::ast::Expression;
use crate::options::Options;
use crate::source::{FileId, Loader, Sources, Span};
use crate::statement::{LiteralId, StatementId, Statements};
use crate::symbol::{Interner, Symbol};

/// A file that takes part.
#[derive(Debug)]
pub(crate) struct Unit {
    /// The path by which the loader knows it; the kind's name for a file of the standard library.
    pub(crate) path: String,
    /// The statements at its top.
    pub(crate) statements: Vec<StatementId>,
    /// The namespaces it imports.
    pub(crate) imports: BTreeMap<Symbol, Import>,
    /// Its templates by name.
    pub(crate) templates: BTreeMap<Symbol, StatementId>,
    /// True for the standard library.
    pub(crate) is_standard: bool,
    /// It could not be read as a whole, which has been said; so nothing is said about what it lacks.
    pub(crate) is_broken: bool,
    /// The class of what stands at its top, once composed.
    pub(crate) class: Option<ClassId>,
    /// The instance of that class, once needed.
    pub(crate) instance: Option<crate::evaluate::instance::InstanceId>,
}

/// An import statement and what it leads to.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    /// `None` where it could not be read, which has been said.
    pub(crate) file: Option<FileId>,
    pub(crate) span: Span,
    pub(crate) used: bool,
}

/// What a statement turned out to be where it stands; see `docs/language.md`, node forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// Not looked at yet.
    #[default]
    Unknown,
    /// A param.
    Param,
    /// A let.
    Let,
    /// Creates a component.
    Creates,
    /// Anything else that was understood.
    Other,
    /// Not understood, and said so.
    Wrong,
}

/// An evaluation that failed, and said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Poison;

/// One run.
pub(crate) struct Resolver<'a> {
    pub(crate) options: &'a Options,
    pub(crate) loader: &'a dyn Loader,
    pub(crate) sources: Sources,
    pub(crate) names: Interner,
    pub(crate) statements: Statements,
    pub(crate) problems: Diagnostics,
    /// Assertions that do not hold, where that is to keep nobody from looking; else they are problems like others.
    pub(crate) broken: Option<Diagnostics>,
    pub(crate) units: BTreeMap<FileId, Unit>,
    pub(crate) imported: usize,
    pub(crate) kinds: BTreeMap<Symbol, Option<ClassId>>,
    pub(crate) templates: BTreeMap<StatementId, Option<ClassId>>,
    /// Prototypes that are being composed, with the place that asked for each.
    pub(crate) composing: Vec<(StatementId, Span)>,
    /// Endless containments that have been reported, as the statements that take part.
    pub(crate) circles: BTreeSet<Vec<StatementId>>,
    pub(crate) forms: Vec<Form>,
    /// Wrong lines and the attributes that each was meant for.
    pub(crate) spoils: BTreeMap<StatementId, BTreeSet<Symbol>>,
    /// Lines with a wrong word that create a component as if the right one stood there.
    pub(crate) mended: BTreeSet<StatementId>,
    pub(crate) classes: Vec<Class>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) compiled: BTreeMap<LiteralId, Option<Arc<Expression>>>,
    /// Members that are alike in all instances and have been checked.
    pub(crate) checked: BTreeSet<(ClassId, usize)>,
    /// Statements that declare a let, param or component that something reads.
    pub(crate) used: BTreeSet<StatementId>,
    pub(crate) steps: u64,
    pub(crate) out_of_steps: bool,
    pub(crate) chain_too_long: bool,
    /// Values that are being computed, with the place that asked for each.
    pub(crate) demands: Vec<crate::evaluate::demand::Demand>,
    /// While an assertion is explained: what its names stood for.
    pub(crate) trace: Option<Vec<crate::evaluate::check::Operand>>,
    /// The file that was asked for.
    pub(crate) main: Option<FileId>,
    /// Layers nearer than the main file, the farthest first: environment, files of params, command line, a test.
    pub(crate) overlays: Vec<FileId>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(options: &'a Options, loader: &'a dyn Loader) -> Self {
        Self {
            options,
            loader,
            sources: Sources::default(),
            names: Interner::default(),
            statements: Statements::default(),
            problems: Diagnostics::new(options.max_diagnostics),
            broken: None,
            units: BTreeMap::new(),
            imported: 0,
            kinds: BTreeMap::new(),
            templates: BTreeMap::new(),
            composing: Vec::new(),
            circles: BTreeSet::new(),
            forms: Vec::new(),
            spoils: BTreeMap::new(),
            mended: BTreeSet::new(),
            classes: Vec::new(),
            instances: Vec::new(),
            compiled: BTreeMap::new(),
            checked: BTreeSet::new(),
            used: BTreeSet::new(),
            steps: 0,
            out_of_steps: false,
            chain_too_long: false,
            demands: Vec::new(),
            trace: None,
            main: None,
            overlays: Vec::new(),
        }
    }

    /// The text of a name.
    pub(crate) fn text(&self, symbol: Symbol) -> &str {
        self.names.text(symbol)
    }

    /// Adds a diagnostic.
    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        self.problems.push(diagnostic);
    }

    /// From now on assertions that do not hold are kept apart.
    pub(crate) fn set_assertions_apart(&mut self) {
        self.broken = Some(Diagnostics::new(self.options.max_diagnostics));
    }

    /// The assertions that do not hold, where they are kept apart.
    pub(crate) fn take_broken(&mut self) -> Vec<Diagnostic> {
        self.broken.take().map(Diagnostics::into_sorted).unwrap_or_default()
    }

    /// Adds a diagnostic and gives up the value that was asked for.
    pub(crate) fn fail<T>(&mut self, diagnostic: Diagnostic) -> Result<T, Poison> {
        self.problems.push(diagnostic);
        Err(Poison)
    }

    /// What a statement turned out to be.
    pub(crate) fn form(&self, statement: StatementId) -> Form {
        self.forms.get(statement.0 as usize).copied().unwrap_or_default()
    }

    /// Notes what a statement turned out to be.
    pub(crate) fn set_form(&mut self, statement: StatementId, form: Form) {
        let index = statement.0 as usize;
        if self.forms.len() <= index {
            self.forms.resize(self.statements.len().max(index + 1), Form::Unknown);
        }
        self.forms[index] = form;
    }

    /// The class of an id of this run.
    pub(crate) fn class(&self, id: ClassId) -> &Class {
        &self.classes[id.0 as usize]
    }

    /// The class of an id of this run, for changes.
    pub(crate) fn class_mut(&mut self, id: ClassId) -> &mut Class {
        &mut self.classes[id.0 as usize]
    }

    /// The property of a statement.
    pub(crate) fn property(&self, statement: StatementId, name: &str) -> Option<StatementId> {
        let body = &self.statements[statement].body;
        let found = body.iter().take_while(|id| self.statements[**id].is_property);
        found.copied().find(|id| self.text(self.statements[*id].word()) == name)
    }

    /// True where a file belongs to the standard library.
    pub(crate) fn is_standard(&self, file: FileId) -> bool {
        self.units.get(&file).is_some_and(|unit| unit.is_standard)
    }
}
