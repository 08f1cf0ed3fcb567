//! Bank, service location service, hosts and users, each in a network namespace of its own: what goes on while one of
//! them is cut off from the others, and that everything is found again afterwards.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bank_service::{self, ServedBank, text, user};
use crate::environment::{Environment, HELLO, Ran};
use crate::host_service::{ServedHost, audited, balance, find_hosts, settle};
use crate::network::Network;
use crate::sls::ServedSls;

/// What the bank has issued, in micro-credits.
const ALL: i64 = 1_000_000_000;
/// Who is where.
const PLACES: [(&str, &str); 6] = [
    ("bank", "10.77.0.1"),
    ("sls", "10.77.0.2"),
    ("host1", "10.77.0.3"),
    ("host2", "10.77.0.4"),
    ("jane", "10.77.0.5"),
    ("operator", "10.77.0.6"),
];
/// How long the service remembers a host that is silent; hosts register four times as often.
const EXPIRY: Duration = Duration::from_secs(8);
/// The longest that a command may take while somebody is cut off; without anything else to do it takes 5 to 15 s.
const PATIENCE: Duration = Duration::from_secs(25);

fn address(place: &str) -> &'static str {
    PLACES.iter().find(|(name, _)| *name == place).expect("a place").1
}

/// A site whose parties are connected by wires that can be cut.
struct Wired {
    network: Network,
    environment: Environment,
}

impl Wired {
    /// The wires alone; `None`, and it is said why, where they cannot be made.
    fn make() -> Option<Self> {
        let mut network = Network::make("partitions")?;
        for (place, address) in PLACES {
            network.join(place, address);
        }
        let mut environment = Environment::new();
        // Beyond loopback nobody is spoken to without TLS.
        let made = rcgen::generate_simple_self_signed(PLACES.map(|(_, address)| address.to_owned()))
            .expect("a certificate for these addresses");
        environment.write("certificate.pem", &made.cert.pem());
        environment.write("key.pem", &made.signing_key.serialize_pem());
        let file = |name: &str| environment.path().join(name).display().to_string();
        let (certificate, key) = (file("certificate.pem"), file("key.pem"));
        environment.set("TYCOON_TLS_CERTIFICATES", &certificate);
        environment.set("TYCOON_TLS_KEY", &key);
        environment.set("TYCOON_TRUSTED_CERTIFICATES", &certificate);
        Some(Self { network, environment })
    }

    /// Does something where a party is. Everybody but Jane sits at the operator's.
    fn at<T: Send>(&self, party: &str, work: impl FnOnce(&Environment) -> T + Send) -> T {
        let is_at_home = PLACES.iter().any(|(place, _)| *place == party);
        self.network.within(if is_at_home { party } else { "operator" }, || work(&self.environment))
    }

    fn user(&self, name: &str, arguments: &[&str]) -> Ran {
        self.at(name, |environment| user(environment, name, arguments))
    }

    fn json(&self, name: &str, arguments: &[&str]) -> Value {
        self.at(name, |environment| bank_service::json(environment, name, arguments))
    }

    fn balance(&self, name: &str) -> i64 {
        self.at(name, |environment| balance(environment, name))
    }

    /// A command of Jane's that may meet somebody who is cut off: it succeeds, and in good time.
    fn promptly(&self, arguments: &[&str]) -> Ran {
        let began = Instant::now();
        let ran = self.user("jane", arguments).ok();
        assert!(began.elapsed() < PATIENCE, "it took {:?}: {ran}", began.elapsed());
        ran
    }

    /// What a host has charged the pool.
    fn charged(&self, host: &str) -> i64 {
        let told = self.json("jane", &["host", "status", host, "--pool", "hello"]);
        assert_eq!(told[0]["state"], "active", "{told}");
        told[0]["charged_micro"].as_i64().expect("an amount")
    }

    /// Waits until a host has charged more than `before`.
    fn wait_for_charges(&self, host: &str, before: i64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.charged(host) <= before {
            assert!(Instant::now() < deadline, "{host} charges no more");
            sleep(Duration::from_millis(100));
        }
    }

    /// What the pool is by `status`.
    fn pool(&self) -> Value {
        serde_json::from_str(&self.promptly(&["status", "hello", "--json"]).stdout).expect("JSON")
    }

    /// Bids on a host: something else every time.
    fn bid(&self, host: &str, number: u32) {
        let cpus = format!("CPU:1,0.{:03}CPU,2CPU", 100 + number);
        let ran = self.promptly(&["host", "bid", host, "30d", &cpus]);
        assert!(ran.stdout.contains("active"), "{ran}");
    }

    /// Cuts a party off, shows that the pool goes on at `host`, and puts the party back.
    fn cut_off(&self, party: &str, host: &str, number: u32) {
        let before = self.charged(host);
        self.network.cut(party);
        let cut = Instant::now();
        // Each of these waits for who is silent; together they take no longer than one.
        let charged = std::thread::scope(|scope| {
            scope.spawn(|| self.bid(host, number));
            scope.spawn(|| {
                let told = match party {
                    "bank" => "the bank cannot be asked".to_owned(),
                    "sls" => "no service location service is of use".to_owned(),
                    host => format!("{host} cannot be asked"),
                };
                let status = self.promptly(&["status", "hello"]).to_string();
                assert!(status.contains(&told), "{party} is missing: {status}");
            });
            let pool = self.pool();
            assert!(running(&pool).contains(&host), "{pool}");
            assert_eq!(pool["bank_problem"].is_string(), party == "bank", "{pool}");
            let unknown = pool["unknown_hosts"].as_array().expect("a list").iter();
            let unknown: Vec<&str> = unknown.map(|unknown| text(unknown, "host")).collect();
            assert_eq!(unknown, if party.starts_with("host") { vec![party] } else { vec![] }, "{pool}");
            let mut accounts = pool["hosts"].as_array().expect("a list").iter();
            accounts.find(|account| text(account, "host") == host).and_then(|account| account["charged_micro"].as_i64())
        });
        // The host may have been asked before its next interval was over.
        if charged <= Some(before) {
            self.wait_for_charges(host, before);
        }
        // Who is cut off from the service is forgotten by it meanwhile.
        sleep((EXPIRY + Duration::from_secs(1)).saturating_sub(cut.elapsed()));
        self.network.heal(party);
        self.wait_until_whole();
    }

    /// Waits until everybody is found again: the hosts are listed and answer, and nothing of the pool is unknown.
    fn wait_until_whole(&self) {
        let healed = Instant::now();
        self.at("jane", |environment| find_hosts(environment, 2));
        loop {
            let pool = self.pool();
            let is_known = pool["bank_problem"].is_null() && pool["unknown_hosts"] == json!([]);
            if is_known && running(&pool) == ["host1", "host2"] {
                break;
            }
            assert!(healed.elapsed() < Duration::from_secs(60), "not everything is found again: {pool}");
            sleep(Duration::from_millis(100));
        }
        assert!(healed.elapsed() < Duration::from_secs(60), "it took {:?}", healed.elapsed());
    }
}

/// The hosts on which domains of a pool run.
fn running(pool: &Value) -> Vec<&str> {
    let domains = pool["domains"].as_array().expect("domains").iter();
    domains.filter(|domain| domain["state"] == "running").map(|domain| text(domain, "host")).collect()
}

#[test]
fn the_market_goes_on_while_any_party_is_cut_off_and_everything_is_found_again() {
    let Some(wired) = Wired::make() else { return };
    wired.environment.write("policy.kdl", "interval \"1s\"\n");
    // One domain on each host.
    let pool = HELLO.replace("count=3", "count=2").replace("memory", "place max-per-host=1\n        memory");
    wired.environment.write("hello.kdl", &pool);

    let listen = |place: &str, port: u16| format!("{}:{port}", address(place));
    let bank = wired.at("bank", |environment| ServedBank::found(environment, "bank", &listen("bank", 7401), &[]));
    wired.at("operator", |environment| settle(environment, &bank));
    let site = wired.user("operator", &["site", "init"]).ok().stdout.trim().to_owned();
    let expiry = format!("{}s", EXPIRY.as_secs());
    let sls = wired
        .at("sls", |environment| ServedSls::of_site(environment, &listen("sls", 7402), &site, &["--expiry", &expiry]));
    let of_host = ["--sls", &sls.url, "--sls-key", &sls.key, "--policy", "policy.kdl"];
    let hosts = ["host1", "host2"].map(|name| {
        let listen = listen(name, 7403);
        wired.at(name, |environment| ServedHost::start_with(environment, name, &bank, &listen, &of_host, &[]))
    });
    for name in ["jane", "operator", "owner"] {
        wired.user(name, &["init", "--sls", &sls.url, "--sls-key", &sls.key, "--site-key", &site]).ok();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let ran = wired.user("operator", &["site", "admit", "host1", "host2"]);
        if ran.code == Some(0) {
            break;
        }
        assert!(Instant::now() < deadline, "the hosts do not register: {ran}");
        sleep(Duration::from_millis(100));
    }
    assert_eq!(wired.at("jane", |environment| find_hosts(environment, 2)), ["host1", "host2"]);
    wired.user("jane", &["up", "hello.kdl", "--yes"]).ok();
    wired.user("jane", &["host", "create-account", "host1", "host2", "--amount", "10"]).ok();

    for (number, (party, host)) in
        (0..).zip([("bank", "host1"), ("sls", "host2"), ("host1", "host2"), ("host2", "host1")])
    {
        wired.cut_off(party, host, number);
    }

    // One host alone does not reach the bank.
    wired.user("owner", &["host", "withdraw", "host1"]).ok();
    wired.network.cut_towards("host1", address("bank"));
    let earned = wired.balance("owner");
    let before = wired.charged("host1");
    wired.bid("host1", 99);
    wired.promptly(&["host", "fund", "host1", "--amount", "1"]);
    wired.wait_for_charges("host1", before);
    // Those who want money back at the same time do not wait for the bank one after the other.
    std::thread::scope(|scope| {
        for leave in ["9.5", "9.4", "9.3", "9.2", "9.1", "9"] {
            let wired = &wired;
            scope.spawn(move || wired.promptly(&["host", "refund", "host1", "--leave", leave]));
        }
    });
    let due = wired.json("owner", &["host", "withdraw", "host1"]);
    assert!(due[0]["due_micro"].as_i64() > Some(0), "{due}");
    assert_eq!(wired.balance("owner"), earned, "nothing reaches the bank");
    wired.network.heal_towards("host1", address("bank"));
    let deadline = Instant::now() + Duration::from_secs(60);
    while wired.balance("owner") <= earned {
        assert!(Instant::now() < deadline, "what was charged is not paid");
        sleep(Duration::from_millis(100));
    }
    wired.wait_until_whole();

    wired.user("jane", &["host", "close-account", "all", "--yes"]).ok();
    wired.user("jane", &["down", "hello", "--yes"]).ok();
    assert_eq!(wired.balance("owner") + wired.balance("jane"), ALL, "nothing was lost, made, or left in escrow");
    for host in hosts {
        host.stop();
    }
    assert_eq!(audited(&wired.environment, bank), (ALL, 0));
}
