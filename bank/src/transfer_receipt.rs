//! The bank's signed proof of a transfer, which anybody can check offline.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tycoon_market::{AccountId, Credits, PublicKey, Signature, Timestamp, TransferId};

use crate::ledger::Transfer;
use crate::merkle::{Inclusion, NodeHash, Tree};

/// What the bytes of a signed receipt start with: a signature for one purpose is none for another.
const DOMAIN: &[u8] = b"tycoon transfer v1\0";
/// The same for a transfer that gives back another.
const REFUND_DOMAIN: &[u8] = b"tycoon refund v1\0";
/// The same for the root of a tree of transfers.
const TREE_DOMAIN: &[u8] = b"tycoon transfers v1\0";

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
    /// Its place among the receipts that were signed together; `None` for one that was signed alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub among: Option<Inclusion>,
    /// The bank's signature of [`TransferTerms::signed_bytes`], or of the root of the tree of all that were signed together.
    pub signature: Signature,
}

/// The bytes that a bank signs for all the receipts of a tree.
fn signed_bytes_of_tree(bank: &PublicKey, size: u64, root: &NodeHash) -> Vec<u8> {
    [TREE_DOMAIN, bank.as_bytes(), &size.to_be_bytes(), root.as_bytes()].concat()
}

impl TransferReceipt {
    /// The receipt of `terms`, signed by `sign`, the bank's key.
    pub fn sign(terms: TransferTerms, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Self {
        let signature = Signature::from_bytes(sign(&terms.signed_bytes()));
        Self { terms, among: None, signature }
    }

    /// The receipts of all of `terms`, of one bank, with one signature: each can be checked without the others.
    pub fn sign_all(mut terms: Vec<TransferTerms>, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Vec<Self> {
        if terms.len() == 1 {
            return terms.pop().map(|terms| Self::sign(terms, sign)).into_iter().collect();
        }
        let leaves = terms.iter().map(|terms| NodeHash::of_leaf(&terms.signed_bytes())).collect();
        let (Some(tree), Some(first)) = (Tree::over(leaves), terms.first()) else { return Vec::new() };
        let signed = signed_bytes_of_tree(&first.bank, terms.len() as u64, &tree.root());
        let signature = Signature::from_bytes(sign(&signed));
        let receipt = |(index, terms)| Self { terms, among: Some(tree.inclusion(index)), signature };
        terms.into_iter().enumerate().map(receipt).collect()
    }

    /// Checks that the holder of `bank` issued the receipt.
    pub fn verify(&self, bank: &PublicKey) -> Result<(), NotOfTheBank> {
        let own = self.terms.signed_bytes();
        let signed = match &self.among {
            None => Some(own),
            Some(place) => place
                .root(NodeHash::of_leaf(&own))
                .map(|root| signed_bytes_of_tree(&self.terms.bank, place.tree_size, &root)),
        };
        let holds = |signed: Vec<u8>| bank.verifies(&signed, self.signature.as_bytes());
        if self.terms.bank == *bank && signed.is_some_and(holds) {
            return Ok(());
        }
        Err(NotOfTheBank { transfer: self.terms.id, bank: bank.fingerprint() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tycoon_rpc::{SecretKey, Signer as _};

    fn terms(id: u8) -> TransferTerms {
        let account = |seed: u8| AccountId::of(&SecretKey::from_seed(&[seed; 32]).public_key());
        TransferTerms {
            bank: SecretKey::from_seed(&[1; 32]).public_key(),
            id: TransferId::from_bytes([id; 16]),
            payer: account(2),
            payee: account(3),
            amount: Credits::from_micros(7),
            at: Timestamp::from_seconds(9),
            record: 4,
            memo: "rent".to_owned(),
            refund_of: None,
        }
    }

    #[test]
    fn a_receipt_with_any_field_changed_does_not_hold() {
        let bank = SecretKey::from_seed(&[1; 32]);
        let alone = TransferReceipt::sign(terms(3), |bytes| bank.sign(bytes));
        no_field_can_be_changed(&alone);
        let together = TransferReceipt::sign_all((3..9).map(terms).collect(), |bytes| bank.sign(bytes));
        together.iter().for_each(no_field_can_be_changed);
        let strange = TransferReceipt { among: together[0].among.clone(), ..alone };
        assert!(strange.verify(&bank.public_key()).is_err(), "a place that it has not");
        let placeless = TransferReceipt { among: None, ..together[0].clone() };
        assert!(placeless.verify(&bank.public_key()).is_err(), "no place");
        let elsewhere = TransferReceipt { among: together[1].among.clone(), ..together[0].clone() };
        assert!(elsewhere.verify(&bank.public_key()).is_err(), "the place of another");
        assert!(TransferReceipt::sign_all(Vec::new(), |bytes| bank.sign(bytes)).is_empty());
    }

    fn no_field_can_be_changed(receipt: &TransferReceipt) {
        let bank = SecretKey::from_seed(&[1; 32]);
        assert_eq!(receipt.verify(&bank.public_key()), Ok(()));
        type Change = fn(&mut TransferReceipt);
        let changes: [(&str, Change); 10] = [
            ("bank", |r| r.terms.bank = SecretKey::from_seed(&[9; 32]).public_key()),
            ("id", |r| r.terms.id = TransferId::from_bytes([99; 16])),
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
