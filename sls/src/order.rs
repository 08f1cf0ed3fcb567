//! The order of hosts, and places in it: cursors that stay good while hosts come, go and change.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use tycoon_market::HostId;

use crate::fields::{Field, FieldKind, Seen, UnknownField, Value};

/// The longest text in a cursor, in bytes.
const CURSOR_BYTES_MAX: usize = 400;

/// An order: a field, upwards or downwards; `-` before the field's name means downwards. What a host does not have comes
/// last either way, and equal hosts are ordered by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sort {
    /// The field; by id alone where there is none: the order in which nothing is missed while pages are turned.
    field: Option<Field>,
    is_downwards: bool,
}

/// A text that is no order.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SortError {
    /// There is no such field.
    #[error(transparent)]
    Field(#[from] UnknownField),
    /// Hosts may have several of these.
    #[error("hosts cannot be ordered by `{0}`, of which one may have several")]
    Several(Field),
}

impl FromStr for Sort {
    type Err = SortError;

    fn from_str(text: &str) -> Result<Self, SortError> {
        let (name, is_downwards) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        // What is sought most has short names.
        let name = match name {
            "price" => "cpu.price",
            "efficiency" => "cpu.efficiency",
            "uptime" => "uptime.week",
            other => other,
        };
        match name.parse()? {
            Field::Id if !is_downwards => Ok(Self::default()),
            field @ (Field::Id | Field::Image | Field::Owner) => Err(SortError::Several(field)),
            field => Ok(Self { field: Some(field), is_downwards }),
        }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            None => f.write_str("id"),
            Some(field) => write!(f, "{}{field}", if self.is_downwards { "-" } else { "" }),
        }
    }
}

/// What a host is ordered by.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Key<'a> {
    Number(f64),
    Text(&'a str),
    Absent,
}

/// The place of a host in an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place<'a> {
    key: Key<'a>,
    host: HostId,
}

impl Sort {
    /// The place of a host in this order.
    pub fn place<'f>(&self, seen: &Seen<'f, '_>) -> Place<'f> {
        let key = match &self.field {
            None => Key::Absent,
            Some(field) => match (field.value(seen), field.kind()) {
                (Value::Text(text), _) => Key::Text(text),
                (Value::Truth(truth), _) => Key::Number(f64::from(u8::from(truth))),
                (Value::Number(number), FieldKind::Number(_)) if !number.is_nan() => Key::Number(number),
                _ => Key::Absent,
            },
        };
        Place { key, host: seen.facts.host }
    }

    /// Which of two places comes first.
    pub fn compare(&self, one: &Place<'_>, other: &Place<'_>) -> Ordering {
        let directed = |order: Ordering| if self.is_downwards { order.reverse() } else { order };
        let by_key = match (one.key, other.key) {
            (Key::Number(one), Key::Number(other)) => directed(one.total_cmp(&other)),
            (Key::Text(one), Key::Text(other)) => directed(one.cmp(other)),
            (Key::Absent, Key::Absent) => Ordering::Equal,
            (Key::Absent, _) | (Key::Number(_), Key::Text(_)) => Ordering::Greater,
            (_, Key::Absent) | (Key::Text(_), Key::Number(_)) => Ordering::Less,
        };
        by_key.then(one.host.cmp(&other.host))
    }
}

/// A place in an order as it travels: the hosts after it are asked for, whether the host at it is still there or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    key: OwnedKey,
    host: HostId,
}

impl Eq for Cursor {}

#[derive(Clone, Debug, PartialEq)]
enum OwnedKey {
    Number(f64),
    Text(String),
    Absent,
}

/// A text that is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it is not what a page gave as `next_page`; start again with the first page")]
pub struct CursorError;

impl Cursor {
    /// The cursor at a place.
    pub fn at(place: &Place<'_>) -> Self {
        let key = match place.key {
            Key::Number(number) => OwnedKey::Number(number),
            Key::Text(text) => OwnedKey::Text(text.to_owned()),
            Key::Absent => OwnedKey::Absent,
        };
        Self { key, host: place.host }
    }

    /// The place.
    pub fn place(&self) -> Place<'_> {
        let key = match &self.key {
            OwnedKey::Number(number) => Key::Number(*number),
            OwnedKey::Text(text) => Key::Text(text),
            OwnedKey::Absent => Key::Absent,
        };
        Place { key, host: self.host }
    }

    /// The host at the place.
    pub const fn host(&self) -> HostId {
        self.host
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            OwnedKey::Absent => write!(f, "{}", self.host),
            OwnedKey::Number(number) => write!(f, "n{:016x}.{}", number.to_bits(), self.host),
            OwnedKey::Text(text) => write!(f, "t{text}.{}", self.host),
        }
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        if text.len() > CURSOR_BYTES_MAX {
            return Err(CursorError);
        }
        let (key, host) = match text.rsplit_once('.') {
            None => (OwnedKey::Absent, text),
            Some((key, host)) => match (key.strip_prefix('n'), key.strip_prefix('t')) {
                (Some(bits), _) => {
                    let bits = u64::from_str_radix(bits, 16).map_err(|_| CursorError)?;
                    (OwnedKey::Number(f64::from_bits(bits)), host)
                }
                (None, Some(text)) => (OwnedKey::Text(text.to_owned()), host),
                (None, None) => return Err(CursorError),
            },
        };
        Ok(Self { key, host: host.parse().map_err(|_| CursorError)? })
    }
}

impl From<HostId> for Cursor {
    /// The place of a host in the order by id.
    fn from(host: HostId) -> Self {
        Self { key: OwnedKey::Absent, host }
    }
}
