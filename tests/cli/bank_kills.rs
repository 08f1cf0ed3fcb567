//! The bank killed again and again while many people pay each other: what was told is there, nothing counts twice, and
//! no credit is lost.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use tycoon_bank::BankClient;
use tycoon_bank::api::{IssueRequest, TransferRequest};
use tycoon_bank::audit::audit;
use tycoon_bank::ledger::AccountKind;
use tycoon_market::{AccountId, Credits, TimeSpan, Timestamp, TransferId};
use tycoon_rpc::{CallError, Caller, Clock, HttpSettings, HttpTransport, SecretKey, Signer as _, SystemClock};

use crate::bank_service::ServedBank;
use crate::environment::Environment;

/// People who pay each other at the same time.
const CLIENTS: u8 = 64;
/// What each of them has at first, in micro-credits.
const EACH: i64 = 1_000_000;
/// Transfers that are told before the next kill.
const TOLD_PER_ROUND: u64 = 40;

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

/// What all clients share: the way to the bank, and whether they go on.
struct Town {
    way: RwLock<Arc<HttpTransport>>,
    bank: tycoon_market::PublicKey,
    clock: Arc<AheadClock>,
    told: AtomicU64,
    stop: AtomicBool,
}

impl Town {
    fn client(&self, party: u8) -> BankClient {
        let way = self.way.read().unwrap().clone();
        BankClient::new(Caller::new(Arc::new(secret(party)), self.bank, way).with_clock(self.clock.clone()))
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
                match self.client(party).transfer(&order) {
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

/// Counts all money anew, and returns how many records there are.
fn audited(folder: &Path) -> u64 {
    let audit = audit(&folder.join("bank/journal"), None).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!(audit.in_accounts.micros(), EACH * i64::from(CLIENTS), "the sum never changes");
    audit.head.record
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
        ServedBank::start_with(&environment, &format!("sled:{}", store.display()), &more)
    };
    let mut bank = start();
    let town = Town {
        way: RwLock::new(way(&bank.url)),
        bank: bank.key.parse().unwrap(),
        clock: Arc::default(),
        told: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    };
    let treasury = BankClient::new(Caller::new(Arc::new(issuer.clone()), town.bank, way(&bank.url)));
    for party in 0..CLIENTS {
        town.client(party).open_account(secret(party).public_key(), AccountKind::User, "").unwrap();
        let id = TransferId::from_bytes([party; 16]);
        let (to, amount) = (account(party), Credits::from_micros(EACH));
        treasury.issue(&IssueRequest { id, to, amount, memo: String::new() }).unwrap();
    }
    let told = std::thread::scope(|scope| {
        let people: Vec<_> = (0..CLIENTS)
            .map(|party| {
                scope.spawn({
                    let town = &town;
                    move || town.pay(party)
                })
            })
            .collect();
        for round in 1..=kills() {
            let enough = town.told.load(Ordering::SeqCst) + TOLD_PER_ROUND;
            let deadline = Instant::now() + Duration::from_secs(60);
            while town.told.load(Ordering::SeqCst) < enough {
                assert!(Instant::now() < deadline, "in round {round} the transfers stand still");
                assert!(people.iter().all(|person| !person.is_finished()), "somebody gave up");
                std::thread::sleep(Duration::from_millis(2));
            }
            let killed = SystemClock.now();
            bank.kill();
            audited(environment.path());
            bank = start();
            // What is signed from the next second on is taken at once.
            let passed = SystemClock.now().since(killed).micros();
            let ahead = i64::try_from(1_000_000_u64.saturating_sub(passed)).unwrap_or(0);
            town.clock.0.fetch_add(ahead, Ordering::SeqCst);
            *town.way.write().unwrap() = way(&bank.url);
        }
        town.stop.store(true, Ordering::SeqCst);
        people.into_iter().map(|person| person.join().unwrap()).collect::<Vec<_>>()
    });
    let mut counted = 0;
    for order in told.iter().flatten() {
        counted += 1;
        if counted % 7 == 0 {
            let party = (0..CLIENTS).find(|party| account(*party) == order.payer).unwrap();
            let paid = town.client(party).paid(&order.payer, &order.id).unwrap();
            assert_eq!((paid.transfer.payee, paid.transfer.amount), (order.payee, order.amount));
        }
    }
    bank.stop();
    let records = audited(environment.path());
    let made_before = 1 + 2 * u64::from(CLIENTS);
    assert!(records >= made_before + counted, "{counted} transfers were told, and {records} records are there");
    // One for each client may have been made and not told.
    assert!(records <= made_before + counted + u64::from(CLIENTS), "some transfers were made twice");
}
