//! The form of an expression.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::source::{FileId, Span};
use crate::statement::StatementId;
use crate::symbol::Symbol;
use crate::types::Type;
use crate::value::Value;

/// An operator between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operator {
    /// `||`
    Or,
    /// `&&`
    And,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
}

impl Operator {
    /// How tightly it binds, as in Rust; larger binds tighter.
    pub(crate) const fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => 3,
            Self::Add | Self::Subtract => 4,
            Self::Multiply | Self::Divide | Self::Remainder => 5,
        }
    }

    /// True for `==`, `<` and their like, which give a boolean and do not chain.
    pub(crate) const fn is_comparison(self) -> bool {
        self.precedence() == 3
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        })
    }
}

/// One part of a path such as `wn.0.memory`.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) name: Symbol,
    pub(crate) span: Span,
    /// `*`: all instances.
    pub(crate) all: bool,
}

/// What the first name of a path denotes; found by the resolver.
#[derive(Clone, Debug)]
pub(crate) enum Root {
    /// Not looked up yet.
    Unresolved,
    /// Looked up, not found, and said so.
    Poison,
    This,
    Parent,
    Pool,
    Index,
    Each,
    /// A variable of a condition, such as `host`.
    Variable(Arc<Variable>),
    /// The parameter of the n-th enclosing `x => …`, innermost first.
    Local(usize),
    /// A member of the component at a level of the surrounding text, innermost first.
    Member {
        level: usize,
        declared: Option<StatementId>,
    },
    /// A member of an imported file; the first segment is the namespace.
    Namespace {
        file: FileId,
    },
}

/// A name that a condition sees: `host`, `domain`, `price`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Variable {
    pub(crate) name: Arc<str>,
    /// A plain type, or the kind whose attributes can be read.
    pub(crate) ty: Type,
}

/// An expression and its place.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    pub(crate) node: Node,
    pub(crate) span: Span,
}

/// The kinds of expression.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Constant(Value),
    Path {
        root: Root,
        segments: Vec<Segment>,
    },
    /// Parts of a value that is no name: `lookup(a, b).memory`.
    Member(Box<Expression>, Vec<Segment>),
    /// `hosts[2]`
    Index(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    Negate(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
    If(Box<Expression>, Box<Expression>, Box<Expression>),
    Call(Arc<str>, Span, Vec<Expression>),
    List(Vec<Expression>),
    /// `x => …`, only as an argument of a function.
    Lambda(Symbol, Box<Expression>),
    /// The parts of an `(f)` text.
    Fill(Vec<Expression>),
}
