//! How the best bid on one host depends on s = 1/√λ.

use super::{BestResponseError, HostOffer, TOKEN_BID, check_number};

/// The best bid on one host, as a function of s.
///
/// It is `low` until `flat_at`, where it jumps to `flat` (on the way the marginal utility stays the same, so that at
/// `flat_at` itself any bid between is as good). Then it is s·`root` − `price`, held between `flat` and `high`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Curve {
    /// w.
    pub(super) weight: f64,
    /// y.
    pub(super) price: f64,
    /// ρ.
    floor: f64,
    /// √(w·y), or 0 where the bid does not grow with s.
    pub(super) root: f64,
    /// The bid for the least share.
    pub(super) low: f64,
    /// The s at which the bid jumps to `flat`; 0 where it does not jump.
    pub(super) flat_at: f64,
    /// The bid at which the floor is reached, or `low`.
    pub(super) flat: f64,
    /// The bid for the greatest share; infinite for the whole host.
    pub(super) high: f64,
    /// The greatest share: a token buys all of a free host, but no more than this is of use.
    share_max: f64,
}

impl Curve {
    fn of(index: usize, host: &HostOffer, floor: f64) -> Result<Self, BestResponseError> {
        check_number("weight", Some(index), host.weight)?;
        check_number("others' bid", Some(index), host.others)?;
        check_number("base price", Some(index), host.base_price)?;
        check_number("price floor", Some(index), floor)?;
        let (min, max) = (host.min_share.unwrap_or(0.0), host.max_share.unwrap_or(1.0));
        let fits = (0.0..1.0).contains(&min) && max > 0.0 && max <= 1.0 && min <= max;
        if !fits {
            return Err(BestResponseError::Shares { host: index, min, max });
        }
        let (weight, price) = (host.weight, host.price());
        let root = weight.sqrt() * price.sqrt();
        if price == 0.0 && floor == 0.0 {
            // Any bid gets all of it: a token is bid before anything else.
            let high = if weight > 0.0 || min > 0.0 { TOKEN_BID } else { 0.0 };
            let low = if min > 0.0 { TOKEN_BID } else { 0.0 };
            return Ok(Self { weight, price, floor, root, low, flat_at: 0.0, flat: high, high, share_max: max });
        }
        let cost = |share: f64| {
            let in_auction = match (share < 1.0, price > 0.0) {
                (true, _) => share * price / (1.0 - share),
                (false, true) => f64::INFINITY,
                (false, false) => 0.0,
            };
            in_auction.max(share * floor)
        };
        let (low, high) = (cost(min), cost(max));
        let (flat_at, flat) =
            if floor > price { (floor.sqrt() / weight.sqrt(), (floor - price).clamp(low, high)) } else { (0.0, low) };
        Ok(Self { weight, price, floor, root, low, flat_at, flat, high, share_max: max })
    }

    /// The best bid just above `s`.
    pub(super) fn bid(&self, s: f64) -> f64 {
        if s < self.flat_at { self.low } else { self.grown(s) }
    }

    /// The best bid just below `s`.
    pub(super) fn bid_before(&self, s: f64) -> f64 {
        if s <= self.flat_at && self.flat > self.low && !self.is_free() { self.low } else { self.grown(s) }
    }

    fn grown(&self, s: f64) -> f64 {
        if self.root == 0.0 { self.flat } else { (s * self.root - self.price).max(self.flat).min(self.high) }
    }

    /// True for a host that costs nothing and gets a token.
    pub(super) fn is_free(&self) -> bool {
        self.price == 0.0 && self.floor == 0.0
    }

    /// The share of the host that a bid gets.
    pub(super) fn share(&self, bid: f64) -> f64 {
        if bid.is_infinite() {
            self.share_max
        } else if bid == 0.0 {
            0.0
        } else {
            (bid / (bid + self.price).max(self.floor)).min(self.share_max)
        }
    }

    /// The s above which the bid exceeds `flat`; infinite where it never does.
    pub(super) fn leaves_flat(&self) -> f64 {
        if self.root > 0.0 { (self.flat + self.price) / self.root } else { f64::INFINITY }
    }

    /// The s from which the bid is at its greatest; infinite where it never is.
    pub(super) fn meets_high(&self) -> f64 {
        if self.root > 0.0 { (self.high + self.price) / self.root } else { f64::INFINITY }
    }

    /// The points at which the form of the bid changes.
    pub(super) fn turns(&self) -> impl Iterator<Item = f64> {
        [self.flat_at, self.leaves_flat(), self.meets_high()].into_iter().filter(|turn| turn.is_finite() && *turn > 0.0)
    }

    /// The greatest value of w·share − λ·bid over all bids that are allowed.
    pub(super) fn surplus(&self, s: f64) -> f64 {
        let bid = self.bid(s);
        if bid.is_infinite() { self.weight } else { self.weight * self.share(bid) - bid / (s * s) }
    }
}

pub(super) fn curves_of(hosts: &[HostOffer], floors: &[f64]) -> Result<Vec<Curve>, BestResponseError> {
    let floor = |index: usize| floors.get(index).copied().unwrap_or(0.0);
    hosts.iter().enumerate().map(|(index, host)| Curve::of(index, host, floor(index))).collect()
}

/// What the least shares cost.
pub(super) fn least_of(curves: &[Curve]) -> f64 {
    curves.iter().map(|curve| curve.low).sum()
}
