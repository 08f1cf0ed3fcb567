//! What the tests work with: a bank, a host, people with money, and a clock.
#![allow(dead_code, reason = "each subject uses its part")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use http::{Request as HttpRequest, Response};
use tempfile::TempDir;
use tycoon_bank::ledger::{Account, AccountKind, Escrow, EscrowEnd, EscrowOrder, KeyChange, KeyRole};
use tycoon_bank::store::SledStore;
use tycoon_bank::{Bank, BankClient, BankService, Options, Registration, api};
use tycoon_market::auctioneer::HostConfig;
use tycoon_market::bid::{Amount, Bid, Preference};
use tycoon_market::{
    AccountId, Credits, EscrowId, HostAccountId, HostId, PoolName, PublicKey, Quantity, Rate, Receipt, ResourceKind,
    TimeSpan, Timestamp, TransferId,
};
use tycoon_rpc::{
    CallError, Caller, Clock as _, CountedNonces, FixedClock, InProcess, ReplayPolicy, SecretKey, Signer as _,
    Transport, TransportError,
};
use tycoon_xen::client::HostClient;
use tycoon_xen::daemon::{HostDaemon, HostIdentity, HostParts};
use tycoon_xen::hypervisor::Hypervisor;
use tycoon_xen::market::{AccountReport, BidRequest, CloseReport, RefundRequest};
use tycoon_xen::memory::{Demand, MemoryHost, MemoryHostConfig};
use tycoon_xen::protocol::{Answer, HostError, Request};
use tycoon_xen::spec::{Boot, CloudInit, DomainPath, DomainSpec, KeepVolumes, NicSpec, RunRules, VolumeSpec};
use tycoon_xen::status::DomainStatus;

pub const GIB: u64 = 1 << 30;
pub const HOUR: u64 = 3_600;
pub const DAY: u64 = 86_400;

/// Who takes part; the number is the seed of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Party(pub u8);

pub const BANK: Party = Party(1);
pub const ISSUER: Party = Party(2);
pub const HOST: Party = Party(3);
pub const OWNER: Party = Party(4);
pub const ALICE: Party = Party(10);
pub const BOB: Party = Party(11);
/// Somebody without an account at the bank.
pub const STRANGER: Party = Party(12);

impl Party {
    pub fn secret(self) -> SecretKey {
        SecretKey::from_seed(&[self.0; 32])
    }

    pub fn key(self) -> PublicKey {
        self.secret().public_key()
    }

    pub fn account(self) -> AccountId {
        AccountId::of(&self.key())
    }

    pub fn at(self, pool: &str) -> HostAccountId {
        HostAccountId::new(self.account(), self::pool(pool))
    }
}

pub fn pool(name: &str) -> PoolName {
    name.parse().unwrap()
}

pub fn credits(text: &str) -> Credits {
    text.parse().unwrap()
}

/// How the daemon's calls reach the bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    Works,
    /// Nothing gets there.
    Cut,
    /// Everything gets there, and no answer comes back.
    Deaf,
    /// Nothing gets there until the line is set to something else, and nobody is told so.
    Stuck,
}

/// The line from the host to the bank.
pub struct Wire {
    service: Arc<BankService>,
    line: Mutex<Line>,
    changed: Condvar,
    /// Calls that fail all the same, by their number from 0.
    faults: Mutex<BTreeMap<u64, Line>>,
    calls: AtomicU64,
}

impl Wire {
    pub fn set(&self, line: Line) {
        *self.line.lock().unwrap() = line;
        self.changed.notify_all();
    }

    /// The call with this number from now on fails.
    pub fn fail(&self, number: u64, how: Line) {
        self.faults.lock().unwrap().insert(self.calls() + number, how);
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Transport for Wire {
    fn send(&self, request: HttpRequest<Vec<u8>>) -> Result<Response<Vec<u8>>, TransportError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let fault = self.faults.lock().unwrap().get(&number).copied();
        let set = self.line.lock().unwrap();
        let set = *self.changed.wait_while(set, |line| *line == Line::Stuck).unwrap();
        let line = fault.unwrap_or(set);
        let lost = || TransportError::Unreachable { service: "the bank".into(), reason: "the line is cut".into() };
        match line {
            Line::Works => InProcess(self.service.clone()).send(request),
            Line::Cut | Line::Stuck => Err(lost()),
            Line::Deaf => {
                let _ = InProcess(self.service.clone()).send(request);
                Err(lost())
            }
        }
    }
}

/// Everything.
pub struct Scene {
    _folder: TempDir,
    pub database: sled::Db,
    pub clock: Arc<FixedClock>,
    pub bank: Arc<Bank>,
    bank_service: Arc<BankService>,
    pub wire: Arc<Wire>,
    pub machine: Arc<dyn Hypervisor>,
    pub config: HostConfig,
    daemon: Option<Arc<HostDaemon>>,
    nonces: AtomicU64,
    escrows: AtomicU64,
}

impl Scene {
    /// A host with 4 CPUs, 8 GiB for domains and 100 GiB of disk; Alice and Bob with 1000 credits each.
    pub fn new() -> Self {
        Self::with_machine(|memory| Arc::new(memory))
    }

    /// The same with something put before the simulated host.
    pub fn with_machine(wrap: impl FnOnce(MemoryHost) -> Arc<dyn Hypervisor>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = sled::Config::new().path(folder.path().join("db")).flush_every_ms(None).open().unwrap();
        let clock = Arc::new(FixedClock::new(Timestamp::from_seconds(1_800_000_000)));
        let store = Arc::new(SledStore::open(&database, "bank").unwrap());
        let options = Options::new(folder.path().join("journal"));
        let (bank, _) = Bank::open(options, store, Arc::new(BANK.secret()), clock.clone(), ISSUER.key()).unwrap();
        let bank = Arc::new(bank);
        let bank_service = Arc::new(BankService::new(
            bank.clone(),
            Arc::new(BANK.secret()),
            clock.clone(),
            ReplayPolicy::IN_PROCESS,
            Registration::Open,
        ));
        let wire = Arc::new(Wire {
            service: bank_service.clone(),
            line: Mutex::new(Line::Works),
            changed: Condvar::new(),
            faults: Mutex::default(),
            calls: AtomicU64::new(0),
        });
        let machine_config = MemoryHostConfig {
            cpus: 4,
            memory_bytes: 9 * GIB,
            disk_bytes: 100 * GIB,
            demand: Demand::FULL,
            ..MemoryHostConfig::default()
        };
        let memory = MemoryHost::open(database.open_tree("machine").unwrap(), machine_config).unwrap();
        let capacity: BTreeMap<_, _> = memory.facts().unwrap().capacity.into_iter().collect();
        let price = |kind, per_hour| (kind, Rate::from_credits_per_hour(per_hour));
        let base_price = BTreeMap::from([
            price(ResourceKind::Cpu, 0.5),
            price(ResourceKind::Memory, 0.1),
            price(ResourceKind::Disk, 0.002),
        ]);
        let mut scene = Self {
            _folder: folder,
            database,
            clock,
            bank,
            bank_service,
            wire,
            machine: wrap(memory),
            config: HostConfig::new(capacity, base_price),
            daemon: None,
            nonces: AtomicU64::new(1),
            escrows: AtomicU64::new(1),
        };
        for party in [OWNER, ALICE, BOB] {
            scene.bank_client(party).open_account(party.key(), AccountKind::User, "").unwrap();
        }
        for party in [ALICE, BOB] {
            let id = TransferId::from_bytes([party.0; 16]);
            let request = api::IssueRequest { id, to: party.account(), amount: credits("1000"), memo: String::new() };
            scene.bank_client(ISSUER).issue(&request).unwrap();
        }
        scene.reopen();
        scene
    }

    fn caller(&self, party: Party, recipient: PublicKey, transport: Arc<dyn Transport>) -> Caller {
        let nonces = CountedNonces::new(self.nonces.fetch_add(1, Ordering::Relaxed));
        Caller::new(Arc::new(party.secret()), recipient, transport)
            .with_clock(self.clock.clone())
            .with_nonces(Arc::new(nonces))
    }

    /// A client of the bank with the key of `party`, over a line that always works.
    pub fn bank_client(&self, party: Party) -> BankClient {
        BankClient::new(self.caller(party, BANK.key(), Arc::new(InProcess(self.bank_service.clone()))))
    }

    /// A client of the host with the key of `party`.
    pub fn host(&self, party: Party) -> HostClient {
        HostClient::new(self.caller(party, HOST.key(), Arc::new(InProcess(self.daemon().clone()))))
    }

    /// A call of the host with any body.
    pub fn put_raw(&self, party: Party, path: &str, body: &serde_json::Value) -> Result<serde_json::Value, CallError> {
        let caller = self.caller(party, HOST.key(), Arc::new(InProcess(self.daemon().clone())));
        caller.call(http::Method::PUT, path, &[], Some(body))
    }

    pub fn daemon(&self) -> &Arc<HostDaemon> {
        self.daemon.as_ref().unwrap()
    }

    fn parts(&self, tree: &str) -> HostParts {
        HostParts {
            identity: HostIdentity {
                name: "host1".parse().unwrap(),
                signer: Arc::new(HOST.secret()),
                owner: OWNER.account(),
                bank: BANK.key(),
            },
            tree: self.database.open_tree(tree).unwrap(),
            log: self.log_of(tree),
            config: self.config.clone(),
            hypervisor: self.machine.clone(),
            bank: BankClient::new(self.caller(HOST, BANK.key(), self.wire.clone())),
            clock: self.clock.clone(),
            replay: ReplayPolicy::IN_PROCESS,
        }
    }

    /// Ends the daemon and starts it again from what it has saved.
    pub fn reopen(&mut self) {
        self.daemon = None;
        self.daemon = Some(Arc::new(HostDaemon::open(self.parts("daemon")).unwrap()));
    }

    /// Ends the daemon and starts it with the memory that is in another tree: none, or an older copy.
    pub fn reopen_from(&mut self, tree: &str) {
        self.daemon = None;
        self.daemon = Some(Arc::new(HostDaemon::open(self.parts(tree)).unwrap()));
    }

    /// Copies the daemon's memory into another tree.
    pub fn copy_memory(&self, tree: &str) {
        let copies = [self.database.open_tree(tree).unwrap(), self.log_of(tree)];
        for (copy, kept) in copies.iter().zip([self.database.open_tree("daemon").unwrap(), self.log_of("daemon")]) {
            for entry in kept.iter() {
                let (key, value) = entry.unwrap();
                copy.insert(key, value).unwrap();
            }
        }
    }

    /// The log beside the memory that is in a tree.
    pub fn log_of(&self, tree: &str) -> sled::Tree {
        self.database.open_tree(format!("{tree} log")).unwrap()
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Lets time pass, and ticks at its end.
    pub fn pass(&self, seconds: u64) {
        self.clock.advance(TimeSpan::from_seconds(seconds));
        self.daemon().tick().unwrap();
    }

    /// Lets time pass with a tick each hour.
    pub fn pass_hours(&self, hours: u64) {
        (0..hours).for_each(|_| self.pass(HOUR));
    }

    /// What an escrow of `amount` for this host is ordered with.
    pub fn order(&self, party: Party, pool_name: &str, amount: &str) -> EscrowOrder {
        let number = self.escrows.fetch_add(1, Ordering::Relaxed);
        EscrowOrder {
            id: EscrowId::from_bytes(u128::from(number).to_be_bytes()),
            payer: party.account(),
            pool: pool(pool_name),
            host: HostId::of(&HOST.key()),
            host_key: HOST.key(),
            beneficiary: OWNER.account(),
            amount: credits(amount),
            longest: TimeSpan::from_seconds(60 * DAY),
            highest_rate: Rate::from_credits_per_hour(1_000_000.0),
        }
    }

    /// Sets money aside at the bank.
    pub fn receipt(&self, party: Party, pool_name: &str, amount: &str) -> Receipt {
        self.bank_client(party).open_escrow(&self.order(party, pool_name, amount)).unwrap()
    }

    /// Sets money aside and hands the receipt in.
    pub fn fund(&self, party: Party, pool_name: &str, amount: &str) -> AccountReport {
        let receipt = self.receipt(party, pool_name, amount);
        self.host(party).fund(&pool(pool_name), &receipt).unwrap()
    }

    pub fn bid(&self, party: Party, pool_name: &str, bid: Bid) -> Result<AccountReport, CallError> {
        self.host(party).bid(&pool(pool_name), &BidRequest { generation: 1, bid })
    }

    pub fn refund(&self, party: Party, pool_name: &str, leave: &str) -> Result<AccountReport, CallError> {
        self.host(party).refund(&pool(pool_name), &RefundRequest { generation: 1, leave: credits(leave) })
    }

    pub fn close(&self, party: Party, pool_name: &str) -> Result<CloseReport, CallError> {
        self.host(party).close(&pool(pool_name), 1)
    }

    pub fn account(&self, party: Party, pool_name: &str) -> Option<AccountReport> {
        self.host(party).account(&pool(pool_name)).unwrap()
    }

    /// Money, a bid for one small domain over `duration`, and the domain running.
    pub fn bring_up(&self, party: Party, pool_name: &str, amount: &str, duration: u64) {
        self.fund(party, pool_name, amount);
        self.bid(party, pool_name, bid(duration, 1)).unwrap();
        self.start(party, pool_name, &spec("web.0"));
    }

    /// Has the domain made and running.
    pub fn start(&self, party: Party, pool_name: &str, spec: &DomainSpec) {
        for request in making(pool_name, spec) {
            self.ask(party, request.clone()).unwrap_or_else(|error| panic!("{request:?}: {error}"));
        }
    }

    /// One request of a session of `party`.
    pub fn ask(&self, party: Party, request: Request) -> Result<Answer, HostError> {
        self.daemon().session(party.account(), request)
    }

    /// All domains on the machine.
    pub fn domains(&self) -> Vec<DomainStatus> {
        self.machine.domains(self.now()).unwrap()
    }

    /// The only domain of `party`'s pool.
    pub fn domain(&self, party: Party, pool_name: &str) -> Option<DomainStatus> {
        let mut its = self.domains().into_iter().filter(|domain| {
            domain
                .ownership
                .as_ref()
                .is_some_and(|own| own.account == party.account() && own.pool.as_str() == pool_name)
        });
        let only = its.next();
        assert!(its.next().is_none(), "there is more than one domain");
        only
    }

    pub fn bank_account(&self, party: Party) -> Account {
        self.bank.read(|store| store.account(&party.account())).unwrap().unwrap()
    }

    /// What `party` has on her bank account.
    pub fn balance(&self, party: Party) -> Credits {
        self.bank_account(party).balance
    }

    pub fn escrow(&self, id: EscrowId) -> Escrow {
        self.bank.read(|store| store.escrow(&id)).unwrap().unwrap()
    }

    /// Changes the keys of `party`'s account at the bank.
    pub fn add_key(&self, party: Party, key: Party) {
        let change = KeyChange::Put { key: key.key(), role: KeyRole::Spender, limit: None };
        self.bank_client(party).change_keys(&party.account(), &change).unwrap();
    }

    pub fn remove_key(&self, party: Party, key: Party) {
        self.bank_client(party).change_keys(&party.account(), &KeyChange::Remove { key: key.key() }).unwrap();
    }

    /// No credit was lost or made: at the bank, and in the books of every open host account.
    pub fn check_money(&self) {
        let books = self.bank.books().unwrap();
        assert!(books.are_balanced(), "{books:?}");
        assert_eq!(books.issued, credits("2000"));
        let people = [ALICE, BOB, OWNER].map(|party| self.balance(party));
        let sum = Credits::checked_sum(people.into_iter().chain([books.in_escrow])).unwrap();
        assert_eq!(sum, books.issued, "payers, owner and escrows hold all that was issued");
        for party in [ALICE, BOB] {
            for report in self.host(party).accounts().unwrap() {
                let released = Credits::checked_sum(report.escrows.iter().map(|escrow| escrow.released)).unwrap();
                let parts = Credits::checked_sum([report.charged, report.balance, released]);
                assert_eq!(parts, Some(report.funded), "{report:?}");
                for told in &report.escrows {
                    let escrow = self.escrow(told.escrow);
                    assert!(escrow.drawn <= told.drawn, "the bank paid more than was charged: {told:?} {escrow:?}");
                    let is_lapsed = escrow.end == Some(EscrowEnd::Lapsed);
                    assert!(is_lapsed || escrow.released <= told.released, "{told:?} {escrow:?}");
                }
            }
        }
    }
}

/// A bid for the minima of `domains` small domains: each a tenth of a CPU (and one at most), 1 GiB of memory and 4 GiB
/// of disk.
pub fn bid(duration: u64, domains: u64) -> Bid {
    let exactly = |bytes| {
        let amount = Amount::Quantity(Quantity::from_bytes(bytes));
        Preference::new(1.0, amount, amount)
    };
    let cpu = Preference::new(
        4.0,
        Amount::Quantity(Quantity::new(100_000 * domains)),
        Amount::Quantity(Quantity::from_cpus(domains)),
    );
    let preferences = BTreeMap::from([
        (ResourceKind::Cpu, cpu),
        (ResourceKind::Memory, exactly(domains * GIB)),
        (ResourceKind::Disk, exactly(domains * 4 * GIB)),
    ]);
    Bid::new(TimeSpan::from_seconds(duration), preferences).unwrap()
}

/// A bid for this much memory, and nothing else.
pub fn memory_bid(duration: u64, gib: u64) -> Bid {
    let amount = Amount::Quantity(Quantity::from_bytes(gib * GIB));
    let preferences = BTreeMap::from([(ResourceKind::Memory, Preference::new(1.0, amount, amount))]);
    Bid::new(TimeSpan::from_seconds(duration), preferences).unwrap()
}

/// One CPU, 1 GiB of memory, a root volume of 4 GiB.
pub fn spec(path: &str) -> DomainSpec {
    DomainSpec {
        path: path.parse().unwrap(),
        hostname: path.replace('.', "-"),
        vcpus: 1,
        memory_bytes: GIB,
        image: "std:tiny".into(),
        boot: Boot::default(),
        volumes: vec![volume("root", 4)],
        nics: vec![NicSpec::dhcp("eth0")],
        cloud_init: CloudInit::default(),
        keep_volumes: KeepVolumes::default(),
        save_image: None,
        rules: RunRules::default(),
    }
}

pub fn volume(name: &str, gib: u64) -> VolumeSpec {
    VolumeSpec::plain(name, gib * GIB)
}

/// The requests that bring a domain up, as a plan of generation 1 makes them.
pub fn making(pool_name: &str, spec: &DomainSpec) -> Vec<Request> {
    let (pool, generation) = (pool(pool_name), 1);
    vec![
        Request::EnsureImage { image: spec.image.clone() },
        Request::EnsureVolumes { pool: pool.clone(), generation, spec: spec.clone() },
        Request::EnsureDomain { pool: pool.clone(), generation, spec: spec.clone() },
        Request::EnsureRunning { pool, generation, path: spec.path.clone() },
    ]
}

/// The requests that take a domain down.
pub fn unmaking(pool_name: &str, path: &DomainPath) -> Vec<Request> {
    let (pool, generation) = (pool(pool_name), 1);
    vec![
        Request::EnsureStopped { pool: pool.clone(), generation, path: path.clone(), grace_ms: 0 },
        Request::EnsureAbsent { pool, generation, path: path.clone(), keep: Vec::new() },
    ]
}

/// The code of a refusal.
pub fn code<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> String {
    match outcome {
        Err(CallError::Refused(problem)) => problem.code.clone(),
        other => panic!("a refusal was expected: {other:?}"),
    }
}
