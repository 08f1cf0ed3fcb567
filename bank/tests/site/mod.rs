//! A bank in a temporary folder, with clients that call it in process.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tycoon_bank::store::{MemoryStore, SledStore, Store};
use tycoon_bank::{Bank, BankClient, BankError, BankService, Options, Recovery, Registration};
use tycoon_market::Timestamp;
use tycoon_rpc::{Caller, CountedNonces, FixedClock, InProcess, ReplayPolicy, SecretKey, Signer as _};

/// Micro-credits in a credit.
pub const CREDIT: i64 = 1_000_000;

/// The secret key of party number `party`; 1 is the bank, 2 the issuer.
pub fn secret(party: u8) -> SecretKey {
    SecretKey::from_seed(&[party; 32])
}

/// Opens the bank of `options` over `store`.
pub fn open(
    options: Options,
    store: Arc<dyn Store>,
    clock: &Arc<FixedClock>,
) -> Result<(Arc<Bank>, Recovery), BankError> {
    let (bank, recovery) = Bank::open(options, store, Arc::new(secret(1)), clock.clone(), secret(2).public_key())?;
    Ok((Arc::new(bank), recovery))
}

/// A sled index in `folder`, as the embedded site has one.
///
/// Where it was closed in this very process a moment ago, sled's own threads may still hold its lock: that is waited for.
pub fn sled_store(folder: &std::path::Path) -> Arc<SledStore> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let database = loop {
        match sled::Config::new().path(folder).flush_every_ms(None).open() {
            Ok(database) => break database,
            Err(error) if error.to_string().contains("acquire lock") && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("{error}"),
        }
    };
    Arc::new(SledStore::open(&database, "bank").unwrap())
}

/// A bank and everything around it.
pub struct Site {
    pub folder: TempDir,
    pub clock: Arc<FixedClock>,
    pub store: Arc<dyn Store>,
    pub bank: Arc<Bank>,
    pub service: Arc<BankService>,
    callers: AtomicU64,
}

impl Site {
    /// A new bank with its index in memory.
    pub fn new(registration: Registration) -> Self {
        Self::over(Arc::new(MemoryStore::new()), registration)
    }

    /// A new bank with its index in `store`.
    pub fn over(store: Arc<dyn Store>, registration: Registration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock::new(Timestamp::from_seconds(1_800_000_000)));
        let (bank, _) = open(Options::new(folder.path().join("journal")), store.clone(), &clock).unwrap();
        let service =
            BankService::new(bank.clone(), Arc::new(secret(1)), clock.clone(), ReplayPolicy::IN_PROCESS, registration);
        Self { folder, clock, store, bank, service: Arc::new(service), callers: AtomicU64::new(0) }
    }

    /// The folder of the journal.
    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// A caller with the key of `party`.
    pub fn caller(&self, party: u8) -> Caller {
        let seed = self.callers.fetch_add(1, Ordering::Relaxed);
        Caller::new(Arc::new(secret(party)), secret(1).public_key(), Arc::new(InProcess(self.service.clone())))
            .with_clock(self.clock.clone())
            .with_nonces(Arc::new(CountedNonces::new(seed)))
    }

    /// A client with the key of `party`.
    pub fn client(&self, party: u8) -> BankClient {
        BankClient::new(self.caller(party))
    }
}
