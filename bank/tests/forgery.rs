//! Whatever is changed, repeated, late, early, or meant for somebody else: the bank refuses it, and nothing moves.

mod site;

use http::{HeaderValue, Request, Uri};
use serde_json::Value;
use site::{CREDIT, Site, secret};
use tycoon_bank::Registration;
use tycoon_bank::api::{IssueRequest, TransferRequest};
use tycoon_bank::ledger::{AccountKind, EscrowOrder};
use tycoon_market::{AccountId, Credits, EscrowId, HostId, Rate, Receipt, TimeSpan, TransferId};
use tycoon_rpc::digest::content_digest;
use tycoon_rpc::{Caller, InProcess, Service as _, Signer as _};

const JANE: u8 = 3;
const JOE: u8 = 4;

fn account(party: u8) -> AccountId {
    AccountId::of(&secret(party).public_key())
}

fn site() -> Site {
    let site = Site::new(Registration::Open);
    for party in [JANE, JOE] {
        site.client(party).open_account(secret(party).public_key(), AccountKind::User, "").unwrap();
    }
    let amount = Credits::from_micros(100 * CREDIT);
    let request = IssueRequest { id: TransferId::from_bytes([1; 16]), to: account(JANE), amount, memo: String::new() };
    site.client(2).issue(&request).unwrap();
    site
}

fn order(id: u8) -> TransferRequest {
    TransferRequest {
        id: TransferId::from_bytes([id; 16]),
        payer: account(JANE),
        payee: account(JOE),
        amount: Credits::from_micros(CREDIT),
        memo: "rent".to_owned(),
    }
}

fn signed(site: &Site, id: u8) -> Request<Vec<u8>> {
    site.caller(JANE).signed(http::Method::POST, "/v1/transfers", &[], Some(&order(id))).unwrap()
}

fn header(request: &mut Request<Vec<u8>>, name: &'static str, change: impl Fn(&str) -> String) {
    let before = request.headers()[name].to_str().unwrap().to_owned();
    let after = change(&before);
    assert_ne!(before, after, "{name} is not changed");
    request.headers_mut().insert(name, HeaderValue::from_str(&after).unwrap());
}

/// Changes a member of the body, and its digest with it, as somebody would who has not the key.
fn body(request: &mut Request<Vec<u8>>, name: &str, value: Value) {
    let mut content: Value = serde_json::from_slice(request.body()).unwrap();
    assert_ne!(content[name], value);
    content[name] = value;
    *request.body_mut() = serde_json::to_vec(&content).unwrap();
    let digest = content_digest(request.body());
    request.headers_mut().insert("content-digest", HeaderValue::from_str(&digest).unwrap());
}

#[test]
fn a_request_with_any_part_changed_moves_nothing() {
    type Change = fn(&mut Request<Vec<u8>>);
    let changes: &[(&str, Change)] = &[
        ("method", |r| *r.method_mut() = http::Method::PUT),
        ("path", |r| *r.uri_mut() = Uri::from_static("/v1/issue")),
        ("query", |r| *r.uri_mut() = Uri::from_static("/v1/transfers?x=1")),
        ("id", |r| body(r, "id", "ff".repeat(16).into())),
        ("payer", |r| body(r, "payer", account(JOE).to_string().into())),
        ("payee", |r| body(r, "payee", account(JANE).to_string().into())),
        ("amount", |r| body(r, "amount", (2 * CREDIT).into())),
        ("memo", |r| body(r, "memo", "more rent".into())),
        ("a member more", |r| body(r, "tip", 1.into())),
        ("body alone", |r| r.body_mut().push(b' ')),
        ("no body", |r| r.body_mut().clear()),
        ("digest alone", |r| header(r, "content-digest", |_| content_digest(b"{}"))),
        ("protocol", |r| header(r, "tycoon-protocol", |_| "2".to_owned())),
        ("recipient", |r| header(r, "tycoon-recipient", |_| secret(9).public_key().fingerprint())),
        ("time", |r| header(r, "signature-input", |text| text.replace("created=1", "created=2"))),
        ("nonce", |r| header(r, "signature-input", |text| text.replace("nonce=\"0", "nonce=\"1"))),
        ("key", |r| {
            let (jane, joe) = (secret(JANE).public_key().to_string(), secret(JOE).public_key().to_string());
            header(r, "signature-input", move |text| text.replace(&jane, &joe));
        }),
        ("algorithm", |r| header(r, "signature-input", |text| text.replace("alg=\"ed25519\"", "alg=\"hmac-sha256\""))),
        ("label", |r| header(r, "signature-input", |text| text.replacen("tycoon=", "other=", 1))),
        ("less covered", |r| header(r, "signature-input", |text| text.replace("\"content-digest\" ", ""))),
        ("other order", |r| {
            header(r, "signature-input", |text| text.replace("\"@method\" \"@path\"", "\"@path\" \"@method\""))
        }),
        ("signature", |r| {
            header(r, "signature", |text| {
                let at = "tycoon=:".len();
                let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
                format!("{}{other}{}", &text[..at], &text[at + 1..])
            });
        }),
        ("no signature", |r| {
            r.headers_mut().remove("signature");
        }),
        ("no signature at all", |r| {
            r.headers_mut().remove("signature");
            r.headers_mut().remove("signature-input");
        }),
        ("signature twice", |r| {
            let again = r.headers()["signature"].clone();
            r.headers_mut().append("signature", again);
        }),
        ("digest twice", |r| {
            r.headers_mut().append("content-digest", HeaderValue::from_str(&content_digest(b"{}")).unwrap());
        }),
    ];
    let site = site();
    for (number, (what, change)) in changes.iter().enumerate() {
        let honest = signed(&site, 10 + number as u8);
        let mut forged = honest.clone();
        change(&mut forged);
        let status = site.service.handle(forged).status();
        assert!(status.is_client_error(), "{what}: {status}");
        let balance = site.client(JANE).own_account().unwrap().balance.micros();
        assert_eq!(balance, (100 - number as i64) * CREDIT, "{what} moved money");
        assert_eq!(site.service.handle(honest).status(), 200, "{what}: the honest request is taken all the same");
    }
}

#[test]
fn a_request_counts_once_in_its_time_and_for_its_bank() {
    let site = site();
    let request = signed(&site, 1);
    assert_eq!(site.service.handle(request.clone()).status(), 200);
    assert_eq!(site.service.handle(request).status(), 401, "again");
    let late = signed(&site, 2);
    site.clock.advance(TimeSpan::from_seconds(301));
    assert_eq!(site.service.handle(late).status(), 401, "late");
    let other_bank = Caller::new(
        std::sync::Arc::new(secret(JANE)),
        secret(9).public_key(),
        std::sync::Arc::new(InProcess(site.service.clone())),
    )
    .with_clock(site.clock.clone());
    let foreign = other_bank.signed(http::Method::POST, "/v1/transfers", &[], Some(&order(3))).unwrap();
    assert_eq!(site.service.handle(foreign).status(), 421, "for another bank");
    // Two requests in another order than they were signed in are both taken: each counts by itself.
    let (first, second) = (signed(&site, 4), signed(&site, 5));
    assert_eq!(site.service.handle(second).status(), 200);
    assert_eq!(site.service.handle(first).status(), 200);
    assert_eq!(site.client(JANE).own_account().unwrap().balance.micros(), 97 * CREDIT);
    // Signed by somebody whose clock is fast, or slow.
    let by_clock = |id: u8, seconds: i64| {
        let clock =
            tycoon_rpc::FixedClock::new(tycoon_market::Timestamp::from_seconds(site.clock.now_seconds() + seconds));
        let caller = site.caller(JANE).with_clock(std::sync::Arc::new(clock));
        caller.signed(http::Method::POST, "/v1/transfers", &[], Some(&order(id))).unwrap()
    };
    for (seconds, code, by_how_much) in [(31, "call.from-the-future", "31"), (-301, "call.too-old", "5m 1s")] {
        let refused = site.service.handle(by_clock(7, seconds));
        let told = String::from_utf8(refused.into_body()).unwrap();
        assert!(told.contains(code) && told.contains(by_how_much), "{seconds}: {told}");
    }
    assert_eq!(site.service.handle(by_clock(8, 29)).status(), 200, "a little early is early enough");
    let mut early = signed(&site, 6);
    let ahead = site.clock.now_seconds() + 31;
    header(&mut early, "signature-input", move |text| {
        let (before, rest) = text.split_once("created=").unwrap();
        let (_, after) = rest.split_once(';').unwrap();
        format!("{before}created={ahead};{after}")
    });
    assert_eq!(site.service.handle(early).status(), 401, "early, and with another time than the signed one");
}

trait NowSeconds {
    fn now_seconds(&self) -> i64;
}

impl NowSeconds for tycoon_rpc::FixedClock {
    fn now_seconds(&self) -> i64 {
        use tycoon_rpc::Clock as _;
        self.now().seconds()
    }
}

#[test]
fn a_receipt_holds_for_its_bank_and_names_one_host() {
    let site = site();
    let host_key = secret(5).public_key();
    let receipt = site
        .client(JANE)
        .open_escrow(&EscrowOrder {
            id: EscrowId::from_bytes([1; 16]),
            payer: account(JANE),
            pool: "hello".parse().unwrap(),
            host: HostId::of(&host_key),
            host_key,
            beneficiary: account(JOE),
            amount: Credits::from_micros(CREDIT),
            longest: TimeSpan::from_seconds(3600),
            highest_rate: Rate::from_picos_per_second(1_000_000),
        })
        .unwrap();
    assert_eq!(receipt.verify(&secret(1).public_key()), Ok(()));
    assert!(receipt.verify(&secret(9).public_key()).is_err(), "another bank's key");
    assert_eq!(receipt.terms.host, HostId::of(&host_key));
    let text = serde_json::to_string(&receipt).unwrap();
    let mut changed = 0;
    for at in 0..text.len() {
        for byte in [b'0', b'1', b'a', b'"'] {
            let mut bytes = text.clone().into_bytes();
            if bytes[at] == byte {
                continue;
            }
            bytes[at] = byte;
            let Ok(forged) = serde_json::from_slice::<Receipt>(&bytes) else { continue };
            if forged == receipt {
                continue;
            }
            changed += 1;
            assert!(forged.verify(&secret(1).public_key()).is_err(), "byte {at} became {}", char::from(byte));
        }
    }
    assert!(changed > 100, "{changed}");
}
