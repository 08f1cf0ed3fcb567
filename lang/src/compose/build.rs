//! Filling a class: what every statement of its layers is, and where it goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compose::layers::{Fragment, Layer, Origin, Piece};
use crate::compose::schema::Declaration;
use crate::compose::{Class, ClassId, Content, Flavor, Leaf, LeafState, Priority, Role, Write};
use crate::diagnostic::Diagnostic;
use crate::resolver::{Form, Resolver};
use crate::source::Span;
use crate::statement::{Annotation, StatementId};
use crate::symbol::Symbol;

impl Class {
    /// A class without members yet.
    pub(crate) fn new(
        flavor: Flavor,
        name: Symbol,
        kinds: Arc<[Symbol]>,
        parent: Option<ClassId>,
        created: Span,
        creator: Option<StatementId>,
        layers: Arc<[Layer]>,
    ) -> Self {
        Self {
            flavor,
            name,
            kinds,
            parent,
            created,
            creator,
            layers,
            members: Vec::new(),
            index: BTreeMap::new(),
            asserts: Vec::new(),
            contains: Vec::new(),
            order: None,
            lacks_prototype: false,
            plan: None,
        }
    }
}

impl Leaf {
    pub(crate) fn new(role: Role, declaration: Option<Arc<Declaration>>, layer: usize) -> Self {
        Self { role, declaration, layer, writes: Vec::new(), spoiled: false, state: LeafState::Unplanned }
    }
}

/// One statement of a layer: how much of its name is used up, and where it stands.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) layer: usize,
    pub(crate) statement: StatementId,
    pub(crate) offset: usize,
    pub(crate) piece: Piece,
    pub(crate) scope: Option<StatementId>,
}

impl Resolver<'_> {
    /// Adds a class; its members are filled in by [`Resolver::fill`].
    pub(crate) fn add_class(&mut self, class: Class) -> ClassId {
        // Bounded by the number of statements times the depth of containment, which is checked.
        let id = ClassId(self.classes.len() as u32);
        self.classes.push(class);
        id
    }

    /// All statements of all layers of a class.
    pub(crate) fn lines(&self, layers: &[Layer]) -> Vec<Line> {
        let mut lines = Vec::new();
        for (layer, contents) in layers.iter().enumerate() {
            for piece in &contents.pieces {
                let mut add = |statement: StatementId, offset: usize, scope: Option<StatementId>| {
                    lines.push(Line { layer, statement, offset, piece: piece.clone(), scope });
                };
                match piece.fragment {
                    Fragment::File(file) => {
                        let statements = self.units.get(&file).map(|unit| unit.statements.as_slice());
                        statements.unwrap_or_default().iter().for_each(|id| add(*id, 0, None));
                    }
                    Fragment::Body(body) => {
                        let schema = contents.origin == Origin::Schema && self.is_declaration(body);
                        for id in &self.statements[body].body {
                            if !(schema && self.statements[*id].is_property) {
                                add(*id, 0, Some(body));
                            }
                        }
                    }
                    Fragment::Tail(statement, offset) => add(statement, offset, self.statements[statement].parent),
                }
            }
        }
        lines
    }

    /// True for `kind`, `record` and `item` statements, whose properties describe them.
    pub(crate) fn is_declaration(&self, statement: StatementId) -> bool {
        matches!(self.text(self.statements[statement].word()), "kind" | "record" | "item")
            && self.is_standard(self.statements[statement].file)
    }

    /// Finds out what every statement of a class is, and fills in its members.
    pub(crate) fn fill(&mut self, id: ClassId) {
        let layers = Arc::clone(&self.class(id).layers);
        let lines = self.lines(&layers);
        let mut rest = Vec::with_capacity(lines.len());
        let mut wrong = Vec::new();
        for line in lines {
            if self.form(line.statement) == Form::Wrong {
                wrong.push(line);
            } else if !self.declare(id, &line) {
                rest.push(line);
            }
        }
        for line in wrong {
            let meant = self.spoils.get(&line.statement).cloned().unwrap_or_default();
            for index in meant.iter().filter_map(|name| self.class(id).index.get(name).copied()).collect::<Vec<_>>() {
                self.spoil(id, index, &line);
            }
        }
        self.positional_arguments(id, &layers);
        let mut remaining = Vec::with_capacity(rest.len());
        for line in rest {
            if !self.create(id, &line) {
                remaining.push(line);
            }
        }
        // A wrong name is read as what was meant (see `mend`): so all that is right comes first, and what may speak of
        // a component with a wrong name comes last.
        let known = |resolver: &Self, line: &Line| {
            let path = &resolver.statements[line.statement].path;
            resolver.class(id).index.contains_key(&path[line.offset].0)
        };
        let (right, others): (Vec<_>, Vec<_>) = remaining.into_iter().partition(|line| known(self, line));
        let (single, paths): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|line| self.statements[line.statement].is_single());
        for line in right.into_iter().chain(single).chain(paths) {
            if self.form(line.statement) != Form::Wrong {
                self.place(id, &line);
            }
        }
        // There may be a class for every instance.
        self.class_mut(id).members.shrink_to_fit();
    }

    /// Notes that a line was meant for an attribute but is wrong; so nothing is said about the attribute's lack,
    /// neither here nor where a prototype brings the line.
    pub(crate) fn spoil(&mut self, id: ClassId, index: usize, line: &Line) {
        let name = self.class(id).members[index].name;
        self.spoils.entry(line.statement).or_default().insert(name);
        if let Content::Leaf(leaf) = &mut self.class_mut(id).members[index].content {
            leaf.spoiled = true;
        }
    }

    pub(crate) fn wrong(&mut self, line: &Line, error: Diagnostic) {
        self.set_form(line.statement, Form::Wrong);
        self.report(error);
    }

    pub(crate) fn write(
        &self,
        layer: usize,
        statement: StatementId,
        holder: StatementId,
        (first, end): (usize, usize),
        scope: Option<StatementId>,
        piece: &Piece,
    ) -> Write {
        let annotation = self.statements[statement].annotation.map(|(annotation, _)| annotation);
        Write {
            layer,
            statement,
            holder,
            first,
            end,
            scope,
            frames: Arc::clone(&piece.frames),
            priority: if annotation == Some(Annotation::Default) { Priority::Default } else { Priority::Plain },
            is_final: annotation == Some(Annotation::Final),
            is_replace: annotation == Some(Annotation::Replace),
        }
    }
}
