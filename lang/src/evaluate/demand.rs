//! Computing leaves on demand, and cycles.

use std::sync::Arc;

use crate::compose::schema::{Declaration, Liveness};
use crate::compose::{Content, Leaf, LeafState, Write};
use crate::condition::{Condition, Hop, Live, Residue};
use crate::diagnostic::Diagnostic;
use crate::evaluate::compute::Context;
use crate::evaluate::instance::{Children, InstanceId, Slot};
use crate::resolver::{Poison, Resolver};
use crate::source::Span;
use crate::statement::{Literal, Reading, StatementId, Token};
use crate::types::Type;
use crate::value::{Table, Value};

/// Something that is being computed, and the place that asked for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) instance: InstanceId,
    pub(crate) member: usize,
    pub(crate) asked: Span,
}

impl Resolver<'_> {
    /// Notes that something is being computed.
    pub(crate) fn enter(&mut self, instance: InstanceId, member: usize, asked: Span) -> Result<(), Poison> {
        if self.demands.len() >= self.options.max_chain {
            if std::mem::replace(&mut self.chain_too_long, true) {
                return Err(Poison);
            }
            let message = format!("more than {} values wait for each other", self.options.max_chain);
            return self
                .fail(Diagnostic::new("E0603", message, asked, "one too many").help("shorten the chain of values"));
        }
        self.demands.push(Demand { instance, member, asked });
        Ok(())
    }

    /// Notes that it has been computed.
    pub(crate) fn leave(&mut self) {
        self.demands.pop();
    }

    /// Reports that something is needed while it is being computed.
    pub(crate) fn cycle<T>(&mut self, instance: InstanceId, member: usize, asked: Span) -> Result<T, Poison> {
        let start = self.demands.iter().rposition(|demand| demand.instance == instance && demand.member == member);
        let cycle: Vec<Demand> = start.map(|start| self.demands[start..].to_vec()).unwrap_or_default();
        let name = |this: &Self, demand: &Demand| {
            let path = this.instance_path(demand.instance);
            let member = this.text(this.class_of(demand.instance).members[demand.member].name);
            if path.is_empty() { member.to_owned() } else { format!("{path}.{member}") }
        };
        let names: Vec<String> = cycle.iter().map(|demand| name(self, demand)).collect();
        let first = names.first().cloned().unwrap_or_default();
        let last = names.last().cloned().unwrap_or_default();
        let message = format!("`{first}` depends on itself");
        let mut error = Diagnostic::new("E0406", message, asked, format!("`{last}` needs `{first}` here"));
        for (index, demand) in cycle.iter().enumerate().skip(1) {
            error = error.label(demand.asked, format!("`{}` needs `{}` here", names[index - 1], names[index]));
        }
        // Whatever takes part has no value; otherwise each part would report the same cycle again.
        for demand in &cycle {
            if let Some((slot, Slot::Busy)) = self.slot_of(demand.instance, demand.member) {
                self.set_slot(demand.instance, slot, Slot::Poison);
            }
        }
        self.fail(error.help("give one of these a value that does not depend on the others"))
    }

    /// The value of a leaf of an instance.
    pub(crate) fn value(&mut self, id: InstanceId, index: usize, asked: Span) -> Result<Value, Poison> {
        let member = &self.class_of(id).members[index];
        let Content::Leaf(leaf) = &member.content else { return Err(Poison) };
        match &leaf.state {
            LeafState::Constant(value, _) => return Ok(value.clone()),
            LeafState::Poison | LeafState::Unplanned => return Err(Poison),
            LeafState::Missing => return self.missing(id, index),
            LeafState::Source => return Ok(self.source_value(id, index)),
            LeafState::Computed(_) | LeafState::Context => {}
        }
        let Some((slot, state)) = self.slot_of(id, index) else { return Err(Poison) };
        match state {
            Slot::Value(value) => return Ok(value),
            Slot::Busy => return self.cycle(id, index, asked),
            Slot::Empty => {}
            _ => return Err(Poison),
        }
        self.enter(id, index, asked)?;
        self.set_slot(id, slot, Slot::Busy);
        let result = self.compute_leaf(id, index);
        self.leave();
        let poisoned = matches!(self.instance(id).slots.get(slot), Some(Slot::Poison));
        let result = if poisoned { Err(Poison) } else { result };
        self.set_slot(id, slot, result.clone().map_or(Slot::Poison, Slot::Value));
        result
    }

    fn compute_leaf(&mut self, id: InstanceId, index: usize) -> Result<Value, Poison> {
        let class = self.instance(id).class;
        let Content::Leaf(leaf) = &self.class(class).members[index].content else { return Err(Poison) };
        let declaration = leaf.declaration.clone();
        let LeafState::Computed(deciding) = &leaf.state else { return self.context_value(id, index) };
        let deciding = Arc::clone(deciding);
        let mut found: Option<(Value, usize)> = None;
        for at in deciding.iter() {
            let Content::Leaf(Leaf { writes, .. }) = &self.class(class).members[index].content else {
                return Err(Poison);
            };
            let write = writes[*at].clone();
            let ty = match &declaration {
                Some(declaration) => declaration.ty.clone(),
                None => self.let_type(&write),
            };
            let value = self.written_value(id, &write, &ty, declaration.as_deref())?;
            match &found {
                Some((known, first)) if *known != value => {
                    let (known, first) = (known.clone(), *first);
                    let Content::Leaf(Leaf { writes, .. }) = &self.class(class).members[index].content else {
                        return Err(Poison);
                    };
                    let first = writes[first].clone();
                    self.conflict(declaration.as_deref(), &first, &known, &write, &value);
                    return Err(Poison);
                }
                Some(_) => {}
                None => found = Some((value, *at)),
            }
        }
        let (value, at) = found.ok_or(Poison)?;
        if let Some(declaration) = &declaration {
            let Content::Leaf(Leaf { writes, .. }) = &self.class(class).members[index].content else {
                return Err(Poison);
            };
            let span = self.statements[writes[at].holder].value_span();
            self.check_liveness(declaration, &value, span)?;
            if !self.within_bounds(declaration, &value, span) {
                return Err(Poison);
            }
        }
        Ok(value)
    }

    /// The type that a `let` gives itself with `type=`.
    fn let_type(&mut self, write: &Write) -> Type {
        if self.statements[write.holder].is_property {
            return Type::Any;
        }
        match self.property(write.holder, "type") {
            Some(property) => self.type_named(property).unwrap_or(Type::Any),
            None => Type::Any,
        }
    }

    fn check_liveness(&mut self, declaration: &Declaration, value: &Value, span: Span) -> Result<(), Poison> {
        // A source is live where nothing is written; what is written is fixed.
        if declaration.liveness == Liveness::Accepted {
            return Ok(());
        }
        let Some(live) = value.first_live().cloned() else { return Ok(()) };
        let what = format!("`{}`", self.text(declaration.name));
        let error = self.live_refused(&what, span, &live).label(declaration.span, "declared here");
        self.fail(error)
    }

    /// Says that a value known only while running stands where it must be known before.
    pub(crate) fn live_refused(&self, what: &str, span: Span, live: &Live) -> Diagnostic {
        let message =
            format!("{what} must be known before anything runs, but `{}` is known only then", live.expression);
        let mut error = Diagnostic::new("E0407", message, span, format!("a live {}", live.ty));
        for hop in live.hops.iter().filter(|hop| hop.span != span) {
            error = error.label(hop.span, hop.text.clone());
        }
        error.help("write a value that is known, for example a fixed `ip`")
    }

    /// What one write says, as a value of a type.
    pub(crate) fn written_value(
        &mut self,
        id: InstanceId,
        write: &Write,
        ty: &Type,
        declaration: Option<&Declaration>,
    ) -> Result<Value, Poison> {
        let holder = &self.statements[write.holder];
        if write.first >= write.end && holder.has_block && declaration.is_none() {
            return self.table(id, write, write.holder, true);
        }
        // Most often there is one value, which needs no list.
        let single = write.end - write.first == 1 && !matches!(ty, Type::List(_));
        let value = if single {
            let literal = holder.arguments[write.first].clone();
            self.written_literal(id, write, &literal, ty, declaration)?
        } else {
            let literals = holder.arguments[write.first..write.end].to_vec();
            let mut values = Vec::with_capacity(literals.len());
            for literal in &literals {
                match (self.written_literal(id, write, literal, ty, declaration)?, ty) {
                    (Value::List(more), Type::List(_)) => values.extend(more.iter().cloned()),
                    (value, _) => values.push(value),
                }
            }
            Value::List(values.into())
        };
        let mut span = self.statements[write.holder].value_span();
        if self.is_standard(span.file) {
            // A default of the standard library went wrong here because of what is around it.
            span = self.class_of(id).created;
        }
        self.accept(value, ty, span, declaration)
    }

    /// What one literal says.
    fn written_literal(
        &mut self,
        id: InstanceId,
        write: &Write,
        literal: &Literal,
        ty: &Type,
        declaration: Option<&Declaration>,
    ) -> Result<Value, Poison> {
        let is_text = matches!(literal.token, Token::Text(_));
        let element = ty.element();
        match literal.reading {
            Reading::Wrong => Err(Poison),
            Reading::Plain if is_text && *element == Type::Condition => self.condition(id, write, literal, declaration),
            Reading::Plain if !(is_text && element.reads_expressions()) => {
                self.read_literal(literal, ty).map_err(|mismatch| {
                    self.report_literal(mismatch, literal, write, declaration);
                    Poison
                })
            }
            Reading::Foreign => self.read_literal(literal, ty).map_err(|mismatch| {
                self.report_mismatch(&mismatch, literal.span, declaration);
                Poison
            }),
            Reading::Plain | Reading::Compute | Reading::Fill => {
                let class = self.instance(id).class;
                let expression = self.compile(literal, write.scope, &write.frames, &[], class).ok_or(Poison)?;
                self.compute(&expression, &Context::new(id, Arc::clone(&write.frames)))
            }
        }
    }

    /// Makes a value one of a type, or says why it is none.
    pub(crate) fn accept(
        &mut self,
        value: Value,
        ty: &Type,
        span: Span,
        declaration: Option<&Declaration>,
    ) -> Result<Value, Poison> {
        if *ty == Type::Table && matches!(value, Value::List(_)) {
            return Ok(value);
        }
        match ty.accept(value) {
            Ok(value) => {
                if let Type::Component(kind) = ty.element() {
                    self.check_kinds(&value, kind, span, declaration)?;
                }
                Ok(value)
            }
            Err(mismatch) => {
                self.report_mismatch(&mismatch, span, declaration);
                Err(Poison)
            }
        }
    }

    fn check_kinds(
        &mut self,
        value: &Value,
        kind: &str,
        span: Span,
        declaration: Option<&Declaration>,
    ) -> Result<(), Poison> {
        if let Value::List(values) = value {
            let values = Arc::clone(values);
            return values.iter().try_for_each(|value| self.check_kinds(value, kind, span, declaration));
        }
        let Value::Component(component) = value else { return Ok(()) };
        let symbol = self.names.intern(kind);
        let kinds = &self.class_of(InstanceId(component.instance)).kinds;
        if kind == crate::standard::ANY_COMPONENT || kinds.contains(&symbol) {
            return Ok(());
        }
        let message = format!("`{}` is a {}, not a {kind}", component.path, component.kind);
        let created = self.class_of(InstanceId(component.instance)).created;
        let error = Diagnostic::new("E0413", message, span, format!("a {kind} is expected"));
        let error = error.label(created, format!("created here as a {}", component.kind));
        self.fail(
            error
                .label_if(declaration.map(|d| d.span), "declared here")
                .help(format!("name a component of kind `{kind}`")),
        )
    }

    /// A `condition`: computed as far as it can be now.
    fn condition(
        &mut self,
        id: InstanceId,
        write: &Write,
        literal: &crate::statement::Literal,
        declaration: Option<&Declaration>,
    ) -> Result<Value, Poison> {
        let sees = declaration.map(|declaration| Arc::clone(&declaration.sees)).unwrap_or_default();
        let expression =
            self.compile(literal, write.scope, &write.frames, &sees, self.instance(id).class).ok_or(Poison)?;
        let context = Context::new(id, Arc::clone(&write.frames));
        let value = self.compute(&expression, &context)?;
        let found = Type::of(&value);
        if !found.fits(&Type::Boolean) {
            let message = format!("a condition is true or false, but this is {}", value.describe());
            let error = Diagnostic::new("E0401", message, literal.span, "not a condition");
            return self.fail(error.help("compare it with something, for example `host.cpus >= 4`"));
        }
        let text = match &literal.token {
            Token::Text(text) => Arc::clone(text),
            _ => Arc::from(""),
        };
        Ok(Value::Condition(Arc::new(Condition { text, expression: Residue::of(value), span: literal.span })))
    }

    /// The rows of a `let` with a block, or the fields of such a row.
    fn table(&mut self, id: InstanceId, write: &Write, holder: StatementId, top: bool) -> Result<Value, Poison> {
        let mut rows = Vec::new();
        for part in self.statements[holder].body.clone() {
            let line = &self.statements[part];
            if top && line.is_property {
                continue;
            }
            let name: Vec<&str> = line.path.iter().map(|(name, _)| self.text(*name)).collect();
            let name: Arc<str> = Arc::from(name.join("."));
            let name_span = line.name_span;
            if rows.iter().any(|(known, _)| *known == name) {
                let error = Diagnostic::new(
                    "E0206",
                    format!("the row `{name}` is written twice"),
                    name_span,
                    "the second time",
                );
                return self.fail(error.help("rename one of them"));
            }
            let given = line.arguments.len();
            let value = if line.body.is_empty() && given > 0 {
                let own = Write { holder: part, statement: part, first: 0, end: given, ..write.clone() };
                self.written_value(id, &own, &Type::Any, None)?
            } else if given == 0 {
                self.table(id, write, part, false)?
            } else {
                let span = line.span;
                let error = Diagnostic::new("E0212", "a row has either a value or fields", span, "both");
                return self.fail(error.help("write `name value`, or `name field=value field=value`"));
            };
            rows.push((name, value));
        }
        Ok(Value::Table(Arc::new(Table::new(rows))))
    }

    /// The value of an attribute that is known only while running.
    fn source_value(&self, id: InstanceId, index: usize) -> Value {
        let member = &self.class_of(id).members[index];
        let ty = match &member.content {
            Content::Leaf(Leaf { declaration: Some(declaration), .. }) => declaration.ty.clone(),
            _ => Type::Any,
        };
        let name = self.text(member.name);
        let path: Arc<str> = Arc::from(format!("{}.{name}", self.instance_path(id)));
        let hop = Hop { span: member.span, text: format!("`{name}` is known only while running") };
        let expression = Residue::Read { path, ty: ty.clone() };
        Value::Live(Arc::new(Live { ty, expression, hops: [hop].into() }))
    }

    fn missing(&mut self, id: InstanceId, index: usize) -> Result<Value, Poison> {
        let member = &self.class_of(id).members[index];
        let (name, declared) = (self.text(member.name).to_owned(), member.span);
        let created = self.class_of(id).created;
        let Content::Leaf(leaf) = &member.content else { return Err(Poison) };
        let Some(declaration) = leaf.declaration.clone() else { return Err(Poison) };
        let title = self.instance_title(id);
        let example = match &declaration.one_of[..] {
            [] => declaration.ty.example().to_owned(),
            choices => {
                let choices: Vec<String> = choices.iter().map(|(value, _)| value.to_string()).collect();
                format!("choose {}", crate::nearest::alternatives(&choices, "or"))
            }
        };
        let is_file = self.class_of(id).flavor == crate::compose::Flavor::File;
        let (span, message) = if is_file {
            (declared, format!("the param `{name}` has no value"))
        } else {
            (created, format!("{title} has no `{name}`"))
        };
        let mut error = Diagnostic::new("E0405", message, span, format!("`{name}` is missing"));
        if !is_file {
            error = error.label(declared, format!("declared here as {}, without a default", declaration.ty));
        }
        if let Some(doc) = declaration.doc.as_ref().filter(|_| !self.sources.is_standard(declaration.span.file)) {
            error = error.note(format!("`{name}`: {doc}"));
        }
        let help = if is_file {
            format!("give it a default, or set it: `--param {name}=…`")
        } else if declaration.positional {
            format!("write its value behind the word; {example}")
        } else {
            format!("add `{name} …`; {example}")
        };
        self.fail(error.help(help))
    }

    /// The value of a context param: the member of its name in the nearest enclosing component that has one.
    fn context_value(&mut self, id: InstanceId, index: usize) -> Result<Value, Poison> {
        let member = &self.class_of(id).members[index];
        let (name, declared) = (member.name, member.span);
        let Content::Leaf(Leaf { declaration: Some(declaration), .. }) = &member.content else { return Err(Poison) };
        let declaration = Arc::clone(declaration);
        let mut searched: Vec<(String, Span)> = Vec::new();
        let mut at = self.instance(id).parent;
        while let Some(enclosing) = at {
            let class = self.class_of(enclosing);
            if let Some(found) = class.index.get(&name).copied() {
                let place = class.members[found].span;
                self.use_member(enclosing, found);
                let class = self.class_of(enclosing);
                let value = match &class.members[found].content {
                    Content::Leaf(_) => self.value(enclosing, found, declared)?,
                    Content::Child(_) => match self.children(enclosing, found, declared)? {
                        Children::One(child) => self.component_value(child),
                        Children::Many(children) => {
                            Value::List(children.iter().map(|c| self.component_value(*c)).collect())
                        }
                        Children::Absent => Value::Unset,
                    },
                    Content::Record(_) | Content::Items(_) => return Err(Poison),
                };
                let value = self.hop(value, declared, "taken from the place of use here");
                return self.accept(value, &declaration.ty, place, Some(&declaration));
            }
            searched.push((self.instance_title(enclosing), class.created));
            at = self.instance(enclosing).parent;
        }
        if let Content::Leaf(leaf) = &self.class_of(id).members[index].content
            && let Some(default) = leaf.writes.last().cloned()
        {
            return self.written_value(id, &default, &declaration.ty, Some(&declaration));
        }
        let text = self.text(name).to_owned();
        let created = self.class_of(id).created;
        let title = self.instance_title(id);
        let mut error =
            Diagnostic::new("E0412", format!("nothing around {title} is called `{text}`"), created, "used here");
        error = error.label(declared, "this param is taken from the place of use");
        for (title, span) in searched.into_iter().filter(|(title, _)| title != "the file").take(8) {
            error = error.label(span, format!("{title} has none"));
        }
        self.fail(error.help(format!("add `let {text} …` around it, or set `{text}` where it is used")))
    }

    /// Notes that a let or param is read.
    pub(crate) fn use_member(&mut self, id: InstanceId, index: usize) {
        let statement = match &self.class_of(id).members[index].content {
            Content::Leaf(Leaf { declaration: Some(declaration), .. }) => Some(declaration.statement),
            Content::Leaf(leaf) => leaf.writes.last().map(|write| write.statement),
            _ => None,
        };
        self.used.extend(statement);
    }

    /// A component as a value.
    pub(crate) fn component_value(&self, id: InstanceId) -> Value {
        let class = self.class_of(id);
        let kind =
            class.kinds.first().map_or_else(|| Arc::from("component"), |kind| Arc::clone(self.names.text(*kind)));
        Value::Component(crate::value::ComponentReference { instance: id.0, kind, path: self.instance_path(id).into() })
    }

    /// Notes where a live value passed.
    pub(crate) fn hop(&self, value: Value, span: Span, text: &str) -> Value {
        match value {
            Value::Live(live) if live.hops.len() < 32 => {
                let hop = Hop { span, text: text.to_owned() };
                let hops = live.hops.iter().cloned().chain([hop]).collect();
                Value::Live(Arc::new(Live { ty: live.ty.clone(), expression: live.expression.clone(), hops }))
            }
            value => value,
        }
    }
}
