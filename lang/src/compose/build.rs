//! Filling a class: what every statement of its layers is, and where it goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compose::layers::{Fragment, Layer, Origin, Piece};
use crate::compose::schema::Declaration;
<<<<<<< HEAD
use crate::compose::{
    Assertion, Class, ClassId, Content, Flavor, ItemsMember, Leaf, LeafState, Member, Priority, RecordMember, Role,
    Write, names,
};
=======
use crate::compose::{Class, ClassId, Content, Flavor, Leaf, LeafState, Priority, Role, Write};
>>>>>>> refs/heads/lang
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
<<<<<<< HEAD
    pub(super) fn lines(&self, layers: &[Layer]) -> Vec<Line> {
=======
    pub(crate) fn lines(&self, layers: &[Layer]) -> Vec<Line> {
>>>>>>> refs/heads/lang
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
<<<<<<< HEAD
    pub(super) fn is_declaration(&self, statement: StatementId) -> bool {
=======
    pub(crate) fn is_declaration(&self, statement: StatementId) -> bool {
>>>>>>> refs/heads/lang
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
            let meant = self.spoils.get(&line.statement).copied();
            if let Some(index) = meant.and_then(|name| self.class(id).index.get(&name).copied()) {
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
        for line in remaining {
            if self.form(line.statement) != Form::Wrong {
                self.place(id, &line);
            }
        }
    }

    /// Notes that a line was meant for an attribute but is wrong; so nothing is said about the attribute's lack,
    /// neither here nor where a prototype brings the line.
<<<<<<< HEAD
    pub(super) fn spoil(&mut self, id: ClassId, index: usize, line: &Line) {
=======
    pub(crate) fn spoil(&mut self, id: ClassId, index: usize, line: &Line) {
>>>>>>> refs/heads/lang
        let name = self.class(id).members[index].name;
        self.spoils.insert(line.statement, name);
        if let Content::Leaf(leaf) = &mut self.class_mut(id).members[index].content {
            leaf.spoiled = true;
        }
    }

<<<<<<< HEAD
    pub(super) fn wrong(&mut self, line: &Line, error: Diagnostic) {
=======
    pub(crate) fn wrong(&mut self, line: &Line, error: Diagnostic) {
>>>>>>> refs/heads/lang
        self.set_form(line.statement, Form::Wrong);
        self.report(error);
    }

<<<<<<< HEAD
    /// Handles what declares members; false for everything else.
    pub(super) fn declare(&mut self, id: ClassId, line: &Line) -> bool {
        let statement = &self.statements[line.statement];
        if line.offset > 0 || !statement.is_single() {
            return false;
        }
        let word = Arc::clone(self.names.text(statement.word()));
        let is_schema = self.class(id).layers[line.layer].origin == Origin::Schema;
        if names::is_reserved(&word) && self.misplaced_annotation(line, false) {
            return true;
        }
        match &*word {
            "param" | "argument" => {
                let allowed = is_schema
                    || (&*word == "param"
                        && match self.class(id).layers[line.layer].origin {
                            Origin::Template(_) => self.declares_here(line),
                            _ => self.class(id).flavor == Flavor::File,
                        });
                if !allowed {
                    self.not_here(
                        line,
                        &word,
                        "a param belongs to a file or a template; use `let` for a value of your own",
                    );
                    return true;
                }
                if let Some(declaration) = self.declaration(line.statement, &*word == "argument") {
                    self.declare_attribute(id, line, declaration);
                } else {
                    self.set_form(line.statement, Form::Wrong);
                }
            }
            "let" | "output" => {
                if matches!(self.class(id).flavor, Flavor::Record | Flavor::Item) {
                    self.not_here(line, &word, "move it out, into the component");
                    return true;
                }
                self.declare_value(id, line, &word);
            }
            "contains" if is_schema => {
                let words = self.statements[line.statement].arguments.len();
                for argument in 0..words {
                    if let Some((kind, _)) = self.plain_text(line.statement, argument) {
                        let kind = self.names.intern(&kind);
                        self.class_mut(id).contains.push(kind);
                    }
                }
            }
            "record" if is_schema => {
                if let Some((name, span)) = self.declared_name(line.statement, "record") {
                    let declaration = Arc::new(crate::compose::schema::RecordDeclaration { statement: line.statement });
                    let record =
                        RecordMember { declarations: vec![(line.layer, declaration)], pieces: Vec::new(), class: None };
                    self.add_member(id, name, span, Content::Record(record));
                }
            }
            "item" if is_schema => self.declare_item(id, line),
            _ => return false,
        }
        true
    }

    /// Refuses an annotation where nothing has a priority; `(replace)` may stand where `replaceable`.
    pub(super) fn misplaced_annotation(&mut self, line: &Line, replaceable: bool) -> bool {
        let Some((annotation, span)) = self.statements[line.statement].annotation else { return false };
        if replaceable && annotation == Annotation::Replace {
            return false;
        }
        let only = if replaceable { "only `(replace)` may stand here" } else { "not here" };
        let error = Diagnostic::new("E0211", "this annotation has no meaning here", span, only);
        self.wrong(line, error.help("`(default)` and `(final)` stand before attributes, `(replace)` also before records, items and components"));
        true
    }

    /// True where a template's own body, not a block inside it, holds the line.
    pub(super) fn declares_here(&self, line: &Line) -> bool {
        line.scope.is_some_and(|scope| self.text(self.statements[scope].word()) == "template")
    }

    pub(super) fn not_here(&mut self, line: &Line, word: &str, help: &str) {
        let span = self.statements[line.statement].span;
        let error = Diagnostic::new("E0207", format!("`{word}` cannot stand here"), span, "not in this place");
        self.wrong(line, error.help(help));
    }

    pub(super) fn declare_item(&mut self, id: ClassId, line: &Line) {
        let Some((name, span)) = self.declared_name(line.statement, "item") else { return };
        let key = self.property(line.statement, "key").and_then(|property| self.plain_text(property, 0));
        let key = key.map(|(key, _)| self.names.intern(&key));
        let ordered = self.flag(line.statement, "ordered");
        let declaration = Arc::new(crate::compose::schema::ItemDeclaration { statement: line.statement, key, ordered });
        let items = ItemsMember { declarations: vec![(line.layer, declaration)], pieces: Vec::new(), classes: None };
        self.add_member(id, name, span, Content::Items(items));
    }

    pub(super) fn declare_attribute(&mut self, id: ClassId, line: &Line, declaration: Declaration) {
        let (name, span) = (declaration.name, declaration.span);
        self.set_form(line.statement, Form::Param);
        let layers = Arc::clone(&self.class(id).layers);
        let default = declaration.default.map(|property| Write {
            layer: line.layer,
            statement: property,
            holder: property,
            first: 0,
            end: self.statements[property].arguments.len(),
            scope: line.scope,
            frames: Arc::clone(&line.piece.frames),
            priority: Priority::Default,
            is_final: false,
            is_replace: false,
        });
        if let Some(index) = self.class(id).index.get(&name).copied() {
            let same = match &self.class(id).members[index].content {
                Content::Leaf(Leaf { declaration: Some(known), layer: first, .. }) if known.ty == declaration.ty => {
                    let ordered =
                        layers[line.layer].beneath.contains(*first) || layers[*first].beneath.contains(line.layer);
                    known.statement == declaration.statement || (!ordered && *first != line.layer)
                }
                _ => false,
            };
            if same {
                if let (Content::Leaf(leaf), Some(default)) = (&mut self.class_mut(id).members[index].content, default)
                {
                    leaf.writes.push(default);
                }
                return;
            }
            self.taken(id, line, name, span, index);
            return;
        }
        let mut leaf = Leaf::new(Role::Attribute, Some(Arc::new(declaration)), line.layer);
        leaf.writes.extend(default);
        self.add_member(id, name, span, Content::Leaf(leaf));
    }

    /// Says that a name exists already.
    pub(super) fn taken(&mut self, id: ClassId, line: &Line, name: Symbol, span: Span, index: usize) {
        let member = &self.class(id).members[index];
        let first = member.span;
        let what = match &member.content {
            Content::Leaf(Leaf { role: Role::Let, .. }) => "a `let`",
            Content::Leaf(Leaf { role: Role::Output, .. }) => "an `output`",
            Content::Leaf(_) => "an attribute",
            Content::Record(_) => "a record",
            Content::Items(_) => "a kind of item",
            Content::Child(_) => "a component",
        };
        let text = Arc::clone(self.names.text(name));
        let error = Diagnostic::new("E0206", format!("`{text}` exists already: it is {what}"), span, "the second one");
        let help = match what {
            "an attribute" => {
                format!("to set it write `{text} value`; to give it another default write `(default){text} value`")
            }
            "a component" => format!("to change it write `{text} {{ … }}`; for a second one choose another name"),
            _ => "choose another name".to_owned(),
        };
        self.wrong(line, error.label(first, "the first one").help(help));
    }

    /// `let name value` and `output name value`.
    pub(super) fn declare_value(&mut self, id: ClassId, line: &Line, word: &str) {
        let Some((name, span)) = self.declared_name(line.statement, word) else {
            self.set_form(line.statement, Form::Wrong);
            return;
        };
        let role = if word == "let" { Role::Let } else { Role::Output };
        let statement = &self.statements[line.statement];
        let end = statement.arguments.len();
        let is_table = role == Role::Let && end == 1 && statement.has_block;
        if end < 2 && !is_table {
            let place = statement.span;
            let error = Diagnostic::new(
                "E0212",
                format!("`{word} {}` has no value", self.text(name)),
                place,
                "a value is missing",
            );
            self.wrong(line, error.help(format!("write `{word} {} value`", self.text(name))));
            return;
        }
        let parts = statement.body.clone();
        let stray = parts.iter().copied().find(|part| {
            let part = &self.statements[*part];
            let is_type = part.is_property && role == Role::Let && self.text(part.word()) == "type";
            !(is_type || (is_table && !part.is_property))
        });
        if let Some(stray) = stray {
            let span = self.statements[stray].span;
            let message = format!("`{word} {}` has a value and nothing else", self.text(name));
            let error = Diagnostic::new("E0212", message, span, "unexpected");
            self.wrong(line, error.help("a `let` has either a value, with `type=` at most, or rows in a block"));
            return;
        }
        if let Some(index) = self.class(id).index.get(&name).copied() {
            let same_let = matches!(&self.class(id).members[index].content,
                Content::Leaf(Leaf { role: Role::Let, writes, .. }) if role == Role::Let && writes.iter().all(|w| w.layer != line.layer));
            if !same_let {
                self.taken(id, line, name, span, index);
                return;
            }
        }
        self.set_form(line.statement, if role == Role::Let { Form::Let } else { Form::Other });
        let mut leaf = Leaf::new(role, None, line.layer);
        leaf.writes.push(Write {
            layer: line.layer,
            statement: line.statement,
            holder: line.statement,
            first: 1,
            end,
            scope: line.scope,
            frames: Arc::clone(&line.piece.frames),
            priority: Priority::Plain,
            is_final: false,
            is_replace: false,
        });
        // A `let` belongs to the text around it. One of the same name in another layer is another value; the
        // nearest is the one that the place of use and `this` see.
        self.add_member(id, name, span, Content::Leaf(leaf));
    }

    pub(super) fn add_member(&mut self, id: ClassId, name: Symbol, span: Span, content: Content) {
        let class = self.class_mut(id);
        let index = class.members.len();
        match (class.index.get(&name).copied(), content) {
            (Some(known), Content::Record(record)) => {
                if let Content::Record(existing) = &mut class.members[known].content {
                    existing.declarations.extend(record.declarations);
                }
            }
            (Some(known), Content::Items(items)) => {
                if let Content::Items(existing) = &mut class.members[known].content {
                    existing.declarations.extend(items.declarations);
                }
            }
            (_, content) => {
                class.members.push(Member { name, span, content, slot: None });
                class.index.insert(name, index);
            }
        }
    }

    /// Gives the values that stand behind a record's or item's word to its positional attributes.
    pub(super) fn positional_arguments(&mut self, id: ClassId, layers: &[Layer]) {
        if !matches!(self.class(id).flavor, Flavor::Record | Flavor::Item) {
            return;
        }
        let positional: Vec<(usize, bool)> = self
            .class(id)
            .members
            .iter()
            .enumerate()
            .filter_map(|(index, member)| match &member.content {
                Content::Leaf(Leaf { declaration: Some(declaration), .. }) if declaration.positional => {
                    Some((index, matches!(declaration.ty, crate::types::Type::List(_))))
                }
                _ => None,
            })
            .collect();
        for (layer, contents) in layers.iter().enumerate() {
            if contents.origin == Origin::Schema {
                continue;
            }
            for piece in &contents.pieces {
                let Fragment::Body(body) = piece.fragment else { continue };
                let given = self.statements[body].arguments.len();
                let mut next = 0;
                for (index, takes_rest) in &positional {
                    if next >= given {
                        break;
                    }
                    let end = if *takes_rest { given } else { next + 1 };
                    let write = self.write(layer, body, body, (next, end), Some(body), piece);
                    if let Content::Leaf(leaf) = &mut self.class_mut(id).members[*index].content {
                        leaf.writes.push(write);
                    }
                    next = end;
                }
                if next < given {
                    self.too_many_values(id, body, next, positional.len());
                }
            }
        }
    }

    pub(super) fn too_many_values(&mut self, id: ClassId, statement: StatementId, first: usize, taken: usize) {
        let span = self.statements[statement].arguments[first].span;
        let name = Arc::clone(self.names.text(self.class(id).name));
        let message = match taken {
            0 => format!("`{name}` takes no value"),
            1 => format!("`{name}` takes one value"),
            more => format!("`{name}` takes {more} values"),
        };
        let declared = self.class(id).layers.iter().find(|layer| layer.origin == Origin::Schema);
        let declared = declared.and_then(|layer| match layer.pieces.first()?.fragment {
            Fragment::Body(body) => Some(self.statements[body].name_span),
            _ => None,
        });
        let error = Diagnostic::new("E0212", message, span, "one too many").label_if(declared, "declared here");
        self.report(error.help("remove it, or name the attribute it is for: `name=value`"));
    }

    pub(super) fn write(
=======
    pub(crate) fn write(
>>>>>>> refs/heads/lang
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
<<<<<<< HEAD

    /// Handles everything that writes to a member or amends one.
    pub(super) fn place(&mut self, id: ClassId, line: &Line) {
        let statement = &self.statements[line.statement];
        let (word, word_span) = statement.path[line.offset];
        let last = line.offset + 1 == statement.path.len();
        if line.offset == 0 && last && self.reserved_word(id, line, word) {
            return;
        }
        if line.offset > 0 && last && matches!(self.text(word), "count" | "each" | "need" | "if") {
            return;
        }
        let Some(index) = self.class(id).index.get(&word).copied() else {
            self.unknown_member(id, line, word, word_span);
            return;
        };
        if self.form(line.statement) == Form::Unknown {
            self.set_form(line.statement, Form::Other);
        }
        match &self.class(id).members[index].content {
            Content::Leaf(leaf) => match leaf.role {
                Role::Attribute if last => self.write_attribute(id, index, line),
                Role::Attribute => {
                    let span = self.statements[line.statement].path[line.offset + 1].1;
                    let declared = self.class(id).members[index].span;
                    let message = format!("`{}` has no parts", self.text(word));
                    let error =
                        Diagnostic::new("E0205", message, span, "leads nowhere").label(declared, "an attribute");
                    self.wrong(line, error.help("a path leads to a component, a record or an attribute"));
                }
                role => {
                    let what = if role == Role::Let { "let" } else { "output" };
                    let declared = self.class(id).members[index].span;
                    let message = format!("`{}` is `{what}` and cannot be set from outside", self.text(word));
                    let error = Diagnostic::new("E0207", message, word_span, "not an attribute")
                        .label(declared, "defined here");
                    self.wrong(line, error.help("make it a `param` of its template if others may set it"));
                }
            },
            Content::Record(_) | Content::Items(_) | Content::Child(_) => self.amend(id, index, line, last),
        }
    }

    pub(super) fn amend(&mut self, id: ClassId, index: usize, line: &Line, last: bool) {
        if last && self.misplaced_annotation(line, true) {
            return;
        }
        let statement = &self.statements[line.statement];
        let replaces = matches!(statement.annotation, Some((Annotation::Replace, _)));
        let piece = if last {
            Piece { fragment: Fragment::Body(line.statement), frames: inner_frames(&line.piece.frames), replaces }
        } else {
            let fragment = Fragment::Tail(line.statement, line.offset + 1);
            Piece { fragment, frames: outer_frames(&line.piece.frames), replaces: false }
        };
        match &self.class(id).members[index].content {
            Content::Child(_) => {
                if last && let Some(argument) = statement.arguments.first() {
                    let name = Arc::clone(self.names.text(self.class(id).members[index].name));
                    let span = argument.span;
                    let declared = self.class(id).members[index].span;
                    let error = Diagnostic::new(
                        "E0212",
                        format!("`{name}` is a component and takes no value"),
                        span,
                        "unexpected",
                    );
                    let error = error.label(declared, "created here");
                    self.wrong(line, error.help(format!("amend its attributes: `{name} attribute=value`")));
                    return;
                }
                if last
                    && let Some(extends) = self
                        .property(line.statement, "extends")
                        .or_else(|| self.child_statement(line.statement, "extends"))
                {
                    let span = self.statements[extends].span;
                    let error = Diagnostic::new(
                        "E0207",
                        "an amendment cannot change what a component extends",
                        span,
                        "not here",
                    );
                    self.wrong(line, error.help("`extends` stands where the component is created"));
                    return;
                }
                self.collect_metas(id, index, line, last);
            }
            Content::Items(_) if !last => {
                let span = statement.path[line.offset + 1].1;
                let error = Diagnostic::new("E0205", "items cannot be amended by a path", span, "leads nowhere");
                self.wrong(line, error.help("write the item again with the same key: what is nearer wins"));
                return;
            }
            _ => {}
        }
        match &mut self.class_mut(id).members[index].content {
            Content::Record(record) => record.pieces.push((line.layer, piece)),
            Content::Items(items) => items.pieces.push((line.layer, piece)),
            Content::Child(child) => child.pieces.push((line.layer, piece)),
            Content::Leaf(_) => {}
        }
    }

    /// Words of the language that are no members; true where the statement has been dealt with.
    pub(super) fn reserved_word(&mut self, id: ClassId, line: &Line, word: Symbol) -> bool {
        let text = Arc::clone(self.names.text(word));
        let flavor = self.class(id).flavor;
        let at_top = matches!(line.piece.fragment, Fragment::File(_));
        match &*text {
            "import" | "template" | "test" if at_top => true,
            "kind" if self.is_standard(self.statements[line.statement].file) => true,
            "import" | "template" | "test" | "kind" => {
                let help = match &*text {
                    "kind" => "kinds belong to the standard library; write a `template`",
                    _ => "move it to the top of the file",
                };
                self.not_here(line, &text, help);
                true
            }
            "doc" if self.statements[line.statement].is_property && self.declares_here(line) => true,
            "assert" => {
                self.assertion(id, line);
                true
            }
            "extends" | "count" | "each" | "need" | "if" => {
                let fine = match (&*text, flavor) {
                    ("extends", Flavor::Component | Flavor::Prototype) => true,
                    (_, Flavor::Component) => !self.declares_here(line),
                    _ => false,
                };
                if !fine {
                    self.not_here(line, &text, "it stands where a component is created: `domain web count=3`");
                }
                true
            }
            "param" | "argument" | "record" | "item" | "contains" | "one-of" | "sees" => {
                self.not_here(line, &text, "schemas are declared by the standard library; a template has `param`");
                true
            }
            _ => false,
        }
    }

    pub(super) fn assertion(&mut self, id: ClassId, line: &Line) {
        let statement = &self.statements[line.statement];
        if statement.arguments.len() != 1 {
            let span = statement.span;
            let error = Diagnostic::new("E0212", "`assert` takes one condition", span, "not one condition");
            self.wrong(line, error.help("write `assert \"a <= b\" else=\"what is wrong\"`"));
            return;
        }
        for part in statement.body.clone() {
            if self.text(self.statements[part].word()) != "else" {
                let span = self.statements[part].span;
                let error = Diagnostic::new("E0201", "`assert` has only `else=`", span, "not known here");
                self.wrong(line, error.help("write `assert \"a <= b\" else=\"what is wrong\"`"));
                return;
            }
        }
        self.set_form(line.statement, Form::Other);
        let assertion =
            Assertion { statement: line.statement, scope: line.scope, frames: Arc::clone(&line.piece.frames) };
        self.class_mut(id).asserts.push(assertion);
    }

    pub(super) fn write_attribute(&mut self, id: ClassId, index: usize, line: &Line) {
        let statement = &self.statements[line.statement];
        let Content::Leaf(Leaf { declaration: Some(declaration), .. }) = &self.class(id).members[index].content else {
            return;
        };
        let declaration = Arc::clone(declaration);
        let name = Arc::clone(self.names.text(declaration.name));
        let is_list = matches!(declaration.ty, crate::types::Type::List(_));
        let declared = declaration.span;
        if let Some(part) = statement.body.first().map(|part| self.statements[*part].span) {
            let message = format!("`{name}` is an attribute and has no attributes of its own");
            let error = Diagnostic::new("E0212", message, part, "unexpected").label(declared, "declared here");
            self.spoil(id, index, line);
            self.wrong(line, error.help(format!("write `{name} value`")));
            return;
        }
        let given = statement.arguments.len();
        if given == 0 && !is_list {
            let error =
                Diagnostic::new("E0212", format!("`{name}` has no value"), statement.span, "a value is missing");
            let error = error.label(declared, format!("declared here as {}", declaration.ty));
            self.spoil(id, index, line);
            self.wrong(line, error.help(declaration.ty.example()));
            return;
        }
        if given > 1 && !is_list {
            let span = statement.arguments[1].span;
            let error = Diagnostic::new("E0212", format!("`{name}` takes one value"), span, "one too many");
            self.spoil(id, index, line);
            self.wrong(line, error.label(declared, format!("declared here as {}", declaration.ty)).help("remove it"));
            return;
        }
        let write = self.write(line.layer, line.statement, line.statement, (0, given), line.scope, &line.piece);
        if let Content::Leaf(leaf) = &mut self.class_mut(id).members[index].content {
            leaf.writes.push(write);
        }
    }

    pub(super) fn unknown_member(&mut self, id: ClassId, line: &Line, word: Symbol, span: Span) {
        let class = self.class(id);
        let name = Arc::clone(self.names.text(word));
        let what = self.class_title(id);
        let visible = class
            .members
            .iter()
            .filter(|member| !matches!(&member.content, Content::Leaf(leaf) if leaf.role != Role::Attribute));
        let mut known: Vec<String> = visible.map(|member| self.text(member.name).to_owned()).collect();
        if line.offset == 0 {
            known.extend(class.contains.iter().map(|kind| self.text(*kind).to_owned()));
        }
        let schema = class.layers.iter().rev().flat_map(|layer| {
            let is_schema = layer.origin != Origin::Body;
            layer.pieces.first().filter(|_| is_schema).map(|piece| piece.fragment)
        });
        let declared = schema.take(1).find_map(|fragment| match fragment {
            Fragment::Body(body) => {
                Some(self.statements[body].arguments.first().map_or(self.statements[body].name_span, |a| a.span))
            }
            _ => None,
        });
        let is_path = line.offset > 0 || self.statements[line.statement].path.len() > 1;
        let code = if is_path { "E0205" } else { "E0201" };
        let message = format!("{what} has no `{name}`");
        let mut error = Diagnostic::new(code, message, span, "not known here");
        error = error.label_if(declared, format!("the attributes of {what} are declared here"));
        error = if class.flavor == Flavor::File
            && self.statements[line.statement].is_single()
            && standard::is_kind(&name)
        {
            error.help(format!("a {name} stands inside a `pool`"))
        } else if standard::text(&name).is_some() && !is_path && class.flavor != Flavor::Record {
            let contained: Vec<&str> = class.contains.iter().map(|kind| self.text(*kind)).collect();
            error.help(format!("a {name} cannot stand in {what}; it may contain {}", alternatives(&contained, "and")))
        } else if let Some(meant) = nearest(&name, known.iter().map(String::as_str)) {
            let meant_symbol = self.names.known(meant);
            let error = error.help(format!("did you mean `{meant}`?")).suggest(span, meant);
            if let Some(index) = meant_symbol.and_then(|symbol| self.class(id).index.get(&symbol).copied()) {
                self.spoil(id, index, line);
            }
            error
        } else if known.is_empty() {
            error.help("it has no attributes")
        } else {
            known.sort();
            error.help(format!("it has {}", alternatives(&known, "and")))
        };
        self.wrong(line, error);
    }

    /// What a class is called in messages: "the domain `web`", "the record `budget`", "the file".
    pub(crate) fn class_title(&self, id: ClassId) -> String {
        let class = self.class(id);
        let name = self.text(class.name);
        match class.flavor {
            Flavor::File => "the file".to_owned(),
            Flavor::Record => format!("the record `{name}`"),
            Flavor::Item => format!("the item `{name}`"),
            Flavor::Prototype => format!("the template `{name}`"),
            Flavor::Component => {
                let kind = class.kinds.first().map_or("component", |kind| self.text(*kind));
                format!("the {kind} `{name}`")
            }
        }
    }
=======
>>>>>>> refs/heads/lang
}
