//! A service location service on the network, and the commands that talk to it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, Response};
use serde_json::Value;
use tycoon_market::{AccountId, HostId, Quantity, Rate, ResourceKind, TimeSpan};
use tycoon_rpc::{
    Call, Caller, Clock as _, HttpSettings, HttpTransport, Limits, Published, Receiver, ReplayPolicy, SecretKey,
    Server, ServerSettings, Service, Signer as _, SystemClock,
};
use tycoon_sls::announce::{AnnouncePolicy, Announcing};
use tycoon_sls::client::NamedCaller;
use tycoon_sls::{HostRecord, PublishedOffer, SignedRecord, SlsClient, challenge};

use crate::bank_service::{live, user};
use crate::environment::Environment;
use crate::served::{Kind, Served};

/// What is served here.
pub struct SlsKind;

impl Kind for SlsKind {
    const NAME: &str = "sls";
}

/// A service location service that is served from the environment's folder.
pub type ServedSls = Served<SlsKind>;

impl ServedSls {
    /// Starts a service that keeps what it knows in `folder`.
    pub fn start(environment: &Environment, folder: &str, listen: &str, more: &[&str]) -> Self {
        let store = environment.path().join(folder).display().to_string();
        let arguments = [&["sls", "serve", "--store", &store, "--listen", listen][..], more].concat();
        Self::open(live(environment, &arguments))
    }

    /// The same for the hosts of a site, whose roll it keeps.
    pub fn of_site(environment: &Environment, listen: &str, site: &str, more: &[&str]) -> Self {
        Self::start(environment, "sls", listen, &[&["--site-key", site], more].concat())
    }

    /// Its port.
    pub fn port(&self) -> &str {
        self.url.rsplit(':').next().expect("a port")
    }

    fn pins(&self) -> [&str; 4] {
        ["--sls", &self.url, "--sls-key", &self.key]
    }
}

/// What a host says of itself now.
pub fn signed_record(key: &SecretKey, name: &str, address: &str, rack: &str, cpus: u64) -> SignedRecord {
    let (public, now) = (key.public_key(), SystemClock.now());
    let (cpus, base_price) = (Quantity::from_cpus(cpus), Rate::from_credits_per_hour(0.5));
    let cpu = PublishedOffer { capacity: cpus, available: cpus, base_price, bids: Rate::ZERO };
    let record = HostRecord {
        host: HostId::of(&public),
        name: name.parse().expect("a name"),
        key: public,
        addresses: vec![address.to_owned()],
        owner: AccountId::of(&public),
        labels: [("rack".to_owned(), rack.to_owned())].into(),
        architecture: "x86_64".into(),
        hypervisor: "Xen 4.17".into(),
        is_simulated: false,
        offers: [(ResourceKind::Cpu, cpu)].into(),
        prices: Default::default(),
        unique: Default::default(),
        images: vec!["std:tiny".into()],
        ssh: None,
        ssh_host_key: None,
        software_version: "0.1.0".into(),
        load: Quantity::ZERO,
        sequence: now.micros() as u64,
        issued_at: now,
    };
    SignedRecord::sign(&record, key).expect("a record that can be signed")
}

/// A host, as far as a service location service cares: it answers challenges, and announces itself.
struct TestHost {
    key: Arc<SecretKey>,
    name: String,
    server: Server,
}

struct Challenged {
    key: Arc<SecretKey>,
    receiver: Receiver,
}

impl Service for Challenged {
    fn handle(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        let answer = |call: &Call<'_>| match (call.request.method(), call.path().as_slice()) {
            (&Method::POST, ["v1", "challenge"]) => challenge::serve(call, &*self.key),
            _ => Err(call.no_such_call()),
        };
        self.receiver.serve(request, |_| true, answer)
    }
}

impl TestHost {
    fn start(number: u8) -> Self {
        let key = Arc::new(SecretKey::from_seed(&[number; 32]));
        let clock = Arc::new(SystemClock);
        let receiver = Receiver::new(key.clone(), clock, ReplayPolicy::IN_PROCESS, Limits::DEFAULT);
        let service = Arc::new(Challenged { key: key.clone(), receiver });
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::start(ServerSettings::on(listen), Published::new(service)).expect("a free port");
        Self { key, name: format!("host{number}"), server }
    }

    fn id(&self) -> HostId {
        HostId::of(&self.key.public_key())
    }

    fn record(&self) -> impl FnMut() -> Result<SignedRecord, String> + Send + 'static {
        let (key, name, address) = (self.key.clone(), self.name.clone(), self.server.address());
        move || Ok(signed_record(&key, &name, &format!("http://{address}"), "3", 8))
    }

    /// Registers with services every second.
    fn announce(&self, services: &[&ServedSls]) -> Announcing {
        let named = services.iter().map(|sls| {
            let transport = HttpTransport::new(&sls.url, &HttpSettings::default()).expect("an address");
            let caller = Caller::new(self.key.clone(), sls.key.parse().expect("a key"), Arc::new(transport));
            NamedCaller { name: sls.url.clone(), caller }
        });
        let second = TimeSpan::from_seconds(1);
        let policy = AnnouncePolicy { interval: second, retry: second, pause_min: TimeSpan::ZERO };
        Announcing::start(SlsClient::new(named.collect()), policy, self.id(), self.record(), |_| {}).expect("a thread")
    }
}

fn json(environment: &Environment, name: &str, arguments: &[&str]) -> Value {
    let ran = user(environment, name, &[arguments, &["--json"]].concat()).ok();
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("no JSON ({error}):\n{ran}"))
}

/// Asks again and again until something is so.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not come about");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn names(listed: &Value) -> Vec<&str> {
    listed.as_array().expect("a list").iter().map(|host| host["name"].as_str().expect("a name")).collect()
}

#[test]
fn hosts_are_found_verified_admitted_and_revoked() {
    let environment = Environment::new();
    let site_key = user(&environment, "operator", &["site", "init"]).ok().stdout;
    let sls = ServedSls::start(&environment, "sls", "127.0.0.1:0", &["--site-key", site_key.trim()]);
    for name in ["operator", "jane"] {
        let pins = sls.pins();
        user(&environment, name, &[&["init"][..], &pins, &["--site-key", site_key.trim()]].concat()).ok();
    }
    let hosts = [TestHost::start(1), TestHost::start(2)];
    let announcing: Vec<Announcing> = hosts.iter().map(|host| host.announce(&[&sls])).collect();
    until("that both are verified", || {
        (names(&json(&environment, "jane", &["sls", "list", "verified"])).len() == 2).then_some(())
    });

    let listed = user(&environment, "jane", &["sls", "list", "label.rack = 3 and cpu.available >= 8"]).ok();
    assert!(listed.stdout.contains("host1") && listed.stdout.contains("verified (direct)"), "{listed}");
    // Only the service knows for how long a host was silent; both are heard of every second.
    until("that both were silent for a moment", || {
        (names(&json(&environment, "jane", &["sls", "list", "silence > 0.001s"])).len() == 2).then_some(())
    });
    assert_eq!(names(&json(&environment, "jane", &["sls", "list", "silence > 1h"])), Vec::<&str>::new());
    let chosen = user(&environment, "jane", &["sls", "list", "--fields", "name,cpu.price", "--sort", "-name"]).ok();
    let lines: Vec<&str> = chosen.stdout.lines().collect();
    assert!(lines[1].starts_with("host2") && lines[1].ends_with("0.5000"), "{chosen}");
    let wrong = user(&environment, "jane", &["sls", "list", "cpu.prise < 3"]).ends_with(2);
    assert!(wrong.stderr.contains("did you mean `cpu.price`?") && wrong.stderr.contains("^^^^^^^^^"), "{wrong}");
    let shown = user(&environment, "jane", &["sls", "show", "host1"]).ok();
    assert!(shown.stdout.contains(&hosts[0].id().to_string()), "{shown}");
    let uptime = json(&environment, "jane", &["sls", "uptime"]);
    assert_eq!(uptime[0]["week"], 1.0);
    let wrong = user(&environment, "jane", &["sls", "show", "host9"]).ends_with(1);
    assert!(wrong.stderr.contains("no host `host9` is known"), "{wrong}");

    // Nothing is planned before the site admits it.
    let wrong = user(&environment, "jane", &["sls", "list", "--planned"]).ends_with(1);
    assert!(wrong.stderr.contains("tycoon site publish"), "{wrong}");
    user(&environment, "operator", &["site", "admit", "host1"]).ok();
    assert_eq!(names(&json(&environment, "jane", &["sls", "list", "--planned"])), ["host1"]);
    let roll = user(&environment, "operator", &["site", "list"]).ok();
    assert!(roll.stdout.contains("no: not admitted"), "{roll}");
    user(&environment, "operator", &["site", "admit", "host2"]).ok();
    assert_eq!(names(&json(&environment, "jane", &["sls", "list", "--planned"])), ["host1", "host2"]);
    user(&environment, "operator", &["site", "revoke", "host1"]).ok();
    assert_eq!(names(&json(&environment, "jane", &["sls", "list", "--planned"])), ["host2"]);
    let wrong = user(&environment, "operator", &["site", "revoke", "host1"]).ends_with(1);
    assert!(wrong.stderr.contains("`host1` is not admitted"), "{wrong}");

    // A list in a file does without the service.
    let exported = user(&environment, "jane", &["sls", "export"]).ok().stdout;
    environment.write("hosts.jsonl", &format!("# the hosts of today\n{exported}"));
    announcing.into_iter().for_each(Announcing::stop);
    assert_eq!(names(&json(&environment, "jane", &["sls", "list"])), Vec::<&str>::new(), "they have left");
    let gone = json(&environment, "jane", &["sls", "uptime", "--all"]);
    assert_eq!((names(&gone), &gone[0]["is_live"]), (vec!["host1", "host2"], &Value::Bool(false)));
    sls.stop();
    let file = environment.path().join("hosts.jsonl").display().to_string();
    let listed = json(&environment, "jane", &["sls", "list", "--hosts-file", &file, "name = host2"]);
    assert_eq!(names(&listed), ["host2"]);
    let unknown = user(&environment, "jane", &["sls", "list", "--hosts-file", &file, "silence > 1s"]).ends_with(2);
    assert!(unknown.stderr.contains("is not in a file of hosts"), "{unknown}");
    environment.write("hosts.jsonl", &exported.replace("Xen 4.17", "Xen 4.18"));
    let forged = user(&environment, "jane", &["sls", "list", "--hosts-file", &file]).ends_with(1);
    assert!(forged.stderr.contains("line 1") && forged.stderr.contains("not signed"), "{forged}");
}

#[test]
fn a_killed_service_is_useful_at_once_and_others_go_on_without_it() {
    let environment = Environment::new();
    let mut one = ServedSls::start(&environment, "one", "127.0.0.1:0", &[]);
    let two = ServedSls::start(&environment, "two", "127.0.0.1:0", &[]);
    let (urls, keys) = (format!("{},{}", one.url, two.url), format!("{},{}", one.key, two.key));
    user(&environment, "jane", &["init", "--sls", &urls, "--sls-key", &keys]).ok();
    let host = TestHost::start(1);
    let announcing = host.announce(&[&one, &two]);
    let known = |service: &ServedSls| {
        let listed = json(&environment, "jane", &["sls", "list", "verified", "--sls", &service.url]);
        (names(&listed) == ["host1"]).then_some(())
    };
    until("that both know the host", || known(&one).and(known(&two)));
    // What was only just said may be lost with the service: it is said again every 30 s.
    until("that it is known for a while", || {
        let seen = json(&environment, "jane", &["sls", "uptime", "--sls", &one.url]);
        let at = |name: &str| seen[0][name].as_i64().expect("a time");
        (at("last_seen") - at("first_seen") > 3_000_000).then_some(())
    });
    let port = one.port().to_owned();
    one.kill();
    let listed = user(&environment, "jane", &["sls", "list"]).ok();
    assert!(listed.stdout.contains("host1") && listed.stderr.contains("is of no use"), "{listed}");
    let info = user(&environment, "jane", &["sls", "info"]).ends_with(1);
    assert!(info.stdout.contains("cannot be reached"), "{info}");
    // The host keeps still, so that what the service knows is what it remembers.
    drop(announcing);
    let one = ServedSls::start(&environment, "one", &format!("127.0.0.1:{port}"), &[]);
    assert_eq!(known(&one), Some(()));
    two.stop();
    one.stop();
}

#[test]
fn a_service_moves_to_another_machine_with_its_folder() {
    let environment = Environment::new();
    let old = ServedSls::start(&environment, "old", "127.0.0.1:0", &[]);
    user(&environment, "jane", &[&["init"][..], &old.pins()].concat()).ok();
    let host = TestHost::start(1);
    let announcing = host.announce(&[&old]);
    until("that the host is known", || {
        (names(&json(&environment, "jane", &["sls", "list"])) == ["host1"]).then_some(())
    });
    drop(announcing);
    let (key, url) = (old.key.clone(), old.url.clone());
    // 1. stop it, 2. copy its folder, 3. start it there. The key is the same, so that users pin the new address only.
    old.stop();
    let folder = |name: &str| environment.path().join(name);
    copy(&folder("old"), &folder("new"));
    let new = ServedSls::start(&environment, "new", "127.0.0.1:0", &[]);
    assert_eq!(new.key, key);
    assert_ne!(new.url, url);
    user(&environment, "jane", &[&["init"][..], &new.pins()].concat()).ok();
    assert_eq!(names(&json(&environment, "jane", &["sls", "list"])), ["host1"]);
    let announcing = host.announce(&[&new]);
    until("that the host registers there", || {
        let metrics = HttpTransport::new(&new.url, &HttpSettings::default()).expect("an address");
        let page = tycoon_rpc::Transport::send(&metrics, Request::get("/metrics").body(Vec::new()).ok()?).ok()?;
        let text = String::from_utf8(page.into_body()).ok()?;
        text.lines()
            .any(|line| line.starts_with("tycoon_sls_registrations_total ") && !line.ends_with(" 0"))
            .then_some(())
    });
    announcing.stop();
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp runs");
    assert!(copied.success());
}

#[test]
fn what_changes_is_told_as_it_happens() {
    let environment = Environment::new();
    let sls = ServedSls::start(&environment, "sls", "127.0.0.1:0", &[]);
    user(&environment, "jane", &[&["init"][..], &sls.pins()].concat()).ok();
    let none = user(&environment, "jane", &["sls", "watch", "--count", "0"]).ends_with(2);
    assert!(none.stderr.contains("--count"), "{none}");
    let mut command = environment.command(&["sls", "watch", "name = host1", "--count", "3", "--json"]);
    command.env_remove("TYCOON_CLOCK").env_remove("TYCOON_SEED");
    command
        .env("XDG_CONFIG_HOME", environment.path().join("jane"))
        .env("XDG_STATE_HOME", environment.path().join("jane"));
    let child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    until("that somebody watches", || {
        let metrics = HttpTransport::new(&sls.url, &HttpSettings::default()).expect("an address");
        let page = tycoon_rpc::Transport::send(&metrics, Request::get("/metrics").body(Vec::new()).ok()?).ok()?;
        String::from_utf8(page.into_body()).ok()?.contains("tycoon_sls_watchers 1").then_some(())
    });
    let (one, two) = (TestHost::start(1), TestHost::start(2));
    let announcing = [two.announce(&[&sls]), one.announce(&[&sls])];
    until("that it is verified", || {
        (names(&json(&environment, "jane", &["sls", "list", "verified"])).len() == 2).then_some(())
    });
    announcing.into_iter().for_each(Announcing::stop);
    let told = child.wait_with_output().expect("it ends by itself").stdout;
    let told: Vec<String> = String::from_utf8(told)
        .expect("text")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["what"].as_str().expect("what").to_owned())
        .collect();
    assert_eq!(told, ["appeared", "verified", "left"]);
}
