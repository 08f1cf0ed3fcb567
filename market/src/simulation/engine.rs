//! The rounds of a simulation.

use rand_core::Rng;

use super::auctioneers::{AuctioneerFault, Auctioneers};
use super::hosts::HostStates;
use super::measures::{self, GroupSummary, Range, Sample, Summary, quotient};
use super::scenario::{HostMarket, Scenario, ScenarioError, Update};
use super::user::User;
use super::{auctions, strategy, welfare};
use crate::{TimeSpan, Timestamp};

/// A simulation that goes on round by round.
pub struct Simulation<R> {
    scenario: Scenario,
    rng: R,
    hosts: HostStates,
    users: Vec<User>,
    auctioneers: Option<Auctioneers>,
    round: u32,
    /// Everybody's utility in the round before, for those who were present.
    before: Vec<Option<f64>>,
    /// The greatest sum of utilities, until somebody comes or goes.
    optimum: Option<f64>,
    /// Since when no utility has changed by more than the tolerance.
    calm_since: Option<u32>,
    bids_most: usize,
    efficiencies: Vec<f64>,
    group_utilities: Vec<(f64, u32)>,
    last: Option<Sample>,
}

/// Why a simulation cannot go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SimulationError {
    /// The scenario is wrong.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// An auctioneer broke a rule of its own.
    #[error(transparent)]
    Auctioneer(#[from] AuctioneerFault),
}

impl<R: Rng> Simulation<R> {
    /// The beginning of a scenario. All numbers are drawn from `rng`.
    ///
    /// # Errors
    /// What is wrong with the scenario.
    pub fn new(scenario: Scenario, mut rng: R) -> Result<Self, SimulationError> {
        scenario.check()?;
        let hosts = HostStates::new(&scenario, &mut rng);
        let users = User::all_of(&scenario, &hosts, &mut rng);
        let auctioneers = match scenario.hosts.market {
            HostMarket::Auction => None,
            HostMarket::Auctioneer { cpus } => Some(Auctioneers::new(&scenario, cpus, users.len())?),
        };
        Ok(Self {
            before: vec![None; users.len()],
            group_utilities: vec![(0.0, 0); scenario.users.len()],
            scenario,
            rng,
            hosts,
            users,
            auctioneers,
            round: 0,
            optimum: None,
            calm_since: None,
            bids_most: 0,
            efficiencies: Vec::new(),
            last: None,
        })
    }

    /// Runs the next round, or returns `None` at the end.
    ///
    /// # Errors
    /// A fault of an auctioneer.
    pub fn step(&mut self) -> Result<Option<Sample>, SimulationError> {
        if self.round >= self.scenario.rounds || self.is_settled() && self.scenario.stops_when_settled {
            return Ok(None);
        }
        let seconds = f64::from(self.round) * self.scenario.interval.seconds_f64();
        let newcomers = self.let_come_and_go(seconds);
        self.rebid(&newcomers);
        let bids = self.users.iter().map(|user| user.bids.len()).sum();
        self.bids_most = self.bids_most.max(bids);
        let prices = self.divide(seconds)?;
        let sample = self.measure(seconds, &prices);
        self.round += 1;
        self.last = Some(sample.clone());
        Ok(Some(sample))
    }

    /// Measures what came of the rounds so far.
    pub fn summary(&self) -> Summary {
        let seconds = f64::from(self.round.saturating_sub(1)) * self.scenario.interval.seconds_f64();
        let last = self.last.as_ref();
        let late = &self.efficiencies[self.efficiencies.len() / 2..];
        Summary {
            rounds: self.round,
            settled: self.calm_since.filter(|_| self.is_settled()),
            efficiency: last.map_or(1.0, |sample| sample.efficiency),
            uniformity: last.map_or(1.0, |sample| sample.uniformity),
            envy_freeness: measures::envy_freeness(&self.users, &self.scenario, &self.hosts),
            regret: measures::regret(&self.users, &self.scenario, &self.hosts),
            efficiency_mean: Range::of(self.efficiencies.iter().copied()).mean,
            efficiency_least: Range::of(late.iter().copied()).least,
            price: last.map_or(0.0, |sample| sample.price),
            revenue: self.users.iter().map(|user| user.spent).sum(),
            wealth: measures::wealth(&self.users, seconds),
            groups: (0..self.scenario.users.len()).map(|group| self.summary_of(group, seconds)).collect(),
            bids_most: self.bids_most,
        }
    }

    fn summary_of(&self, group: usize, seconds: f64) -> GroupSummary {
        let members = || self.users.iter().filter(move |user| user.group == group);
        let present = || members().filter(|user| user.is_present);
        let utility = Range::of(present().map(|user| user.utility));
        let paying = Range::of(present().map(|user| user.paying)).mean;
        let (sum, rounds) = self.group_utilities[group];
        GroupSummary {
            name: self.scenario.users[group].name.clone(),
            users: utility.count,
            utility: utility.mean,
            utility_least: utility.least,
            utility_most: utility.most,
            utility_mean: quotient(sum, f64::from(rounds), 0.0),
            paying,
            utility_per_credit: quotient(utility.mean, paying, 0.0),
            spent: Range::of(members().filter(|user| user.arrives <= seconds).map(|user| user.spent)).mean,
        }
    }

    /// Rounds in which everybody has had a turn.
    fn rounds_of_turns(&self) -> u32 {
        match self.scenario.update {
            Update::Staggered { turns } => turns,
            Update::Sequential | Update::Simultaneous => 1,
        }
    }

    fn is_settled(&self) -> bool {
        let calm = self.calm_since.map_or(0, |since| self.round.saturating_sub(since));
        calm >= self.rounds_of_turns() && !self.scenario.is_restless()
    }

    /// Hosts fail and come back, users come and go. The users who have just come, by number.
    fn let_come_and_go(&mut self, seconds: f64) -> Vec<usize> {
        let up = self.hosts.count_up();
        let failed = self.hosts.pass_time(seconds, &self.scenario, &mut self.rng);
        let mut has_changed = up != self.hosts.count_up() || !failed.is_empty();
        if !failed.is_empty() {
            // A host that comes back comes back empty.
            for user in &mut self.users {
                if user.bids.iter().any(|placed| failed.binary_search(&placed.host).is_ok()) {
                    let mut bids = user.bids.clone();
                    bids.retain(|placed| failed.binary_search(&placed.host).is_err());
                    user.place(bids, &mut self.hosts);
                }
            }
        }
        let mut newcomers = Vec::new();
        for (number, user) in self.users.iter_mut().enumerate() {
            let has_gone = user.leaves <= seconds || user.left() <= 0.0;
            let should_be_here = user.arrives <= seconds && !has_gone;
            if should_be_here && !user.is_present {
                newcomers.push(number);
            }
            if !should_be_here && user.is_present {
                user.place(Vec::new(), &mut self.hosts);
                (user.utility, user.paying) = (0.0, 0.0);
                self.before[number] = None;
            }
            has_changed |= should_be_here != user.is_present;
            user.is_present = should_be_here;
        }
        if has_changed {
            self.optimum = None;
        }
        newcomers
    }

    /// Lets those whose turn it is bid anew.
    fn rebid(&mut self, newcomers: &[usize]) {
        let is_turn = |number: usize| match self.scenario.update {
            Update::Staggered { turns } => (number as u64 + u64::from(self.round)).is_multiple_of(u64::from(turns)),
            Update::Sequential | Update::Simultaneous => true,
        };
        let is_sequential = self.scenario.update == Update::Sequential;
        let mut newcomers = newcomers.iter().copied().peekable();
        let mut decided = Vec::new();
        for number in 0..self.users.len() {
            let user = &self.users[number];
            let bids = if newcomers.next_if_eq(&number).is_some() {
                Some(strategy::first_bids(user, &self.scenario, &self.hosts))
            } else if user.is_present && is_turn(number) {
                strategy::next_bids(user, &self.scenario, &self.hosts)
            } else {
                None
            };
            match bids {
                Some(bids) if is_sequential => self.users[number].place(bids, &mut self.hosts),
                Some(bids) => decided.push((number, bids)),
                None => {}
            }
        }
        for (number, bids) in decided {
            self.users[number].place(bids, &mut self.hosts);
        }
    }

    /// Divides the hosts and lets the users pay; the prices of the hosts.
    fn divide(&mut self, seconds: f64) -> Result<Vec<f64>, SimulationError> {
        let now = Timestamp::from_seconds(0).plus(TimeSpan::from_micros((seconds * 1e6) as u64));
        let prices = match &mut self.auctioneers {
            None => auctions::divide(&mut self.users, &self.scenario, &self.hosts),
            Some(auctioneers) => auctioneers.divide(&mut self.users, &self.scenario, &self.hosts, now)?,
        };
        for user in self.users.iter_mut().filter(|user| user.is_present) {
            user.spent += user.paying * self.scenario.interval.seconds_f64();
        }
        Ok(prices)
    }

    fn measure(&mut self, seconds: f64, prices: &[f64]) -> Sample {
        let uses = |user: &&User| User::uses(self.scenario.users[user.group].strategy);
        let present = || self.users.iter().filter(|user| user.is_present);
        let utility = Range::of(present().filter(uses).map(|user| user.utility));
        let optimum = match self.optimum {
            Some(optimum) => optimum,
            None => welfare::optimum(&self.users, &self.scenario, &self.hosts),
        };
        let price = Range::of(prices.iter().zip(&self.hosts.up).filter(|(_, up)| **up).map(|(price, _)| *price));
        let mut change = 0.0_f64;
        for (user, before) in self.users.iter().zip(&mut self.before).filter(|(user, _)| user.is_present) {
            if let Some(before) = before {
                change = change.max((user.utility - *before).abs() / before.max(user.utility).max(f64::MIN_POSITIVE));
            }
            *before = Some(user.utility);
        }
        let sample = Sample {
            round: self.round,
            seconds,
            users: present().count(),
            hosts: self.hosts.count_up(),
            efficiency: quotient(utility.mean * utility.count as f64, optimum, 1.0),
            uniformity: quotient(utility.least, utility.most, 1.0),
            utility: utility.mean,
            price: price.mean,
            price_least: price.least,
            price_most: price.most,
            revenue: present().map(|user| user.paying).sum(),
            change,
        };
        let mut sums = vec![(0.0, 0_u32); self.scenario.users.len()];
        for user in present() {
            sums[user.group].0 += user.utility;
            sums[user.group].1 += 1;
        }
        for ((sum, count), (utility, rounds)) in sums.into_iter().zip(&mut self.group_utilities) {
            if count > 0 {
                *utility += sum / f64::from(count);
                *rounds += 1;
            }
        }
        self.optimum = Some(optimum);
        self.efficiencies.push(sample.efficiency);
        let is_calm = self.round > 0 && change <= self.scenario.tolerance;
        self.calm_since = if is_calm { self.calm_since.or(Some(self.round)) } else { None };
        sample
    }
}
