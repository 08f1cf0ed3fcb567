//! Nobody sees, changes or removes what is another's; nobody has more than she has reserved; no old plan does anything.

use std::sync::{Arc, Mutex};

use tycoon_market::auctioneer::AccountState;
use tycoon_market::bid::{Amount, Bid, Preference};
use tycoon_market::{Quantity, ResourceKind, TimeSpan, Timestamp};
use tycoon_xen::hypervisor::{ConsoleStream, HostFacts, Hypervisor, HypervisorError};
use tycoon_xen::market::{BidRequest, QuoteRequest, RefundRequest};
use tycoon_xen::protocol::{Answer, HostError, Request};
use tycoon_xen::save::VolumeStream;
use tycoon_xen::spec::{DomainSpec, Ownership, hypervisor_name};
use tycoon_xen::status::{DomainState, DomainStatus, Kept};

use super::scene::*;

/// One request of every kind, for Alice's pool and domain.
fn every_request(generation: u64) -> Vec<Request> {
    let (pool, spec) = (pool("hello"), spec("web.0"));
    let path = spec.path.clone();
    let all = vec![
        Request::Inspect { pool: Some(pool.clone()) },
        Request::Inspect { pool: None },
        Request::EnsureImage { image: spec.image.clone() },
        Request::EnsureVolumes { pool: pool.clone(), generation, spec: spec.clone() },
        Request::EnsureDomain { pool: pool.clone(), generation, spec },
        Request::EnsureRunning { pool: pool.clone(), generation, path: path.clone() },
        Request::EnsureStopped { pool: pool.clone(), generation, path: path.clone(), grace_ms: 0 },
        Request::EnsureSuspended { pool: pool.clone(), generation, path: path.clone() },
        Request::EnsureListening { pool: pool.clone(), path: path.clone(), port: 22 },
        Request::EnsureAbsent { pool: pool.clone(), generation, path: path.clone(), keep: vec!["root".into()] },
        Request::EnsureNothingKept { pool, path },
    ];
    for request in &all {
        // A new request must be added above before this compiles again.
        match request {
            Request::Inspect { .. }
            | Request::EnsureImage { .. }
            | Request::EnsureVolumes { .. }
            | Request::EnsureDomain { .. }
            | Request::EnsureRunning { .. }
            | Request::EnsureStopped { .. }
            | Request::EnsureSuspended { .. }
            | Request::EnsureListening { .. }
            | Request::EnsureAbsent { .. }
            | Request::EnsureNothingKept { .. } => {}
        }
    }
    all
}

/// What an answer tells of domains.
fn told(answer: &Result<Answer, HostError>) -> Vec<&DomainStatus> {
    match answer {
        Ok(Answer::Domains { domains }) => domains.iter().collect(),
        Ok(Answer::Ensured { domain, .. }) => domain.iter().collect(),
        Err(_) => Vec::new(),
    }
}

#[test]
fn a_session_never_reaches_what_is_another_account_s() {
    for has_account_too in [false, true] {
        let scene = Scene::new();
        scene.bring_up(ALICE, "hello", "10", HOUR);
        if has_account_too {
            scene.fund(BOB, "hello", "10");
            scene.bid(BOB, "hello", bid(HOUR, 1)).unwrap();
        }
        let before = scene.domain(ALICE, "hello");
        for generation in [0, 1, u64::MAX] {
            for request in every_request(generation) {
                let answer = scene.ask(BOB, request.clone());
                for domain in told(&answer) {
                    let owner = domain.ownership.as_ref().map(|own| own.account);
                    assert_eq!(owner, Some(BOB.account()), "{request:?} tells Bob of {domain:?}");
                }
                assert_eq!(scene.domain(ALICE, "hello"), before, "{request:?} changed Alice's domain");
            }
        }
        let alice = scene.account(ALICE, "hello").unwrap();
        assert_eq!((alice.state, alice.generation), (AccountState::Active, 1));
    }
}

#[test]
fn a_market_call_never_reaches_what_is_another_account_s() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", HOUR);
    let (before, bob, hello) = (scene.account(ALICE, "hello"), scene.host(BOB), pool("hello"));
    assert_eq!(bob.accounts().unwrap(), []);
    assert_eq!(bob.account(&hello).unwrap(), None);
    let bid = BidRequest { generation: 9, bid: bid(HOUR, 1) };
    assert_eq!(code(bob.bid(&hello, &bid)), "host.account-unknown");
    assert_eq!(code(bob.refund(&hello, &RefundRequest { generation: 9, leave: credits("0") })), "host.no-account");
    assert_eq!(code(bob.close(&hello, 9)), "host.no-account");
    let nothing = bob.offers(&hello).unwrap();
    assert_eq!(nothing.unsettled, []);
    assert_eq!(scene.account(ALICE, "hello"), before);
}

/// Two accounts whose ids begin alike have the same hypervisor names: keys can be tried until one fits. The machine of
/// this test shows Alice's domain under Bob's name.
struct Colliding {
    inner: Arc<dyn Hypervisor>,
    touched: Arc<Mutex<Vec<String>>>,
}

impl Colliding {
    fn alias(&self, name: &str) -> String {
        let path = spec("web.0").path;
        let bob = hypervisor_name(&BOB.account(), &pool("hello"), &path);
        if name == bob { hypervisor_name(&ALICE.account(), &pool("hello"), &path) } else { name.to_owned() }
    }

    fn touch(&self, name: &str) -> String {
        let name = self.alias(name);
        self.touched.lock().unwrap().push(name.clone());
        name
    }
}

impl Hypervisor for Colliding {
    fn facts(&self) -> Result<HostFacts, HypervisorError> {
        self.inner.facts()
    }

    fn domains(&self, now: Timestamp) -> Result<Vec<DomainStatus>, HypervisorError> {
        self.inner.domains(now)
    }

    fn domain(&self, name: &str, now: Timestamp) -> Result<Option<DomainStatus>, HypervisorError> {
        self.inner.domain(&self.alias(name), now)
    }

    fn ensure_image(&self, image: &str) -> Result<bool, HypervisorError> {
        self.inner.ensure_image(image)
    }

    fn ensure_volumes(&self, spec: &DomainSpec, ownership: &Ownership) -> Result<bool, HypervisorError> {
        self.inner.ensure_volumes(spec, ownership)
    }

    fn open_volume(&self, name: &str, volume: &str) -> Result<VolumeStream, HypervisorError> {
        self.inner.open_volume(&self.touch(name), volume)
    }

    fn open_console(&self, name: &str) -> Result<ConsoleStream, HypervisorError> {
        self.inner.open_console(&self.touch(name))
    }

    fn define(&self, spec: &DomainSpec, own: &Ownership, now: Timestamp) -> Result<bool, HypervisorError> {
        self.inner.define(spec, own, now)
    }

    fn start(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.inner.start(&self.touch(name), now)
    }

    fn stop(&self, name: &str, grace_ms: u64, now: Timestamp) -> Result<bool, HypervisorError> {
        self.inner.stop(&self.touch(name), grace_ms, now)
    }

    fn suspend(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.inner.suspend(&self.touch(name), now)
    }

    fn remove(&self, name: &str, now: Timestamp) -> Result<bool, HypervisorError> {
        self.inner.remove(&self.touch(name), now)
    }

    fn keep(&self, name: &str, kept: &Kept, now: Timestamp) -> Result<bool, HypervisorError> {
        self.inner.keep(&self.touch(name), kept, now)
    }

    fn listens(&self, name: &str, port: u16, now: Timestamp) -> Result<bool, HypervisorError> {
        self.inner.listens(&self.touch(name), port, now)
    }

    fn set_cpu(&self, name: &str, weight: u16, cap: u32, now: Timestamp) -> Result<(), HypervisorError> {
        self.inner.set_cpu(name, weight, cap, now)
    }

    fn set_memory(&self, name: &str, bytes: u64, now: Timestamp) -> Result<(), HypervisorError> {
        self.inner.set_memory(name, bytes, now)
    }
}

#[test]
fn a_name_alone_gives_no_right_to_a_domain() {
    let touched = Arc::new(Mutex::new(Vec::new()));
    let log = touched.clone();
    let scene = Scene::with_machine(|memory| Arc::new(Colliding { inner: Arc::new(memory), touched: log }));
    scene.bring_up(ALICE, "hello", "10", HOUR);
    scene.fund(BOB, "hello", "10");
    scene.bid(BOB, "hello", bid(HOUR, 1)).unwrap();
    touched.lock().unwrap().clear();
    let path = spec("web.0").path;
    let running = Request::EnsureRunning { pool: pool("hello"), generation: 1, path: path.clone() };
    for request in unmaking("hello", &path).into_iter().chain([running]) {
        let answer = scene.ask(BOB, request.clone());
        assert!(matches!(answer, Err(HostError::NameTaken { .. })), "{request:?}: {answer:?}");
    }
    assert_eq!(*touched.lock().unwrap(), Vec::<String>::new());
    assert_eq!(scene.domain(ALICE, "hello").unwrap().state, DomainState::Running);
}

#[test]
fn nobody_gets_more_than_she_has_reserved() {
    let scene = Scene::new();
    scene.fund(ALICE, "hello", "10");
    scene.bid(ALICE, "hello", bid(HOUR, 2)).unwrap();
    scene.start(ALICE, "hello", &spec("web.0"));
    let small = spec("web.1");
    let with_volumes = |volumes: &[(&str, u64)]| DomainSpec {
        volumes: volumes.iter().map(|(name, gib)| volume(name, *gib)).collect(),
        ..spec("web.1")
    };
    let table = [
        ("memory", DomainSpec { memory_bytes: GIB + 1, ..small.clone() }),
        ("disk", with_volumes(&[("root", 5)])),
        ("disk", with_volumes(&[("root", 4), ("data", 1)])),
        ("memory", DomainSpec { memory_bytes: u64::MAX, ..small.clone() }),
        ("disk", with_volumes(&[("root", 4), ("data", u64::MAX / GIB)])),
    ];
    for (kind, spec) in table {
        for request in &making("hello", &spec)[1..3] {
            match scene.ask(ALICE, request.clone()) {
                Err(HostError::BeyondReservation { resource, .. }) => assert_eq!(resource, kind),
                other => panic!("{request:?}: {other:?}"),
            }
        }
    }
    scene.start(ALICE, "hello", &small);
    // Disks stay when a spec no longer names them: naming others each time must not collect disk space.
    let renamed = with_volumes(&[("root", 1), ("data", 3)]);
    let answer = scene.ask(ALICE, making("hello", &renamed)[1].clone());
    assert!(matches!(answer, Err(HostError::BeyondReservation { .. })), "{answer:?}");
    // A domain that is stopped can be started again: it keeps its place.
    scene.ask(ALICE, unmaking("hello", &small.path)[0].clone()).unwrap();
    let answer = scene.ask(ALICE, making("hello", &spec("web.2"))[1].clone());
    assert!(matches!(answer, Err(HostError::BeyondReservation { .. })), "{answer:?}");
    assert_eq!(scene.domains().len(), 2);
}

/// A domain that was shrunk or removed a moment ago is not in the way of the smaller bid that follows.
#[test]
fn a_smaller_bid_is_taken_as_soon_as_the_domains_are_smaller() {
    let scene = Scene::new();
    scene.fund(ALICE, "hello", "10");
    scene.bid(ALICE, "hello", bid(HOUR, 2)).unwrap();
    for path in ["web.0", "web.1"] {
        scene.start(ALICE, "hello", &spec(path));
    }
    scene.pass(10);
    assert_eq!(code(scene.bid(ALICE, "hello", bid(HOUR, 1))), "host.below-use");
    for request in unmaking("hello", &spec("web.1").path) {
        scene.ask(ALICE, request).unwrap();
    }
    let report = scene.bid(ALICE, "hello", bid(HOUR, 1)).unwrap();
    assert_eq!(report.allocation[&ResourceKind::Memory], Quantity::from_bytes(GIB));
    for request in unmaking("hello", &spec("web.0").path) {
        scene.ask(ALICE, request).unwrap();
    }
    let tiny = Amount::Quantity(Quantity::from_bytes(1 << 20));
    let preferences = [(ResourceKind::Memory, Preference::new(1.0, tiny, tiny))].into_iter().collect();
    let bid = Bid::new(TimeSpan::from_seconds(HOUR), preferences).unwrap();
    assert!(scene.bid(ALICE, "hello", bid).is_ok(), "nothing is left that could have more");
}

/// Without money a bid takes effect only later; it must not then stand for less than is there.
#[test]
fn nobody_keeps_what_she_does_not_bid_for() {
    let scene = Scene::new();
    scene.fund(ALICE, "hello", "0.01");
    scene.bid(ALICE, "hello", bid(60, 1)).unwrap();
    scene.start(ALICE, "hello", &spec("web.0"));
    scene.pass(200);
    assert!(matches!(scene.account(ALICE, "hello").unwrap().state, AccountState::Warned { .. }));
    let tiny = Amount::Quantity(Quantity::from_bytes(1 << 20));
    let preferences = [(ResourceKind::Memory, Preference::new(1.0, tiny, tiny))].into_iter().collect();
    let tiny = Bid::new(TimeSpan::from_seconds(HOUR), preferences).unwrap();
    assert_eq!(code(scene.bid(ALICE, "hello", tiny)), "host.below-use");
    scene.fund(ALICE, "hello", "10");
    assert_eq!(scene.account(ALICE, "hello").unwrap().allocation[&ResourceKind::Memory], Quantity::from_bytes(GIB));
}

/// What the auction gives beyond the minimum goes to others as they come: no domain may have it.
#[test]
fn only_minima_are_reserved() {
    let scene = Scene::new();
    scene.fund(ALICE, "hello", "10");
    let amount = |gib: u64| Amount::Quantity(Quantity::from_bytes(gib * GIB));
    let preferences = [
        (ResourceKind::Memory, Preference::new(1.0, amount(1), amount(8))),
        (ResourceKind::Disk, Preference::new(1.0, amount(4), amount(50))),
    ];
    let wide = Bid::new(TimeSpan::from_seconds(HOUR), preferences.into_iter().collect()).unwrap();
    let report = scene.bid(ALICE, "hello", wide).unwrap();
    assert!(
        report.allocation[&ResourceKind::Memory] > Quantity::from_bytes(4 * GIB),
        "nobody else is here: {report:?}"
    );
    let large = DomainSpec { memory_bytes: 2 * GIB, ..spec("web.0") };
    scene.ask(ALICE, making("hello", &large)[0].clone()).unwrap();
    let answer = scene.ask(ALICE, making("hello", &large)[1].clone());
    assert!(matches!(answer, Err(HostError::BeyondReservation { .. })), "{answer:?}");
    scene.start(ALICE, "hello", &spec("web.0"));
}

/// A domain that was stopped while the bid was made smaller does not start beyond it.
#[test]
fn nothing_starts_beyond_what_is_reserved_now() {
    let scene = Scene::new();
    scene.fund(ALICE, "hello", "10");
    scene.bid(ALICE, "hello", bid(HOUR, 3)).unwrap();
    for path in ["web.0", "web.1", "web.2"] {
        scene.start(ALICE, "hello", &spec(path));
        scene.ask(ALICE, unmaking("hello", &path.parse().unwrap())[0].clone()).unwrap();
    }
    // One GiB of memory, and the disks of all three.
    let amount = |bytes| Amount::Quantity(Quantity::from_bytes(bytes));
    let one = Bid::new(
        TimeSpan::from_seconds(HOUR),
        [
            (ResourceKind::Memory, Preference::new(1.0, amount(GIB), amount(GIB))),
            (ResourceKind::Disk, Preference::new(1.0, amount(12 * GIB), amount(12 * GIB))),
        ]
        .into_iter()
        .collect(),
    )
    .unwrap();
    scene.bid(ALICE, "hello", one).unwrap();
    let start = |path: &str| scene.ask(ALICE, making("hello", &spec(path))[3].clone());
    assert!(start("web.0").is_ok(), "one of them fits");
    let answer = start("web.1");
    assert!(matches!(answer, Err(HostError::BeyondReservation { .. })), "{answer:?}");
    scene.ask(ALICE, unmaking("hello", &spec("web.0").path)[0].clone()).unwrap();
    assert!(start("web.1").is_ok(), "and then another");
}

/// Requests of one session run at the same time; together they have what is reserved, not each of them.
#[test]
fn two_requests_at_once_do_not_both_take_what_is_left() {
    let scene = Scene::new();
    scene.fund(ALICE, "hello", "10");
    scene.bid(ALICE, "hello", bid(HOUR, 1)).unwrap();
    scene.ask(ALICE, making("hello", &spec("web.0"))[0].clone()).unwrap();
    for round in 0..50 {
        let paths = [0, 1].map(|number| format!("web{round}.{number}"));
        let made: Vec<bool> = std::thread::scope(|scope| {
            let ask = |path: &String| scene.ask(ALICE, making("hello", &spec(path))[1].clone()).is_ok();
            let threads: Vec<_> = paths.iter().map(|path| scope.spawn(move || ask(path))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().filter(|made| **made).count() <= 1, "both were made in round {round}");
        assert!(scene.domains().len() <= 1);
        for path in &paths {
            scene.ask(ALICE, unmaking("hello", &path.parse().unwrap())[1].clone()).unwrap();
        }
    }
}

#[test]
fn an_older_plan_is_refused_in_every_call() {
    let mut scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", HOUR);
    let hello = pool("hello");
    let newest = BidRequest { generation: 7, bid: bid(2 * HOUR, 1) };
    scene.host(ALICE).bid(&hello, &newest).unwrap();
    scene.reopen();
    let refused = |scene: &Scene, current: u64| {
        let before = (scene.domain(ALICE, "hello"), scene.account(ALICE, "hello"));
        for request in every_request(current - 1) {
            let only_looks = matches!(request, Request::Inspect { .. } | Request::EnsureListening { .. });
            if only_looks || matches!(request, Request::EnsureImage { .. }) {
                continue;
            }
            // What is kept is no part of any plan, and what is there is not kept.
            if let Request::EnsureNothingKept { .. } = request {
                let answer = scene.ask(ALICE, request);
                let is_refused = matches!(answer, Err(HostError::BadRequest { .. }));
                assert!(is_refused || answer == Ok(Answer::Ensured { changed: false, domain: None }), "{answer:?}");
                continue;
            }
            let answer = scene.ask(ALICE, request.clone());
            let expected = Err(HostError::StaleGeneration { current, asked: current - 1 });
            assert_eq!(answer, expected, "{request:?}");
        }
        let (host, generation) = (scene.host(ALICE), current - 1);
        assert_eq!(code(host.bid(&hello, &BidRequest { generation, bid: bid(9, 1) })), "host.stale-generation");
        let refund = RefundRequest { generation, leave: credits("0") };
        assert_eq!(code(host.refund(&hello, &refund)), "host.stale-generation");
        assert_eq!(code(host.close(&hello, generation)), "host.stale-generation");
        assert_eq!((scene.domain(ALICE, "hello"), scene.account(ALICE, "hello")), before);
    };
    refused(&scene, 7);
    let path = spec("web.0").path;
    let stop = Request::EnsureStopped { pool: hello.clone(), generation: 8, path, grace_ms: 0 };
    scene.ask(ALICE, stop).unwrap();
    scene.reopen();
    refused(&scene, 8);
    scene.host(ALICE).close(&hello, 9).unwrap();
    scene.reopen();
    refused(&scene, 9);
    scene.fund(ALICE, "hello", "1");
    refused(&scene, 9);
}

/// How much is remembered, without what was charged lately.
fn memory_bytes(tree: &sled::Tree) -> usize {
    let records = tree.iter().map(|record| record.unwrap());
    let is_memory = |key: &sled::IVec| !key.starts_with(b"charges/");
    records.filter(|(key, _)| is_memory(key)).map(|(_, value)| value.len()).sum()
}

/// Nothing is remembered of pools of which nothing is here: names cost nothing, and there are many.
#[test]
fn names_of_pools_do_not_fill_the_memory() {
    let scene = Scene::new();
    let tree = scene.database.open_tree("daemon").unwrap();
    let size = || memory_bytes(&tree);
    let before = size();
    for number in 0..50 {
        let hello = pool(&format!("p{number}"));
        assert_eq!(code(scene.host(STRANGER).close(&hello, number)), "host.no-account");
        let path = spec("web.0").path;
        scene.ask(STRANGER, Request::EnsureAbsent { pool: hello, generation: number, path, keep: Vec::new() }).unwrap();
    }
    assert_eq!(size(), before);
}

#[test]
fn closed_pools_are_forgotten_once_there_are_too_many_or_they_are_old() {
    let scene = Scene::new();
    let (bob, tree) = (scene.receipt(BOB, "kept", "1"), scene.database.open_tree("daemon").unwrap());
    scene.host(BOB).fund(&pool("kept"), &bob).unwrap();
    scene.close(BOB, "kept").unwrap();
    for number in 0..70 {
        let name = format!("p{number}");
        scene.fund(ALICE, &name, "0.01");
        scene.close(ALICE, &name).unwrap();
        scene.pass(1);
    }
    assert_eq!(code(scene.close(ALICE, "p0")), "host.no-account", "the oldest of the 70");
    assert_eq!(scene.close(ALICE, "p69").unwrap().refunded, credits("0.01"));
    assert_eq!(scene.close(BOB, "kept").unwrap().refunded, credits("1"), "Alice's do not push out Bob's");
    let many = memory_bytes(&tree);
    scene.pass(31 * DAY);
    assert_eq!(code(scene.close(BOB, "kept")), "host.no-account");
    assert!(memory_bytes(&tree) < many, "and with them their keys");
}

#[test]
fn nonsense_is_refused_before_anything_is_made() {
    let scene = Scene::new();
    scene.fund(ALICE, "hello", "10");
    scene.bid(ALICE, "hello", bid(HOUR, 1)).unwrap();
    scene.ask(ALICE, making("hello", &spec("web.0"))[0].clone()).unwrap();
    let mut wrong = spec("web.0");
    wrong.volumes[0].name = "../../etc".into();
    let answer = scene.ask(ALICE, making("hello", &wrong)[1].clone());
    assert!(matches!(answer, Err(HostError::BadRequest { .. })), "{answer:?}");
    let answer = scene.ask(ALICE, Request::EnsureImage { image: "no-such-image".into() });
    assert!(matches!(answer, Err(HostError::NoImage { .. })), "{answer:?}");
    assert_eq!(scene.domains(), []);
}

/// A bid that has to wait is no error of the call; making domains for it is.
#[test]
fn who_waits_makes_no_domains() {
    let scene = Scene::new();
    scene.fund(ALICE, "small", "1");
    scene.bid(ALICE, "small", memory_bid(HOUR, 8)).unwrap();
    scene.fund(BOB, "rich", "100");
    let report = scene.bid(BOB, "rich", bid(HOUR, 1)).unwrap();
    assert_eq!(report.state, AccountState::Waiting, "Alice has her grace before Bob comes in");
    assert_eq!(report.allocation, Default::default());
    scene.ask(BOB, making("rich", &spec("web.0"))[0].clone()).unwrap();
    for request in &making("rich", &spec("web.0"))[1..] {
        let answer = scene.ask(BOB, request.clone());
        assert_eq!(answer, Err(HostError::NotPaid { pool: pool("rich") }), "{request:?}");
    }
    assert!(matches!(scene.account(ALICE, "small").unwrap().state, AccountState::Warned { .. }));
    scene.pass(301);
    assert_eq!(scene.account(BOB, "rich").unwrap().state, AccountState::Active);
    scene.start(BOB, "rich", &spec("web.0"));
    scene.check_money();
}

#[test]
fn a_draining_host_takes_nobody_new_and_keeps_who_is_there() {
    let mut scene = Scene::new();
    scene.fund(ALICE, "hello", "10");
    scene.bid(ALICE, "hello", bid(HOUR, 2)).unwrap();
    scene.start(ALICE, "hello", &spec("web.0"));
    scene.daemon().set_draining(true).unwrap();
    scene.reopen();
    assert!(scene.host(BOB).offers(&pool("hello")).unwrap().is_draining);
    let minima = [(ResourceKind::Memory, Quantity::from_bytes(GIB))].into_iter().collect();
    let quote = scene.host(BOB).quote(&QuoteRequest { pool: pool("hello"), minima });
    assert_eq!(code(quote), "host.draining");
    let receipt = scene.receipt(BOB, "hello", "10");
    assert_eq!(code(scene.host(BOB).fund(&pool("hello"), &receipt)), "host.draining");
    let more = scene.ask(ALICE, making("hello", &spec("web.1"))[1].clone());
    assert_eq!(more, Err(HostError::Draining));
    scene.start(ALICE, "hello", &spec("web.0"));
    scene.pass(60);
    assert_eq!(scene.account(ALICE, "hello").unwrap().state, AccountState::Active);
    scene.daemon().set_draining(false).unwrap();
    scene.host(BOB).fund(&pool("hello"), &receipt).unwrap();
}
