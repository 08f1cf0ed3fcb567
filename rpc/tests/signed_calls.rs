//! Signed calls end to end: what is honest passes, and whatever is changed, repeated or misdirected is refused.

use std::sync::{Arc, Mutex};

use http::{HeaderValue, Request, Response, StatusCode, Uri};
use serde_json::{Value, json};
use tycoon_market::{TimeSpan, Timestamp};
use tycoon_rpc::receiver::json as answer_json;
use tycoon_rpc::{
    CallError, Caller, CountedNonces, FixedClock, InProcess, Limits, Receiver, ReplayPolicy, SecretKey, Service,
    Signer as _, Transport, TransportError,
};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// Answers with what it received, and who sent it.
struct Echo(Receiver);

impl Service for Echo {
    fn handle(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        self.0.serve(
            request,
            |_| true,
            |call| {
                let body: Value = if call.request.body().is_empty() { Value::Null } else { call.json()? };
                answer_json(&json!({ "sender": call.sender()?, "body": body, "x": call.query.get("x") }))
            },
        )
    }
}

fn service_key() -> SecretKey {
    SecretKey::from_seed(&[2; 32])
}

fn echo(clock: &Arc<FixedClock>) -> Arc<Echo> {
    let receiver = Receiver::new(Arc::new(service_key()), clock.clone(), ReplayPolicy::IN_PROCESS, Limits::DEFAULT);
    Arc::new(Echo(receiver))
}

fn caller(transport: impl Transport + 'static, clock: &Arc<FixedClock>) -> Caller {
    Caller::new(Arc::new(SecretKey::from_seed(&[1; 32])), service_key().public_key(), Arc::new(transport))
        .with_clock(clock.clone())
        .with_nonces(Arc::new(CountedNonces::new(1)))
}

/// A transport that changes the request on its way there and the response on its way back.
struct Meddler<A, B> {
    service: Arc<Echo>,
    there: A,
    back: B,
}

impl<A, B> Transport for Meddler<A, B>
where
    A: Fn(&mut Request<Vec<u8>>) + Send + Sync,
    B: Fn(&mut Response<Vec<u8>>) + Send + Sync,
{
    fn send(&self, mut request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, TransportError> {
        (self.there)(&mut request);
        let mut response = self.service.handle(request);
        (self.back)(&mut response);
        Ok(response)
    }
}

#[test]
fn an_honest_call_is_answered() {
    let clock = Arc::new(FixedClock::new(NOW));
    let caller = caller(InProcess(echo(&clock)), &clock);
    let answer: Value = caller.post("/v1/echo", &json!({ "amount": 10 })).unwrap();
    assert_eq!(answer["sender"], json!(caller.public_key()));
    assert_eq!(answer["body"], json!({ "amount": 10 }));
    let answer: Value = caller.get("/v1/echo", &[("x", "a b")]).unwrap();
    assert_eq!(answer["x"], "a b");
}

type ChangeRequest = fn(&mut Request<Vec<u8>>);

#[test]
fn whatever_is_changed_on_the_way_there_is_refused() {
    let changes: [(&str, ChangeRequest, &str); 15] = [
        ("method", |r| *r.method_mut() = http::Method::PUT, "call.signature"),
        ("path", |r| *r.uri_mut() = Uri::from_static("/v1/other?x=1"), "call.signature"),
        ("query", |r| *r.uri_mut() = Uri::from_static("/v1/echo?x=2"), "call.signature"),
        ("no query", |r| *r.uri_mut() = Uri::from_static("/v1/echo"), "call.signature"),
        ("body", |r| r.body_mut()[2] ^= 1, "call.signature"),
        ("no body", |r| r.body_mut().clear(), "call.signature"),
        (
            "body and digest",
            |r| {
                *r.body_mut() = b"{}".to_vec();
                let digest = tycoon_rpc::digest::content_digest(b"{}");
                r.headers_mut().insert("content-digest", digest.parse().unwrap());
            },
            "call.signature",
        ),
        ("two digests", |r| twice(r, "content-digest"), "call.signature"),
        ("two recipients", |r| twice(r, "tycoon-recipient"), "call.signature"),
        (
            "recipient",
            |r| {
                let other = SecretKey::from_seed(&[3; 32]).public_key().fingerprint();
                r.headers_mut().insert("tycoon-recipient", other.parse().unwrap());
            },
            "call.recipient",
        ),
        ("protocol", |r| set(r, "tycoon-protocol", "1", "2"), "call.signature"),
        ("created", |r| set(r, "signature-input", "created=18000", "created=18001"), "call.signature"),
        ("nonce", |r| set(r, "signature-input", "nonce=\"0", "nonce=\"1"), "call.signature"),
        ("coverage", |r| set(r, "signature-input", " \"content-digest\"", ""), "call.signature"),
        (
            "keyid",
            |r| {
                let (from, to) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[3; 32]));
                set(r, "signature-input", &from.public_key().to_string(), &to.public_key().to_string());
            },
            "call.signature",
        ),
    ];
    for (what, change, code) in changes {
        let clock = Arc::new(FixedClock::new(NOW));
        let meddler = Meddler { service: echo(&clock), there: change, back: |_: &mut _| () };
        let result: Result<Value, _> =
            caller(meddler, &clock).call(http::Method::POST, "/v1/echo", &[("x", "1")], Some(&json!({ "amount": 10 })));
        match result {
            Err(CallError::Refused(problem)) => assert_eq!(problem.code, code, "{what}: {problem}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn a_call_without_signature_is_refused_by_who_asks_for_its_sender() {
    let clock = Arc::new(FixedClock::new(NOW));
    let request = Request::get("/v1/echo").body(Vec::new()).unwrap();
    let response = echo(&clock).handle(request);
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(String::from_utf8_lossy(response.body()).contains("call.unsigned"));
}

fn twice(request: &mut Request<Vec<u8>>, name: &'static str) {
    let value = request.headers()[name].clone();
    request.headers_mut().append(name, value);
}

fn set(request: &mut Request<Vec<u8>>, name: &'static str, from: &str, to: &str) {
    let old = request.headers()[name].to_str().unwrap();
    assert!(old.contains(from), "{old} lacks {from}");
    let new: HeaderValue = old.replace(from, to).parse().unwrap();
    request.headers_mut().insert(name, new);
}

#[test]
fn a_repeated_request_is_refused_and_so_is_an_old_or_early_one() {
    let clock = Arc::new(FixedClock::new(NOW));
    let service = echo(&clock);
    let kept: Arc<Mutex<Option<Request<Vec<u8>>>>> = Arc::default();
    let keep = kept.clone();
    let meddler = Meddler {
        service: service.clone(),
        there: move |r: &mut Request<Vec<u8>>| *keep.lock().unwrap() = Some(r.clone()),
        back: |_: &mut _| (),
    };
    let caller = caller(meddler, &clock);
    let _: Value = caller.post("/v1/echo", &json!(1)).unwrap();
    let again = || String::from_utf8(service.handle(kept.lock().unwrap().clone().unwrap()).into_body()).unwrap();
    assert!(again().contains("call.seen"), "{}", again());
    clock.advance(TimeSpan::from_seconds(301));
    assert!(again().contains("call.too-old"), "{}", again());
    clock.set(Timestamp::from_seconds(NOW.seconds() - 31));
    assert!(again().contains("call.from-the-future"), "{}", again());
}

type ChangeResponse = fn(&mut Response<Vec<u8>>);

#[test]
fn whatever_is_changed_on_the_way_back_is_not_believed() {
    let changes: [(&str, ChangeResponse); 5] = [
        ("status", |r| *r.status_mut() = StatusCode::CREATED),
        ("body", |r| r.body_mut()[0] ^= 1),
        ("body and digest", |r| {
            *r.body_mut() = b"{}".to_vec();
            r.headers_mut().insert("content-digest", tycoon_rpc::digest::content_digest(b"{}").parse().unwrap());
        }),
        ("no signature", |r| drop(r.headers_mut().remove("signature"))),
        ("a proxy's own answer", |r| {
            *r = Response::new(b"Bad Gateway".to_vec());
            *r.status_mut() = StatusCode::BAD_GATEWAY;
        }),
    ];
    for (what, change) in changes {
        let clock = Arc::new(FixedClock::new(NOW));
        let meddler = Meddler { service: echo(&clock), there: |_: &mut _| (), back: change };
        let result: Result<Value, _> = caller(meddler, &clock).post("/v1/echo", &json!(1));
        assert!(matches!(result, Err(CallError::Untrusted { .. })), "{what}: {result:?}");
    }
}

#[test]
fn a_reply_to_another_request_is_not_believed() {
    let clock = Arc::new(FixedClock::new(NOW));
    let service = echo(&clock);
    let first: Mutex<Option<Response<Vec<u8>>>> = Mutex::default();
    let meddler = Meddler {
        service,
        there: |_: &mut _| (),
        back: move |response: &mut Response<Vec<u8>>| {
            let first = first.lock().unwrap().get_or_insert_with(|| response.clone()).clone();
            *response = first;
        },
    };
    let caller = caller(meddler, &clock);
    let _: Value = caller.post("/v1/echo", &json!(1)).unwrap();
    let second: Result<Value, _> = caller.post("/v1/echo", &json!(1));
    assert!(matches!(second, Err(CallError::Untrusted { .. })), "{second:?}");
}

#[test]
fn what_is_too_large_is_not_read() {
    let clock = Arc::new(FixedClock::new(NOW));
    let caller = caller(InProcess(echo(&clock)), &clock);
    let result: Result<Value, _> = caller.post("/v1/echo", &json!("x".repeat(1 << 20)));
    assert_eq!(result.unwrap_err().problem().unwrap().code, "call.too-large");
    let result: Result<Value, _> = caller.get(&format!("/{}", "x".repeat(5000)), &[]);
    assert_eq!(result.unwrap_err().problem().unwrap().code, "call.too-large");
}
