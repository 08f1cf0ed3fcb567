//! A site in this process: a bank and hosts as they are in a real one, with a line between them and the executor that
//! fails on purpose.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use tycoon_bank::api::RefusedClaim;
use tycoon_bank::ledger::{AccountKind, EscrowOrder};
use tycoon_bank::store::MemoryStore;
use tycoon_bank::{Bank, BankClient, BankService, Options, Registration, api};
use tycoon_executor::engine::StopFlag;
use tycoon_executor::journal::AfterRecord;
use tycoon_executor::link::{BankAccount, BankEscrow, BankLink, HostLink, LinkError, Site, SiteHost};
use tycoon_executor::progress::Silent;
use tycoon_executor::run::{Run, Runner};
use tycoon_lang::pool::Pool;
use tycoon_lang::{MemoryLoader, Options as LoadOptions};
use tycoon_market::auctioneer::HostConfig;
use tycoon_market::bid::{Amount, Bid, Preference};
use tycoon_market::ids::{EscrowId, TransferId};
use tycoon_market::receipt::Receipt;
use tycoon_market::{AccountId, Credits, PoolName, PublicKey, Quantity, Rate, ResourceKind, TimeSpan, Timestamp};
use tycoon_planner::Saving;
use tycoon_planner::plan::PlannedEscrow;
use tycoon_rpc::{Caller, Clock, CountedNonces, FixedClock, InProcess, ReplayPolicy, SecretKey, Service, Signer as _};
use tycoon_xen::client::HostClient;
use tycoon_xen::daemon::{HostDaemon, HostIdentity, HostParts};
use tycoon_xen::hypervisor::Hypervisor;
use tycoon_xen::market::{
    AccountReport, BidRequest, ChargesReport, CloseReport, OffersReport, Quote, QuoteRequest, RefundRequest,
};
use tycoon_xen::memory::{MemoryHost, MemoryHostConfig, PrivateNetwork};
use tycoon_xen::protocol::{Answer, Request};
use tycoon_xen::status::{DomainState, DomainStatus};

use super::faults::Faults;

const GIB: u64 = 1 << 30;
/// What each of the two payers has at first.
const OPENING: Credits = Credits::from_micros(1_000_000_000);

/// How often a command is run again before it is believed to get nowhere.
const ROUNDS: usize = 20;

/// Who takes part; the number is the seed of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party(u8);

pub const ALICE: Party = Party(10);
pub const BOB: Party = Party(11);
const BANK: Party = Party(1);
const ISSUER: Party = Party(2);
const OWNER: Party = Party(3);
/// The first host; the others follow.
const FIRST_HOST: u8 = 20;

impl Party {
    fn secret(self) -> SecretKey {
        SecretKey::from_seed(&[self.0; 32])
    }

    fn key(self) -> PublicKey {
        self.secret().public_key()
    }

    pub fn account(self) -> AccountId {
        AccountId::of(&self.key())
    }
}

/// Bank and hosts.
pub struct World {
    folder: TempDir,
    pub clock: Arc<FixedClock>,
    pub bank: Arc<Bank>,
    service: Arc<BankService>,
    hosts: Vec<WorldHost>,
    nonces: AtomicU64,
}

struct WorldHost {
    party: Party,
    daemon: Arc<HostDaemon>,
    machine: Arc<MemoryHost>,
}

impl World {
    /// A bank, and this many hosts of 4 CPUs, 4 GiB and 40 GiB of disk each, the first the cheapest.
    pub fn new(hosts: u8) -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock::new(Timestamp::from_seconds(1_800_000_000)));
        let options = Options::new(folder.path().join("bank"));
        let store = Arc::new(MemoryStore::new());
        let (bank, _) = Bank::open(options, store, Arc::new(BANK.secret()), clock.clone(), ISSUER.key()).unwrap();
        let bank = Arc::new(bank);
        let policy = ReplayPolicy::IN_PROCESS;
        let service =
            BankService::new(bank.clone(), Arc::new(BANK.secret()), clock.clone(), policy, Registration::Open);
        let nonces = AtomicU64::new(1);
        let mut world = Self { folder, clock, bank, service: Arc::new(service), hosts: Vec::new(), nonces };
        for party in [OWNER, ALICE, BOB] {
            world.bank_client(party).open_account(party.key(), AccountKind::User, "").unwrap();
        }
        for party in [ALICE, BOB] {
            let id = TransferId::from_bytes([party.0; 16]);
            let request = api::IssueRequest { id, to: party.account(), amount: OPENING, memo: String::new() };
            world.bank_client(ISSUER).issue(&request).unwrap();
        }
        let database = sled::Config::new().temporary(true).flush_every_ms(None).open().unwrap();
        for number in 0..hosts {
            let host = world.host(number, &database);
            world.hosts.push(host);
        }
        Arc::new(world)
    }

    fn host(&self, number: u8, database: &sled::Db) -> WorldHost {
        let party = Party(FIRST_HOST + number);
        let tree = |kind: &str| database.open_tree(format!("{number}.{kind}")).unwrap();
        let config = MemoryHostConfig {
            cpus: 4,
            memory_bytes: 5 * GIB,
            disk_bytes: 40 * GIB,
            network: PrivateNetwork::numbered(u32::from(number)),
            ..MemoryHostConfig::default()
        };
        let machine = Arc::new(MemoryHost::open(tree("machine"), config).unwrap());
        let capacity = machine.facts().unwrap().capacity.into_iter().collect();
        let price =
            |kind, per_hour: f64| (kind, Rate::from_credits_per_hour(per_hour * (1.0 + f64::from(number) / 10.0)));
        let base_price = BTreeMap::from([
            price(ResourceKind::Cpu, 0.5),
            price(ResourceKind::Memory, 0.1),
            price(ResourceKind::Disk, 0.002),
        ]);
        let parts = HostParts {
            identity: HostIdentity {
                name: format!("host{number}").parse().unwrap(),
                signer: Arc::new(party.secret()),
                owner: OWNER.account(),
                bank: BANK.key(),
            },
            tree: tree("daemon"),
            log: tree("log"),
            config: HostConfig::new(capacity, base_price),
            hypervisor: machine.clone(),
            bank: self.bank_client(party),
            clock: self.clock.clone(),
            replay: ReplayPolicy::IN_PROCESS,
        };
        WorldHost { party, daemon: Arc::new(HostDaemon::open(parts).unwrap()), machine }
    }

    fn caller(&self, party: Party, recipient: Party, service: impl Service + 'static) -> Caller {
        let nonces = CountedNonces::new(self.nonces.fetch_add(1, Ordering::Relaxed));
        Caller::new(Arc::new(party.secret()), recipient.key(), Arc::new(InProcess(service)))
            .with_clock(self.clock.clone())
            .with_nonces(Arc::new(nonces))
    }

    fn bank_client(&self, party: Party) -> BankClient {
        BankClient::new(self.caller(party, BANK, self.service.clone()))
    }

    /// Lets time pass, with a tick of every host at its end.
    pub fn pass(&self, seconds: u64) {
        self.clock.advance(TimeSpan::from_seconds(seconds));
        for host in &self.hosts {
            host.daemon.tick().unwrap();
        }
    }

    /// `party` reserves this much memory of the first host for ten hours, for `amount` credits.
    pub fn reserve_memory(&self, party: Party, gib: u64, amount: &str) {
        let (pool, host): (PoolName, _) = ("squat".parse().unwrap(), &self.hosts[0]);
        let order = EscrowOrder {
            id: EscrowId::from_bytes([99; 16]),
            payer: party.account(),
            pool: pool.clone(),
            host: host.daemon.id(),
            host_key: host.party.key(),
            beneficiary: OWNER.account(),
            amount: amount.parse().unwrap(),
            longest: TimeSpan::from_seconds(1_000_000),
            highest_rate: Rate::from_credits_per_hour(1_000.0),
        };
        let receipt = self.bank_client(party).open_escrow(&order).unwrap();
        let client = HostClient::new(self.caller(party, host.party, host.daemon.clone()));
        client.fund(&pool, &receipt).unwrap();
        let memory = Amount::Quantity(Quantity::from_bytes(gib * GIB));
        let preferences = BTreeMap::from([(ResourceKind::Memory, Preference::new(1.0, memory, memory))]);
        let bid = Bid::new(TimeSpan::from_seconds(36_000), preferences).unwrap();
        client.bid(&pool, &BidRequest { generation: 1, bid }).unwrap();
    }

    /// All domains of `party` on all machines.
    pub fn domains(&self, party: Party) -> Vec<DomainStatus> {
        let all = self.hosts.iter().flat_map(|host| host.machine.domains(self.clock.now()).unwrap());
        all.filter(|domain| domain.ownership.as_ref().is_some_and(|own| own.account == party.account())).collect()
    }

    /// The open host accounts of `party`.
    pub fn accounts(&self, party: Party) -> Vec<AccountReport> {
        let ask =
            |host: &WorldHost| HostClient::new(self.caller(party, host.party, host.daemon.clone())).accounts().unwrap();
        self.hosts.iter().flat_map(ask).collect()
    }

    pub fn balance(&self, party: Party) -> Credits {
        self.bank.read(|store| store.account(&party.account())).unwrap().unwrap().balance
    }

    /// No credit was lost or made, at the bank and at every host.
    pub fn check_money(&self) {
        let books = self.bank.books().unwrap();
        assert!(books.are_balanced(), "{books:?}");
        let people = [ALICE, BOB, OWNER].map(|party| self.balance(party));
        let sum = Credits::checked_sum(people.into_iter().chain([books.in_escrow])).unwrap();
        assert_eq!(sum, books.issued);
        for report in [ALICE, BOB].into_iter().flat_map(|party| self.accounts(party)) {
            let released = Credits::checked_sum(report.escrows.iter().map(|escrow| escrow.released)).unwrap();
            assert_eq!(Credits::checked_sum([report.charged, report.balance, released]), Some(report.funded));
        }
    }

    /// Every domain of `pool` runs once, as it is described, and nothing else does.
    pub fn check_up(&self, party: Party, pool: &Pool) {
        let domains = self.domains(party);
        let running: BTreeMap<String, &DomainStatus> =
            domains.iter().map(|domain| (domain.ownership.as_ref().unwrap().path.to_string(), domain)).collect();
        assert_eq!(running.len(), domains.len(), "a domain is there twice: {domains:?}");
        let wanted: Vec<&str> = pool.domains.iter().map(|domain| domain.path.as_str()).collect();
        assert_eq!(running.keys().map(String::as_str).collect::<Vec<_>>(), wanted);
        for domain in &pool.domains {
            let status = running[&domain.path];
            assert_eq!(status.state, DomainState::Running, "{}", domain.path);
            assert_eq!((status.memory_bytes, status.vcpus), (domain.memory_bytes, domain.vcpus), "{}", domain.path);
        }
        self.check_money();
    }

    /// Nothing of `party` is left anywhere, and all money is where it belongs.
    pub fn check_down(&self, party: Party) {
        assert_eq!(self.domains(party), []);
        assert_eq!(self.accounts(party), []);
        self.check_money();
    }

    /// What runs pools for `party`, over lines that fail as `faults` says.
    pub fn runner(self: &Arc<Self>, party: Party, faults: &Arc<Faults>, after_record: Option<AfterRecord>) -> Runner {
        let journals = self.folder.path().join(party.0.to_string());
        std::fs::create_dir_all(&journals).unwrap();
        Runner {
            site: Arc::new(FaultySite::new(self.clone(), party, faults.clone())),
            journals,
            command: "a test".into(),
            observer: Arc::new(Silent),
            stop: StopFlag::default(),
            after_record,
        }
    }

    /// The journal of a pool of `party`.
    pub fn journal(&self, party: Party, pool: &str) -> PathBuf {
        self.folder.path().join(party.0.to_string()).join(format!("{pool}.journal"))
    }
}

/// The world as one party's runner sees it.
struct FaultySite {
    world: Arc<World>,
    party: Party,
    bank: FaultyBank,
    hosts: Vec<SiteHost>,
}

impl FaultySite {
    fn new(world: Arc<World>, party: Party, faults: Arc<Faults>) -> Self {
        let bank = FaultyBank { client: world.bank_client(party), account: party.account(), faults: faults.clone() };
        let host = |(number, host): (usize, &WorldHost)| SiteHost {
            id: host.daemon.id(),
            name: format!("host{number}").parse().unwrap(),
            owner: OWNER.account(),
            key: host.party.key(),
            is_simulated: true,
            architecture: "x86_64".into(),
            labels: BTreeMap::new(),
            link: Arc::new(FaultyHost {
                market: HostClient::new(world.caller(party, host.party, host.daemon.clone())),
                daemon: host.daemon.clone(),
                account: party.account(),
                faults: faults.clone(),
            }),
        };
        let hosts = world.hosts.iter().enumerate().map(host).collect();
        Self { world, party, bank, hosts }
    }
}

impl Site for FaultySite {
    fn account(&self) -> AccountId {
        self.party.account()
    }

    fn bank(&self) -> &dyn BankLink {
        &self.bank
    }

    fn hosts(&self) -> Result<Vec<SiteHost>, LinkError> {
        Ok(self.hosts.clone())
    }

    fn clock(&self) -> &dyn Clock {
        &*self.world.clock
    }
}

struct FaultyBank {
    client: BankClient,
    account: AccountId,
    faults: Arc<Faults>,
}

impl BankLink for FaultyBank {
    fn account(&self) -> Result<BankAccount, LinkError> {
        self.faults.call("account", || {
            let account = self.client.account(&self.account).map_err(LinkError::from)?;
            let keys = account.keys.iter().map(|key| key.key).collect();
            Ok(BankAccount { balance: account.balance, keys })
        })
    }

    fn escrows(&self, pool: Option<&PoolName>) -> Result<Vec<BankEscrow>, LinkError> {
        self.faults.call("escrows", || {
            let escrows = self.client.escrows(pool, None).map_err(LinkError::from)?;
            let view = escrows.into_iter().map(|escrow| BankEscrow {
                id: escrow.order.id,
                pool: escrow.order.pool,
                host: escrow.order.host,
                opened_at: escrow.opened_at,
                amount: escrow.order.amount,
                drawn: escrow.drawn,
                released: escrow.released,
                is_open: escrow.end.is_none(),
                highest_rate: escrow.order.highest_rate,
            });
            Ok(view.collect())
        })
    }

    fn open_escrow(&self, pool: &PoolName, host: &SiteHost, escrow: &PlannedEscrow) -> Result<Receipt, LinkError> {
        let order = EscrowOrder {
            id: escrow.id,
            payer: self.account,
            pool: pool.clone(),
            host: host.id,
            host_key: host.key,
            beneficiary: host.owner,
            amount: escrow.amount,
            longest: escrow.longest,
            highest_rate: escrow.highest_rate,
        };
        self.faults.call("open escrow", || self.client.open_escrow(&order).map_err(LinkError::from))
    }

    fn refused_claims(&self) -> Result<Vec<RefusedClaim>, LinkError> {
        self.faults.call("claims", || self.client.refused_claims().map_err(LinkError::from))
    }

    fn receipt(&self, escrow: EscrowId) -> Result<Receipt, LinkError> {
        self.faults.call("receipt", || Ok(self.client.escrow(&escrow).map_err(LinkError::from)?.receipt))
    }
}

struct FaultyHost {
    market: HostClient,
    daemon: Arc<HostDaemon>,
    account: AccountId,
    faults: Arc<Faults>,
}

impl HostLink for FaultyHost {
    fn offers(&self, pool: &PoolName) -> Result<OffersReport, LinkError> {
        self.faults.call("offers", || self.market.offers(pool).map_err(LinkError::from))
    }

    fn quote(&self, request: &QuoteRequest) -> Result<Quote, LinkError> {
        self.faults.call("quote", || self.market.quote(request).map_err(LinkError::from))
    }

    fn account(&self, pool: &PoolName) -> Result<Option<AccountReport>, LinkError> {
        self.faults.call("account", || self.market.account(pool).map_err(LinkError::from))
    }

    fn accounts(&self) -> Result<Vec<AccountReport>, LinkError> {
        self.faults.call("accounts", || self.market.accounts().map_err(LinkError::from))
    }

    fn charges(&self, pool: &PoolName) -> Result<Option<ChargesReport>, LinkError> {
        self.faults.call("charges", || self.market.charges(pool).map_err(LinkError::from))
    }

    fn fund(&self, pool: &PoolName, receipt: &Receipt) -> Result<AccountReport, LinkError> {
        self.faults.call("fund", || self.market.fund(pool, receipt).map_err(LinkError::from))
    }

    fn bid(&self, pool: &PoolName, request: &BidRequest) -> Result<AccountReport, LinkError> {
        self.faults.call("bid", || self.market.bid(pool, request).map_err(LinkError::from))
    }

    fn refund(&self, pool: &PoolName, request: &RefundRequest) -> Result<AccountReport, LinkError> {
        self.faults.call("refund", || self.market.refund(pool, request).map_err(LinkError::from))
    }

    fn close(&self, pool: &PoolName, generation: u64) -> Result<CloseReport, LinkError> {
        self.faults.call("close", || self.market.close(pool, generation).map_err(LinkError::from))
    }

    fn request(&self, request: &Request) -> Result<Answer, LinkError> {
        self.faults.call("request", || Ok(self.daemon.session(self.account, request.clone())?))
    }
}

/// The pool of a description.
pub fn pool(text: &str) -> Pool {
    let loader = MemoryLoader::new().with("pool.kdl", text);
    match tycoon_lang::load("pool.kdl", &loader, &LoadOptions::default()) {
        Ok(loaded) => loaded.pool,
        Err(failure) => panic!("{}", failure.to_text()),
    }
}

/// Brings the pool up, as often as it takes until there is nothing left to do.
pub fn up(runner: &Runner, pool: &Pool) {
    let mut last = None;
    for _ in 0..ROUNDS {
        match runner.up(pool, &mut |_| true) {
            Ok(Some(run)) if run.plan.is_empty() => return,
            outcome => last = Some(outcome),
        }
    }
    panic!("the pool does not come up: {:?}", last.map(|outcome| outcome.map(|run| run.map(failures))));
}

/// Takes the pool down, as often as it takes until there is nothing left to do.
pub fn down(runner: &Runner, pool: &PoolName) {
    let mut last = None;
    for _ in 0..ROUNDS {
        match runner.down(pool, &Saving::AsAsked, &mut |_| true) {
            // A host that does not answer may hold something still.
            Ok(Some(run)) if run.plan.is_empty() && run.plan.report.unreached.is_empty() => return,
            outcome => last = Some(outcome),
        }
    }
    panic!("the pool does not go down: {:?}", last.map(|outcome| outcome.map(|run| run.map(failures))));
}

/// The failed steps of a run.
pub fn failures(run: Run) -> Vec<(String, String)> {
    run.report.failures(&run.plan).map(|(step, error)| (step.action.describe(), error.to_owned())).collect()
}
