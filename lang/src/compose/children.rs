//! The classes inside a class: of components, records and items.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compose::layers::{Fragment, Frame, Layer, LayerSet, Origin, Piece, Stack};
use crate::compose::{Class, ClassId, Composed, Content, Flavor};
use crate::diagnostic::Diagnostic;
use crate::resolver::Resolver;
use crate::source::Span;
use crate::statement::StatementId;
use crate::symbol::Symbol;

/// The class of all instances of a child, and the classes of certain ones.
pub(crate) type ChildClasses = (ClassId, Arc<[(Symbol, Span, ClassId)]>);

/// A piece with the layer of the parent that contributes it.
type Contribution = (usize, Piece);

impl Resolver<'_> {
    /// Composes everything inside a class, at all depths.
    pub(crate) fn compose_children(&mut self, id: ClassId) {
        for index in 0..self.class(id).members.len() {
            match &self.class(id).members[index].content {
                Content::Leaf(_) => {}
                Content::Record(_) => {
                    self.record_class(id, index);
                }
                Content::Items(_) => {
                    self.item_classes(id, index);
                }
                Content::Child(_) => {
                    self.child_class(id, index);
                }
            }
        }
    }

    /// The layers that pieces of a parent's layers make in a child. `own` gives what lies beneath each parent
    /// layer's contribution besides: the layers of its prototypes.
    pub(crate) fn stack_pieces(
        parent_layers: &[Layer],
        pieces: &[(usize, Piece)],
        stack: &mut Stack,
        base: &LayerSet,
        prototypes: &[(usize, LayerSet)],
    ) {
        let mut place: Vec<Option<usize>> = vec![None; parent_layers.len()];
        for (at, parent) in parent_layers.iter().enumerate() {
            let own: Vec<Piece> =
                pieces.iter().filter(|(layer, _)| *layer == at).map(|(_, piece)| piece.clone()).collect();
            if own.is_empty() {
                continue;
            }
            let mut beneath = base.clone();
            parent.beneath.iter().filter_map(|below| place[below]).for_each(|below| beneath.insert(below));
            prototypes.iter().filter(|(layer, _)| *layer == at).for_each(|(_, set)| beneath.union(set));
            let origin = if parent.origin == Origin::Schema { Origin::Body } else { parent.origin };
            place[at] = Some(stack.add(own, beneath, origin));
        }
    }

    /// The classes of a child component. `None` where it could not be composed, which has been said.
    pub(crate) fn child_class(&mut self, parent: ClassId, index: usize) -> Option<ChildClasses> {
        let Content::Child(child) = &mut self.class_mut(parent).members[index].content else { return None };
        match &child.composed {
            Composed::Yes { common, indexed } => return Some((*common, Arc::clone(indexed))),
            Composed::Busy | Composed::Failed => return None,
            Composed::No => child.composed = Composed::Busy,
        }
        let asked = child.creations.first().map(|creation| creation.1);
        let span = self.class(parent).members[index].span;
        if let Some(creation) = asked {
            let place = self.property(creation, "extends").map_or(span, |property| self.statements[property].span);
            self.composing.push((creation, place));
        }
        let composed = self.compose_child(parent, index);
        if asked.is_some() {
            self.composing.pop();
        }
        let state = match &composed {
            Some((common, indexed)) => Composed::Yes { common: *common, indexed: Arc::clone(indexed) },
            None => Composed::Failed,
        };
        if let Content::Child(child) = &mut self.class_mut(parent).members[index].content {
            child.composed = state;
        }
        if let Some((common, indexed)) = &composed {
            self.compose_children(*common);
            for (_, _, class) in indexed.iter() {
                self.share_untouched(*common, *class);
                self.compose_children(*class);
            }
        }
        composed
    }

    fn compose_child(&mut self, parent: ClassId, index: usize) -> Option<ChildClasses> {
        let member = &self.class(parent).members[index];
        let (name, span) = (member.name, member.span);
        let Content::Child(child) = &member.content else { return None };
        let creations = child.creations.clone();
        let pieces = child.pieces.clone();
        let has_each = !child.each.writes.is_empty();
        let parent_layers = Arc::clone(&self.class(parent).layers);
        let (_, creation, _) = creations.last()?;
        let creation = *creation;
        self.check_containment(parent, creation, span)?;

        let mut stack = Stack::default();
        let kind = self.statements[creation].word();
        let kind_class = self.kind_class(kind)?;
        if self.property(self.kind_statement(kind_class)?, "abstract").is_some() {
            let message = format!("a {} cannot be created", self.text(kind));
            self.report(
                Diagnostic::new("E0202", message, span, "an abstract kind").help("choose a kind that extends it"),
            );
            return None;
        }
        let kinds = Arc::clone(&self.class(kind_class).kinds);
        let kind_layers = Arc::clone(&self.class(kind_class).layers);
        let base = stack.add_prototype(&kind_layers, Piece::clone);
        let mut prototypes = Vec::new();
        let mut sound = true;
        for (layer, creation, piece) in &creations {
            let (set, found) = self.creation_prototypes(parent, *creation, piece, &kinds, &mut stack);
            prototypes.push((*layer, set));
            sound &= found;
        }
        let is_index = |piece: &Piece| match piece.fragment {
            Fragment::Tail(statement, offset) => {
                let part = self.statements[statement].path[offset].0;
                self.text(part).bytes().all(|b| b.is_ascii_digit())
            }
            _ => false,
        };
        let (mut indexed, mut common): (Vec<_>, Vec<_>) = pieces.into_iter().partition(|(_, piece)| is_index(piece));
        if has_each {
            let (keyed, rest) =
                self.split_keyed(parent, name, &kinds, &parent_layers, common, &stack, &base, &prototypes, sound);
            indexed.extend(keyed);
            common = rest;
        }
        Self::stack_pieces(&parent_layers, &common, &mut stack, &base, &prototypes);
        let layers = stack.finish();
        let mut class = Class::new(
            Flavor::Component,
            name,
            Arc::clone(&kinds),
            Some(parent),
            span,
            Some(creation),
            Arc::clone(&layers),
        );
        class.lacks_prototype = !sound;
        let common_id = self.add_class(class);
        self.fill(common_id);
        let indexed = self.indexed_classes(parent, &indexed, common_id, &parent_layers);
        Some((common_id, indexed))
    }

    /// The statement that declares the kind of a kind's class.
    pub(crate) fn kind_statement(&self, kind: ClassId) -> Option<StatementId> {
        match self.class(kind).layers.last()?.pieces.first()?.fragment {
            Fragment::Body(statement) => Some(statement),
            _ => None,
        }
    }

    /// A component that contains itself would never end, and containment has a depth.
    fn check_containment(&mut self, parent: ClassId, creation: StatementId, span: Span) -> Option<()> {
        let mut depth = 0;
        let mut at = Some(parent);
        let mut circle = vec![creation];
        while let Some(class) = at {
            if self.class(class).creator == Some(creation) {
                circle.sort();
                if !self.circles.insert(circle) {
                    return None;
                }
                let message =
                    format!("the component `{}` contains itself without end", self.text(self.class(class).name));
                let error = Diagnostic::new("E0302", message, span, "created inside itself again");
                let extends = self.property(creation, "extends").map(|property| self.statements[property].span);
                let error = error.label_if(extends, "because of this prototype");
                self.report(error.help("a prototype must not create a component that extends the prototype"));
                return None;
            }
            depth += 1;
            circle.extend(self.class(class).creator);
            at = self.class(class).parent;
        }
        if depth > self.options.max_depth {
            let message = format!("components are nested more than {} deep", self.options.max_depth);
            self.report(Diagnostic::new("E0104", message, span, "one too many").help("split the description"));
            return None;
        }
        Some(())
    }

    /// Adds the layers of what a creating statement extends; gives the set of them, and whether all was found.
    fn creation_prototypes(
        &mut self,
        parent: ClassId,
        creation: StatementId,
        piece: &Piece,
        kinds: &[Symbol],
        stack: &mut Stack,
    ) -> (LayerSet, bool) {
        let file = self.statements[creation].file;
        let scope = self.statements[creation].parent;
        let outer: Vec<Frame> = piece.frames[1..]
            .iter()
            .map(|frame| match frame {
                Frame::Up(hops) => Frame::Up(hops.saturating_sub(1)),
                root => *root,
            })
            .collect();
        let outer = outer.into();
        let mut all = LayerSet::default();
        let mut sound = true;
        for (name, span) in self.extends_of(creation) {
            let Some(prototype) = self.find_prototype(&name, span, scope, file, Some(&outer)) else {
                sound = false;
                continue;
            };
            let (class, hops) = match prototype {
                crate::compose::prototypes::Prototype::Component { name, hops } => {
                    (self.component_prototype(parent, name, hops, span), Some(hops))
                }
                other => (self.prototype_class(other, span), None),
            };
            let Some(class) = class else {
                sound = false;
                continue;
            };
            let prototype_kind = self.class(class).kinds.first().copied();
            sound &= !self.class(class).lacks_prototype;
            let fits = prototype_kind.is_some_and(|kind| kinds.contains(&kind));
            if !fits && self.class(class).lacks_prototype {
                // Its kind is only a guess.
                continue;
            }
            if !fits {
                let shown = prototype_kind.map_or("component", |kind| self.text(kind)).to_owned();
                let own = self.text(kinds[0]).to_owned();
                let word = self.statements[creation].name_span;
                let error =
                    Diagnostic::new("E0306", format!("a {own} cannot extend a {shown}"), span, format!("a {shown}"));
                let error = error.label(word, format!("a {own}"));
                self.report(error.help(format!("create it as `{shown} name`, or extend a prototype of `{own}`")));
                sound = false;
                continue;
            }
            let layers = Arc::clone(&self.class(class).layers);
            let set = stack.add_prototype(&layers, |piece| match hops {
                Some(hops) => moved(piece, hops),
                None => piece.clone(),
            });
            all.union(&set);
        }
        (all, sound)
    }

    /// Splits off what amends certain rows of an `each`: paths whose next part is no member.
    #[allow(clippy::type_complexity)]
    fn split_keyed(
        &mut self,
        parent: ClassId,
        name: Symbol,
        kinds: &Arc<[Symbol]>,
        parent_layers: &Arc<[Layer]>,
        pieces: Vec<(usize, Piece)>,
        stack: &Stack,
        base: &LayerSet,
        prototypes: &[(usize, LayerSet)],
        sound: bool,
    ) -> (Vec<(usize, Piece)>, Vec<(usize, Piece)>) {
        let (tails, bodies): (Vec<_>, Vec<_>) =
            pieces.into_iter().partition(|(_, piece)| matches!(piece.fragment, Fragment::Tail(..)));
        if tails.is_empty() {
            return (tails, bodies);
        }
        let mut trial = stack.clone();
        Self::stack_pieces(parent_layers, &bodies, &mut trial, base, prototypes);
        let span = self.class(parent).created;
        let mut class =
            Class::new(Flavor::Component, name, Arc::clone(kinds), Some(parent), span, None, trial.finish());
        class.lacks_prototype = !sound;
        let trial = self.add_class(class);
        self.fill(trial);
        let is_member = |piece: &Piece| match piece.fragment {
            Fragment::Tail(statement, offset) => {
                let part = self.statements[statement].path[offset].0;
                let word = self.text(part);
                self.class(trial).index.contains_key(&part) || matches!(word, "count" | "each" | "need" | "if")
            }
            _ => true,
        };
        let (members, keyed): (Vec<_>, Vec<_>) = tails.into_iter().partition(|(_, piece)| is_member(piece));
        let mut rest = bodies;
        rest.extend(members);
        (keyed, rest)
    }

    /// The classes of certain instances: everything of the common one, and above it what names them.
    fn indexed_classes(
        &mut self,
        parent: ClassId,
        pieces: &[(usize, Piece)],
        common: ClassId,
        parent_layers: &[Layer],
    ) -> Arc<[(Symbol, Span, ClassId)]> {
        // In the order in which they are first named.
        let mut groups: Vec<(Symbol, Span, Vec<&Contribution>)> = Vec::new();
        let mut known: BTreeMap<Symbol, usize> = BTreeMap::new();
        for contribution in pieces {
            if let Fragment::Tail(statement, offset) = contribution.1.fragment {
                let (key, span) = self.statements[statement].path[offset];
                let at = *known.entry(key).or_insert_with(|| {
                    groups.push((key, span, Vec::new()));
                    groups.len() - 1
                });
                groups[at].2.push(contribution);
            }
        }
        let mut classes = Vec::with_capacity(groups.len());
        for (key, key_span, contributions) in groups {
            let mut own = Vec::new();
            for (layer, piece) in contributions {
                let Fragment::Tail(statement, offset) = piece.fragment else { continue };
                let whole = self.statements[statement].path.len() == offset + 1;
                let replaces = whole
                    && matches!(
                        self.statements[statement].annotation,
                        Some((crate::statement::Annotation::Replace, _))
                    );
                let piece = if whole {
                    // The frames of a tail start at the component's parent; a body starts with itself.
                    let frames = std::iter::once(Frame::Up(0)).chain(piece.frames.iter().copied()).collect();
                    Piece { fragment: Fragment::Body(statement), frames, replaces }
                } else {
                    let fragment = Fragment::Tail(statement, offset + 1);
                    Piece { fragment, frames: Arc::clone(&piece.frames), replaces }
                };
                own.push((*layer, piece));
            }
            let mut stack = Stack::default();
            let layers = Arc::clone(&self.class(common).layers);
            let base = stack.add_prototype_as_is(&layers);
            Self::stack_pieces(parent_layers, &own, &mut stack, &base, &[]);
            let base = self.class(common);
            let mut class = Class::new(
                Flavor::Component,
                base.name,
                Arc::clone(&base.kinds),
                Some(parent),
                base.created,
                base.creator,
                stack.finish(),
            );
            class.lacks_prototype = base.lacks_prototype;
            let id = self.add_class(class);
            self.fill(id);
            classes.push((key, key_span, id));
        }
        classes.into()
    }
}

/// A piece of a component that another one, elsewhere, extends: seen from there.
fn moved(piece: &Piece, hops: u16) -> Piece {
    let frames = piece.frames.iter().map(|frame| match frame {
        Frame::Up(0) => Frame::Up(0),
        Frame::Up(up) => Frame::Up(up.saturating_add(hops)),
        root => *root,
    });
    Piece { fragment: piece.fragment, frames: frames.collect(), replaces: piece.replaces }
}
