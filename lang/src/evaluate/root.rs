//! The top of a file as a component.

use std::sync::Arc;

use crate::compose::layers::{Fragment, Frame, Frames, LayerSet, Origin, Piece, Stack};
use crate::compose::{Class, ClassId, Content, Flavor};
use crate::diagnostic::Diagnostic;
use crate::resolver::Resolver;
use crate::source::{FileId, Span};
use crate::statement::StatementId;

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
        let mut at = stack.add(vec![piece], beneath, Origin::Body);
        let overlays = if self.main == Some(file) { self.overlays.clone() } else { Vec::new() };
        for overlay in overlays {
            let mut beneath = LayerSet::default();
            beneath.insert(at);
            let piece = Piece { fragment: Fragment::File(overlay), frames: Arc::clone(&frames), replaces: false };
            at = stack.add(vec![piece], beneath, Origin::Body);
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

    /// Kind and name of what stands at the top of a file and is no pool.
    pub(crate) fn other_components(&mut self, file: FileId) -> Vec<(String, String)> {
        let class = self.file_class(file);
        let kinds: Vec<String> = self.class(class).contains.iter().map(|kind| self.text(*kind).to_owned()).collect();
        let mut others = Vec::new();
        for kind in kinds.into_iter().filter(|kind| kind != "pool") {
            others.extend(self.components(file, &kind).into_iter().map(|(_, name)| (kind.clone(), name)));
        }
        others
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
