//! What the class of a certain instance has in common with that of all instances.
//!
//! `web.7.vcpus 4` makes a class for one instance, and nothing in it but `vcpus` differs from the class of all. So it
//! takes over the classes of the records, items and components that no line of its own speaks of.

use crate::compose::{ClassId, Composed, Content};
use crate::resolver::Resolver;

/// What one member takes over.
enum Known {
    Record(Option<ClassId>),
    Items(std::sync::Arc<[ClassId]>),
    Child(Composed),
}

impl Resolver<'_> {
    /// Takes over what is composed inside the class of all instances where the class of a certain one says nothing of
    /// its own. The layers of `own` are those of `common`, and behind them those that name the instance.
    pub(crate) fn share_untouched(&mut self, common: ClassId, own: ClassId) {
        let shared_layers = self.class(common).layers.len();
        let own_layers = &self.class(own).layers;
        let replaces = |layer: &crate::compose::layers::Layer| layer.pieces.iter().any(|piece| piece.replaces);
        if own_layers.len() < shared_layers || own_layers.iter().skip(shared_layers).any(replaces) {
            return;
        }
        let is_own = |layer: usize| layer >= shared_layers;
        let members = &self.class(own).members;
        let touched = |content: &Content| match content {
            Content::Leaf(_) => false,
            Content::Record(record) => record.pieces.iter().any(|(layer, _)| is_own(*layer)),
            Content::Items(items) => items.pieces.iter().any(|(layer, _)| is_own(*layer)),
            Content::Child(child) => {
                let metas = [&child.count, &child.each, &child.need, &child.condition];
                child.pieces.iter().any(|(layer, _)| is_own(*layer))
                    || metas.iter().any(|leaf| leaf.writes.iter().any(|write| is_own(write.layer)))
            }
        };
        // A component may extend another one beside it: where one differs, all are composed anew.
        let children_differ =
            members.iter().any(|member| matches!(member.content, Content::Child(_)) && touched(&member.content));
        let mut known = Vec::new();
        for (index, member) in members.iter().enumerate().filter(|(_, member)| !touched(&member.content)) {
            let Some(there) = self.class(common).member(member.name) else { continue };
            known.extend(match &there.content {
                Content::Record(record) => record.class.map(|class| (index, Known::Record(class))),
                Content::Items(items) => items.classes.clone().map(|classes| (index, Known::Items(classes))),
                Content::Child(child) if !children_differ => match &child.composed {
                    yes @ Composed::Yes { .. } => Some((index, Known::Child(yes.clone()))),
                    Composed::No | Composed::Busy | Composed::Failed => None,
                },
                Content::Child(_) | Content::Leaf(_) => None,
            });
        }
        for (index, known) in known {
            match (&mut self.class_mut(own).members[index].content, known) {
                (Content::Record(record), Known::Record(class)) => record.class = Some(class),
                (Content::Items(items), Known::Items(classes)) => items.classes = Some(classes),
                (Content::Child(child), Known::Child(composed)) => child.composed = composed,
                _ => {}
            }
        }
    }
}
