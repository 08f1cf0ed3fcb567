//! Lines that declare members: params, lets, outputs, and in the standard library records and items.

use std::sync::Arc;

use crate::compose::build::Line;
use crate::compose::layers::{Fragment, Layer, Origin};
use crate::compose::schema::Declaration;
use crate::compose::{ClassId, Content, Flavor, ItemsMember, Leaf, Member, Priority, RecordMember, Role, Write, names};
use crate::diagnostic::Diagnostic;
use crate::resolver::{Form, Resolver};
use crate::source::Span;
use crate::statement::{Annotation, StatementId};
use crate::symbol::Symbol;

impl Resolver<'_> {
    /// Handles what declares members; false for everything else.
    pub(crate) fn declare(&mut self, id: ClassId, line: &Line) -> bool {
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
    pub(crate) fn misplaced_annotation(&mut self, line: &Line, replaceable: bool) -> bool {
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
    pub(crate) fn declares_here(&self, line: &Line) -> bool {
        line.scope.is_some_and(|scope| self.text(self.statements[scope].word()) == "template")
    }

    pub(crate) fn not_here(&mut self, line: &Line, word: &str, help: &str) {
        let span = self.statements[line.statement].span;
        let error = Diagnostic::new("E0207", format!("`{word}` cannot stand here"), span, "not in this place");
        self.wrong(line, error.help(help));
    }

    pub(crate) fn declare_item(&mut self, id: ClassId, line: &Line) {
        let Some((name, span)) = self.declared_name(line.statement, "item") else { return };
        let key = self.property(line.statement, "key").and_then(|property| self.plain_text(property, 0));
        let key = key.map(|(key, _)| self.names.intern(&key));
        let ordered = self.flag(line.statement, "ordered");
        let declaration = Arc::new(crate::compose::schema::ItemDeclaration { statement: line.statement, key, ordered });
        let items = ItemsMember { declarations: vec![(line.layer, declaration)], pieces: Vec::new(), classes: None };
        self.add_member(id, name, span, Content::Items(items));
    }

    pub(crate) fn declare_attribute(&mut self, id: ClassId, line: &Line, declaration: Declaration) {
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
    pub(crate) fn taken(&mut self, id: ClassId, line: &Line, name: Symbol, span: Span, index: usize) {
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
    pub(crate) fn declare_value(&mut self, id: ClassId, line: &Line, word: &str) {
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

    pub(crate) fn add_member(&mut self, id: ClassId, name: Symbol, span: Span, content: Content) {
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
    pub(crate) fn positional_arguments(&mut self, id: ClassId, layers: &[Layer]) {
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

    pub(crate) fn too_many_values(&mut self, id: ClassId, statement: StatementId, first: usize, taken: usize) {
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
        let error = match self.property_without_equals(id, statement, first) {
            Some((index, span, written)) => {
                if let Content::Leaf(leaf) = &mut self.class_mut(id).members[index].content {
                    leaf.spoiled = true;
                }
                error.help(format!("write `{written}`")).suggest(span, written)
            }
            None if taken == 1 && first == 1 && self.class(id).flavor == Flavor::Item => {
                let arguments = &self.statements[statement].arguments;
                let between = Span { start: arguments[0].span.end, end: span.start, ..span };
                error.help(format!("write `{name}` for each of them")).suggest(between, format!("; {name} "))
            }
            None => error.help("remove it, or name the attribute it is for: `name=value`"),
        };
        self.report(error);
    }
}
