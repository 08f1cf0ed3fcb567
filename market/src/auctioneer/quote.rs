//! Quotes: minima held for an account for a short time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Quantity, Rate, ResourceKind, Timestamp};

/// Minima that are held for an account, and what they cost at most while they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Quote {
    /// What is held.
    pub minima: BTreeMap<ResourceKind, Quantity>,
    /// The price of one price unit of each resource.
    pub prices: BTreeMap<ResourceKind, Rate>,
    /// What all minima together cost at these prices.
    pub rate: Rate,
    /// Until when.
    pub valid_until: Timestamp,
}

impl Quote {
    /// What `amount` of `kind` costs at the quoted price, rounded up; `None` where the quote does not name it or holds
    /// less of it.
    pub fn cost_of(&self, kind: ResourceKind, amount: Quantity) -> Option<Rate> {
        let price = *self.prices.get(&kind)?;
        (self.minima.get(&kind).copied().unwrap_or_default() >= amount).then(|| cost_at(price, kind, amount))
    }
}

/// What `amount` of `kind` costs where a price unit costs `price`, rounded up.
pub(super) fn cost_at(price: Rate, kind: ResourceKind, amount: Quantity) -> Rate {
    let unit = u128::from(kind.price_unit().amount().max(1));
    let picos = (u128::from(price.picos_per_second()) * u128::from(amount.amount())).div_ceil(unit);
    Rate::from_picos_per_second(u64::try_from(picos).unwrap_or(u64::MAX))
}
