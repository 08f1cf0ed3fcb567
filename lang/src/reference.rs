//! What the kinds have, read from the standard library: for the manual, `tycoon explain domain`, and editors.

use std::sync::Arc;

use serde::Serialize;

use crate::compose::schema::{Declaration, Liveness};
use crate::compose::{ClassId, Content, Leaf};
use crate::options::Options;
use crate::resolver::Resolver;
use crate::source::MemoryLoader;
use crate::standard;
use crate::statement::StatementId;
use crate::types::{Type, show_token};

/// A kind, record or item with everything it has.
#[derive(Clone, Debug, Serialize)]
pub struct Schema {
    /// Its name.
    pub name: String,
    /// What it is.
    pub doc: String,
    /// The kinds that may be created in it.
    pub contains: Vec<String>,
    /// Its attributes, positional ones first.
    pub attributes: Vec<AttributeSchema>,
    /// Its records: at most one of each.
    pub records: Vec<Schema>,
    /// Its items: any number of each.
    pub items: Vec<Schema>,
    /// What stands around it and may stand in it again: a sequence holds the `steps` that it is one of.
    pub holds: Vec<String>,
    /// The components that every one has: word and name.
    pub children: Vec<(String, String)>,
}

/// An attribute of a kind.
#[derive(Clone, Debug, Serialize)]
pub struct AttributeSchema {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: String,
    /// True where its value stands behind the word of its record or item.
    pub positional: bool,
    /// Its default as it is written; `None` where it must be given or may be missing.
    pub default: Option<String>,
    /// True where nothing need be written.
    pub optional: bool,
    /// True where it is known only while running unless it is written.
    pub live: bool,
    /// The least value, as it is written.
    pub min: Option<String>,
    /// The greatest value, as it is written.
    pub max: Option<String>,
    /// How its values look: "write a number with its unit, such as …".
    pub example: String,
    /// Its choices, if they are listed.
    pub one_of: Vec<String>,
    /// What it is.
    pub doc: String,
}

/// All kinds that can be created, in the order of their names.
pub fn kinds() -> Vec<Schema> {
    standard::KINDS.iter().filter_map(|(name, _)| kind(name)).collect()
}

/// A kind that can be created; `None` where there is no such kind.
pub fn kind(name: &str) -> Option<Schema> {
    any_kind(name, false)
}

/// A kind, also one that only others are made of, such as `placement` or `host-facts`.
pub(crate) fn any_kind(name: &str, also_abstract: bool) -> Option<Schema> {
    let (options, loader) = (Options::default(), MemoryLoader::new());
    crate::load::on_large_stack(|| {
        let mut resolver = Resolver::new(&options, &loader);
        standard::text(name)?;
        let symbol = resolver.names.intern(name);
        let class = resolver.kind_class(symbol)?;
        let statement = resolver.kind_statement(class)?;
        if !also_abstract && resolver.property(statement, "abstract").is_some() {
            return None;
        }
        Some(resolver.schema(class, statement, &mut Vec::new()))
    })
}

impl Resolver<'_> {
    /// `around` are the kinds whose parts are being listed further out.
    fn schema(&mut self, class: ClassId, statement: StatementId, around: &mut Vec<StatementId>) -> Schema {
        if self.class(class).members.is_empty() {
            self.fill(class);
        }
        let name = self.plain_text(statement, 0).map(|(name, _)| name.to_string()).unwrap_or_default();
        let contains = self.class(class).contains.iter().map(|kind| self.text(*kind).to_owned()).collect();
        let mut schema = Schema {
            name,
            doc: self.doc_of(statement),
            contains,
            attributes: Vec::new(),
            records: Vec::new(),
            items: Vec::new(),
            holds: Vec::new(),
            children: Vec::new(),
        };
        for index in 0..self.class(class).members.len() {
            let member = &self.class(class).members[index];
            let name = self.text(member.name).to_owned();
            match &member.content {
                Content::Leaf(Leaf { declaration: Some(declaration), .. }) => {
                    schema.attributes.push(self.attribute_schema(&Arc::clone(declaration)));
                }
                Content::Leaf(_) => {}
                Content::Child(child) => {
                    let word = child
                        .creations
                        .first()
                        .map(|creation| self.text(self.statements[creation.1].word()).to_owned());
                    schema.children.push((word.unwrap_or_default(), name));
                }
                Content::Record(record) => {
                    if let Some((layer, statement)) = record.declarations.first().map(|(l, d)| (*l, d.statement)) {
                        let part = self.part_schema(class, index, layer, statement, around);
                        schema.records.push(part);
                    }
                }
                Content::Items(items) => {
                    let Some((layer, statement)) = items.declarations.first().map(|(l, d)| (*l, d.statement)) else {
                        continue;
                    };
                    match self.statements[statement].parent.filter(|kind| around.contains(kind)) {
                        Some(kind) => {
                            let name = self.plain_text(kind, 0).map(|(name, _)| name.to_string()).unwrap_or_default();
                            if !schema.holds.contains(&name) {
                                schema.holds.push(name);
                            }
                        }
                        None => {
                            let part = self.part_schema(class, index, layer, statement, around);
                            schema.items.push(part);
                        }
                    }
                }
            }
        }
        schema.attributes.sort_by_key(|attribute| !attribute.positional);
        schema
    }

    /// A record or item, as it is declared.
    fn part_schema(
        &mut self,
        parent: ClassId,
        index: usize,
        layer: usize,
        statement: StatementId,
        around: &mut Vec<StatementId>,
    ) -> Schema {
        let class = self.declared_class(parent, index, layer, statement);
        let open = around.len();
        around.extend(self.statements[statement].parent);
        let schema = self.schema(class, statement, around);
        around.truncate(open);
        schema
    }

    pub(crate) fn doc_of(&self, statement: StatementId) -> String {
        let doc = self.property(statement, "doc").and_then(|property| self.plain_text(property, 0));
        doc.map(|(doc, _)| doc.to_string()).unwrap_or_default()
    }

    pub(crate) fn attribute_schema(&self, declaration: &Declaration) -> AttributeSchema {
        let default = declaration.default.and_then(|property| self.statements[property].arguments.first());
        let default = default.map(|literal| match literal.reading {
            crate::statement::Reading::Plain => show_token(&literal.token),
            _ => self.sources.text(literal.span).to_owned(),
        });
        AttributeSchema {
            name: self.text(declaration.name).to_owned(),
            ty: match &declaration.ty {
                Type::List(inner) => format!("{inner} …"),
                other => other.to_string(),
            },
            positional: declaration.positional,
            default,
            optional: declaration.optional,
            live: declaration.liveness == Liveness::Source,
            min: declaration.least.as_ref().map(|(value, _)| value.to_string()),
            max: declaration.most.as_ref().map(|(value, _)| value.to_string()),
            example: declaration.ty.element().example().to_owned(),
            one_of: declaration.one_of.iter().map(|(value, _)| value.to_string()).collect(),
            doc: declaration.doc.as_deref().unwrap_or_default().to_owned(),
        }
    }
}

impl Schema {
    /// The schema as Markdown.
    pub fn to_markdown(&self) -> String {
        let mut out = format!("### {}\n\n{}.", self.name, capital(&self.doc));
        if !self.contains.is_empty() {
            out.push_str(&format!(" May contain `{}`.", self.contains.join("`, `")));
        }
        if !self.children.is_empty() {
            let children: Vec<String> =
                self.children.iter().map(|(word, name)| format!("the {word} `{name}`")).collect();
            out.push_str(&format!(" Every one has {}.", children.join(" and ")));
        }
        out.push_str("\n\n");
        let mut rows = Vec::new();
        self.rows("", &mut rows);
        if !rows.is_empty() {
            out.push_str("| | value | default | |\n|---|---|---|---|\n");
            rows.iter().for_each(|row| out.push_str(row));
            out.push('\n');
        }
        out
    }

    fn rows(&self, indent: &str, rows: &mut Vec<String>) {
        for attribute in &self.attributes {
            let value = attribute.accepts();
            let default = match &attribute.default {
                Some(default) => format!("`{default}`"),
                None if attribute.live => "live".into(),
                None if attribute.optional => "–".into(),
                None => "must be given".into(),
            };
            let name = if attribute.positional {
                format!("{} *(behind the word)*", attribute.name)
            } else {
                attribute.name.clone()
            };
            rows.push(format!("| {indent}{name} | {value} | {default} | {} |\n", attribute.doc));
        }
        for (parts, what) in [(&self.records, "record"), (&self.items, "item")] {
            for part in parts {
                let holds = part.holds.iter().map(|kind| format!(", holds {kind}")).collect::<String>();
                rows.push(format!("| {indent}**{}** | {what}{holds} | | {} |\n", part.name, part.doc));
                part.rows(&format!("{indent}· "), rows);
            }
        }
    }
}

impl AttributeSchema {
    /// What may be written: its choices, or its type with its bounds.
    pub fn accepts(&self) -> String {
        if !self.one_of.is_empty() {
            return self.one_of.join(", ");
        }
        match (&self.min, &self.max) {
            (Some(min), Some(max)) => format!("{}, {min} to {max}", self.ty),
            (Some(min), None) => format!("{}, from {min}", self.ty),
            (None, Some(max)) => format!("{}, up to {max}", self.ty),
            (None, None) => self.ty.clone(),
        }
    }

    /// True where something must be written.
    pub fn is_needed(&self) -> bool {
        self.default.is_none() && !self.live && !self.optional
    }

    /// Where the value comes from if nothing is written.
    pub fn otherwise(&self) -> String {
        match &self.default {
            Some(default) => format!("default {default}"),
            None if self.live => "known while running".into(),
            None if self.optional => "optional".into(),
            None => "must be given".into(),
        }
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_described_with_its_records_and_items() {
        let domain = kind("domain").unwrap();
        assert_eq!(domain.contains, ["volume", "nic"]);
        assert_eq!(domain.children, [("volume".to_owned(), "root".to_owned()), ("nic".to_owned(), "eth0".to_owned())]);
        let memory = domain.attributes.iter().find(|attribute| attribute.name == "memory").unwrap();
        assert_eq!((memory.ty.as_str(), memory.default.as_deref(), memory.optional), ("bytes", None, false));
        let place = domain.records.iter().find(|record| record.name == "place").unwrap();
        assert!(place.items.iter().any(|item| item.name == "require"));
        assert!(kind("store").is_none() && kind("nothing").is_none());
    }

    #[test]
    fn steps_within_steps_are_listed_once() {
        let workflow = kind("workflow").unwrap();
        let sequence = workflow.items.iter().find(|item| item.name == "sequence").unwrap();
        assert_eq!((sequence.items.len(), sequence.holds.as_slice()), (0, ["steps".to_owned()].as_slice()));
        let attempt = workflow.items.iter().find(|item| item.name == "try").unwrap();
        assert_eq!(attempt.items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>(), ["on-failure"]);
    }
}
