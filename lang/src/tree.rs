//! The resolved description as a generic tree: every component, record and item with all its values.

use std::sync::Arc;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::source::Span;
use crate::types::Type;
use crate::value::Value;

/// What a node of the tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A component.
    Component,
    /// A record of a component, such as `budget`.
    Record,
    /// An item of a component, such as `require`.
    Item,
}

/// A component, record or item. What is alike in many instances is shared between them.
#[derive(Clone, Debug)]
pub struct Component {
    /// What it is.
    pub node: NodeKind,
    /// Its name; of an item its word.
    pub name: Arc<str>,
    /// Which of several it is: `0`, or the key of its row.
    pub key: Option<Arc<str>>,
    /// Its kind, such as `domain`; of records and items their word.
    pub kind: Arc<str>,
    /// How many of its kind must live, at the first of several instances: `need`.
    pub need: Option<u32>,
    /// Where it is created.
    pub span: Span,
    /// Values that are the same in all instances.
    pub(crate) shared: Arc<[Attribute]>,
    /// Values of its own.
    pub(crate) own: Box<[Attribute]>,
    /// What it contains, in order.
    pub children: Arc<[Component]>,
}

/// A value of a component.
#[derive(Clone, Debug, Serialize)]
pub struct Attribute {
    /// Its name.
    pub name: Arc<str>,
    /// Its value. An attribute that is live by itself reads `this.name`.
    pub value: Value,
    /// Its declared type; of outputs the type of the value.
    #[serde(serialize_with = "as_text")]
    pub ty: Type,
    /// Where its value is written, or where it is declared if nothing was written.
    pub span: Span,
    /// True for an `output`.
    pub output: bool,
    /// True where somebody wrote it; false where it is the default of its declaration.
    pub written: bool,
}

fn as_text<S: Serializer>(ty: &Type, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(ty)
}

impl Serialize for Component {
    /// An object with `node`, `name`, `key`, `kind`, `need`, `span`, `attributes` and `children`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let attributes: Vec<&Attribute> = self.attributes().collect();
        let mut object = serializer.serialize_struct("Component", 8)?;
        object.serialize_field("node", &self.node)?;
        object.serialize_field("name", &self.name)?;
        object.serialize_field("key", &self.key)?;
        object.serialize_field("kind", &self.kind)?;
        object.serialize_field("need", &self.need)?;
        object.serialize_field("span", &self.span)?;
        object.serialize_field("attributes", &attributes)?;
        object.serialize_field("children", &self.children)?;
        object.end()
    }
}

impl Component {
    /// The attribute of a name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.own.iter().chain(self.shared.iter()).find(|attribute| &*attribute.name == name)
    }

    /// The value of an attribute; unset where there is none.
    pub fn value(&self, name: &str) -> &Value {
        self.attribute(name).map_or(&Value::Unset, |attribute| &attribute.value)
    }

    /// All attributes and outputs: its own first, then the shared ones.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.own.iter().chain(self.shared.iter())
    }

    /// The child component or record of a name; of several the first.
    pub fn child(&self, name: &str) -> Option<&Component> {
        self.children.iter().find(|child| &*child.name == name && child.node != NodeKind::Item)
    }

    /// The items of a word, in order.
    pub fn items<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a Component> {
        self.children.iter().filter(move |child| child.node == NodeKind::Item && &*child.name == word)
    }

    /// The name with its key: `web.0`, `edge.cern`, `head`.
    pub fn label(&self) -> String {
        let mut label = String::with_capacity(self.name.len() + self.key.as_ref().map_or(0, |key| key.len() + 1));
        self.write_label(&mut label);
        label
    }

    /// Appends the label to a text.
    pub(crate) fn write_label(&self, text: &mut String) {
        text.push_str(&self.name);
        if let Some(key) = &self.key {
            text.push('.');
            text.push_str(key);
        }
    }

    /// Visits this node and all below it with their paths, which start with this node's own label.
    pub fn walk<'a>(&'a self, visitor: &mut dyn FnMut(&str, &'a Component)) {
        self.walk_from(&mut self.label(), visitor);
    }

    fn walk_from<'a>(&'a self, path: &mut String, visitor: &mut dyn FnMut(&str, &'a Component)) {
        visitor(path, self);
        let length = path.len();
        for child in self.children.iter() {
            path.push('.');
            child.write_label(path);
            child.walk_from(path, visitor);
            path.truncate(length);
        }
    }

    /// The number of components at and below this one; records and items do not count.
    pub fn count(&self) -> usize {
        usize::from(self.node == NodeKind::Component) + self.children.iter().map(Component::count).sum::<usize>()
    }
}
