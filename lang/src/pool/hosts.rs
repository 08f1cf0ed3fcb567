//! The hosts that a pool names, and which of them are not there.

use std::collections::BTreeSet;

use crate::condition::{Condition, Residue};
use crate::diagnostic::Diagnostic;
use crate::expression::ast::Operator;
use crate::expression::functions::Function;
use crate::nearest::{alternatives, nearest};
use crate::source::Span;
use crate::tree::{Component, NodeKind};
use crate::value::Value;

/// Where a pool names a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedHost {
    /// The place.
    pub span: Span,
    /// The name.
    pub name: String,
    /// True where the whole place is the name, so that it can be replaced by another.
    is_whole: bool,
}

/// The hosts that the tree of a pool names, each place once: the addresses of its `host`s, what `place` avoids,
/// requires or prefers by name, and the hosts of its schedulers.
pub fn named_hosts(tree: &Component) -> Vec<NamedHost> {
    let mut found = BTreeSet::new();
    collect(tree, &mut found);
    found.into_iter().collect()
}

/// A warning for every name that no host of a site has. `known` are the names of its hosts.
pub fn unknown_hosts(named: &[NamedHost], site: &str, known: &[String]) -> Vec<Diagnostic> {
    let unknown = named.iter().filter(|host| !known.contains(&host.name));
    unknown
        .map(|host| {
            let message = format!("the site `{site}` has no host `{}`", host.name);
            let warning = Diagnostic::new("W0004", message, host.span, "not there");
            match nearest(&host.name, known.iter().map(String::as_str)) {
                Some(meant) if host.is_whole => {
                    warning.help(format!("did you mean `{meant}`?")).suggest(host.span, format!("\"{meant}\""))
                }
                Some(meant) => warning.help(format!("did you mean `{meant}`?")),
                None => warning
                    .help(format!("its hosts are {}; `--site FILE` takes another site", alternatives(known, "and"))),
            }
        })
        .collect()
}

fn collect(node: &Component, found: &mut BTreeSet<NamedHost>) {
    match (node.node, &*node.kind) {
        (NodeKind::Component, "host") => named_by(node, "address", found),
        (NodeKind::Component, "scheduler") => named_by(node, "hosts", found),
        (NodeKind::Item, "avoid") => named_by(node, "host", found),
        (NodeKind::Item, "require" | "prefer") => {
            if let Value::Condition(condition) = node.value("condition") {
                compared(condition, found);
            }
        }
        _ => {}
    }
    for child in node.children.iter() {
        collect(child, found);
    }
}

/// What an attribute names.
fn named_by(node: &Component, attribute: &str, found: &mut BTreeSet<NamedHost>) {
    let Some(attribute) = node.attribute(attribute) else { return };
    let values = match &attribute.value {
        Value::List(values) => &values[..],
        single => std::slice::from_ref(single),
    };
    for name in values.iter().filter_map(Value::as_text) {
        found.insert(NamedHost { span: attribute.span, name: name.to_owned(), is_whole: values.len() == 1 });
    }
}

/// The names with which a condition compares that of a host.
fn compared(condition: &Condition, found: &mut BTreeSet<NamedHost>) {
    let is_name = |residue: &Residue| matches!(residue, Residue::Read { path, .. } if matches!(&**path, "host.name" | "host.address"));
    let mut add = |residue: &Residue| {
        let Residue::Constant(value) = residue else { return };
        let values = match value {
            Value::List(values) => &values[..],
            single => std::slice::from_ref(single),
        };
        for name in values.iter().filter_map(Value::as_text) {
            found.insert(NamedHost { span: condition.span, name: name.to_owned(), is_whole: false });
        }
    };
    condition.expression.visit(&mut |residue| match residue {
        Residue::Binary(Operator::Equal | Operator::NotEqual, a, b) if is_name(a) => add(b),
        Residue::Binary(Operator::Equal | Operator::NotEqual, a, b) if is_name(b) => add(a),
        Residue::Call(Function::Contains, arguments) if arguments.get(1).is_some_and(is_name) => {
            match arguments.first() {
                Some(Residue::List(list)) => list.iter().for_each(&mut add),
                Some(list @ Residue::Constant(Value::List(_))) => add(list),
                _ => {}
            }
        }
        _ => {}
    });
}
