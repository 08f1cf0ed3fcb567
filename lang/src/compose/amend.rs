//! Lines that write to members, amend components, or are wrong.

use std::sync::Arc;

use crate::compose::build::Line;
use crate::compose::layers::{Fragment, Origin, Piece, inner_frames, outer_frames};
use crate::compose::{Assertion, ClassId, Content, Flavor, Leaf, Role};
use crate::diagnostic::Diagnostic;
use crate::nearest::{alternatives, nearest};
use crate::resolver::{Form, Resolver};
use crate::source::Span;
use crate::standard;
use crate::statement::{Annotation, Token};
use crate::symbol::Symbol;

impl Resolver<'_> {
    /// Handles everything that writes to a member or amends one.
    pub(crate) fn place(&mut self, id: ClassId, line: &Line) {
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
                // Something else wanted its name, and that has been said.
                _ if leaf.spoiled => self.set_form(line.statement, Form::Wrong),
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

    pub(crate) fn amend(&mut self, id: ClassId, index: usize, line: &Line, last: bool) {
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
                    let literal = argument.clone();
                    let kind = self.kind_of_child(id, index);
                    let error = self.with_attribute_for(kind, &literal, error);
                    self.wrong(line, error);
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
    pub(crate) fn reserved_word(&mut self, id: ClassId, line: &Line, word: Symbol) -> bool {
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

    pub(crate) fn assertion(&mut self, id: ClassId, line: &Line) {
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

    pub(crate) fn write_attribute(&mut self, id: ClassId, index: usize, line: &Line) {
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
            let (first, extra) = (statement.arguments[0].span, &statement.arguments[1]);
            let between = Span { start: first.end, end: extra.span.start, ..first };
            let error = Diagnostic::new("E0212", format!("`{name}` takes one value"), extra.span, "one too many");
            let error = error.label(declared, format!("declared here as {}", declaration.ty));
            let next = match &extra.token {
                Token::Text(text) => self.names.known(text),
                _ => None,
            };
            self.spoil(id, index, line);
            // Several attributes on one line, without a `;` between them.
            let class = self.class(id);
            let is_known = |next: &Symbol| class.index.contains_key(next) || class.contains.contains(next);
            let error = match next.filter(is_known) {
                Some(next) => {
                    let word = Arc::clone(self.names.text(next));
                    if let Some(other) = self.class(id).index.get(&next).copied() {
                        self.spoil(id, other, line);
                    }
                    error.help(format!("put a `;` or a new line before `{word}`")).suggest(between, "; ")
                }
                None => error.help("remove it"),
            };
            self.wrong(line, error);
            return;
        }
        let write = self.write(line.layer, line.statement, line.statement, (0, given), line.scope, &line.piece);
        if let Content::Leaf(leaf) = &mut self.class_mut(id).members[index].content {
            leaf.writes.push(write);
        }
    }

    pub(crate) fn unknown_member(&mut self, id: ClassId, line: &Line, word: Symbol, span: Span) {
        let contained = self.class(id).contains.clone();
        let class = self.class(id);
        let name = Arc::clone(self.names.text(word));
        let what = self.class_title(id);
        let visible = class
            .members
            .iter()
            .filter(|member| !matches!(&member.content, Content::Leaf(leaf) if leaf.role != Role::Attribute));
        let mut known: Vec<String> = visible.map(|member| self.text(member.name).to_owned()).collect();
        let mut words_here: Vec<String> = Vec::new();
        if line.offset == 0 {
            known.extend(class.contains.iter().map(|kind| self.text(*kind).to_owned()));
            let words: &[&str] = match class.flavor {
                Flavor::File => &["import", "param", "let", "template", "test", "assert"],
                Flavor::Prototype => &["param", "let", "assert", "output", "extends"],
                Flavor::Component => &["let", "assert", "output", "extends", "count", "each", "need", "if"],
                Flavor::Record | Flavor::Item => &[],
            };
            words_here.extend(words.iter().map(|word| (*word).to_owned()));
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
        let near = nearest(&name, known.iter().chain(&words_here).map(String::as_str)).map(str::to_owned);
        let is_incomplete = class.lacks_prototype;
        let may_be_brought = is_incomplete && !self.statements[line.statement].has_block;
        let misplaced =
            standard::text(&name).is_some() && !is_path && class.flavor != Flavor::Record && !may_be_brought;
        let is_file = class.flavor == Flavor::File;
        let by_content = match &near {
            None if line.offset == 0 && !is_path && !misplaced => self.kind_by_content(line.statement, &contained),
            _ => None,
        };
        if is_incomplete && near.is_none() && by_content.is_none() && !misplaced {
            // What could not be found may have it.
            self.set_form(line.statement, Form::Wrong);
            return;
        }
        let mut meant = near.as_deref().map(|near| self.names.intern(near)).or(by_content);
        let code = if is_path { "E0205" } else { "E0201" };
        let message = format!("{what} has no `{name}`");
        let mut error = Diagnostic::new(code, message, span, "not known here");
        error = error.label_if(declared, format!("the attributes of {what} are declared here"));
        error = if is_file && self.statements[line.statement].is_single() && standard::is_kind(&name) {
            meant = Some(word);
            error.help(format!("a {name} stands inside a `pool`"))
        } else if misplaced {
            meant = Some(word);
            let contained: Vec<&str> = contained.iter().map(|kind| self.text(*kind)).collect();
            error.help(format!("a {name} cannot stand in {what}; it may contain {}", alternatives(&contained, "and")))
        } else if let Some(meant) = near {
            let meant_symbol = self.names.known(&meant);
            let error = error.help(format!("did you mean `{meant}`?")).suggest(span, meant);
            if let Some(index) = meant_symbol.and_then(|symbol| self.class(id).index.get(&symbol).copied()) {
                self.spoil(id, index, line);
            }
            error
        } else if let Some(kind) = by_content {
            let kind = self.text(kind).to_owned();
            error.help(format!("what stands in it is what a `{kind}` has: did you mean `{kind}`?")).suggest(span, kind)
        } else {
            known.sort();
            let place = if is_path { None } else { self.place_of(id, line) };
            match (place, &known[..]) {
                (Some((help, Some(edit))), _) => error.help(help).suggest(edit.span, edit.replacement),
                (Some((help, None)), _) => error.help(help),
                (None, []) => error.help("it has no attributes"),
                (None, known) => error.help(format!("it has {}", alternatives(known, "and"))),
            }
        };
        self.wrong(line, error);
        if let Some(meant) = meant {
            self.read_as_meant(id, line, meant);
        }
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
}
