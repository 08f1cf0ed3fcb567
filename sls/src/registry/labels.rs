//! Which hosts have which labels: most queries ask for some, and need not go through all hosts for that.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tycoon_market::HostId;

use crate::query::LabelWish;

/// The labels of a host, as its facts have them.
type Labels = [(Arc<str>, Arc<str>)];

/// The hosts by label and value.
#[derive(Clone, Debug, Default)]
pub(super) struct LabelIndex(HashMap<Arc<str>, HashMap<Arc<str>, HashSet<HostId>>>);

impl LabelIndex {
    /// Takes notice that a host has other labels than before.
    pub(super) fn change(&mut self, host: HostId, old: &Labels, new: &Labels) {
        // Hosts register every half minute, and nearly always with the labels that they had.
        if old == new {
            return;
        }
        for (label, value) in old {
            let Some(values) = self.0.get_mut(label) else { continue };
            if let Some(hosts) = values.get_mut(value) {
                hosts.remove(&host);
                if hosts.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.0.remove(label);
            }
        }
        for (label, value) in new {
            self.0.entry(label.clone()).or_default().entry(value.clone()).or_default().insert(host);
        }
    }

    /// All hosts that can have what is wished, and perhaps others: those of the wish that fewest have. `None` where there
    /// is no wish.
    pub(super) fn candidates(&self, wishes: &[LabelWish<'_>]) -> Option<impl Iterator<Item = &HostId>> {
        let sets = |wish: &LabelWish<'_>| -> Vec<&HashSet<HostId>> {
            let values = self.0.get(wish.label);
            wish.values.iter().filter_map(|value| values?.get(*value)).collect()
        };
        let fewest = wishes.iter().map(sets).min_by_key(|sets| sets.iter().map(|hosts| hosts.len()).sum::<usize>())?;
        // A host has a label once, so that it is in one of the sets only.
        Some(fewest.into_iter().flatten())
    }
}
