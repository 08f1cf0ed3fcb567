//! The passing of time: charging, expiry, warnings, shutdowns and deletions.
//!
//! Between two points at which something changes every account spends at a constant pace, so any stretch of time is
//! charged at once. The points are: money used up, a bid expired, a grace over, a quote run out. Because spending is
//! counted in fine credits, many short stretches and one long one give the same state (but for the last digits of the
//! price statistics, which are floats).

use std::collections::BTreeMap;

use super::account::{Account, AccountState};
use super::charge::{ChargeFor, ChargeLine, add_line};
use super::event::{Effect, Usage};
use super::plan::{Role, solvent};
use super::settle::spend;
use super::{Auctioneer, ClosedReceipt, PPM};
use crate::{Credits, HostAccountId, Quantity, Rate, ResourceKind, TimeSpan, Timestamp};

/// The parts that the spending of an account usually has: CPU, memory and disk, and one more.
const PARTS_USUAL: usize = 4;

/// What was used in a stretch of time.
pub(super) struct Measure<'a> {
    pub(super) usage: &'a BTreeMap<HostAccountId, Usage>,
    /// The time in which it was used.
    pub(super) gap: TimeSpan,
    /// After a downtime: who is not in `usage` did not run and pays nothing.
    pub(super) only_listed: bool,
}

/// How fast an account spends, in fine credits per microsecond.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    pub(super) bid: u128,
    pub(super) top_up: u128,
}

/// What an account spends, and on what.
#[derive(Clone, Debug, Default)]
pub(super) struct Drain {
    pub(super) pace: Pace,
    /// What both are made of: those of topping up first.
    pub(super) parts: Vec<Part>,
}

/// What several accounts spend, one after the other.
#[derive(Default)]
struct Drains {
    /// How fast each spends, and where its parts end.
    ends: Vec<(Pace, usize)>,
    parts: Vec<Part>,
}

impl Drains {
    fn iter(&self) -> impl Iterator<Item = (Pace, &[Part])> {
        let mut begin = 0;
        self.ends.iter().map(move |&(pace, end)| {
            let own = begin..end;
            begin = end;
            (pace, self.parts.get(own).unwrap_or_default())
        })
    }
}

/// A part of what an account spends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) item: ChargeFor,
    /// In fine credits per microsecond.
    pub(super) pace: u128,
    pub(super) rate: Rate,
    pub(super) share: Quantity,
    pub(super) used: Quantity,
}

impl Part {
    pub(super) fn line(&self, until: Timestamp, time: TimeSpan, amount: Credits) -> ChargeLine {
        let Self { item, rate, share, used, .. } = *self;
        ChargeLine { item, until, time, rate, share, used, amount, is_average: false }
    }
}

impl Drain {
    /// The sums of the parts, which spend no faster than `limit`: what tops up comes first.
    fn of(mut parts: Vec<Part>, limit: Option<u128>) -> Self {
        parts.retain(|part| part.pace > 0);
        parts.sort_by_key(|part| !matches!(part.item, ChargeFor::TopUp(_)));
        let mut left = limit.unwrap_or(u128::MAX);
        let (mut bid, mut top_up) = (0_u128, 0_u128);
        for part in &mut parts {
            part.pace = part.pace.min(left);
            left -= part.pace;
            let sum = if matches!(part.item, ChargeFor::TopUp(_)) { &mut top_up } else { &mut bid };
            *sum = sum.saturating_add(part.pace);
        }
        Self { pace: Pace { bid, top_up }, parts }
    }
}

impl Pace {
    /// When an account that is settled up to `from` has used up what it bids with, or what it has set aside.
    fn end(self, account: &Account, from: Timestamp) -> Option<Timestamp> {
        let (bid, aside) = (account.money.bid.units(), account.money.contingency.units());
        let on_bid = if aside == 0 { self.bid.saturating_add(self.top_up) } else { self.bid };
        let runs_out = |(funds, pace): (u128, u128)| {
            let micros = (funds > 0 && pace > 0).then(|| funds.div_ceil(pace))?;
            Some(from.plus(TimeSpan::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))))
        };
        [(bid, on_bid), (aside, self.top_up)].into_iter().filter_map(runs_out).min()
    }
}

impl Auctioneer {
    /// Charges for the time since the last tick, by what was used, and divides anew.
    pub(super) fn tick(
        &mut self,
        usage: &BTreeMap<HostAccountId, Usage>,
        downtime_limit: Option<TimeSpan>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.follow_clock(now, effects);
        self.settle_all();
        let gap = now.since(self.ticked_at);
        if let Some(limit) = downtime_limit {
            let down = now.since(self.accounted_at);
            self.shift(down.saturating_sub(limit).micros());
        }
        let measure = Measure { usage, gap, only_listed: downtime_limit.is_some() };
        self.settle_unmeasured(&measure);
        self.run(now, &measure, effects);
        self.ticked_at = now;
        let (mut listed, mut next) = (usage.iter(), None);
        for (id, account) in self.accounts.iter_mut() {
            // Both are in the order of ids.
            while next.is_none_or(|(listed, _)| listed < id)
                && let Some(following) = listed.next()
            {
                next = Some(following);
            }
            let used = next.filter(|(listed, _)| *listed == id).map(|(_, used)| *used);
            if let Some(used) = used.or_else(|| (!measure.only_listed).then(Usage::default)) {
                let in_use = [(ResourceKind::Memory, used.memory), (ResourceKind::Disk, used.disk)];
                account.in_use = in_use.into_iter().filter(|(_, quantity)| *quantity > Quantity::ZERO).collect();
            }
        }
        let memory = self.config.receipt_memory;
        self.closed.retain(|_, receipt| now.since(receipt.closed_at) <= memory);
        self.resolve(now, effects);
    }

    /// Lets the time pass until `now` without knowing what is used: CPU and network are settled at the next tick. Only
    /// accounts that change by themselves in that time are looked at; the others are settled when something of them
    /// changes, at the next tick at the latest.
    pub(super) fn advance(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.follow_clock(now, effects);
        loop {
            let due = self.next_change_beside_accounts();
            let quiet_until = match self.index.quiet_until {
                Some(quiet_until) if quiet_until.min(due) > now => quiet_until,
                _ => {
                    self.settle_due();
                    if self.fall_due(effects) {
                        let at = self.accounted_at;
                        self.resolve(at, effects);
                        continue;
                    }
                    let first = self.first_due();
                    self.index.quiet_until = Some(first);
                    first
                }
            };
            if self.accounted_at >= now {
                return;
            }
            self.pass_to(quiet_until.min(due).min(now).max(self.accounted_at));
        }
    }

    /// A clock that goes back counts as no time: what is due later moves back with it.
    fn follow_clock(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let by = self.accounted_at.since(now);
        if by.is_zero() {
            return;
        }
        self.settle_all();
        let back = |at: Timestamp| Timestamp::from_micros(at.micros().saturating_sub_unsigned(by.micros()));
        self.accounted_at = now;
        self.ticked_at = back(self.ticked_at).min(now);
        self.all_settled();
        self.move_deadlines(back);
        for quote in self.quotes.values_mut() {
            quote.valid_until = back(quote.valid_until);
        }
        effects.push(Effect::ClockWentBack { by });
    }

    /// Leaves out `micros` of time: nothing is charged for it and what is due later waits as long.
    fn shift(&mut self, micros: u64) {
        let span = TimeSpan::from_micros(micros);
        self.accounted_at = self.accounted_at.plus(span);
        self.ticked_at = self.ticked_at.plus(span);
        for statistics in self.statistics.values_mut() {
            statistics.gap(span);
        }
        self.pass_unique_gap(span);
        self.all_settled();
        self.move_deadlines(|at| at.plus(span));
    }

    fn move_deadlines(&mut self, moved: impl Fn(Timestamp) -> Timestamp) {
        for lot in self.lots.values_mut() {
            lot.move_deadlines(&moved);
        }
        for record in self.unique_records.values_mut() {
            record.move_times(&moved);
        }
        // What was known of due times is known no longer.
        self.index.quiet_until = None;
        for (_, account) in self.accounts.iter_mut() {
            account.unique.move_deadlines(&moved);
            account.expires_at = account.expires_at.map(&moved);
            match &mut account.state {
                AccountState::Warned { stop_at: due, .. } | AccountState::Stopped { delete_at: due, .. } => {
                    *due = moved(*due)
                }
                AccountState::Idle | AccountState::Waiting | AccountState::Active => {}
            }
        }
    }

    /// Lets the time pass until `now`, where it is known what was used. All accounts are settled, before and after.
    fn run(&mut self, now: Timestamp, measure: &Measure<'_>, effects: &mut Vec<Effect>) {
        loop {
            if self.fall_due(effects) {
                let at = self.accounted_at;
                self.resolve(at, effects);
                continue;
            }
            if self.accounted_at >= now {
                return;
            }
            let drains = self.drains(measure);
            let next = self.next_change(&drains).min(now);
            let span = next.since(self.accounted_at);
            self.pass_to(next);
            for ((_, account), (_, parts)) in self.accounts.iter_mut().zip(drains.iter()) {
                spend(account, parts, span, next);
                account.settled_at = Some(next);
            }
        }
    }

    /// Sets the time, and notes what the prices were until then.
    fn pass_to(&mut self, next: Timestamp) {
        let span = next.since(self.accounted_at);
        for (&kind, &price) in &self.prices {
            self.statistics.entry(kind).or_default().note(price, span);
        }
        self.note_unique_prices(span);
        self.accounted_at = next;
    }

    /// What all accounts spend from now on, in their order.
    fn drains(&self, measure: &Measure<'_>) -> Drains {
        let mut drains = Drains::default();
        for (id, account) in self.accounts.iter() {
            let Drain { pace, parts } = self.drain(id, account, Some(measure));
            drains.parts.extend_from_slice(&parts);
            drains.ends.push((pace, drains.parts.len()));
        }
        drains
    }

    /// What an account spends from now on.
    pub(super) fn drain(&self, id: &HostAccountId, account: &Account, measure: Option<&Measure<'_>>) -> Drain {
        let usage = match measure {
            Some(measure) => match measure.usage.get(id) {
                None if measure.only_listed => return Drain::default(),
                usage => Some((usage.copied().unwrap_or_default(), measure.gap)),
            },
            None => None,
        };
        let mut parts = Vec::with_capacity(PARTS_USUAL);
        for (&kind, &paid) in account.paid.iter() {
            let bid = account.rate_of(kind).min(paid).picos_per_second();
            let top_up = paid.picos_per_second() - bid;
            let share = account.share_of(kind);
            let (degree, used) = if kind.is_reserved() {
                (PPM, share)
            } else {
                let Some((usage, gap)) = &usage else { continue };
                let (time, used) = (u128::from(gap.micros()), used(usage, kind));
                (self.degree_of_use(used, u128::from(share.amount()) * time), mean_use(used, time))
            };
            for (item, picos) in [(ChargeFor::Bid(kind), bid), (ChargeFor::TopUp(kind), top_up)] {
                let (pace, rate) = (u128::from(picos) * u128::from(degree), Rate::from_picos_per_second(picos));
                parts.push(Part { item, pace, rate, share, used });
            }
        }
        let whole = |rate: Rate| u128::from(rate.picos_per_second()) * u128::from(PPM);
        let unique = account.unique.paid;
        let none = Quantity::ZERO;
        parts.push(Part { item: ChargeFor::Unique, pace: whole(unique), rate: unique, share: none, used: none });
        if let Some((usage, gap)) = &usage
            && !gap.is_zero()
            && Role::of(account.state) != Role::Out
        {
            let share = account.share_of(ResourceKind::Cpu);
            let pace = used(usage, ResourceKind::Cpu) / u128::from(gap.micros());
            let beyond = pace.saturating_sub(u128::from(share.amount()));
            let pace = self.beyond_share(beyond);
            let (rate, used) = (rate_of_pace(pace), quantity(beyond));
            parts.push(Part { item: ChargeFor::BeyondShare, pace, rate, share: none, used });
        }
        Drain::of(parts, account.highest_rate.map(whole))
    }

    /// How fast an account spends as long as it is not known what it uses: what [`Auctioneer::drain`] says then.
    fn pace(&self, account: &Account) -> Pace {
        let full = |rate: Rate| u128::from(rate.picos_per_second()) * u128::from(PPM);
        let (mut bid, mut top_up) = (full(account.unique.paid), 0_u128);
        for (&kind, &paid) in account.paid.iter().filter(|(kind, _)| kind.is_reserved()) {
            let own = account.rate_of(kind).min(paid);
            bid = bid.saturating_add(full(own));
            top_up = top_up.saturating_add(full(paid).saturating_sub(full(own)));
        }
        // What tops up comes first.
        let limit = account.highest_rate.map_or(u128::MAX, full);
        let top_up = top_up.min(limit);
        Pace { bid: bid.min(limit - top_up), top_up }
    }

    /// max(0.1, min(used/share, 1)) in parts per million.
    pub(super) fn degree_of_use(&self, used: u128, share: u128) -> u32 {
        let degree = match used.saturating_mul(u128::from(PPM)).checked_div(share) {
            Some(ratio) => u32::try_from(ratio).unwrap_or(PPM).min(PPM),
            None if used > 0 => PPM,
            None => 0,
        };
        degree.max(self.config.idle_charge_ppm)
    }

    /// The base price of `beyond` micro-CPUs (or micro-CPUs × microseconds) in fine credits per microsecond (or fine
    /// credits).
    pub(super) fn beyond_share(&self, beyond: u128) -> u128 {
        let base = u128::from(self.config.base_price_of(ResourceKind::Cpu).picos_per_second());
        let unit = u128::from(ResourceKind::Cpu.price_unit().amount());
        base.saturating_mul(beyond).saturating_mul(u128::from(PPM)) / unit
    }

    /// The next time at which something changes by itself, where the accounts spend as `drains` say.
    fn next_change(&self, drains: &Drains) -> Timestamp {
        let accounts = self.accounts.values().zip(drains.iter());
        let due =
            accounts.filter_map(|(account, (pace, _))| earlier(due_at(account), pace.end(account, self.accounted_at)));
        let losers = self.accounts.values().filter_map(|account| self.next_withdrawal(account));
        let next = due.chain(losers).min().unwrap_or(Timestamp::from_micros(i64::MAX));
        next.min(self.next_change_beside_accounts()).max(self.accounted_at)
    }

    /// The next time at which a quote runs out, or something of unique resources changes by itself.
    fn next_change_beside_accounts(&self) -> Timestamp {
        let quotes = self.quotes.values().map(|quote| quote.valid_until);
        quotes.chain(self.next_lot_change()).min().unwrap_or(Timestamp::from_micros(i64::MAX))
    }

    /// When an account changes by itself, if nothing else changes.
    pub(super) fn due_of(&self, account: &Account) -> Option<Timestamp> {
        let settled_at = account.settled_at.unwrap_or(self.accounted_at);
        if has_run_dry(account) || self.is_out_of_funds(account) {
            return Some(settled_at);
        }
        let spent = if account.paid.is_empty() && account.unique.paid == Rate::ZERO {
            None
        } else {
            self.pace(account).end(account, settled_at)
        };
        earlier(earlier(due_at(account), spent), self.next_withdrawal(account))
    }

    fn is_out_of_funds(&self, account: &Account) -> bool {
        account.state == AccountState::Active && !solvent(&self.config.capacity, account)
    }

    /// Does what is due by now for accounts that are settled; true where that changes who gets what.
    fn fall_due(&mut self, effects: &mut Vec<Effect>) -> bool {
        let now = self.accounted_at;
        let quotes = self.quotes.len();
        self.quotes.retain(|_, quote| quote.valid_until > now);
        let mut changed = self.quotes.len() != quotes;
        changed |= self.next_lot_change().is_some_and(|due| due <= now);
        changed |= self.accounts.values().any(|account| self.next_withdrawal(account).is_some_and(|due| due <= now));
        let is_due = |account: &Account| {
            has_run_dry(account) || self.is_out_of_funds(account) || due_at(account).is_some_and(|due| due <= now)
        };
        let due: Vec<HostAccountId> =
            self.accounts.iter().filter(|(_, account)| is_due(account)).map(|(id, _)| id.clone()).collect();
        let mut ended = Vec::new();
        for id in due {
            let Some(account) = self.accounts.get_mut(&id) else { continue };
            changed = true;
            if has_run_dry(account) {
                account.stop_bidding();
            }
            if due_at(account).is_none_or(|due| due > now) {
                continue;
            }
            if account.expires_at.is_some_and(|at| at <= now) {
                account.expire(self.config.respread, self.config.interval, now);
                if account.rate() > Rate::ZERO {
                    effects.push(Effect::Expired { account: id.clone(), rate: account.rate() });
                }
            }
            match account.state {
                AccountState::Warned { reason, stop_at } if stop_at <= now => {
                    let delete_at = stop_at.plus(self.config.disk_grace);
                    account.state = AccountState::Stopped { reason, delete_at };
                    account.held.retain(|kind| kind == ResourceKind::Disk);
                    effects.push(Effect::Stop { account: id.clone(), reason, delete_at });
                }
                AccountState::Stopped { reason, delete_at } if delete_at <= now => {
                    effects.push(Effect::DeleteDisk { account: id.clone(), reason });
                    ended.push(id.clone());
                }
                _ => {}
            }
        }
        for id in ended {
            self.remove(&id, now, effects);
        }
        changed
    }

    /// Closes an account and remembers its receipts.
    pub(super) fn remove(&mut self, id: &HostAccountId, now: Timestamp, effects: &mut Vec<Effect>) {
        self.settle(id);
        let Some(mut account) = self.accounts.remove(id) else { return };
        self.index.remove(id);
        self.quotes.remove(id);
        let owed = account.unmeasured_cost();
        let time = account.unmeasured.iter().map(|(_, unmeasured)| unmeasured.time).max().unwrap_or_default();
        let charged = account.money.spend_bid(owed);
        if !charged.is_zero() {
            let none = Quantity::ZERO;
            let rate = rate_of_pace(owed.units().checked_div(u128::from(time.micros())).unwrap_or_default());
            let part = Part { item: ChargeFor::Closing, pace: 0, rate, share: none, used: none };
            add_line(&mut account.lines, part.line(now, time, charged));
        }
        let receipts = account.money.close();
        for totals in &receipts {
            let closed = ClosedReceipt { account: id.clone(), totals: totals.clone(), closed_at: now };
            self.closed.insert(totals.receipt, closed);
        }
        effects.push(Effect::Closed { account: id.clone(), receipts, lines: account.lines });
    }
}

/// When an account expires, is stopped, or deleted. Who waits has not begun to spend its time.
fn due_at(account: &Account) -> Option<Timestamp> {
    let expires_at = account.expires_at;
    match account.state {
        AccountState::Idle | AccountState::Waiting => None,
        AccountState::Active => expires_at,
        AccountState::Warned { stop_at: due, .. } | AccountState::Stopped { delete_at: due, .. } => {
            Some(expires_at.map_or(due, |expires_at| expires_at.min(due)))
        }
    }
}

/// True where what an account bids is used up.
fn has_run_dry(account: &Account) -> bool {
    account.money.bid.is_zero() && account.rate() > Rate::ZERO
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// What `used` (in base units × microseconds) is on average over `time` in microseconds.
pub(super) fn mean_use(used: u128, time: u128) -> Quantity {
    quantity(used.checked_div(time).unwrap_or_default())
}

fn quantity(amount: u128) -> Quantity {
    Quantity::new(u64::try_from(amount).unwrap_or(u64::MAX))
}

/// The rate of so many fine credits per microsecond.
pub(super) fn rate_of_pace(pace: u128) -> Rate {
    Rate::from_picos_per_second(u64::try_from(pace / u128::from(PPM)).unwrap_or(u64::MAX))
}

/// What was used of `kind`, in base units × microseconds.
pub(super) fn used(usage: &Usage, kind: ResourceKind) -> u128 {
    let amount = match kind {
        ResourceKind::Cpu => usage.cpu_time.micros(),
        ResourceKind::NetworkIn => usage.received_bits,
        ResourceKind::NetworkOut => usage.sent_bits,
        ResourceKind::Memory | ResourceKind::Disk => 0,
    };
    u128::from(amount) * 1_000_000
}
