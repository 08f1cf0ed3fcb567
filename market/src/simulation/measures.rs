//! What is measured.

use serde::Serialize;

use super::hosts::HostStates;
use super::scenario::Scenario;
use super::strategy;
use super::user::User;

/// What one round looks like. Utilities are Σ weight·share; who squats has none. Rates are in credits per second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// The round, from 0. In the round in which they come users bid in proportion to their weights.
    pub round: u32,
    /// Its beginning in virtual time, in seconds.
    pub seconds: f64,
    /// Users who are present.
    pub users: usize,
    /// Hosts that are up.
    pub hosts: usize,
    /// π: the sum of utilities, as a part of the greatest sum that any division of the hosts reaches.
    pub efficiency: f64,
    /// τ: the smallest utility, as a part of the greatest.
    pub uniformity: f64,
    /// The mean utility.
    pub utility: f64,
    /// The mean price of a whole host that is up, base price included.
    pub price: f64,
    /// The lowest.
    pub price_least: f64,
    /// The highest.
    pub price_most: f64,
    /// What the owners together take.
    pub revenue: f64,
    /// The largest change of anybody's utility since the round before, as a part of it; 0 in the first round.
    pub change: f64,
}

/// What came of it all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Rounds that were run.
    pub rounds: u32,
    /// The round from which on no utility changed by more than the tolerance in a round of everybody's turns; none
    /// where the market was not at rest at the end.
    pub settled: Option<u32>,
    /// The last round's efficiency π.
    pub efficiency: f64,
    /// The last round's uniformity τ.
    pub uniformity: f64,
    /// ρ: the smallest of U_i(own shares) / U_i(j's shares · i's budget / j's budget), at most 1: where it is 1 nobody
    /// would rather have what another gets for the same money.
    pub envy_freeness: f64,
    /// The most that anybody could still gain by a best response of hers alone, as a part of her utility: 0 in a Nash
    /// equilibrium. Of up to 200 users, evenly picked.
    pub regret: f64,
    /// The mean efficiency of all rounds.
    pub efficiency_mean: f64,
    /// The lowest efficiency of the second half of the rounds.
    pub efficiency_least: f64,
    /// The mean price of a host in the last round.
    pub price: f64,
    /// What the owners took in all, in credits.
    pub revenue: f64,
    /// What the users have spent and have left.
    pub wealth: Wealth,
    /// The groups, in the order of the scenario.
    pub groups: Vec<GroupSummary>,
    /// The most bids that stood at one time: what memory is in proportion to.
    pub bids_most: usize,
}

/// What the users have spent and have left, in credits.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Wealth {
    /// The mean of what was spent.
    pub spent: f64,
    /// The mean of what users with a balance have left; none where nobody has one.
    pub left: Option<f64>,
    /// The Gini coefficient of what they have left: 0 where all have the same, towards 1 where one has it all.
    pub gini: Option<f64>,
}

/// What came of one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupSummary {
    /// Its name.
    pub name: String,
    /// Users who were present in the last round.
    pub users: usize,
    /// Their mean utility.
    pub utility: f64,
    /// The smallest.
    pub utility_least: f64,
    /// The greatest.
    pub utility_most: f64,
    /// The mean of all rounds in which members were present.
    pub utility_mean: f64,
    /// What a member pays on average, in credits per second.
    pub paying: f64,
    /// The utility that a credit per second brought in the last round, on average.
    pub utility_per_credit: f64,
    /// What a member has spent on average, in credits, whoever has come so far.
    pub spent: f64,
}

/// Regret is measured for so many users at most.
const REGRET_USERS_MAX: usize = 200;
/// Envy is measured among so many users at most: every pair looks at every bid.
const ENVY_USERS_MAX: usize = 400;

/// Smallest, greatest and mean of numbers; zeros where there are none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Range {
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) mean: f64,
    pub(super) count: usize,
}

impl Range {
    pub(super) fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let (mut least, mut most, mut sum, mut count) = (f64::INFINITY, 0.0_f64, 0.0, 0);
        for number in numbers {
            least = least.min(number);
            most = most.max(number);
            sum += number;
            count += 1;
        }
        if count == 0 { Self::default() } else { Self { least, most, mean: sum / count as f64, count } }
    }
}

/// A quotient, or `otherwise` where there is nothing to divide by.
pub(super) fn quotient(one: f64, other: f64, otherwise: f64) -> f64 {
    if other > 0.0 { one / other } else { otherwise }
}

/// ρ among the users who make use of what they get; 1 where there are fewer than two.
pub(super) fn envy_freeness(users: &[User], scenario: &Scenario, hosts: &HostStates) -> f64 {
    let chosen = evenly(
        users.iter().filter(|user| user.is_present && User::uses(scenario.users[user.group].strategy)).collect(),
        ENVY_USERS_MAX,
    );
    let mut least = 1.0_f64;
    for one in &chosen {
        for other in &chosen {
            let shares = other.bids.iter().filter(|placed| placed.share > 0.0);
            let theirs: f64 =
                shares.map(|placed| one.weight(placed.host, hosts) * f64::from(placed.share)).sum::<f64>();
            let theirs = theirs * one.budget / other.budget;
            least = least.min(quotient(one.utility, theirs, 1.0));
        }
    }
    least
}

/// What users could still gain by themselves.
pub(super) fn regret(users: &[User], scenario: &Scenario, hosts: &HostStates) -> f64 {
    let group = |user: &User| &scenario.users[user.group];
    let counts = |user: &&User| user.is_present && User::uses(group(user).strategy) && group(user).min_share.is_none();
    let chosen = evenly(users.iter().filter(counts).collect(), REGRET_USERS_MAX);
    let gains = chosen.into_iter().filter(|user| user.utility > 0.0).filter_map(|user| {
        let (_, problem) = strategy::problem(user, group(user), hosts);
        strategy::solve(&problem, group(user).hosts_max).ok().map(|best| best.utility / user.utility - 1.0)
    });
    gains.fold(0.0, f64::max)
}

/// At most `most` of the list, evenly picked.
fn evenly<T: Copy>(list: Vec<T>, most: usize) -> Vec<T> {
    let count = list.len();
    if count <= most { list } else { (0..most).map(|index| list[index * count / most]).collect() }
}

/// What users have spent and have left, of those who have come so far.
pub(super) fn wealth(users: &[User], seconds: f64) -> Wealth {
    let come: Vec<&User> = users.iter().filter(|user| user.arrives <= seconds).collect();
    let spent = Range::of(come.iter().map(|user| user.spent)).mean;
    let mut left: Vec<f64> = come.iter().map(|user| user.left().max(0.0)).filter(|left| left.is_finite()).collect();
    if left.is_empty() {
        return Wealth { spent, left: None, gini: None };
    }
    left.sort_by(f64::total_cmp);
    let sum: f64 = left.iter().sum();
    let count = left.len() as f64;
    let ranked: f64 = left.iter().enumerate().map(|(rank, left)| (rank as f64 + 1.0) * left).sum();
    let gini = if sum > 0.0 { 2.0 * ranked / (count * sum) - (count + 1.0) / count } else { 0.0 };
    Wealth { spent, left: Some(sum / count), gini: Some(gini) }
}
