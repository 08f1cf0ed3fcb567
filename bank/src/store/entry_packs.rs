//! Entries of an account's history in few bytes, for rows that nobody reads but this program: of a transfer there are two,
//! so that most of what is written is these.
//!
//! One entry stands after the other, each with its cause, which begins with a byte for its kind; causes other than paying
//! and being paid are JSON.

use tycoon_market::{AccountId, Credits, Timestamp, TransferId};

use super::StoreError;
use super::compact::{Reader, put_counted, put_number, put_signed};
use crate::ledger::{Cause, Entry};

const OTHER: u8 = 0;
const SENT: u8 = 1;
const RECEIVED: u8 = 2;

/// The row of entries that came together.
pub(super) fn written(entries: &[Entry]) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::with_capacity(entries.len() * 80);
    for Entry { number, record, at, change, balance, cause } in entries {
        put_number(&mut bytes, *number);
        put_number(&mut bytes, *record);
        put_signed(&mut bytes, at.micros());
        put_signed(&mut bytes, change.micros());
        put_signed(&mut bytes, balance.micros());
        match cause {
            Cause::Sent { id, to: other, memo } | Cause::Received { id, from: other, memo } => {
                bytes.push(if matches!(cause, Cause::Sent { .. }) { SENT } else { RECEIVED });
                bytes.extend_from_slice(id.as_bytes());
                bytes.extend_from_slice(other.as_bytes());
                put_counted(&mut bytes, memo.as_bytes());
            }
            cause => {
                let json = serde_json::to_vec(cause).map_err(|error| StoreError::Failed(error.to_string()))?;
                bytes.push(OTHER);
                put_counted(&mut bytes, &json);
            }
        }
    }
    Ok(bytes)
}

/// The entries in the row of `key`.
pub(super) fn read(key: &[u8], row: &[u8]) -> Result<Vec<Entry>, StoreError> {
    let mut rest = Reader(row);
    let mut entries = Vec::new();
    while !rest.0.is_empty() {
        let entry = next(&mut rest);
        entries.push(entry.ok_or_else(|| {
            StoreError::Damaged(format!("the row {} has an entry that cannot be read", key.escape_ascii()))
        })?);
    }
    Ok(entries)
}

fn next(row: &mut Reader<'_>) -> Option<Entry> {
    let (number, record) = (row.number()?, row.number()?);
    let at = Timestamp::from_micros(row.signed()?);
    let (change, balance) = (Credits::from_micros(row.signed()?), Credits::from_micros(row.signed()?));
    let [kind] = row.array()?;
    let cause = if kind == OTHER {
        serde_json::from_slice(row.counted()?).ok()?
    } else {
        let id = TransferId::from_bytes(row.array()?);
        let other = AccountId::from_bytes(row.array()?);
        let memo = String::from_utf8(row.counted()?.to_vec()).ok()?;
        match kind {
            SENT => Cause::Sent { id, to: other, memo },
            RECEIVED => Cause::Received { id, from: other, memo },
            _ => return None,
        }
    };
    Some(Entry { number, record, at, change, balance, cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let (id, other) = (TransferId::from_bytes([7; 16]), AccountId::from_bytes([8; 16]));
        let memo = || "Miete für März".to_owned();
        let causes = [
            Cause::Sent { id, to: other, memo: memo() },
            Cause::Received { id, from: other, memo: String::new() },
            Cause::Refund { id, of: id, to: other, memo: memo() },
            Cause::Issued { id, memo: memo() },
            Cause::Closed { account: other },
        ];
        let entry = |(number, cause)| Entry {
            number,
            record: number + 1_000_000,
            at: Timestamp::from_micros(1_800_000_000_000_000),
            change: Credits::from_micros(-7),
            balance: Credits::from_micros(i64::MAX),
            cause,
        };
        (1..).zip(causes).map(entry).collect()
    }

    #[test]
    fn entries_of_every_cause_read_back() {
        assert_eq!(read(b"n", &written(&entries()).unwrap()), Ok(entries()));
    }

    #[test]
    fn a_row_that_is_cut_is_damage_or_has_fewer_entries() {
        let row = written(&entries()).unwrap();
        for length in 0..row.len() {
            match read(b"n", &row[..length]) {
                Ok(found) => assert_eq!(found, entries()[..found.len()], "cut to {length}"),
                Err(error) => assert!(matches!(error, StoreError::Damaged(_)), "cut to {length}: {error}"),
            }
        }
        assert!(read(b"n", &[1, 1, 1, 1, 1, 9]).is_err(), "a kind that there is not");
    }
}
