//! Types: how a literal is read, and what a computed value must be.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tycoon_market::{Credits, HostName};

use crate::quantity::{self, QuantityError};
use crate::statement::Token;
use crate::value::Value;

/// The type of an attribute, a param or a live value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Anything.
    Any,
    /// `#true` or `#false`.
    Boolean,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// Any text.
    Text,
    /// One bare word, as enumerations are made of.
    Word,
    /// An amount of memory or disk: `"2GiB"`.
    Bytes,
    /// A length of time: `"12h"`.
    Duration,
    /// An amount of money: `10`, `0.25`.
    Credits,
    /// Money per time: `"0.5/h"`.
    Rate,
    /// Bits per second: `"100Mbit/s"`.
    Bandwidth,
    /// An IPv4 or IPv6 address.
    Ip,
    /// An IPv4 address.
    Ipv4,
    /// An IPv4 netmask: `"255.255.0.0"`.
    Netmask,
    /// A host name, with or without domain: `node1.example.org`.
    HostName,
    /// The name of an image: `debian-12`, `std:tiny`.
    Image,
    /// An absolute path: `"/data/xen"`.
    Path,
    /// Named values, as a `let` holds them.
    Table,
    /// An expression that is judged where it stands, or later.
    Condition,
    /// A component of a kind: literals are paths.
    Component(Arc<str>),
    /// Several values of one type.
    List(Box<Type>),
}

const NAMES: [(&str, Type); 19] = [
    ("any", Type::Any),
    ("boolean", Type::Boolean),
    ("integer", Type::Integer),
    ("number", Type::Number),
    ("string", Type::Text),
    ("word", Type::Word),
    ("bytes", Type::Bytes),
    ("duration", Type::Duration),
    ("credits", Type::Credits),
    ("rate", Type::Rate),
    ("bandwidth", Type::Bandwidth),
    ("ip", Type::Ip),
    ("ipv4", Type::Ipv4),
    ("netmask", Type::Netmask),
    ("hostname", Type::HostName),
    ("image", Type::Image),
    ("path", Type::Path),
    ("table", Type::Table),
    ("condition", Type::Condition),
];

/// Why a value is not of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// True where the kind of value is right and only its unit is not.
    pub(crate) wrong_unit: bool,
    /// What is wrong: "`64` has no unit".
    pub(crate) message: String,
    /// What to write instead: `"64MiB"`, as KDL.
    pub(crate) instead: Option<String>,
    /// Why that: "only `($)` computes".
    pub(crate) because: Option<String>,
    /// How such values look.
    pub(crate) help: String,
}

impl Type {
    /// The names of all types that have one of their own.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// The type of a name; a name of a kind is the type of its components.
    pub(crate) fn from_name(name: &str, is_kind: impl Fn(&str) -> bool) -> Option<Self> {
        if let Some((_, ty)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Some(ty.clone());
        }
        is_kind(name).then(|| Self::Component(Arc::from(name)))
    }

    /// True where a plain literal is an expression: a path to a component, a table, a condition.
    pub(crate) fn reads_expressions(&self) -> bool {
        match self {
            Self::Component(_) | Self::Table | Self::Condition => true,
            Self::List(inner) => inner.reads_expressions(),
            _ => false,
        }
    }

    /// The type of one value of a list, or the type itself.
    pub(crate) fn element(&self) -> &Self {
        match self {
            Self::List(inner) => inner,
            other => other,
        }
    }

    /// How values of this type look.
    pub(crate) fn example(&self) -> &'static str {
        match self {
            Self::Any => "any value",
            Self::Boolean => "write `#true` or `#false`",
            Self::Integer => "write a whole number such as `4`",
            Self::Number => "write a number such as `0.9`",
            Self::Text => "write a text such as `\"abc\"`",
            Self::Word => "write one word",
            Self::Bytes => "write a number with its unit, such as `\"64MiB\"` or `\"2GiB\"`",
            Self::Duration => "write a number with its unit, such as `\"30s\"`, `\"5m\"` or `\"12h\"`",
            Self::Credits => "write an amount of credits such as `10` or `0.25`",
            Self::Rate => "write credits per time, such as `\"0.5/h\"`",
            Self::Bandwidth => "write a number with its unit, such as `\"100Mbit/s\"`",
            Self::Ip => "write an address such as `\"192.0.2.11\"` or `\"2001:db8::11\"`",
            Self::Ipv4 => "write an address such as `\"192.0.2.11\"`",
            Self::Netmask => "write a netmask such as `\"255.255.0.0\"`",
            Self::HostName => {
                "write a host name of lower-case letters, digits and `-`, such as `\"node1.example.org\"`"
            }
            Self::Image => "write the name of an image, such as `\"debian-12\"` or `\"std:tiny\"`",
            Self::Path => "write an absolute path such as `\"/data/xen\"`",
            Self::Table => "write the name of a `let` that holds rows",
            Self::Condition => "write an expression between quotes, such as `\"host.cpus >= 4\"`",
            Self::Component(_) => "write the name of a component",
            Self::List(_) => "write several values, with spaces between them",
        }
    }

    /// A value of this type, as one writes it.
    pub(crate) fn sample(&self) -> &'static str {
        match self {
            Self::Boolean => "#true",
            Self::Integer => "4",
            Self::Number => "0.9",
            Self::Bytes => "\"2GiB\"",
            Self::Duration => "\"12h\"",
            Self::Credits => "10",
            Self::Rate => "\"0.5/h\"",
            Self::Bandwidth => "\"100Mbit/s\"",
            Self::Ip | Self::Ipv4 => "\"192.0.2.11\"",
            Self::Netmask => "\"255.255.0.0\"",
            Self::HostName => "\"node1.example.org\"",
            Self::Image => "\"std:tiny\"",
            Self::Path => "\"/data/xen\"",
            Self::List(inner) => inner.sample(),
            Self::Any | Self::Text | Self::Word | Self::Table | Self::Condition | Self::Component(_) => "\"text\"",
        }
    }

    /// Reads a literal as it was written. Types whose literals are expressions are not read here.
    pub(crate) fn read(&self, token: &Token) -> Result<Value, Mismatch> {
        match (self, token) {
            (_, Token::Null) => Ok(Value::Unset),
            (Self::List(inner), token) => inner.read(token),
            (Self::Boolean, Token::Boolean(value)) => Ok(Value::Boolean(*value)),
            (Self::Any, Token::Boolean(value)) => Ok(Value::Boolean(*value)),
            (Self::Integer | Self::Any, Token::Integer(number)) => i64::try_from(*number)
                .map(Value::Integer)
                .map_err(|_| self.mismatch(format!("`{number}` is too large"))),
            (Self::Number, Token::Integer(number)) => Ok(Value::Number(*number as f64)),
            (Self::Number | Self::Any, Token::Decimal(number)) if number.is_finite() => Ok(Value::Number(*number)),
            (Self::Credits, Token::Integer(number)) => self.read_text(&number.to_string()),
            (Self::Credits, Token::Decimal(number)) => self.read_text(&number.to_string()),
            (Self::Bytes | Self::Duration | Self::Bandwidth | Self::Rate, Token::Integer(_) | Token::Decimal(_)) => {
                Err(self.without_unit(&show_token(token)))
            }
            (Self::Any, Token::Text(text)) => Ok(Value::Text(Arc::clone(text))),
            (Self::Boolean, Token::Text(text)) if matches!(&**text, "true" | "yes" | "on" | "false" | "no" | "off") => {
                let keyword = if matches!(&**text, "true" | "yes" | "on") { "#true" } else { "#false" };
                let mut mismatch = self.mismatch(format!("the text `{text}` is no boolean"));
                mismatch.instead = Some(keyword.into());
                Err(mismatch)
            }
            (Self::Integer | Self::Number | Self::Boolean | Self::Credits, Token::Text(text)) => {
                let mut mismatch = self.mismatch(format!("the text `{text}` is no {self}"));
                if text.parse::<f64>().is_ok_and(f64::is_finite) && *self != Self::Boolean {
                    mismatch.instead = Some(text.to_string());
                }
                Err(mismatch)
            }
            (_, Token::Text(text)) => self.read_text(text),
            (Self::Text | Self::Word | Self::Image | Self::HostName, other) => {
                let shown = show_token(other);
                let mut mismatch = self.mismatch(format!("`{shown}` is no text"));
                mismatch.instead = Some(format!("\"{}\"", shown.trim_start_matches('#')));
                Err(mismatch)
            }
            (_, other) => Err(self.mismatch(format!("`{}` is no {self}", show_token(other)))),
        }
    }

    /// Reads a value of this type from text alone, as on a command line.
    pub(crate) fn read_foreign(&self, text: &str) -> Result<Value, Mismatch> {
        let token = match self {
            Self::Boolean => text.parse().map(Token::Boolean).ok(),
            Self::Integer | Self::Any => text.replace('_', "").parse().map(Token::Integer).ok(),
            Self::Number => text.parse().map(Token::Decimal).ok(),
            Self::Credits => return self.read_text(text),
            _ => None,
        };
        self.read(&token.unwrap_or_else(|| Token::Text(Arc::from(text))))
    }

    fn read_text(&self, text: &str) -> Result<Value, Mismatch> {
        let as_text = || Ok(Value::Text(Arc::from(text)));
        match self {
            Self::Text | Self::Any => as_text(),
            Self::Word if is_word(text) => as_text(),
            Self::HostName if is_host_name(text) => as_text(),
            Self::Image if is_image(text) => as_text(),
            Self::Path if is_absolute_path(text) => as_text(),
            Self::Bytes => quantity::read_bytes(text).map(Value::Bytes).map_err(|e| self.bad_quantity(text, e)),
            Self::Duration => {
                quantity::read_duration(text).map(Value::Duration).map_err(|e| self.bad_quantity(text, e))
            }
            Self::Bandwidth => {
                quantity::read_bandwidth(text).map(Value::Bandwidth).map_err(|e| self.bad_quantity(text, e))
            }
            Self::Rate => quantity::read_rate(text).map(Value::Rate).map_err(|e| self.bad_quantity(text, e)),
            Self::Credits => {
                text.parse::<Credits>().map(Value::Credits).map_err(|error| self.mismatch(error.to_string()))
            }
            Self::Ipv4 => match text.parse::<Ipv4Addr>() {
                Ok(address) => Ok(Value::Ip(IpAddr::V4(address))),
                Err(_) => Err(self.mismatch(format!("`{text}` is no IPv4 address"))),
            },
            Self::Ip => match text.parse::<IpAddr>() {
                Ok(address) => Ok(Value::Ip(address)),
                Err(_) => Err(self.mismatch(format!("`{text}` is no address"))),
            },
            Self::Netmask => match text.parse::<Ipv4Addr>() {
                Ok(mask) if is_netmask(mask) => Ok(Value::Ip(IpAddr::V4(mask))),
                _ => Err(self.mismatch(format!("`{text}` is no netmask"))),
            },
            _ => Err(self.mismatch(format!("`{text}` is no {self}"))),
        }
    }

    /// Makes a computed value one of this type: text is read as a literal would be, a whole number is a number,
    /// a number is an amount of credits, one value is a list of one. Live values are judged by their type.
    /// Components are accepted whatever their kind; the caller knows the kinds.
    pub(crate) fn accept(&self, value: Value) -> Result<Value, Mismatch> {
        match (self, value) {
            (Self::Any, value) => Ok(value),
            (_, Value::Unset) => Ok(Value::Unset),
            (Self::List(inner), Value::List(values)) => {
                if values.iter().all(|value| inner.holds(value)) {
                    return Ok(Value::List(values));
                }
                let accepted: Result<Vec<Value>, Mismatch> =
                    values.iter().map(|value| inner.accept(value.clone())).collect();
                accepted.map(|values| Value::List(values.into()))
            }
            (Self::List(inner), Value::Live(live)) if live.ty.element().fits(inner) => Ok(Value::Live(live)),
            (Self::List(inner), value) => inner.accept(value).map(|value| Value::List([value].into())),
            (ty, value) if ty.holds(&value) => Ok(value),
            (ty, Value::Live(live)) => Err(ty.mismatch(format!("this is a live {}, not a live {ty}", live.ty))),
            (Self::Number, Value::Integer(number)) => Ok(Value::Number(number as f64)),
            (Self::Integer, Value::Number(number)) if number.fract() == 0.0 && number.abs() < 9e15 => {
                Ok(Value::Integer(number as i64))
            }
            (Self::Credits, Value::Integer(number)) => Credits::from_whole(number)
                .map(Value::Credits)
                .ok_or_else(|| self.mismatch(format!("`{number}` credits are more than the ledger can hold"))),
            (Self::Credits, Value::Number(number)) => self.read_text(&number.to_string()),
            (
                Self::Bytes | Self::Duration | Self::Bandwidth | Self::Rate,
                value @ (Value::Integer(_) | Value::Number(_)),
            ) => Err(self.without_unit(&value.to_string())),
            (Self::Boolean | Self::Integer | Self::Number, Value::Text(text)) => {
                Err(self.mismatch(format!("the text `{text}` is no {self}")))
            }
            (_, Value::Text(text)) => self.read_text(&text),
            (Self::Text, Value::Ip(address)) => Ok(Value::Text(address.to_string().into())),
            (_, value) => Err(self.mismatch(format!("this is {}, not {} {self}", value.describe(), self.article()))),
        }
    }

    /// True where the value is of this type as it stands.
    fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Any, _)
            | (Self::Boolean, Value::Boolean(_))
            | (Self::Integer, Value::Integer(_))
            | (Self::Number, Value::Number(_))
            | (Self::Text, Value::Text(_))
            | (Self::Bytes, Value::Bytes(_))
            | (Self::Duration, Value::Duration(_))
            | (Self::Credits, Value::Credits(_))
            | (Self::Rate, Value::Rate(_))
            | (Self::Bandwidth, Value::Bandwidth(_))
            | (Self::Ip, Value::Ip(_))
            | (Self::Ipv4, Value::Ip(IpAddr::V4(_)))
            | (Self::Table, Value::Table(_))
            | (Self::Condition, Value::Condition(_))
            | (Self::Component(_), Value::Component(_)) => true,
            (Self::Word, Value::Text(text)) => is_word(text),
            (Self::HostName, Value::Text(text)) => is_host_name(text),
            (Self::Image, Value::Text(text)) => is_image(text),
            (Self::Path, Value::Text(text)) => is_absolute_path(text),
            (Self::Netmask, Value::Ip(IpAddr::V4(mask))) => is_netmask(*mask),
            (ty, Value::Live(live)) => live.ty.fits(ty),
            _ => false,
        }
    }

    /// True where every value of this type may stand where `wanted` is declared.
    pub(crate) fn fits(&self, wanted: &Self) -> bool {
        self == wanted
            || matches!(
                (self, wanted),
                (Self::Any, _)
                    | (_, Self::Any)
                    | (Self::Ipv4, Self::Ip)
                    | (Self::Ip, Self::Ipv4)
                    | (Self::Integer, Self::Number)
                    | (Self::Ip | Self::Ipv4 | Self::HostName | Self::Image | Self::Path | Self::Word, Self::Text)
                    | (Self::Text, Self::HostName | Self::Image | Self::Path | Self::Word)
            )
    }

    /// The type of a value.
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Unset => Self::Any,
            Value::Boolean(_) => Self::Boolean,
            Value::Integer(_) => Self::Integer,
            Value::Number(_) => Self::Number,
            Value::Text(_) => Self::Text,
            Value::Bytes(_) => Self::Bytes,
            Value::Duration(_) => Self::Duration,
            Value::Credits(_) => Self::Credits,
            Value::Rate(_) => Self::Rate,
            Value::Bandwidth(_) => Self::Bandwidth,
            Value::Ip(IpAddr::V4(_)) => Self::Ipv4,
            Value::Ip(IpAddr::V6(_)) => Self::Ip,
            Value::List(values) => Self::List(Box::new(values.first().map_or(Self::Any, Self::of))),
            Value::Table(_) => Self::Table,
            Value::Component(component) => Self::Component(Arc::clone(&component.kind)),
            Value::Condition(_) => Self::Condition,
            Value::Live(live) => live.ty.clone(),
        }
    }

    fn article(&self) -> &'static str {
        match self {
            Self::Integer | Self::Ip | Self::Ipv4 | Self::Image => "an",
            Self::Bytes | Self::Credits | Self::Any => "an amount of",
            _ => "a",
        }
    }

    fn mismatch(&self, message: String) -> Mismatch {
        Mismatch { wrong_unit: false, message, instead: None, because: None, help: self.example().to_owned() }
    }

    fn without_unit(&self, number: &str) -> Mismatch {
        let unit = match self {
            Self::Bytes => "MiB",
            Self::Duration => "s",
            Self::Bandwidth => "Mbit/s",
            _ => "/h",
        };
        let mut mismatch = self.mismatch(format!("`{number}` has no unit"));
        mismatch.wrong_unit = true;
        mismatch.instead = Some(format!("\"{number}{unit}\""));
        mismatch
    }

    fn bad_quantity(&self, text: &str, error: QuantityError) -> Mismatch {
        match error {
            QuantityError::NotAQuantity => self.mismatch(format!("`{text}` is no {self}")),
            QuantityError::NoUnit => self.without_unit(text.trim()),
            QuantityError::OutOfRange => self.mismatch(format!("`{text}` is out of range")),
            QuantityError::TooFine => self.mismatch(format!("`{text}` is finer than the smallest unit")),
            QuantityError::WrongUnit { unit, meant } => {
                let mut mismatch = self.mismatch(format!("`{unit}` is not a unit of {}", self.measure()));
                mismatch.wrong_unit = true;
                let number = text.trim().strip_suffix(&unit).map(str::trim_end);
                mismatch.instead = meant.zip(number).map(|(meant, number)| match self {
                    Self::Rate => format!("\"{number}{meant}\""),
                    _ => format!("\"{number}{meant}\""),
                });
                mismatch
            }
        }
    }

    fn measure(&self) -> &'static str {
        match self {
            Self::Bytes => "memory and disk",
            Self::Duration => "time",
            Self::Bandwidth => "bandwidth",
            _ => "payment",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = NAMES.iter().find(|(_, ty)| ty == self) {
            return f.pad(name);
        }
        match self {
            Self::Component(kind) => f.pad(kind),
            Self::List(inner) => write!(f, "list of {inner}"),
            _ => f.pad("any"),
        }
    }
}

/// A literal as KDL would write it.
pub(crate) fn show_token(token: &Token) -> String {
    match token {
        Token::Text(text) => text.to_string(),
        Token::Integer(number) => number.to_string(),
        Token::Decimal(number) => number.to_string(),
        Token::Boolean(value) => format!("#{value}"),
        Token::Null => "#null".into(),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_host_name(text: &str) -> bool {
    let label = |label: &str| (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
    text.parse::<HostName>().is_ok() && text.split('.').all(label)
}

/// `name`, `name:tag`, `std:name`, with the letters of file names; never a path.
fn is_image(text: &str) -> bool {
    let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'+' | b'@');
    !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(letters)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !text.contains("..")
}

fn is_absolute_path(text: &str) -> bool {
    text.starts_with('/')
        && text.len() <= 4096
        && !text.contains(|c: char| c.is_control())
        && !text.split('/').any(|part| part == "..")
}

fn is_netmask(mask: Ipv4Addr) -> bool {
    let bits = u32::from(mask);
    bits.leading_ones() + bits.trailing_zeros() == 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Token {
        Token::Text(Arc::from(text))
    }

    #[test]
    fn the_declared_type_decides_how_a_literal_is_read() {
        assert_eq!(Type::Bytes.read(&text("2GiB")), Ok(Value::Bytes(2 << 30)));
        assert_eq!(Type::Text.read(&text("2GiB")), Ok(Value::Text("2GiB".into())));
        assert_eq!(Type::Credits.read(&Token::Decimal(0.25)), Ok(Value::Credits(Credits::from_micros(250_000))));
        assert_eq!(Type::Number.read(&Token::Integer(2)), Ok(Value::Number(2.0)));
        assert!(Type::Integer.read(&Token::Decimal(2.5)).is_err());
    }

    #[test]
    fn a_forgotten_or_wrong_unit_is_offered() {
        let instead = |ty: Type, token: Token| ty.read(&token).unwrap_err().instead;
        assert_eq!(instead(Type::Bytes, Token::Integer(64)).as_deref(), Some("\"64MiB\""));
        assert_eq!(instead(Type::Bytes, text("64")).as_deref(), Some("\"64MiB\""));
        assert_eq!(instead(Type::Bytes, text("64gib")).as_deref(), Some("\"64GiB\""));
        assert_eq!(instead(Type::Duration, text("5 minutes")).as_deref(), Some("\"5m\""));
        assert_eq!(instead(Type::Boolean, text("yes")).as_deref(), Some("#true"));
        assert_eq!(instead(Type::Integer, text("3")).as_deref(), Some("3"));
    }

    #[test]
    fn names_paths_and_masks_are_checked() {
        for good in ["node1.example.org", "a", "wn-0"] {
            assert!(Type::HostName.read(&text(good)).is_ok(), "{good}");
        }
        for bad in ["-a", "A", "a_b", "a..b", "a.-b", &"x".repeat(64)] {
            assert!(Type::HostName.read(&text(bad)).is_err(), "{bad}");
        }
        assert!(Type::Path.read(&text("/data/../etc")).is_err());
        assert!(Type::Image.read(&text("../evil")).is_err());
        assert!(Type::Image.read(&text("/boot")).is_err());
        assert!(Type::Netmask.read(&text("255.0.255.0")).is_err());
        assert!(Type::Netmask.read(&text("255.255.0.0")).is_ok());
    }
}
