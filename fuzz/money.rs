//! What must hold for any bytes that are given to the bank: as a request, as the fields of a signature, as a receipt, as
//! an export. The fuzz targets call these functions with whatever libFuzzer thinks of, `bank/tests/fuzz.rs` with changes
//! of honest ones in every run of the tests.

use std::sync::{Arc, OnceLock};

use http::{HeaderName, HeaderValue, Method, Request, Uri};
use tempfile::TempDir;
use tycoon_bank::ledger::{AccountKind, Operation};
use tycoon_bank::store::MemoryStore;
use tycoon_bank::transfer_receipt::TransferReceipt;
use tycoon_bank::{Bank, BankService, Options, Registration, export};
use tycoon_market::{AccountId, Credits, PublicKey, Receipt, Statement, Timestamp, TransferId};
use tycoon_rpc::{FixedClock, Problem, ReplayPolicy, SecretKey, Service as _, Signer as _, structured};

/// The secret key of a party; 1 is the bank, 2 the issuer, 3 has the money.
pub fn secret(party: u8) -> SecretKey {
    SecretKey::from_seed(&[party; 32])
}

/// The time at the bank.
pub const NOW: i64 = 1_800_000_000;
/// What party 3 has, in micro-credits.
const MONEY: i64 = 1_000_000;

/// A bank in which party 3 has money and nobody who fuzzes has a key.
pub struct Vault {
    bank: Arc<Bank>,
    service: BankService,
    _folder: TempDir,
}

/// The bank, opened once.
pub fn vault() -> &'static Vault {
    static VAULT: OnceLock<Vault> = OnceLock::new();
    VAULT.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(FixedClock::new(Timestamp::from_seconds(NOW)));
        let (signer, issuer) = (Arc::new(secret(1)), secret(2).public_key());
        let options = Options::new(folder.path().join("journal"));
        let store = Arc::new(MemoryStore::new());
        let bank = Arc::new(Bank::open(options, store, signer.clone(), clock.clone(), issuer).expect("a bank").0);
        let key = secret(3).public_key();
        let open = Operation::OpenAccount { key, kind: AccountKind::User, label: String::new(), opener: None };
        let issue = Operation::Issue {
            id: TransferId::from_bytes([0; 16]),
            to: AccountId::of(&key),
            amount: Credits::from_micros(MONEY),
            memo: String::new(),
            by: issuer,
        };
        for operation in [open, issue] {
            bank.commit(operation, None).expect("a furnished bank");
        }
        let service = BankService::new(bank.clone(), signer, clock, ReplayPolicy::IN_PROCESS, Registration::ByMembers);
        Vault { bank, service, _folder: folder }
    })
}

/// Reads bytes as a request: a line with method and target, lines with fields, an empty line, and the body. It is
/// answered, never with an error of the bank's own, and moves nothing; refusals say why. Returns the status.
///
/// # Panics
/// Where one of these does not hold.
pub fn request(bytes: &[u8]) -> Option<u16> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let (head, body) = (&bytes[..end], bytes.get(end + 2..).unwrap_or_default());
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let space = first.iter().position(|byte| *byte == b' ')?;
    let method = Method::from_bytes(&first[..space]).ok()?;
    let target = Uri::try_from(&first[space + 1..]).ok()?;
    let mut request = Request::new(body.to_vec());
    (*request.method_mut(), *request.uri_mut()) = (method, target);
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            request.headers_mut().append(name, value);
        }
    }
    let vault = vault();
    let records = vault.bank.last_record();
    let response = vault.service.handle(request);
    let status = response.status();
    assert!(!status.is_server_error(), "{status}: {}", Problem::of_response(&response));
    if !status.is_success() {
        let problem = Problem::of_response(&response);
        assert!(problem.code.contains('.') && !problem.title.is_empty(), "a refusal without a reason: {problem:?}");
    }
    assert_eq!(vault.bank.last_record(), records, "a forged request was carried out");
    Some(status.as_u16())
}

/// Reads bytes as the fields of a signature. What is read is written as it would be written again.
///
/// # Panics
/// Where that does not hold.
pub fn signature_fields(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(lists) = structured::parse_lists(text) {
        let written: Vec<String> = lists.iter().map(|(name, list)| format!("{name}={list}")).collect();
        assert_eq!(structured::parse_lists(&written.join(", ")).as_ref(), Ok(&lists));
    }
    if let Ok(sequences) = structured::parse_byte_sequences(text) {
        let write = |(name, bytes): &(String, Vec<u8>)| format!("{name}={}", structured::byte_sequence(bytes));
        let written: Vec<String> = sequences.iter().map(write).collect();
        assert_eq!(structured::parse_byte_sequences(&written.join(", ")).as_ref(), Ok(&sequences));
    }
}

/// Reads bytes as receipts and statements. None of them holds, but the honest ones.
///
/// # Panics
/// Where a forged one does.
pub fn receipt(bytes: &[u8], honest: &dyn Fn(&str) -> bool) {
    let key: PublicKey = secret(1).public_key();
    if let Ok(found) = serde_json::from_slice::<Receipt>(bytes) {
        assert!(found.verify(&key).is_err() || honest(&found.signature.to_string()), "{found:?}");
    }
    if let Ok(found) = serde_json::from_slice::<TransferReceipt>(bytes) {
        assert!(found.verify(&key).is_err() || honest(&found.signature.to_string()), "{found:?}");
    }
    if let Ok(found) = serde_json::from_slice::<Statement>(bytes) {
        assert!(found.verify(&key).is_err() || honest(&found.signature.to_string()), "{found:?}");
    }
}

/// Reads bytes as an export; what is wrong with them has a place.
///
/// # Panics
/// Where it has none.
pub fn export(bytes: &[u8]) {
    let mut bytes = bytes;
    if let Err(error) = export::read(&mut bytes, &mut |_| Ok(())) {
        assert!(error.to_string().starts_with("line "), "{error}");
    }
}
