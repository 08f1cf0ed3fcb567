//! A span of addresses on the command line: `10.77.0.100-10.77.0.199/24`.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Addresses from one to another, in a network with a prefix of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressSpan {
    /// The first.
    pub first: Ipv4Addr,
    /// The last, not before the first.
    pub last: Ipv4Addr,
    /// The length of the network's prefix, 1 to 32.
    pub prefix: u8,
}

impl AddressSpan {
    /// How many addresses it has.
    pub fn count(&self) -> u64 {
        u64::from(u32::from(self.last) - u32::from(self.first)) + 1
    }

    /// The `number`th of `parts` spans of the same size that follow one another, the first being 0. `None` where there
    /// are fewer addresses than parts.
    pub fn part(&self, number: usize, parts: usize) -> Option<Self> {
        let size = u32::try_from(self.count() / u64::try_from(parts).ok()?).ok().filter(|size| *size > 0)?;
        let first = u32::from(self.first).checked_add(size.checked_mul(u32::try_from(number).ok()?)?)?;
        Some(Self { first: first.into(), last: (first + (size - 1)).into(), prefix: self.prefix })
    }
}

impl FromStr for AddressSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write FIRST-LAST/PREFIX, for example 10.77.0.100-10.77.0.199/24".to_owned();
        let (span, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let (first, last) = span.split_once('-').ok_or_else(wrong)?;
        let address = |text: &str| text.trim().parse::<Ipv4Addr>().map_err(|_| format!("`{text}` is no IPv4 address"));
        let (first, last) = (address(first)?, address(last)?);
        let prefix = prefix.parse::<u8>().ok().filter(|prefix| (1..=32).contains(prefix)).ok_or_else(wrong)?;
        let network = |address: Ipv4Addr| u32::from(address) >> (32 - u32::from(prefix));
        if first > last {
            return Err(format!("{first} comes after {last}"));
        }
        if network(first) != network(last) {
            return Err(format!("{first} and {last} are not in one network with a prefix of {prefix}"));
        }
        Ok(Self { first, last, prefix })
    }
}

impl fmt::Display for AddressSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}/{}", self.first, self.last, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_divided_without_gaps_or_overlaps() {
        let span: AddressSpan = "10.77.0.100-10.77.0.199/24".parse().unwrap();
        let parts: Vec<String> = (0..3).map(|number| span.part(number, 3).unwrap().to_string()).collect();
        assert_eq!(parts, ["10.77.0.100-10.77.0.132/24", "10.77.0.133-10.77.0.165/24", "10.77.0.166-10.77.0.198/24"]);
        let two: AddressSpan = "10.0.0.1-10.0.0.2/8".parse().unwrap();
        assert_eq!(two.part(0, 3), None, "two addresses are too few for three");
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in [
            "",
            "10.0.0.1",
            "10.0.0.1-10.0.0.9",
            "10.0.0.9-10.0.0.1/24",
            "10.0.0.1-10.0.1.1/24",
            "a-b/24",
            "10.0.0.1-10.0.0.2/33",
        ] {
            assert!(text.parse::<AddressSpan>().is_err(), "{text}");
        }
        assert_eq!(
            "0.0.0.0-255.255.255.255/1".parse::<AddressSpan>(),
            Err("0.0.0.0 and 255.255.255.255 are not in one network with a prefix of 1".into())
        );
    }
}
