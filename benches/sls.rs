//! What a service location service can do: a hundred thousand hosts registered with full records, over HTTP on loopback;
//! how much memory that takes; and while three thousand register in every second, queries for the hundred that give
//! most CPU for the money, with a filter. Beside it, in the same run, etcd 3.4 doing the same the way it is done there:
//! a lease and a put for every registration, a range of everything for every query, which its client then filters and
//! sorts; as it is, and with `--unsafe-no-fsync`.
//!
//! Records are signed, and our service checks every signature; etcd is asked to check nothing.
//!
//! `cargo bench -p tycoon-sls` prints it all. `TYCOON_BENCH_HOSTS` (100000) is how many hosts there are, and
//! `TYCOON_BENCH_SECONDS` (10) how long each measurement of queries takes.

#[path = "sls/etcd.rs"]
mod etcd;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use etcd::Etcd;
use tycoon_market::price_statistics::{PriceSummary, WindowSummary};
use tycoon_market::{AccountId, HostId, Quantity, Rate, ResourceKind, TimeSpan};
use tycoon_rpc::{Clock as _, Published, ReplayPolicy, SecretKey, Server, ServerSettings, Signer as _, SystemClock};
use tycoon_sls::store::Store;
use tycoon_sls::{HostRecord, Policy, PublishedOffer, SignedRecord, SlsService};

/// As in the program, of which `tycoon sls serve` is a part.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Connections that register.
const CONNECTIONS: usize = 16;
/// Registrations in a second while queries are made.
const STEADY: usize = 3000;
/// What is asked.
const QUERY: &str = "/v1/hosts?filter=memory.available%20%3E%3D%2016GiB%20and%20label.rack%20in%20(1,2,3,4,5,6,7,8)\
                     &sort=-efficiency&size=100&fields=name,id,cpu.price,cpu.available,memory.available,label.rack";

fn number(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The word with which this program serves, as a process of its own.
const SERVE: &str = "serve-the-bench";

fn main() {
    if std::env::args().nth(1).as_deref() == Some(SERVE) {
        return serve(&std::env::args().nth(2).expect("a folder"));
    }
    let hosts = number("TYCOON_BENCH_HOSTS", 100_000);
    let seconds = Duration::from_secs(number("TYCOON_BENCH_SECONDS", 10) as u64);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let began = Instant::now();
    let records = signed_records(hosts);
    let bytes: usize = records.iter().map(String::len).sum();
    println!(
        "{cores} cores; {hosts} records of {} bytes on the average, signed in {:.1} s",
        bytes / hosts,
        began.elapsed().as_secs_f64()
    );
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");

    let sls = ServedSls::start(folder.path());
    let took = sls.register_all(&records);
    let ours = hosts as f64 / took.as_secs_f64();
    println!("\nSLS: {ours:.0} registrations per second; {} MiB of memory", memory(sls.child.id()));
    drop(records);
    let fresh = signed_records(hosts.min(STEADY * (seconds.as_secs() as usize + 2)));
    let queried = sls.query(&fresh, seconds);
    let our_queries = queried.per_second();
    println!("SLS: {queried}; {} MiB of memory", memory(sls.child.id()));
    let idle = sls.query(&[], seconds);
    println!("SLS, nobody registers: {idle}");
    drop(sls);

    for is_synced in [true, false] {
        let name = if is_synced { "etcd" } else { "etcd --unsafe-no-fsync" };
        match Etcd::start(folder.path(), is_synced) {
            Err(reason) => println!("\n{name}: LEFT OUT: {reason}"),
            Ok(etcd) => {
                // It is not waited for longer than this; what it has done until then is counted.
                let (done, took) = etcd.register_all(&fresh_values(hosts), CONNECTIONS, Duration::from_secs(60));
                let theirs = done as f64 / took.as_secs_f64();
                println!(
                    "\n{name}: {theirs:.0} registrations per second ({done} were made); {} MiB of memory",
                    memory(etcd.process())
                );
                let queried = etcd.query(done, seconds);
                println!("{name}, nobody registers: {queried}");
                println!(
                    "SLS / {name}: {:.1} × registrations, {:.0} × queries (theirs while nobody registers)",
                    ours / theirs,
                    our_queries / queried.per_second()
                );
            }
        }
    }
}

/// How long queries took.
pub struct Queried {
    times: Vec<Duration>,
    took: Duration,
    registered: usize,
}

impl Queried {
    fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.took.as_secs_f64()
    }
}

impl std::fmt::Display for Queried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut times = self.times.clone();
        times.sort();
        let at = |part: f64| times.get(((times.len() as f64 - 1.0) * part) as usize).copied().unwrap_or_default();
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "{:.1} queries per second, p50 {:.1} ms, p99 {:.1} ms, at {:.0} registrations per second",
            self.per_second(),
            millis(at(0.5)),
            millis(at(0.99)),
            self.registered as f64 / self.took.as_secs_f64()
        )
    }
}

fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) >> 10
}

fn secret(party: usize) -> SecretKey {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&(party as u64).to_be_bytes());
    SecretKey::from_seed(&seed)
}

/// The record of a host: prices of three resources over three windows, with histogram and history.
fn record(party: usize) -> HostRecord {
    let (public, now) = (secret(party).public_key(), SystemClock.now());
    let number = party as u64;
    let rate = |factor: u64| Rate::from_picos_per_second(1_000 + (number * factor) % 9_973);
    let offer = |capacity: Quantity, share: u64| PublishedOffer {
        capacity,
        available: Quantity::new(capacity.amount() / 16 * (share % 17)),
        base_price: rate(7),
        bids: rate(31),
    };
    let window = |factor: u64| WindowSummary {
        filled_ppm: 1_000_000,
        mean: rate(factor),
        deviation: rate(factor + 1),
        skewness_milli: 120,
        excess_kurtosis_milli: 340,
        top: Rate::from_picos_per_second(20_000),
        bins: (0..16).map(|bin| (bin * 61 % 1250) as u16).collect(),
        history: (0..24).map(|point| rate(factor + point)).collect(),
    };
    let prices = PriceSummary { spot: rate(7), hour: window(11), day: window(13), week: window(17) };
    let kinds = [ResourceKind::Cpu, ResourceKind::Memory, ResourceKind::Disk];
    let gib = |gib: u64| Quantity::from_bytes(gib << 30);
    let labels = [("rack", number % 400), ("row", number % 20), ("site", number % 3), ("generation", number % 5)];
    HostRecord {
        host: HostId::of(&public),
        name: format!("host{party}").parse().expect("a name"),
        key: public,
        addresses: vec![format!("https://host{party}.example.org:7703")],
        owner: AccountId::of(&public),
        labels: labels.map(|(label, value)| (label.to_owned(), value.to_string())).into(),
        architecture: "x86_64".into(),
        hypervisor: "Xen 4.17".into(),
        is_simulated: false,
        offers: BTreeMap::from([
            (ResourceKind::Cpu, offer(Quantity::from_cpus(8 + number % 57), number)),
            (ResourceKind::Memory, offer(gib(16 + number % 240), number / 3)),
            (ResourceKind::Disk, offer(gib(200 + number % 3000), number / 5)),
        ]),
        prices: kinds.map(|kind| (kind, prices.clone())).into(),
        unique: Default::default(),
        images: ["debian-12", "debian-13", "std:tiny", "std:base"].map(str::to_owned).into(),
        ssh: None,
        ssh_host_key: Some(public.to_string()),
        software_version: "0.1.0".into(),
        load: Quantity::from_cpus(number % 8),
        sequence: now.micros() as u64,
        issued_at: now,
    }
}

/// The requests that register hosts, as they go onto the wire.
fn signed_records(hosts: usize) -> Vec<String> {
    let sign = |party: usize| {
        let signed = SignedRecord::sign(&record(party), &secret(party)).expect("it is signed");
        let json = serde_json::to_string(&signed).expect("it is written");
        let length = json.len();
        format!(
            "POST /v1/hosts HTTP/1.1\r\nHost: sls\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}"
        )
    };
    let half = hosts / 2;
    std::thread::scope(|scope| {
        let second = scope.spawn(|| (half..hosts).map(sign).collect::<Vec<_>>());
        let mut all: Vec<String> = (0..half).map(sign).collect();
        all.extend(second.join().expect("records are signed"));
        all
    })
}

/// What is put into etcd: the same records, unsigned.
fn fresh_values(hosts: usize) -> Vec<(String, Vec<u8>)> {
    let value = |party| (format!("/hosts/{party:08}"), serde_json::to_vec(&record(party)).expect("it is written"));
    (0..hosts).map(value).collect()
}

/// Serves as `tycoon sls serve --verify no` does, until it is killed.
fn serve(folder: &str) {
    let database = sled::Config::new().path(folder).cache_capacity(32 << 20).open().expect("a database");
    let store = Store::new(database.open_tree("hosts").expect("a tree"));
    let hour = TimeSpan::from_seconds(3600);
    let policy = Policy { expiry: hour, hosts_max: 1_000_000, ..Policy::default() };
    let key = Arc::new(SecretKey::from_seed(&[1; 32]));
    let sls = SlsService::open(key, Arc::new(SystemClock), ReplayPolicy::IN_PROCESS, policy, Some(store));
    let sls = Arc::new(sls.expect("a service"));
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::start(ServerSettings::on(listen), Published::new(sls.clone())).expect("a server");
    println!("{}", server.address());
    loop {
        std::thread::sleep(Duration::from_millis(250));
        sls.maintain(1_000).expect("it is stored");
    }
}

/// The service as a process.
struct ServedSls {
    child: Child,
    address: String,
}

impl ServedSls {
    fn start(folder: &std::path::Path) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .arg(SERVE)
            .arg(folder.join("sls"))
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .expect("the service starts");
        let mut address = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut address).expect("its address");
        Self { child, address: address.trim().to_owned() }
    }

    fn connect(&self) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(&self.address).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        BufReader::new(stream)
    }

    fn register_all(&self, records: &[String]) -> Duration {
        let next = AtomicUsize::new(0);
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    let mut stream = self.connect();
                    while let Some(record) = records.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let status = ask(&mut stream, record);
                        assert_eq!(status, 200, "a registration is refused");
                    }
                });
            }
        });
        began.elapsed()
    }

    /// Queries by one client for a time, while hosts register at a steady rate.
    fn query(&self, records: &[String], time: Duration) -> Queried {
        let (is_over, registered) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let began = Instant::now();
            for first in 0..4 {
                let (is_over, registered) = (&is_over, &registered);
                scope.spawn(move || {
                    let mut stream = self.connect();
                    let own = records.iter().skip(first).step_by(4);
                    for (number, record) in own.enumerate() {
                        let due = Duration::from_secs_f64(number as f64 * 4.0 / STEADY as f64);
                        if let Some(wait) = due.checked_sub(began.elapsed()) {
                            std::thread::sleep(wait);
                        }
                        if is_over.load(Ordering::Relaxed) {
                            break;
                        }
                        assert_eq!(ask(&mut stream, record), 200, "a registration is refused");
                        registered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let mut stream = self.connect();
            let request = format!("GET {QUERY} HTTP/1.1\r\nHost: sls\r\n\r\n");
            let mut times = Vec::new();
            while began.elapsed() < time {
                let asked = Instant::now();
                assert_eq!(ask(&mut stream, &request), 200, "a query is refused");
                times.push(asked.elapsed());
            }
            let took = began.elapsed();
            is_over.store(true, Ordering::Relaxed);
            Queried { times, took, registered: registered.load(Ordering::Relaxed) }
        })
    }
}

impl Drop for ServedSls {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request as it is, and reads the answer; its status.
fn ask(stream: &mut BufReader<TcpStream>, request: &str) -> u16 {
    stream.get_mut().write_all(request.as_bytes()).expect("it is sent");
    let (mut status, mut length) = (0, 0);
    let mut line = String::new();
    loop {
        line.clear();
        assert!(stream.read_line(&mut line).expect("an answer") > 0, "the connection was closed");
        if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            status = rest[..3].parse().expect("a status");
        } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        } else if line == "\r\n" {
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("the answer's body");
            return status;
        }
    }
}
