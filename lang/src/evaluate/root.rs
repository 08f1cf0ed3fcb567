//! The top of a file as a component.

use std::sync::Arc;

use crate::compose::layers::{Fragment, Frame, Frames, LayerSet, Origin, Piece, Stack};
use crate::compose::{Class, ClassId, Content, Flavor};
use crate::diagnostic::Diagnostic;
use crate::nearest::{alternatives, nearest};
use crate::resolver::Resolver;
use crate::source::{FileId, Span};
use crate::statement::{Literal, Reading, Statement, StatementId, Token};

impl Resolver<'_> {
    /// The class of what stands at the top of a file.
    pub(crate) fn file_class(&mut self, file: FileId) -> ClassId {
        if let Some(class) = self.units.get(&file).and_then(|unit| unit.class) {
            return class;
        }
        let kind = self.names.intern("file");
        let mut stack = Stack::default();
        let mut beneath = LayerSet::default();
        if let Some(kind) = self.kind_class(kind) {
            let layers = Arc::clone(&self.class(kind).layers);
            beneath = stack.add_prototype(&layers, Piece::clone);
        }
        let frames: Frames = [Frame::Root(file)].into();
        let piece = Piece { fragment: Fragment::File(file), frames: Arc::clone(&frames), replaces: false };
        let at = stack.add(vec![piece], beneath, Origin::Body);
        let main = self.overlay.is_some() && self.main == Some(file);
        if let Some(overlay) = self.overlay.filter(|_| main) {
            let mut beneath = LayerSet::default();
            beneath.insert(at);
            let piece = Piece { fragment: Fragment::File(overlay), frames, replaces: false };
            stack.add(vec![piece], beneath, Origin::Body);
        }
        let class = Class::new(Flavor::File, kind, [].into(), None, Span::new(file, 0, 0), None, stack.finish());
        let id = self.add_class(class);
        if let Some(unit) = self.units.get_mut(&file) {
            unit.class = Some(id);
        }
        self.fill(id);
        self.compose_children(id);
        id
    }

    /// Composes the templates of a file that nobody has used, so that their errors are seen too.
    pub(crate) fn compose_templates(&mut self, file: FileId) {
        let statements = self.units.get(&file).map(|unit| unit.statements.clone()).unwrap_or_default();
        for statement in statements {
            let line = &self.statements[statement];
            if line.is_single() && self.text(line.word()) == "template" {
                let span = line.span;
                if let Some(class) = self.template_class(statement, span) {
                    self.plan(class);
                    self.compile_class(class);
                }
            }
        }
    }

    /// Puts the params given by the caller into a layer of their own above the main file.
    pub(crate) fn add_params(&mut self, main: FileId) {
        if self.options.params.is_empty() {
            return;
        }
        let mut text = String::new();
        let lines: Vec<(String, String)> = self.options.params.clone();
        let mut places = Vec::new();
        for (name, value) in &lines {
            let start = text.len();
            text.push_str(name);
            let middle = text.len();
            text.push('=');
            text.push_str(&value.replace(['\n', '\r'], " "));
            places.push((start, middle, text.len()));
            text.push('\n');
        }
        let file = self.sources.add("command line", Arc::from(text));
        let declared = self.declared_params(main);
        let mut statements = Vec::new();
        for ((name, value), (start, middle, end)) in lines.iter().zip(places) {
            let name_span = Span::new(file, start, middle);
            let span = Span::new(file, start, end);
            if !declared.contains(name) {
                let error = Diagnostic::new("E0506", format!("the file has no param `{name}`"), name_span, "unknown");
                self.report(match nearest(name, declared.iter().map(String::as_str)) {
                    Some(meant) => error.help(format!("did you mean `{meant}`?")),
                    None if declared.is_empty() => error.help("the file has no params"),
                    None => error.help(format!("it has {}", alternatives(&declared, "and"))),
                });
                continue;
            }
            let symbol = self.names.intern(name);
            let literal = Literal {
                token: Token::Text(Arc::from(value.as_str())),
                reading: Reading::Foreign,
                span: Span::new(file, middle + 1, end),
                text_start: Some(middle + 1),
                id: self.statements.next_literal(),
            };
            statements.push(self.statements.add(Statement {
                file,
                annotation: None,
                path: vec![(symbol, name_span)],
                name_span,
                arguments: vec![literal],
                body: Vec::new(),
                has_block: false,
                is_property: false,
                parent: None,
                span,
            }));
        }
        self.add_overlay(file, statements);
    }

    /// Puts the statements of a test's `given` into the layer above the main file.
    pub(crate) fn add_given(&mut self, main: FileId, given: &[StatementId]) {
        let file = match self.overlay {
            Some(file) => file,
            None => {
                let file = self.sources.add("given", Arc::from(""));
                self.add_overlay(file, Vec::new());
                file
            }
        };
        debug_assert_eq!(self.main, Some(main));
        if let Some(unit) = self.units.get_mut(&file) {
            unit.statements.extend_from_slice(given);
        }
    }

    fn add_overlay(&mut self, file: FileId, statements: Vec<StatementId>) {
        self.add_unit(file, "command line", statements, false);
        self.overlay = Some(file);
    }

    fn declared_params(&self, file: FileId) -> Vec<String> {
        let statements = self.units.get(&file).map(|unit| unit.statements.as_slice()).unwrap_or_default();
        let params = statements.iter().filter(|id| self.text(self.statements[**id].word()) == "param");
        params.filter_map(|id| self.plain_text(*id, 0).map(|(name, _)| name.to_string())).collect()
    }

    /// The pools at the top of a file: member and name.
    pub(crate) fn pools(&mut self, file: FileId) -> Vec<(usize, String)> {
        self.components(file, "pool")
    }

    /// The components of a kind at the top of a file: member and name.
    pub(crate) fn components(&mut self, file: FileId, kind: &str) -> Vec<(usize, String)> {
        let class = self.file_class(file);
        let members = self.class(class).members.iter().enumerate();
        let is_of_kind = |content: &Content| match content {
            Content::Child(child) => {
                child.creations.iter().any(|(_, statement, _)| self.text(self.statements[*statement].word()) == kind)
            }
            _ => false,
        };
        let found = members.filter(|(_, member)| is_of_kind(&member.content));
        found.map(|(index, member)| (index, self.text(member.name).to_owned())).collect()
    }

    /// Warns of what is written but not used.
    pub(crate) fn unused(&mut self, file: FileId) {
        let Some(unit) = self.units.get(&file) else { return };
        let statements = unit.statements.clone();
        let unused: Vec<(String, Span)> = unit
            .imports
            .iter()
            .filter(|(_, import)| !import.used)
            .map(|(name, import)| (self.text(*name).to_owned(), import.span))
            .collect();
        for (name, span) in unused {
            let warning = Diagnostic::new("W0001", format!("the import `{name}` is not used"), span, "not used");
            self.report(warning.help("remove it"));
        }
        // What tests read is known only when they run.
        let mut words = statements.iter().map(|id| self.text(self.statements[*id].word()));
        if !words.any(|word| word == "test") {
            self.unused_values(&statements);
        }
    }

    /// Warns of params and lets of the main file, and of lets inside its components, that nothing reads.
    fn unused_values(&mut self, statements: &[StatementId]) {
        for id in statements {
            let line = &self.statements[*id];
            let word = Arc::clone(self.names.text(line.word()));
            let (body, at_top) = (line.body.clone(), line.parent.is_none());
            let counts = &*word == "let" || (&*word == "param" && at_top);
            if counts
                && line.is_single()
                && !self.used.contains(id)
                && let Some((name, span)) = self.plain_text(*id, 0)
            {
                let warning = Diagnostic::new("W0002", format!("the `{word}` `{name}` is not used"), span, "not used");
                self.report(warning.help("remove it"));
            } else if !matches!(&*word, "let" | "param" | "template" | "import") {
                self.unused_values(&body);
            }
        }
    }
}
