//! One simulated user: what she wants, what she bids, what she got.

use rand_core::Rng;

use super::hosts::HostStates;
use super::random::{between, exponential, sample, unit};
use super::scenario::{Arrival, Preferences, Scenario, Strategy};

/// Pico-credits in a credit.
pub(super) const PICOS: f64 = 1e12;

/// A bid on one host. Hosts without a bid have none, so that memory is in proportion to the bids there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) host: u32,
    /// What the last auction gave, from 0 to 1.
    pub(super) share: f32,
    /// The bid in pico-credits per second, above 0.
    pub(super) picos: u64,
}

impl Placed {
    /// The bid in credits per second.
    pub(super) fn rate(&self) -> f64 {
        self.picos as f64 / PICOS
    }
}

/// The worth of hosts to one user; what she knows of adds up to 1.
#[derive(Clone, Debug)]
enum Worth {
    /// One weight for each host she knows.
    Weights(Vec<f32>),
    /// The scalar product with the host's profile.
    Profile(Vec<f32>),
    /// All the same.
    Equal(f32),
}

/// A user.
pub(super) struct User {
    pub(super) group: usize,
    /// Credits per second.
    pub(super) budget: f64,
    /// When she comes and goes, in seconds.
    pub(super) arrives: f64,
    pub(super) leaves: f64,
    pub(super) is_present: bool,
    /// The hosts she knows, rising; all where `None`.
    knows: Option<Vec<u32>>,
    worth: Worth,
    /// Her bids, by rising host.
    pub(super) bids: Vec<Placed>,
    /// What the last auction gave: Σ weight·share.
    pub(super) utility: f64,
    /// What she pays for it, in credits per second.
    pub(super) paying: f64,
    /// What she has spent, in credits.
    pub(super) spent: f64,
    /// What she had in the beginning, in credits; infinite without a limit.
    pub(super) balance: f64,
}

impl User {
    /// The users of a scenario, in the order of their groups.
    pub(super) fn all_of(scenario: &Scenario, hosts: &HostStates, rng: &mut dyn Rng) -> Vec<Self> {
        let mut users = Vec::new();
        for (number, group) in scenario.users.iter().enumerate() {
            let mut time = 0.0;
            for _ in 0..group.count {
                let arrives = match group.arrival {
                    Arrival::At(at) => at.seconds_f64(),
                    Arrival::Poisson { mean } => {
                        time += exponential(rng, mean.seconds_f64());
                        time
                    }
                };
                let stays = group.stay.map_or(f64::INFINITY, |mean| exponential(rng, mean.seconds_f64()));
                let knows = group
                    .considers
                    .filter(|count| *count < hosts.count())
                    .map(|count| sample(rng, count, hosts.count()));
                let worth = Worth::draw(group.preferences, knows.as_deref(), hosts, rng);
                users.push(Self {
                    group: number,
                    budget: between(rng, group.budget.0, group.budget.1),
                    arrives,
                    leaves: arrives + stays,
                    is_present: false,
                    knows,
                    worth,
                    bids: Vec::new(),
                    utility: 0.0,
                    paying: 0.0,
                    spent: 0.0,
                    balance: group.balance.unwrap_or(f64::INFINITY),
                });
            }
        }
        users
    }

    /// The weight of a host to her.
    pub(super) fn weight(&self, host: u32, hosts: &HostStates) -> f64 {
        match &self.knows {
            None => self.worth.at(host as usize, host, hosts),
            Some(known) => known.binary_search(&host).map_or(0.0, |position| self.worth.at(position, host, hosts)),
        }
    }

    /// Calls `visit` with each host that she knows and that is up, its weight, and her bid on it in pico-credits per
    /// second, by rising host.
    pub(super) fn for_each_host(&self, hosts: &HostStates, mut visit: impl FnMut(u32, f64, u64)) {
        let mut bids = self.bids.iter().peekable();
        let mut one = |position: usize, host: u32| {
            while bids.next_if(|placed| placed.host < host).is_some() {}
            let picos = bids.next_if(|placed| placed.host == host).map_or(0, |placed| placed.picos);
            if hosts.up[host as usize] {
                visit(host, self.worth.at(position, host, hosts), picos);
            }
        };
        match &self.knows {
            None => (0..hosts.count() as u32).for_each(|host| one(host as usize, host)),
            Some(known) => known.iter().enumerate().for_each(|(position, &host)| one(position, host)),
        }
    }

    /// Replaces her bids, and keeps the hosts' sums in step.
    pub(super) fn place(&mut self, bids: Vec<Placed>, hosts: &mut HostStates) {
        for placed in &self.bids {
            // The sum holds every bid that was placed and not taken back.
            hosts.bids[placed.host as usize] -= placed.picos;
        }
        for placed in &bids {
            let sum = &mut hosts.bids[placed.host as usize];
            *sum = sum.saturating_add(placed.picos);
        }
        self.bids = bids;
    }

    /// What she has left, in credits.
    pub(super) fn left(&self) -> f64 {
        self.balance - self.spent
    }

    /// True where the user makes something of her shares.
    pub(super) fn uses(strategy: Strategy) -> bool {
        strategy != Strategy::Squatter
    }
}

impl Worth {
    fn draw(preferences: Preferences, knows: Option<&[u32]>, hosts: &HostStates, rng: &mut dyn Rng) -> Self {
        let count = knows.map_or(hosts.count(), <[u32]>::len);
        match preferences {
            Preferences::Equal => Self::Equal((1.0 / count as f64) as f32),
            Preferences::Uniform => {
                let mut weights: Vec<f32> = (0..count).map(|_| unit(rng) as f32).collect();
                normalize(&mut weights, |weights| weights.iter().map(|weight| f64::from(*weight)).sum());
                Self::Weights(weights)
            }
            Preferences::Correlated { dimensions } => {
                let mut axes: Vec<f32> = (0..dimensions).map(|_| unit(rng) as f32).collect();
                normalize(&mut axes, |axes| {
                    let worth = |host: u32| scalar_product(axes, hosts.profile(host));
                    match knows {
                        None => (0..count as u32).map(worth).sum(),
                        Some(known) => known.iter().copied().map(worth).sum(),
                    }
                });
                Self::Profile(axes)
            }
        }
    }

    fn at(&self, position: usize, host: u32, hosts: &HostStates) -> f64 {
        match self {
            Self::Weights(weights) => f64::from(weights[position]),
            Self::Profile(axes) => scalar_product(axes, hosts.profile(host)),
            Self::Equal(weight) => f64::from(*weight),
        }
    }
}

fn scalar_product(one: &[f32], other: &[f32]) -> f64 {
    one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Divides by the sum, unless that is zero.
fn normalize(numbers: &mut [f32], sum: impl Fn(&[f32]) -> f64) {
    let sum = sum(numbers);
    if sum > 0.0 {
        for number in numbers {
            *number = (f64::from(*number) / sum) as f32;
        }
    }
}
