//! What is alike in all instances of a class: found once, so that a large `count` costs little.

use std::sync::Arc;

use crate::compose::choose::{against_final, deciding};
use crate::compose::schema::{Declaration, Liveness};
use crate::compose::{ClassId, Content, Flavor, Leaf, LeafState, Plan, Role, Write};
use crate::diagnostic::Diagnostic;
use crate::resolver::Resolver;
use crate::source::Span;
use crate::statement::{Literal, Reading};
use crate::types::Type;
use crate::value::Value;

impl Resolver<'_> {
    /// The plan of a class: which members differ between instances.
    pub(crate) fn plan(&mut self, id: ClassId) -> Plan {
        if let Some(plan) = &self.class(id).plan {
            return plan.clone();
        }
        let mut slots = 0;
        let mut closed = self.class(id).asserts.is_empty();
        for index in 0..self.class(id).members.len() {
            let needs_slot = match &self.class(id).members[index].content {
                Content::Leaf(_) => {
                    self.plan_leaf(id, index);
                    let Content::Leaf(leaf) = &self.class(id).members[index].content else { continue };
                    match leaf.state {
                        LeafState::Constant(..) | LeafState::Poison | LeafState::Unplanned => false,
                        LeafState::Source | LeafState::Missing => false,
                        LeafState::Computed(_) | LeafState::Context => {
                            closed = false;
                            true
                        }
                    }
                }
                Content::Record(_) => match self.record_class(id, index) {
                    None => false,
                    Some(class) => {
                        closed &= self.plan(class).closed;
                        true
                    }
                },
                Content::Items(_) => {
                    let classes = self.item_classes(id, index);
                    for class in classes.iter() {
                        closed &= self.plan(*class).closed;
                    }
                    !classes.is_empty()
                }
                Content::Child(child) => {
                    closed &= child.count.writes.is_empty()
                        && child.each.writes.is_empty()
                        && child.need.writes.is_empty()
                        && child.condition.writes.is_empty();
                    match self.child_class(id, index) {
                        None => closed = false,
                        Some((common, indexed)) => {
                            closed &= indexed.is_empty() && self.plan(common).closed;
                        }
                    }
                    true
                }
            };
            if needs_slot {
                self.class_mut(id).members[index].slot = Some(slots);
                slots += 1;
            }
        }
        let plan = Plan { slots, closed };
        self.class_mut(id).plan = Some(plan.clone());
        plan
    }

    fn plan_leaf(&mut self, id: ClassId, index: usize) {
        let layers = Arc::clone(&self.class(id).layers);
        let Content::Leaf(leaf) = &self.class(id).members[index].content else { return };
        let writes = leaf.writes.clone();
        let declaration = leaf.declaration.clone();
        let role = leaf.role;
        let spoiled = leaf.spoiled;
        let incomplete = declaration.is_some() && self.is_incomplete(id);
        self.check_final(&layers, &writes);
        self.check_literals(&writes, declaration.as_deref());
        let deciding: Vec<usize> = if role == Role::Let { vec![writes.len() - 1] } else { deciding(&layers, &writes) };
        // A context param falls back on its default only where nothing around has its name.
        let only_default = declaration
            .as_ref()
            .is_some_and(|declaration| deciding.iter().all(|at| Some(writes[*at].statement) == declaration.default));
        let state = match (&*deciding, &declaration) {
            _ if spoiled => LeafState::Poison,
            // What could not be found may have said more.
            _ if incomplete && only_default => LeafState::Poison,
            (_, Some(declaration)) if declaration.context && only_default => LeafState::Context,
            ([], Some(declaration)) if declaration.liveness == Liveness::Source => LeafState::Source,
            ([], Some(declaration)) if declaration.optional => LeafState::Constant(Value::Unset, None),
            ([], _) => LeafState::Missing,
            _ => self.constant_state(&writes, deciding, declaration.as_deref(), self.is_deployed(id)),
        };
        if let Content::Leaf(Leaf { state: place, .. }) = &mut self.class_mut(id).members[index].content {
            *place = state;
        }
    }

    /// Reads every literal, so that a wrong one is found even where something nearer is written over it.
    fn check_literals(&mut self, writes: &[Write], declaration: Option<&Declaration>) {
        writes.iter().for_each(|write| self.unfilled(write));
        let Some(declaration) = declaration.filter(|declaration| !declaration.ty.reads_expressions()) else { return };
        for write in writes {
            let literals = self.statements[write.holder].arguments[write.first..write.end].to_vec();
            for literal in &literals {
                if matches!(literal.reading, Reading::Plain | Reading::Foreign)
                    && let Err(mismatch) = self.read_literal(literal, &declaration.ty)
                {
                    self.report_literal(mismatch, literal, write, Some(declaration));
                }
            }
        }
    }

    /// False inside templates, which are never deployed by themselves.
    fn is_deployed(&self, id: ClassId) -> bool {
        let mut at = Some(id);
        while let Some(class) = at {
            if self.class(class).flavor == Flavor::Prototype {
                return false;
            }
            at = self.class(class).parent;
        }
        true
    }

    /// Reads the deciding writes where all of them are literal.
    fn constant_state(
        &mut self,
        writes: &[Write],
        deciding: Vec<usize>,
        declaration: Option<&Declaration>,
        is_deployed: bool,
    ) -> LeafState {
        let any = Type::Any;
        let ty = declaration.map_or(&any, |declaration| &declaration.ty);
        let wrong = |write: &Write| {
            let holder = &self.statements[write.holder];
            holder.arguments[write.first..write.end].iter().any(|literal| literal.reading == Reading::Wrong)
        };
        if deciding.iter().any(|at| wrong(&writes[*at])) {
            return LeafState::Poison;
        }
        let literal = |write: &Write| {
            let holder = &self.statements[write.holder];
            let plain = |literal: &Literal| matches!(literal.reading, Reading::Plain | Reading::Foreign);
            let is_table = write.first == write.end && declaration.is_none();
            !is_table && holder.arguments[write.first..write.end].iter().all(plain)
        };
        // A `let` may have a type of its own, which is read when it is computed.
        let typed_let = |write: &Write| declaration.is_none() && !self.statements[write.holder].body.is_empty();
        if ty.reads_expressions() || !deciding.iter().all(|at| literal(&writes[*at]) && !typed_let(&writes[*at])) {
            return LeafState::Computed(deciding.into());
        }
        let mut value: Option<(Value, usize)> = None;
        for at in deciding {
            let Some(next) = self.literal_value(&writes[at], ty, declaration) else { return LeafState::Poison };
            match &value {
                Some((known, first)) if *known != next => {
                    // Whoever uses a template may still decide, so there it is no error.
                    if is_deployed {
                        let (known, first) = (known.clone(), *first);
                        self.conflict(declaration, &writes[first], &known, &writes[at], &next);
                    }
                    return LeafState::Poison;
                }
                Some(_) => {}
                None => value = Some((next, at)),
            }
        }
        match value {
            Some((value, at)) => {
                let span = self.statements[writes[at].holder].value_span();
                match declaration {
                    Some(declaration) if !self.within_bounds(declaration, &value, span) => LeafState::Poison,
                    _ => LeafState::Constant(value, Some(at)),
                }
            }
            None => LeafState::Missing,
        }
    }

    fn literal_value(&mut self, write: &Write, ty: &Type, declaration: Option<&Declaration>) -> Option<Value> {
        let literals = self.statements[write.holder].arguments[write.first..write.end].to_vec();
        let mut values = Vec::with_capacity(literals.len());
        for literal in &literals {
            match self.read_literal(literal, ty) {
                Ok(value) => values.push(value),
                Err(mismatch) => {
                    self.report_literal(mismatch, literal, write, declaration);
                    return None;
                }
            }
        }
        Some(match (ty, values.len()) {
            (Type::List(_), _) => Value::List(values.into()),
            (_, 1) => values.remove(0),
            _ => Value::List(values.into()),
        })
    }

    /// Reads a literal that is no expression.
    pub(crate) fn read_literal(&self, literal: &Literal, ty: &Type) -> Result<Value, crate::types::Mismatch> {
        match (&literal.token, literal.reading) {
            (crate::statement::Token::Text(text), Reading::Foreign) => ty.element().read_foreign(text),
            (token, _) => ty.element().read(token),
        }
    }

    /// Reports two writes of equal rank that differ.
    pub(crate) fn conflict(
        &mut self,
        declaration: Option<&Declaration>,
        first: &Write,
        first_value: &Value,
        second: &Write,
        second_value: &Value,
    ) {
        let name = declaration.map_or_else(|| "value".to_owned(), |declaration| self.text(declaration.name).to_owned());
        let (a, b) = (self.statements[first.holder].value_span(), self.statements[second.holder].value_span());
        let message = format!("`{name}` is written twice with equal right: {first_value} and {second_value}");
        let error = Diagnostic::new("E0303", message, b, format!("{second_value} here"));
        let help = format!("remove one of them, or write `{name}` in a nearer body, which wins over both");
        self.report(error.label(a, format!("{first_value} here")).help(help));
    }

    fn check_final(&mut self, layers: &[crate::compose::layers::Layer], writes: &[Write]) {
        for (fixed, other) in against_final(layers, writes) {
            let arguments = |write: &Write| -> Vec<_> {
                let holder = &self.statements[write.holder];
                holder.arguments[write.first..write.end].iter().map(|a| (a.token.clone(), a.reading)).collect()
            };
            if arguments(&writes[fixed]) == arguments(&writes[other]) {
                continue;
            }
            let (a, b) = (self.statements[writes[fixed].statement].span, self.statements[writes[other].statement].span);
            let word = self.text(self.statements[writes[fixed].statement].path[0].0).to_owned();
            let error =
                Diagnostic::new("E0304", format!("`{word}` is final and cannot be written again"), b, "written here");
            self.report(error.label(a, "made final here").help("remove this, or remove `(final)` there"));
        }
    }

    /// Checks the bounds and alternatives that a declaration sets; false where a value breaks them.
    pub(crate) fn within_bounds(&mut self, declaration: &Declaration, value: &Value, span: Span) -> bool {
        use crate::expression::ast::Operator;
        use crate::expression::operate::compare;
        if matches!(value, Value::Unset) || value.is_live() {
            return true;
        }
        if let Value::List(values) = value {
            let values = Arc::clone(values);
            return values.iter().all(|value| self.within_bounds(declaration, value, span));
        }
        if !declaration.one_of.is_empty() && !declaration.one_of.iter().any(|(allowed, _)| allowed == value) {
            let name = self.text(declaration.name);
            let allowed: Vec<String> = declaration.one_of.iter().map(|(value, _)| value.to_string()).collect();
            let error =
                Diagnostic::new("E0404", format!("`{name}` cannot be `{value}`"), span, "not among the choices");
            let mut error = error.label(declaration.one_of[0].1, "the choices are listed here");
            error = error.help(format!("choose {}", crate::nearest::alternatives(&allowed, "or")));
            if let Some(meant) = crate::nearest::nearest(&value.to_string(), allowed.iter().map(String::as_str)) {
                error = error.suggest(span, meant);
            }
            self.report(error);
            return false;
        }
        let below = declaration
            .least
            .as_ref()
            .filter(|(least, _)| compare(Operator::Less, value, least).is_ok_and(|o| o.is_lt()));
        let above = declaration
            .most
            .as_ref()
            .filter(|(most, _)| compare(Operator::Greater, value, most).is_ok_and(|o| o.is_gt()));
        let (bound, word) = match (below, above) {
            (Some(bound), _) => (bound, "least"),
            (_, Some(bound)) => (bound, "most"),
            _ => return true,
        };
        let name = self.text(declaration.name);
        let message = format!("`{name}` is {value}, but must be at {word} {}", bound.0);
        let error = Diagnostic::new("E0403", message, span, "out of range").label(bound.1, "the bound is set here");
        let help = match (&declaration.least, &declaration.most) {
            (Some((least, _)), Some((most, _))) => format!("choose from {least} to {most}"),
            _ => format!("choose {} or {}", bound.0, if word == "least" { "more" } else { "less" }),
        };
        self.report(error.help(help));
        false
    }
}
