//! The classes of records and items inside a class.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compose::layers::{Fragment, Frame, LayerSet, Origin, Piece, Stack, inner_frames};
use crate::compose::{Class, ClassId, Content, Flavor};
use crate::resolver::Resolver;
use crate::source::Span;
use crate::statement::StatementId;

/// Pieces with the layers of the parent that contribute them.
type Contributions = Vec<(usize, Piece)>;

impl Resolver<'_> {
    /// Adds the layers of what a `record` or `item` declaration says; gives the set of them.
    pub(crate) fn declaration_layers(
        &mut self,
        declarations: &[(usize, StatementId, Arc<[Frame]>)],
        stack: &mut Stack,
    ) -> LayerSet {
        let mut all = LayerSet::default();
        for (_, statement, frames) in declarations {
            let mut beneath = LayerSet::default();
            if let Some((base, _)) = self.property(*statement, "extends").and_then(|p| self.plain_text(p, 0)) {
                let base = self.names.intern(&base);
                if let Some(base) = self.kind_class(base) {
                    let layers = Arc::clone(&self.class(base).layers);
                    beneath = stack.add_prototype(&layers, Piece::clone);
                    all.union(&beneath);
                }
            }
            let piece = Piece { fragment: Fragment::Body(*statement), frames: inner_frames(frames), replaces: false };
            let at = stack.add(vec![piece], beneath, Origin::Schema);
            all.insert(at);
        }
        all
    }

    /// The frames of a layer's first piece, for what is declared in it.
    pub(crate) fn layer_frames(&self, class: ClassId, layer: usize) -> Arc<[Frame]> {
        let piece = self.class(class).layers[layer].pieces.first();
        piece.map(|piece| Arc::clone(&piece.frames)).unwrap_or_default()
    }

    /// The class that a `record` or `item` declaration makes by itself, for the reference.
    pub(crate) fn declared_class(
        &mut self,
        parent: ClassId,
        index: usize,
        layer: usize,
        statement: StatementId,
    ) -> ClassId {
        let mut stack = Stack::default();
        let frames = self.layer_frames(parent, layer);
        self.declaration_layers(&[(layer, statement, frames)], &mut stack);
        let name = self.class(parent).members[index].name;
        let created = self.statements[statement].name_span;
        let class = Class::new(Flavor::Record, name, [].into(), Some(parent), created, None, stack.finish());
        let id = self.add_class(class);
        self.fill(id);
        id
    }

    /// The class of a record; `None` where nobody wrote it.
    pub(crate) fn record_class(&mut self, parent: ClassId, index: usize) -> Option<ClassId> {
        let Content::Record(record) = &self.class(parent).members[index].content else { return None };
        if let Some(class) = record.class {
            return class;
        }
        let pieces = record.pieces.clone();
        let declarations: Vec<(usize, StatementId)> =
            record.declarations.iter().map(|(layer, declaration)| (*layer, declaration.statement)).collect();
        let class = if pieces.is_empty() {
            None
        } else {
            let declarations: Vec<_> =
                declarations.into_iter().map(|(layer, id)| (layer, id, self.layer_frames(parent, layer))).collect();
            let mut stack = Stack::default();
            let base = self.declaration_layers(&declarations, &mut stack);
            let parent_layers = Arc::clone(&self.class(parent).layers);
            Self::stack_pieces(&parent_layers, &pieces, &mut stack, &base, &[]);
            let name = self.class(parent).members[index].name;
            let created = self.piece_span(&pieces[pieces.len() - 1].1);
            let class = Class::new(Flavor::Record, name, [].into(), Some(parent), created, None, stack.finish());
            let id = self.add_class(class);
            self.fill(id);
            Some(id)
        };
        if let Content::Record(record) = &mut self.class_mut(parent).members[index].content {
            record.class = Some(class);
        }
        if let Some(class) = class {
            self.compose_children(class);
        }
        class
    }

    pub(crate) fn piece_span(&self, piece: &Piece) -> Span {
        match piece.fragment {
            Fragment::Body(statement) | Fragment::Tail(statement, _) => self.statements[statement].name_span,
            Fragment::File(file) => Span::new(file, 0, 0),
        }
    }

    /// One class per item that is written differently.
    pub(crate) fn item_classes(&mut self, parent: ClassId, index: usize) -> Arc<[ClassId]> {
        let Content::Items(items) = &self.class(parent).members[index].content else { return [].into() };
        if let Some(classes) = &items.classes {
            return Arc::clone(classes);
        }
        let pieces = self.kept_items(parent, &items.pieces);
        let declarations = items.declarations.clone();
        let Some((_, declaration)) = declarations.first() else { return [].into() };
        let declaration = Arc::clone(declaration);
        let mut groups: Vec<Contributions> = Vec::new();
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        for (layer, piece) in pieces {
            let key = self.literal_key(&piece, declaration.key.is_some() && !declaration.ordered);
            match key.as_ref().and_then(|key| known.get(key).copied()) {
                Some(known) => groups[known].push((layer, piece)),
                None => {
                    if let Some(key) = key {
                        known.insert(key, groups.len());
                    }
                    groups.push(vec![(layer, piece)]);
                }
            }
        }
        let mut classes = Vec::with_capacity(groups.len());
        for pieces in groups {
            classes.push(self.item_class(parent, index, &pieces));
        }
        let classes: Arc<[ClassId]> = classes.into();
        if let Content::Items(items) = &mut self.class_mut(parent).members[index].content {
            items.classes = Some(Arc::clone(&classes));
        }
        for class in classes.iter() {
            self.compose_children(*class);
        }
        classes
    }

    /// The class of one item from all that says something about it.
    pub(crate) fn item_class(&mut self, parent: ClassId, index: usize, pieces: &[(usize, Piece)]) -> ClassId {
        let member = &self.class(parent).members[index];
        let name = member.name;
        let declarations = match &member.content {
            Content::Items(items) => items.declarations.clone(),
            _ => Vec::new(),
        };
        let ordered = declarations.first().is_some_and(|(_, declaration)| declaration.ordered);
        let declarations: Vec<_> = declarations
            .into_iter()
            .map(|(layer, declaration)| (layer, declaration.statement, self.layer_frames(parent, layer)))
            .collect();
        let mut stack = Stack::default();
        let base = self.declaration_layers(&declarations, &mut stack);
        let parent_layers = Arc::clone(&self.class(parent).layers);
        Self::stack_pieces(&parent_layers, pieces, &mut stack, &base, &[]);
        let created = pieces.last().map_or(self.class(parent).created, |(_, piece)| self.piece_span(piece));
        let mut class = Class::new(Flavor::Item, name, [].into(), Some(parent), created, None, stack.finish());
        class.order = pieces.first().filter(|_| ordered).and_then(|(layer, piece)| match piece.fragment {
            Fragment::Body(statement) => Some((*layer, statement)),
            _ => None,
        });
        let id = self.add_class(class);
        self.fill(id);
        id
    }

    /// The items that no nearer `(replace)` empties.
    pub(crate) fn kept_items(&self, parent: ClassId, pieces: &[(usize, Piece)]) -> Vec<(usize, Piece)> {
        let layers = &self.class(parent).layers;
        let replaced =
            |layer: usize| pieces.iter().any(|(other, piece)| piece.replaces && layers[*other].beneath.contains(layer));
        pieces.iter().filter(|(layer, _)| !replaced(*layer)).cloned().collect()
    }

    /// What tells an item apart, where that is written plainly: its first value.
    pub(crate) fn literal_key(&self, piece: &Piece, keyed: bool) -> Option<String> {
        let Fragment::Body(statement) = piece.fragment else { return None };
        let first = self.statements[statement].arguments.first().filter(|_| keyed)?;
        match first.reading {
            crate::statement::Reading::Plain => Some(format!("{:?}", first.token)),
            _ => None,
        }
    }
}
