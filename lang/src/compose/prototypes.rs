//! Prototypes: kinds, templates, and components that others extend.

use std::sync::Arc;

use crate::compose::layers::{Fragment, Frame, Frames, LayerSet, Origin, Piece, Stack};
use crate::compose::{Class, ClassId, Composed, Content, Flavor};
use crate::diagnostic::Diagnostic;
use crate::nearest::nearest;
use crate::resolver::Resolver;
use crate::source::{FileId, Span};
use crate::standard;
use crate::statement::StatementId;
use crate::symbol::Symbol;

/// As many steps up as there are.
const TO_THE_TOP: u16 = u16::MAX;

/// What a name after `extends` denotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prototype {
    Kind(Symbol),
    Template(StatementId),
    /// A component created in the surrounding text, and how many classes up its parent is.
    Component {
        name: Symbol,
        hops: u16,
    },
}

impl Resolver<'_> {
    /// The class of a kind; `None` where there is no such kind.
    pub(crate) fn kind_class(&mut self, kind: Symbol) -> Option<ClassId> {
        if let Some(known) = self.kinds.get(&kind) {
            return *known;
        }
        let name = Arc::clone(self.names.text(kind));
        let statement = self.read_kind(&name)?;
        let mut stack = Stack::default();
        let mut beneath = LayerSet::default();
        let mut kinds = vec![kind];
        if let Some((base, _)) = self.property(statement, "extends").and_then(|p| self.plain_text(p, 0)) {
            let base = self.names.intern(&base);
            let base = self.kind_class(base)?;
            kinds.extend(self.class(base).kinds.iter());
            let layers = Arc::clone(&self.class(base).layers);
            beneath = stack.add_prototype(&layers, Piece::clone);
        }
        let file = self.statements[statement].file;
        let frames: Frames = [Frame::Up(0), Frame::Root(file)].into();
        let piece = Piece { fragment: Fragment::Body(statement), frames, replaces: false };
        stack.add(vec![piece], beneath, Origin::Schema);
        let created = self.statements[statement].name_span;
        let class = Class::new(Flavor::Prototype, kind, kinds.into(), None, created, None, stack.finish());
        let id = self.add_class(class);
        self.kinds.insert(kind, Some(id));
        Some(id)
    }

    /// The class of a template; `None` where it is wrong, which has been said.
    pub(crate) fn template_class(&mut self, statement: StatementId, asked: Span) -> Option<ClassId> {
        if let Some(known) = self.templates.get(&statement) {
            return *known;
        }
        if let Some(start) = self.composing.iter().position(|(open, _)| *open == statement) {
            self.prototype_cycle(start, asked);
            return None;
        }
        self.composing.push((statement, asked));
        let class = self.compose_template(statement);
        self.composing.pop();
        self.templates.insert(statement, class);
        if let Some(class) = class {
            self.compose_children(class);
        }
        class
    }

    fn prototype_cycle(&mut self, start: usize, last: Span) {
        let edges: Vec<Span> = self.composing[start + 1..].iter().map(|(_, span)| *span).collect();
        let mut error =
            Diagnostic::new("E0301", "these prototypes extend each other", last, "which leads back to the start");
        for span in edges {
            error = error.label(span, "extended here");
        }
        self.report(error.help("remove one of these `extends`"));
    }

    fn compose_template(&mut self, statement: StatementId) -> Option<ClassId> {
        let (name, name_span) = self.declared_name(statement, "template")?;
        if standard::is_kind(self.text(name)) {
            let message = format!("`{}` is a kind and cannot name a template", self.text(name));
            self.report(Diagnostic::new("E0208", message, name_span, "taken").help("choose another name"));
            return None;
        }
        let file = self.statements[statement].file;
        let extends = self.extends_of(statement);
        if extends.is_empty() {
            let likely = self.likely_kind(statement);
            let kind = likely.map_or("domain", |kind| self.text(kind)).to_owned();
            let message = format!("the template `{}` extends nothing", self.text(name));
            let error = Diagnostic::new("E0306", message, name_span, "a template of what?");
            self.report(
                error
                    .help(format!("say which kind it is for, for example `extends={kind}`"))
                    .suggest(name_span.after(), format!(" extends={kind}")),
            );
        }
        let frames: Frames = [Frame::Up(0), Frame::Root(file)].into();
        let mut stack = Stack::default();
        let mut beneath = LayerSet::default();
        let mut kinds: Option<(Arc<[Symbol]>, Span)> = None;
        let mut sound = !extends.is_empty();
        for (path, span) in extends {
            let prototype = self.find_prototype(&path, span, None, file, None);
            let Some(class) = prototype.and_then(|prototype| self.prototype_class(prototype, span)) else {
                sound = false;
                continue;
            };
            sound &= self.join_kinds(&mut kinds, class, span) && !self.class(class).lacks_prototype;
            let layers = Arc::clone(&self.class(class).layers);
            beneath.union(&stack.add_prototype(&layers, Piece::clone));
        }
        if kinds.is_none() {
            let kind = self.likely_kind(statement)?;
            let class = self.kind_class(kind)?;
            kinds = Some((Arc::clone(&self.class(class).kinds), name_span));
            let layers = Arc::clone(&self.class(class).layers);
            beneath.union(&stack.add_prototype(&layers, Piece::clone));
        }
        let piece = Piece { fragment: Fragment::Body(statement), frames, replaces: false };
        stack.add(vec![piece], beneath, Origin::Template(name));
        let kinds = kinds.map(|(kinds, _)| kinds).unwrap_or_default();
        let mut class = Class::new(Flavor::Prototype, name, kinds, None, name_span, None, stack.finish());
        class.lacks_prototype = !sound;
        let id = self.add_class(class);
        self.fill(id);
        Some(id)
    }

    /// What a template without a known prototype is most likely of, by what stands in it.
    fn likely_kind(&mut self, statement: StatementId) -> Option<Symbol> {
        let kinds = self.deployable_kinds();
        self.kind_by_content(statement, &kinds)
    }

    /// The kinds of several prototypes: one must be an extension of the other.
    fn join_kinds(&mut self, kinds: &mut Option<(Arc<[Symbol]>, Span)>, class: ClassId, span: Span) -> bool {
        let new = Arc::clone(&self.class(class).kinds);
        match kinds {
            None => *kinds = Some((new, span)),
            Some((known, _)) if new.first().is_none_or(|kind| known.contains(kind)) => {}
            Some((known, _)) if known.first().is_none_or(|kind| new.contains(kind)) => *kinds = Some((new, span)),
            Some((known, first)) => {
                let (a, b, first) = (known[0], new[0], *first);
                let message = format!("a {} cannot be a {} as well", self.text(a), self.text(b));
                let error = Diagnostic::new("E0306", message, span, format!("a {}", self.text(b)));
                let error = error.label(first, format!("a {}", self.text(a)));
                self.report(error.help("all prototypes must be of one kind"));
                return false;
            }
        }
        true
    }

    /// The names after `extends=` and in `extends A B`, with their places.
    pub(crate) fn extends_of(&mut self, statement: StatementId) -> Vec<(Arc<str>, Span)> {
        let body = self.statements[statement].body.clone();
        let mut names = Vec::new();
        for id in body {
            if !self.statements[id].is_single() || self.text(self.statements[id].word()) != "extends" {
                continue;
            }
            let span = self.statements[id].span;
            if self.statements[id].arguments.is_empty() {
                let error = Diagnostic::new("E0212", "`extends` needs a name", span, "extends what?");
                self.report(error.help("write `extends A` or `extends A B`"));
            }
            for argument in 0..self.statements[id].arguments.len() {
                match self.plain_text(id, argument) {
                    Some(name) => names.push(name),
                    None => {
                        let span = self.statements[id].arguments[argument].span;
                        let error = Diagnostic::new("E0212", "a prototype is named, not computed", span, "not a name");
                        self.report(error.help("the shape of a pool never depends on values; use `if=` on components"));
                    }
                }
            }
        }
        names
    }

    /// Finds what a name after `extends` denotes: a component created in the text around, a template of the file,
    /// a template of an import, a kind. Reports what it does not find.
    pub(crate) fn find_prototype(
        &mut self,
        name: &str,
        span: Span,
        scope: Option<StatementId>,
        file: FileId,
        frames: Option<&Frames>,
    ) -> Option<Prototype> {
        let symbol = self.names.intern(name);
        if let Some((namespace, member)) = name.split_once('.') {
            return self.find_imported(namespace, member, span, file);
        }
        if let Some(frames) = frames
            && let Some(hops) = self.find_created(symbol, scope, frames)
        {
            return Some(Prototype::Component { name: symbol, hops });
        }
        if let Some(template) = self.units.get(&file).and_then(|unit| unit.templates.get(&symbol)) {
            return Some(Prototype::Template(*template));
        }
        if standard::text(name).is_some() {
            return Some(Prototype::Kind(symbol));
        }
        if let Some(template) = self.misplaced_template(symbol, file) {
            return Some(Prototype::Template(template));
        }
        let mut candidates: Vec<String> = standard::KINDS.iter().map(|(kind, _)| (*kind).to_owned()).collect();
        let unit = self.units.get(&file);
        let templates = unit.map(|unit| unit.templates.keys().copied().collect::<Vec<_>>()).unwrap_or_default();
        candidates.extend(templates.iter().map(|name| self.text(*name).to_owned()));
        let namespaces: Vec<Symbol> = unit.map(|unit| unit.imports.keys().copied().collect()).unwrap_or_default();
        for namespace in namespaces {
            let imported =
                self.units.get(&file).and_then(|unit| unit.imports.get(&namespace)).and_then(|import| import.file);
            let names = imported.and_then(|file| self.units.get(&file)).map(|unit| unit.templates.keys().copied());
            let names: Vec<Symbol> = names.map(Iterator::collect).unwrap_or_default();
            candidates.extend(names.iter().map(|name| format!("{}.{}", self.text(namespace), self.text(*name))));
        }
        let imported = candidates.iter().find(|known| known.rsplit_once('.').is_some_and(|(_, last)| last == name));
        let meant =
            imported.cloned().or_else(|| nearest(name, candidates.iter().map(String::as_str)).map(str::to_owned));
        let error = Diagnostic::new("E0204", format!("there is no template `{name}`"), span, "unknown");
        self.report(match meant {
            Some(meant) => error.help(format!("did you mean `{meant}`?")).suggest(span, meant),
            None => error.help("a prototype is a kind, a template of this file, or `namespace.template` of an import"),
        });
        None
    }

    /// A template inside a component, which has been said to stand in the wrong place.
    fn misplaced_template(&self, name: Symbol, file: FileId) -> Option<StatementId> {
        self.statements.ids().find(|id| {
            let line = &self.statements[*id];
            line.file == file
                && line.parent.is_some()
                && line.is_single()
                && self.text(line.word()) == "template"
                && self.plain_text(*id, 0).is_some_and(|(found, _)| self.names.known(&found) == Some(name))
        })
    }

    fn find_imported(&mut self, namespace: &str, member: &str, span: Span, file: FileId) -> Option<Prototype> {
        let symbol = self.names.intern(namespace);
        let unit = self.units.get_mut(&file)?;
        let Some(import) = unit.imports.get_mut(&symbol) else {
            let known: Vec<Symbol> = unit.imports.keys().copied().collect();
            let known: Vec<String> = known.iter().map(|name| self.text(*name).to_owned()).collect();
            let error =
                Diagnostic::new("E0204", format!("nothing is imported as `{namespace}`"), span, "unknown namespace");
            self.report(match nearest(namespace, known.iter().map(String::as_str)) {
                Some(meant) => {
                    error.help(format!("did you mean `{meant}`?")).suggest(span, format!("{meant}.{member}"))
                }
                None => error.help(format!("add `import \"./file.kdl\" as={namespace}` at the top of the file")),
            });
            return None;
        };
        import.used = true;
        let target = import.file?;
        let member_symbol = self.names.intern(member);
        let found = self.units.get(&target).and_then(|unit| unit.templates.get(&member_symbol));
        if let Some(found) = found {
            return Some(Prototype::Template(*found));
        }
        if self.units.get(&target).is_some_and(|unit| unit.is_broken) {
            return None;
        }
        let known: Vec<Symbol> =
            self.units.get(&target).map(|u| u.templates.keys().copied().collect()).unwrap_or_default();
        let known: Vec<String> = known.iter().map(|name| self.text(*name).to_owned()).collect();
        let place = self.sources.get(target).name.clone();
        let error = Diagnostic::new("E0204", format!("`{place}` has no template `{member}`"), span, "unknown template");
        self.report(match nearest(member, known.iter().map(String::as_str)) {
            Some(meant) => {
                error.help(format!("did you mean `{namespace}.{meant}`?")).suggest(span, format!("{namespace}.{meant}"))
            }
            None => error.help("see which templates the file has"),
        });
        None
    }

    /// How many classes up a component of this name is created in the text around; pools stand at the top of
    /// the file, however far up that is.
    fn find_created(&self, name: Symbol, scope: Option<StatementId>, frames: &Frames) -> Option<u16> {
        let mut scope = scope;
        for frame in frames.iter() {
            match (frame, scope) {
                (Frame::Up(hops), Some(body)) => {
                    if self.statements[body].body.iter().any(|id| self.creates(*id, name)) {
                        return Some(*hops);
                    }
                    scope = self.statements[body].parent;
                }
                (Frame::Root(file), _) => {
                    let statements = &self.units.get(file)?.statements;
                    return statements.iter().any(|id| self.creates(*id, name)).then_some(TO_THE_TOP);
                }
                (Frame::Up(_), None) => return None,
            }
        }
        None
    }

    /// True where a statement, by its form alone, creates a component of this name.
    pub(crate) fn creates(&self, statement: StatementId, name: Symbol) -> bool {
        let line = &self.statements[statement];
        line.is_single()
            && !line.is_property
            && standard::text(self.text(line.word())).is_some()
            && self.plain_text(statement, 0).is_some_and(|(text, _)| self.names.known(&text) == Some(name))
    }

    /// The class of a kind or template.
    pub(crate) fn prototype_class(&mut self, prototype: Prototype, span: Span) -> Option<ClassId> {
        match prototype {
            Prototype::Kind(kind) => self.kind_class(kind),
            Prototype::Template(statement) => self.template_class(statement, span),
            Prototype::Component { .. } => None,
        }
    }

    /// The class of a component that another one extends. `from` is the class that contains the new one.
    pub(crate) fn component_prototype(
        &mut self,
        from: ClassId,
        name: Symbol,
        hops: u16,
        span: Span,
    ) -> Option<ClassId> {
        let mut parent = from;
        for _ in 0..hops {
            match self.class(parent).parent {
                Some(next) => parent = next,
                None if hops == TO_THE_TOP => break,
                None => return None,
            }
        }
        let index = self.class(parent).index.get(&name).copied()?;
        let (composed, creation) = match &self.class(parent).members[index].content {
            Content::Child(child) => (child.composed.clone(), child.creations.first().map(|creation| creation.1)),
            _ => return None,
        };
        if matches!(composed, Composed::Busy) {
            let start = creation.and_then(|creation| self.composing.iter().position(|(open, _)| *open == creation));
            match start {
                Some(start) => self.prototype_cycle(start, span),
                None => {
                    let error =
                        Diagnostic::new("E0301", "a component cannot extend what it is part of", span, "this one");
                    self.report(error.help("move what both need into a template"));
                }
            }
            return None;
        }
        self.child_class(parent, index).map(|(common, _)| common)
    }
}
