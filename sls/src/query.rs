//! Which hosts a caller wants to see, in what order, and how many at a time.

use std::str::FromStr;

use thiserror::Error;
use tycoon_market::{AccountId, HostId, ResourceKind};
use tycoon_rpc::{Problem, Query};

use crate::record::HostRecord;

/// The most hosts on one page.
pub const PAGE_HOSTS_MAX: usize = 500;
/// The hosts on one page where the caller does not say.
pub const PAGE_HOSTS: usize = 100;

/// A query for hosts. The default asks for all live hosts, ordered by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostQuery {
    /// Only the host of this name.
    pub name: Option<String>,
    /// Only hosts with all these labels and values.
    pub labels: Vec<(String, String)>,
    /// Only hosts of this architecture.
    pub architecture: Option<String>,
    /// Only hosts that can provide this image.
    pub image: Option<String>,
    /// Only hosts of this owner.
    pub owner: Option<AccountId>,
    /// Only simulated hosts, or only real ones.
    pub is_simulated: Option<bool>,
    /// The order.
    pub sort: Sort,
    /// The last host of the page before; the first page where there is none.
    pub after: Option<HostId>,
    /// The most hosts on the page, 1 to [`PAGE_HOSTS_MAX`].
    pub size: Option<usize>,
}

/// The order of hosts; equal ones are ordered by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By id: the order in which nothing is missed while pages are turned.
    #[default]
    Id,
    /// By name.
    Name,
    /// By the spot price of CPU, the cheapest first; hosts without CPU last.
    CpuPrice,
    /// By the CPU that is available, the largest first.
    CpuAvailable,
}

/// A word that is no order.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not an order; use one of id, name, cpu-price, cpu-available")]
pub struct SortError(String);

impl FromStr for Sort {
    type Err = SortError;

    fn from_str(text: &str) -> Result<Self, SortError> {
        [Self::Id, Self::Name, Self::CpuPrice, Self::CpuAvailable]
            .into_iter()
            .find(|sort| sort.word() == text)
            .ok_or_else(|| SortError(text.chars().take(40).collect()))
    }
}

impl Sort {
    /// The word of the query.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Name => "name",
            Self::CpuPrice => "cpu-price",
            Self::CpuAvailable => "cpu-available",
        }
    }

    /// Where a host stands in the order by id.
    pub(crate) const fn id_key(host: HostId) -> SortKey {
        SortKey { text: String::new(), number: 0, host }
    }

    /// Where a host stands in this order.
    pub(crate) fn key(self, record: &HostRecord) -> SortKey {
        let cpu = record.offers.get(&ResourceKind::Cpu);
        let (text, number) = match self {
            Self::Id => (String::new(), 0),
            Self::Name => (record.name.as_str().to_owned(), 0),
            Self::CpuPrice => (String::new(), cpu.map_or(u128::MAX, spot_price)),
            Self::CpuAvailable => {
                (String::new(), cpu.map_or(u128::MAX, |offer| u128::from(u64::MAX - offer.available.amount())))
            }
        };
        SortKey { text, number, host: record.host }
    }
}

/// The place of a host in an order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SortKey {
    text: String,
    number: u128,
    host: HostId,
}

/// What one CPU costs in pico-credits per second: the base price and the bids' part.
fn spot_price(offer: &crate::record::PublishedOffer) -> u128 {
    let unit = u128::from(ResourceKind::Cpu.price_unit().amount());
    let bids = u128::from(offer.bids.picos_per_second()) * unit;
    let capacity = u128::from(offer.capacity.amount());
    bids.checked_div(capacity).map_or(u128::MAX, |bids| bids + u128::from(offer.base_price.picos_per_second()))
}

impl HostQuery {
    /// True where the record is what the query asks for.
    pub fn matches(&self, record: &HostRecord) -> bool {
        self.name.as_ref().is_none_or(|name| record.name.as_str() == name)
            && self.labels.iter().all(|(label, value)| record.labels.get(label) == Some(value))
            && self.architecture.as_ref().is_none_or(|architecture| record.architecture == *architecture)
            && self.image.as_ref().is_none_or(|image| record.images.contains(image))
            && self.owner.is_none_or(|owner| record.owner == owner)
            && self.is_simulated.is_none_or(|is_simulated| record.is_simulated == is_simulated)
    }

    /// Reads the query of a call.
    pub fn read(query: &Query) -> Result<Self, Problem> {
        let text = |name: &str| query.get(name).map(str::to_owned);
        let labels = query.get("labels").unwrap_or_default().split(',').filter(|label| !label.is_empty());
        let labels: Option<Vec<_>> = labels
            .map(|label| label.split_once('=').map(|(label, value)| (label.to_owned(), value.to_owned())))
            .collect();
        let labels = labels.ok_or_else(|| bad(&"the query's `labels` is not understood: write `rack=3,gpu=yes`"))?;
        let size: Option<usize> = query.read("size").map_err(|error| bad(&error))?;
        if size.is_some_and(|size| size == 0 || size > PAGE_HOSTS_MAX) {
            return Err(bad(&format_args!("the query's `size` must be 1 to {PAGE_HOSTS_MAX}")));
        }
        Ok(Self {
            name: text("name"),
            labels,
            architecture: text("architecture"),
            image: text("image"),
            owner: query.read("owner").map_err(|error| bad(&error))?,
            is_simulated: query.read("simulated").map_err(|error| bad(&error))?,
            sort: query.read("sort").map_err(|error| bad(&error))?.unwrap_or_default(),
            after: query.read("page").map_err(|error| bad(&error))?,
            size,
        })
    }

    /// The query as names and values.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let labels: Vec<String> = self.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        let optional = [
            ("name", self.name.clone()),
            ("labels", (!labels.is_empty()).then(|| labels.join(","))),
            ("architecture", self.architecture.clone()),
            ("image", self.image.clone()),
            ("owner", self.owner.map(|owner| owner.to_string())),
            ("simulated", self.is_simulated.map(|is_simulated| is_simulated.to_string())),
            ("sort", (self.sort != Sort::default()).then(|| self.sort.word().to_owned())),
            ("page", self.after.map(|host| host.to_string())),
            ("size", self.size.map(|size| size.to_string())),
        ];
        optional.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
    }
}

fn bad(detail: &dyn std::fmt::Display) -> Problem {
    Problem::new(http::StatusCode::BAD_REQUEST, "sls.query", "The query is not understood").detail(detail)
}
