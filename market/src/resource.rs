//! What a host sells by the share: CPU, memory, disk, network.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A divisible resource of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceKind {
    /// Processor time: one unit is one physical CPU all the time.
    Cpu,
    /// Main memory.
    Memory,
    /// Disk space.
    Disk,
    /// Bandwidth towards the domain.
    NetworkIn,
    /// Bandwidth from the domain.
    NetworkOut,
}

impl ResourceKind {
    /// All kinds, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Memory, Self::Disk, Self::NetworkIn, Self::NetworkOut];

    /// The word of the bid grammar (seed 004, line 290): `CPU`, `memory`, `disk`, `NetworkInterfaceIncoming`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::NetworkIn => "NetworkInterfaceIncoming",
            Self::NetworkOut => "NetworkInterfaceOutgoing",
        }
    }

    /// The kind of a word of the bid grammar.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word().eq_ignore_ascii_case(word))
    }

    /// True where what is bought is held whether it is used or not: its use equals its reservation.
    pub const fn is_reserved(self) -> bool {
        matches!(self, Self::Memory | Self::Disk)
    }

    /// The amount that a price refers to: one CPU, one GiB, one Mbit/s.
    pub const fn price_unit(self) -> Quantity {
        match self {
            Self::Cpu => Quantity::from_cpus(1),
            Self::Memory | Self::Disk => Quantity(1 << 30),
            Self::NetworkIn | Self::NetworkOut => Quantity(1_000_000),
        }
    }

    /// How the price unit is written.
    pub const fn price_unit_word(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Memory | Self::Disk => "GiB",
            Self::NetworkIn | Self::NetworkOut => "Mbit/s",
        }
    }

    /// An amount of this resource for people: `0.25 CPU`, `64 MiB`, `10 Mbit/s`.
    pub fn show(self, quantity: Quantity) -> String {
        match self {
            Self::Cpu => format!("{} CPU", show_decimal(quantity.cpus())),
            Self::Memory | Self::Disk => show_bytes(quantity.amount()),
            Self::NetworkIn | Self::NetworkOut => format!("{} Mbit/s", show_decimal(quantity.amount() as f64 / 1e6)),
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// An amount of a resource in its base unit: micro-CPUs, bytes, or bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantity(u64);

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount in the base unit of its resource.
    pub const fn new(amount: u64) -> Self {
        Self(amount)
    }

    /// A whole number of CPUs, at most the largest that can be written.
    pub const fn from_cpus(cpus: u64) -> Self {
        Self(cpus.saturating_mul(1_000_000))
    }

    /// A number of bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The amount in the base unit.
    pub const fn amount(self) -> u64 {
        self.0
    }

    /// The amount as CPUs.
    pub fn cpus(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// `self + other`, or `None` on overflow.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// `self - other`, but not below zero.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// At most two decimals, without trailing zeros.
fn show_decimal(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Bytes in the largest binary unit that keeps the number at one or more: `64 MiB`, `1.5 GiB`.
pub fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", show_decimal(value), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_in_the_units_people_use() {
        assert_eq!(ResourceKind::Cpu.show(Quantity::new(250_000)), "0.25 CPU");
        assert_eq!(ResourceKind::Memory.show(Quantity::from_bytes(64 << 20)), "64 MiB");
        assert_eq!(ResourceKind::Disk.show(Quantity::from_bytes(1536 << 20)), "1.5 GiB");
        assert_eq!(ResourceKind::NetworkIn.show(Quantity::new(10_000_000)), "10 Mbit/s");
    }

    #[test]
    fn every_word_of_the_bid_grammar_is_its_kind() {
        for kind in ResourceKind::ALL {
            assert_eq!(ResourceKind::from_word(kind.word()), Some(kind));
        }
        assert_eq!(ResourceKind::from_word("cpu"), Some(ResourceKind::Cpu));
        assert_eq!(ResourceKind::from_word("gpu"), None);
    }
}
