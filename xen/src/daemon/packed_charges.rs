//! The charges of an interval that is over, in a small space: a host of a thousand accounts keeps tens of thousands of
//! them, and is seldom asked for any.
//!
//! A line is written as its item, whether it is a mean, and six numbers, seven bits to a byte: as most are small, in a
//! third of the space. All together is compressed.

use std::borrow::Cow;

use tycoon_market::auctioneer::{ChargeFor, ChargeLine};
use tycoon_market::{AccountId, Credits, HostAccountId, Quantity, Rate, ResourceKind, TimeSpan, Timestamp};
use tycoon_rpc::compact::{compressed, decompressed};

use super::charges::Charges;

/// What the charges of an interval begin with on disk. Earlier programs wrote JSON, which begins with a bracket.
const FORM: u8 = 1;
/// The same, where the rest is compressed.
const COMPRESSED: u8 = 2;
const KINDS: usize = ResourceKind::ALL.len();
/// Marks a line that is a mean.
const AVERAGE: u8 = 0x80;

/// The charges of an interval, account by account, in the form in which they are kept on disk too.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PackedCharges(Box<[u8]>);

impl PackedCharges {
    pub(super) fn of(charges: &Charges) -> Self {
        let (mut out, mut lines) = (vec![FORM], Vec::new());
        for (id, its) in charges {
            lines.clear();
            its.iter().for_each(|line| put_line(&mut lines, line));
            let pool = id.pool.as_str();
            out.extend_from_slice(id.account.as_bytes());
            for part in [pool.as_bytes(), &lines] {
                put_number(&mut out, part.len() as u64);
                out.extend_from_slice(part);
            }
        }
        let small = compressed(&out).map(|small| [&[COMPRESSED], small.as_slice()].concat());
        Self(small.unwrap_or(out).into())
    }

    /// Of bytes that were packed, or written as JSON.
    ///
    /// # Errors
    /// What is neither.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let charges = read(bytes)?;
        Ok(if bytes.starts_with(&[COMPRESSED]) { Self(bytes.into()) } else { Self::of(&charges) })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As they were.
    pub(super) fn unpacked(&self) -> Charges {
        // What was packed here can be read.
        read(&self.0).unwrap_or_default()
    }

    /// The lines of an account; `None` where it was not charged.
    pub(super) fn get(&self, id: &HostAccountId) -> Option<Vec<ChargeLine>> {
        let plain = plain(&self.0).ok()?;
        let mut rest = plain.strip_prefix(&[FORM])?;
        // In order, so that it need not be looked for behind its place.
        let accounts = std::iter::from_fn(|| take_account(&mut rest));
        accounts
            .take_while(|(other, _)| other <= id)
            .find(|(other, _)| other == id)
            .map(|(_, lines)| lines_in(lines))?
    }
}

fn read(bytes: &[u8]) -> Result<Charges, serde_json::Error> {
    let plain = plain(bytes)?;
    let Some(mut rest) = plain.strip_prefix(&[FORM]) else { return serde_json::from_slice(&plain) };
    let mut charges = Charges::new();
    while !rest.is_empty() {
        let (id, lines) = take_account(&mut rest)
            .and_then(|(id, lines)| Some((id, lines_in(lines)?)))
            .ok_or_else(|| serde::de::Error::custom("the charges of an interval end too early"))?;
        charges.insert(id, lines);
    }
    Ok(charges)
}

/// Without compression.
fn plain(bytes: &[u8]) -> Result<Cow<'_, [u8]>, serde_json::Error> {
    match bytes.strip_prefix(&[COMPRESSED]) {
        Some(rest) => decompressed(rest).map(Cow::Owned).map_err(serde::de::Error::custom),
        None => Ok(Cow::Borrowed(bytes)),
    }
}

fn take_account<'a>(from: &mut &'a [u8]) -> Option<(HostAccountId, &'a [u8])> {
    let (account, rest) = from.split_first_chunk()?;
    *from = rest;
    let pool = std::str::from_utf8(take_part(from)?).ok()?.parse().ok()?;
    Some((HostAccountId::new(AccountId::from_bytes(*account), pool), take_part(from)?))
}

fn lines_in(mut part: &[u8]) -> Option<Vec<ChargeLine>> {
    let mut lines = Vec::new();
    while !part.is_empty() {
        lines.push(take_line(&mut part)?);
    }
    Some(lines)
}

fn take_part<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(from)?).ok()?;
    let (part, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(part)
}

fn put_line(out: &mut Vec<u8>, line: &ChargeLine) {
    out.push(code_of(line.item) | if line.is_average { AVERAGE } else { 0 });
    // In two's complement, so that whatever was kept comes back.
    let (until, amount) = (line.until.micros().cast_unsigned(), line.amount.micros().cast_unsigned());
    let (rate, time) = (line.rate.picos_per_second(), line.time.micros());
    for number in [until, time, rate, line.share.amount(), line.used.amount(), amount] {
        put_number(out, number);
    }
}

fn take_line(from: &mut &[u8]) -> Option<ChargeLine> {
    let (first, rest) = from.split_first()?;
    *from = rest;
    Some(ChargeLine {
        item: item_of(first & !AVERAGE)?,
        until: Timestamp::from_micros(take_number(from)?.cast_signed()),
        time: TimeSpan::from_micros(take_number(from)?),
        rate: Rate::from_picos_per_second(take_number(from)?),
        share: Quantity::new(take_number(from)?),
        used: Quantity::new(take_number(from)?),
        amount: Credits::from_micros(take_number(from)?.cast_signed()),
        is_average: first & AVERAGE != 0,
    })
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_number(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn code_of(item: ChargeFor) -> u8 {
    let code = match item {
        ChargeFor::Bid(kind) => kind as usize,
        ChargeFor::TopUp(kind) => KINDS + kind as usize,
        ChargeFor::BeyondShare => 2 * KINDS,
        ChargeFor::Unique => 2 * KINDS + 1,
        ChargeFor::Closing => 2 * KINDS + 2,
    };
    code as u8
}

fn item_of(code: u8) -> Option<ChargeFor> {
    let code = usize::from(code);
    Some(match code.checked_sub(2 * KINDS) {
        None if code < KINDS => ChargeFor::Bid(ResourceKind::ALL[code]),
        None => ChargeFor::TopUp(ResourceKind::ALL[code - KINDS]),
        Some(0) => ChargeFor::BeyondShare,
        Some(1) => ChargeFor::Unique,
        Some(2) => ChargeFor::Closing,
        Some(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(item: ChargeFor, number: u64) -> ChargeLine {
        ChargeLine {
            item,
            until: Timestamp::from_micros(number.cast_signed()),
            time: TimeSpan::from_micros(number / 2),
            rate: Rate::from_picos_per_second(number / 3),
            share: Quantity::new(number),
            used: Quantity::new(number / 7),
            amount: Credits::from_micros(number.cast_signed()),
            is_average: number.is_multiple_of(2),
        }
    }

    #[test]
    fn what_is_packed_comes_back_as_it_was() {
        let kinds = ResourceKind::ALL.into_iter();
        let items: Vec<ChargeFor> = kinds
            .flat_map(|kind| [ChargeFor::Bid(kind), ChargeFor::TopUp(kind)])
            .chain([ChargeFor::BeyondShare, ChargeFor::Unique, ChargeFor::Closing])
            .collect();
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), i64::MAX.cast_unsigned(), u64::MAX];
        let id = |number: usize| format!("{number:032x}/pool{number}").parse::<HostAccountId>().unwrap();
        let mut charges: Charges = numbers
            .iter()
            .enumerate()
            .map(|(place, number)| (id(place), items.iter().map(|item| line(*item, *number)).collect()))
            .collect();
        charges.insert(id(77), Vec::new());
        let packed = PackedCharges::of(&charges);
        assert_eq!(packed.unpacked(), charges);
        let (plain, json) = (plain(packed.bytes()).unwrap().into_owned(), serde_json::to_vec(&charges).unwrap());
        for bytes in [packed.bytes(), &plain, &json] {
            assert_eq!(PackedCharges::read(bytes).unwrap(), packed, "also as earlier programs wrote it");
            assert!(PackedCharges::read(&bytes[..bytes.len() - 1]).is_err(), "a part of them");
        }
        assert!(PackedCharges::read(b"").is_err());
        assert_eq!(packed.get(&id(3)), charges.get(&id(3)).cloned());
        assert_eq!(packed.get(&id(77)), Some(Vec::new()));
        assert_eq!(packed.get(&id(50)), None, "between others");
        assert_eq!(packed.get(&id(99)), None, "after all");
        assert!(PackedCharges::of(&Charges::new()).unpacked().is_empty());
    }
}
