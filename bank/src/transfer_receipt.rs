//! The bank's signed proof of a transfer, which anybody can check offline.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tycoon_market::{AccountId, Credits, PublicKey, Signature, Timestamp, TransferId};

use crate::ledger::Transfer;

/// What the bytes of a signed receipt start with: a signature for one purpose is none for another.
const DOMAIN: &[u8] = b"tycoon transfer v1\0";
/// The same for a transfer that gives back another.
const REFUND_DOMAIN: &[u8] = b"tycoon refund v1\0";

/// A receipt that its bank did not sign, or that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the receipt of transfer {transfer} is not signed by the bank {bank}")]
pub struct NotOfTheBank {
    /// The transfer.
    pub transfer: TransferId,
    /// The fingerprint of the key that should have signed.
    pub bank: String,
}

/// What a receipt says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferTerms {
    /// The bank.
    pub bank: PublicKey,
    /// The transfer's id; unique among those of the payer.
    pub id: TransferId,
    /// The account that paid.
    pub payer: AccountId,
    /// The account that received.
    pub payee: AccountId,
    /// How much.
    pub amount: Credits,
    /// When.
    pub at: Timestamp,
    /// The number of the journal record.
    pub record: u64,
    /// What for.
    pub memo: String,
    /// Which transfer of the payee to the payer it gives back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_of: Option<TransferId>,
}

impl TransferTerms {
    /// What a receipt of `transfer` says.
    pub fn of(bank: PublicKey, transfer: &Transfer) -> Self {
        Self {
            bank,
            id: transfer.id,
            payer: transfer.payer,
            payee: transfer.payee,
            amount: transfer.amount,
            at: transfer.at,
            record: transfer.record,
            memo: transfer.memo.clone(),
            refund_of: transfer.refund_of,
        }
    }

    /// The bytes that the bank signs: fixed lengths, numbers big-endian, the memo with its length, and, of a refund, the
    /// id of the transfer that it gives back.
    pub fn signed_bytes(&self) -> Vec<u8> {
        [
            if self.refund_of.is_some() { REFUND_DOMAIN } else { DOMAIN },
            self.bank.as_bytes(),
            self.id.as_bytes(),
            self.payer.as_bytes(),
            self.payee.as_bytes(),
            &self.amount.micros().to_be_bytes(),
            &self.at.micros().to_be_bytes(),
            &self.record.to_be_bytes(),
            &(self.memo.len() as u64).to_be_bytes(),
            self.memo.as_bytes(),
            self.refund_of.as_ref().map_or(&[], |of| &of.as_bytes()[..]),
        ]
        .concat()
    }
}

/// A signed receipt of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferReceipt {
    /// What it says.
    pub terms: TransferTerms,
    /// The bank's signature of [`TransferTerms::signed_bytes`].
    pub signature: Signature,
}

impl TransferReceipt {
    /// The receipt of `terms`, signed by `sign`, the bank's key.
    pub fn sign(terms: TransferTerms, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Self {
        let signature = Signature::from_bytes(sign(&terms.signed_bytes()));
        Self { terms, signature }
    }

    /// Checks that the holder of `bank` issued the receipt.
    pub fn verify(&self, bank: &PublicKey) -> Result<(), NotOfTheBank> {
        if self.terms.bank == *bank && bank.verifies(&self.terms.signed_bytes(), self.signature.as_bytes()) {
            return Ok(());
        }
        Err(NotOfTheBank { transfer: self.terms.id, bank: bank.fingerprint() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tycoon_rpc::{SecretKey, Signer as _};

    #[test]
    fn a_receipt_with_any_field_changed_does_not_hold() {
        let bank = SecretKey::from_seed(&[1; 32]);
        let account = |seed: u8| AccountId::of(&SecretKey::from_seed(&[seed; 32]).public_key());
        let terms = TransferTerms {
            bank: bank.public_key(),
            id: TransferId::from_bytes([3; 16]),
            payer: account(2),
            payee: account(3),
            amount: Credits::from_micros(7),
            at: Timestamp::from_seconds(9),
            record: 4,
            memo: "rent".to_owned(),
            refund_of: None,
        };
        let receipt = TransferReceipt::sign(terms, |bytes| bank.sign(bytes));
        assert_eq!(receipt.verify(&bank.public_key()), Ok(()));
        type Change = fn(&mut TransferReceipt);
        let changes: [(&str, Change); 10] = [
            ("bank", |r| r.terms.bank = SecretKey::from_seed(&[9; 32]).public_key()),
            ("id", |r| r.terms.id = TransferId::from_bytes([4; 16])),
            ("payer", |r| r.terms.payer = r.terms.payee),
            ("payee", |r| r.terms.payee = r.terms.payer),
            ("amount", |r| r.terms.amount = Credits::from_micros(8)),
            ("at", |r| r.terms.at = Timestamp::from_seconds(10)),
            ("record", |r| r.terms.record = 5),
            ("memo", |r| r.terms.memo.push('!')),
            ("refund", |r| r.terms.refund_of = Some(TransferId::from_bytes([5; 16]))),
            ("signature", |r| r.signature = Signature::from_bytes([0; 64])),
        ];
        for (what, change) in changes {
            let mut changed = receipt.clone();
            change(&mut changed);
            assert!(changed.verify(&bank.public_key()).is_err(), "{what}");
        }
        assert!(receipt.verify(&SecretKey::from_seed(&[2; 32]).public_key()).is_err(), "another bank");
    }
}
