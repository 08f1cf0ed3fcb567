//! What one host daemon can do with a thousand accounts: how long a bid takes until it is acknowledged, with the disk
//! synced, how long a tick takes, and how much memory it all needs. Beside it what the machine can do at most: syncs of
//! the disk, in the same run and on the same file system.
//!
//! Bank and host are processes of their own, spoken to by signed calls over HTTP on loopback. `cargo bench --bench host`
//! prints it all. `TYCOON_BENCH_HOST_ACCOUNTS` (1000) is how many accounts there are, `TYCOON_BENCH_BIDS` (2000) how many bids
//! are made by one client, and as many by sixteen.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tycoon_bank::BankClient;
use tycoon_bank::api::IssueRequest;
use tycoon_bank::ledger::{AccountKind, EscrowOrder};
use tycoon_market::bid::{Amount, Bid, Preference};
use tycoon_market::{
    AccountId, Credits, EscrowId, HostId, PoolName, PublicKey, Rate, ResourceKind, TimeSpan, TransferId,
};
use tycoon_rpc::{Caller, HttpSettings, HttpTransport, RetryPolicy, SecretKey, Signer as _};
use tycoon_xen::client::HostClient;
use tycoon_xen::market::BidRequest;

/// Clients at a time, in the second measurement of bids.
const SIDE_BY_SIDE: usize = 16;
/// The seed of the issuer's key; the accounts have the numbers below.
const ISSUER: usize = usize::MAX;

fn main() {
    let number =
        |variable: &str, usual: usize| std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (accounts, bids) = (number("TYCOON_BENCH_HOST_ACCOUNTS", 1_000), number("TYCOON_BENCH_BIDS", 2_000));
    let target = Path::new(env!("CARGO_BIN_EXE_tycoon")).parent().expect("the program is in a folder");
    let folder = tempfile::tempdir_in(target).expect("a temporary folder");
    let syncs = sync_times(folder.path());
    println!("a sync of the disk with a kilobyte more: {}", Times(&syncs));

    let issuer = secret(ISSUER).public_key().to_string();
    let books = format!("sled:{}", folder.path().join("bank").display());
    let bank = Served::start(
        folder.path(),
        "tycoon init --bank ",
        &[
            "bank",
            "serve",
            "--store",
            &books,
            "--listen",
            "127.0.0.1:0",
            "--issuer",
            &issuer,
            "--registration",
            "open",
            "--log-level",
            "error",
        ],
    );
    let policy = folder.path().join("policy.kdl");
    std::fs::write(&policy, format!("interval \"1s\"\naccounts-max {}\n", accounts + 1)).expect("a file");
    let (store, policy) = (folder.path().join("host").display().to_string(), policy.display().to_string());
    let (bank_key, url) = (bank.key.to_string(), bank.url.clone());
    let host = Served::start(
        folder.path(),
        "network-host ",
        &[
            "host",
            "serve",
            "--name",
            "host1",
            "--store",
            &store,
            "--driver",
            "memory",
            "--cpus",
            "64",
            "--owner",
            &issuer,
            "--bank",
            &url,
            "--bank-key",
            &bank_key,
            "--listen",
            "127.0.0.1:0",
            "--policy",
            &policy,
            "--log-level",
            "error",
        ],
    );
    let empty = host.memory("VmRSS:");
    let town = Town { bank: bank.way(), bank_key: bank.key, host: host.way(), host_key: host.key };
    let began = Instant::now();
    town.found(accounts);
    println!("{accounts} accounts funded and bidding after {:.1} s", began.elapsed().as_secs_f64());

    let alone: Vec<Duration> = (0..bids).map(|round| town.bid(round % accounts, round)).collect();
    println!("a bid, one client: {}", Times(&alone));
    let together: Vec<Duration> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..SIDE_BY_SIDE)
            .map(|client| {
                let town = &town;
                scope.spawn(move || {
                    let rounds = (client..bids).step_by(SIDE_BY_SIDE);
                    rounds.map(|round| town.bid(round % accounts, bids + round)).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    println!("a bid, {SIDE_BY_SIDE} clients: {}", Times(&together));

    let before = host.ticks();
    std::thread::sleep(Duration::from_secs(20));
    let after = host.ticks();
    let (ticks, micros) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    println!("a tick: {:.2} ms in the mean of {ticks}", micros as f64 / 1e3 / ticks.max(1) as f64);
    println!(
        "memory: {:.1} MiB resident ({:.1} MiB at most, {:.1} MiB without accounts)",
        host.memory("VmRSS:"),
        host.memory("VmHWM:"),
        empty
    );
}

/// Times for people: the middle, the worst of a hundred, the worst.
struct Times<'a>(&'a [Duration]);

impl std::fmt::Display for Times<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sorted = self.0.to_vec();
        sorted.sort();
        let at = |part: f64| {
            let place = ((sorted.len().saturating_sub(1)) as f64 * part).round() as usize;
            sorted.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        write!(f, "p50 {:.2} ms, p99 {:.2} ms, at most {:.2} ms ({} times)", at(0.5), at(0.99), at(1.0), sorted.len())
    }
}

fn sync_times(folder: &Path) -> Vec<Duration> {
    let mut file = File::create(folder.join("sync")).expect("a file");
    let record = [b'x'; 1024];
    let one = |_| {
        let began = Instant::now();
        file.write_all(&record).and_then(|()| file.sync_data()).expect("the disk takes it");
        began.elapsed()
    };
    (0..1_000).map(one).collect()
}

fn secret(party: usize) -> SecretKey {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&(party as u64).to_be_bytes());
    SecretKey::from_seed(&seed)
}

/// A service in a process of its own.
struct Served {
    child: Child,
    url: String,
    key: PublicKey,
}

impl Served {
    /// Starts it, and reads its address and key after `sign`.
    fn start(folder: &Path, sign: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tycoon"))
            .args(arguments)
            .env("XDG_CONFIG_HOME", folder)
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .expect("the service starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("its messages"));
        let mut line = String::new();
        loop {
            line.clear();
            assert!(stderr.read_line(&mut line).expect("its messages can be read") > 0, "the service did not open");
            let Some(told) = line.trim().strip_prefix(sign) else { continue };
            let url = told.split(['"', ' ']).find(|word| word.starts_with("http://")).expect("an address").to_owned();
            let key = told.split(['"', '\'']).find_map(|word| word.parse().ok()).expect("a key");
            std::thread::spawn(move || {
                let mut rest = Vec::new();
                let _ = stderr.read_to_end(&mut rest);
            });
            return Self { child, url, key };
        }
    }

    fn way(&self) -> Arc<HttpTransport> {
        Arc::new(HttpTransport::new(&self.url, &HttpSettings::default()).expect("an address"))
    }

    /// Memory in MiB, by a line of the kernel's account of the process.
    fn memory(&self, line: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|found| found.strip_prefix(line)).unwrap_or("0");
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
    }

    /// How many ticks there were, and how long they took together in microseconds.
    fn ticks(&self) -> (u64, u64) {
        let request = http::Request::get("/metrics").body(Vec::new()).expect("a request");
        let page = tycoon_rpc::Transport::send(&*self.way(), request).expect("the metrics").into_body();
        let page = String::from_utf8_lossy(&page).into_owned();
        let number = |name: &str| {
            let found = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            found.unwrap_or_default()
        };
        (number("tycoon_host_ticks_total "), number("tycoon_host_tick_micros_total "))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has nothing to lose: what it told is on disk.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bank, host, and the people who bid.
struct Town {
    bank: Arc<HttpTransport>,
    bank_key: PublicKey,
    host: Arc<HttpTransport>,
    host_key: PublicKey,
}

impl Town {
    fn bank(&self, party: usize) -> BankClient {
        let caller = Caller::new(Arc::new(secret(party)), self.bank_key, self.bank.clone());
        BankClient::new(caller.with_retries(RetryPolicy::NETWORK))
    }

    fn host(&self, party: usize) -> HostClient {
        let caller = Caller::new(Arc::new(secret(party)), self.host_key, self.host.clone());
        HostClient::new(caller.with_retries(RetryPolicy::NETWORK))
    }

    fn found(&self, accounts: usize) {
        let pool: PoolName = "bench".parse().expect("a name");
        let owner =
            self.bank(ISSUER).open_account(secret(ISSUER).public_key(), AccountKind::Owner, "").map(|own| own.id);
        let owner = owner.unwrap_or_else(|_| AccountId::of(&secret(ISSUER).public_key()));
        for party in 0..accounts {
            let key = secret(party).public_key();
            let bytes = (party as u128 + 1).to_be_bytes();
            self.bank(party).open_account(key, AccountKind::User, "").expect("an account");
            let amount = Credits::from_whole(1_000).expect("an amount");
            let to = AccountId::of(&key);
            let issue = IssueRequest { id: TransferId::from_bytes(bytes), to, amount, memo: String::new() };
            self.bank(ISSUER).issue(&issue).expect("money");
            let order = EscrowOrder {
                id: EscrowId::from_bytes(bytes),
                payer: to,
                pool: pool.clone(),
                host: HostId::of(&self.host_key),
                host_key: self.host_key,
                beneficiary: owner,
                amount,
                longest: TimeSpan::from_seconds(30 * 86_400),
                highest_rate: Rate::from_credits_per_hour(1_000.0),
            };
            let receipt = self.bank(party).open_escrow(&order).expect("an escrow");
            self.host(party).fund(&pool, &receipt).expect("a funded account");
            self.bid(party, party);
        }
    }

    /// Sets another bid than before; how long that took.
    fn bid(&self, party: usize, round: usize) -> Duration {
        let pool: PoolName = "bench".parse().expect("a name");
        let preference = Preference::new(1.0, Amount::ZERO, Amount::ALL);
        let duration = TimeSpan::from_seconds(10 * 86_400 + round as u64);
        let bid = Bid::new(duration, BTreeMap::from([(ResourceKind::Cpu, preference)])).expect("a bid");
        let client = self.host(party);
        let began = Instant::now();
        client.bid(&pool, &BidRequest { generation: 0, bid }).expect("a bid that is accepted");
        began.elapsed()
    }
}
