//! What could be written at a place.

use std::sync::Arc;

use crate::compose::schema::Declaration;
use crate::compose::{ClassId, Content, Leaf, Role};
use crate::editor::hover::word_markdown;
use crate::editor::mend::{mended, typed};
use crate::editor::{Proposal, ProposalKind, Proposals};
use crate::expression::functions::Function;
use crate::load::on_large_stack;
use crate::options::Options;
use crate::reference;
use crate::resolver::Resolver;
use crate::source::{FileId, LoadError, Loader, normalise_path};
use crate::standard;
use crate::statement::StatementId;
use crate::symbol::Symbol;
use crate::types::Type;

/// The same files, but another text for one of them.
struct Instead<'a> {
    path: String,
    text: &'a str,
    others: &'a dyn Loader,
}

impl Loader for Instead<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, LoadError> {
        if path == self.path { Ok(self.text.as_bytes().to_vec()) } else { self.others.read(path) }
    }
}

/// What is to be completed.
#[derive(Debug, PartialEq, Eq)]
enum Wanted<'a> {
    /// The name of a node; the parts before its last dot.
    Name(Vec<&'a str>),
    /// A property, or the value of the node at this place; the node's name, and its first value if there is one.
    Inside { name: &'a str, first: Option<&'a str>, argument: usize },
    /// The value of a property of a node.
    Property { name: &'a str, property: &'a str },
    /// A name in an expression; the parts before its last dot.
    Expression(Vec<&'a str>),
}

pub(super) fn complete(path: &str, text: &str, loader: &dyn Loader, options: &Options, at: usize) -> Proposals {
    let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let node = typed(text, at);
    let (wanted, word) = wanted(node.before);
    let whole = mended(text, &node, options);
    let instead = Instead { path: normalise_path(path), text: &whole, others: loader };
    let mut list = on_large_stack(|| {
        let mut resolver = Resolver::new(options, &instead);
        let main = resolver.prepare(path);
        resolver.check_file(main, &mut Vec::new());
        let around = resolver.block_around(main, node.start);
        resolver.proposals(main, around, &wanted)
    });
    list.retain(|proposal| proposal.text.starts_with(word));
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|proposal| seen.insert(proposal.text.clone()));
    Proposals { range: at - word.len()..at, list }
}

/// What the text from the start of a node to the cursor asks for, and the word that has been begun.
fn wanted(before: &str) -> (Wanted<'_>, &str) {
    // The open quote, if the cursor stands inside a text.
    let mut open = None;
    for (at, letter) in before.char_indices() {
        if letter == '"' {
            open = if open.is_some() { None } else { Some(at) };
        }
    }
    let outside = &before[..open.unwrap_or(before.len())];
    let mut words = outside.split(|c: char| c.is_whitespace()).filter(|word| !word.is_empty());
    let name = words.next().unwrap_or("");
    let name = name.rsplit_once(')').map_or(name, |(_, name)| name);
    let first = words.clone().find(|word| !word.contains('='));
    let last_space = outside.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let last = &outside[last_space..];
    let computes = last.contains("($)") || last.contains("(f)") || matches!(name, "assert" | "require" | "prefer");
    if open.is_some() || last.ends_with("($)") || last.contains("($)") {
        let start = open.map_or(before.rfind(')').map_or(0, |at| at + 1), |at| at + 1);
        let text = &before[start..];
        let from = text.rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '*')));
        let path = &text[from.map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8))..];
        let (parts, word) = dotted(path);
        if computes || open.is_none() {
            return (Wanted::Expression(parts), word);
        }
    }
    if outside.trim_start() == outside && last_space == 0 && open.is_none() {
        let (parts, word) = dotted(name);
        return (Wanted::Name(parts), word);
    }
    if let Some((property, value)) = last.split_once('=') {
        let value = open.map_or(value, |at| &before[at + 1..]);
        return (Wanted::Property { name, property }, value);
    }
    let complete = outside[..last_space].split_whitespace().skip(1).filter(|word| !word.contains('=')).count();
    let word = open.map_or(last, |at| &before[at + 1..]);
    let first = first.filter(|_| complete > 0);
    (Wanted::Inside { name, first, argument: complete }, word)
}

/// A dotted name: the parts before its last dot, and the rest.
fn dotted(path: &str) -> (Vec<&str>, &str) {
    match path.rsplit_once('.') {
        Some((parts, word)) => (parts.split('.').collect(), word),
        None => (Vec::new(), path),
    }
}

fn word(text: &str) -> Proposal {
    let doc = word_markdown(text).unwrap_or_default();
    Proposal { text: text.to_owned(), kind: ProposalKind::Word, detail: String::new(), doc }
}

fn plain(text: &str, kind: ProposalKind, detail: &str, doc: &str) -> Proposal {
    Proposal { text: text.to_owned(), kind, detail: detail.to_owned(), doc: doc.to_owned() }
}

impl Resolver<'_> {
    fn proposals(&mut self, main: FileId, around: Option<StatementId>, wanted: &Wanted<'_>) -> Vec<Proposal> {
        match wanted {
            Wanted::Name(parts) => self.names_for(main, around, parts),
            Wanted::Inside { name, first, argument } => {
                let mut list = self.values_for(main, around, name, *argument);
                list.extend(self.properties_for(main, around, name, *first));
                list
            }
            Wanted::Property { name, property } => match *property {
                "extends" => self.prototypes(main, around),
                "type" => self.types(),
                "each" => self.visible(main, around, &["let"]),
                _ => {
                    let path: Vec<&str> = name.split('.').collect();
                    let class = self.class_inside(main, around, &path);
                    class.map(|class| self.member_values(main, around, class, property)).unwrap_or_default()
                }
            },
            Wanted::Expression(parts) => self.expression_names(main, around, parts),
        }
    }

    /// The class of the body around the cursor.
    fn class_around(&self, main: FileId, around: Option<StatementId>) -> Option<ClassId> {
        self.classes_with(around, main).first().copied()
    }

    /// The class of what a node of this name is, in the body around it: of what it creates, or of what it amends.
    fn class_inside(&mut self, main: FileId, around: Option<StatementId>, path: &[&str]) -> Option<ClassId> {
        let around = self.class_around(main, around)?;
        let symbols: Vec<Symbol> = path.iter().map(|part| self.names.intern(part)).collect();
        if let Some(class) = self.class_at(around, &symbols) {
            return Some(class);
        }
        let [kind] = &symbols[..] else { return None };
        if !self.class(around).contains.contains(kind) {
            return None;
        }
        let class = self.kind_class(*kind)?;
        if self.class(class).members.is_empty() {
            self.fill(class);
        }
        Some(class)
    }

    fn names_for(&mut self, main: FileId, around: Option<StatementId>, parts: &[&str]) -> Vec<Proposal> {
        let outer = around.map(|around| self.text(self.statements[around].word()).to_owned());
        match outer.as_deref() {
            Some("test") => return ["given", "expect", "expect-error"].map(word).to_vec(),
            Some("param") => return vec![word("one-of")],
            Some("let") => return Vec::new(),
            Some("given") if parts.is_empty() => return self.members(self.file_class_known(main), false),
            _ => {}
        }
        let Some(class) = self.class_around(main, around) else { return Vec::new() };
        if !parts.is_empty() {
            let symbols: Vec<Symbol> = parts.iter().map(|part| self.names.intern(part)).collect();
            let Some(class) = self.class_at(class, &symbols) else { return Vec::new() };
            let mut list = Vec::new();
            let is_number = parts.last().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
            if self.is_several(class) && !is_number {
                list.push(plain("0", ProposalKind::Component, "the first one", ""));
            }
            list.extend(self.members(Some(class), false));
            return list;
        }
        let mut list = self.members(Some(class), true);
        let words: &[&str] = match around {
            None => &["template", "param", "let", "import", "test", "output", "assert"],
            Some(_) => &["extends", "let", "param", "assert", "output"],
        };
        list.extend(words.iter().map(|text| word(text)));
        list
    }

    fn file_class_known(&self, file: FileId) -> Option<ClassId> {
        self.units.get(&file).and_then(|unit| unit.class)
    }

    /// The members of a class, and the kinds that may be created in it.
    fn members(&self, class: Option<ClassId>, create: bool) -> Vec<Proposal> {
        let Some(class) = class else { return Vec::new() };
        let class = self.class(class);
        let mut list = Vec::new();
        for member in &class.members {
            let name = self.text(member.name);
            match &member.content {
                Content::Leaf(Leaf { declaration: Some(declaration), .. }) => {
                    list.push(self.attribute_proposal(declaration))
                }
                Content::Leaf(_) => {}
                Content::Record(record) => {
                    let doc = record.declarations.first().map(|(_, record)| self.doc_of(record.statement));
                    list.push(plain(name, ProposalKind::Part, "at most one", &doc.unwrap_or_default()));
                }
                Content::Items(items) => {
                    let doc = items.declarations.first().map(|(_, item)| self.doc_of(item.statement));
                    list.push(plain(name, ProposalKind::Part, "any number", &doc.unwrap_or_default()));
                }
                Content::Child(child) => {
                    let kind = child.creations.first().map(|creation| self.statements[creation.1].word());
                    let kind = kind.map_or("component", |kind| self.text(kind));
                    list.push(plain(name, ProposalKind::Component, kind, ""));
                }
            }
        }
        if create {
            for kind in &class.contains {
                let name = self.text(*kind);
                let doc = reference::kind(name).map(|kind| kind.doc).unwrap_or_default();
                list.push(plain(name, ProposalKind::Kind, "creates one", &doc));
            }
        }
        list
    }

    fn attribute_proposal(&self, declaration: &Declaration) -> Proposal {
        let schema = self.attribute_schema(declaration);
        let detail = format!("{}; {}", schema.accepts(), schema.otherwise());
        plain(&schema.name, ProposalKind::Attribute, &detail, &schema.doc)
    }

    /// The properties that a node may have.
    fn properties_for(
        &mut self,
        main: FileId,
        around: Option<StatementId>,
        name: &str,
        first: Option<&str>,
    ) -> Vec<Proposal> {
        let fixed: &[&str] = match name {
            "import" => &["as=", "sha256="],
            "param" => &["type=", "default=", "min=", "max=", "doc=", "list=", "optional=", "context="],
            "let" => &["type="],
            "assert" => &["else="],
            "template" => &["extends="],
            _ => &[],
        };
        if !fixed.is_empty() {
            return fixed.iter().map(|text| word(text)).collect();
        }
        let path: Vec<&str> = name.split('.').collect();
        let Some(class) = self.class_inside(main, around, &path) else { return Vec::new() };
        let creates = standard::is_kind(name);
        // A component that is created has a name first.
        if creates && first.is_none() {
            return Vec::new();
        }
        let mut list: Vec<Proposal> = self
            .members(Some(class), false)
            .into_iter()
            .filter(|proposal| proposal.kind == ProposalKind::Attribute)
            .map(|proposal| Proposal { text: format!("{}=", proposal.text), ..proposal })
            .collect();
        if creates {
            let words = ["extends", "count", "each", "need", "if"];
            list.extend(words.iter().map(|text| Proposal { text: format!("{text}="), ..word(text) }));
        }
        list
    }

    /// The values that may stand behind a node's name.
    fn values_for(&mut self, main: FileId, around: Option<StatementId>, name: &str, argument: usize) -> Vec<Proposal> {
        if name == "extends" {
            return self.prototypes(main, around);
        }
        let Some(class) = self.class_around(main, around) else { return Vec::new() };
        let path: Vec<Symbol> = name.split('.').map(|part| self.names.intern(part)).collect();
        let Some((class, index)) = self.class_member(class, &path) else { return Vec::new() };
        if let Content::Leaf(Leaf { declaration: Some(declaration), .. }) = &self.class(class).members[index].content {
            let declaration = Arc::clone(declaration);
            return self.declared_values(main, around, &declaration);
        }
        // A record or item: its values stand in the order of its positional attributes.
        let Some(inside) = self.inside(class, index) else { return Vec::new() };
        let positional = self.class(inside).members.iter().filter_map(|member| match &member.content {
            Content::Leaf(Leaf { declaration: Some(declaration), .. }) if declaration.positional => {
                Some(Arc::clone(declaration))
            }
            _ => None,
        });
        let positional: Vec<Arc<Declaration>> = positional.collect();
        match positional.get(argument).or(positional.last()) {
            Some(declaration) if argument < positional.len() || matches!(declaration.ty, Type::List(_)) => {
                let declaration = Arc::clone(declaration);
                self.declared_values(main, around, &declaration)
            }
            _ => Vec::new(),
        }
    }

    /// The values of an attribute of a class.
    fn member_values(
        &mut self,
        main: FileId,
        around: Option<StatementId>,
        class: ClassId,
        attribute: &str,
    ) -> Vec<Proposal> {
        let name = self.names.intern(attribute);
        let Some(member) = self.class(class).member(name) else { return Vec::new() };
        let Content::Leaf(Leaf { declaration: Some(declaration), .. }) = &member.content else { return Vec::new() };
        let declaration = Arc::clone(declaration);
        self.declared_values(main, around, &declaration)
    }

    fn declared_values(
        &mut self,
        main: FileId,
        around: Option<StatementId>,
        declaration: &Declaration,
    ) -> Vec<Proposal> {
        let schema = self.attribute_schema(declaration);
        let value = |text: &str| plain(text, ProposalKind::Value, "", "");
        if !schema.one_of.is_empty() {
            return schema.one_of.iter().map(|text| value(text)).collect();
        }
        match declaration.ty.element() {
            Type::Boolean => vec![value("#true"), value("#false")],
            Type::Component(_) => self.visible(main, around, &[]),
            _ => Vec::new(),
        }
    }

    /// What may stand behind `extends`.
    fn prototypes(&self, main: FileId, around: Option<StatementId>) -> Vec<Proposal> {
        let mut list = Vec::new();
        let template = |name: String| plain(&name, ProposalKind::Kind, "template", "");
        if let Some(unit) = self.units.get(&main) {
            list.extend(unit.templates.keys().map(|name| template(self.text(*name).to_owned())));
            for (namespace, import) in &unit.imports {
                let imported = import.file.and_then(|file| self.units.get(&file));
                let names = imported.into_iter().flat_map(|unit| unit.templates.keys());
                list.extend(names.map(|name| template(format!("{}.{}", self.text(*namespace), self.text(*name)))));
            }
        }
        list.extend(self.visible(main, around, &[]));
        list.extend(reference::kinds().iter().map(|kind| plain(&kind.name, ProposalKind::Kind, "kind", &kind.doc)));
        list
    }

    fn types(&self) -> Vec<Proposal> {
        let types = Type::names().map(|name| {
            let example = Type::from_name(name, |_| false).map_or("", |ty| ty.example());
            plain(name, ProposalKind::Value, "type", example)
        });
        let kinds = reference::kinds().into_iter().map(|kind| plain(&kind.name, ProposalKind::Kind, "kind", &kind.doc));
        types.chain(kinds).collect()
    }

    /// The names that the text around declares with one of these words; without any, the components it creates.
    fn visible(&self, main: FileId, around: Option<StatementId>, words: &[&str]) -> Vec<Proposal> {
        let mut list = Vec::new();
        let mut bodies: Vec<&[StatementId]> = Vec::new();
        let mut at = around;
        while let Some(body) = at {
            bodies.push(&self.statements[body].body);
            at = self.statements[body].parent;
        }
        bodies.push(self.units.get(&main).map(|unit| unit.statements.as_slice()).unwrap_or_default());
        for id in bodies.into_iter().flatten() {
            let line = &self.statements[*id];
            let word = self.text(line.word());
            let creates = words.is_empty() && standard::text(word).is_some();
            if line.is_single()
                && !line.is_property
                && (creates || words.contains(&word))
                && let Some((name, _)) = self.plain_text(*id, 0)
            {
                let kind = if creates { ProposalKind::Component } else { ProposalKind::Name };
                list.push(plain(&name, kind, word, ""));
            }
        }
        list
    }

    fn expression_names(&mut self, main: FileId, around: Option<StatementId>, parts: &[&str]) -> Vec<Proposal> {
        let Some((first, rest)) = parts.split_first() else {
            let mut list = self.visible(main, around, &["param", "let"]);
            list.extend(self.visible(main, around, &[]));
            list.extend(
                ["this", "parent", "pool", "index", "each"].map(|text| plain(text, ProposalKind::Word, "", "")),
            );
            let functions = Function::ALL.iter().filter(|function| function.name() != "fill");
            list.extend(
                functions
                    .map(|function| plain(function.name(), ProposalKind::Function, function.usage(), function.doc())),
            );
            return list;
        };
        let Some(class) = self.class_around(main, around) else { return Vec::new() };
        let this = self.component_class(class);
        let start = match *first {
            "this" => Some(this),
            "parent" => self.class(this).parent,
            "host" => self.facts("host-facts"),
            "domain" => self.facts("domain-facts"),
            _ => {
                let name = self.names.intern(first);
                let mut at = Some(this);
                while let Some(class) = at.filter(|class| !self.class(*class).index.contains_key(&name)) {
                    at = self.class(class).parent;
                }
                let member = at.and_then(|class| self.class(class).index.get(&name).map(|index| (class, *index)));
                match (*first, member) {
                    ("pool", None) => self.pool_class(this),
                    (_, Some((class, index))) => self.inside(class, index),
                    (_, None) => None,
                }
            }
        };
        let symbols: Vec<Symbol> = rest.iter().map(|part| self.names.intern(part)).collect();
        let class = start.and_then(|start| self.class_at(start, &symbols));
        let Some(class) = class else { return Vec::new() };
        let mut list = Vec::new();
        if self.is_several(class) && parts.last().is_some_and(|last| *last != "*" && last.parse::<u32>().is_err()) {
            list.push(plain("*", ProposalKind::Component, "all of them", ""));
            list.push(plain("0", ProposalKind::Component, "the first one", ""));
        }
        list.extend(self.members(Some(class), false));
        let lets = self
            .class(class)
            .members
            .iter()
            .filter(|member| matches!(&member.content, Content::Leaf(Leaf { role: Role::Let | Role::Output, .. })));
        list.extend(lets.map(|member| plain(self.text(member.name), ProposalKind::Name, "", "")));
        list
    }

    fn pool_class(&self, from: ClassId) -> Option<ClassId> {
        let mut at = Some(from);
        while let Some(class) = at {
            if self.class(class).kinds.first().is_some_and(|kind| self.text(*kind) == "pool") {
                return Some(class);
            }
            at = self.class(class).parent;
        }
        None
    }

    fn facts(&mut self, kind: &str) -> Option<ClassId> {
        let kind = self.names.intern(kind);
        let class = self.kind_class(kind)?;
        if self.class(class).members.is_empty() {
            self.fill(class);
        }
        Some(class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_says_what_is_wanted() {
        assert_eq!(wanted("mem"), (Wanted::Name(vec![]), "mem"));
        assert_eq!(wanted("wn.0.mem"), (Wanted::Name(vec!["wn", "0"]), "mem"));
        assert_eq!(wanted("(default)vc"), (Wanted::Name(vec![]), "vc"));
        assert_eq!(wanted("start "), (Wanted::Inside { name: "start", first: None, argument: 0 }, ""));
        assert_eq!(wanted("domain web im"), (Wanted::Inside { name: "domain", first: Some("web"), argument: 1 }, "im"));
        assert_eq!(wanted("domain web extends=Wo"), (Wanted::Property { name: "domain", property: "extends" }, "Wo"));
        assert_eq!(wanted("memory ($)ba"), (Wanted::Expression(vec![]), "ba"));
        assert_eq!(wanted("memory ($)\"2 * wn.0.me"), (Wanted::Expression(vec!["wn", "0"]), "me"));
        assert_eq!(wanted("require \"host.cp"), (Wanted::Expression(vec!["host"]), "cp"));
        assert_eq!(wanted("hostname (f)\"a-${th"), (Wanted::Expression(vec![]), "th"));
    }
}
