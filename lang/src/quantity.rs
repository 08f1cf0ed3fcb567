//! Amounts with units: read and shown.

use tycoon_market::{Credits, Rate, TimeSpan};

const BYTE_UNITS: [(&str, u64); 11] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
];

/// Microseconds per unit. A year is 365 days, as in the bids of old Tycoon.
const TIME_UNITS: [(&str, u64); 8] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
    ("w", 604_800_000_000),
    ("y", 31_536_000_000_000),
];

const BANDWIDTH_UNITS: [(&str, u64); 4] =
    [("bit/s", 1), ("kbit/s", 1_000), ("Mbit/s", 1_000_000), ("Gbit/s", 1_000_000_000)];

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QuantityError {
    /// Not a number with a unit at all.
    NotAQuantity,
    /// A number without a unit.
    NoUnit,
    /// A number with a unit of something else, or of nothing.
    WrongUnit {
        /// The unit as written.
        unit: String,
        /// The unit most likely meant.
        meant: Option<&'static str>,
    },
    /// More than can be held, or negative.
    OutOfRange,
    /// Finer than the smallest unit.
    TooFine,
}

/// `1.5GiB` cut into its number and its unit.
fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text
        .char_indices()
        .find(|(index, c)| !(c.is_ascii_digit() || matches!(c, '.' | '_') || (*index == 0 && matches!(c, '-' | '+'))))
        .map_or(text.len(), |(index, _)| index);
    let (number, unit) = (&text[..end], text[end..].trim_start());
    number.contains(|c: char| c.is_ascii_digit()).then_some((number, unit))
}

/// `number × unit`, exactly: at most 12 decimals.
fn scaled(number: &str, unit: u64) -> Result<u64, QuantityError> {
    let plain = number.replace('_', "");
    if plain.starts_with('-') {
        return Err(QuantityError::OutOfRange);
    }
    let plain = plain.strip_prefix('+').unwrap_or(&plain);
    let (whole, decimals) = plain.split_once('.').unwrap_or((plain, ""));
    if whole.is_empty() || decimals.contains('.') || plain.ends_with('.') {
        return Err(QuantityError::NotAQuantity);
    }
    let decimals = decimals.trim_end_matches('0');
    if decimals.len() > 12 || whole.len() > 20 {
        return Err(if decimals.len() > 12 { QuantityError::TooFine } else { QuantityError::OutOfRange });
    }
    let digits: u128 = format!("{whole}{decimals}").parse().map_err(|_| QuantityError::NotAQuantity)?;
    let scale = 10_u128.pow(decimals.len() as u32);
    let product = digits.checked_mul(u128::from(unit)).ok_or(QuantityError::OutOfRange)?;
    if product % scale != 0 {
        return Err(QuantityError::TooFine);
    }
    u64::try_from(product / scale).map_err(|_| QuantityError::OutOfRange)
}

fn with_unit(text: &str, units: &[(&'static str, u64)]) -> Result<u64, QuantityError> {
    let (number, unit) = split(text).ok_or(QuantityError::NotAQuantity)?;
    if unit.is_empty() {
        return Err(QuantityError::NoUnit);
    }
    match units.iter().find(|(known, _)| *known == unit) {
        Some((_, size)) => scaled(number, *size),
        None => Err(QuantityError::WrongUnit { unit: unit.to_owned(), meant: meant_unit(unit, units) }),
    }
}

/// The unit a person most likely meant: another case, or a letter short of a binary unit (`G` for `GiB`).
fn meant_unit(unit: &str, units: &[(&'static str, u64)]) -> Option<&'static str> {
    let lower = unit.to_ascii_lowercase();
    let same_letters = units.iter().find(|(known, _)| known.to_ascii_lowercase() == lower);
    let spelled_out: &[(&str, &str)] = &[
        ("sec", "s"),
        ("secs", "s"),
        ("second", "s"),
        ("seconds", "s"),
        ("min", "m"),
        ("mins", "m"),
        ("minute", "m"),
        ("minutes", "m"),
        ("hour", "h"),
        ("hours", "h"),
        ("hr", "h"),
        ("day", "d"),
        ("days", "d"),
        ("week", "w"),
        ("weeks", "w"),
        ("year", "y"),
        ("years", "y"),
        ("k", "KiB"),
        ("m", "MiB"),
        ("g", "GiB"),
        ("t", "TiB"),
        ("ki", "KiB"),
        ("mi", "MiB"),
        ("gi", "GiB"),
        ("ti", "TiB"),
        ("kb", "KiB"),
        ("mbps", "Mbit/s"),
        ("gbps", "Gbit/s"),
        ("kbps", "kbit/s"),
        ("mb/s", "Mbit/s"),
        ("gb/s", "Gbit/s"),
    ];
    same_letters.map(|(known, _)| *known).or_else(|| {
        let meant = spelled_out.iter().find(|(spelled, _)| *spelled == lower).map(|(_, meant)| *meant)?;
        units.iter().find(|(known, _)| *known == meant).map(|(known, _)| *known)
    })
}

/// The bytes of a text such as `8GiB`; `None` where it is none.
pub fn bytes_of(text: &str) -> Option<u64> {
    read_bytes(text).ok()
}

/// Reads an amount of bytes: `64MiB`, `1.5GiB`, `10GB` (decimal), `512B`.
pub(crate) fn read_bytes(text: &str) -> Result<u64, QuantityError> {
    with_unit(text, &BYTE_UNITS)
}

/// Reads a bandwidth in bits per second: `100Mbit/s`.
pub(crate) fn read_bandwidth(text: &str) -> Result<u64, QuantityError> {
    with_unit(text, &BANDWIDTH_UNITS)
}

/// Reads a duration: `90s`, `1.5h`, `1h 30m`, `250ms`.
pub(crate) fn read_duration(text: &str) -> Result<TimeSpan, QuantityError> {
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(QuantityError::NotAQuantity);
    }
    while !rest.is_empty() {
        let (number, after) = split(rest).ok_or(QuantityError::NotAQuantity)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(after.len());
        let unit = &after[..unit_end];
        if unit.is_empty() {
            return Err(QuantityError::NoUnit);
        }
        let Some((_, size)) = TIME_UNITS.iter().find(|(known, _)| *known == unit) else {
            return Err(QuantityError::WrongUnit { unit: unit.to_owned(), meant: meant_unit(unit, &TIME_UNITS) });
        };
        total = total.checked_add(scaled(number, *size)?).ok_or(QuantityError::OutOfRange)?;
        rest = after[unit_end..].trim_start();
    }
    Ok(TimeSpan::from_micros(total))
}

/// Reads a rate of payment: `0.5/h`, `2/d`.
pub(crate) fn read_rate(text: &str) -> Result<Rate, QuantityError> {
    let (amount, unit) = text.split_once('/').ok_or(match split(text) {
        Some((_, "")) => QuantityError::NoUnit,
        _ => QuantityError::NotAQuantity,
    })?;
    let credits: Credits = amount.trim().parse().map_err(|_| QuantityError::NotAQuantity)?;
    let unit = unit.trim();
    let Some((_, micros)) = TIME_UNITS.iter().find(|(known, _)| *known == unit) else {
        return Err(QuantityError::WrongUnit { unit: unit.to_owned(), meant: meant_unit(unit, &TIME_UNITS) });
    };
    Rate::of(credits, TimeSpan::from_micros(*micros)).ok_or(QuantityError::OutOfRange)
}

/// A word such as `64GiB`, `2h` or `100Mbit/s` in an expression, by the unit it carries.
pub(crate) enum Amount {
    Bytes(u64),
    Duration(TimeSpan),
    Bandwidth(u64),
}

/// Reads an amount of anything that has a unit.
pub(crate) fn read_any(text: &str) -> Result<Amount, QuantityError> {
    let (_, unit) = split(text).ok_or(QuantityError::NotAQuantity)?;
    if BYTE_UNITS.iter().any(|(known, _)| *known == unit) {
        return read_bytes(text).map(Amount::Bytes);
    }
    if BANDWIDTH_UNITS.iter().any(|(known, _)| *known == unit) {
        return read_bandwidth(text).map(Amount::Bandwidth);
    }
    match read_duration(text) {
        Ok(span) => Ok(Amount::Duration(span)),
        Err(QuantityError::WrongUnit { unit, meant: None }) => {
            Err(QuantityError::WrongUnit { meant: meant_unit(&unit, &BYTE_UNITS), unit })
        }
        Err(error) => Err(error),
    }
}

/// Bytes in the largest unit that shows them exactly: `2GiB`, `1536MiB`, `1000B`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let exact = |&&(_, size): &&(&str, u64)| bytes >= size && bytes.is_multiple_of(size);
    match BYTE_UNITS[..6].iter().rev().find(exact) {
        Some((unit, size)) => format!("{}{unit}", bytes / size),
        None => format!("{bytes}B"),
    }
}

/// Bits per second in the largest unit that shows them exactly.
pub(crate) fn show_bandwidth(bits: u64) -> String {
    match BANDWIDTH_UNITS.iter().rev().find(|(_, size)| bits >= *size && bits.is_multiple_of(*size)) {
        Some((unit, size)) => format!("{}{unit}", bits / size),
        None => format!("{bits}bit/s"),
    }
}

/// A duration exactly, as it would be written: `1h30m`, `250ms`.
pub(crate) fn show_duration(span: TimeSpan) -> String {
    let mut rest = span.micros();
    if rest == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (unit, size) in TIME_UNITS[..6].iter().rev() {
        if rest >= *size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_exactly_and_shown_as_they_are_written() {
        for (text, bytes) in
            [("64MiB", 64 << 20), ("1.5GiB", 3 << 29), ("10GB", 10_000_000_000), ("512B", 512), ("0.5KiB", 512)]
        {
            assert_eq!(read_bytes(text), Ok(bytes), "{text}");
            assert_eq!(read_bytes(&show_bytes(bytes)), Ok(bytes));
        }
        assert_eq!(show_bytes(1536 << 20), "1536MiB");
        assert_eq!(read_bytes("64"), Err(QuantityError::NoUnit));
        assert_eq!(read_bytes("-1MiB"), Err(QuantityError::OutOfRange));
        assert_eq!(read_bytes("99999999999PiB"), Err(QuantityError::OutOfRange));
        assert_eq!(read_bytes("0.3B"), Err(QuantityError::TooFine));
        assert_eq!(read_bytes("64mib"), Err(QuantityError::WrongUnit { unit: "mib".into(), meant: Some("MiB") }));
        assert_eq!(read_bytes("64G"), Err(QuantityError::WrongUnit { unit: "G".into(), meant: Some("GiB") }));
        assert_eq!(read_bytes("lots"), Err(QuantityError::NotAQuantity));
    }

    #[test]
    fn durations_may_have_several_parts() {
        for (text, seconds) in
            [("90s", 90), ("1h 30m", 5400), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172_800), ("1y", 31_536_000)]
        {
            assert_eq!(read_duration(text), Ok(TimeSpan::from_seconds(seconds)), "{text}");
        }
        assert_eq!(read_duration("250ms"), Ok(TimeSpan::from_micros(250_000)));
        assert_eq!(show_duration(TimeSpan::from_micros(5_400_250_000)), "1h30m250ms");
        assert_eq!(read_duration("5"), Err(QuantityError::NoUnit));
        assert_eq!(
            read_duration("5 minutes"),
            Err(QuantityError::WrongUnit { unit: "minutes".into(), meant: Some("m") })
        );
        assert_eq!(read_duration(""), Err(QuantityError::NotAQuantity));
    }

    #[test]
    fn rates_are_money_per_time() {
        assert_eq!(read_rate("0.36/h"), Ok(Rate::from_credits_per_hour(0.36)));
        assert_eq!(read_rate("2"), Err(QuantityError::NoUnit));
        assert!(matches!(read_rate("2/fortnight"), Err(QuantityError::WrongUnit { .. })));
    }
}
