//! Ids of 128 bits, written as 32 lower-case hexadecimal digits.

use std::fmt;

use thiserror::Error;

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not an id: 32 lower-case hexadecimal digits are expected")]
pub struct IdError(String);

impl IdError {
    /// The error for `text`, of which only the beginning is kept.
    pub(crate) fn of(text: &str) -> Self {
        Self(text.chars().take(64).collect())
    }
}

/// The bytes of 32 lower-case hexadecimal digits.
pub(crate) fn parse_hex(text: &str) -> Option<[u8; 16]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (digits, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let digits: &[[u8; 2]; 16] = digits.try_into().ok()?;
    let mut bytes = [0; 16];
    for (byte, [high, low]) in bytes.iter_mut().zip(digits) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(bytes)
}

/// Writes bytes as 32 lower-case hexadecimal digits.
pub(crate) fn write_hex(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut digits = [0; 32];
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    f.write_str(str::from_utf8(&digits).map_err(|_| fmt::Error)?)
}

/// Defines an id type: its text, its JSON (the same text), its bytes.
macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The id of these 16 bytes.
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

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::hex_id::write_hex(&self.0, f)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::hex_id::IdError;

            fn from_str(text: &str) -> Result<Self, $crate::hex_id::IdError> {
                $crate::hex_id::parse_hex(text).map(Self).ok_or_else(|| $crate::hex_id::IdError::of(text))
            }
        }

        $crate::in_text_form!($name);

        impl TryFrom<String> for $name {
            type Error = $crate::hex_id::IdError;

            fn try_from(text: String) -> Result<Self, $crate::hex_id::IdError> {
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

pub(crate) use hex_id;
