//! What is written into a record: the operation, and the signed request that asked for it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tycoon_market::{Credits, PublicKey, Signature};
use tycoon_rpc::Call;

use crate::api::{AccountRequest, AllowanceRequest, CloseRequest, IssueRequest, TransferRequest, TransfersRequest};
use crate::ledger::{EscrowOrder, KeyChange, Operation, RefundOrder, ReservationOrder, Resolution};

/// The signed request behind an operation. With it anybody can check that the bank did not invent the operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The key that signed.
    pub key: PublicKey,
    /// The text that was signed, which contains the digest of the body (RFC 9421, section 2.5).
    pub signed: String,
    /// The signature.
    pub signature: Signature,
    /// The body.
    pub body: String,
}

impl Evidence {
    /// The evidence of a signed call; `None` for one that is not signed or not text.
    pub fn of(call: &Call<'_>) -> Option<Self> {
        let signed = call.signed.as_ref()?;
        Some(Self {
            key: signed.sender,
            signed: signed.base.clone(),
            signature: Signature::from_bytes(signed.signature),
            body: String::from_utf8(call.request.body().clone()).ok()?,
        })
    }

    /// True where the key signed the text, and the text contains the digest of the body.
    pub fn holds(&self) -> bool {
        let digest = tycoon_rpc::digest::content_digest(self.body.as_bytes());
        self.says("content-digest", &digest) && self.key.verifies(self.signed.as_bytes(), self.signature.as_bytes())
    }

    /// True where the signed request asks for exactly `operation`. What the bank does by itself nobody asks for.
    pub fn asks_for(&self, operation: &Operation) -> bool {
        self.says("@method", "POST") && self.asks_for_content(operation) == Some(true)
    }

    /// `None` where the body is not what the operation's call takes.
    fn asks_for_content(&self, operation: &Operation) -> Option<bool> {
        let key = self.key;
        let (path, is_asked) = match operation {
            Operation::Found { .. }
            | Operation::NewEpoch { .. }
            | Operation::Lapse { .. }
            | Operation::Renew { .. } => return None,
            Operation::OpenAccount { key: opened, kind, label, opener } => {
                let request: AccountRequest = self.read()?;
                let (deposit, sub) =
                    opener.as_ref().map_or((Credits::ZERO, false), |opener| (opener.deposit, opener.sub));
                let asked = AccountRequest { key: *opened, kind: *kind, label: label.clone(), deposit, sub };
                let by_opener = opener.as_ref().is_none_or(|opener| opener.by == key);
                ("/v1/accounts".to_owned(), request == asked && by_opener)
            }
            Operation::CloseAccount { account, to, by } => {
                (format!("/v1/accounts/{account}/close"), self.read::<CloseRequest>()?.to == *to && *by == key)
            }
            Operation::SetAllowance { account, allowance, by } => {
                let asked = self.read::<AllowanceRequest>()?.allowance;
                (format!("/v1/accounts/{account}/allowance"), asked == *allowance && *by == key)
            }
            Operation::ChangeKeys { account, change, by } => {
                (format!("/v1/accounts/{account}/keys"), self.read::<KeyChange>()? == *change && *by == key)
            }
            Operation::Issue { id, to, amount, memo, by } => {
                let asked = IssueRequest { id: *id, to: *to, amount: *amount, memo: memo.clone() };
                ("/v1/issue".to_owned(), self.read::<IssueRequest>()? == asked && *by == key)
            }
            Operation::Transfer { id, payer, payee, amount, memo, by } => {
                let asked =
                    TransferRequest { id: *id, payer: *payer, payee: *payee, amount: *amount, memo: memo.clone() };
                ("/v1/transfers".to_owned(), self.read::<TransferRequest>()? == asked && *by == key)
            }
            Operation::Transfers { orders, linked, by } => {
                let asked = self.read::<TransfersRequest>()?;
                let same = asked.transfers == *orders && asked.linked == *linked;
                ("/v1/transfers/batch".to_owned(), same && *by == key)
            }
            Operation::Refund { order, by } => {
                ("/v1/refunds".to_owned(), self.read::<RefundOrder>()? == *order && *by == key)
            }
            Operation::Reserve { order, by } => {
                ("/v1/reservations".to_owned(), self.read::<ReservationOrder>()? == *order && *by == key)
            }
            Operation::Resolve { payer, id, resolution, by } => {
                (format!("/v1/reservations/{payer}/{id}"), self.read::<Resolution>()? == *resolution && *by == key)
            }
            Operation::OpenEscrow { order, by } => {
                ("/v1/escrows".to_owned(), self.read::<EscrowOrder>()? == *order && *by == key)
            }
            Operation::Settle { statement } => {
                ("/v1/statements".to_owned(), self.read::<tycoon_market::Statement>()? == *statement)
            }
        };
        Some(is_asked && self.says("@path", &path))
    }

    fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.body).ok()
    }

    /// True where the signed text has this value for this part.
    fn says(&self, part: &str, value: &str) -> bool {
        let line = format!("\"{part}\": {value}");
        self.signed.lines().any(|other| other == line)
    }
}

/// The payload of a journal record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// What was done.
    pub operation: Operation,
    /// Who asked for it; `None` for what the bank does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// A payload, and how it is written. It is written out by whoever asks, not by the one thread that writes for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    payload: Payload,
    text: String,
}

impl Written {
    /// Writes a payload out; `Err` says why that cannot be done.
    pub fn of(payload: Payload) -> Result<Self, String> {
        let text = serde_json::to_string(&payload).map_err(|error| format!("a record cannot be written: {error}"))?;
        Ok(Self { payload, text })
    }

    /// What is done, and who asked for it.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The payload of the record.
    pub fn text(&self) -> &str {
        &self.text
    }
}
