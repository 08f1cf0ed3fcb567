//! From a place in a text to what stands there: statements, classes, members, instances.

use std::sync::Arc;

use crate::compose::layers::Fragment;
use crate::compose::{ClassId, Content, Flavor};
use crate::evaluate::instance::{Children, InstanceId, Key};
use crate::resolver::Resolver;
use crate::source::{FileId, Span};
use crate::statement::StatementId;
use crate::symbol::Symbol;

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// A part of a statement's name.
    Name(StatementId, usize),
    /// A value of a statement.
    Value(StatementId, usize),
}

/// How many classes and instances are looked at for one answer.
const MOST: usize = 8;

impl Resolver<'_> {
    /// What stands at a byte of a file.
    pub(super) fn spot(&self, file: FileId, at: usize) -> Option<Spot> {
        let statement = self.innermost(file, at)?;
        let line = &self.statements[statement];
        let holds = |span: Span| span.start <= at && at <= span.end;
        if let Some(argument) = line.arguments.iter().position(|literal| holds(literal.span)) {
            return Some(Spot::Value(statement, argument));
        }
        let segment = line.path.iter().position(|(_, span)| holds(*span))?;
        Some(Spot::Name(statement, segment))
    }

    /// The innermost statement, be it a property, that holds a byte of a file.
    fn innermost(&self, file: FileId, at: usize) -> Option<StatementId> {
        let mut list = self.units.get(&file)?.statements.as_slice();
        let mut found = None;
        while let Some(next) = list.iter().copied().find(|id| {
            let line = &self.statements[*id];
            line.span.start <= at && at <= line.end
        }) {
            found = Some(next);
            list = &self.statements[next].body;
        }
        found
    }

    /// The innermost statement in whose block a byte stands; `None` at the top of the file.
    pub(super) fn block_around(&self, file: FileId, at: usize) -> Option<StatementId> {
        let mut list = self.units.get(&file)?.statements.as_slice();
        let mut found = None;
        while let Some(next) = list.iter().copied().find(|id| {
            let line = &self.statements[*id];
            line.has_block && line.span.end < at && at < line.end
        }) {
            found = Some(next);
            list = &self.statements[next].body;
        }
        found
    }

    /// The classes that a body contributes to: those that it is the nearest layer of come first.
    pub(super) fn classes_with(&self, body: Option<StatementId>, file: FileId) -> Vec<ClassId> {
        let fragment = match body {
            Some(body) => Fragment::Body(body),
            None => Fragment::File(file),
        };
        let mut nearest = Vec::new();
        let mut others = Vec::new();
        for (number, class) in self.classes.iter().enumerate() {
            let Some(at) = class.layers.iter().rposition(|l| l.pieces.iter().any(|p| p.fragment == fragment)) else {
                continue;
            };
            let list = if at + 1 == class.layers.len() { &mut nearest } else { &mut others };
            // There are at most 2³² classes, as many as their ids can tell apart.
            list.push(ClassId(number as u32));
        }
        nearest.append(&mut others);
        nearest.truncate(MOST);
        nearest
    }

    /// Some instances of a class, and how many there are.
    pub(super) fn instances_of(&self, class: ClassId) -> (Vec<InstanceId>, usize) {
        let all = self.instances.iter().enumerate().filter(|(_, instance)| instance.class == class);
        let mut some = Vec::new();
        let mut count = 0;
        for (number, _) in all {
            if some.len() < MOST {
                // At most a million instances are made.
                some.push(InstanceId(number as u32));
            }
            count += 1;
        }
        (some, count)
    }

    /// The member that a path leads to from a class; the names of instances (`0`, `cern`, `*`) lead to nothing more.
    pub(super) fn class_member(&mut self, class: ClassId, path: &[Symbol]) -> Option<(ClassId, usize)> {
        let mut at = class;
        let mut parts = path.iter().copied().peekable();
        loop {
            let part = parts.next()?;
            let index = *self.class(at).index.get(&part)?;
            if parts.peek().is_none() {
                return Some((at, index));
            }
            at = self.inside(at, index)?;
            if self.is_several(at)
                && let Some(next) = parts.peek().copied()
                && !self.class(at).index.contains_key(&next)
            {
                parts.next();
                parts.peek()?;
            }
        }
    }

    /// The class that a path leads into: of the component, record or item at its end.
    pub(super) fn class_at(&mut self, class: ClassId, path: &[Symbol]) -> Option<ClassId> {
        let mut at = class;
        for part in path {
            match self.class(at).index.get(part).copied() {
                Some(index) => at = self.inside(at, index)?,
                // The number or key of an instance.
                None if self.is_several(at) => {}
                None => return None,
            }
        }
        Some(at)
    }

    /// True for the class of a component with `count` or `each`.
    pub(super) fn is_several(&self, class: ClassId) -> bool {
        let name = self.class(class).name;
        let Some(parent) = self.class(class).parent else { return false };
        let member = self.class(parent).member(name);
        member.is_some_and(|member| match &member.content {
            Content::Child(child) => !child.count.writes.is_empty() || !child.each.writes.is_empty(),
            _ => false,
        })
    }

    /// The class of what a member is, also where nobody wrote it.
    pub(super) fn inside(&mut self, class: ClassId, index: usize) -> Option<ClassId> {
        let declared = match &self.class(class).members[index].content {
            Content::Leaf(_) => return None,
            Content::Child(_) => return self.child_class(class, index).map(|(common, _)| common),
            Content::Record(record) => record.declarations.first().map(|(layer, record)| (*layer, record.statement)),
            Content::Items(items) => items.declarations.first().map(|(layer, item)| (*layer, item.statement)),
        };
        let (layer, statement) = declared?;
        Some(self.declared_class(class, index, layer, statement))
    }

    /// The instance and member that a path leads to from an instance.
    pub(super) fn instance_member(&mut self, from: InstanceId, path: &[Symbol]) -> Option<(InstanceId, usize)> {
        let mut at = from;
        let mut parts = path.iter().copied().peekable();
        loop {
            let part = parts.next()?;
            let index = *self.class_of(at).index.get(&part)?;
            if parts.peek().is_none() {
                return Some((at, index));
            }
            let span = self.class_of(at).members[index].span;
            at = match self.children(at, index, span).ok()? {
                Children::Absent => return None,
                Children::One(child) => child,
                Children::Many(children) => {
                    let wanted = Arc::clone(self.names.text(*parts.peek()?));
                    let keyed = children.iter().copied().find(|child| match &self.instance(*child).key {
                        Some(Key::Index(number)) => number.to_string() == *wanted,
                        Some(Key::Row(key, _)) => *key == wanted,
                        None => false,
                    });
                    if keyed.is_some() {
                        parts.next();
                    }
                    keyed.or_else(|| children.first().copied())?
                }
            };
            parts.peek()?;
        }
    }

    /// The nearest component at or above a class.
    pub(super) fn component_class(&self, class: ClassId) -> ClassId {
        let mut at = class;
        while matches!(self.class(at).flavor, Flavor::Record | Flavor::Item) {
            match self.class(at).parent {
                Some(parent) => at = parent,
                None => break,
            }
        }
        at
    }

    /// The names of the parts of a statement's name, up to and with one of them.
    pub(super) fn path_up_to(&self, statement: StatementId, segment: usize) -> Vec<Symbol> {
        self.statements[statement].path.iter().take(segment + 1).map(|(name, _)| *name).collect()
    }

    /// The plain text of the first value of a statement, as a name that was seen before.
    pub(super) fn named(&self, statement: StatementId) -> Option<Symbol> {
        self.plain_text(statement, 0).and_then(|(name, _)| self.names.known(&name))
    }
}
