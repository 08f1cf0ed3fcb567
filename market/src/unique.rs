//! Resources of which each one is there once: addresses and ports.

use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Rate;

/// A kind of unique resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UniqueKind {
    /// A public IPv4 address. Private addresses are handed out without a market.
    #[serde(rename = "ipv4-address")]
    Ipv4Address,
    /// A TCP port of the host's own address.
    TcpPort,
}

impl UniqueKind {
    /// All kinds, in the order in which they are shown.
    pub const ALL: [Self; 2] = [Self::Ipv4Address, Self::TcpPort];

    /// The word of the bid grammar (seed 004, line 294).
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ipv4Address => "IPv4Address",
            Self::TcpPort => "TCPv4Port",
        }
    }

    /// The kind of a word of the bid grammar; `TCPPort` is understood too.
    pub fn from_word(word: &str) -> Option<Self> {
        let kind = Self::ALL.into_iter().find(|kind| kind.word().eq_ignore_ascii_case(word));
        kind.or_else(|| word.eq_ignore_ascii_case("TCPPort").then_some(Self::TcpPort))
    }
}

impl fmt::Display for UniqueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// One unique resource. Written `IPv4Address,192.0.2.92` or `TCPv4Port,8080`, also in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum UniqueId {
    /// An address.
    Address(Ipv4Addr),
    /// A port, never 0.
    Port(u16),
}

impl UniqueId {
    /// The one after it, in the order of numbers; `None` after the last.
    pub fn next(self) -> Option<Self> {
        match self {
            Self::Address(address) => {
                address.to_bits().checked_add(1).map(|bits| Self::Address(Ipv4Addr::from_bits(bits)))
            }
            Self::Port(port) => port.checked_add(1).map(Self::Port),
        }
    }

    /// The one before it, in the order of numbers; `None` before the first.
    pub fn previous(self) -> Option<Self> {
        match self {
            Self::Address(address) => {
                address.to_bits().checked_sub(1).map(|bits| Self::Address(Ipv4Addr::from_bits(bits)))
            }
            // There is no port 0.
            Self::Port(port) => port.checked_sub(1).filter(|port| *port > 0).map(Self::Port),
        }
    }

    /// Its number: by it those of one kind are in order.
    pub fn number(self) -> u64 {
        match self {
            Self::Address(address) => u64::from(address.to_bits()),
            Self::Port(port) => u64::from(port),
        }
    }

    /// What it is one of.
    pub const fn kind(self) -> UniqueKind {
        match self {
            Self::Address(_) => UniqueKind::Ipv4Address,
            Self::Port(_) => UniqueKind::TcpPort,
        }
    }
}

/// What a bid wants: a certain one, or any. Written like a [`UniqueId`], or `IPv4Address,any`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum UniqueWish {
    /// This one.
    This(UniqueId),
    /// The cheapest free one.
    Any(UniqueKind),
}

impl UniqueWish {
    /// The kind of what is wanted.
    pub const fn kind(self) -> UniqueKind {
        match self {
            Self::This(id) => id.kind(),
            Self::Any(kind) => kind,
        }
    }
}

/// How dear a unique resource is to an account.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UniquePreference {
    /// The part of the funds that is bid on it, relative to the weights of all resources; above 0.
    pub weight: f64,
    /// What the account pays at least when it holds it, to show that it means it; nothing by default.
    #[serde(default)]
    pub min_bid: Rate,
    /// True to keep bidding (and paying for an interval each time) while others bid more.
    #[serde(default)]
    pub stand: bool,
}

impl UniquePreference {
    /// A preference that pays no more than it must, and gives up when it loses.
    pub const fn new(weight: f64) -> Self {
        Self { weight, min_bid: Rate::ZERO, stand: false }
    }
}

/// Why a text names no unique resource.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` names no unique resource; write `IPv4Address,192.0.2.92`, `TCPv4Port,8080` or `IPv4Address,any`")]
pub struct UniqueError(String);

impl UniqueError {
    fn of(text: &str) -> Self {
        Self(text.chars().take(80).collect())
    }
}

impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{},{address}", self.kind()),
            Self::Port(port) => write!(f, "{},{port}", self.kind()),
        }
    }
}

impl fmt::Display for UniqueWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::This(id) => id.fmt(f),
            Self::Any(kind) => write!(f, "{kind},any"),
        }
    }
}

impl FromStr for UniqueWish {
    type Err = UniqueError;

    fn from_str(text: &str) -> Result<Self, UniqueError> {
        let error = || UniqueError::of(text);
        let (word, which) = text.split_once(',').ok_or_else(error)?;
        let kind = UniqueKind::from_word(word).ok_or_else(error)?;
        if which.eq_ignore_ascii_case("any") {
            return Ok(Self::Any(kind));
        }
        Ok(Self::This(match kind {
            UniqueKind::Ipv4Address => UniqueId::Address(which.parse().map_err(|_| error())?),
            UniqueKind::TcpPort => {
                let port: u16 = which.parse().map_err(|_| error())?;
                UniqueId::Port(if port == 0 { return Err(error()) } else { port })
            }
        }))
    }
}

impl FromStr for UniqueId {
    type Err = UniqueError;

    fn from_str(text: &str) -> Result<Self, UniqueError> {
        match text.parse()? {
            UniqueWish::This(id) => Ok(id),
            UniqueWish::Any(_) => Err(UniqueError::of(text)),
        }
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = UniqueError;

            fn try_from(text: String) -> Result<Self, UniqueError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}

as_text!(UniqueId);
as_text!(UniqueWish);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_resources_print_and_read_back() {
        for text in ["IPv4Address,192.0.2.92", "TCPv4Port,8080", "IPv4Address,any", "TCPv4Port,any"] {
            let wish: UniqueWish = text.parse().unwrap();
            assert_eq!(wish.to_string(), text);
        }
        assert_eq!("tcpport,80".parse(), Ok(UniqueId::Port(80)));
        assert!("IPv4Address,any".parse::<UniqueId>().is_err());
        for text in ["", "IPv4Address", "IPv4Address,", "TCPv4Port,0", "TCPv4Port,65536", "memory,1", "IPv4Address,::1"]
        {
            assert!(text.parse::<UniqueWish>().is_err(), "{text:?}");
        }
    }
}
