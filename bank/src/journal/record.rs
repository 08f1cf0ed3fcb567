//! One record of the journal: a line of text.
//!
//! ```text
//! <hash> <number> <time> <previous hash> <payload>\n
//! ```
//!
//! The hash is the SHA-256 of everything behind the first space up to the line feed, so `sha256sum` can check it. The
//! payload is JSON on one line. Numbers count from 1; the first record's previous hash is all zeros.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tycoon_market::Timestamp;

use crate::store::Head;

/// The least that a disk writes as a whole, in bytes.
const SECTOR_BYTES: u64 = 512;
/// The hexadecimal digits of a hash.
const HASH_DIGITS: usize = 64;
/// The longest record in bytes, with its line feed.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// The longest payload in bytes: what is left of a record beside its hashes and numbers.
pub const PAYLOAD_BYTES_MAX: usize = RECORD_BYTES_MAX - 256;

/// The hash of a record.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordHash([u8; 32]);

/// A text that is not a hash.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a hash: 64 lower-case hexadecimal digits are expected")]
pub struct RecordHashError;

impl RecordHash {
    /// The hash before the first record.
    pub const ZERO: Self = Self([0; 32]);

    fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }
}

impl fmt::Display for RecordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Half by half: byte by byte takes several times as long.
        let number = |half: &[u8]| half.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        self.0.chunks_exact(16).try_for_each(|half| write!(f, "{:032x}", number(half)))
    }
}

impl fmt::Debug for RecordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordHash({self})")
    }
}

impl FromStr for RecordHash {
    type Err = RecordHashError;

    fn from_str(text: &str) -> Result<Self, RecordHashError> {
        if text.len() != HASH_DIGITS || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(RecordHashError);
        }
        let mut hash = [0; 32];
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
            *byte = value(digits[0]) << 4 | value(digits[1]);
        }
        Ok(Self(hash))
    }
}

impl TryFrom<String> for RecordHash {
    type Error = RecordHashError;

    fn try_from(text: String) -> Result<Self, RecordHashError> {
        text.parse()
    }
}

impl From<RecordHash> for String {
    fn from(hash: RecordHash) -> Self {
        hash.to_string()
    }
}

/// A record as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number, hash and time.
    pub head: Head,
    /// Its payload.
    pub payload: &'a str,
}

/// Appends the line of the record after `previous` to `lines`, without its line feed; returns its head.
pub fn encode(lines: &mut String, previous: &Head, at: Timestamp, payload: &str) -> Head {
    let record = previous.record + 1;
    let start = lines.len();
    // Where the hash will be.
    lines.push_str(&RecordHash::ZERO.to_string());
    // Writing to a text never fails.
    let _ = write!(lines, " {record} {} {} {payload}", at.micros(), previous.hash);
    let hash = RecordHash::of(&lines[start + HASH_DIGITS + 1..]);
    lines.replace_range(start..start + HASH_DIGITS, &hash.to_string());
    Head { record, hash, at }
}

/// Reads a line without its line feed, which must be the record after `previous`. Says what is wrong otherwise.
pub fn decode<'a>(line: &'a [u8], previous: &Head) -> Result<Record<'a>, String> {
    let line = std::str::from_utf8(line).map_err(|_| "it is not text".to_owned())?;
    let (hash, body) = line.split_once(' ').ok_or("it has no hash")?;
    let hash: RecordHash = hash.parse().map_err(|_| "it does not begin with a hash")?;
    if RecordHash::of(body) != hash {
        return Err("its hash is not that of its content".to_owned());
    }
    let mut parts = body.splitn(4, ' ');
    let mut next = || parts.next().unwrap_or_default();
    let (number, at, before, payload) = (next(), next(), next(), next());
    let record: u64 = number.parse().map_err(|_| "it has no number")?;
    let at = at.parse().map(Timestamp::from_micros).map_err(|_| "it has no time")?;
    if record != previous.record + 1 {
        return Err(format!("it has the number {record} where {} is expected", previous.record + 1));
    }
    if before.parse() != Ok(previous.hash) {
        return Err("it does not follow the record before it".to_owned());
    }
    Ok(Record { head: Head { record, hash, at }, payload })
}

/// True where `bytes`, at `offset` of the file's end, may be what a crash left of the record after `previous`.
///
/// A record is written at once, so a crash leaves a beginning of it, with sectors that were never filled and read as
/// zeros: no record contains a zero byte. The hash of the record is not known, but its form, its number and the previous
/// hash are; and a zero byte that does not fill its sector is damage.
pub fn may_be_torn(bytes: &[u8], offset: u64, previous: &Head) -> bool {
    let written = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let is_hash = |hash: &[u8]| hash.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    let (hash, body) = written.split_at(written.len().min(HASH_DIGITS));
    let number = format!(" {} ", previous.record + 1);
    let common = body.len().min(number.len());
    let begins_well = is_hash(hash) && body[..common] == number.as_bytes()[..common];
    begins_well && has_whole_sectors_of_zeros(bytes, offset) && !is_whole_but_for_its_end(written)
}

/// True where every run of zeros in `bytes` fills whole sectors, from the start or to the end at least.
fn has_whole_sectors_of_zeros(bytes: &[u8], offset: u64) -> bool {
    let is_sector = |at: usize| (offset + at as u64).is_multiple_of(SECTOR_BYTES);
    let mut at = 0;
    for run in bytes.chunk_by(|a, b| (*a == 0) == (*b == 0)) {
        let end = at + run.len();
        // Zeros up to the end may begin anywhere: a write may stop inside a sector.
        let may_be_gap = end == bytes.len() || ((at == 0 || is_sector(at)) && is_sector(end));
        if run[0] == 0 && !may_be_gap {
            return false;
        }
        at = end;
    }
    true
}

/// True where all but the last byte is a whole record: then its line feed was changed, not cut off.
fn is_whole_but_for_its_end(bytes: &[u8]) -> bool {
    let Some((_, line)) = bytes.split_last() else { return false };
    let Ok(line) = std::str::from_utf8(line) else { return false };
    line.split_once(' ').is_some_and(|(hash, body)| hash.parse() == Ok(RecordHash::of(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> (String, Head) {
        encoded(&Head::EMPTY, 7, r#"{"do":"x"}"#)
    }

    fn encoded(previous: &Head, seconds: i64, payload: &str) -> (String, Head) {
        let mut line = String::new();
        let head = encode(&mut line, previous, Timestamp::from_seconds(seconds), payload);
        (line, head)
    }

    #[test]
    fn a_record_reads_back_and_chains() {
        let (line, head) = record();
        let read = decode(line.as_bytes(), &Head::EMPTY).unwrap();
        assert_eq!((read.head, read.payload), (head, r#"{"do":"x"}"#));
        let (second, _) = encoded(&head, 8, "{}");
        assert!(decode(second.as_bytes(), &head).is_ok());
        assert!(decode(second.as_bytes(), &Head::EMPTY).unwrap_err().contains("number 2"));
    }

    #[test]
    fn every_changed_bit_is_found() {
        let (line, _) = record();
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut changed = line.clone().into_bytes();
                changed[at] ^= 1 << bit;
                assert!(decode(&changed, &Head::EMPTY).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_cut_record_is_torn_and_a_changed_one_is_not() {
        let (line, head) = record();
        for length in 0..=line.len() {
            assert!(may_be_torn(&line.as_bytes()[..length], 100, &Head::EMPTY), "cut to {length}");
            let mut zeros = line.as_bytes()[..length].to_vec();
            zeros.extend([0; 100]);
            assert!(may_be_torn(&zeros, 100, &Head::EMPTY), "cut to {length}, then never written");
        }
        assert!(!may_be_torn(format!("{line}J").as_bytes(), 100, &Head::EMPTY), "the line feed was changed");
        assert!(!may_be_torn(b"garbage", 100, &Head::EMPTY));
        assert!(!may_be_torn(line.as_bytes(), 100, &head), "another number than the next");
    }

    #[test]
    fn a_sector_that_was_never_written_is_torn_and_a_byte_that_became_zero_is_not() {
        let payload = "x".repeat(2000);
        let (line, _) = encoded(&Head::EMPTY, 7, &payload);
        let line = format!("{line}\n").into_bytes();
        for (from, to) in [(0, 412), (412, 924), (924, 1948), (412, line.len())] {
            let mut torn = line.clone();
            torn[from..to].fill(0);
            assert!(may_be_torn(&torn, 100, &Head::EMPTY), "sectors from {from} to {to}");
        }
        for (from, to) in [(1, 412), (412, 923), (700, 701), (0, 1)] {
            let mut damaged = line.clone();
            damaged[from..to].fill(0);
            assert!(!may_be_torn(&damaged, 100, &Head::EMPTY), "bytes from {from} to {to}");
        }
    }
}
