//! Names inside expressions: which one stands at a place, and what it denotes there.

use std::sync::Arc;

use crate::compose::layers::{Frame, Frames};
use crate::compose::{ClassId, Content, Write};
use crate::evaluate::compute::Context;
use crate::expression::ast::{Expression, Node, Root, Segment};
use crate::resolver::Resolver;
use crate::source::Span;
use crate::statement::StatementId;
use crate::symbol::Symbol;
use crate::types::Type;
use crate::value::Value;

/// A name in an expression: what its path begins with, the path up to the name, and where the text stands.
pub(super) struct Reference {
    pub(super) root: Root,
    pub(super) segments: Vec<Segment>,
    pub(super) span: Span,
    pub(super) class: ClassId,
    pub(super) frames: Frames,
}

impl Resolver<'_> {
    /// The name at a byte of a value that is an expression.
    pub(super) fn reference_at(&mut self, statement: StatementId, argument: usize, at: usize) -> Option<Reference> {
        let literal = self.statements[statement].arguments[argument].clone();
        let expression = self.compiled.get(&literal.id).cloned().flatten()?;
        let (root, segments) = path_at(&expression, at)?;
        let last = segments.iter().position(|segment| segment.span.start <= at && at <= segment.span.end)?;
        let span = segments[last].span;
        let (class, frames) = self.written_in(statement, argument)?;
        Some(Reference { root, segments: segments[..=last].to_vec(), span, class, frames })
    }

    /// The class in which a statement writes its values, and where the bodies around it ended up.
    fn written_in(&self, statement: StatementId, argument: usize) -> Option<(ClassId, Frames)> {
        let is_it = |write: &&Write| write.holder == statement && (write.first..write.end).contains(&argument);
        let mut found: Option<(ClassId, Frames)> = None;
        for (number, class) in self.classes.iter().enumerate() {
            let leaves = class.members.iter().flat_map(|member| match &member.content {
                Content::Leaf(leaf) => vec![leaf],
                Content::Child(child) => vec![&child.count, &child.each, &child.need, &child.condition],
                _ => Vec::new(),
            });
            let write = leaves.flat_map(|leaf| &leaf.writes).find(is_it).map(|write| &write.frames);
            let assertion = class.asserts.iter().find(|assertion| assertion.statement == statement);
            let Some(frames) = write.or(assertion.map(|assertion| &assertion.frames)) else { continue };
            let id = ClassId(number as u32);
            // A class with instances can say values as well.
            if self.instances.iter().any(|instance| instance.class == id) {
                return Some((id, Arc::clone(frames)));
            }
            found.get_or_insert((id, Arc::clone(frames)));
        }
        found
    }

    /// The class and member that a name in an expression denotes.
    pub(super) fn denoted(&mut self, reference: &Reference) -> Option<(ClassId, usize)> {
        let names: Vec<Symbol> = reference.segments.iter().map(|segment| segment.name).collect();
        let (class, used) = self.root_class(reference)?;
        self.class_member(class, &names[used..])
    }

    /// The class that a path starts in, and how many of its names that takes.
    fn root_class(&mut self, reference: &Reference) -> Option<(ClassId, usize)> {
        let this = self.component_class(reference.class);
        match &reference.root {
            Root::This => Some((this, 1)),
            Root::Parent => self.class(this).parent.map(|parent| (parent, 1)),
            Root::Pool => {
                let mut at = Some(this);
                while let Some(class) = at {
                    if self.class(class).kinds.first().is_some_and(|kind| self.text(*kind) == "pool") {
                        return Some((class, 1));
                    }
                    at = self.class(class).parent;
                }
                None
            }
            Root::Member { level, .. } => {
                let class = match *reference.frames.get(*level)? {
                    Frame::Root(file) => self.file_class(file),
                    Frame::Up(hops) => {
                        let mut at = reference.class;
                        for _ in 0..hops {
                            at = self.class(at).parent?;
                        }
                        at
                    }
                };
                Some((class, 0))
            }
            Root::Namespace { file } => Some((self.file_class(*file), 1)),
            Root::Variable(variable) => {
                let Type::Component(kind) = &variable.ty else { return None };
                let kind = self.names.intern(kind);
                let class = self.kind_class(kind)?;
                if self.class(class).members.is_empty() {
                    self.fill(class);
                }
                Some((class, 1))
            }
            Root::Unresolved | Root::Poison | Root::Index | Root::Each | Root::Local(_) => None,
        }
    }

    /// The values that a name in an expression has, with the paths of the components it is read in.
    pub(super) fn reference_values(&mut self, reference: &Reference, most: usize) -> Vec<(String, Value)> {
        let (instances, _) = self.instances_of(reference.class);
        let mut values = Vec::new();
        for instance in instances.into_iter().take(most) {
            let context = Context::new(instance, Arc::clone(&reference.frames));
            let value = self.path_value(&reference.root, &reference.segments, reference.span, &context);
            if let Ok(value) = value {
                values.push((self.instance_path(instance), value));
            }
        }
        values
    }
}

/// The path that stands at a byte.
fn path_at(expression: &Expression, at: usize) -> Option<(Root, Vec<Segment>)> {
    match &expression.node {
        Node::Path { root, segments } => {
            let holds = segments.iter().any(|segment| segment.span.start <= at && at <= segment.span.end);
            holds.then(|| (root.clone(), segments.clone()))
        }
        Node::Constant(_) => None,
        Node::Member(a, _) | Node::Not(a) | Node::Negate(a) | Node::Lambda(_, a) => path_at(a, at),
        Node::Index(a, b) | Node::Binary(_, a, b) => path_at(a, at).or_else(|| path_at(b, at)),
        Node::If(a, b, c) => path_at(a, at).or_else(|| path_at(b, at)).or_else(|| path_at(c, at)),
        Node::Call(_, _, parts) | Node::List(parts) | Node::Fill(parts) => {
            parts.iter().find_map(|part| path_at(part, at))
        }
    }
}
