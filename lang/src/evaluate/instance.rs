//! Instances: components, records and items after `count`, `each` and `if`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::compose::layers::Frame;
use crate::compose::{ClassId, Content, Flavor, Leaf};
use crate::diagnostic::Diagnostic;
use crate::resolver::{Poison, Resolver};
use crate::source::{FileId, Span};
use crate::symbol::Symbol;
use crate::types::Type;
use crate::value::{Table, Value};

/// An instance of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct InstanceId(pub(crate) u32);

/// Which of several an instance is.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    /// By `count`.
    Index(u32),
    /// By `each`: its key, and its row with the key in it.
    Row(Arc<str>, Arc<Table>),
}

/// A component, record or item.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) class: ClassId,
    pub(crate) parent: Option<InstanceId>,
    pub(crate) key: Option<Key>,
    pub(crate) slots: Box<[Slot]>,
}

/// What an instance holds of one of its members.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    Empty,
    Busy,
    Poison,
    Value(Value),
    Absent,
    One(InstanceId),
    Many(Arc<[InstanceId]>),
}

/// The instances of a child, record or item.
#[derive(Clone, Debug)]
pub(crate) enum Children {
    Absent,
    One(InstanceId),
    Many(Arc<[InstanceId]>),
}

impl Resolver<'_> {
    /// The instance of an id of this run.
    pub(crate) fn instance(&self, id: InstanceId) -> &Instance {
        &self.instances[id.0 as usize]
    }

    /// The class of an instance.
    pub(crate) fn class_of(&self, id: InstanceId) -> &crate::compose::Class {
        self.class(self.instance(id).class)
    }

    /// Adds an instance.
    pub(crate) fn add_instance(
        &mut self,
        class: ClassId,
        parent: Option<InstanceId>,
        key: Option<Key>,
        span: Span,
    ) -> Result<InstanceId, Poison> {
        if self.instances.len() >= self.options.max_instances {
            let message =
                format!("the description has more than {} components, records and items", self.options.max_instances);
            return self
                .fail(Diagnostic::new("E0601", message, span, "too many").help("lower `count`, or split the pool"));
        }
        let slots = self.plan(class).slots as usize;
        // At most a million, checked above.
        let id = InstanceId(self.instances.len() as u32);
        let slots = if slots == 0 { Box::default() } else { vec![Slot::Empty; slots].into_boxed_slice() };
        self.instances.push(Instance { class, parent, key, slots });
        Ok(id)
    }

    /// The instance at the top of a file.
    pub(crate) fn root_instance(&mut self, file: FileId) -> Result<InstanceId, Poison> {
        if let Some(instance) = self.units.get(&file).and_then(|unit| unit.instance) {
            return Ok(instance);
        }
        let class = self.file_class(file);
        let instance = self.add_instance(class, None, None, Span::new(file, 0, 0))?;
        if let Some(unit) = self.units.get_mut(&file) {
            unit.instance = Some(instance);
        }
        Ok(instance)
    }

    /// The instance that a frame denotes, seen from another one.
    pub(crate) fn frame_instance(&mut self, from: InstanceId, frame: Frame) -> Result<InstanceId, Poison> {
        match frame {
            Frame::Root(file) => self.root_instance(file),
            Frame::Up(hops) => {
                let mut at = from;
                for _ in 0..hops {
                    at = self.instance(at).parent.ok_or(Poison)?;
                }
                Ok(at)
            }
        }
    }

    /// The nearest component at or above an instance: records and items belong to one.
    pub(crate) fn component_of(&self, id: InstanceId) -> InstanceId {
        let mut at = id;
        while matches!(self.class_of(at).flavor, Flavor::Record | Flavor::Item) {
            match self.instance(at).parent {
                Some(parent) => at = parent,
                None => break,
            }
        }
        at
    }

    /// The instance's own name: `web-0`, `edge-cern`, `head`.
    pub(crate) fn instance_name(&self, id: InstanceId) -> String {
        let name = self.text(self.class_of(id).name);
        match &self.instance(id).key {
            None => name.to_owned(),
            Some(Key::Index(index)) => format!("{name}-{index}"),
            Some(Key::Row(key, _)) => format!("{name}-{key}"),
        }
    }

    /// The instance's path, its pool's name first: `physics.edge.cern.head`.
    pub(crate) fn instance_path(&self, id: InstanceId) -> String {
        let mut path = String::new();
        self.write_path(id, &mut path);
        path
    }

    /// Writes the path of an instance, that of its parent first. The depth of a description is limited.
    fn write_path(&self, id: InstanceId, path: &mut String) {
        let instance = self.instance(id);
        if let Some(parent) = instance.parent {
            self.write_path(parent, path);
        }
        let class = self.class(instance.class);
        if class.flavor == Flavor::File {
            return;
        }
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(self.text(class.name));
        match &instance.key {
            Some(Key::Index(index)) => path.extend([".", &index.to_string()]),
            Some(Key::Row(key, _)) => path.extend([".", key]),
            None => {}
        }
    }

    /// Title and path for messages: "the domain `batch.wn.0`".
    pub(crate) fn instance_title(&self, id: InstanceId) -> String {
        let class = self.class_of(id);
        match class.flavor {
            Flavor::File => "the file".into(),
            Flavor::Component => {
                let kind = class.kinds.first().map_or("component", |kind| self.text(*kind));
                format!("the {kind} `{}`", self.instance_path(id))
            }
            _ => format!("`{}`", self.instance_path(id)),
        }
    }

    fn slot(&self, id: InstanceId, index: usize) -> Option<(usize, Slot)> {
        let slot = self.class_of(id).members[index].slot? as usize;
        self.instance(id).slots.get(slot).map(|value| (slot, value.clone()))
    }

    pub(crate) fn set_slot(&mut self, id: InstanceId, slot: usize, value: Slot) {
        if let Some(place) = self.instances[id.0 as usize].slots.get_mut(slot) {
            *place = value;
        }
    }

    /// What an instance holds in the slot of a member, and where.
    pub(crate) fn slot_of(&self, id: InstanceId, index: usize) -> Option<(usize, Slot)> {
        self.slot(id, index)
    }

    /// The instances of a child component, a record, or the items of one word.
    pub(crate) fn children(&mut self, id: InstanceId, index: usize, asked: Span) -> Result<Children, Poison> {
        let Some((slot, state)) = self.slot(id, index) else { return Ok(Children::Absent) };
        match state {
            Slot::Absent => return Ok(Children::Absent),
            Slot::One(child) => return Ok(Children::One(child)),
            Slot::Many(children) => return Ok(Children::Many(children)),
            Slot::Poison | Slot::Value(_) => return Err(Poison),
            Slot::Busy => return self.cycle(id, index, asked),
            Slot::Empty => {}
        }
        self.enter(id, index, asked)?;
        self.set_slot(id, slot, Slot::Busy);
        let result = self.expand(id, index);
        self.leave();
        self.set_slot(
            id,
            slot,
            match &result {
                Ok(Children::Absent) => Slot::Absent,
                Ok(Children::One(child)) => Slot::One(*child),
                Ok(Children::Many(children)) => Slot::Many(Arc::clone(children)),
                Err(Poison) => Slot::Poison,
            },
        );
        result
    }

    fn expand(&mut self, id: InstanceId, index: usize) -> Result<Children, Poison> {
        let class = self.instance(id).class;
        let span = self.class(class).members[index].span;
        match &self.class(class).members[index].content {
            Content::Leaf(_) => Err(Poison),
            Content::Record(_) => match self.record_class(class, index) {
                Some(record) => self.add_instance(record, Some(id), None, span).map(Children::One),
                None => Ok(Children::Absent),
            },
            Content::Items(_) => self.items(id, index),
            Content::Child(_) => self.expand_child(id, index, span),
        }
    }

    fn expand_child(&mut self, id: InstanceId, index: usize, span: Span) -> Result<Children, Poison> {
        let class = self.instance(id).class;
        let (common, indexed) = self.child_class(class, index).ok_or(Poison)?;
        if let Some(Value::Boolean(false)) = self.meta(id, index, "if", &Type::Boolean)? {
            return Ok(Children::Absent);
        }
        let count = self.meta(id, index, "count", &Type::Integer)?;
        let each = self.meta(id, index, "each", &Type::Any)?;
        let need = self.meta(id, index, "need", &Type::Integer)?;
        let keys: Option<Vec<Key>> = match (count, each) {
            (Some(_), Some(_)) => {
                let place = self.meta_span(class, index, "each").unwrap_or(span);
                let other = self.meta_span(class, index, "count").unwrap_or(span);
                let error = Diagnostic::new("E0212", "a component has either `count` or `each`", place, "one of them");
                return self.fail(error.label(other, "the other").help("remove one of them"));
            }
            (Some(count), None) => Some(self.count_keys(class, index, &count)?),
            (None, Some(rows)) => Some(self.row_keys(class, index, rows)?),
            (None, None) => None,
        };
        self.check_row_names(class, index, common, keys.as_deref().unwrap_or_default())?;
        self.check_indexed(class, index, &indexed, keys.as_deref())?;
        let total = keys.as_ref().map_or(1, Vec::len);
        if let Some(Value::Integer(need)) = need
            && (need < 0 || usize::try_from(need).is_ok_and(|need| need > total))
        {
            let place = self.meta_span(class, index, "need").unwrap_or(span);
            let name = self.text(self.class(class).members[index].name).to_owned();
            let message = format!("`{name}` needs {need} of {total}");
            self.report(
                Diagnostic::new("E0503", message, place, "out of range").help(format!("choose from 0 to {total}")),
            );
        }
        let Some(keys) = keys else {
            return self.add_instance(common, Some(id), None, span).map(Children::One);
        };
        let mut children = Vec::with_capacity(keys.len());
        let own: BTreeMap<Arc<str>, ClassId> =
            indexed.iter().map(|(name, _, class)| (Arc::clone(self.names.text(*name)), *class)).collect();
        for key in keys {
            let own = match &key {
                _ if own.is_empty() => None,
                Key::Index(index) => own.get(index.to_string().as_str()),
                Key::Row(key, _) => own.get(&**key),
            };
            let class = own.copied().unwrap_or(common);
            children.push(self.add_instance(class, Some(id), Some(key), span)?);
        }
        Ok(Children::Many(children.into()))
    }

    /// The leaf of `count`, `each`, `need` or `if`.
    fn meta_leaf(&self, class: ClassId, index: usize, word: &str) -> Option<&Leaf> {
        let Content::Child(child) = &self.class(class).members[index].content else { return None };
        Some(match word {
            "count" => &child.count,
            "each" => &child.each,
            "need" => &child.need,
            _ => &child.condition,
        })
    }

    fn meta_span(&self, class: ClassId, index: usize, word: &str) -> Option<Span> {
        let write = self.meta_leaf(class, index, word)?.writes.last()?;
        Some(self.statements[write.statement].span)
    }

    /// The value of `count`, `each`, `need` or `if`, which must be known before anything runs.
    pub(crate) fn meta(
        &mut self,
        id: InstanceId,
        index: usize,
        word: &str,
        ty: &Type,
    ) -> Result<Option<Value>, Poison> {
        let class = self.instance(id).class;
        let Some(leaf) = self.meta_leaf(class, index, word) else { return Ok(None) };
        if leaf.writes.is_empty() {
            return Ok(None);
        }
        let writes = leaf.writes.clone();
        let layers = Arc::clone(&self.class(class).layers);
        let deciding = crate::compose::choose::deciding(&layers, &writes);
        let mut value: Option<(Value, Span)> = None;
        for at in deciding {
            let write = &writes[at];
            let span = self.statements[write.holder].value_span();
            let wanted = if word == "each" { Type::Table } else { ty.clone() };
            let next = self.written_value(id, write, &wanted, None)?;
            if let Some(live) = next.first_live() {
                let live = Arc::clone(live);
                let what = format!("`{word}`");
                return self.fail(self.live_refused(&what, span, &live));
            }
            match &value {
                Some((known, first)) if *known != next => {
                    let first = *first;
                    return self.fail(
                        Diagnostic::new(
                            "E0303",
                            format!("`{word}` is written twice, differently"),
                            span,
                            next.to_string(),
                        )
                        .label(first, known.to_string())
                        .help("remove one of them"),
                    );
                }
                _ => value = Some((next, span)),
            }
        }
        Ok(value.map(|(value, _)| value))
    }

    fn count_keys(&mut self, class: ClassId, index: usize, count: &Value) -> Result<Vec<Key>, Poison> {
        let number = count.as_integer().unwrap_or(-1);
        match u32::try_from(number) {
            Ok(number) if number as usize <= self.options.max_instances => Ok((0..number).map(Key::Index).collect()),
            _ => {
                let span = self.meta_span(class, index, "count").unwrap_or(self.class(class).created);
                let most = self.options.max_instances;
                let (code, message, help) = if number < 0 {
                    let help = "a count is 0 or more; with 0, or with `if=#false`, there is none";
                    ("E0403", format!("`count` is {count}, below zero"), help.to_owned())
                } else {
                    let message = format!("`count` is {count}: more than {most} components");
                    ("E0601", message, format!("choose at most {most}, or split the pool"))
                };
                self.fail(Diagnostic::new(code, message, span, "out of range").help(help))
            }
        }
    }

    fn row_keys(&mut self, class: ClassId, index: usize, rows: Value) -> Result<Vec<Key>, Poison> {
        let span = self.meta_span(class, index, "each").unwrap_or(self.class(class).created);
        let pairs: Vec<(Arc<str>, Value)> = match &rows {
            Value::Table(table) => table.iter().map(|(key, value)| (Arc::clone(key), value.clone())).collect(),
            Value::List(values) => {
                values.iter().filter_map(|value| value.to_fill().map(|key| (Arc::from(key), value.clone()))).collect()
            }
            other => {
                let message = format!("`each` needs a table or a list, not {}", other.describe());
                let error = Diagnostic::new("E0401", message, span, "not several");
                return self.fail(error.help("write rows as `let sites { cern workers=4; clemson workers=2; }`"));
            }
        };
        let mut keys: Vec<Key> = Vec::with_capacity(pairs.len());
        let mut seen: BTreeSet<Arc<str>> = BTreeSet::new();
        for (key, value) in pairs {
            let sound = !key.is_empty()
                && key.len() <= 63
                && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !key.starts_with('-')
                && !key.ends_with('-');
            if !sound {
                let message = format!("the row `{key}` cannot name a component");
                let error = Diagnostic::new("E0208", message, span, "its keys become part of host names");
                return self.fail(error.help("use lower-case letters, digits and `-`"));
            }
            if !seen.insert(Arc::clone(&key)) {
                let error = Diagnostic::new("E0206", format!("two rows have the key `{key}`"), span, "not unique");
                return self.fail(error.help("make the keys differ"));
            }
            let mut fields = vec![(Arc::from("key"), Value::Text(Arc::clone(&key)))];
            match value {
                Value::Table(row) => fields.extend(row.iter().map(|(name, value)| (Arc::clone(name), value.clone()))),
                value => fields.push((Arc::from("value"), value)),
            }
            keys.push(Key::Row(key, Arc::new(Table::new(fields))));
        }
        Ok(keys)
    }

    /// Refuses rows with the name of a member: `edge.image` would have two meanings.
    fn check_row_names(&mut self, class: ClassId, index: usize, common: ClassId, keys: &[Key]) -> Result<(), Poison> {
        for key in keys {
            let Key::Row(key, _) = key else { continue };
            // A member's name is known already.
            let Some(symbol) = self.names.known(key) else { continue };
            if let Some(member) = self.class(common).member(symbol) {
                let declared = member.span;
                let span = self.meta_span(class, index, "each").unwrap_or(declared);
                let message = format!("the row `{key}` has the name of something inside the component");
                let error = Diagnostic::new("E0208", message, span, "its keys name components");
                return self.fail(error.label(declared, "this has the same name").help("rename the row"));
            }
        }
        Ok(())
    }

    /// Refuses paths such as `wn.12` where there are ten.
    fn check_indexed(
        &mut self,
        class: ClassId,
        index: usize,
        indexed: &[(Symbol, Span, ClassId)],
        keys: Option<&[Key]>,
    ) -> Result<(), Poison> {
        let known: BTreeSet<Cow<'_, str>> = match keys {
            Some(keys) if !indexed.is_empty() => keys
                .iter()
                .map(|key| match key {
                    Key::Index(index) => Cow::Owned(index.to_string()),
                    Key::Row(key, _) => Cow::Borrowed(&**key),
                })
                .collect(),
            _ => BTreeSet::new(),
        };
        for (name, span, _) in indexed {
            let text = self.text(*name).to_owned();
            if known.contains(text.as_str()) {
                continue;
            }
            let child = self.text(self.class(class).members[index].name).to_owned();
            let created = self.class(class).members[index].span;
            let message = match keys {
                None => format!("`{child}` is one component, without numbers"),
                Some(keys) => format!("there is no `{child}.{text}`: `{child}` has {} instances", keys.len()),
            };
            let help = match keys {
                None => format!("write `{child}` without `.{text}`, or give it a `count`"),
                Some([]) => "raise its `count`".to_owned(),
                Some([Key::Index(_), ..]) => {
                    format!("its numbers go from 0 to {}", keys.map_or(0, |keys| keys.len() - 1))
                }
                Some(keys) => {
                    let names: Vec<&str> = keys
                        .iter()
                        .filter_map(|key| match key {
                            Key::Row(key, _) => Some(&**key),
                            Key::Index(_) => None,
                        })
                        .collect();
                    format!("its rows are {}", crate::nearest::alternatives(&names, "and"))
                }
            };
            self.report(
                Diagnostic::new("E0209", message, *span, "no such instance").label(created, "created here").help(help),
            );
        }
        Ok(())
    }

    /// The items of one word: each once, though it be written several times.
    fn items(&mut self, id: InstanceId, index: usize) -> Result<Children, Poison> {
        let class = self.instance(id).class;
        let classes = self.item_classes(class, index);
        let Content::Items(items) = &self.class(class).members[index].content else { return Err(Poison) };
        let key = items.declarations.first().and_then(|(_, declaration)| declaration.key);
        let ordered = items.declarations.first().is_some_and(|(_, declaration)| declaration.ordered);
        if classes.is_empty() {
            return Ok(Children::Absent);
        }
        let span = self.class(class).members[index].span;
        let mut found: Vec<(Option<Value>, InstanceId)> = Vec::new();
        // Equal keys look alike; what looks alike is compared.
        let mut alike: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for item in classes.iter() {
            let created = self.class(*item).created;
            let instance = self.add_instance(*item, Some(id), None, created)?;
            let own_key = match key.filter(|_| !ordered).and_then(|key| self.class(*item).index.get(&key).copied()) {
                Some(member) => Some(self.value(instance, member, span)?),
                None => None,
            };
            let Some(own_key) = own_key else {
                found.push((None, instance));
                continue;
            };
            let candidates = alike.entry(own_key.to_string()).or_default();
            let twin = candidates.iter().copied().find(|at| found[*at].0.as_ref() == Some(&own_key));
            match twin {
                None => {
                    candidates.push(found.len());
                    found.push((Some(own_key), instance));
                }
                Some(twin) => self.same_item(found[twin].1, instance)?,
            }
        }
        Ok(Children::Many(found.into_iter().map(|(_, instance)| instance).collect()))
    }

    /// Two items whose computed keys turn out equal must say the same.
    fn same_item(&mut self, first: InstanceId, second: InstanceId) -> Result<(), Poison> {
        let (first_span, second_span) = (self.class_of(first).created, self.class_of(second).created);
        for index in 0..self.class_of(second).members.len() {
            if !matches!(self.class_of(second).members[index].content, Content::Leaf(_)) {
                continue;
            }
            let (a, b) = (self.value(first, index, first_span)?, self.value(second, index, second_span)?);
            if a != b {
                let name = self.text(self.class_of(second).members[index].name).to_owned();
                let message = format!("the same item is written twice, with a different `{name}`");
                return self.fail(
                    Diagnostic::new("E0303", message, second_span, b.to_string())
                        .label(first_span, a.to_string())
                        .help("remove one of them"),
                );
            }
        }
        Ok(())
    }
}
