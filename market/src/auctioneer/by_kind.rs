//! A small map by kind of resource, without memory of its own: an account has several, and a tick makes new ones of all.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ResourceKind;

/// How many kinds there are.
const KINDS: usize = ResourceKind::ALL.len();

/// Values by kind of resource. It is used and written like a [`BTreeMap`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ByKind<V> {
    /// A bit for each kind that has a value.
    present: u8,
    /// Where there is none, the default.
    values: [V; KINDS],
}

/// The place of a kind.
const fn place(kind: ResourceKind) -> usize {
    kind as usize
}

impl<V: Copy + Default> ByKind<V> {
    /// No values.
    pub(super) fn new() -> Self {
        Self { present: 0, values: [V::default(); KINDS] }
    }

    pub(super) const fn contains_key(&self, kind: &ResourceKind) -> bool {
        self.present & (1 << place(*kind)) != 0
    }

    pub(super) fn get(&self, kind: &ResourceKind) -> Option<&V> {
        self.contains_key(kind).then(|| &self.values[place(*kind)])
    }

    /// The value; the default where there is none.
    pub(super) const fn of(&self, kind: ResourceKind) -> V {
        self.values[place(kind)]
    }

    /// The value to be changed, which is the default where there was none.
    pub(super) const fn entry(&mut self, kind: ResourceKind) -> &mut V {
        self.present |= 1 << place(kind);
        &mut self.values[place(kind)]
    }

    pub(super) const fn insert(&mut self, kind: ResourceKind, value: V) {
        *self.entry(kind) = value;
    }

    pub(super) fn remove(&mut self, kind: &ResourceKind) {
        self.present &= !(1 << place(*kind));
        self.values[place(*kind)] = V::default();
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// Keeps the values that are wanted.
    pub(super) fn retain(&mut self, is_wanted: impl Fn(ResourceKind) -> bool) {
        for kind in ResourceKind::ALL.iter().filter(|kind| !is_wanted(**kind)) {
            self.remove(kind);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static ResourceKind, &V)> {
        ResourceKind::ALL.iter().filter_map(|kind| Some((kind, self.get(kind)?)))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'static ResourceKind> {
        self.iter().map(|(kind, _)| kind)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The same as a map.
    pub(super) fn to_map(self) -> BTreeMap<ResourceKind, V> {
        self.iter().map(|(kind, value)| (*kind, *value)).collect()
    }
}

impl<V: Copy + Default> Default for ByKind<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Copy + Default + fmt::Debug> fmt::Debug for ByKind<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<V: Copy + Default> FromIterator<(ResourceKind, V)> for ByKind<V> {
    fn from_iter<I: IntoIterator<Item = (ResourceKind, V)>>(values: I) -> Self {
        let mut all = Self::new();
        values.into_iter().for_each(|(kind, value)| all.insert(kind, value));
        all
    }
}

impl<V: Copy + Default + Serialize> Serialize for ByKind<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, V: Copy + Default + Deserialize<'de>> Deserialize<'de> for ByKind<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quantity;

    #[test]
    fn it_is_written_and_read_like_a_map() {
        let map = BTreeMap::from([
            (ResourceKind::NetworkOut, Quantity::new(7)),
            (ResourceKind::Cpu, Quantity::new(3)),
            (ResourceKind::Disk, Quantity::ZERO),
        ]);
        let by_kind: ByKind<Quantity> = map.clone().into_iter().collect();
        let json = serde_json::to_string(&by_kind).unwrap();
        assert_eq!(json, serde_json::to_string(&map).unwrap());
        assert_eq!(serde_json::from_str::<ByKind<Quantity>>(&json).unwrap(), by_kind);
        assert_eq!(by_kind.to_map(), map);
        assert_eq!(format!("{by_kind:?}"), format!("{map:?}"));
    }

    #[test]
    fn a_value_that_is_the_default_is_another_thing_than_none() {
        let mut one = ByKind::new();
        one.insert(ResourceKind::Memory, Quantity::ZERO);
        assert_ne!(one, ByKind::new());
        assert_eq!(one.get(&ResourceKind::Memory), Some(&Quantity::ZERO));
        one.insert(ResourceKind::Memory, Quantity::new(5));
        one.remove(&ResourceKind::Memory);
        assert_eq!(one, ByKind::new(), "nothing is left of what was there");
        *one.entry(ResourceKind::Disk) = Quantity::new(2);
        one.insert(ResourceKind::Cpu, Quantity::new(1));
        one.retain(|kind| kind == ResourceKind::Disk);
        assert_eq!(one.keys().collect::<Vec<_>>(), [&ResourceKind::Disk]);
        assert_eq!((one.of(ResourceKind::Cpu), one.is_empty()), (Quantity::ZERO, false));
    }
}
