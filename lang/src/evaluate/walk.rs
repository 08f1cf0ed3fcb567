//! Following paths such as `wn.*.memory` through instances and values.

use std::sync::Arc;

use crate::compose::{Content, Flavor, Leaf, Role};
use crate::condition::{Hop, Live, Residue};
use crate::diagnostic::Diagnostic;
use crate::evaluate::compute::Context;
use crate::evaluate::instance::{Children, InstanceId, Key};
use crate::expression::ast::{Root, Segment, Variable};
use crate::nearest::{alternatives, nearest};
use crate::resolver::{Poison, Resolver};
use crate::source::Span;
use crate::statement::StatementId;
use crate::types::Type;
use crate::value::Value;

/// Where a path has come to.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    Value(Value),
    Instance(InstanceId),
    /// The instances of a component with `count` or `each`; the next part says which.
    Several(Arc<[InstanceId]>, Arc<str>),
    /// All of them, by `*`.
    All(Vec<Stop>),
}

impl Resolver<'_> {
    /// The value of a path.
    pub(crate) fn path_value(
        &mut self,
        root: &Root,
        segments: &[Segment],
        span: Span,
        context: &Context,
    ) -> Result<Value, Poison> {
        let Some(first) = segments.first() else { return Err(Poison) };
        let (stop, used) = self.root_stop(root, first, segments, span, context)?;
        let stop = self.follow(stop, &segments[used..])?;
        let value = self.stop_value(stop, span)?;
        let value = match &value {
            Value::Live(_) => {
                let text = self.sources.text(span).to_owned();
                self.hop(value, span, &format!("`{text}` is read here"))
            }
            _ => value,
        };
        if self.trace.is_some() {
            self.note_operand(root, segments, span, &value, context);
        }
        Ok(value)
    }

    /// Parts of a value that is no name.
    pub(crate) fn value_members(&mut self, base: Value, segments: &[Segment], span: Span) -> Result<Value, Poison> {
        let stop = self.follow(Stop::Value(base), segments)?;
        self.stop_value(stop, span)
    }

    /// Where a path starts, and how many of its parts that takes.
    fn root_stop(
        &mut self,
        root: &Root,
        first: &Segment,
        segments: &[Segment],
        span: Span,
        context: &Context,
    ) -> Result<(Stop, usize), Poison> {
        let this = self.component_of(context.instance);
        match root {
            Root::Unresolved | Root::Poison => Err(Poison),
            Root::Local(depth) => {
                let at = context.locals.len().checked_sub(depth + 1).ok_or(Poison)?;
                Ok((Stop::Value(context.locals[at].clone()), 1))
            }
            Root::This => Ok((Stop::Instance(this), 1)),
            Root::Parent => {
                let parent = self.instance(this).parent.filter(|id| self.class_of(*id).flavor != Flavor::File);
                match parent {
                    Some(parent) => Ok((Stop::Instance(parent), 1)),
                    None => self.fail(
                        Diagnostic::new(
                            "E0203",
                            "there is no component around this one",
                            first.span,
                            "`parent` is nothing",
                        )
                        .help("a pool has no parent"),
                    ),
                }
            }
            Root::Pool => {
                let mut at = Some(this);
                while let Some(id) = at {
                    let class = self.class_of(id);
                    if class.flavor == Flavor::Component
                        && class.kinds.first().is_some_and(|kind| self.text(*kind) == "pool")
                    {
                        return Ok((Stop::Instance(id), 1));
                    }
                    at = self.instance(id).parent;
                }
                let error = Diagnostic::new("E0203", "there is no pool around this", first.span, "`pool` is nothing");
                self.fail(error.help("`pool` is known inside a pool"))
            }
            Root::Index => match self.keyed(context, |key| matches!(key, Key::Index(_)))? {
                Some(Key::Index(index)) => Ok((Stop::Value(Value::Integer(i64::from(index))), 1)),
                _ => self.fail(
                    Diagnostic::new("E0203", "nothing around this has a `count`", first.span, "`index` is nothing")
                        .help("`index` is the number of an instance of a component with `count`"),
                ),
            },
            Root::Each => match self.keyed(context, |key| matches!(key, Key::Row(..)))? {
                Some(Key::Row(_, row)) => Ok((Stop::Value(Value::Table(row)), 1)),
                _ => self.fail(
                    Diagnostic::new("E0203", "nothing around this has `each`", first.span, "`each` is nothing")
                        .help("`each` is the row of an instance of a component with `each=`"),
                ),
            },
            Root::Variable(variable) => {
                let value = self.variable(variable, first.span);
                Ok((Stop::Value(value), 1))
            }
            Root::Member { level, declared } => {
                let frame = *context.frames.get(*level).ok_or(Poison)?;
                let instance = self.frame_instance(context.instance, frame)?;
                self.member_stop(instance, first, *declared).map(|stop| (stop, 1))
            }
            Root::Namespace { file } => {
                if self.units.get(file).is_some_and(|unit| unit.is_broken) {
                    return Err(Poison);
                }
                let instance = self.root_instance(*file)?;
                let second = segments.get(1).ok_or(Poison)?;
                let _ = span;
                self.member_stop(instance, second, None).map(|stop| (stop, 2))
            }
        }
    }

    /// The key of the innermost component of the surrounding text that has one of the wanted sort.
    fn keyed(&mut self, context: &Context, wanted: impl Fn(&Key) -> bool) -> Result<Option<Key>, Poison> {
        for frame in Arc::clone(&context.frames).iter() {
            let instance = self.frame_instance(context.instance, *frame)?;
            if let Some(key) = self.instance(instance).key.clone().filter(&wanted) {
                return Ok(Some(key));
            }
        }
        // A line that amends certain instances stands outside their bodies, but speaks of them.
        let own = self.component_of(context.instance);
        Ok(self.instance(own).key.clone().filter(&wanted))
    }

    /// A variable of a condition, as a live value.
    fn variable(&self, variable: &Variable, span: Span) -> Value {
        let expression = Residue::Read { path: Arc::clone(&variable.name), ty: variable.ty.clone() };
        let hop = Hop { span, text: format!("`{}` is known only when the condition is judged", variable.name) };
        Value::Live(Arc::new(Live { ty: variable.ty.clone(), expression, hops: [hop].into() }))
    }

    fn follow(&mut self, start: Stop, segments: &[Segment]) -> Result<Stop, Poison> {
        let mut at = start;
        for segment in segments {
            at = self.follow_one(at, segment)?;
        }
        Ok(at)
    }

    fn follow_one(&mut self, at: Stop, segment: &Segment) -> Result<Stop, Poison> {
        match at {
            Stop::All(stops) => {
                self.spend(stops.len(), segment.span)?;
                let all: Result<Vec<Stop>, Poison> =
                    stops.into_iter().map(|stop| self.follow_one(stop, segment)).collect();
                Ok(Stop::All(all?))
            }
            Stop::Instance(_) if segment.all => self.fail(
                Diagnostic::new(
                    "E0210",
                    "`*` stands behind a component with `count` or `each`",
                    segment.span,
                    "there is only one",
                )
                .help("remove `.*`"),
            ),
            Stop::Instance(instance) => self.member_stop(instance, segment, None),
            Stop::Several(instances, _) if segment.all => {
                self.spend(instances.len(), segment.span)?;
                Ok(Stop::All(instances.iter().map(|id| Stop::Instance(*id)).collect()))
            }
            Stop::Several(instances, name) => self.one_of_several(&instances, &name, segment),
            Stop::Value(value) => self.value_stop(value, segment),
        }
    }

    fn one_of_several(&mut self, instances: &[InstanceId], name: &str, segment: &Segment) -> Result<Stop, Poison> {
        let part = Arc::clone(self.names.text(segment.name));
        let is_it = |id: &InstanceId| match &self.instance(*id).key {
            Some(Key::Index(index)) => index.to_string() == *part,
            Some(Key::Row(key, _)) => *key == part,
            None => false,
        };
        // An instance by `count` stands where its number says; only rows are searched.
        let numbered = part.parse::<usize>().ok().and_then(|number| instances.get(number)).filter(|id| is_it(id));
        let is_counted =
            instances.first().is_some_and(|first| matches!(self.instance(*first).key, Some(Key::Index(_))));
        let found = numbered.or_else(|| instances.iter().filter(|_| !is_counted).find(|id| is_it(id)));
        if let Some(found) = found {
            return Ok(Stop::Instance(*found));
        }
        let is_index = part.bytes().all(|b| b.is_ascii_digit());
        let keys: Vec<String> = instances
            .iter()
            .take(13)
            .filter_map(|id| match &self.instance(*id).key {
                Some(Key::Row(key, _)) => Some(key.to_string()),
                _ => None,
            })
            .collect();
        let (code, message) = if is_index {
            ("E0209", format!("there is no `{name}.{part}`: `{name}` has {} instances", instances.len()))
        } else {
            ("E0210", format!("`{name}` stands for {} components; which one?", instances.len()))
        };
        let error =
            Diagnostic::new(code, message, segment.span, if is_index { "no such instance" } else { "of which one?" });
        let help = match (instances.len(), &keys[..]) {
            (0, _) => "raise its `count`".to_owned(),
            (_, []) => format!("write `{name}.0` to `{name}.{}` for one, `{name}.*` for all", instances.len() - 1),
            _ => format!("write `{name}.*` for all, or one of {}", alternatives(&keys, "and")),
        };
        self.fail(error.help(help))
    }

    fn value_stop(&mut self, value: Value, segment: &Segment) -> Result<Stop, Poison> {
        let part = Arc::clone(self.names.text(segment.name));
        match &value {
            Value::Component(component) => self.follow_one(Stop::Instance(InstanceId(component.instance)), segment),
            Value::Table(table) if segment.all => {
                Ok(Stop::All(table.iter().map(|(_, value)| Stop::Value(value.clone())).collect()))
            }
            Value::Table(table) => match table.get(&part) {
                Some(value) => Ok(Stop::Value(value.clone())),
                None => {
                    let known: Vec<String> = table.iter().map(|(name, _)| name.to_string()).collect();
                    let error = Diagnostic::new("E0203", format!("the table has no `{part}`"), segment.span, "unknown");
                    self.fail(match nearest(&part, known.iter().map(String::as_str)) {
                        Some(meant) => error.help(format!("did you mean `{meant}`?")).suggest(segment.span, meant),
                        None => error.help(format!("it has {}", alternatives(&known, "and"))),
                    })
                }
            },
            Value::List(values) if segment.all => Ok(Stop::All(values.iter().cloned().map(Stop::Value).collect())),
            Value::List(values) => match part.parse::<usize>().ok().and_then(|at| values.get(at)) {
                Some(value) => Ok(Stop::Value(value.clone())),
                None => self.fail(
                    Diagnostic::new("E0411", format!("the list has no value `{part}`"), segment.span, "out of range")
                        .help(format!("it has {} values, numbered from 0; `.*` takes all", values.len())),
                ),
            },
            Value::Live(live) => self.live_stop(live, &part, segment),
            Value::Unset => self.fail(
                Diagnostic::new(
                    "E0203",
                    format!("there is no `{part}` in what is unset"),
                    segment.span,
                    "nothing was written before this",
                )
                .help("write it, or test with `== unset` first"),
            ),
            other => self.fail(
                Diagnostic::new("E0203", format!("{} has no parts", other.describe()), segment.span, "leads nowhere")
                    .help("a path leads through components, records and tables"),
            ),
        }
    }

    /// A part of a live value: a fact of a host, a label.
    fn live_stop(&mut self, live: &Live, part: &str, segment: &Segment) -> Result<Stop, Poison> {
        let Residue::Read { path, .. } = &live.expression else {
            let error = Diagnostic::new("E0203", "this live value has no parts", segment.span, "leads nowhere");
            return self.fail(error.help("read the part before computing with it"));
        };
        let ty = match &live.ty {
            Type::Table | Type::Any => Type::Any,
            Type::Component(kind) => {
                let symbol = self.names.intern(kind);
                let class = self.kind_class(symbol).ok_or(Poison)?;
                if self.class(class).members.is_empty() {
                    self.fill(class);
                }
                let found = self.class(class).member(segment.name).and_then(|member| match &member.content {
                    Content::Leaf(Leaf { declaration: Some(declaration), .. }) => Some(declaration.ty.clone()),
                    _ => None,
                });
                match found {
                    Some(ty) => ty,
                    None => {
                        let known: Vec<String> =
                            self.class(class).members.iter().map(|member| self.text(member.name).to_owned()).collect();
                        let message = format!("`{path}` has no `{part}`");
                        let error = Diagnostic::new("E0203", message, segment.span, "unknown");
                        return self.fail(match nearest(part, known.iter().map(String::as_str)) {
                            Some(meant) => error.help(format!("did you mean `{meant}`?")).suggest(segment.span, meant),
                            None => error.help(format!("it has {}", alternatives(&known, "and"))),
                        });
                    }
                }
            }
            other => {
                let message = format!("`{path}` is a live {other} and has no parts");
                let error = Diagnostic::new("E0203", message, segment.span, "leads nowhere");
                return self.fail(error.help("remove the last part"));
            }
        };
        let expression = Residue::Read { path: Arc::from(format!("{path}.{part}")), ty: ty.clone() };
        Ok(Stop::Value(Value::Live(Arc::new(Live { ty, expression, hops: Arc::clone(&live.hops) }))))
    }

    /// A member of an instance. `declared` asks for the `let` of a certain statement.
    fn member_stop(
        &mut self,
        instance: InstanceId,
        segment: &Segment,
        declared: Option<StatementId>,
    ) -> Result<Stop, Poison> {
        let class = self.class_of(instance);
        let by_statement = declared.and_then(|statement| {
            class.members.iter().position(|member| match &member.content {
                Content::Leaf(Leaf { role: Role::Let, writes, .. }) => {
                    writes.iter().any(|write| write.statement == statement)
                }
                _ => false,
            })
        });
        let Some(index) = by_statement.or_else(|| class.index.get(&segment.name).copied()) else {
            return self.builtin(instance, segment);
        };
        match &class.members[index].content {
            Content::Leaf(_) => {
                self.use_member(instance, index);
                self.value(instance, index, segment.span).map(Stop::Value)
            }
            Content::Record(_) | Content::Child(_) => match self.children(instance, index, segment.span)? {
                Children::Absent => Ok(Stop::Value(Value::Unset)),
                Children::One(child) => Ok(Stop::Instance(child)),
                Children::Many(children) => {
                    let name = Arc::clone(self.names.text(segment.name));
                    Ok(Stop::Several(children, name))
                }
            },
            Content::Items(_) => {
                let name = self.text(segment.name).to_owned();
                let error = Diagnostic::new(
                    "E0203",
                    format!("items such as `{name}` cannot be read"),
                    segment.span,
                    "no value",
                );
                self.fail(error.help("put the value into a `let` or `param`, and use that in both places"))
            }
        }
    }

    /// `this.name`, `this.path`, `this.kind`, `this.index`: what every component has.
    fn builtin(&mut self, instance: InstanceId, segment: &Segment) -> Result<Stop, Poison> {
        let name = Arc::clone(self.names.text(segment.name));
        let key = self.instance(instance).key.clone();
        let value = match (&*name, key) {
            ("name", _) => Some(Value::Text(self.instance_name(instance).into())),
            ("path", _) => Some(Value::Text(self.instance_path(instance).into())),
            ("kind", _) => {
                let kind = self.class_of(instance).kinds.first().copied();
                kind.map(|kind| Value::Text(Arc::clone(self.names.text(kind))))
            }
            ("index", Some(Key::Index(index))) => Some(Value::Integer(i64::from(index))),
            ("each", Some(Key::Row(_, row))) => Some(Value::Table(row)),
            _ => None,
        };
        if let Some(value) = value {
            return Ok(Stop::Value(value));
        }
        let class = self.class_of(instance);
        if class.lacks_prototype {
            // What could not be found may have it.
            return Err(Poison);
        }
        let created = class.created;
        let known: Vec<String> = class
            .members
            .iter()
            .filter(|member| !matches!(member.content, Content::Items(_)))
            .map(|member| self.text(member.name).to_owned())
            .collect();
        let title = self.instance_title(instance);
        let error = Diagnostic::new("E0203", format!("{title} has no `{name}`"), segment.span, "unknown");
        let error = if class.flavor == Flavor::File { error } else { error.label(created, "created here") };
        self.fail(match nearest(&name, known.iter().map(String::as_str)) {
            Some(meant) => error.help(format!("did you mean `{meant}`?")).suggest(segment.span, meant),
            None => error.help(format!("it has {}", alternatives(&known, "and"))),
        })
    }

    /// What a path that ends here stands for.
    fn stop_value(&mut self, stop: Stop, span: Span) -> Result<Value, Poison> {
        match stop {
            Stop::Value(value) => Ok(value),
            Stop::Instance(instance) if self.class_of(instance).flavor == Flavor::Component => {
                Ok(self.component_value(instance))
            }
            Stop::Instance(instance) => {
                let title = self.instance_title(instance);
                let error = Diagnostic::new("E0203", format!("{title} is a record, not a value"), span, "not a value");
                self.fail(error.help("name one of its attributes"))
            }
            Stop::Several(instances, _) => {
                Ok(Value::List(instances.iter().map(|instance| self.component_value(*instance)).collect()))
            }
            Stop::All(stops) => {
                let mut values = Vec::with_capacity(stops.len());
                for stop in stops {
                    let nested = matches!(stop, Stop::All(_));
                    match self.stop_value(stop, span)? {
                        Value::List(inner) if nested => values.extend(inner.iter().cloned()),
                        value => values.push(value),
                    }
                }
                Ok(Value::List(values.into()))
            }
        }
    }
}
