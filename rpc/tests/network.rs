//! Calls over the network: what arrives, what is refused, and what happens when the server is busy or stops.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tycoon_market::PublicKey;
use tycoon_rpc::receiver::json as answer_json;
use tycoon_rpc::server::tls::TlsFiles;
use tycoon_rpc::server::{OwnKey, ServerError};
use tycoon_rpc::{
    CallError, Caller, Clock as _, HttpSettings, HttpTransport, Limits, Problem, Published, Receiver, ReplayPolicy,
    RetryPolicy, SecretKey, Server, ServerSettings, Service, Signer as _, SystemClock, Transport, TransportError,
};

fn secret(party: u8) -> SecretKey {
    SecretKey::from_seed(&[party; 32])
}

/// A service that answers what it is asked with what `answer` says.
struct Echo<A> {
    receiver: Receiver,
    answer: A,
}

impl<A: Fn(&Value) -> Result<Value, Problem> + Send + Sync> Service for Echo<A> {
    fn handle(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        self.receiver.serve(
            request,
            |_| true,
            |call| {
                call.sender()?;
                let asked = if call.request.body().is_empty() { Value::Null } else { call.json()? };
                answer_json(&(self.answer)(&asked)?)
            },
        )
    }
}

fn echo<A: Fn(&Value) -> Result<Value, Problem> + Send + Sync + 'static>(answer: A) -> Published {
    let policy = ReplayPolicy { after_restart: tycoon_rpc::AfterRestart::Accept, ..ReplayPolicy::NETWORK };
    let receiver = Receiver::new(Arc::new(secret(1)), Arc::new(SystemClock), policy, Limits::DEFAULT);
    Published::new(Arc::new(Echo { receiver, answer }))
}

fn loopback() -> ServerSettings {
    ServerSettings::on(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn caller(server: &Server) -> Caller {
    let transport = HttpTransport::new(&format!("http://{}", server.address()), &HttpSettings::default()).unwrap();
    Caller::new(Arc::new(secret(2)), secret(1).public_key(), Arc::new(transport))
}

/// Sends bytes as they are, and reads until the server closes.
fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut text = Vec::new();
    // A server that refuses may reset what it has not read; what it said before is what counts.
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn a_signed_call_goes_there_and_back() {
    let server = Server::start(loopback(), echo(|asked| Ok(json!({ "asked": asked })))).unwrap();
    let caller = caller(&server);
    let answer: Value = caller.post("/v1/x", &json!({ "é": [1, 2] })).unwrap();
    assert_eq!(answer, json!({ "asked": { "é": [1, 2] } }));
    let answer: Value = caller.get("/v1/x", &[("a", "b c")]).unwrap();
    assert_eq!(answer, json!({ "asked": null }));
    assert_eq!(server.metrics().answered_with(StatusCode::OK), 2);
    server.stop();
    let gone = caller.get::<Value>("/v1/x", &[]).unwrap_err();
    assert!(matches!(gone, CallError::Transport(TransportError::Unreachable { .. })), "{gone}");
}

#[test]
fn a_refusal_over_the_network_is_signed_too() {
    let refuse = |_: &Value| Err(Problem::new(StatusCode::CONFLICT, "test.no", "No").detail("because"));
    let server = Server::start(loopback(), echo(refuse)).unwrap();
    let refused = caller(&server).get::<Value>("/v1/x", &[]).unwrap_err();
    assert_eq!(refused.problem().map(|problem| problem.code.as_str()), Some("test.no"), "{refused}");
}

#[test]
fn the_operator_s_pages_are_there() {
    let published = echo(|asked| Ok(asked.clone()))
        .with_openapi(&json!({ "openapi": "3.1.0" }))
        .with_health(|| Err("the disk is full".to_owned()))
        .with_gauges(|text| text.gauge("tycoon_test", "A test.", 7));
    let server = Server::start(loopback(), published).unwrap();
    let get = |path: &str| {
        raw(server.address(), format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
    };
    assert!(get("/openapi.json").ends_with(r#"{"openapi":"3.1.0"}"#));
    let health = get("/healthz");
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("the disk is full"), "{health}");
    let metrics = get("/metrics");
    assert!(metrics.contains("\ntycoon_test 7\n"), "{metrics}");
    assert!(metrics.contains("tycoon_http_requests_total{method=\"GET\",status=\"503\"} 1"), "{metrics}");
    let posted =
        raw(server.address(), b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert!(posted.starts_with("HTTP/1.1 405"), "{posted}");
}

#[test]
fn what_is_too_large_or_no_http_is_refused() {
    let settings = ServerSettings {
        limits: Limits { body_bytes_max: 1000, ..Limits::DEFAULT },
        head_timeout: Duration::from_millis(500),
        body_timeout: Duration::from_millis(500),
        ..loopback()
    };
    let server = Server::start(settings, echo(|asked| Ok(asked.clone()))).unwrap();
    let say = |text: String| raw(server.address(), text.as_bytes());
    let head = "POST /v1/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let announced = say(format!("{head}Content-Length: 1001\r\n\r\n"));
    assert!(announced.starts_with("HTTP/1.1 413"), "{announced}");
    let chunk = "x".repeat(700);
    let chunked = say(format!("{head}Transfer-Encoding: chunked\r\n\r\n2bc\r\n{chunk}\r\n2bc\r\n{chunk}\r\n0\r\n\r\n"));
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    let many: String = (0..200).map(|i| format!("X-{i}: y\r\n")).collect();
    let many = say(format!("{head}{many}\r\n"));
    assert!(many.starts_with("HTTP/1.1 431"), "{many}");
    let long = say(format!("GET /{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "y".repeat(5000)));
    assert!(long.starts_with("HTTP/1.1 413"), "{long}");
    let slow = say(format!("{head}Content-Length: 10\r\n\r\nhalf"));
    assert!(slow.starts_with("HTTP/1.1 408"), "{slow}");
    let never = say("GET /v1/x HT".to_owned());
    assert!(!never.starts_with("HTTP/1.1 2"), "{never}");
    let garbage = say("\u{1}\u{2}\u{3}\r\n\r\n".to_owned());
    assert!(garbage.starts_with("HTTP/1.1 400"), "{garbage}");
}

#[test]
fn a_busy_server_says_when_to_come_back_and_a_patient_caller_does() {
    let (arrived, gate) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (first, open) = (arrived.clone(), gate.clone());
    let settings = ServerSettings { in_flight_max: 1, ..loopback() };
    let calls = AtomicU32::new(0);
    let published = echo(move |asked| {
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            first.wait();
            open.wait();
        }
        Ok(asked.clone())
    });
    let server = Server::start(settings, published).unwrap();
    let slow = caller(&server);
    let waiting = std::thread::spawn(move || slow.get::<Value>("/v1/slow", &[]).map(|_| ()));
    arrived.wait();
    let hasty = caller(&server).get::<Value>("/v1/x", &[]).unwrap_err();
    assert!(hasty.is_transient(), "{hasty}");
    assert!(matches!(hasty, CallError::Untrusted { status: 503, .. }), "{hasty}");
    let patient = caller(&server).with_retries(RetryPolicy::NETWORK);
    let (told, result) = mpsc::channel();
    let patient = std::thread::spawn(move || told.send(patient.get::<Value>("/v1/x", &[])).unwrap());
    gate.wait();
    assert!(result.recv_timeout(Duration::from_secs(20)).unwrap().is_ok());
    assert!(waiting.join().unwrap().is_ok());
    patient.join().unwrap();
    assert!(server.metrics().answered_with(StatusCode::SERVICE_UNAVAILABLE) >= 1);
}

/// A wire that is cut: what is sent there is lost, which shows after a while.
#[derive(Default)]
struct CutWire(AtomicU32);

impl Transport for CutWire {
    fn send(&self, _: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, TransportError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
        Err(TransportError::Unreachable { service: "nowhere".to_owned(), reason: "silence".to_owned() })
    }
}

#[test]
fn a_wire_that_is_cut_is_not_tried_for_ever() {
    let quick = RetryPolicy { first_pause_max: Duration::ZERO, ..RetryPolicy::NETWORK };
    for (silence_max, attempts) in [(Duration::from_secs(60), 5), (Duration::from_millis(21), 2), (Duration::ZERO, 1)] {
        let wire = Arc::new(CutWire::default());
        let caller = Caller::new(Arc::new(secret(2)), secret(1).public_key(), wire.clone());
        let caller = caller.with_retries(RetryPolicy { silence_max, ..quick });
        assert!(caller.get::<Value>("/v1/x", &[]).is_err());
        let tried = wire.0.load(Ordering::Relaxed);
        // A machine that is busy may make an attempt take longer, so that there are fewer.
        assert!((1..=attempts).contains(&tried), "{tried} attempts with {silence_max:?}");
        assert!(silence_max < Duration::from_secs(1) || tried == attempts, "{tried} attempts");
    }
}

#[test]
fn too_many_connections_of_one_address_are_refused() {
    let settings = ServerSettings { connections_per_address_max: 1, ..loopback() };
    let server = Server::start(settings, echo(|asked| Ok(asked.clone()))).unwrap();
    let mut kept = TcpStream::connect(server.address()).unwrap();
    // Its reply shows that the server has it.
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(kept.read(&mut [0; 8]).unwrap(), 8);
    let refused = raw(server.address(), b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("Retry-After: 1"), "{refused}");
}

#[test]
fn a_server_that_stops_answers_what_it_has_begun() {
    let (arrived, gate) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (here, open) = (arrived.clone(), gate.clone());
    let server = Server::start(
        loopback(),
        echo(move |asked| {
            here.wait();
            open.wait();
            Ok(asked.clone())
        }),
    )
    .unwrap();
    let slow = caller(&server);
    let waiting = std::thread::spawn(move || slow.post::<Value, Value>("/v1/x", &json!(7)));
    arrived.wait();
    let stopping = std::thread::spawn(move || server.stop());
    gate.wait();
    stopping.join().unwrap();
    assert_eq!(waiting.join().unwrap().unwrap(), json!(7));
}

#[test]
fn a_service_that_panics_says_so_and_goes_on() {
    let calls = AtomicU32::new(0);
    let server = Server::start(
        loopback(),
        echo(move |asked| {
            assert!(calls.fetch_add(1, Ordering::SeqCst) > 0, "the first call fails");
            Ok(asked.clone())
        }),
    )
    .unwrap();
    let caller = caller(&server);
    let failed = caller.get::<Value>("/v1/x", &[]).unwrap_err();
    assert!(matches!(failed, CallError::Untrusted { status: 500, .. }), "{failed}");
    assert!(caller.get::<Value>("/v1/x", &[]).is_ok());
}

#[test]
fn beyond_loopback_there_is_no_server_without_tls() {
    let everywhere = ServerSettings::on(SocketAddr::from(([0, 0, 0, 0], 0)));
    let refused = Server::start(everywhere.clone(), echo(|asked| Ok(asked.clone()))).err().unwrap();
    assert!(matches!(refused, ServerError::NoTls { .. }), "{refused}");
    let behind_proxy = ServerSettings { behind_proxy: true, ..everywhere };
    assert!(Server::start(behind_proxy, echo(|asked| Ok(asked.clone()))).is_ok());
}

#[test]
fn with_tls_only_who_trusts_the_certificate_is_connected() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificates, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificates, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let settings = ServerSettings { tls: Some(TlsFiles { certificates: certificates.clone(), key }), ..loopback() };
    let server = Server::start(settings, echo(|asked| Ok(asked.clone()))).unwrap();
    let url = format!("https://localhost:{}", server.address().port());
    let call = |trusted| {
        let settings = HttpSettings { trusted, ..HttpSettings::default() };
        let transport = HttpTransport::new(&url, &settings).unwrap();
        Caller::new(Arc::new(secret(2)), secret(1).public_key(), Arc::new(transport))
            .post::<Value, Value>("/v1/x", &json!(7))
    };
    assert_eq!(call(Some(certificates)).unwrap(), json!(7));
    let distrusted = call(None).unwrap_err();
    assert!(distrusted.to_string().contains("certificate"), "{distrusted}");
    let plain = raw(server.address(), b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(!plain.starts_with("HTTP/1.1"), "{plain}");
}

#[test]
fn with_a_certificate_for_its_own_key_only_who_knows_the_key_is_connected() {
    let settings = ServerSettings { own_key: Some(OwnKey(Arc::new(secret(1)))), ..loopback() };
    let server = Server::start(settings, echo(|asked| Ok(asked.clone()))).unwrap();
    let call = |known_key| {
        // By its number: no name stands in such a certificate.
        let url = format!("https://{}", server.address());
        let transport = HttpTransport::new(&url, &HttpSettings { known_key, ..HttpSettings::default() }).unwrap();
        Caller::new(Arc::new(secret(2)), secret(1).public_key(), Arc::new(transport))
            .post::<Value, Value>("/v1/x", &json!(7))
    };
    assert_eq!(call(Some(secret(1).public_key())).unwrap(), json!(7));
    for other in [None, Some(secret(3).public_key())] {
        let distrusted = call(other).unwrap_err();
        assert!(distrusted.to_string().contains("certificate"), "{distrusted}");
    }
    let everywhere = ServerSettings::on(SocketAddr::from(([0, 0, 0, 0], 0)));
    let open = ServerSettings { own_key: Some(OwnKey(Arc::new(secret(1)))), ..everywhere };
    assert!(Server::start(open, echo(|asked| Ok(asked.clone()))).is_ok(), "it is TLS");
}

#[test]
fn replies_beyond_the_bound_are_not_read() {
    let server = Server::start(loopback(), echo(|_| Ok(json!("x".repeat(5000))))).unwrap();
    let limits = Limits { body_bytes_max: 1000, ..Limits::DEFAULT };
    let settings = HttpSettings { limits, ..HttpSettings::default() };
    let transport = HttpTransport::new(&format!("http://{}", server.address()), &settings).unwrap();
    let caller = Caller::new(Arc::new(secret(2)), secret(1).public_key(), Arc::new(transport));
    let refused = caller.get::<Value>("/v1/x", &[]).unwrap_err();
    assert!(matches!(refused, CallError::Transport(TransportError::TooLarge { .. })), "{refused}");
}

#[test]
fn one_sender_s_calls_at_a_time_are_bounded_and_others_are_served() {
    let (arrived, gate) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (here, open) = (arrived.clone(), gate.clone());
    let policy = ReplayPolicy { after_restart: tycoon_rpc::AfterRestart::Accept, ..ReplayPolicy::NETWORK };
    let receiver =
        Receiver::new(Arc::new(secret(1)), Arc::new(SystemClock), policy, Limits::DEFAULT).with_in_flight_max(1);
    let answer = move |asked: &Value| {
        if asked == "wait" {
            here.wait();
            open.wait();
        }
        Ok(asked.clone())
    };
    let server = Server::start(loopback(), Published::new(Arc::new(Echo { receiver, answer }))).unwrap();
    let slow = caller(&server);
    let other = slow.clone();
    let waiting = std::thread::spawn(move || slow.post::<Value, Value>("/v1/x", &json!("wait")));
    arrived.wait();
    let refused = other.post::<Value, Value>("/v1/x", &json!(1)).unwrap_err();
    assert_eq!(refused.problem().map(|problem| problem.code.as_str()), Some("call.too-many"), "{refused}");
    let transport = HttpTransport::new(&format!("http://{}", server.address()), &HttpSettings::default()).unwrap();
    let somebody: PublicKey = secret(3).public_key();
    let somebody_else = Caller::new(Arc::new(secret(3)), secret(1).public_key(), Arc::new(transport));
    assert_eq!(somebody_else.public_key(), somebody);
    assert_eq!(somebody_else.post::<Value, Value>("/v1/x", &json!(2)).unwrap(), json!(2));
    gate.wait();
    assert!(waiting.join().unwrap().is_ok());
    assert!(SystemClock.now().micros() > 0);
}
