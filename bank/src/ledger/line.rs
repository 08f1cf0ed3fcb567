//! The lines of a payer's statement: everything that happened to the money she set aside for hosts, one line each, with
//! the host's signature under what it drew. Adding them up gives what she has paid for each pool.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tycoon_market::{AccountId, Credits, EscrowId, HostId, PoolName, PublicKey, Statement, Timestamp};

use super::EscrowEnd;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// The number of the journal record.
    pub record: u64,
    /// The escrow.
    pub escrow: EscrowId,
    /// The pool that it is for.
    pub pool: PoolName,
    /// The host.
    pub host: HostId,
    /// The host's key, which signs its statements.
    pub host_key: PublicKey,
    /// What was set aside now.
    pub set_aside: Credits,
    /// What the host drew now.
    pub drawn: Credits,
    /// What returned to the payer now.
    pub returned: Credits,
    /// The host's statement that says so; `None` for what no host said.
    pub statement: Option<Statement>,
    /// How the escrow ended, where it ended now.
    pub end: Option<EscrowEnd>,
}

impl Line {
    /// Its place among the payer's lines.
    pub const fn place(&self) -> LinePlace {
        LinePlace { at: self.at, record: self.record, escrow: self.escrow }
    }
}

/// Where a line stands among those of its payer: by time, record and escrow. Written `time.record.escrow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinePlace {
    /// When.
    pub at: Timestamp,
    /// The number of the journal record.
    pub record: u64,
    /// The escrow.
    pub escrow: EscrowId,
}

/// A text that is not the place of a line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not the place of a line; it is the `next` of the page before")]
pub struct LinePlaceError;

impl LinePlace {
    /// The place before all lines of `at` and later.
    pub const fn before(at: Timestamp) -> Self {
        Self { at, record: 0, escrow: EscrowId::from_bytes([0; 16]) }
    }
}

impl fmt::Display for LinePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.at.micros(), self.record, self.escrow)
    }
}

impl FromStr for LinePlace {
    type Err = LinePlaceError;

    fn from_str(text: &str) -> Result<Self, LinePlaceError> {
        let mut parts = text.splitn(3, '.');
        let mut next = || parts.next().ok_or(LinePlaceError);
        let at = Timestamp::from_micros(next()?.parse().map_err(|_| LinePlaceError)?);
        let record = next()?.parse().map_err(|_| LinePlaceError)?;
        let escrow = next()?.parse().map_err(|_| LinePlaceError)?;
        Ok(Self { at, record, escrow })
    }
}

/// What is to be done at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Due {
    /// An escrow lapses.
    Escrow(EscrowId),
    /// A reservation expires.
    Reservation(AccountId, tycoon_market::TransferId),
    /// The next period of an allowance begins.
    Allowance(AccountId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back() {
        let place = LinePlace { at: Timestamp::from_seconds(7), record: 9, escrow: EscrowId::from_bytes([3; 16]) };
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in ["", "1", "1.2", "1.2.x", "a.2.03030303030303030303030303030303"] {
            assert_eq!(text.parse::<LinePlace>(), Err(LinePlaceError), "{text}");
        }
    }
}
