//! Going through everything once, so that all errors come in one run.

use std::sync::Arc;

use crate::compose::{Assertion, Content, Flavor, LeafState};
use crate::condition::Condition;
use crate::condition::Residue;
use crate::diagnostic::Diagnostic;
use crate::evaluate::compute::Context;
use crate::evaluate::instance::{Children, InstanceId};
use crate::expression::ast::{Expression, Root, Segment};
use crate::resolver::{Poison, Resolver};
use crate::source::Span;
use crate::value::Value;

/// A value that an assertion read.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(crate) text: String,
    pub(crate) value: Value,
    pub(crate) span: Span,
}

/// An assertion that can only be judged while running.
#[derive(Clone, Debug)]
pub(crate) struct LiveAssertion {
    pub(crate) instance: InstanceId,
    pub(crate) condition: Arc<Condition>,
    pub(crate) message: Option<Arc<str>>,
}

impl Resolver<'_> {
    /// Computes every value at and below an instance and judges every assertion.
    pub(crate) fn check_instance(&mut self, id: InstanceId, live: &mut Vec<LiveAssertion>) {
        let class = self.instance(id).class;
        for index in 0..self.class(class).members.len() {
            let span = self.class(class).members[index].span;
            match &self.class(class).members[index].content {
                Content::Leaf(leaf) => {
                    // Constants were checked once for all instances, and what the pool reads while it runs is not known yet.
                    if !matches!(leaf.state, LeafState::Constant(..) | LeafState::Source) {
                        // What is wrong has been reported.
                        let _ = self.value(id, index, span);
                    }
                }
                Content::Record(_) | Content::Items(_) | Content::Child(_) => {
                    // What is alike in all instances is checked in one of them.
                    if self.checked.contains(&(class, index)) {
                        continue;
                    }
                    if self.is_alike(class, index) {
                        self.checked.insert((class, index));
                    }
                    match self.children(id, index, span) {
                        Ok(Children::One(child)) => self.check_instance(child, live),
                        Ok(Children::Many(children)) => {
                            let mut closed_seen: Option<crate::compose::ClassId> = None;
                            for child in children.iter() {
                                // Closed instances are alike; one stands for all.
                                let class = self.instance(*child).class;
                                let closed = self.class(class).plan.as_ref().is_some_and(|plan| plan.closed);
                                if closed && closed_seen == Some(class) {
                                    continue;
                                }
                                closed_seen = closed.then_some(class);
                                self.check_instance(*child, live);
                            }
                        }
                        Ok(Children::Absent) | Err(Poison) => {}
                    }
                }
            }
        }
        for assertion in self.class(class).asserts.clone() {
            self.judge(id, &assertion, live);
        }
    }

    fn judge(&mut self, id: InstanceId, assertion: &Assertion, live: &mut Vec<LiveAssertion>) {
        let literal = self.statements[assertion.statement].arguments[0].clone();
        let Some(expression) = self.compile(&literal, assertion.scope, &assertion.frames, &[], self.instance(id).class)
        else {
            return;
        };
        let context = Context::new(id, Arc::clone(&assertion.frames));
        let Ok(value) = self.compute(&expression, &context) else { return };
        match value {
            Value::Boolean(true) => {}
            Value::Boolean(false) => {
                let operands = self.traced(&expression, &context);
                let Ok(message) = self.assertion_message(id, assertion) else { return };
                let title = self.instance_title(id);
                let text = self.sources.text(literal.span).trim_matches(['"', '#']).to_owned();
                let mut error = match message {
                    Some(message) => Diagnostic::new("E0501", message.to_string(), literal.span, "this does not hold"),
                    None => {
                        Diagnostic::new("E0501", format!("`{text}` does not hold"), literal.span, "this does not hold")
                    }
                };
                for operand in operands {
                    error = error.label(operand.span, format!("`{}` is {}", operand.text, operand.value));
                }
                if title != "the file" {
                    error = error.note(format!("in {title}"));
                }
                let error = error.help("change one of these values, or the assertion");
                self.broken.as_mut().unwrap_or(&mut self.problems).push(error);
            }
            Value::Live(ref found) if found.ty.fits(&crate::types::Type::Boolean) => {
                let Ok(message) = self.assertion_message(id, assertion) else { return };
                let text = match &literal.token {
                    crate::statement::Token::Text(text) => Arc::clone(text),
                    _ => Arc::from(""),
                };
                let condition = Condition { text, expression: Residue::of(value.clone()), span: literal.span };
                live.push(LiveAssertion { instance: id, condition: Arc::new(condition), message });
            }
            other => {
                let message = format!("a condition is true or false, but this is {}", other.describe());
                let error = Diagnostic::new("E0401", message, literal.span, "not a condition");
                self.report(error.help("compare it with something"));
            }
        }
    }

    /// What the names of an expression stood for, each once. The expression has been computed before.
    pub(crate) fn traced(&mut self, expression: &Expression, context: &Context) -> Vec<Operand> {
        self.trace = Some(Vec::new());
        // Nothing new is computed here; this only notes the operands.
        let _ = self.compute(expression, context);
        let mut operands = self.trace.take().unwrap_or_default();
        let mut seen: Vec<String> = Vec::new();
        operands.retain(|operand| {
            let fresh = !seen.contains(&operand.text);
            seen.push(operand.text.clone());
            fresh
        });
        operands
    }

    /// The text of `else=`.
    fn assertion_message(&mut self, id: InstanceId, assertion: &Assertion) -> Result<Option<Arc<str>>, Poison> {
        let Some(property) = self.property(assertion.statement, "else") else { return Ok(None) };
        let literal = self.statements[property].arguments[0].clone();
        let context = Context::new(id, Arc::clone(&assertion.frames));
        let value = match (&literal.token, literal.reading) {
            (crate::statement::Token::Text(text), crate::statement::Reading::Plain) => {
                return Ok(Some(Arc::clone(text)));
            }
            _ => {
                let expression = self
                    .compile(&literal, assertion.scope, &assertion.frames, &[], self.instance(id).class)
                    .ok_or(Poison)?;
                self.compute(&expression, &context)?
            }
        };
        Ok(Some(value.to_string().into()))
    }

    /// Notes what a name of an assertion stood for, and where that was written.
    pub(crate) fn note_operand(
        &mut self,
        root: &Root,
        segments: &[Segment],
        span: Span,
        value: &Value,
        context: &Context,
    ) {
        let text = self.sources.text(span).to_owned();
        let origin = self.operand_origin(root, segments, context).unwrap_or(span);
        if let Some(trace) = &mut self.trace
            && trace.len() < 16
        {
            trace.push(Operand { text, value: value.clone(), span: origin });
        }
    }

    /// Where the value of a path was written, for paths of plain names.
    fn operand_origin(&mut self, root: &Root, segments: &[Segment], context: &Context) -> Option<Span> {
        let Root::Member { level, .. } = root else { return None };
        let frame = *context.frames.get(*level)?;
        let mut at = self.frame_instance(context.instance, frame).ok()?;
        let mut segments = segments.iter();
        while let Some(segment) = segments.next() {
            let index = *self.class_of(at).index.get(&segment.name)?;
            match &self.class_of(at).members[index].content {
                Content::Leaf(leaf) => {
                    let write = match &leaf.state {
                        LeafState::Constant(_, Some(write)) => *write,
                        LeafState::Computed(deciding) => *deciding.first()?,
                        _ => return Some(self.class_of(at).members[index].span),
                    };
                    return Some(self.statements[leaf.writes[write].holder].value_span());
                }
                Content::Items(_) => return None,
                Content::Record(_) | Content::Child(_) => match self.children(at, index, segment.span).ok()? {
                    Children::One(child) => at = child,
                    Children::Many(children) => {
                        segments.next();
                        at = *children.first()?;
                    }
                    Children::Absent => return None,
                },
            }
        }
        (self.class_of(at).flavor == Flavor::Component).then(|| self.class_of(at).created)
    }
}
