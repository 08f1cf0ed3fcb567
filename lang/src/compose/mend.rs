//! Going on behind a wrong name: the line is read as what was most likely meant, so that what stands in its block is
//! checked in the same run and what refers to it is found.
//!
//! Whatever is decided here has been reported as an error, so nothing is ever deployed by a guess.

use std::sync::Arc;

use crate::compose::build::Line;
use crate::compose::{ClassId, Content, Flavor, names};
use crate::diagnostic::Diagnostic;
use crate::resolver::{Form, Resolver};
use crate::source::Span;
use crate::standard;
use crate::statement::{Literal, Reading, StatementId, Token};
use crate::symbol::Symbol;

impl Resolver<'_> {
    /// Reads a wrong line as if `meant` stood in the place of its word.
    pub(crate) fn read_as_meant(&mut self, id: ClassId, line: &Line, meant: Symbol) {
        let statement = &self.statements[line.statement];
        if statement.is_property {
            return;
        }
        let is_last = line.offset + 1 == statement.path.len();
        let class = self.class(id);
        let creates = line.offset == 0
            && is_last
            && matches!(class.flavor, Flavor::File | Flavor::Component | Flavor::Prototype)
            && (class.contains.contains(&meant) || standard::text(self.text(meant)).is_some());
        let amends = class.index.get(&meant).is_some_and(|index| match &class.members[*index].content {
            Content::Leaf(_) => false,
            // Two lines for one record in one body would contradict each other, which nobody has written.
            Content::Record(record) => !record.pieces.iter().any(|(layer, _)| *layer == line.layer),
            Content::Items(_) => is_last,
            Content::Child(_) => true,
        });
        if !creates && !amends {
            return;
        }
        self.statements.get_mut(line.statement).path[line.offset].0 = meant;
        self.set_form(line.statement, Form::Unknown);
        if creates {
            self.mended.insert(line.statement);
            self.create(id, line);
        } else {
            self.place(id, line);
        }
    }

    /// The kind that a block with a name, but of an unknown word, is most likely of: the only one among `kinds` that
    /// knows most of the words in it, and at least half.
    pub(crate) fn kind_by_content(&mut self, statement: StatementId, kinds: &[Symbol]) -> Option<Symbol> {
        let (name, _) = self.plain_text(statement, 0)?;
        if !names::is_name(&name) || self.statements[statement].arguments.len() != 1 {
            return None;
        }
        let body = &self.statements[statement].body;
        let words: Vec<Symbol> = body.iter().map(|part| self.statements[*part].word()).collect();
        let words: Vec<Symbol> = words.into_iter().filter(|word| !names::is_reserved(self.text(*word))).collect();
        let mut best: Option<(usize, Symbol)> = None;
        let mut tied = false;
        for kind in kinds {
            let Some(class) = self.kind_class(*kind) else { continue };
            if self.class(class).members.is_empty() {
                self.fill(class);
            }
            let class = self.class(class);
            let known = words.iter().filter(|word| class.index.contains_key(word) || class.contains.contains(word));
            let known = known.count();
            match best {
                Some((most, _)) if known < most => {}
                Some((most, _)) if known == most => tied = true,
                _ => {
                    best = Some((known, *kind));
                    tied = false;
                }
            }
        }
        best.filter(|(known, _)| !tied && *known > 0 && *known * 2 >= words.len()).map(|(_, kind)| kind)
    }

    /// The kinds that a template may be of, for guesses.
    pub(crate) fn deployable_kinds(&mut self) -> Vec<Symbol> {
        ["pool", "group", "domain", "host", "volume", "nic", "scheduler", "workflow"]
            .iter()
            .map(|kind| self.names.intern(kind))
            .collect()
    }

    /// A name that nothing has in a class, for a component whose own name cannot be used.
    pub(crate) fn free_name(&mut self, id: ClassId, base: &str) -> Symbol {
        let mut name = self.names.intern(base);
        let mut number = 2;
        // Ends at the latest when there are more numbers than members.
        while self.class(id).index.contains_key(&name) {
            name = self.names.intern(&format!("{base}-{number}"));
            number += 1;
        }
        name
    }

    /// True where a prototype of a class, or of something around it, could not be found: what it lacks may have been
    /// there, so nothing is said about that.
    pub(crate) fn is_incomplete(&self, id: ClassId) -> bool {
        let mut at = Some(id);
        while let Some(class) = at {
            if self.class(class).lacks_prototype {
                return true;
            }
            at = self.class(class).parent;
        }
        false
    }

    /// The second name under which a component is found: the one that was written, where another was made of it.
    pub(crate) fn also_called(&mut self, id: ClassId, written: &Arc<str>, index: usize) {
        let written = self.names.intern(written);
        self.class_mut(id).index.entry(written).or_insert(index);
    }

    /// Reads `let n = 2` as `let n 2`, and `param n = 2` as `param n default=2`, after saying so.
    pub(crate) fn mend_equals(&mut self, statement: StatementId, word: &str) {
        const PARTS: [&str; 9] = ["type", "default", "min", "max", "doc", "optional", "context", "list", "live"];
        let line = &self.statements[statement];
        let is_value = matches!(word, "let" | "output");
        if !line.arguments.is_empty() || !(is_value || word == "param") {
            return;
        }
        let Some(property) = line.body.first().copied().filter(|part| self.statements[*part].is_property) else {
            return;
        };
        let part = &self.statements[property];
        let (name, span) = (Arc::clone(self.names.text(part.word())), part.name_span);
        let Some(value) = part.arguments.first().cloned() else { return };
        if PARTS.contains(&&*name) {
            return;
        }
        let between = Span { start: span.end, end: value.span.start, ..span };
        let has_type = self.property(statement, "type").is_some();
        let instead = match &value.token {
            _ if is_value => " ",
            Token::Integer(_) if !has_type => " type=integer default=",
            Token::Decimal(_) if !has_type => " type=number default=",
            Token::Boolean(_) if !has_type => " type=boolean default=",
            _ => " default=",
        };
        let written = self.sources.text(Span { end: value.span.end, ..value.span });
        let error = Diagnostic::new("E0208", format!("a `{word}` has its name without `=`"), between, "not here");
        let error = error.help(format!("write `{word} {name}{instead}{written}`")).suggest(between, instead);
        self.report(error);
        let id = self.statements.next_literal();
        let named = Literal { token: Token::Text(name), reading: Reading::Plain, span, text_start: None, id };
        let default = self.names.intern("default");
        let line = self.statements.get_mut(statement);
        line.arguments.push(named);
        if is_value {
            line.arguments.push(value);
            line.body.remove(0);
        } else if instead == " default=" {
            self.statements.get_mut(property).path[0].0 = default;
        } else {
            // Without its type the value would be wrong; so nothing is said of either.
            let optional = self.names.intern("optional");
            let part = self.statements.get_mut(property);
            part.path[0].0 = optional;
            part.arguments[0].token = Token::Boolean(true);
        }
    }
}
