//! What a charge is made of, line by line.

use serde::{Deserialize, Serialize};

use crate::{Credits, Quantity, Rate, ResourceKind, TimeSpan, Timestamp};

/// The most lines that one account gets at once; what comes after is averaged with the last of its kind.
const LINES_MAX: usize = 64;

/// What money was charged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChargeFor {
    /// The bid on a resource.
    Bid(ResourceKind),
    /// What the minimum of a resource cost beyond the bid.
    TopUp(ResourceKind),
    /// CPU used beyond the share, at the base price.
    BeyondShare,
    /// Addresses and ports: those held, and bids that lost.
    Unique,
    /// CPU and network used since the last tick, taken for fully used when the account was closed.
    Closing,
}

/// One part of what was charged. `rate` · max(0.1, min(`used`/`share`, 1)) · `time` is `amount` up to the part of a
/// micro-credit that is carried from one charge to the next; of memory and disk, and beyond the share, all is used.
/// The lines of a charge add up to it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChargeLine {
    /// For what.
    pub item: ChargeFor,
    /// The end of the time that was charged for.
    pub until: Timestamp,
    /// The time.
    pub time: TimeSpan,
    /// What it costs when it is fully used.
    pub rate: Rate,
    /// The share; zero where there is none.
    pub share: Quantity,
    /// What was used of it on average.
    pub used: Quantity,
    /// What was charged.
    pub amount: Credits,
    /// True where rate, share and use changed meanwhile and are means over the time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_average: bool,
}

impl ChargeLine {
    /// What the price of a second follows from. It does not grow evenly with the use, so that a mean of that explains nothing.
    const fn terms(&self) -> (Rate, Quantity, Quantity) {
        (self.rate, self.share, self.used)
    }

    /// Takes in a line of the same item, as a mean over both times.
    fn take_in(&mut self, next: &Self) {
        let (one, two) = (u128::from(self.time.micros()), u128::from(next.time.micros()));
        let mean = |first: u64, second: u64| {
            let sum = u128::from(first) * one + u128::from(second) * two;
            // A mean is at most the larger of both.
            u64::try_from(sum.checked_div(one + two).unwrap_or_default()).unwrap_or(u64::MAX)
        };
        self.is_average |= next.is_average || self.terms() != next.terms();
        self.rate = Rate::from_picos_per_second(mean(self.rate.picos_per_second(), next.rate.picos_per_second()));
        self.share = Quantity::new(mean(self.share.amount(), next.share.amount()));
        self.used = Quantity::new(mean(self.used.amount(), next.used.amount()));
        self.time = TimeSpan::from_micros(self.time.micros().saturating_add(next.time.micros()));
        self.until = self.until.max(next.until);
        self.amount = self.amount.checked_add(next.amount).unwrap_or(Credits::MAX);
    }
}

/// Adds a line to those of an account: to the last of its item where nothing but time has changed, or where there are many
/// already.
pub fn add_line(lines: &mut Vec<ChargeLine>, line: ChargeLine) {
    let is_full = lines.len() >= LINES_MAX;
    let last = lines.iter_mut().rev().find(|last| last.item == line.item);
    match last {
        Some(last) if is_full || last.terms() == line.terms() => last.take_in(&line),
        // There are fewer items than lines, so that this ends too.
        _ => lines.push(line),
    }
}
