//! Names that people give: of hosts and of pools.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{text}` cannot name a {what}: use 1 to {max} lower-case letters, digits, `-`{dots}, with a letter or a digit first and last"
)]
pub struct NameError {
    text: String,
    what: &'static str,
    max: usize,
    dots: &'static str,
}

fn is_valid(text: &str, max: usize, dots: bool) -> bool {
    let is_alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    !text.is_empty()
        && text.len() <= max
        && text.bytes().all(|b| is_alphanumeric(b) || b == b'-' || (dots && b == b'.'))
        && text.bytes().next().is_some_and(is_alphanumeric)
        && text.bytes().last().is_some_and(is_alphanumeric)
        && !text.contains("..")
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $dots:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if is_valid(text, $max, $dots) {
                    Ok(Self(text.into()))
                } else {
                    let dots = if $dots { ", `.`" } else { "" };
                    Err(NameError { text: text.chars().take(80).collect(), what: $what, max: $max, dots })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// The name of a host, as its owner registers it: a host name or a fully qualified domain name.
    HostName, "host", 253, true
);
name!(
    /// The name of a pool, unique within one account.
    PoolName, "pool", 63, false
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_where_they_enter() {
        assert!("lhc-testbed".parse::<PoolName>().is_ok());
        assert!("node1.example.org".parse::<HostName>().is_ok());
        for text in ["", "-a", "a-", "A", "a b", "a/../b", "a.b"] {
            assert!(text.parse::<PoolName>().is_err(), "{text:?} must not name a pool");
        }
        assert!("a..b".parse::<HostName>().is_err());
        assert!(serde_json_like("Bad Name").is_err());
    }

    fn serde_json_like(text: &str) -> Result<PoolName, NameError> {
        PoolName::try_from(text.to_owned())
    }
}
