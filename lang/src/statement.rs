//! Statements: what a file says, before anybody knows what it means.

use std::sync::Arc;

use crate::source::{FileId, Span};
use crate::symbol::Symbol;

/// A statement of any file; an index into [`Statements`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StatementId(pub(crate) u32);

/// What `(default)`, `(final)` or `(replace)` before a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Annotation {
    /// Counts only where nothing else is written.
    Default,
    /// Nothing nearer may say otherwise.
    Final,
    /// Empties the layers beneath.
    Replace,
}

/// How a value is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As it stands, by the type of the place.
    Plain,
    /// `($)`: an expression.
    Compute,
    /// `(f)`: text with `${…}`.
    Fill,
    /// Text from a command line, which is read by the type of the place whatever it looks like.
    Foreign,
    /// Not understood, and said so.
    Wrong,
}

/// A value as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Text(Arc<str>),
    Integer(i128),
    Decimal(f64),
    Boolean(bool),
    Null,
}

/// A value in its place.
#[derive(Clone, Debug)]
pub(crate) struct Literal {
    pub(crate) token: Token,
    pub(crate) reading: Reading,
    /// The value without its annotation.
    pub(crate) span: Span,
    /// Where byte 0 of the text stands in the file, if the text stands there letter by letter.
    pub(crate) text_start: Option<usize>,
    /// Which literal it is; keys what was compiled from it.
    pub(crate) id: LiteralId,
}

/// A literal of any file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LiteralId(pub(crate) u32);

/// One node, or one property of a node.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) file: FileId,
    pub(crate) annotation: Option<(Annotation, Span)>,
    /// The name, cut at its dots. Never empty.
    pub(crate) path: Vec<(Symbol, Span)>,
    pub(crate) name_span: Span,
    pub(crate) arguments: Vec<Literal>,
    /// The properties as statements of their own, then the statements of the block.
    pub(crate) body: Vec<StatementId>,
    pub(crate) has_block: bool,
    pub(crate) is_property: bool,
    /// The statement in whose body this one stands; `None` at the top of a file.
    pub(crate) parent: Option<StatementId>,
    /// From the annotation to the last value; blocks are left out so that a message underlines one line.
    pub(crate) span: Span,
    /// The byte after the statement with its block.
    pub(crate) end: usize,
}

impl Statement {
    /// The first part of the name.
    pub(crate) fn word(&self) -> Symbol {
        self.path[0].0
    }

    /// True where the name has no dots.
    pub(crate) fn is_single(&self) -> bool {
        self.path.len() == 1
    }

    /// The place of the values, or of the name where there are none.
    pub(crate) fn value_span(&self) -> Span {
        match (self.arguments.first(), self.arguments.last()) {
            (Some(first), Some(last)) => Span { end: last.span.end, ..first.span },
            _ => self.name_span,
        }
    }
}

/// All statements of one run.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    list: Vec<Statement>,
    literals: u32,
}

impl Statements {
    /// Adds a statement.
    pub(crate) fn add(&mut self, statement: Statement) -> StatementId {
        // Bounded by file size and the number of imports: 1,000 files of 16 MiB hold fewer than 2³² statements
        // because reading them would need more memory than the kdl parser leaves.
        let id = StatementId(self.list.len() as u32);
        self.list.push(statement);
        id
    }

    /// A statement for changes.
    pub(crate) fn get_mut(&mut self, id: StatementId) -> &mut Statement {
        &mut self.list[id.0 as usize]
    }

    /// A new literal's number.
    pub(crate) fn next_literal(&mut self) -> LiteralId {
        self.literals += 1;
        LiteralId(self.literals - 1)
    }

    /// All statements, in the order in which they were read.
    pub(crate) fn ids(&self) -> impl Iterator<Item = StatementId> + use<> {
        (0..self.list.len() as u32).map(StatementId)
    }

    /// How many statements there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}

impl std::ops::Index<StatementId> for Statements {
    type Output = Statement;

    fn index(&self, id: StatementId) -> &Statement {
        &self.list[id.0 as usize]
    }
}
