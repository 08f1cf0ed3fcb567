//! Which hosts a caller wants to see, in what order, and how many at a time.

use std::collections::BTreeSet;

use tycoon_market::AccountId;
use tycoon_rpc::{Problem, Query};

use crate::fields::Seen;
use crate::filter::Filter;
use crate::order::Cursor;
pub use crate::order::{Sort, SortError};

/// The most hosts on one page.
pub const PAGE_HOSTS_MAX: usize = 500;
/// The hosts on one page where the caller does not say.
pub const PAGE_HOSTS: usize = 100;

/// The names that a query may have, and what they mean.
pub(crate) const NAMES: &[(&str, &str)] = &[
    ("filter", "only hosts for which this expression holds: `memory.available >= 4GiB and label.rack = 3`"),
    ("name", "only the host of this name"),
    ("labels", "only hosts with all these labels: `rack=3,gpu=yes`"),
    ("architecture", "only hosts of this architecture"),
    ("image", "only hosts that have this image"),
    ("owner", "only hosts of this owner"),
    ("simulated", "only simulated hosts (true) or only real ones (false)"),
    ("remembered", "true for hosts too that have left or expired, and are remembered"),
    ("sort", "the field to order by; `-` before it means downwards"),
    ("page", "the `next_page` of the page before"),
    ("size", "the most hosts on the page"),
    ("fields", "only these fields of each host, which nobody signed"),
];

/// A label that a host must have to match, with one of these values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LabelWish<'a> {
    /// The label.
    pub label: &'a str,
    /// The values; each once.
    pub values: BTreeSet<&'a str>,
}

/// A query for hosts. The default asks for all live hosts, ordered by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostQuery {
    /// Only hosts for which this holds.
    pub filter: Option<Filter>,
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
    /// Also hosts that have left or expired, and are remembered.
    pub with_remembered: bool,
    /// The order.
    pub sort: Sort,
    /// Where the page before ended; the first page where there is none.
    pub after: Option<Cursor>,
    /// The most hosts on the page, 1 to [`PAGE_HOSTS_MAX`].
    pub size: Option<usize>,
}

impl HostQuery {
    /// True where the host is what the query asks for.
    pub fn matches(&self, seen: &Seen<'_, '_>) -> bool {
        let facts = seen.facts;
        self.name.as_ref().is_none_or(|name| facts.name.as_str() == name)
            && self.labels.iter().all(|(label, value)| facts.label(label) == Some(value))
            && self.architecture.as_ref().is_none_or(|architecture| *facts.architecture == **architecture)
            && self.image.as_ref().is_none_or(|image| facts.images.iter().any(|other| **other == **image))
            && self.owner.is_none_or(|owner| facts.owner == owner)
            && self.is_simulated.is_none_or(|is_simulated| facts.is_simulated == is_simulated)
            && self.filter.as_ref().is_none_or(|filter| filter.matches(seen))
    }

    /// What labels a host must have to match, among other things: what can be looked up.
    pub(crate) fn label_wishes(&self) -> Vec<LabelWish<'_>> {
        let mut wishes = self.filter.as_ref().map(Filter::label_wishes).unwrap_or_default();
        wishes.extend(self.labels.iter().map(|(label, value)| LabelWish { label, values: [value.as_str()].into() }));
        wishes
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
        let filter = query.get("filter").filter(|filter| !filter.trim().is_empty());
        Ok(Self {
            filter: filter.map(str::parse).transpose().map_err(|error| bad(&error))?,
            name: text("name"),
            labels,
            architecture: text("architecture"),
            image: text("image"),
            owner: query.read("owner").map_err(|error| bad(&error))?,
            is_simulated: query.read("simulated").map_err(|error| bad(&error))?,
            with_remembered: query.read("remembered").map_err(|error| bad(&error))?.unwrap_or(false),
            sort: query.read("sort").map_err(|error| bad(&error))?.unwrap_or_default(),
            after: query.read("page").map_err(|error| bad(&error))?,
            size,
        })
    }

    /// The query as names and values.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let labels: Vec<String> = self.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        let optional = [
            ("filter", self.filter.as_ref().map(ToString::to_string)),
            ("name", self.name.clone()),
            ("labels", (!labels.is_empty()).then(|| labels.join(","))),
            ("architecture", self.architecture.clone()),
            ("image", self.image.clone()),
            ("owner", self.owner.map(|owner| owner.to_string())),
            ("simulated", self.is_simulated.map(|is_simulated| is_simulated.to_string())),
            ("remembered", self.with_remembered.then(|| "true".to_owned())),
            ("sort", (self.sort != Sort::default()).then(|| self.sort.to_string())),
            ("page", self.after.as_ref().map(ToString::to_string)),
            ("size", self.size.map(|size| size.to_string())),
        ];
        optional.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
    }
}

fn bad(detail: &dyn std::fmt::Display) -> Problem {
    Problem::new(http::StatusCode::BAD_REQUEST, "sls.query", "The query is not understood").detail(detail)
}
