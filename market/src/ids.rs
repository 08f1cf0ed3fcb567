//! Ids that clients make themselves, so that repeating a call is harmless.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::key::{IdError, parse_hex};

macro_rules! client_made_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 128 bits that the client draws at random, written as 32 lower-case hexadecimal digits.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 16]);

        impl $name {
            /// The id made of these (random) bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The id's 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// The first eight digits, for people.
            pub fn short(&self) -> String {
                self.to_string()[..8].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", u128::from_be_bytes(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self).ok_or_else(|| IdError::of(text))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

client_made_id!(
    /// A transfer in the bank's ledger.
    TransferId
);
client_made_id!(
    /// An escrow: money set aside at the bank for one host account. Its receipt carries the same id.
    EscrowId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prints_as_32_digits_and_reads_back() {
        let id = EscrowId::from_bytes([0xab; 16]);
        assert_eq!(id.to_string(), "ab".repeat(16));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.short(), "abababab");
        let small = TransferId::from_bytes(*b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07");
        assert_eq!(small.to_string().len(), 32, "leading zeros are kept");
        assert_eq!(small.to_string().parse(), Ok(small));
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        let long = "a".repeat(33);
        let upper = "AB".repeat(16);
        for text in ["", "abc", &long, &upper, "+bababababababababababababababab", "zz"] {
            assert!(text.parse::<EscrowId>().is_err(), "{text:?} is no id");
        }
    }
}
