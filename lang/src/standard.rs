//! The standard library: the kinds of components, written in the language itself and embedded.
//!
//! One file per kind, read only when the kind is used, because the parser reads less than a megabyte per second.

/// Name and text of every kind's file.
pub(crate) const KINDS: &[(&str, &str)] = &[
    ("bid", include_str!("../std/bid.kdl")),
    ("cloud-init", include_str!("../std/cloud-init.kdl")),
    ("domain", include_str!("../std/domain.kdl")),
    ("domain-facts", include_str!("../std/domain-facts.kdl")),
    ("file", include_str!("../std/file.kdl")),
    ("group", include_str!("../std/group.kdl")),
    ("host", include_str!("../std/host.kdl")),
    ("host-facts", include_str!("../std/host-facts.kdl")),
    ("image-source", include_str!("../std/image-source.kdl")),
    ("loopback", include_str!("../std/loopback.kdl")),
    ("lvm", include_str!("../std/lvm.kdl")),
    ("network-host", include_str!("../std/network-host.kdl")),
    ("nic", include_str!("../std/nic.kdl")),
    ("placement", include_str!("../std/placement.kdl")),
    ("pool", include_str!("../std/pool.kdl")),
    ("scheduler", include_str!("../std/scheduler.kdl")),
    ("simulated-host", include_str!("../std/simulated-host.kdl")),
    ("site", include_str!("../std/site.kdl")),
    ("steps", include_str!("../std/steps.kdl")),
    ("store", include_str!("../std/store.kdl")),
    ("volume", include_str!("../std/volume.kdl")),
    ("workflow", include_str!("../std/workflow.kdl")),
    ("xen-host", include_str!("../std/xen-host.kdl")),
    ("xen-machine", include_str!("../std/xen-machine.kdl")),
];

/// The word for a component of any kind, where a type is declared.
pub(crate) const ANY_COMPONENT: &str = "component";

/// The text of a kind's file.
pub(crate) fn text(kind: &str) -> Option<&'static str> {
    KINDS.iter().find(|(name, _)| *name == kind).map(|(_, text)| *text)
}

/// True for the names of kinds, and for `component`, which stands for all of them.
pub(crate) fn is_kind(name: &str) -> bool {
    name == ANY_COMPONENT || text(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::resolver::Resolver;
    use crate::source::MemoryLoader;

    #[test]
    fn every_kind_is_sound_and_its_names_are_known() {
        let (options, loader) = (Options::default(), MemoryLoader::new());
        for (name, text) in KINDS {
            let mut resolver = Resolver::new(&options, &loader);
            let symbol = resolver.names.intern(name);
            let class = resolver.kind_class(symbol).unwrap_or_else(|| panic!("{name} is no kind"));
            resolver.fill(class);
            resolver.compose_children(class);
            resolver.plan(class);
            resolver.compile_class(class);
            let sources = std::mem::take(&mut resolver.sources);
            let problems = std::mem::take(&mut resolver.problems).into_sorted();
            let shown: Vec<String> = problems.iter().map(|problem| problem.to_text(&sources)).collect();
            assert!(shown.is_empty(), "{name}:\n{}", shown.join("\n"));
            assert!(text.contains("doc="), "{name} says what it is");
        }
    }
}
