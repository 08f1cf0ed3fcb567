//! Layers and the order between them.

use std::sync::Arc;

use crate::source::FileId;
use crate::statement::StatementId;
use crate::symbol::Symbol;

/// Where the bodies around a text ended up, innermost first: one entry per enclosing body, then the file.
pub(crate) type Frames = Arc<[Frame]>;

/// Where one enclosing body ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Frame {
    /// So many steps up from the component, record or item at hand; 0 is itself.
    Up(u16),
    /// The top of a file.
    Root(FileId),
}

/// A part of a text that says something about one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fragment {
    /// All statements at the top of a file.
    File(FileId),
    /// The properties and the block of a statement.
    Body(StatementId),
    /// A statement of which so many parts of the name are used up.
    Tail(StatementId, usize),
}

/// A fragment in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) fragment: Fragment,
    pub(crate) frames: Frames,
    /// `(replace)` stands before it.
    pub(crate) replaces: bool,
}

/// What a layer is, for `explain` and for what may stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A kind, or the declaration of a record or item: declares members.
    Schema,
    /// A template of this name.
    Template(Symbol),
    /// A body in a file.
    Body,
}

/// One body that contributes.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) pieces: Vec<Piece>,
    /// The layers of the same class that this one dominates, directly or not.
    pub(crate) beneath: LayerSet,
    pub(crate) origin: Origin,
}

/// A set of layers of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerSet(Vec<u64>);

impl LayerSet {
    pub(crate) fn insert(&mut self, layer: usize) {
        let word = layer / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (layer % 64);
    }

    pub(crate) fn contains(&self, layer: usize) -> bool {
        self.0.get(layer / 64).is_some_and(|word| word & (1 << (layer % 64)) != 0)
    }

    pub(crate) fn union(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        let words = self.0.iter().enumerate();
        words.flat_map(|(at, word)| (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| at * 64 + bit))
    }
}

/// Puts layers together in order, each thing once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stack {
    layers: Vec<Layer>,
}

impl Stack {
    /// Adds the layers of a prototype beside what is there; gives the set of all of them.
    pub(crate) fn add_prototype(&mut self, prototype: &[Layer], moved: impl Fn(&Piece) -> Piece) -> LayerSet {
        let mut place = Vec::with_capacity(prototype.len());
        let mut all = LayerSet::default();
        for layer in prototype {
            let pieces: Vec<Piece> = layer.pieces.iter().map(&moved).collect();
            let mut beneath = LayerSet::default();
            layer.beneath.iter().for_each(|below| beneath.insert(place[below]));
            let known = self.layers.iter().position(|known| known.pieces == pieces);
            let at = match known {
                Some(at) => {
                    self.layers[at].beneath.union(&beneath);
                    at
                }
                None => {
                    self.layers.push(Layer { pieces, beneath, origin: layer.origin });
                    self.layers.len() - 1
                }
            };
            place.push(at);
            all.insert(at);
        }
        all
    }

    /// Adds the layers of the same component, as they are.
    pub(crate) fn add_prototype_as_is(&mut self, layers: &[Layer]) -> LayerSet {
        debug_assert!(self.layers.is_empty());
        self.layers = layers.to_vec();
        let mut all = LayerSet::default();
        (0..layers.len()).for_each(|layer| all.insert(layer));
        all
    }

    /// Adds a layer above the given ones; gives its place.
    pub(crate) fn add(&mut self, pieces: Vec<Piece>, beneath: LayerSet, origin: Origin) -> usize {
        let mut beneath = beneath;
        let direct: Vec<usize> = beneath.iter().collect();
        for below in direct {
            let further = self.layers[below].beneath.clone();
            beneath.union(&further);
        }
        self.layers.push(Layer { pieces, beneath, origin });
        self.layers.len() - 1
    }

    /// All layers, without those emptied by a `(replace)` above them. Schemas stay.
    pub(crate) fn finish(self) -> Arc<[Layer]> {
        let replaced = |at: usize| {
            self.layers
                .iter()
                .any(|layer| layer.beneath.contains(at) && layer.pieces.iter().any(|piece| piece.replaces))
        };
        let gone: Vec<bool> =
            (0..self.layers.len()).map(|at| self.layers[at].origin != Origin::Schema && replaced(at)).collect();
        if !gone.contains(&true) {
            return self.layers.into();
        }
        let mut kept_before = 0;
        let place: Vec<usize> = gone
            .iter()
            .map(|gone| {
                kept_before += usize::from(!gone);
                kept_before.saturating_sub(1)
            })
            .collect();
        let kept = self.layers.into_iter().enumerate().filter(|(at, _)| !gone[*at]).map(|(_, mut layer)| {
            let mut beneath = LayerSet::default();
            layer.beneath.iter().filter(|below| !gone[*below]).for_each(|below| beneath.insert(place[below]));
            layer.beneath = beneath;
            layer
        });
        kept.collect()
    }
}

/// The same frames seen from one component further in.
pub(crate) fn one_up(frames: &[Frame]) -> impl Iterator<Item = Frame> + '_ {
    frames.iter().map(|frame| match frame {
        Frame::Up(hops) => Frame::Up(hops.saturating_add(1)),
        root => *root,
    })
}

/// Frames of a body one component further in: itself first.
pub(crate) fn inner_frames(frames: &[Frame]) -> Frames {
    std::iter::once(Frame::Up(0)).chain(one_up(frames)).collect()
}

/// Frames of a text that speaks of a component one further in, without being a body of it.
pub(crate) fn outer_frames(frames: &[Frame]) -> Frames {
    one_up(frames).collect()
}
