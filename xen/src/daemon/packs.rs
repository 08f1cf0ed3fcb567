//! Records in packs. A database keeps what belongs to each row in memory beside it, and a host of a thousand accounts has
//! four thousand records that are much alike; so they are written many to a row, compressed.
//!
//! A record is in the pack that its name says, whatever else there is, so that a change of one record writes one pack.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tycoon_rpc::compact::{compressed, decompressed};

/// What the keys of packs begin with; the collection and the number of the pack follow.
pub(super) const PACKS: &str = "packs/";
/// Into how many packs the records of a collection go.
const COUNT: u8 = 16;

/// The number of the pack in which the record of this name is.
pub(super) fn number_of(name: &str) -> u8 {
    // FNV-1a, folded: names differ in many ways, and this has to be the same for ever.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    ((hash ^ (hash >> 32)) % u64::from(COUNT)) as u8
}

/// The key of a pack of a collection.
pub(super) fn key(collection: &str, number: u8) -> Vec<u8> {
    format!("{PACKS}{collection}{number:02x}").into_bytes()
}

/// The packs of a collection that hold a record of `changed`; all packs where that is not known.
#[derive(Debug, Default)]
pub(super) struct Touched(Option<BTreeSet<u8>>);

impl Touched {
    /// All of them.
    pub(super) const ALL: Self = Self(None);

    /// Those in which these records are.
    pub(super) fn by(names: impl IntoIterator<Item = String>) -> Self {
        Self(Some(names.into_iter().map(|name| number_of(&name)).collect()))
    }

    /// True where there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// The numbers of the packs, in their order.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u8> {
        (0..COUNT).filter(|number| self.0.as_ref().is_none_or(|touched| touched.contains(number)))
    }
}

/// The touched packs with their records, some of which may be empty now, in their order.
pub(super) fn sorted<V>(
    touched: &Touched,
    records: impl IntoIterator<Item = (String, V)>,
) -> BTreeMap<u8, BTreeMap<String, V>> {
    let mut packs: BTreeMap<u8, _> = touched.numbers().map(|number| (number, BTreeMap::new())).collect();
    for (name, record) in records {
        if let Some(pack) = packs.get_mut(&number_of(&name)) {
            pack.insert(name, record);
        }
    }
    packs
}

/// A pack as it is kept.
///
/// # Errors
/// A record that cannot be written.
pub(super) fn packed<V: Serialize>(records: &BTreeMap<String, V>) -> io::Result<Vec<u8>> {
    compressed(&serde_json::to_vec(records)?)
}

/// The records of a pack, by name.
///
/// # Errors
/// What is no pack of such records.
pub(super) fn unpacked<T: DeserializeOwned>(pack: &[u8]) -> io::Result<BTreeMap<String, T>> {
    Ok(serde_json::from_slice(&decompressed(pack)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_in_one_pack_and_comes_back() {
        let records: Vec<(String, u64)> = (0..1_000).map(|number| (format!("{number:032x}/pool"), number)).collect();
        let packs = sorted(&Touched::ALL, records.clone());
        assert!(packs.values().all(|pack| (30..100).contains(&pack.len())), "about evenly");
        let mut read = BTreeMap::new();
        for (number, pack) in &packs {
            assert!(pack.keys().all(|name| number_of(name) == *number));
            read.extend(unpacked::<u64>(&packed(pack).unwrap()).unwrap());
        }
        let only = Touched::by(["head".to_owned()]);
        assert_eq!(sorted(&only, records.iter().cloned()).len(), 1);
        assert_eq!(read, records.into_iter().collect());
        assert!(Touched::by(["head".to_owned(), "head".to_owned()]).numbers().eq([number_of("head")]));
        assert_eq!((number_of("head"), number_of("")), (15, 1), "for ever");
    }

    #[test]
    fn what_is_no_pack_is_an_error() {
        let good = packed(&BTreeMap::from([("a".to_owned(), 1)])).unwrap();
        assert!(unpacked::<String>(&good).is_err(), "of other records");
        for bad in [&b""[..], b"{}", &good[..good.len() - 1]] {
            assert!(unpacked::<u64>(bad).is_err(), "{bad:?}");
        }
    }
}
