//! What an owner sets of the market of her host: prices, how much is sold, times and limits, each a name and a text.
//!
//! There are two places for them: a file, which is read again when it changes, and the command `tycoon host set`, whose
//! values are kept with the host's state. What a command has set stands above the file until it is reset.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tycoon_market::auctioneer::{HostConfig, UniqueSale};
use tycoon_market::duration_text::parse_duration;
use tycoon_market::{Credits, Quantity, Rate, ResourceKind, TimeSpan, Timestamp, UniqueId, UniqueKind};

/// What prices are for.
const HOUR: TimeSpan = TimeSpan::from_seconds(3_600);
/// The longest text of a value, in bytes.
const VALUE_BYTES_MAX: usize = 1_024;
/// The shortest interval: a shorter one would do nothing but work.
const INTERVAL_MIN: TimeSpan = TimeSpan::from_seconds(1);
/// The longest interval.
const INTERVAL_MAX: TimeSpan = TimeSpan::from_seconds(3_600);
/// The most host accounts that an owner can allow.
const ACCOUNTS_MAX: usize = 65_536;

/// What can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyName {
    /// Of one CPU for an hour, in credits.
    CpuPrice,
    /// Of one GiB of memory for an hour, in credits.
    MemoryPrice,
    /// Of one GiB of disk for an hour, in credits.
    DiskPrice,
    /// The part of the CPUs that is sold: `75%`.
    CpuSold,
    /// The part of the memory that is sold.
    MemorySold,
    /// The part of the disk that is sold.
    DiskSold,
    /// The addresses that are sold: `192.0.2.10-192.0.2.20 192.0.2.92`.
    Addresses,
    /// Of one address for an hour, in credits.
    AddressPrice,
    /// The TCP ports that are sold: `8000-8999 443`.
    Ports,
    /// Of one port for an hour, in credits.
    PortPrice,
    /// The time between two allocations: `10s`.
    Interval,
    /// From the warning of an account to the shutdown of its domains: `5m`.
    WarningGrace,
    /// From the shutdown to the deletion of the disks: `7d`.
    DiskGrace,
    /// The part of its rate that an idle account pays for CPU: `10%`.
    IdleCharge,
    /// The most host accounts.
    AccountsMax,
}

impl PolicyName {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 15] = [
        Self::CpuPrice,
        Self::MemoryPrice,
        Self::DiskPrice,
        Self::CpuSold,
        Self::MemorySold,
        Self::DiskSold,
        Self::Addresses,
        Self::AddressPrice,
        Self::Ports,
        Self::PortPrice,
        Self::Interval,
        Self::WarningGrace,
        Self::DiskGrace,
        Self::IdleCharge,
        Self::AccountsMax,
    ];

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::CpuPrice => "cpu-price",
            Self::MemoryPrice => "memory-price",
            Self::DiskPrice => "disk-price",
            Self::CpuSold => "cpu-sold",
            Self::MemorySold => "memory-sold",
            Self::DiskSold => "disk-sold",
            Self::Addresses => "addresses",
            Self::AddressPrice => "address-price",
            Self::Ports => "ports",
            Self::PortPrice => "port-price",
            Self::Interval => "interval",
            Self::WarningGrace => "warning-grace",
            Self::DiskGrace => "disk-grace",
            Self::IdleCharge => "idle-charge",
            Self::AccountsMax => "accounts-max",
        }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for PolicyName {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        Self::ALL.into_iter().find(|name| name.word() == text).ok_or_else(|| PolicyError::Name(shown(text)))
    }
}

/// Why something cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// There is no such name.
    #[error(
        "there is no `{0}` to set; there are {names}",
        names = PolicyName::ALL.map(PolicyName::word).join(", ")
    )]
    Name(String),
    /// The value is not one.
    #[error("`{name}` is `{value}`; {expected}")]
    Value {
        /// What was to be set.
        name: PolicyName,
        /// To what.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// What an owner has set, in one place. Every value has been read once, so that it can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnerPolicy(BTreeMap<PolicyName, String>);

/// A value, read.
enum Setting {
    Price(ResourceKind, Rate),
    Sold(ResourceKind, u32),
    Unique(UniqueKind, Vec<(UniqueId, UniqueId)>),
    UniquePrice(UniqueKind, Rate),
    Interval(TimeSpan),
    WarningGrace(TimeSpan),
    DiskGrace(TimeSpan),
    IdleCharge(u32),
    AccountsMax(usize),
}

impl OwnerPolicy {
    /// Sets a value.
    ///
    /// # Errors
    /// A value that cannot be read; then nothing has changed.
    pub fn set(&mut self, name: PolicyName, value: &str) -> Result<(), PolicyError> {
        let value = value.trim();
        if value.len() > VALUE_BYTES_MAX {
            let expected = "it is longer than 1024 bytes";
            return Err(PolicyError::Value { name, value: shown(value), expected });
        }
        read(name, value)?;
        self.0.insert(name, value.to_owned());
        Ok(())
    }

    /// Takes a value away. False where there was none.
    pub fn reset(&mut self, name: PolicyName) -> bool {
        self.0.remove(&name).is_some()
    }

    /// What is set, in the order of the names.
    pub fn values(&self) -> impl Iterator<Item = (PolicyName, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Puts what is set over `config`. Parts are parts of the capacities in it, so that it is done once.
    pub fn apply_to(&self, config: &mut HostConfig) {
        for (name, value) in self.values() {
            // It was read when it was set; one of another version of the program that means nothing here is left out.
            if let Ok(setting) = read(name, value) {
                setting.apply_to(config);
            }
        }
        // What is not sold has no price.
        let HostConfig { base_price, capacity, unique, .. } = config;
        base_price.retain(|kind, _| capacity.contains_key(kind));
        unique.retain(|_, sale| !sale.ranges.is_empty() || !sale.single.is_empty());
    }
}

impl Setting {
    fn apply_to(self, config: &mut HostConfig) {
        match self {
            Self::Price(kind, rate) => {
                config.base_price.insert(kind, rate);
            }
            Self::Sold(kind, ppm) => {
                if let Some(capacity) = config.capacity.get_mut(&kind) {
                    let sold = u128::from(capacity.amount()) * u128::from(ppm) / 1_000_000;
                    // A part of what there is fits where the whole does.
                    *capacity = Quantity::new(u64::try_from(sold).unwrap_or(u64::MAX));
                }
            }
            Self::Unique(kind, ranges) if ranges.is_empty() => {
                config.unique.remove(&kind);
            }
            Self::Unique(kind, ranges) => config.unique.entry(kind).or_default().ranges = ranges,
            Self::UniquePrice(kind, rate) => {
                let sale: &mut UniqueSale = config.unique.entry(kind).or_default();
                sale.base_price = rate;
            }
            Self::Interval(span) => config.interval = span,
            Self::WarningGrace(span) => config.warning_grace = span,
            Self::DiskGrace(span) => config.disk_grace = span,
            Self::IdleCharge(ppm) => config.idle_charge_ppm = ppm,
            Self::AccountsMax(most) => config.accounts_max = most,
        }
    }
}

fn read(name: PolicyName, value: &str) -> Result<Setting, PolicyError> {
    let wrong = |expected| PolicyError::Value { name, value: shown(value), expected };
    let price = || credits_per_hour(value).ok_or_else(|| wrong("write credits per hour, such as 0.50"));
    let part = || part_ppm(value).ok_or_else(|| wrong("write a part of all there is, such as 75%"));
    let span = || parse_duration(value, Timestamp::default()).map_err(|_| wrong("write a time, such as 10s, 5m or 7d"));
    Ok(match name {
        PolicyName::CpuPrice => Setting::Price(ResourceKind::Cpu, price()?),
        PolicyName::MemoryPrice => Setting::Price(ResourceKind::Memory, price()?),
        PolicyName::DiskPrice => Setting::Price(ResourceKind::Disk, price()?),
        PolicyName::CpuSold => Setting::Sold(ResourceKind::Cpu, part()?),
        PolicyName::MemorySold => Setting::Sold(ResourceKind::Memory, part()?),
        PolicyName::DiskSold => Setting::Sold(ResourceKind::Disk, part()?),
        PolicyName::Addresses => {
            let address = |text: &str| text.parse().ok().map(UniqueId::Address);
            let ranges = ranges(value, address);
            let expected = "write addresses and spans of them, such as 192.0.2.10-192.0.2.20 192.0.2.92";
            Setting::Unique(UniqueKind::Ipv4Address, ranges.ok_or_else(|| wrong(expected))?)
        }
        PolicyName::AddressPrice => Setting::UniquePrice(UniqueKind::Ipv4Address, price()?),
        PolicyName::Ports => {
            let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).map(UniqueId::Port);
            let ranges = ranges(value, port);
            Setting::Unique(
                UniqueKind::TcpPort,
                ranges.ok_or_else(|| wrong("write ports and spans of them, such as 8000-8999 443"))?,
            )
        }
        PolicyName::PortPrice => Setting::UniquePrice(UniqueKind::TcpPort, price()?),
        PolicyName::Interval => {
            let span = span()?;
            if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&span) {
                return Err(wrong("write a time between 1s and 1h"));
            }
            Setting::Interval(span)
        }
        PolicyName::WarningGrace => Setting::WarningGrace(span()?),
        PolicyName::DiskGrace => Setting::DiskGrace(span()?),
        PolicyName::IdleCharge => Setting::IdleCharge(part()?),
        PolicyName::AccountsMax => {
            let most = value.parse().ok().filter(|most| (1..=ACCOUNTS_MAX).contains(most));
            Setting::AccountsMax(most.ok_or_else(|| wrong("write a number from 1 to 65536"))?)
        }
    })
}

/// Credits for an hour, not below none.
fn credits_per_hour(text: &str) -> Option<Rate> {
    let credits: Credits = text.parse().ok()?;
    if credits.is_negative() { None } else { Rate::of(credits, HOUR) }
}

/// Millionths of a whole, from `75%` or `0.75`.
fn part_ppm(text: &str) -> Option<u32> {
    let (number, whole) = match text.strip_suffix('%') {
        Some(percent) => (percent.trim(), 100.0),
        None => (text, 1.0),
    };
    let part = number.parse::<f64>().ok()? / whole;
    // NaN is in no range.
    (0.0..=1.0).contains(&part).then(|| (part * 1e6).round() as u32)
}

/// Single ones and spans `first-last`, separated by blanks; none where the text is empty.
fn ranges(text: &str, one: impl Fn(&str) -> Option<UniqueId>) -> Option<Vec<(UniqueId, UniqueId)>> {
    let range = |word: &str| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (first, last) = (one(first)?, one(last)?);
        (first <= last).then_some((first, last))
    };
    text.split_whitespace().map(range).collect()
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> HostConfig {
        let capacity = BTreeMap::from([
            (ResourceKind::Cpu, Quantity::from_cpus(4)),
            (ResourceKind::Memory, Quantity::from_bytes(8 << 30)),
        ]);
        HostConfig::new(capacity, BTreeMap::new())
    }

    #[test]
    fn what_is_set_stands_over_the_configuration() {
        let mut policy = OwnerPolicy::default();
        for (name, value) in [
            ("cpu-price", "0.50"),
            ("cpu-sold", "75%"),
            ("disk-price", "1"),
            ("ports", "8000-8001 443"),
            ("port-price", "0.01"),
            ("interval", "5s"),
            ("idle-charge", "0.2"),
        ] {
            policy.set(name.parse().unwrap(), value).unwrap();
        }
        let mut config = config();
        policy.apply_to(&mut config);
        assert_eq!(config.check(), Ok(()), "a price of what is not there is left out");
        assert_eq!(config.capacity_of(ResourceKind::Cpu), Quantity::from_cpus(3));
        assert!((config.base_price_of(ResourceKind::Cpu).credits_per_hour() - 0.5).abs() < 1e-6);
        assert_eq!(config.interval, TimeSpan::from_seconds(5));
        assert_eq!(config.idle_charge_ppm, 200_000);
        let ports = &config.unique[&UniqueKind::TcpPort];
        assert!(ports.contains(UniqueId::Port(8001)) && ports.contains(UniqueId::Port(443)));
        assert!(!ports.contains(UniqueId::Port(8002)));
        assert!((ports.base_price.credits_per_hour() - 0.01).abs() < 1e-6);
    }

    #[test]
    fn what_cannot_be_set_is_refused_with_an_example() {
        let mut policy = OwnerPolicy::default();
        for (name, value) in [
            (PolicyName::CpuPrice, "-1"),
            (PolicyName::CpuPrice, "cheap"),
            (PolicyName::CpuSold, "101%"),
            (PolicyName::CpuSold, "NaN"),
            (PolicyName::Addresses, "10.0.0.9-10.0.0.1"),
            (PolicyName::Ports, "0"),
            (PolicyName::Interval, "0s"),
            (PolicyName::Interval, "1d"),
            (PolicyName::AccountsMax, "0"),
            (PolicyName::DiskGrace, "soon"),
        ] {
            let error = policy.set(name, value).unwrap_err().to_string();
            assert!(error.contains(name.word()) && error.contains("write "), "{error}");
        }
        assert_eq!(policy, OwnerPolicy::default());
        assert!("price".parse::<PolicyName>().unwrap_err().to_string().contains("cpu-price"));
    }
}
