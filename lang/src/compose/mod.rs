//! Composing: from statements to classes.
//!
//! A *class* is what a component, record or item is made of before `count` and values: its layers, and its members
//! with everything that was written to each. Classes are static: they depend on words only, never on values, so that
//! a hundred thousand instances share one.
//!
//! A *layer* is one body that contributes: a kind, a template, the block where a component is created, a block that
//! amends it. Layers are partly ordered: a layer *dominates* those it was written over. `A ◁ B` makes every layer of
//! `B` dominate those of `A`; `A ⊕ B` leaves them side by side. What a leaf holds is decided in [`choose`].

pub(crate) mod amend;
pub(crate) mod build;
pub(crate) mod children;
pub(crate) mod choose;
pub(crate) mod create;
pub(crate) mod declare;
pub(crate) mod elsewhere;
pub(crate) mod layers;
pub(crate) mod mend;
pub(crate) mod names;
pub(crate) mod parts;
pub(crate) mod prototypes;
pub(crate) mod schema;
pub(crate) mod share;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::compose::layers::{Layer, Piece};
use crate::compose::schema::{Declaration, ItemDeclaration, RecordDeclaration};
use crate::source::Span;
use crate::statement::StatementId;
use crate::symbol::Symbol;
use crate::value::Value;

/// A class of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClassId(pub(crate) u32);

/// What a class describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// What stands at the top of a file.
    File,
    /// A component.
    Component,
    /// A record of a component.
    Record,
    /// An item of a component.
    Item,
    /// A template or a kind: never instantiated.
    Prototype,
}

/// What components, records and items are made of.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) flavor: Flavor,
    pub(crate) name: Symbol,
    /// The kind and the kinds it extends, nearest first; empty for records, items and files.
    pub(crate) kinds: Arc<[Symbol]>,
    pub(crate) parent: Option<ClassId>,
    /// Where it was created.
    pub(crate) created: Span,
    /// The statement that creates it; repeated in an ancestor it would contain itself without end.
    pub(crate) creator: Option<StatementId>,
    /// From the farthest to the nearest: a layer stands behind all that it dominates.
    pub(crate) layers: Arc<[Layer]>,
    pub(crate) members: Vec<Member>,
    pub(crate) index: BTreeMap<Symbol, usize>,
    pub(crate) asserts: Vec<Assertion>,
    /// The kinds of components that may be created in it.
    pub(crate) contains: Vec<Symbol>,
    /// Where an ordered item stands among all ordered items of its component: layer and statement.
    pub(crate) order: Option<(usize, StatementId)>,
    /// A prototype could not be found, which has been said; so nothing is said about what it may have brought.
    pub(crate) lacks_prototype: bool,
    /// What does not depend on instances; made when the first instance is.
    pub(crate) plan: Option<Plan>,
}

/// What is known of a class for all its instances.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How many values every instance holds of its own.
    pub(crate) slots: u32,
    /// True where all instances are alike in everything but their path.
    pub(crate) closed: bool,
}

/// Anything with a name inside a class.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: Symbol,
    /// Where it is declared or created.
    pub(crate) span: Span,
    pub(crate) content: Content,
    /// Where an instance keeps its value, for members that differ between instances.
    pub(crate) slot: Option<u32>,
}

/// What a member is.
#[derive(Debug)]
pub(crate) enum Content {
    Leaf(Leaf),
    Record(RecordMember),
    Items(ItemsMember),
    /// Boxed: it is much larger than the others, and there are few.
    Child(Box<ChildMember>),
}

/// What part a leaf plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// An attribute or param: typed, may be written.
    Attribute,
    /// A `let`: seen by the text around it only.
    Let,
    /// A result.
    Output,
}

/// A value with everything that was written to it.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) role: Role,
    /// Present for attributes.
    pub(crate) declaration: Option<Arc<Declaration>>,
    /// The layer that declares it.
    pub(crate) layer: usize,
    pub(crate) writes: Vec<Write>,
    /// Something that was meant for it was wrong, and that has been said; so nothing is said about its lack.
    pub(crate) spoiled: bool,
    pub(crate) state: LeafState,
}

/// What is known of a leaf for all instances.
#[derive(Clone, Debug)]
pub(crate) enum LeafState {
    /// Not looked at yet.
    Unplanned,
    /// The same everywhere. The index of the deciding write, if there is one.
    Constant(Value, Option<usize>),
    /// Computed for every instance from these writes, which must agree.
    Computed(Arc<[usize]>),
    /// Taken from an enclosing component.
    Context,
    /// Known only while running.
    Source,
    /// Must be written, and is not.
    Missing,
    /// Wrong, and said so.
    Poison,
}

/// How strongly something was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// `(default)`, and the defaults of params.
    Default,
    /// Without annotation.
    Plain,
}

/// One thing that was written to a leaf.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    /// The layer that wrote it.
    pub(crate) layer: usize,
    /// The statement, for messages.
    pub(crate) statement: StatementId,
    /// The statement that holds the values, and which of its arguments they are.
    pub(crate) holder: StatementId,
    pub(crate) first: usize,
    pub(crate) end: usize,
    /// The innermost body around it, for looking up names; `None` at the top of a file.
    pub(crate) scope: Option<StatementId>,
    pub(crate) frames: layers::Frames,
    pub(crate) priority: Priority,
    pub(crate) is_final: bool,
    pub(crate) is_replace: bool,
}

/// A record: one per component.
#[derive(Debug)]
pub(crate) struct RecordMember {
    pub(crate) declarations: Vec<(usize, Arc<RecordDeclaration>)>,
    /// What each layer of the class contributes.
    pub(crate) pieces: Vec<(usize, Piece)>,
    /// The class, once composed; `None` where nobody wrote the record.
    pub(crate) class: Option<Option<ClassId>>,
}

/// Items of one word.
#[derive(Debug)]
pub(crate) struct ItemsMember {
    pub(crate) declarations: Vec<(usize, Arc<ItemDeclaration>)>,
    pub(crate) pieces: Vec<(usize, Piece)>,
    /// One class per item that is written differently, once composed.
    pub(crate) classes: Option<Arc<[ClassId]>>,
}

/// A component inside a component.
#[derive(Debug)]
pub(crate) struct ChildMember {
    /// Every statement that creates it, with its layer.
    pub(crate) creations: Vec<(usize, StatementId, Piece)>,
    /// What each layer of the class contributes.
    pub(crate) pieces: Vec<(usize, Piece)>,
    pub(crate) count: Leaf,
    pub(crate) each: Leaf,
    pub(crate) need: Leaf,
    pub(crate) condition: Leaf,
    pub(crate) composed: Composed,
}

/// How far a child is composed.
#[derive(Clone, Debug)]
pub(crate) enum Composed {
    No,
    Busy,
    /// The class of all instances, and those of certain ones.
    Yes {
        common: ClassId,
        indexed: Arc<[(Symbol, Span, ClassId)]>,
    },
    Failed,
}

/// `assert "condition" else="message"`
#[derive(Clone, Debug)]
pub(crate) struct Assertion {
    pub(crate) statement: StatementId,
    pub(crate) scope: Option<StatementId>,
    pub(crate) frames: layers::Frames,
}

impl Class {
    /// The member of a name.
    pub(crate) fn member(&self, name: Symbol) -> Option<&Member> {
        self.index.get(&name).map(|index| &self.members[*index])
    }
}
