//! All hosts divided by whole auctioneers: accounts, funds, bids, ticks, charges and audits.
//!
//! A user's account on a host is funded once, from an escrow that lasts for the whole simulation. What she bids is then
//! set by the duration of her bid, funds / rate, which never involves the bank. Who bids nothing closes her account.

use std::collections::BTreeMap;

use super::auctions::{credits_of, rate_of};
use super::hosts::HostStates;
use super::scenario::Scenario;
use super::user::User;
use crate::auctioneer::{Effect, Event, HostConfig, Usage};
use crate::{
    AccountId, Amount, Auctioneer, Bid, Credits, EscrowId, HostAccountId, PoolName, Preference, Quantity, ResourceKind,
    TimeSpan, Timestamp,
};

/// The auctioneers of all hosts.
pub(super) struct Auctioneers {
    markets: Vec<Auctioneer>,
    /// For each host, the rates that stand, in pico-credits per second, by user.
    standing: Vec<BTreeMap<u32, u64>>,
    ids: Vec<HostAccountId>,
    /// The number by which each account is known to be whose.
    users: BTreeMap<HostAccountId, u32>,
    capacity: Quantity,
    receipts: u128,
}

/// Why auctioneers cannot simulate: a fault of theirs, not of the scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the auctioneer of host {host} {what}")]
pub struct AuctioneerFault {
    /// The host's number.
    pub host: usize,
    /// What it did.
    pub what: String,
}

impl Auctioneers {
    pub(super) fn new(scenario: &Scenario, cpus: u64, user_count: usize) -> Result<Self, AuctioneerFault> {
        let capacity = Quantity::from_cpus(cpus);
        let per_cpu = scenario.hosts.base_price / cpus as f64;
        let mut config = HostConfig::new(
            BTreeMap::from([(ResourceKind::Cpu, capacity)]),
            BTreeMap::from([(ResourceKind::Cpu, rate_of(per_cpu))]),
        );
        config.interval = scenario.interval;
        config.accounts_max = config.accounts_max.max(user_count);
        let fault = |what: String| AuctioneerFault { host: 0, what };
        let market = Auctioneer::new(config, Timestamp::from_seconds(0))
            .map_err(|error| fault(format!("refuses its configuration: {error}")))?;
        let id = |number: usize| -> Result<HostAccountId, AuctioneerFault> {
            let account: AccountId =
                format!("{number:032x}").parse().map_err(|error| fault(format!("refuses an account's id: {error}")))?;
            let pool: PoolName =
                "simulated".parse().map_err(|error| fault(format!("refuses a pool's name: {error}")))?;
            Ok(HostAccountId::new(account, pool))
        };
        let ids: Vec<HostAccountId> = (0..user_count).map(id).collect::<Result<_, _>>()?;
        let users = ids.iter().cloned().zip(0..).collect();
        let count = scenario.hosts.count;
        Ok(Self {
            markets: vec![market; count],
            standing: vec![BTreeMap::new(); count],
            ids,
            users,
            capacity,
            receipts: 0,
        })
    }

    /// Brings the bids to the hosts, lets an interval pass, and sets what every user gets and pays. The result is the
    /// price of each host in credits per second, 0 where it is down.
    pub(super) fn divide(
        &mut self,
        users: &mut [User],
        scenario: &Scenario,
        hosts: &HostStates,
        now: Timestamp,
    ) -> Result<Vec<f64>, AuctioneerFault> {
        let mut wanted: Vec<BTreeMap<u32, u64>> = vec![BTreeMap::new(); hosts.count()];
        for (number, user) in users.iter_mut().enumerate() {
            (user.utility, user.paying) = (0.0, 0.0);
            for placed in user.bids.iter_mut() {
                placed.share = 0.0;
                if user.is_present && hosts.up[placed.host as usize] {
                    wanted[placed.host as usize].insert(number as u32, placed.picos);
                }
            }
        }
        let mut prices = vec![0.0; hosts.count()];
        for (host, wanted) in wanted.into_iter().enumerate() {
            self.bring(host, wanted, users, scenario, now)?;
            if hosts.up[host] {
                let offer = self.markets[host].offers().get(&ResourceKind::Cpu).copied();
                let cpus = self.capacity.cpus();
                prices[host] = offer.map_or(0.0, |offer| credits_of(offer.price) * cpus);
            }
            let after = now.plus(scenario.interval);
            let usage = self.share_out(host, users, scenario, hosts);
            self.pass_interval(host, usage, users, scenario, after)?;
        }
        Ok(prices)
    }

    /// Makes what stands on a host what is wanted there.
    fn bring(
        &mut self,
        host: usize,
        wanted: BTreeMap<u32, u64>,
        users: &[User],
        scenario: &Scenario,
        now: Timestamp,
    ) -> Result<(), AuctioneerFault> {
        let gone: Vec<u32> =
            self.standing[host].keys().filter(|number| !wanted.contains_key(number)).copied().collect();
        for number in gone {
            self.apply(host, Event::Close { account: self.ids[number as usize].clone() }, now)?;
            self.standing[host].remove(&number);
        }
        for (number, picos) in wanted {
            if self.standing[host].get(&number) == Some(&picos) {
                continue;
            }
            let user = &users[number as usize];
            let account = self.ids[number as usize].clone();
            if !self.standing[host].contains_key(&number) {
                self.apply(host, Event::Open { account: account.clone() }, now)?;
                self.receipts += 1;
                let receipt = EscrowId::from_bytes(self.receipts.to_be_bytes());
                let amount = stake(user, scenario);
                self.apply(host, Event::Fund { account: account.clone(), receipt, amount, highest_rate: None }, now)?;
            }
            self.standing[host].insert(number, picos);
            let group = &scenario.users[user.group];
            let preference = Preference::new(
                1.0,
                Amount::Fraction(group.min_share.unwrap_or(0.0)),
                Amount::Fraction(group.max_share.unwrap_or(1.0)),
            );
            let funds = self.markets[host].account(&account).map_or(Credits::ZERO, |view| view.refundable);
            // micro-credits / (pico-credits per second) are mega-seconds, and those are 10¹² microseconds.
            let micros = (i128::from(funds.micros()) * 1_000_000_000_000 / i128::from(picos)).max(1);
            let duration = TimeSpan::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
            let preferences = BTreeMap::from([(ResourceKind::Cpu, preference)]);
            // A bid so low that it would last for more than a hundred years, or a minimum that is not to be had, is
            // refused: she has nothing here, and tries again when her bid changes.
            let refused = match Bid::new(duration, preferences) {
                Ok(bid) => self.markets[host].apply(Event::Bid { account: account.clone(), bid }, now).is_err(),
                Err(_) => true,
            };
            if refused {
                self.apply(host, Event::Close { account }, now)?;
                self.standing[host].remove(&number);
            }
        }
        Ok(())
    }

    /// Tells the users what they have got; what they will then use in the interval.
    fn share_out(
        &self,
        host: usize,
        users: &mut [User],
        scenario: &Scenario,
        hosts: &HostStates,
    ) -> BTreeMap<HostAccountId, Usage> {
        let mut usage = BTreeMap::new();
        for &number in self.standing[host].keys() {
            let id = &self.ids[number as usize];
            let Some(view) = self.markets[host].account(id) else { continue };
            let share = view.allocation.get(&ResourceKind::Cpu).copied().unwrap_or_default();
            let part = share.amount() as f64 / self.capacity.amount() as f64;
            let user = &mut users[number as usize];
            if let Ok(index) = user.bids.binary_search_by_key(&(host as u32), |placed| placed.host) {
                user.bids[index].share = part as f32;
            }
            if User::uses(scenario.users[user.group].strategy) {
                user.utility += user.weight(host as u32, hosts) * part;
                // Rounded up, so that full use is charged in full.
                let micros = (u128::from(share.amount()) * u128::from(scenario.interval.micros())).div_ceil(1_000_000);
                let cpu_time = TimeSpan::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
                usage.insert(id.clone(), Usage { cpu_time, ..Usage::default() });
            }
        }
        usage
    }

    /// Ticks, and books what was charged.
    fn pass_interval(
        &mut self,
        host: usize,
        usage: BTreeMap<HostAccountId, Usage>,
        users: &mut [User],
        scenario: &Scenario,
        now: Timestamp,
    ) -> Result<(), AuctioneerFault> {
        for effect in self.apply(host, Event::Tick { usage, downtime_limit: None }, now)? {
            match effect {
                Effect::Charged { account, amount, .. } => {
                    if let Some(user) = self.users.get(&account).map(|number| &mut users[*number as usize]) {
                        user.paying += amount.as_f64() / scenario.interval.seconds_f64();
                    }
                }
                Effect::Closed { account, .. } => {
                    self.users.get(&account).map(|number| self.standing[host].remove(number));
                }
                _ => {}
            }
        }
        self.markets[host].audit().map_err(|what| AuctioneerFault { host, what: format!("fails its audit: {what}") })
    }

    fn apply(&mut self, host: usize, event: Event, now: Timestamp) -> Result<Vec<Effect>, AuctioneerFault> {
        self.markets[host]
            .apply(event, now)
            .map_err(|refusal| AuctioneerFault { host, what: format!("refuses: {refusal}") })
    }
}

/// More than a user can spend on one host in the whole simulation.
fn stake(user: &User, scenario: &Scenario) -> Credits {
    let seconds = scenario.interval.seconds_f64() * (f64::from(scenario.rounds) + 1.0);
    let whole = (user.budget * seconds * 2.0).ceil().min(1e12) as i64;
    Credits::from_whole(whole.max(1)).unwrap_or(Credits::MAX)
}
