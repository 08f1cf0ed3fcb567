//! What can be asked of a host: the fields of filters, orders and selections.

use std::fmt;
use std::str::FromStr;

use tycoon_market::{ResourceKind, TimeSpan, UniqueKind};

use crate::facts::Facts;
use crate::reach::Standing;
use crate::record::PublishedOffer;
use crate::uptime::UptimeFractions;

/// The longest name of a field that is read, in bytes.
const FIELD_BYTES_MAX: usize = 80;

/// A field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The host's id.
    Id,
    /// Its name.
    Name,
    /// The account of its owner.
    Owner,
    /// Its architecture.
    Architecture,
    /// Its hypervisor.
    Hypervisor,
    /// The version of its daemon.
    Version,
    /// The images that it has; a comparison holds where it holds for one of them.
    Image,
    /// One of its labels.
    Label(String),
    /// Whether it exists only in a process.
    Simulated,
    /// Whether it answered at its address.
    Verified,
    /// What it sells of a resource.
    Resource(ResourceKind, Aspect),
    /// What it sells of unique resources.
    Unique(UniqueKind, UniqueAspect),
    /// The CPUs that its domains used lately.
    Load,
    /// The part of the last hour, day or week in which it was there.
    Uptime(Window),
    /// How long it has not been heard of, in seconds.
    Silence,
}

/// What of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// What all domains together can have.
    Capacity,
    /// What newcomers' minima can still have.
    Available,
    /// What a unit costs now, in credits per hour: the owner's reserve, and what is bid.
    Price,
    /// The owner's reserve for a unit, in credits per hour.
    BasePrice,
    /// Units of capacity for one credit per hour of price: cost efficiency.
    Efficiency,
}

/// What of a unique resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UniqueAspect {
    /// How many there are.
    Count,
    /// How many are free.
    Free,
    /// What one costs at least, in credits per hour.
    Price,
}

/// A time that uptime is told for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The last hour.
    Hour,
    /// The last day.
    Day,
    /// The last week.
    Week,
}

/// What the values of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Texts.
    Text,
    /// Yes or no.
    Truth,
    /// Numbers of something.
    Number(Measure),
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Things, CPUs, credits per hour.
    Plain,
    /// Bytes: `4GiB`.
    Bytes,
    /// Bits per second: `100Mbit`.
    Bits,
    /// A part of a whole: `0.99`, `99%`.
    Part,
    /// Seconds: `90`, `90s`, `2m`.
    Seconds,
}

/// The value of a field of one host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// Yes or no.
    Truth(bool),
    /// A number.
    Number(f64),
    /// The host has no such thing.
    Absent,
}

/// Where the uptime of a host is known from.
pub trait UptimeOf {
    /// The uptime.
    fn uptime(&self) -> UptimeFractions;
}

impl UptimeOf for UptimeFractions {
    fn uptime(&self) -> UptimeFractions {
        *self
    }
}

/// A host as queries see it.
#[derive(Clone, Copy)]
pub struct Seen<'f, 'u> {
    /// What it says.
    pub facts: &'f Facts,
    /// Whether it answered at its address.
    pub standing: Standing,
    /// Its uptime, worked out where it is asked for.
    pub uptime: &'u dyn UptimeOf,
    /// For how long it has not been heard of.
    pub silence: TimeSpan,
}

/// A text that names no field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// The text, its beginning.
    pub text: String,
    /// What was meant, perhaps.
    pub nearest: Option<String>,
}

impl fmt::Display for UnknownField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no field `{}`", self.text)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
            None => write!(f, "; the fields are {}", list()),
        }
    }
}

impl std::error::Error for UnknownField {}

const RESOURCES: [(ResourceKind, &str); 5] = [
    (ResourceKind::Cpu, "cpu"),
    (ResourceKind::Memory, "memory"),
    (ResourceKind::Disk, "disk"),
    (ResourceKind::NetworkIn, "network-in"),
    (ResourceKind::NetworkOut, "network-out"),
];
const ASPECTS: [(Aspect, &str); 5] = [
    (Aspect::Capacity, "capacity"),
    (Aspect::Available, "available"),
    (Aspect::Price, "price"),
    (Aspect::BasePrice, "base-price"),
    (Aspect::Efficiency, "efficiency"),
];
const UNIQUES: [(UniqueKind, &str); 2] = [(UniqueKind::Ipv4Address, "ipv4"), (UniqueKind::TcpPort, "port")];
const UNIQUE_ASPECTS: [(UniqueAspect, &str); 3] =
    [(UniqueAspect::Count, "count"), (UniqueAspect::Free, "free"), (UniqueAspect::Price, "price")];
const WINDOWS: [(Window, &str); 3] = [(Window::Hour, "hour"), (Window::Day, "day"), (Window::Week, "week")];
const PLAIN: [(Field, &str); 11] = [
    (Field::Id, "id"),
    (Field::Name, "name"),
    (Field::Owner, "owner"),
    (Field::Architecture, "architecture"),
    (Field::Hypervisor, "hypervisor"),
    (Field::Version, "version"),
    (Field::Image, "image"),
    (Field::Simulated, "simulated"),
    (Field::Verified, "verified"),
    (Field::Load, "load"),
    (Field::Silence, "silence"),
];

/// All fields in words, for messages.
pub fn list() -> String {
    let words = |names: &[&str]| names.join("|");
    format!(
        "{}, label.NAME, {}.{}, {}.{}, uptime.{}",
        PLAIN.map(|(_, word)| word).join(", "),
        words(&RESOURCES.map(|(_, word)| word)),
        words(&ASPECTS.map(|(_, word)| word)),
        words(&UNIQUES.map(|(_, word)| word)),
        words(&UNIQUE_ASPECTS.map(|(_, word)| word)),
        words(&WINDOWS.map(|(_, word)| word)),
    )
}

fn word<T: PartialEq + Clone>(table: &[(T, &'static str)], wanted: &T) -> &'static str {
    table.iter().find(|(other, _)| other == wanted).map_or("", |(_, word)| word)
}

fn named<T: Clone>(table: &[(T, &str)], word: &str) -> Option<T> {
    table.iter().find(|(_, other)| *other == word).map(|(value, _)| value.clone())
}

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(text: &str) -> Result<Self, UnknownField> {
        let found = match text.split_once('.') {
            None => named(&PLAIN, text),
            Some(("label", name)) if !name.is_empty() && name.len() <= FIELD_BYTES_MAX => {
                Some(Self::Label(name.to_owned()))
            }
            Some(("uptime", window)) => named(&WINDOWS, window).map(Self::Uptime),
            Some((thing, aspect)) => match (named(&RESOURCES, thing), named(&UNIQUES, thing)) {
                (Some(kind), _) => named(&ASPECTS, aspect).map(|aspect| Self::Resource(kind, aspect)),
                (None, Some(kind)) => named(&UNIQUE_ASPECTS, aspect).map(|aspect| Self::Unique(kind, aspect)),
                (None, None) => None,
            },
        };
        found.ok_or_else(|| {
            let text: String = text.chars().take(FIELD_BYTES_MAX).collect();
            let nearest = all().map(|name| (strsim::jaro_winkler(&name, &text), name));
            let nearest = nearest.filter(|(near, _)| *near > 0.82).max_by(|a, b| a.0.total_cmp(&b.0));
            UnknownField { nearest: nearest.map(|(_, name)| name), text }
        })
    }
}

/// The names of all fields but labels.
fn all() -> impl Iterator<Item = String> {
    let plain = PLAIN.into_iter().map(|(_, word)| word.to_owned());
    let pairs = |left: Vec<&'static str>, right: Vec<&'static str>| {
        left.into_iter().flat_map(move |left| {
            right.clone().into_iter().map(move |right| format!("{left}.{right}")).collect::<Vec<_>>()
        })
    };
    plain
        .chain(pairs(RESOURCES.map(|(_, word)| word).into(), ASPECTS.map(|(_, word)| word).into()))
        .chain(pairs(UNIQUES.map(|(_, word)| word).into(), UNIQUE_ASPECTS.map(|(_, word)| word).into()))
        .chain(pairs(vec!["uptime"], WINDOWS.map(|(_, word)| word).into()))
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(name) => write!(f, "label.{name}"),
            Self::Resource(kind, aspect) => write!(f, "{}.{}", word(&RESOURCES, kind), word(&ASPECTS, aspect)),
            Self::Unique(kind, aspect) => write!(f, "{}.{}", word(&UNIQUES, kind), word(&UNIQUE_ASPECTS, aspect)),
            Self::Uptime(window) => write!(f, "uptime.{}", word(&WINDOWS, window)),
            plain => f.write_str(word(&PLAIN, plain)),
        }
    }
}

impl Field {
    /// What its values are.
    pub const fn kind(&self) -> FieldKind {
        match self {
            Self::Id
            | Self::Name
            | Self::Owner
            | Self::Architecture
            | Self::Hypervisor
            | Self::Version
            | Self::Image
            | Self::Label(_) => FieldKind::Text,
            Self::Simulated | Self::Verified => FieldKind::Truth,
            Self::Resource(ResourceKind::Memory | ResourceKind::Disk, Aspect::Capacity | Aspect::Available) => {
                FieldKind::Number(Measure::Bytes)
            }
            Self::Resource(
                ResourceKind::NetworkIn | ResourceKind::NetworkOut,
                Aspect::Capacity | Aspect::Available,
            ) => FieldKind::Number(Measure::Bits),
            Self::Resource(..) | Self::Unique(..) | Self::Load => FieldKind::Number(Measure::Plain),
            Self::Uptime(_) => FieldKind::Number(Measure::Part),
            Self::Silence => FieldKind::Number(Measure::Seconds),
        }
    }

    /// The value of a host. Of texts that are made anew, `id` and `owner`, and of images, of which there may be several,
    /// there is none here: see [`Field::texts`].
    pub fn value<'f>(&self, seen: &Seen<'f, '_>) -> Value<'f> {
        let facts = seen.facts;
        match self {
            // They are compared as texts where they are asked for.
            Self::Id | Self::Owner | Self::Image => Value::Absent,
            Self::Name => Value::Text(facts.name.as_str()),
            Self::Architecture => Value::Text(&facts.architecture),
            Self::Hypervisor => Value::Text(&facts.hypervisor),
            Self::Version => Value::Text(&facts.software_version),
            Self::Label(name) => facts.label(name).map_or(Value::Absent, Value::Text),
            Self::Simulated => Value::Truth(facts.is_simulated),
            Self::Verified => Value::Truth(seen.standing == Standing::Verified),
            Self::Resource(kind, aspect) => {
                let value = facts.offer(*kind).map(|offer| aspect.of(*kind, offer));
                value.filter(|value| value.is_finite()).map_or(Value::Absent, Value::Number)
            }
            Self::Unique(kind, aspect) => {
                let place = UniqueKind::ALL.iter().position(|other| other == kind);
                let unique = place.and_then(|place| facts.unique[place]);
                unique.map_or(Value::Absent, |unique| {
                    Value::Number(match aspect {
                        UniqueAspect::Count => unique.count as f64,
                        UniqueAspect::Free => unique.free as f64,
                        UniqueAspect::Price => unique.base_price.max(unique.highest).credits_per_hour(),
                    })
                })
            }
            Self::Load => Value::Number(facts.load.cpus()),
            Self::Uptime(window) => {
                let UptimeFractions { hour, day, week } = seen.uptime.uptime();
                Value::Number(match window {
                    Window::Hour => hour,
                    Window::Day => day,
                    Window::Week => week,
                })
            }
            Self::Silence => Value::Number(seen.silence.seconds_f64()),
        }
    }

    /// The texts of a host for a field of texts: one, or several images.
    pub fn texts(&self, seen: &Seen<'_, '_>, holds: &mut dyn FnMut(&str) -> bool) -> bool {
        match self {
            Self::Id => holds(&seen.facts.host.to_string()),
            Self::Owner => holds(&seen.facts.owner.to_string()),
            Self::Image => seen.facts.images.iter().any(|image| holds(image)),
            other => match other.value(seen) {
                Value::Text(text) => holds(text),
                _ => false,
            },
        }
    }

    /// The value as JSON, for selections.
    pub fn json(&self, seen: &Seen<'_, '_>) -> serde_json::Value {
        match self {
            Self::Id => seen.facts.host.to_string().into(),
            Self::Owner => seen.facts.owner.to_string().into(),
            Self::Image => seen.facts.images.iter().map(|image| serde_json::Value::from(&**image)).collect(),
            other => match other.value(seen) {
                Value::Text(text) => text.into(),
                Value::Truth(truth) => truth.into(),
                Value::Number(number) => number.into(),
                Value::Absent => serde_json::Value::Null,
            },
        }
    }
}

impl Aspect {
    /// The number, in CPUs, bytes, bits per second or credits per hour.
    fn of(self, kind: ResourceKind, offer: &PublishedOffer) -> f64 {
        let amount = |quantity: tycoon_market::Quantity| match kind {
            ResourceKind::Cpu => quantity.cpus(),
            _ => quantity.amount() as f64,
        };
        match self {
            Self::Capacity => amount(offer.capacity),
            Self::Available => amount(offer.available),
            Self::BasePrice => offer.base_price.credits_per_hour(),
            Self::Price => offer.base_price.credits_per_hour() + offer.bids.credits_per_hour() / units(kind, offer),
            Self::Efficiency => units(kind, offer) / Self::Price.of(kind, offer),
        }
    }
}

/// How many price units there are.
fn units(kind: ResourceKind, offer: &PublishedOffer) -> f64 {
    offer.capacity.amount() as f64 / kind.price_unit().amount() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_reads_back_from_its_name() {
        for name in all().chain(["label.rack".to_owned()]) {
            assert_eq!(name.parse::<Field>().map(|field| field.to_string()), Ok(name));
        }
    }

    #[test]
    fn a_wrong_field_is_answered_with_the_nearest() {
        let nearest = |text: &str| text.parse::<Field>().unwrap_err().nearest;
        assert_eq!(nearest("cpu.prise").as_deref(), Some("cpu.price"));
        assert_eq!(nearest("memory.avail").as_deref(), Some("memory.available"));
        assert_eq!(nearest("zzz"), None);
        assert!("zzz".parse::<Field>().unwrap_err().to_string().contains("uptime.hour|day|week"));
        assert!("label.".parse::<Field>().is_err());
    }
}
