//! Runs the examples of `docs/market.md`: what the manual says of the market is what the market does.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tycoon_market::auctioneer::{
    AccountState, AccountView, Auctioneer, ChargeFor, ChargeLine, Effect, Event, HostConfig, Refusal, UniqueSale, Usage,
};
use tycoon_market::best_response::{
    HostOffer, Problem, Solution, budget_for, budget_for_deadline, solve, solve_with_max_hosts,
};
use tycoon_market::bid_text::{BidChange, parse_amount, show_bid};
use tycoon_market::duration_text::parse_duration;
use tycoon_market::prediction::{HostPrediction, JointPrediction, ManyHostsPrediction, PriceForecast, PriceModel};
use tycoon_market::{
    Amount, Bid, Credits, EscrowId, HostAccountId, Quantity, Rate, ResourceKind, TimeSpan, Timestamp, UniqueId,
    UniqueKind,
};

const MANUAL: &str = include_str!("../../docs/market.md");

#[test]
fn every_example_of_the_manual_comes_out() {
    let mut count = 0;
    let mut block: Option<Stage> = None;
    for (index, line) in MANUAL.lines().enumerate() {
        match (&mut block, line) {
            (None, "```market") => {
                block = Some(Stage::new());
                count += 1;
            }
            (Some(_), "```") => block = None,
            (Some(stage), line) => stage.line(line).unwrap_or_else(|wrong| {
                panic!("docs/market.md, line {}: `{line}`\n{wrong}", index + 1);
            }),
            (None, _) => {}
        }
    }
    assert!(block.is_none(), "a block is not closed");
    assert!(count >= 15, "only {count} blocks were found");
}

/// What one block has built up.
struct Stage {
    market: Option<Auctioneer>,
    now: Timestamp,
    receipts: u8,
    problem: Problem,
    host: Option<HostPrediction>,
    many: Vec<(f64, PriceForecast)>,
    /// The last charge of each pool, line by line.
    lines: BTreeMap<String, Vec<ChargeLine>>,
}

impl Stage {
    fn new() -> Self {
        Self {
            market: None,
            now: Timestamp::from_seconds(1_760_000_000),
            receipts: 0,
            problem: Problem::default(),
            host: None,
            many: Vec::new(),
            lines: BTreeMap::new(),
        }
    }

    /// Does one line; `Err` says what came out instead.
    fn line(&mut self, line: &str) -> Result<(), String> {
        let (command, expected) = match line.rsplit_once(" = ") {
            Some((command, expected)) => (command, Some(expected)),
            None => (line, None),
        };
        let words: Vec<&str> = command.split_whitespace().collect();
        let (&verb, rest) = words.split_first().ok_or("an empty line")?;
        match expected {
            None => self.act(verb, rest),
            Some(expected) => {
                let found = self.ask(verb, rest)?;
                if found == expected { Ok(()) } else { Err(format!("expected {expected}, found {found}")) }
            }
        }
    }

    fn act(&mut self, verb: &str, rest: &[&str]) -> Result<(), String> {
        match (verb, rest) {
            ("host", sales) => {
                self.market = Some(host(sales, self.now)?);
                Ok(())
            }
            ("respond", [budget, hosts @ ..]) => {
                let offer = |pair: &&str| -> Result<HostOffer, String> {
                    let (weight, price) = pair.split_once(':').ok_or("weight:price")?;
                    Ok(HostOffer::new(number(weight)?, number(price)?))
                };
                self.problem =
                    Problem { budget: number(budget)?, hosts: hosts.iter().map(offer).collect::<Result<_, _>>()? };
                Ok(())
            }
            ("predict", [capacity, mean, deviation]) => {
                let price = PriceForecast::new(number(mean)?, number(deviation)?).map_err(|error| error.to_string())?;
                self.host = Some(HostPrediction { capacity: number(capacity)?, price, model: PriceModel::Normal });
                Ok(())
            }
            ("shape", [skewness, kurtosis]) => {
                let host = self.host.as_mut().ok_or("a `predict` line must come first")?;
                let shaped = host.price.clone().with_shape(number(skewness)?, Some(number(kurtosis)?));
                host.price = shaped.map_err(|error| error.to_string())?;
                Ok(())
            }
            ("many", [count, capacity, mean, deviation]) => {
                let price = PriceForecast::new(number(mean)?, number(deviation)?).map_err(|error| error.to_string())?;
                let count: usize = count.parse().map_err(|_| "a number of hosts")?;
                self.many = vec![(number(capacity)?, price); count];
                Ok(())
            }
            ("wait", [time, used @ ..]) => {
                let usage = used.iter().map(|pair| {
                    let (pool, seconds) = pair.split_once('=').ok_or("pool=seconds")?;
                    let seconds: u64 = seconds.parse().map_err(|_| "seconds")?;
                    Ok((account(pool), Usage { cpu_time: TimeSpan::from_seconds(seconds), ..Usage::default() }))
                });
                let usage = usage.collect::<Result<_, String>>()?;
                self.now = self.now.plus(duration(time, self.now)?);
                self.apply(Event::Tick { usage, downtime_limit: None }).map_err(|refusal| refusal.to_string())
            }
            _ => self.call(verb, rest)?.map_err(|refusal| format!("refused: {refusal}")),
        }
    }

    /// A call that may be refused.
    fn call(&mut self, verb: &str, rest: &[&str]) -> Result<Result<(), Refusal>, String> {
        match (verb, rest) {
            ("fund", [pool, amount]) => {
                self.receipts += 1;
                let amount = credits(amount)?;
                let receipt = EscrowId::from_bytes([self.receipts; 16]);
                let opened = self.apply(Event::Open { account: account(pool) });
                let fund = Event::Fund { account: account(pool), receipt, amount, highest_rate: None };
                Ok(opened.and_then(|()| self.apply(fund)))
            }
            ("bid", [pool, text @ ..]) => {
                let old = self.view(pool)?.bid;
                let change = BidChange::parse(&text.join(" "), self.now).map_err(|error| error.to_string())?;
                let bid: Bid = change.apply(old.as_ref()).map_err(|error| error.to_string())?;
                Ok(self.apply(Event::Bid { account: account(pool), bid }))
            }
            ("refund", [pool, amount]) => {
                let amount = credits(amount)?;
                Ok(self.apply(Event::Refund { account: account(pool), amount }))
            }
            ("quote", [pool, time, minima @ ..]) => {
                let minima = minima.iter().map(|pair| {
                    let (name, amount) = pair.split_once('=').ok_or("resource=amount")?;
                    quantity(name, amount)
                });
                let minima = minima.collect::<Result<_, String>>()?;
                let valid_for = duration(time, self.now)?;
                Ok(self.apply(Event::Quote { account: account(pool), minima, valid_for }))
            }
            _ => Err(format!("there is no `{verb}` with {} words", rest.len())),
        }
    }

    fn ask(&mut self, verb: &str, rest: &[&str]) -> Result<String, String> {
        Ok(match (verb, rest) {
            ("refused", [call, words @ ..]) => match self.call(call, words)? {
                Ok(()) => "nothing".to_owned(),
                Err(refusal) => refusal.code().to_owned(),
            },
            ("rate", [pool, name]) => per_hour(self.view(pool)?.rates.get(&kind(name)?)),
            ("pays", [pool, name]) => per_hour(self.view(pool)?.paid.get(&kind(name)?)),
            ("share", [pool, name]) => {
                let share = self.view(pool)?.allocation.get(&kind(name)?).copied().unwrap_or_default();
                show(kind(name)?, share)
            }
            ("available", [name]) => show(kind(name)?, self.market()?.offers()[&kind(name)?].available),
            ("price", [name]) => per_hour(Some(&self.market()?.offers()[&kind(name)?].price)),
            ("charged", [pool]) => self.view(pool)?.charged.rounded(2),
            ("balance", [pool]) => self.view(pool)?.balance.rounded(2),
            ("contingency", [pool]) => self.view(pool)?.contingency.rounded(2),
            ("text", [pool]) => self.view(pool)?.bid.as_ref().map(show_bid).unwrap_or_default(),
            ("state", [pool]) => match self.view(pool)?.state {
                AccountState::Idle => "idle",
                AccountState::Waiting => "waiting",
                AccountState::Active => "active",
                AccountState::Warned { .. } => "warned",
                AccountState::Stopped { .. } => "stopped",
            }
            .to_owned(),
            ("holds", [pool]) => {
                let held: Vec<String> = self.view(pool)?.unique.values().map(ToString::to_string).collect();
                if held.is_empty() { "nothing".to_owned() } else { held.join(" ") }
            }
            ("unique", [address]) => {
                let id = UniqueId::Address(address.parse().map_err(|_| "an address")?);
                let offers = self.market()?.unique_offers();
                per_hour(offers.values().find_map(|offer| offer.held.get(&id)))
            }
            ("line", [pool, item]) => {
                let lines = self.lines.get(*pool).map(Vec::as_slice).unwrap_or_default();
                let line = lines.iter().find(|line| match line.item {
                    ChargeFor::Bid(kind) => kind.word() == *item,
                    ChargeFor::TopUp(kind) => item.strip_prefix("minimum-") == Some(kind.word()),
                    ChargeFor::BeyondShare => *item == "beyond",
                    ChargeFor::Unique => *item == "unique",
                    ChargeFor::Closing => false,
                });
                let line = line.ok_or_else(|| format!("no such line in {lines:?}"))?;
                let (rate, time) = (per_hour(Some(&line.rate)), line.time.seconds_f64());
                format!(
                    "{} of {} CPU at {rate} for {time} s: {}",
                    line.used.cpus(),
                    line.share.cpus(),
                    line.amount.rounded(2)
                )
            }
            ("offered", [name]) => {
                let kind = UniqueKind::from_word(name).ok_or("a kind of unique resources")?;
                let states = self.market()?.unique_states(kind).into_iter().map(|state| {
                    let range =
                        if state.first == state.last { 1 } else { state.last.number() - state.first.number() + 1 };
                    format!("{range} {:?}", state.standing)
                });
                states.collect::<Vec<_>>().join(", ")
            }
            (way @ ("each" | "together"), [budget, probability]) => {
                let (budget, probability) = (number(budget)?, number(probability)?);
                let market = ManyHostsPrediction { hosts: self.many.clone(), model: PriceModel::MaximumEntropy };
                let found = if way == "each" {
                    market.performance(budget, probability)
                } else {
                    let joint = JointPrediction::new(&market, &mut ChaCha8Rng::seed_from_u64(1));
                    joint.and_then(|joint| joint.performance(budget, probability))
                };
                format!("{:.2}", found.map_err(|error| error.to_string())?)
            }
            ("bids", []) => list(&self.solution()?.bids),
            ("shares", []) => list(&self.solution()?.shares),
            ("utility", []) => format!("{:.6}", self.solution()?.utility),
            ("lambda", []) => format!("{:.6}", self.solution()?.lambda),
            ("budget", [utility]) => {
                let budget = budget_for(number(utility)?, &self.problem.hosts).map_err(|error| error.to_string())?;
                format!("{budget:.6}")
            }
            ("deadline", [work, time]) => {
                let budget = budget_for_deadline(number(work)?, number(time)?, &self.problem.hosts);
                format!("{:.6}", budget.map_err(|error| error.to_string())?)
            }
            ("most", [count]) => {
                let count = count.parse().map_err(|_| "a number of hosts")?;
                let found = solve_with_max_hosts(&self.problem, count, 1000).map_err(|error| error.to_string())?;
                assert!(found.is_optimal);
                let used = found.solution.bids.iter().filter(|bid| **bid > 0.0).count();
                format!("{used} hosts, utility {:.6}", found.solution.utility)
            }
            (model, [performance, probability]) => {
                let known = PriceModel::ALL.into_iter().find(|known| known.word() == model);
                let model = known.ok_or_else(|| format!("there is no `{model}` to ask for"))?;
                let host = self.host.clone().ok_or("a `predict` line must come first")?;
                let price = HostPrediction { model, ..host }.price(number(performance)?, number(probability)?);
                format!("{:.4}", price.map_err(|error| error.to_string())?)
            }
            _ => return Err(format!("there is no `{verb}` to ask for with {} words", rest.len())),
        })
    }

    fn apply(&mut self, event: Event) -> Result<(), Refusal> {
        let market = self.market.as_mut().expect("a `host` line comes first");
        let effects = market.apply(event, self.now)?;
        market.audit().unwrap();
        for effect in effects {
            if let Effect::Charged { account, lines, .. } = effect {
                self.lines.insert(account.pool.to_string(), lines);
            }
        }
        Ok(())
    }

    fn market(&self) -> Result<&Auctioneer, String> {
        self.market.as_ref().ok_or_else(|| "a `host` line must come first".to_owned())
    }

    fn view(&self, pool: &str) -> Result<AccountView, String> {
        self.market()?.account(&account(pool)).ok_or_else(|| format!("`{pool}` has no account"))
    }

    fn solution(&self) -> Result<Solution, String> {
        solve(&self.problem).map_err(|error| error.to_string())
    }
}

/// `CPU=4CPU@9 memory=16GiB IPv4Address=192.0.2.1@3.6`
fn host(sales: &[&str], now: Timestamp) -> Result<Auctioneer, String> {
    let mut config = HostConfig::new(BTreeMap::new(), BTreeMap::new());
    for sale in sales {
        let (name, what) = sale.split_once('=').ok_or("resource=amount@price")?;
        let (amount, price) = what.split_once('@').unwrap_or((what, "0"));
        let base_price = Rate::from_credits_per_hour(number(price)?);
        if let Ok(id) = format!("{name},{amount}").parse::<UniqueId>() {
            let sale = UniqueSale { single: [id].into(), base_price, ..UniqueSale::default() };
            config.unique.insert(id.kind(), sale);
        } else {
            let (kind, capacity) = quantity(name, amount)?;
            config.capacity.insert(kind, capacity);
            config.base_price.insert(kind, base_price);
        }
    }
    if config.capacity.is_empty() {
        config.capacity.insert(ResourceKind::Cpu, Quantity::from_cpus(1));
    }
    Auctioneer::new(config, now).map_err(|error| error.to_string())
}

fn account(pool: &str) -> HostAccountId {
    format!("{}/{pool}", "0f".repeat(16)).parse().unwrap()
}

fn kind(name: &str) -> Result<ResourceKind, String> {
    ResourceKind::from_word(name).ok_or_else(|| format!("`{name}` is no resource"))
}

fn quantity(name: &str, amount: &str) -> Result<(ResourceKind, Quantity), String> {
    match parse_amount(kind(name)?, amount) {
        Some(Amount::Quantity(quantity)) => Ok((kind(name)?, quantity)),
        _ => Err(format!("`{amount}` is no quantity of {name}")),
    }
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn credits(text: &str) -> Result<Credits, String> {
    text.parse().map_err(|_| format!("`{text}` is no amount of credits"))
}

fn duration(text: &str, now: Timestamp) -> Result<TimeSpan, String> {
    parse_duration(text, now).map_err(|error| error.to_string())
}

/// Credits per hour with at most four decimals.
fn per_hour(rate: Option<&Rate>) -> String {
    let text = format!("{:.4}", rate.copied().unwrap_or_default().credits_per_hour());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A quantity in the unit of its price, with at most six decimals.
fn show(kind: ResourceKind, quantity: Quantity) -> String {
    let units = quantity.amount() as f64 / kind.price_unit().amount() as f64;
    let text = format!("{units:.6}");
    format!("{}{}", text.trim_end_matches('0').trim_end_matches('.'), kind.price_unit_word())
}

fn list(numbers: &[f64]) -> String {
    numbers.iter().map(|number| format!("{number:.6}")).collect::<Vec<_>>().join(" ")
}
