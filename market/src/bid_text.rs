//! The bid grammar: `3y CPU:1,0.10,1,0.2 memory:1,256MiB,1GiB IPv4Address,192.0.2.92:1`.
//!
//! Words separated by white space: at most one duration, and one word for each resource:
//!
//! ```text
//! resource  = NAME ":" weight ["," min ["," max ["," contingency]]]
//! unique    = KIND "," (ID | "any") ":" weight ["," min bid] ["," "stand"]
//! min, max  = fraction (0.25 or 25%) | quantity with a unit (256MiB, 100GB, 2CPU, 10Mbit)
//! min bid   = credits per hour
//! ```
//!
//! What is left out, or empty, keeps the value of the bid before; `0s` or `0` keeps the duration. Where a resource
//! comes twice, the last value given wins, so that an amount takes the place of a fraction and the other way round.
//! (The original: manual, section 4.2; seed 004, lines 160 to 167 and 290 to 302.)

use std::collections::BTreeMap;

use thiserror::Error;

use crate::bid::{Amount, Bid, BidError, Preference};
use crate::duration_text::{Decimal, DurationError, parse_duration, show_duration};
use crate::unique::{UniqueError, UniquePreference, UniqueWish};
use crate::{Quantity, Rate, ResourceKind, TimeSpan, Timestamp};

/// The duration of a bid that never had one: 10⁹ seconds, nearly 32 years, as in the original.
pub const DEFAULT_DURATION: TimeSpan = TimeSpan::from_seconds(1_000_000_000);
/// The longest text that is read.
const TEXT_MAX: usize = 4096;

/// What a text changes of a bid.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BidChange {
    /// The new duration.
    pub duration: Option<TimeSpan>,
    /// What changes for each resource.
    pub preferences: BTreeMap<ResourceKind, PreferenceChange>,
    /// What changes for each unique resource.
    pub unique: BTreeMap<UniqueWish, UniqueChange>,
}

/// What a text changes for one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PreferenceChange {
    /// The new weight.
    pub weight: Option<f64>,
    /// The new minimum.
    pub min: Option<Amount>,
    /// The new maximum.
    pub max: Option<Amount>,
    /// The new contingency.
    pub contingency: Option<f64>,
}

/// What a text changes for one unique resource.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UniqueChange {
    /// The new weight.
    pub weight: Option<f64>,
    /// The new minimal bid.
    pub min_bid: Option<Rate>,
    /// Whether the bid is to stand when it loses.
    pub stand: Option<bool>,
}

/// Why a text is no bid.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum BidTextError {
    /// More than a bid needs.
    #[error("a bid has at most {TEXT_MAX} bytes, this text has {0}")]
    TooLong(usize),
    /// A word that is neither a duration nor about a resource.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// A resource that does not exist.
    #[error(
        "`{0}` is no resource; there are CPU, memory, disk, NetworkInterfaceIncoming and NetworkInterfaceOutgoing, and the unique IPv4Address and TCPv4Port"
    )]
    Resource(String),
    /// A unique resource that does not exist.
    #[error(transparent)]
    Unique(#[from] UniqueError),
    /// More values than there are fields.
    #[error(
        "`{0}` has too many values: weight, min, max and contingency, for a unique resource weight, min bid and `stand`"
    )]
    TooManyValues(String),
    /// Not a number.
    #[error("`{value}` in `{word}` is not a number")]
    Number {
        /// The whole word.
        word: String,
        /// The value in it.
        value: String,
    },
    /// Not an amount.
    #[error(
        "`{value}` in `{word}` is not an amount; write a fraction such as 0.25 or 25%, or a quantity such as {example}"
    )]
    Amount {
        /// The whole word.
        word: String,
        /// The value in it.
        value: String,
        /// How an amount of this resource looks.
        example: &'static str,
    },
    /// A whole bid that is not valid.
    #[error(transparent)]
    Bid(#[from] BidError),
}

impl BidChange {
    /// Reads the text of a bid that begins at `now`.
    ///
    /// # Errors
    /// The first word that is wrong, and why.
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, BidTextError> {
        if text.len() > TEXT_MAX {
            return Err(BidTextError::TooLong(text.len()));
        }
        let mut change = Self::default();
        for word in text.split_whitespace() {
            match word.rsplit_once(':') {
                Some((name, values)) if name.contains(',') => change.add_unique(word, name, values)?,
                Some((name, values)) => change.add_resource(word, name, values)?,
                None if word == "0" => {}
                None => {
                    let duration = parse_duration(word, now)?;
                    if !duration.is_zero() {
                        change.duration = Some(duration);
                    }
                }
            }
        }
        Ok(change)
    }

    /// The bid that `old` becomes by this change. Without an old value a weight is 1, a minimum nothing, a maximum all
    /// there is, and the duration [`DEFAULT_DURATION`].
    ///
    /// # Errors
    /// A bid that is not valid as a whole.
    pub fn apply(&self, old: Option<&Bid>) -> Result<Bid, BidError> {
        let duration = self.duration.or(old.map(Bid::duration)).unwrap_or(DEFAULT_DURATION);
        let mut preferences = old.map(|old| old.preferences().clone()).unwrap_or_default();
        for (&kind, change) in &self.preferences {
            let preference = preferences.entry(kind).or_insert(Preference::new(1.0, Amount::ZERO, Amount::ALL));
            preference.weight = change.weight.unwrap_or(preference.weight);
            preference.min = change.min.unwrap_or(preference.min);
            preference.max = change.max.unwrap_or(preference.max);
            preference.contingency = change.contingency.unwrap_or(preference.contingency);
        }
        let mut unique = old.map(|old| old.unique().clone()).unwrap_or_default();
        for (&wish, change) in &self.unique {
            let preference = unique.entry(wish).or_insert(UniquePreference::new(1.0));
            preference.weight = change.weight.unwrap_or(preference.weight);
            preference.min_bid = change.min_bid.unwrap_or(preference.min_bid);
            preference.stand = change.stand.unwrap_or(preference.stand);
        }
        Bid::with_unique(duration, preferences, unique)
    }

    fn add_resource(&mut self, word: &str, name: &str, values: &str) -> Result<(), BidTextError> {
        let kind = ResourceKind::from_word(name).ok_or_else(|| BidTextError::Resource(shown(name)))?;
        let values: Vec<&str> = values.split(',').collect();
        if values.len() > 4 {
            return Err(BidTextError::TooManyValues(shown(word)));
        }
        let value = |index: usize| values.get(index).copied().filter(|value| !value.is_empty());
        let amount = |value: &str| {
            parse_amount(kind, value).ok_or_else(|| BidTextError::Amount {
                word: shown(word),
                value: shown(value),
                example: example(kind),
            })
        };
        let change = self.preferences.entry(kind).or_default();
        if let Some(weight) = value(0) {
            change.weight = Some(parse_number(word, weight)?);
        }
        if let Some(min) = value(1) {
            change.min = Some(amount(min)?);
        }
        if let Some(max) = value(2) {
            change.max = Some(amount(max)?);
        }
        if let Some(contingency) = value(3) {
            change.contingency = Some(parse_number(word, contingency)?);
        }
        Ok(())
    }

    fn add_unique(&mut self, word: &str, name: &str, values: &str) -> Result<(), BidTextError> {
        let change = self.unique.entry(name.parse()?).or_default();
        for (index, value) in values.split(',').enumerate() {
            match (index, value) {
                (_, "stand") => change.stand = Some(true),
                (0 | 1, "") => {}
                (0, weight) => change.weight = Some(parse_number(word, weight)?),
                (1, rate) => change.min_bid = Some(Rate::from_credits_per_hour(parse_number(word, rate)?)),
                _ => return Err(BidTextError::TooManyValues(shown(word))),
            }
        }
        Ok(())
    }
}

/// Writes a bid so that [`BidChange::parse`] reads the same.
pub fn show_bid(bid: &Bid) -> String {
    let mut words = vec![show_duration(bid.duration())];
    for (&kind, preference) in bid.preferences() {
        let Preference { weight, min, max, contingency } = *preference;
        let mut word = format!("{kind}:{weight},{},{}", show_amount(kind, min), show_amount(kind, max));
        if contingency > 0.0 {
            word.push_str(&format!(",{contingency}"));
        }
        words.push(word);
    }
    for (wish, preference) in bid.unique() {
        let mut word = format!("{wish}:{}", preference.weight);
        if preference.min_bid > Rate::ZERO {
            word.push_str(&format!(",{}", preference.min_bid.credits_per_hour()));
        }
        if preference.stand {
            word.push_str(",stand");
        }
        words.push(word);
    }
    words.join(" ")
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

fn parse_number(word: &str, value: &str) -> Result<f64, BidTextError> {
    let error = || BidTextError::Number { word: shown(word), value: shown(value) };
    let looks_like_one =
        value.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+'));
    let number: f64 = value.parse().map_err(|_| error())?;
    if looks_like_one && number.is_finite() { Ok(number) } else { Err(error()) }
}

/// An amount of `kind`: `0.25`, `25%`, or a quantity with a unit; `None` where it is none.
pub fn parse_amount(kind: ResourceKind, text: &str) -> Option<Amount> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    match unit {
        "" => number.parse().ok().filter(|fraction: &f64| fraction.is_finite()).map(Amount::Fraction),
        "%" => number
            .parse()
            .ok()
            .filter(|percent: &f64| percent.is_finite())
            .map(|percent| Amount::Fraction(percent / 100.0)),
        unit => {
            let base_units = base_units_in(kind, unit)?;
            Some(Amount::Quantity(Quantity::new(Decimal::parse(number)?.times(base_units)?)))
        }
    }
}

/// The base units of `kind` in one `unit`.
fn base_units_in(kind: ResourceKind, unit: &str) -> Option<u64> {
    match kind {
        ResourceKind::Cpu => ["CPU", "CPUs"].iter().any(|word| word.eq_ignore_ascii_case(unit)).then_some(1_000_000),
        ResourceKind::Memory | ResourceKind::Disk => prefix_factor(unit.strip_suffix('B').unwrap_or(unit)),
        ResourceKind::NetworkIn | ResourceKind::NetworkOut => {
            let unit = unit.strip_suffix("/s").or_else(|| unit.strip_suffix("ps")).unwrap_or(unit);
            prefix_factor(unit.strip_suffix("bit")?)
        }
    }
}

/// k, M, G, T and P count in thousands; Ki, Mi, Gi, Ti and Pi in 1024s.
fn prefix_factor(prefix: &str) -> Option<u64> {
    let (letter, base) = match prefix.strip_suffix('i') {
        Some(letter) => (letter, 1024_u64),
        None => (prefix, 1000),
    };
    let power = match letter {
        "" if base == 1000 => 0,
        "k" | "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        "P" => 5,
        _ => return None,
    };
    Some(base.pow(power))
}

fn show_amount(kind: ResourceKind, amount: Amount) -> String {
    let quantity = match amount {
        Amount::Fraction(fraction) => return fraction.to_string(),
        Amount::Quantity(quantity) => quantity.amount(),
    };
    match kind {
        ResourceKind::Cpu => {
            let decimals = format!(".{:06}", quantity % 1_000_000);
            format!("{}{}CPU", quantity / 1_000_000, decimals.trim_end_matches('0').trim_end_matches('.'))
        }
        ResourceKind::Memory | ResourceKind::Disk => with_largest_unit(quantity, &BYTE_UNITS, "B"),
        ResourceKind::NetworkIn | ResourceKind::NetworkOut => with_largest_unit(quantity, &BIT_UNITS, "bit"),
    }
}

/// The units in which bytes are written, from the largest.
const BYTE_UNITS: [(&str, u64); 9] = [
    ("PiB", 1 << 50),
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
];
/// The units in which bits per second are written, from the largest.
const BIT_UNITS: [(&str, u64); 3] = [("Gbit", 1_000_000_000), ("Mbit", 1_000_000), ("kbit", 1_000)];

fn with_largest_unit(quantity: u64, units: &[(&str, u64)], base: &str) -> String {
    let fits = |size: &u64| quantity >= *size && quantity.is_multiple_of(*size);
    match units.iter().find(|(_, size)| fits(size)) {
        Some((unit, size)) => format!("{}{unit}", quantity / size),
        None => format!("{quantity}{base}"),
    }
}

const fn example(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Cpu => "2CPU",
        ResourceKind::Memory | ResourceKind::Disk => "256MiB or 100GB",
        ResourceKind::NetworkIn | ResourceKind::NetworkOut => "10Mbit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEED: &str = "3y CPU:1,0.10,1,0.2 memory:1,256MiB,1GiB disk:1,100GB,100GB IPv4Address,192.0.2.92:1";

    fn parse(text: &str) -> BidChange {
        BidChange::parse(text, Timestamp::from_seconds(1_760_000_000)).unwrap()
    }

    #[test]
    fn the_bid_of_the_design_is_read() {
        let bid = parse(SEED).apply(None).unwrap();
        let day = 86_400;
        assert_eq!(bid.duration(), TimeSpan::from_seconds((3 * 365 + 1) * day), "there is a leap day in between");
        let cpu = bid.preferences()[&ResourceKind::Cpu];
        assert_eq!((cpu.weight, cpu.min, cpu.max), (1.0, Amount::Fraction(0.1), Amount::ALL));
        assert_eq!(cpu.contingency, 0.2);
        let disk = bid.preferences()[&ResourceKind::Disk];
        assert_eq!(disk.min, Amount::Quantity(Quantity::from_bytes(100_000_000_000)));
        let memory = bid.preferences()[&ResourceKind::Memory];
        assert_eq!(memory.max, Amount::Quantity(Quantity::from_bytes(1 << 30)));
        assert_eq!(bid.unique().len(), 1);
        let text = "156w4d CPU:1,0.1,1,0.2 memory:1,256MiB,1GiB disk:1,100GB,100GB IPv4Address,192.0.2.92:1";
        assert_eq!(show_bid(&bid), text);
    }

    #[test]
    fn a_missing_value_keeps_the_old_one() {
        let old = parse(SEED).apply(None).unwrap();
        let new = parse("0 CPU:,0.2").apply(Some(&old)).unwrap();
        assert_eq!(new.duration(), old.duration());
        let cpu = new.preferences()[&ResourceKind::Cpu];
        assert_eq!((cpu.weight, cpu.min, cpu.contingency), (1.0, Amount::Fraction(0.2), 0.2));
        assert_eq!(new.preferences()[&ResourceKind::Disk], old.preferences()[&ResourceKind::Disk]);
        assert_eq!(parse("").apply(Some(&old)).unwrap(), old, "nothing changes nothing");
    }

    #[test]
    fn of_a_fraction_and_an_amount_the_last_one_wins() {
        let bid = parse("CPU:1,0.5 CPU:,2CPU memory:1,1GiB memory:,25%").apply(None).unwrap();
        assert_eq!(bid.preferences()[&ResourceKind::Cpu].min, Amount::Quantity(Quantity::from_cpus(2)));
        assert_eq!(bid.preferences()[&ResourceKind::Memory].min, Amount::Fraction(0.25));
        assert_eq!(bid.duration(), DEFAULT_DURATION);
    }

    #[test]
    fn units_count_in_thousands_or_in_1024s() {
        let quantity = |kind, text| match parse_amount(kind, text) {
            Some(Amount::Quantity(quantity)) => quantity.amount(),
            other => panic!("{text}: {other:?}"),
        };
        for (text, bytes) in [("1k", 1_000), ("1Ki", 1_024), ("1.5GiB", 3 << 29), ("2TB", 2_000_000_000_000), ("7B", 7)]
        {
            assert_eq!(quantity(ResourceKind::Memory, text), bytes, "{text}");
        }
        assert_eq!(quantity(ResourceKind::NetworkIn, "10Mbit/s"), 10_000_000);
        assert_eq!(quantity(ResourceKind::Cpu, "0.25cpus"), 250_000);
        for (kind, text) in
            [(ResourceKind::Cpu, "1GiB"), (ResourceKind::Memory, "1CPU"), (ResourceKind::NetworkIn, "1MB")]
        {
            assert_eq!(parse_amount(kind, text), None, "{text} of {kind}");
        }
    }

    #[test]
    fn unique_resources_are_bid_for() {
        let bid = parse("CPU:1 IPv4Address,any:2,0.36,stand TCPv4Port,80:1,,stand").apply(None).unwrap();
        let any = bid.unique()[&"IPv4Address,any".parse().unwrap()];
        assert_eq!((any.weight, any.stand), (2.0, true));
        assert_eq!(any.min_bid, Rate::from_credits_per_hour(0.36));
        let port = bid.unique()[&"TCPv4Port,80".parse().unwrap()];
        assert_eq!(port, UniquePreference { stand: true, ..UniquePreference::new(1.0) });
        let again = parse(&show_bid(&bid)).apply(None).unwrap();
        assert_eq!(again, bid);
    }

    #[test]
    fn wrong_words_say_what_is_wrong() {
        let wrong = |text: &str| BidChange::parse(text, Timestamp::default()).unwrap_err().to_string();
        assert!(wrong("3x").contains("`3x` is not a length of time"));
        assert!(wrong("gpu:1").contains("`gpu` is no resource"));
        assert!(wrong("CPU:a").contains("`a` in `CPU:a` is not a number"));
        assert!(wrong("CPU:NaN").contains("not a number"));
        assert!(wrong("memory:1,1CPU").contains("256MiB"));
        assert!(wrong("CPU:1,0,1,0,7").contains("too many values"));
        assert!(wrong("IPv4Address,1.2.3:1").contains("names no unique resource"));
        assert!(wrong(&"CPU:1 ".repeat(1000)).contains("at most 4096 bytes"));
        let old = parse("memory:1,256MiB,1GiB,10000.9").apply(None).unwrap_err().to_string();
        assert!(old.contains("write 0.2 to set a fifth aside"), "{old}");
    }

    fn amount() -> impl Strategy<Value = Amount> {
        prop_oneof![
            (0.0..=0.5_f64).prop_map(Amount::Fraction),
            any::<u32>().prop_map(|amount| Amount::Quantity(Quantity::new(u64::from(amount)))),
            (0_u64..500).prop_map(|gib| Amount::Quantity(Quantity::from_bytes(gib << 30))),
        ]
    }

    proptest! {
        #[test]
        fn a_bid_prints_and_reads_back(
            micros in 1_u64..1_000_000_000_000_000,
            list in prop::collection::btree_map(
                prop::sample::select(ResourceKind::ALL.to_vec()),
                (1e-6..1e6_f64, amount(), 0.0..0.99_f64),
                1..5,
            ),
        ) {
            let preferences = list
                .into_iter()
                .map(|(kind, (weight, min, contingency))| {
                    let max = match min {
                        Amount::Fraction(fraction) => Amount::Fraction(fraction * 2.0),
                        Amount::Quantity(quantity) => Amount::Quantity(Quantity::new(quantity.amount() * 3)),
                    };
                    (kind, Preference { weight, min, max, contingency })
                })
                .collect();
            let bid = Bid::new(TimeSpan::from_micros(micros), preferences).unwrap();
            prop_assert_eq!(parse(&show_bid(&bid)).apply(None).unwrap(), bid);
        }

        #[test]
        fn no_text_breaks_the_reader(text in "[ -~]{0,60}") {
            if let Ok(change) = BidChange::parse(&text, Timestamp::default()) {
                let _ = change.apply(None);
            }
        }
    }
}
