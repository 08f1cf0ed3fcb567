//! Where something is declared.

use crate::compose::{ClassId, Content, Leaf};
use crate::editor::place::Spot;
use crate::resolver::Resolver;
use crate::source::{FileId, Span};
use crate::standard;
use crate::statement::StatementId;

impl Resolver<'_> {
    /// Where that is declared what stands at a byte of a file.
    pub(super) fn definition_at(&mut self, file: FileId, at: usize) -> Option<Span> {
        match self.spot(file, at)? {
            Spot::Name(statement, segment) => {
                let path = self.path_up_to(statement, segment);
                let around = self.statements[statement].parent;
                let classes = self.classes_with(around, file);
                let found = classes.into_iter().find_map(|class| self.class_member(class, &path));
                found.map(|(class, index)| self.declaration_span(class, index))
            }
            Spot::Value(statement, argument) => {
                let word = self.text(self.statements[statement].word()).to_owned();
                match word.as_str() {
                    "extends" => self.prototype_at(statement, argument, file),
                    "import" => self.imported_at(statement, file),
                    _ => {
                        let reference = self.reference_at(statement, argument, at)?;
                        if let (crate::expression::ast::Root::Namespace { file }, [_]) =
                            (&reference.root, &reference.segments[..])
                        {
                            return Some(Span::new(*file, 0, 0));
                        }
                        let (class, index) = self.denoted(&reference)?;
                        Some(self.declaration_span(class, index))
                    }
                }
            }
        }
    }

    /// Where a member is declared or created.
    pub(super) fn declaration_span(&self, class: ClassId, index: usize) -> Span {
        let member = &self.class(class).members[index];
        match &member.content {
            Content::Leaf(Leaf { declaration: Some(declaration), .. }) => declaration.span,
            Content::Record(record) => match record.declarations.first() {
                Some((_, record)) => self.statements[record.statement].name_span,
                None => member.span,
            },
            Content::Items(items) => match items.declarations.first() {
                Some((_, item)) => self.statements[item.statement].name_span,
                None => member.span,
            },
            _ => member.span,
        }
    }

    /// The template, component or kind that a name behind `extends` denotes.
    pub(super) fn prototype_at(&self, statement: StatementId, argument: usize, file: FileId) -> Option<Span> {
        let (name, _) = self.plain_text(statement, argument)?;
        let place = |id: StatementId| self.plain_text(id, 0).map(|(_, span)| span);
        if let Some((namespace, template)) = name.split_once('.') {
            let namespace = self.names.known(namespace)?;
            let imported = self.units.get(&file)?.imports.get(&namespace)?.file?;
            let template = self.names.known(template)?;
            return self.units.get(&imported)?.templates.get(&template).copied().and_then(place);
        }
        let symbol = self.names.known(&name)?;
        // The extending component itself stands in the innermost body; what it extends stands around it.
        let mut around = self.statements[statement].parent.and_then(|owner| self.statements[owner].parent);
        while let Some(body) = around {
            let found = self.statements[body].body.iter().copied().find(|id| self.creates(*id, symbol));
            if let Some(found) = found {
                return place(found);
            }
            around = self.statements[body].parent;
        }
        let unit = self.units.get(&file)?;
        let template = unit.templates.get(&symbol).copied();
        let template = template.or_else(|| unit.statements.iter().copied().find(|id| self.creates(*id, symbol)));
        if let Some(found) = template {
            return place(found);
        }
        standard::text(&name)?;
        None
    }

    /// The file that an import leads to.
    fn imported_at(&self, statement: StatementId, file: FileId) -> Option<Span> {
        let property = self.property(statement, "as")?;
        let namespace = self.named(property)?;
        let target = self.units.get(&file)?.imports.get(&namespace)?.file?;
        Some(Span::new(target, 0, 0))
    }
}
