//! What is simulated: hosts, users and the rules of their meeting.

use thiserror::Error;

use crate::TimeSpan;

/// A scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The hosts.
    pub hosts: Hosts,
    /// The users, in groups that are alike.
    pub users: Vec<UserGroup>,
    /// Who changes her bids when.
    pub update: Update,
    /// The part of the way from her old bids to her new ones that a user goes at a time, above 0 to 1.
    pub damping: f64,
    /// The time between two allocations.
    pub interval: TimeSpan,
    /// The number of rounds.
    pub rounds: u32,
    /// The market has settled when in one round of everybody's turns no utility changes by more than this part of it.
    pub tolerance: f64,
    /// True to stop when the market has settled; a scenario with arrivals or failures runs on.
    pub stops_when_settled: bool,
}

/// The hosts, all alike but for what users think of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Hosts {
    /// How many.
    pub count: usize,
    /// The owner's reserve for a whole host, in credits per second.
    pub base_price: f64,
    /// What code divides them.
    pub market: HostMarket,
    /// Whether they fail.
    pub failures: Option<Failures>,
}

/// How much of the real market a host runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostMarket {
    /// The auction alone: fast, for thousands of hosts.
    Auction,
    /// A whole auctioneer, with accounts, funds, charges in whole micro-credits and an audit in every round.
    Auctioneer {
        /// The CPUs of the host, which bound how finely it is divided.
        cpus: u64,
    },
}

/// Hosts that fail and come back, after times that are distributed exponentially.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Failures {
    /// The mean time to a failure.
    pub mean_up: TimeSpan,
    /// The mean time to repair.
    pub mean_down: TimeSpan,
}

/// Users who are alike.
#[derive(Clone, Debug, PartialEq)]
pub struct UserGroup {
    /// What they are called in the results.
    pub name: String,
    /// How many.
    pub count: usize,
    /// What each may bid at most, in credits per second; drawn evenly between the two.
    pub budget: (f64, f64),
    /// What each may spend in all, in credits; unlimited where `None`. Who has spent it leaves.
    pub balance: Option<f64>,
    /// What they think of the hosts.
    pub preferences: Preferences,
    /// The number of hosts each knows of, drawn at random; all where `None`.
    pub considers: Option<usize>,
    /// The number of hosts on which each bids at a time; the rest of the hosts gets nothing.
    pub hosts_max: Option<usize>,
    /// The least share of a host that is of use.
    pub min_share: Option<f64>,
    /// The greatest share of a host that is of use.
    pub max_share: Option<f64>,
    /// How they bid.
    pub strategy: Strategy,
    /// When they come.
    pub arrival: Arrival,
    /// The mean time they stay, distributed exponentially; to the end where `None`.
    pub stay: Option<TimeSpan>,
}

/// What a user thinks of the hosts: weights that add up to 1 over the hosts she knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preferences {
    /// Every weight is drawn evenly from 0 to 1 by itself.
    Uniform,
    /// Users and hosts have profiles of so many numbers from 0 to 1; a weight is their scalar product. So most users
    /// want the same hosts.
    Correlated {
        /// The length of a profile; 3 in EC'05.
        dimensions: usize,
    },
    /// All hosts are worth the same.
    Equal,
}

/// How a user bids.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Strategy {
    /// Best response to the others' bids: a Nash equilibrium, if the market settles.
    BestResponse,
    /// Proportional response: each host gets the part of the budget that it gives of the utility. It leads to the
    /// equilibrium of a Fisher market, but pays only where nobody deviates from it.
    ProportionalResponse,
    /// In proportion to the weights, for ever.
    Fixed,
    /// In proportion to what the others bid, to make them pay most.
    Spiteful,
    /// In proportion to the weights, for ever, without using any of it: she pays the idle charge, and no one has
    /// any value from what she holds.
    Squatter,
    /// As little as brings this part of what the best response would bring with the whole budget.
    UnderBidder {
        /// The part, above 0 to 1.
        content: f64,
    },
}

/// Who changes her bids when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// One after the other, each knowing what those before her have just bid.
    Sequential,
    /// All at once, each knowing the bids of the round before.
    Simultaneous,
    /// Taking turns: in each round every `turns`-th user, as if simultaneously.
    Staggered {
        /// After how many rounds it is one's turn again.
        turns: u32,
    },
}

/// When the users of a group come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrival {
    /// All at one time after the beginning.
    At(TimeSpan),
    /// One by one, at times apart that are distributed exponentially with this mean.
    Poisson {
        /// The mean time between two arrivals.
        mean: TimeSpan,
    },
}

/// What is wrong with a scenario. `field` is the one to change.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("`{field}`{} is {value}; it must be {expected}", group.as_ref().map(|name| format!(" of users \"{name}\"")).unwrap_or_default())]
pub struct ScenarioError {
    /// The field.
    pub field: &'static str,
    /// The group of users that it belongs to.
    pub group: Option<String>,
    /// What it is.
    pub value: String,
    /// What it may be.
    pub expected: &'static str,
}

/// The most hosts.
pub const HOSTS_MAX: usize = 1_000_000;
/// The most users.
pub const USERS_MAX: usize = 1_000_000;
/// The most pairs of a user and a host she knows.
pub const PAIRS_MAX: usize = 200_000_000;
/// The most rounds.
pub const ROUNDS_MAX: u32 = 1_000_000;
/// The longest profile.
pub const DIMENSIONS_MAX: usize = 64;
/// The highest rate, in credits per second: bids are counted in 10⁻¹² credits per second, in 64 bits.
const RATE_MAX: f64 = 1e6;
/// The lowest budget, in credits per second: below it bids would round to nothing.
const BUDGET_MIN: f64 = 1e-9;
/// The highest balance, in credits.
const BALANCE_MAX: f64 = 1e12;

impl Default for Scenario {
    fn default() -> Self {
        Self {
            hosts: Hosts { count: 100, base_price: 0.0, market: HostMarket::Auction, failures: None },
            users: Vec::new(),
            update: Update::Sequential,
            damping: 1.0,
            interval: TimeSpan::from_seconds(10),
            rounds: 100,
            tolerance: 1e-3,
            stops_when_settled: true,
        }
    }
}

impl UserGroup {
    /// Users with a budget of 1 credit per second who respond best, from beginning to end.
    pub fn new(name: impl Into<String>, count: usize) -> Self {
        Self {
            name: name.into(),
            count,
            budget: (1.0, 1.0),
            balance: None,
            preferences: Preferences::Uniform,
            considers: None,
            hosts_max: None,
            min_share: None,
            max_share: None,
            strategy: Strategy::BestResponse,
            arrival: Arrival::At(TimeSpan::ZERO),
            stay: None,
        }
    }
}

impl Scenario {
    /// True where users come or go, or hosts do, so that the market never settles for good.
    pub fn is_restless(&self) -> bool {
        self.hosts.failures.is_some()
            || self.users.iter().any(|group| {
                group.stay.is_some() || group.balance.is_some() || group.arrival != Arrival::At(TimeSpan::ZERO)
            })
    }

    /// Checks the scenario.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let wrong = |field, value: String, expected| Err(ScenarioError { field, group: None, value, expected });
        let hosts = &self.hosts;
        if hosts.count == 0 || hosts.count > HOSTS_MAX {
            return wrong("hosts", hosts.count.to_string(), "from 1 to 1000000");
        }
        if !(0.0..=RATE_MAX).contains(&hosts.base_price) {
            return wrong("base-price", hosts.base_price.to_string(), "from 0 to 1000000 credits per second");
        }
        if let HostMarket::Auctioneer { cpus } = hosts.market
            && !(1..=4096).contains(&cpus)
        {
            return wrong("cpus", cpus.to_string(), "from 1 to 4096");
        }
        if let Some(failures) = hosts.failures
            && (failures.mean_up.is_zero() || failures.mean_down.is_zero())
        {
            return wrong("failures", "no time".to_owned(), "a time");
        }
        if let Update::Staggered { turns } = self.update
            && turns == 0
        {
            return wrong("turns", turns.to_string(), "at least 1");
        }
        if !(self.damping > 0.0 && self.damping <= 1.0) {
            return wrong("damping", self.damping.to_string(), "above 0 and at most 1");
        }
        if self.interval.is_zero() || self.interval > TimeSpan::from_seconds(86_400 * 366) {
            return wrong("interval", self.interval.to_string(), "longer than no time and at most a year");
        }
        if self.rounds == 0 || self.rounds > ROUNDS_MAX {
            return wrong("rounds", self.rounds.to_string(), "from 1 to 1000000");
        }
        if !(0.0..1.0).contains(&self.tolerance) {
            return wrong("tolerance", self.tolerance.to_string(), "from 0 to below 1");
        }
        let users = self.users.iter().fold(0_usize, |sum, group| sum.saturating_add(group.count));
        if users > USERS_MAX {
            return wrong("users", users.to_string(), "at most 1000000 in all");
        }
        let pairs = self.users.iter().fold(0_usize, |sum, group| {
            sum.saturating_add(group.count.saturating_mul(group.considers.unwrap_or(hosts.count).min(hosts.count)))
        });
        if pairs > PAIRS_MAX {
            return wrong("users × hosts", pairs.to_string(), "at most 200000000: let users consider fewer hosts");
        }
        self.users.iter().try_for_each(|group| group.check(hosts.count))
    }
}

impl UserGroup {
    fn check(&self, host_count: usize) -> Result<(), ScenarioError> {
        let wrong = |field, value: String, expected| {
            Err(ScenarioError { field, group: Some(self.name.clone()), value, expected })
        };
        let (least, most) = self.budget;
        if !(least >= BUDGET_MIN && most <= RATE_MAX && least <= most) {
            return wrong("budget", format!("{least} to {most}"), "rising, from 1e-9 to 1000000 credits per second");
        }
        if let Some(balance) = self.balance
            && !(balance > 0.0 && balance <= BALANCE_MAX)
        {
            return wrong("balance", balance.to_string(), "above 0 and at most 1e12 credits");
        }
        for (field, number) in [("considers", self.considers), ("max-hosts", self.hosts_max)] {
            if let Some(number) = number
                && !(1..=host_count).contains(&number)
            {
                return wrong(field, number.to_string(), "at least 1 and at most the number of hosts");
            }
        }
        if self.hosts_max.is_some() && self.min_share.is_some() {
            return wrong("min-share", "set together with `max-hosts`".to_owned(), "set without it");
        }
        if let Preferences::Correlated { dimensions } = self.preferences
            && !(1..=DIMENSIONS_MAX).contains(&dimensions)
        {
            return wrong("dimensions", dimensions.to_string(), "from 1 to 64");
        }
        let (min, max) = (self.min_share.unwrap_or(0.0), self.max_share.unwrap_or(1.0));
        if !(0.0..1.0).contains(&min) {
            return wrong("min-share", min.to_string(), "from 0 to below 1");
        }
        if !(max > 0.0 && max <= 1.0 && max >= min) {
            return wrong("max-share", max.to_string(), "above 0, at most 1, and at least `min-share`");
        }
        if let Strategy::UnderBidder { content } = self.strategy
            && !(content > 0.0 && content <= 1.0)
        {
            return wrong("content", content.to_string(), "above 0 and at most 1");
        }
        if matches!(self.arrival, Arrival::Poisson { mean } if mean.is_zero()) {
            return wrong("arrive every", "no time".to_owned(), "a time");
        }
        if self.stay.is_some_and(TimeSpan::is_zero) {
            return wrong("stay", "no time".to_owned(), "a time");
        }
        Ok(())
    }
}
