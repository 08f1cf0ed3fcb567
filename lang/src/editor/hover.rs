//! What stands at a place, in words.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::compose::schema::Declaration;
use crate::compose::{ClassId, Content, Leaf, Role};
use crate::editor::Hover;
use crate::editor::place::Spot;
use crate::evaluate::instance::Children;
use crate::expression::ast::Root;
use crate::reference;
use crate::resolver::Resolver;
use crate::source::{FileId, Span};
use crate::statement::StatementId;
use crate::symbol::Symbol;
use crate::types::Type;
use crate::value::Value;
use crate::words;

/// How many values of alike components are shown.
const SHOWN: usize = 3;

impl Resolver<'_> {
    /// What stands at a byte of a file.
    pub(super) fn hover_at(&mut self, file: FileId, at: usize) -> Option<Hover> {
        let (span, markdown) = match self.spot(file, at)? {
            Spot::Name(statement, segment) => {
                let span = self.statements[statement].path[segment].1;
                (span, self.hover_name(statement, segment, file)?)
            }
            Spot::Value(statement, argument) => self.hover_value(statement, argument, file, at)?,
        };
        Some(Hover { range: span.start..span.end, markdown })
    }

    fn hover_name(&mut self, statement: StatementId, segment: usize, file: FileId) -> Option<String> {
        let path = self.path_up_to(statement, segment);
        let line = &self.statements[statement];
        let word = self.text(line.word()).to_owned();
        let around = line.parent;
        let is_property = line.is_property;
        let classes = self.classes_with(around, file);
        let found = classes.iter().find_map(|class| {
            let (class, index) = self.class_member(*class, &path)?;
            Some((class, index))
        });
        if let Some((class, index)) = found {
            let mut text = self.member_markdown(class, index);
            self.add_values(&mut text, &classes, &path);
            return Some(text);
        }
        if path.len() == 1 && !is_property {
            // A word that creates a component: what its kind is; its name tells what it is itself.
            if let Some(kind) = reference::kind(&word) {
                return Some(kind_markdown(&kind));
            }
        }
        word_markdown(&word).filter(|_| path.len() == 1)
    }

    fn hover_value(
        &mut self,
        statement: StatementId,
        argument: usize,
        file: FileId,
        at: usize,
    ) -> Option<(Span, String)> {
        let line = &self.statements[statement];
        let word = self.text(line.word()).to_owned();
        let span = line.arguments[argument].span;
        let around = line.parent;
        if let Some(reference) = self.reference_at(statement, argument, at) {
            let mut text = match self.denoted(&reference) {
                Some((class, index)) => self.member_markdown(class, index),
                None => root_markdown(&reference.root)?.to_owned(),
            };
            // What a condition sees has a value only where it is judged.
            if !matches!(reference.root, Root::Variable(_)) {
                let values = self.reference_values(&reference, SHOWN);
                self.add_pairs(&mut text, &values, true);
            }
            return Some((reference.span, text));
        }
        if word == "extends" {
            let (name, _) = self.plain_text(statement, argument)?;
            if let Some(kind) = reference::kind(&name) {
                return Some((span, kind_markdown(&kind)));
            }
            let place = self.prototype_at(statement, argument, file)?;
            return Some((span, format!("```kdl\n{}\n```", self.line_of(place))));
        }
        if word == "type"
            && let Some((name, _)) = self.plain_text(statement, argument)
        {
            if let Some(kind) = reference::kind(&name) {
                return Some((span, kind_markdown(&kind)));
            }
            let ty = Type::from_name(&name, |_| false)?;
            return Some((span, format!("**{name}**: {}", ty.example())));
        }
        // The name of a component that is created here, or the value of an attribute.
        if argument == 0
            && reference::kind(&word).is_some()
            && let Some(name) = self.named(statement)
        {
            let classes = self.classes_with(around, file);
            let (class, index) = classes.iter().find_map(|class| self.class_member(*class, &[name]))?;
            let mut text = self.member_markdown(class, index);
            self.add_paths(&mut text, &classes, &[name]);
            return Some((span, text));
        }
        let segment = self.statements[statement].path.len() - 1;
        self.hover_name(statement, segment, file).map(|text| (span, text))
    }

    /// The line of source that a place stands on.
    fn line_of(&self, place: Span) -> String {
        let source = self.sources.get(place.file);
        source.line(source.position(place.start).line).trim().trim_end_matches('{').trim_end().to_owned()
    }

    /// What a member is.
    fn member_markdown(&mut self, class: ClassId, index: usize) -> String {
        let member = &self.class(class).members[index];
        let name = self.text(member.name).to_owned();
        match &member.content {
            Content::Leaf(Leaf { declaration: Some(declaration), .. }) => {
                let declaration = Arc::clone(declaration);
                self.attribute_markdown(&declaration)
            }
            Content::Leaf(leaf) => {
                let what = if leaf.role == Role::Output { "output" } else { "let" };
                format!("**{name}**: a `{what}`")
            }
            Content::Record(record) => {
                let doc = record.declarations.first().map(|(_, record)| self.doc_of(record.statement));
                format!("**{name}**: {}", doc.unwrap_or_default())
            }
            Content::Items(items) => {
                let doc = items.declarations.first().map(|(_, item)| self.doc_of(item.statement));
                format!("**{name}**: {} (any number)", doc.unwrap_or_default())
            }
            Content::Child(child) => {
                let word = child.creations.first().map(|creation| self.statements[creation.1].word());
                let word = word.map_or("component", |word| self.text(word));
                let line = self.line_of(member.span);
                format!("**{name}**: a {word}\n\n```kdl\n{line}\n```")
            }
        }
    }

    fn attribute_markdown(&mut self, declaration: &Declaration) -> String {
        let schema = self.attribute_schema(declaration);
        let mut text = format!("**{}**: {}; {}", schema.name, schema.accepts(), schema.otherwise());
        if !schema.doc.is_empty() {
            let _ = write!(text, "\n\n{}", schema.doc);
        }
        text
    }

    /// The values of a member in the components that a text ends up in.
    fn add_values(&mut self, text: &mut String, classes: &[ClassId], path: &[Symbol]) {
        let mut values = Vec::new();
        let mut count = 0;
        for class in classes {
            let (instances, all) = self.instances_of(*class);
            count += all;
            for instance in instances {
                let Some((at, index)) = self.instance_member(instance, path) else { continue };
                let span = self.class_of(at).members[index].span;
                if let Ok(value) = self.value(at, index, span) {
                    let name = self.text(self.class_of(at).members[index].name).to_owned();
                    let parent = self.instance_path(at);
                    values.push((if parent.is_empty() { name } else { format!("{parent}.{name}") }, value));
                }
            }
        }
        values.sort_by(|a, b| a.0.cmp(&b.0));
        self.add_pairs(text, &values, false);
        if count > values.len().min(SHOWN) && values.len() > SHOWN {
            let _ = write!(text, "\n\nand {} more", count - SHOWN);
        }
    }

    fn add_pairs(&mut self, text: &mut String, values: &[(String, Value)], is_reference: bool) {
        for (path, value) in values.iter().take(SHOWN) {
            let shown: String = value.to_string().chars().take(200).collect();
            let live = if value.is_live() { ", known while running" } else { "" };
            match (is_reference, path.is_empty()) {
                (true, false) => {
                    let _ = write!(text, "\n\n= `{shown}`{live} (in `{path}`)");
                }
                (true, true) => {
                    let _ = write!(text, "\n\n= `{shown}`{live}");
                }
                (false, _) => {
                    let _ = write!(text, "\n\n`{path}` = `{shown}`{live}");
                }
            }
        }
    }

    /// The paths of the components that a member is.
    fn add_paths(&mut self, text: &mut String, classes: &[ClassId], path: &[Symbol]) {
        for class in classes {
            let (instances, _) = self.instances_of(*class);
            let Some(instance) = instances.first() else { continue };
            let Some((at, index)) = self.instance_member(*instance, path) else { continue };
            let span = self.class_of(at).members[index].span;
            let children: Vec<_> = match self.children(at, index, span) {
                Ok(Children::One(child)) => vec![child],
                Ok(Children::Many(children)) => children.to_vec(),
                _ => Vec::new(),
            };
            let shown: Vec<String> =
                children.iter().take(SHOWN).map(|child| format!("`{}`", self.instance_path(*child))).collect();
            if !shown.is_empty() {
                let more = children.len() - shown.len();
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let _ = write!(text, "\n\n{}{more}", shown.join(", "));
                return;
            }
        }
    }
}

/// What a kind is.
fn kind_markdown(kind: &reference::Schema) -> String {
    let mut text = format!("**{}**: {}", kind.name, kind.doc);
    if !kind.contains.is_empty() {
        let _ = write!(text, "\n\nMay contain `{}`.", kind.contains.join("`, `"));
    }
    let needed: Vec<&str> = kind.attributes.iter().filter(|a| a.is_needed()).map(|a| a.name.as_str()).collect();
    if !needed.is_empty() {
        let _ = write!(text, "\n\nMust be given: `{}`.", needed.join("`, `"));
    }
    text
}

/// What a path begins with that is no member.
fn root_markdown(root: &Root) -> Option<&'static str> {
    Some(match root {
        Root::This => "**this**: the component at hand",
        Root::Parent => "**parent**: the component around",
        Root::Pool => "**pool**: the pool around",
        Root::Index => "**index**: the number of the instance around",
        Root::Each => "**each**: the row of the instance around",
        Root::Variable(_) => "known where the condition is judged",
        Root::Local(_) => "one value of the list",
        Root::Namespace { .. } => "an imported file",
        Root::Member { .. } => "a part of a value",
        Root::Unresolved | Root::Poison => return None,
    })
}

/// What a word of the language means.
pub(super) fn word_markdown(word: &str) -> Option<String> {
    words::find(word).map(|word| format!("**{}** `{}`: {}", word.word, word.form, word.doc))
}
