//! What the bank can do: signed, durable transfers with signed receipts over HTTP on loopback, by 1, 16, 64 and 256
//! clients at a time, singly and 64 to a request. Beside it, in the same run and on the same disk, PostgreSQL 15 doing
//! the same transfers unsigned, one transaction each with synchronous commit, by plain SQL and by a function, whichever is
//! faster; and what the machine can do at most: ed25519 operations, and syncs of the disk. At last, what it costs to open
//! a bank with many accounts and transfers.
//!
//! `cargo bench --bench bank` prints it all. `TYCOON_BENCH_SECONDS` (5) is how long each measurement takes,
//! `TYCOON_BENCH_CLIENTS` (1,16,64,256; 0 for none) how many clients there are, `TYCOON_BENCH_ACCOUNTS` (10000) and
//! `TYCOON_BENCH_TRANSFERS` (100000) how large the bank is that is opened, and `TYCOON_BENCH_PAYERS` (1000) whose transfers
//! these are, to `TYCOON_BENCH_PAYEES` (all) accounts each. With `TYCOON_BENCH_INDEX_ANEW=0` it is not opened a second time without its index, which takes longest. A
//! million accounts and ten million transfers take some minutes, and 10 GB of the disk.

#[path = "../bank/tests/cluster/mod.rs"]
mod cluster;
#[path = "bank/load.rs"]
mod load;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cluster::Cluster;
use tycoon_bank::api::{IssueRequest, Paid, TransferOutcome, TransferRequest, TransfersRequest};
use tycoon_bank::ledger::{AccountKind, Operation, TransferOrder};
use tycoon_bank::store::SledStore;
use tycoon_bank::{Bank, BankClient, Options};
use tycoon_market::{AccountId, Credits, PublicKey, TransferId};
use tycoon_rpc::{Caller, HttpSettings, HttpTransport, RetryPolicy, SecretKey, Signer as _, SystemClock};

/// Clients at a time.
const CLIENTS: [usize; 4] = [1, 16, 64, 256];
/// Transfers to a request.
const BATCH: usize = 64;
/// Accounts that PostgreSQL moves money between: as many as there are clients here at most.
const ACCOUNTS: usize = 256;
/// Accounts and transfers of the bank that is opened, at most.
const ACCOUNTS_MAX: u64 = 1_000_000;
const TRANSFERS_MAX: u64 = 10_000_000;
/// Transfers to an operation, where that bank is made.
const LARGE_BATCH: u64 = 256;

fn main() {
    let folder = tempfile::tempdir_in(target_folder()).expect("a temporary folder");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let syncs = syncs_per_second(folder.path());
    let (verify, sign) = ed25519_seconds();
    // A transfer costs one check of the request, and a signature each for the receipt and the reply.
    let signed_limit = cores as f64 / (verify + 2.0 * sign);
    println!("{cores} cores; {syncs:.0} syncs of the disk per second by one writer");
    println!(
        "ed25519: {:.1} µs to verify, {:.1} µs to sign; {signed_limit:.0} signed transfers per second at most\n",
        verify * 1e6,
        sign * 1e6
    );

    let counts = clients();
    if !counts.is_empty() {
        transfer(folder.path(), &counts, syncs, signed_limit);
    }
    open_large(folder.path());
}

/// Transfers by so many clients at a time, one after the other, at the bank and in PostgreSQL.
fn transfer(folder: &Path, counts: &[usize], syncs: f64, signed_limit: f64) {
    let bank = ServedBank::start(&folder.join("bank"));
    let town = Town::found(&bank);
    // PostgreSQL runs as a user of its own, who may not be let into the folder of programs.
    let cluster = Cluster::start();
    let device = |path: &Path| std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(path).expect("a folder"));
    if device(cluster.folder()) != device(folder) {
        println!("note: PostgreSQL's files are on another file system than the bank's");
    }
    let peer = Peer::new(&cluster);
    println!(
        "{:>7} {:>22} {:>22} {:>22} {:>8} {:>8}",
        "clients", "bank, singly", "bank, 64 a request", "PostgreSQL", "singly", "batches"
    );
    for clients in counts.iter().copied() {
        let single = town.run(&bank, clients, 1);
        let batches = town.run(&bank, clients, BATCH);
        let postgres = peer.run(clients);
        println!(
            "{clients:>7} {single:>22} {batches:>22} {postgres:>22} {:>7.2}× {:>7.2}×",
            single.per_second / postgres.per_second,
            batches.per_second / postgres.per_second
        );
        if clients == 64 {
            println!(
                "        at 64: {:.0} % of the ed25519 limit singly; {:.1} transfers per sync of the disk singly, {:.1} in batches",
                100.0 * single.per_second / signed_limit,
                single.per_second / syncs,
                batches.per_second / syncs
            );
            let cores =
                [("bank, singly", single.core), ("bank, in batches", batches.core), ("PostgreSQL", postgres.core)];
            for (what, (service, clients)) in cores {
                println!(
                    "        at 64: {what}: {service:.1} µs on a core for each transfer, {clients:.1} of the clients"
                );
            }
        }
    }
    println!("(transfers per second, and the 99th percentile of a request's time in ms)");
    println!("aims at 64 clients: at least 1 × singly, 5 × in batches, p99 not worse\n");
}

/// How many clients at a time are measured, one after the other.
fn clients() -> Vec<usize> {
    let Ok(wished) = std::env::var("TYCOON_BENCH_CLIENTS") else { return CLIENTS.to_vec() };
    let wished = wished.split(',').filter_map(|count| count.trim().parse().ok());
    wished.filter(|count| *count > 0).map(|count: usize| count.min(ACCOUNTS)).collect()
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn measured() -> Duration {
    Duration::from_secs(number("TYCOON_BENCH_SECONDS", 5))
}

/// The disk that is measured is the one programs are built on; a memory file system would flatter.
fn target_folder() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tycoon")).parent().expect("the program is in a folder")
}

/// How many records of a kilobyte one writer can append and sync in a second.
fn syncs_per_second(folder: &Path) -> f64 {
    let mut file = File::create(folder.join("sync")).expect("a file");
    let record = [b'x'; 1024];
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < Duration::from_secs(2) {
        file.write_all(&record).and_then(|()| file.sync_data()).expect("the disk takes it");
        count += 1;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

/// Seconds to verify and to sign.
fn ed25519_seconds() -> (f64, f64) {
    let key = SecretKey::from_seed(&[1; 32]);
    let (public, message) = (key.public_key(), [7; 300]);
    let signature = key.sign(&message);
    let time = |work: &dyn Fn()| {
        let began = Instant::now();
        (0..2000).for_each(|_| work());
        began.elapsed().as_secs_f64() / 2000.0
    };
    let verify = time(&|| assert!(public.verifies(&message, &signature)));
    (verify, time(&|| assert!(key.sign(&message) == signature)))
}

/// The bank as a process.
struct ServedBank {
    child: Child,
    address: String,
    key: PublicKey,
    opened_in: Duration,
}

impl ServedBank {
    fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let (store, issuer) = (format!("sled:{}", folder.display()), secret(usize::MAX).public_key().to_string());
        let began = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tycoon"))
            .args(["bank", "serve", "--store", &store, "--listen", "127.0.0.1:0", "--issuer", &issuer])
            .args(["--registration", "open", "--log-level", "error"])
            .env("XDG_CONFIG_HOME", folder)
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .expect("the bank starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("its messages"));
        // From here on it is ended with the benchmark, however that ends.
        let key = secret(usize::MAX).public_key();
        let mut bank = Self { child, address: String::new(), key, opened_in: Duration::ZERO };
        let mut line = String::new();
        loop {
            line.clear();
            assert!(stderr.read_line(&mut line).expect("its messages can be read") > 0, "the bank did not open");
            let told = line.trim().strip_prefix("tycoon init --bank http://");
            if let Some((address, key)) = told.and_then(|rest| rest.split_once(" --bank-key ")) {
                bank.key = key.trim_matches('\'').parse().expect("a key");
                bank.address = address.to_owned();
                bank.opened_in = began.elapsed();
                return bank;
            }
        }
    }

    /// The most memory that it has used so far, in MiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) >> 10
    }
}

impl Drop for ServedBank {
    fn drop(&mut self) {
        // It has nothing to lose: what it told is on disk.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn secret(party: usize) -> SecretKey {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&(party as u64).to_be_bytes());
    SecretKey::from_seed(&seed)
}

fn account(party: usize) -> AccountId {
    AccountId::of(&secret(party).public_key())
}

/// Another id for each number, all over the place: clients draw theirs at random.
fn scattered(number: u64) -> TransferId {
    TransferId::from_bytes(u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes())
}

/// What came of a measurement.
struct Measured {
    per_second: f64,
    p99: Duration,
    /// Microseconds on a core for each transfer, of the service and of its clients. Unlike all else, that is much the same
    /// on a busy machine.
    core: (f64, f64),
}

/// The fields of a process's `stat` from the fourth on, its parent: its name, in brackets, may have spaces.
fn stat(process: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split(' ');
    fields.skip(2).map(|field| field.parse().unwrap_or(0.0)).collect()
}

/// The time on cores that a process has taken so far, in seconds: itself, or its children that have ended. The times are
/// the 14th to the 17th field, in hundredths of a second.
fn core_seconds(process: &str, of_children: bool) -> f64 {
    stat(process).iter().skip(if of_children { 12 } else { 10 }).take(2).sum::<f64>() / 100.0
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{:.0} /s, {:.1} ms", self.per_second, self.p99.as_secs_f64() * 1e3))
    }
}

impl Measured {
    /// The same with the seconds on cores before and after.
    fn with_core(self, before: (f64, f64), after: (f64, f64), took: Duration) -> Self {
        let micros = |seconds: f64| 1e6 * seconds / (self.per_second * took.as_secs_f64());
        Self { core: (micros(after.0 - before.0), micros(after.1 - before.1)), ..self }
    }
}

fn of(mut times: Vec<Duration>, each: usize, took: Duration) -> Measured {
    assert!(!times.is_empty(), "nothing was done");
    times.sort_unstable();
    let p99 = times[(times.len() * 99 / 100).min(times.len() - 1)];
    Measured { per_second: (times.len() * each) as f64 / took.as_secs_f64(), p99, core: (0.0, 0.0) }
}

/// Accounts at the bank, each with its own key.
struct Town {
    ids: std::sync::atomic::AtomicU64,
    next_party: std::sync::atomic::AtomicUsize,
}

impl Town {
    fn found(bank: &ServedBank) -> Self {
        let way = Arc::new(
            HttpTransport::new(&format!("http://{}", bank.address), &HttpSettings::default()).expect("an address"),
        );
        let client = |party| {
            let caller = Caller::new(Arc::new(secret(party)), bank.key, way.clone());
            BankClient::new(caller.with_retries(RetryPolicy::NETWORK))
        };
        for party in 0..ACCOUNTS {
            client(party).open_account(secret(party).public_key(), AccountKind::User, "").expect("an account");
            let amount = Credits::from_micros(1_000_000_000);
            let id = TransferId::from_bytes((party as u128 + 1).to_be_bytes());
            let request = IssueRequest { id, to: account(party), amount, memo: String::new() };
            client(usize::MAX).issue(&request).expect("an issue");
        }
        Self { ids: std::sync::atomic::AtomicU64::new(1), next_party: std::sync::atomic::AtomicUsize::new(0) }
    }

    /// Requests of one client as bytes, signed beforehand.
    fn requests(&self, bank: &ServedBank, party: usize, each: usize, count: usize) -> Vec<Vec<u8>> {
        let caller = Caller::new(Arc::new(secret(party)), bank.key, Arc::new(Nowhere));
        let make = |number: usize| {
            let orders: Vec<TransferRequest> = (0..each)
                .map(|place| TransferRequest {
                    id: scattered(self.ids.fetch_add(1, Ordering::Relaxed)),
                    payer: account(party),
                    payee: account((party + 1 + (number * each + place) % (ACCOUNTS - 1)) % ACCOUNTS),
                    amount: Credits::from_micros(1),
                    memo: String::new(),
                })
                .collect();
            let request = match each {
                1 => caller.signed(http::Method::POST, "/v1/transfers", &[], orders.first()),
                _ => {
                    let body = TransfersRequest { transfers: orders, linked: false };
                    caller.signed(http::Method::POST, "/v1/transfers/batch", &[], Some(&body))
                }
            };
            load::bytes_of(&request.expect("a request can be signed"), &bank.address)
        };
        (0..count).map(make).collect()
    }

    fn run(&self, bank: &ServedBank, clients: usize, each: usize) -> Measured {
        // More than can be done in the time, and fewer than a sender may send within the window.
        let count = (20_000 * measured().as_secs() as usize / clients / each).clamp(50, 12_000);
        // Others than the last time: a sender may send only so many.
        let first = self.next_party.fetch_add(clients, Ordering::Relaxed);
        let parties = (first..first + clients).map(|party| party % ACCOUNTS);
        let requests: Vec<Vec<Vec<u8>>> = parties.map(|party| self.requests(bank, party, each, count)).collect();
        let process = bank.child.id().to_string();
        let core = || (core_seconds(&process, false), core_seconds("self", false));
        let before = core();
        let load = load::run(&bank.address, &requests, measured());
        let after = core();
        load.kept.iter().for_each(|(request, reply)| check(bank, request, reply));
        of(load.times, each, load.took).with_core(before, after, load.took)
    }
}

/// A reply must be the bank's, to this request, and the receipts in it must hold.
fn check(bank: &ServedBank, request: &[u8], reply: &[u8]) {
    let (request, reply) = load::read(request, reply);
    tycoon_rpc::reply::verify(&reply, &request, &bank.key).expect("the bank signed the reply to this request");
    let (orders, paid): (Vec<TransferOrder>, Vec<Paid>) = if request.uri().path().ends_with("/batch") {
        let outcomes: Vec<TransferOutcome> = serde_json::from_slice(reply.body()).expect("outcomes");
        let paid = outcomes.into_iter().map(|outcome| match outcome {
            TransferOutcome::Paid(paid) => *paid,
            TransferOutcome::Problem(problem) => panic!("{problem}"),
        });
        let asked: TransfersRequest = serde_json::from_slice(request.body()).expect("orders");
        (asked.transfers, paid.collect())
    } else {
        let asked = serde_json::from_slice(request.body()).expect("an order");
        (vec![asked], vec![serde_json::from_slice(reply.body()).expect("a transfer")])
    };
    assert_eq!(orders.len(), paid.len());
    for (order, paid) in orders.iter().zip(&paid) {
        paid.receipt.verify(&bank.key).expect("the bank signed the receipt");
        let terms = &paid.receipt.terms;
        assert_eq!((terms.id, terms.payer, terms.payee), (order.id, order.payer, order.payee));
        assert_eq!((terms.amount, &terms.memo), (order.amount, &order.memo));
    }
}

/// Requests are made here, and sent elsewhere.
struct Nowhere;

impl tycoon_rpc::Transport for Nowhere {
    fn send(&self, _: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, tycoon_rpc::TransportError> {
        Err(tycoon_rpc::TransportError::TimedOut { service: "nowhere".to_owned(), seconds: 0 })
    }
}

/// PostgreSQL doing the same.
struct Peer<'c> {
    cluster: &'c Cluster,
    database: String,
    scripts: [PathBuf; 2],
}

impl<'c> Peer<'c> {
    fn new(cluster: &'c Cluster) -> Self {
        let database = cluster.database();
        let schema = "CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0));
             CREATE TABLE transfers (id uuid PRIMARY KEY, payer int, payee int, amount bigint, at timestamptz DEFAULT now());
             CREATE FUNCTION pay(p int, q int, a bigint) RETURNS bigint LANGUAGE plpgsql AS $$
             DECLARE left_over bigint; BEGIN
               -- The lower account first, so that no two transfers wait for each other.
               IF p < q THEN
                 UPDATE accounts SET balance = balance - a WHERE id = p RETURNING balance INTO left_over;
                 UPDATE accounts SET balance = balance + a WHERE id = q;
               ELSE
                 UPDATE accounts SET balance = balance + a WHERE id = q;
                 UPDATE accounts SET balance = balance - a WHERE id = p RETURNING balance INTO left_over;
               END IF;
               INSERT INTO transfers (id, payer, payee, amount) VALUES (gen_random_uuid(), p, q, a);
               RETURN left_over; END $$";
        cluster.sql(&database, schema);
        cluster.sql(
            &database,
            &format!("INSERT INTO accounts SELECT n, 1000000000 FROM generate_series(0, {}) n", ACCOUNTS - 1),
        );
        // Each client pays from an account of its own, as at the bank.
        let choose = format!("\\set p :client_id\n\\set q (:p + random(1, {0})) % {ACCOUNTS}\n", ACCOUNTS - 1);
        let (take, give) = (
            "UPDATE accounts SET balance = balance - 1 WHERE id = :p RETURNING balance;\n",
            "UPDATE accounts SET balance = balance + 1 WHERE id = :q;\n",
        );
        let plain = format!(
            "{choose}BEGIN;\n\\if :p < :q\n{take}{give}\\else\n{give}{take}\\endif\n\
             INSERT INTO transfers (id, payer, payee, amount) VALUES (gen_random_uuid(), :p, :q, 1);\nCOMMIT;\n"
        );
        let function = format!("{choose}SELECT pay(:p, :q, 1);\n");
        let scripts = [("plain.sql", plain), ("function.sql", function)].map(|(name, text)| {
            let path = cluster.folder().join(name);
            std::fs::write(&path, text).expect("a script");
            path
        });
        Self { cluster, database, scripts }
    }

    /// The better of the two ways.
    fn run(&self, clients: usize) -> Measured {
        let both = self.scripts.each_ref().map(|script| self.run_script(script, clients));
        both.into_iter().reduce(|a, b| if b.per_second > a.per_second { b } else { a }).expect("two ways")
    }

    fn run_script(&self, script: &Path, clients: usize) -> Measured {
        let log = self.cluster.folder().join(format!("log-{clients}"));
        let seconds = measured().as_secs().to_string();
        let mut command = self.cluster.program("pgbench");
        command
            .args(["--no-vacuum", "--protocol=prepared", "--log", "--max-tries=100"])
            .args(["--client", &clients.to_string(), "--jobs", "2", "--time", &seconds, "--log-prefix"])
            .arg(&log)
            .arg("--file")
            .arg(script)
            .arg(&self.database);
        let before = (self.core_seconds(), core_seconds("self", true));
        let output = command.output().expect("pgbench runs");
        // Its processes end with their clients.
        let after = (self.core_seconds(), core_seconds("self", true));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut times = Vec::new();
        for file in std::fs::read_dir(self.cluster.folder()).expect("the folder").flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if name.starts_with(&format!("log-{clients}.")) {
                let text = std::fs::read_to_string(file.path()).expect("the log");
                let micros = text.lines().filter_map(|line| line.split(' ').nth(2)?.parse().ok());
                times.extend(micros.map(Duration::from_micros));
                std::fs::remove_file(file.path()).expect("the log is ours");
            }
        }
        of(times, 1, measured()).with_core(before, after, measured())
    }

    /// The time on cores of all of its processes so far, in seconds.
    fn core_seconds(&self) -> f64 {
        let text = std::fs::read_to_string(self.cluster.folder().join("data/postmaster.pid")).expect("its process");
        let first = text.lines().next().expect("its process");
        let number: f64 = first.parse().expect("its number");
        let all = std::fs::read_dir("/proc").expect("the processes").flatten();
        let names = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let children = names.filter(|name| stat(name).first() == Some(&number));
        let theirs: f64 = children.map(|name| core_seconds(&name, false)).sum();
        core_seconds(first, false) + core_seconds(first, true) + theirs
    }
}

/// What it costs to open a bank with many accounts and transfers.
fn open_large(folder: &Path) {
    let accounts = number("TYCOON_BENCH_ACCOUNTS", 10_000).clamp(2, ACCOUNTS_MAX);
    let transfers = number("TYCOON_BENCH_TRANSFERS", 100_000).clamp(1, TRANSFERS_MAX);
    let books = folder.join("large");
    let began = Instant::now();
    let payers = number("TYCOON_BENCH_PAYERS", 1_000).clamp(1, accounts);
    let payees = number("TYCOON_BENCH_PAYEES", accounts).clamp(2, accounts);
    make_large(&books, accounts, transfers, (payers, payees));
    println!(
        "made a bank of {accounts} accounts and {transfers} transfers by {payers} payers to {payees} each in {:.0} s; it takes {} MB",
        began.elapsed().as_secs_f64(),
        bytes_in(&books) / 1_000_000
    );
    let bank = ServedBank::start(&books);
    println!(
        "opening it, with the whole journal checked: {:.1} s, {} MiB",
        bank.opened_in.as_secs_f64(),
        bank.memory()
    );
    drop(bank);
    if number("TYCOON_BENCH_INDEX_ANEW", 1) == 0 {
        return;
    }
    std::fs::remove_dir_all(books.join("index")).expect("the index is ours");
    let bank = ServedBank::start(&books);
    println!("and with its index made anew: {:.1} s, {} MiB", bank.opened_in.as_secs_f64(), bank.memory());
}

/// The length of all files in a folder and the folders in it.
fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let length = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_in(&entry.path()),
        data => data.map_or(0, |data| data.len()),
    };
    entries.map(length).sum()
}

fn make_large(books: &Path, accounts: u64, transfers: u64, (payers, payees): (u64, u64)) {
    std::fs::create_dir_all(books).expect("a folder");
    let signer = Arc::new(tycoon_rpc::key_file::load_or_create(&books.join("bank_key"), "bench").expect("a key"));
    let database = sled::Config::new().path(books.join("index")).flush_every_ms(None).open().expect("an index");
    let store = Arc::new(SledStore::open(&database, "bank").expect("an index"));
    let issuer = secret(usize::MAX).public_key();
    let options = Options::new(books.join("journal"));
    let bank = Bank::open(options, store, signer, Arc::new(SystemClock), issuer).expect("a bank").0;
    // By many threads, so that they share their syncs.
    let in_parallel = |count: u64, work: &(dyn Fn(u64) + Sync)| {
        let next = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..128 {
                scope.spawn(|| {
                    while let number = next.fetch_add(1, Ordering::Relaxed)
                        && number < count
                    {
                        work(number);
                    }
                });
            }
        });
    };
    // Found once: a key takes longer than a transfer.
    let keys: Vec<PublicKey> = (0..accounts as usize).map(|party| secret(party).public_key()).collect();
    let ids: Vec<AccountId> = keys.iter().map(AccountId::of).collect();
    in_parallel(accounts, &|party| {
        let key = keys[party as usize];
        let open = Operation::OpenAccount { key, kind: AccountKind::User, label: String::new(), opener: None };
        bank.commit(open, None).expect("an account");
    });
    let amount = Credits::from_micros(i64::try_from(transfers).unwrap_or(i64::MAX));
    in_parallel(payers, &|payer| {
        let id = TransferId::from_bytes(u128::from(payer).to_be_bytes());
        let issue = Operation::Issue { id, to: ids[payer as usize], amount, memo: String::new(), by: issuer };
        bank.commit(issue, None).expect("an issue");
    });
    // Each by one payer, who comes again when all others have had their turn.
    in_parallel(transfers.div_ceil(LARGE_BATCH), &|turn| {
        let payer = turn % payers;
        let orders = (turn * LARGE_BATCH..((turn + 1) * LARGE_BATCH).min(transfers)).map(|number| TransferOrder {
            id: scattered(number + 1),
            payer: ids[payer as usize],
            payee: ids[((payer + 1 + number % (payees - 1)) % accounts) as usize],
            amount: Credits::from_micros(1),
            memo: String::new(),
        });
        let (orders, by) = (orders.collect(), keys[payer as usize]);
        bank.commit(Operation::Transfers { orders, linked: true, by }, None).expect("transfers");
    });
    bank.flush().expect("the index is flushed");
}
