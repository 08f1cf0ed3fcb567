//! From instances to the tree that others see.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compose::{ClassId, Content, Flavor, Leaf, LeafState, Role};
use crate::condition::{Live, Residue};
use crate::evaluate::instance::{Children, InstanceId, Key};
use crate::resolver::{Poison, Resolver};
use crate::source::Span;
use crate::tree::{Attribute, Component, NodeKind};
use crate::types::Type;
use crate::value::Value;

/// What instances of one class share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    attributes: BTreeMap<ClassId, Arc<[Attribute]>>,
    children: BTreeMap<ClassId, Arc<[Component]>>,
}

impl Resolver<'_> {
    /// The tree at an instance. Everything below has been checked before.
    pub(crate) fn output(&mut self, id: InstanceId, shared: &mut Shared) -> Result<Component, Poison> {
        let class = self.instance(id).class;
        let constants = self.constants(class, shared);
        let own = self.own_attributes(id)?;
        let children = self.output_children(id, shared)?;
        let description = self.class(class);
        let node = match description.flavor {
            Flavor::Record => NodeKind::Record,
            Flavor::Item => NodeKind::Item,
            Flavor::File | Flavor::Component | Flavor::Prototype => NodeKind::Component,
        };
        let name = Arc::clone(self.names.text(description.name));
        let kind =
            description.kinds.first().map_or_else(|| Arc::clone(&name), |kind| Arc::clone(self.names.text(*kind)));
        let key = self.instance(id).key.as_ref().map(|key| match key {
            Key::Index(index) => Arc::from(index.to_string()),
            Key::Row(key, _) => Arc::clone(key),
        });
        Ok(Component { node, name, key, kind, need: None, span: description.created, shared: constants, own, children })
    }

    /// The children of an instance; where they are alike in all instances of its class they are made once.
    fn output_children(&mut self, id: InstanceId, shared: &mut Shared) -> Result<Arc<[Component]>, Poison> {
        let class = self.instance(id).class;
        if let Some(known) = shared.children.get(&class) {
            return Ok(Arc::clone(known));
        }
        let mut children = Vec::new();
        let mut ordered = Vec::new();
        let mut alike = true;
        for index in 0..self.class(class).members.len() {
            if matches!(self.class(class).members[index].content, Content::Leaf(_)) {
                continue;
            }
            alike &= self.is_alike(class, index);
            let span = self.class(class).members[index].span;
            match self.children(id, index, span)? {
                Children::Absent => {}
                Children::One(child) => children.push(self.output(child, shared)?),
                Children::Many(many) => {
                    let need = self.meta(id, index, "need", &Type::Integer)?.and_then(|need| need.as_integer());
                    let need = need.and_then(|need| u32::try_from(need).ok());
                    let first = children.len();
                    for child in many.iter() {
                        match self.class_of(*child).order {
                            Some(order) => ordered.push((order, self.output(*child, shared)?)),
                            None => children.push(self.output(*child, shared)?),
                        }
                    }
                    if let Some(child) = children.get_mut(first) {
                        child.need = need;
                    }
                }
            }
        }
        // Ordered items of all words stand in one order: inherited ones first, then as they are written.
        ordered.sort_by_key(|(order, _)| *order);
        children.extend(ordered.into_iter().map(|(_, item)| item));
        let children: Arc<[Component]> = children.into();
        if alike {
            shared.children.insert(class, Arc::clone(&children));
        }
        Ok(children)
    }

    /// True where a member is the same in all instances of a class, but for its path.
    pub(crate) fn is_alike(&mut self, class: ClassId, index: usize) -> bool {
        match &self.class(class).members[index].content {
            Content::Leaf(_) => false,
            Content::Record(_) => self.record_class(class, index).is_none_or(|record| self.plan(record).closed),
            Content::Items(_) => {
                let classes = self.item_classes(class, index);
                classes.iter().all(|item| self.plan(*item).closed)
            }
            Content::Child(child) => {
                let single = [&child.count, &child.each, &child.need, &child.condition]
                    .iter()
                    .all(|leaf| leaf.writes.is_empty());
                single
                    && self
                        .child_class(class, index)
                        .is_some_and(|(common, indexed)| indexed.is_empty() && self.plan(common).closed)
            }
        }
    }

    /// The attributes that are the same in all instances of a class.
    fn constants(&self, id: ClassId, shared: &mut Shared) -> Arc<[Attribute]> {
        if let Some(known) = shared.attributes.get(&id) {
            return Arc::clone(known);
        }
        let class = self.class(id);
        let attributes = class.members.iter().filter_map(|member| {
            let Content::Leaf(leaf) = &member.content else { return None };
            if leaf.role == Role::Let {
                return None;
            }
            let name = Arc::clone(self.names.text(member.name));
            let value = match &leaf.state {
                LeafState::Constant(value, _) => value.clone(),
                LeafState::Source => {
                    let ty = leaf.declaration.as_ref().map_or(Type::Any, |declaration| declaration.ty.clone());
                    let expression = Residue::Read { path: Arc::from(format!("this.{name}")), ty: ty.clone() };
                    Value::Live(Arc::new(Live { ty, expression, hops: [].into() }))
                }
                _ => return None,
            };
            Some(self.attribute(member.span, leaf, name, value))
        });
        let attributes: Arc<[Attribute]> = attributes.collect();
        shared.attributes.insert(id, Arc::clone(&attributes));
        attributes
    }

    fn attribute(&self, declared: Span, leaf: &Leaf, name: Arc<str>, value: Value) -> Attribute {
        let write = match &leaf.state {
            LeafState::Constant(_, write) => *write,
            LeafState::Computed(deciding) => deciding.first().copied(),
            _ => None,
        };
        let default = leaf.declaration.as_ref().and_then(|declaration| declaration.default);
        let written = write.is_some_and(|write| Some(leaf.writes[write].statement) != default);
        let span = write.map_or(declared, |write| self.statements[leaf.writes[write].holder].value_span());
        let ty = leaf.declaration.as_ref().map_or_else(|| Type::of(&value), |declaration| declaration.ty.clone());
        Attribute { name, value, ty, span, output: leaf.role == Role::Output, written }
    }

    fn own_attributes(&mut self, id: InstanceId) -> Result<Box<[Attribute]>, Poison> {
        let class = self.instance(id).class;
        let mut own = Vec::new();
        for index in 0..self.class(class).members.len() {
            let member = &self.class(class).members[index];
            let Content::Leaf(leaf) = &member.content else { continue };
            if leaf.role == Role::Let || !matches!(leaf.state, LeafState::Computed(_) | LeafState::Context) {
                continue;
            }
            let span = member.span;
            let value = self.value(id, index, span)?;
            let member = &self.class(class).members[index];
            let Content::Leaf(leaf) = &member.content else { continue };
            let name = Arc::clone(self.names.text(member.name));
            own.push(self.attribute(span, leaf, name, value));
        }
        Ok(own.into())
    }
}
