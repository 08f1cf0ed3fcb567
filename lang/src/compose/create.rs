//! Lines that create components.

use std::sync::Arc;

use crate::compose::build::Line;
use crate::compose::layers::{Fragment, Piece, inner_frames};
use crate::compose::{ChildMember, ClassId, Composed, Content, Leaf, Role, Write, names};
use crate::diagnostic::Diagnostic;
use crate::resolver::{Form, Resolver};
use crate::source::Span;
use crate::standard;
use crate::statement::{Annotation, StatementId};
use crate::symbol::Symbol;

impl Resolver<'_> {
    /// Handles `word name …` where the word is a kind that may stand here; false for everything else.
    pub(crate) fn create(&mut self, id: ClassId, line: &Line) -> bool {
        let statement = &self.statements[line.statement];
        if line.offset > 0 || !statement.is_single() || statement.is_property {
            return false;
        }
        let word = statement.word();
        let class = self.class(id);
        if !(class.contains.contains(&word) || self.mended.contains(&line.statement))
            || class.index.get(&word).is_some_and(|index| !matches!(class.members[*index].content, Content::Child(_)))
        {
            return false;
        }
        let Some((name, span)) = self.component_name(id, line) else { return true };
        let piece = Piece {
            fragment: Fragment::Body(line.statement),
            frames: inner_frames(&line.piece.frames),
            replaces: matches!(self.statements[line.statement].annotation, Some((Annotation::Replace, _))),
        };
        let known = self.class(id).index.get(&name).copied();
        let taken = known.filter(|index| self.is_taken(id, line, (name, span), *index, piece.replaces));
        let index = match known {
            Some(index) if taken.is_none() => index,
            // Where the name is taken it is a component of its own, so that what stands in it is checked, too.
            _ => {
                let child = ChildMember {
                    creations: Vec::new(),
                    pieces: Vec::new(),
                    count: Leaf::new(Role::Attribute, None, line.layer),
                    each: Leaf::new(Role::Attribute, None, line.layer),
                    need: Leaf::new(Role::Attribute, None, line.layer),
                    condition: Leaf::new(Role::Attribute, None, line.layer),
                    composed: Composed::No,
                };
                self.add_member(id, name, span, Content::Child(Box::new(child)));
                if let Some(first) = taken {
                    // The name goes on to mean what had it first.
                    self.class_mut(id).index.insert(name, first);
                }
                self.class(id).members.len() - 1
            }
        };
        if let Some((written, _)) = self.plain_text(line.statement, 0) {
            self.also_called(id, &written, index);
        }
        self.set_form(line.statement, Form::Creates);
        if let Content::Child(child) = &mut self.class_mut(id).members[index].content {
            child.creations.push((line.layer, line.statement, piece.clone()));
            child.pieces.push((line.layer, piece));
        }
        self.collect_metas(id, index, line, true);
        true
    }

    /// True where a name has been given to something that a line cannot create once more, which is reported.
    fn is_taken(
        &mut self,
        id: ClassId,
        line: &Line,
        (name, span): (Symbol, Span),
        index: usize,
        replaces: bool,
    ) -> bool {
        let layers = Arc::clone(&self.class(id).layers);
        let Content::Child(child) = &self.class(id).members[index].content else {
            self.taken(id, line, name, span, index);
            // Who speaks of it may mean either; so nothing more is said about it.
            if let Content::Leaf(leaf) = &mut self.class_mut(id).members[index].content
                && leaf.role != Role::Attribute
            {
                leaf.spoiled = true;
            }
            return true;
        };
        let clash = child.creations.iter().find(|(layer, _, _)| {
            let same = *layer == line.layer;
            let ordered = layers[line.layer].beneath.contains(*layer);
            (same || ordered) && !replaces
        });
        if clash.is_some() {
            self.taken(id, line, name, span, index);
            return true;
        }
        let word = self.statements[line.statement].word();
        let other = child.creations.iter().find(|(layer, other, _)| {
            !layers[line.layer].beneath.contains(*layer) && self.statements[*other].word() != word
        });
        let Some((_, other, _)) = other else { return false };
        let first = self.statements[*other].span;
        let message = format!("two prototypes create `{}`, but not as the same kind", self.text(name));
        let error = Diagnostic::new("E0305", message, span, format!("a {}", self.text(word)));
        let error = error.label(first, format!("a {}", self.text(self.statements[*other].word())));
        self.wrong(line, error.help("rename one of them"));
        true
    }

    /// The name of a component that is created. Where it cannot be used, which is reported, one is made up for what has
    /// anything in it.
    pub(crate) fn component_name(&mut self, id: ClassId, line: &Line) -> Option<(Symbol, Span)> {
        let statement = &self.statements[line.statement];
        let word = Arc::clone(self.names.text(statement.word()));
        let name_span = statement.name_span;
        let is_empty = statement.body.is_empty();
        self.misplaced_annotation(line, true);
        let Some((name, span)) = self.plain_text(line.statement, 0) else {
            let error = Diagnostic::new("E0208", format!("this {word} has no name"), name_span, "a name is missing");
            self.wrong(line, error.help(format!("write `{word} name {{ … }}`")).suggest(name_span.after(), " name"));
            return (!is_empty).then(|| (self.free_name(id, &word), name_span));
        };
        if let Some(extra) = self.statements[line.statement].arguments.get(1) {
            let message = format!("a {word} has one name");
            let error = Diagnostic::new("E0212", message, extra.span, "one too many");
            let literal = extra.clone();
            let kind = self.names.intern(&word);
            let kind = self.kind_class(kind);
            if let Some(kind) = kind.filter(|kind| self.class(*kind).members.is_empty()) {
                self.fill(kind);
            }
            let error = self.with_attribute_for(kind, &literal, error);
            self.wrong(line, error);
        }
        if !names::is_component_name(&name) || names::is_reserved(&name) || standard::is_kind(&name) {
            let taken = names::is_reserved(&name) || standard::is_kind(&name);
            let error = Diagnostic::new("E0208", format!("`{name}` cannot name a component"), span, "not a name");
            let error = if taken {
                error.help("the language keeps this word for itself; choose another name")
            } else {
                let fixed: String = name.to_ascii_lowercase().replace(['_', ' '], "-");
                let error = error
                    .help("it becomes part of host names: use lower-case letters, digits and `-`, with a letter first");
                if names::is_component_name(&fixed) && !names::is_reserved(&fixed) && !standard::is_kind(&fixed) {
                    error.suggest(span, fixed)
                } else {
                    error
                }
            };
            let usable = error.suggestion.as_ref().map_or(&*word, |edit| edit.replacement.as_str()).to_owned();
            self.wrong(line, error);
            return (!is_empty).then(|| (self.free_name(id, &usable), span));
        }
        Some((self.names.intern(&name), span))
    }

    /// Collects `count`, `each`, `need` and `if` of a child from a statement that creates or amends it.
    pub(crate) fn collect_metas(&mut self, id: ClassId, index: usize, line: &Line, whole: bool) {
        let mut found: Vec<(Arc<str>, Write)> = Vec::new();
        let length = self.statements[line.statement].path.len();
        if whole {
            for part in self.statements[line.statement].body.clone() {
                let statement = &self.statements[part];
                if statement.is_single() {
                    let word = Arc::clone(self.names.text(statement.word()));
                    found.extend(self.meta_write(line, part).map(|write| (word, write)));
                }
            }
        } else if length == line.offset + 2 {
            let word = Arc::clone(self.names.text(self.statements[line.statement].path[length - 1].0));
            found.extend(self.meta_write(line, line.statement).map(|write| (word, write)));
        }
        if let Content::Child(child) = &mut self.class_mut(id).members[index].content {
            for (word, write) in found {
                match &*word {
                    "count" => child.count.writes.push(write),
                    "each" => child.each.writes.push(write),
                    "need" => child.need.writes.push(write),
                    "if" => child.condition.writes.push(write),
                    _ => {}
                }
            }
        }
    }

    pub(crate) fn meta_write(&mut self, line: &Line, part: StatementId) -> Option<Write> {
        let statement = &self.statements[part];
        let last = statement.path[statement.path.len() - 1].0;
        let word = Arc::clone(self.names.text(last));
        if !matches!(&*word, "count" | "each" | "need" | "if") {
            return None;
        }
        if statement.arguments.len() != 1 || !statement.body.is_empty() {
            let span = statement.span;
            let error = Diagnostic::new("E0212", format!("`{word}` takes one value"), span, "not one value");
            self.report(error.help(format!("write `{word}=value`")));
            return None;
        }
        Some(self.write(line.layer, part, part, (0, 1), line.scope, &line.piece))
    }
}
