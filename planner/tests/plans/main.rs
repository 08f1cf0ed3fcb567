//! Plans from descriptions and made-up worlds: what is done, where, for how much, in which order, and why not.

mod memory;
mod order;

use std::collections::BTreeMap;

use tycoon_lang::{MemoryLoader, Options, pool::Pool};
use tycoon_market::auctioneer::{AccountState, Reason};
use tycoon_market::ids::EscrowId;
use tycoon_market::{AccountId, Credits, HostId, PublicKey, Quantity, Rate, ResourceKind, TimeSpan, Timestamp};
use tycoon_planner::plan::{Action, Change, Plan};
use tycoon_planner::world::{HostAccountView, HostView, Offer, Unredeemed};
use tycoon_planner::{PlanError, Saving, World, plan_down, plan_up};
use tycoon_xen::restart::RestartAfter;
use tycoon_xen::spec::Ownership;
use tycoon_xen::status::{DomainState, DomainStatus};

const HELLO: &str =
    "pool hello {\n    budget 10 for=\"1h\"\n    domain web count=3 { image \"std:tiny\"; memory \"64MiB\"; }\n}\n";
const HOUR: TimeSpan = TimeSpan::from_seconds(3600);

fn pool(text: &str) -> Pool {
    let loader = MemoryLoader::new().with("pool.kdl", text);
    match tycoon_lang::load("pool.kdl", &loader, &Options::default()) {
        Ok(loaded) => loaded.pool,
        Err(failure) => panic!("{}", failure.to_text()),
    }
}

fn account() -> AccountId {
    let key = PublicKey::from_bytes(*b"\xd7\x5a\x98\x01\x82\xb1\x0a\xb7\xd5\x4b\xfe\xd3\xc9\x64\x07\x3a\x0e\xe1\x72\xf3\xda\xa6\x23\x25\xaf\x02\x1a\x68\xf7\x07\x51\x1a");
    AccountId::of(&key.expect("the key of RFC 8032, test 1"))
}

/// The id of the `number`th host.
fn host_id(number: usize) -> HostId {
    format!("{number:032x}").parse().expect("an id")
}

/// A host with this many CPUs and GiB, at this price of a CPU in credits per hour.
fn host(number: usize, cpus: u64, memory_gib: u64, cpu_price: f64) -> HostView {
    let offer = |capacity, price| Offer {
        capacity,
        available: capacity,
        base_price: Rate::from_credits_per_hour(price),
        others: Rate::ZERO,
    };
    HostView {
        id: host_id(number),
        name: format!("host{number}").parse().expect("a name"),
        is_simulated: true,
        architecture: "x86_64".into(),
        labels: BTreeMap::new(),
        images: vec!["debian-12".into(), "std:tiny".into()],
        offers: BTreeMap::from([
            (ResourceKind::Cpu, offer(Quantity::from_cpus(cpus), cpu_price)),
            (ResourceKind::Memory, offer(Quantity::from_bytes(memory_gib << 30), 0.1)),
            (ResourceKind::Disk, offer(Quantity::from_bytes(500 << 30), 0.001)),
        ]),
        ports: Default::default(),
        is_inspected: true,
        closed: None,
        domains: Vec::new(),
        account: None,
        unredeemed: Vec::new(),
        has_escrow: false,
        fastest: None,
        is_unsettled: false,
    }
}

fn world(hosts: Vec<HostView>) -> World {
    World {
        collected_at: Timestamp::from_seconds(1_000_000),
        account: account(),
        keys: Vec::new(),
        balance: Credits::from_whole(1_000).expect("fits"),
        hosts,
        history: Default::default(),
    }
}

fn three_hosts() -> World {
    world(vec![host(1, 4, 8, 0.5), host(2, 8, 16, 0.6), host(3, 2, 4, 0.3)])
}

/// The world after `plan` was carried out in it: domains run, bids stand, money is where it should be.
fn after(plan: &Plan, mut world: World) -> World {
    for host in &mut world.hosts {
        let here = plan.domains.iter().filter(|domain| domain.host == host.id);
        host.domains = here
            .filter_map(|domain| domain.spec.as_ref())
            .map(|spec| DomainStatus {
                name: spec.path.to_string(),
                ownership: Some(Ownership {
                    account: world.account,
                    pool: plan.pool.clone(),
                    path: spec.path.clone(),
                    generation: plan.generation,
                    digest: spec.digest(),
                }),
                spec: Some(spec.clone()),
                state: DomainState::Running,
                vcpus: spec.vcpus,
                memory_bytes: spec.memory_bytes,
                memory_max_bytes: None,
                volumes: spec.volumes.iter().map(|volume| (volume.name.clone(), volume.size_bytes)).collect(),
                address: None,
                cpu_time: TimeSpan::ZERO,
                weight: 256,
                cap_percent: 0,
                adopted: Vec::new(),
                kept: None,
                restarts: None,
            })
            .collect();
        let Some(planned) = plan.host(&host.id) else { continue };
        if planned.closes {
            host.account = None;
            continue;
        }
        let before = host.account.as_ref().map_or(Credits::ZERO, |account| account.balance);
        let new = planned.escrow.map_or(Credits::ZERO, |escrow| escrow.amount);
        let balance = before.checked_add(new).and_then(|sum| sum.checked_sub(planned.refund)).expect("fits");
        world.balance = world.balance.checked_sub(new).and_then(|sum| sum.checked_add(planned.refund)).expect("fits");
        host.account = Some(HostAccountView {
            state: AccountState::Active,
            opened_at: plan.created_at,
            funded: balance,
            charged: Credits::ZERO,
            balance,
            rate: planned.bid.as_ref().map_or(Rate::ZERO, |bid| bid.rate),
            expires_at: plan.period.map(|period| period.ends_at()),
            minima: planned.minima.clone(),
            allocation: planned.expected.clone(),
        });
        host.unredeemed.clear();
    }
    world.history.parent = Some(plan.id);
    world.history.generation = plan.generation;
    world.history.period = plan.period;
    world.history.placements =
        plan.domains.iter().filter(|domain| domain.spec.is_some()).map(|d| (d.path.clone(), d.host)).collect();
    world
}

fn places(plan: &Plan) -> Vec<(String, String, char)> {
    plan.domains.iter().map(|d| (d.path.to_string(), d.host_name.to_string(), d.change.sign())).collect()
}

fn number_of(plan: &Plan, matches: impl Fn(&Action) -> bool) -> usize {
    plan.steps.iter().position(|step| matches(&step.action)).expect("the plan has such a step")
}

#[test]
fn equal_domains_spread_over_the_hosts_because_shares_get_dearer() {
    let plan = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    let hosts: Vec<String> = places(&plan).into_iter().map(|(_, host, _)| host).collect();
    assert_eq!(hosts, ["host3", "host1", "host2"]);
    assert!(plan.money.escrow <= Credits::from_whole(10).expect("fits"));
}

#[test]
fn the_same_world_gives_the_same_plan_to_the_last_byte() {
    let one = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    let two = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    assert_eq!(one, two);
    let mut later = three_hosts();
    later.collected_at = Timestamp::from_seconds(1_000_001);
    let three = plan_up(&pool(HELLO), &later).expect("a plan");
    assert_ne!(one.id, three.id);
    let escrows = |plan: &Plan| plan.hosts.iter().filter_map(|host| host.escrow.map(|e| e.id)).collect::<Vec<_>>();
    assert_ne!(escrows(&one), escrows(&three), "another plan opens other escrows");
}

#[test]
fn a_world_that_is_as_described_needs_no_step() {
    let pool = pool(HELLO);
    let first = plan_up(&pool, &three_hosts()).expect("a plan");
    let mut world = after(&first, three_hosts());
    assert!(plan_up(&pool, &world).expect("a plan").is_empty());
    world.collected_at = world.collected_at.plus(TimeSpan::from_seconds(1_800));
    assert!(plan_up(&pool, &world).expect("a plan").is_empty(), "half an hour later as well");
}

#[test]
fn money_comes_before_bids_and_bids_before_domains() {
    let plan = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    let escrow = number_of(&plan, |action| matches!(action, Action::OpenEscrow { .. }));
    let fund = number_of(&plan, |action| matches!(action, Action::Fund { .. }));
    let bid = number_of(&plan, |action| matches!(action, Action::Bid { .. }));
    let image = number_of(&plan, |action| matches!(action, Action::EnsureImage { .. }));
    let volumes = number_of(&plan, |action| matches!(action, Action::EnsureVolumes { .. }));
    let start = number_of(&plan, |action| matches!(action, Action::EnsureRunning { .. }));
    assert!(escrow < fund && fund < bid && bid < image && image < volumes && volumes < start);
    let unnamed = EscrowId::from_bytes([0; 16]);
    for step in &plan.steps {
        if let Action::Fund { escrow } = &step.action {
            assert_ne!(*escrow, unnamed, "every escrow has its name");
        }
    }
}

#[test]
fn only_what_differs_changes_and_other_hosts_keep_their_bids() {
    let first = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    let world = after(&first, three_hosts());
    let plan = plan_up(&pool(&HELLO.replace("count=3", "count=4")), &world).expect("a plan");
    assert_eq!(plan.count(|change| *change == Change::Keep), 3);
    assert_eq!(plan.count(|change| *change == Change::Create), 1);
    let changed: Vec<_> =
        plan.hosts.iter().filter(|host| host.bid.as_ref().is_some_and(|bid| bid.bid.is_some())).collect();
    assert_eq!(changed.len(), 1, "one host has a new bid");
    assert_eq!(plan.generation, first.generation + 1);
    assert_eq!(plan.parent, Some(first.id));
}

#[test]
fn a_domain_that_goes_takes_its_money_back() {
    let first = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    let world = after(&first, three_hosts());
    let plan = plan_up(&pool(&HELLO.replace("count=3", "count=2")), &world).expect("a plan");
    assert_eq!(plan.count(|change| *change == Change::Remove), 1);
    let closing: Vec<_> = plan.hosts.iter().filter(|host| host.closes).collect();
    assert_eq!(closing.len(), 1);
    let absent = number_of(&plan, |action| matches!(action, Action::EnsureAbsent { .. }));
    let close = number_of(&plan, |action| matches!(action, Action::CloseAccount));
    assert!(absent < close, "the account is closed when nothing runs on it any more");
    assert!(plan.money.refund > Credits::ZERO);
}

#[test]
fn an_escrow_left_by_an_interrupted_run_is_used_before_new_money() {
    let mut world = three_hosts();
    let whole = plan_up(&pool(HELLO), &world).expect("a plan");
    let left = whole.hosts.iter().find_map(|host| host.escrow.map(|escrow| (host.id, escrow))).expect("an escrow");
    let host = world.hosts.iter_mut().find(|host| host.id == left.0).expect("the host");
    host.unredeemed = vec![Unredeemed { escrow: left.1.id, amount: left.1.amount }];
    let plan = plan_up(&pool(HELLO), &world).expect("a plan");
    let planned = plan.host(&left.0).expect("the host is used");
    assert_eq!(planned.redeem, [left.1.id]);
    assert_eq!(planned.escrow, None, "what is there is enough");
}

#[test]
fn an_escrow_on_a_host_that_is_not_needed_any_more_is_fetched_back() {
    let mut world = three_hosts();
    world.hosts[1].unredeemed =
        vec![Unredeemed { escrow: EscrowId::from_bytes([9; 16]), amount: Credits::from_micros(5_000_000) }];
    let plan = plan_up(&pool(&HELLO.replace("count=3", "count=1")), &world).expect("a plan");
    let left = plan.host(&host_id(2)).expect("the host is in the plan");
    assert!(left.closes && left.redeem.len() == 1, "handed in and closed, so that its money returns");
}

#[test]
fn a_domain_on_a_host_that_does_not_answer_is_not_started_twice() {
    let first = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    let mut world = after(&first, three_hosts());
    let silent = first.domains[0].host;
    let host = world.hosts.iter_mut().find(|host| host.id == silent).expect("the host");
    (host.is_inspected, host.closed) = (false, Some("cannot be asked: no route".into()));
    (host.domains, host.account, host.offers) = (Vec::new(), None, BTreeMap::new());
    let plan = plan_up(&pool(HELLO), &world).expect("a plan");
    assert!(plan.is_empty(), "{:?}", places(&plan));
    let note = "is left as it is, and not started a second time";
    assert!(plan.report.notes.iter().any(|told| told.contains(note)), "{:?}", plan.report.notes);
    let unreached: Vec<_> = plan.report.unreached.iter().map(|host| (host.id, host.why.as_str())).collect();
    assert_eq!(unreached, [(silent, "cannot be asked: no route")], "the pool is not known to be up");
    let down = plan_down(&plan.pool, &world, &Saving::AsAsked).expect("a plan");
    assert_eq!(down.report.unreached, plan.report.unreached, "nor known to be gone");
}

#[test]
fn a_silent_host_matters_where_it_may_hold_something() {
    let mut world = three_hosts();
    (world.hosts[2].is_inspected, world.hosts[2].closed) = (false, Some("cannot be asked: no route".into()));
    assert!(plan_up(&pool(HELLO), &world).expect("a plan").report.unreached.is_empty(), "it never held anything");
    world.hosts[2].has_escrow = true;
    let down = plan_down(&pool(HELLO).name, &world, &Saving::AsAsked).expect("a plan");
    assert_eq!(down.report.unreached.len(), 1, "the bank holds credits of the pool for it");
}

#[test]
fn two_copies_of_a_domain_become_one_again() {
    let first = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    let mut world = after(&first, three_hosts());
    let mut copy = world.hosts[2].domains[0].clone();
    copy.state = DomainState::Stopped;
    world.hosts[1].domains.push(copy);
    let plan = plan_up(&pool(HELLO), &world).expect("a plan");
    let removed: Vec<_> = places(&plan).into_iter().filter(|(_, _, sign)| *sign == '-').collect();
    assert_eq!(removed, [("web.0".to_owned(), "host2".to_owned(), '-')], "the one that runs is kept");
}

#[test]
fn a_bid_for_more_than_is_there_does_not_stand() {
    let first = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    let mut world = after(&first, three_hosts());
    let account = world.hosts[1].account.as_mut().expect("an account");
    account.minima.insert(ResourceKind::Memory, Quantity::from_bytes(1 << 30));
    let plan = plan_up(&pool(HELLO), &world).expect("a plan");
    assert!(!plan.is_empty(), "an interrupted run left a bid that is too large; it is made smaller");
    assert!(plan.steps.iter().any(|step| matches!(step.action, Action::Bid { .. })));
}

#[test]
fn many_machines_fill_large_hosts_before_they_crowd_a_small_one() {
    let hosts = vec![host(1, 4, 8, 0.5), host(2, 8, 16, 0.6), host(3, 2, 4, 0.3), host(4, 16, 64, 1.0)];
    let text = HELLO.replace("count=3", "count=24").replace("budget 10", "budget 500");
    let plan = plan_up(&pool(&text), &world(hosts)).expect("a plan");
    let on = |name: &str| places(&plan).iter().filter(|(_, host, _)| host == name).count();
    assert!(on("host3") <= 2 && on("host4") >= 12, "{} on 2 CPUs, {} on 16", on("host3"), on("host4"));
}

#[test]
fn more_machines_than_cpus_are_spread_evenly_all_the_same() {
    let hosts = vec![host(1, 4, 64, 0.5), host(2, 8, 64, 0.5), host(3, 2, 64, 0.5), host(4, 16, 64, 0.5)];
    let text =
        HELLO.replace("count=3", "count=30").replace("memory", "vcpus 2; memory").replace("budget 10", "budget 900");
    let plan = plan_up(&pool(&text), &world(hosts)).expect("a plan");
    let on = |name: &str| places(&plan).iter().filter(|(_, host, _)| host == name).count();
    assert_eq!((on("host3"), on("host1"), on("host2"), on("host4")), (2, 4, 8, 16));
}

/// The budget that a description would need.
fn budget_needed(text: &str, world: &World) -> Option<Credits> {
    match plan_up(&pool(text), world) {
        Err(PlanError::BudgetTooSmall { needed, .. }) => Some(needed),
        Err(PlanError::NoHost { .. }) => None,
        other => panic!("a budget of a thousandth of a credit would do: {other:?}"),
    }
}

#[test]
fn the_budget_that_would_do_is_that_of_the_cheapest_placement() {
    let world = world(vec![host(1, 4, 8, 0.5), host(2, 8, 16, 0.9), host(3, 4, 4, 0.2)]);
    let poor = |domains: &str| format!("pool hello {{ budget 0.001 for=\"1h\"; {domains} }}");
    let image = "image \"std:tiny\"; memory \"64MiB\"; vcpus 4";
    let free = budget_needed(&poor(&format!("domain web count=9 {{ {image}; }}")), &world).expect("hosts");
    let forced = (0..=9_u32).flat_map(|first| (0..=9 - first).map(move |second| [first, second, 9 - first - second]));
    let cheapest = forced.filter_map(|counts| {
        let hosts = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let hosts = hosts.map(|(number, count)| {
            let name = number + 1;
            format!("host host{name} {{ address \"host{name}\"; domain web{name} count={count} {{ {image}; }} }};")
        });
        budget_needed(&poor(&hosts.collect::<String>()), &world)
    });
    let cheapest = cheapest.min().expect("a placement");
    let (free, cheapest) = (free.micros() as f64, cheapest.micros() as f64);
    assert!((free / cheapest - 1.0).abs() < 0.001, "{free} is not the least, which is {cheapest}");
}

#[test]
fn a_bid_that_others_outbid_is_made_anew_and_an_eviction_is_said() {
    let first = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    let with = |state: AccountState| {
        let mut world = after(&first, three_hosts());
        world.hosts[1].account.as_mut().expect("an account").state = state;
        plan_up(&pool(HELLO), &world).expect("a plan")
    };
    let bids = |plan: &Plan| plan.steps.iter().filter(|step| matches!(step.action, Action::Bid { .. })).count();
    let at = Timestamp::from_seconds(2_000_000);
    assert_eq!(bids(&with(AccountState::Active)), 0);
    assert_eq!(bids(&with(AccountState::Waiting)), 1);
    assert_eq!(bids(&with(AccountState::Warned { reason: Reason::Displaced, stop_at: at })), 1);
    assert_eq!(bids(&with(AccountState::Stopped { reason: Reason::OutOfFunds, delete_at: at })), 1);
    let evicted = with(AccountState::Warned { reason: Reason::Evicted, stop_at: at });
    assert_eq!(bids(&evicted), 0);
    assert!(evicted.report.notes[0].contains("puts the pool out"), "{:?}", evicted.report.notes);
}

#[test]
fn a_stopped_domain_is_started_and_nothing_else() {
    let first = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    let mut world = after(&first, three_hosts());
    world.hosts[0].domains[0].state = DomainState::Crashed;
    let plan = plan_up(&pool(HELLO), &world).expect("a plan");
    assert_eq!(plan.steps.len(), 1);
    assert!(matches!(plan.steps[0].action, Action::EnsureRunning { .. }));
}

#[test]
fn conditions_choose_hosts_and_say_why_not() {
    let mut world = three_hosts();
    world.hosts[1].labels.insert("site".into(), "cern".into());
    let text = HELLO.replace("domain web", "place { require \"host.labels.site == 'cern'\"; }\n    domain web");
    let plan = plan_up(&pool(&text), &world).expect("a plan");
    assert!(places(&plan).iter().all(|(_, host, _)| host == "host2"));
    let why = &plan.report.hosts[0].why;
    assert!(why.contains("host.labels.site"), "{why}");
}

#[test]
fn an_image_that_no_host_has_is_answered_with_those_that_there_are() {
    let error = plan_up(&pool(&HELLO.replace("std:tiny", "debian-13")), &three_hosts()).expect_err("no such image");
    assert!(error.help().contains("(debian-12, std:tiny)"), "{}", error.help());
    let too_large = plan_up(&pool(&HELLO.replace("64MiB", "900GiB")), &three_hosts()).expect_err("too large");
    assert!(too_large.help().contains("ask for less"), "{}", too_large.help());
}

#[test]
fn a_domain_is_not_removed_for_an_image_that_no_host_has() {
    let first = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    let world = after(&first, three_hosts());
    let error = plan_up(&pool(&HELLO.replace("std:tiny", "debian-13")), &world).expect_err("no such image");
    assert!(matches!(error, PlanError::NoHost { .. }) && error.help().contains("debian-12"), "{error:?}");
    let mut world = world;
    world.hosts[1].images.push("debian-13".into());
    let plan = plan_up(&pool(&HELLO.replace("std:tiny", "debian-13")), &world).expect("one host has it");
    assert!(places(&plan).iter().filter(|(_, _, sign)| *sign != '-').all(|(_, host, _)| host == "host2"), "{plan:?}");
}

#[test]
fn the_budget_that_would_do_does_so_a_second_time() {
    let poor = HELLO.replace("budget 10", "budget 0.01");
    let Err(PlanError::BudgetTooSmall { needed, .. }) = plan_up(&pool(&poor), &three_hosts()) else {
        panic!("a hundredth of a credit is not enough")
    };
    let enough = pool(&HELLO.replace("budget 10", &format!("budget {needed}")));
    let first = plan_up(&enough, &three_hosts()).expect("what was proposed is enough");
    let mut world = after(&first, three_hosts());
    world.collected_at = world.collected_at.plus(TimeSpan::from_seconds(60));
    for account in world.hosts.iter_mut().filter_map(|host| host.account.as_mut()) {
        // A little more than the rate, as where minima were topped up.
        account.charged = Credits::from_micros(account.funded.micros() / 50);
    }
    assert!(plan_up(&enough, &world).expect("what stands is paid for").is_empty());
}

#[test]
fn an_account_is_opened_however_little_the_bid_takes() {
    let free = world(vec![host(1, 4, 8, 0.0)]);
    for text in [HELLO.to_owned(), HELLO.replace("\"1h\"", "\"1s\"")] {
        let plan = plan_up(&pool(&text), &free).expect("a plan");
        assert!(plan.steps.iter().any(|step| matches!(step.action, Action::OpenEscrow { .. })));
    }
}

#[test]
fn a_budget_beyond_what_a_rate_can_be_is_enough() {
    let rich = HELLO.replace("budget 10 for=\"1h\"", "budget 9000000000 for=\"1s\"");
    assert!(plan_up(&pool(&rich), &three_hosts()).is_ok());
}

#[test]
fn avoided_hosts_and_max_per_host_are_kept() {
    let text = HELLO.replace("domain web", "place max-per-host=2 { avoid \"host3\"; }\n    domain web");
    let plan = plan_up(&pool(&text), &three_hosts()).expect("a plan");
    let on = |name: &str| places(&plan).iter().filter(|(_, host, _)| host == name).count();
    assert_eq!(on("host3"), 0);
    assert!(on("host1") <= 2 && on("host2") <= 2);
    let too_many = text.replace("count=3", "count=5");
    assert!(matches!(plan_up(&pool(&too_many), &three_hosts()), Err(PlanError::NoHost { count: 1, .. })));
}

#[test]
fn a_preferred_host_may_be_dearer_but_not_at_any_price() {
    let mut world = three_hosts();
    world.hosts[1].labels.insert("disk".into(), "ssd".into());
    let with = |weight: f64| {
        let wish = format!("place {{ prefer \"host.labels.disk == 'ssd'\" weight={weight}; }}\n    domain web");
        let text = HELLO.replace("domain web", &wish).replace("count=3", "count=1");
        places(&plan_up(&pool(&text), &world).expect("a plan"))[0].1.clone()
    };
    assert_eq!(with(0.01), "host3");
    assert_eq!(with(2.0), "host2");
}

#[test]
fn a_scheduler_chooses_among_its_hosts() {
    let text = "pool dispatched {\n budget 30 for=\"1h\"\n scheduler simple { hosts host1 host2; policy round-robin; }\n place by=simple\n domain m count=4 { image \"std:tiny\"; memory \"64MiB\"; }\n}\n";
    let plan = plan_up(&pool(text), &three_hosts()).expect("a plan");
    let on = |name: &str| places(&plan).iter().filter(|(_, host, _)| host == name).count();
    assert_eq!((on("host1"), on("host2"), on("host3")), (2, 2, 0));
}

#[test]
fn a_budget_too_small_names_one_that_does() {
    let text = HELLO.replace("budget 10", "budget 0.01");
    let Err(error @ PlanError::BudgetTooSmall { needed, .. }) = plan_up(&pool(&text), &three_hosts()) else {
        panic!("a cent is too little");
    };
    assert!(error.is_about_money());
    let enough = HELLO.replace("budget 10", &format!("budget {needed}"));
    plan_up(&pool(&enough), &three_hosts()).expect("what was named is enough");
}

#[test]
fn a_tight_budget_buys_less_cpu_and_keeps_the_reservations() {
    let rich = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    let poor = plan_up(&pool(&HELLO.replace("budget 10", "budget 0.5")), &three_hosts()).expect("a plan");
    let cpu = |plan: &Plan| plan.hosts.iter().map(|host| host.expected[&ResourceKind::Cpu].amount()).sum::<u64>();
    assert!(cpu(&poor) < cpu(&rich));
    assert!(poor.money.escrow <= Credits::from_micros(500_000));
    for host in &poor.hosts {
        assert!(host.expected[&ResourceKind::Memory] >= host.minima[&ResourceKind::Memory]);
    }
}

#[test]
fn what_has_been_charged_counts_against_the_budget() {
    let first = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    let mut world = after(&first, three_hosts());
    for host in &mut world.hosts {
        if let Some(account) = &mut host.account {
            account.charged = Credits::from_micros(3_300_000);
            account.balance = Credits::from_micros(1);
        }
    }
    world.collected_at = world.collected_at.plus(TimeSpan::from_seconds(1_800));
    let grown = pool(&HELLO.replace("count=3", "count=6"));
    match plan_up(&grown, &world) {
        Err(PlanError::BudgetTooSmall { spent, .. }) => assert_eq!(spent, Credits::from_micros(9_900_000)),
        other => panic!("9.9 of 10 credits are gone: {other:?}"),
    }
}

#[test]
fn a_period_that_has_ended_is_followed_by_a_new_one() {
    let first = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    let mut world = after(&first, three_hosts());
    world.collected_at = world.collected_at.plus(HOUR).plus(HOUR);
    for host in &mut world.hosts {
        if let Some(account) = &mut host.account {
            account.charged = account.balance;
            account.balance = Credits::ZERO;
        }
    }
    let plan = plan_up(&pool(HELLO), &world).expect("a plan");
    let period = plan.period.expect("a period");
    assert_eq!(period.started_at, world.collected_at);
    assert!(period.charged_before > Credits::ZERO, "what was charged before does not count against it");
    assert_eq!(plan.count(|change| *change == Change::Keep), 3);
    assert_eq!(plan.hosts.iter().filter(|host| host.escrow.is_some()).count(), 3, "every host is paid anew");
}

#[test]
fn two_machines_with_one_address_are_refused() {
    let text = "pool twins {\n budget 10 for=\"1h\"\n domain a { image \"std:tiny\"; memory \"64MiB\"; eth0 ip=\"192.0.2.5\"; }\n domain b { image \"std:tiny\"; memory \"64MiB\"; eth0 ip=\"192.0.2.6\"; }\n}\n";
    // The language refuses this, so that it can only come from elsewhere.
    let mut twins = pool(text);
    twins.domains[1].nics[0].address = twins.domains[0].nics[0].address.clone();
    match plan_up(&twins, &three_hosts()) {
        Err(PlanError::Unsound { problem, .. }) => assert!(problem.contains("192.0.2.5"), "{problem}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_carried_out_yet_is_said() {
    let text = HELLO.replace("image \"std:tiny\"", "volume data size=\"1GiB\" read-only=#true; image \"std:tiny\"");
    let plan = plan_up(&pool(&text), &three_hosts()).expect("a plan");
    assert!(
        plan.report.notes.iter().any(|note| note.contains("`read-only` of a volume of `web.0` and 2 more")),
        "{:?}",
        plan.report.notes
    );
}

/// How a host runs a domain can change while it runs.
#[test]
fn another_restart_policy_or_cap_changes_the_running_domain() {
    let described = |rules: &str| HELLO.replace("image \"std:tiny\"", &format!("{rules}; image \"std:tiny\""));
    let first = plan_up(&pool(&described("restart on-failure")), &three_hosts()).expect("a plan");
    let rules = first.domains[0].spec.as_ref().expect("what it is").rules;
    let policy = rules.restart.expect("a policy");
    assert_eq!((policy.after, policy.times, rules.is_capped), (RestartAfter::Failure, 3, false));
    let world = after(&first, three_hosts());
    assert!(plan_up(&pool(&described("restart on-failure")), &world).expect("a plan").is_empty());
    for (rules, field) in [
        ("restart always", "restart"),
        ("restart never", "restart"),
        ("restart on-failure within=\"3601s\"", "restart"),
        ("restart on-failure; burst #false", "burst"),
    ] {
        let plan = plan_up(&pool(&described(rules)), &world).expect("a plan");
        match &plan.domains[0].change {
            Change::Update { fields, restart: false } if fields.len() == 1 && fields[0].field == field => {}
            other => panic!("{rules}: {other:?}"),
        }
    }
}

/// What is suspended goes on, also where something of it changes first.
#[test]
fn a_suspended_domain_goes_on() {
    let first = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    let mut world = after(&first, three_hosts());
    world.hosts.iter_mut().flat_map(|host| &mut host.domains).for_each(|domain| domain.state = DomainState::Paused);
    let starts =
        |plan: &Plan| plan.steps.iter().filter(|step| matches!(step.action, Action::EnsureRunning { .. })).count();
    let stops =
        |plan: &Plan| plan.steps.iter().filter(|step| matches!(step.action, Action::EnsureStopped { .. })).count();
    let plan = plan_up(&pool(HELLO), &world).expect("a plan");
    assert_eq!((starts(&plan), plan.steps.len()), (3, 3));
    let smaller = HELLO.replace("memory \"64MiB\"", "memory \"48MiB\"");
    assert_ne!(smaller, HELLO);
    let plan = plan_up(&pool(&smaller), &world).expect("a plan");
    assert_eq!((starts(&plan), stops(&plan)), (3, 0), "{:?}", plan.steps);
}

#[test]
fn down_undoes_whatever_is_there_without_a_description() {
    let first = plan_up(&pool(HELLO), &three_hosts()).expect("a plan");
    let mut world = after(&first, three_hosts());
    world.history = Default::default();
    let plan = plan_down(&first.pool, &world, &Saving::AsAsked).expect("a plan");
    assert_eq!(plan.count(|change| *change == Change::Remove), 3);
    assert_eq!(plan.hosts.iter().filter(|host| host.closes).count(), 3);
    assert!(plan.generation > first.generation, "older plans are refused from now on");
    let nothing = plan_down(&first.pool, &three_hosts(), &Saving::AsAsked).expect("a plan");
    assert!(nothing.is_empty());
}

#[test]
fn a_large_pool_is_planned_in_one_go() {
    let hosts = (1..=100).map(|number| host(number, 32, 256, 0.3 + number as f64 / 100.0)).collect();
    let text = HELLO.replace("count=3", "count=1000").replace("budget 10", "budget 900");
    let plan = plan_up(&pool(&text), &world(hosts)).expect("a plan");
    assert_eq!(plan.count(|change| *change == Change::Create), 1000);
}

/// On Xen a running domain cannot grow beyond what it was started with.
const KEEPING: &str = "pool hello { budget 10 for=\"1h\"; domain db { image \"std:tiny\"; memory \"64MiB\"; \
                       keep-volumes always; volume data size=\"2GiB\"; } }";

/// The world in which the pool of `plan` went down, and hosts keep what it says.
fn kept_after(plan: &Plan) -> World {
    let mut world = after(plan, three_hosts());
    let down = plan_down(&plan.pool, &world, &Saving::AsAsked).expect("a plan");
    for host in &mut world.hosts {
        host.account = None;
        host.domains.retain_mut(|status| {
            let path = status.ownership.as_ref().map(|own| own.path.clone());
            let gone = down.domains.iter().find(|domain| Some(&domain.path) == path.as_ref()).expect("it goes");
            status.kept = status.leaving(&gone.keeps, Timestamp::from_seconds(2_000_000));
            (status.spec, status.state) = (None, DomainState::Stopped);
            status.kept.is_some()
        });
    }
    world.history = Default::default();
    world
}

const SAVING: &str = "pool hello { budget 10 for=\"1h\"; domain db { image \"std:tiny\"; memory \"64MiB\"; \
                      save-image to=\"/srv/saved\" format=qcow2; }; domain web { image \"std:tiny\"; memory \"64MiB\"; } }";

#[test]
fn nothing_is_removed_before_it_is_saved_where_that_is_asked_for() {
    let first = plan_up(&pool(SAVING), &three_hosts()).expect("a plan");
    assert!(first.report.notes.is_empty(), "{:?}", first.report.notes);
    assert_eq!(first.domains[0].saves, None, "what comes up is not saved");
    let mut world = after(&first, three_hosts());
    // Without any local state, and without the description.
    world.history = Default::default();
    let saved = |plan: &Plan| -> Vec<(String, String)> {
        let step = |step: &tycoon_planner::plan::Step| match &step.action {
            Action::SaveImage { path, save } => Some((path.to_string(), save.to_string())),
            _ => None,
        };
        plan.steps.iter().filter_map(step).collect()
    };
    let down = plan_down(&first.pool, &world, &Saving::AsAsked).expect("a plan");
    assert_eq!(saved(&down), [("db".into(), "to /srv/saved as qcow2".into())]);
    let position = |wanted: fn(&Action) -> bool| {
        let is_it = |step: &&tycoon_planner::plan::Step| {
            wanted(&step.action) && step.action.domain().is_some_and(|path| path.as_str() == "db")
        };
        down.steps.iter().find(is_it).expect("it is in the plan").clone()
    };
    let (stop, save) = (
        position(|action| matches!(action, Action::EnsureStopped { .. })),
        position(|action| matches!(action, Action::SaveImage { .. })),
    );
    let absent = position(|action| matches!(action, Action::EnsureAbsent { .. }));
    assert_eq!((save.needs.as_slice(), absent.needs.as_slice()), (&[stop.id][..], &[save.id][..]));
    let elsewhere = plan_down(&first.pool, &world, &Saving::To("/tmp/x".into())).expect("a plan");
    assert_eq!(saved(&elsewhere), [("db".into(), "to /tmp/x as qcow2".into())]);
    assert_eq!(saved(&plan_down(&first.pool, &world, &Saving::Never).expect("a plan")), []);
    // A changed wish alone is told to the host, and touches nothing.
    let changed = pool(&SAVING.replace("qcow2", "raw"));
    let plan = plan_up(&changed, &world).expect("a plan");
    assert!(matches!(&plan.domains[0].change, Change::Update { restart: false, fields } if fields.len() == 1));
    // Made anew, it is saved first; where its root volume stays, it is not.
    let anew = SAVING.replace("save-image", "root fs=ext4; save-image");
    let plan = plan_up(&pool(&anew), &world).expect("a plan");
    assert!(matches!(plan.domains[0].change, Change::Replace { .. }), "{:?}", plan.domains[0].change);
    assert_eq!(saved(&plan), [("db".into(), "to /srv/saved as qcow2".into())]);
    let gone = plan_up(&pool(&SAVING.replace("domain db", "domain other")), &world).expect("a plan");
    assert_eq!(saved(&gone), [("db".into(), "to /srv/saved as qcow2".into())]);
}

#[test]
fn a_domain_takes_up_what_is_kept_of_it_wherever_that_is() {
    let first = plan_up(&pool(KEEPING), &three_hosts()).expect("a plan");
    let mut world = kept_after(&first);
    assert!(
        plan_down(&first.pool, &world, &Saving::AsAsked).expect("a plan").is_empty(),
        "what is kept does not go twice"
    );
    // On a dear host.
    let from = world.hosts.iter().position(|host| !host.domains.is_empty()).expect("something is kept");
    let kept = std::mem::take(&mut world.hosts[from].domains);
    world.hosts[1].domains = kept;
    let plan = plan_up(&pool(KEEPING), &world).expect("a plan");
    assert_eq!(places(&plan), [("db".into(), "host2".into(), '+')]);
    let volumes = vec!["root".to_owned(), "data".to_owned()];
    assert_eq!(plan.domains[0].change, Change::TakeUp { volumes, fields: Vec::new() });
    assert!(!plan.destroys() && plan.generation > first.generation);
    assert!(!plan.steps.iter().any(|step| matches!(step.action, Action::EnsureAbsent { .. })));
    number_of(&plan, |action| matches!(action, Action::EnsureVolumes { .. }));
    number_of(&plan, |action| matches!(action, Action::EnsureRunning { .. }));
    // A host that cannot have it is no reason to begin anew on another.
    world.hosts[1].closed = Some("is being drained by its owner".into());
    let error = plan_up(&pool(KEEPING), &world).expect_err("no plan").to_string();
    assert!(error.contains("are kept on host2") && error.contains("is being drained"), "{error}");
}

#[test]
fn what_is_kept_and_described_otherwise_goes_and_the_rest_stays() {
    let first = plan_up(&pool(KEEPING), &three_hosts()).expect("a plan");
    let other = pool(&KEEPING.replace("std:tiny", "debian-12"));
    for world in [kept_after(&first), after(&first, three_hosts())] {
        let plan = plan_up(&other, &world).expect("a plan");
        assert!(matches!(plan.domains[0].change, Change::Replace { from: None, .. }), "{:?}", plan.domains[0].change);
        assert_eq!(plan.domains[0].keeps, ["data"]);
        assert!(plan.destroys());
        let keeps = |action: &Action| matches!(action, Action::EnsureAbsent { keep, .. } if *keep == ["data"]);
        assert!(number_of(&plan, keeps) < number_of(&plan, |action| matches!(action, Action::EnsureVolumes { .. })));
    }
    let smaller = pool(&KEEPING.replace("2GiB", "1GiB"));
    for world in [kept_after(&first), after(&first, three_hosts())] {
        let error = plan_up(&smaller, &world).expect_err("no plan").to_string();
        assert!(error.contains("`data` of `db` has 2 GiB, and 1 GiB are described"), "{error}");
    }
}

/// Volumes that are to be kept hold their domain where it is.
#[test]
fn a_domain_with_volumes_to_keep_does_not_move() {
    let first = plan_up(&pool(KEEPING), &three_hosts()).expect("a plan");
    let mut world = after(&first, three_hosts());
    let here = world.hosts.iter_mut().find(|host| !host.domains.is_empty()).expect("its host");
    here.offers.get_mut(&ResourceKind::Memory).expect("memory").available = Quantity::from_bytes(100 << 20);
    let larger = KEEPING.replace("64MiB", "256MiB");
    let error = plan_up(&pool(&larger), &world).expect_err("no plan").to_string();
    assert!(error.contains("its volumes, which are to be kept, do not move"), "{error}");
    let moved = plan_up(&pool(&larger.replace("always", "never")), &world);
    assert!(moved.is_err(), "what was to be kept when it was brought up is not given up by a change elsewhere");
}
