//! All records of a bank as one text, to move it to another machine or another store.
//!
//! ```text
//! tycoon-bank-export 1
//! <hash> <number> <time> <previous hash> <payload>
//! …
//! ```
//!
//! The lines are those of the journal, from the first record on, so the chain of hashes proves that nothing was left out
//! or changed on the way.

use std::io::{self, BufRead, Read as _, Write};

use thiserror::Error;

use crate::bank::BankError;
use crate::journal::record::{self, RECORD_BYTES_MAX};
use crate::journal::{Record, RecordHash};
use crate::store::Head;

/// The first line.
const HEADER: &str = "tycoon-bank-export 1";

/// What is shown each record.
pub type Visitor<'v> = dyn FnMut(&Record<'_>) -> Result<(), BankError> + 'v;

/// Why an export could not be written or read.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The books could not be read or written.
    #[error(transparent)]
    Bank(#[from] BankError),
    /// The file could not be read or written.
    #[error("the export cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// The text is no export.
    #[error("line {line} of the export: {what}")]
    Malformed {
        /// The line, from 1.
        line: u64,
        /// What is wrong there.
        what: String,
    },
}

/// Writes the records that `records` shows, from the first, to `to`. Returns the last.
pub fn write(
    to: &mut dyn Write,
    records: &mut dyn FnMut(&mut Visitor<'_>) -> Result<(), BankError>,
) -> Result<Head, ExportError> {
    writeln!(to, "{HEADER}")?;
    let mut head = Head::EMPTY;
    let (mut line, mut failure) = (String::new(), None);
    let shown = records(&mut |shown| {
        line.clear();
        let next = record::encode(&mut line, &head, shown.head.at, shown.payload);
        if let Err(error) = writeln!(to, "{line}") {
            failure = Some(error);
            return Err(BankError::Database("the export stopped".to_owned()));
        }
        head = next;
        Ok(())
    });
    if let Some(error) = failure {
        return Err(error.into());
    }
    shown?;
    to.flush()?;
    Ok(head)
}

/// Reads an export and shows its records, whose chain holds, to `visit`. Returns the last.
pub fn read(
    from: &mut dyn BufRead,
    visit: &mut dyn FnMut(&Record<'_>) -> Result<(), BankError>,
) -> Result<Head, ExportError> {
    let malformed = |line, what: &str| ExportError::Malformed { line, what: what.to_owned() };
    let mut bytes = Vec::new();
    from.take(HEADER.len() as u64 + 1).read_until(b'\n', &mut bytes)?;
    if bytes != format!("{HEADER}\n").as_bytes() {
        return Err(malformed(1, &format!("`{HEADER}` is expected; is it an export of a bank?")));
    }
    let mut head = Head::EMPTY;
    for number in 2.. {
        bytes.clear();
        let read = from.take(RECORD_BYTES_MAX as u64 + 1).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            break;
        }
        let Some(line) = bytes.strip_suffix(b"\n") else {
            return Err(malformed(number, "it is cut off, or too long"));
        };
        let record = record::decode(line, &head).map_err(|what| malformed(number, &what))?;
        visit(&record)?;
        head = record.head;
    }
    if head.hash == RecordHash::ZERO {
        return Err(malformed(2, "there is no record"));
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tycoon_market::Timestamp;

    fn export() -> String {
        let mut text = Vec::new();
        let head = write(&mut text, &mut |visit| {
            let mut head = Head::EMPTY;
            for payload in ["{\"a\":1}", "{\"b\":2}"] {
                let next = record::encode(&mut String::new(), &head, Timestamp::from_seconds(7), payload);
                visit(&Record { head: next, payload })?;
                head = next;
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(head.record, 2);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn an_export_reads_back() {
        let mut payloads = Vec::new();
        let head = read(&mut export().as_bytes(), &mut |record| {
            payloads.push(record.payload.to_owned());
            Ok(())
        });
        assert_eq!(head.unwrap().record, 2);
        assert_eq!(payloads, ["{\"a\":1}", "{\"b\":2}"]);
    }

    #[test]
    fn what_was_changed_cut_or_left_out_is_found() {
        let whole = export();
        let lines: Vec<&str> = whole.lines().collect();
        let cases = [
            (String::new(), "line 1"),
            (whole.replace("export 1", "export 9"), "line 1"),
            (whole.replace("{\"b\":2}", "{\"b\":3}"), "line 3"),
            (format!("{}\n{}\n", lines[0], lines[2]), "line 2"),
            (whole.trim_end().to_owned(), "line 3"),
            (format!("{}\n", lines[0]), "no record"),
        ];
        for (text, told) in cases {
            let error = read(&mut text.as_bytes(), &mut |_| Ok(())).unwrap_err().to_string();
            assert!(error.contains(told), "{text:?}: {error}");
        }
    }
}
