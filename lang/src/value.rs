//! Values: what expressions compute and attributes hold.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde::{Serialize, Serializer};
use tycoon_market::{Credits, Rate, TimeSpan};

use crate::condition::{Condition, Live};
use crate::quantity;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing was written, and nothing need be.
    Unset,
    /// Yes or no.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any number; never infinite, never not-a-number.
    Number(f64),
    /// Text: strings, names, paths, words.
    Text(Arc<str>),
    /// An amount of memory or disk, in bytes.
    Bytes(u64),
    /// A length of time.
    Duration(TimeSpan),
    /// Money.
    Credits(Credits),
    /// Money per time.
    Rate(Rate),
    /// Bits per second.
    Bandwidth(u64),
    /// An address.
    Ip(IpAddr),
    /// Several values.
    List(Arc<[Value]>),
    /// Named values, as a row of a `let`.
    Table(Arc<Table>),
    /// Another component.
    Component(ComponentReference),
    /// A condition that is judged later.
    Condition(Arc<Condition>),
    /// A value that is known only once the pool runs.
    Live(Arc<Live>),
}

/// Named values in the order in which they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    rows: Vec<(Arc<str>, Value)>,
}

impl Table {
    /// A table of rows whose names differ.
    pub(crate) fn new(rows: Vec<(Arc<str>, Value)>) -> Self {
        Self { rows }
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.rows.iter().find(|(known, _)| &**known == name).map(|(_, value)| value)
    }

    /// All names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Value)> {
        self.rows.iter().map(|(name, value)| (name, value))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True where there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A component that a value points at.
#[derive(Clone, Debug)]
pub struct ComponentReference {
    pub(crate) instance: u32,
    pub(crate) kind: Arc<str>,
    pub(crate) path: Arc<str>,
}

impl ComponentReference {
    /// The path of the component, its pool's name first: `lhc-testbed.computer1.files`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The kind of the component: `loopback`.
    pub fn kind(&self) -> &str {
        &self.kind
    }
}

impl PartialEq for ComponentReference {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Value {
    /// True where some part of the value is known only once the pool runs.
    pub fn is_live(&self) -> bool {
        match self {
            Self::Live(_) => true,
            Self::List(values) => values.iter().any(Self::is_live),
            Self::Table(table) => table.iter().any(|(_, value)| value.is_live()),
            _ => false,
        }
    }

    /// The first live part.
    pub(crate) fn first_live(&self) -> Option<&Arc<Live>> {
        match self {
            Self::Live(live) => Some(live),
            Self::List(values) => values.iter().find_map(Self::first_live),
            Self::Table(table) => table.iter().find_map(|(_, value)| value.first_live()),
            _ => None,
        }
    }

    /// What kind of value it is, with its article: `an integer`, `an amount of bytes`.
    pub fn describe(&self) -> String {
        match self {
            Self::Unset => "nothing".into(),
            Self::Boolean(_) => "a boolean".into(),
            Self::Integer(_) => "an integer".into(),
            Self::Number(_) => "a number".into(),
            Self::Text(_) => "text".into(),
            Self::Bytes(_) => "an amount of bytes".into(),
            Self::Duration(_) => "a duration".into(),
            Self::Credits(_) => "an amount of credits".into(),
            Self::Rate(_) => "a rate of payment".into(),
            Self::Bandwidth(_) => "a bandwidth".into(),
            Self::Ip(_) => "an address".into(),
            Self::List(_) => "a list".into(),
            Self::Table(_) => "a table".into(),
            Self::Component(component) => format!("the {} `{}`", component.kind, component.path),
            Self::Condition(_) => "a condition".into(),
            Self::Live(live) => format!("a value known only while running (live {})", live.ty),
        }
    }

    /// The value as text for `${…}`; what has no text gives `None`.
    pub(crate) fn to_fill(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.to_string()),
            Self::Boolean(value) => Some(value.to_string()),
            Self::Integer(_)
            | Self::Number(_)
            | Self::Bytes(_)
            | Self::Duration(_)
            | Self::Credits(_)
            | Self::Rate(_)
            | Self::Bandwidth(_)
            | Self::Ip(_) => Some(self.to_string()),
            _ => None,
        }
    }

    /// The text of a text value.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number of an integer value.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The number of an integer or number value.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(*value as f64),
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// The bytes of an amount of bytes.
    pub fn as_bytes(&self) -> Option<u64> {
        match self {
            Self::Bytes(value) => Some(*value),
            _ => None,
        }
    }

    /// The length of a duration.
    pub fn as_duration(&self) -> Option<TimeSpan> {
        match self {
            Self::Duration(value) => Some(*value),
            _ => None,
        }
    }

    /// The amount of a value of money.
    pub fn as_credits(&self) -> Option<Credits> {
        match self {
            Self::Credits(value) => Some(*value),
            _ => None,
        }
    }

    /// The truth of a boolean.
    pub fn as_boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The IPv4 address of an address value.
    pub fn as_ipv4(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Ip(IpAddr::V4(address)) => Some(*address),
            _ => None,
        }
    }

    /// The values of a list; nothing for other values.
    pub fn as_list(&self) -> &[Value] {
        match self {
            Self::List(values) => values,
            _ => &[],
        }
    }
}

impl fmt::Display for Value {
    /// As it is written in a description: `2GiB`, `1h`, `10.00`, `[1, 2]`; text without quotes, except in lists.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.pad("unset"),
            Self::Boolean(value) => f.pad(if *value { "true" } else { "false" }),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(text) => f.pad(text),
            Self::Bytes(bytes) => f.pad(&quantity::show_bytes(*bytes)),
            Self::Duration(span) => f.pad(&quantity::show_duration(*span)),
            Self::Credits(credits) => write!(f, "{credits}"),
            Self::Rate(rate) => write!(f, "{rate}"),
            Self::Bandwidth(bits) => f.pad(&quantity::show_bandwidth(*bits)),
            Self::Ip(address) => write!(f, "{address}"),
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    match value {
                        Self::Text(text) => write!(f, "{comma}'{text}'")?,
                        value => write!(f, "{comma}{value}")?,
                    }
                }
                f.write_str("]")
            }
            Self::Table(table) => {
                f.write_str("{")?;
                for (index, (name, value)) in table.iter().enumerate() {
                    write!(f, "{}{name}={value}", if index > 0 { " " } else { "" })?;
                }
                f.write_str("}")
            }
            Self::Component(component) => f.pad(&component.path),
            Self::Condition(condition) => write!(f, "{condition}"),
            Self::Live(live) => write!(f, "{}", live.expression),
        }
    }
}

impl Serialize for Value {
    /// Booleans and numbers as themselves, unset as null, lists as arrays, tables as objects, a live value as
    /// `{"live": expression}`, everything else as the text that [`fmt::Display`] gives.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        match self {
            Self::Unset => serializer.serialize_none(),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Number(value) => serializer.serialize_f64(*value),
            Self::List(values) => serializer.collect_seq(values.iter()),
            Self::Table(table) => serializer.collect_map(table.iter().map(|(name, value)| (&**name, value))),
            Self::Live(live) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("live", &live.expression.to_string())?;
                map.end()
            }
            other => serializer.collect_str(other),
        }
    }
}
