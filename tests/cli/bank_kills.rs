//! The bank killed again and again while many people pay each other: what was told is there, nothing counts twice, and
//! no credit is lost.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use tycoon_bank::api::{IssueRequest, TransferRequest};
use tycoon_bank::audit::{Audit, audit, audit_bank};
use tycoon_bank::ledger::AccountKind;
use tycoon_bank::postgres_books::PostgresBooks;
use tycoon_bank::{Bank, BankClient};
use tycoon_market::{AccountId, Credits, TimeSpan, Timestamp, TransferId};
use tycoon_rpc::{CallError, Caller, Clock, HttpSettings, HttpTransport, SecretKey, Signer as _, SystemClock};

use crate::bank_service::ServedBank;
use crate::cluster::Cluster;
use crate::environment::Environment;

/// People who pay each other at the same time.
const CLIENTS: u8 = 64;
/// What each of them has at first, in micro-credits.
const EACH: i64 = 1_000_000;
/// Transfers that are told before the next kill.
const TOLD_PER_ROUND: u64 = 20;

/// How often the bank is killed; `TYCOON_BANK_KILLS` says otherwise.
fn kills() -> u64 {
    std::env::var("TYCOON_BANK_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(50)
}

fn secret(party: u8) -> SecretKey {
    SecretKey::from_seed(&[party.wrapping_add(100); 32])
}

fn account(party: u8) -> AccountId {
    AccountId::of(&secret(party).public_key())
}

/// A clock that is ahead, within what the bank allows: after a restart it takes what is signed a second later.
#[derive(Default)]
struct AheadClock(AtomicI64);

impl Clock for AheadClock {
    fn now(&self) -> Timestamp {
        let ahead = u64::try_from(self.0.load(Ordering::SeqCst)).unwrap_or(0);
        SystemClock.now().plus(TimeSpan::from_micros(ahead))
    }
}

/// What all clients share: the ways to the bank, one for each of its processes, and whether they go on.
struct Town {
    ways: RwLock<Vec<Arc<HttpTransport>>>,
    calls: AtomicUsize,
    /// Held by whoever calls; who counts the money takes it alone, so that it does not grow while it is counted.
    market: RwLock<()>,
    bank: tycoon_market::PublicKey,
    clock: Arc<AheadClock>,
    told: AtomicU64,
    stop: AtomicBool,
}

impl Town {
    fn new(banks: &[ServedBank]) -> Self {
        let town = Self {
            ways: RwLock::default(),
            calls: AtomicUsize::new(0),
            market: RwLock::default(),
            bank: banks[0].key.parse().unwrap(),
            clock: Arc::default(),
            told: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        };
        town.go_to(banks);
        town
    }

    fn go_to(&self, banks: &[ServedBank]) {
        *self.ways.write().unwrap() = banks.iter().map(|bank| way(&bank.url)).collect();
    }

    /// The bank, by another of its processes each time.
    fn client(&self, party: u8) -> BankClient {
        let ways = self.ways.read().unwrap();
        let way = ways[self.calls.fetch_add(1, Ordering::Relaxed) % ways.len()].clone();
        BankClient::new(Caller::new(Arc::new(secret(party)), self.bank, way).with_clock(self.clock.clone()))
    }

    /// An account for each, with as much on it as every other.
    fn furnish(&self, issuer: &SecretKey) {
        let way = self.ways.read().unwrap()[0].clone();
        let treasury = BankClient::new(Caller::new(Arc::new(issuer.clone()), self.bank, way));
        for party in 0..CLIENTS {
            self.client(party).open_account(secret(party).public_key(), AccountKind::User, "").unwrap();
            let id = TransferId::from_bytes([party; 16]);
            let (to, amount) = (account(party), Credits::from_micros(EACH));
            treasury.issue(&IssueRequest { id, to, amount, memo: String::new() }).unwrap();
        }
    }

    /// Lets everybody pay, and `disturb` the bank again and again meanwhile; returns what was told.
    fn live_through(&self, mut disturb: impl FnMut(u64)) -> Vec<TransferRequest> {
        std::thread::scope(|scope| {
            let people: Vec<_> = (0..CLIENTS).map(|party| scope.spawn(move || self.pay(party))).collect();
            for round in 1..=kills() {
                let enough = self.told.load(Ordering::SeqCst) + TOLD_PER_ROUND;
                let deadline = Instant::now() + Duration::from_secs(60);
                while self.told.load(Ordering::SeqCst) < enough {
                    assert!(Instant::now() < deadline, "in round {round} the transfers stand still");
                    assert!(people.iter().all(|person| !person.is_finished()), "somebody gave up");
                    std::thread::sleep(Duration::from_millis(2));
                }
                disturb(round);
            }
            self.stop.store(true, Ordering::SeqCst);
            people.into_iter().flat_map(|person| person.join().unwrap()).collect()
        })
    }

    /// Checks that what was told is there, each once; `records` are there now.
    fn check(&self, told: &[TransferRequest], records: u64) {
        for order in told.iter().step_by(7) {
            let party = (0..CLIENTS).find(|party| account(*party) == order.payer).unwrap();
            let paid = self.client(party).paid(&order.payer, &order.id).unwrap();
            assert_eq!((paid.transfer.payee, paid.transfer.amount), (order.payee, order.amount));
        }
        let (counted, made_before) = (told.len() as u64, 1 + 2 * u64::from(CLIENTS));
        assert!(records >= made_before + counted, "{counted} transfers were told, and {records} records are there");
        // One for each client may have been made and not told.
        assert!(records <= made_before + counted + u64::from(CLIENTS), "some transfers were made twice");
    }

    /// Pays others until it is told to stop. A transfer whose answer is not known is asked for again with its id, and
    /// each fifth that is known is asked for again too.
    fn pay(&self, party: u8) -> Vec<TransferRequest> {
        let mut told = Vec::new();
        let mut dice = u64::from(party) * 7919 + 1;
        for number in 0_u64.. {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let payee = (party + 1 + (dice >> 33) as u8 % (CLIENTS - 1)) % CLIENTS;
            let order = TransferRequest {
                id: TransferId::from_bytes((u128::from(number) + 1).to_be_bytes()),
                payer: account(party),
                payee: account(payee),
                amount: Credits::from_micros((dice >> 40) as i64 % 1000 + 1),
                memo: String::new(),
            };
            let mut answers = Vec::new();
            while answers.len() < 1 + usize::from(number.is_multiple_of(5)) {
                if self.stop.load(Ordering::SeqCst) {
                    return told;
                }
                let paid = {
                    let _open = self.market.read().unwrap();
                    self.client(party).transfer(&order)
                };
                match paid {
                    Ok(paid) => answers.push(paid.transfer),
                    Err(CallError::Refused(problem)) if problem.code == "bank.insufficient-funds" => break,
                    Err(error) if error.is_transient() => std::thread::sleep(Duration::from_millis(5)),
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "asking again gives the same answer");
            if !answers.is_empty() {
                told.push(order);
                self.told.fetch_add(1, Ordering::SeqCst);
            }
        }
        told
    }
}

fn way(url: &str) -> Arc<HttpTransport> {
    let settings = HttpSettings { call_timeout: Duration::from_secs(10), ..HttpSettings::default() };
    Arc::new(HttpTransport::new(url, &settings).unwrap())
}

/// Checks an audit, and returns how many records there are.
fn clean(audit: &Audit) -> u64 {
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!(audit.in_accounts.micros(), EACH * i64::from(CLIENTS), "the sum never changes");
    audit.head.record
}

fn audited(folder: &Path) -> u64 {
    clean(&audit(&folder.join("bank/journal"), None).unwrap())
}

#[test]
fn a_bank_that_is_killed_again_and_again_loses_nothing_and_does_nothing_twice() {
    let environment = Environment::new();
    environment.write("quiet.kdl", "registration \"open\"\nlog-level \"error\"\n");
    let issuer = SecretKey::from_seed(&[1; 32]);
    let start = || {
        let (issuer, store) = (issuer.public_key().to_string(), environment.path().join("bank"));
        // Nobody reads what it says while it runs: a full pipe would hold it up.
        let more = ["--issuer", &issuer, "--settings", "quiet.kdl"];
        vec![ServedBank::start_with(&environment, &format!("sled:{}", store.display()), &more)]
    };
    let mut banks = start();
    let town = Town::new(&banks);
    town.furnish(&issuer);
    let told = town.live_through(|_| {
        let killed = SystemClock.now();
        banks[0].kill();
        audited(environment.path());
        banks = start();
        // What is signed from the next second on is taken at once.
        let passed = SystemClock.now().since(killed).micros();
        let ahead = i64::try_from(1_000_000_u64.saturating_sub(passed)).unwrap_or(0);
        town.clock.0.fetch_add(ahead, Ordering::SeqCst);
        town.go_to(&banks);
    });
    let records = audited(environment.path());
    town.check(&told, records);
    banks.remove(0).stop();
    assert_eq!(audited(environment.path()), records);
}

#[test]
fn two_processes_on_a_database_that_restarts_lose_nothing_and_do_nothing_twice() {
    let environment = Environment::new();
    // What it says of a database that is away would fill a pipe that nobody reads.
    environment.write("quiet.kdl", "registration \"open\"\nlog-level \"off\"\n");
    let (cluster, issuer) = (Cluster::start(), SecretKey::from_seed(&[1; 32]));
    let store = cluster.database();
    let start = || {
        let issuer = issuer.public_key().to_string();
        let more = ["--key", "bank_key", "--issuer", &issuer, "--settings", "quiet.kdl"];
        ServedBank::start_with(&environment, &store, &more)
    };
    let bank_key = || tycoon_rpc::key_file::load_or_create(&environment.path().join("bank_key"), "bank").unwrap();
    let audited = || {
        let books = PostgresBooks::open(&store).unwrap();
        let (signer, clock) = (Arc::new(bank_key()), Arc::new(SystemClock));
        let (bank, _) = Bank::over(Box::new(books), signer, clock, issuer.public_key()).unwrap();
        clean(&audit_bank(&bank).unwrap())
    };
    let mut banks = vec![start(), start()];
    let town = Town::new(&banks);
    town.furnish(&issuer);
    let told = town.live_through(|round| {
        if round % 5 == 0 {
            cluster.crash_and_restart();
        } else {
            let which = (round % 2) as usize;
            banks[which].kill();
            banks[which] = start();
            town.go_to(&banks);
        }
        let _closed = town.market.write().unwrap();
        audited();
    });
    town.check(&told, audited());
    for bank in banks {
        bank.stop();
    }
}
