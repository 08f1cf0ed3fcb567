//! The merge of a leaf: which of the things written to it count.
//!
//! For each priority, of what no `(replace)` emptied, those writes count that no other one dominates. The highest
//! priority that has any decides. Where several count they must agree.
//!
//! This refines the plain rule "`⊕` takes the union" in one way: what one side of a `⊕` has overridden is not
//! brought back by the other side. Where `A` and `B` both extend `Base`, and `A` overrides what `Base` says, then
//! `extends A B` gives what `A` says; it is no conflict between `A` and `Base`.

use crate::compose::layers::Layer;
use crate::compose::{Priority, Write};

/// The writes that decide, as indices.
pub(crate) fn deciding(layers: &[Layer], writes: &[Write]) -> Vec<usize> {
    let dominates = |near: &Write, far: &Write| layers[near.layer].beneath.contains(far.layer);
    let alive: Vec<usize> = (0..writes.len())
        .filter(|at| !writes.iter().any(|write| write.is_replace && dominates(write, &writes[*at])))
        .collect();
    for priority in [Priority::Plain, Priority::Default] {
        let candidates: Vec<usize> = alive.iter().copied().filter(|at| writes[*at].priority == priority).collect();
        if candidates.is_empty() {
            continue;
        }
        let dominated = |at: usize| candidates.iter().any(|other| dominates(&writes[*other], &writes[at]));
        return candidates.iter().copied().filter(|at| !dominated(*at)).collect();
    }
    Vec::new()
}

/// Pairs of a `(final)` write and a nearer one.
pub(crate) fn against_final(layers: &[Layer], writes: &[Write]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (at, fixed) in writes.iter().enumerate().filter(|(_, write)| write.is_final) {
        for (other, write) in writes.iter().enumerate() {
            if other != at && layers[write.layer].beneath.contains(fixed.layer) {
                pairs.push((at, other));
            }
        }
    }
    pairs
}
