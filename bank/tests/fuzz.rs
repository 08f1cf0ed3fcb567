//! The fuzz targets of `fuzz/` over changes of honest requests, fields, receipts and exports: a few seconds, the same in
//! every run. `cargo +nightly fuzz run bank_request` goes on for as long as one likes.

#[path = "../../fuzz/money.rs"]
mod money;

use std::sync::Arc;

use money::{NOW, secret};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tycoon_bank::api::TransferRequest;
use tycoon_bank::ledger::Transfer;
use tycoon_bank::transfer_receipt::{TransferReceipt, TransferTerms};
use tycoon_market::{AccountId, Credits, Statement, StatementTerms, Timestamp, TransferId};
use tycoon_rpc::{Caller, CountedNonces, FixedClock, Signer as _, Transport, TransportError};

/// How many changes of each honest input are tried.
const CHANGES: usize = 1500;

struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, TransportError> {
        Err(TransportError::TimedOut { service: "nowhere".to_owned(), seconds: 0 })
    }
}

fn transfer() -> TransferRequest {
    TransferRequest {
        id: TransferId::from_bytes([1; 16]),
        payer: AccountId::of(&secret(3).public_key()),
        payee: AccountId::of(&secret(2).public_key()),
        amount: Credits::from_micros(1),
        memo: "rent".to_owned(),
    }
}

/// A request as [`money::request`] reads it. It is signed by a key that has no account.
fn honest_request() -> Vec<u8> {
    let clock = FixedClock::new(Timestamp::from_seconds(NOW));
    let caller = Caller::new(Arc::new(secret(9)), secret(1).public_key(), Arc::new(Nowhere))
        .with_clock(Arc::new(clock))
        .with_nonces(Arc::new(CountedNonces::new(7)));
    let request = caller.signed(http::Method::POST, "/v1/transfers", &[], Some(&transfer())).unwrap();
    let mut bytes = format!("POST {}\n", request.uri()).into_bytes();
    for (name, value) in request.headers() {
        bytes.extend(format!("{name}: {}\n", value.to_str().unwrap()).bytes());
    }
    bytes.push(b'\n');
    bytes.extend(request.body());
    bytes
}

/// Changes some bytes: one becomes another, some are lost, some come twice.
fn changed(bytes: &[u8], random: &mut TestRng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.next_u32() % 3 {
        if bytes.is_empty() {
            break;
        }
        let at = random.next_u32() as usize % bytes.len();
        let end = (at + random.next_u32() as usize % 8).min(bytes.len());
        match random.next_u32() % 4 {
            0 => bytes[at] = random.next_u32() as u8,
            1 => bytes[at] = b"\"\\:;=(), 09azAZ\n{}[]"[random.next_u32() as usize % 19],
            2 => drop(bytes.drain(at..end)),
            _ => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes
}

fn random() -> TestRng {
    TestRng::from_seed(RngAlgorithm::ChaCha, &[5; 32])
}

#[test]
fn changed_requests_are_answered_and_move_nothing() {
    let honest = honest_request();
    assert_eq!(money::request(&honest), Some(403), "the key may not spend");
    let (mut random, mut answered) = (random(), 0);
    for _ in 0..CHANGES {
        answered += usize::from(money::request(&changed(&honest, &mut random)).is_some());
    }
    assert!(answered > CHANGES / 2, "{answered}");
    for bytes in [&b""[..], b"GET", b"GET /\n\n", b"POST /v1/transfers\n\n{}", b"\n\n\n", b"GET /v1/bank\n\n"] {
        money::request(bytes);
    }
}

#[test]
fn changed_fields_read_back_as_they_were_read() {
    let text = String::from_utf8(honest_request()).unwrap();
    let fields = text.lines().filter_map(|line| line.strip_prefix("signature")?.split_once(": "));
    let fields: Vec<&str> = fields.map(|(_, value)| value).collect();
    assert_eq!(fields.len(), 2);
    let mut random = random();
    for field in fields {
        money::signature_fields(field.as_bytes());
        for _ in 0..CHANGES {
            money::signature_fields(&changed(field.as_bytes(), &mut random));
        }
    }
}

#[test]
fn changed_receipts_do_not_hold() {
    let TransferRequest { id, payer, payee, amount, memo } = transfer();
    let (at, balance) = (Timestamp::from_seconds(NOW), Credits::ZERO);
    let made = Transfer {
        id,
        payer,
        payee,
        amount,
        memo,
        issued: false,
        at,
        record: 4,
        balance,
        refunded: Credits::ZERO,
        refund_of: None,
    };
    let terms = TransferTerms::of(secret(1).public_key(), &made);
    let transfer = TransferReceipt::sign(terms.clone(), |bytes| secret(1).sign(bytes));
    let all = (0..5).map(|record| TransferTerms { record, ..terms.clone() }).collect();
    let together = TransferReceipt::sign_all(all, |bytes| secret(1).sign(bytes));
    let terms = StatementTerms {
        escrow: tycoon_market::EscrowId::from_bytes([3; 16]),
        sequence: 1,
        drawn_total: amount,
        released_total: balance,
        closed: false,
    };
    let statement = Statement::sign(terms, |bytes| secret(1).sign(bytes));
    let mut random = random();
    let [transfer, together] = [&transfer, &together[2]].map(|receipt| serde_json::to_value(receipt).unwrap());
    for honest in [transfer, together, serde_json::to_value(&statement).unwrap()] {
        let text = serde_json::to_vec(&honest).unwrap();
        for _ in 0..CHANGES {
            let bytes = changed(&text, &mut random);
            // A change that only writes the same differently is none.
            let same = serde_json::from_slice::<serde_json::Value>(&bytes).is_ok_and(|value| value == honest);
            money::receipt(&bytes, &|_| same);
        }
    }
}

#[test]
fn changed_exports_are_refused_with_their_place() {
    let mut exported = Vec::new();
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FixedClock::new(Timestamp::from_seconds(NOW)));
    let options = tycoon_bank::Options::new(folder.path().join("journal"));
    let store = Arc::new(tycoon_bank::store::MemoryStore::new());
    let bank = tycoon_bank::Bank::open(options, store, Arc::new(secret(1)), clock, secret(2).public_key()).unwrap().0;
    tycoon_bank::export::write(&mut exported, &mut |visit| bank.records(visit)).unwrap();
    money::export(&exported);
    let mut random = random();
    for _ in 0..CHANGES {
        money::export(&changed(&exported, &mut random));
    }
}
