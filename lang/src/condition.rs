//! What is left of an expression once everything known has been put in: live values and conditions.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::expression::ast::Operator;
use crate::expression::functions::Function;
use crate::expression::operate;
use crate::source::Span;
use crate::types::Type;
use crate::value::Value;

/// A value that is known only once the pool runs, such as an address given by DHCP.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// The type it will have.
    pub ty: Type,
    /// How it is computed then.
    pub expression: Residue,
    /// Where it became live and by what way it came here, the source first.
    pub hops: Arc<[Hop]>,
}

/// One step of the way of a live value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The place.
    pub span: Span,
    /// What happens there.
    pub text: String,
}

/// A condition such as `require "host.arch == 'x86_64'"`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The text as written.
    pub text: Arc<str>,
    /// What is left of it.
    pub expression: Residue,
    /// Where it stands.
    pub span: Span,
}

/// An expression over live values.
#[derive(Clone, Debug, PartialEq)]
pub enum Residue {
    /// A known value.
    Constant(Value),
    /// A live value: `host.labels.site`, `web.0.eth0.ip`.
    Read {
        /// Its path. The first part is a variable (`host`, `domain`, `price`) or the pool's name.
        path: Arc<str>,
        /// Its type.
        ty: Type,
    },
    /// `!a`
    Not(Box<Residue>),
    /// `-a`
    Negate(Box<Residue>),
    /// `a operator b`
    Binary(Operator, Box<Residue>, Box<Residue>),
    /// `if a then b else c`
    If(Box<Residue>, Box<Residue>, Box<Residue>),
    /// `f(a, b)`
    Call(Function, Vec<Residue>),
    /// `[a, b]`
    List(Vec<Residue>),
}

/// A piece of a text of which a part is known only once the pool runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// This.
    Text(String),
    /// The live value of this path: `hello.web.0.eth0.ip`.
    Read(Arc<str>),
}

/// The world as a condition sees it when it is judged.
pub trait Environment {
    /// The present value of a path such as `host.memory` or `web.0.eth0.ip`; `None` where it is not known (yet).
    fn read(&self, path: &str) -> Option<Value>;

    /// The result of a function that looks at the world, such as `tcp("192.0.2.1", 80)`; `None` where it cannot
    /// be found out.
    fn call(&self, function: &str, arguments: &[Value]) -> Option<Value> {
        let _ = (function, arguments);
        None
    }
}

/// Why a condition could not be judged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EvaluateError {
    /// A live value is not known (yet).
    #[error("`{0}` is not known")]
    Unknown(String),
    /// The values do not go together.
    #[error("{0}")]
    Operation(String),
}

impl Condition {
    /// Judges the condition. What it cannot decide for lack of a value is an error, never a guess; but
    /// `false && unknown` is false and `true || unknown` is true.
    ///
    /// # Errors
    /// [`EvaluateError`] where a value is not known or the values do not go together.
    pub fn evaluate(&self, environment: &dyn Environment) -> Result<Value, EvaluateError> {
        self.expression.evaluate(environment)
    }

    /// The condition's truth, for conditions that give a boolean.
    ///
    /// # Errors
    /// As [`Condition::evaluate`]; also where the result is no boolean.
    pub fn holds(&self, environment: &dyn Environment) -> Result<bool, EvaluateError> {
        match self.evaluate(environment)? {
            Value::Boolean(value) => Ok(value),
            other => {
                Err(EvaluateError::Operation(format!("`{}` gives {}, not a boolean", self.text, other.describe())))
            }
        }
    }
}

impl Residue {
    /// The expression for a value: a live value's own, otherwise a constant.
    pub(crate) fn of(value: Value) -> Self {
        match value {
            Value::Live(live) => live.expression.clone(),
            Value::List(values) if values.iter().any(Value::is_live) => {
                Self::List(values.iter().cloned().map(Self::of).collect())
            }
            value => Self::Constant(value),
        }
    }

    /// The paths that it reads.
    pub fn reads(&self) -> Vec<&str> {
        let mut paths = Vec::new();
        self.visit(&mut |residue| {
            if let Self::Read { path, .. } = residue {
                paths.push(&**path);
            }
        });
        paths
    }

    /// It as a text with gaps where live values go; `None` where more than filling in is left to be computed.
    pub fn pieces(&self) -> Option<Vec<Piece>> {
        match self {
            Self::Constant(value) => Some(vec![Piece::Text(value.to_fill()?)]),
            Self::Read { path, .. } => Some(vec![Piece::Read(Arc::clone(path))]),
            Self::Call(Function::Fill, parts) => {
                let pieces: Option<Vec<Vec<Piece>>> = parts.iter().map(Self::pieces).collect();
                pieces.map(|pieces| pieces.concat())
            }
            _ => None,
        }
    }

    pub(crate) fn visit<'a>(&'a self, visitor: &mut impl FnMut(&'a Self)) {
        visitor(self);
        match self {
            Self::Constant(_) | Self::Read { .. } => {}
            Self::Not(a) | Self::Negate(a) => a.visit(visitor),
            Self::Binary(_, a, b) => {
                a.visit(visitor);
                b.visit(visitor);
            }
            Self::If(a, b, c) => {
                a.visit(visitor);
                b.visit(visitor);
                c.visit(visitor);
            }
            Self::Call(_, list) | Self::List(list) => list.iter().for_each(|a| a.visit(visitor)),
        }
    }

    /// Computes it with the present values.
    ///
    /// # Errors
    /// [`EvaluateError`] where a value is not known or the values do not go together.
    pub fn evaluate(&self, environment: &dyn Environment) -> Result<Value, EvaluateError> {
        let operation = |error: operate::OperationError| EvaluateError::Operation(error.message);
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Read { path, .. } => environment.read(path).ok_or_else(|| EvaluateError::Unknown(path.to_string())),
            Self::Not(a) => operate::not(&a.evaluate(environment)?).map_err(operation),
            Self::Negate(a) => operate::negate(&a.evaluate(environment)?).map_err(operation),
            Self::Binary(operator @ (Operator::And | Operator::Or), a, b) => {
                let decides = Value::Boolean(*operator == Operator::Or);
                let left = a.evaluate(environment);
                if left.as_ref() == Ok(&decides) {
                    return Ok(decides);
                }
                let right = b.evaluate(environment);
                if right.as_ref() == Ok(&decides) {
                    return Ok(decides);
                }
                operate::binary(*operator, &left?, &right?).map_err(operation)
            }
            Self::Binary(operator, a, b) => {
                operate::binary(*operator, &a.evaluate(environment)?, &b.evaluate(environment)?).map_err(operation)
            }
            Self::If(condition, yes, no) => match condition.evaluate(environment)? {
                Value::Boolean(true) => yes.evaluate(environment),
                Value::Boolean(false) => no.evaluate(environment),
                other => Err(EvaluateError::Operation(format!("`if` needs a boolean, not {}", other.describe()))),
            },
            Self::List(items) => {
                let values: Result<Vec<Value>, EvaluateError> = items.iter().map(|a| a.evaluate(environment)).collect();
                values.map(|values| Value::List(values.into()))
            }
            Self::Call(function, arguments) => {
                let values: Result<Vec<Value>, EvaluateError> =
                    arguments.iter().map(|a| a.evaluate(environment)).collect();
                let values = values?;
                if function.is_live() {
                    let asked = environment.call(function.name(), &values);
                    return asked.ok_or_else(|| EvaluateError::Unknown(self.to_string()));
                }
                function.call(&values).map_err(operation)
            }
        }
    }

    fn precedence(&self) -> u8 {
        match self {
            Self::If(..) => 0,
            Self::Binary(operator, ..) => operator.precedence(),
            _ => 9,
        }
    }
}

impl fmt::Display for Residue {
    /// As an expression of the language, with no more parentheses than needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = |f: &mut fmt::Formatter<'_>, part: &Self, lowest: u8| {
            if part.precedence() < lowest { write!(f, "({part})") } else { write!(f, "{part}") }
        };
        let list = |f: &mut fmt::Formatter<'_>, items: &[Self]| {
            for (index, item) in items.iter().enumerate() {
                write!(f, "{}{item}", if index > 0 { ", " } else { "" })?;
            }
            Ok(())
        };
        match self {
            Self::Constant(Value::Text(text)) => write!(f, "'{text}'"),
            Self::Constant(value) => write!(f, "{value}"),
            Self::Read { path, .. } => f.write_str(path),
            Self::Not(a) => {
                f.write_str("!")?;
                inner(f, a, 9)
            }
            Self::Negate(a) => {
                f.write_str("-")?;
                inner(f, a, 9)
            }
            Self::Binary(operator, a, b) => {
                let own = operator.precedence();
                // Comparisons do not chain, so both their sides need parentheses where they are comparisons.
                inner(f, a, if operator.is_comparison() { own + 1 } else { own })?;
                write!(f, " {operator} ")?;
                inner(f, b, own + 1)
            }
            Self::If(a, b, c) => write!(f, "if {a} then {b} else {c}"),
            Self::Call(Function::Fill, parts) => {
                f.write_str("(f)'")?;
                for part in parts {
                    match part {
                        Self::Constant(value) => write!(f, "{}", value.to_string().escape_debug())?,
                        part => write!(f, "${{{part}}}")?,
                    }
                }
                f.write_str("'")
            }
            Self::Call(function, arguments) => {
                write!(f, "{}(", function.name())?;
                list(f, arguments)?;
                f.write_str(")")
            }
            Self::List(items) => {
                f.write_str("[")?;
                list(f, items)?;
                f.write_str("]")
            }
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.expression)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FileId;

    struct Host;

    impl Environment for Host {
        fn read(&self, path: &str) -> Option<Value> {
            match path {
                "host.arch" => Some(Value::Text("x86_64".into())),
                "host.cpus" => Some(Value::Integer(8)),
                _ => None,
            }
        }
    }

    fn read(path: &str) -> Box<Residue> {
        Box::new(Residue::Read { path: path.into(), ty: Type::Any })
    }

    fn condition(expression: Residue) -> Condition {
        Condition { text: expression.to_string().into(), expression, span: Span::new(FileId(0), 0, 0) }
    }

    fn is(path: &str, text: &str) -> Box<Residue> {
        let constant = Box::new(Residue::Constant(Value::Text(text.into())));
        Box::new(Residue::Binary(Operator::Equal, read(path), constant))
    }

    #[test]
    fn a_condition_is_judged_with_the_facts_of_a_host() {
        assert_eq!(condition(*is("host.arch", "x86_64")).holds(&Host), Ok(true));
        assert_eq!(condition(*is("host.arch", "arm64")).holds(&Host), Ok(false));
        assert_eq!(condition(*is("host.site", "cern")).holds(&Host), Err(EvaluateError::Unknown("host.site".into())));
    }

    #[test]
    fn what_is_not_known_does_not_matter_where_the_other_side_decides() {
        let unknown = || is("host.site", "cern");
        let or = Residue::Binary(Operator::Or, unknown(), is("host.arch", "x86_64"));
        let and = Residue::Binary(Operator::And, unknown(), is("host.arch", "arm64"));
        assert_eq!(condition(or).holds(&Host), Ok(true));
        assert_eq!(condition(and).holds(&Host), Ok(false));
    }

    #[test]
    fn what_is_left_prints_as_an_expression() {
        let sum = Residue::Binary(Operator::Add, read("a"), read("b"));
        let product = Residue::Binary(Operator::Multiply, Box::new(sum), read("c"));
        assert_eq!(product.to_string(), "(a + b) * c");
    }
}
