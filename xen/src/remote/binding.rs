//! Whom a stream to the enforcer is for: the market of the host, or one account.
//!
//! A stream of the market begins as every session does ([`PREAMBLE`]). One of an account begins with a line of its own,
//! which `tycoon host session --account` writes before it passes on the first byte of the client: from then on the
//! stream is that account's, and nothing that the client says can change it.

use std::fmt;
use std::io::{self, ErrorKind, Read};

use tycoon_market::AccountId;

use super::frame::PREAMBLE;

/// The longest first line, in bytes: an account of 32 digits and a number of 20.
const LINE_BYTES_MAX: usize = 128;
/// What the line of an account begins with.
const WORDS: &str = "tycoon account ";

/// A stream is for this account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The account.
    pub account: AccountId,
    /// What its images on the host may have in all, in bytes, as the market says.
    pub upload_bytes: u64,
}

impl fmt::Display for Binding {
    /// The line that binds a stream, with its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{WORDS}{} {}", self.account, self.upload_bytes)
    }
}

/// What a stream begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// It is an account's.
    Bound(Binding),
    /// It is the market's, or none that is known: these bytes were read of it.
    Other(Vec<u8>),
}

/// Reads the first line, and not a byte more.
pub(super) fn read(reader: &mut dyn Read) -> io::Result<Beginning> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match reader.read(&mut byte) {
            Ok(0) => return Ok(Beginning::Other(line)),
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        let is_whole = line.last() == Some(&b'\n');
        if !PREAMBLE.starts_with(&line) && !is_binding(&line) || line.len() >= LINE_BYTES_MAX {
            return Ok(Beginning::Other(line));
        }
        if is_whole {
            return Ok(parse(&line).map_or(Beginning::Other(line), Beginning::Bound));
        }
    }
}

/// True where the bytes may become the line of an account.
fn is_binding(line: &[u8]) -> bool {
    let words = WORDS.as_bytes();
    words.starts_with(line) || line.starts_with(words)
}

fn parse(line: &[u8]) -> Option<Binding> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.strip_prefix(WORDS)?;
    let (account, bytes) = text.split_once(' ')?;
    let binding = Binding { account: account.parse().ok()?, upload_bytes: bytes.parse().ok()? };
    // Only what this program writes: no signs, no second spelling.
    (binding.to_string().as_bytes() == line).then_some(binding)
}

#[cfg(test)]
mod tests {
    use tycoon_market::PublicKey;

    use super::*;

    fn binding() -> Binding {
        let key = (1..).find_map(|byte| PublicKey::from_bytes([byte; 32]).ok()).unwrap();
        Binding { account: AccountId::of(&key), upload_bytes: 5 << 30 }
    }

    #[test]
    fn a_stream_is_an_accounts_or_the_markets() {
        let line = binding().to_string();
        let mut stream: &[u8] = &[line.as_bytes(), PREAMBLE].concat();
        assert_eq!(read(&mut stream).unwrap(), Beginning::Bound(binding()));
        assert_eq!(stream, PREAMBLE, "nothing of what follows was taken");
        let mut stream: &[u8] = &[PREAMBLE, b"more"].concat();
        assert_eq!(read(&mut stream).unwrap(), Beginning::Other(PREAMBLE.to_vec()));
        assert_eq!(stream, b"more");
    }

    #[test]
    fn what_only_looks_like_an_account_binds_nothing() {
        let good = binding().to_string();
        let account = binding().account.to_string();
        for bad in [
            good.trim_end().to_owned(),
            format!("tycoon account {account}\n"),
            format!("tycoon account {account} -1\n"),
            format!("tycoon account {account} +1\n"),
            format!("tycoon account {account} 1 \n"),
            format!("tycoon account {account} 01\n"),
            format!("tycoon account  {account} 1\n"),
            format!("tycoon account {} 1\n", account.to_uppercase()),
            format!("tycoon account {} 1\n", "9".repeat(200)),
            "tycoon account ../.. 1\n".to_owned(),
            "SSH-2.0-x\n".to_owned(),
            String::new(),
        ] {
            let beginning = read(&mut bad.as_bytes()).unwrap();
            assert!(matches!(beginning, Beginning::Other(_)), "{bad:?}: {beginning:?}");
        }
    }
}
