//! Receipts and statements: what the bank and a host sign about money set aside, and how anybody checks it offline.
//!
//! An **escrow** is money that a payer sets aside at the bank for one host account. The bank's [`Receipt`] proves it;
//! the host credits its local account once per escrow id. The host's [`Statement`] is the running total of what it
//! charged, which the bank pays out of the escrow.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{AccountId, Credits, EscrowId, HostId, PoolName, PublicKey, Rate, TimeSpan, Timestamp, in_text_form};

/// The largest number of keys of one account, and so of a receipt.
pub const PAYER_KEYS_MAX: usize = 64;

/// What the bytes of a signed receipt start with: a signature for one purpose is none for another.
const RECEIPT_DOMAIN: &[u8] = b"tycoon receipt v1\0";
/// What the bytes of a signed statement start with.
const STATEMENT_DOMAIN: &[u8] = b"tycoon statement v1\0";

/// An ed25519 signature, written in base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature([u8; 64]);

/// Why a text is not a signature.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a signature: base64 of 64 bytes is expected")]
pub struct SignatureTextError;

impl Signature {
    /// The signature of these bytes.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The signature's 64 bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64Display::new(&self.0, &BASE64).fmt(f)
    }
}

in_text_form!(Signature);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

impl FromStr for Signature {
    type Err = SignatureTextError;

    fn from_str(text: &str) -> Result<Self, SignatureTextError> {
        // Room for one byte too many, with which it is none.
        let mut bytes = [0; 66];
        let length = BASE64.decode_slice(text, &mut bytes).map_err(|_| SignatureTextError)?;
        bytes[..length].try_into().map(Self).map_err(|_| SignatureTextError)
    }
}

impl TryFrom<String> for Signature {
    type Error = SignatureTextError;

    fn try_from(text: String) -> Result<Self, SignatureTextError> {
        text.parse()
    }
}

impl From<Signature> for String {
    fn from(signature: Signature) -> Self {
        signature.to_string()
    }
}

/// Why a receipt or statement is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReceiptError {
    /// Another bank signed it, or it was changed.
    #[error("the receipt of escrow {escrow} is not signed by the bank {bank}")]
    NotOfTheBank {
        /// The escrow.
        escrow: EscrowId,
        /// The fingerprint of the key that should have signed.
        bank: String,
    },
    /// Another host signed it, or it was changed.
    #[error("the statement of escrow {escrow} is not signed by the host's key {host}")]
    NotOfTheHost {
        /// The escrow.
        escrow: EscrowId,
        /// The fingerprint of the key that should have signed.
        host: String,
    },
}

/// What a receipt says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptTerms {
    /// The bank that issued the receipt.
    pub bank: PublicKey,
    /// The bank's epoch. A restored bank starts a new one, and what was issued in an older one must be asked for again.
    pub epoch: u64,
    /// The escrow; a host credits it once.
    pub escrow: EscrowId,
    /// The account that pays.
    pub payer: AccountId,
    /// The keys that may act for the payer, at the time of issue, in ascending order.
    pub payer_keys: Vec<PublicKey>,
    /// The payer's pool.
    pub pool: PoolName,
    /// The host that is paid.
    pub host: HostId,
    /// The account that receives what the host draws.
    pub beneficiary: AccountId,
    /// The money set aside.
    pub amount: Credits,
    /// How long the host may draw, from the opening of the escrow.
    pub longest: TimeSpan,
    /// The fastest that the host may draw.
    pub highest_rate: Rate,
    /// When the escrow was opened, by the bank's clock.
    pub opened_at: Timestamp,
    /// When this receipt was issued: at the opening, or when the payer's keys last changed.
    pub issued_at: Timestamp,
}

impl ReceiptTerms {
    /// The bytes that the bank signs.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Bytes::new(RECEIPT_DOMAIN);
        bytes.fixed(self.bank.as_bytes());
        bytes.number(self.epoch);
        bytes.fixed(self.escrow.as_bytes());
        bytes.fixed(self.payer.as_bytes());
        bytes.number(self.payer_keys.len() as u64);
        for key in &self.payer_keys {
            bytes.fixed(key.as_bytes());
        }
        bytes.text(self.pool.as_str());
        bytes.fixed(self.host.as_bytes());
        bytes.fixed(self.beneficiary.as_bytes());
        bytes.fixed(&self.amount.micros().to_be_bytes());
        bytes.number(self.longest.micros());
        bytes.number(self.highest_rate.picos_per_second());
        bytes.fixed(&self.opened_at.micros().to_be_bytes());
        bytes.fixed(&self.issued_at.micros().to_be_bytes());
        bytes.0
    }
}

/// The bank's signed proof of an escrow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// What it says.
    pub terms: ReceiptTerms,
    /// The bank's signature of [`ReceiptTerms::signed_bytes`].
    pub signature: Signature,
}

impl Receipt {
    /// The receipt of `terms`, signed by `sign`, the bank's key.
    pub fn sign(terms: ReceiptTerms, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Self {
        let signature = Signature(sign(&terms.signed_bytes()));
        Self { terms, signature }
    }

    /// Checks that the holder of `bank` issued the receipt.
    pub fn verify(&self, bank: &PublicKey) -> Result<(), ReceiptError> {
        if self.terms.bank == *bank && bank.verifies(&self.terms.signed_bytes(), &self.signature.0) {
            return Ok(());
        }
        Err(ReceiptError::NotOfTheBank { escrow: self.terms.escrow, bank: bank.fingerprint() })
    }
}

/// What a statement says: running totals, so that repeating it changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementTerms {
    /// The escrow.
    pub escrow: EscrowId,
    /// Counts the statements of the escrow; a higher one replaces a lower one.
    pub sequence: u64,
    /// All that the host has charged so far.
    pub drawn_total: Credits,
    /// All that the host has given back so far.
    pub released_total: Credits,
    /// True where the host account is closed: what is not drawn is given back, and no other statement follows.
    pub closed: bool,
}

impl StatementTerms {
    /// The bytes that the host signs.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Bytes::new(STATEMENT_DOMAIN);
        bytes.fixed(self.escrow.as_bytes());
        bytes.number(self.sequence);
        bytes.fixed(&self.drawn_total.micros().to_be_bytes());
        bytes.fixed(&self.released_total.micros().to_be_bytes());
        bytes.fixed(&[u8::from(self.closed)]);
        bytes.0
    }
}

/// A host's signed running total of what it charged to one escrow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// What it says.
    pub terms: StatementTerms,
    /// The host's signature of [`StatementTerms::signed_bytes`].
    pub signature: Signature,
}

impl Statement {
    /// The statement of `terms`, signed by `sign`, the host's key.
    pub fn sign(terms: StatementTerms, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Self {
        let signature = Signature(sign(&terms.signed_bytes()));
        Self { terms, signature }
    }

    /// Checks that the holder of `host`, the host's key, made the statement.
    pub fn verify(&self, host: &PublicKey) -> Result<(), ReceiptError> {
        if host.verifies(&self.terms.signed_bytes(), &self.signature.0) {
            return Ok(());
        }
        Err(ReceiptError::NotOfTheHost { escrow: self.terms.escrow, host: host.fingerprint() })
    }
}

/// Writes fields so that no two different contents give the same bytes: fixed lengths, or the length first.
struct Bytes(Vec<u8>);

impl Bytes {
    fn new(domain: &[u8]) -> Self {
        Self(domain.to_vec())
    }

    fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, number: u64) {
        self.fixed(&number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.fixed(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer as _, SigningKey};

    fn key(seed: u8) -> (SigningKey, PublicKey) {
        let secret = SigningKey::from_bytes(&[seed; 32]);
        let public = PublicKey::from_bytes(secret.verifying_key().to_bytes()).unwrap();
        (secret, public)
    }

    fn receipt() -> Receipt {
        let (bank, bank_key) = key(1);
        let (_, payer) = key(2);
        let terms = ReceiptTerms {
            bank: bank_key,
            epoch: 1,
            escrow: EscrowId::from_bytes([3; 16]),
            payer: AccountId::of(&payer),
            payer_keys: vec![payer],
            pool: "hello".parse().unwrap(),
            host: HostId::of(&key(4).1),
            beneficiary: AccountId::of(&key(5).1),
            amount: Credits::from_micros(10_000_000),
            longest: TimeSpan::from_seconds(3600),
            highest_rate: Rate::from_picos_per_second(5_000_000),
            opened_at: Timestamp::from_seconds(1000),
            issued_at: Timestamp::from_seconds(1000),
        };
        Receipt::sign(terms, |bytes| bank.sign(bytes).to_bytes())
    }

    #[test]
    fn a_receipt_holds_for_its_bank_only() {
        let receipt = receipt();
        assert_eq!(receipt.verify(&key(1).1), Ok(()));
        assert!(matches!(receipt.verify(&key(2).1), Err(ReceiptError::NotOfTheBank { .. })));
    }

    #[test]
    fn a_receipt_with_any_field_changed_does_not_hold() {
        type Change = fn(&mut Receipt);
        let changes: [(&str, Change); 15] = [
            ("bank", |r| r.terms.bank = key(9).1),
            ("epoch", |r| r.terms.epoch = 2),
            ("escrow", |r| r.terms.escrow = EscrowId::from_bytes([9; 16])),
            ("payer", |r| r.terms.payer = AccountId::of(&key(9).1)),
            ("payer keys", |r| r.terms.payer_keys[0] = key(9).1),
            ("one more key", |r| r.terms.payer_keys.push(key(9).1)),
            ("no key", |r| r.terms.payer_keys.clear()),
            ("pool", |r| r.terms.pool = "hallo".parse().unwrap()),
            ("host", |r| r.terms.host = HostId::of(&key(9).1)),
            ("beneficiary", |r| r.terms.beneficiary = AccountId::of(&key(9).1)),
            ("amount", |r| r.terms.amount = Credits::from_micros(10_000_001)),
            ("longest", |r| r.terms.longest = TimeSpan::from_seconds(3601)),
            ("highest rate", |r| r.terms.highest_rate = Rate::from_picos_per_second(5_000_001)),
            ("opened", |r| r.terms.opened_at = Timestamp::from_seconds(1001)),
            ("issued", |r| r.terms.issued_at = Timestamp::from_seconds(1001)),
        ];
        for (what, change) in changes {
            let mut changed = receipt();
            change(&mut changed);
            assert!(changed.verify(&key(1).1).is_err(), "{what}");
        }
        let mut changed = receipt();
        changed.signature.0[5] ^= 1;
        assert!(changed.verify(&key(1).1).is_err(), "signature");
    }

    #[test]
    fn a_statement_with_any_field_changed_does_not_hold() {
        let (host, public) = key(4);
        let terms = StatementTerms {
            escrow: EscrowId::from_bytes([3; 16]),
            sequence: 7,
            drawn_total: Credits::from_micros(5),
            released_total: Credits::ZERO,
            closed: false,
        };
        let statement = Statement::sign(terms, |bytes| host.sign(bytes).to_bytes());
        assert_eq!(statement.verify(&public), Ok(()));
        type Change = fn(&mut StatementTerms);
        let changes: [(&str, Change); 5] = [
            ("escrow", |s| s.escrow = EscrowId::from_bytes([4; 16])),
            ("sequence", |s| s.sequence = 8),
            ("drawn", |s| s.drawn_total = Credits::from_micros(6)),
            ("released", |s| s.released_total = Credits::from_micros(1)),
            ("closed", |s| s.closed = true),
        ];
        for (what, change) in changes {
            let mut changed = statement.clone();
            change(&mut changed.terms);
            assert!(changed.verify(&public).is_err(), "{what}");
        }
        assert!(statement.verify(&key(5).1).is_err(), "another host");
    }

    #[test]
    fn the_same_bytes_signed_for_another_purpose_are_no_receipt() {
        let receipt = receipt();
        assert!(receipt.terms.signed_bytes().starts_with(b"tycoon receipt v1\0"));
        let signature: Signature = receipt.signature.to_string().parse().unwrap();
        assert_eq!(signature, receipt.signature);
        for text in ["", "AAAA", "!"] {
            assert_eq!(text.parse::<Signature>(), Err(SignatureTextError));
        }
    }
}
