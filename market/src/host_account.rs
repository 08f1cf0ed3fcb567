//! Who bids at a host: one account for one pool.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{AccountId, PoolName};

/// The funds and the bid of one account for one pool at one host.
///
/// Written `<account id>/<pool name>`, also in JSON, so that it can be the key of a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostAccountId {
    /// The account that pays.
    pub account: AccountId,
    /// The pool that it pays for.
    pub pool: PoolName,
}

/// Why a text is not the id of a host account.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a host account: 32 hexadecimal digits of the account, a slash and the name of the pool are expected"
)]
pub struct HostAccountIdError(String);

impl HostAccountId {
    /// The host account of `account` for `pool`.
    pub const fn new(account: AccountId, pool: PoolName) -> Self {
        Self { account, pool }
    }
}

impl fmt::Display for HostAccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.pool)
    }
}

impl FromStr for HostAccountId {
    type Err = HostAccountIdError;

    fn from_str(text: &str) -> Result<Self, HostAccountIdError> {
        let error = || HostAccountIdError(text.chars().take(120).collect());
        let (account, pool) = text.split_once('/').ok_or_else(error)?;
        Ok(Self { account: account.parse().map_err(|_| error())?, pool: pool.parse().map_err(|_| error())? })
    }
}

impl TryFrom<String> for HostAccountId {
    type Error = HostAccountIdError;

    fn try_from(text: String) -> Result<Self, HostAccountIdError> {
        text.parse()
    }
}

impl From<HostAccountId> for String {
    fn from(id: HostAccountId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_account_prints_and_reads_back() {
        let text = format!("{}/lhc-testbed", "0f".repeat(16));
        let id: HostAccountId = text.parse().unwrap();
        assert_eq!(id.pool.as_str(), "lhc-testbed");
        assert_eq!(id.to_string(), text);
        for bad in ["", "/", "lhc-testbed", "0f/lhc-testbed", &"0f".repeat(16)] {
            assert!(bad.parse::<HostAccountId>().is_err(), "{bad:?} is no host account");
        }
    }
}
