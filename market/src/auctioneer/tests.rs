//! The rules of the market of one host, one by one.

use super::*;
use crate::{AccountId, Amount, Bid, PoolName, Preference, PublicKey};

mod bad_input;
mod displacement;
mod one_bid;
mod passing_time;
mod unique;

const SECOND: TimeSpan = TimeSpan::from_seconds(1);
const HOUR: TimeSpan = TimeSpan::from_seconds(3600);
const GIB: u64 = 1 << 30;

fn account(pool: &str) -> HostAccountId {
    let key: PublicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOpKbGxxlR5TWl6mLJ5eMkDZKvQcTZRTB2dUZGw5I00i"
        .parse()
        .or_else(|_| PublicKey::from_bytes([1; 32]))
        .expect("one of them is a key");
    HostAccountId::new(AccountId::of(&key), pool.parse::<PoolName>().unwrap())
}

fn credits(whole: i64) -> Credits {
    Credits::from_whole(whole).unwrap()
}

fn receipt(number: u8) -> EscrowId {
    EscrowId::from_bytes([number; 16])
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_000_000 + seconds)
}

/// A host of 4 CPUs, 16 GiB of memory and 100 GiB of disk; 9 credits per hour for a CPU, nothing for the rest.
fn market() -> Auctioneer {
    let capacity = BTreeMap::from([
        (ResourceKind::Cpu, Quantity::from_cpus(4)),
        (ResourceKind::Memory, Quantity::from_bytes(16 * GIB)),
        (ResourceKind::Disk, Quantity::from_bytes(100 * GIB)),
    ]);
    let base_price = BTreeMap::from([(ResourceKind::Cpu, Rate::from_credits_per_hour(9.0))]);
    Auctioneer::new(HostConfig::new(capacity, base_price), at(0)).unwrap()
}

fn cpu_bid(duration: TimeSpan) -> Bid {
    bid(duration, &[(ResourceKind::Cpu, Preference::new(1.0, Amount::ZERO, Amount::ALL))])
}

fn bid(duration: TimeSpan, preferences: &[(ResourceKind, Preference)]) -> Bid {
    Bid::new(duration, preferences.iter().copied().collect()).unwrap()
}

fn memory(min_gib: u64) -> (ResourceKind, Preference) {
    let amount = Amount::Quantity(Quantity::from_bytes(min_gib * GIB));
    (ResourceKind::Memory, Preference::new(1.0, amount, amount))
}

/// A market with the steps of a test, each checked by the audit.
struct Scene {
    market: Auctioneer,
    now: i64,
}

impl Scene {
    fn new() -> Self {
        Self { market: market(), now: 0 }
    }

    fn try_apply(&mut self, event: Event) -> Result<Vec<Effect>, Refusal> {
        let before = self.market.clone();
        let result = self.market.apply(event, at(self.now));
        if result.is_err() {
            assert_eq!(self.market, before, "a refused event leaves everything as it was");
        }
        self.market.audit().unwrap();
        result
    }

    fn apply(&mut self, event: Event) -> Vec<Effect> {
        self.try_apply(event).unwrap()
    }

    fn fund(&mut self, pool: &str, number: u8, whole: i64) -> Vec<Effect> {
        self.apply(Event::Open { account: account(pool) });
        self.apply(Event::Fund {
            account: account(pool),
            receipt: receipt(number),
            amount: credits(whole),
            highest_rate: None,
        })
    }

    fn bid(&mut self, pool: &str, bid: Bid) -> Result<Vec<Effect>, Refusal> {
        self.try_apply(Event::Bid { account: account(pool), bid })
    }

    /// Time passes and the accounts named use so many seconds of CPU.
    fn tick(&mut self, seconds: i64, used: &[(&str, u64)]) -> Vec<Effect> {
        self.now += seconds;
        let usage = |cpu| Usage { cpu_time: TimeSpan::from_seconds(cpu), ..Usage::default() };
        let usage = used.iter().map(|(pool, cpu)| (account(pool), usage(*cpu))).collect();
        self.apply(Event::Tick { usage, downtime_limit: None })
    }

    fn view(&self, pool: &str) -> AccountView {
        self.market.account(&account(pool)).unwrap()
    }

    fn share(&self, pool: &str, kind: ResourceKind) -> Quantity {
        self.view(pool).allocation.get(&kind).copied().unwrap_or_default()
    }
}

#[test]
fn the_rate_is_funds_over_duration_by_weight() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 36);
    let preferences = [
        (ResourceKind::Cpu, Preference::new(3.0, Amount::ZERO, Amount::ALL)),
        (ResourceKind::Memory, Preference::new(1.0, Amount::ZERO, Amount::ALL)),
    ];
    scene.bid("pool", bid(HOUR, &preferences)).unwrap();
    let view = scene.view("pool");
    assert_eq!(view.rates[&ResourceKind::Cpu], Rate::from_credits_per_hour(27.0));
    assert_eq!(view.rates[&ResourceKind::Memory], Rate::from_credits_per_hour(9.0));
    assert_eq!(view.expires_at, Some(at(3600)));
    // p·R is 36 credits per hour, so that CPU is shared 27 to 36; memory has no base price.
    assert_eq!(view.allocation[&ResourceKind::Cpu], Quantity::new(4_000_000 * 27 / 63));
    assert_eq!(view.allocation[&ResourceKind::Memory], Quantity::from_bytes(16 * GIB));
}

#[test]
fn who_uses_the_share_pays_the_bid_and_who_does_not_a_tenth() {
    let mut scene = Scene::new();
    for (pool, number) in [("busy", 1), ("half", 2), ("idle", 3)] {
        scene.fund(pool, number, 36);
        scene.bid(pool, cpu_bid(HOUR)).unwrap();
    }
    // 36 of 144 credits per hour: one CPU each.
    assert_eq!(scene.share("busy", ResourceKind::Cpu), Quantity::from_cpus(1));
    scene.tick(600, &[("busy", 600), ("half", 300)]);
    assert_eq!(scene.view("busy").charged.rounded(4), "6.0000");
    assert_eq!(scene.view("half").charged.rounded(4), "3.0000");
    assert_eq!(scene.view("idle").charged.rounded(4), "0.6000");
}

#[test]
fn cpu_beyond_the_share_costs_the_base_price() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 36);
    scene.bid("pool", cpu_bid(HOUR)).unwrap();
    assert_eq!(scene.share("pool", ResourceKind::Cpu), Quantity::from_cpus(2));
    // Half an hour of 3 CPUs: half of the bid of 36 per hour, and half an hour of one CPU at 9 per hour.
    scene.tick(1800, &[("pool", 5400)]);
    assert_eq!(scene.view("pool").charged.rounded(4), "22.5000");
}

#[test]
fn memory_and_disk_are_used_when_they_are_reserved() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 10);
    scene.bid("pool", bid(HOUR, &[memory(4)])).unwrap();
    scene.tick(360, &[]);
    assert_eq!(scene.view("pool").charged.rounded(4), "1.0000");
}

#[test]
fn a_receipt_counts_once() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 10);
    let before = scene.market.clone();
    assert_eq!(scene.fund("pool", 1, 10), [], "the second time nothing happens");
    assert_eq!(scene.market, before);
    scene.apply(Event::Open { account: account("other") });
    let mut fund = |pool: &str, whole| {
        let (account, receipt, amount) = (account(pool), receipt(1), credits(whole));
        scene.try_apply(Event::Fund { account, receipt, amount, highest_rate: None })
    };
    assert!(matches!(fund("pool", 11), Err(Refusal::ReceiptDiffers { .. })));
    assert!(matches!(fund("other", 10), Err(Refusal::ReceiptUsed(_))));
    scene.apply(Event::Close { account: account("pool") });
    scene.apply(Event::Open { account: account("pool") });
    let again = Event::Fund { account: account("pool"), receipt: receipt(1), amount: credits(10), highest_rate: None };
    assert_eq!(scene.try_apply(again), Err(Refusal::ReceiptUsed(receipt(1))), "not even after closing");
}

#[test]
fn charges_take_the_oldest_money_and_refunds_the_newest() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 2);
    scene.fund("pool", 2, 10);
    scene.bid("pool", bid(HOUR, &[memory(4)])).unwrap();
    let effects = scene.tick(900, &[]);
    let totals = |number, funded, drawn: i64, released| ReceiptTotals {
        receipt: receipt(number),
        funded: credits(funded),
        drawn: Credits::from_micros(drawn),
        released: credits(released),
    };
    let charged = effects.iter().find_map(|effect| match effect {
        Effect::Charged { account: id, amount, receipts, lines } if *id == account("pool") => {
            Some((*amount, receipts.clone(), lines.clone()))
        }
        _ => None,
    });
    let (amount, receipts, lines) = charged.unwrap();
    assert_eq!(amount, Credits::from_micros(2_999_999));
    assert_eq!(receipts, [totals(1, 2, 2_000_000, 0), totals(2, 10, 999_999, 0)]);
    let [line] = lines.as_slice() else { panic!("one thing was paid: {lines:?}") };
    assert_eq!(
        (line.item, line.time, line.amount),
        (ChargeFor::Bid(ResourceKind::Memory), TimeSpan::from_seconds(900), amount)
    );
    assert_eq!((line.rate, line.until), (scene.view("pool").rates[&ResourceKind::Memory], at(900)));
    let effects = scene.apply(Event::Refund { account: account("pool"), amount: credits(4) });
    assert!(effects.contains(&Effect::Refunded {
        account: account("pool"),
        amount: credits(4),
        receipts: vec![totals(2, 10, 999_999, 4)],
    }));
    let effects = scene.apply(Event::Close { account: account("pool") });
    let Some(Effect::Closed { receipts, .. }) = effects.last() else { panic!("{effects:?}") };
    let end: Vec<_> = receipts.iter().map(|totals| totals.left()).collect();
    assert_eq!(end, [Credits::ZERO; 2], "everything is drawn or released");
    assert_eq!(scene.market.receipt(receipt(2)).unwrap().1.released, Credits::from_micros(9_000_001));
}

#[test]
fn the_same_bid_again_changes_nothing() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 10);
    scene.bid("pool", cpu_bid(HOUR)).unwrap();
    scene.tick(600, &[("pool", 60)]);
    let before = scene.market.clone();
    scene.now += 5;
    assert_eq!(scene.bid("pool", cpu_bid(HOUR)), Ok(vec![]));
    assert_eq!(scene.market, before);
    let other = cpu_bid(TimeSpan::from_seconds(7200));
    scene.bid("pool", other).unwrap();
    assert_eq!(scene.view("pool").expires_at, Some(at(605 + 7200)), "another bid starts its time anew");
}

#[test]
fn funding_spreads_all_money_over_the_bids_duration_again() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 10);
    scene.bid("pool", bid(HOUR, &[memory(4)])).unwrap();
    scene.tick(1800, &[]);
    scene.fund("pool", 2, 15);
    let view = scene.view("pool");
    assert_eq!(view.rate.to_string(), "20.0000/h");
    assert_eq!(view.expires_at, Some(at(1800 + 3600)));
}

#[test]
fn nobody_stops_her_own_domains_by_a_call() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 10);
    scene.bid("pool", bid(HOUR, &[memory(4)])).unwrap();
    let all = Event::Refund { account: account("pool"), amount: credits(10) };
    assert_eq!(scene.try_apply(all), Err(Refusal::WouldStop(Reason::OutOfFunds)));
    let more = Event::Refund { account: account("pool"), amount: credits(11) };
    assert!(matches!(scene.try_apply(more), Err(Refusal::NotSoMuch { .. })));
    let too_large = scene.bid("pool", bid(HOUR, &[memory(17)]));
    assert!(matches!(too_large, Err(Refusal::NotAvailable { kind: ResourceKind::Memory, .. })), "{too_large:?}");
    assert_eq!(scene.view("pool").state, AccountState::Active);
    scene.apply(Event::Close { account: account("pool") });
    assert_eq!(scene.market.account(&account("pool")), None, "only closing does");
}

#[test]
fn a_bid_below_what_the_domains_have_is_refused() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 10);
    scene.bid("pool", bid(HOUR, &[memory(4)])).unwrap();
    scene.now += 10;
    let usage = Usage { memory: Quantity::from_bytes(3 * GIB), ..Usage::default() };
    scene.apply(Event::Tick { usage: BTreeMap::from([(account("pool"), usage)]), downtime_limit: None });
    assert!(scene.bid("pool", bid(HOUR, &[memory(3)])).is_ok());
    assert!(matches!(scene.bid("pool", bid(HOUR, &[memory(2)])), Err(Refusal::BelowUse { .. })));
}

#[test]
fn money_that_brings_a_bid_below_what_the_domains_have_into_force_is_refused() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 1);
    scene.bid("pool", bid(HOUR, &[memory(4)])).unwrap();
    scene.now += 3600;
    let usage = Usage { memory: Quantity::from_bytes(3 * GIB), ..Usage::default() };
    scene.apply(Event::Tick { usage: BTreeMap::from([(account("pool"), usage)]), downtime_limit: None });
    assert!(matches!(scene.view("pool").state, AccountState::Warned { .. }), "its money is used up");
    // Without money the bid has no effect, and in her grace she keeps what she has.
    scene.bid("pool", bid(HOUR, &[memory(2)])).unwrap();
    assert_eq!(scene.share("pool", ResourceKind::Memory), Quantity::from_bytes(4 * GIB));
    let fund = |number| Event::Fund {
        account: account("pool"),
        receipt: receipt(number),
        amount: credits(1),
        highest_rate: None,
    };
    let (used, share) = (Quantity::from_bytes(3 * GIB), Quantity::from_bytes(2 * GIB));
    assert_eq!(scene.try_apply(fund(2)), Err(Refusal::BelowUse { kind: ResourceKind::Memory, used, share }));
    // The same money is welcome for a bid that leaves them what they have.
    scene.bid("pool", bid(HOUR, &[memory(3)])).unwrap();
    scene.apply(fund(2));
    assert_eq!(scene.view("pool").state, AccountState::Active);
}

#[test]
fn a_refund_that_leaves_less_than_the_domains_have_is_refused() {
    let mut scene = Scene::new();
    for (pool, number) in [("pool", 1), ("other", 2)] {
        scene.fund(pool, number, 10);
        let memory = Preference::new(1.0, Amount::Quantity(Quantity::from_bytes(GIB)), Amount::ALL);
        scene.bid(pool, bid(HOUR, &[(ResourceKind::Memory, memory)])).unwrap();
    }
    assert_eq!(scene.share("pool", ResourceKind::Memory), Quantity::from_bytes(8 * GIB));
    let usage = Usage { memory: Quantity::from_bytes(6 * GIB), ..Usage::default() };
    scene.apply(Event::Tick { usage: BTreeMap::from([(account("pool"), usage)]), downtime_limit: None });
    let refund = |whole| Event::Refund { account: account("pool"), amount: credits(whole) };
    assert!(matches!(scene.try_apply(refund(8)), Err(Refusal::BelowUse { kind: ResourceKind::Memory, .. })));
    scene.apply(refund(2));
    assert!(scene.share("pool", ResourceKind::Memory) > Quantity::from_bytes(7 * GIB));
}

#[test]
fn the_contingency_is_set_aside_and_defends_the_minima_first() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 90);
    let cpu =
        Preference { contingency: 0.2, ..Preference::new(1.0, Amount::Quantity(Quantity::from_cpus(2)), Amount::ALL) };
    scene.bid("pool", bid(TimeSpan::from_seconds(10 * 3600), &[(ResourceKind::Cpu, cpu)])).unwrap();
    let view = scene.view("pool");
    assert_eq!(view.contingency, credits(18));
    assert_eq!(view.rate.to_string(), "7.2000/h", "only the rest is bid");
    // 7.2 of 43.2 per hour is 2/3 of a CPU. One costs 10.8 per hour, so two cost 21.6: 14.4 more than is bid.
    assert_eq!(view.allocation[&ResourceKind::Cpu], Quantity::from_cpus(2));
    assert_eq!(view.paid[&ResourceKind::Cpu].to_string(), "21.6000/h");
    scene.tick(3600, &[("pool", 7200)]);
    let view = scene.view("pool");
    assert_eq!(view.charged.rounded(3), "21.600");
    assert_eq!(view.contingency.rounded(3), "3.600");
    scene.tick(3600, &[("pool", 7200)]);
    let view = scene.view("pool");
    assert_eq!(view.contingency, Credits::ZERO, "when it is used up the bid's own funds pay");
    assert_eq!(view.charged.rounded(3), "43.200");
    scene.fund("pool", 2, 10);
    assert_eq!(scene.view("pool").contingency, Credits::ZERO, "only a changed bid sets aside anew");
}

#[test]
fn the_host_draws_no_faster_than_the_escrow_allows() {
    let mut scene = Scene::new();
    scene.apply(Event::Open { account: account("pool") });
    let highest_rate = Some(Rate::from_credits_per_hour(2.0));
    let fund = Event::Fund { account: account("pool"), receipt: receipt(1), amount: credits(10), highest_rate };
    scene.apply(fund);
    scene.bid("pool", cpu_bid(HOUR)).unwrap();
    assert_eq!(scene.view("pool").rate.to_string(), "2.0000/h");
    scene.tick(3600, &[("pool", 4 * 3600)]);
    assert!(scene.view("pool").charged <= credits(2));
    let dear = Preference::new(1.0, Amount::Quantity(Quantity::from_cpus(3)), Amount::ALL);
    let refused = scene.bid("pool", bid(HOUR, &[(ResourceKind::Cpu, dear)]));
    assert!(refused.is_err(), "three CPUs cost at least 27 per hour: {refused:?}");
}

#[test]
fn the_bank_may_end_an_escrow() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 10);
    scene.bid("pool", bid(HOUR, &[memory(4)])).unwrap();
    scene.tick(360, &[]);
    let end = Event::EndReceipt { account: account("pool"), receipt: receipt(1) };
    let effects = scene.apply(end.clone());
    assert!(matches!(effects[1], Effect::Warn { reason: Reason::OutOfFunds, .. }), "{effects:?}");
    let view = scene.view("pool");
    assert_eq!((view.balance, view.refunded.rounded(3)), (Credits::ZERO, "9.000".to_owned()));
    assert_eq!(scene.apply(end), [], "it ends once");
}

#[test]
fn a_quote_holds_minima_at_no_more_than_its_price() {
    let mut scene = Scene::new();
    let minima = BTreeMap::from([
        (ResourceKind::Memory, Quantity::from_bytes(12 * GIB)),
        (ResourceKind::Cpu, Quantity::from_cpus(1)),
    ]);
    let valid_for = TimeSpan::from_seconds(60);
    let effects = scene.apply(Event::Quote { account: account("quoted"), minima, valid_for });
    let [Effect::Quoted { quote, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(quote.rate.to_string(), "9.0000/h");
    assert_eq!(quote.valid_until, at(60));
    assert_eq!(scene.market.offers()[&ResourceKind::Memory].available, Quantity::from_bytes(4 * GIB));

    scene.now = 10;
    scene.fund("rival", 1, 100);
    assert!(matches!(scene.bid("rival", bid(HOUR, &[memory(5)])), Err(Refusal::NotAvailable { .. })));
    let rival = [memory(4), (ResourceKind::Cpu, Preference::new(1.0, Amount::ZERO, Amount::ALL))];
    scene.bid("rival", bid(HOUR, &rival)).unwrap();

    scene.now = 20;
    scene.fund("quoted", 2, 100);
    let cpu = Amount::Quantity(Quantity::from_cpus(1));
    let quoted = [memory(12), (ResourceKind::Cpu, Preference::new(1e-6, cpu, cpu))];
    scene.bid("quoted", bid(TimeSpan::from_seconds(360_000), &quoted)).unwrap();
    assert_eq!(scene.view("quoted").paid[&ResourceKind::Cpu].to_string(), "9.0000/h", "not the rival's price");
    scene.tick(60, &[]);
    let paid = scene.view("quoted").paid[&ResourceKind::Cpu];
    assert_eq!(paid.to_string(), "21.5000/h", "when it has run out, the market's");
    assert_eq!(scene.market.offers()[&ResourceKind::Cpu].price.to_string(), paid.to_string());
}

#[test]
fn a_quote_that_is_not_used_runs_out() {
    let mut scene = Scene::new();
    let minima = BTreeMap::from([(ResourceKind::Memory, Quantity::from_bytes(12 * GIB))]);
    let quote = |valid_for| Event::Quote { account: account("quoted"), minima: minima.clone(), valid_for };
    scene.apply(quote(HOUR));
    assert_eq!(scene.market.quote_of(&account("quoted")).unwrap().valid_until, at(120), "the host's longest time");
    scene.apply(Event::ReleaseQuote { account: account("quoted") });
    assert_eq!(scene.market.quote_of(&account("quoted")), None);
    scene.apply(quote(SECOND));
    scene.tick(2, &[]);
    assert_eq!(scene.market.quote_of(&account("quoted")), None);
    assert_eq!(scene.try_apply(quote(TimeSpan::ZERO)), Err(Refusal::EmptyQuote));
}

#[test]
fn a_preview_is_what_then_happens() {
    let mut scene = Scene::new();
    scene.fund("first", 1, 36);
    scene.bid("first", cpu_bid(HOUR)).unwrap();
    let before = scene.market.clone();
    let preview = scene.market.preview(&account("second"), cpu_bid(HOUR), credits(72)).unwrap();
    assert_eq!(scene.market, before);
    scene.fund("second", 2, 72);
    scene.bid("second", cpu_bid(HOUR)).unwrap();
    let view = scene.view("second");
    assert_eq!(preview.account.allocation, view.allocation);
    assert_eq!(preview.account.rate, view.rate);
    assert_eq!(view.allocation[&ResourceKind::Cpu], Quantity::from_cpus(2));
}

#[test]
fn a_draining_host_admits_nobody_and_keeps_who_runs() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 10);
    scene.bid("pool", cpu_bid(HOUR)).unwrap();
    scene.apply(Event::Open { account: account("late") });
    scene.apply(Event::SetDraining { draining: true });
    assert_eq!(scene.bid("late", cpu_bid(HOUR)), Err(Refusal::Draining));
    assert_eq!(scene.try_apply(Event::Open { account: account("later") }), Err(Refusal::Draining));
    assert!(scene.bid("pool", cpu_bid(TimeSpan::from_seconds(60))).is_ok());
}

#[test]
fn what_is_not_sold_or_not_right_is_refused() {
    let mut scene = Scene::new();
    let unknown = scene.bid("pool", cpu_bid(HOUR));
    assert!(matches!(unknown, Err(Refusal::AccountUnknown(_))));
    scene.fund("pool", 1, 10);
    let network = (ResourceKind::NetworkIn, Preference::new(1.0, Amount::ZERO, Amount::ALL));
    assert_eq!(scene.bid("pool", bid(HOUR, &[network])), Err(Refusal::NotSold(ResourceKind::NetworkIn)));
    let mixed = Preference::new(1.0, Amount::Fraction(0.5), Amount::Quantity(Quantity::from_cpus(1)));
    let refused = scene.bid("pool", bid(HOUR, &[(ResourceKind::Cpu, mixed)]));
    assert!(matches!(refused, Err(Refusal::MinAboveMax { .. })), "half of 4 CPUs is more than one: {refused:?}");
    for amount in [Credits::ZERO, credits(-1)] {
        let refund = Event::Refund { account: account("pool"), amount };
        assert_eq!(scene.try_apply(refund), Err(Refusal::NotAnAmount(amount)));
    }
    let huge = Event::Fund { account: account("pool"), receipt: receipt(9), amount: Credits::MAX, highest_rate: None };
    assert_eq!(scene.try_apply(huge), Err(Refusal::TooMuchMoney));
}

#[test]
fn the_state_survives_json() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 10);
    let third = Preference { contingency: 1.0 / 3.0, ..Preference::new(0.1, Amount::Fraction(0.1), Amount::ALL) };
    scene.bid("pool", bid(HOUR, &[(ResourceKind::Cpu, third), memory(4)])).unwrap();
    scene.tick(7, &[("pool", 3)]);
    scene.now += 2;
    scene.fund("pool", 2, 10);
    let json = serde_json::to_string(&scene.market).unwrap();
    assert_eq!(serde_json::from_str::<Auctioneer>(&json).unwrap(), scene.market);
    let value = serde_json::to_value(&scene.market).unwrap();
    assert_eq!(serde_json::from_value::<Auctioneer>(value).unwrap(), scene.market);
}

/// Every charge is explained: what was used of which share, at which rate, for how long.
#[test]
fn the_lines_of_a_charge_say_what_it_is_made_of() {
    let mut scene = Scene::new();
    scene.fund("pool", 1, 36);
    scene.bid("pool", cpu_bid(HOUR)).unwrap();
    let line_of = |effects: Vec<Effect>| {
        let lines = effects.into_iter().find_map(|effect| match effect {
            Effect::Charged { lines, amount, .. } => Some((lines, amount)),
            _ => None,
        });
        lines.unwrap()
    };
    // 36 credits per hour buy 2 CPUs; half of them are used for ten minutes.
    let (lines, amount) = line_of(scene.tick(600, &[("pool", 600)]));
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].share, lines[0].used), (Quantity::from_cpus(2), Quantity::from_cpus(1)));
    assert_eq!((lines[0].rate, lines[0].amount), (Rate::from_credits_per_hour(36.0), amount));
    assert_eq!(amount, credits(3));
    // Three CPUs are used: one beyond the share, at the base price of 9 per hour.
    let (lines, amount) = line_of(scene.tick(600, &[("pool", 1800)]));
    assert_eq!(
        lines.iter().map(|line| line.item).collect::<Vec<_>>(),
        [ChargeFor::Bid(ResourceKind::Cpu), ChargeFor::BeyondShare]
    );
    assert_eq!((lines[1].used, lines[1].rate), (Quantity::from_cpus(1), Rate::from_credits_per_hour(9.0)));
    assert_eq!(lines[1].amount, Credits::from_micros(1_500_000));
    assert_eq!(Credits::checked_sum(lines.iter().map(|line| line.amount)), Some(amount));
    // A call in between: what passed until then is settled at the next tick, in one line with its own time.
    scene.now += 100;
    scene.apply(Event::SetDraining { draining: true });
    let (lines, amount) = line_of(scene.tick(200, &[("pool", 600)]));
    assert_eq!(Credits::checked_sum(lines.iter().map(|line| line.amount)), Some(amount));
    assert_eq!(lines[0].time, TimeSpan::from_seconds(300), "both stretches, which were alike, are one line");
}

/// However many things change at once, the lines are bounded and still add up.
#[test]
fn many_lines_become_averages() {
    let line = |index: u64| ChargeLine {
        item: ChargeFor::Bid(ResourceKind::Cpu),
        until: at(index as i64),
        time: TimeSpan::from_seconds(1),
        rate: Rate::from_picos_per_second(index),
        share: Quantity::new(index),
        used: Quantity::new(index),
        amount: Credits::from_micros(index as i64),
        is_average: false,
    };
    let mut lines = Vec::new();
    for index in 0..1_000 {
        crate::auctioneer::add_line(&mut lines, line(index));
    }
    assert_eq!(lines.len(), 64);
    assert_eq!(Credits::checked_sum(lines.iter().map(|line| line.amount)), Some(Credits::from_micros(499_500)));
    let last = lines.last().unwrap();
    assert!(last.is_average && last.time == TimeSpan::from_seconds(1_000 - 63) && last.until == at(999));
}

/// The escrows' highest rate holds for all resources together, also where calls come between two ticks.
#[test]
fn the_highest_rate_limits_all_resources_together() {
    let mut scene = Scene::new();
    scene.apply(Event::Open { account: account("pool") });
    let highest_rate = Some(Rate::from_credits_per_hour(36.0));
    scene.apply(Event::Fund { account: account("pool"), receipt: receipt(1), amount: credits(360), highest_rate });
    let preferences = [
        (ResourceKind::Cpu, Preference::new(1.0, Amount::ZERO, Amount::ALL)),
        (ResourceKind::Memory, Preference::new(1.0, Amount::ZERO, Amount::ALL)),
    ];
    scene.bid("pool", bid(HOUR, &preferences)).unwrap();
    for _ in 0..4 {
        scene.now += 100;
        let draining = !scene.market.is_draining();
        scene.apply(Event::SetDraining { draining });
    }
    scene.tick(200, &[("pool", 4 * 600)]);
    // 600 seconds at 36 credits per hour, however much CPU was used.
    let charged = scene.view("pool").charged;
    assert!(charged <= credits(6) && charged >= Credits::from_micros(5_999_998), "{charged}");
}
