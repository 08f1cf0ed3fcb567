//! Where that belongs which stands in the wrong place: an attribute of a part, a word of another language, a value
//! without the name of its attribute.

use std::sync::Arc;

use crate::compose::build::Line;
use crate::compose::{ClassId, Content, Leaf};
use crate::diagnostic::{Diagnostic, Edit};
use crate::nearest::alternatives;
use crate::resolver::Resolver;
use crate::source::Span;
use crate::statement::{Literal, StatementId, Token};
use crate::symbol::Symbol;
use crate::types::Type;

/// What others call it, and what it is here.
const FOREIGN: [(&str, &str); 14] = [
    ("ram", "memory"),
    ("mem", "memory"),
    ("cpu", "vcpus"),
    ("cpus", "vcpus"),
    ("cores", "vcpus"),
    ("processors", "vcpus"),
    ("os", "image"),
    ("template", "image"),
    ("name", "hostname"),
    ("disk", "root.size"),
    ("storage", "root.size"),
    ("address", "eth0.ip"),
    ("after", "start-after"),
    ("depends-on", "start-after"),
];

/// A place inside a class.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// The part it belongs to; `None` where it is the class itself.
    part: Option<String>,
    /// What it is called there.
    name: String,
    /// True for an attribute that is written `part name=value`, false for what needs a block.
    is_attribute: bool,
}

impl Resolver<'_> {
    /// What to do about an unknown word that has its place elsewhere: advice, and a change of the text where that is
    /// plain. `None` where nothing is known of it.
    pub(crate) fn place_of(&mut self, id: ClassId, line: &Line) -> Option<(String, Option<Edit>)> {
        let statement = &self.statements[line.statement];
        let (word, span) = statement.path[line.offset];
        let has_block = statement.has_block;
        let first_value = statement.arguments.first().map(|literal| literal.span);
        let whole = statement.span;
        let name = Arc::clone(self.names.text(word));
        let places = self.places_of(id, &name);
        let [Place { part, name: meant, is_attribute }] = &places[..] else {
            let parts: Vec<&str> = places.iter().filter_map(|place| place.part.as_deref()).collect();
            return (!parts.is_empty()).then(|| (format!("`{name}` belongs to {}", alternatives(&parts, "or")), None));
        };
        let edit = |span: Span, replacement: String| Some(Edit { span, replacement });
        Some(match part {
            None => {
                let index = self.names.known(meant).and_then(|meant| self.class(id).index.get(&meant).copied());
                if let Some(index) = index {
                    self.spoil(id, index, line);
                }
                (format!("it is called `{meant}` here"), edit(span, meant.clone()))
            }
            Some(part) if *is_attribute => {
                let value = first_value.filter(|_| !has_block);
                let edit = value.and_then(|value| edit(Span { end: value.start, ..span }, format!("{part} {meant}=")));
                (format!("write `{part} {meant}=…`"), edit)
            }
            Some(part) => {
                let written = self.sources.text(whole);
                let edit = edit(whole, format!("{part} {{ {written}; }}")).filter(|_| !has_block);
                (format!("it stands in `{part}`: `{part} {{ {meant} …; }}`"), edit)
            }
        })
    }

    /// Where something of this name is, inside the parts of a class.
    fn places_of(&mut self, id: ClassId, name: &str) -> Vec<Place> {
        let foreign = FOREIGN.iter().find(|(foreign, _)| *foreign == name).map(|(_, meant)| *meant);
        let (part, wanted) = match foreign.map(|meant| meant.split_once('.').ok_or(meant)) {
            None => (None, name),
            Some(Ok((part, attribute))) => (Some(part), attribute),
            Some(Err(meant)) => {
                let known = self.names.known(meant).is_some_and(|meant| self.class(id).index.contains_key(&meant));
                let place = Place { part: None, name: meant.to_owned(), is_attribute: true };
                return if known { vec![place] } else { Vec::new() };
            }
        };
        let wanted = self.names.intern(wanted);
        let mut places = Vec::new();
        for index in 0..self.class(id).members.len() {
            let member = &self.class(id).members[index];
            let own = self.text(member.name).to_owned();
            if part.is_some_and(|part| part != own) {
                continue;
            }
            let Some(inner) = self.class_of_part(id, index) else { continue };
            let Some(found) = self.class(inner).member(wanted) else { continue };
            let is_attribute = match &found.content {
                Content::Leaf(Leaf { declaration: Some(declaration), .. }) => !declaration.positional,
                Content::Items(_) => false,
                _ => continue,
            };
            let in_items = matches!(self.class(id).members[index].content, Content::Items(_));
            if !in_items {
                places.push(Place { part: Some(own), name: self.text(wanted).to_owned(), is_attribute });
            }
        }
        places
    }

    /// What a record or a component of a class has, by its declaration or kind.
    fn class_of_part(&mut self, id: ClassId, index: usize) -> Option<ClassId> {
        let declared = match &self.class(id).members[index].content {
            Content::Record(record) => {
                record.declarations.first().map(|(layer, declared)| (*layer, declared.statement))
            }
            Content::Child(child) => {
                let word = self.statements[child.creations.first()?.1].word();
                let class = self.kind_class(word)?;
                if self.class(class).members.is_empty() {
                    self.fill(class);
                }
                return Some(class);
            }
            Content::Items(_) | Content::Leaf(_) => None,
        };
        let (layer, statement) = declared?;
        Some(self.declared_class(id, index, layer, statement))
    }

    /// The attribute of a class that a literal is most likely for: `size` for `"1GiB"` of a volume. Of several of one
    /// type the first; where types differ nothing is guessed, nor from what reads as a text.
    fn attribute_for(&self, class: ClassId, literal: &Literal) -> Option<Symbol> {
        let reads = |ty: &Type| {
            !matches!(ty, Type::Boolean | Type::Text | Type::Word | Type::Any | Type::Image | Type::HostName)
                && !matches!(ty, Type::List(_))
                && !ty.reads_expressions()
                && ty.read(&literal.token).is_ok()
        };
        let mut found = self.class(class).members.iter().filter_map(|member| match &member.content {
            Content::Leaf(Leaf { declaration: Some(declaration), .. }) if reads(&declaration.ty) => {
                Some((member.name, &declaration.ty))
            }
            _ => None,
        });
        let (first, ty) = found.next()?;
        found.all(|(_, other)| other == ty).then_some(first)
    }

    /// The advice for a value that a component cannot take: the attribute that it is for, where that is plain.
    pub(crate) fn with_attribute_for(
        &self,
        class: Option<ClassId>,
        literal: &Literal,
        error: Diagnostic,
    ) -> Diagnostic {
        match class.and_then(|class| self.attribute_for(class, literal)) {
            Some(attribute) => {
                let attribute = self.text(attribute);
                let start = Span { end: literal.span.start, ..literal.span };
                error
                    .help(format!("write `{attribute}={}`", self.sources.text(literal.span)))
                    .suggest(start, format!("{attribute}="))
            }
            None => error.help("attributes are written inside the block, or as `name=value`"),
        }
    }

    /// The kind's class of a member that is a component.
    pub(crate) fn kind_of_child(&mut self, id: ClassId, index: usize) -> Option<ClassId> {
        matches!(self.class(id).members[index].content, Content::Child(_)).then(|| self.class_of_part(id, index))?
    }

    /// A value too many that is the name of an attribute, with the value behind it: `for "1h"` for `for="1h"`. The
    /// member, the place, and how it is written.
    pub(crate) fn property_without_equals(
        &self,
        id: ClassId,
        statement: StatementId,
        at: usize,
    ) -> Option<(usize, Span, String)> {
        let arguments = &self.statements[statement].arguments;
        let (name, value) = (arguments.get(at)?, arguments.get(at + 1)?);
        let Token::Text(text) = &name.token else { return None };
        let index = self.class(id).index.get(&self.names.known(text)?).copied()?;
        let Content::Leaf(Leaf { declaration: Some(_), .. }) = &self.class(id).members[index].content else {
            return None;
        };
        let span = Span { end: value.span.end, ..name.span };
        Some((index, span, format!("{text}={}", self.sources.text(value.span))))
    }
}
