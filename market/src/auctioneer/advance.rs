//! The passing of time: charging, expiry, warnings, shutdowns and deletions.
//!
//! Between two points at which something changes every account spends at a constant pace, so any stretch of time is
//! charged at once. The points are: money used up, a bid expired, a grace over, a quote run out. Because spending is
//! counted in fine credits, many short stretches and one long one give the same state (but for the last digits of the
//! price statistics, which are floats).

use std::collections::BTreeMap;

use super::account::{Account, AccountState, Unmeasured};
use super::charge::{ChargeFor, ChargeLine};
use super::event::{Effect, Usage};
use super::plan::{Role, solvent};
use super::{Auctioneer, ClosedReceipt, PPM};
use crate::fine::FineCredits;
use crate::{Credits, HostAccountId, Quantity, Rate, ResourceKind, TimeSpan, Timestamp};

/// What was used in a stretch of time.
struct Measure<'a> {
    usage: &'a BTreeMap<HostAccountId, Usage>,
    /// The time in which it was used.
    gap: TimeSpan,
    /// After a downtime: who is not in `usage` did not run and pays nothing.
    only_listed: bool,
}

/// What an account spends, in fine credits per microsecond.
#[derive(Clone, Debug, Default)]
struct Drain {
    bid: u128,
    top_up: u128,
    /// What both are made of: those of topping up first.
    parts: Vec<Part>,
}

/// A part of what an account spends.
#[derive(Clone, Copy, Debug)]
struct Part {
    item: ChargeFor,
    /// In fine credits per microsecond.
    pace: u128,
    rate: Rate,
    share: Quantity,
    used: Quantity,
}

impl Part {
    fn line(&self, until: Timestamp, time: TimeSpan, amount: Credits) -> ChargeLine {
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
        Self { bid, top_up, parts }
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
        let gap = now.since(self.ticked_at);
        if let Some(limit) = downtime_limit {
            let down = now.since(self.accounted_at);
            self.shift(down.saturating_sub(limit).micros());
        }
        let measure = Measure { usage, gap, only_listed: downtime_limit.is_some() };
        self.settle_unmeasured(&measure);
        self.run(now, Some(&measure), effects);
        self.ticked_at = now;
        for (id, used) in usage {
            if let Some(account) = self.accounts.get_mut(id) {
                let in_use = [(ResourceKind::Memory, used.memory), (ResourceKind::Disk, used.disk)];
                account.in_use = in_use.into_iter().filter(|(_, quantity)| *quantity > Quantity::ZERO).collect();
            }
        }
        let memory = self.config.receipt_memory;
        self.closed.retain(|_, receipt| now.since(receipt.closed_at) <= memory);
        self.resolve(now, effects);
    }

    /// Lets the time pass until `now` without knowing what is used: CPU and network are settled at the next tick.
    pub(super) fn advance(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.follow_clock(now, effects);
        self.run(now, None, effects);
    }

    /// A clock that goes back counts as no time: what is due later moves back with it.
    fn follow_clock(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let by = self.accounted_at.since(now);
        if by.is_zero() {
            return;
        }
        let back = |at: Timestamp| Timestamp::from_micros(at.micros().saturating_sub_unsigned(by.micros()));
        self.accounted_at = now;
        self.ticked_at = back(self.ticked_at).min(now);
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
        self.move_deadlines(|at| at.plus(span));
    }

    fn move_deadlines(&mut self, moved: impl Fn(Timestamp) -> Timestamp) {
        for lot in self.lots.values_mut() {
            lot.move_deadlines(&moved);
        }
        for record in self.unique_records.values_mut() {
            record.move_times(&moved);
        }
        for account in self.accounts.values_mut() {
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

    fn run(&mut self, now: Timestamp, measure: Option<&Measure<'_>>, effects: &mut Vec<Effect>) {
        loop {
            if self.fall_due(effects) {
                let at = self.accounted_at;
                self.resolve(at, effects);
                continue;
            }
            if self.accounted_at >= now {
                return;
            }
            let drains: Vec<Drain> =
                self.accounts.iter().map(|(id, account)| self.drain(id, account, measure)).collect();
            let next = self.next_change(&drains).min(now);
            let span = next.since(self.accounted_at);
            for (&kind, &price) in &self.prices {
                self.statistics.entry(kind).or_default().note(price, span);
            }
            self.note_unique_prices(span);
            for ((id, account), drain) in self.accounts.iter_mut().zip(&drains) {
                for part in &drain.parts {
                    let cost = FineCredits::new(part.pace.saturating_mul(u128::from(span.micros())));
                    let charged = match part.item {
                        ChargeFor::TopUp(_) => account.money.spend_top_up(cost),
                        _ => account.money.spend_bid(cost),
                    };
                    self.lines.add(id, part.line(next, span, charged));
                }
                if measure.is_none() {
                    note_unmeasured(account, span, drain);
                }
            }
            self.accounted_at = next;
        }
    }

    /// What an account spends from now on.
    fn drain(&self, id: &HostAccountId, account: &Account, measure: Option<&Measure<'_>>) -> Drain {
        let usage = match measure {
            Some(measure) => match measure.usage.get(id) {
                None if measure.only_listed => return Drain::default(),
                usage => Some((usage.copied().unwrap_or_default(), measure.gap)),
            },
            None => None,
        };
        let mut parts = Vec::with_capacity(8);
        for (&kind, &paid) in &account.paid {
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

    /// max(0.1, min(used/share, 1)) in parts per million.
    fn degree_of_use(&self, used: u128, share: u128) -> u32 {
        let degree = match used.saturating_mul(u128::from(PPM)).checked_div(share) {
            Some(ratio) => u32::try_from(ratio).unwrap_or(PPM).min(PPM),
            None if used > 0 => PPM,
            None => 0,
        };
        degree.max(self.config.idle_charge_ppm)
    }

    /// The base price of `beyond` micro-CPUs (or micro-CPUs × microseconds) in fine credits per microsecond (or fine
    /// credits).
    fn beyond_share(&self, beyond: u128) -> u128 {
        let base = u128::from(self.config.base_price_of(ResourceKind::Cpu).picos_per_second());
        let unit = u128::from(ResourceKind::Cpu.price_unit().amount());
        base.saturating_mul(beyond).saturating_mul(u128::from(PPM)) / unit
    }

    /// Charges for the stretches since the last tick whose use was not known when they passed. Use is taken to be
    /// even over the time between the ticks.
    fn settle_unmeasured(&mut self, measure: &Measure<'_>) {
        let gap = u128::from(measure.gap.micros().max(1));
        let ids: Vec<HostAccountId> = self
            .accounts
            .iter()
            .filter(|(_, account)| !account.meanwhile.is_zero() || !account.unmeasured.is_empty())
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            let usage = measure.usage.get(&id).copied().unwrap_or_default();
            let Some(account) = self.accounts.get(&id) else { continue };
            let mut parts = Vec::new();
            for (&kind, unmeasured) in &account.unmeasured {
                let time = u128::from(unmeasured.time.micros());
                let part = used(&usage, kind).saturating_mul(time) / gap;
                let over = part.saturating_sub(unmeasured.share);
                let degree = u128::from(self.degree_of_use(part, unmeasured.share));
                let mean = |sum: u128| mean_use(sum, time);
                let mut add = |item, cost: u128, full: u128, share, used| {
                    let rate = rate_of_pace(full.checked_div(time).unwrap_or_default());
                    parts.push((Part { item, pace: cost, rate, share, used }, unmeasured.time));
                };
                let (share, mean_used) = (mean(unmeasured.share), mean(part));
                for (item, full) in
                    [(ChargeFor::TopUp(kind), unmeasured.top_up), (ChargeFor::Bid(kind), unmeasured.bid)]
                {
                    add(item, full.saturating_mul(degree), full.saturating_mul(u128::from(PPM)), share, mean_used);
                }
                if kind == ResourceKind::Cpu {
                    let cost = self.beyond_share(over);
                    add(ChargeFor::BeyondShare, cost, cost, Quantity::ZERO, mean(over));
                }
            }
            // What tops up comes first, as far as the escrows allow in that time, less what was spent meanwhile.
            parts.retain(|(part, _)| part.pace > 0);
            parts.sort_by_key(|(part, _)| !matches!(part.item, ChargeFor::TopUp(_)));
            let mut left = account.highest_rate.map_or(u128::MAX, |highest| {
                let limit = Unmeasured { time: account.meanwhile, ..Unmeasured::default() }.at_rate(highest);
                limit.saturating_sub(account.spent_meanwhile)
            });
            for (part, _) in &mut parts {
                part.pace = part.pace.min(left);
                left -= part.pace;
            }
            if let Some(account) = self.accounts.get_mut(&id) {
                account.unmeasured.clear();
                (account.spent_meanwhile, account.meanwhile) = (0, TimeSpan::ZERO);
                for (part, time) in parts {
                    let cost = FineCredits::new(part.pace);
                    let charged = match part.item {
                        ChargeFor::TopUp(_) => account.money.spend_top_up(cost),
                        _ => account.money.spend_bid(cost),
                    };
                    self.lines.add(&id, part.line(self.accounted_at, time, charged));
                }
            }
        }
    }

    /// The next time at which something changes by itself.
    fn next_change(&self, drains: &[Drain]) -> Timestamp {
        let mut next = Timestamp::from_micros(i64::MAX);
        for quote in self.quotes.values() {
            next = next.min(quote.valid_until);
        }
        if let Some(due) = self.next_unique_change() {
            next = next.min(due);
        }
        for (account, drain) in self.accounts.values().zip(drains) {
            if let Some(due) = due_at(account) {
                next = next.min(due);
            }
            let (bid, aside) = (account.money.bid.units(), account.money.contingency.units());
            let on_bid = if aside == 0 { drain.bid.saturating_add(drain.top_up) } else { drain.bid };
            for (funds, pace) in [(bid, on_bid), (aside, drain.top_up)] {
                if funds > 0 && pace > 0 {
                    let micros = u64::try_from(funds.div_ceil(pace)).unwrap_or(u64::MAX);
                    next = next.min(self.accounted_at.plus(TimeSpan::from_micros(micros)));
                }
            }
        }
        next.max(self.accounted_at)
    }

    /// Does what is due by now; true where that changes who gets what.
    fn fall_due(&mut self, effects: &mut Vec<Effect>) -> bool {
        let now = self.accounted_at;
        let quotes = self.quotes.len();
        self.quotes.retain(|_, quote| quote.valid_until > now);
        let mut changed = self.quotes.len() != quotes;
        changed |= self.next_unique_change().is_some_and(|due| due <= now);
        let mut ended = Vec::new();
        for (id, account) in &mut self.accounts {
            if account.money.bid.is_zero() && account.rate() > Rate::ZERO {
                account.stop_bidding();
                changed = true;
            }
            changed |= account.state == AccountState::Active && !solvent(&self.config.capacity, account);
            if due_at(account).is_none_or(|due| due > now) {
                continue;
            }
            changed = true;
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
                    account.held.retain(|kind, _| *kind == ResourceKind::Disk);
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
        let Some(mut account) = self.accounts.remove(id) else { return };
        self.quotes.remove(id);
        let owed = account.unmeasured_cost();
        let time = account.unmeasured.values().map(|unmeasured| unmeasured.time).max().unwrap_or_default();
        let charged = account.money.spend_bid(owed);
        if !charged.is_zero() {
            let none = Quantity::ZERO;
            let rate = rate_of_pace(owed.units().checked_div(u128::from(time.micros())).unwrap_or_default());
            let part = Part { item: ChargeFor::Closing, pace: 0, rate, share: none, used: none };
            self.lines.add(id, part.line(now, time, charged));
        }
        let receipts = account.money.close();
        for totals in &receipts {
            let closed = ClosedReceipt { account: id.clone(), totals: totals.clone(), closed_at: now };
            self.closed.insert(totals.receipt, closed);
        }
        effects.push(Effect::Closed { account: id.clone(), receipts, lines: Vec::new() });
    }
}

impl Unmeasured {
    /// The most that its time costs at `rate`, in fine credits.
    fn at_rate(&self, rate: Rate) -> u128 {
        u128::from(rate.picos_per_second())
            .saturating_mul(u128::from(self.time.micros()))
            .saturating_mul(u128::from(PPM))
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

/// Notes what the CPU and network of a stretch cost if they were fully used.
fn note_unmeasured(account: &mut Account, span: TimeSpan, drain: &Drain) {
    let micros = u128::from(span.micros());
    let spent = drain.bid.saturating_add(drain.top_up).saturating_mul(micros);
    account.spent_meanwhile = account.spent_meanwhile.saturating_add(spent);
    account.meanwhile = TimeSpan::from_micros(account.meanwhile.micros().saturating_add(span.micros()));
    // CPU counts for whoever runs, also without a bid on it: what is used beyond the share has its price.
    let runs = Role::of(account.state) != Role::Out;
    for kind in ResourceKind::ALL.into_iter().filter(|kind| !kind.is_reserved()) {
        let paid = account.paid.get(&kind).copied().unwrap_or_default();
        if paid == Rate::ZERO && !(runs && kind == ResourceKind::Cpu) {
            continue;
        }
        let bid = account.rate_of(kind).min(paid).picos_per_second();
        let share = account.share_of(kind).amount();
        let noted = account.unmeasured.entry(kind).or_default();
        noted.bid = noted.bid.saturating_add(u128::from(bid) * micros);
        noted.top_up = noted.top_up.saturating_add(u128::from(paid.picos_per_second() - bid) * micros);
        noted.share = noted.share.saturating_add(u128::from(share) * micros);
        noted.time = TimeSpan::from_micros(noted.time.micros().saturating_add(span.micros()));
    }
}

/// What `used` (in base units × microseconds) is on average over `time` in microseconds.
fn mean_use(used: u128, time: u128) -> Quantity {
    quantity(used.checked_div(time).unwrap_or_default())
}

fn quantity(amount: u128) -> Quantity {
    Quantity::new(u64::try_from(amount).unwrap_or(u64::MAX))
}

/// The rate of so many fine credits per microsecond.
fn rate_of_pace(pace: u128) -> Rate {
    Rate::from_picos_per_second(u64::try_from(pace / u128::from(PPM)).unwrap_or(u64::MAX))
}

/// What was used of `kind`, in base units × microseconds.
fn used(usage: &Usage, kind: ResourceKind) -> u128 {
    let amount = match kind {
        ResourceKind::Cpu => usage.cpu_time.micros(),
        ResourceKind::NetworkIn => usage.received_bits,
        ResourceKind::NetworkOut => usage.sent_bits,
        ResourceKind::Memory | ResourceKind::Disk => 0,
    };
    u128::from(amount) * 1_000_000
}
