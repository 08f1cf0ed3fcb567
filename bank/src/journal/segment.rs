//! One file of the journal: a header line, then records.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::error::{JournalError, RESTORE};
use super::record::{self, RECORD_BYTES_MAX, Record, RecordHash};
use crate::store::Head;

/// What the header line begins with: the format and its version.
const HEADER_WORDS: &str = "tycoon-bank-journal 1";
/// The longest header line in bytes.
const HEADER_BYTES_MAX: usize = 256;
/// What the names of segments end with.
const SUFFIX: &str = ".journal";

/// The header line of the segment after `previous`, with its line feed.
pub fn header(previous: &Head) -> String {
    format!("{HEADER_WORDS} {} {}\n", previous.record + 1, previous.hash)
}

/// The name of the segment that begins with the record `first`.
pub fn name(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// A segment in the journal's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The file.
    pub path: PathBuf,
    /// The number of its first record, by its name.
    pub first: u64,
}

impl Segment {
    /// The segment of a file name; `None` for another file.
    pub fn of(folder: &Path, file_name: &str) -> Option<Self> {
        let first = file_name.strip_suffix(SUFFIX)?.parse().ok()?;
        (name(first) == file_name).then(|| Self { path: folder.join(file_name), first })
    }
}

/// The end of the intact part of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The last record.
    pub head: Head,
    /// The length of the intact part in bytes.
    pub length: u64,
    /// Bytes behind it that are a torn record; only in the last segment.
    pub torn: u64,
}

/// The head before the first record of `segment`, by its header. The time is not known and set to zero.
pub fn read_header(segment: &Segment) -> Result<(Head, u64), JournalError> {
    let file = open(&segment.path)?;
    parse_header(segment, &mut BufReader::new(file))
}

/// Reads `segment` and checks that it continues `previous`, or what its own header says where that is `None`;
/// shows each record to `visit`. A torn last record is found where `is_last`, and is damage elsewhere.
pub fn scan<E: From<JournalError>>(
    segment: &Segment,
    previous: Option<&Head>,
    is_last: bool,
    visit: &mut dyn FnMut(&Record<'_>) -> Result<(), E>,
) -> Result<End, E> {
    let damaged = |offset, what| JournalError::Damaged { file: segment.path.clone(), offset, what, help: RESTORE };
    let mut reader = BufReader::with_capacity(1 << 16, open(&segment.path)?);
    let (before, mut length) = parse_header(segment, &mut reader)?;
    let mut head = match previous {
        Some(previous) if (previous.record, previous.hash) != (before.record, before.hash) => {
            return Err(damaged(0, "its header does not continue the segment before it".to_owned()).into());
        }
        Some(previous) => *previous,
        None => before,
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        let io = |source| JournalError::Io { doing: "read", path: segment.path.clone(), source };
        let limit = RECORD_BYTES_MAX as u64 + 1;
        let read = reader.by_ref().take(limit).read_until(b'\n', &mut line).map_err(io)?;
        if read == 0 {
            return Ok(End { head, length, torn: 0 });
        }
        let ends = line.last() == Some(&b'\n');
        let is_at_end = reader.fill_buf().map_err(io)?.is_empty();
        let number = head.record + 1;
        let what = if ends {
            match record::decode(&line[..read - 1], &head) {
                Ok(record) => {
                    visit(&record)?;
                    head = record.head;
                    length += read as u64;
                    continue;
                }
                Err(what) => format!("record {number}: {what}"),
            }
        } else if is_at_end {
            format!("record {number} is cut off, and not by a crash while it was written")
        } else {
            format!("record {number} is too long")
        };
        let has_gap = !ends || line.contains(&0);
        if is_last && is_at_end && has_gap && record::may_be_torn(&line, length, &head) {
            return Ok(End { head, length, torn: read as u64 });
        }
        return Err(damaged(length, what).into());
    }
}

fn open(path: &Path) -> Result<File, JournalError> {
    File::open(path).map_err(|source| JournalError::Io { doing: "open", path: path.to_owned(), source })
}

fn parse_header(segment: &Segment, reader: &mut BufReader<File>) -> Result<(Head, u64), JournalError> {
    let mut line = Vec::new();
    reader.by_ref().take(HEADER_BYTES_MAX as u64).read_until(b'\n', &mut line).map_err(|source| JournalError::Io {
        doing: "read",
        path: segment.path.clone(),
        source,
    })?;
    let parsed = (|| {
        let rest =
            std::str::from_utf8(&line).ok()?.strip_suffix('\n')?.strip_prefix(HEADER_WORDS)?.strip_prefix(' ')?;
        let (first, hash) = rest.split_once(' ')?;
        let (first, hash): (u64, RecordHash) = (first.parse().ok()?, hash.parse().ok()?);
        (first == segment.first && first > 0).then_some(Head { record: first - 1, hash, ..Head::EMPTY })
    })();
    let head = parsed.ok_or_else(|| JournalError::Damaged {
        file: segment.path.clone(),
        offset: 0,
        what: format!("its first line is not `{HEADER_WORDS} {} <hash>`", segment.first),
        help: RESTORE,
    })?;
    Ok((head, line.len() as u64))
}
