//! What a word of the language leads to: for `tycoon explain`.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::expression::functions::Function;
use crate::nearest::nearest;
use crate::reference::{AttributeSchema, Schema, any_kind, kind, kinds};
use crate::standard;
use crate::types::Type;
use crate::words::{self, WORDS, Word};

/// What a word, or a path such as `domain.memory` or `pool.place.require`, leads to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// A kind, record or item.
    Schema(Schema),
    /// An attribute.
    Attribute(AttributeSchema),
    /// A word of the language itself.
    Word(Word),
    /// A type of values, with how they look.
    Type {
        /// Its name.
        name: String,
        /// How its values look.
        example: String,
    },
    /// A function of expressions.
    Function {
        /// How a call looks.
        usage: String,
        /// What it does.
        doc: String,
    },
    /// What stands at one place only, which was not named whole.
    At {
        /// The whole path.
        path: String,
        /// What stands there.
        found: Box<Found>,
    },
    /// What stands at several places: their whole paths, and what is at each.
    Places(Vec<(String, String)>),
    /// Several of these.
    Several(Vec<Found>),
}

/// Finds what a word or a path leads to. A path may begin with a kind (`domain.ready.tcp`), or further in
/// (`ready.tcp`, `budget`).
///
/// # Errors
/// The names that are nearest to what was not found; empty where none is near.
pub fn find(path: &str) -> Result<Found, Vec<String>> {
    let first = path.split('.').next().unwrap_or_default();
    if let Some(schema) = any_kind(first, true) {
        return within(schema, path);
    }
    let mut found = Vec::new();
    found.extend(words::find(path).map(|word| Found::Word(*word)));
    if let (Some(ty), false) = (Type::from_name(path, |_| false), path.contains('.')) {
        found.push(Found::Type { name: path.to_owned(), example: ty.example().to_owned() });
    }
    let function = Function::ALL.iter().find(|function| function.name() == path && path != "fill");
    found.extend(
        function.map(|function| Found::Function { usage: function.usage().into(), doc: function.doc().into() }),
    );
    let places = Places::ending_with(path);
    match &places.found[..] {
        [] => {}
        [(place, _)] => {
            let at = find(place)?;
            found.push(Found::At { path: place.clone(), found: Box::new(at) });
        }
        _ => found.push(Found::Places(places.found)),
    }
    match found.len() {
        0 => Err(near(path, first, &places.names)),
        1 => Ok(found.remove(0)),
        _ => Ok(Found::Several(found)),
    }
}

/// The names nearest to one that leads nowhere.
fn near(path: &str, first: &str, inside: &BTreeSet<String>) -> Vec<String> {
    let kinds = standard::KINDS.iter().map(|(name, _)| *name);
    let names = kinds.chain(Type::names()).chain(WORDS.iter().map(|word| word.word));
    let names = names.chain(Function::ALL.iter().map(|function| function.name()));
    let mut all: Vec<&str> = names.collect();
    all.extend(inside.iter().map(String::as_str));
    let rest = path.strip_prefix(first).unwrap_or_default();
    nearest(first, all).map(|near| format!("{near}{rest}")).into_iter().collect()
}

/// Follows a path inside the kind that it begins with.
fn within(mut schema: Schema, path: &str) -> Result<Found, Vec<String>> {
    let mut parts = path.split('.');
    let mut walked = parts.next().unwrap_or_default().to_owned();
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none()
            && let Some(attribute) = schema.attributes.iter().find(|attribute| attribute.name == part)
        {
            return Ok(Found::Attribute(attribute.clone()));
        }
        let child = schema.children.iter().find(|(_, name)| name == part).map(|(word, _)| word.clone());
        let inner = schema.records.iter().chain(&schema.items).find(|inner| inner.name == part).cloned();
        let inner = inner.or_else(|| child.and_then(|word| kind(&word)));
        let contained = || schema.contains.iter().find(|word| *word == part).and_then(|word| kind(word));
        match inner.or_else(contained) {
            Some(inner) => schema = inner,
            // Every component has these.
            None if parts.peek().is_none() && is_for_components(part) => {
                return words::find(part).map(|word| Found::Word(*word)).ok_or_else(Vec::new);
            }
            None => {
                let known = schema.attributes.iter().map(|attribute| attribute.name.as_str());
                let known = known.chain(schema.records.iter().chain(&schema.items).map(|inner| inner.name.as_str()));
                let known = known.chain(schema.children.iter().map(|(_, name)| name.as_str()));
                return Err(nearest(part, known).into_iter().map(|near| format!("{walked}.{near}")).collect());
            }
        }
        walked = format!("{walked}.{part}");
    }
    Ok(Found::Schema(schema))
}

/// True for what may stand where a component of any kind is created.
fn is_for_components(word: &str) -> bool {
    matches!(word, "count" | "each" | "need" | "if" | "extends")
}

/// The places inside the kinds with a certain name, and all names there are.
struct Places {
    ending: String,
    found: Vec<(String, String)>,
    names: BTreeSet<String>,
}

impl Places {
    fn ending_with(path: &str) -> Self {
        let mut places = Self { ending: format!(".{path}"), found: Vec::new(), names: BTreeSet::new() };
        for kind in kinds() {
            places.look_into(&kind, &kind.name);
        }
        places
    }

    fn look_into(&mut self, schema: &Schema, path: &str) {
        for attribute in &schema.attributes {
            self.note(format!("{path}.{}", attribute.name), &attribute.name, &attribute.doc);
        }
        for part in schema.records.iter().chain(&schema.items) {
            let inner = format!("{path}.{}", part.name);
            self.note(inner.clone(), &part.name, &part.doc);
            self.look_into(part, &inner);
        }
    }

    fn note(&mut self, path: String, name: &str, doc: &str) {
        self.names.insert(name.to_owned());
        if path.ends_with(&self.ending) {
            self.found.push((path, doc.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &str) -> String {
        describe(&find(path))
    }

    fn describe(found: &Result<Found, Vec<String>>) -> String {
        match found {
            Ok(Found::Schema(schema)) => format!("schema {}", schema.name),
            Ok(Found::Attribute(attribute)) => format!("attribute {} {}", attribute.name, attribute.accepts()),
            Ok(Found::Type { name, .. }) => format!("type {name}"),
            Ok(Found::Word(word)) => format!("word {}", word.word),
            Ok(Found::Function { usage, .. }) => format!("function {usage}"),
            Ok(Found::At { path, found }) => format!("{path}: {}", describe(&Ok((**found).clone()))),
            Ok(Found::Places(places)) => {
                let paths: Vec<&str> = places.iter().map(|(path, _)| path.as_str()).collect();
                format!("places {}", paths.join(" "))
            }
            Ok(Found::Several(several)) => {
                let all: Vec<String> = several.iter().map(|found| describe(&Ok(found.clone()))).collect();
                all.join(", ")
            }
            Err(near) => format!("nothing, perhaps {near:?}"),
        }
    }

    #[test]
    fn a_path_leads_to_kinds_records_attributes_and_types() {
        assert_eq!(name("domain"), "schema domain");
        assert_eq!(name("host-facts.cpus"), "attribute cpus number");
        assert_eq!(name("domain.vcpus"), "attribute vcpus integer, 1 to 512");
        assert_eq!(name("domain.place.require"), "schema require");
        assert_eq!(name("domain.root.size"), "attribute size bytes, 1MiB to 64TiB");
        assert_eq!(name("pool.domain.memory"), "attribute memory bytes, 1MiB to 64TiB");
        assert_eq!(name("bytes"), "type bytes");
        assert_eq!(name("domian"), "nothing, perhaps [\"domain\"]");
        assert_eq!(name("domain.memroy"), "nothing, perhaps [\"domain.memory\"]");
        assert_eq!(name("quux"), "nothing, perhaps []");
    }

    #[test]
    fn words_of_the_language_and_functions_are_found() {
        assert_eq!(name("let"), "word let");
        assert_eq!(name("assert"), "word assert");
        assert_eq!(name("(final)"), "word (final)");
        assert_eq!(name("count"), "word count, function count(list) or count(list, x => condition)");
        assert_eq!(name("domain.count"), "word count");
        assert_eq!(name("sum"), "function sum(list)");
        assert_eq!(name("asert"), "nothing, perhaps [\"assert\"]");
    }

    #[test]
    fn a_part_is_found_without_its_kind() {
        assert_eq!(name("budget"), "pool.budget: schema budget");
        assert_eq!(name("ready"), "domain.ready: schema ready");
        assert_eq!(name("ready.tcp"), "domain.ready.tcp: attribute tcp integer, 1 to 65535");
        assert_eq!(name("vcpus"), "domain.vcpus: attribute vcpus integer, 1 to 512");
        assert_eq!(name("avoid"), "places domain.place.avoid group.place.avoid pool.place.avoid");
        assert_eq!(name("budgte"), "nothing, perhaps [\"budget\"]");
    }
}
