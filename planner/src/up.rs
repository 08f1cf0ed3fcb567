//! From a pool to the plan that makes it real.

mod deals;
mod keeping;
mod order;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use tycoon_lang::{Span, pool};
use tycoon_market::{Credits, Quantity, Rate, ResourceKind};
use tycoon_xen::spec::DomainPath;
use tycoon_xen::status::{DomainState, DomainStatus};

use crate::bidding::{Aim, is_crowded};
use crate::desired::spec_of;
use crate::difference::{self, Shrinking};
use crate::down::removal;
use crate::error::{Cure, PlanError, rate_of};
use crate::fit::{Candidate, Misfit, Room, Rules, need_of, no_port, too_little};
use crate::late::Addresses;
use crate::lint;
use crate::notes;
use crate::placement::{NoHost, added_rate, best, place};
use crate::plan::{Change, DomainPlan, FieldChange, Goal, HostPlan, HostVerdict, Money, Plan, PlanId, Report};
use crate::world::{HostView, Period, World};
use deals::Deal;
use keeping::{as_found, keeps, saves, taken_up};

/// The plan that makes `pool` real in `world`. It has no steps where it is real already.
///
/// # Errors
/// Every [`PlanError`].
pub fn plan_up(pool: &pool::Pool, world: &World) -> Result<Plan, PlanError> {
    let budget =
        pool.budget.as_ref().ok_or_else(|| PlanError::NoBudget { pool: pool.name.to_string(), span: pool.span })?;
    let rules = Rules::of(pool);
    let addresses = Addresses::of(pool);
    let wanted = pool.domains.iter().map(|domain| {
        let spec = spec_of(domain, &addresses, &world.keys)?;
        Ok(rules.candidate(domain, as_found(spec, world)))
    });
    let wanted = wanted.collect::<Result<Vec<_>, PlanError>>()?;
    let draft = |aim| -> Result<Plan, PlanError> {
        let mut draft = Draft::of(world, &rules, &wanted, aim);
        draft.notes = notes::not_carried_out(pool);
        draft.note_hosts();
        draft.settle()?;
        draft.place_new(pool)?;
        let (period, is_new) = period(world, budget);
        draft.finish(pool, budget, period, is_new)
    };
    match draft(Aim::Full) {
        // Where all wishes together would cost least is not where the least does.
        Err(PlanError::BudgetTooSmall { .. }) => draft(Aim::Least),
        plan => plan,
    }
}

/// The running period where it still fits the budget that is described, a new one otherwise; and whether it is new.
fn period(world: &World, budget: &pool::Budget) -> (Period, bool) {
    let accounts = || world.hosts.iter().filter_map(|host| host.account.as_ref());
    let charged =
        accounts().fold(Credits::ZERO, |sum, account| sum.checked_add(account.charged).unwrap_or(Credits::MAX));
    let remembered = world.history.period.or_else(|| {
        // Without a journal the hosts' accounts tell since when the pool is there.
        let started_at = accounts().map(|account| account.opened_at).min()?;
        Some(Period { started_at, duration: budget.duration, budget: budget.amount, charged_before: Credits::ZERO })
    });
    let described = |period: &Period| Period { duration: budget.duration, budget: budget.amount, ..*period };
    let running = remembered
        .map(|period| described(&period))
        .filter(|period| period.ends_at() > world.collected_at && accounts().next().is_some());
    match running {
        Some(period) => (period, false),
        None => {
            let (started_at, duration, amount) = (world.collected_at, budget.duration, budget.amount);
            (Period { started_at, duration, budget: amount, charged_before: charged }, true)
        }
    }
}

/// A plan in the making.
struct Draft<'a> {
    world: &'a World,
    rules: &'a Rules<'a>,
    wanted: &'a [Candidate<'a>],
    /// What each domain path becomes, once that is known.
    domains: BTreeMap<&'a DomainPath, Placed<'a>>,
    /// Domains that go: their host, and their status.
    leaving: Vec<(usize, &'a DomainStatus)>,
    /// What the pool will have on each host.
    rooms: Vec<Room>,
    notes: Vec<String>,
    /// What hosts are compared by.
    aim: Aim,
}

/// A domain that has its host.
struct Placed<'a> {
    candidate: &'a Candidate<'a>,
    change: Change,
    host: usize,
    /// Where it leaves a copy that has to go.
    leaves: Option<usize>,
    now: Option<&'a DomainStatus>,
}

impl<'a> Draft<'a> {
    /// Sorts what exists into what is wanted and what goes.
    fn of(world: &'a World, rules: &'a Rules<'a>, wanted: &'a [Candidate<'a>], aim: Aim) -> Self {
        let paths: BTreeSet<&DomainPath> = wanted.iter().map(|candidate| &candidate.spec.path).collect();
        let mut draft = Self {
            world,
            rules,
            wanted,
            domains: BTreeMap::new(),
            leaving: Vec::new(),
            rooms: vec![Room::default(); world.hosts.len()],
            notes: Vec::new(),
            aim,
        };
        let is_wanted = |status: &DomainStatus| status.ownership.as_ref().is_some_and(|own| paths.contains(&own.path));
        for (number, host) in world.hosts.iter().enumerate() {
            let gone = host.present().filter(|status| !is_wanted(status));
            draft.leaving.extend(gone.map(|status| (number, status)));
        }
        draft
    }

    /// Every host that has a copy of a domain, the best copy first: a running one before others, and those of which only
    /// volumes are kept last, the one that is kept longest before others.
    fn copies(&self, path: &DomainPath) -> Vec<(usize, &'a DomainStatus)> {
        let world = self.world;
        let mut copies: Vec<(usize, &DomainStatus)> = world
            .hosts
            .iter()
            .enumerate()
            .flat_map(|(number, host)| host.domains.iter().map(move |status| (number, status)))
            .filter(|(_, status)| status.ownership.as_ref().is_some_and(|own| own.path == *path))
            .collect();
        copies.sort_by_key(|(number, status)| {
            (status.kept.as_ref().map(|kept| Reverse(kept.until)), !status.state.is_active(), *number)
        });
        copies
    }

    /// Decides what happens to the domains that exist: they stay where they are for as long as that is possible.
    fn settle(&mut self) -> Result<(), PlanError> {
        for candidate in self.wanted {
            let copies = self.copies(&candidate.spec.path);
            let Some((&(host, now), others)) = copies.split_first() else {
                self.stay_with_silent_host(candidate);
                continue;
            };
            self.leaving.extend(others.iter().filter(|(_, status)| status.kept.is_none()));
            for (other, _) in others.iter().filter(|(_, status)| status.kept.is_some()) {
                let (path, other) = (&candidate.spec.path, &self.world.hosts[*other].name);
                self.notes.push(format!("{other} has kept other volumes of `{path}`: they are left as they are"));
            }
            if now.kept.is_some() {
                self.check_takes_up(candidate, host, now)?;
            }
            self.rooms[host].add(candidate);
            let change = change_of(now, candidate).map_err(|shrinking| too_small(&shrinking, candidate))?;
            let placed = Placed { candidate, change, host, leaves: None, now: Some(now) };
            self.domains.insert(&candidate.spec.path, placed);
        }
        self.check_existing()?;
        self.move_what_does_not_fit();
        Ok(())
    }

    /// A domain on a host that does not answer may well be running: it is left alone, and not started a second time.
    fn stay_with_silent_host(&mut self, candidate: &'a Candidate<'a>) {
        let path = &candidate.spec.path;
        let Some(last) = self.world.history.placements.get(path) else { return };
        let silent = self.world.hosts.iter().position(|host| host.id == *last && !host.is_inspected);
        if let Some(host) = silent {
            let name = &self.world.hosts[host].name;
            self.notes.push(format!("`{path}` was last on {name}: it is left as it is, and not started a second time"));
            self.rooms[host].add(candidate);
            let placed = Placed { candidate, change: Change::Keep, host, leaves: None, now: None };
            self.domains.insert(path, placed);
        }
    }

    /// A domain that has grown beyond what its host has left, or is to be made anew from an image that its host does not
    /// have, must go elsewhere, where there is a place.
    fn move_what_does_not_fit(&mut self) {
        for candidate in self.wanted {
            let Some(placed) = self.domains.get(&candidate.spec.path) else { continue };
            if placed.is_bound() {
                continue;
            }
            let (Change::Update { fields, .. } | Change::Replace { fields, .. }) = &placed.change else { continue };
            let (from, fields) = (placed.host, fields.clone());
            let host = &self.world.hosts[from];
            let lacks = || lacks(&placed.change, host, candidate);
            let Some(reason) = too_little(host, &self.rooms[from].need).or_else(lacks) else { continue };
            self.rooms[from].remove(candidate);
            let target =
                best(self.rules, &self.world.hosts, &self.rooms, candidate, self.aim).ok().filter(|&to| to != from);
            let to = target.unwrap_or(from);
            self.rooms[to].add(candidate);
            if to != from
                && let Some(placed) = self.domains.get_mut(&candidate.spec.path)
            {
                let why = format!("{} {}", host.name, reason.reason());
                placed.change = Change::Replace { fields, from: Some((host.id, host.name.clone())), why };
                placed.host = to;
                placed.leaves = Some(from);
            }
        }
    }

    /// Finds hosts for the domains that have none.
    fn place_new(&mut self, pool: &pool::Pool) -> Result<(), PlanError> {
        let is_new = |candidate: &&'a Candidate<'a>| !self.domains.contains_key(&candidate.spec.path);
        let new: Vec<&'a Candidate<'a>> = self.wanted.iter().filter(is_new).collect();
        let hosts = place(self.rules, &self.world.hosts, &mut self.rooms, &new, self.aim);
        let hosts = hosts.map_err(|none| self.no_host(&none, &new))?;
        for (candidate, host) in new.into_iter().zip(hosts) {
            let placed = Placed { candidate, change: Change::Create, host, leaves: None, now: None };
            self.domains.insert(&candidate.spec.path, placed);
        }
        if let Some((number, misfit)) = self.overfull() {
            return Err(self.too_full(number, &misfit, pool.span));
        }
        // Before its disk goes: what it is to be made from must be there.
        let stuck = self
            .domains
            .values()
            .find(|placed| lacks(&placed.change, &self.world.hosts[placed.host], placed.candidate).is_some());
        if let Some(placed @ Placed { candidate, host, .. }) = stuck {
            self.check_stays(placed)?;
            let mut rooms = self.rooms.clone();
            rooms[*host].remove(candidate);
            if let Err(reasons) = best(self.rules, &self.world.hosts, &rooms, candidate, self.aim) {
                return Err(self.no_host(&NoHost { domain: 0, reasons }, &[*candidate]));
            }
        }
        Ok(())
    }

    /// The first host on which the pool would have more than is left there: a domain grew and found no other place.
    fn overfull(&self) -> Option<(usize, Misfit)> {
        let hosts = self.world.hosts.iter().enumerate().filter(|(_, host)| host.is_inspected);
        hosts
            .filter(|(number, _)| self.rooms[*number].need.domains > 0)
            .find_map(|(number, host)| too_little(host, &self.rooms[number].need).map(|misfit| (number, misfit)))
    }

    fn too_full(&self, number: usize, misfit: &Misfit, span: Span) -> PlanError {
        let grown = self.domains.values().find(|placed| placed.host == number && placed.change != Change::Keep);
        let path = grown.or(self.domains.values().next()).map(|placed| placed.candidate.spec.path.clone());
        let name = &self.world.hosts[number].name;
        PlanError::Unsound {
            problem: match path {
                Some(path) => {
                    let why = match grown.is_some_and(Placed::is_bound) {
                        true => "its volumes, which are to be kept, do not move",
                        false => "no other host has room for it",
                    };
                    format!("`{path}` cannot grow: {name} {}, and {why}", misfit.reason())
                }
                None => format!("{name} {}", misfit.reason()),
            },
            help: "ask for less, or remove another domain there first".into(),
            span: Some(span),
        }
    }

    fn no_host(&self, none: &NoHost, new: &[&Candidate<'_>]) -> PlanError {
        let candidate = new[none.domain];
        let component = &candidate.domain.component;
        let left = new[none.domain..].iter().filter(|other| other.domain.component == *component);
        let name = |number: usize| self.world.hosts[number].name.clone();
        let has = |is: &dyn Fn(&Misfit) -> bool| none.reasons.iter().any(is);
        let cure = if has(&Misfit::is_about_room) {
            Cure::Less
        } else if has(&|misfit| matches!(misfit, Misfit::NoImage(_))) {
            let images: BTreeSet<&String> = self.world.hosts.iter().flat_map(|host| &host.images).collect();
            Cure::Image(images.into_iter().cloned().collect())
        } else {
            Cure::OtherHosts
        };
        let reasons = none.reasons.iter().enumerate().map(|(number, misfit)| (name(number), misfit.reason()));
        PlanError::NoHost {
            path: candidate.spec.path.clone(),
            domain: format!("`{component}` ({}, image `{}`)", candidate.spec.show_size(), candidate.spec.image),
            count: left.count(),
            reasons: reasons.collect(),
            cure: Box::new(cure),
            span: candidate.domain.span,
        }
    }

    /// Bids, pays, and puts everything in order.
    fn finish(
        self,
        pool: &pool::Pool,
        budget: &pool::Budget,
        period: Period,
        is_new_period: bool,
    ) -> Result<Plan, PlanError> {
        let deals = self.deals(budget, &period, is_new_period)?;
        let domains = self.domain_plans(&deals);
        let hosts: Vec<HostPlan> = deals.iter().map(|deal| deal.plan.clone()).collect();
        let escrow = Credits::checked_sum(hosts.iter().filter_map(|host| host.escrow.map(|escrow| escrow.amount)))
            .ok_or(PlanError::Overflow { what: "the sum of all escrows" })?;
        if escrow > self.world.balance {
            let balance = self.world.balance;
            return Err(PlanError::BalanceTooSmall { balance, needed: escrow, span: budget.span });
        }
        let rates = hosts.iter().filter_map(|host| host.bid.as_ref().map(|bid| bid.rate));
        let money = Money {
            rate: rates.fold(Rate::ZERO, |sum, rate| sum.checked_add(rate).unwrap_or(sum)),
            escrow,
            refund: hosts.iter().fold(Credits::ZERO, |sum, host| sum.checked_add(host.refund).unwrap_or(sum)),
            balance: self.world.balance,
        };
        let mut report = self.report();
        for deal in deals.iter().filter(|deal| deal.is_cut) {
            let (name, pool) = (&deal.plan.name, &pool.name);
            report.notes.push(format!(
                "{name} may draw what was set aside for it before no faster than the budget of then allowed, so that the pool \
                 bids no more there: `tycoon down {pool}` and `tycoon up` begin anew with all of the budget"
            ));
        }
        let mut plan = Plan {
            id: PlanId::from_bytes([0; 16]),
            parent: self.world.history.parent,
            generation: self.generation(),
            pool: pool.name.clone(),
            account: self.world.account,
            created_at: self.world.collected_at,
            goal: Goal::Up,
            period: Some(period),
            steps: self.steps(&domains, &deals)?,
            report,
            domains,
            hosts,
            money,
        };
        plan.id = crate::plan::digest(&plan);
        // Escrows are named after the plan, so that they can only be known once the plan is.
        crate::plan::name_escrows(&mut plan);
        lint::check(&plan)?;
        Ok(plan)
    }

    fn generation(&self) -> u64 {
        let seen =
            self.world.hosts.iter().flat_map(|host| &host.domains).filter_map(|status| status.ownership.as_ref());
        seen.map(|own| own.generation).max().unwrap_or(0).max(self.world.history.generation).saturating_add(1)
    }

    fn domain_plans(&self, deals: &[Deal]) -> Vec<DomainPlan> {
        let mut plans: Vec<DomainPlan> = self
            .domains
            .values()
            .map(|placed| {
                let host = &self.world.hosts[placed.host];
                let deal = deals.iter().find(|deal| deal.plan.id == host.id);
                let need = self.rooms[placed.host].need;
                let part = f64::from(placed.candidate.spec.vcpus) / need.vcpus.max(1) as f64;
                let cpu = deal.and_then(|deal| deal.plan.expected.get(&ResourceKind::Cpu));
                let rate = deal.and_then(|deal| deal.plan.bid.as_ref()).map(|bid| bid.rate);
                DomainPlan {
                    path: placed.candidate.spec.path.clone(),
                    change: placed.change.clone(),
                    host: host.id,
                    host_name: host.name.clone(),
                    spec: Some(placed.candidate.spec.clone()),
                    expected_cpu: cpu.map(|cpu| Quantity::new((cpu.amount() as f64 * part).round() as u64)),
                    rate: rate.map(|rate| {
                        Rate::from_picos_per_second(rate.picos_per_second() / u64::from(need.domains.max(1)))
                    }),
                    keeps: keeps(placed),
                    saves: saves(placed),
                    deletes: matches!(placed.change, Change::Replace { .. }),
                }
            })
            .collect();
        for (number, status) in &self.leaving {
            let Some(ownership) = &status.ownership else { continue };
            let host = &self.world.hosts[*number];
            plans.push(removal(host, &ownership.path, status));
        }
        plans.sort_by(|a, b| a.path.natural_order().cmp(&b.path.natural_order()).then(a.host_name.cmp(&b.host_name)));
        plans
    }

    fn report(&self) -> Report {
        let sample = self.wanted.first();
        let places_something =
            self.domains.values().any(|placed| placed.change == Change::Create || placed.leaves.is_some());
        let verdicts = self.world.hosts.iter().enumerate().map(|(number, host)| {
            let room = &self.rooms[number];
            let misfit = sample.and_then(|candidate| self.rules.misfit(host, room, candidate));
            let one_more = sample.filter(|_| misfit.is_none()).map(|candidate| need_of(&candidate.spec));
            let is_crowded = one_more.is_some_and(|more| is_crowded(&host.offers, &room.need.plus(more)));
            let aim = if is_crowded { Aim::Least } else { Aim::Full };
            let price = one_more.and_then(|more| added_rate(host, &room.need, &more, aim));
            HostVerdict {
                id: host.id,
                name: host.name.clone(),
                is_simulated: host.is_simulated,
                is_taken: room.need.domains > 0,
                why: verdict(room.need.domains, misfit.as_ref(), places_something),
                price: price.and_then(|picos| rate_of(picos).ok()),
                is_crowded,
            }
        });
        Report { hosts: verdicts.collect(), notes: self.notes.clone(), unreached: self.world.unreached() }
    }
}

/// What a host does not have for a domain that changes there: the image that it is to be made anew from, a port that is to
/// lead to it.
fn lacks(change: &Change, host: &HostView, candidate: &Candidate<'_>) -> Option<Misfit> {
    let image = &candidate.spec.image;
    let is_made_anew = matches!(change, Change::Replace { from: None, .. });
    if is_made_anew && host.is_inspected && !host.images.contains(image) {
        return Some(Misfit::NoImage(image.clone()));
    }
    let is_changed = is_made_anew || matches!(change, Change::Update { .. });
    if is_changed && host.is_inspected { no_port(host, &candidate.spec) } else { None }
}

/// What happens to a domain that exists on the host where it stays.
fn change_of(now: &DomainStatus, candidate: &Candidate<'_>) -> Result<Change, Shrinking> {
    if let Some(kept) = &now.kept {
        return taken_up(kept, now, candidate);
    }
    let change = match &now.spec {
        Some(before) => difference::change(before, &candidate.spec, now.memory_max_bytes)?,
        None => Change::Update { fields: Vec::<FieldChange>::new(), restart: true },
    };
    Ok(match (&change, now.state) {
        (Change::Keep, DomainState::Running | DomainState::Booting) => Change::Keep,
        // Its workflow decides when it runs.
        (Change::Keep, _) if candidate.domain.starts_by_workflow => Change::Keep,
        (Change::Keep, found) => Change::Start { found: found.word().to_owned() },
        // What does not run has to be started after it was changed, whatever was changed.
        (Change::Update { fields, .. }, found) if !found.is_active() => {
            Change::Update { fields: fields.clone(), restart: true }
        }
        _ => change,
    })
}

/// A disk would have to shrink: what is on it would be lost, and nobody has said that it may.
fn too_small(shrinking: &Shrinking, candidate: &Candidate<'_>) -> PlanError {
    let Shrinking { volume, from, to } = shrinking;
    let path = &candidate.spec.path;
    // Where the root volume is created is the business of its kind, and not of who describes a domain.
    let is_its = |described: &&pool::Volume| described.name == *volume && volume != "root";
    let described = candidate.domain.volumes.iter().find(is_its);
    PlanError::Unsound {
        problem: format!(
            "the disk `{volume}` of `{path}` has {from}, and {to} are described: a disk can grow, and never shrinks"
        ),
        help: format!(
            "write `size=\"{}\"` or more; to begin anew without what is on it, take the pool down first (`tycoon down`, \
             then `tycoon volumes remove` where it is kept)",
            from.replace(' ', "")
        ),
        span: Some(described.map_or(candidate.domain.span, |described| described.span)),
    }
}

/// What is said of a host that was looked at.
fn verdict(domains: u32, misfit: Option<&Misfit>, places_something: bool) -> String {
    match (domains, misfit) {
        (1, _) => "1 domain".into(),
        (2.., _) => format!("{domains} domains"),
        (0, Some(reason)) => reason.reason(),
        (0, None) if places_something => "is dearer".into(),
        (0, None) => "is not needed".into(),
    }
}
