//! The transfers of a payer together in few rows: for what keeps rows at a price for each, whatever its length.
//!
//! A pack is a row with the transfers of one payer whose ids begin with the id in the pack's key and end before that of
//! the payer's next pack. A payer's first pack begins with the lowest id there is, so that the keys of packs never change.
//! A pack that gets too many is divided: its first part keeps its place, and the others have places of their own.
//!
//! In a row stand the number of its transfers (a byte), their ids in ascending order (16 bytes each), and then what else
//! there is to each, with its length before it. So an id that is not there, which is what is asked for most, is found
//! missing without reading any of them.

use std::collections::BTreeMap;

use tycoon_market::{AccountId, Credits, Timestamp, TransferId};

use super::StoreError;
use super::compact::{Reader, put_counted, put_number, put_signed};
use super::keyed::{Batch, Row, Rows, end_of, start_after, transfer_key};
use crate::ledger::Transfer;

/// Transfers in a pack at most: many make few rows, and few are quickly written again for one that comes between.
const TRANSFERS_MAX: usize = 32;
/// The bytes of an id, of accounts and transfers alike.
const ID_BYTES: usize = 16;
/// The lowest id.
const ID_MIN: TransferId = TransferId::from_bytes([0; ID_BYTES]);
/// The bytes that the keys of all packs of a payer begin with.
const PREFIX_BYTES: usize = 1 + ID_BYTES;
/// What a transfer is beside a payment, one bit each.
const IS_ISSUE: u8 = 1;
const IS_REFUND: u8 = 2;

/// The transfer `id` of `payer`.
pub(super) fn find(rows: &impl Rows, payer: &AccountId, id: &TransferId) -> Result<Option<Transfer>, StoreError> {
    let Some((key, row)) = pack_of(rows, payer, id)? else { return Ok(None) };
    let (ids, contents) = parts(&row).ok_or_else(|| damaged(&key))?;
    let Ok(place) = ids.binary_search(id.as_bytes()) else { return Ok(None) };
    let mut contents = Reader(contents);
    let content = (0..=place).try_fold(&[][..], |_, _| contents.counted());
    let transfer = content.and_then(|content| read(payer, id, content));
    transfer.map(Some).ok_or_else(|| damaged(&key))
}

/// Puts `transfers` among those in `rows`, with a batch that is to be written next.
pub(super) fn put(
    rows: &impl Rows,
    transfers: &BTreeMap<(AccountId, TransferId), Transfer>,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let mut coming = transfers.values().peekable();
    while let Some(first) = coming.peek() {
        let payer = first.payer;
        let (place, row) = match pack_of(rows, &payer, &first.id)? {
            Some(pack) => pack,
            None => (key(&payer, &ID_MIN), vec![0]),
        };
        let next = rows.range(&start_after(&place, Some(&[])), &end_of(&place[..PREFIX_BYTES]), 1)?.pop();
        let is_here = |transfer: &&Transfer| {
            transfer.payer == payer && next.as_ref().is_none_or(|(next, _)| key(&payer, &transfer.id) < *next)
        };
        let mut new = Vec::new();
        while let Some(transfer) = coming.next_if(is_here) {
            new.push((transfer.id.as_bytes(), written(transfer)));
        }
        let mut pack = transfers_of(&row).ok_or_else(|| damaged(&place))?;
        pack.extend(new.iter().map(|(id, content)| (*id, content.as_slice())));
        divide(place, &pack, batch);
    }
    Ok(())
}

/// Puts transfers into as few packs as hold them, the first of which is `place`.
fn divide(place: Vec<u8>, transfers: &BTreeMap<&[u8; ID_BYTES], &[u8]>, batch: &mut Batch) {
    let transfers: Vec<_> = transfers.iter().collect();
    // As many in one as in the others, so that there is room in each.
    let each = transfers.len().div_ceil(transfers.len().div_ceil(TRANSFERS_MAX));
    let prefix = place[..PREFIX_BYTES].to_vec();
    let mut first = Some(place);
    for pack in transfers.chunks(each) {
        let length: usize = pack.iter().map(|(_, content)| ID_BYTES + content.len() + 2).sum();
        let mut row = Vec::with_capacity(1 + length);
        row.push(pack.len() as u8);
        pack.iter().for_each(|(id, _)| row.extend_from_slice(&id[..]));
        for (_, content) in pack {
            put_counted(&mut row, content);
        }
        let key = first.take().unwrap_or_else(|| [&prefix[..], &pack[0].0[..]].concat());
        batch.put.push((key, row));
    }
}

fn key(payer: &AccountId, first: &TransferId) -> Vec<u8> {
    transfer_key(b"t", payer, first)
}

/// The pack in which the transfer `id` of `payer` stands, if it is there.
fn pack_of(rows: &impl Rows, payer: &AccountId, id: &TransferId) -> Result<Option<Row>, StoreError> {
    let end = start_after(&key(payer, id), Some(&[]));
    Ok(rows.range_back(&key(payer, &ID_MIN), &end, 1)?.pop())
}

/// The ids in a pack, and what else there is to them.
fn parts(row: &[u8]) -> Option<(&[[u8; ID_BYTES]], &[u8])> {
    let (count, rest) = row.split_first()?;
    let (ids, contents) = rest.split_at_checked(usize::from(*count) * ID_BYTES)?;
    Some((ids.as_chunks().0, contents))
}

/// What stands in a pack, by id.
fn transfers_of(row: &[u8]) -> Option<BTreeMap<&[u8; ID_BYTES], &[u8]>> {
    let (ids, contents) = parts(row)?;
    let mut contents = Reader(contents);
    ids.iter().map(|id| Some((id, contents.counted()?))).collect()
}

/// A transfer without its payer and id.
fn written(transfer: &Transfer) -> Vec<u8> {
    let Transfer { id: _, payer: _, payee, amount, memo, issued, at, record, balance, refunded, refund_of } = transfer;
    let mut bytes = Vec::with_capacity(64 + memo.len());
    let is_issue = if *issued { IS_ISSUE } else { 0 };
    let is_refund = if refund_of.is_some() { IS_REFUND } else { 0 };
    bytes.push(is_issue | is_refund);
    bytes.extend_from_slice(payee.as_bytes());
    bytes.extend(refund_of.iter().flat_map(|of| of.as_bytes()));
    for amount in [amount, balance, refunded] {
        put_signed(&mut bytes, amount.micros());
    }
    put_signed(&mut bytes, at.micros());
    put_number(&mut bytes, *record);
    bytes.extend_from_slice(memo.as_bytes());
    bytes
}

fn read(payer: &AccountId, id: &TransferId, content: &[u8]) -> Option<Transfer> {
    let mut content = Reader(content);
    let [kind] = content.array()?;
    let payee = AccountId::from_bytes(content.array()?);
    let refund_of = if kind & IS_REFUND != 0 { Some(TransferId::from_bytes(content.array()?)) } else { None };
    let mut credits = || content.signed().map(Credits::from_micros);
    let (amount, balance, refunded) = (credits()?, credits()?, credits()?);
    let at = Timestamp::from_micros(content.signed()?);
    let record = content.number()?;
    let memo = String::from_utf8(content.0.to_vec()).ok()?;
    let issued = kind & IS_ISSUE != 0;
    Some(Transfer { id: *id, payer: *payer, payee, amount, memo, issued, at, record, balance, refunded, refund_of })
}

fn damaged(key: &[u8]) -> StoreError {
    StoreError::Damaged(format!("the row {} is no pack of transfers", key.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Changes;
    use crate::store::{Head, SledStore, Store as _};

    fn store() -> SledStore {
        SledStore::in_tree(sled::Config::new().temporary(true).open().unwrap().open_tree("packs").unwrap())
    }

    fn transfer(payer: u8, id: u128, memo: &str) -> Transfer {
        let number = i64::try_from(id % 1000).unwrap();
        Transfer {
            id: TransferId::from_bytes(id.to_be_bytes()),
            payer: AccountId::from_bytes([payer; ID_BYTES]),
            payee: AccountId::from_bytes([9; ID_BYTES]),
            amount: Credits::from_micros(number - 500),
            memo: memo.to_owned(),
            issued: number % 2 == 0,
            at: Timestamp::from_micros(1_800_000_000_000_000 + number),
            record: number.unsigned_abs(),
            balance: Credits::from_micros(i64::MAX - number),
            refunded: Credits::from_micros(number % 3),
            refund_of: (number % 5 == 0).then(|| TransferId::from_bytes([7; ID_BYTES])),
        }
    }

    fn apply(store: &SledStore, transfers: &[Transfer]) {
        let transfers = transfers.iter().map(|one| ((one.payer, one.id), one.clone())).collect();
        store.apply(&Head::EMPTY, &Changes { transfers, ..Changes::default() }).unwrap();
    }

    fn packs(store: &SledStore) -> Vec<Row> {
        store.rows().range(b"t", b"u", usize::MAX).unwrap()
    }

    #[test]
    fn every_transfer_is_found_in_whatever_order_they_came_and_no_other() {
        // Scattered, one after the other, backwards, and the ends of what there is; more and fewer at a time.
        let scattered = (0..400_u128).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834));
        let backwards = (0..100).map(|number| (1 << 90) - number);
        let ids: Vec<u128> =
            scattered.chain((1..=500).map(|id| id << 80)).chain(backwards).chain([u128::MAX]).collect();
        for together in [1, 7, 64, 2000] {
            let store = store();
            let all: Vec<Transfer> =
                ids.iter().flat_map(|id| [1, 2, 255].map(|payer| transfer(payer, *id, "rent"))).collect();
            all.chunks(together).for_each(|some| apply(&store, some));
            for one in &all {
                let found = find(store.rows(), &one.payer, &one.id);
                assert_eq!(found, Ok(Some(one.clone())), "{together} at a time");
                let other = u128::from_be_bytes(*one.id.as_bytes()) ^ 1 << 60;
                assert_eq!(find(store.rows(), &one.payer, &TransferId::from_bytes(other.to_be_bytes())), Ok(None));
                assert_eq!(find(store.rows(), &AccountId::from_bytes([3; ID_BYTES]), &one.id), Ok(None));
            }
            let counts: Vec<usize> = packs(&store).iter().map(|(_, row)| usize::from(row[0])).collect();
            assert_eq!(counts.iter().sum::<usize>(), all.len(), "each stands once");
            assert!(counts.iter().all(|count| (1..=TRANSFERS_MAX).contains(count)), "{counts:?}");
            assert!(counts.len() < all.len() / 8, "{} packs of {} transfers", counts.len(), all.len());
        }
    }

    #[test]
    fn a_transfer_that_is_put_again_is_changed_in_its_place() {
        let store = store();
        let before: Vec<Transfer> = (0..100).map(|id| transfer(1, id, "a")).collect();
        apply(&store, &before);
        let keys = |store: &SledStore| packs(store).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        let places = keys(&store);
        let after = Transfer { refunded: Credits::from_micros(7), ..transfer(1, 50, &"é".repeat(200)) };
        apply(&store, std::slice::from_ref(&after));
        assert_eq!(find(store.rows(), &after.payer, &after.id), Ok(Some(after)));
        assert_eq!(find(store.rows(), &before[51].payer, &before[51].id), Ok(Some(before[51].clone())));
        assert_eq!(keys(&store), places);
    }

    #[test]
    fn a_row_that_is_no_pack_is_damage() {
        let store = store();
        let one = transfer(1, 5, "rent");
        apply(&store, std::slice::from_ref(&one));
        let (key, row) = packs(&store).remove(0);
        for length in 0..row.len() - "rent".len() {
            store
                .rows()
                .write(Batch { put: vec![(key.clone(), row[..length].to_vec())], removed: Vec::new() })
                .unwrap();
            let found = find(store.rows(), &one.payer, &one.id);
            assert!(matches!(found, Err(StoreError::Damaged(_))), "cut to {length}: {found:?}");
        }
    }
}
