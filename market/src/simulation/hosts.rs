//! The hosts of a simulation: what they are like, and whether they are up.

use rand_core::Rng;

use super::random::{exponential, unit};
use super::scenario::{Preferences, Scenario};

/// The state of all hosts.
pub(super) struct HostStates {
    /// What all have bid on each host, in pico-credits per second: integers, so that the sum has no order.
    pub(super) bids: Vec<u64>,
    /// Which are up.
    pub(super) up: Vec<bool>,
    /// The owner's reserve for one host, in credits per second.
    pub(super) base_price: f64,
    /// The longest profile that any user needs, for every host.
    profiles: Vec<f32>,
    dimensions: usize,
    /// The time at which a host fails or comes back, in seconds.
    next_change: Vec<f64>,
}

impl HostStates {
    pub(super) fn new(scenario: &Scenario, rng: &mut dyn Rng) -> Self {
        let count = scenario.hosts.count;
        let dimensions = scenario.users.iter().map(|group| match group.preferences {
            Preferences::Correlated { dimensions } => dimensions,
            Preferences::Uniform | Preferences::Equal => 0,
        });
        let dimensions = dimensions.max().unwrap_or(0);
        let profiles = (0..count * dimensions).map(|_| unit(rng) as f32).collect();
        let next_change = match scenario.hosts.failures {
            Some(failures) => (0..count).map(|_| exponential(rng, failures.mean_up.seconds_f64())).collect(),
            None => Vec::new(),
        };
        Self {
            bids: vec![0; count],
            up: vec![true; count],
            base_price: scenario.hosts.base_price,
            profiles,
            dimensions,
            next_change,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.up.len()
    }

    pub(super) fn count_up(&self) -> usize {
        self.up.iter().filter(|up| **up).count()
    }

    /// The profile of a host.
    pub(super) fn profile(&self, host: u32) -> &[f32] {
        let start = host as usize * self.dimensions;
        &self.profiles[start..start + self.dimensions]
    }

    /// Lets hosts fail and come back until `time`, in seconds; the hosts that failed since.
    pub(super) fn pass_time(&mut self, time: f64, scenario: &Scenario, rng: &mut dyn Rng) -> Vec<u32> {
        let mut failed = Vec::new();
        let Some(failures) = scenario.hosts.failures else { return failed };
        for host in 0..self.next_change.len() {
            while self.next_change[host] <= time {
                let was_up = self.up[host];
                self.up[host] = !was_up;
                let mean = if was_up { failures.mean_down } else { failures.mean_up };
                self.next_change[host] += exponential(rng, mean.seconds_f64()).max(1e-6);
                if was_up && failed.last() != Some(&(host as u32)) {
                    failed.push(host as u32);
                }
            }
        }
        failed
    }
}
