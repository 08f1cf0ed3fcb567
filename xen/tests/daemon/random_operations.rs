//! Two accounts with two pools each do whatever comes to their minds, while the line to the bank and the daemon come and
//! go. No credit is lost, nobody touches another's domains, and no more memory and disk is given away than there is.

use proptest::prelude::*;
use tycoon_market::auctioneer::AccountState;
use tycoon_market::bid::{Amount, Bid, Preference};
use tycoon_market::{Credits, Quantity, ResourceKind, TimeSpan};
use tycoon_xen::market::{AccountReport, BidRequest, RefundRequest};
use tycoon_xen::protocol::Request;
use tycoon_xen::spec::DomainSpec;
use tycoon_xen::status::DomainStatus;

use super::scene::*;

const POOLS: [&str; 2] = ["one", "two"];

#[derive(Clone, Debug)]
enum Operation {
    Fund { whose: (Party, usize), micros: i64, is_forgotten: bool },
    Bid { whose: (Party, usize), duration: u64, cpus: u64, gib: u64, weight: f64, contingency: f64 },
    Refund { whose: (Party, usize), leave: i64 },
    Close { whose: (Party, usize) },
    Make { whose: (Party, usize), domain: u8, gib: u64, disk_gib: u64, steps: usize },
    Unmake { whose: (Party, usize), domain: u8, steps: usize },
    Pass { seconds: u64 },
    Line(Line),
    Restart,
    Evict { whose: (Party, usize) },
}

fn operation() -> impl Strategy<Value = Operation> {
    let whose = || (prop::sample::select(vec![ALICE, BOB]), 0..POOLS.len());
    let line = prop_oneof![3 => Just(Line::Works), 1 => Just(Line::Cut), 1 => Just(Line::Deaf)];
    prop_oneof![
        6 => (whose(), 1_i64..20_000_000, prop::bool::weighted(0.1))
            .prop_map(|(whose, micros, is_forgotten)| Operation::Fund { whose, micros, is_forgotten }),
        6 => (whose(), 60_u64..100_000, 0_u64..4, 0_u64..9, 0.01_f64..10.0, prop_oneof![Just(0.0), 0.0_f64..0.9])
            .prop_map(|(whose, duration, cpus, gib, weight, contingency)| {
                Operation::Bid { whose, duration, cpus, gib, weight, contingency }
            }),
        2 => (whose(), 0_i64..20_000_000).prop_map(|(whose, leave)| Operation::Refund { whose, leave }),
        1 => whose().prop_map(|whose| Operation::Close { whose }),
        6 => (whose(), 0_u8..3, 1_u64..3, 1_u64..3, 1_usize..=4)
            .prop_map(|(whose, domain, gib, disk_gib, steps)| Operation::Make { whose, domain, gib, disk_gib, steps }),
        2 => (whose(), 0_u8..3, 1_usize..=2)
            .prop_map(|(whose, domain, steps)| Operation::Unmake { whose, domain, steps }),
        8 => prop_oneof![4 => 0_u64..600, 2 => 0_u64..20_000, 1 => 0_u64..80_000]
            .prop_map(|seconds| Operation::Pass { seconds }),
        2 => line.prop_map(Operation::Line),
        1 => Just(Operation::Restart),
        1 => prop::bool::weighted(0.2).prop_flat_map(move |rarely| {
            whose().prop_map(move |whose| if rarely { Operation::Evict { whose } } else { Operation::Pass { seconds: 10 } })
        }),
    ]
}

fn wide_bid(duration: u64, cpus: u64, gib: u64, weight: f64, contingency: f64) -> Bid {
    let of = |kind, min: Quantity, max: Quantity| {
        let preference = Preference {
            weight: if kind == ResourceKind::Cpu { weight } else { 1.0 },
            min: Amount::Quantity(min),
            max: Amount::Quantity(max),
            contingency,
        };
        (kind, preference)
    };
    let memory = Quantity::from_bytes(gib * GIB);
    let preferences = [
        of(ResourceKind::Cpu, Quantity::new(cpus * 100_000), Quantity::from_cpus(cpus)),
        of(ResourceKind::Memory, memory, memory),
        of(ResourceKind::Disk, memory, memory),
    ];
    Bid::new(TimeSpan::from_seconds(duration), preferences.into_iter().collect()).unwrap()
}

/// Does an operation. Refusals are fine: what must hold holds after them too.
fn act(scene: &mut Scene, operation: &Operation) -> Option<Party> {
    let name = |whose: &(Party, usize)| POOLS[whose.1];
    match operation {
        Operation::Fund { whose, micros, is_forgotten } => {
            let amount = Credits::from_micros(*micros).to_string();
            let order = scene.order(whose.0, name(whose), &amount);
            if let Ok(receipt) = scene.bank_client(whose.0).open_escrow(&order)
                && !is_forgotten
            {
                let _ = scene.host(whose.0).fund(&pool(name(whose)), &receipt);
            }
            Some(whose.0)
        }
        Operation::Bid { whose, duration, cpus, gib, weight, contingency } => {
            let bid = wide_bid(*duration, *cpus, *gib, *weight, *contingency);
            let _ = scene.host(whose.0).bid(&pool(name(whose)), &BidRequest { generation: 1, bid });
            None
        }
        Operation::Refund { whose, leave } => {
            let request = RefundRequest { generation: 1, leave: Credits::from_micros(*leave) };
            let _ = scene.host(whose.0).refund(&pool(name(whose)), &request);
            None
        }
        Operation::Close { whose } => {
            let _ = scene.close(whose.0, name(whose));
            None
        }
        Operation::Make { whose, domain, gib, disk_gib, steps } => {
            let spec = DomainSpec {
                memory_bytes: gib * GIB,
                volumes: vec![volume("root", *disk_gib)],
                ..spec(&format!("web.{domain}"))
            };
            for request in making(name(whose), &spec).into_iter().take(*steps) {
                let _ = scene.ask(whose.0, request);
            }
            Some(whose.0)
        }
        Operation::Unmake { whose, domain, steps } => {
            let path = spec(&format!("web.{domain}")).path;
            for request in unmaking(name(whose), &path).into_iter().take(*steps) {
                let _ = scene.ask(whose.0, request);
            }
            Some(whose.0)
        }
        Operation::Pass { seconds } => {
            scene.pass(*seconds);
            None
        }
        Operation::Line(line) => {
            scene.wire.set(*line);
            None
        }
        Operation::Restart => {
            scene.reopen();
            None
        }
        Operation::Evict { whose } => {
            let id = tycoon_market::HostAccountId::new(whose.0.account(), pool(name(whose)));
            scene.daemon().evict(&id).unwrap();
            None
        }
    }
}

/// What belongs to somebody, without the CPU that it uses and gets.
fn domains_of(domains: &[DomainStatus], party: Party) -> Vec<DomainStatus> {
    let its =
        domains.iter().filter(|domain| domain.ownership.as_ref().is_some_and(|own| own.account == party.account()));
    let plain = |domain: &DomainStatus| DomainStatus { weight: 0, cpu_time: TimeSpan::ZERO, ..domain.clone() };
    its.map(plain).collect()
}

/// The sum of what is given away is at most what there is, and nobody's domains have more than is given to them.
fn check_reservations(scene: &Scene) {
    let domains = scene.domains();
    for kind in [ResourceKind::Memory, ResourceKind::Disk] {
        let reports: Vec<_> =
            [ALICE, BOB].into_iter().flat_map(|party| scene.host(party).accounts().unwrap()).collect();
        let given = |report: &AccountReport| report.allocation.get(&kind).map_or(0, |share| share.amount());
        let sum: u64 = reports.iter().map(given).sum();
        assert!(sum <= scene.config.capacity_of(kind).amount(), "{sum} of {kind} are given away");
        for report in reports.iter().filter(|report| report.state == AccountState::Active) {
            let its = domains.iter().filter(|domain| {
                domain.ownership.as_ref().is_some_and(|own| (own.account, &own.pool) == (report.account, &report.pool))
            });
            let has: u64 = its
                .map(|domain| match kind {
                    ResourceKind::Memory if domain.state.is_active() => domain.memory_bytes,
                    ResourceKind::Disk => domain.volumes.iter().map(|(_, size)| size).sum(),
                    _ => 0,
                })
                .sum();
            assert!(has <= given(report), "{} has {has} of {kind}, and {} is given to it", report.pool, given(report));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn no_credit_is_lost_and_nobody_reaches_another_s_domains(operations in prop::collection::vec(operation(), 1..60)) {
        let mut scene = Scene::new();
        for operation in &operations {
            let before = scene.domains();
            let actor = act(&mut scene, operation);
            let after = scene.domains();
            // Time and market calls may stop and remove domains; sessions may change nothing but their own.
            for party in [ALICE, BOB] {
                if actor.is_some_and(|actor| actor != party) {
                    prop_assert_eq!(domains_of(&before, party), domains_of(&after, party), "{:?}", operation);
                }
            }
            scene.check_money();
            check_reservations(&scene);
        }
        // Everybody goes home, and the bank hears of it.
        scene.wire.set(Line::Works);
        for party in [ALICE, BOB] {
            for name in POOLS {
                let _ = scene.host(party).close(&pool(name), u64::MAX);
            }
        }
        scene.pass(10);
        prop_assert_eq!(scene.domains(), vec![]);
        prop_assert!(scene.daemon().is_idle());
        // What was set aside and never handed in comes back by itself.
        scene.clock.advance(TimeSpan::from_seconds(25 * HOUR));
        scene.bank_client(ALICE).own_account().unwrap();
        prop_assert_eq!(scene.bank.books().unwrap().in_escrow, Credits::ZERO);
        scene.check_money();
    }
}

/// A request is a plain value: what comes from the network is read as one or refused.
#[test]
fn requests_read_back_as_they_were_written() {
    for request in making("hello", &spec("web.0")).into_iter().chain(unmaking("hello", &spec("web.0").path)) {
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request, "{text}");
        let more = text.replacen('{', r#"{"account":"x","#, 1);
        assert!(serde_json::from_str::<Request>(&more).is_err(), "{more}");
    }
}
