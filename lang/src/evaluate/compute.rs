//! Computing expressions.

use std::sync::Arc;

use crate::compose::layers::Frames;
use crate::condition::{Hop, Live, Residue};
use crate::diagnostic::Diagnostic;
use crate::evaluate::instance::InstanceId;
use crate::expression::ast::{Expression, Node, Operator};
use crate::expression::functions::Function;
use crate::expression::operate::{self, OperationError};
use crate::resolver::{Poison, Resolver};
use crate::source::Span;
use crate::types::Type;
use crate::value::Value;

/// Where an expression is computed.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) instance: InstanceId,
    pub(crate) frames: Frames,
    pub(crate) locals: Vec<Value>,
}

impl Context {
    pub(crate) fn new(instance: InstanceId, frames: Frames) -> Self {
        Self { instance, frames, locals: Vec::new() }
    }
}

impl Resolver<'_> {
    /// Counts steps of evaluation: one for each part of an expression, four for each value of a list that is made,
    /// one for every eight letters of a text.
    pub(crate) fn spend(&mut self, steps: usize, span: Span) -> Result<(), Poison> {
        self.steps = self.steps.saturating_add(steps as u64);
        if self.steps <= self.options.max_steps {
            return Ok(());
        }
        if self.out_of_steps {
            return Err(Poison);
        }
        self.out_of_steps = true;
        let message = format!("the description takes more than {} steps to evaluate", self.options.max_steps);
        self.fail(
            Diagnostic::new("E0602", message, span, "given up here")
                .help("compute less: shorter lists, fewer instances"),
        )
    }

    fn operation<T>(&mut self, result: Result<T, OperationError>, span: Span) -> Result<T, Poison> {
        self.operation_on(result, span, &[])
    }

    /// Says why an operation has no result, and what it was given.
    fn operation_on<T>(
        &mut self,
        result: Result<T, OperationError>,
        span: Span,
        operands: &[(Span, &Value)],
    ) -> Result<T, Poison> {
        result.map_err(|error| {
            let code = if error.kinds { "E0408" } else { "E0411" };
            let mut diagnostic = Diagnostic::new(code, error.message, span, "in this expression");
            for (place, value) in operands {
                let text = self.sources.text(*place);
                let shown = value.to_string();
                if text != shown && *place != span {
                    diagnostic = diagnostic.label(*place, format!("this is {shown}"));
                }
            }
            let general = "change one of the values it is computed from";
            self.report(diagnostic.help(error.help.unwrap_or_else(|| general.to_owned())));
            Poison
        })
    }

    /// Computes an expression. What touches a live value gives a live value.
    pub(crate) fn compute(&mut self, expression: &Expression, context: &Context) -> Result<Value, Poison> {
        let span = expression.span;
        self.spend(1, span)?;
        match &expression.node {
            Node::Constant(value) => Ok(value.clone()),
            Node::Path { root, segments } => self.path_value(root, segments, span, context),
            Node::Member(base, segments) => {
                let base = self.compute(base, context)?;
                self.value_members(base, segments, span)
            }
            Node::Index(base, index) => self.index(base, index, span, context),
            Node::Not(a) => {
                let value = self.compute(a, context)?;
                if let Value::Live(live) = &value {
                    let refused = !live.ty.fits(&Type::Boolean);
                    let error =
                        || OperationError::kinds(format!("`!` cannot take a live {}", live.ty), "compare first");
                    self.operation(if refused { Err(error()) } else { Ok(()) }, span)?;
                    return Ok(live_value(
                        Type::Boolean,
                        Residue::Not(Box::new(Residue::of(value.clone()))),
                        &[&value],
                    ));
                }
                let result = operate::not(&value);
                self.operation(result, span)
            }
            Node::Negate(a) => {
                let value = self.compute(a, context)?;
                if let Value::Live(live) = &value {
                    let ty = live.ty.clone();
                    return Ok(live_value(ty, Residue::Negate(Box::new(Residue::of(value.clone()))), &[&value]));
                }
                let result = operate::negate(&value);
                self.operation(result, span)
            }
            Node::Binary(operator, a, b) => self.binary(*operator, a, b, span, context),
            Node::If(condition, yes, no) => self.conditional(condition, yes, no, context),
            Node::Call(name, _, arguments) => {
                // The name was checked when the expression was compiled.
                let function = Function::from_name(name).ok_or(Poison)?;
                self.call(function, arguments, span, context)
            }
            Node::List(items) => {
                let values: Result<Vec<Value>, Poison> = items.iter().map(|item| self.compute(item, context)).collect();
                Ok(Value::List(values?.into()))
            }
            Node::Lambda(..) => self.fail(
                Diagnostic::new("E0409", "`=>` stands only inside a function's parentheses", span, "not here")
                    .help("write for example `filter(list, x => x > 1)`"),
            ),
            Node::Fill(parts) => self.call(Function::Fill, parts, span, context),
        }
    }

    fn binary(
        &mut self,
        operator: Operator,
        a: &Expression,
        b: &Expression,
        span: Span,
        context: &Context,
    ) -> Result<Value, Poison> {
        let left = self.compute(a, context)?;
        // What is decided by the left side alone does not ask for the right one.
        match (operator, &left) {
            (Operator::And, Value::Boolean(false)) => return Ok(left),
            (Operator::Or, Value::Boolean(true)) => return Ok(left),
            _ => {}
        }
        let right = self.compute(b, context)?;
        if !left.is_live() && !right.is_live() {
            let result = operate::binary(operator, &left, &right);
            return self.operation_on(result, span, &[(a.span, &left), (b.span, &right)]);
        }
        // `live && false` is false, `live && true` is the live side itself.
        match (operator, &right) {
            (Operator::And, Value::Boolean(false)) | (Operator::Or, Value::Boolean(true)) => return Ok(right),
            (Operator::And, Value::Boolean(true)) | (Operator::Or, Value::Boolean(false)) => return Ok(left),
            _ => {}
        }
        if matches!((operator, &left), (Operator::And, Value::Boolean(true)) | (Operator::Or, Value::Boolean(false))) {
            return Ok(right);
        }
        let ty = operate::binary_type(operator, &Type::of(&left), &Type::of(&right));
        let ty = self.operation(ty, span)?;
        let residue =
            Residue::Binary(operator, Box::new(Residue::of(left.clone())), Box::new(Residue::of(right.clone())));
        Ok(live_value(ty, residue, &[&left, &right]))
    }

    fn conditional(
        &mut self,
        condition: &Expression,
        yes: &Expression,
        no: &Expression,
        context: &Context,
    ) -> Result<Value, Poison> {
        match self.compute(condition, context)? {
            Value::Boolean(true) => self.compute(yes, context),
            Value::Boolean(false) => self.compute(no, context),
            live @ Value::Live(_) => {
                let (yes, no) = (self.compute(yes, context)?, self.compute(no, context)?);
                let ty = if Type::of(&yes).fits(&Type::of(&no)) { Type::of(&no) } else { Type::Any };
                let parts = [&live, &yes, &no].map(|value| Box::new(Residue::of(value.clone())));
                let [a, b, c] = parts;
                Ok(live_value(ty, Residue::If(a, b, c), &[&live, &yes, &no]))
            }
            other => self.fail(
                Diagnostic::new(
                    "E0408",
                    format!("`if` needs a boolean, not {}", other.describe()),
                    condition.span,
                    "not true or false",
                )
                .help("compare it with something"),
            ),
        }
    }

    fn index(&mut self, base: &Expression, index: &Expression, span: Span, context: &Context) -> Result<Value, Poison> {
        let list = self.compute(base, context)?;
        let place = self.compute(index, context)?;
        match (&list, &place) {
            (Value::List(values), Value::Integer(at)) => {
                let found = usize::try_from(*at).ok().and_then(|at| values.get(at));
                match found {
                    Some(value) => Ok(value.clone()),
                    None => self.fail(
                        Diagnostic::new(
                            "E0411",
                            format!("the list has no value number {at}"),
                            index.span,
                            "out of range",
                        )
                        .help(format!("it has {} values, numbered from 0", values.len())),
                    ),
                }
            }
            (Value::Table(table), Value::Text(key)) => {
                let result = table.get(key).cloned();
                let error = || OperationError::result(format!("the table has no key `{key}`"));
                self.operation(result.ok_or_else(error), span)
            }
            _ => {
                let message = format!("{} cannot be indexed by {}", list.describe(), place.describe());
                let error = OperationError::kinds(message, "lists take a number, tables a text");
                self.operation(Err(error), span)
            }
        }
    }

    fn call(
        &mut self,
        function: Function,
        arguments: &[Expression],
        span: Span,
        context: &Context,
    ) -> Result<Value, Poison> {
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            match &argument.node {
                Node::Lambda(_, body) => {
                    let mapped = self.apply(&values, body, argument.span, context)?;
                    if function == Function::Filter {
                        values.push(mapped);
                    } else {
                        values = vec![mapped];
                    }
                }
                _ => values.push(self.compute(argument, context)?),
            }
        }
        if function.is_live() || values.iter().any(Value::is_live) {
            if function == Function::Map {
                return values.into_iter().next().ok_or(Poison);
            }
            let types: Vec<Type> = values.iter().map(Type::of).collect();
            let residues = values.iter().cloned().map(Residue::of).collect();
            let parts: Vec<&Value> = values.iter().collect();
            let mut value = live_value(function.result_type(&types), Residue::Call(function, residues), &parts);
            if function.is_live() {
                value = self.hop(value, span, "a look at the world, possible only while running");
            }
            return Ok(value);
        }
        let given: usize = values.iter().map(|value| value.as_list().len()).sum();
        self.spend(given, span)?;
        let result = function.call(&values);
        let value = self.operation(result, span)?;
        let made = match &value {
            Value::List(list) => list.len() * 4,
            Value::Text(text) => text.len() / 8,
            _ => 0,
        };
        self.spend(made, span)?;
        Ok(value)
    }

    /// What `x => body` gives for every value of the list before it.
    fn apply(&mut self, values: &[Value], body: &Expression, span: Span, context: &Context) -> Result<Value, Poison> {
        let Some(Value::List(list)) = values.last() else {
            let found = values.last().map_or_else(|| "nothing".to_owned(), Value::describe);
            return self.fail(
                Diagnostic::new("E0410", format!("`=>` needs a list before it, not {found}"), span, "not here")
                    .help("write for example `filter(list, x => x > 1)`"),
            );
        };
        let list = Arc::clone(list);
        let mut inner = context.clone();
        let mut results = Vec::with_capacity(list.len());
        for value in list.iter() {
            inner.locals.push(value.clone());
            let result = self.compute(body, &inner);
            inner.locals.pop();
            results.push(result?);
        }
        Ok(Value::List(results.into()))
    }
}

/// A live value made from others, some of them live: it carries their ways.
pub(crate) fn live_value(ty: Type, expression: Residue, parts: &[&Value]) -> Value {
    let mut hops: Vec<Hop> = Vec::new();
    for part in parts {
        if let Some(live) = part.first_live() {
            let new = live.hops.iter().filter(|hop| !hops.contains(hop)).cloned().collect::<Vec<_>>();
            hops.extend(new);
        }
    }
    hops.truncate(32);
    Value::Live(Arc::new(Live { ty, expression, hops: hops.into() }))
}
