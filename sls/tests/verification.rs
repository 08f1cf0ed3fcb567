//! Hosts that are called back, through networks as they are: the table of registration (see `tycoon_sls::reach`), row by
//! row, with network namespaces, address translation and a forward proxy.

mod network;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, Response};
use network::{Network, forward_proxy};
use tycoon_market::{AccountId, HostId, Quantity};
use tycoon_rpc::server::tls::TlsFiles;
use tycoon_rpc::{
    CallError, Caller, Clock as _, HttpSettings, HttpTransport, Limits, Published, Receiver, ReplayPolicy, SecretKey,
    Server, ServerSettings, Service, Signer as _, SystemClock,
};
use tycoon_sls::challenge;
use tycoon_sls::reach::{Connection, Standing};
use tycoon_sls::service::{Listed, Registered};
use tycoon_sls::verify::{Verifier, VerifySettings};
use tycoon_sls::{HostRecord, Policy, SignedRecord, SlsService};

const SLS: [u8; 4] = [10, 9, 0, 1];
const PORT: u16 = 7700;

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

fn id(number: u8) -> HostId {
    HostId::of(&key(number).public_key())
}

/// The market of a host, as far as an SLS cares.
struct Host {
    key: SecretKey,
    receiver: Receiver,
}

impl Service for Host {
    fn handle(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        let answer = |call: &tycoon_rpc::Call<'_>| match (call.request.method(), call.path().as_slice()) {
            (&Method::POST, ["v1", "challenge"]) => challenge::serve(call, &self.key),
            _ => Err(call.no_such_call()),
        };
        self.receiver.serve(request, |_| true, answer)
    }
}

/// Serves host `number` at port 7700 of this thread's network.
fn serve_host(number: u8, tls: Option<TlsFiles>) -> Server {
    let receiver =
        Receiver::new(Arc::new(key(number)), Arc::new(SystemClock), ReplayPolicy::IN_PROCESS, Limits::DEFAULT);
    let mut settings = ServerSettings::on(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)));
    // There is no TLS in this network, but what is verified does not depend on it.
    settings.behind_proxy = tls.is_none();
    settings.tls = tls;
    Server::start(settings, Published::new(Arc::new(Host { key: key(number), receiver }))).unwrap()
}

/// The record of host `number`, which says that it is at `addresses`.
fn record(number: u8, name: &str, addresses: &[&str]) -> SignedRecord {
    let (public, now) = (key(number).public_key(), SystemClock.now());
    let said = HostRecord {
        host: id(number),
        name: name.parse().unwrap(),
        key: public,
        addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
        owner: AccountId::of(&public),
        labels: Default::default(),
        architecture: "x86_64".into(),
        hypervisor: "Xen 4.17".into(),
        is_simulated: false,
        offers: Default::default(),
        prices: Default::default(),
        unique: Default::default(),
        images: Vec::new(),
        ssh: None,
        ssh_host_key: None,
        software_version: "0.1.0".into(),
        load: Quantity::ZERO,
        sequence: now.micros() as u64,
        issued_at: now,
    };
    SignedRecord::sign(&said, &key(number)).unwrap()
}

/// An SLS in the network, which calls back.
struct Sls {
    service: Arc<SlsService>,
    _verifier: Verifier,
    _server: Server,
    certificate: tempfile::TempDir,
}

fn certificate(folder: &Path, address: [u8; 4]) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed([Ipv4Addr::from(address).to_string()]).unwrap();
    let (certificates, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&certificates, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    TlsFiles { certificates, key }
}

impl Sls {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let policy = Policy { verifies: true, ..Policy::default() };
        let clock = Arc::new(SystemClock);
        let service = SlsService::open(Arc::new(key(200)), clock, ReplayPolicy::IN_PROCESS, policy, None).unwrap();
        let service = Arc::new(service);
        let second = Duration::from_secs(1);
        let quick = VerifySettings { connect_timeout: second, answer_timeout: second, ..VerifySettings::default() };
        let verifier = Verifier::start(service.clone(), quick).unwrap();
        let mut settings = ServerSettings::on(SocketAddr::from((SLS, 7402)));
        settings.tls = Some(certificate(folder.path(), SLS));
        let server = Server::start(settings, Published::new(service.clone())).unwrap();
        Self { service, _verifier: verifier, _server: server, certificate: folder }
    }

    /// Registers from this thread's network.
    fn register(&self, record: &SignedRecord, proxy: Option<&str>) -> Result<Registered, CallError> {
        let trusted = Some(self.certificate.path().join("certificate.pem"));
        let settings = HttpSettings { trusted, proxy: proxy.map(str::to_owned), ..HttpSettings::default() };
        let transport = HttpTransport::new("https://10.9.0.1:7402", &settings).unwrap();
        Caller::new(Arc::new(key(250)), key(200).public_key(), Arc::new(transport)).post_unsigned("/v1/hosts", record)
    }

    fn look(&self, number: u8) -> Option<Listed> {
        let path = format!("/v1/hosts/{}", id(number));
        let response = self.service.handle(Request::get(path).body(Vec::new()).unwrap());
        serde_json::from_slice(response.body()).ok()
    }

    /// What is found out about a host: `None` where it is rejected.
    fn found(&self, number: u8) -> Option<(Standing, Option<Connection>, Vec<String>)> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match self.look(number) {
                None => return None,
                Some(Listed { reach, .. }) if reach.standing != Standing::Pending => {
                    return Some((reach.standing, reach.connection, reach.addresses));
                }
                Some(_) => assert!(Instant::now() < deadline, "host {number} is not judged"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The internet of the test: a service, hosts in the open, a gateway with hosts behind it, a proxy with one behind it.
fn internet() -> Option<Network> {
    let mut network = Network::make("sls")?;
    network.join("sls", "10.9.0.1");
    network.join("open", "10.9.0.2");
    network.join("gateway", "10.9.0.3");
    network.join("proxy", "10.9.0.4");
    network.join("squatter", "10.9.0.5");
    network.connect("gateway", "192.168.77.1", "inside", "192.168.77.2");
    network.connect("proxy", "192.168.78.1", "closed", "192.168.78.2");
    network.translate("gateway", "10.9.0.3", "192.168.77.2", PORT);
    Some(network)
}

fn verified(connection: Connection, addresses: &[&str]) -> Option<(Standing, Option<Connection>, Vec<String>)> {
    let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
    Some((Standing::Verified, Some(connection), addresses))
}

#[test]
fn every_row_of_the_table() {
    let Some(mut net) = internet() else { return };
    let sls = net.within("sls", Sls::start);
    let register = |net: &Network, place: &str, record: &SignedRecord| {
        net.within(place, || sls.register(record, None)).expect("it is registered");
    };

    // External verified, self-known verified, one address: a host in the open. With TLS, and a certificate of its own.
    let folder = tempfile::tempdir().unwrap();
    let open = net.within("open", || serve_host(1, Some(certificate(folder.path(), [10, 9, 0, 2]))));
    register(&net, "open", &record(1, "open", &["https://10.9.0.2:7700"]));
    assert_eq!(sls.found(1), verified(Connection::Direct, &["https://10.9.0.2:7700"]));

    // Both verified, two addresses.
    open.stop();
    let open = net.within("open", || serve_host(1, None));
    net.address("open", "10.9.0.22");
    register(&net, "open", &record(1, "open", &["http://10.9.0.22:7700"]));
    let deadline = Instant::now() + Duration::from_secs(60);
    let both = verified(Connection::Multiple, &["http://10.9.0.22:7700", "http://10.9.0.2:7700"]);
    while sls.found(1) != both {
        assert!(Instant::now() < deadline, "{:?}", sls.found(1));
        std::thread::sleep(Duration::from_millis(20));
    }

    // External verified, self-known no connection: behind a gateway that passes the port on.
    let inside = net.within("inside", || serve_host(2, None));
    register(&net, "inside", &record(2, "inside", &["http://192.168.77.2:7700"]));
    assert_eq!(sls.found(2), verified(Connection::Nat, &["http://10.9.0.3:7700"]));

    // External verified, self-known failed: the service's own network has somebody at the private address.
    net.address("squatter", "192.168.77.2");
    net.route("sls", "192.168.77.2");
    let neighbour = net.within("squatter", || serve_host(90, None));
    inside.stop();
    let inside = net.within("inside", || serve_host(3, None));
    register(&net, "inside", &record(3, "inside3", &["http://192.168.77.2:7700"]));
    assert_eq!(sls.found(3), verified(Connection::Nat, &["http://10.9.0.3:7700"]));

    // External failed, self-known no connection: the gateway passes the port on to another host.
    register(&net, "inside", &record(4, "inside4", &["http://192.168.77.9:7700"]));
    let unverified =
        |connection, address: &str| Some((Standing::Unverified, Some(connection), vec![address.to_owned()]));
    assert_eq!(sls.found(4), unverified(Connection::Nat, "http://192.168.77.9:7700"));
    drop(inside);

    // External no connection, self-known verified: registered through a proxy, and reached directly.
    let proxy = forward_proxy(&net, "proxy");
    let through = |place: &str, record: &SignedRecord, proxy: &str| {
        net.within(place, || sls.register(record, Some(proxy))).expect("it is registered through the proxy");
    };
    drop(open);
    let open = net.within("open", || serve_host(5, None));
    through("open", &record(5, "open5", &["http://10.9.0.2:7700"]), "http://10.9.0.4:3128");
    assert_eq!(sls.found(5), verified(Connection::Proxy, &["http://10.9.0.2:7700"]));

    // External no connection, self-known no connection: only the proxy reaches it.
    through("closed", &record(6, "closed", &["http://192.168.78.2:7700"]), "http://192.168.78.1:3128");
    assert_eq!(sls.found(6), unverified(Connection::Proxy, "http://192.168.78.2:7700"));

    // External no connection, self-known failed: a squatter on another's address, who answers nowhere himself.
    through("closed", &record(7, "squatter7", &["http://10.9.0.2:7700"]), "http://192.168.78.1:3128");
    assert_eq!(sls.found(7), None);
    let refused = net.within("squatter", || sls.register(&record(7, "squatter7", &["http://10.9.0.2:7700"]), None));
    assert_eq!(refused.unwrap_err().problem().map(|problem| problem.code.as_str()), Some("sls.not-there"));

    // External failed, self-known failed: a squatter on another's address, with another service on the port.
    register(&net, "squatter", &record(8, "squatter8", &["http://10.9.0.2:7700"]));
    assert_eq!(sls.found(8), None);

    // External failed, self-known verified: a proxy with another host on the port.
    let on_proxy = net.within("proxy", || serve_host(91, None));
    drop(open);
    let open = net.within("open", || serve_host(9, None));
    through("open", &record(9, "open9", &["http://10.9.0.2:7700"]), "http://10.9.0.4:3128");
    assert_eq!(sls.found(9), verified(Connection::Proxy, &["http://10.9.0.2:7700"]));

    drop((open, on_proxy, neighbour, proxy));
}

#[test]
fn a_squatter_gives_way_to_who_answers() {
    let Some(net) = internet() else { return };
    let sls = net.within("sls", Sls::start);
    // The host is still down when a squatter registers its name and address.
    let stolen = record(8, "open", &["http://10.9.0.2:7700"]);
    net.within("squatter", || sls.register(&stolen, None)).unwrap();
    assert_eq!(sls.found(8).map(|(standing, ..)| standing), Some(Standing::Unverified));
    let open = net.within("open", || serve_host(1, None));
    net.within("open", || sls.register(&record(1, "open", &["http://10.9.0.2:7700"]), None)).unwrap();
    assert_eq!(sls.found(1), verified(Connection::Direct, &["http://10.9.0.2:7700"]));
    assert!(sls.look(1).unwrap().is_live);
    assert!(sls.look(8).is_none_or(|squatter| !squatter.is_live), "the squatter gives way");
    let again = net.within("squatter", || sls.register(&record(8, "open", &["http://10.9.0.2:7700"]), None));
    let code = again.unwrap_err().problem().map(|problem| problem.code.clone());
    assert!(matches!(code.as_deref(), Some("sls.name-taken" | "sls.not-there")), "{code:?}");
    drop(open);
}
